//! Requests that two parsers could read differently are refused, and the source sees none of them.

use std::time::Duration;

use crate::rig::client::{Client, bare, request};
use crate::rig::origin::{Origin, ok};
use crate::rig::tapline::{Capture, Tapline};

#[test]
fn malformed_heads_are_answered_and_never_forwarded() {
    let origin = Origin::answering(|_| ok(b""));
    let tapline = &mut Capture::of(origin.port()).start();
    for (name, wire, status) in HEADS {
        assert_refused(tapline, name, wire.as_bytes(), *status);
    }
    assert_eq!(origin.received_bytes(), 0, "no byte of a refused request reached the source");
    assert!(tapline.runs());
    tapline.stop();
}

#[test]
fn malformed_chunks_are_cut_before_the_source_sees_them() {
    for line in CHUNK_LINES {
        let origin = Origin::answering(|_| ok(b""));
        let tapline = &mut Capture::of(origin.port()).start();
        let wire = format!(
            "POST /_bulk HTTP/1.1\r\nHost: s\r\nTransfer-Encoding: chunked\r\n\r\n\
             3\r\nabc\r\n{line}SECRET\r\n0\r\n\r\n"
        );
        let mut client = Client::connect(tapline.port());
        client.send(wire.as_bytes());
        let received = client.remainder();
        assert!(
            received.is_empty() || received.starts_with(b"HTTP/1.1 400 "),
            "{line:?}: {}",
            String::from_utf8_lossy(&received)
        );
        for conversation in origin.conversations() {
            assert!(!conversation.received.holds(b"SECRET", Duration::from_millis(50)), "{line:?}");
        }
        assert!(tapline.runs());
    }
}

#[test]
fn a_good_request_before_a_bad_one_is_answered_first() {
    let origin = Origin::answering(|request| ok(request.target().as_bytes()));
    let tapline = &mut Capture::of(origin.port()).start();
    let mut client = Client::connect(tapline.port());
    let good = [bare("GET", "/one"), request("PUT", "/two", b"{}")].concat();
    let bad = b"POST /three HTTP/1.1\r\nHost: s\r\nContent-Length: 1, 1\r\n\r\nx".to_vec();
    client.send(&[good.clone(), bad, bare("GET", "/four")].concat());
    assert_eq!(client.response("GET").text(), "/one");
    assert_eq!(client.response("PUT").text(), "/two");
    assert_eq!(client.response("POST").status(), 400);
    assert_eq!(client.remainder(), b"");
    assert_eq!(origin.conversation(0).received.bytes(), good);
    tapline.stop();
}

#[test]
fn limits_hold_by_default_and_are_not_off_by_one() {
    let origin = Origin::answering(|_| ok(b"ok"));
    let tapline = &mut Capture::of(origin.port()).start();
    // The line of 8 KiB counts its line end.
    let line = |bytes: usize| {
        let fixed = "GET / HTTP/1.1\r\n".len();
        bare("GET", &format!("/{}", "a".repeat(bytes - fixed)))
    };
    let fields = |count: usize| {
        let others = "X: y\r\n".repeat(count - 1);
        format!("GET / HTTP/1.1\r\nHost: s\r\n{others}\r\n").into_bytes()
    };
    let head = |count: usize| {
        let field = format!("X: {}\r\n", "y".repeat(1000 - 5));
        format!("GET / HTTP/1.1\r\n{}\r\n", field.repeat(count)).into_bytes()
    };
    for (name, wire) in [("line", line(8000)), ("fields", fields(256)), ("head", head(60))] {
        assert_eq!(Client::connect(tapline.port()).ask(&wire).status(), 200, "{name}");
    }
    let before = origin.received_bytes();
    assert_refused(tapline, "line", &line(8300), 414);
    assert_refused(tapline, "fields", &fields(257), 431);
    assert_refused(tapline, "head", &head(70), 431);
    assert_eq!(origin.received_bytes(), before);
}

#[test]
fn limits_can_be_set() {
    let origin = Origin::answering(|_| ok(b"ok"));
    let tapline = &mut Capture::of(origin.port())
        .flag("--line-bytes-max", "100")
        .flag("--head-bytes-max", "400")
        .flag("--fields-max", "5")
        .start();
    assert_eq!(Client::connect(tapline.port()).ask(&bare("GET", "/")).status(), 200);
    let before = origin.received_bytes();
    assert_refused(tapline, "line", &bare("GET", &format!("/{}", "a".repeat(100))), 414);
    let fields = format!("GET / HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(6));
    assert_refused(tapline, "fields", fields.as_bytes(), 431);
    let head = format!("GET / HTTP/1.1\r\n{}\r\n", format!("X: {}\r\n", "y".repeat(90)).repeat(5));
    assert_refused(tapline, "head", head.as_bytes(), 431);
    assert_eq!(origin.received_bytes(), before);
}

/// Sends a request with a good one behind it on a new connection: one answer, then the end.
fn assert_refused(tapline: &Tapline, name: &str, wire: &[u8], status: u16) {
    let mut client = Client::connect(tapline.port());
    // The proxy may close before all of it is taken.
    let _ = client.try_send(&[wire, &bare("GET", "/behind")].concat());
    let answer = client.try_response("GET").unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(answer.status(), status, "{name}: {}", answer.text());
    assert_eq!(answer.field("connection").as_deref(), Some("close"), "{name}");
    // A reset instead of a FIN is what the kernel makes of bytes that nobody read.
    assert_eq!(client.remainder(), b"", "{name}");
}

/// What stands before the marker must not pass, and so neither must the marker.
const CHUNK_LINES: &[&str] = &[
    "+6\r\n",
    "-6\r\n",
    "0x6\r\n",
    "0_6\r\n",
    " 6\r\n",
    "6 6\r\n",
    "6\n",
    "6\rX",
    "6;a=\x01\r\n",
    "6;a=\nb\r\n",
    "00000000000000006\r\n",
    "10000000000000006\r\n",
    "fffffffffffffffff\r\n",
    "\r\n",
    "g\r\n",
    "2\r\nabX\r\n6\r\n",
];

/// Name, request, status of the refusal.
const HEADS: &[(&str, &str, u16)] = &[
    (
        "both framings",
        "POST / HTTP/1.1\r\nHost: s\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    (
        "two lengths",
        "POST / HTTP/1.1\r\nHost: s\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        400,
    ),
    (
        "one length twice",
        "POST / HTTP/1.1\r\nHost: s\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na",
        400,
    ),
    ("list of lengths", "POST / HTTP/1.1\r\nHost: s\r\nContent-Length: 1, 1\r\n\r\na", 400),
    ("signed length", "POST / HTTP/1.1\r\nHost: s\r\nContent-Length: +1\r\n\r\na", 400),
    ("negative length", "POST / HTTP/1.1\r\nHost: s\r\nContent-Length: -1\r\n\r\na", 400),
    ("hexadecimal length", "POST / HTTP/1.1\r\nHost: s\r\nContent-Length: 0x1\r\n\r\na", 400),
    ("empty length", "POST / HTTP/1.1\r\nHost: s\r\nContent-Length: \r\n\r\n", 400),
    (
        "overflowing length",
        "POST / HTTP/1.1\r\nHost: s\r\nContent-Length: 99999999999999999999\r\n\r\n",
        400,
    ),
    (
        "wrapping length",
        "POST / HTTP/1.1\r\nHost: s\r\nContent-Length: 18446744073709551617\r\n\r\na",
        400,
    ),
    (
        "two codings",
        "POST / HTTP/1.1\r\nHost: s\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    ("coding in 1.0", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    (
        "vertical tab before the coding",
        "POST / HTTP/1.1\r\nHost: s\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    ("folded line", "GET / HTTP/1.1\r\nHost: s\r\nX: a\r\n b\r\n\r\n", 400),
    ("folded first line", "GET / HTTP/1.1\r\n Host: s\r\n\r\n", 400),
    ("blank before the colon", "GET / HTTP/1.1\r\nHost : s\r\n\r\n", 400),
    ("blank in a name", "GET / HTTP/1.1\r\nHost: s\r\nX Y: z\r\n\r\n", 400),
    ("NUL in a name", "GET / HTTP/1.1\r\nHost: s\r\nX\0: z\r\n\r\n", 400),
    ("control in a name", "GET / HTTP/1.1\r\nHost: s\r\nX\x01: z\r\n\r\n", 400),
    ("empty name", "GET / HTTP/1.1\r\nHost: s\r\n: z\r\n\r\n", 400),
    ("no colon", "GET / HTTP/1.1\r\nHost: s\r\nnothing\r\n\r\n", 400),
    ("NUL in a value", "GET / HTTP/1.1\r\nHost: s\r\nX: a\0b\r\n\r\n", 400),
    ("bare CR in a value", "GET / HTTP/1.1\r\nHost: s\r\nX: a\rb\r\n\r\n", 400),
    ("bare LF", "GET / HTTP/1.1\nHost: s\n\n", 400),
    ("bare LF in the fields", "GET / HTTP/1.1\r\nHost: s\nX: y\r\n\r\n", 400),
    ("bare LF at the end", "GET / HTTP/1.1\r\nHost: s\r\n\n", 400),
    ("tunnel", "CONNECT s:443 HTTP/1.1\r\nHost: s\r\n\r\n", 501),
    ("preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    ("HTTP/2.0", "GET / HTTP/2.0\r\nHost: s\r\n\r\n", 505),
    ("HTTP/0.9", "GET /\r\n", 400),
    ("no such version", "GET / HTTX/1.1\r\nHost: s\r\n\r\n", 400),
    ("two blanks", "GET  / HTTP/1.1\r\nHost: s\r\n\r\n", 400),
    ("blank in the target", "GET /a b HTTP/1.1\r\nHost: s\r\n\r\n", 400),
    ("control in the target", "GET /a\x01 HTTP/1.1\r\nHost: s\r\n\r\n", 400),
    ("no method", " / HTTP/1.1\r\nHost: s\r\n\r\n", 400),
    ("method of other characters", "G(T / HTTP/1.1\r\nHost: s\r\n\r\n", 400),
    ("two hosts", "GET / HTTP/1.1\r\nHost: s\r\nHost: t\r\n\r\n", 400),
];
