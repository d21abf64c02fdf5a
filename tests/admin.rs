//! The admin endpoint of capture: probes, metrics, status, and what they say of each trouble.

use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::rig::client::{Client, bare, request};
use crate::rig::origin::{Origin, ok};
use crate::rig::services::say;
use crate::rig::tapline::{Capture, Tapline, run};
use crate::rig::{port, wait};

#[test]
fn an_idle_proxy_is_alive_and_ready() {
    let origin = Origin::answering(|_| ok(b""));
    let tapline = Capture::of(origin.port()).flag("--workers", "2").admin().start();
    for _ in 0..3 {
        let (status, text) = ask(&tapline, "/livez");
        assert_eq!((status, text.as_str()), (200, "alive\n"), "a loop that sleeps is not stuck");
    }
    assert_eq!(ask(&tapline, "/startupz").0, 200);
    let (status, ready) = json(&tapline, "/readyz");
    assert_eq!((status, ready["status"].as_str()), (200, Some("ready")), "{ready}");
    assert_eq!(json(&tapline, "/version").1["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(ask(&tapline, "/nothing").0, 404);
}

#[test]
fn what_passed_is_counted_and_shown() {
    let origin = Origin::answering(|_| ok(b"four"));
    let mut tapline = Capture::of(origin.port()).flag("--workers", "2").admin().start();
    let mut client = Client::connect(tapline.port());
    for number in 0..5 {
        let put = request("PUT", &format!("/i/_doc/{number}"), b"{}");
        assert_eq!(client.ask(&put).status(), 200);
    }
    for _ in 0..3 {
        assert_eq!(client.ask(&bare("GET", "/")).status(), 200);
    }
    assert_eq!(
        Client::connect(tapline.port()).ask(b"GET / HTTP/1.1\r\nA : b\r\n\r\n").status(),
        400
    );
    let metrics = || ask(&tapline, "/metrics").1;
    let settled = wait::until(PATIENCE, || {
        let metrics = metrics();
        let is = |sample, expected| value(&metrics, sample) == Some(expected);
        is("tapline_backlog_records", 0.0) && is("tapline_connections_open", 1.0)
    });
    assert!(settled, "{}", metrics());
    let metrics = metrics();
    for (sample, expected) in [
        ("tapline_requests_total{class=\"held\"}", 5.0),
        ("tapline_requests_total{class=\"passed\"}", 3.0),
        ("tapline_responses_total{code=\"2xx\"}", 8.0),
        ("tapline_request_duration_seconds_count", 8.0),
        ("tapline_release_wait_seconds_count", 5.0),
        ("tapline_connections_open", 1.0),
        ("tapline_gated_connections", 0.0),
        ("tapline_backlog_bytes", 0.0),
        ("tapline_backlog_oldest_age_seconds", 0.0),
        ("tapline_capture_gap_bytes_total{cause=\"memory\"}", 0.0),
        ("tapline_readiness{status=\"ready\"}", 1.0),
        ("tapline_log_waiting", 0.0),
    ] {
        assert_eq!(value(&metrics, sample), Some(expected), "{sample}\n{metrics}");
    }
    let refused = metrics.lines().any(|line| {
        line.starts_with("tapline_rejected_requests_total{reason=") && line.ends_with(" 1")
    });
    assert!(refused, "{metrics}");
    assert!(value(&metrics, "tapline_capture_durable_seconds_count") >= Some(1.0), "{metrics}");
    // Nothing of the traffic is in it.
    assert!(!metrics.contains("_doc"), "{metrics}");

    let (_, status) = json(&tapline, "/status");
    assert_eq!(status["counters"]["requests"], 8, "{status}");
    assert_eq!(status["connections"]["open"], 1);
    assert_eq!(status["backlog"]["records"], 0);
    assert_eq!(status["workers"].as_array().map(Vec::len), Some(2));
    assert_eq!(status["log"]["state"], "working");
    assert!(status["latency_seconds"]["release_wait"]["p50"].as_f64() > Some(0.0), "{status}");
    drop(client);
    tapline.stop();
}

#[test]
fn prometheus_takes_the_metrics() {
    let origin = Origin::answering(|_| ok(b""));
    let tapline = Capture::of(origin.port()).admin().start();
    assert_eq!(Client::connect(tapline.port()).ask(&bare("GET", "/")).status(), 200);
    lint(&ask(&tapline, "/metrics").1);
}

#[test]
fn a_source_that_is_down_is_named_after_a_while() {
    let nobody = port::free();
    let tapline = Capture::of(nobody).flag("--readiness-patience", "2s").admin().start();
    let (status, ready) = json(&tapline, "/readyz");
    assert_eq!(status, 200, "not at once: {ready}");
    let unready = wait::until(PATIENCE, || ask(&tapline, "/readyz").0 == 503);
    let (_, ready) = json(&tapline, "/readyz");
    assert!(unready, "{ready}");
    assert_eq!(ready["causes"][0]["cause"], "source_down");
    let detail = ready["causes"][0]["detail"].as_str().unwrap_or_default();
    assert!(detail.contains(&nobody.to_string()) && detail.contains("refused"), "{detail}");
    assert_eq!(ask(&tapline, "/livez").0, 200, "which is no reason to restart it");
    // It comes back, and so does readiness.
    let _origin = std::net::TcpListener::bind(("127.0.0.1", nobody)).unwrap();
    assert!(wait::until(PATIENCE, || ask(&tapline, "/readyz").0 == 200));
}

#[test]
fn a_kafka_that_is_down_is_named_after_a_while() {
    let origin = Origin::answering(|_| ok(b""));
    let nobody = format!("127.0.0.1:{}", port::free());
    let tapline = Capture::of(origin.port())
        .flag("--kafka-brokers", &nobody)
        .blocking()
        .flag("--readiness-patience", "1s")
        .admin()
        .start();
    let unready = wait::until(PATIENCE, || ask(&tapline, "/readyz").0 == 503);
    let (_, ready) = json(&tapline, "/readyz");
    assert!(unready, "{ready}");
    assert_eq!(ready["causes"][0]["cause"], "sink_waiting", "{ready}");
    assert!(ready.to_string().contains("Kafka"), "{ready}");
    // Reads go on meanwhile.
    assert_eq!(Client::connect(tapline.port()).ask(&bare("GET", "/")).status(), 200);
    let mut waiting = Client::connect(tapline.port());
    waiting.send(&request("PUT", "/i/_doc/1", b"{}"));
    let gated = wait::until(PATIENCE, || {
        value(&ask(&tapline, "/metrics").1, "tapline_gated_connections") == Some(1.0)
    });
    assert!(gated, "{}", ask(&tapline, "/metrics").1);
    let older = wait::until(PATIENCE, || {
        let (_, status) = json(&tapline, "/status");
        status["backlog"]["oldest_seconds"].as_f64() > Some(1.0)
    });
    assert!(older, "{}", json(&tapline, "/status").1);
}

#[test]
fn a_certificate_that_has_expired_is_named() {
    let origin = Origin::answering(|_| ok(b""));
    let scratch = tempfile::tempdir().unwrap();
    put_pair(scratch.path(), jiff::civil::date(2021, 1, 1));
    let tapline = shown(&origin, scratch.path()).flag("--readiness-patience", "1s").start();
    let unready = wait::until(PATIENCE, || ask(&tapline, "/readyz").0 == 503);
    let (_, ready) = json(&tapline, "/readyz");
    assert!(unready, "{ready}");
    assert_eq!(ready["causes"][0]["cause"], "certificate_expired", "{ready}");
    assert!(
        ready.to_string().contains("cert.pem") && ready.to_string().contains("2021"),
        "{ready}"
    );
    let metrics = ask(&tapline, "/metrics").1;
    let ends = value(&metrics, "tapline_cert_expiry_timestamp_seconds");
    assert_eq!(ends, Some(1_609_459_200.0), "{metrics}");
    assert!(tapline.output().contains("tls.expired"), "{}", tapline.output());
    lint(&metrics);
}

#[test]
fn a_certificate_that_is_about_to_end_is_said_once_and_takes_no_readiness() {
    let origin = Origin::answering(|_| ok(b""));
    let scratch = tempfile::tempdir().unwrap();
    let day = |days: i64| {
        let then = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24 * days);
        then.to_zoned(jiff::tz::TimeZone::UTC).date()
    };
    // At midnight, so that five whole days and some hours are left.
    put_pair(scratch.path(), day(6));
    let tapline = shown(&origin, scratch.path()).start();
    let said = || tapline.output().matches("tls.expires").count();
    assert!(wait::until(PATIENCE, || said() == 1), "{}", tapline.output());
    assert!(tapline.output().contains("\"days_left\":5"), "{}", tapline.output());
    let (status, ready) = json(&tapline, "/readyz");
    assert_eq!((status, ready["status"].as_str()), (200, Some("ready")), "{ready}");
    assert!(ready.to_string().contains("certificate_expiring"), "{ready}");
    let expected = day(6).to_zoned(jiff::tz::TimeZone::UTC).unwrap().timestamp().as_second();
    let ends = value(&ask(&tapline, "/metrics").1, "tapline_cert_expiry_timestamp_seconds");
    assert_eq!(ends, Some(expected as f64));
    // A good one, and after it one that is within 30 days: each is taken up without a signal.
    put_pair(scratch.path(), day(100));
    let fine = || !ask(&tapline, "/readyz").1.contains("certificate");
    assert!(wait::until(PATIENCE, fine), "{}", json(&tapline, "/readyz").1);
    assert_eq!(said(), 1, "{}", tapline.output());
    put_pair(scratch.path(), day(20));
    assert!(wait::until(PATIENCE, || said() == 2), "{}", tapline.output());
    // A reload that changes nothing says nothing.
    tapline.hang_up();
    thread::sleep(Duration::from_secs(1));
    assert_eq!((said(), ask(&tapline, "/readyz").0), (2, 200), "{}", tapline.output());
}

/// In front of clients that are shown the pair of a directory.
fn shown(origin: &Origin, dir: &std::path::Path) -> Capture {
    let file = |name: &str| dir.join(name).to_str().unwrap().to_owned();
    Capture::secure(origin.port())
        .flag("--tls", "files")
        .flag("--tls-cert", &file("cert.pem"))
        .flag("--tls-key", &file("key.pem"))
        .admin()
}

/// A new pair, good until the beginning of that day.
fn put_pair(dir: &std::path::Path, end: jiff::civil::Date) {
    let date = |year: i16, month: i8, day: i8| {
        rcgen::date_time_ymd(i32::from(year), month as u8, day as u8)
    };
    let mut wanted = rcgen::CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
    wanted.not_before = date(2020, 1, 1);
    wanted.not_after = date(end.year(), end.month(), end.day());
    let key = rcgen::KeyPair::generate().unwrap();
    let made = wanted.self_signed(&key).unwrap();
    std::fs::write(dir.join("cert.pem"), made.pem()).unwrap();
    std::fs::write(dir.join("key.pem"), key.serialize_pem()).unwrap();
}

#[test]
fn draining_is_said_at_once() {
    let origin = Origin::start(|visit| {
        while visit.request()?.is_some() {
            thread::sleep(Duration::from_secs(4));
            visit.send(&ok(b"late"))?;
        }
        Ok(())
    });
    let mut tapline = Capture::of(origin.port()).admin().start();
    let mut client = Client::connect(tapline.port());
    client.send(&bare("GET", "/slow"));
    // The endpoint looks for the source with connections of its own.
    let arrived = wait::until(PATIENCE, || {
        origin.conversations().iter().any(|one| one.received.bytes().starts_with(b"GET /slow"))
    });
    assert!(arrived, "{}", tapline.output());
    tapline.ask_to_stop();
    let draining = wait::until(PATIENCE, || ask(&tapline, "/readyz").0 == 503);
    assert!(draining);
    let (_, ready) = json(&tapline, "/readyz");
    assert_eq!(ready["causes"][0]["cause"], "draining", "{ready}");
    assert_eq!(client.response("GET").text(), "late");
    assert_eq!(tapline.wait(), Some(0));
}

#[test]
fn whoever_takes_over_is_the_one_to_ask() {
    let origin = Origin::answering(|_| ok(b""));
    let state = tempfile::tempdir().unwrap();
    let mut old = Capture::of(origin.port()).state(state.path()).admin().start();
    let incarnation = |tapline: &Tapline| {
        let answer = Client::connect(tapline.admin()).ask(&bare("GET", "/status"));
        serde_json::from_str::<Value>(&answer.text()).unwrap()["incarnation"].clone()
    };
    let before = incarnation(&old);
    let address = format!("127.0.0.1:{}", old.admin());
    let new = Capture::on(old.port(), origin.port()).state(state.path());
    let new = new.flag("--admin", &address).switch("--take-over").start();
    assert_eq!(old.wait(), Some(0), "{}", old.output());
    let there = || std::net::TcpStream::connect(&address).is_ok();
    assert!(wait::until(PATIENCE, there), "{}", new.output());
    assert_ne!(incarnation(&old), before);
}

#[test]
fn an_admin_address_in_use_is_named() {
    let taken = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let outcome = Capture::of(port::free()).flag("--admin", &address).refusal();
    assert_eq!(outcome.code, Some(78), "{}", outcome.stderr);
    assert!(
        outcome.stderr.contains(&address) && outcome.stderr.contains("--admin off"),
        "{}",
        outcome.stderr
    );
    let outcome = run(&["capture", "--source", "http://127.0.0.1:1", "--admin", "here"]);
    assert_eq!(outcome.code, Some(64), "{}", outcome.stderr);
}

#[test]
fn an_admin_address_that_others_can_reach_is_warned_of() {
    let tapline = Capture::of(port::free()).flag("--admin", "0.0.0.0:0").start();
    let warned = wait::until(PATIENCE, || tapline.output().contains("admin.exposed"));
    assert!(warned, "{}", tapline.output());
}

#[test]
fn metrics_are_pushed_to_a_collector_and_its_loss_harms_nobody() {
    let origin = Origin::answering(|_| ok(b""));
    let collector = Origin::answering(|_| ok(b"{}"));
    let endpoint = format!("http://127.0.0.1:{}", collector.port());
    let tapline = Capture::of(origin.port()).flag("--otlp-endpoint", &endpoint).admin().start();
    assert_eq!(Client::connect(tapline.port()).ask(&bare("GET", "/")).status(), 200);
    let pushes = |result: &str| {
        let sample = format!("tapline_otlp_pushes_total{{result=\"{result}\"}}");
        value(&ask(&tapline, "/metrics").1, &sample)
    };
    assert!(wait::until(PATIENCE, || pushes("done") >= Some(1.0)), "{}", tapline.output());
    let bytes = collector.conversation(0).received.bytes();
    let text = String::from_utf8_lossy(&bytes);
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("POST /v1/metrics HTTP/1.1"), "{head}");
    assert!(head.to_lowercase().contains("content-type: application/json"), "{head}");
    let json: Value = serde_json::Deserializer::from_str(body).into_iter().next().unwrap().unwrap();
    let metrics = &json["resourceMetrics"][0]["scopeMetrics"][0]["metrics"];
    let all = metrics.as_array().unwrap();
    let names: Vec<&str> = all.iter().filter_map(|metric| metric["name"].as_str()).collect();
    assert!(names.contains(&"tapline_requests_total"), "{names:?}");
    assert!(names.contains(&"tapline_release_wait_seconds"), "{names:?}");
    drop(collector);
    assert!(wait::until(PATIENCE, || pushes("failed") >= Some(1.0)), "{}", tapline.output());
    assert_eq!(Client::connect(tapline.port()).ask(&bare("GET", "/")).status(), 200);
    assert!(tapline.output().contains("otlp.failed"), "{}", tapline.output());
}

/// Status and body of a page.
fn ask(tapline: &Tapline, page: &str) -> (u16, String) {
    let answer = Client::connect(tapline.admin()).ask(&bare("GET", page));
    (answer.status(), answer.text())
}

fn json(tapline: &Tapline, page: &str) -> (u16, Value) {
    let (status, text) = ask(tapline, page);
    let value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error} in: {text}"));
    (status, value)
}

/// The value of one sample, by its name and labels.
fn value(metrics: &str, sample: &str) -> Option<f64> {
    metrics.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' ')?.parse().ok())
}

/// Fails with what `promtool check metrics` finds, where it is installed.
pub(crate) fn lint(metrics: &str) {
    use std::io::Write;
    let mut command = Command::new("promtool");
    command.args(["check", "metrics"]).stdin(Stdio::piped());
    let Ok(mut tool) = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn() else {
        say(
            "left out: what Prometheus says of the metrics (no promtool; it comes with Prometheus)",
        );
        return;
    };
    tool.stdin.take().unwrap().write_all(metrics.as_bytes()).unwrap();
    let output = tool.wait_with_output().unwrap();
    let found = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && found.is_empty(), "{found}");
}

const PATIENCE: Duration = Duration::from_secs(30);
