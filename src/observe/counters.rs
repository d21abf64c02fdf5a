//! Counters: each belongs to one thread, which adds with plain relaxed stores; others read a snapshot.

use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_utils::CachePadded;

use super::Histogram;
use crate::http::Refusal;

macro_rules! counters {
    ($($(#[doc = $doc:literal])* $name:ident = $label:literal,)*) => {
        /// What is counted. Labels are stable: they become metric names.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(usize)]
        pub enum Counter { $($(#[doc = $doc])* $name,)* }

        impl Counter {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The stable name.
            pub fn label(self) -> &'static str {
                match self { $(Self::$name => $label,)* }
            }

            /// What it counts, one sentence.
            pub fn help(self) -> &'static str {
                match self { $(Self::$name => concat!($($doc),*).trim(),)* }
            }
        }
    };
}

counters! {
    /// Client connections accepted.
    Accepted = "connections_accepted",
    /// Client connections over.
    Closed = "connections_closed",
    /// Accepting paused because the process was out of descriptors or memory.
    AcceptPaused = "accept_paused",
    /// Connections that ended without a byte (health checks); not recorded.
    Empty = "connections_empty",
    /// Requests seen.
    Requests = "requests",
    /// Of them, held until durable.
    Held = "requests_held",
    /// Final responses seen.
    Responses = "responses",
    /// Of them, with a status of 101 (another protocol from there on).
    Responses1xx = "responses_1xx",
    /// Of them, with a status of 200 to 299.
    Responses2xx = "responses_2xx",
    /// Of them, with a status of 300 to 399.
    Responses3xx = "responses_3xx",
    /// Of them, with a status of 400 to 499.
    Responses4xx = "responses_4xx",
    /// Of them, with a status of 500 to 599.
    Responses5xx = "responses_5xx",
    /// Bytes of clients passed on to the source.
    ToSource = "bytes_to_source",
    /// Bytes of the source passed on to clients.
    ToClients = "bytes_to_clients",
    /// Records handed to the sink.
    Records = "records",
    /// Bytes of those records.
    RecordBytes = "record_bytes",
    /// Records that came back from the sink.
    RecordsReturned = "records_returned",
    /// Bytes of records that came back from the sink.
    RecordBytesReturned = "record_bytes_returned",
    /// Requests recorded of which no byte reached the source.
    Undelivered = "requests_undelivered",
    /// Connections on which held requests waited for too long: answered 503, or cut where a part was with the source.
    Expired = "hold_timeouts",
    /// Writes let through before their records were stored (`--on-capture-unavailable pass`); the records follow.
    PassedEarly = "writes_passed_early",
    /// Writes let through without a record, or with one that breaks off (`--on-capture-unavailable pass`).
    PassedUncaptured = "writes_passed_uncaptured",
    /// Requests that passed uncaptured, for whatever reason.
    Uncaptured = "requests_uncaptured",
    /// Bytes that passed uncaptured, both directions.
    UncapturedBytes = "bytes_uncaptured",
    /// Of the requests, those that passed because records could not be stored (`--on-capture-unavailable pass`).
    Unstored = "requests_unstored",
    /// Of the bytes, those.
    UnstoredBytes = "bytes_unstored",
    /// Requests left out of the records because the operator asked for it.
    Suppressed = "requests_suppressed",
    /// Bytes of them and of their answers.
    SuppressedBytes = "bytes_suppressed",
    /// Requests of a replay, left out of the records.
    Replayed = "requests_replayed",
    /// Bytes of them and of their answers.
    ReplayedBytes = "bytes_replayed",
    /// Health checks answered by tapline itself.
    HealthChecks = "health_checks",
    /// Requests forwarded with header fields set, added or removed.
    Edited = "requests_edited",
    /// Requests whose head is recorded with hashes in place of credentials.
    Redacted = "requests_redacted",
    /// Requests whose body, and answer's body, is recorded as hashes.
    HiddenBodies = "bodies_hidden",
    /// Connections turned away with 503 because there were too many.
    Denied = "connections_denied",
    /// Connections turned away because their address had too many.
    DeniedAddress = "connections_denied_per_ip",
    /// Connections closed because their PROXY protocol header was broken or missing.
    PrefaceFaults = "proxy_protocol_errors",
    /// Connections cut because the client took nothing of its answer for too long.
    Stalled = "clients_stalled",
    /// Connections closed because they were idle for too long.
    IdleClosed = "connections_idle_closed",
    /// Connections to the source that could not be made; answered with 502.
    SourceUnreachable = "source_unreachable",
    /// Responses whose framing was nonsense; answered with 502 or cut.
    SourceFraming = "source_framing_errors",
    /// Connections reset by the source.
    SourceReset = "source_resets",
    /// Connections reset by the client.
    ClientReset = "client_resets",
    /// Receives that found no buffer.
    NoBuffers = "receive_no_buffers",
    /// Chunks copied because buffers were scarce.
    Copied = "chunks_copied",
    /// Times that a worker stopped reading because the memory budget was used up.
    BudgetPauses = "memory_budget_pauses",
    /// Connections cut at the end of the drain time.
    DrainCut = "drain_cut",
    /// Turns of the workers' loops.
    Turns = "worker_turns",
    /// TLS handshakes with clients that ended well.
    TlsHandshakes = "tls_handshakes",
    /// Of them, those that took up an earlier session again.
    TlsResumed = "tls_handshakes_resumed",
    /// Clients that spoke HTTP without TLS on a port for TLS; answered with 400.
    TlsFailedPlaintext = "tls_failed_plaintext",
    /// Handshakes with clients that failed: no common version of TLS.
    TlsFailedVersion = "tls_failed_version",
    /// No common cipher suite, key exchange, signature or application protocol.
    TlsFailedOffer = "tls_failed_offer",
    /// The client's certificate was missing or not to be trusted.
    TlsFailedCertificate = "tls_failed_certificate",
    /// The client gave up with an alert (it does not trust our certificate, for example).
    TlsFailedAlert = "tls_failed_alert",
    /// What came was no TLS or against its rules.
    TlsFailedMalformed = "tls_failed_malformed",
    /// The handshake took too long.
    TlsFailedTimeout = "tls_failed_timeout",
    /// The client went in the middle of the handshake.
    TlsFailedClosed = "tls_failed_closed",
    /// Connections to clients that broke after the handshake because what came could not be opened.
    TlsBroken = "tls_broken",
    /// Clients that ended the connection without saying so in TLS.
    TlsTruncated = "tls_truncated",
    /// Clients that spoke TLS on a port for plaintext.
    TlsUnexpected = "tls_on_plaintext_port",
    /// TLS handshakes with the source that ended well.
    SourceTlsHandshakes = "source_tls_handshakes",
    /// TLS handshakes with the source that failed; answered with 502.
    SourceTlsFailed = "source_tls_failed",
    /// Connections of the source that ended in the middle of an answer whose end only TLS could tell.
    SourceTlsTruncated = "source_tls_truncated",
}

impl Counter {
    /// The counter of final responses with this status.
    pub fn of_status(status: u16) -> Self {
        match status {
            ..200 => Self::Responses1xx,
            200..300 => Self::Responses2xx,
            300..400 => Self::Responses3xx,
            400..500 => Self::Responses4xx,
            _ => Self::Responses5xx,
        }
    }
}

/// What goes up and down; each has one owner, as counters have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Gauge {
    /// Connections with bytes that wait for their records.
    Waiting,
    /// 1 while writes pass because records are not stored.
    Passing,
    /// Unix time in nanoseconds at which the oldest batch that is not back went to the sink; 0: nothing is outstanding.
    OldestUnixNs,
}

/// How long what takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Timing {
    /// From a request's head to the end of its answer; of a pipelined one, from the end of the answer before it.
    Request,
    /// From the first bytes that wait on a connection until none wait any more.
    Release,
    /// From handing a batch with held records to the sink until it came back durable.
    Durable,
}

impl Timing {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Request, Self::Release, Self::Durable];

    /// The stable name.
    pub fn label(self) -> &'static str {
        match self {
            Self::Request => "request_duration",
            Self::Release => "release_wait",
            Self::Durable => "capture_durable",
        }
    }
}

/// The counters of one worker.
pub struct Counters {
    values: CachePadded<[AtomicU64; Counter::ALL.len()]>,
    gauges: [AtomicU64; 3],
    timings: [Histogram; Timing::ALL.len()],
    refused: Box<[AtomicU64]>,
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            values: CachePadded::new([const { AtomicU64::new(0) }; Counter::ALL.len()]),
            gauges: Default::default(),
            timings: Default::default(),
            refused: Refusal::ALL.iter().map(|_| AtomicU64::new(0)).collect(),
        }
    }
}

impl Counters {
    /// Adds; only the owner may call it.
    pub fn add(&self, counter: Counter, n: u64) {
        add(&self.values[counter as usize], n);
    }

    /// Counts a refused request; only the owner may call it.
    pub fn refuse(&self, refusal: Refusal) {
        add(&self.refused[refusal.index()], 1);
    }

    /// Sets a gauge; only the owner may call it.
    pub fn set(&self, gauge: Gauge, value: u64) {
        self.gauges[gauge as usize].store(value, Ordering::Relaxed);
    }

    /// Moves a gauge up or down; only the owner may call it.
    pub fn shift(&self, gauge: Gauge, by: i64) {
        self.set(gauge, self.gauge(gauge).saturating_add_signed(by));
    }

    /// Counts a duration; only the owner may call it.
    pub fn observe(&self, timing: Timing, ns: u64) {
        self.timings[timing as usize].observe(ns);
    }

    /// One gauge.
    pub fn gauge(&self, gauge: Gauge) -> u64 {
        self.gauges[gauge as usize].load(Ordering::Relaxed)
    }

    /// One histogram.
    pub fn timing(&self, timing: Timing) -> &Histogram {
        &self.timings[timing as usize]
    }

    /// Refused requests, for whatever reason.
    pub fn refused(&self) -> u64 {
        self.refused.iter().map(|value| value.load(Ordering::Relaxed)).sum()
    }

    /// One value.
    pub fn get(&self, counter: Counter) -> u64 {
        self.values[counter as usize].load(Ordering::Relaxed)
    }
}

/// The owner is the only writer, so that no atomic read-modify-write is needed.
fn add(value: &AtomicU64, n: u64) {
    value.store(value.load(Ordering::Relaxed) + n, Ordering::Relaxed);
}

/// A sum over workers at one moment.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Label and value, in the order of [`Counter::ALL`].
    pub values: Vec<(&'static str, u64)>,
    /// Refusals that occurred, by reason.
    pub refused: Vec<(&'static str, u64)>,
}

impl Snapshot {
    /// Adds up the counters of all workers.
    pub fn of<'a>(all: impl Iterator<Item = &'a Counters>) -> Self {
        let all: Vec<_> = all.collect();
        let sum = |read: &dyn Fn(&Counters) -> u64| all.iter().copied().map(read).sum::<u64>();
        let values =
            Counter::ALL.iter().map(|c| (c.label(), sum(&|counters| counters.get(*c)))).collect();
        let refused = Refusal::ALL
            .iter()
            .map(|r| {
                let read = |c: &Counters| c.refused[r.index()].load(Ordering::Relaxed);
                (r.reason(), sum(&read))
            })
            .filter(|(_, n)| *n > 0)
            .collect();
        Self { values, refused }
    }

    /// One value by label; 0 when there is none of that name.
    pub fn get(&self, counter: Counter) -> u64 {
        self.values.iter().find(|(label, _)| *label == counter.label()).map_or(0, |(_, n)| *n)
    }

    /// As one JSON object: counters, and `refused` by reason.
    pub fn to_json(&self) -> serde_json::Value {
        let mut object = serde_json::Map::new();
        for (label, value) in &self.values {
            object.insert((*label).into(), (*value).into());
        }
        let refused = self.refused.iter().map(|(r, n)| ((*r).into(), (*n).into())).collect();
        object.insert("refused".into(), serde_json::Value::Object(refused));
        object.into()
    }
}
