//! Programs: what they see, what becomes of what they give back.

use std::io::{Read, Write};

use proptest::prelude::*;

use super::{framed, rewrite, sent};
use crate::rewrite::{
    Auth, Changed, Host, Instead, OnError, Rewriter, Rewritten, Settings, Transform, TypeMapping,
};

fn program(source: &str) -> Settings {
    programs(&[source])
}

fn programs(sources: &[&str]) -> Settings {
    let jq =
        |source: &&str| Transform::Jq { name: "t.jq".to_owned(), source: (*source).to_owned() };
    Settings { transforms: sources.iter().map(jq).collect(), ..Settings::default() }
}

fn put(fields: &str, body: &str) -> String {
    format!(
        "PUT /i/_doc/1 HTTP/1.1\r\nHost: s\r\n{fields}Content-Length: {}\r\nX-A: 1\r\n\r\n{body}",
        body.len()
    )
}

fn chunked(body: &str) -> String {
    format!(
        "POST /_bulk HTTP/1.1\r\nHost: s\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\nT: 1\r\n\r\n",
        body.len()
    )
}

/// What the body of `message` is shown as.
fn shown(message: &str) -> String {
    let out = sent(
        &program("{URI, method, protocol, headers: {seen: (.payload | tojson)}, payload}"),
        message,
    );
    let line = out.lines().find_map(|line| line.strip_prefix("seen: "));
    line.expect("what was seen").to_owned()
}

#[test]
fn a_program_that_changes_nothing_leaves_every_byte() {
    let messages = [
        put("", "{ \"a\": 1.10, \"a\": 2 }"),
        put("X-B: 1\r\nx-b:2  \r\n", "{\"a\":1e3}"),
        chunked("{\"index\":{}}\n{ \"a\" : 1 }\n"),
        "\r\nGET /a?b HTTP/1.0\r\n\r\n".to_owned(),
    ];
    for source in
        [".", ".payload |= .", "[.][0]", ".headers |= with_entries(.)", ".payload = .payload"]
    {
        for message in &messages {
            assert_eq!(
                rewrite(&program(source), message.as_bytes()),
                Rewritten::Untouched,
                "{source}"
            );
        }
    }
}

#[test]
fn bodies_are_shown_as_what_they_are() {
    let cases = [
        (put("", "{\"a\":1.10}"), "{\"inlinedJsonBody\":{\"a\":1.10}}"),
        (
            put("", "{\"a\":1}\n{\"b\":2}\n"),
            "{\"inlinedJsonSequenceBodies\":[{\"a\":1},{\"b\":2}]}",
        ),
        (
            put("", "{\n\"a\":1}\n{\"b\":2}"),
            "{\"inlinedJsonSequenceBodies\":[{\"a\":1},{\"b\":2}]}",
        ),
        (chunked("{\"a\":1}\n"), "{\"inlinedJsonSequenceBodies\":[{\"a\":1}]}"),
        (
            put("", "{\"a\":1}\n{\"b\":2}\n{\"c\""),
            "{\"inlinedJsonSequenceBodies\":[{\"a\":1},{\"b\":2}],\"inlinedTextBody\":\"{\\\"c\\\"\"}",
        ),
        (put("", "{\"a\":"), "{\"inlinedTextBody\":\"{\\\"a\\\":\"}"),
        (put("", "text"), "{\"inlinedTextBody\":\"text\"}"),
        (put("", ""), "{\"inlinedTextBody\":\"\"}"),
        (
            put("Content-Type: application/x-www-form-urlencoded\r\n", "a=1+2&b=%C3%BC&a=3"),
            "{\"inlinedFormEncodedBody\":{\"a\":[\"1 2\",\"3\"],\"b\":[\"ü\"]}}",
        ),
        // Deeper than the stack bears.
        (put("", &"[".repeat(600)), ""),
    ];
    for (message, expected) in cases {
        let seen = shown(&message);
        if expected.is_empty() {
            assert!(seen.starts_with("{\"inlinedTextBody\""), "{}", &seen[..40]);
        } else {
            assert_eq!(seen, expected);
        }
    }
}

#[test]
fn only_what_differs_is_written() {
    let body = "{ \"a\" : 1.10 }";
    let message = put("X-B: 1\r\nx-b:2\r\n", body);
    let cases = [
        (".URI = \"/j\"", message.replace("/i/_doc/1", "/j")),
        (".method = \"POST\"", message.replace("PUT", "POST")),
        (".headers[\"X-A\"] = [\"2\"]", message.replace("X-A: 1", "X-A: 2")),
        (".headers[\"x-a\"] = \"2\"", message.replace("X-A: 1", "X-A: 2")),
        ("set_header(\"x-a\"; 2)", message.replace("X-A: 1", "X-A: 2")),
        ("del(.headers[\"X-B\"])", message.replace("X-B: 1\r\nx-b:2\r\n", "")),
        (".headers[\"X-B\"] += [\"3\"]", message.replace("x-b:2\r\n", "x-b: 2\r\nx-b: 3\r\n")),
        (
            ".headers.New = [\"1\", \"2\"]",
            message.replace("X-A: 1\r\n", "X-A: 1\r\nNew: 1\r\nNew: 2\r\n"),
        ),
        // Framing follows the body and no wish.
        (".headers[\"Content-Length\"] = [\"3\"]", message.clone()),
        ("del(.headers[\"Content-Length\"])", message.clone()),
        (".payload.inlinedJsonBody.b = 2", put("X-B: 1\r\nx-b:2\r\n", "{\"a\":1.10,\"b\":2}")),
        (".payload = {inlinedTextBody: \"x\"}", put("X-B: 1\r\nx-b:2\r\n", "x")),
        ("del(.payload)", put("X-B: 1\r\nx-b:2\r\n", "")),
        (".payload = null", put("X-B: 1\r\nx-b:2\r\n", "")),
        // Not named, not touched.
        ("{URI, method, protocol, headers}", message.clone()),
    ];
    for (source, expected) in cases {
        assert_eq!(sent(&program(source), &message), expected, "{source}");
    }
    let two = programs(&[".URI = \"/b\"", ".URI += \"c\""]);
    assert_eq!(sent(&two, &message), message.replace("/i/_doc/1", "/bc"));
    let text = put("", "This is a test\r\n");
    let replaced = sent(&program(".payload.inlinedTextBody = \"ReplacedPlainText\""), &text);
    assert_eq!(replaced, put("", "ReplacedPlainText"));
}

#[test]
fn documents_left_alone_keep_their_bytes() {
    let bulk =
        "{ \"index\" : {\"_index\":\"a\"}}\n{\"n\": 1.0,  \"n\":2}\n{\"delete\":{\"_id\":\"1\"}}\n";
    let source = ".payload.inlinedJsonSequenceBodies |= map(if .delete then .delete._index = \"b\" else . end)";
    let out = sent(&program(source), &chunked(bulk));
    let expected = bulk.replace("\"_id\":\"1\"", "\"_id\":\"1\",\"_index\":\"b\"");
    let expected = format!("{:x}\r\n{expected}\r\n0\r\n\r\n", expected.len());
    assert!(out.ends_with(&expected), "{out}");
    // One line: the reference takes it for a JSON body and loses the line end.
    let one = put("", "{\"delete\":{\"_id\":\"1\"}}\n").replace("/i/_doc/1", "/_bulk?refresh");
    let out = sent(&program(".payload.inlinedJsonSequenceBodies[0].delete._id = \"2\""), &one);
    assert_eq!(out, one.replace(":\"1\"", ":\"2\""));
    let plain = put("", "{\"a\":1}\n");
    assert_eq!(
        sent(&program(".payload.inlinedJsonBody.a = 2"), &plain),
        plain.replace("\"a\":1", "\"a\":2")
    );
    let form = put("Content-Type: application/x-www-form-urlencoded\r\n", "a=1+2&b=%C3%BC");
    assert_eq!(
        sent(&program(".payload.inlinedFormEncodedBody.a = [\"3 &\"]"), &form),
        put("Content-Type: application/x-www-form-urlencoded\r\n", "a=3+%26&b=%C3%BC")
    );
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(body).expect("memory");
    encoder.finish().expect("memory")
}

fn gunzip(body: &[u8]) -> String {
    let mut out = String::new();
    flate2::read::GzDecoder::new(body).read_to_string(&mut out).expect("gzip");
    out
}

fn gzipped(body: &[u8]) -> Vec<u8> {
    let coded = gzip(body);
    let head = format!(
        "PUT /a HTTP/1.1\r\ncontent-encoding: gzip\r\nContent-Length: {}\r\n\r\n",
        coded.len()
    );
    [head.as_bytes(), &coded].concat()
}

fn changed(settings: &Settings, message: &[u8]) -> Vec<u8> {
    match rewrite(settings, message) {
        Rewritten::Changed(Changed { bytes, .. }) => bytes,
        other => panic!("{other:?}"),
    }
}

#[test]
fn codings_and_framings_follow_the_head() {
    let coded = gzipped(b"{\"a\":1}");
    let out = changed(&program(".payload.inlinedJsonBody.a = 2"), &coded);
    let head = framed(&out);
    assert_eq!(gunzip(&out[head.head_bytes..]), "{\"a\":2}");

    let out = changed(&program("del_header(\"Content-Encoding\")"), &coded);
    assert_eq!(out, b"PUT /a HTTP/1.1\r\nContent-Length: 7\r\n\r\n{\"a\":1}");

    let out =
        changed(&program(".headers[\"content-encoding\"] = [\"gzip\"]"), put("", "{}").as_bytes());
    assert_eq!(gunzip(&out[framed(&out).head_bytes..]), "{}");

    let out = changed(
        &program(".headers[\"transfer-encoding\"] = [\"chunked\"]"),
        put("", "{}").as_bytes(),
    );
    let text = String::from_utf8(out).expect("text");
    assert!(text.ends_with("2\r\n{}\r\n0\r\n\r\n") && !text.contains("Content-Length"), "{text}");

    let out = changed(&program("del_header(\"transfer-encoding\")"), chunked("{}").as_bytes());
    assert_eq!(out, b"POST /_bulk HTTP/1.1\r\nHost: s\r\nContent-Length: 2\r\n\r\n{}");

    let settings = program(".payload.inlinedJsonBody.a = 2");
    let failed = rewrite(
        &settings,
        b"PUT /a HTTP/1.1\r\nContent-Encoding: br\r\nContent-Length: 1\r\n\r\nx",
    );
    assert!(matches!(failed, Rewritten::Failed { why, .. } if why.contains("br")));
    // A program that does not look at the body does not mind.
    let lazy = program(".URI = \"/b\"");
    changed(&lazy, b"PUT /a HTTP/1.1\r\nContent-Encoding: br\r\nContent-Length: 1\r\n\r\nx");
}

#[test]
fn a_binary_body_goes_through() {
    let message = b"PUT /a HTTP/1.1\r\nContent-Length: 3\r\n\r\n\xff\0\x01";
    let same = program(".payload.inlinedBase64Body |= (@base64d | @base64)");
    assert_eq!(rewrite(&program(".payload.inlinedBase64Body |= ."), message), Rewritten::Untouched);
    assert_eq!(rewrite(&same, message), Rewritten::Untouched);
    let other = changed(&program(".payload.inlinedBase64Body = \"AAE=\""), message);
    assert_eq!(other, b"PUT /a HTTP/1.1\r\nContent-Length: 2\r\n\r\n\0\x01");
}

#[test]
fn a_failure_sends_the_original_to_the_target_or_nothing() {
    let message = put("", "{}");
    let bad = [
        "error(\"no\")",
        "1",
        "{}",
        ".URI = \"/a b\"",
        ".URI = \"/a\\r\\nX: 1\"",
        ".method = \"A B\"",
        ".protocol = \"HTTP/2\"",
        ".headers = 1",
        ".headers.A = [\"1\\r\\nB: 2\"]",
        ".headers[\"A: 1\\r\\nB\"] = [\"2\"]",
        ".headers.A = [{}]",
        ".payload = 1",
        ".payload.nope = 1",
        ".payload.inlinedJsonBody.a = nan",
        ".payload.inlinedBase64Body = \"?\"",
        ".headers.Host = [\"a\", \"b\"]",
        ".method = \"CONNECT\"",
    ];
    for source in bad {
        let host = Host::Target("t".to_owned());
        let settings = Settings { host, auth: Auth::Header("x".to_owned()), ..program(source) };
        let Rewritten::Failed { why, instead: Instead::Changed(instead) } =
            rewrite(&settings, message.as_bytes())
        else {
            panic!("{source} passed: {:?}", rewrite(&settings, message.as_bytes()))
        };
        assert!(!why.is_empty(), "{source}");
        let plain = Settings { transforms: Vec::new(), ..settings.clone() };
        assert_eq!(instead.bytes, changed(&plain, message.as_bytes()), "{source}");
        let strict = Settings { on_error: OnError::Quarantine, ..settings };
        assert!(matches!(
            rewrite(&strict, message.as_bytes()),
            Rewritten::Failed { instead: Instead::Quarantine, .. }
        ));
    }
    let bare = rewrite(&program("error(\"no\")"), message.as_bytes());
    assert!(matches!(bare, Rewritten::Failed { instead: Instead::Untouched, .. }));
}

#[test]
fn filters_and_empty_programs_keep_requests_back() {
    let message = put("", "{\"a\":1}");
    let filter = |source: &str| Settings { filter: Some(source.to_owned()), ..Settings::default() };
    for source in [
        "true",
        ".method == \"PUT\"",
        ".URI | startswith(\"/i\")",
        "header(\"x-a\") == \"1\"",
        ".payload.inlinedJsonBody.a",
    ] {
        assert_eq!(rewrite(&filter(source), message.as_bytes()), Rewritten::Untouched, "{source}");
    }
    for source in ["false", "null", "empty", ".method == \"GET\"", ".payload.inlinedJsonBody.b"] {
        assert_eq!(rewrite(&filter(source), message.as_bytes()), Rewritten::Filtered, "{source}");
    }
    assert_eq!(rewrite(&program("empty"), message.as_bytes()), Rewritten::Filtered);
    assert!(matches!(rewrite(&filter("error"), message.as_bytes()), Rewritten::Failed { .. }));
    assert!(Rewriter::new(&filter(".a |")).is_err());
    assert!(Rewriter::new(&program("nope")).is_err_and(|why| why.contains("t.jq")));
}

#[test]
fn a_request_that_becomes_head_says_so() {
    let get = b"GET / HTTP/1.1\r\nHost: s\r\n\r\n";
    let Rewritten::Changed(changed) = rewrite(&program(".method = \"HEAD\""), get) else {
        panic!("changed")
    };
    assert!(changed.head_request);
    let Rewritten::Changed(changed) = rewrite(&program(".URI = \"/a\""), get) else {
        panic!("changed")
    };
    assert!(!changed.head_request);
}

#[test]
fn types_are_taken_out_of_the_whole_request() {
    let settings = Settings {
        transforms: vec![Transform::TypeMapping(TypeMapping::default())],
        ..Settings::default()
    };
    let bulk = "{\"index\":{\"_index\":\"btc\",\"_type\":\"t\"}}\n{ \"n\": 1.10 }\n";
    for (target, expected) in [
        ("/_bulk", "/_bulk"),
        ("/btc-rfs/_bulk", "/btc-rfs/_bulk"),
        ("/btc-rfs/sometype/_bulk", "/btc-rfs/_bulk"),
    ] {
        let typed = put("", bulk).replace("/i/_doc/1", target);
        let untyped = put("", &bulk.replace(",\"_type\":\"t\"", "")).replace("/i/_doc/1", expected);
        assert_eq!(sent(&settings, &typed), untyped);
        assert_eq!(rewrite(&settings, untyped.as_bytes()), Rewritten::Untouched);
    }
    let coded = gzipped(bulk.as_bytes());
    let coded = [&b"PUT /_bulk"[..], &coded[b"PUT /a".len()..]].concat();
    let out = changed(&settings, &coded);
    assert!(!gunzip(&out[framed(&out).head_bytes..]).contains("_type"));
    // Types and a program in one run, and the body of a document is never looked at.
    let document = put("", "not JSON").replace("/i/_doc/1", "/i/t/1");
    let mut both = program(".URI += \"2\"");
    both.transforms.insert(0, Transform::TypeMapping(TypeMapping::default()));
    assert_eq!(sent(&both, &document), put("", "not JSON").replace("/i/_doc/1", "/i/_doc/12"));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn what_goes_out_is_one_request(
        uri in "/[ -~\r\n]{0,8}",
        name in "[A-Za-z\r\n: ]{1,6}",
        value in "[ -~\r\n\t]{0,12}",
        body in "[ -~\n]{0,40}",
    ) {
        let quoted = |text: &str| serde_json::to_string(text).expect("JSON");
        let source = format!(
            ".URI = {} | .headers[{}] = [{}] | .payload = {{inlinedTextBody: {}}}",
            quoted(&uri), quoted(&name), quoted(&value), quoted(&body)
        );
        // A backslash before a parenthesis is code in a program.
        prop_assume!(!source.contains("\\("));
        match rewrite(&program(&source), put("", "{}").as_bytes()) {
            Rewritten::Changed(changed) => {
                let head = framed(&changed.bytes);
                prop_assert_eq!(&changed.bytes[head.head_bytes..], body.as_bytes());
            }
            Rewritten::Failed { .. } => {}
            other => panic!("{other:?}"),
        }
    }
}
