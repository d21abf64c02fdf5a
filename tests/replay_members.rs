//! Replay by members of one Kafka group who join, leave, die and freeze under load.
//!
//! The source and the target are document servers in this process: what is tried here is the group, not a cluster.

use std::thread;

use rustix::process::Signal;

use crate::rig::group::{Group, PATIENCE};
use crate::rig::mixed::{Documents, Mix};
use crate::rig::replayer::Replayer;
use crate::rig::{services, wait};

#[test]
fn members_who_come_and_go_replay_all_of_it() {
    if !services::wanted("members_who_come_and_go_replay_all_of_it") {
        return;
    }
    let mut group = Group::new("members");
    let mut members = vec![group.join(), group.join(), group.join()];
    let mut tapline = group.capture("capture").start();
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
    group.wait_until_stored();
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
    let mut tapline = group.capture("capture").start();
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
    group.wait_until_stored();
    for member in [frozen, other] {
        println!("{:?}", member.stop());
    }
    group.assert_nothing_is_left();
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
