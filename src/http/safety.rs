//! The POST endpoints that only read, of Elasticsearch 6 to 8 and OpenSearch 1 to 3.
//!
//! Owns the table by which a POST may go to the source before its record is durable. Matches the
//! path as it was sent: nothing is decoded or tidied. Never says yes to what it does not know: a
//! wrong no costs latency, a wrong yes costs durability.

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
fn fits(endpoint: &[&str], segments: &[&[u8]]) -> bool {
    let pairs = || endpoint.iter().zip(segments);
    pairs().all(|(expected, segment)| is_name(expected) || expected.as_bytes() == *segment)
        && pairs().all(|(expected, segment)| match *expected {
            INDEX => *segment == b"_all" || is_plain_name(segment),
            TYPE | ID => is_plain_name(segment),
            _ => true,
        })
}

fn is_name(expected: &str) -> bool {
    matches!(expected, INDEX | TYPE | ID)
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
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => behind,
            b'-' | b'_' | b'.' | b',' | b'*' | b'+' | b':' | b'~' | b'=' | b'@' | b'!' => behind,
            b'%' => match behind.split_first_chunk::<2>() {
                Some((escaped, behind)) if is_harmless(*escaped) => behind,
                _ => return false,
            },
            _ => return false,
        };
    }
    true
}

/// Client libraries escape the comma, the star and the colon of index expressions. None of them can
/// end a segment or a path, decoded or not.
fn is_harmless(escaped: [u8; 2]) -> bool {
    matches!(&escaped.map(|byte| byte.to_ascii_uppercase()), b"2C" | b"2A" | b"3A")
}

const INDEX: &str = "{index}";
const TYPE: &str = "{type}";
const ID: &str = "{id}";

const SEGMENTS_MAX: usize = 4;

/// Each line is one route of the servers' REST specifications (`rest-api-spec/api/*.json`). Types
/// stood in paths until Elasticsearch 7 and OpenSearch 1. Left out on purpose: `_sql` and `_async_search`, `_pit` and
/// `point_in_time`, `_scripts/painless/_execute`, which keep state or run code.
const ENDPOINTS: &[&[&str]] = &[
    // Search: "search". `?scroll=` opens a context that changes no document.
    &["_search"],
    &[INDEX, "_search"],
    &[INDEX, TYPE, "_search"],
    // Next page of a scroll: "scroll", with the id in the body.
    &["_search", "scroll"],
    // Many searches: "msearch".
    &["_msearch"],
    &[INDEX, "_msearch"],
    &[INDEX, TYPE, "_msearch"],
    // Search by a template: "search_template", "msearch_template", "render_search_template".
    &["_search", "template"],
    &[INDEX, "_search", "template"],
    &[INDEX, TYPE, "_search", "template"],
    &["_msearch", "template"],
    &[INDEX, "_msearch", "template"],
    &[INDEX, TYPE, "_msearch", "template"],
    &["_render", "template"],
    &["_render", "template", ID],
    // Count: "count".
    &["_count"],
    &[INDEX, "_count"],
    &[INDEX, TYPE, "_count"],
    // Many documents by id: "mget".
    &["_mget"],
    &[INDEX, "_mget"],
    &[INDEX, TYPE, "_mget"],
    // What fields there are: "field_caps".
    &["_field_caps"],
    &[INDEX, "_field_caps"],
    // Whether a query would run: "indices.validate_query".
    &["_validate", "query"],
    &[INDEX, "_validate", "query"],
    &[INDEX, TYPE, "_validate", "query"],
    // Why a document matches: "explain".
    &[INDEX, "_explain", ID],
    &[INDEX, TYPE, ID, "_explain"],
    // What an analyser makes of a text: "indices.analyze".
    &["_analyze"],
    &[INDEX, "_analyze"],
    // Terms of one or of many documents: "termvectors", "mtermvectors".
    &[INDEX, "_termvectors"],
    &[INDEX, "_termvectors", ID],
    &[INDEX, TYPE, "_termvectors"],
    &[INDEX, TYPE, ID, "_termvectors"],
    &["_mtermvectors"],
    &[INDEX, "_mtermvectors"],
    &[INDEX, TYPE, "_mtermvectors"],
    // How good a ranking is: "rank_eval".
    &["_rank_eval"],
    &[INDEX, "_rank_eval"],
    // Which shards a search would ask: "search_shards".
    &["_search_shards"],
    &[INDEX, "_search_shards"],
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_of_the_table_is_safe() {
        for endpoint in ENDPOINTS {
            let names = [(INDEX, "logs-2024.01"), (TYPE, "event"), (ID, "17")];
            let mut path = String::new();
            for segment in *endpoint {
                let name = names.iter().find(|(name, _)| name == segment);
                path.push('/');
                path.push_str(name.map_or(segment, |(_, value)| value));
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
