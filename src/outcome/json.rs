//! Where a JSON value ends, and whether it is one (RFC 8259).
//!
//! Tuples show bodies as they stood, so nothing is built of them: they are only read over, which is a large part of
//! what rendering costs. Says of a valid value what `serde_json` says, whatever is in it but UTF-8, which is the
//! caller's to check.

/// What was found in place of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoValue {
    /// The bytes end before the value does.
    Cut,
    /// Whatever follows, it is none.
    Bad,
}

type Result = std::result::Result<usize, NoValue>;

/// The end of the value that `bytes` begin with, blanks before it included.
pub(super) fn value_end(bytes: &[u8]) -> Result {
    let mut open = Open::default();
    let mut at = 0;
    loop {
        at = blanks(bytes, at);
        at = match *bytes.get(at).ok_or(NoValue::Cut)? {
            b'{' => {
                at = blanks(bytes, at + 1);
                if bytes.get(at) != Some(&b'}') {
                    open.push(true)?;
                    at = name(bytes, at)?;
                    continue;
                }
                at + 1
            }
            b'[' => {
                at = blanks(bytes, at + 1);
                if bytes.get(at) != Some(&b']') {
                    open.push(false)?;
                    continue;
                }
                at + 1
            }
            b'"' => string(bytes, at + 1)?,
            b'-' | b'0'..=b'9' => number(bytes, at)?,
            b't' => word(bytes, at, b"true")?,
            b'f' => word(bytes, at, b"false")?,
            b'n' => word(bytes, at, b"null")?,
            _ => return Err(NoValue::Bad),
        };
        loop {
            let Some(object) = open.last() else { return Ok(at) };
            at = blanks(bytes, at);
            match *bytes.get(at).ok_or(NoValue::Cut)? {
                b',' if object => at = name(bytes, blanks(bytes, at + 1))?,
                b',' => at += 1,
                b'}' if object => {
                    open.pop();
                    at += 1;
                    continue;
                }
                b']' if !object => {
                    open.pop();
                    at += 1;
                    continue;
                }
                _ => return Err(NoValue::Bad),
            }
            break;
        }
    }
}

/// Whether a JSON string may hold these bytes as they are, and all of them are ASCII.
pub(super) fn is_plain(bytes: &[u8]) -> bool {
    let (words, rest) = bytes.as_chunks::<8>();
    let plain = |byte: &u8| matches!(byte, 0x20..=0x7f) && !matches!(byte, b'"' | b'\\');
    words.iter().all(|word| {
        let word = u64::from_le_bytes(*word);
        (stops(word) | word) & HIGH == 0
    }) && rest.iter().all(plain)
}

/// What follows the blanks that stand at `at`.
pub(super) fn blanks(bytes: &[u8], mut at: usize) -> usize {
    while matches!(bytes.get(at), Some(b' ' | b'\t' | b'\r' | b'\n')) {
        at += 1;
    }
    at
}

/// A name and its colon.
fn name(bytes: &[u8], at: usize) -> Result {
    if *bytes.get(at).ok_or(NoValue::Cut)? != b'"' {
        return Err(NoValue::Bad);
    }
    let at = blanks(bytes, string(bytes, at + 1)?);
    if *bytes.get(at).ok_or(NoValue::Cut)? == b':' { Ok(at + 1) } else { Err(NoValue::Bad) }
}

/// Behind the quote that ends the string whose inside begins at `at`.
fn string(bytes: &[u8], mut at: usize) -> Result {
    loop {
        at = stop(bytes, at).ok_or(NoValue::Cut)?;
        match bytes[at] {
            b'"' => return Ok(at + 1),
            b'\\' => match *bytes.get(at + 1).ok_or(NoValue::Cut)? {
                b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => at += 2,
                b'u' => {
                    let digits = bytes.get(at + 2..).unwrap_or_default();
                    let digits = &digits[..digits.len().min(4)];
                    if !digits.iter().all(u8::is_ascii_hexdigit) {
                        return Err(NoValue::Bad);
                    }
                    if digits.len() < 4 {
                        return Err(NoValue::Cut);
                    }
                    at += 6;
                }
                _ => return Err(NoValue::Bad),
            },
            _ => return Err(NoValue::Bad),
        }
    }
}

/// The first byte from `at` on that does not stand for itself in a string.
#[inline]
fn stop(bytes: &[u8], at: usize) -> Option<usize> {
    let inside = bytes.get(at..)?;
    let (words, rest) = inside.as_chunks::<8>();
    for (number, word) in words.iter().enumerate() {
        let stops = stops(u64::from_le_bytes(*word));
        if stops != 0 {
            return Some(at + number * 8 + stops.trailing_zeros() as usize / 8);
        }
    }
    let stop = rest.iter().position(|byte| matches!(byte, 0..0x20 | b'"' | b'\\'));
    stop.map(|stop| at + words.len() * 8 + stop)
}

/// The lowest bit that is set marks the first byte of the word that is a quote, a backslash or below a blank.
#[inline]
fn stops(word: u64) -> u64 {
    let is = |byte: u8| {
        let other = word ^ (ONES * u64::from(byte));
        other.wrapping_sub(ONES) & !other
    };
    let below_blank = word.wrapping_sub(ONES * 0x20) & !word;
    (is(b'"') | is(b'\\') | below_blank) & HIGH
}

const ONES: u64 = u64::from_le_bytes([1; 8]);
const HIGH: u64 = ONES << 7;

/// `-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?`
fn number(bytes: &[u8], mut at: usize) -> Result {
    at += usize::from(bytes[at] == b'-');
    if bytes.get(at) == Some(&b'0') {
        at += 1;
    } else {
        at = digits(bytes, at)?;
    }
    if bytes.get(at) == Some(&b'.') {
        at = digits(bytes, at + 1)?;
    }
    if matches!(bytes.get(at), Some(b'e' | b'E')) {
        at += 1;
        at += usize::from(matches!(bytes.get(at), Some(b'+' | b'-')));
        at = digits(bytes, at)?;
    }
    // `01` is no number.
    if bytes.get(at).is_some_and(u8::is_ascii_digit) { Err(NoValue::Bad) } else { Ok(at) }
}

/// At least one.
fn digits(bytes: &[u8], at: usize) -> Result {
    let rest = bytes.get(at..).unwrap_or_default();
    match rest.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len()) {
        0 if rest.is_empty() => Err(NoValue::Cut),
        0 => Err(NoValue::Bad),
        count => Ok(at + count),
    }
}

fn word(bytes: &[u8], at: usize, word: &[u8]) -> Result {
    let there = &bytes[at..bytes.len().min(at + word.len())];
    match (there == word, word.starts_with(there)) {
        (true, _) => Ok(at + word.len()),
        (false, true) => Err(NoValue::Cut),
        (false, false) => Err(NoValue::Bad),
    }
}

/// Objects and arrays that are open, one bit each.
#[derive(Default)]
struct Open {
    objects: [u64; DEPTH_MAX / 64],
    depth: usize,
}

impl Open {
    fn push(&mut self, object: bool) -> std::result::Result<(), NoValue> {
        if self.depth == DEPTH_MAX {
            return Err(NoValue::Bad);
        }
        let word = &mut self.objects[self.depth / 64];
        let bit = 1 << (self.depth % 64);
        *word = if object { *word | bit } else { *word & !bit };
        self.depth += 1;
        Ok(())
    }

    fn last(&self) -> Option<bool> {
        let at = self.depth.checked_sub(1)?;
        Some(self.objects[at / 64] & 1 << (at % 64) != 0)
    }

    fn pop(&mut self) {
        self.depth -= 1;
    }
}

/// Values within values; the servers refuse what is deeper than 1,000.
const DEPTH_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::value::RawValue;

    use super::*;

    #[test]
    fn values_end_where_they_end() {
        for value in [
            "{}",
            "[]",
            "\"\"",
            "0",
            "-0.5e-7",
            "12",
            "true",
            "false",
            "null",
            r#""a\"\\\u00e9""#,
            r#"{ "a" : [ 1 , {"b":"]}"} , [] ] , "":null }"#,
            "\"a string of more than eight bytes\"",
        ] {
            assert_eq!(value_end(value.as_bytes()), Ok(value.len()), "{value}");
            let text = format!("\n {value} ,rest");
            assert_eq!(value_end(text.as_bytes()), Ok(value.len() + 2), "{value}");
            for cut in 0..value.len() {
                let begun = value_end(&value.as_bytes()[..cut]);
                let number = value.as_bytes()[0].is_ascii_digit() || value.starts_with('-');
                assert!(begun == Err(NoValue::Cut) || number, "{value} cut at {cut}: {begun:?}");
            }
        }
        for bad in [
            "x",
            "}",
            "{]",
            "[}",
            "[1,]",
            "{,}",
            "{\"a\"}",
            "{\"a\":1,}",
            "{1:2}",
            "[1 2]",
            "01",
            "1.x",
            "+1",
            ".5",
            "-x",
            "1ex",
            "trux",
            "\"\\q\"",
            "\"\\u00g0\"",
            "\"a\nb\"",
            "\"12345678\u{1}\"",
        ] {
            assert_eq!(value_end(bad.as_bytes()), Err(NoValue::Bad), "{bad}");
        }
        let deep = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        // The innermost one is empty, and never open.
        let most = DEPTH_MAX + 1;
        assert_eq!(value_end(deep(most).as_bytes()), Ok(2 * most));
        assert_eq!(value_end(deep(most + 1).as_bytes()), Err(NoValue::Bad));
    }

    #[test]
    fn plain_strings() {
        for (text, plain) in
            [("", true), ("application/json", true), ("a\"b", false), ("12345678\\", false)]
        {
            assert_eq!(is_plain(text.as_bytes()), plain, "{text}");
        }
        for byte in 0..=u8::MAX {
            let plain = matches!(byte, b' '..=0x7f) && byte != b'"' && byte != b'\\';
            for at in 0..20 {
                let mut text = [b'a'; 20];
                text[at] = byte;
                assert_eq!(is_plain(&text), plain, "{byte:#x} at {at}");
            }
        }
    }

    fn oracle(bytes: &[u8]) -> Result {
        let mut values = serde_json::Deserializer::from_slice(bytes).into_iter::<&RawValue>();
        match values.next() {
            Some(Ok(_)) => Ok(values.byte_offset()),
            Some(Err(error)) if error.is_eof() => Err(NoValue::Cut),
            Some(Err(_)) => Err(NoValue::Bad),
            None => Err(NoValue::Cut),
        }
    }

    proptest! {
        #[test]
        fn the_same_is_said_as_serde_json_says(text in prop_oneof![
            "[\\[\\]{}\",:0-9eE.+\\-truefalsn \\\\\n]{0,24}",
            "(\\{(\"[a-z\\\\\"u0-9]{0,12}\":[0-9.e-]{1,4},?){0,3}\\}|\\[([0-9truefalsn]{1,5},?){0,4}\\]){0,2}",
        ]) {
            let (found, expected) = (value_end(text.as_bytes()), oracle(text.as_bytes()));
            // Of numbers that end with the text serde_json says that they are none rather than cut, and a plain value
            // must be followed by a blank there.
            let same = found == expected
                || (found == Err(NoValue::Cut) && expected == Err(NoValue::Bad))
                || (!text.trim_start().starts_with(['{', '[']) && found.is_ok());
            prop_assert!(same, "{text:?}: {found:?}, not {expected:?}");
        }

        #[test]
        fn any_value_is_read_to_its_end(value in super::super::payload::tests::arbitrary_json(), pretty: bool) {
            let text = if pretty {
                serde_json::to_vec_pretty(&value)
            } else {
                serde_json::to_vec(&value)
            }.expect("JSON");
            prop_assert_eq!(value_end(&text), Ok(text.len()));
        }
    }
}
