//! Where settings come from: flags, environment, file, and the reference's names for all of them; and what `--check`
//! makes of them.

use std::fs;
use std::time::Duration;

use serde_json::Value;

use crate::rig::client::{Client, bare};
use crate::rig::origin::{Origin, ok};
use crate::rig::process::Process;
use crate::rig::tapline::{Outcome, program, run};
use crate::rig::{port, wait};

const USAGE: i32 = 64;
const CONFIG: i32 = 78;

#[test]
fn a_file_and_the_environment_configure_a_capture() {
    let origin = Origin::answering(|_| ok(b"here"));
    let scratch = tempfile::tempdir().unwrap();
    let (listen, admin) = (port::free(), port::free());
    let file = scratch.path().join("tapline.toml");
    let state = scratch.path().join("state");
    let text = format!(
        "# the whole of it\nsource = \"http://127.0.0.1:{}\"\nlisten = [\"127.0.0.1:{listen}\"]\n\
         tls = \"off\"\nflush_age = \"700ms\"\nworkers = 2\n\n[capture]\nstate-dir = {:?}\nadmin = \"127.0.0.1:{admin}\"\n\
         [replay]\ntarget = \"http://elsewhere\"\n",
        origin.port(),
        state.to_str().unwrap()
    );
    fs::write(&file, text).unwrap();
    let mut command = program();
    command.args(["capture", "--config", file.to_str().unwrap(), "--workers", "1"]);
    command.env("TAPLINE_CAPTURE_DRAIN_TIMEOUT", "3s");
    let _process = Process::spawn(&mut command, &scratch.path().join("output"), scratch.path());
    assert!(wait::until(PATIENCE, || std::net::TcpStream::connect(("127.0.0.1", listen)).is_ok()));
    assert_eq!(Client::connect(listen).ask(&bare("GET", "/")).text(), "here");
    let config = page(admin, "/config");
    let path = file.to_str().unwrap();
    for (name, value, from) in [
        ("workers", "1", "flag".to_owned()),
        ("drain-timeout", "3s", "environment TAPLINE_CAPTURE_DRAIN_TIMEOUT".to_owned()),
        ("flush-age", "700ms", format!("{path}:5")),
        ("segment-bytes", "256MiB", "default".to_owned()),
    ] {
        assert_eq!(config[name]["value"], value, "{config}");
        assert_eq!(config[name]["from"], from, "{config}");
    }
}

/// As in the reference's compose files and images.
#[test]
fn command_lines_of_the_reference_start_it() {
    let origin = Origin::answering(|_| ok(b"here"));
    let source = format!("http://127.0.0.1:{}", origin.port());
    let scratch = tempfile::tempdir().unwrap();
    let at = |name: &str| scratch.path().join(name).to_str().unwrap().to_owned();
    let nobody = format!("127.0.0.1:{}", port::free());
    let ports: Vec<String> = (0..4).map(|_| port::free().to_string()).collect();
    let cases: [(Vec<&str>, Variables<'_>); 3] = [
        (vec!["--destinationUri", &source, "--listenPort", &ports[0], "--noCapture"], vec![]),
        (
            vec![
                "--kafkaConnection",
                &nobody,
                "--destinationUri",
                &source,
                "--listenPort",
                &ports[1],
                "--numThreads",
                "1",
                "--maxTrafficBufferSize",
                "1000000",
                "--destinationConnectionPoolSize",
                "0",
                "--otelMetricsCollectorEndpoint",
                "http://otel:4317",
            ],
            vec![],
        ),
        (
            vec!["--listenPort", &ports[2]],
            vec![("CAPTURE_PROXY_DESTINATION_URI", &source), ("CAPTURE_PROXY_NO_CAPTURE", "true")],
        ),
    ];
    for (number, (arguments, environment)) in cases.into_iter().enumerate() {
        let mut command = program();
        command.arg("capture").args(&arguments).envs(environment);
        command.args(["--admin", "off", "--state-dir", &at(&number.to_string())]);
        let output = scratch.path().join(format!("output-{number}"));
        let process = Process::spawn(&mut command, &output, scratch.path());
        let port: u16 = ports[number].parse().unwrap();
        let starts =
            wait::until(PATIENCE, || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
        let said = fs::read_to_string(&output).unwrap();
        assert!(starts, "{arguments:?}: {said}");
        assert_eq!(Client::connect(port).ask(&bare("GET", "/")).text(), "here");
        assert!(
            said.contains("plaintext") && said.contains("--tls self-signed"),
            "it warns: {said}"
        );
        drop(process);
    }
    let json = format!(
        "{{\"destinationUri\": \"{source}\", \"listenPort\": {}, \"noCapture\": true}}",
        ports[3]
    );
    let mut command = program();
    command.args(["capture", "---INLINE-JSON", &json]).env("TAPLINE_CAPTURE_ADMIN", "off");
    command.env("TAPLINE_CAPTURE_STATE_DIR", at("json"));
    let _process = Process::spawn(&mut command, &scratch.path().join("output"), scratch.path());
    let port: u16 = ports[3].parse().unwrap();
    assert!(wait::until(PATIENCE, || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()));
}

#[test]
fn what_cannot_be_had_is_refused_by_name() {
    let source = "http://127.0.0.1:1";
    for (arguments, code, words) in [
        (
            vec!["capture", "--destinationUri", source, "--kafkaPassword", "hush"],
            USAGE,
            vec!["--kafkaPassword", "--kafka-password-file"],
        ),
        (
            vec!["replay", "--targetUri", source, "--tuple-s3-bucket", "b"],
            USAGE,
            vec!["--tuple-s3-bucket", "aws s3 sync"],
        ),
        (
            vec!["replay", "--targetUri", source, "--mode", "dump-raw"],
            USAGE,
            vec!["--mode", "tapline log dump"],
        ),
        (vec!["capture", "--destinationUri", "nonsense"], USAGE, vec!["--source", "http://"]),
        (vec!["capture", "--config", "/no/such.toml"], CONFIG, vec!["/no/such.toml"]),
    ] {
        assert_says(&run(&arguments), code, &words);
    }
}

#[test]
fn a_bad_file_is_refused_with_line_and_nearest_name() {
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("t.toml");
    for (text, words) in [
        ("source = \"http://a\"\nlistn = \"127.0.0.1:1\"\n", vec!["t.toml:2", "'listen'"]),
        ("podReplicas = 3\n", vec!["t.toml:1", "podReplicas", "topic"]),
        ("source = \n", vec!["t.toml:1"]),
        ("source = \"http://a\"\nflush-age = \"soon\"\n", vec!["flush-age", "500ms", "t.toml:2"]),
    ] {
        fs::write(&file, text).unwrap();
        assert_says(&run(&["capture", "--config", file.to_str().unwrap()]), CONFIG, &words);
    }
}

#[test]
fn check_says_what_a_start_would_find_and_changes_nothing() {
    let origin = Origin::answering(|_| ok(b""));
    let scratch = tempfile::tempdir().unwrap();
    let state = scratch.path().join("state");
    let source = format!("http://127.0.0.1:{}", origin.port());
    let listen = format!("127.0.0.1:{}", port::free());
    let mut line =
        vec!["capture", "--check", "--source", &source, "--listen", &listen, "--tls", "off"];
    line.extend(["--admin", "off", "--state-dir", state.to_str().unwrap()]);
    let outcome = run(&line);
    assert_eq!(outcome.code, Some(0), "{}{}", outcome.stdout, outcome.stderr);
    for word in ["flush-age", "500ms", "(default)", "(flag)", "takes connections", "will be made"] {
        assert!(outcome.stdout.contains(word), "{word} is not in {}", outcome.stdout);
    }
    // What doctor sees beyond what a start looks at, with its mend.
    let doctors: Vec<&str> =
        outcome.stdout.lines().filter(|line| line.contains("  doctor  ")).collect();
    assert!(doctors.iter().all(|line| line.starts_with("note") && line.contains("; fix: ")));
    assert!(doctors.iter().any(|line| line.contains("listen.reach")), "{}", outcome.stdout);
    assert!(!state.exists(), "nothing was made");
    assert_eq!(
        origin.conversations().iter().filter(|one| !one.received.bytes().is_empty()).count(),
        0
    );
    let outcome = run(&[
        "capture",
        "--check",
        "--source",
        "http://no-such-host.invalid",
        "--tls",
        "off",
        "--admin",
        "off",
    ]);
    assert_says(&outcome, CONFIG, &["would not start"]);
    assert!(outcome.stdout.contains("FAILS  source"), "{}", outcome.stdout);
    let outcome =
        run(&["replay", "--check", "--target", &source, "--log", "/no/such/log", "--admin", "off"]);
    assert_says(&outcome, CONFIG, &["would not start"]);
    assert!(outcome.stdout.contains("/no/such/log"), "{}", outcome.stdout);
}

#[test]
fn secrets_are_shown_nowhere() {
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("t.toml");
    fs::write(&file, "target = \"http://127.0.0.1:1\"\nauth-header = \"Bearer canary-1\"\nset-header = [\"X-Key: canary-2\"]\n").unwrap();
    let outcome = run(&["replay", "--check", "--config", file.to_str().unwrap(), "--admin", "off"]);
    let all = outcome.stdout + &outcome.stderr;
    assert!(!all.contains("canary"), "{all}");
    assert!(all.contains("auth-header") && all.contains("X-Key: (hidden)"), "{all}");
}

/// Names and values.
type Variables<'a> = Vec<(&'a str, &'a str)>;

fn page(port: u16, page: &str) -> Value {
    let answer = Client::connect(port).ask(&bare("GET", page));
    serde_json::from_str(&answer.text()).unwrap()
}

fn assert_says(outcome: &Outcome, code: i32, words: &[&str]) {
    assert_eq!(outcome.code, Some(code), "{}", outcome.stderr);
    for word in words {
        assert!(outcome.stderr.contains(word), "{word:?} is not in: {}", outcome.stderr);
    }
    assert!(!outcome.stderr.contains("hush"), "{}", outcome.stderr);
}

const PATIENCE: Duration = Duration::from_secs(30);
