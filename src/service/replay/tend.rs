//! A feed whose records are not wanted yet: it keeps its place in its group all the same.
//!
//! A group that hears nothing of a member for minutes gives its partitions away, and takes all of them anew when it
//! comes back; a wait for a backfill or for a target that is down can take hours.

use std::time::Instant;

use crate::{
    feed::{Feed, Next},
    observe::Failure,
};

/// Serves a feed before anything is read from it.
pub(super) struct Tended<'a> {
    feed: &'a mut dyn Feed,
    losses: u64,
    failure: Option<Failure>,
}

impl<'a> Tended<'a> {
    pub(super) fn new(feed: &'a mut dyn Feed) -> Self {
        Self { feed, losses: 0, failure: None }
    }

    /// To be called every second or more often; false when the feed has failed, and the wait is over.
    pub(super) fn serve(&mut self) -> bool {
        while self.failure.is_none() {
            match self.feed.next(false, Instant::now()) {
                // Nothing of it was read.
                Ok(Next::LaneClosing { lane }) => self.feed.release(lane),
                Ok(Next::LaneLost { .. }) => {}
                Ok(Next::Loss { text, records }) => {
                    tracing::error!(event = "replay.loss", records, "{text}");
                    self.losses += 1;
                }
                Ok(_) => break,
                Err(failure) => self.failure = Some(failure),
            }
        }
        self.failure.is_none()
    }

    /// How often records were lost meanwhile.
    pub(super) fn end(self) -> Result<u64, Failure> {
        self.failure.map_or(Ok(self.losses), Err)
    }
}
