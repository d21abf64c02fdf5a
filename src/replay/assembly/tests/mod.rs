//! Records in, requests and answers out.

use std::collections::{HashMap, HashSet};

use prost::Message;

use super::*;
use crate::{
    http,
    proto::{self, Capture, Index, Provenance, TrafficObservation, TrafficStream},
    replay::exchange::{ExchangeId, Request},
};

mod arriving;
mod conversations;
mod expiry;
mod golden;
mod matching;
mod patterns;

pub(super) const SECOND: i64 = 1_000_000_000;

pub(super) fn limits() -> Limits {
    Limits {
        http: http::Limits::default(),
        request_bytes_max: 4 << 20,
        answer_bytes_max: 4 << 20,
        keep_answers: KeepAnswers::All,
        connection_timeout_ns: 300 * SECOND,
        duplicates_window: 4096,
    }
}

/// An assembly, its pins, and everything that came out.
pub(super) struct Run {
    pub(super) assembly: Assembly,
    pins: Pins,
    read: HashMap<u32, u64>,
    pub(super) events: Vec<Event>,
    /// What is held for the caller.
    held: HashMap<ExchangeId, Mark>,
}

impl Run {
    pub(super) fn new() -> Self {
        Self::with(limits())
    }

    pub(super) fn with(limits: Limits) -> Self {
        Self {
            assembly: Assembly::new(limits),
            pins: Pins::default(),
            read: HashMap::new(),
            events: Vec::new(),
            held: HashMap::new(),
        }
    }

    pub(super) fn feed(&mut self, record: &[u8]) -> &mut Self {
        self.feed_to(0, record)
    }

    pub(super) fn feed_to(&mut self, lane: u32, record: &[u8]) -> &mut Self {
        let view = RecordView::parse(record).unwrap();
        let number = self.read.entry(lane).or_default();
        let mark = Mark { lane, number: *number };
        *number += 1;
        self.pins.read(mark);
        self.with_events(|assembly, pins, out| assembly.record(mark, &view, pins, out));
        self
    }

    pub(super) fn feed_all(&mut self, records: &[Vec<u8>]) -> &mut Self {
        for record in records {
            self.feed(record);
        }
        self
    }

    pub(super) fn with_events<R>(
        &mut self,
        act: impl FnOnce(&mut Assembly, &mut Pins, &mut Vec<Event>) -> R,
    ) -> R {
        let from = self.events.len();
        let result = act(&mut self.assembly, &mut self.pins, &mut self.events);
        for event in &self.events[from..] {
            if let Event::Request(request) = event {
                assert_eq!(self.held.insert(request.id, request.mark), None);
                check_request(request);
            }
        }
        assert_eq!(self.assembly.bytes(), self.assembly.recount(), "the account of memory");
        result
    }

    pub(super) fn drop_lane(&mut self, lane: u32) {
        self.with_events(|assembly, pins, out| assembly.drop_lane(lane, pins, out));
    }

    /// The records are over: nothing may be held beyond the requests that came out, each of which has one outcome.
    pub(super) fn end(&mut self) -> &mut Self {
        self.with_events(Assembly::end);
        assert_eq!(self.assembly.bytes(), 0);
        assert_eq!(self.assembly.conversations(), 0);
        for (_, mark) in self.held.drain() {
            self.pins.release(mark);
        }
        for lane in self.read.keys() {
            assert_eq!(self.pins.held(*lane), 0, "lane {lane}");
        }
        let (mut settled, mut arriving) = (HashMap::new(), HashSet::new());
        for event in &self.events {
            match event {
                Event::Arriving { connection, .. } => assert!(arriving.insert(*connection)),
                Event::Arrived { connection } => assert!(arriving.remove(connection)),
                Event::Request(request) => assert_eq!(settled.insert(request.id, 0), None),
                Event::Answer { id, .. }
                | Event::Unanswered { id, .. }
                | Event::Undelivered { id }
                | Event::Forgotten { id } => {
                    *settled.get_mut(id).expect("it was there before") += 1;
                }
                Event::ConnectionEnded { .. } | Event::Trouble(_) => {}
            }
        }
        assert!(arriving.is_empty(), "{arriving:?}");
        assert!(settled.values().all(|times| *times == 1), "each once: {:?}", self.told());
        self
    }

    pub(super) fn requests(&self) -> Vec<&Request> {
        let requests = self.events.iter().filter_map(|event| match event {
            Event::Request(request) => Some(request),
            _ => None,
        });
        requests.collect()
    }

    /// Everything that came out, in words.
    pub(super) fn told(&self) -> Vec<String> {
        self.events.iter().map(tell).collect()
    }
}

fn tell(event: &Event) -> String {
    match event {
        Event::Request(request) => {
            let line = request.bytes.trim_ascii_start().split(|byte| *byte == b' ');
            let target = line.skip(1).take(1).map(String::from_utf8_lossy).collect::<String>();
            format!("request {} {target}", request.id.0)
        }
        Event::Answer { id, answer } => format!("answer {} {}", id.0, answer.status),
        Event::Unanswered { id, why } => format!("unanswered {} {why:?}", id.0),
        Event::Undelivered { id } => format!("undelivered {}", id.0),
        Event::Forgotten { id } => format!("forgotten {}", id.0),
        Event::Arriving { connection, .. } => format!("arriving {}", connection.0),
        Event::Arrived { connection } => format!("arrived {}", connection.0),
        Event::ConnectionEnded { connection, .. } => format!("ended {}", connection.0),
        Event::Trouble(trouble) => trouble.kind.label().to_owned(),
    }
}

/// Whatever comes out is one request by tapline's own framing, and its head says so.
fn check_request(request: &Request) {
    let mut framing = http::RequestFraming::new();
    let (mut at, mut head, mut end) = (0, None, false);
    while !end {
        assert!(at < request.bytes.len(), "a truncated request");
        let piece = framing.next(&http::Limits::default(), &request.bytes[at..]).unwrap();
        if let http::RequestPart::Head(found) = piece.what {
            head = Some(found);
        }
        (at, end) = (at + piece.len, piece.end);
    }
    assert_eq!(at, request.bytes.len(), "more than one request");
    assert_eq!(head, Some(request.head));
}

/// What the tests write records with: the words of the reference's own tests.
#[derive(Clone, Debug)]
pub(super) enum Op {
    R(Vec<u8>),
    RSeg(Vec<u8>),
    W(Vec<u8>),
    WSeg(Vec<u8>),
    SegEnd,
    Eom,
    Drop,
    Exc,
    Close,
    /// The record ends here.
    Flush,
}

/// The records of a connection as the reference's serializer makes them; `origin` adds a provenance.
pub(super) struct Writer {
    connection: String,
    pub(super) at_ns: i64,
    number: i32,
    eoms: i32,
    reading: bool,
    open: Option<TrafficStream>,
    origin: Option<(u64, u64)>,
}

impl Writer {
    pub(super) fn new(connection: &str) -> Self {
        Self {
            connection: connection.into(),
            at_ns: 1_000 * SECOND,
            number: 0,
            eoms: 0,
            reading: false,
            open: None,
            origin: None,
        }
    }

    pub(super) fn of(mut self, incarnation: u64, sequence: u64) -> Self {
        self.origin = Some((incarnation, sequence));
        self
    }

    /// The records that `ops` make; what is open at the end is flushed.
    pub(super) fn records(&mut self, ops: &[Op]) -> Vec<Vec<u8>> {
        let mut records = Vec::new();
        for op in ops {
            let data = |data: &Vec<u8>| proto::Data { data: data.clone() };
            let part = |data: &Vec<u8>| proto::SegmentData { data: data.clone() };
            let capture = match op {
                Op::R(bytes) => Capture::Read(data(bytes)),
                Op::RSeg(bytes) => Capture::ReadSegment(part(bytes)),
                Op::W(bytes) => Capture::Write(data(bytes)),
                Op::WSeg(bytes) => Capture::WriteSegment(part(bytes)),
                Op::SegEnd => Capture::SegmentEnd(proto::Empty {}),
                Op::Eom => Capture::EndOfMessage(proto::EndOfMessage::default()),
                Op::Drop => Capture::RequestDropped(proto::Empty {}),
                Op::Exc => Capture::ConnectionException(proto::ConnectionException::default()),
                Op::Close => Capture::Close(proto::Empty {}),
                Op::Flush => {
                    records.extend(self.flush(false, |_| {}));
                    continue;
                }
            };
            self.see(capture);
            match op {
                Op::R(_) | Op::RSeg(_) => self.reading = true,
                Op::Eom => {
                    self.reading = false;
                    self.eoms += 1;
                }
                Op::Drop => self.reading = false,
                _ => {}
            }
        }
        let last = matches!(ops.last(), Some(Op::Close));
        records.extend(self.flush(last, |_| {}));
        records
    }

    fn see(&mut self, capture: Capture) {
        let (eoms, reading) = (self.eoms, self.reading);
        let open = self.open.get_or_insert_with(|| TrafficStream {
            connection_id: self.connection.clone(),
            node_id: "node".into(),
            prior_requests_received: (eoms > 0).then_some(eoms),
            last_observation_was_unterminated_read: reading.then_some(true),
            ..TrafficStream::default()
        });
        self.at_ns += 1_000_000;
        let ts =
            proto::Timestamp { seconds: self.at_ns / SECOND, nanos: (self.at_ns % SECOND) as i32 };
        open.sub_stream.push(TrafficObservation { ts: Some(ts), capture: Some(capture) });
    }

    pub(super) fn flush(
        &mut self,
        last: bool,
        note: impl FnOnce(&mut Provenance),
    ) -> Option<Vec<u8>> {
        let mut record = self.open.take()?;
        self.number += 1;
        record.index = Some(if last {
            Index::NumberOfThisLastChunk(self.number)
        } else {
            Index::Number(self.number)
        });
        if let Some((incarnation, sequence)) = &mut self.origin {
            let mut origin = Provenance {
                incarnation: *incarnation,
                worker: 1,
                sequence: *sequence,
                ..Provenance::default()
            };
            *sequence += 1;
            note(&mut origin);
            record.provenance = Some(origin);
        }
        Some(record.encode_to_vec())
    }

    /// The records of `ops`, the last of them with notes.
    pub(super) fn noted(&mut self, ops: &[Op], note: impl FnOnce(&mut Provenance)) -> Vec<u8> {
        let open = self.records_open(ops);
        assert!(open.is_empty(), "one record");
        let last = matches!(ops.last(), Some(Op::Close));
        self.flush(last, note).expect("something was seen")
    }

    fn records_open(&mut self, ops: &[Op]) -> Vec<Vec<u8>> {
        let mut copy = Self { origin: None, open: self.open.take(), ..Self::new(&self.connection) };
        (copy.at_ns, copy.number) = (self.at_ns, self.number);
        (copy.eoms, copy.reading) = (self.eoms, self.reading);
        for op in ops {
            assert!(!matches!(op, Op::Flush));
        }
        let records = copy.records(ops);
        self.at_ns = copy.at_ns;
        (self.eoms, self.reading) = (copy.eoms, copy.reading);
        self.open = records.first().map(|record| TrafficStream::decode(&record[..]).unwrap());
        Vec::new()
    }
}

pub(super) fn get(target: &str) -> Vec<u8> {
    format!("GET {target} HTTP/1.1\r\nHost: s\r\n\r\n").into_bytes()
}

pub(super) fn put(target: &str, body: &str) -> Vec<u8> {
    let len = body.len();
    format!("PUT {target} HTTP/1.1\r\nHost: s\r\nContent-Length: {len}\r\n\r\n{body}").into_bytes()
}

pub(super) fn ok(body: &str) -> Vec<u8> {
    status(200, body)
}

pub(super) fn status(status: u16, body: &str) -> Vec<u8> {
    let len = body.len();
    format!("HTTP/1.1 {status} X\r\nContent-Length: {len}\r\n\r\n{body}").into_bytes()
}

/// The events of one connection's records, read in one go.
pub(super) fn told(ops: &[Op]) -> Vec<String> {
    let mut run = Run::new();
    run.feed_all(&Writer::new("c").records(ops)).end();
    run.told()
}
