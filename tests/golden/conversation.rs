//! What records say of one connection, without what no two captures have in common: time stamps,
//! names, and where the network cut the bytes.
//!
//! Putting a connection together also checks what must hold for the records of any capture proxy.

use std::collections::BTreeMap;
use std::fmt;

use tapline::proto::{Capture, TrafficStream};

use super::vectors::{Event, Scenario};

/// One connection.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Conversation {
    /// What the client sent.
    pub(crate) read: Vec<u8>,
    /// What the client was sent.
    pub(crate) written: Vec<u8>,
    /// What happened, in order.
    pub(crate) turns: Vec<Turn>,
}

/// Neighbouring reads, and writes, are one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Turn {
    Read(usize),
    /// A request is complete. `alone`: nothing else stands behind it in its record, looked at only
    /// for requests that change something.
    End {
        line: i32,
        fields: i32,
        alone: bool,
    },
    Write(usize),
    EmptyWrite,
    Dropped,
    Exception,
    Close,
    /// Of tapline's own field.
    Undelivered(u32),
    Refused(String),
    Gap,
}

impl Conversation {
    /// All connections of a capture, sorted by what was read; or which rule a record breaks.
    pub(crate) fn all(records: &[TrafficStream]) -> Result<Vec<Self>, String> {
        let mut connections: BTreeMap<_, Builder> = BTreeMap::new();
        for record in records {
            let key = (&record.node_id, &record.connection_id);
            connections.entry(key).or_default().add(record)?;
        }
        let mut all = Vec::new();
        for ((_, id), builder) in connections {
            if !builder.last {
                return Err(format!("{id}: there is no last record"));
            }
            all.push(builder.conversation);
        }
        all.sort();
        Ok(all)
    }

    /// What the clients of a scenario do, each `Send` being one request: the capture of a proxy
    /// that leaves nothing out.
    pub(crate) fn plain(scenario: &Scenario) -> Vec<Self> {
        let mut all: Vec<Self> = scenario.clients.iter().map(|script| Self::of(script)).collect();
        for (conversation, received) in all.iter_mut().zip(&scenario.received) {
            conversation.written.clone_from(received);
        }
        all.sort();
        all
    }

    fn of(script: &[Event]) -> Self {
        let mut conversation = Self::default();
        for event in script {
            match event {
                Event::Send(bytes) => {
                    conversation.read.extend_from_slice(bytes);
                    conversation.turns.push(Turn::Read(bytes.len()));
                    let text = String::from_utf8_lossy(bytes);
                    let head = text.split("\r\n\r\n").next().unwrap_or_default();
                    let mut lines = head.split("\r\n").map(|line| line.len() as i32);
                    let line = lines.next().unwrap_or(0);
                    let (fields, alone) = (lines.sum(), changes(bytes));
                    conversation.turns.push(Turn::End { line, fields, alone });
                }
                Event::Receive { bytes: 1.., .. } => {
                    let Event::Receive { bytes, .. } = event else { continue };
                    conversation.turns.push(Turn::Write(*bytes));
                }
                _ => {}
            }
        }
        conversation.turns.push(Turn::Close);
        conversation
    }

    /// The turns as one line.
    pub(crate) fn shape(&self) -> String {
        let turns: Vec<String> = self.turns.iter().map(ToString::to_string).collect();
        turns.join(", ")
    }
}

impl fmt::Display for Turn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(bytes) => write!(f, "read {bytes}"),
            Self::End { line, fields, alone } => {
                write!(f, "end {line}+{fields}{}", if *alone { " |" } else { "" })
            }
            Self::Write(bytes) => write!(f, "write {bytes}"),
            Self::EmptyWrite => f.write_str("empty write"),
            Self::Dropped => f.write_str("dropped"),
            Self::Exception => f.write_str("exception"),
            Self::Close => f.write_str("close"),
            Self::Undelivered(requests) => write!(f, "undelivered {requests}"),
            Self::Refused(reason) => write!(f, "refused {reason}"),
            Self::Gap => f.write_str("gap"),
        }
    }
}

#[derive(Default)]
struct Builder {
    conversation: Conversation,
    records: i32,
    ends: i32,
    /// Where the request that is being read begins.
    request: usize,
    /// Something was read since the last end of a request.
    open: bool,
    /// Segments wait for their end.
    segments: bool,
    last: bool,
}

impl Builder {
    fn add(&mut self, record: &TrafficStream) -> Result<(), String> {
        let id = &record.connection_id;
        let rule = |holds: bool, rule: &str| {
            if holds { Ok(()) } else { Err(format!("{id}, record {}: {rule}", self.records + 1)) }
        };
        let (number, last) = record.number();
        let count = record.sub_stream.len();
        rule(!self.last, "it stands behind the last record")?;
        rule(number == self.records + 1, "numbers count from 1 without a gap")?;
        rule(count > 0, "it has no observations")?;
        let prior = (self.ends > 0).then_some(self.ends);
        rule(record.prior_requests_received == prior, "field 6 counts the requests before it")?;
        let open = self.open.then_some(true);
        let field = record.last_observation_was_unterminated_read;
        rule(field == open, "field 7 is there, and true, when a request is open")?;
        let stamped = record.sub_stream.iter().all(|observation| observation.ts.is_some());
        rule(stamped, "every observation has a time")?;
        let close = |o: &Option<Capture>| matches!(o, Some(Capture::Close(_)));
        let closes = record.sub_stream.iter().position(|o| close(&o.capture));
        rule(closes == last.then_some(count - 1), "a close ends the last record and no other")?;
        self.records = number;
        self.last = last;
        for (at, observation) in record.sub_stream.iter().enumerate() {
            let Some(capture) = &observation.capture else {
                return Err(format!("{id}, record {number}: an observation of an unknown kind"));
            };
            self.observe(capture, at + 1 == count)
                .map_err(|rule| format!("{id}, record {number}, observation {at}: {rule}"))?;
        }
        let Some(provenance) = &record.provenance else { return Ok(()) };
        let turns = &mut self.conversation.turns;
        turns.extend(provenance.undelivered.map(|note| Turn::Undelivered(note.requests)));
        turns.extend(provenance.refused.as_ref().map(|note| Turn::Refused(note.reason.clone())));
        turns.extend(provenance.gap.map(|_| Turn::Gap));
        Ok(())
    }

    fn observe(&mut self, capture: &Capture, at_end: bool) -> Result<(), &'static str> {
        let segment = matches!(
            capture,
            Capture::ReadSegment(_) | Capture::WriteSegment(_) | Capture::SegmentEnd(_)
        );
        if self.segments && !segment {
            return Err("segments are followed by their end");
        }
        match capture {
            Capture::Read(read) => self.read(&read.data),
            Capture::ReadSegment(read) => self.read(&read.data),
            Capture::Write(write) if write.data.is_empty() => {
                self.conversation.turns.push(Turn::EmptyWrite);
            }
            Capture::Write(write) => self.write(&write.data),
            Capture::WriteSegment(write) => self.write(&write.data),
            Capture::SegmentEnd(_) if !self.segments => return Err("an end without segments"),
            Capture::SegmentEnd(_) => {}
            Capture::EndOfMessage(end) => {
                let request = &self.conversation.read[self.request..];
                let alone = at_end && changes(request);
                self.request = self.conversation.read.len();
                self.ends += 1;
                self.open = false;
                let line = end.first_line_byte_length.ok_or("an end without the line's length")?;
                let fields = end.headers_byte_length.ok_or("an end without the fields' length")?;
                self.conversation.turns.push(Turn::End { line, fields, alone });
            }
            Capture::RequestDropped(_) => {
                self.request = self.conversation.read.len();
                self.open = false;
                self.conversation.turns.push(Turn::Dropped);
            }
            Capture::ConnectionException(_) => self.conversation.turns.push(Turn::Exception),
            Capture::Close(_) => self.conversation.turns.push(Turn::Close),
            _ => return Err("a kind that no proxy writes"),
        }
        self.segments = matches!(capture, Capture::ReadSegment(_) | Capture::WriteSegment(_));
        Ok(())
    }

    fn read(&mut self, bytes: &[u8]) {
        let Conversation { read, turns, .. } = &mut self.conversation;
        read.extend_from_slice(bytes);
        self.open = true;
        match turns.last_mut() {
            Some(Turn::Read(count)) => *count += bytes.len(),
            _ => turns.push(Turn::Read(bytes.len())),
        }
    }

    fn write(&mut self, bytes: &[u8]) {
        let Conversation { written, turns, .. } = &mut self.conversation;
        written.extend_from_slice(bytes);
        match turns.last_mut() {
            Some(Turn::Write(count)) => *count += bytes.len(),
            _ => turns.push(Turn::Write(bytes.len())),
        }
    }
}

/// Whether the reference holds such a request.
fn changes(request: &[u8]) -> bool {
    let request = request.trim_ascii_start();
    [&b"POST "[..], b"PUT ", b"DELETE ", b"PATCH "].iter().any(|method| request.starts_with(method))
}
