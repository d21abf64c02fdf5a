//! What `tapline replay` refuses, with which code, and that it says why.

use std::time::Duration;

use super::{Stage, put};
use crate::rig::client::bare;
use crate::rig::recording::Recording;
use crate::rig::scripted::{Reply, Scripted, healthy, root};
use crate::rig::{port, wait};

#[test]
fn replay_waits_for_a_target_that_is_down_and_says_so() {
    let mut recording = Recording::default();
    put(&mut recording, "c", "/i/_doc/1");
    let stage = Stage::of(&recording);
    let nobody = port::free();
    let replay = stage.bare(nobody).input(&stage.file());
    let replayer = replay.start();
    let said = wait::until(SOON, || replayer.output().contains("does not answer"));
    let output = replayer.output();
    assert!(said && output.contains(&nobody.to_string()), "it names the target: {output}");
    let target = Scripted::start_at(nobody, |arrived| Reply::Answer(healthy(arrived)));
    let summary = replayer.wait().success();
    assert_eq!((summary.requests, summary.failed), (1, 0), "{summary:?}");
    assert_eq!(target.lines(), ["PUT /i/_doc/1"]);
}

#[test]
fn replay_to_the_source_itself_is_refused() {
    let mut recording = Recording::default();
    recording.exchange("c", &bare("GET", "/"), &root(UUID));
    put(&mut recording, "c", "/i/_doc/1");
    let target = Scripted::start(|arrived| match arrived.message.target().as_str() {
        "/" => Reply::Answer(root(UUID)),
        _ => Reply::Answer(healthy(arrived)),
    });
    let stage = Stage::of(&recording);
    let said = stage.replay(&target).refusal(CONFIGURATION);
    assert!(said.contains(UUID), "it names the cluster: {said}");
    assert_eq!(target.lines(), [""; 0], "nothing was sent");
}

#[test]
fn replay_with_two_ways_to_authorize_is_refused() {
    let stage = Stage::of(&Recording::default());
    let target = Scripted::healthy();
    let replay = stage.replay(&target).flag("--auth", "remove").flag("--auth-header", "Bearer x");
    let replayed = replay.run();
    assert!(
        [Some(USAGE), Some(CONFIGURATION)].contains(&replayed.code),
        "{:?}: {}",
        replayed.code,
        replayed.output
    );
    assert!(replayed.output.contains("auth"), "{}", replayed.output);
}

#[test]
fn replay_from_nowhere_is_refused() {
    let stage = Stage::of(&Recording::default());
    let target = Scripted::healthy();
    let missing = stage.dir.path().join("missing");
    let said = stage.bare(target.port()).input(&missing).refusal(CONFIGURATION);
    assert!(said.contains("missing"), "{said}");
}

const UUID: &str = "the-cluster-of-the-source";
const USAGE: i32 = 64;
const SOON: Duration = Duration::from_secs(30);
const CONFIGURATION: i32 = 78;
