//! One partition for as long as it is ours: its queue, the record it offers, how far it is done.

use std::{collections::VecDeque, sync::Arc};

use rdkafka::{
    Message,
    consumer::{BaseConsumer, base_consumer::PartitionQueue},
    error::{KafkaError, RDKafkaErrorCode},
};

use super::{
    super::track::OffsetTrack,
    member::Member,
    merge::{Row, Time},
};
use crate::proto::RecordView;

/// A partition that was assigned.
pub(super) struct Lane {
    pub(super) partition: i32,
    /// None once the partition is being given up: nothing more of it is read.
    queue: Option<PartitionQueue<Member>>,
    /// The lowest offset that was not read from the queue.
    next: i64,
    /// Where to end; None to follow.
    stop: Option<i64>,
    /// The record read last; it is offered until the next one is read.
    pub(super) payload: Vec<u8>,
    pub(super) offset: i64,
    pub(super) poison: Option<String>,
    time_ms: i64,
    pub(super) track: OffsetTrack,
    /// What the group has stored for the partition, as far as we know.
    pub(super) stored: i64,
    /// Numbers that everything was done before, with the offset that says so, until that is stored.
    pub(super) unstored: VecDeque<(u64, i64)>,
}

/// What a look into the queue came to.
#[derive(Debug)]
pub(super) enum Look {
    /// This is known now.
    Row(Row),
    /// Nothing new.
    Nothing,
    /// The next record was deleted, or the log of the partition ends before it.
    OutOfRange,
    /// librdkafka says something else.
    Error(KafkaError),
}

impl Lane {
    /// A partition from an offset on. Ask before it is assigned: afterwards its first records
    /// could already lie in the common queue.
    pub(super) fn new(
        consumer: &Arc<BaseConsumer<Member>>,
        topic: &str,
        partition: i32,
        (start, stop): (i64, Option<i64>),
    ) -> Option<Self> {
        let queue = consumer.split_partition_queue(topic, partition)?;
        Some(Self {
            unstored: VecDeque::new(),
            partition,
            queue: Some(queue),
            next: start,
            stop,
            payload: Vec::new(),
            offset: start,
            poison: None,
            time_ms: 0,
            track: OffsetTrack::new(start),
            stored: start,
        })
    }

    /// What is known before anything was read.
    pub(super) fn first_row(&self) -> Row {
        if self.stop.is_some_and(|stop| self.next >= stop) { Row::Ended } else { Row::Unknown }
    }

    /// The next offset to read.
    pub(super) fn next(&self) -> i64 {
        self.next
    }

    /// Goes on at an offset after a loss or a stray record.
    pub(super) fn turn_to(&mut self, offset: i64) {
        self.next = offset;
    }

    /// Reads no more.
    pub(super) fn stop_reading(&mut self) {
        self.queue = None;
    }

    /// Reads the next record into this lane, if there is one; when it was seen only if it is to be `merged`. Never
    /// waits.
    pub(super) fn look(&mut self, merged: bool) -> Look {
        let Some(queue) = &self.queue else { return Look::Nothing };
        loop {
            match queue.poll(std::time::Duration::ZERO) {
                None => return Look::Nothing,
                // From before a seek.
                Some(Ok(message)) if message.offset() < self.next => {}
                Some(Ok(message)) => {
                    if self.stop.is_some_and(|stop| message.offset() >= stop) {
                        return Look::Row(Row::Ended);
                    }
                    let bytes = message.payload().unwrap_or_default();
                    self.payload.clear();
                    if self.payload.capacity() > KEPT_BYTES_MAX {
                        self.payload.shrink_to(KEPT_BYTES_MAX);
                    }
                    self.payload.extend_from_slice(bytes);
                    let none = message.payload().is_none();
                    self.poison = none.then(|| "a message without a value".to_owned());
                    self.offset = message.offset();
                    self.next = self.offset + 1;
                    self.time_ms = message.timestamp().to_millis().unwrap_or(self.time_ms);
                    let view = merged.then(|| RecordView::parse(&self.payload).ok()).flatten();
                    let produced_ms = self.time_ms;
                    let seen_ns = view.and_then(|view| view.newest_ns);
                    let seen_ns = seen_ns.unwrap_or(produced_ms.saturating_mul(1_000_000));
                    return Look::Row(Row::Head(Time { seen_ns, produced_ms }));
                }
                Some(Err(KafkaError::PartitionEOF(_))) => {
                    let row = if self.stop.is_some() { Row::Ended } else { Row::AtEnd };
                    return Look::Row(row);
                }
                Some(Err(error)) => {
                    return match error.rdkafka_error_code() {
                        Some(
                            RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange,
                        ) => Look::OutOfRange,
                        _ => Look::Error(error),
                    };
                }
            }
        }
    }
}

/// What a lane's buffer keeps after a record that was larger.
const KEPT_BYTES_MAX: usize = 1 << 20;
