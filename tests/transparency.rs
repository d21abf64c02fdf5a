//! Whatever the client and the source do, each sees the other's bytes and endings unchanged, and
//! the records say the same.

use std::io;
use std::thread;
use std::time::Duration;

use crate::rig::client::{Client, bare, chunked, request};
use crate::rig::nginx::{self, Nginx};
use crate::rig::origin::{Conversation, Origin, ok, response};
use crate::rig::records::Records;
use crate::rig::relay::Relay;
use crate::rig::tape::Ending;
use crate::rig::tapline::{Capture, Tapline};
use crate::rig::{port, services};

#[test]
fn every_kind_of_message_passes_unchanged() {
    let origin = Origin::answering(|request| match request.target().as_str() {
        "/204" => b"HTTP/1.1 204 No Content\r\n\r\n".to_vec(),
        "/304" => {
            b"HTTP/1.1 304 Not Modified\r\nContent-Length: 77\r\nETag: \"x\"\r\n\r\n".to_vec()
        }
        "/chunked" => b"HTTP/1.1 200 OK\r\ntransfer-encoding:chunked\r\n\r\n\
            3;a=\"b\"\r\nabc\r\n00A\r\n0123456789\r\n0\r\nTrailer: 1\r\n\r\n"
            .to_vec(),
        "/hints" => [
            b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
                .to_vec(),
            ok(b"after"),
        ]
        .concat(),
        _ if request.method() == "HEAD" => {
            b"HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n".to_vec()
        }
        _ => ok(&request.wire()),
    });
    let large: Vec<u8> = (0..3_000_000_u32).flat_map(u32::to_le_bytes).collect();
    let sent = [
        bare("GET", "/a?b=c%20d"),
        bare("HEAD", "/a"),
        bare("OPTIONS", "/a"),
        bare("GET", "/204"),
        bare("DELETE", "/304"),
        request("POST", "/i/_doc", b"{\"a\":1}"),
        request("PUT", "/i/_doc/%C3%A9", b""),
        request("POST", "/_bulk", &large),
        chunked("POST", "/_bulk", &[b"x", &large[..70_000], b"y"]),
        b"POST /chunked HTTP/1.1\r\nhOsT:source\r\nTRANSFER-ENCODING: chunked\r\n\r\n\
          4;name=value\r\nabcd\r\n0\r\nX-Trailer: yes\r\n\r\n"
            .to_vec(),
        bare("GET", "/hints"),
        bare("PATCH", "/a"),
        bare("PROPFIND", "/unknown-method"),
    ]
    .concat();
    let received = whole_exchange(&origin, &sent, 13);
    assert!(received.ends_with(&ok(&bare("PROPFIND", "/unknown-method"))));
}

#[test]
fn pipelined_requests_are_answered_in_order_and_end_one_by_one() {
    let origin = Origin::answering(|request| ok(request.target().as_bytes()));
    let sent: Vec<u8> = (0..40)
        .flat_map(|number| match number % 4 {
            0 => bare("GET", &format!("/{number}")),
            1 => request("POST", &format!("/{number}/_doc"), b"{}"),
            2 => request("POST", &format!("/{number}/_search"), b"{\"size\":0}"),
            _ => chunked("PUT", &format!("/{number}"), &[b"ab", b"cd"]),
        })
        .collect();
    whole_exchange(&origin, &sent, 40);
}

#[test]
fn one_byte_at_a_time_changes_nothing() {
    let origin = Origin::start(|visit| {
        while let Some(request) = visit.request()? {
            for byte in ok(&request.body) {
                visit.send(&[byte])?;
            }
        }
        Ok(())
    });
    let tapline = &mut Capture::of(origin.port()).start();
    let sent = [
        chunked("POST", "/_bulk", &[b"ab", b"c"]),
        bare("GET", "/"),
        request("PUT", "/i/_doc/1", b"0123456789"),
    ]
    .concat();
    let mut client = Client::connect(tapline.port());
    client.send_in_pieces(&sent, 1, Duration::from_millis(1));
    client.finish();
    let received = client.until_end().unwrap();
    assert_eq!(received, [ok(b"abc"), ok(b""), ok(b"0123456789")].concat());
    assert_same(tapline, &origin.conversation(0), &sent, &received, 3);
}

#[test]
fn a_client_that_has_finished_still_gets_its_answer() {
    let origin = Origin::start(|visit| {
        let all = visit.until_end()?;
        visit.send(&ok(&all))
    });
    let tapline = &mut Capture::of(origin.port()).start();
    let mut client = Client::connect(tapline.port());
    let sent = request("POST", "/i/_doc", b"{}");
    client.send(&sent);
    client.finish();
    let received = client.until_end().unwrap();
    assert_eq!(received, ok(&sent));
    let conversation = origin.conversation(0);
    assert_eq!(conversation.received.ending(), Some(Ending::Finished));
    assert_same(tapline, &conversation, &sent, &received, 1);
}

#[test]
fn a_source_that_finishes_leaves_the_other_direction_open() {
    let origin = Origin::start(|visit| {
        visit.request()?;
        visit.send(b"HTTP/1.1 200 OK\r\n\r\nuntil the end")?;
        visit.finish()?;
        visit.until_end().map(drop)
    });
    let tapline = &mut Capture::of(origin.port()).start();
    let mut client = Client::connect(tapline.port());
    let sent = bare("GET", "/");
    client.send(&sent);
    assert_eq!(client.until_end().unwrap(), b"HTTP/1.1 200 OK\r\n\r\nuntil the end");
    let conversation = origin.conversation(0);
    thread::sleep(Duration::from_millis(100));
    assert_eq!(conversation.received.ending(), None, "nothing ended this direction");
    client.finish();
    assert_eq!(conversation.received.ending_within(PATIENCE), Some(Ending::Finished));
    let received = conversation.sent.bytes();
    assert_same(tapline, &conversation, &sent, &received, 1);
}

#[test]
fn an_idle_connection_that_the_source_closes_is_closed() {
    let origin = Origin::start(|visit| {
        visit.request()?;
        visit.send(&ok(b"bye"))
    });
    let tapline = &mut Capture::of(origin.port()).start();
    let mut client = Client::connect(tapline.port());
    assert_eq!(client.ask(&bare("GET", "/")).text(), "bye");
    assert_eq!(client.until_end().unwrap(), b"");
}

#[test]
fn a_reset_of_the_source_resets_the_client() {
    let origin = Origin::start(|visit| {
        visit.request()?;
        visit.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart")?;
        // The part is on its way before the reset overtakes it.
        thread::sleep(Duration::from_millis(200));
        visit.reset()
    });
    let tapline = &mut Capture::of(origin.port()).start();
    let mut client = Client::connect(tapline.port());
    client.send(&request("POST", "/i/_doc", b"{}"));
    let ending = client.until_end().map_err(|error| error.kind());
    assert_eq!(ending, Err(io::ErrorKind::ConnectionReset));
    tapline.stop();
    let records = Records::of_log(&tapline.log());
    assert_eq!(records.only().written, origin.conversation(0).sent.bytes());
    assert_eq!(records.only().request_ends.len(), 1);
}

#[test]
fn a_reset_of_the_client_resets_the_source() {
    let origin = Origin::start(|visit| visit.until_end().map(drop));
    let tapline = &mut Capture::of(origin.port()).start();
    let mut client = Client::connect(tapline.port());
    let sent = b"POST /_bulk HTTP/1.1\r\nHost: source\r\nContent-Length: 100\r\n\r\nthe first part";
    client.send(sent);
    let conversation = origin.conversation(0);
    assert!(conversation.received.holds(sent, PATIENCE));
    client.reset();
    assert_eq!(conversation.received.ending_within(PATIENCE), Some(Ending::Reset));
    tapline.stop();
    let records = Records::of_log(&tapline.log());
    assert_eq!(records.only().read, sent);
    assert_eq!(records.only().requests(), Vec::<&[u8]>::new(), "it never ended");
}

#[test]
fn a_source_that_refuses_is_answered_with_502() {
    let tapline = &mut Capture::of(port::free()).start();
    for sent in [bare("GET", "/"), request("POST", "/i/_doc", b"{}")] {
        let mut client = Client::connect(tapline.port());
        client.send(&sent);
        let answer = client.response("GET");
        assert_eq!(answer.status(), 502, "{}", answer.text());
        assert!(answer.text().contains("127.0.0.1"), "it names the source: {}", answer.text());
        assert!(client.until_end().is_ok_and(|rest| rest.is_empty()));
    }
    assert!(tapline.runs());
    tapline.stop();
    let records = Records::of_log(&tapline.log());
    for captured in records.connections() {
        assert!(captured.written.starts_with(b"HTTP/1.1 502 "), "the answer is in the records");
    }
    assert_eq!(records.connections().len(), 2);
}

#[test]
fn nonsense_of_the_source_ends_the_connection() {
    for nonsense in
        ["nonsense\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"]
    {
        let origin = Origin::start(move |visit| {
            visit.request()?;
            visit.send(nonsense.as_bytes())?;
            visit.until_end().map(drop)
        });
        let tapline = &mut Capture::of(origin.port()).start();
        let mut client = Client::connect(tapline.port());
        client.send(&bare("GET", "/"));
        let received = client.remainder();
        assert!(
            received.is_empty() || received.starts_with(b"HTTP/1.1 502 "),
            "of {nonsense:?} the client saw {:?}",
            String::from_utf8_lossy(&received)
        );
        assert!(origin.conversation(0).received.ending_within(PATIENCE).is_some());
        let mut client = Client::connect(tapline.port());
        client.send(&bare("GET", "/"));
        assert!(tapline.runs(), "{}", tapline.output());
    }
}

#[test]
fn bytes_behind_an_answer_are_not_taken_for_the_next_one() {
    let origin = Origin::start(|visit| {
        visit.request()?;
        visit.send(&[ok(b"one"), ok(b"smuggled")].concat())?;
        visit.request()?;
        visit.send(&ok(b"two"))?;
        visit.until_end().map(drop)
    });
    let tapline = &mut Capture::of(origin.port()).start();
    let mut client = Client::connect(tapline.port());
    client.send(&bare("GET", "/1"));
    let received = client.remainder();
    assert!(
        memchr::memmem::find(&received, b"smuggled").is_none(),
        "{}",
        String::from_utf8_lossy(&received)
    );
}

#[test]
fn an_early_answer_arrives_early_and_the_body_goes_on() {
    let origin = Origin::start(|visit| {
        let head = visit.head()?;
        visit.send(&response(413, "Payload Too Large", &[], b"early"))?;
        visit.body(head)?;
        while let Some(request) = visit.request()? {
            visit.send(&ok(&request.body))?;
        }
        Ok(())
    });
    let tapline = &mut Capture::of(origin.port()).start();
    let mut client = Client::connect(tapline.port());
    let first = request("POST", "/_bulk", &vec![b'x'; 100_000]);
    let (early, late) = first.split_at(5_000);
    client.send(early);
    assert_eq!(client.response("POST").text(), "early");
    client.send(late);
    let second = request("PUT", "/i/_doc/1", b"next");
    assert_eq!(client.ask(&second).text(), "next", "the body was not taken for a request");
    client.finish();
    client.until_end().unwrap();
    let conversation = origin.conversation(0);
    let received = conversation.sent.bytes();
    assert_same(tapline, &conversation, &[first, second].concat(), &received, 2);
}

#[test]
fn a_client_that_waits_for_100_gets_it_from_the_source() {
    let origin = Origin::start(|visit| {
        let head = visit.head()?;
        visit.send(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        let request = visit.body(head)?;
        visit.send(&ok(&request.body))?;
        visit.head()?;
        visit.send(&response(417, "Expectation Failed", &["Connection: close"], b""))
    });
    let tapline = &mut Capture::of(origin.port()).start();
    let mut client = Client::connect(tapline.port());
    let head =
        b"POST /_bulk HTTP/1.1\r\nHost: s\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n";
    client.send(head);
    assert_eq!(client.head().status(), 100);
    client.send(b"body");
    assert_eq!(client.response("POST").text(), "body");
    client.send(head);
    assert_eq!(client.response("POST").status(), 417);
    assert_eq!(client.until_end().unwrap(), b"");
    let conversation = origin.conversation(0);
    let sent = [head.as_slice(), b"body", head].concat();
    let received = conversation.sent.bytes();
    assert_same(tapline, &conversation, &sent, &received, 1);
}

#[test]
fn after_101_bytes_pass_both_ways() {
    let origin = Origin::start(|visit| {
        visit.head()?;
        visit.send(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        )?;
        let all = visit.until_end()?;
        visit.send(&all)
    });
    let tapline = &mut Capture::of(origin.port()).start();
    let mut client = Client::connect(tapline.port());
    client.send(b"GET / HTTP/1.1\r\nHost: s\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n");
    assert_eq!(client.head().status(), 101);
    client.send(b"\0\x01no http\r\n\r\n");
    client.finish();
    assert_eq!(client.until_end().unwrap(), b"\0\x01no http\r\n\r\n");
}

#[test]
fn a_slow_reader_gets_every_byte() {
    let body: Vec<u8> = (0..8_000_000_u32).flat_map(u32::to_le_bytes).collect();
    let answer = ok(&body);
    let origin = Origin::start(move |visit| {
        visit.request()?;
        visit.send(&answer)
    });
    let tapline = &mut Capture::of(origin.port()).start();
    let mut client = Client::connect(tapline.port());
    client.send(&bare("GET", "/large"));
    thread::sleep(Duration::from_millis(500));
    let mut received = vec![0; 1000];
    let mut count = 0;
    while count < received.len() {
        count += client.read_some(&mut received[count..]).unwrap();
        thread::sleep(Duration::from_micros(100));
    }
    received.extend(client.until_end().unwrap());
    let conversation = origin.conversation(0);
    assert!(received == conversation.sent.bytes());
    assert_same(tapline, &conversation, &bare("GET", "/large"), &received, 1);
}

#[test]
fn connections_without_a_byte_never_reach_the_source() {
    let origin = Origin::answering(|_| ok(b""));
    let tapline = &mut Capture::of(origin.port()).start();
    let before = tapline.output().lines().count();
    for number in 0..1000 {
        let client = Client::connect(tapline.port());
        if number % 2 == 0 {
            client.reset();
        }
    }
    assert_eq!(Client::connect(tapline.port()).ask(&bare("GET", "/")).status(), 200);
    assert_eq!(origin.conversations().len(), 1, "only the one that sent something");
    let printed = tapline.output().lines().count() - before;
    assert!(printed < 10, "{printed} lines about nothing");
}

#[test]
fn without_capture_the_bytes_are_the_same_and_nothing_is_written() {
    let origin = Origin::answering(|request| ok(&request.wire()));
    let tapline = &mut Capture::of(origin.port()).switch("--no-capture").start();
    let mut client = Client::connect(tapline.port());
    let sent = request("POST", "/_bulk", &vec![b'z'; 300_000]);
    assert_eq!(client.ask(&sent).body, sent);
    tapline.stop();
    assert!(!tapline.log().exists(), "no capture log was asked for");
}

#[test]
fn nginx_is_seen_through_as_if_nothing_stood_between() {
    if !services::wanted("nginx_is_seen_through_as_if_nothing_stood_between") {
        return;
    }
    let relay = Relay::to(Nginx::shared().port());
    let tapline = &mut Capture::of(relay.port()).start();
    let mut clients: Vec<Client> = (0..4).map(|_| Client::connect(tapline.port())).collect();
    for round in 0..25 {
        for client in &mut clients {
            for (name, size) in nginx::SIZES {
                let answer = client.ask(&bare("GET", &format!("/{name}")));
                assert!(answer.body == nginx::answer(size), "{name} in round {round}");
            }
            let answer = client.ask(&request("POST", "/i/_bulk", &vec![b'x'; round * 10_000]));
            assert_eq!((answer.status(), answer.text()), (200, "done".to_owned()));
        }
    }
    drop(clients);
    assert!(relay.is_quiet(PATIENCE));
    tapline.stop();
    assert_eq!(Records::of_log(&tapline.log()).digests(), relay.digests());
}

/// Sends everything on one connection, finishes, and checks that both ends and the records agree.
/// What the client received.
fn whole_exchange(origin: &Origin, sent: &[u8], requests: usize) -> Vec<u8> {
    let tapline = &mut Capture::of(origin.port()).start();
    let mut client = Client::connect(tapline.port());
    let received = client.exchange(sent);
    assert_same(tapline, &origin.conversation(0), sent, &received, requests);
    received
}

/// Stops the proxy; what the client sent and received, what the origin received and sent, and what
/// the records hold must be the same bytes, cut into that many requests.
fn assert_same(
    tapline: &mut Tapline,
    origin: &Conversation,
    sent: &[u8],
    received: &[u8],
    requests: usize,
) {
    assert!(origin.received.bytes() == sent, "the origin received what the client sent");
    assert!(origin.sent.bytes() == received, "the client received what the origin sent");
    tapline.stop();
    let records = Records::of_log(&tapline.log());
    let captured = records.only();
    assert!(captured.read == sent, "the records hold what the client sent");
    assert!(captured.written == received, "the records hold what the client received");
    assert_eq!(captured.request_ends.len(), requests, "each request has its end");
    assert!(captured.closed, "the last record is marked");
    assert_eq!((captured.dropped, captured.exceptions.len()), (0, 0));
}

const PATIENCE: Duration = Duration::from_secs(10);
