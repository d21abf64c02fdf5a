//! Replay by members of one Kafka group who join, leave, die and freeze under load.
//!
//! The source and the target are document servers in this process: what is tried here is the group, not a cluster.

use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use tapline::demo::Server;
use tempfile::TempDir;

use crate::rig::kafka::Kafka;
use crate::rig::mixed::{Documents, Mix};
use crate::rig::replayer::{Replay, Replayer};
use crate::rig::tapline::{Capture, Tapline};
use crate::rig::{services, wait};

#[test]
fn members_who_come_and_go_replay_all_of_it() {
    if !services::wanted("members_who_come_and_go_replay_all_of_it") {
        return;
    }
    let mut group = Group::new("members");
    let mut members = vec![group.join(), group.join(), group.join()];
    let mut tapline = group.capture();
    let (port, mix) = (tapline.port(), mix("group", services::scale(6_000, 50_000)));
    thread::scope(|scope| {
        let load = scope.spawn(|| mix.run(port));
        for number in 0..services::scale(3, 10) {
            let before = group.target.requests();
            let goes_on = || group.target.requests() > before + 200 || load.is_finished();
            assert!(wait::until(PATIENCE, goes_on), "change {number}: nothing is replayed");
            let mut leaves = members.remove(0);
            assert!(leaves.runs(), "member {number} had ended: {}", leaves.output());
            // Every other one leaves without a word.
            if number % 2 == 0 {
                leaves.stop();
            } else {
                assert!(leaves.kill(), "member {number} had ended");
            }
            members.push(group.join());
        }
        println!("{:?}", load.join().expect("the load does not panic"));
    });
    tapline.stop();
    group.assert_equal();
    for member in members {
        println!("{:?}", member.stop());
    }
    group.assert_nothing_is_left();
}

#[test]
fn a_member_that_was_frozen_finds_its_partitions_lost_and_goes_on() {
    if !services::wanted("a_member_that_was_frozen_finds_its_partitions_lost_and_goes_on") {
        return;
    }
    let mut group = Group::new("frozen");
    let (frozen, other) = (group.join(), group.join());
    let lanes = |member: &Replayer| member.output().matches("feed.lane").count();
    assert!(wait::until(PATIENCE, || lanes(&frozen) > 0 && lanes(&other) > 0));
    let mut tapline = group.capture();
    mix("before", 500).run(tapline.port());
    group.assert_equal();
    // Nothing is under way: what it was about to send would come late.
    frozen.signal(Signal::STOP);
    mix("meanwhile", 500).run(tapline.port());
    group.assert_equal();
    let before = lanes(&frozen);
    frozen.signal(Signal::CONT);
    let back = || frozen.output().contains("Lost(") && lanes(&frozen) > before;
    assert!(wait::until(PATIENCE, back), "{}", frozen.output());
    mix("behind", 500).run(tapline.port());
    group.assert_equal();
    tapline.stop();
    for member in [frozen, other] {
        println!("{:?}", member.stop());
    }
    group.assert_nothing_is_left();
}

/// A topic between two servers, and whoever reads it as one group.
struct Group {
    name: &'static str,
    source: Server,
    target: Server,
    state: TempDir,
    /// So that a member that is gone is missed soon.
    config: PathBuf,
    joined: u32,
}

impl Group {
    fn new(name: &'static str) -> Self {
        Kafka::shared().create_topic(name, 6, &[]);
        let state = tempfile::tempdir().unwrap();
        let config = state.path().join("kafka.properties");
        std::fs::write(&config, "session.timeout.ms=6000\nheartbeat.interval.ms=500\n").unwrap();
        let server = || Server::start().unwrap();
        Self { name, source: server(), target: server(), state, config, joined: 0 }
    }

    /// Each has a state directory of its own, as on a machine of its own.
    fn replay(&self, member: &str) -> Replay {
        Replay::to(self.target.addr().port(), &self.state.path().join(member))
            .kafka(Kafka::shared(), self.name, self.name)
            .flag("--kafka-config", &self.config.to_string_lossy())
    }

    fn join(&mut self) -> Replayer {
        self.joined += 1;
        self.replay(&format!("member-{}", self.joined)).start()
    }

    fn capture(&self) -> Tapline {
        let capture = Capture::of(self.source.addr().port());
        capture.state(&self.state.path().join("capture")).kafka(Kafka::shared(), self.name).start()
    }

    /// Waits until the target has what the source has.
    fn assert_equal(&self) {
        let source = self.source.state();
        assert!(source.len() > 50, "{} documents", source.len());
        let equal = wait::until(PATIENCE, || self.target.state() == source);
        let target = self.target.state();
        let different: Vec<_> =
            source.iter().filter(|(key, value)| target.get(*key) != Some(value)).take(5).collect();
        assert!(equal, "{} documents of {}, {different:?}", target.len(), source.len());
    }

    /// What the group has stored is all there is: nothing holds a position back, nothing was passed by.
    fn assert_nothing_is_left(&self) {
        let last = self.replay("last").switch("--until-end").succeed();
        assert_eq!((last.read_records, last.sent), (0, 0), "{last:?}");
        self.assert_equal();
    }
}

/// Each has indices of its own: what a member had not stored is sent again by another, perhaps behind later writes.
fn mix(prefix: &str, requests: u64) -> Mix<'_> {
    Mix {
        prefix,
        requests,
        clients: 16,
        // Connections are told apart by their documents: order across members is not promised.
        documents: Documents::Own,
        scripts: false,
        whole: false,
        plain: true,
        seed: 5,
    }
}

/// A member that dies is missed after six seconds.
const PATIENCE: Duration = Duration::from_mins(3);
