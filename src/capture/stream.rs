//! One client connection's observations, gathered into records.
//!
//! Invariants:
//! - a record is never longer than the limit, holds at least one observation, and is numbered 1, 2,
//!   3, … without a hole;
//! - the caller is told where in the record each data byte lies ([`Place`]), so that held bytes can be sent from there;
//! - between records a stream holds no memory but this struct.

use super::{
    BlockPool, ConnectionId, Identity, Notes, Record, Stamp, Told,
    encode::{
        Data, EXCEPTION_BYTES_MAX, SMALL_OBSERVATION_MAX, data_overhead_max, put_close, put_data,
        put_end_of_message, put_exception, put_request_dropped, put_varint,
    },
    identity::NODE_BYTES_MAX,
    record::{PROVENANCE_BYTES_MAX, put_provenance},
};

/// The default limit of a record: 1 MiB less the reference's reserve of 500 bytes for key and record overhead.
pub const RECORD_BYTES_MAX_DEFAULT: usize = (1 << 20) - 500;

/// The smallest limit that leaves room for data beside the header of a record.
pub const RECORD_BYTES_MIN: usize = 2048;

/// Where data lies: in which record of the connection, from which byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The record's ordinal.
    pub record: u32,
    /// The first byte within the record.
    pub offset: u32,
}

/// The capture state of one connection.
#[derive(Debug)]
pub struct Stream {
    id: ConnectionId,
    /// Records finished.
    finished: u32,
    /// Ends of requests in all finished records, and in the open one.
    requests_before: u32,
    requests_open: u32,
    /// A read has been seen since the last end of a request.
    in_request: bool,
    open: Vec<u8>,
    /// Capacity worth starting the next record with.
    hint_bytes: u32,
    notes: Option<Box<Notes>>,
}

impl Stream {
    /// A connection that has not seen anything.
    pub fn new(id: ConnectionId) -> Self {
        Self {
            id,
            finished: 0,
            requests_before: 0,
            requests_open: 0,
            in_request: false,
            open: Vec::new(),
            hint_bytes: 0,
            notes: None,
        }
    }

    /// The connection's name.
    pub fn id(&self) -> &ConnectionId {
        &self.id
    }

    /// True when a record is open (it then holds at least one observation).
    pub fn is_open(&self) -> bool {
        !self.open.is_empty()
    }

    /// Memory of the open record, bytes.
    pub fn open_memory(&self) -> u64 {
        self.open.capacity() as u64
    }

    /// Bytes of the open record.
    pub fn open_bytes(&self) -> usize {
        self.open.len()
    }

    /// Records finished so far; the open one has the next number.
    pub fn finished(&self) -> u32 {
        self.finished
    }

    /// The most data bytes that fit into the open record (or a new one) under `limit`; 0 means: finish it first.
    pub fn room(&self, identity: &Identity, limit: usize) -> usize {
        let used = if self.is_open() { self.open.len() } else { header_bytes_max(identity) };
        let left = limit.saturating_sub(used + TAIL_BYTES_MAX + SMALL_RESERVE_BYTES);
        let room = left.saturating_sub(data_overhead_max(left));
        if room < ROOM_BYTES_MIN && self.is_open() { 0 } else { room }
    }

    /// Bytes from the client; at most [`Stream::room`].
    pub fn read(&mut self, to: &mut Context<'_>, stamp: &Stamp, bytes: &[u8]) -> Place {
        let place = self.data(to, stamp, Data::Read, bytes);
        self.in_request = true;
        place
    }

    /// Bytes to the client; at most [`Stream::room`].
    pub fn write(&mut self, to: &mut Context<'_>, stamp: &Stamp, bytes: &[u8]) -> Place {
        self.data(to, stamp, Data::Write, bytes)
    }

    /// The request that was being read is complete.
    pub fn end_of_request(
        &mut self,
        to: &mut Context<'_>,
        stamp: &Stamp,
        first_line: i32,
        headers: i32,
    ) {
        self.prepare(to, SMALL_OBSERVATION_MAX);
        put_end_of_message(&mut self.open, stamp, first_line, headers);
        self.in_request = false;
        self.requests_open += 1;
    }

    /// The request that was being read will not be completed in the records.
    pub fn request_dropped(&mut self, to: &mut Context<'_>, stamp: &Stamp) {
        self.prepare(to, SMALL_OBSERVATION_MAX);
        put_request_dropped(&mut self.open, stamp);
        self.in_request = false;
    }

    /// The connection broke; the text is cut at 256 bytes.
    pub fn exception(&mut self, to: &mut Context<'_>, stamp: &Stamp, message: &str) {
        let end = message.floor_char_boundary(EXCEPTION_BYTES_MAX);
        self.prepare(to, SMALL_OBSERVATION_MAX + EXCEPTION_BYTES_MAX);
        put_exception(&mut self.open, stamp, &message[..end]);
    }

    /// The connection is over.
    pub fn close(&mut self, to: &mut Context<'_>, stamp: &Stamp) {
        self.prepare(to, SMALL_OBSERVATION_MAX);
        put_close(&mut self.open, stamp);
    }

    /// What the next record is to say beside its observations.
    pub fn note(&mut self, change: impl FnOnce(&mut Notes)) {
        change(self.notes.get_or_insert_default());
    }

    /// What the open record says so far, in numbers.
    pub fn told(&self) -> Told {
        let notes = self.notes.as_deref();
        Told {
            captured: u64::from(self.requests_open),
            left_out: notes.map_or(0, |notes| notes.left_out.iter().map(|all| all.0).sum()),
            uncaptured: notes.and_then(|notes| notes.gap).map_or(0, |gap| gap.requests),
        }
    }

    /// Closes the open record. `sequence` is the next of its worker.
    pub fn finish(
        &mut self,
        identity: &Identity,
        sequence: u64,
        last: bool,
        owner: u64,
        held: bool,
    ) -> Record {
        debug_assert!(self.is_open(), "invariant: a record without observations is never written");
        self.finished += 1;
        let mut bytes = std::mem::take(&mut self.open);
        bytes.push(if last { 0x20 } else { 0x18 });
        put_varint(&mut bytes, u64::from(self.finished));
        let notes = self.notes.take().map(|notes| *notes).unwrap_or_default();
        put_provenance(&mut bytes, identity.incarnation, identity.worker, sequence, &notes);
        self.requests_before += std::mem::take(&mut self.requests_open);
        self.hint_bytes = bytes.len() as u32;
        Record { bytes, owner, number: self.finished, held, epoch: 0, memory: 0 }
    }

    /// The next record is likely to be small: forget how large the last one was.
    pub fn forget_size(&mut self) {
        self.hint_bytes = 0;
    }

    fn data(&mut self, to: &mut Context<'_>, stamp: &Stamp, kind: Data, bytes: &[u8]) -> Place {
        self.prepare(to, bytes.len() + data_overhead_max(bytes.len()));
        let offset = put_data(&mut self.open, stamp, kind, bytes) as u32;
        Place { record: self.finished + 1, offset }
    }

    /// Opens a record if none is open, with room for `more` bytes and the end of the record.
    fn prepare(&mut self, to: &mut Context<'_>, more: usize) {
        let more = more + TAIL_BYTES_MAX;
        if self.is_open() {
            to.pool.grow(&mut self.open, more);
            return;
        }
        let header = header_bytes_max(to.identity);
        self.open = to.pool.take_likely(header + more, self.hint_bytes as usize);
        let out = &mut self.open;
        out.extend_from_slice(&[0x0A, ConnectionId::BYTES as u8]);
        out.extend_from_slice(self.id.as_bytes());
        out.extend_from_slice(&[0x2A, to.identity.node.len() as u8]);
        out.extend_from_slice(to.identity.node.as_bytes());
        if self.requests_before > 0 {
            out.push(0x30);
            put_varint(out, u64::from(self.requests_before));
        }
        // Only ever written as true: the reference's replayer looks at its presence, not at its value.
        if self.in_request {
            out.extend_from_slice(&[0x38, 1]);
        }
    }
}

/// What streams of one worker share: its name and its memory.
pub struct Context<'a> {
    /// Who writes.
    pub identity: &'a Identity,
    /// Where blocks come from.
    pub pool: &'a mut BlockPool,
}

/// Fields 1, 5, 6 and 7.
fn header_bytes_max(identity: &Identity) -> usize {
    debug_assert!(identity.node.len() <= NODE_BYTES_MAX);
    2 + ConnectionId::BYTES + 2 + identity.node.len() + 6 + 2
}

/// Field 3 or 4, and the provenance.
const TAIL_BYTES_MAX: usize = 6 + PROVENANCE_BYTES_MAX;

/// Kept free for what may follow data in the same record: an end or a drop, an exception, a close.
const SMALL_RESERVE_BYTES: usize = 3 * SMALL_OBSERVATION_MAX + EXCEPTION_BYTES_MAX;

/// Below this much room an open record is finished rather than filled up with crumbs.
const ROOM_BYTES_MIN: usize = 256;

const _: () = assert!(
    RECORD_BYTES_MIN
        > 2 + ConnectionId::BYTES
            + 2
            + NODE_BYTES_MAX
            + 8
            + TAIL_BYTES_MAX
            + SMALL_RESERVE_BYTES
            + 2 * ROOM_BYTES_MIN
);

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;
    use crate::{
        capture::{Gap, GapCause, Undelivered, UndeliveredCause},
        proto::{Capture, Index, TrafficStream},
    };

    const GAP: Gap = Gap {
        cause: GapCause::Unstored,
        requests: 1,
        writes: 3,
        bytes: 1 << 40,
        since_unix_ns: 4,
        until_unix_ns: u64::MAX,
        connections: 0,
    };

    struct Bench {
        identity: Identity,
        pool: BlockPool,
        stream: Stream,
        sequence: u64,
    }

    impl Bench {
        fn new() -> Self {
            let node = "12200a50-4997-452d-aee7-f9617fdc27e7".into();
            let identity = Identity { node, incarnation: 0xFEED_0000_0000_BEEF, worker: 2 };
            let stream = Stream::new(ConnectionId::new(&identity, 9, 1_795_224_395_634_033_644));
            Self { identity, pool: BlockPool::default(), stream, sequence: 40 }
        }

        fn with<R>(&mut self, act: impl FnOnce(&mut Stream, &mut Context<'_>) -> R) -> R {
            let mut sink = Context { identity: &self.identity, pool: &mut self.pool };
            act(&mut self.stream, &mut sink)
        }

        fn finish(&mut self, last: bool) -> (Record, TrafficStream) {
            self.sequence += 1;
            let record = self.stream.finish(&self.identity, self.sequence, last, 5, false);
            let decoded = TrafficStream::decode(&record.bytes[..]).expect("decodes");
            (record, decoded)
        }
    }

    #[test]
    fn a_conversation_decodes_as_it_happened() {
        let mut bench = Bench::new();
        let stamp = Stamp::new(1_795_224_395_634_033_644);
        let place = bench.with(|stream, sink| {
            let place = stream.read(sink, &stamp, b"GET / HTTP/1.1\r\n\r\n");
            stream.end_of_request(sink, &stamp, 14, 0);
            stream.write(sink, &stamp, b"HTTP/1.1 200 OK\r\n\r\n");
            place
        });
        let (record, first) = bench.finish(false);
        assert_eq!(&record.bytes[place.offset as usize..][..5], b"GET /");
        assert_eq!(record.key(), bench.stream.id().as_bytes());
        assert_eq!(first.number(), (1, false));
        assert_eq!(first.prior_requests_received, None);
        assert_eq!(first.last_observation_was_unterminated_read, None);
        let kinds: Vec<_> =
            first.sub_stream.iter().map(|o| o.capture.as_ref().map(Capture::kind)).collect();
        assert_eq!(kinds, [Some("read"), Some("endOfMessageIndicator"), Some("write")]);
        let ts = first.sub_stream[0].ts.expect("stamped");
        assert_eq!((ts.seconds, ts.nanos), (1_795_224_395, 634_033_644));
        let origin = first.provenance.expect("always there");
        assert_eq!(
            (origin.incarnation, origin.worker, origin.sequence),
            (0xFEED_0000_0000_BEEF, 2, 41)
        );

        bench.with(|stream, sink| stream.read(sink, &stamp, b"POST"));
        let (_, second) = bench.finish(false);
        assert_eq!(second.prior_requests_received, Some(1));
        assert_eq!(second.last_observation_was_unterminated_read, None);

        bench.with(|stream, sink| {
            stream.exception(sink, &stamp, "Connection reset");
            stream.close(sink, &stamp);
            stream.note(|notes| {
                let cause = UndeliveredCause::ClientReset;
                notes.undelivered = Some(Undelivered { requests: 300, cause });
                notes.refused = Some(("bare_lf", 70_000, 0xDEAD_BEEF));
                notes.gap = Some(GAP);
            });
        });
        let (_, third) = bench.finish(true);
        assert_eq!(third.index, Some(Index::NumberOfThisLastChunk(3)));
        assert_eq!(third.last_observation_was_unterminated_read, Some(true));
        let notes = third.provenance.expect("always there");
        assert_eq!(notes.undelivered.map(|u| (u.requests, u.cause)), Some((300, 1)));
        let refused = notes.refused.expect("noted");
        assert_eq!(
            (&*refused.reason, refused.bytes, refused.crc32c),
            ("bare_lf", 70_000, 0xDEAD_BEEF)
        );
        let gap = notes.gap.unwrap();
        assert_eq!((gap.cause, gap.requests, gap.bytes, gap.writes), (2, 1, 1 << 40, 3));
        assert_eq!((gap.since_unix_ns, gap.until_unix_ns), (4, u64::MAX));
    }

    #[test]
    fn observations_are_the_bytes_of_the_stock_encoder() {
        let mut bench = Bench::new();
        let stamp = Stamp::new(7_000_000_000);
        bench.with(|stream, sink| {
            stream.read(sink, &stamp, b"");
            stream.read(sink, &stamp, &[9; 200]);
            stream.end_of_request(sink, &stamp, -1, -1);
            stream.write(sink, &stamp, &vec![1; 20_000]);
            stream.request_dropped(sink, &stamp);
            stream.exception(sink, &stamp, "");
            stream.close(sink, &stamp);
        });
        let (record, decoded) = bench.finish(true);
        for observation in &decoded.sub_stream {
            let stock = observation.encode_to_vec();
            assert!(record.bytes.windows(stock.len()).any(|window| window == stock));
        }
        assert_eq!(decoded.sub_stream.len(), 7);
    }

    #[test]
    fn a_record_never_exceeds_its_limit_whatever_is_put_into_it() {
        for limit in [RECORD_BYTES_MIN, 5000, 70_000] {
            let mut bench = Bench::new();
            let stamp = Stamp::new(u64::MAX);
            for _ in 0..50 {
                let room = bench.stream.room(&bench.identity, limit);
                if room == 0 {
                    let (record, _) = bench.finish(false);
                    assert!(record.bytes.len() <= limit, "{} > {limit}", record.bytes.len());
                    continue;
                }
                let bytes = vec![3; room.min(1500)];
                bench.with(|stream, sink| stream.read(sink, &stamp, &bytes));
            }
            bench.stream.note(|notes| {
                notes.undelivered =
                    Some(Undelivered { requests: u32::MAX, cause: UndeliveredCause::Stopped });
                notes.refused =
                    Some(("chunk_extension_too_large_and_more_text", u64::MAX, u32::MAX));
                notes.gap = Some(Gap {
                    requests: u64::MAX,
                    writes: u64::MAX,
                    bytes: u64::MAX,
                    connections: u64::MAX,
                    ..GAP
                });
            });
            bench.with(|stream, sink| {
                stream.read(sink, &stamp, b"");
                stream.close(sink, &stamp);
            });
            assert!(bench.finish(true).0.bytes.len() <= limit);
        }
    }

    #[test]
    fn an_idle_stream_is_small() {
        assert!(size_of::<Stream>() <= 128, "{}", size_of::<Stream>());
    }
}
