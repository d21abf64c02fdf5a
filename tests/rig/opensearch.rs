//! A real `OpenSearch` 2.19.6, one node, without the security plugin, as the target of the tests.

use std::path::PathBuf;
use std::sync::OnceLock;

use super::cluster::{Cluster, Kind, Module, POLICY_CONNECT, POLICY_MUSTACHE, POLICY_PAINLESS};
use super::java::Artifact;

/// The target of the tests.
pub(crate) struct OpenSearch;

impl OpenSearch {
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

const VERSION: &str = "2.19.6";
const KIND: Kind = Kind {
    name: "opensearch",
    variables: "OPENSEARCH",
    server: Artifact {
        group: "org.opensearch.distribution.integ-test-zip",
        name: "opensearch",
        version: VERSION,
    },
    modules: &[
        module(
            "aggs-matrix-stats",
            &[of("aggs-matrix-stats-client")],
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
        module("geo", &[of("geo")], "geo.GeoModulePlugin"),
        Module {
            extends: "lang-painless",
            ..module("ingest-common", &[of("ingest-common")], "ingest.common.IngestCommonPlugin")
        },
        module(
            "ingest-user-agent",
            &[of("ingest-user-agent")],
            "ingest.useragent.IngestUserAgentPlugin",
        ),
        Module {
            policy: POLICY_EXPRESSION,
            ..module(
                "lang-expression",
                &[of("lang-expression")],
                "script.expression.ExpressionPlugin",
            )
        },
        Module {
            policy: POLICY_MUSTACHE,
            ..module(
                "lang-mustache",
                &[of("lang-mustache-client")],
                "script.mustache.MustachePlugin",
            )
        },
        Module {
            policy: POLICY_PAINLESS,
            ..module(
                "lang-painless",
                &[of("lang-painless"), of("opensearch-scripting-painless-spi")],
                "painless.PainlessPlugin",
            )
        },
        module("mapper-extras", &[of("mapper-extras-client")], "index.mapper.MapperExtrasPlugin"),
        module("parent-join", &[of("parent-join-client")], "join.ParentJoinPlugin"),
        module("percolator", &[of("percolator-client")], "percolator.PercolatorPlugin"),
        module("rank-eval", &[of("rank-eval-client")], "index.rankeval.RankEvalPlugin"),
        Module {
            policy: POLICY_CONNECT,
            ..module("reindex", &[of("reindex-client")], "index.reindex.ReindexPlugin")
        },
        Module {
            policy: POLICY_CONNECT,
            ..module(
                "repository-url",
                &[of("repository-url")],
                "plugin.repository.url.URLRepositoryPlugin",
            )
        },
    ],
};

/// What compiled expressions may touch.
const POLICY_EXPRESSION: &str = "permission java.lang.RuntimePermission \"createClassLoader\"; \
     permission org.opensearch.script.ClassPermission \"java.lang.String\"; \
     permission org.opensearch.script.ClassPermission \"org.apache.lucene.expressions.Expression\"; \
     permission org.opensearch.script.ClassPermission \"org.apache.lucene.search.DoubleValues\"; \
     permission org.opensearch.script.ClassPermission \"java.lang.Math\"; \
     permission org.opensearch.script.ClassPermission \"org.apache.lucene.util.MathUtil\"; \
     permission org.opensearch.script.ClassPermission \"org.apache.lucene.util.SloppyMath\"; \
     permission org.opensearch.script.ClassPermission \"org.apache.lucene.expressions.js.ExpressionMath\";";

const fn of(name: &'static str) -> Artifact {
    Artifact { group: "org.opensearch.plugin", name, version: VERSION }
}

const fn module(name: &'static str, artifacts: &'static [Artifact], class: &'static str) -> Module {
    Module { name, artifacts, class, extends: "", policy: "" }
}

#[test]
fn a_document_is_scripted_and_wiped() {
    if !super::services::wanted("a_document_is_scripted_and_wiped") {
        return;
    }
    let node = OpenSearch::shared();
    let put = node.ask("PUT", "/rig-own/_doc/1?routing=r", r#"{"n":1}"#);
    assert_eq!(put.status(), 201, "{}", put.text());
    let script = r#"{"script":{"source":"ctx._source.n += params.by","params":{"by":4}}}"#;
    let updated = node.ask("POST", "/rig-own/_update/1?routing=r", script);
    assert_eq!(updated.status(), 200, "{}", updated.text());
    let state = node.state("rig-own");
    let document = &state.documents[&("rig-own".to_owned(), "1".to_owned())];
    assert_eq!(*document, serde_json::json!({"source": {"n": 5}, "routing": "r"}));
    node.wipe("rig-own");
    assert_eq!(node.state("rig-own"), super::cluster::State::default());
}
