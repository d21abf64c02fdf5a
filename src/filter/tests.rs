//! Edits against a model that works on lines, and on heads of every shape.

use proptest::prelude::*;

use super::{Filter, HeaderEdit, HeaderEdits};
use crate::http::{Limits, RequestFraming, RequestPart};

fn edits(wanted: &[(&str, &str)]) -> HeaderEdits {
    let edits: Vec<_> = wanted
        .iter()
        .map(|(name, value)| HeaderEdit::new(name, value).expect("a valid edit"))
        .collect();
    HeaderEdits::new(&edits).expect("edits that fit together")
}

fn applied(wanted: &[(&str, &str)], head: &str) -> String {
    let out = edits(wanted).apply(head.as_bytes());
    out.map_or_else(|| head.to_owned(), |out| String::from_utf8(out).expect("text"))
}

#[test]
fn a_field_is_replaced_in_its_place_and_its_doubles_go() {
    let head = "GET / HTTP/1.1\r\nA: 1\r\nhOsT:  old \r\nB: 2\r\nA: 3\r\n\r\n";
    let out = applied(&[("Host", "new"), ("a", "x")], head);
    assert_eq!(out, "GET / HTTP/1.1\r\nA: x\r\nhOsT: new\r\nB: 2\r\n\r\n");
}

#[test]
fn a_missing_field_is_added_behind_the_others_and_an_empty_value_removes() {
    let head =
        "\r\nPUT /a HTTP/1.0\r\nAuthorization: x\r\nAuthorizations: y\r\nauthorization: z\r\n\r\n";
    let out = applied(&[("Authorization", ""), ("Host", "h"), ("X", "1"), ("x", "2")], head);
    assert_eq!(out, "\r\nPUT /a HTTP/1.0\r\nAuthorizations: y\r\nHost: h\r\nX: 1\r\nx: 2\r\n\r\n");
    assert_eq!(applied(&[("A", "b")], "GET / HTTP/1.0\r\n\r\n"), "GET / HTTP/1.0\r\nA: b\r\n\r\n");
}

#[test]
fn what_is_as_asked_already_is_left_alone() {
    let head = b"GET / HTTP/1.1\r\nHost:a\r\n\r\n";
    assert!(edits(&[("Host", "a"), ("B", "")]).apply(head).is_none());
    assert!(HeaderEdits::default().apply(head).is_none());
}

#[test]
fn the_client_is_appended_to_those_before_it() {
    let client = "2001:db8::1".parse().expect("an address");
    let of = |head: &str| {
        let filter = Filter { forwarded_for: true, ..Filter::default() };
        String::from_utf8(filter.edited(head.as_bytes(), Some(client)).expect("edited"))
            .expect("text")
    };
    let head = "GET / HTTP/1.1\r\nx-forwarded-for: a\r\nX-Forwarded-For: b , c \r\nHost: h\r\n\r\n";
    let out = "GET / HTTP/1.1\r\nx-forwarded-for: a\r\nX-Forwarded-For: b , c, 2001:db8::1 \r\nHost: h\r\n\r\n";
    assert_eq!(of(head), out);
    assert_eq!(
        of("GET / HTTP/1.0\r\n\r\n"),
        "GET / HTTP/1.0\r\nX-Forwarded-For: 2001:db8::1\r\n\r\n"
    );
    let empty = "GET / HTTP/1.1\r\nX-Forwarded-For:\r\n\r\n";
    assert_eq!(of(empty), "GET / HTTP/1.1\r\nX-Forwarded-For:2001:db8::1\r\n\r\n");
    assert!(Filter::default().edited(empty.as_bytes(), Some(client)).is_none());
}

#[test]
fn names_and_values_that_would_change_the_message_are_refused() {
    for name in ["Content-Length", "transfer-encoding", "CONNECTION", "Upgrade", "Expect", "TE"] {
        assert!(HeaderEdit::new(name, "1").is_err(), "{name}");
    }
    for name in ["", "a b", "a:", "a\r\n", "ä"] {
        assert!(HeaderEdit::new(name, "1").is_err(), "{name:?}");
    }
    for text in ["A: b\r\nC: d", "A: b\n", "A: \0", "A: \x7f", "no colon", ": b", "Host:", "A : b"]
    {
        let parsed: Result<HeaderEdit, String> = text.parse();
        // Blanks before the colon belong to nobody.
        assert_eq!(parsed.is_ok(), text == "A : b", "{text:?}");
    }
    let twice = |a, b| {
        HeaderEdits::new(&[
            HeaderEdit::new("Host", a).unwrap(),
            HeaderEdit::new("hOST", b).unwrap(),
        ])
    };
    assert!(twice("a", "b").is_err());
    assert!(!format!("{:?}", edits(&[("A", "secret")])).contains("secret"));
}

/// What the edits promise, said once more on lines.
fn model(wanted: &[(String, String)], lines: &[(String, String)]) -> Vec<(String, String)> {
    let mut out: Vec<(String, String)> = Vec::new();
    let mut done: Vec<String> = Vec::new();
    let same = |a: &str, b: &str| a.eq_ignore_ascii_case(b);
    for (name, text) in lines {
        let Some((_, value)) = wanted.iter().find(|(n, _)| same(n, name)) else {
            out.push((name.clone(), text.clone()));
            continue;
        };
        let first = !done.iter().any(|n| same(n, name));
        done.push(name.clone());
        if first && !value.is_empty() {
            let kept = text.trim_matches([' ', '\t']) == value;
            out.push((name.clone(), if kept { text.clone() } else { format!(" {value}") }));
        }
    }
    for (name, value) in wanted {
        if !value.is_empty() && !done.iter().any(|n| same(n, name)) {
            out.push((name.clone(), format!(" {value}")));
        }
    }
    out
}

fn write(lines: &[(String, String)]) -> String {
    let mut out = String::new();
    for (name, text) in lines {
        out.extend([&**name, ":", text, "\r\n"]);
    }
    out
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof!["[aAbB]", "[hH]ost", "[a-zA-Z0-9!#$%&'*+.^_`|~-]{1,12}"]
}

fn wanted() -> impl Strategy<Value = Vec<(String, String)>> {
    let value = prop_oneof![Just(String::new()), "[ -~]{0,20}".prop_map(|v| v.trim().to_owned())];
    prop::collection::vec((name(), value), 0..5).prop_map(|all| {
        let mut out: Vec<(String, String)> = Vec::new();
        for (name, value) in all {
            let new = !out.iter().any(|(other, _)| other.eq_ignore_ascii_case(&name));
            if new && HeaderEdit::new(&name, &value).is_ok() {
                out.push((name, value));
            }
        }
        out
    })
}

proptest! {
    /// The head with exactly those lines changed, for every head that the framing accepts.
    #[test]
    fn exactly_the_lines_asked_for_change(
        wanted in wanted(),
        lines in prop::collection::vec((name(), "[ \t]{0,2}[ -~\t]{0,20}[ \t]{0,2}"), 0..8),
        empty in 0_usize..3,
    ) {
        let start = format!("{}GET /a?b=c HTTP/1.1\r\n", "\r\n".repeat(empty));
        let head = format!("{start}{}\r\n", write(&lines));
        let mut framing = RequestFraming::new();
        let piece = framing.next(&Limits::default(), head.as_bytes());
        let accepted = matches!(&piece, Ok(piece) if matches!(piece.what, RequestPart::Head(_)));
        prop_assume!(accepted);
        let pairs: Vec<(&str, &str)> = wanted.iter().map(|(n, v)| (&**n, &**v)).collect();
        let expected = format!("{start}{}\r\n", write(&model(&wanted, &lines)));
        let got = applied(&pairs, &head);
        prop_assert_eq!(&got, &expected);
        // Once done, there is nothing left to do.
        prop_assert!(edits(&pairs).apply(got.as_bytes()).is_none());
    }
}
