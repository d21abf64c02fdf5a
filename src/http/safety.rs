//! The POST endpoints that only read, of Elasticsearch 6 to 8 and `OpenSearch` 1 to 3.
//!
//! Owns the table by which a POST may go to the source before its record is durable. Matches the
//! path as it was sent: nothing is decoded or tidied. Never says yes to what it does not know: a
//! wrong no costs latency, a wrong yes costs durability.

use Part::{At, Id, Index, Type};

/// Is a POST to this target (origin-form) certain to change no document?
pub fn is_read_only_post(target: &[u8]) -> bool {
    let path = memchr::memchr(b'?', target).map_or(target, |query| &target[..query]);
    let Some(path) = path.strip_prefix(b"/") else { return false };
    let mut segments: [&[u8]; SEGMENTS_MAX] = [&[]; SEGMENTS_MAX];
    let mut count = 0;
    for segment in path.split(|&byte| byte == b'/') {
        let Some(slot) = segments.get_mut(count) else { return false };
        *slot = segment;
        count += 1;
    }
    let segments = &segments[..count];
    ENDPOINTS.iter().any(|endpoint| endpoint.len() == count && fits(endpoint, segments))
}

/// Fixed segments first: they tell most endpoints apart and cost one comparison each.
fn fits(endpoint: &[Part], segments: &[&[u8]]) -> bool {
    let pairs = || endpoint.iter().zip(segments);
    pairs().all(|(part, segment)| match part {
        At(fixed) => fixed.as_bytes() == *segment,
        Index | Type | Id => true,
    }) && pairs().all(|(part, segment)| match part {
        At(_) => true,
        Index => *segment == b"_all" || is_plain_name(segment),
        Type | Id => is_plain_name(segment),
    })
}

/// A name that every server and every proxy in between reads alike. No leading `_`, which is kept
/// for endpoints: in `/index/_doc/_search` an Elasticsearch 7 writes the document `_search`.
fn is_plain_name(segment: &[u8]) -> bool {
    if matches!(segment, b"" | b"." | b".." | [b'_', ..]) {
        return false;
    }
    let mut rest = segment;
    while let Some((&byte, behind)) = rest.split_first() {
        rest = match byte {
            _ if is_plain_byte(byte) => behind,
            b'%' => match behind.split_first_chunk::<2>() {
                Some((escaped, behind)) if is_harmless(*escaped) => behind,
                _ => return false,
            },
            _ => return false,
        };
    }
    true
}

fn is_plain_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.,*+:~=@!".contains(&byte)
}

/// Client libraries escape the comma, the star and the colon of index expressions. None of them can
/// end a segment or a path, decoded or not.
fn is_harmless(escaped: [u8; 2]) -> bool {
    matches!(&escaped.map(|byte| byte.to_ascii_uppercase()), b"2C" | b"2A" | b"3A")
}

/// One segment of an endpoint's path.
enum Part {
    /// Exactly this.
    At(&'static str),
    /// An index expression.
    Index,
    /// A mapping type.
    Type,
    /// The id of a document or a template.
    Id,
}

const SEGMENTS_MAX: usize = 4;

/// Each line is one route of the servers' REST specifications (`rest-api-spec/api/*.json`, named in
/// quotes). Types stood in paths until Elasticsearch 7 and `OpenSearch` 1. Left out on purpose,
/// since they keep state or run code: `_sql`, `_async_search`, `_pit`, `point_in_time`, `_scripts`.
const ENDPOINTS: &[&[Part]] = &[
    // Search: "search". `?scroll=` opens a context that changes no document.
    &[At("_search")],
    &[Index, At("_search")],
    &[Index, Type, At("_search")],
    // Next page of a scroll: "scroll", with the id in the body.
    &[At("_search"), At("scroll")],
    // Many searches: "msearch".
    &[At("_msearch")],
    &[Index, At("_msearch")],
    &[Index, Type, At("_msearch")],
    // Search by a template: "search_template", "msearch_template", "render_search_template".
    &[At("_search"), At("template")],
    &[Index, At("_search"), At("template")],
    &[Index, Type, At("_search"), At("template")],
    &[At("_msearch"), At("template")],
    &[Index, At("_msearch"), At("template")],
    &[Index, Type, At("_msearch"), At("template")],
    &[At("_render"), At("template")],
    &[At("_render"), At("template"), Id],
    // Count: "count".
    &[At("_count")],
    &[Index, At("_count")],
    &[Index, Type, At("_count")],
    // Many documents by id: "mget".
    &[At("_mget")],
    &[Index, At("_mget")],
    &[Index, Type, At("_mget")],
    // What fields there are: "field_caps".
    &[At("_field_caps")],
    &[Index, At("_field_caps")],
    // Whether a query would run: "indices.validate_query".
    &[At("_validate"), At("query")],
    &[Index, At("_validate"), At("query")],
    &[Index, Type, At("_validate"), At("query")],
    // Why a document matches: "explain".
    &[Index, At("_explain"), Id],
    &[Index, Type, Id, At("_explain")],
    // What an analyser makes of a text: "indices.analyze".
    &[At("_analyze")],
    &[Index, At("_analyze")],
    // Terms of one or of many documents: "termvectors", "mtermvectors".
    &[Index, At("_termvectors")],
    &[Index, At("_termvectors"), Id],
    &[Index, Type, At("_termvectors")],
    &[Index, Type, Id, At("_termvectors")],
    &[At("_mtermvectors")],
    &[Index, At("_mtermvectors")],
    &[Index, Type, At("_mtermvectors")],
    // How good a ranking is: "rank_eval".
    &[At("_rank_eval")],
    &[Index, At("_rank_eval")],
    // Which shards a search would ask: "search_shards".
    &[At("_search_shards")],
    &[Index, At("_search_shards")],
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_of_the_table_is_safe() {
        for endpoint in ENDPOINTS {
            let mut path = String::new();
            for part in *endpoint {
                path.push('/');
                path.push_str(match part {
                    At(fixed) => fixed,
                    Index => "logs-2024.01",
                    Type => "event",
                    Id => "17",
                });
            }
            assert!(is_read_only_post(path.as_bytes()), "{path}");
            assert!(is_read_only_post(format!("{path}?a=/_bulk%2F..&b").as_bytes()), "{path}");
            assert!(!is_read_only_post(format!("{path}/").as_bytes()), "{path}");
            assert!(!is_read_only_post(format!("/{path}").as_bytes()), "{path}");
            assert!(!is_read_only_post(format!("{path}x").as_bytes()) || path.ends_with("17"));
            assert!(!is_read_only_post(path.to_uppercase().as_bytes()), "{path}");
            assert!(endpoint.len() <= SEGMENTS_MAX);
        }
    }

    #[test]
    fn index_expressions() {
        for index in [
            "_all",
            "a,b",
            "a%2Cb",
            "logs-*",
            "logs-%2a",
            "*",
            ".kibana",
            "remote:logs",
            "a%3Ab",
            "A",
        ] {
            assert!(is_read_only_post(format!("/{index}/_search").as_bytes()), "{index}");
        }
        for index in [
            "", ".", "..", "_doc", "_bulk", "_ALL", "a%2Fb", "a%2f", "%2e%2e", "a%", "a%2", "a%00",
            "a#", "a;b", "a\\b", "a b", "a\u{e9}", "<a>", "%5Fall", "a%25",
        ] {
            assert!(!is_read_only_post(format!("/{index}/_search").as_bytes()), "{index}");
        }
    }

    #[test]
    fn what_is_not_in_the_table() {
        for path in [
            "",
            "/",
            "*",
            "_search",
            "//_search",
            "/_bulk",
            "/logs/_bulk",
            "/logs/_doc",
            "/logs/_doc/_search",
            "/logs/_create/_search",
            "/logs/_doc/1",
            "/logs/_update/1",
            "/logs/_delete_by_query",
            "/logs/_update_by_query",
            "/_reindex",
            "/_sql",
            "/_async_search",
            "/logs/_async_search",
            "/logs/_pit",
            "/logs/_search/point_in_time",
            "/_search/scroll/abc",
            "/_all/_all/_search",
            "/logs/_search/scroll",
            "/%5Fsearch",
            "/_searc%68",
            "/_search%3F",
            "/_search#",
            "/logs/./_search",
            "/logs/../_search",
            "/logs/_search/..",
            "/logs/event/17/_search",
            "/logs/event/_explain/17",
            "/logs/_explain/_search",
            "/logs/event/17/_explain/x",
            "/a/b/c/d/e",
            "/_explain/17",
            "http://host/_search",
            "/_scripts/painless/_execute",
            "/_search\0",
        ] {
            assert!(!is_read_only_post(path.as_bytes()), "{path}");
        }
    }
}
