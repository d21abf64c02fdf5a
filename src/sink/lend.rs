//! The one file that lends memory to librdkafka.
//!
//! A message is handed over with its [`Lease`] as the opaque. Small values are copied by librdkafka; larger ones are
//! borrowed (message flags 0): the record's memory stays in the lease, untouched, until the delivery report gives the
//! lease back. `BaseProducer::send` always copies, and looks the topic up by name each time.
#![allow(unsafe_code)]

use std::{
    ffi::CString,
    os::fd::AsRawFd,
    ptr::NonNull,
    sync::{Mutex, PoisonError},
};

use rdkafka::{
    ClientContext, Message,
    bindings::{
        RD_KAFKA_MSG_F_COPY, rd_kafka_last_error, rd_kafka_produce, rd_kafka_queue_destroy,
        rd_kafka_queue_get_main, rd_kafka_queue_io_event_enable, rd_kafka_topic_destroy,
        rd_kafka_topic_new, rd_kafka_topic_t,
    },
    config::RDKafkaLogLevel,
    error::KafkaError,
    producer::{BaseProducer, DeliveryResult, Producer, ProducerContext},
    types::{RDKafkaErrorCode, RDKafkaRespErr},
};

use crate::capture::Record;
use crate::sys::bell::Bell;

/// Values from this size on are borrowed: copying 2 KiB costs what the borrow saves (measured: 0.85 against 0.68 µs
/// per message; 17-25 against 0.5-0.7 µs at 32 KiB).
const BORROW_BYTES_MIN: usize = 2048;

/// A record that is with the producer.
pub(super) struct Lease {
    pub(super) record: Record,
    /// Whose it is.
    pub(super) link: u16,
    /// Where it goes.
    pub(super) partition: u32,
    /// The order in which records were taken from the workers.
    pub(super) order: u64,
}

/// A delivery report.
pub(super) struct Report {
    pub(super) lease: Box<Lease>,
    pub(super) failure: Option<RDKafkaErrorCode>,
}

/// Collects what librdkafka reports while it is polled.
#[derive(Default)]
pub(super) struct Reports {
    delivered: Mutex<Vec<Report>>,
    errors: Mutex<Vec<String>>,
}

impl Reports {
    pub(super) fn take(&self) -> Vec<Report> {
        std::mem::take(&mut self.delivered.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Errors of the client itself (brokers down, authentication), newest last.
    pub(super) fn take_errors(&self) -> Vec<String> {
        std::mem::take(&mut self.errors.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl ClientContext for Reports {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        tracing::debug!(event = "kafka.log", ?level, facility, "{text}");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let mut errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
        if errors.len() < 64 {
            errors.push(format!("{error}: {reason}"));
        }
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = Box<Lease>;

    fn delivery(&self, result: &DeliveryResult<'_>, lease: Box<Lease>) {
        let failure = match result {
            Ok(message) => {
                debug_assert!(message.payload().is_some());
                None
            }
            Err((error, _)) => error.rdkafka_error_code().or(Some(RDKafkaErrorCode::Fail)),
        };
        let report = Report { lease, failure };
        self.delivered.lock().unwrap_or_else(PoisonError::into_inner).push(report);
    }
}

/// A producer bound to one topic. Dropping it purges what is outstanding; call [`Lender::end`] to get that back.
pub(super) struct Lender {
    topic: NonNull<rd_kafka_topic_t>,
    producer: BaseProducer<Reports>,
}

// SAFETY: the topic handle is only used together with the producer, and librdkafka's handles may be
// used from any thread.
unsafe impl Send for Lender {}

impl Lender {
    /// `None` when librdkafka cannot make a handle for the topic (an invalid name).
    pub(super) fn new(producer: BaseProducer<Reports>, topic: &str, bell: &Bell) -> Option<Self> {
        let name = CString::new(topic).ok()?;
        let client = producer.client().native_ptr();
        // SAFETY: the client is alive; the name is a C string that librdkafka copies; no topic configuration is passed.
        let handle = unsafe { rd_kafka_topic_new(client, name.as_ptr(), std::ptr::null_mut()) };
        let topic = NonNull::new(handle)?;
        // SAFETY: the queue reference is given back at once. The event descriptor stays open as
        // long as the sink thread, which owns both the bell and this producer; the payload is eight
        // bytes, as an eventfd wants, and is copied.
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
        Some(Self { topic, producer })
    }

    pub(super) fn producer(&self) -> &BaseProducer<Reports> {
        &self.producer
    }

    /// Hands a record over; gives it back when librdkafka does not take it.
    pub(super) fn produce(&self, lease: Box<Lease>) -> Result<(), (RDKafkaErrorCode, Box<Lease>)> {
        let (value, key) = (&lease.record.bytes[..], lease.record.key());
        let flags = if value.len() < BORROW_BYTES_MIN { RD_KAFKA_MSG_F_COPY } else { 0 };
        let (value_at, value_len) = (value.as_ptr().cast_mut(), value.len());
        let (key_at, key_len) = (key.as_ptr(), key.len());
        let lease_partition = lease.partition as i32;
        let opaque = Box::into_raw(lease);
        // SAFETY: the value lies in the record of the lease, whose heap memory does not move or
        // change until the delivery report turns `opaque` back into the box (`Reports::delivery`,
        // exactly once per accepted message); the key is copied by librdkafka. The producer
        // outlives all leases: `end` and `drop` purge and collect them first.
        let refused = unsafe {
            rd_kafka_produce(
                self.topic.as_ptr(),
                lease_partition,
                flags,
                value_at.cast(),
                value_len,
                key_at.cast(),
                key_len,
                opaque.cast(),
            ) != 0
        };
        if !refused {
            return Ok(());
        }
        // SAFETY: reads this thread's last error.
        let code: RDKafkaRespErr = unsafe { rd_kafka_last_error() };
        // SAFETY: the message was not accepted, so the opaque is still ours alone.
        Err((code.into(), unsafe { Box::from_raw(opaque) }))
    }
}

impl Drop for Lender {
    fn drop(&mut self) {
        // SAFETY: this is the only reference taken; librdkafka keeps its own until the producer, which is dropped
        // after this, has ended.
        unsafe { rd_kafka_topic_destroy(self.topic.as_ptr()) };
    }
}
