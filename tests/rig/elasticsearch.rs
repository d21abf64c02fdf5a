//! A real Elasticsearch 7.10.2, one node, without security, as the source of the tests.
//!
//! The distribution on Maven Central holds only the network transport; the modules that clients
//! use all day are put in beside it, each with a descriptor of its own.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use super::java::{self, Artifact};
use super::process::Process;
use super::{ground, port, wait};

/// One running node. Dropping it kills the node and removes its data.
#[derive(Debug)]
pub(crate) struct Elasticsearch {
    process: Option<Process>,
    dir: PathBuf,
    port: u16,
}

impl Elasticsearch {
    /// The node that all tests of this run share. It ends with the run.
    pub(crate) fn shared() -> &'static Self {
        static SHARED: OnceLock<Result<Elasticsearch, String>> = OnceLock::new();
        match SHARED.get_or_init(Self::try_start) {
            Ok(node) => node,
            Err(error) => panic!("{error}"),
        }
    }

    /// Port of its HTTP interface on 127.0.0.1.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    fn try_start() -> Result<Self, String> {
        let java = java::home(11, 17)?;
        let distribution = distribution()?;
        let dir = ground::run_dir(&ground::home_for_others(), "elasticsearch");
        let mut node = Self { process: None, dir, port: port::free() };
        node.configure(&distribution)
            .map_err(|error| format!("{}: {error}", node.dir.display()))?;
        let mut command = Command::new(distribution.join("bin/elasticsearch"));
        command
            .env_remove("JAVA_OPTS")
            .env_remove("JAVA_TOOL_OPTIONS")
            .env("JAVA_HOME", java)
            .env("ES_PATH_CONF", node.dir.join("config"))
            .env("ES_TMPDIR", node.dir.join("tmp"))
            .env("HOME", node.dir.join("tmp"))
            .current_dir(node.dir.join("tmp"));
        if ground::am_root() {
            // The server refuses to run as root.
            command.uid(NOBODY).gid(NOGROUP);
        }
        let mut process = Process::spawn(&mut command, &node.dir.join("stdout.log"), &node.dir);
        let ready = wait::until(START, || process.ended().is_some() || node.is_healthy());
        if !ready || process.ended().is_some() {
            let words = process.last_words();
            return Err(format!("elasticsearch is not ready within {START:?}:\n{words}"));
        }
        node.process = Some(process);
        Ok(node)
    }

    fn configure(&self, distribution: &Path) -> std::io::Result<()> {
        let dir = self.dir.display();
        for part in ["config", "logs", "data", "tmp"] {
            fs::create_dir_all(self.dir.join(part))?;
        }
        let config = self.dir.join("config");
        for entry in fs::read_dir(distribution.join("config"))? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                fs::copy(entry.path(), config.join(entry.file_name()))?;
            }
        }
        fs::write(config.join("jvm.options"), JVM)?;
        let settings = format!(
            "cluster.name: rig\nnode.name: rig-1\nnetwork.host: 127.0.0.1\ndiscovery.type: single-node\n\
             cluster.routing.allocation.disk.threshold_enabled: false\n\
             indexing_pressure.memory.limit: 50%\nindices.breaker.total.use_real_memory: false\n\
             http.port: {}\ntransport.port: {}\npath.data: {dir}/data\npath.logs: {dir}/logs\n",
            self.port,
            port::free(),
        );
        fs::write(config.join("elasticsearch.yml"), settings)?;
        if ground::am_root() {
            give_away(&self.dir)?;
        }
        Ok(())
    }

    fn is_healthy(&self) -> bool {
        let ask = || -> std::io::Result<String> {
            let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
            stream.set_read_timeout(Some(Duration::from_secs(5)))?;
            stream.write_all(
                b"GET /_cluster/health?wait_for_status=yellow&timeout=2s HTTP/1.0\r\n\r\n",
            )?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer)
        };
        ask().is_ok_and(|answer| answer.lines().next().is_some_and(|line| line.contains(" 200 ")))
    }
}

impl Drop for Elasticsearch {
    fn drop(&mut self) {
        self.process.take();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

fn distribution() -> Result<PathBuf, String> {
    let name = format!("elasticsearch-{VERSION}");
    let home = ground::home_for_others().join(&name);
    ground::once(&home, |home| {
        java::unpack(SERVER, home)?;
        let jars = home.join("jars");
        let artifacts: Vec<[Artifact; 1]> = MODULES
            .iter()
            .map(|module| [Artifact { group: GROUP, name: module.name, version: VERSION }])
            .collect();
        let sets: Vec<(&str, &[Artifact])> = MODULES
            .iter()
            .zip(&artifacts)
            .map(|(module, artifact)| (module.name, artifact.as_slice()))
            .collect();
        java::jars(&jars, &sets)?;
        let server = home.join(&name);
        let furnish = || -> std::io::Result<()> {
            for module in MODULES {
                put_in(module, &jars.join(module.name), &server)?;
            }
            for entry in fs::read_dir(server.join("bin"))? {
                fs::set_permissions(entry?.path(), fs::Permissions::from_mode(0o755))?;
            }
            fs::remove_dir_all(&jars)
        };
        furnish().map_err(|error| format!("modules of elasticsearch: {error}"))?;
        open_for_others(home).map_err(|error| format!("{}: {error}", home.display()))
    })?;
    Ok(home.join(name))
}

/// Lays a module beside the server's own; jars that the server has already are left out, since it
/// refuses to start with two of one kind.
fn put_in(module: &Module, jars: &Path, server: &Path) -> std::io::Result<()> {
    let dir = server.join("modules").join(module.name);
    fs::create_dir_all(&dir)?;
    let own: Vec<String> = fs::read_dir(server.join("lib"))?
        .filter_map(|entry| Some(stem(&entry.ok()?.file_name().to_string_lossy()).to_owned()))
        .collect();
    for entry in fs::read_dir(jars)? {
        let entry = entry?;
        let name = entry.file_name();
        if !own.iter().any(|stem_of_own| stem_of_own == stem(&name.to_string_lossy())) {
            fs::copy(entry.path(), dir.join(name))?;
        }
    }
    let Module { name, class, extends, policy } = module;
    let descriptor = format!(
        "description={name}\nversion={VERSION}\nname={name}\nclassname=org.elasticsearch.{class}\n\
         java.version=1.8\nelasticsearch.version={VERSION}\nextended.plugins={extends}\n\
         has.native.controller=false\n"
    );
    fs::write(dir.join("plugin-descriptor.properties"), descriptor)?;
    if !policy.is_empty() {
        fs::write(dir.join("plugin-security.policy"), format!("grant {{ {policy} }};\n"))?;
    }
    Ok(())
}

/// The name of a jar without its version.
fn stem(jar: &str) -> &str {
    let version = jar
        .match_indices('-')
        .find(|(at, _)| jar[at + 1..].starts_with(|c: char| c.is_ascii_digit()));
    version.map_or(jar, |(at, _)| &jar[..at])
}

fn give_away(dir: &Path) -> std::io::Result<()> {
    chown(dir, Some(NOBODY), Some(NOGROUP))?;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            give_away(&entry.path())?;
        } else {
            chown(entry.path(), Some(NOBODY), Some(NOGROUP))?;
        }
    }
    Ok(())
}

fn open_for_others(dir: &Path) -> std::io::Result<()> {
    fs::set_permissions(dir, fs::Permissions::from_mode(0o755))?;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            open_for_others(&entry.path())?;
        } else {
            let mode = entry.metadata()?.permissions().mode();
            fs::set_permissions(entry.path(), fs::Permissions::from_mode(mode | 0o444))?;
        }
    }
    Ok(())
}

struct Module {
    name: &'static str,
    class: &'static str,
    extends: &'static str,
    policy: &'static str,
}

const fn module(name: &'static str, class: &'static str) -> Module {
    Module { name, class, extends: "", policy: "" }
}

const VERSION: &str = "7.10.2";
const GROUP: &str = "org.codelibs.elasticsearch.module";
const SERVER: Artifact = Artifact {
    group: "org.elasticsearch.distribution.integ-test-zip",
    name: "elasticsearch",
    version: VERSION,
};
const MODULES: &[Module] = &[
    module("aggs-matrix-stats", "search.aggregations.matrix.MatrixAggregationPlugin"),
    Module {
        extends: "lang-painless",
        ..module("analysis-common", "analysis.common.CommonAnalysisPlugin")
    },
    Module {
        extends: "lang-painless",
        ..module("ingest-common", "ingest.common.IngestCommonPlugin")
    },
    Module {
        policy: "permission java.lang.RuntimePermission \"accessDeclaredMembers\";",
        ..module("lang-mustache", "script.mustache.MustachePlugin")
    },
    Module {
        policy: "permission java.lang.RuntimePermission \"createClassLoader\"; \
                 permission java.lang.RuntimePermission \"getClassLoader\";",
        ..module("lang-painless", "painless.PainlessPlugin")
    },
    module("mapper-extras", "index.mapper.MapperExtrasPlugin"),
    module("parent-join", "join.ParentJoinPlugin"),
    Module {
        policy: "permission java.net.SocketPermission \"*\", \"connect\"; \
                 permission java.net.NetPermission \"getProxySelector\";",
        ..module("reindex", "index.reindex.ReindexPlugin")
    },
];
const START: Duration = Duration::from_mins(2);
const NOBODY: u32 = 65_534;
const NOGROUP: u32 = 65_534;

/// A small heap, and nothing touched before it is used.
const JVM: &str = "-Xms1g
-Xmx1g
-XX:+UseSerialGC
-Djava.io.tmpdir=${ES_TMPDIR}
";

#[test]
fn a_document_is_indexed_and_found() {
    use super::client::{Client, bare, request};
    if !super::services::wanted("a_document_is_indexed_and_found") {
        return;
    }
    let node = Elasticsearch::shared();
    let mut client = Client::connect(node.port());
    let mut put = request("PUT", "/rig/_doc/1?refresh=true", br#"{"a":"x y"}"#);
    let json = b"Content-Type: application/json\r\n";
    let at = memchr::memmem::find(&put, b"\r\n").unwrap() + 2;
    put.splice(at..at, json.iter().copied());
    assert_eq!(client.ask(&put).status(), 201);
    let found = client.ask(&bare("GET", "/rig/_search?q=a:y"));
    assert!(found.text().contains(r#""_id":"1""#), "{}", found.text());
}
