//! What a request touches, as far as order needs it.
//!
//! Names and ids are kept as hashes: two that share one are ordered although they need not be, and nothing else
//! comes of it.

use std::hash::{DefaultHasher, Hasher};

/// What a request touches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Footprint {
    /// Nothing that a write could disturb, or that is worth waiting for: searches and their like.
    Free,
    /// Reads one document.
    Read(Document),
    /// Writes one document.
    Write(Document),
    /// Writes a document whose id the source made up; the name of the index.
    Generated(u64),
    /// Writes one document per item.
    Bulk(Vec<Item>),
    /// Touches all of these indices; the names, all plain.
    Indices {
        /// Hashes of the names.
        names: Vec<u64>,
        /// Indices or aliases may come, go or change their meaning.
        renames: bool,
    },
    /// Touches whatever there is, or cannot be told.
    Everything {
        /// Indices or aliases may come, go or change their meaning.
        renames: bool,
    },
}

/// The names of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Document {
    /// Hash of the index's name as the request has it.
    pub index: u64,
    /// Hash of the id.
    pub id: u64,
}

/// One item of a bulk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Item {
    /// Hash of the index's name.
    pub index: u64,
    /// Hash of the id, none where the source makes one up.
    pub id: Option<u64>,
}

impl Document {
    /// A document of an index.
    pub fn new(index: &[u8], id: &[u8]) -> Self {
        Self { index: hash(index), id: hash(id) }
    }
}

/// The hash by which names and ids are known here. Equal in every run.
pub fn hash(name: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(name);
    hasher.finish()
}

/// What the source's answer to a request tells of its place among others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// One per written document in the order of the request's items; empty when nothing is known.
    pub items: Vec<Fact>,
}

impl Facts {
    /// Nothing is known.
    pub fn none() -> Self {
        Self::default()
    }

    /// What is known of a request for one document.
    pub fn one(fact: Fact) -> Self {
        Self { items: vec![fact] }
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
    pub fn refused(&self) -> bool {
        self.status >= 400 && self.seq_no.is_none()
    }
}
