//! Names of nodes and connections on the wire.

use std::fmt;

/// Who writes: one worker of one run of one node.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The node's name, a UUID kept in the state directory (field 5).
    pub node: String,
    /// One run of one process.
    pub incarnation: u64,
    /// The worker's number within the process.
    pub worker: u16,
}

/// The longest node name that a record header has room for.
pub const NODE_BYTES_MAX: usize = 64;

/// A connection's name: five groups of lower-case hexadecimal digits, 60 characters, in the shape of Netty's
/// `DefaultChannelId` (machine 16, process 8, sequence 8, time 16, random 8).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConnectionId([u8; Self::BYTES]);

impl ConnectionId {
    /// Characters of every connection id.
    pub const BYTES: usize = 60;

    /// Unique as long as (incarnation, worker, serial) is; the time makes ids of one node sort by age.
    pub fn new(identity: &Identity, serial: u32, unix_nanos: u64) -> Self {
        let incarnation = identity.incarnation;
        let mut id = [b'-'; Self::BYTES];
        put_hex(&mut id[0..16], incarnation);
        put_hex(&mut id[17..25], u64::from(identity.worker));
        put_hex(&mut id[26..34], u64::from(serial));
        put_hex(&mut id[35..51], unix_nanos);
        // A multiplicative mix (the constant is 2^64 divided by the golden ratio) spreads the partition hash.
        let mixed =
            (incarnation ^ unix_nanos ^ u64::from(serial)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        put_hex(&mut id[52..60], mixed >> 32);
        Self(id)
    }

    /// The characters.
    pub fn as_bytes(&self) -> &[u8; Self::BYTES] {
        &self.0
    }
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| fmt::Write::write_char(f, char::from(*byte)))
    }
}

impl fmt::Debug for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn put_hex(out: &mut [u8], value: u64) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let len = out.len();
    for (place, digit) in out.iter_mut().enumerate() {
        *digit = DIGITS[(value >> (4 * (len - 1 - place))) as usize & 15];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_the_reference_shape_and_differ() {
        let identity = Identity { node: "n".into(), incarnation: 0xABCD, worker: 3 };
        let a = ConnectionId::new(&identity, 1, 77).to_string();
        let b = ConnectionId::new(&identity, 2, 77).to_string();
        assert_ne!(a, b);
        let groups: Vec<usize> = a.split('-').map(str::len).collect();
        assert_eq!(groups, [16, 8, 8, 16, 8]);
        assert!(a.bytes().all(|b| b == b'-' || b.is_ascii_digit() || (b'a'..=b'f').contains(&b)));
    }
}
