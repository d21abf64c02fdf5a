//! What is done while the target accepts no credentials.
//!
//! A target that answers 401 or 403 to a write which the source took may do so for this one request, or for all since
//! credentials have expired or a disk is full. Sent on at full speed, everything would be given up and an account be
//! locked. So from the first such answer on requests go one at a time, ever more slowly, until a write is taken. Owns
//! who may go then; whether a request that was refused goes again is `retry`'s.

use super::exchange::ExchangeId;

/// Whether writes are accepted at present.
#[derive(Debug, Default)]
pub(super) struct Denial {
    denied: Option<Denied>,
    /// Writes that were taken so far.
    accepted: u64,
}

#[derive(Debug)]
struct Denied {
    status: u16,
    since_ns: u64,
    /// The request that tries.
    trying: Option<ExchangeId>,
    next_ns: u64,
    delay_ns: u64,
}

/// May a request go?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trial {
    /// As far as this matters.
    Now,
    /// Not before this time.
    At(u64),
    /// When the one that tries has its answer.
    AfterNext,
}

impl Denial {
    /// Writes that were taken so far.
    pub(super) fn accepted(&self) -> u64 {
        self.accepted
    }

    pub(super) fn may_go(&self, now_ns: u64) -> Trial {
        match &self.denied {
            Some(denied) if denied.trying.is_some() => Trial::AfterNext,
            Some(denied) if denied.next_ns > now_ns => Trial::At(denied.next_ns),
            _ => Trial::Now,
        }
    }

    /// A request goes.
    pub(super) fn sent(&mut self, id: ExchangeId) {
        if let Some(denied) = &mut self.denied {
            denied.trying = Some(id);
        }
    }

    /// A request has its answer, or none; `status` where it was a write that the source took.
    pub(super) fn answered(&mut self, id: ExchangeId, status: Option<u16>, now_ns: u64) {
        let tried = self
            .denied
            .as_mut()
            .is_some_and(|denied| denied.trying.take_if(|trying| *trying == id).is_some());
        match (status, &mut self.denied) {
            (Some(status @ (401 | 403)), None) => {
                self.denied = Some(Denied {
                    status,
                    since_ns: now_ns,
                    trying: None,
                    // It may be about that one request.
                    next_ns: now_ns,
                    delay_ns: FIRST_DELAY_NS,
                });
            }
            (Some(status @ (401 | 403)), Some(denied)) => {
                denied.status = status;
                if tried {
                    denied.next_ns = now_ns.saturating_add(denied.delay_ns);
                    denied.delay_ns = (denied.delay_ns * 2).min(DELAY_MAX_NS);
                }
            }
            (Some(..=399), _) => {
                self.accepted += 1;
                self.denied = None;
            }
            _ => {}
        }
    }

    /// For people, while writes are refused.
    pub(super) fn why(&self, now_ns: u64) -> Option<String> {
        let denied = self.denied.as_ref()?;
        let seconds = now_ns.saturating_sub(denied.since_ns) / 1_000_000_000;
        (denied.delay_ns > FIRST_DELAY_NS).then(|| {
            format!(
                "the target has answered {} to every write for {seconds} s; one is tried now and then. Check the \
                 credentials (--auth) and whether its indices are blocked",
                denied.status
            )
        })
    }
}

/// Between the first tries, doubled up to the longest.
const FIRST_DELAY_NS: u64 = 1_000_000_000;
const DELAY_MAX_NS: u64 = 30_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;

    #[test]
    fn one_at_a_time_tries_until_a_write_is_taken() {
        let mut denial = Denial::default();
        let id = ExchangeId;
        assert_eq!(denial.may_go(0), Trial::Now);
        for number in 0..3 {
            denial.sent(id(number));
        }
        denial.answered(id(0), Some(401), S);
        denial.answered(id(1), Some(403), S);
        assert_eq!((denial.may_go(S), denial.why(S)), (Trial::Now, None));
        denial.sent(id(3));
        assert_eq!(denial.may_go(S), Trial::AfterNext);
        // One that was under way before says nothing new.
        denial.answered(id(2), Some(401), S);
        assert_eq!(denial.may_go(S), Trial::AfterNext);
        denial.answered(id(3), Some(401), 2 * S);
        assert_eq!(denial.may_go(2 * S), Trial::At(3 * S));
        assert!(denial.why(4 * S).is_some_and(|why| why.contains("401") && why.contains("3 s")));
        denial.sent(id(4));
        denial.answered(id(4), Some(401), 3 * S);
        assert_eq!(denial.may_go(3 * S), Trial::At(5 * S));
        // A read, or no answer: another one tries.
        denial.sent(id(5));
        denial.answered(id(5), None, 5 * S);
        assert_eq!(denial.may_go(5 * S), Trial::Now);
        denial.sent(id(6));
        denial.answered(id(6), Some(201), 6 * S);
        assert_eq!((denial.may_go(6 * S), denial.accepted()), (Trial::Now, 1));
        assert_eq!(denial.why(6 * S), None);
    }
}
