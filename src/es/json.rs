//! A scanner for the shallow JSON of action lines and of the front of answers.
//!
//! Steps over strings and plain values without building anything. Never validates what it steps over beyond the bytes
//! that end it: whoever needs certainty has `serde_json` read the same bytes.

use std::borrow::Cow;

/// A place in a JSON text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scanner<'a> {
    pub bytes: &'a [u8],
    pub at: usize,
}

/// A value that is neither an object nor an array.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Plain<'a> {
    /// Between its quotes, escapes not undone.
    Text(Raw<'a>),
    /// A number, `true`, `false` or `null`, as it stands.
    Word(&'a [u8]),
}

/// The inside of a JSON string.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Raw<'a> {
    pub bytes: &'a [u8],
    pub escaped: bool,
}

impl<'a> Raw<'a> {
    /// The text; `None` when it is ill-formed.
    pub(super) fn text(self) -> Option<Cow<'a, str>> {
        if !self.escaped {
            return std::str::from_utf8(self.bytes).ok().map(Cow::Borrowed);
        }
        let mut quoted = Vec::with_capacity(self.bytes.len() + 2);
        quoted.push(b'"');
        quoted.extend_from_slice(self.bytes);
        quoted.push(b'"');
        serde_json::from_slice::<String>(&quoted).ok().map(Cow::Owned)
    }

    /// Is it this name? Names with escapes are compared as what they stand for.
    pub(super) fn is(self, name: &str) -> bool {
        if self.escaped {
            return self.text().is_some_and(|text| text == name);
        }
        self.bytes == name.as_bytes()
    }
}

impl<'a> Scanner<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub(super) fn skip_blanks(&mut self) {
        while matches!(self.bytes.get(self.at), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    /// The next byte that is no blank.
    pub(super) fn peek(&mut self) -> Option<u8> {
        self.skip_blanks();
        self.bytes.get(self.at).copied()
    }

    /// Steps over `byte` if that is what comes next, blanks before it skipped.
    pub(super) fn take(&mut self, byte: u8) -> bool {
        let taken = self.peek() == Some(byte);
        self.at += usize::from(taken);
        taken
    }

    /// A string.
    pub(super) fn string(&mut self) -> Option<Raw<'a>> {
        if !self.take(b'"') {
            return None;
        }
        let from = self.at;
        let mut escaped = false;
        loop {
            let rest = self.bytes.get(self.at..)?;
            let stop = quote_or_escape(rest)?;
            if rest[stop] == b'"' {
                let bytes = &self.bytes[from..self.at + stop];
                self.at += stop + 1;
                return Some(Raw { bytes, escaped });
            }
            escaped = true;
            self.at += stop + 2;
        }
    }

    /// A name and its colon.
    pub(super) fn name(&mut self) -> Option<Raw<'a>> {
        let name = self.string()?;
        self.take(b':').then_some(name)
    }

    /// A value that is neither an object nor an array; `None` for anything else.
    pub(super) fn plain(&mut self) -> Option<Plain<'a>> {
        if self.peek()? == b'"' {
            return self.string().map(Plain::Text);
        }
        let rest = &self.bytes[self.at..];
        let word = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'+' | b'.');
        let len = rest.iter().position(|byte| !word(byte)).unwrap_or(rest.len());
        self.at += len;
        (len > 0).then(|| Plain::Word(&rest[..len]))
    }

    /// Steps over any value; `None` when it does not end.
    pub(super) fn skip_value(&mut self) -> Option<()> {
        let mut depth = 0_usize;
        loop {
            match self.peek()? {
                b'{' | b'[' => {
                    depth += 1;
                    self.at += 1;
                }
                b'}' | b']' => {
                    depth = depth.checked_sub(1)?;
                    self.at += 1;
                }
                b',' | b':' if depth > 0 => self.at += 1,
                _ => {
                    self.plain()?;
                }
            }
            if depth == 0 {
                return Some(());
            }
        }
    }
}

/// Where the first quote or backslash stands. Most strings are names and ids: too short to be worth a call.
#[inline]
fn quote_or_escape(bytes: &[u8]) -> Option<usize> {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    // The lowest set bit marks the first byte of the word that is `byte`.
    let found = |word: u64, byte: u8| {
        let other = word ^ (ONES * u64::from(byte));
        other.wrapping_sub(ONES) & !other & (ONES << 7)
    };
    let (words, rest) = bytes.as_chunks::<8>();
    for (at, word) in words.iter().enumerate().take(SHORT_WORDS) {
        let word = u64::from_le_bytes(*word);
        let stops = found(word, b'"') | found(word, b'\\');
        if stops != 0 {
            return Some(at * 8 + stops.trailing_zeros() as usize / 8);
        }
    }
    if words.len() > SHORT_WORDS {
        let from = SHORT_WORDS * 8;
        return memchr::memchr2(b'"', b'\\', &bytes[from..]).map(|at| from + at);
    }
    let stop = rest.iter().position(|&byte| byte == b'"' || byte == b'\\');
    stop.map(|at| words.len() * 8 + at)
}

/// Words of eight bytes that are looked at in place.
const SHORT_WORDS: usize = 6;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_stepped_over() {
        for value in
            ["1", "-1.5e+3", "null", "\"a\\\"b\"", "{}", "[]", r#"{"a":[1,{"b":"]}"}],"c":{}}"#]
        {
            let text = format!(" {value} ,rest");
            let mut scanner = Scanner::new(text.as_bytes());
            assert_eq!(scanner.skip_value(), Some(()), "{value}");
            assert!(scanner.take(b','), "{value}");
        }
        for value in ["", "{", "[1,", "]", "\"a", "\"a\\", ":"] {
            assert_eq!(Scanner::new(value.as_bytes()).skip_value(), None, "{value}");
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "76,000 searches")]
    fn the_first_quote_or_backslash_is_found_wherever_it_stands() {
        for len in 0..80 {
            assert_eq!(quote_or_escape(&vec![b'!'; len]), None);
            for at in 0..len {
                for stop in [b'"', b'\\'] {
                    // Bytes that differ from the two in one bit, and what the borrow of a subtraction could hit.
                    for other in [b'#', b'\'', b']', 0, 0xa2, 0xff] {
                        let mut text = vec![other; len];
                        text[at] = stop;
                        assert_eq!(quote_or_escape(&text), Some(at));
                        text[at + 1..].fill(b'"');
                        assert_eq!(quote_or_escape(&text), Some(at));
                    }
                }
            }
        }
    }

    #[test]
    fn strings() {
        let mut scanner = Scanner::new(br#"  "plain" "a\u00e9\\" "#);
        assert!(matches!(scanner.string().unwrap().text(), Some(Cow::Borrowed("plain"))));
        let escaped = scanner.string().unwrap();
        assert_eq!(escaped.text().unwrap(), "a\u{e9}\\");
        assert!(escaped.is("a\u{e9}\\") && !escaped.is("a"));
        assert_eq!(Scanner::new(b"\"\xff\"").string().unwrap().text(), None);
        assert_eq!(Scanner::new(br#""\q""#).string().unwrap().text(), None);
    }
}
