//! The capture log that a replay measurement reads: made traffic, written by tapline's own encoder
//! and log writer, so that its records are those of a real capture.
//!
//! It owns the bytes of the requests and answers and how they lie in records. It never measures.
//!
//! As in a capture, a record ends with each write (which is held until its record is durable) or
//! when it has reached the target size; an answer lies in the record of the request that follows.

use crate::Outcome;
use crate::host;
use std::path::Path;
use std::time::SystemTime;
use tapline::capture::{
    BlockPool, ConnectionId, Context, Identity, RECORD_BYTES_MAX_DEFAULT, Stamp, Stream,
};
use tapline::config::limits::RECORD_TARGET_BYTES;
use tapline::log::{Settings, Writer};

/// What traffic there is.
pub(crate) struct Traffic {
    /// Client connections, each with one request in flight.
    pub(crate) connections: u32,
    /// What they send.
    pub(crate) mix: Mix,
}

/// The requests of a traffic.
pub(crate) enum Mix {
    /// 30 of 100 are bulks of 5 KiB, the others GETs answered with 1 KiB; so many requests.
    Mixed(u64),
    /// Only bulks of 5 KiB; so many.
    Bulks(u64),
    /// Bulks of 5 KiB to 1 MiB, as many in each octave, until there are so many bytes of them.
    Large(u64),
}

/// What was made.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Made {
    pub(crate) requests: u64,
    pub(crate) records: u64,
    /// Of records.
    pub(crate) bytes: u64,
}

impl Traffic {
    /// Gives every record to `take`, in order.
    pub(crate) fn records(&self, mut take: impl FnMut(&[u8]) -> Outcome<()>) -> Outcome<Made> {
        let identity = Identity { node: NODE.to_owned(), incarnation: INCARNATION, worker: 0 };
        let mut recorder = Recorder { identity, pool: BlockPool::default(), made: Made::default() };
        let mut streams: Vec<(Stream, Vec<u8>)> = (0..self.connections)
            .map(|n| (Stream::new(ConnectionId::new(&recorder.identity, n, START_NS)), Vec::new()))
            .collect();
        let mut request = Vec::new();
        let mut body_bytes = 0;
        let mut number = 0;
        loop {
            let random = random(number);
            let bulk = match self.mix {
                Mix::Mixed(count) | Mix::Bulks(count) if number == count => break,
                Mix::Large(bytes) if body_bytes >= bytes => break,
                Mix::Mixed(_) => (random % 100 < BULKS_OF_100).then_some(BULK_BYTES),
                Mix::Bulks(_) => Some(BULK_BYTES),
                Mix::Large(_) => Some(large(random)),
            };
            let at = (number % u64::from(self.connections)) as usize;
            let (stream, answer) = &mut streams[at];
            let stamp = Stamp::new(START_NS + number * STEP_NS);
            // The answer to the request before, of which the client has had the time of all others.
            recorder.data(stream, &stamp, Side::Answer, answer, &mut take)?;
            request.clear();
            answer.clear();
            if let Some(bytes) = bulk {
                bulk_request(number, bytes, &mut request);
                bulk_answer(number, items_of(bytes), answer);
                body_bytes += bytes as u64;
            } else {
                get_request(number, &mut request);
                get_answer(number, answer);
            }
            recorder.data(stream, &stamp, Side::Request, &request, &mut take)?;
            let (first_line, head) = head_lengths(&request);
            let mut to = Context { identity: &recorder.identity, pool: &mut recorder.pool };
            stream.end_of_request(&mut to, &stamp, first_line, head);
            if bulk.is_some() || stream.open_bytes() >= RECORD_TARGET_BYTES {
                recorder.finish(stream, false, &mut take)?;
            }
            number += 1;
        }
        let stamp = Stamp::new(START_NS + (number + u64::from(self.connections)) * STEP_NS);
        for (stream, answer) in &mut streams {
            recorder.data(stream, &stamp, Side::Answer, answer, &mut take)?;
            let mut to = Context { identity: &recorder.identity, pool: &mut recorder.pool };
            stream.close(&mut to, &stamp);
            recorder.finish(stream, true, &mut take)?;
        }
        recorder.made.requests = number;
        Ok(recorder.made)
    }

    /// Writes a capture log into `dir`.
    pub(crate) fn write(&self, dir: &Path) -> Outcome<Made> {
        let mut writer = Writer::create(Settings::new(dir), NODE, INCARNATION, SystemTime::now())?;
        let mut batch: Vec<Vec<u8>> = Vec::new();
        let mut batch_bytes = 0;
        let made = self.records(|record| {
            batch_bytes += record.len();
            batch.push(record.to_vec());
            if batch_bytes >= BATCH_BYTES {
                host::check_interrupted()?;
                append(&mut writer, &mut batch)?;
                batch_bytes = 0;
            }
            Ok(())
        })?;
        append(&mut writer, &mut batch)?;
        writer.sync()?;
        writer.close()?;
        Ok(made)
    }
}

fn append(writer: &mut Writer, batch: &mut Vec<Vec<u8>>) -> Outcome<()> {
    let payloads: Vec<&[u8]> = batch.iter().map(Vec::as_slice).collect();
    writer.append(&payloads)?;
    batch.clear();
    Ok(())
}

#[derive(Clone, Copy)]
enum Side {
    Request,
    Answer,
}

/// What the streams share, and what came of them.
struct Recorder {
    identity: Identity,
    pool: BlockPool,
    made: Made,
}

impl Recorder {
    /// Bytes as the capture sees them: in reads of a limited size, over as many records as needed.
    fn data(
        &mut self,
        stream: &mut Stream,
        stamp: &Stamp,
        side: Side,
        bytes: &[u8],
        take: &mut impl FnMut(&[u8]) -> Outcome<()>,
    ) -> Outcome<()> {
        for part in bytes.chunks(READ_BYTES) {
            if stream.room(&self.identity, RECORD_BYTES_MAX_DEFAULT) < part.len()
                || stream.open_bytes() >= RECORD_TARGET_BYTES
            {
                self.finish(stream, false, take)?;
            }
            let mut to = Context { identity: &self.identity, pool: &mut self.pool };
            match side {
                Side::Request => stream.read(&mut to, stamp, part),
                Side::Answer => stream.write(&mut to, stamp, part),
            };
        }
        Ok(())
    }

    fn finish(
        &mut self,
        stream: &mut Stream,
        last: bool,
        take: &mut impl FnMut(&[u8]) -> Outcome<()>,
    ) -> Outcome<()> {
        let record = stream.finish(&self.identity, self.made.records, last, 0, false);
        self.made.records += 1;
        self.made.bytes += record.bytes.len() as u64;
        take(&record.bytes)?;
        self.pool.give(record.bytes);
        Ok(())
    }
}

/// A GET of a document that no bulk writes.
pub(crate) fn get_request(number: u64, out: &mut Vec<u8>) {
    put(
        out,
        format_args!(
            "GET /bench/_doc/r{:012} HTTP/1.1\r\nHost: source.bench:9200\r\n\
         User-Agent: tapline-bench\r\nAccept: application/json\r\n\r\n",
            number % 10_000
        ),
    );
}

/// Head and body; the body has [`GET_BYTES`].
pub(crate) fn get_answer(number: u64, out: &mut Vec<u8>) {
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {GET_BYTES}\r\n\r\n"
    );
    out.extend_from_slice(head.as_bytes());
    get_answer_body(number, out);
}

/// The body alone.
pub(crate) fn get_answer_body(number: u64, out: &mut Vec<u8>) {
    let end = out.len() + GET_BYTES;
    put(
        out,
        format_args!(
            "{{\"_index\":\"bench\",\"_id\":\"r{:012}\",\"_version\":1,\"_seq_no\":7,\
         \"_primary_term\":1,\"found\":true,\"_source\":{{\"text\":\"",
            number % 10_000
        ),
    );
    fill(out, end - 3);
    out.extend_from_slice(b"\"}}");
}

/// A bulk of exactly `bytes` bytes of body: documents with ids that no other bulk has.
pub(crate) fn bulk_request(number: u64, bytes: usize, out: &mut Vec<u8>) {
    put(
        out,
        format_args!(
            "POST /_bulk HTTP/1.1\r\nHost: source.bench:9200\r\nUser-Agent: tapline-bench\r\n\
         Content-Type: application/x-ndjson\r\nContent-Length: {bytes}\r\n\r\n"
        ),
    );
    let end = out.len() + bytes;
    let items = items_of(bytes);
    for item in 0..items {
        let item_end = if item + 1 == items { end } else { out.len() + ITEM_BYTES };
        put(
            out,
            format_args!(
                "{{\"index\":{{\"_index\":\"bench\",\"_id\":\"{number:012}-{item:04}\"}}}}\n\
             {{\"user\":\"kimchy\",\"number\":{number},\"text\":\""
            ),
        );
        fill(out, item_end - 3);
        out.extend_from_slice(b"\"}\n");
    }
}

/// How many documents a bulk of that size has.
pub(crate) fn items_of(bytes: usize) -> usize {
    (bytes / ITEM_BYTES).max(1)
}

/// Head and body.
pub(crate) fn bulk_answer(number: u64, items: usize, out: &mut Vec<u8>) {
    let mut body = Vec::with_capacity(items * 200 + 64);
    bulk_answer_body(number, items, &mut body);
    put(
        out,
        format_args!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        ),
    );
    out.extend_from_slice(&body);
}

/// The body alone: every document was created.
pub(crate) fn bulk_answer_body(number: u64, items: usize, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"took\":1,\"errors\":false,\"items\":[");
    for item in 0..items {
        let comma = if item > 0 { "," } else { "" };
        put(
            out,
            format_args!(
                "{comma}{{\"index\":{{\"_index\":\"bench\",\"_id\":\"{number:012}-{item:04}\",\
             \"_version\":1,\"result\":\"created\",\"_seq_no\":{},\"_primary_term\":1,\
             \"status\":201}}}}",
                number * 10_000 + item as u64
            ),
        );
    }
    out.extend_from_slice(b"]}");
}

/// Bytes of the request line, and of the header lines without their ends.
fn head_lengths(request: &[u8]) -> (i32, i32) {
    let end = memchr::memmem::find(request, b"\r\n\r\n").unwrap_or(0);
    let mut lines = request[..end].split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii_end);
    let first = lines.next().map_or(0, <[u8]>::len);
    (first as i32, lines.map(<[u8]>::len).sum::<usize>() as i32)
}

/// Words up to the length `end`.
fn fill(out: &mut Vec<u8>, end: usize) {
    const WORDS: &[u8] = b"the quick brown fox jumps over the lazy dog and ";
    while out.len() < end {
        let missing = end - out.len();
        out.extend_from_slice(&WORDS[..missing.min(WORDS.len())]);
    }
}

fn put(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    use std::io::Write;
    out.write_fmt(text).expect("invariant: a Vec takes everything");
}

/// From [`BULK_BYTES`] to [`BULK_BYTES_MAX`], its logarithm evenly distributed.
fn large(random: u64) -> usize {
    let (low, high) = (BULK_BYTES as f64, BULK_BYTES_MAX as f64);
    let share = (random >> 11) as f64 / (1_u64 << 53) as f64;
    (low * (high / low).powf(share)) as usize
}

/// The same numbers in every run (splitmix64).
fn random(number: u64) -> u64 {
    let mut z = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Body of the bulks, and of the smallest.
pub(crate) const BULK_BYTES: usize = 5 << 10;
const BULK_BYTES_MAX: usize = 1 << 20;
/// Body of the answer to a GET.
const GET_BYTES: usize = 1 << 10;
/// Of one hundred requests.
pub(crate) const BULKS_OF_100: u64 = 30;
/// One document with its action, the last one of a bulk takes what is left.
const ITEM_BYTES: usize = 512;
/// What a capture reads at once, at most.
const READ_BYTES: usize = 64 << 10;
const BATCH_BYTES: usize = 1 << 20;
const NODE: &str = "12200a50-4997-452d-aee7-f9617fdc27e7";
const INCARNATION: u64 = 0xBE_5C_00_01;
/// 2026-11-18, and 70,000 requests per second from there on.
const START_NS: u64 = 1_795_000_000_000_000_000;
const STEP_NS: u64 = 14_286;
