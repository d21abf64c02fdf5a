//! `block`, and a full disk behind the spool: what cannot be stored in time is answered 503 and never sent.

use std::time::Duration;

use crate::rig::client::{Client, bare, request};
use crate::rig::kafka::Kafka;
use crate::rig::origin::{Origin, ok};
use crate::rig::records::Records;
use crate::rig::services;
use crate::rig::tape::Ending;
use crate::rig::tapline::Capture;
use crate::rig::wait;

#[test]
fn held_writes_get_503_after_the_deadline_and_the_source_never_saw_a_byte() {
    if !services::wanted("held_writes_get_503_after_the_deadline_and_the_source_never_saw_a_byte") {
        return;
    }
    let kafka = Kafka::start(&[]);
    kafka.create_topic("blocked", 1, &[]);
    let origin = Origin::answering(|request| ok(request.target().as_bytes()));
    let capture = Capture::of(origin.port())
        .kafka(&kafka, "blocked")
        .flag("--on-capture-unavailable", "block")
        .flag("--hold-timeout", "4s");
    let tapline = &mut capture.start();
    let mut clients: Vec<_> = (0..5).map(|_| Client::connect(tapline.port())).collect();
    for client in &mut clients {
        assert_eq!(client.ask(&request("PUT", "/i/_doc/0", b"{}")).status(), 200);
    }
    kafka.pause();
    let before = origin.received_bytes();
    let [plain, chunks, behind, flowing, fresh] = &mut clients[..] else { unreachable!() };
    plain.send(&request("PUT", "/i/_doc/never-1", b"{}"));
    chunks.send(b"POST /i/_bulk/never-2 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n");
    // A read behind it goes with it.
    behind.send(&[request("DELETE", "/i/_doc/never-3", b""), bare("GET", "/never-4")].concat());
    for client in [&mut *plain, chunks, behind] {
        let answer = client.response("PUT");
        assert_eq!(answer.status(), 503, "{}", answer.text());
        assert!(answer.field("retry-after").is_some(), "it says when to come again");
        assert!(answer.text().contains("tapline_unavailable"), "{}", answer.text());
    }
    // A read before it has its answer first.
    fresh.send(&[bare("GET", "/read"), request("PUT", "/i/_doc/never-5", b"{}")].concat());
    assert_eq!(fresh.response("GET").text(), "/read");
    assert_eq!(fresh.response("PUT").status(), 503);
    let read = bare("GET", "/read").len();
    assert_eq!(origin.received_bytes(), before + read, "nothing but the read reached the source");
    // A large body of which a part was released before: both sides are cut.
    kafka.resume();
    let head = "POST /_bulk HTTP/1.1\r\nContent-Length: 9000000\r\n\r\n";
    flowing.send(head.as_bytes());
    flowing.send(&vec![b'x'; 100_000]);
    let begun = || {
        let all = origin.conversations();
        all.iter().any(|one| memchr::memmem::find(&one.received.bytes(), b"xxxxx").is_some())
    };
    assert!(wait::until(PATIENCE, begun), "{}", tapline.output());
    kafka.pause();
    let _ = flowing.try_send(&vec![b'y'; 300_000]);
    let cut = || flowing.try_response("POST").is_err();
    assert!(wait::until(PATIENCE, cut), "{}", tapline.output());
    kafka.resume();
    let open = Client::connect(tapline.port()).ask(&request("PUT", "/i/_doc/last", b"{}"));
    assert_eq!(open.status(), 200, "it goes on when Kafka is back");
    tapline.stop();
    for one in origin.conversations() {
        let bytes = one.received.bytes();
        assert!(memchr::memmem::find(&bytes, b"never").is_none(), "it got through after all");
        assert!(one.received.ending().is_some());
    }
    let resets = origin.conversations();
    let resets = resets.iter().filter(|one| one.received.ending() == Some(Ending::Reset)).count();
    assert!(resets > 0, "the source is told that the body breaks off");
    let undelivered: u32 =
        Records::of_topic(&kafka, "blocked").connections().iter().map(|one| one.undelivered).sum();
    assert_eq!(undelivered, 5, "the records say which requests were never sent");
}

const PATIENCE: Duration = Duration::from_secs(30);
