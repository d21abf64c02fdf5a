//! HTTP/1.0 and HTTP/1.1 framing: where messages begin and end, and the few fields that decide it.
//!
//! Owns the request and response framing of one connection, the table of read-only POST endpoints,
//! and the short answers tapline gives itself. Every parser here is sans-IO, resumable at any byte
//! and reads no clock: the same bytes give the same events however the network cut them.
//!
//! Never changes a byte, never reads a body, never guesses: tapline forwards the original bytes, so
//! whatever two HTTP parsers could read differently is refused (RFC 9112 section 11.2).

mod answer;
mod body;
mod bytes;
mod chunks;
mod fields;
mod head;
mod lines;
mod malformed;
mod refusal;
mod request;
mod request_line;
mod response;
mod safety;
mod status_line;
#[cfg(test)]
mod tests;

pub use answer::{bad_gateway, health, not_tls, refusal, unavailable};
pub use bytes::{is_field_name, is_field_value, is_token};
pub use lines::{FieldLine, FieldLines, RequestLines};
pub use malformed::Malformed;
pub use refusal::Refusal;
pub use request::{RequestFraming, RequestHead, RequestPart, RequestPiece};
pub use request_line::{Method, Version};
pub use response::{Answering, Eof, ResponseFraming, ResponseHead, ResponsePart, ResponsePiece};
pub use safety::is_read_only_post;

/// The field by which a replay marks its requests, so that nobody captures them a second time.
pub const REPLAY_FIELD: &str = "X-Tapline-Replay";

/// The bounds of one message's framing. They are wider than those of Elasticsearch and `OpenSearch`
/// (4 KiB line, 8 to 16 KiB head), so that no client that works today is turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// One line of a head, without its line end, in bytes.
    pub line_bytes_max: usize,
    /// A whole head with its line ends, its blank line and the empty lines before it, in bytes.
    pub head_bytes_max: usize,
    /// Field lines of a head, and again of a trailer section.
    pub fields_max: usize,
    /// All chunk extensions of one message together, in bytes.
    pub chunk_extension_bytes_max: usize,
    /// The trailer section of one message with its line ends, in bytes.
    pub trailer_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            line_bytes_max: 8 * 1024,
            head_bytes_max: 64 * 1024,
            fields_max: 256,
            chunk_extension_bytes_max: 16 * 1024,
            trailer_bytes_max: 8 * 1024,
        }
    }
}
