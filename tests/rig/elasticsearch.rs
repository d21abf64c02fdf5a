//! A real Elasticsearch 7.10.2, one node, without security, as the source of the tests.

use std::path::PathBuf;
use std::sync::OnceLock;

use super::cluster::{Cluster, Kind, Module, POLICY_CONNECT, POLICY_MUSTACHE, POLICY_PAINLESS};
use super::java::Artifact;

/// The source of the tests.
pub(crate) struct Elasticsearch;

impl Elasticsearch {
    /// The node that all tests of this run share. It ends with the run.
    pub(crate) fn shared() -> &'static Cluster {
        static SHARED: OnceLock<Result<Cluster, String>> = OnceLock::new();
        match SHARED.get_or_init(|| Cluster::start(&KIND)) {
            Ok(node) => node,
            Err(error) => panic!("{error}"),
        }
    }

    /// Where the jars of its HTTP parser lie.
    pub(crate) fn http_jars() -> Result<PathBuf, String> {
        Cluster::http_jars(&KIND)
    }
}

const VERSION: &str = "7.10.2";
const KIND: Kind = Kind {
    name: "elasticsearch",
    variables: "ES",
    server: Artifact {
        group: "org.elasticsearch.distribution.integ-test-zip",
        name: "elasticsearch",
        version: VERSION,
    },
    modules: &[
        module(
            "aggs-matrix-stats",
            &[of("aggs-matrix-stats")],
            "search.aggregations.matrix.MatrixAggregationPlugin",
        ),
        Module {
            extends: "lang-painless",
            ..module(
                "analysis-common",
                &[of("analysis-common")],
                "analysis.common.CommonAnalysisPlugin",
            )
        },
        Module {
            extends: "lang-painless",
            ..module("ingest-common", &[of("ingest-common")], "ingest.common.IngestCommonPlugin")
        },
        Module {
            policy: POLICY_MUSTACHE,
            ..module("lang-mustache", &[of("lang-mustache")], "script.mustache.MustachePlugin")
        },
        Module {
            policy: POLICY_PAINLESS,
            ..module("lang-painless", &[of("lang-painless")], "painless.PainlessPlugin")
        },
        module("mapper-extras", &[of("mapper-extras")], "index.mapper.MapperExtrasPlugin"),
        module("parent-join", &[of("parent-join")], "join.ParentJoinPlugin"),
        Module {
            policy: POLICY_CONNECT,
            ..module("reindex", &[of("reindex")], "index.reindex.ReindexPlugin")
        },
    ],
};

const fn of(name: &'static str) -> Artifact {
    Artifact { group: "org.codelibs.elasticsearch.module", name, version: VERSION }
}

const fn module(name: &'static str, artifacts: &'static [Artifact], class: &'static str) -> Module {
    Module { name, artifacts, class, extends: "", policy: "" }
}

#[test]
fn a_document_is_indexed_and_found() {
    if !super::services::wanted("a_document_is_indexed_and_found") {
        return;
    }
    let node = Elasticsearch::shared();
    let put = node.ask("PUT", "/rig/_doc/1?refresh=true", r#"{"a":"x y"}"#);
    assert_eq!(put.status(), 201, "{}", put.text());
    let found = node.ask("GET", "/rig/_search?q=a:y", "");
    assert!(found.text().contains(r#""_id":"1""#), "{}", found.text());
    let state = node.state("rig");
    assert_eq!(state.indices.len(), 1, "{state:?}");
    let document = &state.documents[&("rig".to_owned(), "1".to_owned())];
    assert_eq!(*document, serde_json::json!({"source": {"a": "x y"}}));
}
