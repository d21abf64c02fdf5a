//! What is fuzzed: each function takes any bytes and panics when a promise is broken.
//!
//! Run by the programs in `fuzz_targets` under libFuzzer, and by the integration tests over the corpus. Never writes
//! outside a temporary directory.

mod bulk;
mod configuration;
mod framing;
mod log;
mod proxy_header;
mod reassembly;
mod records;
mod tls;

pub(crate) use bulk::bulk_lines;
pub(crate) use configuration::configuration;
pub(crate) use framing::{request_framing, response_framing};
pub(crate) use log::log_recovery;
pub(crate) use proxy_header::proxy_header;
pub(crate) use reassembly::reassembly;
pub(crate) use records::record_decoding;
pub(crate) use tls::{tls_handshake, tls_records};

/// Takes any bytes.
pub(crate) type Target = fn(&[u8]);

/// All of them by name, which is also the name of the corpus.
pub(crate) const ALL: [(&str, Target); 10] = [
    ("request_framing", request_framing),
    ("response_framing", response_framing),
    ("record_decoding", record_decoding),
    ("bulk_lines", bulk_lines),
    ("log_recovery", log_recovery),
    ("reassembly", reassembly),
    ("proxy_header", proxy_header),
    ("tls_handshake", tls_handshake),
    ("tls_records", tls_records),
    ("configuration", configuration),
];
