use proptest::prelude::*;

use crate::es::endpoint::{Endpoint, Kind};
use crate::http::Method;

const METHODS: [Method; 8] = [
    Method::Get,
    Method::Head,
    Method::Post,
    Method::Put,
    Method::Delete,
    Method::Patch,
    Method::Options,
    Method::Other,
];

fn endpoint(line: &str) -> Endpoint<'_> {
    let (method, target) = line.split_once(' ').unwrap();
    let method = match method {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        "POST" => Method::Post,
        "PUT" => Method::Put,
        "DELETE" => Method::Delete,
        "PATCH" => Method::Patch,
        _ => Method::Other,
    };
    Endpoint::of(method, target.as_bytes())
}

#[test]
fn kinds_of_requests() {
    let cases: &[(&str, Kind)] = &[
        ("PUT /logs/_doc/1", Kind::Index),
        ("POST /logs/_doc", Kind::Index),
        ("POST /logs/_doc/", Kind::Index),
        ("POST /logs/_doc/1", Kind::Index),
        ("POST /logs/_doc?op_type=create", Kind::Index),
        ("PUT /logs/_doc/1?op_type=create", Kind::Create),
        ("PUT /logs/_doc/1?op_type=index", Kind::Index),
        ("PUT /logs/_create/1", Kind::Create),
        ("POST /logs/_create/1", Kind::Create),
        ("POST /logs/_update/1", Kind::Update),
        ("DELETE /logs/_doc/1", Kind::Delete),
        ("GET /logs/_doc/1", Kind::Get),
        ("HEAD /logs/_doc/1", Kind::Get),
        ("GET /logs/_source/1", Kind::Get),
        ("POST /logs/_explain/1", Kind::Get),
        ("GET /logs/_termvectors/1", Kind::Get),
        ("POST /_bulk", Kind::Bulk),
        ("PUT /_bulk", Kind::Bulk),
        ("POST /_bulk/", Kind::Bulk),
        ("POST //_bulk", Kind::Bulk),
        ("POST /_bulk?refresh=true", Kind::Bulk),
        ("POST /logs/_bulk?x=y", Kind::Bulk),
        ("POST /logs/event/_bulk", Kind::Bulk),
        ("POST /logs/_doc/_bulk", Kind::Bulk),
        ("GET /_bulk", Kind::GlobalRead),
        ("POST /logs/_search", Kind::Search),
        ("GET /_search?q=a", Kind::Search),
        ("POST /logs/event/_search", Kind::Search),
        ("GET /logs/_doc/_search", Kind::Search),
        ("POST /logs/_doc/_search", Kind::Unknown),
        ("POST /logs/_search/template", Kind::Search),
        ("GET /logs/_count", Kind::Search),
        ("POST /logs/_validate/query", Kind::Search),
        ("POST /logs/_analyze", Kind::Search),
        ("PUT /logs/_search", Kind::Unknown),
        ("POST /_msearch", Kind::MultiSearch),
        ("POST /logs/_mget", Kind::MultiSearch),
        ("POST /logs/event/_mget", Kind::MultiSearch),
        ("POST /_search/scroll", Kind::Context),
        ("DELETE /_search/scroll/abc", Kind::Context),
        ("POST /logs/_pit", Kind::Context),
        ("POST /logs/_search/point_in_time", Kind::Context),
        ("POST /logs/_async_search", Kind::Context),
        ("POST /logs/_delete_by_query", Kind::DeleteByQuery),
        ("POST /a,b/_update_by_query?conflicts=proceed", Kind::UpdateByQuery),
        ("POST /logs/event/_delete_by_query", Kind::DeleteByQuery),
        ("POST /logs/_refresh", Kind::Maintenance),
        ("GET /_refresh", Kind::Maintenance),
        ("POST /logs/_flush/synced", Kind::Maintenance),
        ("POST /logs/_forcemerge?max_num_segments=1", Kind::Maintenance),
        ("POST /logs/_cache/clear", Kind::Maintenance),
        ("GET /logs", Kind::IndexRead),
        ("HEAD /logs", Kind::IndexRead),
        ("GET /logs/_mapping", Kind::IndexRead),
        ("PUT /logs", Kind::IndexAdmin),
        ("DELETE /logs", Kind::IndexAdmin),
        ("PUT /logs/_mapping", Kind::IndexAdmin),
        ("PUT /logs/_mapping/event", Kind::IndexAdmin),
        ("PUT /logs/event/_mapping", Kind::IndexAdmin),
        ("PUT /logs/_settings", Kind::IndexAdmin),
        ("POST /logs/_close", Kind::IndexAdmin),
        ("PUT /logs/_alias/all", Kind::IndexAdmin),
        ("POST /logs/_rollover/next", Kind::IndexAdmin),
        ("GET /", Kind::GlobalRead),
        ("HEAD /", Kind::GlobalRead),
        ("GET /_cat/indices?v", Kind::GlobalRead),
        ("GET /_cluster/health", Kind::GlobalRead),
        ("GET /_mapping", Kind::GlobalRead),
        ("POST /_render/template", Kind::GlobalRead),
        ("PUT /_index_template/logs", Kind::Global),
        ("PUT /_ingest/pipeline/p", Kind::Global),
        ("PUT /_cluster/settings", Kind::Global),
        ("POST /_aliases", Kind::Global),
        ("POST /_reindex", Kind::Global),
        ("PUT /_scripts/s", Kind::Global),
        ("POST /_plugins/_sql", Kind::Global),
        ("PATCH /_plugins/_security/api/roles/r", Kind::Unknown),
        ("PUT /logs/event/1", Kind::Index),
        ("POST /logs/event", Kind::Index),
        ("POST /logs/event/1/_update", Kind::Update),
        ("PUT /logs/event/1/_create", Kind::Create),
        ("PUT /logs/event/1?op_type=create", Kind::Create),
        ("DELETE /logs/event/1", Kind::Delete),
        ("GET /logs/event/1", Kind::Get),
        ("GET /logs/event/1/_source", Kind::Get),
        ("POST /logs/_doc/1/_update", Kind::Update),
        ("POST /logs", Kind::Unknown),
        ("POST /", Kind::Unknown),
        ("post /_bulk", Kind::Unknown),
        ("PUT /a/b/c/d/e/f/g/h/i", Kind::Unknown),
    ];
    for (line, kind) in cases {
        assert_eq!(endpoint(line).kind, *kind, "{line}");
    }
}

#[test]
fn names_are_decoded_after_the_path_is_parted() {
    let found = endpoint("PUT /%3Clogs-%7Bnow%2Fd%7D%3E,a%2Cb*/_doc/x%2Fy+%20z?routing=r%26");
    assert_eq!(found.kind, Kind::Index);
    assert_eq!(found.indices.iter().collect::<Vec<_>>(), ["<logs-{now/d}>", "a", "b*"]);
    assert!(found.indices.has_date_math() && found.indices.has_wildcard());
    assert_eq!(found.id.as_deref(), Some("x/y+ z"));
    assert_eq!(found.query.routing().as_deref(), Some("r&"));

    let found = endpoint("PUT http://host:9200/logs/event/17");
    assert_eq!(found.indices.single(), Some("logs"));
    assert_eq!(found.doc_type.as_deref(), Some("event"));
    assert_eq!(found.id.as_deref(), Some("17"));

    let found = endpoint("POST /_all/_search");
    assert!(found.indices.is_all());
    assert_eq!(found.kind, Kind::Search);

    let found = endpoint("POST /logs/_doc/1/_update");
    assert_eq!((found.doc_type, found.id.as_deref()), (None, Some("1")));
}

#[test]
fn a_plain_target_is_not_copied() {
    let found = endpoint("PUT /logs-2024.01/_doc/abc-1?refresh=true");
    assert!(matches!(found.id, Some(std::borrow::Cow::Borrowed("abc-1"))));
    assert!(matches!(found.indices.into_single(), Some(std::borrow::Cow::Borrowed(_))));
}

#[test]
fn reads_and_writes_exclude_each_other() {
    for kind in [Kind::Index, Kind::Create, Kind::Update, Kind::Delete] {
        assert!(kind.is_single_write() && !kind.is_read());
    }
    for kind in [Kind::Bulk, Kind::Context, Kind::Maintenance, Kind::Global, Kind::Unknown] {
        assert!(!kind.is_single_write() && !kind.is_read());
    }
}

proptest! {
    #[test]
    fn any_target_is_read(method in 0..METHODS.len(), target in prop::collection::vec(any::<u8>(), 0..80)) {
        let found = Endpoint::of(METHODS[method], &target);
        let _ = (found.indices.single(), found.query.is_filtered(), found.query.has_version());
        let _ = found.query.without_sequence_condition();
    }

    #[test]
    fn any_path_of_words_is_read(
        method in 0..METHODS.len(),
        target in "(/(_doc|_bulk|_search|_create|_update|a|%2c|_all|\\*|)){0,9}(\\?[a=&%;]{0,9})?",
    ) {
        let found = Endpoint::of(METHODS[method], target.as_bytes());
        if METHODS[method] == Method::Other {
            assert!(matches!(found.kind, Kind::Unknown | Kind::Context | Kind::Maintenance));
        }
    }
}
