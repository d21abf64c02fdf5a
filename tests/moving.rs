//! Peers whose names come to lead elsewhere, as those of managed clusters do.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use tempfile::TempDir;

use crate::rig::client::{Client, bare};
use crate::rig::origin::{Origin, ok};
use crate::rig::tapline::Capture;
use crate::rig::wait;

const NAME: &str = "moving.test";

/// A table of hosts that only the process started by [`Hosts::launcher`] sees.
struct Hosts(TempDir);

impl Hosts {
    fn leading_to(address: &str) -> Self {
        let hosts = Self(tempfile::tempdir().unwrap());
        hosts.lead_to(address);
        hosts
    }

    /// In place: it is the file, not its name, that the process sees.
    fn lead_to(&self, address: &str) {
        fs::write(self.file(), format!("{address} {NAME}\n")).unwrap();
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("hosts")
    }

    fn launcher(&self) -> Vec<String> {
        let root = rustix::process::geteuid().is_root();
        let namespace = if root { "-m" } else { "-rm" };
        let script = "mount --bind \"$0\" /etc/hosts && exec \"$@\"";
        let file = self.file().display().to_string();
        ["unshare", namespace, "sh", "-c", script, &file].map(str::to_owned).to_vec()
    }
}

#[test]
fn a_source_that_moves_behind_its_name_is_followed() {
    let origin = Origin::answering(|_| ok(b"here"));
    // Nobody listens there.
    let hosts = Hosts::leading_to("127.0.0.9");
    let launcher = hosts.launcher();
    let launcher: Vec<&str> = launcher.iter().map(String::as_str).collect();
    let capture = Capture::to(&format!("http://{NAME}:{}", origin.port())).under(&launcher);
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
    fs::write(hosts.file(), "").unwrap();
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
