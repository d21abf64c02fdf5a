//! Index expressions: comma lists, wildcards, exclusions, date math.
//!
//! Owns what the text alone says. Never knows which indices exist, so a name may be an alias or a data stream.

use std::borrow::Cow;

/// The indices that a path names, percent-decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Indices<'a> {
    text: Cow<'a, str>,
}

impl<'a> Indices<'a> {
    /// The path names none: for most endpoints that means all.
    pub const NONE: Self = Self { text: Cow::Borrowed("") };

    pub(super) fn new(text: Cow<'a, str>) -> Self {
        Self { text }
    }

    /// The expression, as a whole.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The path names no index.
    pub fn is_none(&self) -> bool {
        self.text.is_empty()
    }

    /// The one name, when the expression is nothing but a name: no list, no wildcard, no date math, no other cluster.
    pub fn single(&self) -> Option<&str> {
        let special = |byte| matches!(byte, b',' | b'*' | b'<' | b':');
        let plain = !self.text.is_empty() && !self.text.bytes().any(special) && !self.is_all();
        plain.then_some(self.text.as_ref())
    }

    /// Takes the one name out, see [`Indices::single`].
    pub fn into_single(self) -> Option<Cow<'a, str>> {
        self.single()?;
        Some(self.text)
    }

    /// The parts of the list, in their order; exclusions (`-name`) among them.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.text.split(',').filter(|part| !part.is_empty())
    }

    /// Everything: none named, `_all` or `*` among the parts.
    pub fn is_all(&self) -> bool {
        self.is_none() || self.iter().any(|part| matches!(part, "_all" | "*"))
    }

    /// A part stands for all indices that match it.
    pub fn has_wildcard(&self) -> bool {
        self.text.contains('*') || self.iter().any(|part| part == "_all")
    }

    /// A part is an expression over the time at which the server reads it, such as `<logs-{now/d}>`.
    pub fn has_date_math(&self) -> bool {
        self.iter().any(|part| part.trim_start_matches('-').starts_with('<'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn indices(text: &str) -> Indices<'_> {
        Indices::new(Cow::Borrowed(text))
    }

    #[test]
    fn what_an_expression_says() {
        assert_eq!(indices("logs").single(), Some("logs"));
        assert_eq!(indices("a,b").iter().collect::<Vec<_>>(), ["a", "b"]);
        for text in ["", "_all", "*", "a,*", "_all,-a"] {
            assert!(indices(text).is_all(), "{text}");
        }
        for text in ["", "_all", "a,b", "a*", "<a-{now/d}>", "remote:a"] {
            assert_eq!(indices(text).single(), None, "{text}");
        }
        assert!(indices("a*,b").has_wildcard() && indices("_all").has_wildcard());
        assert!(!indices("a,b").has_wildcard() && !indices("a_all").has_wildcard());
        assert!(indices("x,<a-{now/d}>").has_date_math() && indices("-<a>").has_date_math());
        assert!(!indices("a<b").has_date_math());
    }
}
