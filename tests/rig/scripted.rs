//! A scripted target: an HTTP server that answers each request as a test says and remembers every
//! request, byte for byte, with its connection and time, in the order they became complete.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::message::Message;
use super::origin::{self, Origin};
use super::wait;

/// One request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Arrived {
    /// The target's connection it came on, from 0.
    pub(crate) connection: usize,
    /// When it was complete.
    pub(crate) at: Instant,
    /// How many with the same method and target came before it.
    pub(crate) attempt: usize,
    pub(crate) message: Message,
}

/// What a script answers.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    Answer(Vec<u8>),
    /// The answer after a while.
    After(Duration, Vec<u8>),
    /// The answer, and the end of the connection without a word in it: an idle close.
    AnswerAndClose(Vec<u8>),
    /// A reset in place of an answer.
    Reset,
    /// Nothing at all until the gate opens, then the answer.
    Behind(Gate, Vec<u8>),
}

/// Something that answers wait for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gate(Arc<(Mutex<bool>, Condvar)>);

/// A running target. Dropping it ends its connections.
#[derive(Debug)]
pub(crate) struct Scripted {
    origin: Origin,
    arrived: Arc<Mutex<Vec<Arrived>>>,
}

impl Scripted {
    /// A target that answers what `script` says.
    pub(crate) fn start<S>(script: S) -> Self
    where
        S: Fn(&Arrived) -> Reply + Send + Sync + 'static,
    {
        Self::start_at(0, script)
    }

    /// The same on this port.
    pub(crate) fn start_at<S>(port: u16, script: S) -> Self
    where
        S: Fn(&Arrived) -> Reply + Send + Sync + 'static,
    {
        let arrived = Arc::new(Mutex::new(Vec::new()));
        let noting = Arc::clone(&arrived);
        let attempts: Mutex<HashMap<(String, String), usize>> = Mutex::default();
        let origin = Origin::start_at(port, move |visit| {
            while let Some(message) = visit.request()? {
                let key = (message.method(), message.target());
                let attempt = {
                    let mut attempts = attempts.lock().unwrap_or_else(PoisonError::into_inner);
                    let count = attempts.entry(key).or_default();
                    *count += 1;
                    *count - 1
                };
                let connection = visit.number();
                let arrival = Arrived { connection, at: Instant::now(), attempt, message };
                noting.lock().unwrap_or_else(PoisonError::into_inner).push(arrival.clone());
                match script(&arrival) {
                    Reply::Answer(bytes) => visit.send(&bytes)?,
                    Reply::After(pause, bytes) => {
                        std::thread::sleep(pause);
                        visit.send(&bytes)?;
                    }
                    Reply::AnswerAndClose(bytes) => {
                        visit.send(&bytes)?;
                        return Ok(());
                    }
                    Reply::Reset => return visit.reset(),
                    Reply::Behind(gate, bytes) => {
                        gate.pass();
                        visit.send(&bytes)?;
                    }
                }
            }
            Ok(())
        });
        Self { origin, arrived }
    }

    /// A target that answers everything as a cluster in good health would.
    pub(crate) fn healthy() -> Self {
        Self::start(|arrived| Reply::Answer(healthy(arrived)))
    }

    /// Port on 127.0.0.1.
    pub(crate) fn port(&self) -> u16 {
        self.origin.port()
    }

    /// All requests so far but those by which a replayer looks at its target: `GET /`, `HEAD /`.
    pub(crate) fn arrived(&self) -> Vec<Arrived> {
        let mut all = self.arrived.lock().unwrap_or_else(PoisonError::into_inner).clone();
        all.retain(|arrived| arrived.message.target() != "/");
        all
    }

    /// Method and target of each request so far, in order.
    pub(crate) fn lines(&self) -> Vec<String> {
        let line =
            |arrived: Arrived| format!("{} {}", arrived.message.method(), arrived.message.target());
        self.arrived().into_iter().map(line).collect()
    }

    /// Waits for so many requests; panics when they do not come.
    pub(crate) fn wait_for(&self, count: usize) {
        let came = wait::until(PATIENCE, || self.arrived().len() >= count);
        assert!(came, "{count} requests are expected, there are {:?}", self.lines());
    }
}

impl Gate {
    /// Lets everything pass from now on.
    pub(crate) fn open(&self) {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.0.1.notify_all();
    }

    fn pass(&self) {
        let open = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.0.1.wait_timeout_while(open, PATIENCE, |open| !*open);
        drop(waited);
    }
}

impl Arrived {
    /// The action lines of a bulk: name of the action and its metadata.
    pub(crate) fn items(&self) -> Vec<(String, Value)> {
        let text = self.message.text();
        let mut lines = text.lines().filter(|line| !line.is_empty());
        let mut items = Vec::new();
        while let Some(line) = lines.next() {
            let action: Value = serde_json::from_str(line).expect("an action is JSON");
            let (name, meta) = action.as_object().and_then(|map| map.iter().next()).unwrap();
            if name != "delete" {
                lines.next().expect("an action has a document");
            }
            items.push((name.clone(), meta.clone()));
        }
        items
    }
}

/// What a cluster in good health answers.
pub(crate) fn healthy(arrived: &Arrived) -> Vec<u8> {
    let message = &arrived.message;
    let (method, target) = (message.method(), message.target());
    let path = target.split('?').next().unwrap_or_default().to_owned();
    if path == "/" {
        return root(TARGET_UUID);
    }
    if path.ends_with("_bulk") && message.field("content-encoding").is_none() {
        return bulk(arrived, |_, _| None);
    }
    let body = json!({
        "_index": "i", "_id": "1", "_version": 1, "result": "updated", "_seq_no": 0,
        "_primary_term": 1, "acknowledged": true, "hits": {"hits": []}
    });
    let answer = json_answer(200, "OK", &body);
    if method == "HEAD" { b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec() } else { answer }
}

/// The answer to a bulk; `fails` gives status and type of error for the items that fail.
pub(crate) fn bulk(
    arrived: &Arrived,
    fails: impl Fn(&str, &Value) -> Option<(u16, &'static str)>,
) -> Vec<u8> {
    let mut errors = false;
    let items: Vec<Value> = arrived
        .items()
        .iter()
        .map(|(action, meta)| {
            let mut item = json!({"_index": meta["_index"], "_id": meta["_id"], "status": 201,
                "result": "created", "_version": 1, "_seq_no": 0, "_primary_term": 1});
            if let Some((status, kind)) = fails(action, meta) {
                errors = true;
                item = json!({"_index": meta["_index"], "_id": meta["_id"], "status": status,
                    "error": {"type": kind, "reason": "scripted"}});
            }
            json!({action: item})
        })
        .collect();
    json_answer(200, "OK", &json!({"took": 1, "errors": errors, "items": items}))
}

/// What a cluster says of itself.
pub(crate) fn root(uuid: &str) -> Vec<u8> {
    let body = json!({"name": "rig-1", "cluster_name": "rig", "cluster_uuid": uuid,
        "version": {"distribution": "opensearch", "number": "2.19.6"}});
    json_answer(200, "OK", &body)
}

/// An answer that refuses with a status and an error of a type.
pub(crate) fn refusal(status: u16, kind: &str) -> Vec<u8> {
    let body = json!({"error": {"type": kind, "reason": "scripted"}, "status": status});
    json_answer(status, "Refused", &body)
}

/// An answer of JSON.
pub(crate) fn json_answer(status: u16, reason: &str, body: &Value) -> Vec<u8> {
    let body = body.to_string();
    origin::response(status, reason, &["content-type: application/json"], body.as_bytes())
}

const TARGET_UUID: &str = "scripted-target-uuid";
const PATIENCE: Duration = Duration::from_mins(1);

#[test]
fn a_script_sees_attempts_and_fails_items() {
    use super::client::{Client, bare, request};
    let gate = Gate::default();
    let behind = gate.clone();
    let target = Scripted::start(move |arrived| match arrived.message.target().as_str() {
        "/a" if arrived.attempt < 2 => Reply::Answer(refusal(429, "rejected")),
        "/reset" => Reply::Reset,
        "/slow" => Reply::Behind(behind.clone(), healthy(arrived)),
        "/_bulk" => Reply::AnswerAndClose(bulk(arrived, |_, meta| {
            (meta["_id"] == "2").then_some((429, "es_rejected_execution_exception"))
        })),
        _ => Reply::Answer(healthy(arrived)),
    });
    let mut client = Client::connect(target.port());
    assert_eq!(client.ask(&bare("GET", "/")).status(), 200);
    let statuses = [0; 3].map(|_| client.ask(&bare("GET", "/a")).status());
    assert_eq!(statuses, [429, 429, 200]);
    let lines = b"{\"index\":{\"_id\":\"1\"}}\n{}\n{\"delete\":{\"_id\":\"2\"}}\n";
    let answer: Value =
        serde_json::from_str(&client.ask(&request("POST", "/_bulk", lines)).text()).unwrap();
    assert_eq!(answer["errors"], true);
    assert_eq!(answer["items"][0]["index"]["status"], 201);
    assert_eq!(answer["items"][1]["delete"]["error"]["type"], "es_rejected_execution_exception");
    assert_eq!(client.until_end().unwrap(), b"", "the connection is closed");
    let mut other = Client::connect(target.port());
    other.send(&bare("GET", "/slow"));
    target.wait_for(5);
    assert!(other.is_silent(Duration::from_millis(20)));
    gate.open();
    assert_eq!(other.response("GET").status(), 200);
    other.send(&bare("GET", "/reset"));
    assert!(other.until_end().is_err());
    assert_eq!(target.lines()[3..], ["POST /_bulk", "GET /slow", "GET /reset"]);
    let arrived = target.arrived();
    assert_eq!((arrived[2].attempt, arrived[3].connection, arrived[4].connection), (2, 0, 1));
    assert!(arrived[4].at >= arrived[3].at);
}
