//! `tapline replay` to a target that speaks TLS.

use serde_json::json;

use super::{Stage, json_request, put};
use crate::rig::recording::Recording;
use crate::rig::replayer::Replay;
use crate::rig::scripted::{self, Scripted};
use crate::rig::secure::Secure;

fn replay(stage: &Stage, url: &str) -> Replay {
    Replay::to_url(url, &stage.dir.path().join("state")).input(&stage.file())
}

#[test]
fn replay_tls_sends_everything_to_a_target_it_knows() {
    let mut recording = Recording::default();
    for n in 0..50 {
        put(&mut recording, &format!("c{}", n % 5), &format!("/i/_doc/{n}"));
    }
    // More than one sealed part.
    let body = json!({"text": "x".repeat(700 << 10)}).to_string();
    let answer = scripted::json_answer(201, "Created", &json!({"_id": "large"}));
    recording.exchange("large", &json_request("PUT", "/i/_doc/large", &body), &answer);
    let stage = Stage::of(&recording);
    let target = Scripted::healthy();
    let front = Secure::before(target.port());
    let known = replay(&stage, &front.url()).flag("--target-ca", &front.ca().to_string_lossy());
    let summary = known.succeed();
    assert_eq!((summary.done, summary.failed, target.lines().len()), (51, 0, 51), "{summary:?}");
    let arrived = target.arrived();
    let large = arrived.iter().find(|a| a.message.target() == "/i/_doc/large").unwrap();
    assert!(large.message.body == body.as_bytes(), "the large body has changed");
}

#[test]
fn replay_tls_refuses_a_target_it_does_not_know() {
    let mut recording = Recording::default();
    put(&mut recording, "c", "/i/_doc/1");
    let stage = Stage::of(&recording);
    let target = Scripted::healthy();
    let front = Secure::before(target.port());
    let other = Secure::before(target.port());
    let stranger = replay(&stage, &front.url()).flag("--target-ca", &other.ca().to_string_lossy());
    let said = stranger.refusal(CONFIGURATION);
    assert!(said.contains("--target-ca") && said.contains("certificate"), "{said}");
    // The system's authorities know it as little; a host without any says that.
    let said = replay(&stage, &front.url()).refusal(CONFIGURATION);
    assert!(said.contains("TLS"), "{said}");
    let missing = replay(&stage, &front.url()).flag("--target-ca", "/does/not/exist.pem");
    let said = missing.refusal(CONFIGURATION);
    assert!(said.contains("exist.pem"), "{said}");
    assert_eq!(target.arrived().len(), 0, "nothing was sent");
    let insecure = replay(&stage, &front.url()).switch("--target-insecure").run();
    assert_eq!(insecure.output.matches("replay.target_insecure").count(), 1, "{}", insecure.output);
    assert_eq!((insecure.success().done, target.lines().len()), (1, 1));
}

const CONFIGURATION: i32 = 78;
