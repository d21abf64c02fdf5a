//! Mapping types in bodies: action lines of bulks, headers of multi-searches, lists of documents to get, mappings.
//!
//! Owns the rules for each of them. A body that is not what its path says stays as it is, for the target to judge.

use jaq_json::{Map, Rc, Val, read, write};

use super::super::payload::{depth_fits, string, text};
use super::paths::Typed;
use super::{TypeMapping, is_write};
use crate::es::bulk;
use crate::http::Method;

/// Bodies in which types stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Bulk,
    MultiSearch,
    MultiGet,
    /// `mappings` below the top, in the creation of an index or a template.
    Mappings,
    /// A mapping itself.
    Mapping,
}

impl Kind {
    pub(super) fn of(typed: &Typed<'_>, method: Method) -> Option<Self> {
        match typed.endpoint {
            b"_bulk" if is_write(method) => Some(Self::Bulk),
            b"_msearch" => Some(Self::MultiSearch),
            b"_mget" => Some(Self::MultiGet),
            b"_mapping" | b"_mappings" if is_write(method) => Some(Self::Mapping),
            b"_template" if is_write(method) && typed.index.is_none() => Some(Self::Mappings),
            b"" if method == Method::Put && typed.index.is_some() => Some(Self::Mappings),
            _ => None,
        }
    }

    /// The body without types, `None` when it stays.
    pub(super) fn untyped(
        self,
        mapping: &TypeMapping,
        typed: &Typed<'_>,
        content: &[u8],
    ) -> Option<Vec<u8>> {
        match self {
            Self::Bulk => bulk_lines(mapping, typed, content),
            Self::MultiSearch => search_lines(content),
            Self::MultiGet => edited(content, |body| {
                let Some(Val::Arr(documents)) = body.get_mut(&string("docs")) else { return false };
                let untype = |document: &mut Val| fields_mut(document).is_some_and(untype_document);
                // Every one of them, not up to the first.
                Rc::make_mut(documents)
                    .iter_mut()
                    .fold(false, |any, document| untype(document) | any)
            }),
            Self::Mappings => edited(content, |body| {
                let mappings = body.get_mut(&string("mappings")).and_then(fields_mut);
                mappings.is_some_and(|mappings| unwrap(mappings, None))
            }),
            Self::Mapping => edited(content, |body| {
                unwrap(body, typed.doc_type.and_then(|name| std::str::from_utf8(name).ok()))
            }),
        }
    }
}

/// Action lines without types; all else is copied.
fn bulk_lines(mapping: &TypeMapping, typed: &Typed<'_>, content: &[u8]) -> Option<Vec<u8>> {
    let name = |raw: Option<&[u8]>| raw.and_then(|raw| String::from_utf8(raw.to_vec()).ok());
    let (index, doc_type) = (name(typed.index), name(typed.doc_type));
    // What a line without an index of its own gets once the path has changed.
    let default =
        index.as_deref().zip(doc_type.as_deref()).and_then(|(i, t)| mapping.target_of(i, t));
    let default = default.or(index.as_deref());
    let mut out = Vec::new();
    let mut copied = 0;
    for item in bulk::lines(content, index.as_deref()) {
        let Ok(item) = item else { break };
        let line = item.line.clone();
        let own_type = item.doc_type.as_deref().or(doc_type.as_deref()).unwrap_or("_doc");
        let wanted = item.index.as_deref().map(|i| mapping.target_of(i, own_type).unwrap_or(i));
        let new = edited(&content[line.clone()], |action| {
            let Some(metadata) = action.values_mut().next().and_then(fields_mut) else {
                return false;
            };
            let mut changed = untype_document(metadata);
            let own = metadata.contains_key(&string("_index"));
            let is = if own { item.index.as_deref() } else { default };
            if let Some(wanted) = wanted.filter(|wanted| is != Some(*wanted)) {
                metadata.insert(string("_index"), string(wanted));
                changed = true;
            }
            changed
        });
        if let Some(new) = new {
            out.extend_from_slice(&content[copied..line.start]);
            out.extend_from_slice(new.trim_ascii_end());
            copied = line.end;
        }
    }
    if copied == 0 {
        return None;
    }
    out.extend_from_slice(&content[copied..]);
    Some(out)
}

/// Every other line, from the first, is the header of a search.
fn search_lines(content: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(content.len());
    let mut changed = false;
    let lines = content.split_inclusive(|&byte| byte == b'\n');
    for (number, line) in lines.enumerate() {
        let new = edited(line, |header| {
            let types = ["type", "types"].map(|name| header.shift_remove(&string(name)).is_some());
            types.contains(&true)
        });
        match new.filter(|_| number % 2 == 0) {
            Some(new) => {
                changed = true;
                out.extend_from_slice(&new);
            }
            None => out.extend_from_slice(line),
        }
    }
    changed.then_some(out)
}

/// `content` after `edit`, `None` when that changed nothing or `content` is no object. A line end behind it stays.
fn edited(content: &[u8], edit: impl FnOnce(&mut Map) -> bool) -> Option<Vec<u8>> {
    if !depth_fits(content) {
        return None;
    }
    let mut value = read::parse_single(content).ok()?;
    if !edit(fields_mut(&mut value)?) {
        return None;
    }
    let mut out = Vec::with_capacity(content.len());
    // A Vec takes whatever is written to it.
    let _ = write::write(&mut out, &write::Pp::default(), 0, &value);
    out.extend_from_slice(&content[content.trim_ascii_end().len()..]);
    Some(out)
}

/// Metadata of a document without its type and with the names of today. Says whether anything changed.
fn untype_document(metadata: &mut Map) -> bool {
    let mut changed = metadata.shift_remove(&string("_type")).is_some();
    for (old, new) in RENAMED {
        if let Some(value) = metadata.shift_remove(&string(old)) {
            metadata.entry(string(new)).or_insert(value);
            changed = true;
        }
    }
    changed
}

/// Takes the level of types out of a mapping: `{"t": {"properties": …}}` becomes `{"properties": …}`. The fields of
/// several types are put together. `doc_type` is the one that the path names.
fn unwrap(mapping: &mut Map, doc_type: Option<&str>) -> bool {
    let is_type = |(name, value): (&Val, &Val)| {
        let name = text(name).unwrap_or_default();
        matches!(value, Val::Obj(_)) && (doc_type == Some(name) || !OF_A_MAPPING.contains(&name))
    };
    let only_type = doc_type.is_none_or(|_| mapping.len() == 1);
    if mapping.is_empty() || !only_type || !mapping.iter().all(is_type) {
        return false;
    }
    let types = std::mem::take(mapping);
    for (name, mut value) in types {
        // What a new type would begin with; there are none.
        if text(&name) == Some("_default_") {
            continue;
        }
        let Some(fields) = fields_mut(&mut value).map(std::mem::take) else { continue };
        for (field, mut value) in fields {
            match (mapping.get_mut(&field).and_then(fields_mut), fields_mut(&mut value)) {
                (Some(known), Some(more)) => {
                    for (name, value) in std::mem::take(more) {
                        known.entry(name).or_insert(value);
                    }
                }
                _ => {
                    mapping.entry(field).or_insert(value);
                }
            }
        }
    }
    true
}

fn fields_mut(value: &mut Val) -> Option<&mut Map> {
    match value {
        Val::Obj(fields) => Some(Rc::make_mut(fields)),
        _ => None,
    }
}

/// Names with an underscore, which Elasticsearch 7 refuses, and those of today. A parent is a routing.
const RENAMED: [(&str, &str); 7] = [
    ("_routing", "routing"),
    ("_parent", "routing"),
    ("parent", "routing"),
    ("_version", "version"),
    ("_version_type", "version_type"),
    ("_retry_on_conflict", "retry_on_conflict"),
    ("fields", "stored_fields"),
];

/// What may stand at the top of a mapping without types and is an object.
const OF_A_MAPPING: [&str; 12] = [
    "properties",
    "runtime",
    "_source",
    "_routing",
    "_meta",
    "_all",
    "_field_names",
    "_size",
    "_parent",
    "_timestamp",
    "_ttl",
    "_data_stream_timestamp",
];

#[cfg(test)]
mod tests {
    use super::super::TypeTarget;
    use super::super::paths::Path;
    use super::*;

    fn untyped(mapping: &TypeMapping, method: Method, target: &str, body: &str) -> String {
        let path = Path::of(target.as_bytes());
        let typed = Typed::of(&path, method);
        let new = Kind::of(&typed, method)
            .and_then(|kind| kind.untyped(mapping, &typed, body.as_bytes()));
        new.map_or(body.to_owned(), |new| String::from_utf8(new).expect("text"))
    }

    #[test]
    fn action_lines_lose_their_types() {
        let none = TypeMapping::default();
        let bulk = "{\"index\":{\"_index\":\"i\",\"_type\":\"t\",\"_id\":\"1\",\"_routing\":\"r\"}}\r\n\
                    { \"_type\" : \"mine\" }\n\
                    { \"delete\" : {\"_id\":\"2\"} }\n\
                    {\"update\":{\"_id\":3,\"_retry_on_conflict\":2,\"_parent\":\"p\"}}\n{}\n";
        let expected = "{\"index\":{\"_index\":\"i\",\"_id\":\"1\",\"routing\":\"r\"}}\r\n{ \"_type\" : \"mine\" }\n\
                        { \"delete\" : {\"_id\":\"2\"} }\n\
                        {\"update\":{\"_id\":3,\"routing\":\"p\",\"retry_on_conflict\":2}}\n{}\n";
        for target in ["/_bulk", "/i/_bulk", "/i/t/_bulk"] {
            assert_eq!(untyped(&none, Method::Post, target, bulk), expected);
        }
        assert_eq!(untyped(&none, Method::Post, "/_bulk", expected), expected);
        assert_eq!(untyped(&none, Method::Post, "/_bulk", "no bulk\n"), "no bulk\n");

        let target = |doc_type: &str, target: &str| TypeTarget {
            index: "i".to_owned(),
            doc_type: doc_type.to_owned(),
            target: target.to_owned(),
        };
        let own = TypeMapping { targets: vec![target("t", "i-t")] };
        let lines = "{\"delete\":{\"_index\":\"i\",\"_type\":\"t\",\"_id\":\"1\"}}\n\
                     {\"delete\":{\"_index\":\"j\",\"_type\":\"t\",\"_id\":\"2\"}}\n";
        let moved = "{\"delete\":{\"_index\":\"i-t\",\"_id\":\"1\"}}\n{\"delete\":{\"_index\":\"j\",\"_id\":\"2\"}}\n";
        assert_eq!(untyped(&own, Method::Post, "/_bulk", lines), moved);
        let by_path = "{\"delete\":{\"_id\":\"1\"}}\n";
        assert_eq!(untyped(&own, Method::Post, "/i/t/_bulk", by_path), by_path);
        // The path's type is no other type's, and the line's own index is not the path's.
        for (line, expected) in [
            ("{\"_id\":\"1\",\"_type\":\"u\"}", "{\"_id\":\"1\",\"_index\":\"i\"}"),
            ("{\"_index\":\"i\",\"_id\":\"1\"}", "{\"_index\":\"i-t\",\"_id\":\"1\"}"),
            ("{\"_index\":\"k\",\"_id\":\"1\"}", "{\"_index\":\"k\",\"_id\":\"1\"}"),
        ] {
            let body = |line| format!("{{\"delete\":{line}}}\n");
            assert_eq!(untyped(&own, Method::Post, "/i/t/_bulk", &body(line)), body(expected));
        }
    }

    #[test]
    fn searches_and_gets_lose_their_types() {
        let none = TypeMapping::default();
        let searches = "{\"index\":\"i\",\"type\":\"t\"}\n{\"type\":1}\n{}\n{}\n";
        assert_eq!(
            untyped(&none, Method::Post, "/_msearch", searches),
            "{\"index\":\"i\"}\n{\"type\":1}\n{}\n{}\n"
        );
        assert_eq!(
            untyped(
                &none,
                Method::Get,
                "/i/t/_mget",
                "{\"docs\":[{\"_type\":\"t\",\"_id\":\"1\"},{\"_id\":\"2\",\"_type\":\"u\"}]}"
            ),
            "{\"docs\":[{\"_id\":\"1\"},{\"_id\":\"2\"}]}"
        );
    }

    #[test]
    fn mappings_lose_the_level_of_types() {
        let cases = [
            (
                "/i",
                "{\"mappings\":{\"t\":{\"properties\":{\"a\":{\"type\":\"long\"}}}},\"settings\":{}}",
                "{\"mappings\":{\"properties\":{\"a\":{\"type\":\"long\"}}},\"settings\":{}}",
            ),
            (
                "/i",
                "{\"mappings\":{\"_default_\":{\"dynamic\":false},\
                 \"t\":{\"properties\":{\"a\":{}}},\"u\":{\"properties\":{\"b\":{}}}}}",
                "{\"mappings\":{\"properties\":{\"a\":{},\"b\":{}}}}",
            ),
            (
                "/i",
                "{\"mappings\":{\"properties\":{\"t\":{}}}}",
                "{\"mappings\":{\"properties\":{\"t\":{}}}}",
            ),
            (
                "/i",
                "{\"mappings\":{\"dynamic\":\"strict\"}}",
                "{\"mappings\":{\"dynamic\":\"strict\"}}",
            ),
            ("/i", "{\"mappings\":{}}", "{\"mappings\":{}}"),
            (
                "/_template/x",
                "{\"mappings\":{\"t\":{\"_source\":{}}}}",
                "{\"mappings\":{\"_source\":{}}}",
            ),
            ("/i/_mapping/t", "{\"t\":{\"properties\":{}}}", "{\"properties\":{}}"),
            ("/i/_mapping/t", "{\"properties\":{}}", "{\"properties\":{}}"),
            (
                "/i/_mapping",
                "{\"properties\":{},\"dynamic\":false}",
                "{\"properties\":{},\"dynamic\":false}",
            ),
            ("/i/_doc/1", "{\"mappings\":{\"t\":{}}}", "{\"mappings\":{\"t\":{}}}"),
        ];
        for (target, body, expected) in cases {
            assert_eq!(untyped(&TypeMapping::default(), Method::Put, target, body), expected);
        }
    }
}
