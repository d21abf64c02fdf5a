//! Requests off a blocking stream and answers onto it: HTTP/1.1 with keep-alive, no more than a demonstration meets.

use std::io::{self, BufRead, Read, Write};

/// A request with its whole body.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) method: String,
    /// Path and query as they stand on the wire.
    pub(super) target: String,
    pub(super) body: Vec<u8>,
    /// The connection ends behind the answer.
    pub(super) last: bool,
}

/// The next request; `None` when the peer has finished between two. Answers an `Expect` itself.
pub(super) fn read_request(
    stream: &mut impl BufRead,
    answers: &mut impl Write,
) -> io::Result<Option<Request>> {
    let mut left = HEAD_BYTES_MAX;
    let Some(line) = line(stream, &mut left)? else { return Ok(None) };
    let mut words = line.split(' ');
    let (Some(method), Some(target), Some(version)) = (words.next(), words.next(), words.next())
    else {
        return Err(malformed("a request line has three words"));
    };
    let mut request =
        Request { method: method.to_owned(), target: target.to_owned(), ..Request::default() };
    request.last = version == "HTTP/1.0";
    let (mut length, mut chunked) = (0, false);
    loop {
        let line = self::line(stream, &mut left)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':').ok_or_else(|| malformed("a field has a colon"))?;
        let value = value.trim().to_ascii_lowercase();
        match name.to_ascii_lowercase().as_str() {
            "content-length" => {
                length = value.parse().map_err(|_| malformed("a length is a number"))?;
            }
            "transfer-encoding" => chunked = value.ends_with("chunked"),
            "connection" => request.last |= value == "close",
            "expect" if value == "100-continue" => {
                answers.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
            }
            _ => {}
        }
    }
    if chunked {
        while let Some(size) = chunk_size(stream, &mut left)? {
            take(stream, size, &mut request.body)?;
            self::line(stream, &mut left)?;
        }
    } else {
        take(stream, length, &mut request.body)?;
    }
    Ok(Some(request))
}

/// Writes an answer with a body of JSON; of one to HEAD only the head.
pub(super) fn write_answer(
    stream: &mut impl Write,
    request: &Request,
    status: u16,
    body: &[u8],
) -> io::Result<()> {
    let reason = match status {
        200 => "OK",
        201 => "Created",
        404 => "Not Found",
        409 => "Conflict",
        _ => "Bad Request",
    };
    let end = if request.last { "connection: close\r\n" } else { "" };
    let mut wire = format!(
        "HTTP/1.1 {status} {reason}\r\n{end}content-type: application/json; charset=UTF-8\r\n\
         content-length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    if request.method != "HEAD" {
        wire.extend_from_slice(body);
    }
    stream.write_all(&wire)
}

/// Status and body of the next answer.
pub(super) fn read_answer(stream: &mut impl BufRead) -> io::Result<(u16, Vec<u8>)> {
    let mut left = HEAD_BYTES_MAX;
    let first = line(stream, &mut left)?.ok_or(io::ErrorKind::UnexpectedEof)?;
    let status = first.split(' ').nth(1).and_then(|code| code.parse().ok());
    let status = status.ok_or_else(|| malformed("a status line has a number"))?;
    let mut length = 0;
    loop {
        let line = self::line(stream, &mut left)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        if line.is_empty() {
            let mut body = Vec::new();
            take(stream, length, &mut body)?;
            return Ok((status, body));
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().map_err(|_| malformed("a length is a number"))?;
        }
    }
}

/// A line without its end; `None` at the end of the stream.
fn line(stream: &mut impl BufRead, left: &mut u64) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    let read = stream.take(*left).read_until(b'\n', &mut line)?;
    *left -= read as u64;
    if read == 0 && *left > 0 {
        return Ok(None);
    }
    let Some(rest) = line.strip_suffix(b"\n") else {
        return Err(malformed("a head ends, and within 64 KiB"));
    };
    let text = rest.strip_suffix(b"\r").unwrap_or(rest);
    let text = std::str::from_utf8(text).map_err(|_| malformed("a head is text"))?;
    Ok(Some(text.to_owned()))
}

/// The size of the next chunk; `None` behind the last one and its trailers.
fn chunk_size(stream: &mut impl BufRead, left: &mut u64) -> io::Result<Option<usize>> {
    let line = self::line(stream, left)?.ok_or(io::ErrorKind::UnexpectedEof)?;
    let size = line.split(';').next().unwrap_or_default().trim();
    match usize::from_str_radix(size, 16).map_err(|_| malformed("a chunk has a size"))? {
        0 => {
            while self::line(stream, left)?.is_some_and(|line| !line.is_empty()) {}
            Ok(None)
        }
        size => Ok(Some(size)),
    }
}

fn take(stream: &mut impl BufRead, length: usize, body: &mut Vec<u8>) -> io::Result<()> {
    if length > BODY_BYTES_MAX.saturating_sub(body.len()) {
        return Err(malformed("a body has at most 16 MiB"));
    }
    let start = body.len();
    body.resize(start + length, 0);
    stream.read_exact(&mut body[start..])
}

fn malformed(rule: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, rule)
}

const HEAD_BYTES_MAX: u64 = 64 * 1024;
const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_read_one_by_one_and_answers_too() {
        let mut wire = &b"PUT /i HTTP/1.1\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\nhi\
            POST /j?x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n1\r\nd\r\n0\r\n\r\n\
            GET / HTTP/1.1\r\nConnection: close\r\n\r\n"[..];
        let mut said = Vec::new();
        let first = read_request(&mut wire, &mut said).unwrap().unwrap();
        assert_eq!((first.method.as_str(), first.body.as_slice()), ("PUT", &b"hi"[..]));
        assert_eq!(said, b"HTTP/1.1 100 Continue\r\n\r\n");
        let second = read_request(&mut wire, &mut said).unwrap().unwrap();
        assert_eq!((second.target.as_str(), second.body.as_slice()), ("/j?x", &b"abcd"[..]));
        let third = read_request(&mut wire, &mut said).unwrap().unwrap();
        assert!(third.last && third.body.is_empty());
        assert_eq!(read_request(&mut wire, &mut said).unwrap(), None);

        let mut answers = Vec::new();
        write_answer(&mut answers, &second, 201, b"{}").unwrap();
        write_answer(&mut answers, &third, 200, b"").unwrap();
        let mut answers = &answers[..];
        assert_eq!(read_answer(&mut answers).unwrap(), (201, b"{}".to_vec()));
        assert_eq!(read_answer(&mut answers).unwrap(), (200, Vec::new()));
    }

    #[test]
    fn what_has_no_end_is_refused() {
        let endless = [b"GET / HTTP/1.1\r\nA: ".to_vec(), vec![b'x'; 70_000]].concat();
        let cases: [&[u8]; 4] = [
            &endless,
            b"GET /\r\n\r\n",
            b"PUT / HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n",
            b"PUT / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhi",
        ];
        for mut wire in cases {
            assert!(read_request(&mut wire, &mut Vec::new()).is_err());
        }
    }
}
