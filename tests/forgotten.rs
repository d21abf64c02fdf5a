//! A peer that is gone without a word, as when a balancer has forgotten an idle connection: probes find it out.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::rig::client::{Client, bare};
use crate::rig::origin::{Origin, ok};
use crate::rig::process::Process;
use crate::rig::services::{say, scale};
use crate::rig::tapline::Capture;
use crate::rig::{ground, port, wait};

#[test]
fn a_connection_that_is_forgotten_without_a_word_ends_here_too() {
    let test = "a_connection_that_is_forgotten_without_a_word_ends_here_too";
    if !scale(false, true) {
        say(&format!("left out: {test} (probes take two minutes; TAPLINE_TEST_SLOW=1)"));
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let Some(elsewhere) = Namespace::make() else {
        say(&format!("left out: {test} (a network namespace cannot be made)"));
        return;
    };
    let origin = Origin::answering(|_| ok(b"done"));
    let outside = port::free();
    let address = format!("{HERE}:{outside}");
    let tapline = Capture::of(origin.port()).admin().flag("--listen", &address).start();
    let open = || {
        let metrics = Client::connect(tapline.admin()).ask(&bare("GET", "/metrics")).text();
        let sample = metrics.lines().find_map(|l| l.strip_prefix("tapline_connections_open "));
        sample.and_then(|value| value.parse::<f64>().ok())
    };
    let client = elsewhere.client(outside, scratch.path());
    let answered = || client.last_words().contains("HTTP/1.1 200");
    assert!(wait::until(Duration::from_secs(10), answered), "{}", client.last_words());
    assert!(wait::until(Duration::from_secs(10), || open() == Some(1.0)), "{:?}", open());
    elsewhere.forget();
    // 60 s until the first probe, four more 15 s apart.
    let ended = wait::until(Duration::from_mins(4), || open() == Some(0.0));
    assert!(ended, "{:?} are open: {}", open(), tapline.output());
}

/// A network of its own with one wire to ours.
struct Namespace {
    name: String,
}

impl Namespace {
    fn make() -> Option<Self> {
        if !ground::am_root() {
            return None;
        }
        let space = Self { name: format!("tl{}", std::process::id()) };
        let (name, ours) = (space.name.as_str(), space.wire());
        let made = ip(&["netns", "add", name])
            && ip(&["link", "add", &ours, "type", "veth", "peer", "name", "there", "netns", name])
            && ip(&["addr", "add", &format!("{HERE}/30"), "dev", &ours])
            && ip(&["link", "set", &ours, "up"])
            && ip(&["-n", name, "addr", "add", &format!("{THERE}/30"), "dev", "there"])
            && ip(&["-n", name, "link", "set", "there", "up"]);
        made.then_some(space)
    }

    fn wire(&self) -> String {
        format!("{}w", self.name)
    }

    /// Something in it that asks once and keeps its connection.
    fn client(&self, port: u16, scratch: &Path) -> Process {
        let script = format!(
            "exec 3<>/dev/tcp/{HERE}/{port}; printf 'GET / HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n' >&3; \
             head -c 16 <&3; sleep 1000"
        );
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, "bash", "-c", &script]);
        Process::spawn(&mut command, &scratch.join("client"), &scratch.join("nothing"))
    }

    /// What comes over the wire is nobody's any more: no answer, no reset.
    fn forget(&self) {
        let neighbour = ["neigh", "replace", THERE, "dev", &self.wire(), "lladdr"];
        let mac = Command::new("ip")
            .args(["-n", &self.name, "-br", "link", "show", "there"])
            .output()
            .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
            .unwrap_or_default();
        let mac = mac.split_whitespace().nth(2).expect("a wire has an address").to_owned();
        assert!(ip(&[&neighbour[..], &[&mac, "nud", "permanent"]].concat()), "known for good");
        let there = format!("{THERE}/30");
        assert!(ip(&["-n", &self.name, "addr", "del", &there, "dev", "there"]), "it was there");
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = ip(&["link", "del", &self.wire()]);
        let _ = ip(&["netns", "del", &self.name]);
    }
}

fn ip(arguments: &[&str]) -> bool {
    let mut command = Command::new("ip");
    command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Documentation's addresses (RFC 5737), which nobody has.
const HERE: &str = "198.51.100.1";
const THERE: &str = "198.51.100.2";
