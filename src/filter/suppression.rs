//! Requests that are left out of the records.
//!
//! As in the reference, a request is left out when any pattern matches, and a pattern matches the whole of what it
//! looks at: method, target with its query, `METHOD target`, or the first value of a field.

use std::str::FromStr;

use regex::bytes::{Regex, RegexBuilder};

use crate::http::{RequestLines, is_field_name};

/// A regular expression that has to match all of a text.
#[derive(Clone, Debug)]
pub struct Pattern(Regex);

impl FromStr for Pattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // By itself first, so that the message shows what was written.
        build(text)?;
        build(&format!(r"\A(?:{text})\z")).map(Self)
    }
}

impl Pattern {
    fn matches(&self, text: &[u8]) -> bool {
        self.0.is_match(text)
    }
}

/// Targets and values are bytes, not always UTF-8.
fn build(text: &str) -> Result<Regex, String> {
    let regex = RegexBuilder::new(text).unicode(false).build();
    regex.map_err(|error| {
        format!(
            "{error}\nThe syntax is that of the regex crate: no look-around, no back-references"
        )
    })
}

/// The name of a field and the pattern for its first value.
#[derive(Clone, Debug)]
pub struct HeaderPattern {
    name: Vec<u8>,
    pattern: Pattern,
}

impl FromStr for HeaderPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some((name, pattern)) = text.split_once(':') else {
            return Err("there is no colon; write 'Name: regex'".to_owned());
        };
        let name = name.trim();
        if !is_field_name(name.as_bytes()) {
            return Err(format!("{name:?} is no field name; write 'Name: regex'"));
        }
        Ok(Self { name: name.into(), pattern: pattern.trim_start().parse()? })
    }
}

/// All patterns of a run.
#[derive(Clone, Debug, Default)]
pub struct Suppression {
    /// For the method.
    pub methods: Vec<Pattern>,
    /// For the target with its query.
    pub paths: Vec<Pattern>,
    /// For method, blank, target.
    pub methods_and_paths: Vec<Pattern>,
    /// For fields.
    pub headers: Vec<HeaderPattern>,
}

impl Suppression {
    /// Nothing is left out.
    pub fn is_empty(&self) -> bool {
        self.methods.is_empty()
            && self.paths.is_empty()
            && self.methods_and_paths.is_empty()
            && self.headers.is_empty()
    }

    pub(super) fn matches(&self, request: &RequestLines<'_>) -> bool {
        let any = |patterns: &[Pattern], text| patterns.iter().any(|p| p.matches(text));
        any(&self.methods, request.method())
            || any(&self.paths, request.target())
            || any(&self.methods_and_paths, request.method_and_target())
            || self.headers.iter().any(|header| {
                request.first(&header.name).is_some_and(|value| header.pattern.matches(value))
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn suppression(kind: &str, pattern: &str) -> Suppression {
        let mut all = Suppression::default();
        let pattern = || vec![pattern.parse().expect("a pattern")];
        match kind {
            "method" => all.methods = pattern(),
            "path" => all.paths = pattern(),
            _ => all.methods_and_paths = pattern(),
        }
        all
    }

    #[test]
    fn a_pattern_matches_the_whole_or_not_at_all() {
        let head = b"GET /_cluster/health?pretty HTTP/1.1\r\nUser-Agent: NLB probe\r\n\r\n";
        let lines = RequestLines::new(head);
        for (kind, pattern, expected) in [
            ("method", "GET", true),
            ("method", "GE", false),
            ("method", "get", false),
            ("method", "PUT|GET", true),
            ("path", "/_cluster/health", false),
            ("path", "/_cluster/health.*", true),
            ("path", "_cluster/health.*", false),
            ("both", "GET /_cluster/.*", true),
            ("both", "GET", false),
        ] {
            let matches = suppression(kind, pattern).matches(&lines);
            assert_eq!(matches, expected, "{kind} {pattern}");
        }
        for (header, expected) in [
            ("user-agent: NLB.*", true),
            ("User-Agent:NLB probe", true),
            ("User-Agent: NLB", false),
            ("Agent: .*", false),
        ] {
            let headers = vec![header.parse().expect("a header pattern")];
            let all = Suppression { headers, ..Suppression::default() };
            assert_eq!(all.matches(&lines), expected, "{header}");
        }
    }

    #[test]
    fn only_the_first_value_counts_and_bytes_need_not_be_text() {
        let head = b"GET /\xff\xfe HTTP/1.1\r\nA: 1\r\nA: 2\r\n\r\n";
        let lines = RequestLines::new(head);
        let of = |header: &str| Suppression {
            headers: vec![header.parse().expect("a header pattern")],
            ..Suppression::default()
        };
        assert!(of("a: 1").matches(&lines));
        assert!(!of("a: 2").matches(&lines));
        assert!(suppression("path", "/.*").matches(&lines));
    }

    #[test]
    fn a_broken_pattern_is_shown_with_its_fault() {
        let error = Pattern::from_str("/a(b").expect_err("unclosed");
        assert!(error.contains("/a(b\n") && error.contains("unclosed group"), "{error}");
        assert!(Pattern::from_str("a(?=b)").is_err_and(|error| error.contains("look-around")));
        assert!(HeaderPattern::from_str("no colon").is_err());
        assert!(HeaderPattern::from_str("na me: x").is_err());
    }
}
