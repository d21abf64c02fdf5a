//! Marks in request bodies that are unique over a test: what has been forwarded, and what has been
//! made durable, is told by them, independently of any framing.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;

/// The text of a mark.
pub(crate) fn text(number: u64) -> String {
    format!("<m{number:012}>")
}

/// Finds marks in byte streams that arrive in pieces, one stream per key.
#[derive(Clone, Debug)]
pub(crate) struct Scanner<K> {
    carried: HashMap<K, Vec<u8>>,
    found: BTreeSet<u64>,
}

impl<K: Eq + Hash> Scanner<K> {
    pub(crate) fn new() -> Self {
        Self { carried: HashMap::new(), found: BTreeSet::new() }
    }

    /// Takes the next piece of a stream; the marks that it completed.
    pub(crate) fn scan(&mut self, stream: K, piece: &[u8]) -> Vec<u64> {
        let carried = self.carried.entry(stream).or_default();
        carried.extend_from_slice(piece);
        let mut marks = Vec::new();
        let mut keep = carried.len().saturating_sub(LENGTH - 1);
        for at in memchr::memmem::find_iter(carried, b"<m") {
            let Some(mark) = carried.get(at..at + LENGTH) else { break };
            if let Some(number) = parse(mark) {
                marks.push(number);
                keep = keep.max(at + LENGTH);
            }
        }
        carried.drain(..keep);
        self.found.extend(&marks);
        marks
    }

    /// Whether a mark has been seen on any stream.
    pub(crate) fn has(&self, mark: u64) -> bool {
        self.found.contains(&mark)
    }

    /// All marks seen.
    pub(crate) fn found(&self) -> &BTreeSet<u64> {
        &self.found
    }
}

fn parse(mark: &[u8]) -> Option<u64> {
    let digits = mark.strip_prefix(b"<m")?.strip_suffix(b">")?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

const LENGTH: usize = 15;

#[test]
fn marks_are_found_wherever_the_stream_is_cut() {
    let stream = format!("<<m{}x{}y{}", text(7), text(8), text(999_999_999_999));
    for size in 1..stream.len() {
        let mut scanner = Scanner::new();
        let mut marks = Vec::new();
        for piece in stream.as_bytes().chunks(size) {
            marks.extend(scanner.scan("a", piece));
            assert!(scanner.scan("b", b"<m0000").is_empty(), "streams do not mix");
        }
        assert_eq!(marks, [7, 8, 999_999_999_999], "pieces of {size}");
        assert!(scanner.has(8) && !scanner.has(9));
        assert_eq!(scanner.found().len(), 3);
    }
}
