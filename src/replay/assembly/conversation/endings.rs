//! How a conversation and its parts end before their time: what is given up, told and let go of.

use super::{
    super::{
        desk::{Books, Desk},
        report::{Event, TroubleKind},
        request::State,
    },
    Conversation, Matching, Open, answered,
};
use crate::replay::exchange::Unanswered;

impl Conversation {
    /// The conversation is over.
    pub(in crate::replay::assembly) fn end(
        &mut self,
        desk: &mut Desk<'_>,
        at_ns: i64,
        why: Unanswered,
    ) {
        self.undeliver(desk);
        self.drop_request(
            desk,
            match why {
                Unanswered::Expired => "nothing more of it came within the connection timeout",
                Unanswered::EndOfRecords => "the records end before its end",
                _ => "the connection ended before its end",
            },
        );
        if why == Unanswered::ConnectionEnded {
            self.close_response(desk);
        }
        if why != Unanswered::EndOfRecords
            && let Some(open) = self.open.as_ref().filter(|open| open.response.begun())
        {
            let reason = "the connection ended before the response did";
            desk.trouble(&self.name, open.response.mark, TroubleKind::CutOff, reason, Vec::new());
        }
        self.lose(desk, why);
        self.rest(desk.books);
        if self.spoke {
            desk.out.push(Event::ConnectionEnded { connection: self.id, at_ns });
        }
    }

    /// Somebody else reads it now.
    pub(in crate::replay::assembly) fn forget(&mut self, desk: &mut Desk<'_>, at_ns: i64) {
        if let Some(open) = &mut self.open {
            if open.request.is_kept() {
                desk.pins.release(open.request.mark);
            }
            open.request.reset(desk.books);
            let ids = open.waiting.drain(..).filter_map(|waiting| waiting.id);
            desk.out.extend(ids.map(|id| Event::Forgotten { id }));
        }
        self.lose(desk, Unanswered::Gap);
        self.rest(desk.books);
        if self.spoke {
            desk.out.push(Event::ConnectionEnded { connection: self.id, at_ns });
        }
    }

    /// Memory is short: the request that is arriving is not worth it.
    pub(in crate::replay::assembly) fn refuse_request(&mut self, desk: &mut Desk<'_>) {
        self.give_up(desk, "unfinished requests use up the memory; raise the limit");
    }

    pub(super) fn give_up(&mut self, desk: &mut Desk<'_>, reason: &str) {
        let Some(open) = &mut self.open else { return };
        desk.pins.release(open.request.mark);
        let bytes = open.request.give_up(desk.books);
        let mark = open.request.mark;
        desk.trouble(&self.name, mark, TroubleKind::TooLarge, reason, bytes);
    }

    /// The request that is arriving will never be whole.
    pub(super) fn drop_request(&mut self, desk: &mut Desk<'_>, reason: &str) {
        let Some(open) = self.open.as_mut().filter(|open| open.request.begun()) else { return };
        let (blank, state, mark) = (open.request.is_blank(), open.request.state, open.request.mark);
        let kept = open.request.is_kept();
        let bytes = open.request.reset(desk.books);
        if kept {
            desk.pins.release(mark);
        }
        match state {
            State::Refused(refusal) => {
                let reason = format!("{}: no request by RFC 9112", refusal.reason());
                desk.trouble(&self.name, mark, TroubleKind::NotARequest, reason, bytes);
            }
            State::Framed if !blank => {
                desk.trouble(&self.name, mark, TroubleKind::Truncated, reason, bytes);
            }
            _ => {}
        }
        self.drop_early(desk);
    }

    /// Nobody waits for what has been read of the answer to a request that was dropped.
    pub(super) fn drop_early(&mut self, desk: &mut Desk<'_>) {
        let Some(open) = &mut self.open else { return };
        let answered = open.early.take().is_some();
        desk.books.account(&mut open.early_cost, 0);
        if open.waiting.is_empty() && (answered || open.response.begun()) {
            self.lose(desk, Unanswered::Unreadable);
        }
    }

    /// The end of the connection is that of a response that has no other.
    pub(super) fn close_response(&mut self, desk: &mut Desk<'_>) {
        let Some(open) = &mut self.open else { return };
        if open.waiting.is_empty() || !open.response.begun() {
            return;
        }
        if let Some(answer) = open.response.at_close(desk.books)
            && let Some(waiting) = open.waiting.pop_front()
        {
            answered(desk, waiting.id, answer);
        }
    }

    /// From here on responses cannot be told apart: all open requests go unanswered.
    pub(super) fn lose(&mut self, desk: &mut Desk<'_>, why: Unanswered) {
        if let Some(open) = &mut self.open {
            for waiting in open.waiting.drain(..) {
                if let Some(id) = waiting.id {
                    desk.unanswered(id, why);
                }
            }
            open.response.reset(desk.books);
            open.early = None;
            desk.books.account(&mut open.early_cost, 0);
        }
        self.answers = match self.answers {
            Matching::LostForGood(first) => Matching::LostForGood(first),
            _ if self.pipelines => Matching::LostForGood(why),
            _ => Matching::Lost(why),
        };
    }

    /// The last requests of the connection never reached the source, whatever answers them. One whose head is whole
    /// counts even when it is not.
    pub(super) fn undeliver(&mut self, desk: &mut Desk<'_>) {
        let mut left = std::mem::take(&mut desk.undelivered);
        if left == 0 {
            return;
        }
        if let Some(open) = &mut self.open {
            left -= u32::from(open.request.begun() && open.request.head.is_some());
            while left > 0 {
                let Some(waiting) = open.waiting.pop_back() else { break };
                left -= 1;
                let id = waiting.id.into_iter();
                desk.out.extend(id.map(|id| Event::Undelivered { id }));
            }
            if open.waiting.is_empty() && open.early.is_none() && open.response.begun() {
                open.response.reset(desk.books);
            }
        }
        // A note stands in the record of what tapline answered in place of the source, or before it.
        for event in desk.out[desk.first_event..].iter_mut().rev() {
            let (Event::Answer { id, .. } | Event::Unanswered { id, .. }) = *event else {
                continue;
            };
            if left == 0 {
                break;
            }
            *event = Event::Undelivered { id };
            left -= 1;
        }
        desk.books.counters.undelivered_late += u64::from(left);
    }

    /// Gives the state back if nothing is unfinished.
    pub(super) fn rest(&mut self, books: &mut Books) {
        let is_idle = |open: &mut Box<Open>| {
            !open.request.begun()
                && open.waiting.is_empty()
                && open.early.is_none()
                && !open.response.begun()
        };
        if let Some(open) = self.open.take_if(is_idle) {
            books.put_spare(open);
        }
    }
}
