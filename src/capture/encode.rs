//! The few protobuf encodings that records need (protobuf encoding guide: varints, length-delimited fields).

/// Appends `value` as a base-128 varint.
pub(super) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Bytes that `value` takes as a varint.
pub(super) const fn varint_len(value: u64) -> usize {
    let bits = 64 - (value | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

/// Field 2 of `TrafficStream`, one observation.
const OBSERVATION: u8 = 0x12;

/// A wall-clock time, encoded once per loop turn as field 1 (`ts`) of an observation.
///
/// Seconds are always written, nanoseconds only when not zero, as the reference does.
#[derive(Clone, Copy, Debug)]
pub struct Stamp {
    bytes: [u8; Self::BYTES_MAX],
    len: u8,
}

impl Stamp {
    /// Tag, length, and two fields of at most 1 + 10 and 1 + 5 bytes.
    const BYTES_MAX: usize = 2 + 11 + 6;

    /// `unix_nanos` is the time since 1970 in nanoseconds.
    pub fn new(unix_nanos: u64) -> Self {
        let (seconds, nanos) = (unix_nanos / 1_000_000_000, unix_nanos % 1_000_000_000);
        let mut stamp = Self { bytes: [0; Self::BYTES_MAX], len: 0 };
        stamp.put(&[0x0A, 0, 0x08]);
        stamp.put_varint(seconds);
        if nanos != 0 {
            stamp.put(&[0x10]);
            stamp.put_varint(nanos);
        }
        stamp.bytes[1] = stamp.len - 2;
        stamp
    }

    fn put(&mut self, bytes: &[u8]) {
        let at = usize::from(self.len);
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len() as u8;
    }

    /// As the free function, into the fixed array: a stamp is made every loop turn.
    fn put_varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.put(&[value as u8 | 0x80]);
            value >>= 7;
        }
        self.put(&[value as u8]);
    }

    fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

/// An observation that carries bytes: which field of the observation, which field inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Data {
    Read,
    Write,
}

impl Data {
    const fn tag(self) -> u8 {
        match self {
            Self::Read => 0x22,
            Self::Write => 0x42,
        }
    }
}

/// The most bytes that an observation of `n` data bytes adds beyond those bytes.
pub(super) const fn data_overhead_max(n: usize) -> usize {
    let inner = 1 + varint_len(n as u64) + n;
    let body = Stamp::BYTES_MAX + 1 + varint_len(inner as u64) + inner;
    1 + varint_len(body as u64) + body - n
}

/// Appends a read or write observation and returns where in `out` its data lies.
pub(super) fn put_data(out: &mut Vec<u8>, stamp: &Stamp, data: Data, bytes: &[u8]) -> usize {
    // Protobuf leaves an empty field out: an empty buffer is still an observation, with nothing inside.
    let inner = if bytes.is_empty() { 0 } else { 1 + varint_len(bytes.len() as u64) + bytes.len() };
    let ts = stamp.as_bytes();
    let body = ts.len() + 1 + varint_len(inner as u64) + inner;
    out.push(OBSERVATION);
    put_varint(out, body as u64);
    out.extend_from_slice(ts);
    out.push(data.tag());
    put_varint(out, inner as u64);
    if !bytes.is_empty() {
        out.push(0x0A);
        put_varint(out, bytes.len() as u64);
    }
    let at = out.len();
    out.extend_from_slice(bytes);
    at
}

/// Appends the end of a request; both lengths are always written.
pub(super) fn put_end_of_message(out: &mut Vec<u8>, stamp: &Stamp, first_line: i32, headers: i32) {
    // A negative int32 is sign-extended to ten bytes.
    let (first_line, headers) = (i64::from(first_line) as u64, i64::from(headers) as u64);
    let inner = 2 + varint_len(first_line) + varint_len(headers);
    put_frame(out, stamp, 1 + varint_len(inner as u64) + inner);
    out.push(0x7A);
    put_varint(out, inner as u64);
    out.push(0x08);
    put_varint(out, first_line);
    out.push(0x10);
    put_varint(out, headers);
}

/// Appends `requestDropped` (field 16).
pub(super) fn put_request_dropped(out: &mut Vec<u8>, stamp: &Stamp) {
    put_frame(out, stamp, 3);
    out.extend_from_slice(&[0x82, 0x01, 0x00]);
}

/// Appends `close` (field 11).
pub(super) fn put_close(out: &mut Vec<u8>, stamp: &Stamp) {
    put_frame(out, stamp, 2);
    out.extend_from_slice(&[0x5A, 0x00]);
}

/// Appends `connectionException` (field 12).
pub(super) fn put_exception(out: &mut Vec<u8>, stamp: &Stamp, message: &str) {
    let inner =
        if message.is_empty() { 0 } else { 1 + varint_len(message.len() as u64) + message.len() };
    put_frame(out, stamp, 1 + varint_len(inner as u64) + inner);
    out.push(0x62);
    put_varint(out, inner as u64);
    if !message.is_empty() {
        out.push(0x0A);
        put_varint(out, message.len() as u64);
        out.extend_from_slice(message.as_bytes());
    }
}

/// The start of an observation whose capture field takes `content` bytes.
fn put_frame(out: &mut Vec<u8>, stamp: &Stamp, content: usize) {
    let ts = stamp.as_bytes();
    out.push(OBSERVATION);
    put_varint(out, (ts.len() + content) as u64);
    out.extend_from_slice(ts);
}

/// The most bytes that an observation without data takes, apart from an exception's text.
pub(super) const SMALL_OBSERVATION_MAX: usize = 2 + Stamp::BYTES_MAX + 2 + 2 * 11;

/// The longest text kept of an exception.
pub(super) const EXCEPTION_BYTES_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varint_lengths_match_what_is_written() {
        for value in [0, 1, 127, 128, 16_383, 16_384, u64::from(u32::MAX), u64::MAX] {
            let mut out = Vec::new();
            put_varint(&mut out, value);
            assert_eq!(out.len(), varint_len(value), "{value}");
        }
    }

    #[test]
    fn a_stamp_writes_seconds_always_and_nanos_only_when_there_are_any() {
        assert_eq!(Stamp::new(0).as_bytes(), [0x0A, 2, 0x08, 0]);
        assert_eq!(Stamp::new(5_000_000_007).as_bytes(), [0x0A, 4, 0x08, 5, 0x10, 7]);
        assert!(Stamp::new(u64::MAX).as_bytes().len() <= Stamp::BYTES_MAX);
    }

    #[test]
    fn the_overhead_bound_holds() {
        let stamp = Stamp::new(u64::MAX);
        for n in [0usize, 1, 127, 128, 16_000, 16_384, 70_000, 2_100_000] {
            let mut out = Vec::new();
            let at = put_data(&mut out, &stamp, Data::Write, &vec![7; n]);
            assert!(out.len() <= n + data_overhead_max(n), "{n}");
            assert_eq!(out.len() - at, n);
        }
    }
}
