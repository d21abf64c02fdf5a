//! Byte classes of RFC 9110 and the search for the end of a run of them.
//!
//! Owns the lookup table of token bytes and the word-wise search. Never interprets what it finds.

pub(super) const CR: u8 = b'\r';
pub(super) const LF: u8 = b'\n';
pub(super) const SP: u8 = b' ';
pub(super) const HT: u8 = b'\t';

/// Length of the run of token bytes (RFC 9110 section 5.6.2) that `bytes` starts with.
#[inline]
pub(super) fn token_len(bytes: &[u8]) -> usize {
    bytes.iter().position(|&byte| !TOKEN[usize::from(byte)]).unwrap_or(bytes.len())
}

/// A byte of a token (RFC 9110 section 5.6.2).
pub fn is_token(byte: u8) -> bool {
    TOKEN[usize::from(byte)]
}

/// Is this the name of a field (RFC 9110 section 5.1)?
pub fn is_field_name(name: &[u8]) -> bool {
    !name.is_empty() && token_len(name) == name.len()
}

/// Can this be the value of a field: no control byte but the tab, no blank at either end (RFC 9110 section 5.5)?
pub fn is_field_value(value: &[u8]) -> bool {
    let control = |byte: &u8| (*byte < SP && *byte != HT) || *byte == 0x7f;
    trim(value).len() == value.len() && !value.iter().any(control)
}

/// Index of the first byte at or after `from` that is below `LOW` or is DEL. With 0x20 that is the
/// first control byte, with 0x21 the first byte that is a control byte or a blank.
#[inline]
pub(super) fn stop_at<const LOW: u8>(bytes: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    while let Some(word) = bytes.get(at..).and_then(<[u8]>::first_chunk::<8>) {
        // Both subtractions borrow into a higher byte only above a byte that truly matches, so the
        // lowest flag, which is the first byte in memory order, is always exact.
        let word = u64::from_le_bytes(*word);
        let below = word.wrapping_sub(ONES * u64::from(LOW)) & !word;
        let delete = word ^ (ONES * 0x7f);
        let delete = delete.wrapping_sub(ONES) & !delete;
        let flags = (below | delete) & (ONES * 0x80);
        if flags != 0 {
            return Some(at + (flags.trailing_zeros() / 8) as usize);
        }
        at += 8;
    }
    let tail = bytes.get(at..)?;
    tail.iter().position(|&byte| byte < LOW || byte == 0x7f).map(|index| at + index)
}

/// `bytes` without the blanks and tabs around it (OWS of RFC 9110 section 5.6.3).
pub(super) fn trim(bytes: &[u8]) -> &[u8] {
    let is_blank = |byte: &u8| matches!(*byte, SP | HT);
    let from = bytes.iter().position(|byte| !is_blank(byte)).unwrap_or(bytes.len());
    let to = bytes.iter().rposition(|byte| !is_blank(byte)).map_or(from, |last| last + 1);
    &bytes[from..to]
}

/// `bytes` without the blanks before it. Tabs stay: no framing field needs one.
pub(super) fn trim_leading_blanks(bytes: &[u8]) -> &[u8] {
    let from = bytes.iter().position(|&byte| byte != SP).unwrap_or(bytes.len());
    &bytes[from..]
}

const ONES: u64 = 0x0101_0101_0101_0101;

const TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = matches!(
            byte as u8,
            b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'!' | b'#' | b'$' | b'%' | b'&' | b'\''
                | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
        );
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg_attr(miri, ignore = "86,000 searches")]
    fn stop_at_agrees_with_the_plain_search() {
        for byte in 0..=255_u8 {
            for at in 0..24 {
                for follower in [0x00, 0x1f, 0x20, 0x7e, 0x7f, 0x80, 0xff] {
                    let mut bytes = [b'a'; 24];
                    bytes[at] = byte;
                    if at + 1 < bytes.len() {
                        bytes[at + 1] = follower;
                    }
                    let control = bytes.iter().position(|&b| b < 0x20 || b == 0x7f);
                    let blank = bytes.iter().position(|&b| b < 0x21 || b == 0x7f);
                    assert_eq!(stop_at::<0x20>(&bytes, 0), control, "{bytes:?}");
                    assert_eq!(stop_at::<0x21>(&bytes, 0), blank, "{bytes:?}");
                }
            }
        }
        assert_eq!(stop_at::<0x20>(b"", 0), None);
        assert_eq!(stop_at::<0x20>(b"a\rb\r", 2), Some(3));
    }

    #[test]
    fn tokens_end_at_the_first_other_byte() {
        assert_eq!(token_len(b"Content-Length: 5"), 14);
        assert_eq!(token_len(b"!#$%&'*+-.^_`|~09azAZ"), 21);
        for byte in *b"\"(),/:;<=>?@[\\]{} \t\r\n\0\x7f\x80\xff" {
            assert_eq!(token_len(&[b'x', byte, b'x']), 1, "{byte:#x}");
        }
    }

    #[test]
    fn trimming() {
        assert_eq!(trim(b" \t close\t "), b"close");
        assert_eq!(trim(b" \t"), b"");
        assert_eq!(trim(b""), b"");
        assert_eq!(trim_leading_blanks(b"  5 "), b"5 ");
        assert_eq!(trim_leading_blanks(b"\t5"), b"\t5");
        assert_eq!(trim_leading_blanks(b"  "), b"");
    }
}
