//! The query of a target: its parameters, and where each stands.
//!
//! Owns the syntax. Reads nothing before it is asked for, and never checks whether a value makes sense.

use std::borrow::Cow;
use std::ops::Range;

use super::text::decoded_query;

/// The query of a target, without its question mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Query<'a> {
    raw: &'a [u8],
}

impl<'a> Query<'a> {
    pub(super) fn new(raw: &'a [u8]) -> Self {
        Self { raw }
    }

    /// The bytes, as they were sent.
    pub fn as_bytes(&self) -> &'a [u8] {
        self.raw
    }

    /// The value of `name`, empty when it has none. Of several the last counts, as it does for the servers.
    pub fn get(&self, name: &str) -> Option<Cow<'a, str>> {
        if self.raw.is_empty() {
            return None;
        }
        let found = self.parts().filter(|part| part.is(name)).last()?;
        Some(decoded_query(found.value))
    }

    /// Is `name` given and not `false`? That is how the servers read a flag.
    pub fn flag(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| value != "false")
    }

    /// The write asks to be refused unless the document is as it expects: `if_seq_no`, `if_primary_term`.
    pub fn has_sequence_condition(&self) -> bool {
        !self.raw.is_empty() && self.parts().any(|part| part.is_sequence_condition())
    }

    /// The write brings its own version: `version` with or without `version_type`.
    pub fn has_version(&self) -> bool {
        !self.raw.is_empty() && self.parts().any(|part| part.is("version"))
    }

    /// `create` makes of an index action one that is refused when the document exists.
    pub fn op_type(&self) -> Option<Cow<'a, str>> {
        self.get("op_type")
    }

    /// What decides the shard in place of the id.
    pub fn routing(&self) -> Option<Cow<'a, str>> {
        self.get("routing")
    }

    /// `internal`, `external`, `external_gte`.
    pub fn version_type(&self) -> Option<Cow<'a, str>> {
        self.get("version_type")
    }

    /// `true`, `false`, `wait_for`, or empty for `true`.
    pub fn refresh(&self) -> Option<Cow<'a, str>> {
        self.get("refresh")
    }

    /// The ingest pipeline, which may change id and index of a document.
    pub fn pipeline(&self) -> Option<Cow<'a, str>> {
        self.get("pipeline")
    }

    /// The answer holds only what this names: items may be missing from it, so their places say nothing.
    pub fn is_filtered(&self) -> bool {
        self.get("filter_path").is_some_and(|value| !value.is_empty())
    }

    /// The query without the parameters `if_seq_no` and `if_primary_term`, the rest byte for byte.
    pub fn without_sequence_condition(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.raw.len());
        for part in self.parts().filter(|part| !part.is_sequence_condition()) {
            if !out.is_empty() {
                out.push(b'&');
            }
            out.extend_from_slice(&self.raw[part.place]);
        }
        out
    }

    fn parts(&self) -> impl Iterator<Item = Part<'a>> + use<'a> {
        let raw = self.raw;
        let mut at = 0;
        std::iter::from_fn(move || {
            while at < raw.len() {
                let rest = &raw[at..];
                // Both servers part at semicolons too.
                let len = memchr::memchr2(b'&', b';', rest).unwrap_or(rest.len());
                let place = at..at + len;
                at += len + 1;
                if len > 0 {
                    let part = &rest[..len];
                    let equals = memchr::memchr(b'=', part);
                    let (name, value) = equals
                        .map_or((part, &b""[..]), |equals| (&part[..equals], &part[equals + 1..]));
                    return Some(Part { name, value, place });
                }
            }
            None
        })
    }
}

struct Part<'a> {
    name: &'a [u8],
    value: &'a [u8],
    place: Range<usize>,
}

impl Part<'_> {
    fn is(&self, name: &str) -> bool {
        self.name == name.as_bytes()
            || (memchr::memchr2(b'%', b'+', self.name).is_some()
                && decoded_query(self.name) == name)
    }

    fn is_sequence_condition(&self) -> bool {
        self.is("if_seq_no") || self.is("if_primary_term")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters() {
        let query = Query::new(b"refresh&routing=a%2Cb+c&op_type=create&x=1;x=2&&pipelin%65=p");
        assert_eq!(query.refresh().as_deref(), Some(""));
        assert_eq!(query.routing().as_deref(), Some("a,b c"));
        assert_eq!(query.op_type().as_deref(), Some("create"));
        assert_eq!(query.get("x").as_deref(), Some("2"));
        assert_eq!(query.pipeline().as_deref(), Some("p"));
        assert_eq!(query.get("y"), None);
        assert!(query.flag("refresh") && !query.flag("y"));
        assert!(!Query::new(b"refresh=false").flag("refresh"));
        assert!(!query.has_sequence_condition() && !query.has_version() && !query.is_filtered());
        assert!(Query::new(b"filter_path=errors").is_filtered());
        assert!(Query::new(b"version=3&version_type=external").has_version());
    }

    #[test]
    fn conditions_are_taken_out_alone() {
        let query = Query::new(b"refresh=true&if_seq_no=5;if_primary_term=1&routing=%61");
        assert!(query.has_sequence_condition());
        assert_eq!(query.without_sequence_condition(), b"refresh=true&routing=%61");
        assert_eq!(Query::new(b"if_seq_no=5").without_sequence_condition(), b"");
    }
}
