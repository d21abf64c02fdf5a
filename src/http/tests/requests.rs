//! Requests that are let through, and what is read from them.

use super::super::{Limits, Method, RequestFraming, RequestPart, ResponseFraming, Version};
use super::{Refusal, Seen, head_of, refusal_of, requests};

#[test]
fn a_plain_get() {
    let head = head_of(b"GET / HTTP/1.1\r\nHost: a\r\nAccept: */*\r\n\r\n");
    assert_eq!(head.method, Method::Get);
    assert_eq!(head.version, Version::Http11);
    assert_eq!((head.first_line_bytes, head.headers_bytes), (14, 7 + 11));
    assert_eq!(head.head_bytes, 16 + 9 + 13 + 2);
    assert!(head.safe && !head.read_only_post && !head.close && !head.upgrade);
    assert!(!head.expect_continue && !head.chunked);
    assert_eq!(head.content_length, None);
}

#[test]
fn methods_and_safety() {
    let safe = |line: &str| {
        let head = head_of(format!("{line} HTTP/1.1\r\n\r\n").as_bytes());
        (head.method, head.safe)
    };
    assert_eq!(safe("GET /"), (Method::Get, true));
    assert_eq!(safe("HEAD /"), (Method::Head, true));
    assert_eq!(safe("OPTIONS /"), (Method::Options, true));
    assert_eq!(safe("OPTIONS *"), (Method::Options, true));
    assert_eq!(safe("POST /_bulk"), (Method::Post, false));
    assert_eq!(safe("POST /_search?size=1"), (Method::Post, true));
    assert_eq!(safe("PUT /_search"), (Method::Put, false));
    assert_eq!(safe("DELETE /_search/scroll"), (Method::Delete, false));
    assert_eq!(safe("PATCH /"), (Method::Patch, false));
    assert_eq!(safe("TRACE /"), (Method::Other, false));
    assert_eq!(safe("get /"), (Method::Other, false));
    assert_eq!(safe("GETS /"), (Method::Other, false));
    assert_eq!(safe("GET http://host:9200/"), (Method::Get, false));
    assert_eq!(safe("POST HTTPS://host/_search"), (Method::Post, false));
    assert_eq!(safe("GET /\u{e9}t\u{e9}?q=\"{}|^`<>\\#"), (Method::Get, true));
}

#[test]
fn what_makes_a_safe_line_unsafe() {
    let with = |fields: &str| head_of(format!("GET / HTTP/1.1\r\n{fields}\r\n\r\n").as_bytes());
    assert!(!with("X-HTTP-Method-Override: DELETE").safe);
    assert!(!with("x-http-method: PUT").safe);
    assert!(!with("X-Method-Override: PUT").safe);
    assert!(with("X-HTTP-Method-Other: PUT").safe);
    assert!(!with("Connection: upgrade\r\nUpgrade: h2c").safe);
    assert!(with("Upgrade: h2c").safe);
    assert!(with("Content-Length: 5").safe);
    assert!(with("Transfer-Encoding: chunked").safe);
}

#[test]
fn connection_options() {
    let close = |version: &str, fields: &str| {
        head_of(format!("GET / HTTP/{version}\r\n{fields}\r\n\r\n").as_bytes()).close
    };
    assert!(!close("1.1", "A: b"));
    assert!(close("1.1", "Connection: close"));
    assert!(close("1.1", "CONNECTION:\tfoo ,\tClose "));
    assert!(close("1.1", "Connection: keep-alive\r\nConnection: close"));
    assert!(!close("1.1", "Connection: closed"));
    assert!(!close("1.1", "Proxy-Connection: close"));
    assert!(close("1.0", "A: b"));
    assert!(!close("1.0", "Connection: Keep-Alive"));
    assert!(close("1.0", "Connection: keep-alive, close"));
}

#[test]
fn upgrade_and_expect() {
    let head = |version: &str, fields: &str| {
        head_of(format!("GET / HTTP/{version}\r\n{fields}\r\n\r\n").as_bytes())
    };
    assert!(head("1.1", "Connection: Upgrade\r\nUpgrade: websocket").upgrade);
    assert!(head("1.1", "Upgrade: h2c\r\nConnection: upgrade, http2-settings").upgrade);
    assert!(!head("1.1", "Upgrade: h2c").upgrade);
    assert!(!head("1.1", "Connection: upgrade").upgrade);
    assert!(!head("1.0", "Connection: upgrade\r\nUpgrade: h2c").upgrade);
    assert!(head("1.1", "Expect: 100-Continue ").expect_continue);
    assert!(!head("1.1", "Expect: 100-continue, x").expect_continue);
    assert!(!head("1.0", "Expect: 100-continue").expect_continue);
}

#[test]
fn bodies() {
    let limits = Limits::default();
    let first = "POST /a HTTP/1.1\r\nContent-Length:  3\r\n\r\nabc";
    let second = "PUT /b HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    let third = "POST /c HTTP/1.0\r\nContent-Length: 0\r\n\r\n";
    let open = "GET /d HTTP/1.1\r\nContent-Length:2\r\n\r\nx";
    let seen = requests(&limits, [first, second, third, open].concat().as_bytes(), &[]);
    let ends: Vec<usize> = seen
        .iter()
        .filter_map(|seen| if let Seen::End { at } = seen { Some(*at) } else { None })
        .collect();
    let (second, third) = (first.len() + second.len(), first.len() + second.len() + third.len());
    assert_eq!(ends, [first.len(), second, third]);
    assert_eq!(
        seen.last(),
        Some(&Seen::Open { body_bytes: 1, kept: Vec::new(), at_boundary: false })
    );
    assert_eq!(seen.iter().filter(|seen| matches!(seen, Seen::Request { .. })).count(), 4);
}

#[test]
fn no_body_without_a_length_even_in_http_1_0() {
    let mut framing = RequestFraming::new();
    let stream = b"POST / HTTP/1.0\r\n\r\nGET / HTTP/1.0\r\n\r\n";
    let piece = framing.next(&Limits::default(), stream).unwrap();
    assert_eq!((piece.len, piece.end), (19, true));
    let piece = framing.next(&Limits::default(), &stream[19..]).unwrap();
    assert!(matches!(piece.what, RequestPart::Head(head) if head.method == Method::Get));
}

#[test]
fn empty_lines_before_a_request() {
    let head = head_of(b"\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\n\r\n");
    assert_eq!((head.first_line_bytes, head.headers_bytes, head.head_bytes), (14, 0, 26));
    let limits = Limits::default();
    let five = b"\r\n\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\n\r\n";
    assert_eq!(refusal_of(&limits, five), Some(Refusal::EmptyLines));

    let mut framing = RequestFraming::new();
    framing.next(&limits, b"\r\n").unwrap();
    assert!(framing.at_boundary(), "a stray line end is no request");
    assert_eq!(framing.kept(), b"\r\n");
    framing.next(&limits, b"\r").unwrap();
    assert!(!framing.at_boundary());
}

#[test]
fn a_head_in_pieces() {
    let limits = Limits::default();
    let mut framing = RequestFraming::new();
    let piece = framing.next(&limits, b"POST /x HTTP/1.1\r\nContent-Le").unwrap();
    assert_eq!((piece.len, piece.what, piece.end), (28, RequestPart::HeadPart, false));
    assert!(!framing.at_boundary());
    let piece = framing.next(&limits, b"ngth: 4\r\nHost: a\r\n\r\nab").unwrap();
    assert_eq!((piece.len, piece.end), (20, false));
    assert_eq!(framing.head_kept(), b"POST /x HTTP/1.1\r\nContent-Le");
    framing.release_head();
    assert_eq!(framing.head_kept(), b"");
    let piece = framing.next(&limits, b"ab").unwrap();
    assert_eq!((piece.len, piece.what, piece.end), (2, RequestPart::Body, false));
    assert!(framing.next(&limits, b"cd").unwrap().end);
    assert!(framing.at_boundary());
}

#[test]
fn kept_bytes_are_handed_out_once_and_end_the_framing() {
    let limits = Limits::default();
    let mut framing = RequestFraming::new();
    assert_eq!(framing.take_kept(), b"");
    framing.next(&limits, b"GET / HT").unwrap();
    assert_eq!(framing.take_kept(), b"GET / HT");
    assert_eq!(framing.kept(), b"");
    assert_eq!(framing.next(&limits, b"TP/1.1\r\n\r\n"), Err(Refusal::CutShort));
}

#[test]
fn limits_strike_at_their_bound() {
    let limits =
        Limits { line_bytes_max: 20, head_bytes_max: 60, fields_max: 3, ..Limits::default() };
    let refused = |stream: &str| refusal_of(&limits, stream.as_bytes());
    assert_eq!(refused("GET /3456789 HTTP/1.1\r\n\r\n"), Some(Refusal::RequestLineTooLong));
    assert_eq!(refused("GET /345678 HTTP/1.1\r\n\r\n"), None);
    assert_eq!(refused("GET / HTTP/1.1\r\na: 45678901234567890\r\n\r\n"), None);
    assert_eq!(
        refused("GET / HTTP/1.1\r\na: 456789012345678901\r\n\r\n"),
        Some(Refusal::FieldLineTooLong)
    );
    // 16 + 22 + 20 + 2 = 60 bytes.
    let head = |name: &str| format!("GET / HTTP/1.1\r\na: 45678901234567890\r\n{name}: 4\r\n\r\n");
    assert_eq!(refused(&head("b23456789012345")), None);
    assert_eq!(refused(&head("b234567890123456")), Some(Refusal::HeadTooLarge));
    let tight = Limits { line_bytes_max: 58, ..limits };
    let line = format!("GET /{}", "a".repeat(60));
    assert_eq!(refusal_of(&tight, line.as_bytes()), Some(Refusal::HeadTooLarge));
    assert_eq!(refused("GET / HTTP/1.1\r\na:\r\nb:\r\nc:\r\n\r\n"), None);
    assert_eq!(
        refused("GET / HTTP/1.1\r\na:\r\nb:\r\nc:\r\nd:\r\n\r\n"),
        Some(Refusal::TooManyFields)
    );
}

#[test]
fn an_endless_head_is_refused_before_memory_grows() {
    let limits = Limits::default();
    let mut framing = RequestFraming::new();
    framing.next(&limits, b"GET / HTTP/1.1\r\n").unwrap();
    let mut fed = 0;
    let refusal = loop {
        match framing
            .next(&limits, b"a: 3456789 123456789 123456789 123456789 123456789 123456789\r\n")
        {
            Ok(_) => fed += 1,
            Err(refusal) => break refusal,
        }
        assert!(framing.kept().len() <= limits.head_bytes_max);
    };
    assert_eq!(refusal, Refusal::TooManyFields);
    assert_eq!(fed, limits.fields_max);
}

#[test]
fn an_idle_connection_costs_little() {
    assert!(size_of::<RequestFraming>() <= 96, "{}", size_of::<RequestFraming>());
    assert!(size_of::<ResponseFraming>() <= 96, "{}", size_of::<ResponseFraming>());
}
