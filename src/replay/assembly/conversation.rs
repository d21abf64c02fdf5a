//! One captured connection: whose answer is whose, and what holds when records are missing.
//!
//! Idle conversations are many, so what only matters while something is unfinished stands in [`Open`].

mod endings;

use std::{collections::VecDeque, rc::Rc};

use super::{
    answer::{Outgoing, is_wanted},
    desk::Desk,
    lenient,
    report::{Event, TroubleKind},
    request::{Incoming, State, drop_empty_lines},
};
use crate::{
    http::{Answering, Method, RequestHead},
    proto::{Observations, RecordView, Seen, What},
    replay::exchange::{Answer, ConnectionId, ConnectionName, ExchangeId, Request, Unanswered},
};

/// One connection between its first record and its end.
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own; they combine freely")]
pub(super) struct Conversation {
    name: Rc<ConnectionName>,
    id: ConnectionId,
    /// Of the next request.
    index: u64,
    /// The hash of node and connection, from which fingerprints go on.
    hash: u64,
    /// Of the last record; 0: none had one.
    number: i32,
    /// Requests that the framing ended and no end-of-message observation has yet.
    ahead: u32,
    answers: Matching,
    /// Reads are of a request whose beginning is not in the records.
    skipping: bool,
    /// The connection speaks another protocol now.
    tunnel: bool,
    /// A request has begun while another one's answer was open.
    pipelines: bool,
    /// A request has come out of it.
    spoke: bool,
    open: Option<Box<Open>>,
}

/// Whether responses can be told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Matching {
    /// The next response answers the oldest open request.
    Sure,
    /// Not before the next request begins. Requests that end before that go unanswered, for this reason.
    Lost(Unanswered),
    /// Never again.
    LostForGood(Unanswered),
}

/// What is unfinished.
#[derive(Default)]
pub(super) struct Open {
    request: Incoming,
    /// Whole requests without an answer, oldest first.
    waiting: VecDeque<Waiting>,
    response: Outgoing,
    /// The answer to the request that is not whole yet.
    early: Option<Answer>,
    early_cost: u64,
}

struct Waiting {
    /// None: nobody wants to know.
    id: Option<ExchangeId>,
    asked: Answering,
    keep: bool,
}

/// With what a conversation begins.
pub(super) struct Opening<'a> {
    pub(super) id: ConnectionId,
    pub(super) record: &'a RecordView<'a>,
    /// Behind a close in the same record: the index to go on from.
    pub(super) reopened: Option<u64>,
}

impl Conversation {
    pub(super) fn new(opening: &Opening<'_>) -> Self {
        let record = opening.record;
        let name = ConnectionName {
            node: record.node_id.into(),
            clock: fnv(FNV_OFFSET, record.node_id.as_bytes()),
            id: record.connection_id.into(),
        };
        let parts = [name.node.as_bytes(), &[0], name.id.as_bytes(), &[0]];
        let hash = parts.into_iter().fold(FNV_OFFSET, fnv);
        let fresh = opening.reopened.is_some();
        let prior = u64::try_from(record.prior_requests).unwrap_or(0);
        let middle = record.number > 1 || prior > 0 || record.unterminated_read;
        Self {
            name: Rc::new(name),
            id: opening.id,
            index: opening.reopened.unwrap_or(prior),
            hash,
            number: if fresh { record.number } else { 0 },
            ahead: 0,
            answers: if middle && !fresh {
                Matching::Lost(Unanswered::Gap)
            } else {
                Matching::Sure
            },
            skipping: record.unterminated_read && !fresh,
            tunnel: false,
            pipelines: false,
            spoke: false,
            open: None,
        }
    }

    pub(super) fn name(&self) -> &Rc<ConnectionName> {
        &self.name
    }

    pub(super) fn number(&self) -> i32 {
        self.number
    }

    pub(super) fn index(&self) -> u64 {
        self.index
    }

    /// Memory of the request that is arriving, if any is kept of it.
    pub(super) fn unfinished_bytes(&self) -> u64 {
        self.open.as_ref().filter(|open| open.request.is_kept()).map_or(0, |open| open.request.cost)
    }

    /// The large bulk that is arriving: its index, and when its first byte was seen.
    pub(super) fn arriving(&self) -> Option<(u64, i64)> {
        let request = &self.open.as_ref()?.request;
        request.is_large_bulk().then_some((self.index, request.first_ns))
    }

    pub(super) fn id(&self) -> ConnectionId {
        self.id
    }

    #[cfg(test)]
    pub(super) fn cost(&self) -> u64 {
        self.open
            .as_ref()
            .map_or(0, |open| open.request.cost + open.response.cost + open.early_cost)
    }

    /// What the record says of itself, and of what is missing before it.
    pub(super) fn begin_record(&mut self, desk: &mut Desk<'_>, record: &RecordView<'_>) {
        let missing = i64::from(record.number) - i64::from(self.number) - 1;
        if self.number > 0 && missing > 0 {
            self.gap(desk, record, missing);
        }
        if record.number > 0 {
            self.number = record.number;
        }
        let Some(notes) = &record.provenance else { return };
        desk.books.counters.refused += u64::from(notes.refused.is_some());
        desk.books.counters.undelivered += u64::from(desk.undelivered);
        desk.books.counters.left_out += notes.left_out.iter().map(|all| all.requests).sum::<u64>();
        if let Some(gap) = notes.gap {
            let (requests, bytes) = (gap.requests, gap.bytes);
            desk.books.counters.uncaptured_requests += requests;
            desk.books.counters.uncaptured_bytes += bytes;
            let reason = format!(
                "{requests} requests and {bytes} bytes passed uncaptured; see the log of the capturing node"
            );
            desk.trouble(&self.name, desk.mark, TroubleKind::Uncaptured, reason, Vec::new());
            self.lose(desk, Unanswered::Gap);
        }
    }

    fn gap(&mut self, desk: &mut Desk<'_>, record: &RecordView<'_>, missing: i64) {
        desk.books.counters.missing_records += missing as u64;
        let reason = format!("{missing} records are missing before number {}", record.number);
        desk.trouble(&self.name, desk.mark, TroubleKind::Gap, reason, Vec::new());
        self.drop_request(desk, "a record of it is missing");
        self.lose(desk, Unanswered::Gap);
        self.index = self.index.max(u64::try_from(record.prior_requests).unwrap_or(0));
        self.skipping = record.unterminated_read && !self.tunnel;
        self.ahead = 0;
    }

    /// Takes in what was seen, until the connection ends; true when it has ended.
    pub(super) fn observe(
        &mut self,
        desk: &mut Desk<'_>,
        last: bool,
        all: &mut Observations<'_>,
    ) -> bool {
        let mut newest_ns = 0;
        for Seen { at_ns, what } in all {
            newest_ns = at_ns;
            match what {
                What::Read(bytes) | What::ReadSegment(bytes) => self.read(desk, at_ns, bytes),
                What::Write(bytes) | What::WriteSegment(bytes) => self.write(desk, at_ns, bytes),
                What::EndOfMessage => self.end_of_message(desk),
                What::RequestDropped => self.request_dropped(desk),
                What::Exception => self.exception(desk),
                What::Close => {
                    self.end(desk, at_ns, Unanswered::ConnectionEnded);
                    return true;
                }
                What::SegmentEnd | What::Other => {}
            }
        }
        if last {
            self.end(desk, newest_ns, Unanswered::ConnectionEnded);
            return true;
        }
        self.undeliver(desk);
        self.rest(desk.books);
        false
    }

    fn read(&mut self, desk: &mut Desk<'_>, at_ns: i64, mut bytes: &[u8]) {
        if self.tunnel || self.skipping {
            let counters = &mut desk.books.counters;
            let counter = if self.tunnel {
                &mut counters.tunnel_bytes
            } else {
                &mut counters.ignored_request_bytes
            };
            *counter += bytes.len() as u64;
            return;
        }
        while !bytes.is_empty() {
            let open = self.open.get_or_insert_with(|| desk.books.take_spare());
            if !open.request.begun() {
                self.pipelines |= !open.waiting.is_empty();
                if matches!(self.answers, Matching::Lost(_)) && !desk.gap {
                    self.answers = Matching::Sure;
                }
                open.request.begin(desk.mark, at_ns);
                desk.pins.hold(desk.mark);
            }
            let taken = open.request.take(desk.books, at_ns, bytes);
            if taken.too_large {
                let max = desk.books.limits.request_bytes_max;
                self.give_up(desk, &format!("it is longer than {max} bytes; raise the limit"));
            }
            if taken.end {
                self.ahead += 1;
                self.complete(desk, None);
            }
            bytes = &bytes[taken.len..];
        }
    }

    /// The request that was arriving is whole; `mended`: it was taken in spite of the framing.
    fn complete(&mut self, desk: &mut Desk<'_>, mended: Option<(Vec<u8>, RequestHead)>) {
        let Some(open) = &mut self.open else { return };
        let request = &mut open.request;
        let given_up = request.state == State::GivenUp;
        let (mark, first_ns, last_ns) = (request.mark, request.first_ns, request.last_ns);
        let head = request.head;
        let bytes = request.finish(desk.books);
        let (mut bytes, mut head) = mended.unwrap_or_else(|| {
            (bytes, head.expect("invariant: the framing ends no request before its head"))
        });
        drop_empty_lines(&mut bytes, &mut head);
        let index = self.index;
        self.index += 1;
        let keep = is_wanted(desk.books, Some(&head), &bytes);
        let mut id = None;
        if !given_up {
            let number = desk.books.next_exchange();
            id = Some(number);
            self.spoke = true;
            desk.books.counters.requests += 1;
            desk.out.push(Event::Request(Request {
                id: number,
                connection: self.id,
                name: Rc::clone(&self.name),
                index,
                fingerprint: fnv(self.hash, &index.to_le_bytes()),
                bytes,
                head,
                first_ns,
                last_ns,
                mark,
            }));
        }
        if let Matching::Lost(why) | Matching::LostForGood(why) = self.answers {
            if let Some(id) = id {
                desk.unanswered(id, why);
            }
            return;
        }
        if let Some(answer) = open.early.take() {
            desk.books.account(&mut open.early_cost, 0);
            answered(desk, id, answer);
            return;
        }
        open.waiting.push_back(Waiting { id, asked: asked(Some(&head)), keep });
    }

    fn write(&mut self, desk: &mut Desk<'_>, at_ns: i64, mut bytes: &[u8]) {
        if self.tunnel {
            desk.books.counters.tunnel_bytes += bytes.len() as u64;
            return;
        }
        while !bytes.is_empty() {
            let open = self.open.as_deref_mut().filter(|_| self.answers == Matching::Sure);
            let Some(open) = open.filter(|open| open.is_answerable()) else {
                desk.books.counters.ignored_response_bytes += bytes.len() as u64;
                return;
            };
            let (kind, keep) = if let Some(waiting) = open.waiting.front() {
                (waiting.asked, waiting.keep)
            } else {
                let head = open.request.head.as_ref();
                (asked(head), is_wanted(desk.books, head, &[]))
            };
            let taken = open.response.take(desk.books, desk.mark, kind, keep, at_ns, bytes);
            let given = match taken {
                Ok(given) => given,
                Err(malformed) => {
                    let reason = format!("what was written is no response: {}", malformed.reason());
                    desk.trouble(&self.name, desk.mark, TroubleKind::Unreadable, reason, vec![]);
                    self.lose(desk, Unanswered::Unreadable);
                    continue;
                }
            };
            if let Some(answer) = given.answer {
                if let Some(waiting) = open.waiting.pop_front() {
                    answered(desk, waiting.id, answer);
                } else {
                    desk.books.account(&mut open.early_cost, answer.bytes.capacity() as u64);
                    open.early = Some(answer);
                }
            }
            bytes = &bytes[given.len..];
            if given.upgraded {
                self.switch(desk);
                self.write(desk, at_ns, bytes);
                return;
            }
        }
    }

    /// A 101: the bytes that follow are of another protocol, and so is what was read behind the request.
    fn switch(&mut self, desk: &mut Desk<'_>) {
        self.tunnel = true;
        if let Some(open) = &mut self.open {
            if open.request.is_kept() {
                desk.pins.release(open.request.mark);
            }
            desk.books.counters.tunnel_bytes += open.request.reset(desk.books).len() as u64;
        }
        self.lose(desk, Unanswered::Unreadable);
    }

    fn end_of_message(&mut self, desk: &mut Desk<'_>) {
        if self.skipping {
            self.skipping = false;
            self.index += 1;
            return;
        }
        let Some(open) = self.open.as_mut().filter(|open| open.request.begun()) else {
            self.ahead = 0;
            return;
        };
        if self.ahead > 0 {
            self.ahead -= 1;
            return;
        }
        if open.request.is_blank() {
            return;
        }
        if let State::Refused(_) = open.request.state
            && let Some(mended) = lenient::mend(&desk.books.limits.http, &open.request.bytes)
        {
            desk.books.counters.mended += 1;
            open.request.reset_framing();
            self.complete(desk, Some(mended));
            return;
        }
        self.drop_request(desk, "the capture ended it where its head says that more follows");
        self.index += 1;
        // Nobody can say what the source made of it.
        self.lose(desk, Unanswered::Unreadable);
    }

    /// The capture gave the request up.
    fn request_dropped(&mut self, desk: &mut Desk<'_>) {
        self.skipping = false;
        if let Some(open) = self.open.as_mut().filter(|open| open.request.begun()) {
            desk.books.counters.dropped_by_capture += 1;
            if open.request.is_kept() {
                desk.pins.release(open.request.mark);
            }
            open.request.reset(desk.books);
            self.drop_early(desk);
        }
        self.ahead = 0;
    }

    fn exception(&mut self, desk: &mut Desk<'_>) {
        self.undeliver(desk);
        self.drop_request(desk, "the connection broke before its end");
        self.skipping = false;
        self.ahead = 0;
        // A client whose request tapline refused still gets the answers to its earlier ones.
        if !desk.refused && !self.tunnel {
            self.close_response(desk);
            self.lose(desk, Unanswered::ConnectionEnded);
        }
    }
}

impl Open {
    /// Somebody waits for what is written.
    fn is_answerable(&self) -> bool {
        let early = self.request.begun() && !self.request.is_blank() && self.early.is_none();
        !self.waiting.is_empty() || early
    }
}

fn answered(desk: &mut Desk<'_>, id: Option<ExchangeId>, answer: Answer) {
    if let Some(id) = id {
        desk.books.counters.answers += 1;
        desk.out.push(Event::Answer { id, answer });
    }
}

fn asked(head: Option<&RequestHead>) -> Answering {
    if head.is_some_and(|head| head.method == Method::Head) {
        Answering::Head
    } else {
        Answering::Other
    }
}

/// FNV-1a with 64 bits, going on from `hash`.
fn fnv(hash: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(hash, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(FNV_PRIME))
}

const FNV_OFFSET: u64 = 0xCBF2_9CE4_8422_2325;
const FNV_PRIME: u64 = 0x0100_0000_01B3;
