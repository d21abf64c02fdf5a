//! One FIFO before Kafka: straight through while the brokers acknowledge, through the spool while they do not.
//!
//! ```text
//!              ┌────────────── straight ──────────────┐
//!  workers ──▶ fresh                                  lanes ──▶ broker
//!              └─ aside ─▶ spool (durable: given back) ┘ read
//! ```
//!
//! Does no I/O and reads no clock: it asks a [`Broker`] and a [`Shelf`] and is told the time.
//!
//! Invariants:
//! - of one partition nothing is handed to the broker before everything older is acknowledged or in the same batch;
//! - while the spool holds a record that is in no lane, every new record goes to the spool;
//! - a held record goes back to its worker only when the broker has acknowledged it or the spool has synced it;
//! - the spool forgets a record only when the broker has acknowledged it.
//!
//! What the broker has when the trouble begins stays with it: its workers are served from copies in the spool, and
//! whatever the broker acknowledges after all is passed over when the spool is read. Only what it reports as failed is
//! sent a second time.

mod aside;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use rdkafka::types::RDKafkaErrorCode;

use super::{
    Batch,
    lane::{Lane, is_too_large},
    lease::{Lease, Origin, Report, Ticket},
    partition,
    sides::{Broker, Course, Shelf, Tally},
};
use crate::{capture::Record, log::LogError};

/// So long without an acknowledgement, with something to acknowledge, counts as trouble.
pub(super) const STALL_NS: u64 = 500_000_000;
/// What is wrong when nobody says what.
const SILENCE: &str = "the brokers do not acknowledge what they are given";
/// Read from the spool and not acknowledged.
const IN_HAND_BYTES_MAX: usize = 16 << 20;
/// Read from the spool in one turn, so that live records never wait for long.
const READ_BYTES_MAX: usize = 2 << 20;

/// The FIFO.
pub(super) struct Fifo<B, S> {
    pub(super) broker: B,
    pub(super) shelf: Option<S>,
    /// Not in a lane and not in the spool; in order.
    fresh: VecDeque<Lease>,
    lanes: Vec<Lane>,
    /// New records queue behind the spool.
    aside: bool,
    /// Of each copied record that the broker still has: where its copy lies in the spool, `None` while in `fresh`.
    twins: BTreeMap<u64, Option<Ticket>>,
    /// Records of the spool that are passed over when they are read: the broker has them.
    adopted: BTreeSet<Ticket>,
    order: u64,
    /// Bytes of spooled records in lanes and with the broker.
    in_hand_bytes: usize,
    /// The broker acknowledged something since the last trouble.
    flowing: bool,
    /// Since when there is something to send and no broker to take it.
    stuck_since_ns: Option<u64>,
    /// Since when something unsynced is in the spool.
    unsynced_since_ns: Option<u64>,
    /// When the full disk is tried again, and what it said.
    full: Option<(u64, String)>,
    /// What is wrong, until the broker works again.
    cause: Option<String>,
    /// What the broker complained of last.
    complaint: Option<String>,
    /// What is worth telling.
    news: Option<String>,
    batch_bytes_max: usize,
    /// Of what is read from the spool and not acknowledged.
    pub(super) in_hand_bytes_max: usize,
    /// Of what is read from the spool in one turn.
    pub(super) read_bytes_max: usize,
    tally: Tally,
}

impl<B: Broker, S: Shelf> Fifo<B, S> {
    /// Without a spool new records wait in memory for the broker. `batch_bytes_max`: of one partition at a time.
    pub(super) fn new(broker: B, shelf: Option<S>, batch_bytes_max: usize) -> Self {
        let aside = shelf.as_ref().is_some_and(|shelf| !shelf.is_read());
        Self {
            broker,
            shelf,
            fresh: VecDeque::new(),
            lanes: Vec::new(),
            aside,
            twins: BTreeMap::new(),
            adopted: BTreeSet::new(),
            order: 0,
            in_hand_bytes: 0,
            flowing: false,
            stuck_since_ns: None,
            unsynced_since_ns: None,
            full: None,
            cause: None,
            complaint: None,
            news: None,
            batch_bytes_max,
            in_hand_bytes_max: IN_HAND_BYTES_MAX,
            read_bytes_max: READ_BYTES_MAX,
            tally: Tally::default(),
        }
    }

    /// A new record of a worker.
    pub(super) fn push(&mut self, link: u16, record: Record) {
        self.order += 1;
        let origin = Origin::Worker { order: self.order, link };
        self.fresh.push_back(Lease { record, partition: 0, origin });
    }

    /// Does what can be done now; `done` gets, by worker, the records that go back. An error is of the spool, and means
    /// that durability can no longer be promised.
    pub(super) fn turn(&mut self, now_ns: u64, done: &mut [Batch]) -> Result<(), LogError> {
        self.collect(now_ns, done);
        self.relane();
        self.judge(now_ns);
        if self.aside {
            self.spill(now_ns, done)?;
            self.read()?;
            self.straighten(now_ns);
        }
        if !self.aside {
            self.route();
        }
        self.hand_over(now_ns);
        match &mut self.shelf {
            Some(shelf) => shelf.checkpoint(now_ns),
            None => Ok(()),
        }
    }

    /// Something older turned up in the spool: it goes first.
    pub(super) fn step_aside(&mut self) {
        if !self.aside && self.shelf.is_some() {
            self.aside = true;
            self.withdraw();
        }
    }

    /// Whether nothing of the spool is left to send.
    pub(super) fn is_drained(&self) -> bool {
        self.shelf.as_ref().is_none_or(Shelf::is_read) && self.on_the_way() == 0
    }

    /// Whether a turn right now would find something to do that nobody will ring the bell for.
    pub(super) fn is_hungry(&self) -> bool {
        let can_read = self.aside
            && self.in_hand_bytes < self.in_hand_bytes_max
            && self.broker.partitions().is_some()
            && self.shelf.as_ref().is_some_and(|shelf| !shelf.is_read());
        let can_spill = self.aside && !self.fresh.is_empty() && self.full.is_none();
        can_read || can_spill
    }

    /// Records that no worker has back yet.
    pub(super) fn owed(&self) -> usize {
        let is_owed = |lease: &&Lease| matches!(lease.origin, Origin::Worker { .. });
        let of_lane = |lane: &Lane| lane.owed + lane.waiting.iter().filter(is_owed).count();
        self.fresh.len() + self.lanes.iter().map(of_lane).sum::<usize>()
    }

    /// Records in lanes or with the broker.
    pub(super) fn on_the_way(&self) -> usize {
        self.lanes.iter().map(|lane| lane.waiting.len() + lane.outstanding).sum()
    }

    /// Where new records go.
    pub(super) fn course(&self) -> Course {
        match (&self.shelf, self.aside, &self.cause) {
            (Some(_), true, _) if self.full.is_some() => Course::Stuck,
            (Some(_), true, Some(_)) => Course::Aside,
            (Some(_), true, None) => Course::CatchingUp,
            (None, _, Some(_)) => Course::Stuck,
            _ => Course::Straight,
        }
    }

    /// What is wrong.
    pub(super) fn cause(&self) -> Option<&str> {
        self.full.as_ref().map(|(_, text)| text.as_str()).or(self.cause.as_deref())
    }

    /// What went wrong since the last call.
    pub(super) fn take_news(&mut self) -> Option<String> {
        self.news.take()
    }

    /// The numbers since the last call.
    pub(super) fn take_tally(&mut self) -> Tally {
        std::mem::take(&mut self.tally)
    }

    fn collect(&mut self, now_ns: u64, done: &mut [Batch]) {
        let polled = self.broker.poll(now_ns);
        if let Some(complaint) = polled.complaint {
            if self.cause.is_some() {
                self.cause = Some(complaint.clone());
            }
            self.news = Some(complaint.clone());
            self.complaint = Some(complaint);
        }
        let (mut failed, mut refused) = (Vec::new(), BTreeSet::new());
        let (mut reason, mut too_large) = (None, None);
        for Report { lease, failure } in polled.reports {
            let lane = &mut self.lanes[lease.partition as usize];
            lane.reported(&lease);
            match failure {
                None => {
                    lane.taken();
                    self.acknowledged(lease, done);
                    continue;
                }
                Some(code) if is_too_large(code) => {
                    if lane.is_single() {
                        too_large = Some(refusal_text(lease.record.bytes.len()));
                    }
                    refused.insert(lease.partition);
                }
                // Called back by us: why was said before.
                Some(RDKafkaErrorCode::PurgeQueue | RDKafkaErrorCode::PurgeInflight) => {}
                Some(code) => reason = Some(code.to_string()),
            }
            failed.push(lease);
        }
        self.tally.resent += failed.len() as u64;
        self.take_back(failed);
        for partition in refused {
            self.lanes[partition as usize].refused(now_ns);
        }
        if let Some(text) = too_large {
            self.trouble(Some(text));
        }
        if reason.is_some() || polled.broken {
            self.trouble(reason);
            self.broker.renew(now_ns);
        }
    }

    fn acknowledged(&mut self, lease: Lease, done: &mut [Batch]) {
        self.flowing = true;
        let bytes = lease.record.bytes.len();
        self.tally.acknowledged += 1;
        self.tally.acknowledged_bytes += bytes as u64;
        match lease.origin {
            Origin::Worker { link, .. } => done[usize::from(link)].push(lease.record),
            Origin::Spool(ticket) => {
                self.in_hand_bytes -= bytes;
                self.arrived(ticket, bytes);
            }
            Origin::Copied { order } => match self.twins.remove(&order) {
                Some(Some(ticket)) => self.arrived(ticket, bytes),
                _ => self.serve_copy(order, done),
            },
        }
    }

    fn arrived(&mut self, ticket: Ticket, bytes: usize) {
        self.tally.drained += 1;
        self.tally.drained_bytes += bytes as u64;
        if let Some(shelf) = &mut self.shelf {
            shelf.arrived(ticket);
        }
    }

    /// The broker has the record of which the copy waits for the spool.
    fn serve_copy(&mut self, order: u64, done: &mut [Batch]) {
        let is_copy =
            |lease: &Lease| matches!(lease.origin, Origin::Worker { order: o, .. } if o == order);
        let Some(at) = self.fresh.iter().position(is_copy) else { return };
        if let Some(Lease { record, origin: Origin::Worker { link, .. }, .. }) =
            self.fresh.remove(at)
        {
            done[usize::from(link)].push(record);
        }
    }

    /// What the broker did not take goes back to where it came from, before everything newer.
    fn take_back(&mut self, failed: Vec<Lease>) {
        for mut lease in failed {
            if let Origin::Copied { order } = lease.origin {
                let Some(Some(ticket)) = self.twins.remove(&order) else { continue };
                // Something older may not be read yet: it is read behind that.
                if self.adopted.remove(&ticket) {
                    continue;
                }
                lease.origin = Origin::Spool(ticket);
                self.in_hand_bytes += lease.record.bytes.len();
            }
            let partition = lease.partition as usize;
            self.lanes[partition].take_back(lease);
        }
        if self.aside {
            self.withdraw();
        }
    }

    /// Makes the lanes for another number of partitions.
    fn relane(&mut self) {
        let Some(partitions) = self.broker.partitions() else { return };
        if self.lanes.len() == partitions {
            return;
        }
        let mut all: Vec<Lease> = Vec::new();
        for lane in &mut self.lanes {
            debug_assert_eq!(lane.outstanding, 0, "invariant: a new producer has nothing");
            all.extend(lane.waiting.drain(..));
        }
        all.sort_unstable_by_key(|lease| lease.origin);
        self.lanes = (0..partitions).map(|_| Lane::new(self.batch_bytes_max)).collect();
        for lease in all {
            self.enter(lease);
        }
    }

    fn enter(&mut self, mut lease: Lease) {
        let partition = partition::of_key(lease.record.key(), self.lanes.len());
        lease.partition = partition as u32;
        self.lanes[partition].waiting.push_back(lease);
    }

    /// Looks whether the broker still does its work.
    fn judge(&mut self, now_ns: u64) {
        let unread = self.aside && self.shelf.as_ref().is_some_and(|shelf| !shelf.is_read());
        let pending = unread
            || !self.fresh.is_empty()
            || self.lanes.iter().any(|lane| !lane.waiting.is_empty());
        let without_broker = self.broker.partitions().is_none();
        // Also with nothing to send: what comes then need not find it out.
        if without_broker {
            self.stuck_since_ns.get_or_insert(now_ns);
        } else {
            self.stuck_since_ns = None;
        }
        let stuck = self.stuck_since_ns.is_some_and(|since| now_ns >= since + STALL_NS);
        if stuck || self.is_stalled(now_ns) {
            let stalled: Vec<usize> =
                (0..self.lanes.len()).filter(|at| self.lanes[*at].is_stalled(now_ns)).collect();
            if !stalled.is_empty() {
                self.broker.examine(now_ns, &stalled);
            }
            self.trouble(None);
            return;
        }
        // With nothing to send only the brokers' answer to the question for the topic tells that they are back; whoever
        // looks at the state may be the one who keeps writes away.
        let answers = self.flowing || (!pending && self.on_the_way() == 0);
        if answers && !without_broker && !self.lanes.iter().any(Lane::is_resting) {
            (self.cause, self.complaint) = (None, None);
        }
    }

    fn is_stalled(&self, now_ns: u64) -> bool {
        self.lanes.iter().any(|lane| lane.is_stalled(now_ns))
    }

    fn trouble(&mut self, reason: Option<String>) {
        self.flowing = false;
        if reason.is_some() || self.cause.is_none() {
            let known = || self.complaint.clone();
            let text = reason.or_else(known).unwrap_or_else(|| SILENCE.into());
            self.news = Some(text.clone());
            self.cause = Some(text);
        }
        // Also when already aside: then for want of an older spool, not of the broker.
        if self.shelf.is_some() && self.cause.is_some() {
            self.aside = true;
            self.copy_out();
            self.withdraw();
        }
    }

    fn route(&mut self) {
        if self.lanes.is_empty() {
            return;
        }
        while let Some(lease) = self.fresh.pop_front() {
            self.enter(lease);
        }
    }

    /// Gives the broker a batch for every partition that has none.
    fn hand_over(&mut self, now_ns: u64) {
        if self.broker.partitions() != Some(self.lanes.len()) {
            return;
        }
        let mut refused = None;
        for lane in &mut self.lanes {
            if !lane.is_free(now_ns) {
                continue;
            }
            lane.begin(now_ns);
            while let Some(lease) = lane.next() {
                match self.broker.produce(lease) {
                    Ok(()) => {}
                    Err((code, lease)) => {
                        let bytes = lease.record.bytes.len();
                        lane.give_up(lease);
                        if is_too_large(code) {
                            lane.refused(now_ns);
                            refused.get_or_insert((code, bytes));
                        } else if code != RDKafkaErrorCode::QueueFull {
                            refused = Some((code, bytes));
                        }
                        break;
                    }
                }
            }
        }
        match refused {
            None => {}
            Some((code, bytes)) if is_too_large(code) => {
                self.trouble(Some(refusal_text(bytes)));
            }
            Some((code, _)) => {
                self.trouble(Some(code.to_string()));
                self.broker.renew(now_ns);
            }
        }
    }
}

fn refusal_text(bytes: usize) -> String {
    format!(
        "the topic takes no record of {bytes} bytes, so that what is behind it waits: raise its max.message.bytes \
         above {} (kafka-configs.sh --alter --entity-type topics), and start with a smaller --record-bytes-max",
        bytes + 500
    )
}
