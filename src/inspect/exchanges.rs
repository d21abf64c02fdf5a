//! Requests and responses put together again, per connection.
//!
//! Messages end where tapline's own framing says. Where it refuses (the reference reads more
//! leniently than tapline), a request is what lies before its end-of-message observation, and a
//! response what lies before the next read or the close.
//!
//! Memory per connection: [`KEPT_BYTES_MAX`] of an unfinished message in each direction, a head of
//! at most `Limits::head_bytes_max` in each, and [`WAITING_MAX`] bytes for requests without answer.
//! Between messages it is a few hundred bytes. What is beyond is counted and not shown.

use std::{
    collections::{BTreeMap, VecDeque},
    io::{self, Write},
    mem,
};

use super::{
    source::Place,
    text::{Moment, as_text, data, first_line, printable},
};
use crate::{
    http::{
        Answering, Eof, Limits, Method, RequestFraming, RequestPart, ResponseFraming, ResponsePart,
    },
    proto::{Capture, TrafficStream},
};

/// The connections that are open in the records.
#[derive(Default)]
pub(super) struct Exchanges {
    open: BTreeMap<String, Conversation>,
    limits: Limits,
}

impl Exchanges {
    /// Takes a record in and prints what it completes.
    pub(super) fn print(
        &mut self,
        out: &mut dyn Write,
        place: Place,
        stream: &TrafficStream,
    ) -> io::Result<()> {
        let node = printable(stream.node_id.as_bytes());
        let name = format!("{node}.{}", printable(stream.connection_id.as_bytes()));
        let conversation = self.open.entry(name.clone()).or_default();
        let mut page = Page { out, name: &name };
        let mut closed = stream.number().1;
        for seen in &stream.sub_stream {
            let at = At { place, time: seen.ts.map_or(EPOCH, Moment::from) };
            match &seen.capture {
                Some(Capture::EndOfMessage(_)) => conversation.end_of_request(&mut page)?,
                Some(Capture::RequestDropped(_)) => conversation.dropped(&mut page, at)?,
                Some(Capture::ConnectionException(exception)) => {
                    let message = printable(exception.message.as_bytes());
                    page.event(at, &format!("EXCEPTION {message}"))?;
                }
                Some(Capture::Close(_) | Capture::Disconnect(_)) => {
                    conversation.finish(&mut page)?;
                    page.event(at, &format!("CLOSED ({} requests)", conversation.requests_done))?;
                    closed = true;
                }
                Some(capture) => match data(capture) {
                    Some((true, bytes)) => {
                        conversation.read(&self.limits, &mut page, at, bytes)?;
                    }
                    Some((false, bytes)) => {
                        conversation.write(&self.limits, &mut page, at, bytes)?;
                    }
                    None => {}
                },
                None => {}
            }
        }
        if closed {
            conversation.finish(&mut page)?;
            self.open.remove(&name);
        }
        Ok(())
    }

    /// Prints what is unfinished at the end of the records.
    pub(super) fn finish(&mut self, out: &mut dyn Write) -> io::Result<()> {
        for (name, mut conversation) in mem::take(&mut self.open) {
            conversation.finish(&mut Page { out, name: &name })?;
        }
        Ok(())
    }
}

/// One connection.
// Independent facts, each of one direction.
#[allow(clippy::struct_excessive_bools)]
#[derive(Default)]
struct Conversation {
    requests: RequestFraming,
    request: Message,
    /// The framing refused the request: it ends with its observation.
    request_unframed: bool,
    /// What the request of which the head was last read wants for an answer.
    asked: Option<Answering>,
    /// Requests that the framing ended and no end-of-message observation has yet.
    ahead: u32,
    requests_done: u64,
    responses: ResponseFraming,
    response: Message,
    response_unframed: bool,
    interim: bool,
    /// The connection speaks another protocol now.
    upgraded: bool,
    waiting: VecDeque<Answering>,
}

impl Conversation {
    fn read(
        &mut self,
        limits: &Limits,
        page: &mut Page<'_>,
        at: At,
        mut bytes: &[u8],
    ) -> io::Result<()> {
        if self.response_unframed && !self.upgraded {
            self.end_of_response(page, "")?;
        }
        while !bytes.is_empty() {
            let piece =
                if self.request_unframed { None } else { self.requests.next(limits, bytes).ok() };
            let Some(piece) = piece else {
                self.request_unframed = true;
                self.request.push(at, bytes);
                return Ok(());
            };
            let (taken, rest) = bytes.split_at(piece.len);
            self.request.push(at, taken);
            if let RequestPart::Head(head) = piece.what {
                let head_only = head.method == Method::Head;
                self.asked = Some(if head_only { Answering::Head } else { Answering::Other });
            }
            if piece.end {
                self.ahead += 1;
                self.request_done(page, "")?;
            }
            bytes = rest;
        }
        Ok(())
    }

    fn write(
        &mut self,
        limits: &Limits,
        page: &mut Page<'_>,
        at: At,
        mut bytes: &[u8],
    ) -> io::Result<()> {
        while !bytes.is_empty() {
            let asked = self.waiting.front().copied().unwrap_or(Answering::Other);
            let piece = if self.response_unframed {
                None
            } else {
                self.responses.next(limits, asked, bytes).ok()
            };
            let Some(piece) = piece else {
                self.response_unframed = true;
                self.response.push(at, bytes);
                return Ok(());
            };
            let (taken, rest) = bytes.split_at(piece.len);
            self.response.push(at, taken);
            if let ResponsePart::Head(head) = piece.what {
                self.interim = head.interim;
                if head.upgraded {
                    self.end_of_response(page, "")?;
                    self.upgraded = true;
                    self.request_unframed = true;
                    self.response_unframed = true;
                }
            }
            if piece.end && !self.upgraded {
                self.end_of_response(page, "")?;
            }
            bytes = rest;
        }
        Ok(())
    }

    /// An end-of-message observation. One that belongs to a request that was printed says nothing
    /// new; another one ends a request in which the framing saw no end.
    fn end_of_request(&mut self, page: &mut Page<'_>) -> io::Result<()> {
        if self.request.bytes == 0 {
            self.ahead = 0;
        } else if self.ahead > 0 {
            self.ahead -= 1;
        } else if !self.upgraded {
            self.request_done(page, "")?;
            self.requests = RequestFraming::new();
            self.request_unframed = false;
        }
        Ok(())
    }

    fn dropped(&mut self, page: &mut Page<'_>, at: At) -> io::Result<()> {
        self.requests = RequestFraming::new();
        self.request = Message::default();
        self.request_unframed = self.upgraded;
        self.asked = None;
        self.ahead = 0;
        page.event(at, "DROPPED")
    }

    fn request_done(&mut self, page: &mut Page<'_>, note: &str) -> io::Result<()> {
        self.requests_done += 1;
        let asked = self.asked.take().unwrap_or(Answering::Other);
        if self.waiting.len() < WAITING_MAX {
            self.waiting.push_back(asked);
        }
        page.message("REQ", &mem::take(&mut self.request), note)
    }

    fn end_of_response(&mut self, page: &mut Page<'_>, note: &str) -> io::Result<()> {
        if mem::take(&mut self.response_unframed) {
            self.responses = ResponseFraming::new();
            self.interim = false;
        }
        if !mem::take(&mut self.interim) {
            self.waiting.pop_front();
        }
        page.message("RSP", &mem::take(&mut self.response), note)
    }

    /// The connection or the records are over.
    fn finish(&mut self, page: &mut Page<'_>) -> io::Result<()> {
        if self.request.bytes > 0 {
            let note = if self.upgraded { "" } else { " (incomplete)" };
            self.request_done(page, note)?;
        }
        if self.response.bytes > 0 {
            let whole = self.response_unframed || self.responses.eof() == Eof::Complete;
            self.end_of_response(page, if whole { "" } else { " (incomplete)" })?;
        }
        Ok(())
    }
}

/// Where and when something was seen.
#[derive(Clone, Copy, Debug)]
struct At {
    place: Place,
    time: Moment,
}

/// A message that is being put together.
#[derive(Debug, Default)]
struct Message {
    bytes: u64,
    kept: Vec<u8>,
    begun: Option<At>,
    last: Option<Moment>,
}

impl Message {
    fn push(&mut self, at: At, bytes: &[u8]) {
        self.begun.get_or_insert(at);
        self.last = Some(at.time);
        self.bytes += bytes.len() as u64;
        let room = KEPT_BYTES_MAX - self.kept.len();
        self.kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }
}

/// Where the blocks of one connection go.
struct Page<'a> {
    out: &'a mut dyn Write,
    name: &'a str,
}

impl Page<'_> {
    /// A head line, then the message indented by four blanks.
    fn message(&mut self, kind: &str, message: &Message, note: &str) -> io::Result<()> {
        let Some(begun) = message.begun else { return Ok(()) };
        // Empty lines before a request belong to it and say nothing.
        let kept = &message.kept;
        let start = kept.iter().position(|byte| !matches!(byte, b'\r' | b'\n')).unwrap_or(0);
        let line = first_line(&kept[start..]);
        let lasted = message.last.map_or(0.0, |last| seconds_between(begun.time, last));
        self.event(begun, &format!("{kind}[{}] {lasted:.3}s{note} {line}", message.bytes))?;
        let (head, body) = kept.split_at(head_end(kept));
        self.block(&String::from_utf8_lossy(head))?;
        match as_text(cut_at_a_character(body)) {
            Some(text) => self.block(text)?,
            None => writeln!(self.out, "    <{} bytes that are not text>", body.len())?,
        }
        match message.bytes - kept.len() as u64 {
            0 => Ok(()),
            more => writeln!(self.out, "    <{more} more bytes>"),
        }
    }

    fn block(&mut self, text: &str) -> io::Result<()> {
        for line in text.lines() {
            let shown: String =
                line.chars().map(|c| if c.is_control() { '.' } else { c }).collect();
            writeln!(self.out, "    {shown}")?;
        }
        Ok(())
    }

    fn event(&mut self, at: At, text: &str) -> io::Result<()> {
        write!(self.out, "{} ", at.time)?;
        match at.place {
            Place::Kafka { partition, offset } => write!(self.out, "p:{partition} o:{offset}")?,
            Place::Log { sequence, .. } => write!(self.out, "s:{sequence}")?,
        }
        writeln!(self.out, " nc:{}: {text}", self.name)
    }
}

/// Length of the head with its blank line; all of it when there is none.
fn head_end(bytes: &[u8]) -> usize {
    memchr::memmem::find(bytes, b"\r\n\r\n").map_or(bytes.len(), |at| at + 4)
}

/// What the bound cut in the middle of a character is no reason to call text something else.
fn cut_at_a_character(bytes: &[u8]) -> &[u8] {
    match std::str::from_utf8(bytes) {
        Err(error) if error.error_len().is_none() => &bytes[..error.valid_up_to()],
        _ => bytes,
    }
}

fn seconds_between(first: Moment, last: Moment) -> f64 {
    let seconds = last.seconds.saturating_sub(first.seconds) as f64;
    seconds + f64::from(last.nanos - first.nanos) / 1e9
}

const EPOCH: Moment = Moment { seconds: 0, nanos: 0 };
/// Bytes of an unfinished message that are kept, and shown.
const KEPT_BYTES_MAX: usize = 64 << 10;
/// Requests without an answer of which the kind is remembered; the answers of more are read as
/// those of other requests than HEAD.
const WAITING_MAX: usize = 1024;
