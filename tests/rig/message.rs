//! HTTP/1.1 messages as the rig's own peers read them: plainly, from a blocking stream.
//!
//! This reader is deliberately independent of `tapline::http`; it is part of what judges it.

use std::io::{self, Read};

/// One message as it stood on the wire.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Message {
    /// Start line, fields and the empty line.
    pub(crate) head: Vec<u8>,
    /// The body as framed on the wire, chunk sizes included.
    pub(crate) raw_body: Vec<u8>,
    /// The body itself.
    pub(crate) body: Vec<u8>,
}

impl Message {
    /// The start line without its line end.
    pub(crate) fn start_line(&self) -> String {
        let head = String::from_utf8_lossy(&self.head);
        head.lines().next().unwrap_or_default().to_owned()
    }

    /// First word of a request.
    pub(crate) fn method(&self) -> String {
        self.start_line().split(' ').next().unwrap_or_default().to_owned()
    }

    /// Second word of a request.
    pub(crate) fn target(&self) -> String {
        self.start_line().split(' ').nth(1).unwrap_or_default().to_owned()
    }

    /// Status code of a response; 0 when it has none.
    pub(crate) fn status(&self) -> u16 {
        let line = self.start_line();
        line.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0)
    }

    /// The value of a field, names compared without case.
    pub(crate) fn field(&self, name: &str) -> Option<String> {
        let head = String::from_utf8_lossy(&self.head);
        head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
        })
    }

    /// The body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Everything that stood on the wire.
    pub(crate) fn wire(&self) -> Vec<u8> {
        [self.head.as_slice(), self.raw_body.as_slice()].concat()
    }
}

/// Reads messages from a stream, keeping what lies behind the end of one for the next.
#[derive(Debug)]
pub(crate) struct Reader<S> {
    stream: S,
    buffer: Vec<u8>,
    start: usize,
}

impl<S: Read> Reader<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self { stream, buffer: Vec::new(), start: 0 }
    }

    /// The stream it reads from.
    pub(crate) fn stream(&self) -> &S {
        &self.stream
    }

    /// The next request with its body; `None` at the end of the stream between requests.
    pub(crate) fn request(&mut self) -> io::Result<Option<Message>> {
        let Some(mut message) = self.head()? else { return Ok(None) };
        self.body(&mut message, false)?;
        Ok(Some(message))
    }

    /// The next response to a request with the given method, interim responses left out of it.
    pub(crate) fn response(&mut self, method: &str) -> io::Result<Message> {
        loop {
            let mut message = self.head()?.ok_or(io::ErrorKind::UnexpectedEof)?;
            let status = message.status();
            if (100..200).contains(&status) && status != 101 {
                continue;
            }
            let bodiless = method == "HEAD" || matches!(status, 101 | 204 | 304);
            if !bodiless {
                self.body(&mut message, true)?;
            }
            return Ok(message);
        }
    }

    /// The next head alone; `None` at the end of the stream.
    pub(crate) fn head(&mut self) -> io::Result<Option<Message>> {
        let mut seen = 0;
        loop {
            let rest = &self.buffer[self.start..];
            let from = seen.min(rest.len());
            if let Some(at) = memchr::memmem::find(&rest[from..], b"\r\n\r\n") {
                let head = self.take(from + at + 4);
                return Ok(Some(Message { head, ..Message::default() }));
            }
            seen = rest.len().saturating_sub(3);
            if !self.fill()? {
                let nothing = self.buffer.len() == self.start;
                return if nothing { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
            }
        }
    }

    /// Reads the body that the head announces.
    pub(crate) fn body(&mut self, message: &mut Message, until_end: bool) -> io::Result<()> {
        let coding = message.field("transfer-encoding").unwrap_or_default();
        if coding.to_ascii_lowercase().ends_with("chunked") {
            return self.chunks(message);
        }
        if let Some(length) = message.field("content-length") {
            let length = length.parse().map_err(|_| io::Error::other("bad content-length"))?;
            message.raw_body = self.exactly(length)?;
        } else if until_end {
            while self.fill()? {}
            message.raw_body = self.take(self.buffer.len() - self.start);
        }
        message.body.clone_from(&message.raw_body);
        Ok(())
    }

    /// Everything up to the end of the stream.
    pub(crate) fn rest(&mut self) -> io::Result<Vec<u8>> {
        while self.fill()? {}
        Ok(self.take(self.buffer.len() - self.start))
    }

    /// What was read and not yet given out, as when the stream has failed.
    pub(crate) fn leftover(&mut self) -> Vec<u8> {
        self.take(self.buffer.len() - self.start)
    }

    fn chunks(&mut self, message: &mut Message) -> io::Result<()> {
        loop {
            let line = self.line()?;
            message.raw_body.extend_from_slice(&line);
            let text = String::from_utf8_lossy(&line);
            let size = text.trim_end().split(';').next().unwrap_or_default().trim();
            let size = usize::from_str_radix(size, 16)
                .map_err(|_| io::Error::other(format!("bad chunk size {text:?}")))?;
            if size == 0 {
                break;
            }
            let chunk = self.exactly(size + 2)?;
            message.body.extend_from_slice(&chunk[..size]);
            message.raw_body.extend_from_slice(&chunk);
        }
        loop {
            let line = self.line()?;
            message.raw_body.extend_from_slice(&line);
            if line == b"\r\n" {
                return Ok(());
            }
        }
    }

    fn line(&mut self) -> io::Result<Vec<u8>> {
        loop {
            if let Some(at) = memchr::memchr(b'\n', &self.buffer[self.start..]) {
                return Ok(self.take(at + 1));
            }
            if !self.fill()? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// So many bytes, whatever they are.
    pub(crate) fn exactly(&mut self, length: usize) -> io::Result<Vec<u8>> {
        while self.buffer.len() - self.start < length {
            if !self.fill()? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(self.take(length))
    }

    fn take(&mut self, length: usize) -> Vec<u8> {
        let taken = self.buffer[self.start..self.start + length].to_vec();
        self.start += length;
        if self.start == self.buffer.len() {
            self.buffer.clear();
            self.start = 0;
        }
        taken
    }

    fn fill(&mut self) -> io::Result<bool> {
        let length = self.buffer.len();
        self.buffer.resize(length + FILL_BYTES, 0);
        loop {
            let outcome = self.stream.read(&mut self.buffer[length..]);
            if outcome.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::Interrupted) {
                continue;
            }
            self.buffer.truncate(length + *outcome.as_ref().unwrap_or(&0));
            return outcome.map(|count| count > 0);
        }
    }
}

const FILL_BYTES: usize = 64 * 1024;

#[test]
fn messages_are_cut_where_they_end() {
    let wire = b"POST /a HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc\
        PUT /b HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\nde\r\n0\r\nT: 1\r\n\r\n\
        GET /c HTTP/1.1\r\n\r\n";
    let mut reader = Reader::new(wire.as_slice());
    let first = reader.request().unwrap().unwrap();
    assert_eq!(
        (first.method(), first.target(), first.text()),
        ("POST".into(), "/a".into(), "abc".into())
    );
    let second = reader.request().unwrap().unwrap();
    assert_eq!(second.text(), "de");
    assert_eq!(second.raw_body, b"2;x=y\r\nde\r\n0\r\nT: 1\r\n\r\n");
    let third = reader.request().unwrap().unwrap();
    assert_eq!(third.target(), "/c");
    assert_eq!(reader.request().unwrap(), None);
    assert_eq!([first.wire(), second.wire(), third.wire()].concat(), wire);
}

#[test]
fn responses_end_by_length_by_status_or_with_the_stream() {
    let wire = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi\
        HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nHTTP/1.1 304 Not Modified\r\n\r\n\
        HTTP/1.1 200 OK\r\n\r\nthe rest";
    let mut reader = Reader::new(wire.as_slice());
    assert_eq!(reader.response("GET").unwrap().text(), "hi");
    assert_eq!(reader.response("HEAD").unwrap().text(), "");
    assert_eq!(reader.response("GET").unwrap().status(), 304);
    assert_eq!(reader.response("GET").unwrap().text(), "the rest");
}
