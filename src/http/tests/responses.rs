//! Responses: each way in which one ends, and the faults of a source.

use super::super::{Answering, Eof, Limits, Malformed, Refusal, ResponseFraming, ResponseHead};
use super::{Seen, malformed_of, responses};

#[test]
fn by_content_length() {
    let seen = read(
        &[],
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 500 \r\ncontent-length: 0\r\n\r\n",
    );
    let (first, second) = (head(&seen[0]), head(&seen[2]));
    assert_eq!((first.status, first.content_length, first.head_bytes), (200, Some(2), 38));
    assert!(!first.close && !first.interim && !first.upgraded && !first.until_eof);
    assert_eq!(seen[1], Seen::End { at: 40 });
    assert_eq!((second.status, second.content_length), (500, Some(0)));
    assert_eq!(seen.last(), Some(&Seen::Eof(Eof::Idle)));
}

#[test]
fn by_chunks() {
    let stream = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
    let seen = read(&[], stream);
    assert!(head(&seen[0]).chunked);
    assert_eq!(seen[1], Seen::End { at: stream.len() });
    assert_eq!(seen.last(), Some(&Seen::Eof(Eof::Idle)));
    assert_eq!(read(&[], &stream[..stream.len() - 1]).last(), Some(&Seen::Eof(Eof::Truncated)));
}

#[test]
fn by_the_end_of_the_connection() {
    let seen = read(&[], "HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\n\r\n");
    assert!(head(&seen[0]).until_eof && head(&seen[0]).close);
    assert_eq!(seen[1], Seen::Open { body_bytes: 19, kept: Vec::new(), at_boundary: false });
    assert_eq!(seen[2], Seen::Eof(Eof::Complete));
}

#[test]
fn without_a_body() {
    let length = "Content-Length: 5\r\n\r\n";
    let next = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    for (asked, first) in [
        (Answering::Head, format!("HTTP/1.1 200 OK\r\n{length}")),
        (Answering::Head, "HTTP/1.1 200 OK\r\n\r\n".to_owned()),
        (Answering::Head, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned()),
        (Answering::Other, format!("HTTP/1.1 204 No Content\r\n{length}")),
        (Answering::Other, "HTTP/1.1 204 No Content\r\n\r\n".to_owned()),
        (Answering::Other, format!("HTTP/1.1 304 Not Modified\r\n{length}")),
    ] {
        let seen = read(&[asked], &format!("{first}{next}"));
        assert!(!head(&seen[0]).until_eof && !head(&seen[0]).interim);
        assert_eq!(seen[1], Seen::End { at: first.len() }, "{first:?}");
        assert_eq!(head(&seen[2]).status, 200);
        assert_eq!(seen.last(), Some(&Seen::Eof(Eof::Idle)));
    }
}

#[test]
fn a_body_where_none_may_be_is_malformed() {
    let seen = read(&[], "HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\nok");
    assert_eq!(seen.last(), Some(&Seen::Malformed(Malformed::StatusLine)));
}

#[test]
fn interim_responses_answer_nothing() {
    let stream = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nContent-Length: 9\r\n\r\n\
        HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n";
    let seen = read(&[Answering::Head], stream);
    assert!(head(&seen[0]).interim && head(&seen[2]).interim && !head(&seen[4]).interim);
    assert_eq!(seen[5], Seen::End { at: stream.len() });
}

#[test]
fn switched_protocols() {
    let mut framing = ResponseFraming::new();
    let stream = b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nabc";
    let limits = Limits::default();
    let piece = framing.next(&limits, Answering::Other, stream).unwrap();
    assert_eq!((piece.len, piece.end), (stream.len() - 3, true));
    let super::ResponsePart::Head(head) = piece.what else { panic!("{piece:?}") };
    assert!(head.upgraded && !head.interim);
    assert!(!framing.at_boundary());
    let after = framing.next(&limits, Answering::Other, b"abc");
    assert_eq!(after, Err(Malformed::AfterUpgrade));

    let mut framing = ResponseFraming::new();
    framing.next(&limits, Answering::Other, stream).unwrap();
    assert_eq!(framing.eof(), Eof::Complete);
}

#[test]
fn connection_options() {
    let close = |version: &str, field: &str| {
        let stream = format!("HTTP/{version} 200 OK\r\nContent-Length: 0\r\n{field}\r\n");
        head(&read(&[], &stream)[0]).close
    };
    assert!(!close("1.1", ""));
    assert!(close("1.1", "connection: close\r\n"));
    assert!(close("1.0", ""));
    assert!(!close("1.0", "Connection: keep-alive\r\n"));
}

#[test]
fn the_end_within_a_response() {
    for stream in [
        "H",
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\na",
    ] {
        assert_eq!(read(&[], stream).last(), Some(&Seen::Eof(Eof::Truncated)), "{stream:?}");
    }
}

#[test]
fn status_lines() {
    for line in
        ["HTTP/1.1 200 ", "HTTP/1.1 200", "HTTP/1.0 404 Not  Found\t", "HTTP/1.1 599 caf\u{e9}"]
    {
        assert_eq!(fault(&format!("{line}\r\n\r\n")), None, "{line:?}");
    }
    let framing = Malformed::Framing;
    for (stream, expected) in [
        ("\r\nHTTP/1.1 200 OK\r\n", Malformed::StatusLine),
        ("http/1.1 200 OK\r\n", Malformed::StatusLine),
        ("HTTP/1.1  200 OK\r\n", Malformed::StatusLine),
        ("HTTP/1.1 20 OK\r\n", Malformed::StatusLine),
        ("HTTP/1.1 2000 OK\r\n", Malformed::StatusLine),
        ("HTTP/1.1 200\tOK\r\n", Malformed::StatusLine),
        ("HTTP/1.1 200 O\0K\r\n", Malformed::StatusLine),
        ("HTTP/1.1 2x0 OK\r\n", Malformed::StatusLine),
        ("ICY 200 OK\r\n", Malformed::StatusLine),
        ("HTTP/1.1\r\n", Malformed::StatusLine),
        ("HTTP/2.0 200 OK\r\n", Malformed::Version),
        ("HTTP/1.1 099 OK\r\n", Malformed::Status),
        ("HTTP/1.1 600 OK\r\n", Malformed::Status),
        ("HTTP/1.1 200 OK\n", framing(Refusal::BareLf)),
        ("HTTP/1.1 200 OK\rX", framing(Refusal::BareCr)),
        ("HTTP/1.1 200\rX", framing(Refusal::BareCr)),
    ] {
        assert_eq!(fault(stream), Some(expected), "{stream:?}");
    }
    let limits = Limits { line_bytes_max: 15, ..Limits::default() };
    assert_eq!(malformed_of(&limits, b"HTTP/1.1 200 OK\r\n"), None);
    let long = b"HTTP/1.1 200 OKE\r\n";
    assert_eq!(malformed_of(&limits, long), Some(Malformed::StatusLineTooLong));
}

#[test]
fn fields_and_bodies() {
    for (rest, expected) in [
        ("Content-Length: 1\r\nContent-Length: 2\r\n\r\n", Refusal::ContentLengthDuplicate),
        ("Content-Length: 1\r\nContent-Length: 1\r\n\r\n", Refusal::ContentLengthDuplicate),
        (
            "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            Refusal::LengthAndTransferEncoding,
        ),
        ("Transfer-Encoding: gzip, chunked\r\n\r\n", Refusal::TransferCodingUnsupported),
        ("A: b\rc\r\n\r\n", Refusal::BareCr),
        ("A: b\n\r\n", Refusal::BareLf),
        ("A: b\r\n c\r\n\r\n", Refusal::ObsFold),
        ("A : b\r\n\r\n", Refusal::FieldNameWhitespace),
        ("A: \0\r\n\r\n", Refusal::FieldValueNul),
        ("Transfer-Encoding: chunked\r\n\r\n1\r\nab", Refusal::ChunkDataUnterminated),
        ("Transfer-Encoding: chunked\r\n\r\n-", Refusal::ChunkSizeInvalid),
    ] {
        let stream = format!("HTTP/1.1 200 OK\r\n{rest}");
        assert_eq!(fault(&stream), Some(Malformed::Framing(expected)), "{rest:?}");
    }
    let old = "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(fault(old), Some(Malformed::Framing(Refusal::TransferEncodingHttp10)));
    // What only a request can do wrong.
    let stream = "HTTP/1.1 200 OK\r\nHost: a\r\nHost: b\r\nSec-WebSocket-Key1: c\r\n\r\n";
    assert_eq!(fault(stream), None);
}

fn read(asked: &[Answering], stream: &str) -> Vec<Seen> {
    responses(&Limits::default(), asked, stream.as_bytes(), &[])
}

fn head(seen: &Seen) -> ResponseHead {
    let Seen::Response { head, .. } = seen else { panic!("no head: {seen:?}") };
    *head
}

fn fault(stream: &str) -> Option<Malformed> {
    malformed_of(&Limits::default(), stream.as_bytes())
}
