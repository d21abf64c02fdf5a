//! The one file that lends memory to librdkafka.
//!
//! A message is handed over with the number of its place in a table of [`Lease`]s as the opaque. Small values are
//! copied by librdkafka; larger ones are borrowed (message flags 0): the record's memory stays in the table, untouched,
//! until the delivery report names its place. `BaseProducer::send` always copies, and looks the topic up by name each
//! time.
#![allow(unsafe_code)]

use std::{
    error::Error,
    ffi::CString,
    os::fd::AsRawFd,
    ptr::NonNull,
    sync::{Mutex, MutexGuard, PoisonError},
};

use rdkafka::{
    ClientContext, Message,
    bindings::{
        RD_KAFKA_MSG_F_COPY, rd_kafka_last_error, rd_kafka_produce, rd_kafka_queue_destroy,
        rd_kafka_queue_get_main, rd_kafka_queue_io_event_enable, rd_kafka_topic_destroy,
        rd_kafka_topic_new, rd_kafka_topic_t,
    },
    client::OAuthToken,
    config::RDKafkaLogLevel,
    error::KafkaError,
    producer::{BaseProducer, DeliveryResult, Producer, ProducerContext, PurgeConfig},
    types::{RDKafkaErrorCode, RDKafkaRespErr},
};

use super::lease::{Lease, Origin, Report};
use crate::capture::Record;
use crate::kafka::Witness;
use crate::sys::bell::Bell;

/// Values from this size on are borrowed: copying 2 KiB costs what the borrow saves (measured: 0.85 against 0.68 µs
/// per message; 17-25 against 0.5-0.7 µs at 32 KiB).
const BORROW_BYTES_MIN: usize = 2048;

/// Collects what librdkafka reports while it is polled.
pub(super) struct Reports {
    /// Place in the table, and what went wrong.
    delivered: Mutex<Vec<(usize, Option<RDKafkaErrorCode>)>>,
    /// Hears errors of the client itself: brokers down, a refused password.
    pub(super) witness: Witness,
}

impl Reports {
    pub(super) fn new(witness: Witness) -> Self {
        Self { delivered: Mutex::default(), witness }
    }
}

impl ClientContext for Reports {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        self.witness.log(level, facility, text);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.witness.error(error, reason);
    }

    fn generate_oauth_token(&self, config: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
        self.witness.generate_oauth_token(config)
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, place: usize) {
        let failure = match result {
            Ok(message) => {
                debug_assert!(message.payload().is_some());
                None
            }
            Err((error, _)) => error.rdkafka_error_code().or(Some(RDKafkaErrorCode::Fail)),
        };
        lock(&self.delivered).push((place, failure));
    }
}

/// What librdkafka has, by place.
#[derive(Default)]
struct Table {
    places: Vec<Option<Lease>>,
    free: Vec<usize>,
}

impl Table {
    fn put(&mut self, lease: Lease) -> usize {
        if let Some(place) = self.free.pop() {
            self.places[place] = Some(lease);
            return place;
        }
        self.places.push(Some(lease));
        self.places.len() - 1
    }

    fn take(&mut self, place: usize) -> Option<Lease> {
        let lease = self.places.get_mut(place)?.take()?;
        self.free.push(place);
        Some(lease)
    }

    fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }
}

/// A producer bound to one topic, and what it was lent.
pub(super) struct Lender {
    topic: NonNull<rd_kafka_topic_t>,
    /// Before the table: when this is dropped librdkafka's threads have ended and touch no record any more.
    producer: BaseProducer<Reports>,
    table: Mutex<Table>,
}

// SAFETY: the topic handle is only used together with the producer, and librdkafka's handles may be
// used from any thread; everything else is Send.
unsafe impl Send for Lender {}
// SAFETY: as above; the table is behind a lock.
unsafe impl Sync for Lender {}

impl Lender {
    /// `None` when librdkafka cannot make a handle for the topic (an invalid name).
    pub(super) fn new(producer: BaseProducer<Reports>, topic: &str, bell: &Bell) -> Option<Self> {
        let name = CString::new(topic).ok()?;
        let client = producer.client().native_ptr();
        // SAFETY: the client is alive; the name is a C string that librdkafka copies; no topic configuration is passed.
        let handle = unsafe { rd_kafka_topic_new(client, name.as_ptr(), std::ptr::null_mut()) };
        let topic = NonNull::new(handle)?;
        // SAFETY: the queue reference is given back at once. The event descriptor stays open as
        // long as the producer, since whoever drops the producer keeps the bell until then; the
        // payload is eight bytes, as an eventfd wants, and is copied.
        unsafe {
            let queue = rd_kafka_queue_get_main(client);
            let one = 1u64.to_ne_bytes();
            rd_kafka_queue_io_event_enable(
                queue,
                bell.event().as_raw_fd(),
                one.as_ptr().cast(),
                one.len(),
            );
            rd_kafka_queue_destroy(queue);
        }
        Some(Self { topic, producer, table: Mutex::default() })
    }

    pub(super) fn producer(&self) -> &BaseProducer<Reports> {
        &self.producer
    }

    /// Records that it has.
    pub(super) fn lent(&self) -> usize {
        lock(&self.table).len()
    }

    /// Shows each record that it has; what it stands for may be changed, its bytes may not.
    pub(super) fn for_each(&self, mut look: impl FnMut(&Record, &mut Origin)) {
        for lease in lock(&self.table).places.iter_mut().flatten() {
            look(&lease.record, &mut lease.origin);
        }
    }

    /// Hands a record over; gives it back when librdkafka does not take it.
    pub(super) fn produce(&self, lease: Lease) -> Result<(), (RDKafkaErrorCode, Lease)> {
        let (value, key) = (&lease.record.bytes[..], lease.record.key());
        let flags = if value.len() < BORROW_BYTES_MIN { RD_KAFKA_MSG_F_COPY } else { 0 };
        let (value_at, value_len) = (value.as_ptr().cast_mut(), value.len());
        let (key_at, key_len) = (key.as_ptr(), key.len());
        let partition = lease.partition as i32;
        let mut table = lock(&self.table);
        let place = table.put(lease);
        // SAFETY: the value lies in the record of the lease, whose heap memory does not move or
        // change while the lease stands in the table: it leaves it only by the delivery report
        // (exactly one per accepted message), and the table outlives the producer. The key is
        // copied by librdkafka. The opaque is a number.
        let refused = unsafe {
            rd_kafka_produce(
                self.topic.as_ptr(),
                partition,
                flags,
                value_at.cast(),
                value_len,
                key_at.cast(),
                key_len,
                std::ptr::without_provenance_mut(place),
            ) != 0
        };
        if !refused {
            return Ok(());
        }
        // SAFETY: reads this thread's last error.
        let code: RDKafkaRespErr = unsafe { rd_kafka_last_error() };
        let lease = table.take(place).expect("invariant: it was put there and not accepted");
        Err((code.into(), lease))
    }

    /// What was reported since the last call; never waits.
    pub(super) fn collect(&self) -> Vec<Report> {
        let mut found = Vec::new();
        // One poll serves one event, which may carry many reports.
        loop {
            self.producer.poll(std::time::Duration::ZERO);
            let delivered = std::mem::take(&mut *lock(&self.producer.context().delivered));
            if delivered.is_empty() {
                return found;
            }
            let mut table = lock(&self.table);
            for (place, failure) in delivered {
                let lease = table.take(place).expect("invariant: one report for each message");
                found.push(Report { lease, failure });
            }
        }
    }

    /// Has librdkafka report everything that it has as failed; never waits for that.
    pub(super) fn recall(&self) {
        self.producer.purge(PurgeConfig::default().queue().inflight().non_blocking());
    }
}

impl Drop for Lender {
    fn drop(&mut self) {
        // SAFETY: this is the only reference taken; librdkafka keeps its own until the producer, which is dropped
        // after this, has ended.
        unsafe { rd_kafka_topic_destroy(self.topic.as_ptr()) };
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
