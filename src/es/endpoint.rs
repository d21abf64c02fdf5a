//! What a request asks for, read from its method and its target.
//!
//! Owns the table of endpoints, with the mapping types that stood in paths until Elasticsearch 7. Takes a path as the
//! servers do: segments parted before they are decoded, empty ones skipped. Never looks into a body.

use std::borrow::Cow;

use super::text::{decoded_segment, path_and_query};
use super::{Indices, Query};
use crate::http::Method;

/// What a request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint<'a> {
    /// The kind of request.
    pub kind: Kind,
    /// The indices in the path; [`Indices::NONE`] where the path has none. For [`Kind::Bulk`] the default of its
    /// lines.
    pub indices: Indices<'a>,
    /// The mapping type in the path (Elasticsearch 6), not `_doc`.
    pub doc_type: Option<Cow<'a, str>>,
    /// The document's id in the path.
    pub id: Option<Cow<'a, str>>,
    /// The parameters.
    pub query: Query<'a>,
}

/// The kinds of request that the order, the retries and the amendments tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Writes one document whether it exists or not; the server makes the id when there is none.
    Index,
    /// Writes one document and is refused when it exists.
    Create,
    /// Changes one document by a part of it or by a script.
    Update,
    /// Deletes one document.
    Delete,
    /// Reads one document by its id: the document, its source, whether it exists, its terms.
    Get,
    /// Many writes, in lines.
    Bulk,
    /// Reads that the path's indices bound: searches, counts, field lists, validations.
    Search,
    /// Reads whose body names indices of its own: `_msearch`, `_mget`, `_mtermvectors`.
    MultiSearch,
    /// Anything by an id that the server gave: scrolls, points in time, asynchronous searches. A target knows none of
    /// the source's.
    Context,
    /// Deletes what a query finds.
    DeleteByQuery,
    /// Changes what a query finds.
    UpdateByQuery,
    /// Work on indices that changes no document: refresh, flush, merge, caches.
    Maintenance,
    /// Reads about indices: mappings, settings, aliases, whether one exists.
    IndexRead,
    /// Changes indices as a whole: creates, deletes, opens, closes, mappings, settings, aliases.
    IndexAdmin,
    /// Reads that name no index: `/`, `_cat`, `_cluster/health`, templates.
    GlobalRead,
    /// Changes what is not bound to an index in the path: templates, pipelines, scripts, cluster settings,
    /// `_aliases`, `_reindex`, snapshots.
    Global,
    /// None of these: it may do anything.
    Unknown,
}

impl Kind {
    /// It changes nothing a later request could see.
    pub fn is_read(self) -> bool {
        matches!(
            self,
            Self::Get | Self::Search | Self::MultiSearch | Self::IndexRead | Self::GlobalRead
        )
    }

    /// It writes exactly one document.
    pub fn is_single_write(self) -> bool {
        matches!(self, Self::Index | Self::Create | Self::Update | Self::Delete)
    }
}

impl<'a> Endpoint<'a> {
    /// Reads `target` (RFC 9112 section 3.2) as it was sent.
    pub fn of(method: Method, target: &'a [u8]) -> Self {
        let (path, query) = path_and_query(target);
        let query = Query::new(query);
        let route = Segments::of(path).map_or(Route::new(Kind::Unknown), |segments| {
            route(method, &segments.raw[..segments.count])
        });
        let kind = match route.kind {
            Kind::Index if route.id.is_some() && query.op_type().as_deref() == Some("create") => {
                Kind::Create
            }
            kind => kind,
        };
        Self {
            kind,
            indices: route.indices.map_or(Indices::NONE, |raw| Indices::new(decoded_segment(raw))),
            doc_type: route.doc_type.map(decoded_segment),
            id: route.id.map(decoded_segment),
            query,
        }
    }
}

/// The segments of a path, not decoded.
struct Segments<'a> {
    raw: [&'a [u8]; SEGMENTS_MAX],
    count: usize,
}

impl<'a> Segments<'a> {
    /// `None` for a path longer than any endpoint's.
    fn of(path: &'a [u8]) -> Option<Self> {
        let mut segments = Self { raw: [&[]; SEGMENTS_MAX], count: 0 };
        for segment in path.split(|&byte| byte == b'/').filter(|segment| !segment.is_empty()) {
            *segments.raw.get_mut(segments.count)? = segment;
            segments.count += 1;
        }
        Some(segments)
    }
}

/// The parts of an endpoint where they stand in the target.
struct Route<'a> {
    kind: Kind,
    indices: Option<&'a [u8]>,
    doc_type: Option<&'a [u8]>,
    id: Option<&'a [u8]>,
}

impl<'a> Route<'a> {
    fn new(kind: Kind) -> Self {
        Self { kind, indices: None, doc_type: None, id: None }
    }

    fn on(kind: Kind, indices: &'a [u8]) -> Self {
        Self { indices: Some(indices), ..Self::new(kind) }
    }
}

fn route<'a>(method: Method, segments: &[&'a [u8]]) -> Route<'a> {
    match segments {
        [] => Route::new(by_method(method, Kind::GlobalRead, Kind::Unknown)),
        [first, rest @ ..] if is_endpoint(first) => Route::new(global(method, first, rest)),
        [indices, rest @ ..] => of_index(method, indices, rest),
    }
}

/// `_all` is an index expression; every other name with an underscore in front is an endpoint, for no index has one.
fn is_endpoint(segment: &[u8]) -> bool {
    segment[0] == b'_' && segment != b"_all"
}

/// Of a path without an index.
fn global(method: Method, first: &[u8], rest: &[&[u8]]) -> Kind {
    match shared(method, first, rest) {
        Some(kind) => kind,
        // `_sql` reads; its plugin forms may delete.
        None if matches!(first, b"_sql" | b"_esql" | b"_query") => {
            by_method_or_post(method, Kind::GlobalRead, Kind::Global)
        }
        None if first == b"_render" && rest.first() == Some(&&b"template"[..]) => {
            by_method_or_post(method, Kind::GlobalRead, Kind::Global)
        }
        None => by_method(method, Kind::GlobalRead, Kind::Global),
    }
}

/// Of a path with an index, behind the index.
fn of_index<'a>(method: Method, indices: &'a [u8], rest: &[&'a [u8]]) -> Route<'a> {
    let on = |kind| Route::on(kind, indices);
    match rest {
        [] => on(match method {
            Method::Get | Method::Head | Method::Options => Kind::IndexRead,
            Method::Put | Method::Delete => Kind::IndexAdmin,
            _ => Kind::Unknown,
        }),
        [b"_doc"] if method == Method::Post => on(Kind::Index),
        // Elasticsearch 6 takes this for an endpoint of the type `_doc`, 7 for a document of that name.
        [b"_doc", b"_bulk"] if is_write(method) => on(Kind::Bulk),
        [b"_doc", name] if reads_by_query(name) && method == Method::Get => on(Kind::Search),
        [b"_doc", name] if shared(method, name, &[]).is_some() => on(Kind::Unknown),
        [b"_doc", id] => document(method, indices, None, id),
        [b"_create", id] if is_write(method) => Route { id: Some(id), ..on(Kind::Create) },
        [b"_update", id] if method == Method::Post => Route { id: Some(id), ..on(Kind::Update) },
        [b"_source" | b"_explain" | b"_termvectors", id] => {
            Route { id: Some(id), ..on(reading(method, Kind::Get)) }
        }
        [b"_doc" | b"_create" | b"_update" | b"_source", ..] => typed(method, indices, rest),
        [first, behind @ ..] if first[0] == b'_' => {
            let other = || by_method(method, Kind::IndexRead, Kind::IndexAdmin);
            on(shared(method, first, behind).unwrap_or_else(other))
        }
        _ => typed(method, indices, rest),
    }
}

/// Behind the index, a mapping type.
fn typed<'a>(method: Method, indices: &'a [u8], rest: &[&'a [u8]]) -> Route<'a> {
    let on = |kind, doc_type: &'a [u8]| Route {
        doc_type: (doc_type != b"_doc").then_some(doc_type),
        ..Route::on(kind, indices)
    };
    match rest {
        [doc_type] => on(
            match method {
                Method::Post if doc_type[0] != b'_' => Kind::Index,
                Method::Get | Method::Head => Kind::IndexRead,
                _ => Kind::Unknown,
            },
            doc_type,
        ),
        [doc_type, b"_mapping" | b"_mappings"] => {
            on(by_method(method, Kind::IndexRead, Kind::IndexAdmin), doc_type)
        }
        [doc_type, name, behind @ ..] if shared(method, name, behind).is_some() => {
            on(shared(method, name, behind).unwrap_or(Kind::Unknown), doc_type)
        }
        [doc_type, id] => document(method, indices, Some(doc_type), id),
        [doc_type, id, action] => {
            let kind = match *action {
                b"_update" if method == Method::Post => Kind::Update,
                b"_create" if is_write(method) => Kind::Create,
                b"_source" | b"_explain" | b"_termvectors" | b"_termvector" => {
                    reading(method, Kind::Get)
                }
                _ => Kind::Unknown,
            };
            Route { id: Some(id), ..on(kind, doc_type) }
        }
        [doc_type, ..] => on(Kind::Unknown, doc_type),
        [] => Route::on(Kind::Unknown, indices),
    }
}

fn document<'a>(
    method: Method,
    indices: &'a [u8],
    doc_type: Option<&'a [u8]>,
    id: &'a [u8],
) -> Route<'a> {
    let kind = match method {
        Method::Put | Method::Post => Kind::Index,
        Method::Delete => Kind::Delete,
        Method::Get | Method::Head => Kind::Get,
        _ => Kind::Unknown,
    };
    Route { id: Some(id), doc_type, ..Route::on(kind, indices) }
}

/// Endpoints that stand with or without an index, and behind a mapping type.
fn shared(method: Method, first: &[u8], rest: &[&[u8]]) -> Option<Kind> {
    Some(match (first, rest) {
        (b"_bulk", []) if is_write(method) => Kind::Bulk,
        (b"_search", [b"scroll" | b"point_in_time", ..])
        | (b"_pit" | b"_async_search" | b"_eql", _) => Kind::Context,
        (b"_search", [b"template"]) | (b"_validate", [b"query"]) => reading(method, Kind::Search),
        (b"_msearch", [] | [b"template"]) | (b"_mget" | b"_mtermvectors", []) => {
            reading(method, Kind::MultiSearch)
        }
        (name, []) if reads_by_query(name) => reading(method, Kind::Search),
        (b"_delete_by_query", []) if method == Method::Post => Kind::DeleteByQuery,
        (b"_update_by_query", []) if method == Method::Post => Kind::UpdateByQuery,
        (b"_refresh" | b"_forcemerge" | b"_optimize", []) | (b"_flush", [] | [b"synced"]) => {
            Kind::Maintenance
        }
        (b"_cache", [b"clear"]) => Kind::Maintenance,
        _ => return None,
    })
}

fn reads_by_query(name: &[u8]) -> bool {
    matches!(
        name,
        b"_search"
            | b"_count"
            | b"_field_caps"
            | b"_search_shards"
            | b"_rank_eval"
            | b"_analyze"
            | b"_terms_enum"
            | b"_knn_search"
            | b"_termvectors"
            | b"_percolate"
    )
}

fn is_write(method: Method) -> bool {
    matches!(method, Method::Post | Method::Put)
}

/// `kind` for the methods by which an endpoint that takes its question in the body is asked.
fn reading(method: Method, kind: Kind) -> Kind {
    by_method_or_post(method, kind, Kind::Unknown)
}

fn by_method_or_post(method: Method, read: Kind, other: Kind) -> Kind {
    if method == Method::Post { read } else { by_method(method, read, other) }
}

fn by_method(method: Method, read: Kind, other: Kind) -> Kind {
    match method {
        Method::Get | Method::Head | Method::Options => read,
        Method::Post | Method::Put | Method::Delete => other,
        Method::Patch | Method::Other => Kind::Unknown,
    }
}

/// More than any endpoint of the table has; `_plugins/_security/api/…` are longest.
const SEGMENTS_MAX: usize = 8;
