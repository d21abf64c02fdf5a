//! A thread that commits and waits for the answer, so that the feed does not.
//!
//! The binding has a callback for commits that nobody waits for, but librdkafka calls it only for
//! consumers made without events, and this one has them: how such a commit went is never told. So
//! commits are made one at a time, with an answer, where waiting for it holds nobody up.

use std::{
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
};

use rdkafka::{
    TopicPartitionList,
    consumer::{BaseConsumer, CommitMode, Consumer},
};

use super::member::{Event, Member};
use crate::observe::{ExitCode, Failure};

/// Commits until it is stopped or dropped.
#[derive(Debug)]
pub(super) struct Committer {
    lists: SyncSender<TopicPartitionList>,
    thread: JoinHandle<()>,
}

impl Committer {
    pub(super) fn start(consumer: Arc<BaseConsumer<Member>>) -> Result<Self, Failure> {
        let (sender, lists) = sync_channel(1);
        let thread = thread::Builder::new()
            .name("tapline-commit".into())
            .spawn(move || commit(&consumer, &lists))
            .map_err(|error| {
                Failure::new(
                    ExitCode::Failed,
                    format!("cannot start a thread: {error}. Raise ulimit -u or TasksMax="),
                )
            })?;
        Ok(Self { lists: sender, thread })
    }

    /// Commits these offsets; [`Event::Committed`] tells how it went. False while another commit is
    /// waiting to be made.
    pub(super) fn send(&self, list: TopicPartitionList) -> bool {
        self.lists.try_send(list).is_ok()
    }

    /// Lets go of the consumer, after the answer to the last commit. Without a commit under way
    /// that is at once.
    pub(super) fn stop(self) {
        drop(self.lists);
        // It does not panic, and if it did there is nothing left to do.
        let _ = self.thread.join();
    }
}

fn commit(consumer: &BaseConsumer<Member>, lists: &Receiver<TopicPartitionList>) {
    for list in lists {
        let result = consumer.commit(&list, CommitMode::Sync);
        let elements = list.elements();
        let refused = elements.iter().find_map(|one| one.error().err());
        let result = match result.err().or(refused) {
            Some(error) => Err(error.to_string()),
            None => Ok(elements
                .iter()
                .filter_map(|one| Some((one.partition(), one.offset().to_raw()?)))
                .collect()),
        };
        consumer.context().heard().events.push_back(Event::Committed(result));
    }
}
