//! The golden captures as data: scenarios, the bytes that went over the wire, the records.
//!
//! Owns the reading of the files (their README says what is in them). Never judges anything.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::read::GzDecoder;
use serde_json::Value;

/// One scripted conversation, from both ends.
pub(crate) struct Scenario {
    /// What each client connection does.
    pub(crate) clients: Vec<Vec<Event>>,
    /// What the source does on each of its connections.
    pub(crate) sources: Vec<Vec<Event>>,
    /// All that each client sent.
    pub(crate) sent: Vec<Vec<u8>>,
    /// All that each client received.
    pub(crate) received: Vec<Vec<u8>>,
    /// All that the source received on each of its connections.
    pub(crate) reached: Vec<Vec<u8>>,
}

/// One step of one end.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    Send(Vec<u8>),
    /// Each byte its own segment, with a pause behind it.
    Trickle(Vec<u8>, Duration),
    /// Wait for so many bytes more, or for the end of the stream.
    Receive {
        bytes: usize,
        end: bool,
    },
    Pause(Duration),
    Finish,
    Close,
    Reset,
}

/// A line of a `records-*.txt.gz`: key and record.
pub(crate) type Line = (String, Vec<u8>);

/// The directory of the golden captures, where it is there.
pub(crate) fn directory() -> Option<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/golden");
    dir.is_dir().then_some(dir)
}

/// The names of all scenarios, sorted.
pub(crate) fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).expect("the directory of the golden captures is readable");
    let mut names: Vec<String> = entries
        .filter_map(Result::ok)
        .filter(|entry| entry.path().join("scenario.json").is_file())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// The records of one run (`file` or `kafka`) of a scenario.
pub(crate) fn lines(dir: &Path, name: &str, run: &str) -> Vec<Line> {
    let text = read(&dir.join(name).join(format!("records-{run}.txt"))).expect("it has records");
    let text = String::from_utf8(text).expect("a line is ASCII");
    let line = |line: &str| {
        let (key, value) = line.split_once('|').expect("a line is <key>|<base64>");
        (key.to_owned(), STANDARD.decode(value).expect("the value is base64"))
    };
    text.lines().map(line).collect()
}

impl Scenario {
    pub(crate) fn load(dir: &Path, name: &str) -> Self {
        let dir = dir.join(name);
        let json = fs::read(dir.join("scenario.json")).expect("it has a scenario.json");
        let json: Value = serde_json::from_slice(&json).expect("scenario.json is JSON");
        let of = |ends: &str, file: &str| {
            let count = json[ends].as_array().map_or(0, Vec::len);
            let bytes = |number| read(&dir.join(format!("{file}-{number}.bin")));
            (0..count).map(|number| bytes(number).unwrap_or_default()).collect::<Vec<_>>()
        };
        let (sent, received) =
            (of("connections", "client-sent"), of("connections", "client-received"));
        let reached = of("backend", "backend-received");
        Self {
            clients: scripts(&json["connections"], &sent),
            sources: scripts(&json["backend"], &received),
            sent,
            received,
            reached,
        }
    }

    /// The same without the rewriting that an option of the reference did: what is sent arrives.
    pub(crate) fn without_options(mut self) -> Self {
        self.reached.clone_from(&self.sent);
        for (client, source) in self.clients.iter().zip(&mut self.sources) {
            let sends = client.iter().filter_map(|event| match event {
                Event::Send(bytes) => Some(bytes.len()),
                _ => None,
            });
            let receives = source.iter_mut().filter_map(|event| match event {
                Event::Receive { bytes, end: false } => Some(bytes),
                _ => None,
            });
            sends.zip(receives).for_each(|(sent, received)| *received = sent);
        }
        self
    }
}

fn scripts(ends: &Value, all: &[Vec<u8>]) -> Vec<Vec<Event>> {
    let Some(ends) = ends.as_array() else { return Vec::new() };
    let script = |(number, steps): (usize, &Value)| {
        let mut rest = all.get(number).map_or(&[][..], Vec::as_slice);
        let steps = steps.as_array().expect("a script is a list");
        steps.iter().filter_map(|step| event(step, &mut rest)).collect()
    };
    ends.iter().enumerate().map(script).collect()
}

/// `rest`: what this end has not sent yet; long data stands there and not in the step.
fn event(step: &Value, rest: &mut &[u8]) -> Option<Event> {
    let length = || step["data"]["len"].as_u64().unwrap_or(0) as usize;
    let pause = |key: &str, ms| Duration::from_millis(step[key].as_u64().unwrap_or(ms));
    let mut data = || {
        let (now, later) = rest.split_at(length().min(rest.len()));
        *rest = later;
        match (step["data"]["text"].as_str(), step["data"]["base64"].as_str()) {
            (Some(text), _) => text.as_bytes().to_vec(),
            (_, Some(base64)) => STANDARD.decode(base64).expect("base64 is base64"),
            _ => now.to_vec(),
        }
    };
    Some(match step["op"].as_str().expect("a step has a name") {
        "connect" => return None,
        "send" => Event::Send(data()),
        "send-one-byte-segments" => Event::Trickle(data(), pause("pauseMs", 1)),
        "received" => Event::Receive { bytes: length(), end: step["end"] == "eof" },
        "recv" => Event::Receive { bytes: length(), end: false },
        "eof" => Event::Receive { bytes: 0, end: true },
        "pause" => Event::Pause(pause("ms", 0)),
        "shutdown-write" | "fin" => Event::Finish,
        "close" => Event::Close,
        "reset" => Event::Reset,
        other => panic!("unknown step {other}"),
    })
}

/// A file, or the same compressed with `.gz` behind its name.
fn read(path: &Path) -> Option<Vec<u8>> {
    if let Ok(bytes) = fs::read(path) {
        return Some(bytes);
    }
    let compressed = fs::read(format!("{}.gz", path.display())).ok()?;
    let mut bytes = Vec::new();
    GzDecoder::new(&compressed[..]).read_to_end(&mut bytes).expect("a .gz is gzip");
    Some(bytes)
}
