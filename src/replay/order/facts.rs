//! What the source's answers tell of the order in which it applied writes.
//!
//! Owns which fields count. An answer that is cut, filtered or unreadable tells nothing, and never a guess.

use super::footprint::hash;
use crate::es::answer::{self, Written};
use crate::es::body::{self, DECODED_BYTES_MAX};
use crate::es::endpoint::{Endpoint, Kind};
use crate::es::request_target;
use crate::replay::exchange::{Answer, Request};

/// What the source's answer to a request tells of its place among others. See [`facts`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// One per written document in the order of the request's items; empty when nothing is known.
    pub items: Vec<Fact>,
    /// The same of every item: the request was turned down as a whole, or is for whole indices.
    pub all: Option<Fact>,
}

impl Facts {
    /// Nothing is known.
    pub fn none() -> Self {
        Self::default()
    }

    /// What is known of a request for one document.
    pub fn one(fact: Fact) -> Self {
        Self { items: vec![fact], all: None }
    }
}

/// What the source told of one operation on a document.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Fact {
    /// The status, 0 when it is not known.
    pub status: u16,
    /// `_seq_no`: rises with every operation of a shard (since Elasticsearch 6.0).
    pub seq_no: Option<u64>,
    /// `_version`: rises with every operation on the document.
    pub version: Option<u64>,
    /// Hash of `_index`: the index's own name, even where the request used an alias.
    pub index: Option<u64>,
    /// It saw the document with these numbers and left it so: a read, or an update with nothing to change.
    pub unchanged: bool,
}

impl Fact {
    /// The source turned it down: it had no effect. A deletion that found nothing is not turned down: it has a number.
    /// After other server errors than 503 nobody knows.
    pub fn refused(&self) -> bool {
        matches!(self.status, 400..=499 | 503) && self.seq_no.is_none()
    }
}

/// What `answer` tells of `request`. Reads the whole body: to be asked for only when it matters, see
/// [`Schedule::answered`](super::Schedule::answered).
pub fn facts(request: &Request, answer: &Answer) -> Facts {
    let Some(target) = request_target(&request.bytes) else { return Facts::none() };
    let kind = Endpoint::of(request.head.method, target).kind;
    let bulk = kind == Kind::Bulk;
    let documents = bulk || kind == Kind::Get || kind.is_single_write();
    if !documents || bulk && answer.status >= 400 {
        let fact = Fact { status: answer.status, ..Fact::default() };
        return Facts { items: Vec::new(), all: Some(fact) };
    }
    read(bulk, answer).unwrap_or_else(|| match kind {
        Kind::Get | Kind::Bulk => Facts::none(),
        _ => Facts::one(Fact { status: answer.status, ..Fact::default() }),
    })
}

fn read(bulk: bool, answer: &Answer) -> Option<Facts> {
    if !answer.whole {
        return None;
    }
    let head = answer.bytes.get(..answer.head_bytes)?;
    let coding = body::field(head, b"transfer-encoding").unwrap_or_default();
    let chunked = coding.to_ascii_lowercase().ends_with(b"chunked");
    let body = body::decoded(&answer.bytes, answer.head_bytes, chunked, DECODED_BYTES_MAX).ok()?;
    if !bulk {
        let written = answer::write(&body).ok()?;
        return Some(Facts::one(fact(&written, answer.status)));
    }
    let items = answer::bulk(&body).ok()?.items?;
    let items = items.iter().map(|item| fact(&item.written, item.written.status.unwrap_or(0)));
    Some(Facts { items: items.collect(), all: None })
}

fn fact(written: &Written<'_>, status: u16) -> Fact {
    // Numbers below 0 stand for none.
    let number = |number: Option<i64>| number.and_then(|number| u64::try_from(number).ok());
    Fact {
        status,
        seq_no: number(written.seq_no),
        version: number(written.version),
        index: written.index.as_deref().map(|index| hash(index.as_bytes())),
        unchanged: written.result.as_deref() == Some("noop"),
    }
}
