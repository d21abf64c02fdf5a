//! Why a response of the source could not be followed.
//!
//! Owns the faults that only responses have; the rest are the refusals of requests, read from the
//! other side. Never decides what happens next: once bytes have been forwarded only a close is left.

use super::Refusal;

/// A fault in the framing of a response; the connection to the source is over once one is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Malformed {
    /// The first line is not `HTTP/1.x`, blank, three digits, and then a blank or the line end.
    StatusLine,
    /// A well-formed version that is neither 1.0 nor 1.1.
    Version,
    /// A status code outside 100 to 599.
    Status,
    /// A status line that is longer than `line_bytes_max`.
    StatusLineTooLong,
    /// Bytes given to the framing after a 101 had switched protocols.
    AfterUpgrade,
    /// A fault of fields, body length or chunks, as in requests.
    Framing(Refusal),
}

impl Malformed {
    /// Every fault a response can have, for tables of counters.
    pub fn all() -> impl Iterator<Item = Self> {
        let own = [
            Self::StatusLine,
            Self::Version,
            Self::Status,
            Self::StatusLineTooLong,
            Self::AfterUpgrade,
        ];
        own.into_iter().chain(Refusal::ALL.iter().copied().map(Self::Framing))
    }

    /// The stable label for metrics and logs, in snake case.
    pub fn reason(self) -> &'static str {
        match self {
            Self::StatusLine => "status_line_invalid",
            Self::Version => "response_version_unsupported",
            Self::Status => "status_invalid",
            Self::StatusLineTooLong => "status_line_too_long",
            Self::AfterUpgrade => "after_upgrade",
            Self::Framing(refusal) => refusal.reason(),
        }
    }
}

impl From<Refusal> for Malformed {
    fn from(refusal: Refusal) -> Self {
        Self::Framing(refusal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn labels_are_distinct() {
        let labels: HashSet<_> = Malformed::all().map(Malformed::reason).collect();
        assert_eq!(labels.len(), Malformed::all().count());
    }
}
