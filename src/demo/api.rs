//! The calls that the server knows, from a request to its answer.

use serde_json::{Value, json};

use super::store::{Refused, Store, Write, Written};
use super::wire::Request;

/// Answers one request: status and body. `uuid` is the name of this cluster.
pub(super) fn answer(store: &mut Store, uuid: &str, request: &Request) -> (u16, Value) {
    let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
    let parts: Vec<String> = path.split('/').filter(|part| !part.is_empty()).map(decoded).collect();
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let call = Call { request, query, index: "" };
    let method = request.method.as_str();
    match (method, &parts[..]) {
        ("GET" | "HEAD", []) => (200, root(uuid)),
        ("GET", ["_cluster", "health"]) => (200, json!({"status": "green", "timed_out": false})),
        ("POST" | "PUT", ["_bulk"]) => call.bulk(store),
        ("POST" | "PUT", [index, "_bulk"]) => Call { index, ..call }.bulk(store),
        ("GET" | "POST", ["_search"]) => search(store, None),
        ("GET" | "POST", [index, "_search"]) => search(store, Some(index)),
        ("GET" | "POST", ["_count"]) => count(store, None),
        ("GET" | "POST", [index, "_count"]) => count(store, Some(index)),
        ("GET" | "POST", [_, "_refresh"] | ["_refresh"]) => (200, json!({"_shards": shards()})),
        (_, [name, ..]) if name.starts_with('_') => unknown(request),
        ("PUT", [index]) if store.create_index(index) => {
            (200, json!({"acknowledged": true, "index": index}))
        }
        ("PUT", [index]) => refusal(400, "resource_already_exists_exception", index),
        ("DELETE", [index]) if store.delete_index(index) => (200, json!({"acknowledged": true})),
        ("DELETE", [index]) => refusal(404, "index_not_found_exception", index),
        ("HEAD", [index]) => (if store.has_index(index) { 200 } else { 404 }, Value::Null),
        (_, [index, rest @ ..]) => Call { index, ..call }.document(store, rest),
        _ => unknown(request),
    }
}

#[derive(Clone, Copy)]
struct Call<'a> {
    request: &'a Request,
    query: &'a str,
    index: &'a str,
}

impl Call<'_> {
    /// What is done to one document.
    fn document(self, store: &mut Store, rest: &[&str]) -> (u16, Value) {
        let create = self.parameter("op_type") == Some("create");
        let body = || serde_json::from_slice::<Value>(&self.request.body).ok();
        let full = |value| if create { Write::Create(value) } else { Write::Index(value) };
        let (id, write) = match (self.request.method.as_str(), rest) {
            ("GET" | "HEAD", ["_doc", id]) => return self.get(store, id),
            ("DELETE", ["_doc", id]) => (Some(*id), Some(Write::Delete)),
            ("POST", ["_doc"]) => (None, body().map(Write::Create)),
            ("PUT" | "POST", ["_doc", id]) => (Some(*id), body().map(full)),
            ("PUT" | "POST", ["_create", id]) => (Some(*id), body().map(Write::Create)),
            ("POST", ["_update", id]) => (Some(*id), body().map(update)),
            _ => return unknown(self.request),
        };
        let Some(write) = write else {
            return refusal(400, "mapper_parsing_exception", "the body is no JSON");
        };
        let at = self.parameter("if_seq_no").and_then(|number| number.parse().ok());
        let done = store.write(self.index, id, write, at);
        told(self.index, id.unwrap_or_default(), done)
    }

    fn get(self, store: &Store, id: &str) -> (u16, Value) {
        let index = self.index;
        match store.get(index, id) {
            None => (404, json!({"_index": index, "_type": "_doc", "_id": id, "found": false})),
            Some(document) => (
                200,
                json!({"_index": index, "_type": "_doc", "_id": id, "found": true,
                    "_version": document.version, "_seq_no": document.seq, "_primary_term": 1,
                    "_source": document.source}),
            ),
        }
    }

    fn bulk(self, store: &mut Store) -> (u16, Value) {
        let mut lines = self.request.body.split(|byte| *byte == b'\n');
        let mut next = || lines.find(|line| !line.is_empty()).map(serde_json::from_slice::<Value>);
        let (mut items, mut errors) = (Vec::new(), false);
        while let Some(line) = next() {
            let line = line.unwrap_or_default();
            let Some((action, meta)) = line.as_object().and_then(|map| map.iter().next()) else {
                return refusal(
                    400,
                    "illegal_argument_exception",
                    "Malformed action/metadata line",
                );
            };
            let document = if action == "delete" { None } else { next().and_then(Result::ok) };
            let write = match (action.as_str(), document) {
                ("delete", _) => Write::Delete,
                ("index", Some(document)) => Write::Index(document),
                ("create", Some(document)) => Write::Create(document),
                ("update", Some(document)) => update(document),
                _ => {
                    return refusal(
                        400,
                        "illegal_argument_exception",
                        "an action lacks its document",
                    );
                }
            };
            let index = meta["_index"].as_str().unwrap_or(self.index);
            let id = meta["_id"].as_str();
            let at = meta["if_seq_no"].as_u64();
            let (status, mut item) =
                told(index, id.unwrap_or_default(), store.write(index, id, write, at));
            errors |= item.get("error").is_some();
            item["status"] = status.into();
            items.push(json!({action: item}));
        }
        (200, json!({"took": 0, "errors": errors, "items": items}))
    }

    fn parameter(&self, name: &str) -> Option<&str> {
        let pairs = self.query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.into_iter().find(|(key, _)| *key == name).map(|(_, value)| value)
    }
}

/// The body of an update.
fn update(mut body: Value) -> Write {
    let partial = body["doc"].take();
    let upsert = match body.get_mut("upsert").map(Value::take) {
        None if body["doc_as_upsert"] == true => Some(partial.clone()),
        other => other,
    };
    Write::Update(partial, upsert)
}

/// The answer to a write.
fn told(index: &str, id: &str, done: Result<Written, Refused>) -> (u16, Value) {
    match done {
        Ok(Written { id, version, seq, result }) => {
            let status = match result {
                "created" => 201,
                "not_found" => 404,
                _ => 200,
            };
            let body = json!({"_index": index, "_type": "_doc", "_id": id, "_version": version,
                "result": result, "_shards": shards(), "_seq_no": seq, "_primary_term": 1});
            (status, body)
        }
        Err(refused) => {
            let (status, kind) = match refused {
                Refused::Conflict => (409, "version_conflict_engine_exception"),
                Refused::Missing => (404, "document_missing_exception"),
            };
            let (_, mut body) = refusal(status, kind, id);
            body["_index"] = index.into();
            body["_id"] = id.into();
            (status, body)
        }
    }
}

fn search(store: &Store, index: Option<&str>) -> (u16, Value) {
    let hits: Vec<Value> = store
        .all(index)
        .take(HITS)
        .map(|(index, id, source)| {
            json!({"_index": index, "_type": "_doc", "_id": id, "_score": 1.0, "_source": source})
        })
        .collect();
    let total = json!({"value": store.all(index).count(), "relation": "eq"});
    let hits = json!({"total": total, "max_score": 1.0, "hits": hits});
    (200, json!({"took": 0, "timed_out": false, "_shards": shards(), "hits": hits}))
}

fn count(store: &Store, index: Option<&str>) -> (u16, Value) {
    (200, json!({"count": store.all(index).count(), "_shards": shards()}))
}

fn root(uuid: &str) -> Value {
    json!({"name": "demo", "cluster_name": "demo", "cluster_uuid": uuid,
        "version": {"number": "7.10.2", "build_flavor": "oss", "lucene_version": "8.7.0"},
        "tagline": "You Know, for Search"})
}

fn refusal(status: u16, kind: &str, reason: &str) -> (u16, Value) {
    (status, json!({"error": {"type": kind, "reason": reason}, "status": status}))
}

fn unknown(request: &Request) -> (u16, Value) {
    let what = format!("no handler found for {} {}", request.method, request.target);
    refusal(400, "illegal_argument_exception", &what)
}

/// A part of a path without its percent signs (RFC 3986 section 2.1).
fn decoded(part: &str) -> String {
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part.as_bytes();
    while let Some((&first, behind)) = rest.split_first() {
        let hex = behind.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        let byte = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok());
        if let (b'%', Some(byte)) = (first, byte) {
            bytes.push(byte);
            rest = &behind[2..];
        } else {
            bytes.push(first);
            rest = behind;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn shards() -> Value {
    json!({"total": 1, "successful": 1, "skipped": 0, "failed": 0})
}

/// Hits of one search.
const HITS: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(store: &mut Store, line: &str, body: &str) -> (u16, Value) {
        let (method, target) = line.split_once(' ').unwrap();
        let request = Request {
            method: method.to_owned(),
            target: target.to_owned(),
            body: body.as_bytes().to_vec(),
            last: false,
        };
        answer(store, "uuid", &request)
    }

    #[test]
    fn single_documents_are_written_and_read() {
        let mut store = Store::new("gen-".to_owned());
        let cases = [
            ("PUT /i", "", 200),
            ("PUT /i", "", 400),
            ("HEAD /i", "", 200),
            ("PUT /i/_doc/a%20b", r#"{"n":1}"#, 201),
            ("GET /i/_doc/a%20b", "", 200),
            ("PUT /i/_create/a%20b", r#"{"n":2}"#, 409),
            ("PUT /i/_doc/a%20b?op_type=create", r#"{"n":2}"#, 409),
            ("PUT /i/_doc/a%20b?if_seq_no=7&if_primary_term=1", r#"{"n":2}"#, 409),
            ("PUT /i/_doc/a%20b?if_seq_no=0&if_primary_term=1", r#"{"n":2}"#, 200),
            ("POST /i/_update/a%20b", r#"{"doc":{"m":3}}"#, 200),
            ("POST /i/_update/none", r#"{"doc":{"m":3}}"#, 404),
            ("POST /i/_update/up", r#"{"doc":{"m":3},"doc_as_upsert":true}"#, 201),
            ("POST /i/_update/up2", r#"{"doc":{"m":3},"upsert":{"m":4}}"#, 201),
            ("POST /i/_doc", r#"{"n":9}"#, 201),
            ("PUT /i/_doc/bad", "{", 400),
            ("DELETE /i/_doc/up", "", 200),
            ("DELETE /i/_doc/up", "", 404),
            ("GET /i/_doc/up", "", 404),
            ("POST /_nothing", "", 400),
            ("GET /", "", 200),
        ];
        for (line, body, status) in cases {
            assert_eq!(ask(&mut store, line, body).0, status, "{line}");
        }
        let (_, found) = ask(&mut store, "GET /i/_doc/a%20b", "");
        assert_eq!((&found["_source"], &found["_version"]), (&json!({"n": 2, "m": 3}), &json!(3)));
        assert_eq!(ask(&mut store, "GET /i/_count", "").1["count"], 3);
        assert_eq!(ask(&mut store, "POST /_search", "").1["hits"]["hits"][0]["_id"], "a b");
        assert_eq!(ask(&mut store, "GET /", "").1["cluster_uuid"], "uuid");
    }

    #[test]
    fn a_bulk_is_answered_item_by_item() {
        let mut store = Store::new("gen-".to_owned());
        let body = concat!(
            r#"{"index":{"_id":"1"}}"#,
            "\n{\"n\":1}\n",
            r#"{"create":{"_id":"1"}}"#,
            "\n{\"n\":2}\n",
            r#"{"update":{"_id":"1"}}"#,
            "\n{\"doc\":{\"m\":1}}\n",
            r#"{"delete":{"_index":"j","_id":"1"}}"#,
            "\n",
            r#"{"index":{}}"#,
            "\n{}\n",
        );
        let (status, answer) = ask(&mut store, "POST /i/_bulk", body);
        assert_eq!((status, &answer["errors"]), (200, &json!(true)));
        let items = answer["items"].as_array().unwrap();
        let item = |at: usize, action: &str| items[at][action]["status"].as_u64().unwrap();
        let statuses = [item(0, "index"), item(1, "create"), item(2, "update"), item(3, "delete")];
        assert_eq!(statuses, [201, 409, 200, 404]);
        assert_eq!(items[1]["create"]["error"]["type"], "version_conflict_engine_exception");
        assert_eq!(items[4]["index"]["_id"], "gen-0000000001");
        assert_eq!(ask(&mut store, "POST /_bulk", "nonsense\n").0, 400);
        assert_eq!(ask(&mut store, "POST /_bulk", "{\"index\":{}}\n").0, 400);
    }
}
