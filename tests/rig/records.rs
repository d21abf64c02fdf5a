//! The records that `tapline capture` left, decoded and put together again by connection.
//!
//! The messages are the rig's own description of `TrafficStream` (wire-compatible with the
//! `OpenSearch` Migration Assistant): only what the tests look at, decoded by prost, so that the
//! program under test is not its own judge.

use std::collections::BTreeMap;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use prost::Message;

use super::digest;
use super::tapline::run;
use super::topics::Topics;

/// One record.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct TrafficStream {
    #[prost(string, tag = "1")]
    pub(crate) connection_id: String,
    #[prost(message, repeated, tag = "2")]
    pub(crate) observations: Vec<Observation>,
    #[prost(int32, optional, tag = "3")]
    pub(crate) number: Option<i32>,
    #[prost(int32, optional, tag = "4")]
    pub(crate) last_number: Option<i32>,
    #[prost(string, tag = "5")]
    pub(crate) node_id: String,
    #[prost(int32, optional, tag = "6")]
    pub(crate) prior_requests: Option<i32>,
    #[prost(bool, optional, tag = "7")]
    pub(crate) in_request: Option<bool>,
    #[prost(message, optional, tag = "1509")]
    pub(crate) provenance: Option<Provenance>,
}

/// What only tapline writes: where the record comes from and what never reached the source.
#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct Provenance {
    #[prost(fixed64, tag = "1")]
    pub(crate) incarnation: u64,
    #[prost(uint32, tag = "2")]
    pub(crate) worker: u32,
    #[prost(uint64, tag = "3")]
    pub(crate) sequence: u64,
    #[prost(message, optional, tag = "4")]
    pub(crate) undelivered: Option<Undelivered>,
}

/// Requests of which no byte reached the source.
#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct Undelivered {
    #[prost(uint32, tag = "1")]
    pub(crate) requests: u32,
    #[prost(uint32, tag = "2")]
    pub(crate) cause: u32,
}

/// One thing seen on a connection.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Observation {
    #[prost(message, optional, tag = "1")]
    pub(crate) time: Option<Timestamp>,
    #[prost(message, optional, tag = "4")]
    pub(crate) read: Option<Data>,
    #[prost(message, optional, tag = "5")]
    pub(crate) read_segment: Option<SegmentData>,
    #[prost(message, optional, tag = "8")]
    pub(crate) write: Option<Data>,
    #[prost(message, optional, tag = "9")]
    pub(crate) write_segment: Option<SegmentData>,
    #[prost(message, optional, tag = "11")]
    pub(crate) close: Option<Nothing>,
    #[prost(message, optional, tag = "12")]
    pub(crate) exception: Option<Exception>,
    #[prost(message, optional, tag = "14")]
    pub(crate) segment_end: Option<Nothing>,
    #[prost(message, optional, tag = "15")]
    pub(crate) end_of_message: Option<EndOfMessage>,
    #[prost(message, optional, tag = "16")]
    pub(crate) dropped: Option<Nothing>,
}

/// Wall-clock time.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Timestamp {
    #[prost(int64, tag = "1")]
    pub(crate) seconds: i64,
    #[prost(int32, tag = "2")]
    pub(crate) nanos: i32,
}

/// Bytes.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Data {
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) data: Vec<u8>,
}

/// Bytes of a buffer that was cut; the field number differs.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct SegmentData {
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) data: Vec<u8>,
}

/// Why a connection failed.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Exception {
    #[prost(string, tag = "1")]
    pub(crate) message: String,
}

/// The end of a request.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct EndOfMessage {
    #[prost(int32, optional, tag = "1")]
    pub(crate) first_line_bytes: Option<i32>,
    #[prost(int32, optional, tag = "2")]
    pub(crate) head_bytes: Option<i32>,
}

/// A marker without content.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Nothing {}

/// One connection put together from its records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Captured {
    /// What the client sent.
    pub(crate) read: Vec<u8>,
    /// What the client was sent.
    pub(crate) written: Vec<u8>,
    /// Bytes of `read` at the end of each request.
    pub(crate) request_ends: Vec<usize>,
    /// Requests whose recording was broken off.
    pub(crate) dropped: usize,
    /// Requests of which the records say that no byte reached the source.
    pub(crate) undelivered: u32,
    /// Why the connection failed, as recorded.
    pub(crate) exceptions: Vec<String>,
    /// Whether the last record says that it is the last and holds the close.
    pub(crate) closed: bool,
    /// Number of records.
    pub(crate) records: usize,
}

impl Captured {
    /// The requests, each as it stood on the wire; bytes of an unfinished one are left out.
    pub(crate) fn requests(&self) -> Vec<&[u8]> {
        let starts = std::iter::once(0).chain(self.request_ends.iter().copied());
        starts.zip(&self.request_ends).map(|(start, &end)| &self.read[start..end]).collect()
    }
}

/// All connections of a capture, by (node, connection).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Records(pub(crate) BTreeMap<(String, String), Captured>);

impl Records {
    /// From a capture log, read by `tapline log dump`.
    pub(crate) fn of_log(log: &Path) -> Self {
        Self::of_streams(of_log(log).into_iter())
    }

    /// From a topic, read by a client of the rig.
    pub(crate) fn of_topic(kafka: &Topics, topic: &str) -> Self {
        let mut partitions = BTreeMap::new();
        let stored = kafka.consume_all(topic);
        let streams = stored.iter().map(|record| {
            let stream = decode(&record.value);
            assert_eq!(stream.connection_id.as_bytes(), record.key, "the key is the connection");
            let first = *partitions.entry(record.key.clone()).or_insert(record.partition);
            assert_eq!(first, record.partition, "one connection stays on one partition");
            stream
        });
        Self::of_streams(streams)
    }

    /// From lines `<key>|<base64>`.
    pub(crate) fn of_lines(text: &str) -> Self {
        Self::of_streams(text.lines().map(of_line))
    }

    /// The connections that carried anything.
    pub(crate) fn connections(&self) -> Vec<&Captured> {
        let used = |captured: &&Captured| captured.read.len() + captured.written.len() > 0;
        self.0.values().filter(used).collect()
    }

    /// The only connection that carried anything.
    pub(crate) fn only(&self) -> &Captured {
        let connections = self.connections();
        assert_eq!(connections.len(), 1, "exactly one connection was used");
        connections[0]
    }

    /// The digests (read, written) of all connections that carried anything, sorted.
    pub(crate) fn digests(&self) -> Vec<(String, String)> {
        let of = |captured: &Captured| {
            (digest::sha256(&captured.read), digest::sha256(&captured.written))
        };
        let mut digests: Vec<_> = self.connections().into_iter().map(of).collect();
        digests.sort();
        digests
    }

    /// Whether a complete request that contains `needle` was recorded and not dropped.
    pub(crate) fn holds_request(&self, needle: &[u8]) -> bool {
        self.connections().iter().any(|captured| {
            captured
                .requests()
                .iter()
                .any(|request| memchr::memmem::find(request, needle).is_some())
        })
    }

    /// Checks the numbering and the order of the records as it puts them together.
    fn of_streams(streams: impl Iterator<Item = TrafficStream>) -> Self {
        let mut connections: BTreeMap<(String, String), Captured> = BTreeMap::new();
        for stream in streams {
            let key = (stream.node_id.clone(), stream.connection_id.clone());
            let captured = connections.entry(key).or_default();
            // A gap marker or a heartbeat is a closed connection without any observation of bytes.
            captured.add(&stream);
        }
        Self(connections)
    }
}

/// The records of a capture log as they stand in it, read by `tapline log dump`.
pub(crate) fn of_log(log: &Path) -> Vec<TrafficStream> {
    let log = log.to_string_lossy();
    let outcome = run(&["log", "dump", "--format", "base64", "--log", &log]);
    assert_eq!(outcome.code, Some(0), "log dump: {}", outcome.stderr);
    outcome.stdout.lines().map(of_line).collect()
}

fn of_line(line: &str) -> TrafficStream {
    let (key, value) = line.split_once('|').expect("a line is <key>|<base64>");
    let stream = decode(&STANDARD.decode(value.trim()).expect("the value is base64"));
    assert_eq!(stream.connection_id, key, "the key is the connection");
    stream
}

impl Captured {
    fn add(&mut self, stream: &TrafficStream) {
        let id = &stream.connection_id;
        assert!(!self.closed, "{id}: a record stands behind the last one");
        assert!(!stream.observations.is_empty(), "{id}: a record without observations");
        let number = stream.number.or(stream.last_number);
        self.records += 1;
        assert_eq!(number, Some(self.records as i32), "{id}: numbers count from 1 without a gap");
        let prior = stream.prior_requests.unwrap_or(0);
        assert_eq!(prior as usize, self.request_ends.len(), "{id}: requests before this record");
        for observation in &stream.observations {
            assert!(observation.time.is_some(), "{id}: every observation has a time");
            self.observe(observation);
        }
        let undelivered = stream.provenance.and_then(|provenance| provenance.undelivered);
        self.undelivered += undelivered.map_or(0, |undelivered| undelivered.requests);
        self.closed = stream.last_number.is_some();
        if self.closed {
            let close = stream.observations.last().is_some_and(|last| last.close.is_some());
            assert!(close, "{id}: the last record ends with the close");
        }
    }

    fn observe(&mut self, observation: &Observation) {
        if let Some(read) = &observation.read {
            self.read.extend_from_slice(&read.data);
        }
        if let Some(read) = &observation.read_segment {
            self.read.extend_from_slice(&read.data);
        }
        if let Some(write) = &observation.write {
            self.written.extend_from_slice(&write.data);
        }
        if let Some(write) = &observation.write_segment {
            self.written.extend_from_slice(&write.data);
        }
        if observation.end_of_message.is_some() {
            self.request_ends.push(self.read.len());
        }
        if observation.dropped.is_some() {
            self.dropped += 1;
        }
        if let Some(exception) = &observation.exception {
            self.exceptions.push(exception.message.clone());
        }
    }
}

fn decode(bytes: &[u8]) -> TrafficStream {
    TrafficStream::decode(bytes).expect("a record is a TrafficStream")
}

#[test]
fn records_are_put_together_by_connection() {
    let at = Some(Timestamp { seconds: 1, nanos: 2 });
    let seen = |set: &dyn Fn(&mut Observation)| {
        let mut observation = Observation { time: at.clone(), ..Observation::default() };
        set(&mut observation);
        observation
    };
    let first = TrafficStream {
        connection_id: "c".into(),
        node_id: "n".into(),
        number: Some(1),
        observations: vec![
            seen(&|o| o.read = Some(Data { data: b"GET /".to_vec() })),
            seen(&|o| o.end_of_message = Some(EndOfMessage::default())),
        ],
        ..TrafficStream::default()
    };
    let second = TrafficStream {
        connection_id: "c".into(),
        node_id: "n".into(),
        last_number: Some(2),
        prior_requests: Some(1),
        observations: vec![
            seen(&|o| o.write_segment = Some(SegmentData { data: b"20".to_vec() })),
            seen(&|o| o.write_segment = Some(SegmentData { data: b"0".to_vec() })),
            seen(&|o| o.segment_end = Some(Nothing {})),
            seen(&|o| o.dropped = Some(Nothing {})),
            seen(&|o| o.exception = Some(Exception { message: "gone".into() })),
            seen(&|o| o.close = Some(Nothing {})),
        ],
        ..TrafficStream::default()
    };
    let lines: Vec<String> = [&first, &second]
        .map(|stream| format!("c|{}", STANDARD.encode(stream.encode_to_vec())))
        .to_vec();
    let records = Records::of_lines(&lines.join("\n"));
    let captured = records.only();
    assert_eq!(captured.requests(), [b"GET /"]);
    assert_eq!(captured.written, b"200");
    assert_eq!((captured.dropped, captured.closed, captured.records), (1, true, 2));
    assert_eq!(captured.exceptions, ["gone"]);
    assert!(records.holds_request(b"GET"));
    assert_eq!(records.digests(), [(digest::sha256(b"GET /"), digest::sha256(b"200"))]);
    let gap = std::panic::catch_unwind(|| Records::of_lines(&lines[1]));
    assert!(gap.is_err(), "a record that is missing is noticed");
}
