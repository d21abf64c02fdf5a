//! Records made by hand: conversations as a capture proxy would have written them, as the lines
//! that `--input` takes.

use std::fs;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use prost::Message;

use super::records::{
    Data, EndOfMessage, Nothing, Observation, SegmentData, Timestamp, TrafficStream,
};

/// Lines of records, in the order in which they are told.
#[derive(Clone, Debug, Default)]
pub(crate) struct Recording {
    lines: Vec<String>,
    /// Connection, requests before, records so far.
    connections: Vec<(String, i32, i32)>,
    nanos: i64,
}

impl Recording {
    /// One request and its answer on a connection, in a record of their own.
    pub(crate) fn exchange(&mut self, connection: &str, request: &[u8], answer: &[u8]) {
        let read = self.observation(|o| o.read = Some(Data { data: request.to_vec() }));
        let write = |o: &mut Observation| o.write = Some(Data { data: answer.to_vec() });
        let end = self.end_of(request);
        let write = self.observation(write);
        self.record(connection, vec![read, end, write], 1, false);
    }

    /// One request in segments of `segment` bytes, a record each, and its answer.
    pub(crate) fn large(
        &mut self,
        connection: &str,
        request: &[u8],
        segment: usize,
        answer: &[u8],
    ) {
        for piece in request.chunks(segment) {
            let data = SegmentData { data: piece.to_vec() };
            let observation = self.observation(|o| o.read_segment = Some(data));
            self.record(connection, vec![observation], 0, false);
        }
        let ends = self.observation(|o| o.segment_end = Some(Nothing {}));
        let end = self.end_of(request);
        let write = self.observation(|o| o.write = Some(Data { data: answer.to_vec() }));
        self.record(connection, vec![ends, end, write], 1, false);
    }

    /// Leaves a record of a connection out: its numbers go on behind a hole.
    pub(crate) fn lose(&mut self, connection: &str) {
        self.connection(connection).2 += 1;
    }

    /// Ends a connection.
    pub(crate) fn close(&mut self, connection: &str) {
        let close = self.observation(|o| o.close = Some(Nothing {}));
        self.record(connection, vec![close], 0, true);
    }

    /// A line with any value under a key.
    pub(crate) fn line(&mut self, key: &str, value: &[u8]) {
        self.lines.push(format!("{key}|{}", STANDARD.encode(value)));
    }

    /// A line as it is.
    pub(crate) fn text(&mut self, line: &str) {
        self.lines.push(line.to_owned());
    }

    /// Writes all lines to a file.
    pub(crate) fn write(&self, file: &Path) {
        let text = self.lines.join("\n") + "\n";
        fs::write(file, text).expect("the test's directory is writable");
    }

    fn record(&mut self, name: &str, observations: Vec<Observation>, requests: i32, last: bool) {
        let connection = self.connection(name);
        let prior = connection.1;
        connection.1 += requests;
        connection.2 += 1;
        let number = Some(connection.2);
        let stream = TrafficStream {
            connection_id: name.to_owned(),
            node_id: "node".to_owned(),
            observations,
            number: number.filter(|_| !last),
            last_number: number.filter(|_| last),
            prior_requests: (prior > 0).then_some(prior),
            ..TrafficStream::default()
        };
        self.line(name, &stream.encode_to_vec());
    }

    fn connection(&mut self, name: &str) -> &mut (String, i32, i32) {
        let found = self.connections.iter().position(|connection| connection.0 == name);
        let at = found.unwrap_or_else(|| {
            self.connections.push((name.to_owned(), 0, 0));
            self.connections.len() - 1
        });
        &mut self.connections[at]
    }

    fn end_of(&mut self, request: &[u8]) -> Observation {
        let first = memchr::memmem::find(request, b"\r\n").map_or(-1, |at| at as i32);
        let head = memchr::memmem::find(request, b"\r\n\r\n").map_or(-1, |at| at as i32 + 4);
        let end = EndOfMessage { first_line_bytes: Some(first), head_bytes: Some(head - first) };
        self.observation(|o| o.end_of_message = Some(end))
    }

    /// Each a millisecond after the one before.
    fn observation(&mut self, set: impl FnOnce(&mut Observation)) -> Observation {
        self.nanos += 1_000_000;
        let (seconds, nanos) = (1_700_000_000 + self.nanos / SECOND, self.nanos % SECOND);
        let time = Some(Timestamp { seconds, nanos: nanos as i32 });
        let mut observation = Observation { time, ..Observation::default() };
        set(&mut observation);
        observation
    }
}

const SECOND: i64 = 1_000_000_000;

#[test]
fn a_recording_reads_back_as_it_was_told() {
    use super::client::{bare, request};
    use super::records::Records;
    let mut recording = Recording::default();
    let large = request("POST", "/_bulk", &[b'x'; 1000]);
    recording.exchange("a", &bare("GET", "/1"), b"HTTP/1.1 200 OK\r\n\r\n");
    recording.large("a", &large, 300, b"HTTP/1.1 201 Created\r\n\r\n");
    recording.close("a");
    let records = Records::of_lines(&recording.lines.join("\n"));
    let captured = records.only();
    assert_eq!(captured.requests(), [&bare("GET", "/1")[..], &large]);
    assert!(captured.closed && captured.records == 7, "{captured:?}");
    recording.lose("b");
    recording.exchange("b", b"GET / HTTP/1.1\r\n\r\n", b"");
    let text = recording.lines.join("\n");
    assert!(std::panic::catch_unwind(|| Records::of_lines(&text)).is_err(), "a hole is a hole");
}
