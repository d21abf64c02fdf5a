//! Tests of the room as a whole, over records made by the capture path and by the reference.

mod carrying;
mod describing;
mod dumping;
mod following;
mod golden;
mod heartbeats;
mod topics;
mod verifying;

use std::{
    path::PathBuf,
    time::{Duration, UNIX_EPOCH},
};

use super::{
    describe::Description,
    dump::{DumpOptions, Dumper, Format},
    filter::Filter,
    report::Report,
    source::{Loss, Origin, Place, Raw, Span, Visit, quietly, read},
    verify::Check,
};
use crate::{
    capture::{BlockPool, ConnectionId, Context, Gap, GapCause, Identity, Stamp, Stream},
    log::{Settings, Writer},
};

/// 2026-11-21T03:20:00Z.
const START: u64 = 1_795_231_200_000_000_000;

/// A worker that writes records.
struct Author {
    identity: Identity,
    pool: BlockPool,
    sequence: u64,
}

impl Author {
    fn new(worker: u16) -> Self {
        let identity = Identity { node: "node-1".into(), incarnation: 0xAB, worker };
        Self { identity, pool: BlockPool::default(), sequence: 0 }
    }

    fn stream(&self, serial: u32) -> Stream {
        Stream::new(ConnectionId::new(&self.identity, serial, 1))
    }

    /// Does something to a stream, so many milliseconds after the start.
    fn at(
        &mut self,
        stream: &mut Stream,
        millis: u64,
        act: impl FnOnce(&mut Stream, &mut Context<'_>, &Stamp),
    ) {
        let mut context = Context { identity: &self.identity, pool: &mut self.pool };
        act(stream, &mut context, &Stamp::new(START + millis * 1_000_000));
    }

    fn finish(&mut self, stream: &mut Stream, last: bool) -> Vec<u8> {
        self.sequence += 1;
        stream.finish(&self.identity, self.sequence, last, 0, false).bytes
    }

    /// A connection with one exchange in each of so many records, and a closing record.
    fn connection(&mut self, serial: u32, exchanges: usize) -> Vec<Vec<u8>> {
        let mut stream = self.stream(serial);
        let mut records = Vec::new();
        for number in 0..exchanges as u64 {
            self.at(&mut stream, number * 1000, |stream, to, stamp| {
                stream.read(to, stamp, REQUEST);
                stream.end_of_request(to, stamp, 14, 7);
            });
            self.at(&mut stream, number * 1000 + 5, |stream, to, stamp| {
                stream.write(to, stamp, RESPONSE);
            });
            records.push(self.finish(&mut stream, false));
        }
        self.at(&mut stream, 60_000, Stream::close);
        records.push(self.finish(&mut stream, true));
        records
    }
}

/// A capture log that goes with the test.
struct Scratch {
    root: tempfile::TempDir,
}

impl Scratch {
    fn of(records: &[Vec<u8>]) -> Self {
        let scratch = Self { root: tempfile::tempdir().unwrap() };
        let mut writer = scratch.writer();
        for record in records {
            writer.append(&[record]).unwrap();
        }
        writer.close().unwrap();
        scratch
    }

    fn dir(&self) -> PathBuf {
        self.root.path().join("log")
    }

    fn writer(&self) -> Writer {
        let settings =
            Settings { segment_bytes: 1 << 16, reserve_bytes: 0, ..Settings::new(self.dir()) };
        let started = UNIX_EPOCH + Duration::from_nanos(START);
        Writer::create(settings, "node-1", 0xAB, started).unwrap()
    }

    fn origin(&self) -> Origin {
        Origin::Log(self.dir())
    }

    fn dump(&self, options: &DumpOptions) -> String {
        let mut out = Vec::new();
        let mut dumper = Dumper::new(options, &mut out);
        read(&self.origin(), Span::default(), &mut dumper).unwrap();
        quietly(dumper.finish()).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn describe(&self) -> Description {
        let mut description = Description::default();
        read(&self.origin(), Span::default(), &mut description).unwrap();
        description
    }
}

/// What a description or a report says as JSON.
fn described(description: &Description, origin: &Origin) -> serde_json::Value {
    let mut out = Vec::new();
    quietly(description.print(&mut out, origin, true)).unwrap();
    serde_json::from_slice(&out).unwrap()
}

fn reported(report: &Report) -> serde_json::Value {
    let mut out = Vec::new();
    quietly(report.print(&mut out, &Origin::Log("x".into()), true)).unwrap();
    serde_json::from_slice(&out).unwrap()
}

/// Verifies records that lie in one partition, in this order.
fn verified(records: &[Vec<u8>], strict: bool) -> Report {
    let mut check = Check::new(strict);
    feed(records, &mut check);
    check.report(None)
}

fn feed(records: &[Vec<u8>], visitor: &mut dyn Visit) {
    for (offset, record) in records.iter().enumerate() {
        let place = Place::Kafka { partition: 0, offset: offset as i64 };
        visitor.record(&Raw { place, node: "", payload: Some(record) }).unwrap();
    }
}

fn options(format: Format) -> DumpOptions {
    let filter = Filter::default();
    DumpOptions { format, filter, limit: None, follow: false, preview_bytes: 24 }
}

/// What passed by, with these counts.
fn gap(requests: u64, writes: u64, bytes: u64) -> Gap {
    let (since_unix_ns, until_unix_ns) = (START, START + 2_000_000_000);
    let (cause, connections) = (GapCause::Unstored, 0);
    Gap { cause, requests, writes, bytes, since_unix_ns, until_unix_ns, connections }
}

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: s\r\n\r\n";
const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
const ID_1: &str = "00000000000000ab-00000002-00000001-0000000000000001-";
