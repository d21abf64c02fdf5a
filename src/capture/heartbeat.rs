//! A worker's own word on where it stands: a record among its records, on a connection of its own that closes at once.
//!
//! To a reader that does not know the note it is an empty connection. To one that does it says that the worker lived at
//! that time and how many records it had made until then, so that records missing at the end of a run show too.

use super::{
    Context, Record, Stamp, Stream,
    encode::{put_varint, varint_len},
};
use crate::capture::ConnectionId;

/// What a heartbeat says. Counts are of this worker since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Heartbeat {
    /// How long until the next one, milliseconds.
    pub interval_ms: u64,
    /// The worker ends in order, and this is its last record.
    pub last: bool,
    /// Workers of its process, so that one that says nothing is missed.
    pub workers: u64,
    /// Every record up to this sequence is known to be stored.
    pub stored: u64,
    /// Since when it takes connections, Unix nanoseconds.
    pub started_unix_ns: u64,
    /// Connections accepted.
    pub connections: u64,
    /// Requests seen.
    pub requests: u64,
    /// Bytes of clients passed on to the source.
    pub forwarded_bytes: u64,
    /// What the records before this one say.
    pub told: Told,
    /// Requests that passed uncaptured and of which no record says so yet.
    pub untold: u64,
    /// Requests refused.
    pub refused: u64,
    /// Requests recorded that never reached the source.
    pub undelivered: u64,
    /// Requests let through before their records were safe.
    pub early: u64,
    /// The operator chose that writes pass while records cannot be stored.
    pub passes: bool,
}

/// Sums over records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// Ends of requests.
    pub captured: u64,
    /// Requests left out on purpose, as notes say.
    pub left_out: u64,
    /// Requests that passed uncaptured, as notes say.
    pub uncaptured: u64,
}

impl Heartbeat {
    /// The record that says it. `sequence` is the next of its worker.
    pub fn record(
        &self,
        to: &mut Context<'_>,
        stamp: &Stamp,
        id: ConnectionId,
        sequence: u64,
    ) -> Record {
        let identity = to.identity;
        let mut stream = Stream::new(id);
        stream.close(to, stamp);
        stream.note(|notes| notes.heartbeat = Some(*self));
        stream.finish(identity, sequence, true, NOBODY, false)
    }

    /// Field 9 of the provenance.
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        let fields = self.fields();
        let tagged = || (1..).zip(fields).map(|(number, value)| (number << 3, value));
        let present = || tagged().filter(|(_, value)| *value > 0);
        let len = present().map(|(tag, value)| varint_len(tag) + varint_len(value));
        out.push(0x4A);
        put_varint(out, len.sum::<usize>() as u64);
        for (tag, value) in present() {
            put_varint(out, tag);
            put_varint(out, value);
        }
    }

    fn fields(&self) -> [u64; FIELDS] {
        [
            self.interval_ms,
            u64::from(self.last),
            self.started_unix_ns,
            self.connections,
            self.requests,
            self.forwarded_bytes,
            self.told.captured,
            self.told.left_out,
            self.told.uncaptured,
            self.untold,
            self.refused,
            self.undelivered,
            self.early,
            self.workers,
            self.stored,
            u64::from(self.passes),
        ]
    }
}

/// Nothing waits for such a record, so that nobody asks whose it is.
pub(super) const NOBODY: u64 = u64::MAX;
const FIELDS: usize = 16;
/// The most bytes that [`Heartbeat::put`] appends.
pub(super) const HEARTBEAT_BYTES_MAX: usize = 1 + 2 + FIELDS * (2 + 10);

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;
    use crate::{
        capture::{BlockPool, Identity},
        proto::{self, RecordView, TrafficStream},
    };

    #[test]
    fn a_heartbeat_is_an_empty_closed_connection_with_a_note() {
        let identity = Identity { node: "n".into(), incarnation: 7, worker: 2 };
        let mut pool = BlockPool::default();
        let told = Told { captured: 7, left_out: 8, uncaptured: 9 };
        let heartbeat = Heartbeat {
            interval_ms: 10_000,
            last: true,
            workers: 14,
            stored: 15,
            started_unix_ns: u64::MAX,
            connections: 4,
            requests: 5,
            forwarded_bytes: 6,
            told,
            untold: 10,
            refused: 0,
            undelivered: 12,
            early: 13,
            passes: true,
        };
        let mut to = Context { identity: &identity, pool: &mut pool };
        let id = ConnectionId::new(&identity, 1, 2);
        let record = heartbeat.record(&mut to, &Stamp::new(3_000_000_000), id, 44);
        let decoded = TrafficStream::decode(&record.bytes[..]).unwrap();
        assert_eq!(decoded.number(), (1, true));
        let kinds: Vec<_> = decoded.sub_stream.iter().map(|seen| seen.capture.clone()).collect();
        assert_eq!(kinds, [Some(proto::Capture::Close(proto::Empty {}))]);
        let provenance = decoded.provenance.unwrap();
        assert_eq!((provenance.incarnation, provenance.worker, provenance.sequence), (7, 2, 44));
        let said = provenance.heartbeat.unwrap();
        assert_eq!((said.interval_ms, said.last, said.started_unix_ns), (10_000, true, u64::MAX));
        assert_eq!((said.captured, said.left_out, said.uncaptured, said.untold), (7, 8, 9, 10));
        assert_eq!((said.refused, said.undelivered, said.early), (0, 12, 13));
        assert_eq!((said.workers, said.stored, said.passes), (14, 15, true));
        let view = RecordView::parse(&record.bytes).unwrap();
        assert_eq!(view.provenance.unwrap().heartbeat, Some(said));
        let most = Heartbeat {
            interval_ms: u64::MAX,
            workers: u64::MAX,
            stored: u64::MAX,
            connections: u64::MAX,
            requests: u64::MAX,
            forwarded_bytes: u64::MAX,
            told: Told { captured: u64::MAX, left_out: u64::MAX, uncaptured: u64::MAX },
            untold: u64::MAX,
            refused: u64::MAX,
            undelivered: u64::MAX,
            early: u64::MAX,
            ..heartbeat
        };
        let mut out = Vec::new();
        most.put(&mut out);
        assert!(out.len() <= HEARTBEAT_BYTES_MAX);
    }
}
