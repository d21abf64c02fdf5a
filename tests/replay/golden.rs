//! The reference's golden records, replayed: the target receives the requests that their clients
//! sent, byte for byte but for the line of the host.

use std::collections::BTreeMap;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::golden::vectors::{self, Scenario};
use crate::rig::message::Reader;
use crate::rig::recording::Recording;
use crate::rig::scripted::Scripted;

use super::Stage;

#[test]
fn replay_of_golden_records_sends_what_their_clients_sent() {
    let Some(dir) = vectors::directory() else {
        println!("left out: there are no golden captures beside this repository");
        return;
    };
    let names = vectors::names(&dir);
    let mut failures: Vec<String> = EXCEPTIONS
        .iter()
        .filter(|(name, _)| !names.iter().any(|known| known == name))
        .map(|(name, _)| format!("{name}: there is no such scenario"))
        .collect();
    let mut compared = 0;
    for name in &names {
        for run in ["file", "kafka"] {
            compared += judge(&dir, name, run, &mut failures);
        }
    }
    assert!(failures.is_empty(), "{} findings:\n{}", failures.len(), failures.join("\n"));
    assert!(compared > 30, "only {compared} requests were compared");
}

/// Replays one run of a scenario; how many requests arrived.
fn judge(dir: &Path, name: &str, run: &str, failures: &mut Vec<String>) -> usize {
    let mut recording = Recording::default();
    for (key, bytes) in vectors::lines(dir, name, run) {
        // Lines come with a key from Kafka and without one from a file.
        match run {
            "kafka" => recording.line(&key, &bytes),
            _ => recording.text(&STANDARD.encode(bytes)),
        }
    }
    let stage = Stage::of(&recording);
    let target = Scripted::healthy();
    stage.replay(&target).succeed();
    let arrived = count(target.arrived().iter().map(|arrived| plain(&arrived.message.wire())));
    let sent = Scenario::load(dir, name).sent;
    let sent = count(sent.iter().flat_map(|bytes| requests(bytes)));
    let total = arrived.values().sum();
    let mended: Vec<Vec<u8>> = MENDED.iter().map(|wire| wire.to_vec()).collect();
    let is_foreign = |wire: &Vec<u8>, times: &usize| {
        !mended.contains(wire) && sent.get(wire).is_none_or(|of| of < times)
    };
    let foreign = arrived.iter().find(|(wire, times)| is_foreign(wire, times));
    if let Some((wire, times)) = foreign {
        failures.push(format!("{name}, {run}: arrived {times} times: {}", shown(wire)));
    }
    let excepted = EXCEPTIONS.iter().find(|(excepted, _)| *excepted == name);
    match excepted {
        Some((_, why)) if arrived == sent => {
            failures.push(format!("{name}, {run}: all arrives, although {why}"));
        }
        None if arrived != sent => {
            let missing = sent.iter().find(|(wire, _)| !arrived.contains_key(*wire));
            let missing = missing.map_or_else(String::new, |(wire, _)| shown(wire));
            failures.push(format!("{name}, {run}: does not arrive: {missing}"));
        }
        _ => {}
    }
    total
}

/// The whole requests in what a client sent.
fn requests(bytes: &[u8]) -> Vec<Vec<u8>> {
    // A server ignores empty lines before a request line (RFC 9112 section 2.2).
    let start = bytes.iter().position(|byte| !b"\r\n".contains(byte)).unwrap_or(bytes.len());
    let mut reader = Reader::new(&bytes[start..]);
    let mut requests = Vec::new();
    while let Ok(Some(request)) = reader.request() {
        requests.push(plain(&request.wire()));
    }
    requests
}

/// A request without the lines that a replayer must change: the host, and the wish to be told to
/// go on, which nobody waits for any more.
fn plain(wire: &[u8]) -> Vec<u8> {
    let start = wire.iter().position(|byte| !b"\r\n".contains(byte)).unwrap_or(wire.len());
    let wire = &wire[start..];
    let end = memchr::memmem::find(wire, b"\r\n\r\n").map_or(wire.len(), |at| at + 2);
    let mut kept = Vec::with_capacity(wire.len());
    for line in wire[..end].split_inclusive(|byte| *byte == b'\n') {
        let lower = line.to_ascii_lowercase();
        if !lower.starts_with(b"host:") && !lower.starts_with(b"expect:") {
            kept.extend_from_slice(line);
        }
    }
    kept.extend_from_slice(&wire[end..]);
    kept
}

fn count(requests: impl Iterator<Item = Vec<u8>>) -> BTreeMap<Vec<u8>, usize> {
    let mut counts = BTreeMap::new();
    for request in requests {
        *counts.entry(request).or_default() += 1;
    }
    counts
}

fn shown(wire: &[u8]) -> String {
    format!("{} bytes: {}", wire.len(), wire[..wire.len().min(200)].escape_ascii())
}

/// Scenarios of which less arrives than the clients sent, and why.
const EXCEPTIONS: &[(&str, &str)] = &[
    ("bare-lf", "its bare line feeds arrive as CRLF: no strict server takes them otherwise"),
    ("destination-refused", "its requests never reached the source"),
    ("header-shapes", "its folded field arrives as one line"),
    ("malformed-request-line", "a request line without a version is no request"),
    ("suppressed-all", "its requests were kept out of the records"),
    ("suppressed-header", "its requests were kept out of the records"),
    ("suppressed-method", "its requests were kept out of the records"),
];

/// What arrives in place of requests that no strict server takes.
const MENDED: [&[u8]; 2] = [
    b"GET /lf HTTP/1.1\r\nUser-Agent: golden/1.0\r\n\r\n",
    b"GET /headers HTTP/1.1\r\nX-Fold: a b\r\nX-Dup: 1\r\nx-dup: 2\r\nX-Empty:\r\nAccept: */*  \r\n\r\n",
];
