//! The golden captures of the reference proxy, played against tapline.
//!
//! Each scenario must give the same conversation as the reference recorded, except where
//! [`DEVIATIONS`] says that it must not; what it gives there is written down just as exactly.

mod conversation;
mod player;
pub(crate) mod vectors;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use prost::Message;
use tapline::proto::TrafficStream;

use conversation::Conversation;
use player::Played;
use vectors::Scenario;

/// A scenario that is to come out unlike the reference's capture. What is `None` must be the same.
struct Deviation {
    scenario: &'static str,
    why: &'static str,
    /// The option of the reference that makes the scenario is not in this version: everything is
    /// captured and forwarded as it was sent.
    not_in_this_version: bool,
    /// The turns of our only connection; `""`: no record at all; `write *`: tapline's own answer.
    turns: Option<&'static str>,
    /// What the source receives: nothing.
    kept_from_source: bool,
    /// How what the client receives begins.
    answer: Option<&'static str>,
}

#[test]
fn every_golden_conversation_is_captured_alike_or_knowingly_not() {
    let Some(dir) = vectors::directory() else {
        println!("left out: there are no golden captures beside this repository");
        return;
    };
    let names = vectors::names(&dir);
    assert!(!names.is_empty(), "the directory of the golden captures holds scenarios");
    let mut failures: Vec<String> = DEVIATIONS
        .iter()
        .filter(|deviation| !names.iter().any(|name| name == deviation.scenario))
        .map(|deviation| format!("{}: there is no such scenario", deviation.scenario))
        .collect();
    let (next, found) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..LANES {
            scope.spawn(|| {
                while let Some(name) = names.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let deviation = DEVIATIONS.iter().find(|entry| entry.scenario == name);
                    let judged = catch_unwind(AssertUnwindSafe(|| judge(&dir, name, deviation)));
                    let complaints = judged.unwrap_or_else(|panic| vec![text_of(&*panic)]);
                    let complaints = complaints.iter().map(|text| format!("{name}: {text}"));
                    found.lock().unwrap().extend(complaints);
                }
            });
        }
    });
    failures.extend(found.into_inner().unwrap());
    failures.sort();
    assert!(failures.is_empty(), "{} findings:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn every_record_of_the_reference_is_understood() {
    let Some(dir) = vectors::directory() else {
        println!("left out: there are no golden captures beside this repository");
        return;
    };
    let mut count = 0;
    for name in vectors::names(&dir) {
        for run in ["file", "kafka"] {
            for (key, bytes) in vectors::lines(&dir, &name, run) {
                let record = TrafficStream::decode(&bytes[..])
                    .unwrap_or_else(|error| panic!("{name}, {run}: {error}"));
                assert_eq!(record.connection_id, key, "{name}, {run}: the key");
                assert_eq!(record.provenance, None, "{name}, {run}: our field in another's record");
                // Nothing in it is unknown to us: the other order of the fields changes no length.
                assert_eq!(record.encoded_len(), bytes.len(), "{name}, {run}: {record:?}");
                let again = TrafficStream::decode(&record.encode_to_vec()[..]);
                assert_eq!(again.as_ref(), Ok(&record), "{name}, {run}");
                count += 1;
            }
        }
    }
    println!("{count} records decoded");
    assert!(count > 0);
}

#[test]
fn a_table_that_is_not_true_is_noticed() {
    let Some(dir) = vectors::directory() else {
        println!("left out: there are no golden captures beside this repository");
        return;
    };
    let same = "read 78, end 26+47, write 1091, close";
    let entries = [
        turns("get-simple", "claims a difference of the records", same),
        turns("get-simple", "claims other records than we have", ""),
        refused("get-simple", "claims a refusal", same),
        not_yet("get-simple", "claims that an option is missing"),
    ];
    for entry in &entries {
        let complaints = judge(&dir, entry.scenario, Some(entry));
        assert!(!complaints.is_empty(), "{}", entry.why);
    }
    for name in ["http10", "set-header", "suppressed-all"] {
        assert!(!judge(&dir, name, None).is_empty(), "{name} differs without being on the table");
    }
}

/// Plays one scenario; what is not as it should be.
fn judge(dir: &Path, name: &str, deviation: Option<&Deviation>) -> Vec<String> {
    let mut scenario = Scenario::load(dir, name);
    let decode = |(_, bytes): (_, Vec<u8>)| TrafficStream::decode(&bytes[..]).unwrap();
    let reference: Vec<_> = vectors::lines(dir, name, "kafka").into_iter().map(decode).collect();
    let reference = Conversation::all(&reference).unwrap_or_else(|rule| {
        panic!("the reference's records are not as this test reads: {rule}")
    });
    let reached_there = scenario.reached.clone();
    if deviation.is_some_and(|deviation| deviation.not_in_this_version) {
        scenario = scenario.without_options();
    }
    let cut_off = deviation.is_some_and(|deviation| deviation.kept_from_source);
    let played = player::play(&scenario, cut_off);
    let ours = match Conversation::all(&played.records) {
        Ok(ours) => ours,
        Err(rule) => return vec![format!("our records: {rule}")],
    };

    let mut complaints = Vec::new();
    match deviation {
        Some(deviation) => {
            println!("{name}: {}", deviation.why);
            deviates(&scenario, deviation, &reference, &ours, &played, &mut complaints);
            if is_idle(deviation, &reference, (&reached_there, &scenario.received), &ours, &played)
            {
                complaints.push("comes out as the reference's; take it off the table".into());
            }
        }
        None if ours != reference => complaints.push(difference(&reference, &ours)),
        None => {}
    }
    let reached = scenario.reached.iter().filter(|bytes| !bytes.is_empty());
    if cut_off {
        let bytes: usize = played.reached.iter().map(Vec::len).sum();
        if bytes > 0 {
            complaints.push(format!("the source received {bytes} bytes and should have none"));
        }
    } else if !reached.eq(&played.reached) {
        complaints.push(format!("the source received {}", shown(&played.reached)));
    }
    if deviation.is_none_or(|deviation| deviation.answer.is_none())
        && played.received != scenario.received
    {
        complaints.push(format!("the clients received {}", shown(&played.received)));
    }
    complaints
}

fn deviates(
    scenario: &Scenario,
    deviation: &Deviation,
    reference: &[Conversation],
    ours: &[Conversation],
    played: &Played,
    complaints: &mut Vec<String>,
) {
    let plain;
    let expected = if deviation.not_in_this_version {
        plain = Conversation::plain(scenario);
        &plain[..]
    } else {
        reference
    };
    match deviation.turns {
        None if ours != expected => complaints.push(difference(expected, ours)),
        None => {}
        Some(turns) => {
            let written = ours.first().map_or(0, |conversation| conversation.written.len());
            let turns = turns.replace("write *", &format!("write {written}"));
            let shapes = shapes(ours);
            if shapes != turns {
                complaints.push(format!("\n  table {turns}\n  ours  {shapes}"));
            }
            for (number, conversation) in ours.iter().enumerate() {
                if !scenario.sent[number].starts_with(&conversation.read) {
                    complaints.push("we recorded reads that nobody sent".into());
                }
                let received = &played.received[number];
                let gone = received.is_empty() || conversation.written.is_empty();
                if !gone && conversation.written != *received {
                    complaints.push("we recorded other writes than the client received".into());
                }
            }
        }
    }
    if let Some(answer) = deviation.answer
        && !played.received[0].starts_with(answer.as_bytes())
    {
        complaints.push(format!("the client received {}", shown(&played.received)));
    }
}

/// Whether nothing deviates in truth, in one of the ways the entry claims.
fn is_idle(
    deviation: &Deviation,
    reference: &[Conversation],
    (reached_there, received_there): (&[Vec<u8>], &[Vec<u8>]),
    ours: &[Conversation],
    played: &Played,
) -> bool {
    let same_reached = reached_there.iter().filter(|bytes| !bytes.is_empty()).eq(&played.reached);
    (deviation.turns.is_some() && shapes(reference) == shapes(ours))
        || (deviation.not_in_this_version && same_reached && reference == ours)
        || (deviation.kept_from_source && same_reached)
        || (deviation.answer.is_some() && played.received == *received_there)
}

fn difference(expected: &[Conversation], ours: &[Conversation]) -> String {
    let same = shapes(expected) == shapes(ours);
    let content = if same { " (the same turns, other bytes)" } else { "" };
    format!("{content}\n  expected {}\n  ours     {}", shapes(expected), shapes(ours))
}

fn shapes(all: &[Conversation]) -> String {
    all.iter().map(Conversation::shape).collect::<Vec<_>>().join(" / ")
}

fn shown(all: &[Vec<u8>]) -> String {
    let one = |bytes: &Vec<u8>| {
        let start = bytes[..bytes.len().min(100)].escape_ascii();
        format!("{} bytes: {start}", bytes.len())
    };
    all.iter().map(one).collect::<Vec<_>>().join(" / ")
}

fn text_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic").to_owned()
}

/// Scenarios played side by side.
const LANES: usize = 4;

const DEVIATIONS: &[Deviation] = &[
    refused("bare-lf", BARE_LF, "exception, close, refused bare_lf"),
    refused("header-shapes", FOLDED, "exception, close, refused obs_fold"),
    refused("malformed-request-line", NO_VERSION, "exception, close, refused http_0_9"),
    turns(
        "client-close-mid-response",
        "a FIN may come from a client that still waits, so the answer is passed on and only its \
         reset ends the connection; the reference takes a FIN for the end",
        "read 73, end 18+47, write 83, exception, close",
    ),
    Deviation {
        answer: Some("HTTP/1.1 502 Bad Gateway\r\n"),
        ..turns(
            "destination-refused",
            "the client is told, and the record says what it asked for and that nobody got it; \
             the reference closes without a word",
            "read 70, end 15+47, write *, exception, close, undelivered 1",
        )
    },
    turns(
        "long-request-line",
        "the request line may have 8 KiB; the reference loses track behind 4 KiB and its replayer \
         never sends such a request, nor any behind it",
        "read 5051, end 4996+47, write 5096, read 74, end 19+47, write 117, close",
    ),
    turns("no-bytes", "a connection without a byte (a TCP health check) leaves no record", ""),
    turns(
        "pipelined-two-gets",
        "each request has its own end; the reference gives requests that come in one segment a \
         single end, that of the last",
        "read 74, end 19+47, read 82, end 27+47, write 242, close",
    ),
    turns("http10", EMPTY_WRITE, "read 43, end 17+20, write 115, close"),
    turns("response-connection-close", EMPTY_WRITE, "read 74, end 19+47, write 102, close"),
    turns("response-until-close", EMPTY_WRITE, "read 80, end 25+47, write 89, close"),
    turns("server-close-mid-response", EMPTY_WRITE, "read 72, end 17+47, write 167, close"),
    not_yet("set-header", "no option that rewrites header fields"),
    not_yet("suppressed-all", "no option that keeps requests out of the capture"),
    not_yet("suppressed-header", "no option that keeps requests out of the capture"),
    not_yet("suppressed-method", "no option that keeps requests out of the capture"),
];

const BARE_LF: &str = "two parsers may read a bare LF differently (RFC 9112 section 2.2), so it is \
                       refused; the reference passes it on";
const FOLDED: &str = "a folded field is refused, as RFC 9112 section 5.2 asks of a server; the \
                      reference passes it on";
const NO_VERSION: &str = "a request line without a version is refused; the reference passes it on \
                          and records no further request of the connection";
const EMPTY_WRITE: &str = "the reference records an empty write when the source closes first; \
                           nothing was written, so there is none here";

/// Refused by tapline, answered by itself, and never seen by the source.
const fn refused(scenario: &'static str, why: &'static str, turns: &'static str) -> Deviation {
    let (turns, answer) = (Some(turns), Some("HTTP/1.1 400 Bad Request\r\n"));
    Deviation { scenario, why, not_in_this_version: false, turns, kept_from_source: true, answer }
}

/// Recorded differently.
const fn turns(scenario: &'static str, why: &'static str, turns: &'static str) -> Deviation {
    Deviation {
        scenario,
        why,
        not_in_this_version: false,
        turns: Some(turns),
        kept_from_source: false,
        answer: None,
    }
}

/// Played without the option it is about.
const fn not_yet(scenario: &'static str, why: &'static str) -> Deviation {
    Deviation {
        scenario,
        why,
        not_in_this_version: true,
        turns: None,
        kept_from_source: false,
        answer: None,
    }
}
