//! Footprints and facts, read from messages.

use std::io::Write as _;
use std::rc::Rc;

use flate2::{Compression, write::GzEncoder};

use crate::http::{Limits, RequestFraming, RequestPart};
use crate::replay::exchange::{Answer, ConnectionId, ConnectionName, ExchangeId, Mark, Request};
use crate::replay::order::footprint::hash;
use crate::replay::order::{Change, Document, Fact, Facts, Footprint, Item, facts, footprint};

pub(super) fn request(line: &str, fields: &str, body: &[u8]) -> Request {
    let head =
        format!("{line} HTTP/1.1\r\nHost: h\r\n{fields}Content-Length: {}\r\n\r\n", body.len());
    let bytes = [head.as_bytes(), body].concat();
    let piece = RequestFraming::new().next(&Limits::default(), &bytes).expect("a request");
    let RequestPart::Head(head) = piece.what else { panic!("a whole head") };
    Request {
        id: ExchangeId(0),
        connection: ConnectionId(0),
        name: Rc::new(ConnectionName { node: "n".into(), clock: 0, id: "c".into() }),
        index: 0,
        fingerprint: 0,
        bytes,
        head,
        first_ns: 0,
        last_ns: 0,
        mark: Mark { lane: 0, number: 0 },
    }
}

pub(super) fn answer(status: u16, body: &str) -> Answer {
    let head = format!("HTTP/1.1 {status} X\r\nTransfer-Encoding: chunked\r\n\r\n");
    let head_bytes = head.len();
    let bytes = format!("{head}{:x}\r\n{body}\r\n0\r\n\r\n", body.len()).into_bytes();
    Answer { status, bytes, head_bytes, whole: true, ..Answer::default() }
}

fn of(line: &str) -> Footprint {
    footprint(&request(line, "", b""))
}

fn document(index: &str, id: &str) -> Document {
    Document::new(index.as_bytes(), id.as_bytes())
}

fn indices(names: &[&str], change: Change) -> Footprint {
    Footprint::Indices { names: names.iter().map(|name| hash(name.as_bytes())).collect(), change }
}

#[test]
fn documents_in_the_path() {
    for line in ["GET /logs/_doc/a%20b", "HEAD /logs/_source/a%20b", "GET /logs/event/a%20b"] {
        assert_eq!(of(line), Footprint::Read(document("logs", "a b")), "{line}");
    }
    for line in [
        "PUT /logs/_doc/7?routing=x",
        "POST /logs/_doc/7",
        "PUT /logs/_create/7",
        "POST /logs/_update/7",
        "DELETE /logs/_doc/7",
        "PUT /logs/event/7",
        "POST /logs/event/7/_update",
    ] {
        assert_eq!(of(line), Footprint::Write(document("logs", "7")), "{line}");
    }
    assert_eq!(of("POST /logs/_doc"), Footprint::Generated(hash(b"logs")));
    for line in [
        "GET /_search",
        "POST /logs/_search",
        "POST /_mget",
        "GET /",
        "GET /_cat/indices",
        "OPTIONS /logs/_doc/7",
        "GET /logs/event/7/_of_a_plugin",
    ] {
        assert_eq!(of(line), Footprint::Free, "{line}");
    }
}

#[test]
fn indices_and_everything() {
    use Change::{Indices, Names, Nothing};
    for (line, names, change) in [
        ("POST /logs/_refresh", &["logs"][..], Nothing),
        ("POST /a,b/_delete_by_query", &["a", "b"], Nothing),
        ("PUT /logs", &["logs"], Names),
        ("DELETE /logs", &["logs"], Indices),
        ("PUT /logs/_mapping", &["logs"], Nothing),
        ("PUT /logs/_settings?x", &["logs"], Nothing),
        ("POST /logs/_rollover", &["logs"], Names),
        ("DELETE /logs/_alias/w", &["logs"], Names),
        ("POST /logs/_shrink/less", &["logs"], Names),
    ] {
        assert_eq!(of(line), indices(names, change), "{line}");
    }
    for (line, change) in [
        ("POST /_refresh", Nothing),
        ("POST /_all/_flush", Nothing),
        ("DELETE /logs-*", Indices),
        ("POST /a,b*/_update_by_query", Nothing),
        ("POST /_aliases", Indices),
        ("PUT /_ingest/pipeline/p", Nothing),
        ("PUT /_cluster/settings", Nothing),
        ("POST /_reindex", Nothing),
        ("PUT /%3Clogs-%7Bnow%7D%3E/_doc/1", Nothing),
        ("PATCH /logs/_doc/1", Indices),
        ("POST /logs/_doc/1/2/3/4", Indices),
    ] {
        assert_eq!(of(line), Footprint::Everything { change }, "{line}");
    }
    let replaced = request("GET /logs/_doc/1", "X-HTTP-Method-Override: DELETE\r\n", b"");
    assert_eq!(footprint(&replaced), Footprint::Everything { change: Indices });
}

#[test]
fn items_of_bulks() {
    let body = b"{\"index\":{\"_id\":\"1\"}}\n{}\n{\"create\":{\"_index\":\"b\"}}\n{}\n\
        {\"delete\":{\"_index\":\"b\",\"_id\":\"1\"}}\n";
    let expected = Footprint::Bulk(vec![
        Item { index: hash(b"a"), id: Some(hash(b"1")) },
        Item { index: hash(b"b"), id: None },
        Item { index: hash(b"b"), id: Some(hash(b"1")) },
    ]);
    assert_eq!(footprint(&request("POST /a/_bulk", "", body)), expected);
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(body).expect("memory takes all");
    let mut gzip = gzip.finish().expect("memory takes all");
    let coded = "Content-Encoding: gzip\r\n";
    assert_eq!(footprint(&request("PUT /a/_bulk", coded, &gzip)), expected);
    gzip.truncate(20);
    assert_eq!(footprint(&request("PUT /a/_bulk", coded, &gzip)), Footprint::Unreadable);
    for broken in [&b"{\"index\":{}}\n{}\n"[..], b"{\"index\":{\"_index\":\"a\"}}\n{}\n[]\n", b"x"]
    {
        assert_eq!(footprint(&request("POST /_bulk", "", broken)), Footprint::Unreadable);
    }
}

#[test]
fn facts_of_answers() {
    let put = request("PUT /alias/_doc/1", "", b"{}");
    let index = Some(hash(b"logs"));
    let body =
        r#"{"_index":"logs","_id":"1","_version":3,"result":"noop","_seq_no":9,"_primary_term":1}"#;
    let fact = Fact { status: 200, seq_no: Some(9), version: Some(3), index, unchanged: true };
    assert_eq!(facts(&put, &answer(200, body)), Facts::one(fact));
    let cut = Answer { whole: false, ..answer(200, body) };
    assert_eq!(facts(&put, &cut).items[0].seq_no, None);
    let refused = facts(&put, &answer(429, "no JSON"));
    assert!(refused.items[0].refused());
    assert!(!facts(&put, &answer(502, "")).items[0].refused());

    let bulk = request("POST /_bulk", "", b"{\"delete\":{\"_index\":\"logs\",\"_id\":\"1\"}}\n");
    let body = r#"{"took":1,"errors":true,"items":[
        {"delete":{"_index":"logs","_id":"1","_version":1,"result":"not_found","_seq_no":0,"status":404}},
        {"create":{"_index":"logs","_id":"2","status":409,"error":{"type":"x"}}}]}"#;
    let told = facts(&bulk, &answer(200, body));
    assert_eq!((told.items[0].seq_no, told.items[0].refused()), (Some(0), false));
    assert_eq!((told.items[1].status, told.items[1].refused()), (409, true));
    assert_eq!(facts(&bulk, &answer(200, "{\"errors\":false}")), Facts::none());
    assert!(facts(&bulk, &answer(413, "")).all.is_some_and(|fact| fact.refused()));
    let deleted = facts(&request("DELETE /logs", "", b""), &answer(404, "{}"));
    assert!(deleted.items.is_empty() && deleted.all.is_some_and(|fact| fact.refused()));
}
