//! One Rust file as the house rules look at it: its code without comments, strings and tests.
//!
//! A scanner, not a parser: it knows where comments, literals and braces begin and end, and takes
//! well-formed code for granted, since the compiler has seen it.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// One file. All texts are equally long, so an offset means the same place in each.
pub(crate) struct Source {
    /// From the root of the repository, as `src/http/head.rs`.
    pub(crate) path: String,
    pub(crate) text: String,
    /// Comments and the contents of literals are blanks.
    pub(crate) code: String,
    /// Tests are blanks too.
    pub(crate) product: String,
}

/// Every Rust file below the folders, sorted by path.
pub(crate) fn all(root: &Path, folders: &[&str]) -> Vec<Source> {
    let mut paths = Vec::new();
    for folder in folders {
        walk(&root.join(folder), &mut paths);
    }
    let mut sources: Vec<Source> = paths
        .iter()
        .map(|path| {
            let text = fs::read_to_string(path).expect("a source is UTF-8");
            let path = path.strip_prefix(root).expect("invariant: found below the root");
            Source::new(&path.to_string_lossy(), text)
        })
        .collect();
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    let tests: BTreeSet<String> = sources.iter().flat_map(Source::test_modules).collect();
    for source in &mut sources {
        let in_tests = |test: &String| {
            source.path == format!("{test}.rs") || source.path.starts_with(&format!("{test}/"))
        };
        if tests.iter().any(in_tests) {
            source.product = blank(&source.product);
        }
    }
    sources
}

fn walk(dir: &Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(dir).expect("a folder of sources is readable") {
        let path = entry.expect("a folder of sources is readable").path();
        if path.is_dir() {
            walk(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

impl Source {
    pub(crate) fn new(path: &str, text: String) -> Self {
        let code = without_comments(&text);
        let product = without_tests(&code);
        Self { path: path.to_owned(), text, code, product }
    }

    /// The room: the folder below `src`.
    pub(crate) fn room(&self) -> Option<&str> {
        let (room, _) = self.path.strip_prefix("src/")?.split_once('/')?;
        Some(room)
    }

    /// The line of an offset, from 1.
    pub(crate) fn line(&self, offset: usize) -> usize {
        self.text[..offset].matches('\n').count() + 1
    }

    /// Where a word stands in `text`, which is one of this source's.
    pub(crate) fn words(text: &str, word: &str) -> Vec<usize> {
        let part =
            |byte: Option<&u8>| byte.is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'_');
        let whole = |at: &usize| {
            let bytes = text.as_bytes();
            !part(at.checked_sub(1).and_then(|before| bytes.get(before)))
                && !part(bytes.get(at + word.len()))
        };
        text.match_indices(word).map(|(at, _)| at).filter(whole).collect()
    }

    /// What the product takes from `root` (`crate`, `std`): offset and path, groups taken apart, so
    /// that `std::{fs, net::IpAddr}` is `fs` and `net::IpAddr`.
    pub(crate) fn paths(&self, root: &str) -> Vec<(usize, String)> {
        let mut paths = Vec::new();
        for at in Self::words(&self.product, root) {
            if let Some(rest) = self.product[at + root.len()..].strip_prefix("::") {
                expand(rest, "", &mut |path| paths.push((at, path)));
            }
        }
        paths
    }

    /// `src/http/tests` for a `#[cfg(test)] mod tests;` in `src/http/mod.rs`.
    fn test_modules(&self) -> Vec<String> {
        let home = match self.path.rsplit_once('/') {
            Some((folder, "mod.rs" | "lib.rs" | "main.rs")) => folder.to_owned(),
            _ => self.path.trim_end_matches(".rs").to_owned(),
        };
        let after_mark = self.code.split("#[cfg(test)]").skip(1);
        after_mark
            .filter_map(|item| {
                let (name, _) = item.trim_start().strip_prefix("mod ")?.split_once(';')?;
                (!name.contains('{')).then(|| format!("{home}/{}", name.trim()))
            })
            .collect()
    }
}

/// Takes a path or a group of them apart; returns how long it is.
fn expand(text: &str, prefix: &str, give: &mut impl FnMut(String)) -> usize {
    let bytes = text.as_bytes();
    if bytes.first() != Some(&b'{') {
        let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '*'));
        let end = end.unwrap_or(text.len());
        let path = format!("{prefix}{}", &text[..end]);
        if text[end..].starts_with("::") && !text[end..].starts_with("::<") {
            return end + 2 + expand(&text[end + 2..], &format!("{path}::"), give);
        }
        if end > 0 {
            give(path);
        }
        return end;
    }
    let mut at = 1;
    while at < bytes.len() && bytes[at] != b'}' {
        let step = expand(&text[at..], prefix, give);
        // Commas, blanks and `as` names lie between the members.
        at += step.max(1);
        if step > 0 {
            let rest = &text[at..];
            at += rest.find([',', '}']).unwrap_or(rest.len());
        }
    }
    at + 1
}

fn blank(text: &str) -> String {
    text.bytes().map(|byte| if byte == b'\n' { '\n' } else { ' ' }).collect()
}

/// Blanks for comments and for what stands in string and character literals.
fn without_comments(text: &str) -> String {
    let mut code = text.as_bytes().to_vec();
    let mut at = 0;
    while at < text.len() {
        let rest = &text.as_bytes()[at..];
        let (from, to) = match rest {
            [b'/', b'/', ..] => (0, find(rest, b"\n", rest.len())),
            [b'/', b'*', ..] => (0, end_of_block(rest)),
            [b'"', ..] => (1, end_of_string(rest)),
            [b'r', b'"' | b'#', ..] if !is_name(text, at) => match end_of_raw(rest) {
                Some(end) => (1, end),
                None => (0, 0),
            },
            [b'\'', b'\\', ..] => (1, 3 + find(&rest[3..], b"'", 0)),
            // Everything else with one quote is a lifetime.
            [b'\'', ..] => match text[at + 1..].chars().next() {
                Some(c) if rest.get(1 + c.len_utf8()) == Some(&b'\'') => (1, 1 + c.len_utf8()),
                _ => (0, 0),
            },
            _ => (0, 0),
        };
        for byte in &mut code[at + from..at + to] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
        let quote = usize::from(from == 1 && to > 0);
        at += (to + quote).max(1);
    }
    String::from_utf8(code).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Whether the byte before `at` belongs to a name (as in `for"`); `br"` and `cr"` are literals.
fn is_name(text: &str, at: usize) -> bool {
    let before = text[..at].trim_end_matches(['b', 'c']);
    before.ends_with(|c: char| c.is_alphanumeric() || c == '_')
}

fn find(text: &[u8], what: &[u8], otherwise: usize) -> usize {
    memchr::memmem::find(text, what).unwrap_or(otherwise)
}

fn end_of_block(text: &[u8]) -> usize {
    let (mut at, mut depth) = (0, 0);
    while at < text.len() {
        match &text[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] if depth == 1 => return at + 2,
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
    }
    text.len()
}

/// The offset of the closing quote.
fn end_of_string(text: &[u8]) -> usize {
    let mut at = 1;
    while at < text.len() && text[at] != b'"' {
        at += if text[at] == b'\\' { 2 } else { 1 };
    }
    at.min(text.len())
}

/// As [`end_of_string`], of `r#"…"#`; `None` when it is none (`r#type`).
fn end_of_raw(text: &[u8]) -> Option<usize> {
    let marks = text[1..].iter().take_while(|byte| **byte == b'#').count();
    let start = 1 + marks;
    (text.get(start) == Some(&b'"')).then(|| {
        let close = [&b"\""[..], &text[1..start]].concat();
        start + 1 + find(&text[start + 1..], &close, 0) + marks
    })
}

/// Blanks for every item that stands behind `#[cfg(test)]` or `#[test]`.
fn without_tests(code: &str) -> String {
    let mut product = code.to_owned();
    for mark in ["#[cfg(test)]", "#[test]"] {
        for (start, _) in code.match_indices(mark) {
            let end = start + end_of_item(&code[start..]);
            product.replace_range(start..end, &blank(&code[start..end]));
        }
    }
    product
}

fn end_of_item(code: &str) -> usize {
    let mut depth = 0;
    for (at, byte) in code.bytes().enumerate() {
        match byte {
            b';' if depth == 0 => return at + 1,
            b'{' => depth += 1,
            b'}' if depth <= 1 => return at + 1,
            b'}' => depth -= 1,
            _ => {}
        }
    }
    code.len()
}

#[test]
fn comments_literals_and_tests_are_told_from_code() {
    let text = r##"
        fn a<'a>(b: &'a str) { let c = '"'; let d = "} // no"; } // unsafe
        /* unsafe /* nested */ unsafe */ const E: &str = r#"unsafe "quoted" {"#;
        use crate::{http::{Head, body::*}, log, sys as s}; use std::net::IpAddr;
        const F: char = '\''; const G: char = '\u{7b}'; const R: u8 = b'{';
        #[cfg(test)]
        mod tests { use crate::proto; }
        #[test]
        fn t() { fs::read("x"); }
        fn last() {}
    "##;
    let source = Source::new("src/x/y.rs", text.to_owned());
    assert_eq!(source.code.len(), text.len());
    assert_eq!(Source::words(&source.code, "unsafe"), Vec::<usize>::new());
    let paths: Vec<String> = source.paths("crate").into_iter().map(|(_, path)| path).collect();
    assert_eq!(paths, ["http::Head", "http::body::*", "log", "sys"]);
    assert_eq!(source.paths("std").len(), 1);
    assert!(source.code.contains("proto") && !source.product.contains("proto"));
    assert!(source.product.contains("fn last() {}"), "{}", source.product);
    assert_eq!(source.line(source.text.find("r#").unwrap()), 3);
    assert_eq!(source.room(), Some("x"));
    let declared = Source::new("src/x/mod.rs", "#[cfg(test)]\nmod tests;\nmod y;".to_owned());
    assert_eq!(declared.test_modules(), ["src/x/tests"]);
}
