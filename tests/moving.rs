//! Peers whose names come to lead elsewhere, as those of managed clusters do.

use std::time::Duration;

use crate::rig::client::{Client, bare};
use crate::rig::hosts::Hosts;
use crate::rig::origin::{Origin, ok};
use crate::rig::tapline::Capture;
use crate::rig::wait;

const NAME: &str = "moving.test";

#[test]
fn a_source_that_moves_behind_its_name_is_followed() {
    let origin = Origin::answering(|_| ok(b"here"));
    // Nobody listens there.
    let hosts = Hosts::of(NAME, "127.0.0.9");
    let capture = Capture::to(&format!("http://{NAME}:{}", origin.port())).under(&hosts.launcher());
    let tapline = capture.admin().start();
    let status = || Client::connect(tapline.port()).ask(&bare("GET", "/")).status();
    assert_eq!(status(), 502);
    hosts.lead_to("127.0.0.1");
    assert!(wait::until(PATIENCE, || status() == 200), "{}", tapline.output());
    let mut kept = Client::connect(tapline.port());
    assert_eq!(kept.ask(&bare("GET", "/")).status(), 200);
    let metrics = || Client::connect(tapline.admin()).ask(&bare("GET", "/metrics")).text();
    assert!(metrics().contains("tapline_source_address_changes_total 1\n"), "{}", metrics());
    assert!(tapline.output().contains("resolver.moved"), "{}", tapline.output());

    // A name that cannot be looked up any more leads where it led.
    hosts.forget();
    let unknown = || tapline.output().contains("resolver.failed");
    assert!(wait::until(PATIENCE, unknown), "{}", tapline.output());
    assert_eq!(status(), 200);
    // What is connected stays when the name moves.
    hosts.lead_to("127.0.0.9");
    assert!(wait::until(PATIENCE, || status() == 502), "{}", tapline.output());
    assert_eq!(kept.ask(&bare("GET", "/")).text(), "here");
}

/// Names are looked up every few seconds.
const PATIENCE: Duration = Duration::from_secs(40);
