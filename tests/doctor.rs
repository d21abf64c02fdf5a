//! Hosts and peers that are broken for real: each is named, with what mends it, and the exit code says so.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::rig::kafka::Kafka;
use crate::rig::origin::{Origin, ok};
use crate::rig::services::{self, say};
use crate::rig::tapline::{Capture, Outcome, program, run};
use crate::rig::{ground, port};

/// What a cluster says on `GET /`.
const WHO: &[u8] =
    br#"{"name":"n","cluster_name":"c","cluster_uuid":"u-1","version":{"number":"7.10.2"}}"#;
const OTHER: &[u8] = br#"{"name":"n","cluster_name":"d","cluster_uuid":"u-2","version":{"distribution":"opensearch","number":"3.1.0"}}"#;

#[test]
fn a_sound_host_has_no_failures() {
    let (source, target) = (Origin::answering(|_| ok(WHO)), Origin::answering(|_| ok(OTHER)));
    let state = Directory::new(0o700);
    let (url, other) = (url(&source), url(&target));
    let listen = format!("127.0.0.1:{}", port::free());
    let flags = ["--source", &url, "--target", &other, "--listen", &listen, "--tls", "off"];
    let report = Report::of(&state, &flags);
    assert_eq!(report.code, Some(0), "{:#}", report.list);
    for check in
        ["kernel", "io_uring", "state.directory", "source", "target", "target.apart", "listen"]
    {
        assert_eq!(report.status(check), "ok", "{check}: {:#}", report.list);
    }
    assert!(report.of_check("source")["detail"].as_str().unwrap().contains("7.10.2"));
    for finding in report.list.as_array().unwrap() {
        let keys: Vec<&String> = finding.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["check", "detail", "fix", "status"], "{finding:#}");
        let whole = finding["status"] == "ok";
        assert_eq!(finding["fix"].as_str().unwrap().is_empty(), whole, "{finding:#}");
    }
    assert_eq!(fs::read_dir(&state.path).unwrap().count(), 0, "nothing is left behind");
    let table = run(&["doctor", "--tls", "off", "--state-dir", &state.path.to_string_lossy()]);
    assert!(table.stdout.contains("0 failures"), "{}", table.stdout);
    assert!(!table.stdout.contains('\x1b'), "no colours in a file: {}", table.stdout);
}

/// Settings of capture and of replay, as their file has them, and the pair that capture has made for itself.
#[test]
fn the_file_of_capture_and_replay_and_their_own_certificate_are_looked_at() {
    let source = Origin::answering(|_| ok(WHO));
    let state = Directory::new(0o700);
    let mut tapline = Capture::secure(source.port()).state(&state.path).start();
    tapline.stop();
    let file = state.path.join("tapline.toml");
    let text = format!(
        "[capture]\nsource = \"{0}\"\nredact-credentials = true\nflush-age = \"1s\"\n[replay]\ntarget = \"{0}\"\n\
         speedup = \"max\"\n",
        url(&source)
    );
    fs::write(&file, &text).unwrap();
    let config = file.to_string_lossy();
    let report = Report::of(&state, &["--config", &config]);
    report.fails("target.apart", "--target");
    assert!(report.of_check("redaction")["detail"].as_str().unwrap().contains("hashes"));
    let seen = report.of_check("certificate")["detail"].as_str().unwrap();
    assert!(seen.contains("self-signed.crt") && seen.contains("days left"), "{seen}");
    assert_eq!(report.status("certificate.key"), "ok", "{:#}", report.list);
    fs::write(state.path.join("self-signed.key"), "no key").unwrap();
    Report::of(&state, &["--config", &config]).fails("certificate.key", "SIGUSR2");
    // A flag wins; what neither of them knows is refused with its line.
    let nobody = format!("http://127.0.0.1:{}", port::free());
    Report::of(&state, &["--config", &config, "--source", &nobody]).fails("source", "curl -v");
    fs::write(&file, "[capture]\nsorce = \"http://a\"\n[replay]\nsorce = \"http://a\"\n").unwrap();
    let wrong = run(&["doctor", "--config", &config]);
    assert_eq!(wrong.code, Some(78), "{}", wrong.stderr);
    assert!(wrong.stderr.contains("tapline.toml:2: 'sorce'"), "{}", wrong.stderr);
}

#[test]
fn broken_peers_are_named() {
    let source = Origin::answering(|_| ok(WHO));
    let state = Directory::new(0o700);
    let url = url(&source);
    Report::of(&state, &["--source", &url, "--target", &url]).fails("target.apart", "--target");
    let twin = Origin::answering(|_| ok(WHO));
    let twin = self::url(&twin);
    Report::of(&state, &["--source", &url, "--target", &twin]).fails("target.apart", "--target");
    let nobody = format!("http://127.0.0.1:{}", port::free());
    Report::of(&state, &["--source", &nobody]).fails("source", "curl -v");
    Report::of(&state, &["--source", "http://no-such-host.invalid:9200"]).fails("source", "curl");
    let secure = url.replace("http:", "https:");
    Report::of(&state, &["--target", &secure]).fails("target", "speak TLS");
    let other = Origin::answering(|_| ok(b"<html>"));
    let other = self::url(&other);
    assert_eq!(Report::of(&state, &["--source", &other]).status("source"), "warn");
    let nobody = format!("127.0.0.1:{}", port::free());
    Report::of(&state, &["--kafka-brokers", &nobody]).fails("kafka", "nc -vz 127.0.0.1");
}

#[test]
fn broken_directories_and_files_are_named() {
    let open = Directory::new(0o777);
    Report::of(&open, &[]).fails("state.directory", "chmod 0700");
    let file = open.path.join("a-file");
    fs::write(&file, "").unwrap();
    let below = Directory { path: file.join("state"), _scratch: None };
    Report::of(&below, &[]).fails("state.directory", "--state-dir");
    let state = Directory::new(0o700);
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let listen = listener.local_addr().unwrap().to_string();
    let report = Report::of(&state, &["--listen", &listen]);
    // A tapline of another test may run, and have it for all that doctor can tell.
    let said = report.of_check("listen")["detail"].as_str().unwrap();
    assert!(said.contains("in use"), "{said}");

    let (ended, key) = certificate(&state.path, "ended", 2020);
    let (good, other) = certificate(&state.path, "good", 2999);
    let tls = |cert: &str, key: &str| {
        Report::of(&state, &["--tls", "files", "--tls-cert", cert, "--tls-key", key])
    };
    tls(&ended, &key).fails("certificate", "new certificate");
    tls(&good, &key).fails("certificate.key", "--tls-key");
    assert_eq!(tls(&good, &other).status("certificate"), "ok");
    tls(&other, &other).fails("certificate", "--tls-cert");
}

#[test]
fn poor_limits_and_full_disks_are_named() {
    let state = Directory::new(0o700);
    let few = limited(&state, "prlimit", &["--nofile=200:200"]);
    few.fails("limits.open_files", "LimitNOFILE=1048576");
    if !ground::am_root() {
        say("left out: a part of poor_limits_and_full_disks_are_named (not root)");
        return;
    }
    // Somebody else, so that limits bind; what cannot even start says nothing.
    let nobody =
        ["--reuid=65534", "--regid=65534", "--clear-groups", "prlimit", "--memlock=65536:65536"];
    let theirs = Directory::new(0o700);
    std::os::unix::fs::chown(&theirs.path, Some(65534), Some(65534)).unwrap();
    let locked = limited(&theirs, "setpriv", &nobody);
    if locked.code.is_some() {
        locked.fails("limits.locked_memory", "LimitMEMLOCK=infinity");
        assert_eq!(locked.status("io_uring"), "fail", "{:#}", locked.list);
        let stranger = limited(&state, "setpriv", &nobody[..3]);
        stranger.fails("state.directory", "chown");
    }
    let small = Directory::new(0o700);
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=1m,mode=0700", "none"])
        .arg(&small.path)
        .status();
    if mounted.is_ok_and(|status| status.success()) {
        let report = Report::of(&small, &[]);
        let _ = Command::new("umount").arg(&small.path).status();
        report.fails("state.space", "df -h");
        assert_eq!(report.status("state.file_system"), "warn", "{:#}", report.list);
    }
}

#[test]
fn broken_topics_are_named() {
    if !services::wanted("broken_topics_are_named") {
        return;
    }
    let kafka = Kafka::shared();
    let state = Directory::new(0o700);
    let brokers = kafka.brokers();
    let of =
        |topic: &str| Report::of(&state, &["--kafka-brokers", &brokers, "--kafka-topic", topic]);
    let none = of("doctor-none");
    none.fails("kafka.topic", "kafka-topics.sh --create");
    of("doctor-none").fails("kafka.topic", "doctor-none");
    kafka.create_topic("doctor-small", 3, &[("max.message.bytes", "10000")]);
    of("doctor-small").fails("kafka.message_bytes", "--record-bytes-max 9500");
    kafka.create_topic("doctor-compact", 3, &[("cleanup.policy", "compact")]);
    of("doctor-compact").fails("kafka.retention", "cleanup.policy=delete");
    kafka.create_topic("doctor-step", 3, &[("min.insync.replicas", "2")]);
    of("doctor-step").fails("kafka.min_insync", "min.insync.replicas=1");
    kafka.create_topic("doctor-good", 3, &[]);
    let good = of("doctor-good");
    assert_eq!(good.code, Some(0), "{:#}", good.list);
    assert_eq!(good.status("kafka.replication"), "warn", "one broker: {:#}", good.list);
    assert_eq!(good.status("kafka.message_bytes"), "ok", "{:#}", good.list);
}

/// What doctor said.
struct Report {
    code: Option<i32>,
    list: Value,
}

impl Report {
    fn of(state: &Directory, flags: &[&str]) -> Self {
        // In one word: the rig closes directories that it sees, and some of these are to be open.
        let dir = format!("--state-dir={}", state.path.to_string_lossy());
        let mut arguments = vec!["doctor", "--json", &dir];
        arguments.extend(flags);
        Self::parse(run(&arguments))
    }

    fn parse(outcome: Outcome) -> Self {
        let Outcome { code, stdout, stderr } = outcome;
        let list = serde_json::from_str(&stdout);
        let list = list.unwrap_or_else(|error| panic!("{error}: {stdout}\n{stderr}"));
        Self { code, list }
    }

    fn of_check(&self, check: &str) -> &Value {
        let all = self.list.as_array().expect("a list");
        let found = all.iter().find(|finding| finding["check"] == check);
        found.unwrap_or_else(|| panic!("no {check} in {:#}", self.list))
    }

    fn status(&self, check: &str) -> &str {
        self.of_check(check)["status"].as_str().expect("a word")
    }

    fn fails(&self, check: &str, fix: &str) {
        assert_eq!(self.status(check), "fail", "{check}: {:#}", self.list);
        let said = self.of_check(check)["fix"].as_str().expect("a text");
        assert!(said.contains(fix), "{fix:?} is not in {said:?}");
        assert_eq!(self.code, Some(1));
    }
}

/// Through another program that takes something away first.
fn limited(state: &Directory, through: &str, flags: &[&str]) -> Report {
    let tapline = program();
    let output = Command::new(through)
        .args(flags)
        .arg(tapline.get_program())
        .args(["doctor", "--json", "--state-dir"])
        .arg(&state.path)
        .output()
        .unwrap_or_else(|error| panic!("{through}: {error}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.stdout.is_empty() {
        say(&format!("left out: {through} {flags:?} ({})", text(&output.stderr).trim()));
        return Report { code: None, list: Value::Null };
    }
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    Report::parse(Outcome { code: output.status.code(), stdout, stderr })
}

fn url(origin: &Origin) -> String {
    format!("http://127.0.0.1:{}", origin.port())
}

/// Paths of a certificate that ends in a year, and of its key.
fn certificate(dir: &Path, name: &str, year: i32) -> (String, String) {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut parameters = rcgen::CertificateParams::new(["es.example".to_owned()]).unwrap();
    parameters.not_before = rcgen::date_time_ymd(2019, 1, 1);
    parameters.not_after = rcgen::date_time_ymd(year, 1, 1);
    let made = parameters.self_signed(&key).unwrap();
    let path = |kind: &str| dir.join(format!("{name}.{kind}")).to_string_lossy().into_owned();
    fs::write(path("pem"), made.pem()).unwrap();
    fs::write(path("key"), key.serialize_pem()).unwrap();
    (path("pem"), path("key"))
}

struct Directory {
    path: PathBuf,
    _scratch: Option<tempfile::TempDir>,
}

impl Directory {
    fn new(mode: u32) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("state");
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        // The way to it is open to others, as /var/lib is.
        fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o755)).unwrap();
        Self { path, _scratch: Some(scratch) }
    }
}
