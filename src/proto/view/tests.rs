use proptest::prelude::*;
use prost::Message;

use super::*;
use crate::proto::{Capture, TrafficStream};

/// What `prost` says, in the terms of the view.
fn stock(seen: &crate::proto::TrafficObservation) -> Seen<'_> {
    let at_ns = seen.ts.map_or(0, |ts| {
        i64::from(ts.nanos).saturating_add(ts.seconds.saturating_mul(1_000_000_000))
    });
    let what = match &seen.capture {
        Some(Capture::Read(data)) => What::Read(&data.data),
        Some(Capture::ReadSegment(data)) => What::ReadSegment(&data.data),
        Some(Capture::Write(data)) => What::Write(&data.data),
        Some(Capture::WriteSegment(data)) => What::WriteSegment(&data.data),
        Some(Capture::SegmentEnd(_)) => What::SegmentEnd,
        Some(Capture::EndOfMessage(_)) => What::EndOfMessage,
        Some(Capture::RequestDropped(_)) => What::RequestDropped,
        Some(Capture::ConnectionException(_)) => What::Exception,
        Some(Capture::Close(_)) => What::Close,
        _ => What::Other,
    };
    Seen { at_ns, what }
}

/// Both readers on the same bytes; true when they take them.
fn agree(bytes: &[u8]) -> bool {
    let view = RecordView::parse(bytes);
    let Ok(stream) = TrafficStream::decode(bytes) else {
        assert!(!matches!(view, Ok(_) | Err(ViewError::Nameless)), "only the view takes {bytes:?}");
        return false;
    };
    if stream.connection_id.is_empty() {
        assert_eq!(view.err(), Some(ViewError::Nameless), "{bytes:?}");
        return true;
    }
    let view = view.unwrap_or_else(|error| panic!("only prost takes {bytes:?}: {error}"));
    assert_eq!(view.connection_id, stream.connection_id);
    assert_eq!(view.node_id, stream.node_id);
    assert_eq!((view.number, view.last), stream.number());
    assert_eq!(view.prior_requests, stream.prior_requests_received.unwrap_or(0));
    assert_eq!(
        view.unterminated_read,
        stream.last_observation_was_unterminated_read.unwrap_or(false)
    );
    assert_eq!(view.provenance, stream.provenance);
    let expected: Vec<Seen<'_>> = stream.sub_stream.iter().map(stock).collect();
    let found: Vec<Seen<'_>> = view.observations().collect();
    assert_eq!(found, expected);
    assert_eq!(view.newest_ns, expected.iter().map(|seen| seen.at_ns).max());
    true
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// A field of any number and layout, its content often a message again.
fn field(depth: u32) -> BoxedStrategy<Vec<u8>> {
    let number = prop_oneof![8 => 1_u32..17, 1 => Just(1509_u32), 1 => 1_u32..(1 << 29)];
    let bytes = proptest::collection::vec(any::<u8>(), 0..6);
    let text = "[a-c]{0,3}".prop_map(String::into_bytes);
    let content = if depth == 0 {
        prop_oneof![bytes, text].boxed()
    } else {
        prop_oneof![3 => message_of(depth - 1), 1 => bytes, 1 => text].boxed()
    };
    let value = prop_oneof![0_u64..3, any::<u64>()];
    (number, prop_oneof![4 => Just(2_u32), 2 => Just(0_u32), 1 => 0_u32..8], content, value)
        .prop_map(|(number, layout, content, value)| {
            let mut out = Vec::new();
            varint(&mut out, u64::from(number << 3 | layout));
            match layout {
                0 => varint(&mut out, value),
                1 => out.extend_from_slice(&value.to_le_bytes()),
                2 => {
                    varint(&mut out, content.len() as u64);
                    out.extend_from_slice(&content);
                }
                3 => {
                    out.extend_from_slice(&content);
                    varint(&mut out, u64::from(number << 3 | 4));
                }
                5 => out.extend_from_slice(&(value as u32).to_le_bytes()),
                _ => {}
            }
            out
        })
        .boxed()
}

fn message_of(depth: u32) -> BoxedStrategy<Vec<u8>> {
    proptest::collection::vec(field(depth), 0..5).prop_map(|fields| fields.concat()).boxed()
}

fn sample() -> Vec<u8> {
    let bytes = |text: &str| text.as_bytes().to_vec();
    let observation = |seconds, nanos, capture| crate::proto::TrafficObservation {
        ts: Some(crate::proto::Timestamp { seconds, nanos }),
        capture: Some(capture),
    };
    TrafficStream {
        connection_id: "c".into(),
        sub_stream: vec![
            observation(7, 5, Capture::Read(crate::proto::Data { data: bytes("GET ") })),
            observation(8, 0, Capture::ReadSegment(crate::proto::SegmentData { data: bytes("/") })),
            observation(8, 1, Capture::SegmentEnd(crate::proto::Empty {})),
            observation(
                8,
                2,
                Capture::EndOfMessage(crate::proto::EndOfMessage {
                    first_line_byte_length: Some(-1),
                    headers_byte_length: Some(3),
                }),
            ),
            observation(9, 0, Capture::Write(crate::proto::Data { data: bytes("HTTP") })),
            observation(
                10,
                0,
                Capture::ConnectionException(crate::proto::ConnectionException {
                    message: "gone".into(),
                }),
            ),
            observation(11, 0, Capture::Close(crate::proto::Empty {})),
        ],
        index: Some(crate::proto::Index::NumberOfThisLastChunk(4)),
        node_id: "n".into(),
        prior_requests_received: Some(3),
        last_observation_was_unterminated_read: Some(true),
        provenance: Some(Provenance {
            incarnation: 1 << 60,
            worker: 3,
            sequence: 77,
            undelivered: Some(Undelivered { requests: 2, cause: 1 }),
            refused: Some(Refused { reason: "bare_lf".into(), bytes: 5, crc32c: 9 }),
            gap: Some(Gap {
                cause: 1,
                requests: 2,
                bytes: 3,
                writes: 4,
                since_unix_ns: 5,
                until_unix_ns: 6,
                connections: 7,
            }),
            left_out: vec![LeftOut { cause: 1, requests: 4, bytes: 5 }],
            client: Some("192.0.2.1:5".into()),
            heartbeat: Some(Heartbeat {
                interval_ms: 1,
                last: true,
                captured: 7,
                early: 13,
                passes: true,
                ..Heartbeat::default()
            }),
        }),
    }
    .encode_to_vec()
}

#[test]
fn a_record_is_read_as_it_was_written() {
    assert!(agree(&sample()));
    let bytes = sample();
    let view = RecordView::parse(&bytes).unwrap();
    assert_eq!((view.number, view.last, view.unterminated_read), (4, true, true));
    let first = view.observations().next().unwrap();
    assert_eq!(first, Seen { at_ns: 7_000_000_005, what: What::Read(b"GET ") });
}

#[test]
fn what_is_there_twice_is_merged_as_prost_does() {
    let once = sample();
    let twice = [&once[..], &once[..]].concat();
    assert!(agree(&twice));
    // read{data a}, read{}, and then a write between them.
    for content in [
        &b"\x22\x03\x0a\x01a\x22\x00"[..],
        b"\x22\x03\x0a\x01a\x22\x03\x0a\x01b",
        b"\x22\x03\x0a\x01a\x42\x00\x22\x00",
        b"\x22\x06\x0a\x01a\x0a\x01b",
        b"\x0a\x02\x08\x05\x0a\x02\x10\x07\x22\x00",
        b"\x22\x03\x12\x01a",
        b"\x2a\x03\x0a\x01a",
        b"",
    ] {
        let mut bytes = b"\x0a\x01c\x12".to_vec();
        bytes.push(content.len() as u8);
        bytes.extend_from_slice(content);
        assert!(agree(&bytes), "{content:?}");
    }
}

#[test]
fn groups_go_as_deep_as_prost_follows_them() {
    for depth in [1, 96, 97, 98, 99, 100, 101, 102, 150] {
        let group = [[0x9b, 1].repeat(depth), [0x9c, 1].repeat(depth)].concat();
        let wrap = |tag: &[u8], inner: &[u8]| {
            let mut out = tag.to_vec();
            varint(&mut out, inner.len() as u64);
            out.extend_from_slice(inner);
            out
        };
        let name = b"\x0a\x01c";
        let in_read = wrap(b"\x12", &wrap(b"\x22", &group));
        let in_notes = wrap(b"\xaa\x5e", &wrap(b"\x32", &group));
        for inner in
            [group.clone(), wrap(b"\x12", &group), in_read, wrap(b"\xaa\x5e", &group), in_notes]
        {
            agree(&[&name[..], &inner[..]].concat());
        }
    }
}

#[test]
fn a_record_without_a_name_is_told_apart_from_what_is_no_record() {
    assert_eq!(RecordView::parse(b"").err(), Some(ViewError::Nameless));
    assert_eq!(RecordView::parse(b"\x0a\x05a").err(), Some(ViewError::CutShort));
    assert_eq!(RecordView::parse(b"\x0a\x01\xff").err(), Some(ViewError::Text));
}

proptest! {
    #[test]
    fn fields_in_any_order_are_read_as_prost_does(parts in message_of(3)) {
        agree(&[&b"\x0a\x01c"[..], &parts[..]].concat());
        agree(&parts);
    }

    #[test]
    fn observations_are_read_as_prost_does(parts in message_of(1)) {
        let mut bytes = b"\x0a\x01c\x12".to_vec();
        varint(&mut bytes, parts.len() as u64);
        bytes.extend_from_slice(&parts);
        agree(&bytes);
    }

    #[test]
    fn damaged_records_are_taken_or_refused_as_prost_does(
        changes in proptest::collection::vec((0_usize..200, any::<u8>()), 0..4),
        cut in 0_usize..300,
    ) {
        let mut bytes = sample();
        for (at, byte) in changes {
            let at = at % bytes.len();
            bytes[at] = byte;
        }
        bytes.truncate(cut);
        agree(&bytes);
    }
}
