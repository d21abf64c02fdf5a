//! Mapping types in paths.
//!
//! Owns the table of typed paths (the REST specification of Elasticsearch 6.8). Never decodes a segment it copies.

use super::TypeMapping;
use crate::http::Method;

/// A target in its parts.
pub(super) struct Path<'a> {
    /// `http://name`, where the target has it.
    authority: &'a [u8],
    segments: Vec<&'a [u8]>,
    /// Behind the question mark.
    query: Option<&'a [u8]>,
}

impl<'a> Path<'a> {
    pub(super) fn of(target: &'a [u8]) -> Self {
        let scheme = [&b"http://"[..], b"https://"].into_iter().find(|scheme| {
            target.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme))
        });
        let authority_bytes = scheme.map_or(0, |scheme| {
            let rest = &target[scheme.len()..];
            scheme.len() + rest.iter().position(|byte| b"/?#".contains(byte)).unwrap_or(rest.len())
        });
        let (authority, rest) = target.split_at(authority_bytes);
        let (path, query) = match memchr::memchr(b'?', rest) {
            Some(mark) => (&rest[..mark], Some(&rest[mark + 1..])),
            None => (rest, None),
        };
        let segments = path.split(|&byte| byte == b'/').filter(|segment| !segment.is_empty());
        Self { authority, segments: segments.collect(), query }
    }
}

/// What a path names, and the path without the type.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Typed<'a> {
    pub index: Option<&'a [u8]>,
    pub doc_type: Option<&'a [u8]>,
    /// What stands behind the index once the type is gone, or all of it where there is no index; `None` when the path
    /// has no type.
    rest: Option<Vec<&'a [u8]>>,
    /// The endpoint, such as `_bulk` or `_mapping`; empty for an index alone.
    pub endpoint: &'a [u8],
}

impl<'a> Typed<'a> {
    pub(super) fn of(path: &Path<'a>, method: Method) -> Self {
        let untyped = |index, endpoint| Self { index, doc_type: None, rest: None, endpoint };
        let (&index, behind) = match &path.segments[..] {
            [] => return untyped(None, b""),
            [b"_mapping" | b"_mappings", doc_type] if doc_type[0] != b'_' => {
                let rest = Some(vec![&b"_mapping"[..]]);
                return Self { index: None, doc_type: Some(doc_type), rest, endpoint: b"_mapping" };
            }
            [first, ..] if first[0] == b'_' && *first != b"_all" => return untyped(None, first),
            [index, behind @ ..] => (index, behind),
        };
        let typed = |doc_type: &'a [u8], rest: &[&'a [u8]]| Self {
            index: Some(index),
            doc_type: Some(doc_type),
            rest: Some(rest.to_vec()),
            endpoint: rest.first().copied().unwrap_or_default(),
        };
        let is_type = |segment: &[u8]| segment[0] != b'_' || segment == b"_doc";
        match *behind {
            [b"_mapping" | b"_mappings", doc_type] | [doc_type, b"_mapping" | b"_mappings"]
                if is_type(doc_type) =>
            {
                typed(doc_type, &[b"_mapping"])
            }
            [b"_mapping" | b"_mappings", doc_type, b"field", fields] if is_type(doc_type) => {
                typed(doc_type, &[b"_mapping", b"field", fields])
            }
            [b"_doc"] => Self { rest: None, ..typed(b"_doc", &[b"_doc"]) },
            [doc_type] if is_type(doc_type) && method == Method::Post => {
                typed(doc_type, &[b"_doc"])
            }
            // Does the type exist? The index is what is left to ask for.
            [doc_type] if is_type(doc_type) && method == Method::Head => typed(doc_type, &[]),
            [doc_type, api, ref more @ ..] if is_type(doc_type) && is_endpoint(api, more) => {
                typed(doc_type, &behind[1..])
            }
            [doc_type, id] if is_type(doc_type) => {
                let typed = typed(doc_type, &[b"_doc", id]);
                if doc_type == b"_doc" { Self { rest: None, ..typed } } else { typed }
            }
            [doc_type, id, action] if is_type(doc_type) && is_of_document(action) => {
                let action = if action == b"_termvector" { b"_termvectors" } else { action };
                typed(doc_type, &[action, id])
            }
            [endpoint, ..] => untyped(Some(index), endpoint),
            [] => untyped(Some(index), b""),
        }
    }

    /// The index and the type, where both are plain names.
    fn names(&self) -> Option<(&'a str, &'a str)> {
        let index = std::str::from_utf8(self.index?).ok()?;
        Some((index, std::str::from_utf8(self.doc_type?).ok()?))
    }

    /// The new target, `None` when it stays.
    pub(super) fn rewritten(&self, mapping: &TypeMapping, path: &Path<'_>) -> Option<Vec<u8>> {
        let target = self.names().and_then(|(index, doc_type)| mapping.target_of(index, doc_type));
        let query = path.query.and_then(query_without_types);
        if self.rest.is_none() && target.is_none() && query.is_none() {
            return None;
        }
        let mut out = path.authority.to_vec();
        let behind = match &self.rest {
            Some(rest) => &rest[..],
            None => &path.segments[usize::from(self.index.is_some())..],
        };
        let index = target.map(str::as_bytes).or(self.index);
        for segment in index.iter().chain(behind) {
            out.push(b'/');
            out.extend_from_slice(segment);
        }
        if out.len() == path.authority.len() {
            out.push(b'/');
        }
        if let Some(query) = query.as_deref().or(path.query)
            && !query.is_empty()
        {
            out.push(b'?');
            out.extend_from_slice(query);
        }
        Some(out)
    }
}

/// The parameters without those of types; a parent is a routing now. `None` when nothing changes.
fn query_without_types(query: &[u8]) -> Option<Vec<u8>> {
    let name_of = |pair: &&[u8]| pair.split(|&byte| byte == b'=').next().map(<[u8]>::to_vec);
    let pairs = || query.split(|&byte| byte == b'&');
    let names: Vec<Vec<u8>> = pairs().filter_map(|pair| name_of(&pair)).collect();
    let has = |name: &[u8]| names.iter().any(|known| known == name);
    if !has(b"include_type_name") && !has(b"parent") {
        return None;
    }
    let mut kept: Vec<Vec<u8>> = Vec::new();
    for pair in pairs() {
        match pair.strip_prefix(b"parent=") {
            Some(_) if has(b"routing") => {}
            Some(parent) => kept.push([b"routing=", parent].concat()),
            None if pair.starts_with(b"include_type_name") => {}
            None => kept.push(pair.to_vec()),
        }
    }
    Some(kept.join(&b'&'))
}

/// Endpoints that could stand behind a type.
fn is_endpoint(api: &[u8], more: &[&[u8]]) -> bool {
    match api {
        b"_search" | b"_msearch" => matches!(more, [] | [b"template"]),
        b"_validate" => matches!(more, [b"query"]),
        b"_bulk" | b"_count" | b"_mget" | b"_mtermvectors" | b"_delete_by_query"
        | b"_update_by_query" | b"_rank_eval" => more.is_empty(),
        _ => false,
    }
}

/// Endpoints that stood behind a document's id and stand before it now.
fn is_of_document(action: &[u8]) -> bool {
    matches!(
        action,
        b"_create" | b"_update" | b"_source" | b"_explain" | b"_termvectors" | b"_termvector"
    )
}

#[cfg(test)]
mod tests {
    use super::super::TypeTarget;
    use super::*;

    fn rewritten(mapping: &TypeMapping, method: Method, target: &str) -> String {
        let path = Path::of(target.as_bytes());
        let new = Typed::of(&path, method).rewritten(mapping, &path);
        new.map_or(target.to_owned(), |new| String::from_utf8(new).expect("text"))
    }

    #[test]
    fn types_leave_the_path() {
        use Method::{Delete, Get, Head, Post, Put};
        let cases = [
            (Put, "/i/t/1", "/i/_doc/1"),
            (Put, "/i/t/a%2Fb?op_type=create&refresh", "/i/_doc/a%2Fb?op_type=create&refresh"),
            (Delete, "//i/t/1/", "/i/_doc/1"),
            (Get, "/i/t/1", "/i/_doc/1"),
            (Post, "/i/t", "/i/_doc"),
            (Post, "/i/t/", "/i/_doc"),
            (Head, "/i/t", "/i"),
            (Post, "/i/t/_bulk?refresh", "/i/_bulk?refresh"),
            (Post, "/i/_doc/_bulk", "/i/_bulk"),
            (Get, "/i,j*/t,u/_search?q=a", "/i,j*/_search?q=a"),
            (Get, "/_all/t/_count", "/_all/_count"),
            (Post, "/i/t/1/_update", "/i/_update/1"),
            (Post, "/i/_doc/1/_update", "/i/_update/1"),
            (Put, "/i/t/1/_create", "/i/_create/1"),
            (Get, "/i/t/1/_source", "/i/_source/1"),
            (Get, "/i/t/1/_termvector", "/i/_termvectors/1"),
            (Put, "/i/_mapping/t", "/i/_mapping"),
            (Put, "/i/t/_mapping", "/i/_mapping"),
            (Put, "/i/_mappings/t?include_type_name=true&a=b", "/i/_mapping?a=b"),
            (Get, "/i/_mapping/t/field/a,b", "/i/_mapping/field/a,b"),
            (Get, "/_mapping/t", "/_mapping"),
            (Put, "/i?include_type_name=true", "/i"),
            (Put, "/i/t/1?parent=7", "/i/_doc/1?routing=7"),
            (Put, "/i/t/1?parent=7&routing=8", "/i/_doc/1?routing=8"),
            (Put, "http://s:9200/i/t/1", "http://s:9200/i/_doc/1"),
        ];
        for (method, typed, expected) in cases {
            assert_eq!(rewritten(&TypeMapping::default(), method, typed), expected, "{typed}");
            assert_eq!(rewritten(&TypeMapping::default(), method, expected), expected);
        }
    }

    #[test]
    fn paths_without_types_stay() {
        let plain = [
            "/",
            "/i",
            "/i/_doc",
            "/i/_doc/1",
            "/i/_create/1",
            "/i/_update/1",
            "/_bulk",
            "/i/_bulk",
            "/i/_search",
            "/_cluster/health/i",
            "/_snapshot/r/s",
            "/_template/t",
            "/i/_mapping",
            "/i/_settings",
            "/i/_alias/a",
            "//i/_refresh/",
            "/i/_mapping/field/a",
            "/_nodes/n/stats",
            "*",
        ];
        for target in plain {
            for method in [Method::Get, Method::Put, Method::Post, Method::Delete] {
                assert_eq!(rewritten(&TypeMapping::default(), method, target), target);
            }
        }
    }

    #[test]
    fn a_type_may_get_an_index_of_its_own() {
        let entry = |doc_type: &str, target: &str| TypeTarget {
            index: "i".to_owned(),
            doc_type: doc_type.to_owned(),
            target: target.to_owned(),
        };
        let mapping = TypeMapping { targets: vec![entry("t", "i-t"), entry("_doc", "j")] };
        for (typed, expected) in [
            ("/i/t/1", "/i-t/_doc/1"),
            ("/i/u/1", "/i/_doc/1"),
            ("/i/_doc/1", "/j/_doc/1"),
            ("/i/_doc", "/j/_doc"),
            ("/k/t/1", "/k/_doc/1"),
            ("/i/t/_bulk", "/i-t/_bulk"),
        ] {
            assert_eq!(rewritten(&mapping, Method::Post, typed), expected);
        }
    }
}
