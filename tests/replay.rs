//! `tapline replay` against a scripted target: what arrives there, what is sent again, what is put
//! aside, and what is refused.

mod admin;
mod golden;
mod refusals;
mod secure;

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;

use crate::rig::client::request;
use crate::rig::recording::Recording;
use crate::rig::replayer::{Replay, Summary};
use crate::rig::scripted::{self, Arrived, Reply, Scripted, bulk, healthy, refusal};
use crate::rig::services;
use crate::rig::tapline::run;

/// A recording on disk with all that a replayer leaves beside it.
struct Stage {
    dir: TempDir,
}

impl Stage {
    fn of(recording: &Recording) -> Self {
        let stage = Self { dir: tempfile::tempdir().unwrap() };
        recording.write(&stage.file());
        stage
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("records")
    }

    /// Always the same replayer, as one that is started again.
    fn replay(&self, target: &Scripted) -> Replay {
        self.bare(target.port()).input(&self.file())
    }

    fn bare(&self, port: u16) -> Replay {
        Replay::to(port, &self.dir.path().join("state"))
    }
}

#[test]
fn replay_tries_again_what_the_target_puts_off() {
    let mut recording = Recording::default();
    for n in 0..20 {
        put(&mut recording, "c", &format!("/i/_doc/{n}"));
    }
    let target = Scripted::start(|arrived| {
        let first = arrived.attempt == 0;
        match arrived.message.target().as_str() {
            "/i/_doc/3" if arrived.attempt < 3 => Reply::Answer(refusal(429, "rejected")),
            "/i/_doc/5" if first => Reply::Answer(refusal(503, "unavailable")),
            "/i/_doc/7" if first => Reply::Reset,
            "/i/_doc/9" => Reply::AnswerAndClose(healthy(arrived)),
            "/i/_doc/11" => Reply::After(Duration::from_millis(300), healthy(arrived)),
            _ => Reply::Answer(healthy(arrived)),
        }
    });
    let summary = Stage::of(&recording).replay(&target).succeed();
    // The requests of one connection stay in order whatever happens to one of them.
    let expected = (0..20).flat_map(|n| {
        let times = [(3, 4), (5, 2), (7, 2)].iter().find(|(which, _)| *which == n);
        vec![format!("PUT /i/_doc/{n}"); times.map_or(1, |(_, times)| *times)]
    });
    assert_eq!(target.lines(), expected.collect::<Vec<_>>());
    assert_eq!((summary.requests, summary.done, summary.failed), (20, 20, 0), "{summary:?}");
    // The request behind the close may have met the connection before that was seen to be closed: it was not read then,
    // and went again.
    assert!((5..=6).contains(&summary.retries), "{summary:?}");
    let bodies: Vec<_> =
        target.arrived().into_iter().filter(|a| a.message.target() == "/i/_doc/3").collect();
    assert!(bodies.windows(2).all(|pair| pair[0].message == pair[1].message), "the same again");
}

#[test]
fn replay_sends_only_the_failed_items_of_a_bulk_again() {
    let mut recording = Recording::default();
    let ids = ["1", "2", "3", "4"];
    let mut body = String::new();
    for id in ids {
        let action = json!({"index": {"_index": "i", "_id": id}});
        body.extend([action.to_string(), "\n".into(), json!({"n": id}).to_string(), "\n".into()]);
    }
    let items: Vec<_> = ids
        .iter()
        .map(|id| {
            json!({"index": {"_index": "i", "_id": id, "status": 201, "result": "created",
                "_version": 1, "_seq_no": 0, "_primary_term": 1}})
        })
        .collect();
    let answer = json!({"took": 1, "errors": false, "items": items});
    let answer = scripted::json_answer(200, "OK", &answer);
    recording.exchange("c", &json_request("POST", "/_bulk", &body), &answer);
    put(&mut recording, "c", "/i/_doc/last");
    recording.close("c");
    let target = Scripted::start(|arrived| {
        if !arrived.message.target().starts_with("/_bulk") {
            return Reply::Answer(healthy(arrived));
        }
        let attempt = arrived.attempt;
        Reply::Answer(bulk(arrived, |_, meta| match meta["_id"].as_str() {
            Some("2") if attempt == 0 => Some((429, "es_rejected_execution_exception")),
            Some("3") if attempt < 2 => Some((429, "es_rejected_execution_exception")),
            // For good: to be sent once.
            Some("4") => Some((400, "mapper_parsing_exception")),
            _ => None,
        }))
    });
    let stage = Stage::of(&recording);
    let summary = stage.replay(&target).succeed();
    let sent = |arrived: &Arrived| -> Vec<String> {
        arrived.items().iter().map(|(_, meta)| meta["_id"].as_str().unwrap().to_owned()).collect()
    };
    let arrived = target.arrived();
    let bulks: Vec<_> = arrived.iter().filter(|a| a.message.target().contains("_bulk")).collect();
    assert_eq!(
        bulks.iter().map(|arrived| sent(arrived)).collect::<Vec<_>>(),
        [vec!["1", "2", "3", "4"], vec!["2", "3"], vec!["3"],]
    );
    assert_eq!(arrived.last().unwrap().message.target(), "/i/_doc/last");
    assert_eq!((summary.requests, summary.failed), (2, 1), "{summary:?}");
}

#[test]
fn replay_goes_on_behind_what_it_cannot_read() {
    let mut recording = Recording::default();
    put(&mut recording, "before", "/i/_doc/before");
    recording.line("poison-connection", b"\xff\xff\xff this is no record");
    recording.text("not base64 at all, and no key");
    recording.text("");
    put(&mut recording, "holed-connection", "/i/_doc/whole");
    recording.lose("holed-connection");
    put(&mut recording, "holed-connection", "/i/_doc/behind-the-hole");
    let body = vec![b'x'; services::scale(40, 200) << 20];
    let huge = request("POST", "/i/_doc/huge", &body);
    recording.large("huge-connection", &huge, 900_000, &created("huge"));
    put(&mut recording, "after", "/i/_doc/after");
    let target = Scripted::healthy();
    let stage = Stage::of(&recording);
    let replay = stage.replay(&target);
    let summary = replay.succeed();
    let lines = target.lines();
    for id in ["before", "whole", "after"] {
        assert!(lines.contains(&format!("PUT /i/_doc/{id}")), "{id} is missing: {lines:?}");
    }
    let quarantine = replay.quarantine();
    for which in ["line 2 of", "holed-connection"] {
        assert!(
            quarantine.contains(which),
            "{which} is not named in quarantine: {quarantine:.2000}"
        );
    }
    assert!(summary.quarantined >= 3, "a poison record, a line, a hole: {summary:?}");
    let arrived = target.arrived();
    let huge_came = arrived.iter().find(|arrived| arrived.message.target() == "/i/_doc/huge");
    match huge_came {
        Some(came) => assert!(came.message.body == body, "the large body has changed"),
        None => assert!(quarantine.contains("huge-connection"), "neither sent nor put aside"),
    }
}

#[test]
fn replay_asked_to_stop_goes_on_later_without_sending_twice() {
    let mut recording = Recording::default();
    for n in 0..100 {
        for connection in 0..5 {
            put(&mut recording, &format!("c{connection}"), &format!("/i/_doc/{connection}-{n}"));
        }
    }
    let stage = Stage::of(&recording);
    let target =
        Scripted::start(|arrived| Reply::After(Duration::from_millis(5), healthy(arrived)));
    // Lines have no position: a log has.
    let (file, log) = (stage.file(), stage.dir.path().join("log"));
    let paths = [file.to_string_lossy(), log.to_string_lossy()];
    let imported = run(&["log", "import", "--input", &paths[0], "--log", &paths[1]]);
    assert_eq!(imported.code, Some(0), "{}", imported.stderr);
    let replay = stage.bare(target.port()).log(&log);
    let replayer = replay.start();
    target.wait_for(50);
    let first = replayer.stop();
    let stopped_at = target.lines().len();
    assert!(stopped_at < 500, "it stopped in the middle");
    assert!(first.done < 500 && first.failed == 0, "{first:?}");
    let second = replay.succeed();
    let mut lines = target.lines();
    lines.sort();
    let total = lines.len();
    lines.dedup();
    assert_eq!((total, lines.len()), (500, 500), "each request once: {first:?}, {second:?}");
    let third = replay.succeed();
    assert_eq!((target.lines().len(), third.sent), (500, 0), "nothing is left: {third:?}");
}

#[test]
fn replay_waits_for_its_condition() {
    let mut recording = Recording::default();
    put(&mut recording, "c", "/i/_doc/1");
    let stage = Stage::of(&recording);
    let target = Scripted::healthy();
    let flag = stage.dir.path().join("go");
    let condition = format!("file:{}", flag.display());
    let mut replayer = stage.replay(&target).flag("--start-after", &condition).start();
    // Nothing shows that nothing will happen; a replayer that does not wait is done by then.
    std::thread::sleep(Duration::from_millis(700));
    assert!(replayer.runs() && target.lines().is_empty(), "{}", replayer.output());
    fs::write(&flag, "").unwrap();
    let summary = replayer.wait().success();
    assert_eq!((summary.sent, target.lines().len()), (1, 1));
}

#[test]
fn replay_reads_standard_input() {
    let mut recording = Recording::default();
    for n in 0..50 {
        put(&mut recording, "c", &format!("/i/_doc/{n}"));
    }
    let stage = Stage::of(&recording);
    let target = Scripted::healthy();
    let summary = stage.bare(target.port()).stdin(&stage.file()).succeed();
    assert_eq!((summary.requests, target.lines().len()), (50, 50), "{summary:?}");
}

#[test]
fn replay_puts_aside_what_a_transform_throws_at() {
    let mut recording = Recording::default();
    for id in ["one", "cursed", "two"] {
        put(&mut recording, "c", &format!("/i/_doc/{id}"));
    }
    let stage = Stage::of(&recording);
    let target = Scripted::healthy();
    let program = stage.dir.path().join("transform.jq");
    let text = r#"if tostring | contains("cursed") then error("thrown on purpose") else . end"#;
    fs::write(&program, text).unwrap();
    let replay = stage
        .replay(&target)
        .flag("--transform", &program.to_string_lossy())
        .switch("--quarantine-failed-transforms");
    let summary: Summary = replay.succeed();
    assert_eq!(target.lines(), ["PUT /i/_doc/one", "PUT /i/_doc/two"]);
    assert_eq!((summary.done, summary.quarantined), (2, 1), "{summary:?}");
    let quarantine = replay.quarantine();
    assert!(quarantine.contains("thrown on purpose"), "{quarantine}");
}

/// A write of a document that the source took.
fn put(recording: &mut Recording, connection: &str, path: &str) {
    let id = path.rsplit('/').next().unwrap_or_default();
    let body = json!({"text": "ünïcode \"quoted\"", "id": id}).to_string();
    recording.exchange(connection, &json_request("PUT", path, &body), &created(id));
}

fn json_request(method: &str, path: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "{method} {path} HTTP/1.1\r\nHost: source:9200\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

fn created(id: &str) -> Vec<u8> {
    let body = json!({"_index": "i", "_id": id, "_version": 1, "result": "created", "_seq_no": 0,
        "_primary_term": 1});
    scripted::json_answer(201, "Created", &body)
}
