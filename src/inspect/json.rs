//! One JSON object per record, with the field names of `capture.proto`.
//!
//! Bytes are `{"length": n, "text": "…"}` where they are text, else `{"length": n, "base64": "…"}`.
//! Numbers of 64 bits that are names (`incarnation`) are hexadecimal text, since JSON readers round.

use std::io::{self, Write};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Serialize;
use serde_json::{Value, json};

use super::{
    source::Place,
    text::{Moment, as_text},
};
use crate::{
    capture::{GapCause, LeftOut, UndeliveredCause},
    proto::{Capture, Heartbeat, Index, Provenance, TrafficObservation, TrafficStream},
};

/// Prints the record on a line of its own.
pub(super) fn print(out: &mut dyn Write, place: Place, stream: &TrafficStream) -> io::Result<()> {
    serde_json::to_writer(&mut *out, &Record::of(place, stream)).map_err(io::Error::from)?;
    out.write_all(b"\n")
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Record<'a> {
    place: PlaceFields,
    connection_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    number: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    number_of_this_last_chunk: Option<i32>,
    node_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    prior_requests_received: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_observation_was_unterminated_read: Option<bool>,
    sub_stream: Vec<Observation>,
    #[serde(skip_serializing_if = "Option::is_none")]
    provenance: Option<ProvenanceFields<'a>>,
}

impl<'a> Record<'a> {
    fn of(place: Place, stream: &'a TrafficStream) -> Self {
        let (number, last) = match stream.index {
            Some(Index::Number(number)) => (Some(number), None),
            Some(Index::NumberOfThisLastChunk(number)) => (None, Some(number)),
            None => (None, None),
        };
        Self {
            place: place.into(),
            connection_id: &stream.connection_id,
            number,
            number_of_this_last_chunk: last,
            node_id: &stream.node_id,
            prior_requests_received: stream.prior_requests_received,
            last_observation_was_unterminated_read: stream.last_observation_was_unterminated_read,
            sub_stream: stream.sub_stream.iter().map(Observation::of).collect(),
            provenance: stream.provenance.as_ref().map(ProvenanceFields::of),
        }
    }
}

#[derive(Serialize)]
#[serde(untagged)]
enum PlaceFields {
    Log { incarnation: String, sequence: u64 },
    Kafka { partition: i32, offset: i64 },
}

impl From<Place> for PlaceFields {
    fn from(place: Place) -> Self {
        match place {
            Place::Log { incarnation, sequence } => {
                Self::Log { incarnation: format!("{incarnation:016x}"), sequence }
            }
            Place::Kafka { partition, offset } => Self::Kafka { partition, offset },
        }
    }
}

#[derive(Serialize)]
struct Observation {
    #[serde(skip_serializing_if = "Option::is_none")]
    ts: Option<String>,
    #[serde(flatten)]
    capture: serde_json::Map<String, Value>,
}

impl Observation {
    fn of(seen: &TrafficObservation) -> Self {
        let ts = seen.ts.map(|ts| Moment::from(ts).to_string());
        let kind = seen.capture.as_ref();
        let capture = kind.map(|capture| (capture.kind().to_owned(), content(capture)));
        Self { ts, capture: capture.into_iter().collect() }
    }
}

fn content(capture: &Capture) -> Value {
    match capture {
        Capture::EndOfMessage(end) => json!({
            "firstLineByteLength": end.first_line_byte_length,
            "headersByteLength": end.headers_byte_length,
        }),
        Capture::ConnectionException(exception) => json!({ "message": exception.message }),
        Capture::RequestReleasedDownstream(released) => json!({ "timedOut": released.timed_out }),
        other => match super::text::data(other) {
            Some((_, data)) => json!({ "data": bytes(data) }),
            None => json!({}),
        },
    }
}

fn bytes(data: &[u8]) -> Value {
    match as_text(data) {
        Some(text) => json!({ "length": data.len(), "text": text }),
        None => json!({ "length": data.len(), "base64": STANDARD.encode(data) }),
    }
}

#[derive(Serialize)]
struct ProvenanceFields<'a> {
    incarnation: String,
    worker: u32,
    sequence: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    undelivered: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<RefusedFields<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gap: Option<Value>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    left_out: Vec<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    heartbeat: Option<Value>,
}

#[derive(Serialize)]
struct RefusedFields<'a> {
    reason: &'a str,
    bytes: u64,
    crc32c: u32,
}

impl<'a> ProvenanceFields<'a> {
    fn of(origin: &'a Provenance) -> Self {
        Self {
            incarnation: format!("{:016x}", origin.incarnation),
            worker: origin.worker,
            sequence: origin.sequence,
            undelivered: origin.undelivered.as_ref().map(|undelivered| {
                json!({
                    "requests": undelivered.requests,
                    "cause": undelivered.cause,
                    "because": UndeliveredCause::describe(undelivered.cause),
                })
            }),
            refused: origin.refused.as_ref().map(|refused| RefusedFields {
                reason: &refused.reason,
                bytes: refused.bytes,
                crc32c: refused.crc32c,
            }),
            gap: origin.gap.as_ref().map(|gap| {
                json!({
                    "cause": gap.cause,
                    "because": GapCause::describe(gap.cause),
                    "requests": gap.requests,
                    "writes": gap.writes,
                    "bytes": gap.bytes,
                    "since_unix_ns": gap.since_unix_ns,
                    "until_unix_ns": gap.until_unix_ns,
                    "connections": gap.connections,
                })
            }),
            heartbeat: origin.heartbeat.as_ref().map(heartbeat),
            client: origin.client.as_deref(),
            left_out: origin
                .left_out
                .iter()
                .map(|left_out| {
                    json!({
                        "cause": left_out.cause,
                        "because": LeftOut::describe(left_out.cause),
                        "requests": left_out.requests,
                        "bytes": left_out.bytes,
                    })
                })
                .collect(),
        }
    }
}

fn heartbeat(said: &Heartbeat) -> Value {
    json!({
        "interval_ms": said.interval_ms,
        "last": said.last,
        "workers": said.workers,
        "stored": said.stored,
        "started_unix_ns": said.started_unix_ns,
        "connections": said.connections,
        "requests": said.requests,
        "forwarded_bytes": said.forwarded_bytes,
        "captured": said.captured,
        "left_out": said.left_out,
        "uncaptured": said.uncaptured,
        "untold": said.untold,
        "refused": said.refused,
        "undelivered": said.undelivered,
        "early": said.early,
        "passes": said.passes,
    })
}
