//! Records as lines of text: `<base64>` or `<key>|<base64>`, plain or gzip.
//!
//! Reads a text from front to back with bounded memory. A line that is no record is given with the
//! reason, for the caller to judge; only what ends the text ends the reading.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::Path,
    sync::Arc,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use flate2::bufread::MultiGzDecoder;

use crate::observe::{ExitCode, Failure};

/// A text of lines.
pub struct Lines {
    name: Arc<str>,
    text: Box<dyn BufRead + Send>,
    number: u64,
    line: Vec<u8>,
    payload: Vec<u8>,
    bytes_max: usize,
}

/// One line that is not blank.
#[derive(Debug)]
pub struct Line<'a> {
    /// From 1.
    pub number: u64,
    /// What stands before the bar; `None` without a bar.
    pub key: Option<&'a [u8]>,
    /// The record, or the line as it stands when it is none.
    pub payload: &'a [u8],
    /// Why the line is no record.
    pub poison: Option<String>,
}

impl Lines {
    /// Opens a file, or the standard input for `-`.
    pub fn open(path: &Path) -> Result<Self, Failure> {
        if path.as_os_str() == "-" {
            return Self::new("the standard input", io::stdin());
        }
        let name = path.display().to_string();
        let file = File::open(path).map_err(|error| {
            Failure::configuration(format!("cannot read {name}: {error}. Check --input"))
        })?;
        Self::new(&name, file)
    }

    /// Reads from anything, as text or as gzip of one or more members: by its first two bytes.
    pub fn new(name: &str, from: impl Read + Send + 'static) -> Result<Self, Failure> {
        let mut first = BufReader::with_capacity(BUFFER_BYTES, from);
        let mut magic = Vec::with_capacity(GZIP.len());
        // A pipe may give less than two bytes at a time.
        let wanted = GZIP.len() as u64;
        first.by_ref().take(wanted).read_to_end(&mut magic).map_err(|e| unreadable(name, &e))?;
        let gzip = magic == GZIP;
        let whole = BufReader::with_capacity(BUFFER_BYTES, io::Cursor::new(magic).chain(first));
        let text: Box<dyn BufRead + Send> = if gzip {
            Box::new(BufReader::with_capacity(BUFFER_BYTES, MultiGzDecoder::new(whole)))
        } else {
            Box::new(whole)
        };
        Ok(Self {
            name: name.into(),
            text,
            number: 0,
            line: Vec::new(),
            payload: Vec::new(),
            bytes_max: LINE_BYTES_MAX,
        })
    }

    /// What the text is called.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The next line that is not blank; `None` at the end.
    #[allow(clippy::should_implement_trait, reason = "the line borrows from the reader")]
    pub fn next(&mut self) -> Result<Option<Line<'_>>, Failure> {
        let whole = loop {
            let Some(whole) = self.read().map_err(|error| unreadable(&self.name, &error))? else {
                return Ok(None);
            };
            if !self.line.trim_ascii().is_empty() {
                break whole;
            }
        };
        let number = self.number;
        let line = self.line.trim_ascii();
        if !whole {
            let poison = format!("longer than {} bytes", self.bytes_max);
            return Ok(Some(Line { number, key: None, payload: line, poison: Some(poison) }));
        }
        // The key may hold a bar, Base64 never does.
        let (key, text) = match memchr::memrchr(b'|', line) {
            Some(bar) => (Some(&line[..bar]), &line[bar + 1..]),
            None => (None, line),
        };
        self.payload.clear();
        Ok(Some(match STANDARD.decode_vec(text, &mut self.payload) {
            Ok(()) => Line { number, key, payload: &self.payload, poison: None },
            Err(error) => Line {
                number,
                key: None,
                payload: line,
                poison: Some(format!("no Base64: {error}")),
            },
        }))
    }

    /// Reads a line into `line`: whether it is whole, `None` at the end. Of one that is too long
    /// the beginning is kept and the rest passed over.
    fn read(&mut self) -> io::Result<Option<bool>> {
        self.line.clear();
        let limit = self.bytes_max as u64 + 1;
        if self.text.by_ref().take(limit).read_until(b'\n', &mut self.line)? == 0 {
            return Ok(None);
        }
        self.number += 1;
        if self.line.len() as u64 <= self.bytes_max as u64 || self.line.ends_with(b"\n") {
            return Ok(Some(true));
        }
        self.line.truncate(POISON_BYTES_MAX.min(self.bytes_max));
        self.line.shrink_to_fit();
        self.text.skip_until(b'\n')?;
        Ok(Some(false))
    }
}

impl std::fmt::Debug for Lines {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lines")
            .field("name", &self.name)
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}

fn unreadable(name: &str, error: &io::Error) -> Failure {
    Failure::new(
        ExitCode::Failed,
        format!("cannot read {name} any further: {error}. Check that it was copied whole"),
    )
}

const GZIP: [u8; 2] = [0x1F, 0x8B];
const BUFFER_BYTES: usize = 64 << 10;
/// A record is at most 16 MiB and its Base64 a third longer; 256 MiB is no record.
const LINE_BYTES_MAX: usize = 256 << 20;
/// What is kept of a line that is too long.
const POISON_BYTES_MAX: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    type Owned = (u64, Option<Vec<u8>>, Vec<u8>, bool);

    fn all(mut lines: Lines) -> Vec<Owned> {
        let mut found = Vec::new();
        while let Some(line) = lines.next().unwrap() {
            let key = line.key.map(<[u8]>::to_vec);
            found.push((line.number, key, line.payload.to_vec(), line.poison.is_some()));
        }
        found
    }

    fn of(text: &[u8]) -> Lines {
        Lines::new("x", io::Cursor::new(text.to_vec())).unwrap()
    }

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    const TEXT: &[u8] = b"YQ==\n\n k|YmI=\r\n  \n!\n|Y2Nj\na|b|ZA==";

    fn expected() -> Vec<Owned> {
        vec![
            (1, None, b"a".to_vec(), false),
            (3, Some(b"k".to_vec()), b"bb".to_vec(), false),
            (5, None, b"!".to_vec(), true),
            (6, Some(Vec::new()), b"ccc".to_vec(), false),
            (7, Some(b"a|b".to_vec()), b"d".to_vec(), false),
        ]
    }

    /// Gives one byte at a time, as a slow pipe does.
    struct Slow(io::Cursor<Vec<u8>>);

    impl Read for Slow {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let end = buffer.len().min(1);
            self.0.read(&mut buffer[..end])
        }
    }

    #[test]
    fn lines_are_read_plain_and_gzipped_in_any_pieces() {
        assert_eq!(all(of(TEXT)), expected());
        let members = [gzip(&TEXT[..11]), gzip(b""), gzip(&TEXT[11..])].concat();
        for text in [TEXT.to_vec(), gzip(TEXT), members] {
            assert_eq!(all(of(&text)), expected());
            let slow = Lines::new("x", Slow(io::Cursor::new(text))).unwrap();
            assert_eq!(all(slow), expected());
        }
        for empty in [&b""[..], b"\n\n", &gzip(b"")] {
            assert_eq!(all(of(empty)), []);
        }
    }

    #[test]
    fn a_line_that_is_too_long_is_passed_in_bounded_memory() {
        let mut lines = of(b"YQ==\nYWFhYWFhYWFhYWFh\nYg==\nYWFhYWFh\n");
        lines.bytes_max = 8;
        let found = all(lines);
        let seen: Vec<_> = found.iter().map(|line| (line.0, line.3)).collect();
        assert_eq!(seen, [(1, false), (2, true), (3, false), (4, false)]);
        assert_eq!(found[1].2, b"YWFhYWFh");
    }

    #[test]
    fn a_gzip_file_cut_short_is_a_failure_that_names_it() {
        let mut cut = gzip(&TEXT.repeat(1000));
        cut.truncate(cut.len() - 9);
        let mut lines = of(&cut);
        let error = loop {
            match lines.next() {
                Ok(Some(_)) => {}
                Ok(None) => panic!("a cut file passed for a whole one"),
                Err(error) => break error,
            }
        };
        assert!(error.to_string().contains("cannot read x"), "{error}");
    }
}
