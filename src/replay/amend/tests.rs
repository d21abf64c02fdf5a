use std::rc::Rc;

use super::*;
use crate::replay::exchange::{ConnectionId, ConnectionName, ExchangeId, Mark};

fn request(line: &str, fields: &str, body: &str) -> Request {
    let framing = if fields.contains("chunked") {
        String::new()
    } else {
        format!("Content-Length: {}\r\n", body.len())
    };
    let text = format!("{line} HTTP/1.1\r\nHost: h\r\n{fields}{framing}X-A:  b\r\n\r\n{body}");
    let bytes = text.into_bytes();
    let piece = RequestFraming::new().next(&Limits::default(), &bytes).unwrap();
    let RequestPart::Head(head) = piece.what else { panic!("a whole head") };
    let name = Rc::new(ConnectionName { node: "n".into(), clock: 0, id: "c".into() });
    Request {
        id: ExchangeId(0),
        connection: ConnectionId(0),
        name,
        index: 0,
        fingerprint: 0,
        bytes,
        head,
        first_ns: 0,
        last_ns: 0,
        mark: Mark { lane: 0, number: 0 },
    }
}

fn answer(status: u16, body: &str) -> Answer {
    let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n", body.len());
    let head_bytes = head.len();
    let bytes = (head + body).into_bytes();
    Answer {
        status,
        wire_bytes: bytes.len() as u64,
        bytes,
        head_bytes,
        whole: true,
        ..Answer::default()
    }
}

fn run(request: &Request, answer: &Answer) -> Amended {
    amend(request, Some(answer), Settings::default(), &[], Needs::UNKNOWN)
}

/// First line, body and counts of a change; everything between them is as it was but for the length.
fn change(request: &Request, amended: Amended) -> (String, String, Counts) {
    let Amended::Changed(change) = amended else { panic!("a change, not {amended:?}") };
    let text = String::from_utf8(change.bytes).unwrap();
    let (head, body) = text.split_at(change.head.head_bytes);
    let (line, fields) = head.split_once("\r\n").unwrap();
    let old = String::from_utf8(request.bytes.clone()).unwrap();
    let old = old[..request.head.head_bytes].split_once("\r\n").unwrap().1.to_owned();
    let without_length = |fields: &str| {
        let lines = fields.lines().filter(|line| !line.starts_with("Content-Length"));
        lines.collect::<Vec<_>>().join("\n")
    };
    assert_eq!(without_length(fields), without_length(&old));
    if let Some(length) = change.head.content_length {
        assert_eq!(length, body.len() as u64);
    }
    (line.to_owned(), body.to_owned(), change.what)
}

const ONE_ID: Counts = Counts { ids: 1, left_out: 0, conditions: 0 };
const ONE_CONDITION: Counts = Counts { ids: 0, left_out: 0, conditions: 1 };

#[test]
fn ids_of_the_source_are_given_to_the_target() {
    let created = answer(201, r#"{"_index":"logs-1","_id":"a/b c","result":"created"}"#);
    for (line, expected) in [
        ("POST /logs/_doc", "PUT /logs/_doc/a%2Fb%20c?op_type=create HTTP/1.1"),
        ("POST /logs/_doc/", "PUT /logs/_doc/a%2Fb%20c?op_type=create HTTP/1.1"),
        (
            "POST /a%2Cb/event?refresh=true",
            "PUT /a%2Cb/event/a%2Fb%20c?op_type=create&refresh=true HTTP/1.1",
        ),
        ("POST /logs/_doc?op_type=create", "PUT /logs/_doc/a%2Fb%20c?op_type=create HTTP/1.1"),
    ] {
        let request = request(line, "", "{\"a\":1}");
        let (line, body, what) = change(&request, run(&request, &created));
        assert_eq!((line.as_str(), body.as_str(), what), (expected, "{\"a\":1}", ONE_ID));
    }
    let post = request("POST /logs/_doc", "", "{}");
    assert_eq!(run(&post, &answer(400, "{}")), Amended::Untouched);
    assert_eq!(run(&post, &answer(201, "{}")), Amended::Unable(Why::AnswerUnreadable));
    let cut = Answer { whole: false, ..created.clone() };
    assert_eq!(run(&post, &cut), Amended::Unable(Why::NoAnswer));
    let settings = Settings { ids: Ids::Target, ..Settings::default() };
    let amended = amend(&post, Some(&created), settings, &[], Needs::UNKNOWN);
    assert_eq!(amended, Amended::Untouched);
    let amended = amend(&post, None, Settings::default(), &[], Needs::UNKNOWN);
    assert_eq!(amended, Amended::Unable(Why::NoAnswer));
    let put = request("PUT /logs/_doc/1", "", "{}");
    let amended = amend(&put, None, Settings::default(), &[], Needs::UNKNOWN);
    assert_eq!(amended, Amended::Untouched);
    assert_eq!(run(&put, &created), Amended::Untouched);
}

#[test]
fn what_the_source_refused_is_left_out() {
    let put = request("PUT /logs/_create/1", "", "{}");
    for status in [401, 403, 404, 409, 429, 503] {
        let left = Amended::Leave(Reason::RefusedBySource(status));
        assert_eq!(run(&put, &answer(status, "{}")), left);
    }
    for status in [200, 400, 500] {
        assert_eq!(run(&put, &answer(status, "{}")), Amended::Untouched, "{status}");
    }
    let delete = request("DELETE /logs/_doc/1", "", "");
    assert_eq!(run(&delete, &answer(404, "{}")), Amended::Untouched);
    let send = Settings { refused: Refused::Send, ..Settings::default() };
    let amended = amend(&put, Some(&answer(409, "{}")), send, &[], Needs::UNKNOWN);
    assert_eq!(amended, Amended::Untouched);
    let uncertain = amend(&put, Some(&answer(400, "")), Settings::default(), &[0], Needs::UNKNOWN);
    assert_eq!(uncertain, Amended::Leave(Reason::RefusedBySource(400)));
    // Part of it may have been done.
    let query = request("POST /logs/_update_by_query", "", "{}");
    assert_eq!(run(&query, &answer(409, "{}")), Amended::Untouched);
    for line in
        ["DELETE /logs", "DELETE /*", "POST /logs/_delete_by_query", "PUT /_cluster/settings"]
    {
        let whole = request(line, "", "{}");
        let left = Amended::Leave(Reason::RefusedBySource(403));
        assert_eq!(run(&whole, &answer(403, "{}")), left, "{line}");
        assert_eq!(run(&whole, &answer(200, "{}")), Amended::Untouched, "{line}");
        let amended = amend(&whole, Some(&answer(403, "{}")), send, &[], Needs::UNKNOWN);
        assert_eq!(amended, Amended::Untouched, "{line}");
    }
    let read = request("GET /logs/_doc/1", "", "");
    assert_eq!(run(&read, &answer(503, "{}")), Amended::Untouched);
    let bulk = request("POST /_bulk", "", "{\"delete\":{\"_id\":\"1\"}}\n");
    let left = Amended::Leave(Reason::RefusedBySource(429));
    assert_eq!(run(&bulk, &answer(429, "{}")), left);
    assert_eq!(run(&bulk, &answer(400, "{}")), Amended::Untouched);
}

#[test]
fn conditions_that_held_are_dropped() {
    let put = request("PUT /logs/_doc/1?if_seq_no=5&refresh&if_primary_term=1", "", "{}");
    let (line, _, what) = change(&put, run(&put, &answer(200, "{}")));
    assert_eq!((line.as_str(), what), ("PUT /logs/_doc/1?refresh HTTP/1.1", ONE_CONDITION));
    let delete = request("DELETE /logs/_doc/1?if_seq_no=5&if_primary_term=1", "", "");
    let (line, _, _) = change(&delete, run(&delete, &answer(200, "{}")));
    assert_eq!(line, "DELETE /logs/_doc/1 HTTP/1.1");
    assert_eq!(run(&delete, &answer(404, "{}")), Amended::Untouched);
    let keep = Settings { conditions: Conditions::Keep, ..Settings::default() };
    let amended = amend(&put, Some(&answer(200, "{}")), keep, &[], Needs::UNKNOWN);
    assert_eq!(amended, Amended::Untouched);
}

const BULK: &str = concat!(
    "{\"index\":{\"_index\":\"a\"}}\n{\"n\":0}\n",
    "{\"create\":{}}\r\n{\"n\":1}\r\n",
    "{\"index\":{\"_id\":\"x\",\"if_seq_no\":1,\"if_primary_term\":1}}\n{\"n\":2}\n",
    "{\"create\":{\"_id\":\"y\"}}\n{\"n\":3}\n",
    "{\"delete\":{\"_id\":\"z\"}}\n",
);

fn bulk_answer(statuses: [u16; 5]) -> Answer {
    let actions = ["index", "create", "index", "create", "delete"];
    let items = actions.iter().zip(statuses).enumerate().map(|(n, (action, status))| {
        let failed = status >= 400 && (*action, status) != ("delete", 404);
        let error = if failed { ",\"error\":{\"type\":\"t\"}" } else { "" };
        format!("{{\"{action}\":{{\"_id\":\"id{n}\",\"status\":{status}{error}}}}}")
    });
    let errors = statuses.iter().any(|status| *status >= 400);
    let items: Vec<_> = items.collect();
    answer(200, &format!("{{\"took\":1,\"errors\":{errors},\"items\":[{}]}}", items.join(",")))
}

#[test]
fn a_bulk_with_all_of_it() {
    let request = request("POST /logs/_bulk?refresh=true", "", BULK);
    let amended = run(&request, &bulk_answer([201, 201, 200, 409, 429]));
    let Amended::Changed(Change { kept, .. }) = &amended else { panic!("a change") };
    assert_eq!(kept.as_deref(), Some(&[0, 1, 2][..]));
    let (line, body, what) = change(&request, amended);
    assert_eq!(line, "POST /logs/_bulk?refresh=true HTTP/1.1");
    let expected = concat!(
        "{\"index\":{\"_id\":\"id0\",\"_index\":\"a\"}}\n{\"n\":0}\n",
        "{\"create\":{\"_id\":\"id1\"}}\r\n{\"n\":1}\r\n",
        "{\"index\":{\"_id\":\"x\"}}\n{\"n\":2}\n",
    );
    assert_eq!(body, expected);
    assert_eq!(what, Counts { ids: 2, left_out: 2, conditions: 1 });

    let refused = run(&request, &bulk_answer([409, 429, 503, 409, 429]));
    assert_eq!(refused, Amended::Leave(Reason::AllItemsRefused));
    // What was refused keeps its condition and gets no id.
    let send = Settings { refused: Refused::Send, ..Settings::default() };
    let refused = bulk_answer([409, 429, 409, 409, 404]);
    let amended = amend(&request, Some(&refused), send, &[], Needs::UNKNOWN);
    assert_eq!(amended, Amended::Untouched);
    let uncertain = bulk_answer([201, 201, 400, 201, 404]);
    let amended = amend(&request, Some(&uncertain), Settings::default(), &[2], Needs::UNKNOWN);
    let (_, body, what) = change(&request, amended);
    assert_eq!(what, Counts { ids: 2, left_out: 1, conditions: 0 });
    assert!(body.ends_with("{\"delete\":{\"_id\":\"z\"}}\n") && !body.contains("\"n\":2"));
}

#[test]
fn a_bulk_that_needs_nothing_is_not_read() {
    // Neither its body nor the rest of the answer would be readable.
    let request = request("POST /_bulk", "Content-Encoding: br\r\n", "?");
    let fine = answer(200, "{\"took\":1,\"errors\":false,\"items\":[?");
    let no_needs = Needs::default();
    let amended = amend(&request, Some(&fine), Settings::default(), &[], no_needs);
    assert_eq!(amended, Amended::Untouched);
    let chunked = Answer {
        bytes: b"HTTP/1.1 200 OK\r\n\r\n1a4\r\n{\"took\":1,\"errors\":false,".to_vec(),
        head_bytes: 19,
        whole: false,
        ..fine.clone()
    };
    let amended = amend(&request, Some(&chunked), Settings::default(), &[], no_needs);
    assert_eq!(amended, Amended::Untouched);
    assert_eq!(run(&request, &fine), Amended::Unable(Why::RequestUnreadable));
    let amended = amend(&request, None, Settings::default(), &[], no_needs);
    assert_eq!(amended, Amended::Untouched);
}

#[test]
fn a_bulk_that_cannot_be_matched_goes_as_it_is() {
    let ids = request("POST /logs/_bulk", "", BULK);
    let few = answer(200, "{\"errors\":false,\"items\":[]}");
    assert_eq!(run(&ids, &few), Amended::Unable(Why::AnswerUnreadable));
    let amended = amend(&ids, None, Settings::default(), &[], Needs::UNKNOWN);
    assert_eq!(amended, Amended::Unable(Why::NoAnswer));
    let cut = Answer { whole: false, ..bulk_answer([201; 5]) };
    assert_eq!(run(&ids, &cut), Amended::Unable(Why::NoAnswer));
    let filtered = request("POST /logs/_bulk?filter_path=items.*.error", "", BULK);
    let amended = run(&filtered, &bulk_answer([201; 5]));
    assert_eq!(amended, Amended::Unable(Why::AnswerUnreadable));
    // A scan without a hint finds that there is nothing to do.
    let plain = request("POST /logs/_bulk", "", "{\"index\":{\"_id\":\"1\"}}\n{}\n");
    let fine = answer(200, "{\"took\":1,\"errors\":false,\"items\":[?");
    assert_eq!(run(&plain, &fine), Amended::Untouched);
    let broken = request("POST /logs/_bulk", "", "{\"index\"\n");
    assert_eq!(run(&broken, &fine), Amended::Unable(Why::RequestUnreadable));
}

#[test]
fn chunks_stay_chunks() {
    let body = "{\"index\":{}}\n{}\n";
    let framed = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    let request = request("POST /logs/_bulk", "Transfer-Encoding: chunked\r\n", &framed);
    let reply = answer(200, r#"{"errors":false,"items":[{"index":{"_id":"i","status":201}}]}"#);
    let (_, body, what) = change(&request, run(&request, &reply));
    assert_eq!(what, ONE_ID);
    assert_eq!(body, "19\r\n{\"index\":{\"_id\":\"i\"}}\n{}\n\r\n0\r\n\r\n");
}
