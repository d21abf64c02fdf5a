//! What must hold after any run.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    peer::{Deed, Served},
    world::{Sent, World},
};
use crate::{
    ring::sim::Ledger,
    target::{Broken, Counter, Reply, Response},
};

/// How often each kind of outcome was seen.
#[derive(Default)]
pub(super) struct Seen(BTreeMap<&'static str, u64>);

impl Seen {
    fn see(&mut self, what: &'static str) {
        *self.0.entry(what).or_default() += 1;
    }

    pub(super) fn add(&mut self, other: &Self) {
        for (what, n) in &other.0 {
            *self.0.entry(what).or_default() += n;
        }
    }

    /// A check that never meets a case proves nothing about it.
    pub(super) fn check_that_everything_happened(&self) {
        let expected = [
            "whole",
            "cut",
            "reused",
            "connect",
            "connect timeout",
            "no descriptors",
            "lost new",
            "lost reused",
            "lost within",
            "lost in order",
            "timeout",
            "malformed",
            "cancelled",
            "early",
            "surplus",
            "closed idle",
            "conductor gone",
        ];
        let missing: Vec<_> = expected.iter().filter(|what| !self.0.contains_key(*what)).collect();
        assert!(missing.is_empty(), "never happened: {missing:?} among {:?}", self.0);
    }
}

pub(super) fn check(world: &World) -> Seen {
    let mut seen = Seen::default();
    let clean = Ledger { open_fds: 0, buffers_out: 0, dropped: true };
    assert_eq!(world.ledger, clean, "what the ring had left");
    check_replies(world, &mut seen);
    check_wires(world);
    check_counters(world, &mut seen);
    if world.gone {
        seen.see("conductor gone");
    }
    seen
}

fn check_replies(world: &World, seen: &mut Seen) {
    let mut served: BTreeMap<u64, &Served> = BTreeMap::new();
    for request in world.peers.iter().flat_map(|peer| &peer.served) {
        let twice = served.insert(request.id, request).is_some();
        assert!(!twice, "job {} was sent twice", request.id);
        if request.later {
            seen.see("reused");
        }
    }
    let ids: BTreeSet<u64> = world.replies.iter().map(|reply| reply.id).collect();
    assert_eq!(ids.len(), world.replies.len(), "two replies to one job");
    if !world.gone {
        let sent: BTreeSet<u64> = world.sent.keys().copied().collect();
        assert_eq!(ids, sent, "a reply to each job");
        assert_eq!(sent.len() as u64, world.setup.jobs);
    }
    for reply in &world.replies {
        let sent = &world.sent[&reply.id];
        let same = reply.head == sent.lent.0 && reply.bytes == sent.lent.1;
        assert!(same, "job {}: its memory came back changed", reply.id);
        assert!(reply.started_ns <= reply.sent_ns || reply.sent_ns == 0);
        assert!(reply.started_ns <= reply.finished_ns || reply.finished_ns == 0);
        let request = served.get(&reply.id).copied();
        match &reply.result {
            Ok(response) => check_response(world, reply, response, sent, request, seen),
            Err(why) => check_broken(world, why, sent, request, seen),
        }
    }
}

fn check_response(
    world: &World,
    reply: &Reply,
    response: &Response,
    sent: &Sent,
    request: Option<&Served>,
    seen: &mut Seen,
) {
    let id = reply.id;
    let request = request.unwrap_or_else(|| panic!("job {id}: a response to what was not read"));
    assert!(
        !matches!(request.deed, Deed::Broken | Deed::Silent | Deed::Garbage),
        "job {id}: a response in spite of {:?}",
        request.deed
    );
    let keep = sent.keep.min(world.setup.settings.response_bytes_max);
    let nothing = keep == 0 && response.status < 400;
    let keep = if nothing { 0 } else { keep.max(request.head_bytes) };
    let expected = &request.answer[..keep.min(request.answer.len())];
    assert!(response.bytes == expected, "job {id}: the response is not what was answered to it");
    assert_eq!(response.head_bytes, if nothing { 0 } else { request.head_bytes });
    assert_eq!(response.wire_bytes, request.answer.len() as u64);
    assert_eq!(response.whole, expected.len() == request.answer.len());
    let status = std::str::from_utf8(&request.answer[9..12]).expect("digits");
    assert_eq!(response.status.to_string(), status);
    assert!(request.deed == Deed::Early || reply.sent_ns > 0);
    seen.see(if response.whole { "whole" } else { "cut" });
}

fn check_broken(
    world: &World,
    why: &Broken,
    sent: &Sent,
    request: Option<&Served>,
    seen: &mut Seen,
) {
    assert!(!world.setup.calm, "nothing goes wrong in a calm run, but: {why}");
    let faults = world.setup.faults;
    let deed = request.map(|request| request.deed);
    assert!(request.is_none() || !why.is_unsent(), "{why}, but the request was read");
    match why {
        Broken::Connect(_) => assert!(faults.connect_refused > 0),
        Broken::ConnectTimeout => assert!(faults.connect_silent > 0),
        Broken::NoDescriptors(_) => assert!(faults.open_fails > 0),
        Broken::Unsecured(_) => assert!(faults.send_fails > 0, "{why:?} without a fault"),
        Broken::Tls { .. } => assert!(world.setup.distrusted, "{why:?} of a good target"),
        Broken::Lost { reused, response_begun, error } => {
            // A target that answers well is lost only by a fault of the network, or by a close that met the request.
            let reused = *reused;
            let fair = matches!(deed, Some(Deed::Answered));
            assert!(!fair || faults.send_fails > 0, "{why:?} after a good answer");
            let stray = world.setup.manners.surplus > 0;
            assert!(!*response_begun || request.is_some() || stray, "a response to nothing");
            assert!(
                reused || deed.is_some() || faults.send_fails > 0,
                "{why:?} of a new connection"
            );
            seen.see(if reused { "lost reused" } else { "lost new" });
            if *response_begun {
                seen.see("lost within");
            }
            if error.is_none() {
                seen.see("lost in order");
            }
        }
        Broken::Timeout { .. } => assert!(!matches!(deed, Some(Deed::Answered | Deed::Garbage))),
        Broken::Malformed(_) => assert_eq!(deed, Some(Deed::Garbage)),
        Broken::Cancelled => assert!(sent.cancelled),
    }
    seen.see(match why {
        Broken::Connect(_) => "connect",
        Broken::ConnectTimeout => "connect timeout",
        Broken::NoDescriptors(_) => "no descriptors",
        Broken::Unsecured(_) => "unsecured",
        Broken::Tls { .. } => "distrusted",
        Broken::Lost { .. } => "lost",
        Broken::Timeout { .. } => "timeout",
        Broken::Malformed(_) => "malformed",
        Broken::Cancelled => "cancelled",
    });
}

/// What left on each connection is jobs, whole but for the last, each as it was given.
fn check_wires(world: &World) {
    let net = world.net.borrow();
    let mut left: BTreeSet<u64> = BTreeSet::new();
    for peer in &world.peers {
        let sealed = world.setup.server.is_some();
        let departed = net.departed(peer.link);
        assert!(
            !sealed || memchr::memmem::find(departed, b"HTTP/1.1").is_none(),
            "plaintext left a connection that has TLS"
        );
        let mut wire = if sealed { &peer.received[..] } else { departed };
        while !wire.is_empty() {
            let line = &wire[..wire.len().min(40)];
            let text = String::from_utf8_lossy(line);
            let mut parts = text.split('/');
            let id = parts.nth(1).filter(|_| parts.next().is_some());
            let Some(id) = id.and_then(|id| id.parse::<u64>().ok()) else {
                let begins = |sent: &Sent| sent.bytes.starts_with(wire);
                assert!(world.sent.values().any(begins), "bytes that are of no job: {text}");
                break;
            };
            assert!(left.insert(id), "job {id} left twice");
            let bytes = &world.sent[&id].bytes;
            let n = bytes.len().min(wire.len());
            assert!(wire[..n] == bytes[..n], "job {id} left changed");
            wire = &wire[n..];
        }
        assert!(net.is_over(peer.link), "a connection was left open");
    }
}

fn check_counters(world: &World, seen: &mut Seen) {
    let get = |counter| world.counters.get(counter);
    assert_eq!(get(Counter::Opened), get(Counter::Closed), "every connection was closed");
    let responses = world.replies.iter().filter(|reply| reply.result.is_ok()).count() as u64;
    if !world.gone {
        let recalled = world.sent.len() as u64 - get(Counter::Jobs);
        assert!(recalled == 0 || world.setup.cancel_ns != u64::MAX);
        assert_eq!(get(Counter::Responses), responses);
        let why = |what: fn(&Broken) -> bool| {
            let broken = world.replies.iter().filter_map(|reply| reply.result.as_ref().err());
            broken.filter(|why| what(why)).count() as u64
        };
        assert_eq!(get(Counter::Timeouts), why(|why| matches!(why, Broken::Timeout { .. })));
        assert_eq!(get(Counter::Lost), why(|why| matches!(why, Broken::Lost { .. })));
        assert_eq!(get(Counter::Malformed), why(|why| matches!(why, Broken::Malformed(_))));
        let cancelled = why(|why| *why == Broken::Cancelled);
        assert_eq!(get(Counter::Cancelled) + recalled, cancelled);
    }
    let departed: usize =
        world.peers.iter().map(|peer| world.net.borrow().departed(peer.link).len()).sum();
    // A farewell may leave half.
    if world.setup.calm && world.setup.server.is_none() {
        assert_eq!(get(Counter::BytesOut), departed as u64);
    }
    for (counter, what) in [
        (Counter::Early, "early"),
        (Counter::Surplus, "surplus"),
        (Counter::ClosedIdle, "closed idle"),
    ] {
        if get(counter) > 0 {
            seen.see(what);
        }
    }
}
