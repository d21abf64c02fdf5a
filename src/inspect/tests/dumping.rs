//! The exact lines of every form, what is left out, and a reader that goes away.

use std::io::{self, Write};

use prost::Message;

use super::{
    Author, Dumper, Format, ID_1, Place, REQUEST, Scratch, Span, feed, options, quietly, read,
};
use crate::{
    inspect::raw::RawLines,
    proto::{
        Capture, Data, Empty, EndOfMessage, Index, SegmentData, Timestamp, TrafficObservation,
        TrafficStream,
    },
};

fn stream(captures: Vec<Capture>) -> TrafficStream {
    let ts = Some(Timestamp { seconds: 1_700_000_000, nanos: 0 });
    let seen = |capture| TrafficObservation { ts, capture: Some(capture) };
    TrafficStream {
        connection_id: "c1".into(),
        node_id: "n1".into(),
        index: Some(Index::Number(1)),
        sub_stream: captures.into_iter().map(seen).collect(),
        ..TrafficStream::default()
    }
}

fn read_of(data: &[u8]) -> Capture {
    Capture::Read(Data { data: data.to_vec() })
}

fn write_of(data: &[u8]) -> Capture {
    Capture::Write(Data { data: data.to_vec() })
}

fn segment_of(data: &[u8]) -> Capture {
    Capture::ReadSegment(SegmentData { data: data.to_vec() })
}

fn raw_line(stream: &TrafficStream, preview_bytes: usize) -> String {
    let mut out = Vec::new();
    let place = Place::Kafka { partition: 0, offset: 42 };
    RawLines::new(preview_bytes).print(&mut out, place, stream).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn raw_lines_are_those_of_the_reference() {
    let start = "[1700000000-1700000000]      0.0s   0.0s p:0 o:    42 ncs:n1.c1.1:";
    let eom = || Capture::EndOfMessage(EndOfMessage::default());
    let end = || Capture::SegmentEnd(Empty {});
    for (captures, preview, expected) in [
        (vec![read_of(b"abcd"), read_of(b"efghijklmn"), read_of(b"op")], 0, " R[16]"),
        (vec![read_of(b""), read_of(b"NEXT")], 24, " R[4]: NEXT"),
        (vec![segment_of(b"GET /very/"), segment_of(b"long"), end()], 10, " R[14]: GET /very/..."),
        (vec![read_of(b"A\x01\x7fZ"), eom()], 24, " R[4]: A..Z EOM"),
        (vec![write_of(b"1234"), write_of(b"56"), Capture::Close(Empty {})], 0, " W[6] CLOSE"),
        (vec![read_of(b"x"), write_of(b"")], 24, " R[1]: x W[0]"),
        (vec![end(), Capture::RequestDropped(Empty {})], 24, " SEGMENT_END DROPPED"),
        (vec![Capture::Bind(Empty {}), Capture::Disconnect(Empty {})], 24, " OPEN DISCONNECT"),
    ] {
        assert_eq!(raw_line(&stream(captures), preview), format!("{start}{expected}\n"));
    }
    let empty = TrafficStream { index: None, ..stream(Vec::new()) };
    assert_eq!(raw_line(&empty, 24), "[?-?] p:0 o:    42 ncs:n1.c1.0:\n");
    let hostile = TrafficStream { node_id: "\x1b[2J".into(), ..stream(Vec::new()) };
    assert!(!raw_line(&hostile, 24).contains('\x1b'));
}

#[test]
fn raw_lines_of_a_log_have_sequences_and_relative_times() {
    let scratch = Scratch::of(&Author::new(2).connection(1, 2));
    let dump = scratch.dump(&options(Format::Raw));
    let lines: Vec<_> = dump.lines().collect();
    assert_eq!(lines.len(), 3);
    let (first, rest) = lines[1].split_at(60);
    assert_eq!(first, "[1795231201-1795231201]      1.0s   0.0s s:     1 ncs:node-1");
    assert!(rest.starts_with(&format!(".{ID_1}")), "{rest}");
    assert!(
        rest.ends_with(
            ".2: R[27]: GET / HTTP/1.1..Host: s.... EOM W[40]: HTTP/1.1 200 OK..Content..."
        ),
        "{rest}"
    );
    assert!(lines[2].ends_with(".3: CLOSE"), "{}", lines[2]);
}

#[test]
fn base64_lines_are_the_records_themselves() {
    use base64::{Engine, engine::general_purpose::STANDARD};

    let mut records = Author::new(2).connection(1, 2);
    let bar = TrafficStream { connection_id: "a|b".into(), ..stream(vec![read_of(b"x")]) };
    records.insert(1, bar.encode_to_vec());
    records.insert(1, b"\xff".to_vec());
    let dump = Scratch::of(&records).dump(&options(Format::Base64));
    records.drain(1..3);
    let lines: Vec<_> = dump.lines().collect();
    assert_eq!(lines.len(), records.len());
    for (line, record) in lines.iter().zip(&records) {
        let (key, value) = line.split_once('|').unwrap();
        assert_eq!(key.as_bytes(), &record[2..62]);
        assert_eq!(&STANDARD.decode(value).unwrap(), record);
    }
}

#[test]
fn json_has_the_names_of_the_schema() {
    let mut author = Author::new(2);
    let mut stream = author.stream(1);
    author.at(&mut stream, 0, |stream, to, stamp| {
        stream.read(to, stamp, b"GET");
        stream.write(to, stamp, b"\xff\x00");
        stream.end_of_request(to, stamp, 14, -1);
        stream.exception(to, stamp, "reset");
        stream.close(to, stamp);
        stream.note(|notes| notes.gap = Some(super::gap(1, 1, 2)));
    });
    let id = stream.id().to_string();
    let dump = Scratch::of(&[author.finish(&mut stream, true)]).dump(&options(Format::Json));
    assert_eq!(dump.lines().count(), 1);
    let ts = "2026-11-21T03:20:00Z";
    let said: serde_json::Value = serde_json::from_str(&dump).unwrap();
    assert_eq!(
        said,
        serde_json::json!({
            "place": { "incarnation": "00000000000000ab", "sequence": 0 },
            "connectionId": id,
            "numberOfThisLastChunk": 1,
            "nodeId": "node-1",
            "subStream": [
                { "ts": ts, "read": { "data": { "length": 3, "text": "GET" } } },
                { "ts": ts, "write": { "data": { "length": 2, "base64": "/wA=" } } },
                { "ts": ts, "endOfMessageIndicator":
                    { "firstLineByteLength": 14, "headersByteLength": -1 } },
                { "ts": ts, "connectionException": { "message": "reset" } },
                { "ts": ts, "close": {} },
            ],
            "provenance": {
                "incarnation": "00000000000000ab", "worker": 2, "sequence": 1,
                "gap": {
                    "cause": 2,
                    "because": "records could not be stored and --on-capture-unavailable is pass",
                    "requests": 1, "writes": 1, "bytes": 2,
                    "since_unix_ns": super::START, "until_unix_ns": super::START + 2_000_000_000,
                    "connections": 0,
                },
            },
        })
    );
}

#[test]
fn http_puts_messages_together_across_records() {
    let mut author = Author::new(2);
    let mut stream = author.stream(1);
    let mut records = Vec::new();
    author.at(&mut stream, 0, |stream, to, stamp| {
        stream.read(to, stamp, b"POST /i/_doc HTTP/1.1\r\nContent-");
    });
    records.push(author.finish(&mut stream, false));
    author.at(&mut stream, 250, |stream, to, stamp| {
        stream.read(to, stamp, b"Length: 4\r\n\r\n{\x1b}\nHEAD / HTTP/1.1\r\n\r\n");
        stream.end_of_request(to, stamp, 21, 17);
        stream.end_of_request(to, stamp, 15, 0);
        stream.write(to, stamp, b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\n");
        stream.write(to, stamp, b"Content-Length: 3\r\n\r\nyes");
        // The length of an answer to HEAD announces nothing.
        stream.write(to, stamp, b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n");
        stream.read(to, stamp, b"GET");
        stream.close(to, stamp);
    });
    records.push(author.finish(&mut stream, true));
    let name = format!("nc:node-1.{}:", stream.id());
    let dump = Scratch::of(&records).dump(&options(Format::Http));
    let (t0, t1) = ("2026-11-21T03:20:00Z", "2026-11-21T03:20:00.25Z");
    let expected = format!(
        "{t0} s:0 {name} REQ[48] 0.250s POST /i/_doc HTTP/1.1\n    \
         POST /i/_doc HTTP/1.1\n    Content-Length: 4\n    \n    <4 bytes that are not text>\n\
         {t1} s:1 {name} REQ[19] 0.000s HEAD / HTTP/1.1\n    HEAD / HTTP/1.1\n    \n\
         {t1} s:1 {name} RSP[25] 0.000s HTTP/1.1 100 Continue\n    HTTP/1.1 100 Continue\n    \n\
         {t1} s:1 {name} RSP[46] 0.000s HTTP/1.1 201 Created\n    \
         HTTP/1.1 201 Created\n    Content-Length: 3\n    \n    yes\n\
         {t1} s:1 {name} RSP[38] 0.000s HTTP/1.1 200 OK\n    HTTP/1.1 200 OK\n    Content-Length: 9\n    \n\
         {t1} s:1 {name} REQ[3] 0.000s (incomplete) GET\n    GET\n\
         {t1} s:1 {name} CLOSED (3 requests)\n"
    );
    assert_eq!(dump, expected);
}

#[test]
fn http_falls_back_to_what_the_observations_say() {
    let eom = || Capture::EndOfMessage(EndOfMessage::default());
    let conversation = stream(vec![
        read_of(b"GET /a HTTP/1.1\nHost: s\n"),
        read_of(b"\n"),
        eom(),
        write_of(b"nonsense "),
        write_of(b"in two parts"),
        read_of(REQUEST),
        eom(),
        write_of(b"HTTP/1.1 204 No Content\r\n\r\n"),
        read_of(b"secret"),
        Capture::RequestDropped(Empty {}),
        Capture::Close(Empty {}),
    ]);
    let options = options(Format::Http);
    let mut out = Vec::new();
    let mut dumper = Dumper::new(&options, &mut out);
    feed(&[conversation.encode_to_vec()], &mut dumper);
    quietly(dumper.finish()).unwrap();
    let out = String::from_utf8(out).unwrap();
    let events: Vec<_> = out
        .lines()
        .filter_map(|line| line.strip_prefix("2023-11-14T22:13:20Z p:0 o:0 nc:n1.c1: "))
        .collect();
    assert_eq!(
        events,
        [
            "REQ[25] 0.000s GET /a HTTP/1.1",
            "RSP[21] 0.000s nonsense in two parts",
            "REQ[27] 0.000s GET / HTTP/1.1",
            "RSP[27] 0.000s HTTP/1.1 204 No Content",
            "DROPPED",
            "CLOSED (2 requests)",
        ]
    );
    assert!(!out.contains("secret"), "{out}");
}

#[test]
fn http_shows_a_bounded_part_of_a_large_message() {
    let head = b"PUT /i HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n";
    let body = vec![b'x'; 1_000_000];
    let conversation = stream(vec![read_of(head), read_of(&body)]);
    let options = options(Format::Http);
    let mut out = Vec::new();
    let mut dumper = Dumper::new(&options, &mut out);
    feed(&[conversation.encode_to_vec()], &mut dumper);
    quietly(dumper.finish()).unwrap();
    let more = 1_000_000 + head.len() - (64 << 10);
    let out = String::from_utf8(out).unwrap();
    assert!(out.ends_with(&format!("    <{more} more bytes>\n")));
    assert!(out.len() < (64 << 10) + 1000);
}

#[test]
fn filters_choose_by_number_time_and_connection() {
    let mut author = Author::new(2);
    let mut records = author.connection(1, 5);
    records.extend(author.connection(2, 1));
    let scratch = Scratch::of(&records);
    let count = |from: &str, to: &str, connection: Option<&str>, limit| {
        let mut options = options(Format::Raw);
        options.limit = limit;
        options.filter.connection = connection.map(Into::into);
        options.filter.from = (!from.is_empty()).then(|| from.parse().unwrap());
        options.filter.to = (!to.is_empty()).then(|| to.parse().unwrap());
        scratch.dump(&options).lines().count()
    };
    assert_eq!(count("", "", None, None), 8);
    assert_eq!(count("2", "4", None, None), 3);
    assert_eq!(count("", "", None, Some(0)), 0);
    assert_eq!(count("1", "", None, Some(4)), 4);
    assert_eq!(count("2026-11-21T03:20:03Z", "2026-11-21T03:20:04Z", None, None), 2);
    assert_eq!(count("", "2026-11-21T03:20:00Z", None, None), 2);
    let id = std::str::from_utf8(&records[7][2..62]).unwrap();
    assert_eq!(count("", "", Some(id), None), 2);
    assert_eq!(count("", "", Some("other"), None), 0);
}

/// A pipe of which the other end closes after so many bytes.
struct Pipe(usize);

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.0.checked_sub(bytes.len()) {
            Some(left) => {
                self.0 = left;
                Ok(bytes.len())
            }
            None => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_reader_that_goes_away_ends_the_dump_without_a_failure() {
    let scratch = Scratch::of(&Author::new(2).connection(1, 50));
    for format in [Format::Raw, Format::Http, Format::Json, Format::Base64] {
        let options = options(format);
        let mut pipe = Pipe(1000);
        let mut dumper = Dumper::new(&options, &mut pipe);
        read(&scratch.origin(), Span::default(), &mut dumper).unwrap();
        quietly(dumper.finish()).unwrap();
        assert!(pipe.0 < 1000, "{format:?} wrote something first");
    }
}
