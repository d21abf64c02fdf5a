//! The checker's account of answers: whose each byte is that a client received, and what the records have of it.
//!
//! Nothing is judged by how it begins. The order is known: to each request in turn the messages that the source set
//! out to send, or tapline's answer to a health check; last, and instead of everything that is still due, perhaps one
//! answer that tapline gives in the source's place. Each of them may be cut by the end of the connection.

use super::{
    check::{Tale, extent},
    client::{Client, Outcome},
    origin::{Kind, Origin},
    script::{self, Request},
    wire::{Head, find},
};

/// What a client received.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// Bytes that are the source's and nobody else's.
    theirs: usize,
    /// Bytes behind these that may as well be the beginning of an answer in the source's place.
    either: usize,
    /// tapline's answer in the source's place, as far as it came.
    instead: Option<Instead>,
}

#[derive(Debug)]
struct Instead {
    bytes: Vec<u8>,
    /// The request that is so answered.
    request: usize,
}

impl Instead {
    /// It refuses what came, instead of saying that the source gave no answer.
    fn refuses(&self) -> bool {
        !is_unanswered(&self.bytes)
    }
}

/// Takes what a client received apart; fails where that cannot be done.
pub(super) fn heard(client: &Client, origin: Option<&Origin>) -> Heard {
    let (received, number) = (&client.received[..], client.number);
    let nothing = (&[][..], &[][..]);
    let (sent, planned) = origin.map_or(nothing, |origin| (&origin.sent[..], &origin.planned[..]));
    let mut planned = planned.iter().peekable();
    let (mut at, mut theirs, mut request) = (0, 0, 0);
    let mut garbled = false;
    'requests: while request < client.requests.len() {
        let asked = &client.requests[request];
        if asked.own {
            let rest = &received[at..];
            let Some(health) = health_answers(asked).into_iter().find(|it| agree(it, rest)) else {
                break;
            };
            at += health.len().min(rest.len());
            request += 1;
            continue;
        }
        loop {
            let Some(message) = planned.next_if(|message| message.to == asked.name) else {
                break 'requests;
            };
            let due = &sent[theirs..sent.len().min(theirs + message.bytes)];
            let rest = &received[at..];
            let same = common(due, rest);
            if same == rest.len() && same < due.len() {
                // All that was received. An answer in this one's place may begin so too.
                let either = if is_instead(rest) { same } else { 0 };
                return Heard { theirs: theirs + same - either, either, instead: None };
            }
            if same < due.len() {
                garbled = message.kind == Kind::Garbage;
                break 'requests;
            }
            (at, theirs) = (at + same, theirs + same);
            let ends = same < message.bytes || !matches!(message.kind, Kind::Whole | Kind::Interim);
            assert!(
                !ends || at == received.len(),
                "I2: client {number} received something behind the end of the source: {}",
                shown(&received[at..])
            );
            if message.kind == Kind::Whole {
                request += 1;
                break;
            }
        }
    }
    let bytes = received[at..].to_vec();
    if bytes.is_empty() {
        return Heard { theirs, either: 0, instead: None };
    }
    assert!(
        is_instead(&bytes),
        "I2: client {number} received what nobody sent, for request {request}: {}",
        shown(&bytes)
    );
    let due = sent.len() > theirs;
    assert!(!due || garbled, "I2: client {number} received an answer in place of another");
    assert!(request < client.requests.len(), "I2: client {number} received an answer to nothing");
    Heard { theirs, either: 0, instead: Some(Instead { bytes, request }) }
}

/// The records have the answers of the source to what they tell, and what was answered in its place, as far as the
/// client received them at least.
pub(super) fn check_told(
    client: &Client,
    origin: Option<&Origin>,
    tale: &Tale,
    heard: &Heard,
    redacts: bool,
) {
    let number = client.number;
    let all = told(client, origin, usize::MAX, redacts);
    let theirs = common(&all.bytes, &tale.writes);
    let mut source = theirs;
    let mut ours = &[][..];
    if theirs < tale.writes.len() {
        // Between two messages, and where they begin alike behind the one before.
        let part = all.ends.iter().rev().find(|end| **end <= theirs);
        source = part.copied().unwrap_or(0);
        ours = &tale.writes[source..];
        let good = is_unanswered(ours) && is_instead(ours) && is_whole(ours);
        assert!(good, "I2: client {number}: other writes: {}", shown(ours));
    }
    let due_of = |len| told(client, origin, len, redacts).bytes.len();
    let (due, most) = (due_of(heard.theirs), due_of(heard.theirs + heard.either));
    assert!(
        due <= source,
        "I4: client {number}: {due} bytes of answers, {source} of them recorded"
    );
    if client.outcome == Some(Outcome::Eof) {
        // Nothing was cut: what is recorded was received.
        assert!(source <= most, "I2: client {number}: recorded and never sent");
        assert!(ours.is_empty() || heard.instead.is_some(), "I2: client {number}: {}", shown(ours));
    }
    // Cut within its status line an answer does not say what it is.
    let Some(instead) = heard.instead.as_ref().filter(|instead| instead.bytes.len() > 11) else {
        return;
    };
    let is_told = !instead.refuses() && stands(client, tale, instead.request);
    assert_eq!(
        !ours.is_empty(),
        is_told,
        "I4: client {number}: {} for request {}, and the records: {}",
        shown(&instead.bytes),
        instead.request,
        shown(ours)
    );
    assert!(!is_told || ours.starts_with(&instead.bytes), "I2: client {number}: another answer");
    assert!(!is_told || due == source, "I2: client {number}: an answer stands elsewhere");
}

/// The head of the request is in the records.
fn stands(client: &Client, tale: &Tale, request: usize) -> bool {
    let Some(asked) = client.requests.get(request) else { return false };
    let mut at = 0;
    for earlier in &client.requests[..request] {
        at += extent(tale, at, earlier);
    }
    !asked.left_out && extent(tale, at, asked) >= asked.head_len
}

/// What the records are to have of what the source sent.
pub(super) struct Told {
    pub(super) bytes: Vec<u8>,
    /// Where its messages end.
    ends: Vec<usize>,
}

/// What the records are to have of the first `len` bytes that the source sent.
pub(super) fn told(client: &Client, origin: Option<&Origin>, len: usize, redacts: bool) -> Told {
    let (mut at, mut bytes, mut ends) = (0, Vec::new(), Vec::new());
    for message in origin.iter().flat_map(|origin| &origin.planned) {
        let sent = origin.map_or(&[][..], |origin| &origin.sent);
        let end = (at + message.bytes).min(len).min(sent.len());
        let left_out = |request: &Request| request.name == message.to && request.left_out;
        if !client.requests.iter().any(left_out) {
            bytes.extend_from_slice(&sent[at.min(end)..end]);
            ends.push(bytes.len());
        }
        at = end;
    }
    if redacts {
        mask_answers(&mut bytes);
    }
    Told { bytes, ends }
}

/// What is hidden of the source's answers.
pub(super) fn mask_answers(bytes: &mut [u8]) {
    script::mask(bytes);
    let marks: Vec<usize> = memchr::memmem::find_iter(bytes, b"X-Hidden: yes\r\n").collect();
    for mark in marks {
        let Some(end) = find(&bytes[mark..], b"\r\n\r\n") else { continue };
        let begin = bytes[..mark].windows(9).rposition(|w| w == b"HTTP/1.1 ").unwrap_or(mark);
        let Some(head) = Head::read(&bytes[begin..]) else { continue };
        let len = head.field("content-length").and_then(|n| n.parse().ok()).unwrap_or(0);
        bytes[mark + end + 4..].iter_mut().take(len).for_each(|byte| *byte = b'#');
    }
}

/// Every answer that tapline may give to a health check.
fn health_answers(request: &Request) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for (status, text) in [("200 OK", "ok"), ("503 Service Unavailable", "draining")] {
        for connection in ["keep-alive", "close"] {
            let body = format!("{{\"status\":\"{text}\"}}\n");
            let answer = format!(
                "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
                 Cache-Control: no-store\r\nConnection: {connection}\r\n\r\n{}",
                body.len(),
                if request.is_head { "" } else { &body },
            );
            all.push(answer.into_bytes());
        }
    }
    all
}

/// An answer in the source's place, perhaps cut short.
fn is_instead(bytes: &[u8]) -> bool {
    let fails = agree(bytes, b"HTTP/1.1 ") && matches!(bytes.get(9), None | Some(b'4' | b'5'));
    let Some(line) = find(bytes, b"\r\n").filter(|_| fails) else {
        return fails && bytes.len() < 60;
    };
    let fields = b"Content-Type: application/json\r\nContent-Length: ";
    if !agree(&bytes[line + 2..], fields) {
        return false;
    }
    let Some(head) = Head::read(bytes) else { return bytes.len() < 300 };
    let body = &bytes[head.len..];
    let len = head.field("content-length").and_then(|n| n.parse().ok()).unwrap_or(0);
    body.len() <= len
        && agree(body, b"{\"error\":{\"reason\":\"")
        && (body.len() < len || find(body, b"\"tapline_").is_some())
        && head.field("connection") == Some("close")
}

/// It says that there is no answer of the source.
fn is_unanswered(bytes: &[u8]) -> bool {
    bytes.starts_with(b"HTTP/1.1 502") || bytes.starts_with(b"HTTP/1.1 503")
}

fn is_whole(bytes: &[u8]) -> bool {
    Head::read(bytes).is_some_and(|head| {
        let len = head.field("content-length").and_then(|n| n.parse::<usize>().ok());
        len == Some(bytes.len() - head.len)
    })
}

/// One begins with the other.
fn agree(a: &[u8], b: &[u8]) -> bool {
    common(a, b) == a.len().min(b.len())
}

/// How far both are the same.
fn common(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

fn shown(bytes: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(&bytes[..bytes.len().min(200)])
}
