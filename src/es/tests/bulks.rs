use proptest::prelude::*;

use crate::es::bulk::{Action, BulkError, BulkItem, lines, write_amended};

fn all<'a>(body: &'a str, index: Option<&'a str>) -> Vec<BulkItem<'a>> {
    lines(body.as_bytes(), index).map(Result::unwrap).collect()
}

#[test]
fn every_action() {
    let body = concat!(
        "{\"index\":{\"_index\":\"logs\",\"_id\":\"1\",\"routing\":\"r\"}}\n{\"a\":1}\n",
        "{\"create\":{\"_index\":\"logs\",\"_id\":\"2\"}}\r\n{\"a\":2}\r\n",
        "\n  \n",
        "{ \"update\" : { \"_id\" : 3 , \"_type\" : \"event\", \"retry_on_conflict\":3 } }\n{\"doc\":{}}\n",
        "{\"delete\":{\"_id\":\"4\",\"if_seq_no\":5,\"if_primary_term\":1}}\n",
        "{\"index\":{}}\n{\"a\":5}",
    );
    let items = all(body, Some("other"));
    let short: Vec<_> = items
        .iter()
        .map(|item| (item.number, item.action, item.index.as_deref(), item.id.as_deref()))
        .collect();
    assert_eq!(
        short,
        [
            (0, Action::Index, Some("logs"), Some("1")),
            (1, Action::Create, Some("logs"), Some("2")),
            (2, Action::Update, Some("other"), Some("3")),
            (3, Action::Delete, Some("other"), Some("4")),
            (4, Action::Index, Some("other"), None),
        ]
    );
    let source = |at: usize| items[at].source.clone().map(|source| &body[source]);
    assert_eq!(source(0), Some("{\"a\":1}"));
    assert_eq!(source(1), Some("{\"a\":2}"));
    assert_eq!(source(3), None);
    assert_eq!(source(4), Some("{\"a\":5}"));
    assert_eq!(&body[items[1].line.clone()], "{\"create\":{\"_index\":\"logs\",\"_id\":\"2\"}}");
    assert_eq!(
        &body[items[1].whole.clone()],
        "{\"create\":{\"_index\":\"logs\",\"_id\":\"2\"}}\r\n{\"a\":2}\r\n"
    );
    assert_eq!(items[0].routing.as_deref(), Some("r"));
    assert_eq!(items[2].doc_type.as_deref(), Some("event"));
    assert!(items[3].sequence_condition && items[3].has_condition());
    assert!(items[4].wants_id() && !items[0].wants_id());
    assert_eq!(&body[items[4].metadata..items[4].line.end], "}}");
}

#[test]
fn odd_metadata() {
    let items = all(
        concat!(
            "{\"index\":{\"_id\":\"a\\u00e9\\\"\",\"op_type\":\"create\",\"x\":{\"y\":[1]}}}\n{}\n",
            "{\"index\":{\"_id\":null,\"_index\":\"\",\"version\":3,\"pipeline\":\"p\"}}\n{}\n",
            "{\"\\u0069ndex\":{\"_i\\u0064\":\"\"}}\n{}\n",
        ),
        None,
    );
    assert_eq!(items[0].id.as_deref(), Some("a\u{e9}\""));
    assert_eq!(items[0].action, Action::Create);
    assert!(items[1].wants_id() && items[1].versioned && items[1].pipeline);
    assert_eq!(items[1].index.as_deref(), Some(""));
    assert!(items[2].wants_id());
}

#[test]
fn a_line_that_is_no_action_ends_the_bulk() {
    for line in [
        "{\"a\":1}",
        "{\"index\":{\"_id\":\"1\"}} x",
        "{\"index\":{\"_id\":\"1\" \"_index\":\"a\"}}",
        "{\"index\":{\"_id\":[]}}",
        "{\"index\":{,}}",
        "{\"index\":null}",
        "{\"upsert\":{}}",
        "{}",
        "[]",
        "x",
        "{\"index\":{\"_id\":\"1\"}",
        "{\"index\":{\"_id\":\"1}}",
    ] {
        let body = format!("{{\"delete\":{{\"_id\":\"1\"}}}}\n{line}\n{{\"delete\":{{}}}}\n");
        let found: Vec<_> = lines(body.as_bytes(), None).collect();
        assert_eq!(found.len(), 2, "{line}");
        assert!(found[0].is_ok());
        assert_eq!(found[1], Err(BulkError { at: 23, number: 1 }), "{line}");
    }
    assert!(all("", None).is_empty());
    assert!(all("\n\r\n", None).is_empty());
    // The servers refuse a source that is missing; the reader leaves that to them.
    assert_eq!(all("{\"index\":{}}\n", None)[0].source, None);
    assert_eq!(all("{\"index\":{}}\n\n", None)[0].source, Some(13..13));
}

#[test]
fn amended_lines() {
    let amended = |line: &str, id: Option<&str>, drop| {
        let body = format!("{line}\r\n{{}}\r\n");
        let mut out = b"before\n".to_vec();
        write_amended(body.as_bytes(), &all(&body, None)[0], id, drop, &mut out);
        let text = String::from_utf8(out).unwrap();
        text.strip_prefix("before\n").unwrap().strip_suffix("\r\n{}\r\n").unwrap().to_owned()
    };
    let id = Some("a\"b");
    assert_eq!(amended(r#"{"index":{}}"#, id, true), r#"{"index":{"_id":"a\"b"}}"#);
    assert_eq!(
        amended(r#"{ "index":{ "_index": "i" } }"#, id, false),
        r#"{ "index":{"_id":"a\"b","_index": "i"} }"#
    );
    assert_eq!(
        amended(r#"{"index":{"_id":null,"x":{"_id":1}}}"#, id, false),
        r#"{"index":{"_id":"a\"b","x":{"_id":1}}}"#
    );
    let conditional = r#"{"index":{"_id":"1","if_seq_no":5,"routing":"r","if_primary_term":1}}"#;
    assert_eq!(amended(conditional, None, true), r#"{"index":{"_id":"1","routing":"r"}}"#);
    assert_eq!(amended(conditional, None, false), conditional);
}

proptest! {
    #[test]
    fn any_body_is_read(body in prop::collection::vec(any::<u8>(), 0..200)) {
        check(&body);
    }

    #[test]
    fn any_body_of_bulk_pieces_is_read(
        pieces in prop::collection::vec(
            prop_oneof![
                Just("{\"index\":{\"_id\":\"1\"}}"), Just("{\"delete\":{}}"), Just("\n"), Just("\r\n"),
                Just("{"), Just("}"), Just("\""), Just("\\"), Just("\"_id\":"), Just(","), Just("[1]"),
            ],
            0..30,
        ),
    ) {
        check(pieces.concat().as_bytes());
    }
}

/// Items stand in order, lie in the body and overlap nowhere.
fn check(body: &[u8]) {
    let mut end = 0;
    for (number, item) in lines(body, Some("i")).enumerate() {
        let Ok(item) = item else { continue };
        assert_eq!(item.number, number);
        assert!(item.whole.start >= end && item.whole.end <= body.len());
        assert!(item.line.start == item.whole.start && item.line.end <= item.whole.end);
        assert!(item.line.contains(&item.metadata));
        if let Some(source) = &item.source {
            assert!(source.start > item.line.end && source.end <= item.whole.end);
        }
        end = item.whole.end;
        let mut out = Vec::new();
        write_amended(body, &item, Some("id"), true, &mut out);
        let again: Vec<_> = lines(&out, Some("i")).collect();
        let again = again[0].as_ref().unwrap();
        assert_eq!((again.id.as_deref(), again.sequence_condition), (Some("id"), false));
    }
}
