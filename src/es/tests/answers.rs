use proptest::prelude::*;

use crate::es::answer::{bulk, errors_at_front, write};
use crate::es::bulk::Action;

#[test]
fn single_documents() {
    let created = br#"{"_index":"logs","_type":"_doc","_id":"x1","_version":1,"result":"created",
        "_shards":{"total":2,"successful":1,"failed":0},"_seq_no":41,"_primary_term":3}"#;
    let found = write(created).unwrap();
    assert_eq!((found.index.as_deref(), found.id.as_deref()), (Some("logs"), Some("x1")));
    assert_eq!((found.seq_no, found.primary_term, found.version), (Some(41), Some(3), Some(1)));
    assert_eq!(
        (found.result.as_deref(), found.status, found.failed()),
        (Some("created"), None, false)
    );

    let conflict = br#"{"error":{"root_cause":[{"type":"version_conflict_engine_exception"}],
        "type":"version_conflict_engine_exception","reason":"[1]: version conflict, \"required\" seqNo [5]",
        "index_uuid":"u","shard":"0","index":"logs"},"status":409}"#;
    let found = write(conflict).unwrap();
    let error = found.error.clone().unwrap();
    assert_eq!(error.kind.as_deref(), Some("version_conflict_engine_exception"));
    assert!(error.is_object && found.failed() && found.status == Some(409));

    let old = write(br#"{"error":"IndexMissingException[[x] missing]","status":404}"#).unwrap();
    assert_eq!((old.error.unwrap().is_object, old.status), (false, Some(404)));
    let odd =
        write(br#"{"_id":7,"_seq_no":"5","_version":1e9,"status":70000,"error":null}"#).unwrap();
    assert_eq!(
        (odd.id, odd.seq_no, odd.version, odd.status, odd.error),
        (None, None, None, None, None)
    );
    for body in [&b""[..], b"[]", b"null", b"{\"_id\":", b"{} x", b"<html>", b"{\"_id\":\"\xff\"}"]
    {
        assert!(write(body).is_err(), "{body:?}");
    }
}

const PARTLY: &str = r#"{"took":30,"ingest_took":0,"errors":true,"items":[
 {"index":{"_index":"logs","_type":"_doc","_id":"a","_version":4,"result":"updated","_shards":{"total":2},
   "_seq_no":9,"_primary_term":1,"status":200}},
 {"create":{"_index":"logs","_id":"b\u00e9","status":409,"error":{"reason":"exists",
   "caused_by":{"type":"inner_exception"},"type":"version_conflict_engine_exception"}}},
 {"delete":{"_index":"logs","_id":"c","result":"not_found","status":404,"_seq_no":10,"_version":1}},
 {"update":{"_index":"logs","_id":"d","status":429,"error":"text"}},
 {"upsert":{"status":400,"error":{"reason":"no type"}}}]}"#;

#[test]
fn a_bulk_that_failed_in_part() {
    let answer = bulk(PARTLY.as_bytes()).unwrap();
    assert_eq!(answer.errors, Some(true));
    let items = answer.items.unwrap();
    let short: Vec<_> = items
        .iter()
        .map(|item| {
            let error = item.written.error.as_ref();
            let kind = error.map(|error| (error.is_object, error.kind.as_deref()));
            (item.action, item.written.id.as_deref(), item.written.status, kind)
        })
        .collect();
    let conflict = Some((true, Some("version_conflict_engine_exception")));
    assert_eq!(
        short,
        [
            (Some(Action::Index), Some("a"), Some(200), None),
            (Some(Action::Create), Some("b\u{e9}"), Some(409), conflict),
            (Some(Action::Delete), Some("c"), Some(404), None),
            (Some(Action::Update), Some("d"), Some(429), Some((false, None))),
            (None, None, Some(400), Some((true, None))),
        ]
    );
    assert_eq!((items[0].written.seq_no, items[0].written.version), (Some(9), Some(4)));
}

#[test]
fn the_flag_is_found_at_the_front() {
    assert_eq!(errors_at_front(PARTLY.as_bytes()), Some(true));
    assert_eq!(errors_at_front(br#" { "took" : 1 , "errors" : false"#), Some(false));
    let behind = br#"{"took":1,"items":[{"index":{"status":201}}],"errors":false}"#;
    assert_eq!(errors_at_front(behind), None);
    let answer = bulk(behind).unwrap();
    assert_eq!((answer.errors, answer.items.unwrap().len()), (Some(false), 1));
    for body in ["", "{}", "[]", "{\"errors\":\"false\"}", "{\"errors\":{}}", "not valid {{"] {
        assert_eq!(errors_at_front(body.as_bytes()), None, "{body}");
    }
    let refused = bulk(br#"{"error":{"type":"x_exception"},"status":400}"#).unwrap();
    assert_eq!(refused.error.unwrap().kind.as_deref(), Some("x_exception"));
    assert!(refused.items.is_none() && refused.errors.is_none());
    for body in
        ["", "not valid {{", "{\"items\":[{}]}", "{\"items\":[{\"index\":{},\"b\":{}}]}", "[1]"]
    {
        assert!(bulk(body.as_bytes()).is_err(), "{body}");
    }
}

proptest! {
    #[test]
    fn any_answer_is_read(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = (write(&body), bulk(&body), errors_at_front(&body));
    }

    #[test]
    fn any_cut_answer_is_read(cut in 0..PARTLY.len(), byte in any::<u8>()) {
        let mut body = PARTLY.as_bytes().to_vec();
        let _ = (bulk(&body[..cut]), write(&body[..cut]), errors_at_front(&body[..cut]));
        body[cut] = byte;
        let _ = (bulk(&body), write(&body), errors_at_front(&body));
    }
}
