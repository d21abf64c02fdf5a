//! Tuple lines, compared with what the reference writes.

use serde_json::{Value, json};

use super::*;
use crate::outcome::Renderer;
use crate::outcome::content::tests::gzip;

fn line(tuple: &Tuple) -> String {
    let mut out = b"earlier\n".to_vec();
    Renderer::new(1 << 20).line(tuple, &mut out);
    let text = String::from_utf8(out).expect("UTF-8");
    let line = text.strip_prefix("earlier\n").and_then(|text| text.strip_suffix('\n'));
    let line = line.expect("one line more").to_owned();
    assert!(!line.contains(['\n', '\r']), "{line}");
    line
}

fn value(tuple: &Tuple) -> Value {
    serde_json::from_str(&line(tuple)).expect("valid JSON")
}

#[test]
fn the_sample_is_written_letter_for_letter() {
    let request = |host: &str| {
        format!(
            "{{\"Host\":[\"{host}\"],\"Content-Type\":[\"application/json\"],\"Content-Length\":[\"15\"],\
             \"Request-URI\":\"/books/_doc/7\",\"Method\":\"PUT\",\"HTTP-Version\":\"HTTP/1.1\",\
             \"payload\":{{\"inlinedJsonBody\":{{\"title\":\"Dune\"}}}}}}"
        )
    };
    let response = |ms: u32| {
        format!(
            "{{\"content-type\":[\"application/json\"],\"content-length\":[\"20\"],\
             \"HTTP-Version\":\"HTTP/1.1\",\"Status-Code\":201,\"Reason-Phrase\":\"Created\",\
             \"response_time_ms\":{ms},\"payload\":{{\"inlinedJsonBody\":{{\"result\":\"created\"}}}}}}"
        )
    };
    let expected = format!(
        "{{\"sourceRequest\":{},\"sourceResponse\":{},\"targetRequest\":{},\"targetResponses\":[{}],\
         \"connectionId\":\"0242acfffe11000a-00000007-0000002c-124a9b1d5c7f3b60-5f0c9a11.3\",\
         \"numRequests\":1,\"numErrors\":0}}",
        request("search.example:9200"),
        response(12),
        request("target.example"),
        response(9)
    );
    assert_eq!(line(&sample()), expected);
}

#[test]
fn a_request_with_another_head_alone_is_shown_as_one_that_was_made_anew() {
    let mut tuple = sample();
    let made_anew = line(&tuple);
    let TargetRequest::Changed(Message { mut bytes, head_bytes, .. }) = tuple.target_request else {
        panic!("the sample's request was changed")
    };
    bytes.truncate(head_bytes);
    tuple.target_request = TargetRequest::OtherHead(bytes);
    assert_eq!(line(&tuple), made_anew);
    assert!(tuple.bytes() >= tuple.source_request.bytes.len() + head_bytes);
}

#[test]
fn a_tuple_without_an_answer_and_without_a_request_sent() {
    let tuple = Tuple {
        source_request: message("GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        connection: "c".into(),
        ..Tuple::default()
    };
    let expected = "{\"sourceRequest\":{\"Host\":[\"a\"],\"Request-URI\":\"/\",\"Method\":\"GET\",\
        \"HTTP-Version\":\"HTTP/1.1\",\"payload\":{\"inlinedTextBody\":\"\"}},\
        \"targetResponses\":[],\"connectionId\":\"c.0\",\"numRequests\":0,\"numErrors\":0}";
    assert_eq!(line(&tuple), expected);
}

#[test]
fn a_request_that_cannot_be_read_becomes_an_exception() {
    let tuple = Tuple {
        source_request: message(b"\x16\x03\x01 nothing HTTP"),
        target_request: TargetRequest::AsCaptured,
        error: Some("a \"quoted\"\nreason".into()),
        ..Tuple::default()
    };
    let tuple = value(&tuple);
    assert!(tuple["sourceRequest"]["Exception"].is_string());
    assert_eq!(tuple["targetRequest"], tuple["sourceRequest"]);
    assert_eq!(tuple["error"], "a \"quoted\"\nreason");
    assert!(tuple.get("sourceResponse").is_none());
}

#[test]
fn attempts_that_failed_are_counted_and_named() {
    let mut tuple = sample();
    let refused = Attempt { reply: None, error: Some("connection refused".into()) };
    let mut part = attempt("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{\"a\"", 5);
    part.error = Some("timed out".into());
    tuple.target_responses.splice(0..0, [refused, part]);
    tuple.possible_duplicate = true;
    tuple.notes = vec!["ids-pinned"];
    let text = line(&tuple);
    let end = "\"numRequests\":3,\"numErrors\":2,\
        \"attemptErrors\":[\"connection refused\",\"timed out\",null],\
        \"possibleDuplicate\":true,\"notes\":[\"ids-pinned\"]}";
    assert!(text.ends_with(end), "{text}");
    let tuple = value(&tuple);
    assert_eq!(tuple["targetResponses"][0], json!({ "Exception": "connection refused" }));
    assert_eq!(tuple["targetResponses"][1]["Status-Code"], 200);
    assert_eq!(tuple["targetResponses"][1]["payload"], json!({ "inlinedTextBody": "{\"a\"" }));
}

#[test]
fn the_answer_to_head_has_its_fields_and_no_body() {
    let answer =
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
    let tuple = Tuple {
        source_request: message("HEAD /i HTTP/1.1\r\n\r\n"),
        source_response: Some(reply(answer, 1)),
        target_responses: vec![attempt(answer, 2)],
        ..Tuple::default()
    };
    for answer in [&value(&tuple)["sourceResponse"], &value(&tuple)["targetResponses"][0]] {
        assert_eq!(answer["transfer-encoding"], json!(["chunked"]));
        assert_eq!(answer["payload"], json!({ "inlinedTextBody": "" }));
    }
}

#[test]
fn a_compressed_body_is_shown_unpacked_and_its_head_as_chunked() {
    let packed = gzip(b"{\"a\":1}");
    let head = "POST /i/_doc HTTP/1.1\r\ncontent-encoding: gzip\r\nContent-Length: ";
    let mut bytes = format!("{head}{}\r\nX: y\r\n\r\n", packed.len()).into_bytes();
    bytes.extend_from_slice(&packed);
    let mut chunked = format!(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Encoding: gzip\r\n\r\n{:x}\r\n",
        packed.len()
    )
    .into_bytes();
    chunked.extend_from_slice(&packed);
    chunked.extend_from_slice(b"\r\n0\r\n\r\n");
    let tuple = Tuple {
        source_request: message(&bytes),
        source_response: Some(reply(&chunked, 1)),
        target_responses: vec![attempt(&chunked, 1)],
        ..Tuple::default()
    };
    let text = line(&tuple);
    let expected = "{\"sourceRequest\":{\"X\":[\"y\"],\"transfer-encoding\":[\"chunked\"],\
        \"Request-URI\":\"/i/_doc\",\"Method\":\"POST\",\"HTTP-Version\":\"HTTP/1.1\",\
        \"payload\":{\"inlinedJsonBody\":{\"a\":1}}},\
        \"sourceResponse\":{\"Transfer-Encoding\":[\"chunked\"],\"HTTP-Version\":";
    assert!(text.starts_with(expected), "{text}");
    let tuple = value(&tuple);
    assert_eq!(tuple["sourceResponse"]["payload"], json!({ "inlinedJsonBody": { "a": 1 } }));
    assert_eq!(tuple["targetResponses"][0], tuple["sourceResponse"]);
}

#[test]
fn fields_keep_case_and_order_and_gather_their_values() {
    let request = b"GET /\xc3\xa9 HTTP/1.1\r\nX-B: 1\r\nx-a:  two words \r\nx-b: 2\r\n\
        X-Raw: \xff\r\npayload: lost\r\nX-B: \r\n\r\n";
    let tuple = Tuple { source_request: message(request), ..Tuple::default() };
    let expected = "{\"sourceRequest\":{\"X-B\":[\"1\",\"2\",\"\"],\"x-a\":[\"two words\"],\
        \"X-Raw\":[\"\u{ff}\"],\"Request-URI\":\"/é\",\"Method\"";
    let text = line(&tuple);
    assert!(text.starts_with(expected), "{text}");
}

#[test]
fn an_equal_body_is_copied_only_where_it_is_coded_alike() {
    let plain = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\na=1&b=2";
    let form = plain.replace("text/plain", "application/x-www-form-urlencoded");
    let tuple = Tuple {
        source_request: message("GET / HTTP/1.1\r\n\r\n"),
        source_response: Some(reply(plain, 1)),
        target_responses: vec![attempt(form, 1), attempt(plain, 1)],
        ..Tuple::default()
    };
    let tuple = value(&tuple);
    let text = json!({ "inlinedTextBody": "a=1&b=2" });
    let form = json!({ "inlinedFormEncodedBody": { "a": ["1"], "b": ["2"] } });
    assert_eq!(tuple["sourceResponse"]["payload"], text);
    assert_eq!(tuple["targetResponses"][0]["payload"], form);
    assert_eq!(tuple["targetResponses"][1]["payload"], text);
}

#[test]
fn a_large_body_and_one_that_was_not_kept_are_marked() {
    let mut tuple = sample();
    let body = "x".repeat(100);
    tuple.source_request = message(format!("POST / HTTP/1.1\r\n\r\n{body}"));
    tuple.source_request.wire_bytes += 50;
    let mut out = Vec::new();
    Renderer::new(10).line(&tuple, &mut out);
    let tuple: Value = serde_json::from_slice(&out).expect("valid JSON");
    let crc = format!("{:08x}", crc32c::crc32c(body.as_bytes()));
    let expected = json!({
        "inlinedTextBody": "xxxxxxxxxx",
        "inlinedBodyCut": { "shown": 10, "length": 100, "crc32c": crc, "notKept": 50 },
    });
    assert_eq!(tuple["sourceRequest"]["payload"], expected);
}
