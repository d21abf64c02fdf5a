//! What a request touches, as far as order needs it.
//!
//! Owns which endpoints read, write one document, touch whole indices or everything. What is not positively known
//! touches everything. Names and ids are kept as hashes: two that share one are ordered although they need not be, and
//! nothing else comes of it. `routing` does not count: it can only part what is ordered as one.
//!
//! Not seen: that an ingest pipeline gives a document another id or index.

use std::hash::Hasher;

use super::documents::Mixer;
use crate::es::body::{self, DECODED_BYTES_MAX};
use crate::es::bulk::{self, BulkItem};
use crate::es::endpoint::{Endpoint, Kind};
use crate::es::{Indices, request_target};
use crate::http::{Method, RequestHead};
use crate::replay::exchange::Request;

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
        /// What it may change beside documents.
        change: Change,
    },
    /// Touches whatever there is, or cannot be told.
    Everything {
        /// What it may change beside documents.
        change: Change,
    },
    /// What it touches cannot be read: it counts as touching everything.
    Unreadable,
}

/// What a request for whole indices may change beside documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// Every index is still the same one, under the same names.
    Nothing,
    /// Indices or aliases may come, go or change their meaning; none that was there before stands under its old name
    /// with other documents.
    Names,
    /// An index may go, and another one stand under its name afterwards, which counts its writes anew.
    Indices,
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
    let mut mixer = Mixer::default();
    let (words, rest) = name.as_chunks();
    for word in words {
        mixer.write_u64(u64::from_le_bytes(*word));
    }
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    mixer.write_u64(u64::from_le_bytes(last));
    mixer.write_usize(name.len());
    mixer.finish()
}

/// What `request` touches.
pub fn footprint(request: &Request) -> Footprint {
    let Some(target) = request_target(&request.bytes) else { return Footprint::Unreadable };
    of(request, target, &Endpoint::of(request.head.method, target), |_| {})
}

/// The same, where target and endpoint are known already. `each` is shown the items of a bulk on the way.
pub fn of(
    request: &Request,
    target: &[u8],
    endpoint: &Endpoint<'_>,
    each: impl FnMut(&BulkItem<'_>),
) -> Footprint {
    let head = &request.head;
    // A field replaces the method, or the connection is to become another protocol's.
    if matches!(head.method, Method::Get | Method::Head | Method::Options) && !head.safe {
        return Footprint::Everything { change: Change::Indices };
    }
    match endpoint.kind {
        Kind::Get => document(endpoint).map_or(Footprint::Free, Footprint::Read),
        Kind::Index | Kind::Create | Kind::Update | Kind::Delete => {
            match (document(endpoint), endpoint.indices.single()) {
                (Some(document), _) => Footprint::Write(document),
                (None, Some(index)) if endpoint.id.is_none() => {
                    Footprint::Generated(hash(index.as_bytes()))
                }
                _ => Footprint::Everything { change: Change::Nothing },
            }
        }
        Kind::Bulk => items(request, endpoint, each),
        Kind::Search | Kind::MultiSearch | Kind::Context | Kind::IndexRead | Kind::GlobalRead => {
            Footprint::Free
        }
        Kind::DeleteByQuery | Kind::UpdateByQuery | Kind::Maintenance => {
            indices(&endpoint.indices, Change::Nothing)
        }
        Kind::IndexAdmin => indices(&endpoint.indices, change(head.method, target, KEEPS_INDEX)),
        Kind::Global => Footprint::Everything { change: change(head.method, target, KEEPS_NAMES) },
        // Whatever it asks for, it is known to change nothing: the pre-flight of a browser, or a GET of a plugin.
        Kind::Unknown if head.safe => Footprint::Free,
        Kind::Unknown => Footprint::Everything { change: Change::Indices },
    }
}

fn document(endpoint: &Endpoint<'_>) -> Option<Document> {
    let id = endpoint.id.as_deref()?;
    Some(Document::new(endpoint.indices.single()?.as_bytes(), id.as_bytes()))
}

/// What work on indices changes.
fn change(method: Method, target: &[u8], keeps: &[&str]) -> Change {
    if has_segment(target, keeps) {
        Change::Nothing
    } else if method == Method::Put || has_segment(target, RENAMES) {
        // Only where no index of the name was there, one can be made of it.
        Change::Names
    } else {
        Change::Indices
    }
}

fn indices(indices: &Indices<'_>, change: Change) -> Footprint {
    let excluded = indices.iter().any(|name| name.starts_with('-') || name.contains(':'));
    if indices.is_all() || indices.has_wildcard() || indices.has_date_math() || excluded {
        return Footprint::Everything { change };
    }
    Footprint::Indices { names: indices.iter().map(|name| hash(name.as_bytes())).collect(), change }
}

fn items(
    request: &Request,
    endpoint: &Endpoint<'_>,
    mut each: impl FnMut(&BulkItem<'_>),
) -> Footprint {
    let RequestHead { head_bytes, chunked, .. } = request.head;
    let Ok(body) = body::decoded(&request.bytes, head_bytes, chunked, DECODED_BYTES_MAX) else {
        return Footprint::Unreadable;
    };
    let default = (!endpoint.indices.is_none()).then(|| endpoint.indices.as_str());
    let mut items: Vec<Item> = Vec::new();
    // Most lines name the index of the line before.
    let (mut last_name, mut last_hash) = (String::new(), 0);
    for item in bulk::lines(&body, default) {
        let Ok(item) = item else { return Footprint::Unreadable };
        each(&item);
        let Some(name) = item.index.as_deref() else { return Footprint::Unreadable };
        if items.is_empty() || name != last_name {
            // An expression, not a name: the servers resolve the time in it.
            if name.starts_with('<') {
                return Footprint::Everything { change: Change::Nothing };
            }
            name.clone_into(&mut last_name);
            last_hash = hash(name.as_bytes());
        }
        let id = item.id.as_deref().filter(|id| !id.is_empty());
        items.push(Item { index: last_hash, id: id.map(|id| hash(id.as_bytes())) });
    }
    Footprint::Bulk(items)
}

/// One of the segments of the path is one of these.
fn has_segment(target: &[u8], names: &[&str]) -> bool {
    let path = memchr::memchr(b'?', target).map_or(target, |query| &target[..query]);
    path.split(|&byte| byte == b'/')
        .any(|segment| names.iter().any(|name| name.as_bytes() == segment))
}

/// Work after which names may stand for other indices, though none was replaced.
const RENAMES: &[&str] = &["_alias", "_clone", "_rollover", "_shrink", "_split"];
/// Work on indices after which each is still the same one under the same name.
const KEEPS_INDEX: &[&str] = &["_mapping", "_mappings", "_settings", "_close", "_open", "_block"];
/// Work on the cluster that gives no index another name.
const KEEPS_NAMES: &[&str] = &[
    "_cluster",
    "_component_template",
    "_ilm",
    "_index_template",
    "_ingest",
    "_license",
    "_nodes",
    "_reindex",
    "_scripts",
    "_search",
    "_security",
    "_tasks",
    "_template",
];
