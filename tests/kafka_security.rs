//! Kafka that lets in only whom it knows: over SCRAM and TLS and over mutual TLS from capture to replay, what is said
//! when it does not, how that heals, and where no secret may be found.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::rig::client::{Client, bare, request};
use crate::rig::guarded::Guarded;
use crate::rig::origin::{Origin, ok};
use crate::rig::replayer::Replay;
use crate::rig::scripted::Scripted;
use crate::rig::services;
use crate::rig::tapline::{Capture, Outcome, Tapline, run};
use crate::rig::{port, wait};

const CANARY: &str = "canary-7f3a91-password";

/// Flags for a client of the broker.
struct Flags(Vec<(&'static str, String)>);

impl Flags {
    fn scram(guarded: &Guarded, password_file: &Path) -> Self {
        Self(vec![
            ("--kafka-brokers", guarded.scram()),
            ("--kafka-auth", "scram-sha-512".into()),
            ("--kafka-user", "tapline".into()),
            ("--kafka-password-file", text(password_file)),
            ("--kafka-ca", text(&guarded.ca())),
        ])
    }

    fn mutual(guarded: &Guarded) -> Self {
        let (certificate, key) = guarded.client();
        Self(vec![
            ("--kafka-brokers", guarded.mutual()),
            ("--kafka-auth", "ssl".into()),
            ("--kafka-cert", text(&certificate)),
            ("--kafka-key", text(&key)),
            ("--kafka-ca", text(&guarded.ca())),
        ])
    }

    fn with(mut self, name: &'static str, value: String) -> Self {
        self.0.retain(|(known, _)| *known != name);
        self.0.push((name, value));
        self
    }

    fn without(mut self, names: &[&str]) -> Self {
        self.0.retain(|(known, _)| !names.contains(known));
        self
    }

    fn capture(&self, origin: &Origin, topic: &str) -> Capture {
        let capture =
            Capture::of(origin.port()).flag("--kafka-topic", topic).flag("--workers", "1");
        self.0.iter().fold(capture, |capture, (name, value)| capture.flag(name, value))
    }

    fn replay(&self, target: &Scripted, state: &Path, topic: &str) -> Replay {
        let replay = Replay::to(target.port(), state)
            .flag("--kafka-topic", topic)
            .flag("--group", topic)
            .switch("--until-end");
        self.0.iter().fold(replay, |replay, (name, value)| replay.flag(name, value))
    }

    fn run(&self, command: &[&str], topic: &str) -> Outcome {
        let mut words = command.to_vec();
        words.extend(["--kafka-topic", topic]);
        words.extend(self.0.iter().flat_map(|(name, value)| [*name, value.as_str()]));
        run(&words)
    }

    fn doctor(&self, topic: &str) -> Value {
        let state = tempfile::tempdir().unwrap();
        let dir = text(state.path());
        let said = self.run(&["doctor", "--json", "--state-dir", &dir], topic);
        let list: Value = serde_json::from_str(&said.stdout).expect("a list");
        let of_kafka = |one: &&Value| one["check"] == "kafka";
        list.as_array().into_iter().flatten().find(of_kafka).cloned().expect("a word of Kafka")
    }
}

#[test]
fn records_go_to_guarded_brokers_and_come_back() {
    if !services::wanted("records_go_to_guarded_brokers_and_come_back") {
        return;
    }
    let guarded = Guarded::start(&[("tapline", CANARY)]);
    let (secrets, file) = password(CANARY);
    for (topic, flags) in
        [("scram", Flags::scram(&guarded, &file)), ("mutual", Flags::mutual(&guarded))]
    {
        guarded.kafka.create_topic(topic, 2, &[]);
        let origin = Origin::answering(|_| ok(b"{}"));
        let mut tapline = flags.capture(&origin, topic).admin().start();
        for number in 0..20 {
            let put = request("PUT", &format!("/i/_doc/{number}"), b"{\"a\":1}");
            assert_eq!(Client::connect(tapline.port()).ask(&put).status(), 200);
        }
        // The first connection may have taken so long that the spool had to help.
        let works = || status(&tapline)["log"]["state"] == "working";
        assert!(wait::until(PATIENCE, works), "{}", tapline.output());
        let argv = fs::read(format!("/proc/{}/cmdline", tapline.pid())).unwrap();
        let shown = [
            tapline.output(),
            ask(&tapline, "/config").1,
            ask(&tapline, "/metrics").1,
            status(&tapline).to_string(),
            String::from_utf8_lossy(&argv).into_owned(),
        ];
        assert!(shown[1].contains("kafka-auth"), "{}", shown[1]);
        assert!(shown.iter().all(|text| !text.contains(CANARY)), "{shown:?}");
        tapline.stop();

        let target = Scripted::healthy();
        let summary = flags.replay(&target, &secrets.path().join(topic), topic).succeed();
        assert_eq!((summary.sent, target.lines().len()), (20, 20), "{topic}");
        let verified = flags.run(&["log", "verify"], topic);
        assert_eq!(verified.code, Some(0), "{}{}", verified.stdout, verified.stderr);
        let exported = secrets.path().join(format!("{topic}.gz"));
        let out = flags.run(&["log", "export", "--output", &text(&exported)], topic);
        assert_eq!(out.code, Some(0), "{}", out.stderr);
        let copy = format!("{topic}-copy");
        guarded.kafka.create_topic(&copy, 2, &[]);
        let into = flags.run(&["log", "import", "--input", &text(&exported)], &copy);
        assert_eq!(into.code, Some(0), "{}", into.stderr);
        let records = |topic: &str| guarded.kafka.consume_all(topic).len();
        assert_eq!(records(topic), records(&copy));
        assert_eq!(flags.doctor(topic)["status"], "ok");
        let check = flags.run(&["capture", "--source", "http://127.0.0.1:9", "--check"], topic);
        assert!(!check.stdout.contains(CANARY) && check.stdout.contains("kafka-auth"));
    }
}

#[test]
fn a_refused_password_is_named_and_heals_by_itself() {
    if !services::wanted("a_refused_password_is_named_and_heals_by_itself") {
        return;
    }
    let guarded = Guarded::start(&[("other", "x")]);
    guarded.kafka.create_topic("refused", 2, &[]);
    let (_secrets, file) = password(CANARY);
    let flags = Flags::scram(&guarded, &file);
    let origin = Origin::answering(|_| ok(b"{}"));
    let mut tapline = flags.capture(&origin, "refused").admin().start();
    let write = |tapline: &Tapline, number: usize| {
        let put = request("PUT", &format!("/i/_doc/{number}"), b"{}");
        assert_eq!(Client::connect(tapline.port()).ask(&put).status(), 200, "the spool serves");
    };
    write(&tapline, 0);
    let named = wait::until(PATIENCE, || {
        let (_, ready) = ask(&tapline, "/readyz");
        ready.contains("spooling") && ready.contains("authentication failed")
    });
    assert!(named, "{}\n{}", ask(&tapline, "/readyz").1, tapline.output());
    let state = status(&tapline);
    assert_eq!(state["log"]["state"], "spooling", "{state}");
    assert!(state.to_string().contains("--kafka-password-file"), "{state}");
    std::thread::sleep(services::scale(Duration::from_secs(3), Duration::from_secs(30)));
    let metrics = ask(&tapline, "/metrics").1;
    assert!(metrics.contains("tapline_kafka_errors_total{code=\"authentication\"}"), "{metrics}");
    let said = tapline.output();
    let lines = said.matches("authentication failed").count();
    assert!((1..=6).contains(&lines), "{lines} lines in seconds: {said}");
    assert!(said.contains("kafka-configs.sh"), "{said}");
    assert!(!said.contains(CANARY) && !state.to_string().contains(CANARY));
    assert_eq!(flags.doctor("refused")["status"], "fail");
    let doctor = flags.doctor("refused").to_string();
    assert!(
        doctor.contains("authentication failed") && doctor.contains("--kafka-user"),
        "{doctor}"
    );

    // The user is made at the brokers.
    guarded.kafka.set_user("tapline", CANARY);
    let healed = wait::until(PATIENCE, || status(&tapline)["log"]["state"] == "working");
    assert!(healed, "{}\n{}", status(&tapline)["log"], tapline.output());
    write(&tapline, 1);

    // It gets another password there, and the connection ends; then the file follows.
    guarded.kafka.set_user("tapline", "another");
    tapline.stop();
    let mut tapline = flags.capture(&origin, "refused").admin().start();
    write(&tapline, 2);
    let refused =
        wait::until(PATIENCE, || status(&tapline).to_string().contains("authentication failed"));
    assert!(refused, "{}", status(&tapline));
    let target = Scripted::healthy();
    let state = tempfile::tempdir().unwrap();
    let admin = port::free();
    let replay = flags.replay(&target, state.path(), "refused");
    let replayer = replay.flag("--admin", &format!("127.0.0.1:{admin}")).start();
    let waits = wait::until(PATIENCE, || replayer.output().contains("authentication failed"));
    assert!(waits, "{}", replayer.output());
    let readyz = || Client::connect(admin).ask(&bare("GET", "/readyz")).text();
    let named = wait::until(PATIENCE, || readyz().contains("authentication failed"));
    assert!(named, "{}", readyz());
    fs::write(&file, "another\n").unwrap();
    let healed = wait::until(PATIENCE, || status(&tapline)["log"]["state"] == "working");
    assert!(healed, "{}\n{}", status(&tapline)["log"], tapline.output());
    // As many as there were when it came in, at least.
    let summary = replayer.wait().success();
    assert!(summary.sent >= 2, "{summary:?}");
    tapline.stop();
}

/// As a unit gives it: LoadCredential=kafka-password:FILE.
#[test]
fn the_password_may_be_a_credential_of_the_service_manager() {
    if !services::wanted("the_password_may_be_a_credential_of_the_service_manager") {
        return;
    }
    let guarded = Guarded::start(&[("tapline", CANARY)]);
    guarded.kafka.create_topic("credential", 2, &[]);
    let credentials = tempfile::tempdir().unwrap();
    fs::write(credentials.path().join("kafka-password"), format!("{CANARY}\n")).unwrap();
    let flags = Flags::scram(&guarded, Path::new("")).without(&["--kafka-password-file"]);
    let origin = Origin::answering(|_| ok(b"{}"));
    let capture = flags.capture(&origin, "credential").admin();
    let mut tapline = capture.variable("CREDENTIALS_DIRECTORY", credentials.path()).start();
    let put = request("PUT", "/i/_doc/1", b"{}");
    assert_eq!(Client::connect(tapline.port()).ask(&put).status(), 200);
    let works = || status(&tapline)["log"]["state"] == "working";
    assert!(wait::until(PATIENCE, works), "{}\n{}", status(&tapline), tapline.output());
    assert!(!ask(&tapline, "/config").1.contains(CANARY));
    tapline.stop();
    let stored = guarded.kafka.consume_all("credential");
    let holds = |value: &[u8]| memchr::memmem::find(value, b"/i/_doc/1").is_some();
    assert!(stored.iter().any(|record| holds(&record.value)));
}

/// The broker checks the signature in each token by its own computation.
#[test]
fn tokens_of_aws_are_signed_as_the_brokers_check_them() {
    if !services::wanted("tokens_of_aws_are_signed_as_the_brokers_check_them") {
        return;
    }
    let guarded = Guarded::start_with_iam();
    guarded.kafka.create_topic("iam", 2, &[]);
    let origin = Origin::answering(|_| ok(b"{}"));
    let flags = Flags(vec![
        ("--kafka-brokers", guarded.iam()),
        ("--kafka-auth", "msk-iam".into()),
        ("--kafka-region", "eu-west-9".into()),
        ("--kafka-ca", text(&guarded.ca())),
    ]);
    let start = |secret: &str| {
        let capture = flags.capture(&origin, "iam").admin();
        capture
            .variable("AWS_ACCESS_KEY_ID", "AKIDRIG")
            .variable("AWS_SECRET_ACCESS_KEY", secret)
            .variable("AWS_SESSION_TOKEN", "rig/session+token==")
            .start()
    };
    let put = request("PUT", "/i/_doc/1", b"{}");
    let mut tapline = start("rig-secret-access-key");
    assert_eq!(Client::connect(tapline.port()).ask(&put).status(), 200);
    let works = wait::until(PATIENCE, || {
        status(&tapline)["log"]["state"] == "working"
            && !guarded.kafka.consume_all("iam").is_empty()
    });
    assert!(works, "{}\n{}", status(&tapline)["log"], tapline.output());
    let shown = format!("{}{}{}", tapline.output(), status(&tapline), ask(&tapline, "/config").1);
    assert!(!shown.contains("rig-secret") && !shown.contains("rig/session"), "{shown}");
    tapline.stop();

    let tapline = start("another-secret");
    assert_eq!(Client::connect(tapline.port()).ask(&put).status(), 200, "the spool serves");
    let refused =
        wait::until(PATIENCE, || ask(&tapline, "/readyz").1.contains("authentication failed"));
    assert!(refused, "{}\n{}", status(&tapline)["log"], tapline.output());
}

#[test]
fn each_trouble_has_its_name() {
    if !services::wanted("each_trouble_has_its_name") {
        return;
    }
    let guarded = Guarded::start(&[("tapline", CANARY)]);
    guarded.kafka.create_topic("named", 1, &[]);
    let (_secrets, file) = password(CANARY);
    let scram = || Flags::scram(&guarded, &file);
    let mutual = || Flags::mutual(&guarded);
    let plain = guarded.kafka.brokers();
    let other_ca = text(&guarded.other_ca());
    let nobody = format!("127.0.0.1:{}", port::free());
    for (flags, what, mend) in [
        (
            scram().with("--kafka-ca", other_ca.clone()),
            "the brokers' certificate is refused",
            "--kafka-ca",
        ),
        (
            scram().with("--kafka-brokers", guarded.scram().replace("127.0.0.1", "localhost")),
            "the brokers' certificate is refused",
            "as the certificate does",
        ),
        (scram().with("--kafka-user", "nobody".into()), "authentication failed", "--kafka-user"),
        (
            mutual().without(&["--kafka-cert", "--kafka-key"]),
            "the brokers refuse our certificate",
            "--kafka-cert",
        ),
        (
            scram().with("--kafka-brokers", plain),
            "the listener speaks something else",
            "--kafka-auth",
        ),
        (Flags(vec![("--kafka-brokers", guarded.scram())]), "", "--kafka-auth fits the listener"),
        (scram().with("--kafka-brokers", nobody), "refused", "nc -vz"),
    ] {
        let began = Instant::now();
        let doctor = flags.doctor("named");
        let (detail, fix) = (&doctor["detail"], &doctor["fix"]);
        assert_eq!(doctor["status"], "fail", "{doctor}");
        assert!(detail.to_string().contains(what), "{what}: {doctor}");
        assert!(fix.to_string().contains(mend), "{mend}: {doctor}");
        assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());
    }
    let wrong = scram().with("--kafka-ca", other_ca);
    let said = wrong.run(&["log", "describe"], "named");
    assert_eq!(said.code, Some(78), "{}", said.stderr);
    assert!(said.stderr.contains("certificate is refused"), "{}", said.stderr);
    let origin = Origin::answering(|_| ok(b"{}"));
    let tapline = wrong.capture(&origin, "named").admin().start();
    let named = wait::until(PATIENCE, || {
        status(&tapline).to_string().contains("the brokers' certificate is refused")
    });
    assert!(named, "{}", status(&tapline));
}

#[test]
fn what_cannot_work_is_refused_with_what_to_do() {
    let scratch = tempfile::tempdir().unwrap();
    let empty = scratch.path().join("empty");
    fs::write(&empty, "\n").unwrap();
    let key = scratch.path().join("key");
    fs::write(&key, "no key\n").unwrap();
    let (empty, key) = (text(&empty), text(&key));
    let scram = ["--kafka-auth", "scram-sha-512", "--kafka-user", "u"];
    for (flags, named) in [
        (&[&scram[..], &["--kafka-password-file", "/nowhere"]].concat()[..], "/nowhere"),
        (&[&scram[..], &["--kafka-password-file", &empty]].concat()[..], "holds no secret"),
        (&scram[..], "--kafka-password-file"),
        (&["--kafka-user", "u"], "--kafka-auth"),
        (&["--kafka-auth", "ssl", "--kafka-ca", "/nowhere"], "--kafka-ca"),
        (&["--kafka-auth", "ssl", "--kafka-cert", &key, "--kafka-key", &key], "--kafka-cert"),
        (&["--kafka-auth", "msk-iam"], "--kafka-region"),
    ] {
        for command in ["capture", "replay", "log"] {
            let state = text(&scratch.path().join("state"));
            let own: &[&str] = match command {
                "capture" => &["capture", "--source", "http://127.0.0.1:9", "--state-dir", &state],
                "replay" => &["replay", "--target", "http://127.0.0.1:9", "--state-dir", &state],
                _ => &["log", "describe"],
            };
            let mut words = own.to_vec();
            words.extend(["--kafka-brokers", "127.0.0.1:9"]);
            words.extend(flags);
            let outcome = run(&words);
            assert_eq!(outcome.code, Some(78), "{words:?}: {}", outcome.stderr);
            assert!(outcome.stderr.contains(named), "{words:?}: {}", outcome.stderr);
        }
    }
}

/// A file with a password, readable by its owner.
fn password(word: &str) -> (TempDir, PathBuf) {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("password");
    fs::write(&file, format!("{word}\n")).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    (dir, file)
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

fn ask(tapline: &Tapline, path: &str) -> (u16, String) {
    let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let answer = Client::connect(tapline.admin()).ask(request.as_bytes());
    (answer.status(), answer.text())
}

fn status(tapline: &Tapline) -> Value {
    serde_json::from_str(&ask(tapline, "/status").1).expect("JSON")
}

const PATIENCE: Duration = Duration::from_secs(30);
