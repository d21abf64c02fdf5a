//! Header edits.

use proptest::prelude::*;

use super::{framed, rewrite, sent, try_framed};
use crate::rewrite::{Auth, Host, Rewriter, Rewritten, Settings};

fn to_target() -> Settings {
    Settings { host: Host::Target("target:9201".to_owned()), ..Settings::default() }
}

fn set(fields: &[(&str, &str)]) -> Settings {
    let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    Settings { set_headers: fields.iter().map(own).collect(), ..Settings::default() }
}

fn with_auth(auth: Auth) -> Settings {
    Settings { auth, ..Settings::default() }
}

#[test]
fn the_host_is_replaced_where_it_stands() {
    let cases = [
        (
            "GET / HTTP/1.1\r\nA: 1\r\nHOST:source:9200\r\nB: 2\r\n\r\n",
            "GET / HTTP/1.1\r\nA: 1\r\nHOST: target:9201\r\nB: 2\r\n\r\n",
        ),
        (
            "\r\nPOST /a HTTP/1.1\r\nhost: s\r\nContent-Length: 9\r\n\r\nHost: no\n",
            "\r\nPOST /a HTTP/1.1\r\nhost: target:9201\r\nContent-Length: 9\r\n\r\nHost: no\n",
        ),
        ("GET / HTTP/1.0\r\nhost: s\r\n\r\n", "GET / HTTP/1.0\r\nhost: target:9201\r\n\r\n"),
        // The old version does without.
        ("GET / HTTP/1.0\r\n\r\n", "GET / HTTP/1.0\r\n\r\n"),
        ("GET / HTTP/1.1\r\n\r\n", "GET / HTTP/1.1\r\nHost: target:9201\r\n\r\n"),
        // Names that only begin alike.
        (
            "GET / HTTP/1.1\r\nHostess: s\r\nHost: target:9201\r\nHos: s\r\n\r\n",
            "GET / HTTP/1.1\r\nHostess: s\r\nHost: target:9201\r\nHos: s\r\n\r\n",
        ),
    ];
    for (captured, expected) in cases {
        assert_eq!(sent(&to_target(), captured), expected);
    }
}

#[test]
fn a_request_that_is_as_asked_is_untouched() {
    let message = b"GET / HTTP/1.1\r\nHost: target:9201\r\n\r\n";
    assert_eq!(rewrite(&to_target(), message), Rewritten::Untouched);
    assert_eq!(rewrite(&Settings::default(), message), Rewritten::Untouched);
    assert!(Rewriter::new(&Settings::default()).expect("fine").is_identity());
    assert!(!Rewriter::new(&to_target()).expect("fine").is_identity());
}

#[test]
fn fields_are_set_added_and_removed() {
    let message = "GET / HTTP/1.1\r\nHost: s\r\nX-A: 1\r\nKeep:  as is \r\nx-a: 2\r\n\r\n";
    let cases: &[(&[(&str, &str)], &str)] = &[
        (&[("X-A", "3")], "GET / HTTP/1.1\r\nHost: s\r\nX-A: 3\r\nKeep:  as is \r\n\r\n"),
        (&[("x-a", "")], "GET / HTTP/1.1\r\nHost: s\r\nKeep:  as is \r\n\r\n"),
        (
            &[("X-B", "3"), ("X-A", "")],
            "GET / HTTP/1.1\r\nHost: s\r\nKeep:  as is \r\nX-B: 3\r\n\r\n",
        ),
        (
            &[("X-A", "8"), ("X-a", "9")],
            "GET / HTTP/1.1\r\nHost: s\r\nX-A: 8\r\nX-a: 9\r\nKeep:  as is \r\n\r\n",
        ),
        (&[("X-C", "")], message),
    ];
    for (fields, expected) in cases {
        assert_eq!(&sent(&set(fields), message), expected);
    }
    let both = Settings { host: Host::Target("target".to_owned()), ..set(&[("Host", "mine")]) };
    assert_eq!(
        sent(&both, "GET / HTTP/1.1\r\nHost: s\r\n\r\n"),
        "GET / HTTP/1.1\r\nHost: mine\r\n\r\n"
    );
}

#[test]
fn the_user_agent_is_appended_to_all_there_is() {
    let settings = Settings { user_agent: Some("tapline".to_owned()), ..Settings::default() };
    let cases = [
        ("GET / HTTP/1.0\r\n\r\n", "GET / HTTP/1.0\r\nuser-agent: tapline\r\n\r\n"),
        ("GET / HTTP/1.0\r\nUser-Agent: \r\n\r\n", "GET / HTTP/1.0\r\nUser-Agent: tapline\r\n\r\n"),
        (
            "GET / HTTP/1.0\r\nUser-Agent: a\r\nB: 1\r\nuser-agent:b \r\n\r\n",
            "GET / HTTP/1.0\r\nUser-Agent: a; b; tapline\r\nB: 1\r\n\r\n",
        ),
    ];
    for (captured, expected) in cases {
        assert_eq!(sent(&settings, captured), expected);
    }
}

#[test]
fn authorization_is_that_of_the_target() {
    let basic =
        with_auth(Auth::Basic { user: "testAdmin".to_owned(), password: "adminPass".to_owned() });
    let field = "Basic dGVzdEFkbWluOmFkbWluUGFzcw==";
    let none = "GET / HTTP/1.1\r\nHost: s\r\n\r\n";
    let some = "GET / HTTP/1.1\r\nAuthorization: Old\r\nHost: s\r\nAUTHORIZATION: Older\r\n\r\n";
    assert_eq!(
        sent(&basic, none),
        format!("GET / HTTP/1.1\r\nHost: s\r\nauthorization: {field}\r\n\r\n")
    );
    assert_eq!(
        sent(&basic, some),
        format!("GET / HTTP/1.1\r\nAuthorization: {field}\r\nHost: s\r\n\r\n")
    );
    assert_eq!(sent(&with_auth(Auth::Remove), some), none);
    assert_eq!(
        sent(&with_auth(Auth::Header("ApiKey abc".to_owned())), some),
        "GET / HTTP/1.1\r\nAuthorization: ApiKey abc\r\nHost: s\r\n\r\n"
    );
    let debug = format!("{basic:?}");
    assert!(!debug.contains("adminPass"), "{debug}");
}

#[test]
fn what_would_break_a_head_is_refused() {
    let basic = |user: &str, password: &str| {
        with_auth(Auth::Basic { user: user.to_owned(), password: password.to_owned() })
    };
    let refused = [
        set(&[("X-A", "1\r\nX-B: 2")]),
        set(&[("X-A", "1\n")]),
        set(&[("X-A", "a\0")]),
        set(&[("X-A\r\nX-B", "1")]),
        set(&[("X A", "1")]),
        set(&[("", "1")]),
        set(&[("Content-Length", "5")]),
        set(&[("transfer-encoding", "")]),
        set(&[("X-A", "1"), ("x-a", "")]),
        set(&[("Host", "")]),
        set(&[("Host", "a"), ("Host", "b")]),
        Settings { host: Host::Target("a\r\nb".to_owned()), ..Settings::default() },
        Settings { host: Host::Target("http://a".to_owned()), ..Settings::default() },
        Settings { user_agent: Some("a\nb".to_owned()), ..Settings::default() },
        Settings { user_agent: Some("a".to_owned()), ..set(&[("User-Agent", "b")]) },
        Settings { auth: Auth::Remove, ..set(&[("Authorization", "b")]) },
        with_auth(Auth::Header("a\r\nb: c".to_owned())),
        basic("a:b", "c"),
        basic("a", "c\n"),
    ];
    for settings in refused {
        let error = Rewriter::new(&settings).err().unwrap_or_else(|| panic!("{settings:?} passed"));
        assert!(error.len() > 20, "{error}");
    }
}

/// A request with fields of known and unknown names and a body with all framings.
fn message() -> impl Strategy<Value = Vec<u8>> {
    let name = prop_oneof![
        Just("x-a".to_owned()),
        Just("User-Agent".to_owned()),
        Just("AUTHORIZATION".to_owned()),
        Just("cookie".to_owned()),
        "[A-Za-z][A-Za-z-]{0,12}",
    ];
    let known = ["host", "content-length", "transfer-encoding", "connection", "expect", "upgrade"];
    let name = name.prop_filter("another meaning", move |name| {
        !known.iter().any(|known| name.eq_ignore_ascii_case(known))
    });
    let field = (name, "[ -~]{0,40}");
    let body = proptest::collection::vec(any::<u8>(), 0..200);
    (proptest::collection::vec(field, 0..20), body, 0..3_u8, any::<bool>()).prop_map(
        |(fields, body, framing, host)| {
            let mut head = "POST /a/_doc HTTP/1.1\r\n".to_owned();
            for (name, value) in fields {
                head.extend([&name, ":", &value, "\r\n"]);
            }
            if host {
                head.push_str("hOst: source\r\n");
            }
            let mut message = match framing {
                0 => head + "\r\n",
                1 => head + &format!("Content-Length: {}\r\n\r\n", body.len()),
                _ => head + "Transfer-Encoding: chunked\r\n\r\n",
            }
            .into_bytes();
            match framing {
                0 => {}
                1 => message.extend_from_slice(&body),
                _ if body.is_empty() => message.extend_from_slice(b"0\r\n\r\n"),
                _ => {
                    message.extend_from_slice(format!("{:x}\r\n", body.len()).as_bytes());
                    message.extend_from_slice(&body);
                    message.extend_from_slice(b"\r\n0\r\nT: 1\r\n\r\n");
                }
            }
            message
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn edits_keep_body_framing_and_other_lines(message in message()) {
        prop_assert_eq!(rewrite(&Settings::default(), &message), Rewritten::Untouched);
        let settings = Settings {
            host: Host::Target("target:9201".to_owned()),
            user_agent: Some("tapline".to_owned()),
            auth: Auth::Header("x".to_owned()),
            ..set(&[("X-A", "1"), ("Cookie", ""), ("New", "2")])
        };
        let Rewritten::Changed(changed) = rewrite(&settings, &message) else {
            panic!("a field was to be added")
        };
        let (before, after) = (framed(&message), framed(&changed.bytes));
        prop_assert_eq!(&message[before.head_bytes..], &changed.bytes[after.head_bytes..]);
        prop_assert_eq!(before.content_length, after.content_length);
        prop_assert_eq!(before.chunked, after.chunked);
        let edited = ["host:", "user-agent:", "authorization:", "x-a:", "cookie:", "new:"];
        let others = |bytes: &[u8]| -> Vec<Vec<u8>> {
            let is_edited = |line: &[u8]| {
                let line = line.to_ascii_lowercase();
                edited.iter().any(|name| line.starts_with(name.as_bytes()))
            };
            bytes.split(|&b| b == b'\n').filter(|l| !is_edited(l)).map(<[u8]>::to_vec).collect()
        };
        prop_assert_eq!(
            others(&message[..before.head_bytes]),
            others(&changed.bytes[..after.head_bytes])
        );
        // Once edited, there is nothing left to do but for the user agent, which is appended to.
        let again = Settings { user_agent: None, ..settings };
        prop_assert_eq!(rewrite(&again, &changed.bytes), Rewritten::Untouched);
    }

    #[test]
    fn no_setting_splits_a_head(name in "[ -~\r\n\t]{0,12}", value in "[ -~\r\n\t\0]{0,20}") {
        let settings = set(&[(&name, &value)]);
        if let Ok(mut rewriter) = Rewriter::new(&settings) {
            let message = b"GET / HTTP/1.1\r\nContent-Length: 2\r\n\r\nab";
            if let Rewritten::Changed(changed) = rewriter.apply(message, &framed(message), 0, None) {
                let lines = changed.bytes.windows(2).filter(|pair| pair == b"\r\n").count();
                prop_assert_eq!(lines, 4);
                prop_assert!(try_framed(&changed.bytes).is_ok());
            }
        }
    }
}
