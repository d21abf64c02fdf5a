//! One request on its way: what is sent for it, what the reply means, how it ends.

use std::cmp::Reverse;

use super::{
    amend::{self, Amended},
    conductor::{Conductor, Now, Only},
    exchange::ExchangeId,
    job::{Broken, BrokenKind, Job, Reply, Response},
    limiter::{Class, Signal},
    outcome::{Entry, Fate, Finished, Sent, Skip, What},
    retry::{self, Body, Decision, Verdict},
    table::{Attempt, AttemptAnswer, Exchange, Message, Prepared, Stage},
};
use crate::{
    es::{body, endpoint::Kind},
    http::{Method, RequestFraming, RequestHead, RequestPart},
    rewrite::{EditedHead, Instead, Rewritten},
};

/// Attempts of one request that are kept for its tuple; of more, the first and the last ones.
const ATTEMPTS_KEPT: usize = 16;
/// In tuples.
const TRANSFORM_FAILED: &str = "transform-failed";
/// How long a request waits for credentials before it asks again.
const CREDENTIALS_PAUSE_NS: u64 = 1_000_000_000;

impl Conductor {
    /// Makes the bytes of the next attempt, and says how many. `None`: it has ended or waits for something else.
    pub(super) fn prepare(&mut self, id: ExchangeId, now: Now) -> Option<usize> {
        let exchange = self.table.get(id)?;
        if exchange.stage != Stage::Queued {
            return None;
        }
        if let Some(prepared) = &exchange.prepared {
            return Some(prepared.wire_bytes(exchange.request.bytes.len()));
        }
        if !exchange.examined
            && let Some(skip) = self.examine(id)
        {
            self.skip(id, skip);
            return None;
        }
        if let Err(why) = self.cut_part(id) {
            self.unsendable(id, "bulk_unreadable", why);
            return None;
        }
        let exchange = self.table.get(id)?;
        let part = exchange.part_message.as_ref();
        if exchange.part.items.is_some() && part.is_some_and(|part| part.bytes.is_empty()) {
            // Nothing of the part is left.
            self.part_done(id, None);
            return None;
        }
        self.rewrite(id, now)
    }

    /// Whether it goes at all, and what the source's answer calls for.
    fn examine(&mut self, id: ExchangeId) -> Option<Skip> {
        let Self { table, settings, totals, .. } = self;
        let exchange = table.get_mut(id)?;
        exchange.examined = true;
        let head = &exchange.request.head;
        let wanted = match settings.only {
            Only::All => true,
            Only::Writes => !head.safe,
            Only::Reads => head.safe,
        };
        if exchange.known {
            return Some(Skip::Known);
        }
        if exchange.undelivered {
            return Some(Skip::Undelivered);
        }
        if !wanted {
            return Some(Skip::Only);
        }
        if exchange.asked.kind == Kind::Context {
            return Some(Skip::Context);
        }
        let left_out = &exchange.part.left_out;
        match amend::amend(
            &exchange.request,
            exchange.answer.as_ref(),
            settings.amend,
            left_out,
            exchange.needs,
        ) {
            Amended::Untouched => {}
            Amended::Changed(change) => {
                totals.ids_pinned += u64::from(change.what.ids);
                totals.skipped_refused_items += u64::from(change.what.left_out);
                totals.conditions_dropped += u64::from(change.what.conditions);
                for (count, note) in [
                    (change.what.ids, "ids-of-the-source"),
                    (change.what.left_out, "items-left-out"),
                    (change.what.conditions, "conditions-dropped"),
                ] {
                    if count > 0 {
                        exchange.notes.push(note);
                    }
                }
                exchange.asked.pinned = change.what.ids > 0;
                exchange.change = Some(Box::new(change));
            }
            Amended::Unable(_) => exchange.notes.push("source-answer-unknown"),
            Amended::Leave(_) => return Some(Skip::Refused),
        }
        None
    }

    /// Of a bulk that goes in parts, or of which some items go again: the message with those.
    fn cut_part(&mut self, id: ExchangeId) -> Result<(), String> {
        let Some(exchange) = self.table.get_mut(id) else { return Ok(()) };
        if exchange.part_message.is_none()
            && let Some(items) = &exchange.part.items
        {
            // What was refused while others wrote the same document may be known only now.
            let left_out = &exchange.part.left_out;
            let items = items.iter().map(|item| *item as usize);
            let items = items.filter(|item| !left_out.contains(item));
            let kept = exchange.change.as_ref().and_then(|change| change.kept.as_ref());
            let places: Vec<usize> = match kept {
                // Places among those that are left.
                Some(kept) => items.filter_map(|item| kept.binary_search(&item).ok()).collect(),
                None => items.collect(),
            };
            let (base, head) = exchange.base();
            let part = if places.is_empty() {
                Message { bytes: Vec::new(), head: *head }
            } else {
                cut(base, head, &places)?
            };
            exchange.part_message = Some(part);
        }
        Ok(())
    }

    /// Transforms, headers, credentials.
    fn rewrite(&mut self, id: ExchangeId, now: Now) -> Option<usize> {
        let Self { table, rewriter, credentials, totals, later, .. } = self;
        let exchange = table.get_mut(id)?;
        let part = exchange.part_message.as_ref().map(|part| (&part.bytes[..], &part.head));
        let (base, head) = part.unwrap_or(exchange.base());
        let again = match &exchange.again {
            // What cannot be cut goes as a whole.
            Body::Items(items) => cut(base, head, items).ok(),
            Body::All => None,
        };
        let whole = again.is_none() && part.is_none() && exchange.change.is_none();
        let (base, head) = again.as_ref().map_or((base, head), |cut| (&cut.bytes[..], &cut.head));
        let as_is = |base: &[u8]| Prepared {
            head: None,
            bytes: (!whole).then(|| base.to_vec()),
            from: 0,
            head_request: head.method == Method::Head,
        };
        if let Some(edited) = rewriter.edit_head(base, head) {
            let mut prepared = as_is(base);
            if let EditedHead::Changed(edited) = edited {
                (prepared.head, prepared.from) = (Some(edited), head.head_bytes);
            }
            let len = prepared.wire_bytes(exchange.request.bytes.len());
            exchange.prepared = Some(prepared);
            return Some(len);
        }
        let unix_s = now.unix_ns.div_euclid(1_000_000_000);
        let mut failed = false;
        let prepared = match rewriter.apply(base, head, unix_s, credentials.as_ref()) {
            Rewritten::Untouched => as_is(base),
            Rewritten::Changed(changed) => Prepared::from(changed),
            Rewritten::Filtered => {
                self.skip(id, Skip::Filtered);
                return None;
            }
            Rewritten::Unsigned => {
                later.push(Reverse((now.monotonic_ns + CREDENTIALS_PAUSE_NS, id)));
                return None;
            }
            Rewritten::Failed { why, instead } => {
                totals.transforms_failed += 1;
                failed = true;
                match instead {
                    Instead::Quarantine => {
                        self.unsendable(id, "transform_failed", why);
                        return None;
                    }
                    Instead::Untouched => as_is(base),
                    Instead::Changed(changed) => Prepared::from(changed),
                }
            }
        };
        if failed && !exchange.notes.contains(&TRANSFORM_FAILED) {
            exchange.notes.push(TRANSFORM_FAILED);
        }
        let len = prepared.wire_bytes(exchange.request.bytes.len());
        exchange.prepared = Some(prepared);
        Some(len)
    }

    /// Hands the prepared attempt out.
    pub(super) fn start(&mut self, id: ExchangeId) -> Job {
        let exchange = self.table.get_mut(id).expect("invariant: it was prepared a moment ago");
        let prepared = exchange.prepared.take().expect("invariant: it was prepared a moment ago");
        exchange.stage = Stage::InFlight;
        exchange.attempt_count += 1;
        let is_bulk = exchange.asked.kind == Kind::Bulk;
        let keep = match (is_bulk, self.settings.tuples) {
            (true, _) => usize::MAX,
            (false, true) => self.settings.reply_bytes_max,
            (false, false) => 0,
        };
        self.totals.sent += 1;
        self.totals.retries += u64::from(exchange.attempt_count > 1);
        self.totals.sent_bytes += prepared.wire_bytes(exchange.request.bytes.len()) as u64;
        self.in_flight += 1;
        let Prepared { head, bytes, from, head_request } = prepared;
        let bytes = bytes.unwrap_or_else(|| {
            exchange.lent = true;
            std::mem::take(&mut exchange.request.bytes)
        });
        self.denial.sent(id);
        let head = head.unwrap_or_default();
        exchange.sent_from = from;
        Job { id: id.0, head, bytes, from, head_request, keep }
    }

    /// Takes a reply in.
    pub fn reply(&mut self, reply: Reply, now: Now) {
        let id = ExchangeId(reply.id);
        self.in_flight -= 1;
        let seed = self.next_random();
        let tuples = self.settings.tuples;
        let Some(exchange) = self.table.get_mut(id) else { return };
        if exchange.lent {
            exchange.lent = false;
            exchange.request.bytes = reply.bytes;
            let edited = tuples && exchange.sent_from > 0;
            exchange.sent = edited.then_some(Sent::Head(reply.head));
        } else if tuples {
            let whole = exchange.sent_from == 0;
            let sent = if whole {
                reply.bytes
            } else {
                [&reply.head, &reply.bytes[exchange.sent_from..]].concat()
            };
            exchange.sent = Some(Sent::Whole(sent));
        }
        let asked = exchange.asked;
        let class = class(asked.kind, asked.writes);
        let source = exchange.answer.as_ref().map(|answer| answer.status);
        let status = reply.result.as_ref().ok().map(|response| response.status);
        let must_be_taken = asked.must_be_taken(source);
        self.denial.answered(id, status.filter(|_| must_be_taken), now.monotonic_ns);
        if exchange.stage == Stage::Abandoned {
            self.limiter.finished(now.monotonic_ns, reply.took_ns, class, Signal::Unsent);
            self.schedule.cancel(id);
            self.table.remove(id);
            return;
        }
        let attempt = match &reply.result {
            Ok(response) => {
                self.totals.received_bytes += response.wire_bytes;
                self.unreachable = None;
                retry::Attempt::Answered(retry::Reply {
                    status: response.status,
                    bytes: &response.bytes,
                    head_bytes: response.head_bytes,
                    chunked: asked.kind == Kind::Bulk
                        && body::is_chunked(&response.bytes[..response.head_bytes]),
                    accepted: self.denial.accepted(),
                })
            }
            Err(broken) => {
                if broken.kind != BrokenKind::Stale {
                    let since_ns = self
                        .unreachable
                        .as_ref()
                        .map_or(now.monotonic_ns, |(_, since_ns)| *since_ns);
                    self.unreachable = Some((broken.text.clone(), since_ns));
                }
                match broken.kind {
                    BrokenKind::Unconnected => retry::Attempt::Unconnected,
                    BrokenKind::Stale => retry::Attempt::Stale,
                    BrokenKind::Lost | BrokenKind::Cancelled => retry::Attempt::Lost,
                    BrokenKind::TimedOut => retry::Attempt::TimedOut,
                    BrokenKind::Malformed => retry::Attempt::Malformed,
                }
            }
        };
        let decided =
            self.settings.retry.decide(asked, &mut exchange.progress, attempt, source, seed);
        let signal = match &reply.result {
            Ok(_) if decided.refused => Signal::Refused,
            Ok(_) => Signal::Answered,
            Err(Broken { kind: BrokenKind::Unconnected, .. }) => Signal::Unsent,
            Err(_) => Signal::Broken,
        };
        self.limiter.finished(now.monotonic_ns, reply.took_ns, class, signal);
        exchange.possible_duplicate |= exchange.progress.is_uncertain();
        // Nobody asks for what went well.
        let went_well =
            matches!(&decided.decision, Decision::Done(verdict) if !verdict.is_failure());
        if tuples || !went_well {
            keep_attempt(&mut exchange.attempts, reply.result, reply.took_ns, tuples);
        }
        match decided.decision {
            Decision::Done(verdict) => self.part_done(id, Some(&verdict)),
            Decision::Again { .. } if self.draining => {
                // It was not done: the next run begins with it.
                exchange.stage = Stage::Delayed;
            }
            Decision::Again { after_ns, body } => {
                *self.totals.again(status) += 1;
                exchange.again = body;
                exchange.stage = Stage::Delayed;
                self.later.push(Reverse((now.monotonic_ns + after_ns, id)));
            }
        }
    }

    /// What the schedule let go is done; when that was the last of it, the request has ended.
    fn part_done(&mut self, id: ExchangeId, verdict: Option<&Verdict>) {
        let Some(exchange) = self.table.get_mut(id) else { return };
        let reads = !exchange.asked.writes;
        if reads && verdict == Some(&Verdict::TargetFailed) {
            self.totals.reads_differing += 1;
        } else if let Some(verdict) = verdict
            && verdict.is_failure()
        {
            if let Verdict::PartlyFailed(items) = verdict {
                self.totals.failed_items += items.len() as u64;
            }
            exchange.failure =
                Some(words(verdict, exchange.answer.as_ref().map(|answer| answer.status)));
        }
        if exchange.part.items.is_some() && !exchange.part.last {
            exchange.stage = Stage::Waiting;
            self.schedule.finished(id);
            return;
        }
        let fate = exchange.failure.take().map_or(Fate::Done, Fate::Failed);
        match &fate {
            Fate::Failed(_) => self.totals.failed += 1,
            _ => self.totals.done += 1,
        }
        self.finish(id, fate);
    }

    fn skip(&mut self, id: ExchangeId, skip: Skip) {
        match skip {
            Skip::Only => self.totals.skipped_only += 1,
            Skip::Filtered => self.totals.skipped_filtered += 1,
            Skip::Refused => self.totals.skipped_refused += 1,
            Skip::Undelivered => self.totals.skipped_undelivered += 1,
            Skip::Context => self.totals.skipped_context += 1,
            Skip::Known => self.totals.duplicates_skipped += 1,
        }
        self.finish(id, Fate::Skipped(skip));
    }

    fn unsendable(&mut self, id: ExchangeId, code: &'static str, why: String) {
        self.totals.unsendable += 1;
        self.finish(id, Fate::Unsendable(code, why));
    }

    fn finish(&mut self, id: ExchangeId, fate: Fate) {
        let Some(exchange) = self.table.remove(id) else { return };
        if exchange.part.items.is_some() && !exchange.part.last {
            // Its other parts do not go any more.
            self.schedule.cancel(id);
        } else {
            self.schedule.finished(id);
        }
        self.totals.possible_duplicates += u64::from(exchange.possible_duplicate);
        let quarantined = matches!(fate, Fate::Failed(_) | Fate::Unsendable(..));
        self.totals.quarantined += u64::from(quarantined);
        let wanted = quarantined || (self.settings.tuples && fate != Fate::Skipped(Skip::Known));
        let Exchange { request, place, answer, sent, attempts, possible_duplicate, notes, .. } =
            *exchange;
        let (mark, fingerprint) = (request.mark, request.fingerprint);
        self.journal.push(Entry { fingerprint, written: !wanted, mark });
        if !wanted {
            self.pins.release(mark);
            return;
        }
        let bytes = request.bytes.len()
            + answer.as_ref().map_or(0, |answer| answer.bytes.len())
            + sent.as_ref().map_or(0, Sent::bytes)
            + attempts
                .iter()
                .filter_map(|attempt| attempt.result.as_ref().ok())
                .map(|answer| answer.bytes.len())
                .sum::<usize>();
        let finished =
            Finished { request, place, answer, sent, attempts, fate, possible_duplicate, notes };
        self.hand_out(mark, Some(fingerprint), bytes as u64, What::Finished(Box::new(finished)));
    }
}

/// The message of a bulk with only the items in these places.
fn cut(message: &[u8], head: &RequestHead, places: &[usize]) -> Result<Message, String> {
    let bytes = retry::subset(message, head.head_bytes, head.chunked, places)
        .map_err(|error| error.to_string())?;
    // Its `Content-Length` is another one, perhaps of fewer digits.
    let piece = RequestFraming::new().next(&amend::limits(), &bytes);
    match piece.map(|piece| piece.what) {
        Ok(RequestPart::Head(head)) => Ok(Message { bytes, head }),
        _ => Err("the head of the bulk cannot be read any more".to_owned()),
    }
}

/// For the tuple: the first attempts and the last one. Without tuples only the last, for the quarantine.
fn keep_attempt(
    attempts: &mut Vec<Attempt>,
    result: Result<Response, Broken>,
    took_ns: u64,
    tuples: bool,
) {
    let kept = if tuples { ATTEMPTS_KEPT } else { 1 };
    if attempts.len() >= kept {
        attempts.pop();
    }
    let result = match result {
        Ok(Response { status, bytes, head_bytes, wire_bytes, .. }) => {
            Ok(AttemptAnswer { status, bytes, head_bytes, wire_bytes })
        }
        Err(broken) => Err(broken.text),
    };
    attempts.push(Attempt { result, took_ns });
}

fn class(kind: Kind, writes: bool) -> Class {
    match kind {
        Kind::Bulk => Class::Bulk,
        kind if kind == Kind::Get || kind.is_single_write() => Class::Document,
        _ if writes => Class::Other,
        _ => Class::Search,
    }
}

/// What went wrong, for people.
fn words(verdict: &Verdict, source: Option<u16>) -> String {
    let source = source
        .map_or_else(|| "has no captured answer".to_owned(), |status| format!("answered {status}"));
    match verdict {
        Verdict::PartlyFailed(items) => {
            let first = items
                .first()
                .map(|item| format!("item {}: {} {}", item.number, item.status, item.kind));
            format!(
                "{} items of the bulk failed on the target, {}",
                items.len(),
                first.unwrap_or_default()
            )
        }
        Verdict::NoAnswer => format!("the target gave no answer; the source {source}"),
        _ => format!("the target refused it for good; the source {source}"),
    }
}
