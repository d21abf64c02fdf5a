//! What capture changes and leaves out: header fields on the way to a source that routes by them, suppressed requests,
//! and the health check that tapline answers by itself.

use std::time::Duration;

use crate::rig::client::{Client, bare, chunked, request};
use crate::rig::kafka::Kafka;
use crate::rig::nginx::Nginx;
use crate::rig::origin::{Conversation, Origin, ok, response};
use crate::rig::records::Records;
use crate::rig::services;
use crate::rig::tapline::{Capture, run};

const HOST: &str = "search.example.com";

/// Echoes the body that it was sent, with the target before it.
fn echo() -> Origin {
    Origin::answering(
        |request| ok(&[request.target().as_bytes(), b" ", &request.body[..]].concat()),
    )
}

#[test]
fn a_source_that_routes_by_host_needs_the_header() {
    if !services::wanted("a_source_that_routes_by_host_needs_the_header") {
        return;
    }
    let origin = echo();
    let nginx = Nginx::routing(HOST, origin.port());
    let plain = &mut Capture::of(nginx.port()).start();
    assert_eq!(Client::connect(plain.port()).ask(&bare("GET", "/a")).status(), 421);
    plain.stop();

    let capture = Capture::of(nginx.port()).flag("--set-header", &format!("Host: {HOST}"));
    let tapline = &mut capture.start();
    let mut client = Client::connect(tapline.port());
    assert_eq!(client.ask(&bare("GET", "/a")).text(), "/a ");
    // Lines of a body that look like the head they follow are nobody's fields.
    let body = b"Host: source\r\n\r\nGET /evil HTTP/1.1\r\nHost: source\r\n\r\n".repeat(200);
    let text = |response: crate::rig::message::Message| response.body;
    let expected = [b"/i/_doc/1 ", &body[..]].concat();
    assert_eq!(text(client.ask(&request("PUT", "/i/_doc/1", &body))), expected);
    assert_eq!(text(client.ask(&chunked("PUT", "/i/_doc/1", &[&body[..9], &body[9..]]))), expected);

    // Behind a 100 the body is still a body.
    let length = body.len();
    let head = format!(
        "PUT /i/_doc/1 HTTP/1.1\r\nHost: source\r\nExpect: 100-continue\r\nContent-Length: {length}\r\n\r\n"
    );
    client.send(head.as_bytes());
    assert_eq!(client.head().status(), 100);
    client.send(&body);
    assert_eq!(text(client.response("PUT")), expected);

    // Pipelined, and in pieces that cut every line.
    let pipelined = [
        bare("GET", "/one"),
        request("POST", "/i/_bulk", b"{\"index\":{}}\nHost: x\n"),
        bare("GET", "/three"),
    ]
    .concat();
    client.send(&pipelined);
    let mut answers: Vec<String> = Vec::new();
    (0..3).for_each(|_| answers.push(client.response("GET").text()));
    assert_eq!(answers, ["/one ", "/i/_bulk {\"index\":{}}\nHost: x\n", "/three "]);
    client.send_in_pieces(&pipelined, 3, Duration::from_micros(100));
    let mut again: Vec<String> = Vec::new();
    (0..3).for_each(|_| again.push(client.response("GET").text()));
    assert_eq!(again, answers);
    tapline.stop();

    // The records have what the clients sent.
    let records = Records::of_log(&tapline.log());
    let requests = records.only().requests();
    assert_eq!(requests.len(), 10);
    assert_eq!(requests[0], bare("GET", "/a"));
    assert_eq!(requests[1], request("PUT", "/i/_doc/1", &body));
    assert_eq!(requests[7..].concat(), pipelined);
    for conversation in origin.conversations() {
        assert!(!conversation.received.holds(b"Host: source\r\nC", Duration::ZERO), "edited");
    }
}

#[test]
fn fields_are_set_added_and_removed_and_nothing_else() {
    let origin = echo();
    let tapline = &mut Capture::of(origin.port())
        .flag("--set-header", "X-Forwarded-Proto: https")
        .flag("--set-header", "Authorization: Basic bmV3")
        .flag("--set-header", "Cookie:")
        .start();
    let mut client = Client::connect(tapline.port());
    let sent = b"POST /i/_bulk HTTP/1.1\r\nhost: h\r\ncookie: a=b\r\nauthorization:Basic b2xk\r\n\
                 Cookie: c=d\r\nContent-Length: 5\r\n\r\nbody\n";
    assert_eq!(client.ask(sent).text(), "/i/_bulk body\n");
    tapline.stop();
    let expected = b"POST /i/_bulk HTTP/1.1\r\nhost: h\r\nauthorization: Basic bmV3\r\n\
                     Content-Length: 5\r\nX-Forwarded-Proto: https\r\n\r\nbody\n";
    let received = origin.conversation(0).received.bytes();
    assert_eq!(String::from_utf8_lossy(&received), String::from_utf8_lossy(expected));
    assert_eq!(Records::of_log(&tapline.log()).only().requests(), [&sent[..]]);
}

#[test]
fn what_cannot_be_set_or_matched_is_refused_at_the_start() {
    for (flag, value, words) in [
        ("--set-header", "Content-Length: 3", "Content-Length says how the message is read"),
        ("--set-header", "Transfer-Encoding: chunked", "take it out"),
        ("--set-header", "Connection: close", "take it out"),
        ("--set-header", "A: b\r\nC: d", "control character"),
        ("--set-header", "A: b\n", "control character"),
        ("--set-header", "no colon", "write 'Name: value'"),
        ("--set-header", "Host:", "give a value"),
        ("--suppress-path", "/a(b", "unclosed group"),
        ("--suppress-header", "User-Agent: [", "unclosed character class"),
        ("--suppress-method", "(?=GET)", "look-around"),
        ("--health-path", "health", "give a path of its own"),
    ] {
        let outcome = Capture::of(1).flag(flag, value).refusal();
        let stderr = &outcome.stderr;
        assert_eq!(outcome.code, Some(64), "{flag} {value:?}: {stderr}");
        assert!(stderr.contains(flag) && stderr.contains(words), "{flag} {value:?}: {stderr}");
    }
    let capture = Capture::of(1).flag("--set-header", "Host: a").flag("--set-header", "host: b");
    let outcome = capture.refusal();
    assert!(outcome.stderr.contains("names host twice"), "{}", outcome.stderr);
}

#[test]
fn suppressed_requests_and_their_answers_are_in_no_record() {
    let origin = Origin::answering(|request| ok(request.target().as_bytes()));
    let tapline = &mut Capture::of(origin.port())
        .flag("--suppress-path", "/_cluster/health.*")
        .flag("--suppress-method-and-path", "PUT /private/.*")
        .flag("--suppress-header", "User-Agent: ELB-HealthChecker/.*")
        .start();
    // Nothing of this connection is worth a record.
    let mut probe = Client::connect(tapline.port());
    assert_eq!(
        probe.ask(&bare("GET", "/_cluster/health?pretty")).text(),
        "/_cluster/health?pretty"
    );
    let agent = b"GET / HTTP/1.1\r\nHost: s\r\nuser-agent: ELB-HealthChecker/2.0\r\n\r\n";
    assert_eq!(probe.ask(agent).status(), 200);
    drop(probe);
    // Between neighbours of one pipeline.
    let kept = [request("PUT", "/i/_doc/1", b"{}"), bare("GET", "/i/_cluster/health")];
    let sent = [
        &kept[0],
        &request("PUT", "/private/_doc/1", b"secret")[..],
        &bare("GET", "/_cluster/health"),
        &kept[1],
    ]
    .concat();
    let mut client = Client::connect(tapline.port());
    client.send(&sent);
    for target in ["/i/_doc/1", "/private/_doc/1", "/_cluster/health", "/i/_cluster/health"] {
        assert_eq!(client.response("GET").text(), target);
    }
    tapline.stop();
    assert_eq!(origin.conversation(1).received.bytes(), sent, "all of it was forwarded");
    let records = Records::of_log(&tapline.log());
    assert_eq!(records.only().requests(), [&kept[0][..], &kept[1][..]]);
    let answers = [ok(b"/i/_doc/1"), ok(b"/i/_cluster/health")].concat();
    assert_eq!(records.only().written, answers);
    let log = tapline.log();
    let described = run(&["log", "describe", "--log", log.to_str().unwrap()]).stdout;
    assert!(described.contains("left out         2 on purpose"), "{described}");
    let verified = run(&["log", "verify", "--log", log.to_str().unwrap()]);
    assert_eq!(verified.code, Some(0), "what is left out on purpose is no loss: {verified:?}");
    assert_eq!(tapline.counter("requests_suppressed"), 4);
}

#[test]
fn health_checks_are_answered_here_in_their_order() {
    let origin = Origin::answering(|request| {
        std::thread::sleep(Duration::from_millis(100));
        ok(request.target().as_bytes())
    });
    let tapline = &mut Capture::of(origin.port()).flag("--health-path", "/_tapline").start();
    let mut probe = Client::connect(tapline.port());
    for _ in 0..3 {
        let answer = probe.ask(&bare("GET", "/_tapline"));
        assert_eq!((answer.status(), answer.text()), (200, "{\"status\":\"ok\"}\n".to_owned()));
        let answer = probe.ask(&bare("HEAD", "/_tapline?x"));
        assert_eq!((answer.status(), answer.body.len()), (200, 0));
        assert_eq!(answer.field("content-length").as_deref(), Some("16"));
    }
    probe.send(b"GET /_tapline HTTP/1.1\r\nConnection: close\r\n\r\n");
    let last = probe.response("GET");
    assert_eq!(last.field("connection").as_deref(), Some("close"));
    assert_eq!(probe.remainder(), b"");
    assert_eq!(origin.conversations().len(), 0, "the source was not even connected to");

    let mut client = Client::connect(tapline.port());
    let sent = [
        bare("GET", "/one"),
        bare("GET", "/_tapline"),
        request("PUT", "/two/_doc/1", b"{}"),
        request("GET", "/_tapline", b"a body that nobody wants"),
        bare("GET", "/_tapline/other"),
    ];
    client.send(&sent.concat());
    let ok_text = "{\"status\":\"ok\"}\n";
    for expected in ["/one", ok_text, "/two/_doc/1", ok_text, "/_tapline/other"] {
        assert_eq!(client.response("GET").text(), expected);
    }
    // While it drains, a connection that still waits for an answer is told so and let go.
    client.send(&[bare("GET", "/three"), bare("GET", "/_tapline")].concat());
    assert!(origin.conversation(0).received.holds(b"/three", Duration::from_secs(10)));
    tapline.ask_to_stop();
    assert_eq!(client.response("GET").text(), "/three");
    let outcome = client.response("GET");
    assert!(matches!(outcome.status(), 200 | 503), "{}", outcome.status());
    assert_eq!(tapline.wait(), Some(0));
    let records = Records::of_log(&tapline.log());
    assert!(!records.holds_request(b"_tapline HTTP"), "health checks are in no record");
    let kept = [&sent[0], &sent[2], &sent[4], &bare("GET", "/three")];
    assert_eq!(records.only().requests(), kept.map(Vec::as_slice));
}

/// Known secrets are found nowhere but on the way to the source and back.
#[test]
fn canary_secrets_are_in_no_record_and_no_log() {
    canaries(None);
}

#[test]
fn canary_secrets_are_in_no_topic_either() {
    if services::wanted("canary_secrets_are_in_no_topic_either") {
        let kafka = Kafka::shared();
        kafka.create_topic("canaries", 2, &[]);
        canaries(Some(kafka));
    }
}

fn canaries(kafka: Option<&Kafka>) {
    let origin = Origin::start(|visit| {
        while let Some(request) = visit.request()? {
            let body = if request.target().starts_with("/_security/") {
                "{\"api_key\":\"CANARYKEY\",\"encoded\":\"CANARY64\"}"
            } else {
                "{}"
            };
            visit.send(&response(
                200,
                "OK",
                &["Set-Cookie: sid=CANARYSET; Path=/"],
                body.as_bytes(),
            ))?;
        }
        Ok(())
    });
    let capture = Capture::of(origin.port())
        .switch("--redact-credentials")
        .flag("--redact-header", "X-Api-Key")
        .flag("--flush-age", "10ms")
        .admin();
    let capture = match kafka {
        Some(kafka) => capture.kafka(kafka, "canaries"),
        None => capture,
    };
    let tapline = &mut capture.start();
    let head = |target: &str, more: &str| {
        format!(
            "POST {target} HTTP/1.1\r\nHost: source\r\nAuthorization: Basic CANARYBASIC\r\n\
             es-secondary-authorization: CANARYSECOND\r\nCookie: sid=CANARYCOOKIE\r\n\
             x-api-key: CANARYNAMED\r\nX-Amz-Security-Token: CANARYAMZ\r\n{more}\r\n\r\n"
        )
    };
    let password = b"{\"password\":\"CANARYPASSWORD\"}";
    let sized = [head("/_security/api_key", "Content-Length: 29").as_bytes(), password].concat();
    let chunks = b"b\r\n{\"password\"\r\n12\r\n:\"CANARYPASSWORD\"}\r\n0\r\n\r\n";
    let chunked =
        [head("/_security/user/jack", "Transfer-Encoding: chunked").as_bytes(), chunks].concat();
    let open = [head("/i/_bulk", "Content-Length: 3").as_bytes(), b"{}\n"].concat();
    let sent = [&sized[..], &chunked, &open].concat();
    let mut client = Client::connect(tapline.port());
    client.send(&sent);
    let answers: Vec<_> = (0..3).map(|_| client.response("POST")).collect();
    assert!(
        answers[..2].iter().all(|answer| answer.text().contains("CANARYKEY")),
        "forwarded as it came"
    );
    assert!(answers[0].field("set-cookie").is_some_and(|cookie| cookie.contains("CANARYSET")));
    // Cut everywhere, and never finished.
    client.send_in_pieces(&sized, 7, Duration::from_micros(100));
    assert_eq!(client.response("POST").status(), 200);
    client.send(&sized[..sized.len() - 9]);
    let mut refused = Client::connect(tapline.port());
    refused.send(b"GET / HTTP/1.1\r\nAuthorization: CANARYREFUSED\r\nBad : x\r\n\r\n");
    assert_eq!(refused.response("GET").status(), 400);
    let mut unfinished = Client::connect(tapline.port());
    unfinished.send(b"GET / HTTP/1.1\r\nAuthorization: CANARYUNFIN");
    let process = tapline.pid();
    for file in ["cmdline", "environ"] {
        let text = std::fs::read(format!("/proc/{process}/{file}")).unwrap();
        assert!(memchr::memmem::find(&text, b"CANARY").is_none(), "{file}");
    }
    for page in ["/metrics", "/status", "/config", "/readyz"] {
        let text = Client::connect(tapline.admin()).ask(&bare("GET", page)).text();
        assert!(!text.contains("CANARY"), "{page}: {text}");
    }
    drop((client, unfinished));
    tapline.stop();
    // Another conversation may be a probe of the source.
    let whole = [&sent[..], &sized].concat();
    let came = |c: &Conversation| c.received.bytes().starts_with(&whole);
    assert!(origin.conversations().iter().any(came), "forwarded byte for byte");

    let records = match kafka {
        Some(kafka) => Records::of_topic(kafka, "canaries"),
        None => Records::of_log(&tapline.log()),
    };
    let requests: Vec<Vec<u8>> =
        records.connections().iter().flat_map(|c| c.requests()).map(<[u8]>::to_vec).collect();
    assert_eq!(requests.len(), 4);
    assert_eq!(requests[0].len(), sized.len());
    assert_eq!(requests[0], requests[3], "equal credentials stay equal, however they were cut");
    assert!(requests[1].ends_with(b"\r\n0\r\n\r\n"), "the framing of chunks stays");
    assert!(requests[2].ends_with(b"{}\n"), "other bodies stay");
    for file in walk(&tapline.log()) {
        let bytes = std::fs::read(&file).unwrap();
        assert!(memchr::memmem::find(&bytes, b"CANARY").is_none(), "{}", file.display());
    }
    assert!(!tapline.output().contains("CANARY"), "{}", tapline.output());
    if let Some(kafka) = kafka {
        let stored = kafka.consume_all("canaries");
        let all = stored.iter().flat_map(|record| [&record.key[..], &record.value].concat());
        let all: Vec<u8> = all.collect();
        assert!(all.len() > sent.len() && memchr::memmem::find(&all, b"CANARY").is_none());
        return;
    }
    let log = tapline.log();
    let dumped = run(&["log", "dump", "--format", "http", "--log", log.to_str().unwrap()]).stdout;
    assert!(dumped.contains("/_security/api_key") && !dumped.contains("CANARY"), "{dumped}");
}

fn walk(dir: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let (dirs, mut files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    files.extend(dirs.iter().flat_map(|dir| walk(dir)));
    files
}
