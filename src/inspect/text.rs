//! Times, bytes and names as a person reads them.
//!
//! What clients sent goes to a terminal only through here: control bytes never do.

use std::fmt;

use crate::proto::{Capture, Timestamp, TrafficObservation};

/// A wall-clock time that can be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment {
    /// Since 1970.
    pub(super) seconds: i64,
    /// Within the second.
    pub(super) nanos: i32,
}

impl From<Timestamp> for Moment {
    fn from(ts: Timestamp) -> Self {
        Self { seconds: ts.seconds, nanos: ts.nanos }
    }
}

impl fmt::Display for Moment {
    /// RFC 3339 in UTC; seconds since 1970 for a time outside its years.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::new(self.seconds, self.nanos) {
            Ok(time) => write!(f, "{time}"),
            Err(_) => write!(f, "@{}.{:09}", self.seconds, self.nanos),
        }
    }
}

/// The earliest and the latest of some times.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Extent {
    /// `None` before anything was seen.
    pub(super) ends: Option<(Moment, Moment)>,
}

impl Extent {
    /// Takes the times of these observations in.
    pub(super) fn widen(&mut self, observations: &[TrafficObservation]) {
        for time in observations.iter().filter_map(|seen| seen.ts).map(Moment::from) {
            self.ends = Some(match self.ends {
                Some((first, last)) => (first.min(time), last.max(time)),
                None => (time, time),
            });
        }
    }
}

/// Bytes of a read or a write, whole or a segment: `true` for what the client sent.
pub(super) fn data(capture: &Capture) -> Option<(bool, &[u8])> {
    match capture {
        Capture::Read(read) => Some((true, &read.data)),
        Capture::ReadSegment(read) => Some((true, &read.data)),
        Capture::Write(write) => Some((false, &write.data)),
        Capture::WriteSegment(write) => Some((false, &write.data)),
        _ => None,
    }
}

/// Bytes with a dot for everything outside printable ASCII.
pub(super) fn printable(bytes: &[u8]) -> String {
    let shown = |byte: &u8| if matches!(byte, 0x20..=0x7e) { char::from(*byte) } else { '.' };
    bytes.iter().map(shown).collect()
}

/// Bytes up to the first line end.
pub(super) fn first_line(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| matches!(byte, b'\r' | b'\n')).unwrap_or(bytes.len());
    printable(&bytes[..end])
}

/// Bytes as text, if they are UTF-8 without control characters but tabs and line ends.
pub(super) fn as_text(bytes: &[u8]) -> Option<&str> {
    let plain = |c: char| !c.is_control() || matches!(c, '\t' | '\r' | '\n');
    std::str::from_utf8(bytes).ok().filter(|text| text.chars().all(plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_moves_a_cursor_gets_through() {
        assert_eq!(printable(b"A\x01\x7fZ"), "A..Z");
        assert_eq!(first_line(b"GET / HTTP/1.1\r\nHost: x"), "GET / HTTP/1.1");
        assert_eq!(first_line(b"PARTIAL"), "PARTIAL");
        assert_eq!(as_text("größe\r\n".as_bytes()), Some("größe\r\n"));
        assert_eq!(as_text(b"\x1b[2J"), None);
        assert_eq!(as_text(b"\xff"), None);
    }

    #[test]
    fn times_are_rfc_3339_and_never_a_panic() {
        let time = |seconds, nanos| Moment { seconds, nanos }.to_string();
        assert_eq!(time(1_795_231_200, 123_000_000), "2026-11-21T03:20:00.123Z");
        assert_eq!(time(i64::MAX, 5), "@9223372036854775807.000000005");
    }
}
