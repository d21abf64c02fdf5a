//! Why a request was refused: one variant for each fault, its metric label and its status code.
//!
//! Owns the vocabulary that requests, responses and chunked bodies share. Never carries a byte of
//! the client's message: a refusal is a small `Copy` value that becomes a counter label.

macro_rules! refusals {
    ($($(#[doc = $doc:literal])+ $variant:ident = $status:literal $reason:literal,)+) => {
        /// A fault in the framing of a message; the connection is over once one is found.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Refusal {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl Refusal {
            /// Every refusal, in the order of [`Refusal::index`].
            pub const ALL: &[Refusal] = &[$(Refusal::$variant,)+];

            /// The stable label for metrics, logs and the answer's text, in snake case.
            pub fn reason(self) -> &'static str {
                match self {
                    $(Refusal::$variant => $reason,)+
                }
            }

            /// The status code of the answer to the client.
            pub fn status(self) -> u16 {
                match self {
                    $(Refusal::$variant => $status,)+
                }
            }
        }
    };
}

refusals! {
    /// More empty lines before a request line than the four that are skipped.
    EmptyLines = 400 "too_many_empty_lines",
    /// The first byte is that of a TLS handshake record.
    TlsHandshake = 400 "tls_on_plain_port",
    /// The method is not a token (RFC 9110 section 5.6.2).
    MethodInvalid = 400 "method_invalid",
    /// `CONNECT`: tapline is no tunnel.
    MethodConnect = 501 "method_connect",
    /// The HTTP/2 connection preface, `PRI * HTTP/2.0`.
    Http2Preface = 505 "http2_preface",
    /// The target is empty, holds a control byte, or has a form that the method does not allow
    /// (RFC 9112 section 3.2).
    TargetInvalid = 400 "target_invalid",
    /// A request line without a version, as HTTP/0.9 had it.
    Http09 = 400 "http_0_9",
    /// The third part of the request line is not `HTTP/`, digit, dot, digit, or more follows it.
    VersionInvalid = 400 "version_invalid",
    /// A well-formed version that is neither 1.0 nor 1.1.
    VersionUnsupported = 505 "version_unsupported",
    /// The request line is longer than `line_bytes_max`.
    RequestLineTooLong = 414 "request_line_too_long",
    /// A field line is longer than `line_bytes_max`.
    FieldLineTooLong = 431 "field_line_too_long",
    /// The head is larger than `head_bytes_max`.
    HeadTooLarge = 431 "head_too_large",
    /// More field lines than `fields_max`.
    TooManyFields = 431 "too_many_fields",
    /// A line feed without a carriage return before it, in a head or in chunk framing.
    BareLf = 400 "bare_lf",
    /// A carriage return without a line feed after it, in a head or in chunk framing.
    BareCr = 400 "bare_cr",
    /// A line that starts with a blank: folding, obsolete since RFC 7230 (RFC 9112 section 5.2).
    ObsFold = 400 "obs_fold",
    /// A blank in or after a field name (RFC 9112 section 5.1).
    FieldNameWhitespace = 400 "field_name_whitespace",
    /// A field name that is empty or holds a byte that is no token byte.
    FieldNameInvalid = 400 "field_name_invalid",
    /// A field line without a colon.
    FieldColonMissing = 400 "field_colon_missing",
    /// NUL in a field value.
    FieldValueNul = 400 "field_value_nul",
    /// Another control byte than a tab in a field value.
    FieldValueControl = 400 "field_value_control",
    /// Two `Host` fields (RFC 9112 section 3.2).
    HostDuplicate = 400 "host_duplicate",
    /// The key fields of a WebSocket draft of 2010, after which some parsers, the one inside
    /// Elasticsearch among them, expect eight bytes of body that no field announces.
    WebSocketDraft = 400 "websocket_draft",
    /// Both `Content-Length` and `Transfer-Encoding` (RFC 9112 section 6.1).
    LengthAndTransferEncoding = 400 "content_length_and_transfer_encoding",
    /// More than one `Content-Length` field, equal or not.
    ContentLengthDuplicate = 400 "content_length_duplicate",
    /// A `Content-Length` that is a list.
    ContentLengthList = 400 "content_length_list",
    /// A `Content-Length` without a value.
    ContentLengthEmpty = 400 "content_length_empty",
    /// A `Content-Length` that is not plain decimal: sign, hex, leading zero, tab, trailing blank.
    ContentLengthNotDecimal = 400 "content_length_not_decimal",
    /// A `Content-Length` above 2^63 - 1.
    ContentLengthOverflow = 400 "content_length_overflow",
    /// More than one `Transfer-Encoding` field.
    TransferEncodingDuplicate = 400 "transfer_encoding_duplicate",
    /// A `Transfer-Encoding` in HTTP/1.0 (RFC 9112 section 6.1).
    TransferEncodingHttp10 = 400 "transfer_encoding_http_1_0",
    /// Registered transfer codings other than a single `chunked` (RFC 9112 section 6.1).
    TransferCodingUnsupported = 501 "transfer_coding_unsupported",
    /// A `Transfer-Encoding` that is not exactly `chunked`.
    TransferEncodingNotChunked = 400 "transfer_encoding_not_chunked",
    /// A chunk line without a size.
    ChunkSizeEmpty = 400 "chunk_size_empty",
    /// A chunk size with anything but hex digits: sign, `0x`, `_`, blanks, trailing bytes.
    ChunkSizeInvalid = 400 "chunk_size_invalid",
    /// A chunk size of more than 16 digits or above 2^63 - 1.
    ChunkSizeOverflow = 400 "chunk_size_overflow",
    /// A control byte in a chunk extension.
    ChunkExtensionControl = 400 "chunk_extension_control",
    /// More chunk extension bytes than `chunk_extension_bytes_max`.
    ChunkExtensionsTooLarge = 400 "chunk_extensions_too_large",
    /// Chunk data that is not followed by CRLF.
    ChunkDataUnterminated = 400 "chunk_data_unterminated",
    /// A trailer line that is no field line.
    TrailerInvalid = 400 "trailer_invalid",
    /// A trailer that would change framing or routing: `Content-Length`, `Transfer-Encoding`,
    /// `Host` (RFC 9110 section 6.5.1).
    TrailerForbidden = 400 "trailer_forbidden",
    /// More trailer bytes than `trailer_bytes_max`, or more trailer fields than `fields_max`.
    TrailersTooLarge = 431 "trailers_too_large",
    /// The head took longer than it may.
    HeadTimeout = 408 "head_timeout",
    /// The body came more slowly than it may.
    BodyTooSlow = 408 "body_too_slow",
    /// The client ended in the middle of a message.
    CutShort = 400 "cut_short",
}

impl Refusal {
    /// The place of this refusal in [`Refusal::ALL`], for tables of counters.
    pub fn index(self) -> usize {
        self as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn table_is_consistent() {
        let labels: HashSet<_> = Refusal::ALL.iter().map(|refusal| refusal.reason()).collect();
        assert_eq!(labels.len(), Refusal::ALL.len());
        for (index, refusal) in Refusal::ALL.iter().enumerate() {
            assert_eq!(refusal.index(), index);
            assert!((400..600).contains(&refusal.status()));
            let plain =
                |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
            assert!(refusal.reason().bytes().all(plain), "{}", refusal.reason());
        }
    }
}
