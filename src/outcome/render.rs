//! A tuple as one line of JSON, keys in the order and with the meaning of the reference's tuples.
//!
//! Own keys stand at the end and only where they say something: `attemptErrors` (one entry per attempt, null where it
//! went well), `possibleDuplicate` (true), `notes` (list of words).
//!
//! Where two messages of a tuple have the same body in the same coding, and mostly they have, the second one's text
//! is copied from the first one's: that is most of what a tuple costs.

use std::io::Write;
use std::ops::Range;

use super::content::content;
use super::head::{Facts, Head, Kind};
use super::payload::{self, Missing};
use super::tuple::{Attempt, Message, Reply, TargetRequest, Tuple};

/// Turns tuples into lines.
#[derive(Debug, Clone)]
pub struct Renderer {
    body_bytes_max: usize,
}

impl Renderer {
    /// `body_bytes_max`: how much of a body's content a tuple shows (`--tuple-body-bytes`).
    pub fn new(body_bytes_max: usize) -> Self {
        Self { body_bytes_max }
    }

    /// Appends the tuple and a line end.
    pub fn line(&self, tuple: &Tuple, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"sourceRequest\":");
        let from = out.len();
        let request = self.message(out, Kind::Request, Parts::of(&tuple.source_request), None, &[]);
        let request_text = from..out.len();
        let mut responses: Vec<Shown<'_>> = Vec::new();
        if let Some(reply) = &tuple.source_response {
            out.extend_from_slice(b",\"sourceResponse\":");
            responses.extend(self.response(out, reply, &[]));
        }
        match &tuple.target_request {
            TargetRequest::NotSent => {}
            TargetRequest::AsCaptured => {
                out.extend_from_slice(b",\"targetRequest\":");
                out.extend_from_within(request_text);
            }
            TargetRequest::OtherHead(head) => {
                out.extend_from_slice(b",\"targetRequest\":");
                let parts = Parts { head, ..Parts::of(&tuple.source_request) };
                self.message(out, Kind::Request, parts, None, request.as_slice());
            }
            TargetRequest::Changed(message) => {
                out.extend_from_slice(b",\"targetRequest\":");
                let parts = Parts::of(message);
                self.message(out, Kind::Request, parts, None, request.as_slice());
            }
        }
        out.extend_from_slice(b",\"targetResponses\":[");
        for (at, attempt) in tuple.target_responses.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            self.attempt(out, attempt, &responses);
        }
        out.extend_from_slice(b"],\"connectionId\":");
        payload::string(out, tuple.connection.as_bytes());
        // The id is a string; its closing quote moves behind the number.
        out.pop();
        number(out, format_args!(".{}\"", tuple.index));
        if let Some(error) = &tuple.error {
            out.extend_from_slice(b",\"error\":");
            payload::string(out, error.as_bytes());
        }
        let errors = tuple.target_responses.iter().filter(|attempt| attempt.error.is_some());
        let errors = errors.count();
        let requests = tuple.target_responses.len();
        number(out, format_args!(",\"numRequests\":{requests},\"numErrors\":{errors}"));
        own_keys(out, tuple, errors);
        out.extend_from_slice(b"}\n");
    }

    fn attempt(&self, out: &mut Vec<u8>, attempt: &Attempt, known: &[Shown<'_>]) {
        match (&attempt.reply, &attempt.error) {
            (Some(reply), _) => {
                self.response(out, reply, known);
            }
            (None, error) => exception(out, error.as_deref().unwrap_or("no response")),
        }
    }

    fn response<'a>(
        &self,
        out: &mut Vec<u8>,
        reply: &'a Reply,
        known: &[Shown<'_>],
    ) -> Option<Shown<'a>> {
        self.message(out, Kind::Response, Parts::of(&reply.message), Some(reply.took_ns), known)
    }

    /// Appends a message object; gives back what a later message may copy from.
    fn message<'a>(
        &self,
        out: &mut Vec<u8>,
        kind: Kind,
        message: Parts<'a>,
        took_ns: Option<i64>,
        known: &[Shown<'_>],
    ) -> Option<Shown<'a>> {
        let head = match Head::read(kind, message.head) {
            Ok(head) => head,
            Err(why) => {
                exception(out, why);
                return None;
            }
        };
        let Parts { body, missing, .. } = message;
        let facts = head.facts;
        let like = known
            .iter()
            .find(|shown| shown.facts == facts && shown.missing == missing && shown.body == body);
        if let Some(like) = like {
            let payload = like.payload.clone();
            self.head(out, kind, &head, took_ns, like.decompressed);
            out.extend_from_within(payload);
            out.push(b'}');
            return None;
        }
        let content = content(facts, body, self.body_bytes_max);
        self.head(out, kind, &head, took_ns, content.decompressed);
        let from = out.len();
        payload::write(out, &content, facts.form, missing);
        let decompressed = content.decompressed;
        let shown = Shown { facts, body, missing, decompressed, payload: from..out.len() };
        out.push(b'}');
        Some(shown)
    }

    /// Everything of a message object up to the payload's value.
    #[allow(clippy::unused_self, reason = "reads as one family with the methods above")]
    fn head(
        &self,
        out: &mut Vec<u8>,
        kind: Kind,
        head: &Head<'_>,
        took_ns: Option<i64>,
        decompressed: bool,
    ) {
        out.push(b'{');
        fields(out, head, decompressed);
        let [first, second, third] = head.first_line;
        match kind {
            Kind::Request => {
                entry(out, b"\"Request-URI\":", second);
                entry(out, b"\"Method\":", first);
                entry(out, b"\"HTTP-Version\":", third);
            }
            Kind::Response => {
                entry(out, b"\"HTTP-Version\":", first);
                out.extend_from_slice(b"\"Status-Code\":");
                out.extend_from_slice(second);
                out.push(b',');
                entry(out, b"\"Reason-Phrase\":", third);
                number(
                    out,
                    format_args!("\"response_time_ms\":{},", took_ns.unwrap_or(0) / 1_000_000),
                );
            }
        }
        out.extend_from_slice(b"\"payload\":");
    }
}

/// A message as it is shown.
#[derive(Clone, Copy)]
struct Parts<'a> {
    head: &'a [u8],
    body: &'a [u8],
    missing: Missing,
}

impl<'a> Parts<'a> {
    fn of(message: &'a Message) -> Self {
        let (head, body) = message.bytes.split_at(message.head_bytes.min(message.bytes.len()));
        let missing = Missing(message.wire_bytes.saturating_sub(message.bytes.len() as u64));
        Self { head, body, missing }
    }
}

/// A message whose payload stands in the line already.
struct Shown<'a> {
    facts: Facts,
    body: &'a [u8],
    missing: Missing,
    decompressed: bool,
    payload: Range<usize>,
}

/// Name to list of values, each with a comma behind it. Names that differ in case only are one, called as the first.
fn fields(out: &mut Vec<u8>, head: &Head<'_>, decompressed: bool) {
    let hidden = |name: &[u8]| {
        let undone = decompressed
            && (name.eq_ignore_ascii_case(b"content-encoding")
                || name.eq_ignore_ascii_case(b"content-length"));
        // The keys behind the fields would make these ambiguous; the reference overwrites them too.
        undone || OWN_KEYS.contains(&name)
    };
    for (at, (name, value)) in head.fields.iter().enumerate() {
        let same = |field: &&(&[u8], &[u8])| field.0.eq_ignore_ascii_case(name);
        if hidden(name) || head.fields[..at].iter().any(|field| same(&field)) {
            continue;
        }
        payload::string(out, name);
        out.extend_from_slice(b":[");
        payload::string(out, value);
        for (_, value) in head.fields[at + 1..].iter().filter(same) {
            out.push(b',');
            payload::string(out, value);
        }
        out.extend_from_slice(b"],");
    }
    if decompressed && !head.facts.chunked {
        out.extend_from_slice(b"\"transfer-encoding\":[\"chunked\"],");
    }
}

fn own_keys(out: &mut Vec<u8>, tuple: &Tuple, errors: usize) {
    if errors > 0 {
        out.extend_from_slice(b",\"attemptErrors\":[");
        for (at, attempt) in tuple.target_responses.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            match &attempt.error {
                Some(error) => payload::string(out, error.as_bytes()),
                None => out.extend_from_slice(b"null"),
            }
        }
        out.push(b']');
    }
    if tuple.possible_duplicate {
        out.extend_from_slice(b",\"possibleDuplicate\":true");
    }
    if !tuple.notes.is_empty() {
        out.extend_from_slice(b",\"notes\":[");
        for (at, note) in tuple.notes.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            payload::string(out, note.as_bytes());
        }
        out.push(b']');
    }
}

fn exception(out: &mut Vec<u8>, why: &str) {
    out.extend_from_slice(b"{\"Exception\":");
    payload::string(out, why.as_bytes());
    out.push(b'}');
}

fn entry(out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    out.extend_from_slice(key);
    payload::string(out, value);
    out.push(b',');
}

fn number(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("invariant: writing to memory cannot fail");
}

const OWN_KEYS: [&[u8]; 7] = [
    b"Request-URI",
    b"Method",
    b"HTTP-Version",
    b"Status-Code",
    b"Reason-Phrase",
    b"response_time_ms",
    b"payload",
];
