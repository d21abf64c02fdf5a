//! What no record will have: counted when it passes, and said in the connection's next record.

use std::mem;

use super::{connection::Connection, recording::CoreParts, request::Telling};
use crate::{
    capture::{Gap, GapCause, LeftOut},
    observe::Counter,
    ring::Ring,
};

impl Connection {
    /// Counts bytes that pass uncaptured, for want of memory or on purpose; `starts`: a request begins with them.
    pub(super) fn miss<R: Ring>(
        &mut self,
        core: &CoreParts<'_, R>,
        telling: Telling,
        bytes: usize,
        starts: bool,
    ) {
        if !core.settings.capture {
            return;
        }
        let (requests, bytes) = (u64::from(starts), bytes as u64);
        let Telling::LeaveOut(cause) = telling else {
            let writes = u64::from(starts && self.arriving.is_some_and(|arriving| arriving.write));
            return self.pass_by(core, requests, writes, bytes);
        };
        let sum = &mut self.left_out[cause.index()];
        *sum = (sum.0 + requests, sum.1 + bytes);
        let counters = left_out_counters(cause);
        core.counters.add(counters[0], requests);
        core.counters.add(counters[1], bytes);
    }

    /// Counts what no record will have.
    pub(super) fn pass_by<R: Ring>(
        &mut self,
        core: &CoreParts<'_, R>,
        requests: u64,
        writes: u64,
        bytes: u64,
    ) {
        self.told = true;
        let unstored = core.passing || self.unstored;
        let cause = if unstored { GapCause::Unstored } else { GapCause::Memory };
        let (since_unix_ns, until_unix_ns, connections) = (core.unix_ns, core.unix_ns, 0);
        let gap = Gap { cause, requests, writes, bytes, since_unix_ns, until_unix_ns, connections };
        match &mut self.gap {
            Some(before) => **before = before.joined(gap),
            None => self.gap = Some(Box::new(gap)),
        }
        core.counters.add(Counter::Uncaptured, requests);
        core.counters.add(Counter::UncapturedBytes, bytes);
        if unstored {
            core.counters.add(Counter::Unstored, requests);
            core.counters.add(Counter::UnstoredBytes, bytes);
            core.counters.add(Counter::PassedUncaptured, writes);
        }
    }

    /// The records say from here on what passed by them.
    pub(super) fn note_gap(&mut self) {
        self.gap_breaks = false;
        if let Some(gap) = self.gap.take() {
            self.stream.note(|notes| {
                notes.gap = Some(notes.gap.map_or(*gap, |before| before.joined(*gap)));
            });
        }
        for (index, left_out) in self.left_out.iter_mut().enumerate() {
            let (requests, bytes) = mem::take(left_out);
            if bytes > 0 {
                self.stream.note(|notes| {
                    let (r, b) = notes.left_out[index];
                    notes.left_out[index] = (r + requests, b + bytes);
                });
            }
        }
    }
}

/// The counters of requests and bytes that are left out for this reason.
fn left_out_counters(cause: LeftOut) -> [Counter; 2] {
    match cause {
        LeftOut::Suppressed => [Counter::Suppressed, Counter::SuppressedBytes],
        LeftOut::Replayed => [Counter::Replayed, Counter::ReplayedBytes],
    }
}
