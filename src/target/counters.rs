//! What a worker counts: it adds with plain relaxed stores, others read.

use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_utils::CachePadded;

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident = $label:literal,)*) => {
        /// What is counted. Labels are stable: they become metric names.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(usize)]
        pub enum Counter { $($(#[$doc])* $name,)* }

        impl Counter {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The stable name.
            pub fn label(self) -> &'static str {
                match self { $(Self::$name => $label,)* }
            }
        }
    };
}

counters! {
    /// Jobs taken.
    Jobs = "target_jobs",
    /// Final responses received whole.
    Responses = "target_responses",
    /// Connections made.
    Opened = "target_connections_opened",
    /// Of them, closed.
    Closed = "target_connections_closed",
    /// Of them, closed by the target while no request was in flight.
    ClosedIdle = "target_connections_closed_idle",
    /// Of them, closed because bytes came that no request had asked for.
    Surplus = "target_surplus_bytes",
    /// Connects that failed or took too long, one per address tried.
    ConnectFailures = "target_connect_failures",
    /// Sockets that could not be opened for want of descriptors or memory.
    NoDescriptors = "target_no_descriptors",
    /// Bytes of requests sent.
    BytesOut = "target_bytes_out",
    /// Bytes received.
    BytesIn = "target_bytes_in",
    /// Requests given up because nothing came or went for too long.
    Timeouts = "target_response_timeouts",
    /// Requests whose connection was closed or reset.
    Lost = "target_connections_lost",
    /// Responses whose framing was nonsense.
    Malformed = "target_framing_errors",
    /// Handshakes of TLS that failed, and connections whose bytes were no TLS afterwards.
    TlsFailures = "target_tls_failures",
    /// Responses that came before their request was sent; the rest of it was not.
    Early = "target_early_responses",
    /// Jobs cancelled.
    Cancelled = "target_jobs_cancelled",
    /// Receives that found no buffer.
    NoBuffers = "target_receive_no_buffers",
}

/// The counters of one worker.
pub struct Counters(CachePadded<[AtomicU64; Counter::ALL.len()]>);

impl Default for Counters {
    fn default() -> Self {
        Self(CachePadded::new([const { AtomicU64::new(0) }; Counter::ALL.len()]))
    }
}

impl Counters {
    /// Adds; only the owner may call it, so that no atomic read-modify-write is needed.
    pub(super) fn add(&self, counter: Counter, n: u64) {
        let value = &self.0[counter as usize];
        value.store(value.load(Ordering::Relaxed) + n, Ordering::Relaxed);
    }

    /// One value.
    pub fn get(&self, counter: Counter) -> u64 {
        self.0[counter as usize].load(Ordering::Relaxed)
    }
}
