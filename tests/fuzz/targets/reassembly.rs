//! Reassembly: any records, in any order, end in whole requests and counted troubles, and hold no memory afterwards.

use prost::Message;
use tapline::{
    http,
    proto::{
        Capture, Data, Empty, EndOfMessage, Index, RecordView, Timestamp, TrafficObservation,
        TrafficStream,
    },
    replay::{
        assembly::{Assembly, Event, KeepAnswers, Limits},
        exchange::Mark,
        pins::Pins,
    },
};

/// Instructions of a byte each, and the bytes that some of them carry: records of three connections.
pub(crate) fn reassembly(data: &[u8]) {
    let limits = Limits {
        http: http::Limits::default(),
        request_bytes_max: 4096,
        answer_bytes_max: 1024,
        keep_answers: KeepAnswers::All,
        connection_timeout_ns: 50_000_000_000,
        duplicates_window: 16,
    };
    let (mut assembly, mut pins) = (Assembly::new(limits), Pins::default());
    let (mut events, mut number) = (Vec::new(), 0);
    for record in records(data) {
        let bytes = record.encode_to_vec();
        let Ok(view) = RecordView::parse(&bytes) else { continue };
        let mark = Mark { lane: 0, number };
        number += 1;
        pins.read(mark);
        assembly.record(mark, &view, &mut pins, &mut events);
    }
    assembly.end(&mut pins, &mut events);
    assert_eq!(assembly.bytes(), 0, "nothing is kept of conversations that are over");
    assert_eq!(assembly.conversations(), 0);
    for event in events {
        if let Event::Request(request) = event {
            let mut framing = http::RequestFraming::new();
            let (mut rest, mut ended) = (&request.bytes[..], false);
            while !rest.is_empty() {
                assert!(!ended, "one request, nothing behind it");
                let piece = framing.next(&http::Limits::default(), rest).expect("a whole request");
                (rest, ended) = (&rest[piece.len..], piece.end);
            }
            assert!(ended, "a truncated request is never given out");
            pins.release(request.mark);
        }
    }
    let mut at = 0;
    pins.done(|_, done| at = done);
    assert!(number == 0 || at == number, "no record stays needed: {at} of {number}");
}

/// The stock phrases that bytes of the input stand for.
const PHRASES: [&[u8]; 12] = [
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"HEAD /i HTTP/1.1\r\nHost: a\r\n\r\n",
    b"PUT /i/_doc/1 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n",
    b"hello",
    b"POST /_bulk HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"5\r\nhello\r\n",
    b"0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 204 No Content\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"GET / HT",
];

fn records(data: &[u8]) -> Vec<TrafficStream> {
    let mut made: Vec<TrafficStream> = Vec::new();
    let mut ordinals = [0_i32; 3];
    let mut seconds = 1_000_i64;
    for pair in data.chunks_exact(2).take(400) {
        let (what, of) = (pair[0], usize::from(pair[1]));
        if what & 0x80 != 0 || made.is_empty() {
            // A new record; sometimes a number is passed over, comes again, or is the last one.
            let connection = of % 3;
            ordinals[connection] += i32::from(what & 3 != 3) + i32::from(what & 7 == 5);
            let last = what & 0x18 == 0x18;
            let ordinal = ordinals[connection];
            made.push(TrafficStream {
                connection_id: format!("connection-{connection}"),
                node_id: "node".into(),
                index: Some(if last {
                    Index::NumberOfThisLastChunk(ordinal)
                } else {
                    Index::Number(ordinal)
                }),
                prior_requests_received: (what & 0x20 != 0).then_some(i32::from(of as u8 & 7)),
                last_observation_was_unterminated_read: (what & 0x40 != 0).then_some(of & 1 == 1),
                ..TrafficStream::default()
            });
            if last {
                ordinals[connection] = 0;
            }
            continue;
        }
        seconds += i64::from(what == 0x7F) * 60 + i64::from(what >> 6);
        let phrase = Data { data: PHRASES[of % PHRASES.len()].to_vec() };
        let capture = match what % 8 {
            0..=2 => Capture::Read(phrase),
            3 | 4 => Capture::Write(phrase),
            5 => Capture::EndOfMessage(EndOfMessage::default()),
            6 => Capture::RequestDropped(Empty {}),
            _ => Capture::Close(Empty {}),
        };
        let ts = Some(Timestamp { seconds, nanos: 0 });
        let record = made.last_mut().expect("invariant: there is one");
        record.sub_stream.push(TrafficObservation { ts, capture: Some(capture) });
    }
    made
}
