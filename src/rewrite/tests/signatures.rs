//! Signatures, against values computed apart from the signing crate.

use super::framed;
use crate::rewrite::{Auth, Credentials, Host, Rewriter, Rewritten, Settings};

fn settings(service: &str) -> Settings {
    let auth = Auth::SigV4 { service: service.to_owned(), region: "us-east-1".to_owned() };
    Settings { auth, host: Host::Target("search.example.com".to_owned()), ..Settings::default() }
}

fn credentials() -> Credentials {
    Credentials {
        key_id: "AKIAIOSFODNN7EXAMPLE".to_owned(),
        secret: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".to_owned(),
        session_token: None,
        expires_unix_s: None,
    }
}

fn signed_at(now: i64, settings: &Settings, credentials: &Credentials, message: &str) -> String {
    let mut rewriter = Rewriter::new(settings).expect("fine");
    match rewriter.apply(message.as_bytes(), &framed(message.as_bytes()), now, Some(credentials)) {
        Rewritten::Changed(changed) => String::from_utf8(changed.bytes).expect("text"),
        other => panic!("{other:?}"),
    }
}

fn field<'a>(message: &'a str, name: &str) -> Vec<&'a str> {
    let of =
        |line: &'a str| line.split_once(": ").filter(|(found, _)| found.eq_ignore_ascii_case(name));
    message.lines().filter_map(of).map(|(_, value)| value).collect()
}

#[test]
fn the_epoch_signs_as_the_reference_does() {
    let out =
        signed_at(0, &settings("es"), &credentials(), "GET / HTTP/1.1\r\nHost: source\r\n\r\n");
    let authorization = field(&out, "authorization");
    let scope = "Credential=AKIAIOSFODNN7EXAMPLE/19700101/us-east-1/es/aws4_request";
    assert!(authorization.len() == 1 && authorization[0].contains(scope), "{out}");
    assert!(authorization[0].contains("SignedHeaders=host;x-amz-date"), "{out}");
    assert_eq!(field(&out, "x-amz-date"), ["19700101T000000Z"]);
    assert!(field(&out, "x-amz-content-sha256").is_empty(), "{out}");

    let later =
        signed_at(3600, &settings("es"), &credentials(), "GET / HTTP/1.1\r\nHost: source\r\n\r\n");
    assert_eq!(field(&later, "x-amz-date"), ["19700101T010000Z"]);
    assert_ne!(field(&out, "authorization"), field(&later, "authorization"));
}

#[test]
fn a_body_is_part_of_the_signature() {
    let plain = "POST /_bulk HTTP/1.1\r\nHost: s\r\nCONTENT-type: application/json\r\nContent-Length: 2\r\n\r\n{}";
    let chunked = "POST /_bulk HTTP/1.1\r\nHost: s\r\nCONTENT-type: application/json\r\n\
                   Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n";
    let one = signed_at(0, &settings("es"), &credentials(), plain);
    let hash = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
    assert_eq!(field(&one, "x-amz-content-sha256"), [hash]);
    let authorization = field(&one, "authorization")[0];
    assert!(
        authorization.contains("SignedHeaders=content-type;host;x-amz-content-sha256;x-amz-date")
    );
    let other = signed_at(0, &settings("es"), &credentials(), chunked);
    assert_eq!(field(&other, "authorization"), field(&one, "authorization"));
    assert_eq!(field(&other, "content-length"), ["2"]);
    assert!(
        other.ends_with("\r\n\r\n{}") && field(&other, "transfer-encoding").is_empty(),
        "{other}"
    );
}

#[test]
fn a_signature_takes_the_place_of_an_older_one() {
    let old = "GET /a?b=c HTTP/1.1\r\nHost: s\r\nAuthorization: AWS4 old\r\nX-Amz-Date: old\r\n\
               X-Amz-Security-Token: old\r\nx-amz-content-sha256: old\r\n\r\n";
    let mut session = credentials();
    session.session_token = Some("token".to_owned());
    let out = signed_at(0, &settings("es"), &session, old);
    assert!(!out.contains("old"), "{out}");
    assert_eq!(field(&out, "x-amz-security-token"), ["token"]);

    let rewriter = Rewriter::new(&settings("es")).expect("fine");
    let Rewritten::Changed(again) = rewriter.sign_again(out.as_bytes(), 60, Some(&session)) else {
        panic!("signed")
    };
    let expected = signed_at(60, &settings("es"), &session, old);
    assert_eq!(String::from_utf8(again.bytes).expect("text"), expected);
}

#[test]
fn the_serverless_service_gets_the_hash_always() {
    let out = signed_at(0, &settings("aoss"), &credentials(), "GET / HTTP/1.1\r\nHost: s\r\n\r\n");
    assert_eq!(field(&out, "x-amz-content-sha256").len(), 1, "{out}");
}

#[test]
fn nothing_goes_out_without_credentials_that_hold() {
    let message = b"GET / HTTP/1.1\r\nHost: s\r\n\r\n";
    let mut rewriter = Rewriter::new(&settings("es")).expect("fine");
    assert!(rewriter.signs());
    assert_eq!(rewriter.apply(message, &framed(message), 0, None), Rewritten::Unsigned);
    let over = Credentials { expires_unix_s: Some(10), ..credentials() };
    assert_eq!(rewriter.apply(message, &framed(message), 10, Some(&over)), Rewritten::Unsigned);
    assert!(matches!(
        rewriter.apply(message, &framed(message), 9, Some(&over)),
        Rewritten::Changed(_)
    ));
    let debug = format!("{over:?}");
    assert!(!debug.contains("wJalr"), "{debug}");
    let bad = Auth::SigV4 { service: "es us".to_owned(), region: "x".to_owned() };
    assert!(Rewriter::new(&Settings { auth: bad, ..Settings::default() }).is_err());
}

/// The expected signatures come from a few lines of another language over the text of the specification, which give
/// the answer of Amazon's own test suite (`get-vanilla`) too.
#[test]
fn known_answers() {
    let suite = Settings {
        auth: Auth::SigV4 { service: "service".to_owned(), region: "us-east-1".to_owned() },
        host: Host::Target("example.amazonaws.com".to_owned()),
        ..Settings::default()
    };
    let mut key = credentials();
    key.secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_owned();
    let get = "GET / HTTP/1.1\r\nHost: s\r\n\r\n";
    let document = "POST /i/_doc/a%2Fb?refresh=true&a=b%20c HTTP/1.1\r\nHost: s\r\n\
                    Content-Type: application/x-ndjson\r\nContent-Length: 8\r\n\r\n{\"a\":1}\n";
    let cases = [
        (
            &suite,
            &key,
            1_440_938_160,
            get,
            "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
        ),
        (
            &settings("es"),
            &credentials(),
            0,
            get,
            "aa292de3820cb7f1768afe7d3e8f88a3c430edcec0dc1dabbe90dd7f8ad40b08",
        ),
        (
            &settings("es"),
            &credentials(),
            1_440_938_160,
            document,
            "57e2772959035d0a1bcaaa838d8ed2dd03b3e6dd25ddcee1a3c7ef0eb00b3b19",
        ),
    ];
    for (settings, credentials, now, message, expected) in cases {
        let out = signed_at(now, settings, credentials, message);
        let authorization = field(&out, "authorization")[0];
        assert_eq!(
            authorization.rsplit_once("Signature=").map(|(_, signature)| signature),
            Some(expected),
            "{out}"
        );
    }
}
