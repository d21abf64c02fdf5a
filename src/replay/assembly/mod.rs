//! Captured records become requests and answers again, per connection.
//!
//! Owns what is unfinished: requests that are not whole, answers that are not, and which answer belongs to which
//! request. Never sends on what it cannot prove to be a whole request, and never gives a request an answer that may be
//! another one's: what is in doubt is a [`Trouble`] or an [`Unanswered`], and counted.
//!
//! - A request ends where tapline's own framing says. Where that refuses (the reference reads more leniently), it ends
//!   at its end-of-message observation, and is taken if the difference is one of line ends. An end-of-message where the
//!   framing is healthy and sees none means that bytes are missing: the request is dropped.
//! - Answers are matched in order. When a record is missing, or bytes are no response, all open requests of the
//!   connection go unanswered, and matching begins anew with the next request; on a connection that pipelines it does
//!   not, because nothing tells the answers apart then.
//! - A connection is known by node and id, from its first record to its close, or until the captured time has gone on
//!   by the connection timeout.

mod answer;
mod conversation;
mod desk;
mod lenient;
mod report;
mod request;
mod table;
#[cfg(test)]
mod tests;
mod window;

use conversation::{Conversation, Opening};
use desk::Books;
pub use report::{Counters, Event, KeepAnswers, Limits, Trouble, TroubleKind};
use table::Table;

use super::{
    exchange::{ConnectionId, Mark, Unanswered},
    pins::Pins,
};
use crate::proto::{RecordView, What};

/// All conversations that are open in the records.
pub struct Assembly {
    books: Books,
    table: Table,
    connections: u64,
}

impl Assembly {
    /// Nothing read yet.
    pub fn new(limits: Limits) -> Self {
        let table = Table::new(limits.connection_timeout_ns, limits.duplicates_window);
        Self { books: Books::new(limits), table, connections: 0 }
    }

    /// Takes a record in; `pins` has read its mark. What it completes goes to `out`, in order.
    pub fn record(
        &mut self,
        mark: Mark,
        record: &RecordView<'_>,
        pins: &mut Pins,
        out: &mut Vec<Event>,
    ) {
        self.books.counters.records += 1;
        let mut slot = self.table.find(record.node_id, record.connection_id);
        let group = self.table.group(slot, mark.lane, record);
        if self.table.is_repeated(group, record) {
            self.books.counters.duplicates += 1;
            return;
        }
        if record.provenance.as_ref().is_some_and(|origin| origin.heartbeat.is_some()) {
            return self.heartbeat(record, pins, out);
        }
        let known = |at| self.table.conversation(at).number();
        if record.number > 0 && slot.is_some_and(|at| record.number <= known(at)) {
            // One that its writer numbered and that was not there before comes too late to be of use.
            match record.provenance {
                Some(_) => self.books.counters.late += 1,
                None => self.books.counters.duplicates += 1,
            }
            return;
        }
        let first_ns = record.observations().next().map(|seen| seen.at_ns);
        if let Some(at) = slot.filter(|at| self.table.is_expired(*at, first_ns)) {
            self.expire(at, pins, out);
            slot = None;
        }
        self.table.advance(record.newest_ns);
        if record.number == 1 {
            self.table.accepts_connections(group, record.node_id);
        }
        let mut at = match slot {
            Some(at) => {
                self.table.touch(at, group);
                at
            }
            None => self.open(group, record, None),
        };
        while let Some(old) = self.table.next_expired() {
            self.expire(old, pins, out);
        }

        let before = self.table.conversation(at);
        let (arriving, connection) = (before.arriving(), before.id());
        let mut desk = self.books.desk(mark, record, pins, out);
        let mut seen = record.observations();
        self.table.conversation_mut(at).begin_record(&mut desk, record);
        while self.table.conversation_mut(at).observe(&mut desk, record.last, &mut seen) {
            let index = self.table.remove(at).index();
            let carries = |what| match what {
                What::Read(data) | What::ReadSegment(data) => !data.is_empty(),
                _ => false,
            };
            if !seen.clone().any(|seen| carries(seen.what)) {
                arrived(arriving, connection, None, out);
                return;
            }
            // Reads behind a close are of a new connection that has the name of the old one.
            at = self.open(group, record, Some(index));
            desk = self.books.desk(mark, record, pins, out);
            desk.undelivered = 0;
        }
        let after = self.table.conversation(at);
        arrived(arriving, connection, Some(after), out);
    }

    /// No traffic, but time goes on by it.
    fn heartbeat(&mut self, record: &RecordView<'_>, pins: &mut Pins, out: &mut Vec<Event>) {
        self.books.counters.heartbeats += 1;
        self.table.advance(record.newest_ns);
        while let Some(old) = self.table.next_expired() {
            self.expire(old, pins, out);
        }
    }

    /// The records are over: whatever is open will not be completed.
    pub fn end(&mut self, pins: &mut Pins, out: &mut Vec<Event>) {
        for at in self.table.slots() {
            self.finish(at, Unanswered::EndOfRecords, pins, out);
        }
    }

    /// The lane is somebody else's now, who will read its unfinished requests again: its conversations are forgotten.
    pub fn drop_lane(&mut self, lane: u32, pins: &mut Pins, out: &mut Vec<Event>) {
        for at in self.table.slots_of_lane(lane) {
            let at_ns = self.table.newest_ns_of(at);
            let mut conversation = self.table.remove(at);
            arrived(conversation.arriving(), conversation.id(), None, out);
            conversation.forget(&mut self.books.bare_desk(pins, out), at_ns);
        }
        self.table.drop_lane(lane);
    }

    /// Memory of unfinished messages, in bytes: the capacity of their buffers, and twice what there is of heads that
    /// are not whole (the framing has a copy).
    pub fn bytes(&self) -> u64 {
        self.books.bytes
    }

    /// Gives up the largest unfinished request as [`TroubleKind::TooLarge`]; false when there is none.
    pub fn refuse_largest(&mut self, pins: &mut Pins, out: &mut Vec<Event>) -> bool {
        let sizes = self.table.slots().into_iter();
        let sizes = sizes.map(|at| (self.table.conversation(at).unfinished_bytes(), at));
        let Some((1.., at)) = sizes.max() else { return false };
        let conversation = self.table.conversation_mut(at);
        arrived(conversation.arriving(), conversation.id(), None, out);
        conversation.refuse_request(&mut self.books.bare_desk(pins, out));
        true
    }

    /// The captured time that was reached, Unix nanoseconds; 0 before any record. Never goes back.
    pub fn newest_ns(&self) -> i64 {
        self.table.now_ns()
    }

    /// Conversations that are open.
    pub fn conversations(&self) -> usize {
        self.table.len()
    }

    /// What was read and what came of it.
    pub fn counters(&self) -> &Counters {
        &self.books.counters
    }

    fn open(&mut self, group: u32, record: &RecordView<'_>, reopened: Option<u64>) -> u32 {
        self.books.counters.connections += 1;
        let id = ConnectionId(self.connections);
        self.connections += 1;
        let opening = Opening { id, record, reopened };
        self.table.insert(group, Conversation::new(&opening))
    }

    fn expire(&mut self, at: u32, pins: &mut Pins, out: &mut Vec<Event>) {
        self.books.counters.expired += 1;
        self.finish(at, Unanswered::Expired, pins, out);
    }

    fn finish(&mut self, at: u32, why: Unanswered, pins: &mut Pins, out: &mut Vec<Event>) {
        let at_ns = self.table.newest_ns_of(at);
        let mut conversation = self.table.remove(at);
        arrived(conversation.arriving(), conversation.id(), None, out);
        conversation.end(&mut self.books.bare_desk(pins, out), at_ns, why);
    }

    #[cfg(test)]
    fn recount(&self) -> u64 {
        self.table.slots().into_iter().map(|at| self.table.conversation(at).cost()).sum()
    }
}

/// Says what became of the bulk that was arriving on a connection, and of the one that is now.
fn arrived(
    before: Option<(u64, i64)>,
    connection: ConnectionId,
    now: Option<&Conversation>,
    out: &mut Vec<Event>,
) {
    let after = now.and_then(Conversation::arriving);
    if before == after {
        return;
    }
    if before.is_some() {
        out.push(Event::Arrived { connection });
    }
    if let (Some((_, first_ns)), Some(now)) = (after, now) {
        out.push(Event::Arriving { connection: now.id(), first_ns });
    }
}
