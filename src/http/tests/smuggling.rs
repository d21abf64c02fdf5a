//! Every fault of the threat table's rows T1, T2 and T4 beside the nearest request that passes.

use super::super::Limits;
use super::{Refusal, refusal_of};

#[test]
fn request_lines() {
    check(&[
        ("\x16\x03\x01\x02", Some(Refusal::TlsHandshake)),
        (" GET / HTTP/1.1\r\n\r\n", Some(Refusal::MethodInvalid)),
        ("\tGET / HTTP/1.1\r\n\r\n", Some(Refusal::MethodInvalid)),
        ("G\"T / HTTP/1.1\r\n\r\n", Some(Refusal::MethodInvalid)),
        ("GET\r\n\r\n", Some(Refusal::MethodInvalid)),
        ("GET\t/ HTTP/1.1\r\n\r\n", Some(Refusal::MethodInvalid)),
        ("M-SEARCH / HTTP/1.1\r\n\r\n", None),
        ("\nGET / HTTP/1.1\r\n\r\n", Some(Refusal::BareLf)),
        ("\rGET / HTTP/1.1\r\n\r\n", Some(Refusal::BareCr)),
        ("\r\nGET / HTTP/1.1\r\n\r\n", None),
        ("CONNECT a:80 HTTP/1.1\r\n\r\n", Some(Refusal::MethodConnect)),
        ("CONNECTS /a HTTP/1.1\r\n\r\n", None),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Some(Refusal::Http2Preface)),
        ("PRIX / HTTP/1.1\r\n\r\n", None),
        ("GET  / HTTP/1.1\r\n\r\n", Some(Refusal::TargetInvalid)),
        ("GET /\t HTTP/1.1\r\n\r\n", Some(Refusal::TargetInvalid)),
        ("GET /\0 HTTP/1.1\r\n\r\n", Some(Refusal::TargetInvalid)),
        ("GET /\x7f HTTP/1.1\r\n\r\n", Some(Refusal::TargetInvalid)),
        ("GET /\x0b HTTP/1.1\r\n\r\n", Some(Refusal::TargetInvalid)),
        ("GET * HTTP/1.1\r\n\r\n", Some(Refusal::TargetInvalid)),
        ("GET a HTTP/1.1\r\n\r\n", Some(Refusal::TargetInvalid)),
        ("GET a:80 HTTP/1.1\r\n\r\n", Some(Refusal::TargetInvalid)),
        ("GET ftp://a/ HTTP/1.1\r\n\r\n", Some(Refusal::TargetInvalid)),
        ("GET http:// HTTP/1.1\r\n\r\n", Some(Refusal::TargetInvalid)),
        ("GET http:///a HTTP/1.1\r\n\r\n", Some(Refusal::TargetInvalid)),
        ("GET http://a HTTP/1.1\r\n\r\n", None),
        ("OPTIONS ** HTTP/1.1\r\n\r\n", Some(Refusal::TargetInvalid)),
        ("OPTIONS * HTTP/1.1\r\n\r\n", None),
        ("GET /\r\n", Some(Refusal::Http09)),
        ("GET / \r\n\r\n", Some(Refusal::VersionInvalid)),
        ("GET / a HTTP/1.1\r\n\r\n", Some(Refusal::VersionInvalid)),
        ("GET /  HTTP/1.1\r\n\r\n", Some(Refusal::VersionInvalid)),
        ("GET / http/1.1\r\n\r\n", Some(Refusal::VersionInvalid)),
        ("GET / HTTP/1.1 \r\n\r\n", Some(Refusal::VersionInvalid)),
        ("GET / HTTP/1.10\r\n\r\n", Some(Refusal::VersionInvalid)),
        ("GET / HTTP/1\r\n\r\n", Some(Refusal::VersionInvalid)),
        ("GET / HTTP/x.1\r\n\r\n", Some(Refusal::VersionInvalid)),
        ("GET / HTTP/2.0\r\n\r\n", Some(Refusal::VersionUnsupported)),
        ("GET / HTTP/1.2\r\n\r\n", Some(Refusal::VersionUnsupported)),
        ("GET / HTTP/0.9\r\n\r\n", Some(Refusal::VersionUnsupported)),
        ("GET / HTTP/1.1\n\r\n", Some(Refusal::BareLf)),
        ("GET / HTTP/1.1\r\r\n", Some(Refusal::BareCr)),
        ("GET / HTTP/1.0\r\n\r\n", None),
    ]);
}

#[test]
fn field_lines() {
    check_fields(&[
        ("A: b\r\n c", Some(Refusal::ObsFold)),
        (" A: b", Some(Refusal::ObsFold)),
        ("\tA: b", Some(Refusal::ObsFold)),
        ("A : b", Some(Refusal::FieldNameWhitespace)),
        ("A\t: b", Some(Refusal::FieldNameWhitespace)),
        ("A b: c", Some(Refusal::FieldNameWhitespace)),
        ("A: b: c", None),
        (": b", Some(Refusal::FieldNameInvalid)),
        ("A\0: b", Some(Refusal::FieldNameInvalid)),
        ("A\x0b: b", Some(Refusal::FieldNameInvalid)),
        ("A(: b", Some(Refusal::FieldNameInvalid)),
        ("\u{e9}: b", Some(Refusal::FieldNameInvalid)),
        ("!#$%&'*+-.^_`|~0: b", None),
        ("Ab", Some(Refusal::FieldColonMissing)),
        ("A: \0", Some(Refusal::FieldValueNul)),
        ("A: \x0b", Some(Refusal::FieldValueControl)),
        ("A: b\x7f", Some(Refusal::FieldValueControl)),
        ("A: b\x1b[0m", Some(Refusal::FieldValueControl)),
        ("A:\tb\tc\t", None),
        ("A: caf\u{e9}", None),
        ("A:", None),
        ("A: b\nC: d", Some(Refusal::BareLf)),
        ("A\n: d", Some(Refusal::BareLf)),
        ("A: b\rC: d", Some(Refusal::BareCr)),
        ("A: b\r\r\nC: d", Some(Refusal::BareCr)),
        ("\n", Some(Refusal::BareLf)),
        ("\rA", Some(Refusal::BareCr)),
        ("Host: a\r\nhost: a", Some(Refusal::HostDuplicate)),
        ("Host: a\r\nX-Host: a", None),
        ("Sec-WebSocket-Key1: a", Some(Refusal::WebSocketDraft)),
        ("sec-websocket-key2: a", Some(Refusal::WebSocketDraft)),
        ("Sec-WebSocket-Key: a", None),
    ]);
}

#[test]
fn content_length() {
    check_fields(&[
        ("Content-Length: 0", None),
        ("CONTENT-LENGTH: 0", None),
        ("Content-Length:0", None),
        ("Content-Length: 0\r\nContent-Length: 0", Some(Refusal::ContentLengthDuplicate)),
        ("Content-Length: 0\r\nContent-Lengths: 5", None),
        ("Content-Length: 0, 0", Some(Refusal::ContentLengthList)),
        ("Content-Length: 0,", Some(Refusal::ContentLengthList)),
        ("Content-Length:", Some(Refusal::ContentLengthEmpty)),
        ("Content-Length: \t ", Some(Refusal::ContentLengthEmpty)),
        ("Content-Length: +0", Some(Refusal::ContentLengthNotDecimal)),
        ("Content-Length: -0", Some(Refusal::ContentLengthNotDecimal)),
        ("Content-Length: 0x0", Some(Refusal::ContentLengthNotDecimal)),
        ("Content-Length: a", Some(Refusal::ContentLengthNotDecimal)),
        ("Content-Length: 010", Some(Refusal::ContentLengthNotDecimal)),
        ("Content-Length: 1_0", Some(Refusal::ContentLengthNotDecimal)),
        ("Content-Length: 1 0", Some(Refusal::ContentLengthNotDecimal)),
        ("Content-Length:\t0", Some(Refusal::ContentLengthNotDecimal)),
        ("Content-Length: 0 ", Some(Refusal::ContentLengthNotDecimal)),
        ("Content-Length: 0\u{a0}", Some(Refusal::ContentLengthNotDecimal)),
        ("Content-Length: 9223372036854775807", None),
        ("Content-Length: 9223372036854775808", Some(Refusal::ContentLengthOverflow)),
        ("Content-Length: 18446744073709551621", Some(Refusal::ContentLengthOverflow)),
        ("Content-Length: 99999999999999999999999", Some(Refusal::ContentLengthOverflow)),
    ]);
}

#[test]
fn transfer_encoding() {
    let not_chunked = Some(Refusal::TransferEncodingNotChunked);
    check_fields(&[
        ("Transfer-Encoding: chunked", None),
        ("transfer-encoding:CHUNKED", None),
        ("Transfer-Encoding: xchunked", not_chunked),
        ("Transfer-Encoding: ,chunked", not_chunked),
        ("Transfer-Encoding: chunked,", not_chunked),
        ("Transfer-Encoding: chunked ", not_chunked),
        ("Transfer-Encoding: chunked;q=1", not_chunked),
        ("Transfer-Encoding: \"chunked\"", not_chunked),
        ("Transfer-Encoding:\tchunked", not_chunked),
        ("Transfer-Encoding: \u{a0}chunked", not_chunked),
        ("Transfer-Encoding: \x0bchunked", Some(Refusal::FieldValueControl)),
        ("Transfer-Encoding: chunked\x0c", Some(Refusal::FieldValueControl)),
        ("Transfer-Encoding:", not_chunked),
        ("Transfer-Encoding: cow", not_chunked),
        ("Transfer-Encoding: gzip, chunked", Some(Refusal::TransferCodingUnsupported)),
        ("Transfer-Encoding: gzip", Some(Refusal::TransferCodingUnsupported)),
        ("Transfer-Encoding: identity", Some(Refusal::TransferCodingUnsupported)),
        ("Transfer-Encoding: chunked, chunked", Some(Refusal::TransferCodingUnsupported)),
        (
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
            Some(Refusal::TransferEncodingDuplicate),
        ),
        ("Transfer-Encoding: chunked\r\nTransfer-Encodings: chunked", None),
        (
            "Transfer-Encoding: chunked\r\nContent-Length: 0",
            Some(Refusal::LengthAndTransferEncoding),
        ),
        (
            "Content-Length: 5\r\nTransfer-Encoding: chunked",
            Some(Refusal::LengthAndTransferEncoding),
        ),
        ("Content-Length: 5\r\nTE: trailers", None),
    ]);
    check(&[
        (
            "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
            Some(Refusal::TransferEncodingHttp10),
        ),
        ("POST / HTTP/1.0\r\nContent-Length: 5\r\n\r\n", None),
    ]);
}

#[test]
fn nothing_after_a_refused_message_is_read() {
    let seen = super::requests(
        &Limits::default(),
        b"GET / HTTP/1.1\r\n\r\nPOST / HTTP/1.1\r\nContent-Length: +1\r\n\r\nGET / HTTP/1.1\r\n\r\n",
        &[],
    );
    assert_eq!(seen.len(), 3, "{seen:?}");
    assert_eq!(seen[2], super::Seen::Refused(Refusal::ContentLengthNotDecimal));
}

fn check_fields(examples: &[(&str, Option<Refusal>)]) {
    for (fields, expected) in examples {
        let stream = format!("POST /a HTTP/1.1\r\n{fields}\r\n\r\n");
        assert_eq!(refusal_of(&Limits::default(), stream.as_bytes()), *expected, "{fields:?}");
    }
}

fn check(examples: &[(&str, Option<Refusal>)]) {
    for (stream, expected) in examples {
        assert_eq!(refusal_of(&Limits::default(), stream.as_bytes()), *expected, "{stream:?}");
    }
}
