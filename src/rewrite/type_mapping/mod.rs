//! Requests with mapping types, as Elasticsearch 6 and older took them, made into requests without.
//!
//! Owns which requests are touched and where the documents of a type go. Changes a path, a body or an action line only
//! where a type stands in it; every other byte stays, the source lines of a bulk above all. A type in a place that is
//! not known here stays, and the target's refusal shows it.

mod bodies;
mod paths;

use std::borrow::Cow;

use super::message::Message;
use super::object::Outcome;
use crate::es::body;
use crate::http::Method;

/// Where documents with a mapping type go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TypeMapping {
    /// For an index and a type of it, the index that gets its documents. A type that is not listed stays in its index,
    /// without a type; so do requests that name several indices or a pattern.
    pub targets: Vec<TypeTarget>,
}

/// One type and the index of its own that it gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypeTarget {
    /// The index on the source.
    pub index: String,
    /// The mapping type.
    pub doc_type: String,
    /// The index on the target.
    pub target: String,
}

impl TypeMapping {
    /// Checks the table. The error says what to do.
    pub(super) fn check(&self) -> Result<(), String> {
        let is_index = |name: &str| {
            !name.is_empty()
                && !name.bytes().any(|byte| byte <= b' ' || b"\"*+,/<>?\\|#%".contains(&byte))
        };
        for entry in &self.targets {
            if !is_index(&entry.target) || entry.index.is_empty() || entry.doc_type.is_empty() {
                return Err(format!(
                    "type-mapping: {}/{} to {:?}: give index and type, and the name of one index for them",
                    entry.index, entry.doc_type, entry.target
                ));
            }
        }
        Ok(())
    }

    /// The index for the documents of this type.
    fn target_of(&self, index: &str, doc_type: &str) -> Option<&str> {
        let of = |entry: &&TypeTarget| entry.index == index && entry.doc_type == doc_type;
        self.targets.iter().find(of).map(|entry| &entry.target[..])
    }

    /// `message` without mapping types.
    pub(super) fn sanitized(&self, message: &Message<'_>) -> Result<Outcome, String> {
        let fault =
            |error: body::BodyError| format!("type-mapping: the body cannot be read: {error}");
        let head = message.head;
        let path = paths::Path::of(message.target);
        let typed = paths::Typed::of(&path, head.method);
        let target = typed.rewritten(self, &path);

        let kind = bodies::Kind::of(&typed, head.method);
        let content = match kind {
            None => Cow::Borrowed(&b""[..]),
            Some(_) => {
                body::decoded(message.bytes, head.head_bytes, head.chunked, body::DECODED_BYTES_MAX)
                    .map_err(fault)?
            }
        };
        let content = kind
            .filter(|_| !content.is_empty())
            .and_then(|kind| kind.untyped(self, &typed, &content));
        if target.is_none() && content.is_none() {
            return Ok(Outcome::Unchanged);
        }
        let line =
            target.map(|target| [message.method, b" ", &target, b" ", message.protocol].concat());
        body::rebuilt(
            message.bytes,
            head.head_bytes,
            head.chunked,
            line.as_deref(),
            content.as_deref(),
        )
        .map(Outcome::Changed)
        .map_err(fault)
    }
}

fn is_write(method: Method) -> bool {
    matches!(method, Method::Put | Method::Post)
}
