//! One real node of Elasticsearch or `OpenSearch`, without security, and what stands in it.
//!
//! The distributions on Maven Central hold only the network transport; the modules that clients
//! use all day are put in beside it, each with a descriptor of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use super::client::try_connect;
use super::java::{self, Artifact};
use super::message::Message;
use super::process::Process;
use super::{ground, port, wait};

/// One running node. Dropping it kills the node and removes its data.
#[derive(Debug)]
pub(crate) struct Cluster {
    process: Option<Process>,
    dir: PathBuf,
    port: u16,
    kind: &'static Kind,
}

/// What tells one server from another.
#[derive(Debug)]
pub(crate) struct Kind {
    /// `elasticsearch` or `opensearch`, as in names of files and packages.
    pub(crate) name: &'static str,
    /// How its own environment variables begin.
    pub(crate) variables: &'static str,
    pub(crate) server: Artifact,
    pub(crate) modules: &'static [Module],
}

/// A module that the distribution lacks.
#[derive(Debug)]
pub(crate) struct Module {
    pub(crate) name: &'static str,
    /// The jar, and what else must lie beside it.
    pub(crate) artifacts: &'static [Artifact],
    /// The class of the plugin, below the server's package.
    pub(crate) class: &'static str,
    pub(crate) extends: &'static str,
    pub(crate) policy: &'static str,
}

/// All that stands in the indices of a prefix.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct State {
    pub(crate) indices: BTreeSet<String>,
    /// Index, id: the source, and the routing where there is one.
    pub(crate) documents: BTreeMap<(String, String), Value>,
}

impl Cluster {
    /// Starts a node and waits until it answers.
    pub(crate) fn start(kind: &'static Kind) -> Result<Self, String> {
        let java = java::home(11, 17)?;
        let distribution = distribution(kind)?;
        let dir = ground::run_dir(&ground::home_for_others(), kind.name);
        let mut node = Self { process: None, dir, port: port::free(), kind };
        node.configure(&distribution)
            .map_err(|error| format!("{}: {error}", node.dir.display()))?;
        let variable = |suffix: &str| format!("{}_{suffix}", kind.variables);
        let mut command = Command::new(distribution.join("bin").join(kind.name));
        command
            .env_remove("JAVA_OPTS")
            .env_remove("JAVA_TOOL_OPTIONS")
            .env("JAVA_HOME", java)
            .env(variable("PATH_CONF"), node.dir.join("config"))
            .env(variable("TMPDIR"), node.dir.join("tmp"))
            .env("HOME", node.dir.join("tmp"))
            .current_dir(node.dir.join("tmp"));
        if ground::am_root() {
            // The servers refuse to run as root.
            command.uid(NOBODY).gid(NOGROUP);
        }
        let mut process = Process::spawn(&mut command, &node.dir.join("stdout.log"), &node.dir);
        let ready = wait::until(START, || process.ended().is_some() || node.is_healthy());
        if !ready || process.ended().is_some() {
            let words = process.last_words();
            return Err(format!("{} is not ready within {START:?}:\n{words}", kind.name));
        }
        node.process = Some(process);
        Ok(node)
    }

    /// The jars of its HTTP layer, without starting anything.
    pub(crate) fn http_jars(kind: &Kind) -> Result<PathBuf, String> {
        Ok(distribution(kind)?.join("modules/transport-netty4"))
    }

    /// Port of its HTTP interface on 127.0.0.1.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Asks on a connection of its own; panics when there is no answer.
    pub(crate) fn ask(&self, method: &str, target: &str, body: &str) -> Message {
        self.try_ask(method, target, body)
            .unwrap_or_else(|error| panic!("{}: {method} {target}: {error}", self.kind.name))
    }

    /// Deletes all indices whose names begin with `prefix`.
    pub(crate) fn wipe(&self, prefix: &str) {
        let answer = self.ask("DELETE", &format!("/{prefix}*?expand_wildcards=all"), "");
        assert_eq!(answer.status(), 200, "{}", answer.text());
    }

    /// All that stands in the indices whose names begin with `prefix`, as of now.
    pub(crate) fn state(&self, prefix: &str) -> State {
        self.json("POST", &format!("/{prefix}*/_refresh"), "");
        let names = self.json("GET", &format!("/_cat/indices/{prefix}*?format=json&h=index"), "");
        let mut state = State::default();
        for row in names.as_array().into_iter().flatten() {
            state.indices.insert(row["index"].as_str().unwrap_or_default().to_owned());
        }
        if state.indices.is_empty() {
            return state;
        }
        let all = r#"{"sort":["_doc"],"size":2000}"#;
        let mut page = self.json("POST", &format!("/{prefix}*/_search?scroll=1m"), all);
        loop {
            let failed = page["_shards"]["failed"].as_u64();
            assert_eq!(failed, Some(0), "{}: a shard does not answer: {page}", self.kind.name);
            let hits = page["hits"]["hits"].as_array().expect("a page has hits");
            let scroll = page["_scroll_id"].as_str().expect("a page has a scroll").to_owned();
            if hits.is_empty() {
                self.json("DELETE", "/_search/scroll", &json!({"scroll_id": scroll}).to_string());
                return state;
            }
            for hit in hits {
                let key = |name: &str| hit[name].as_str().unwrap_or_default().to_owned();
                let mut document = json!({"source": hit["_source"]});
                if let Some(routing) = hit.get("_routing") {
                    document["routing"] = routing.clone();
                }
                let before = state.documents.insert((key("_index"), key("_id")), document);
                assert_eq!(before, None, "a document is found twice: {hit}");
            }
            let next = json!({"scroll": "1m", "scroll_id": scroll}).to_string();
            page = self.json("POST", "/_search/scroll", &next);
        }
    }

    fn json(&self, method: &str, target: &str, body: &str) -> Value {
        let answer = self.ask(method, target, body);
        let text = answer.text();
        assert_eq!(answer.status(), 200, "{}: {method} {target}: {text}", self.kind.name);
        serde_json::from_str(&text).expect("an answer is JSON")
    }

    fn try_ask(&self, method: &str, target: &str, body: &str) -> std::io::Result<Message> {
        let length = body.len();
        let mut client = try_connect(self.port)?;
        client.try_send(
            format!(
                "{method} {target} HTTP/1.1\r\nHost: rig\r\nContent-Type: application/json\r\n\
                 Content-Length: {length}\r\n\r\n{body}"
            )
            .as_bytes(),
        )?;
        client.try_response(method)
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
        fs::write(config.join("jvm.options"), JVM.replace("TMPDIR", &format!("{dir}/tmp")))?;
        let settings = format!(
            "cluster.name: rig\nnode.name: rig-1\nnetwork.host: 127.0.0.1\ndiscovery.type: single-node\n\
             cluster.routing.allocation.disk.threshold_enabled: false\n\
             indexing_pressure.memory.limit: 50%\nindices.breaker.total.use_real_memory: false\n\
             http.port: {}\ntransport.port: {}\npath.data: {dir}/data\npath.logs: {dir}/logs\n",
            self.port,
            port::free(),
        );
        fs::write(config.join(format!("{}.yml", self.kind.name)), settings)?;
        if ground::am_root() {
            give_away(&self.dir)?;
        }
        Ok(())
    }

    fn is_healthy(&self) -> bool {
        let asked = "/_cluster/health?wait_for_status=yellow&timeout=2s";
        self.try_ask("GET", asked, "").is_ok_and(|answer| answer.status() == 200)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.process.take();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

impl State {
    /// What differs from `other`: how much, and the first of it; `None` when both are equal.
    pub(crate) fn difference(&self, other: &Self) -> Option<String> {
        if self == other {
            return None;
        }
        let mut lines = Vec::new();
        for index in self.indices.symmetric_difference(&other.indices) {
            let side = if self.indices.contains(index) { "first" } else { "second" };
            lines.push(format!("index {index} only in the {side}"));
        }
        let keys: BTreeSet<_> = self.documents.keys().chain(other.documents.keys()).collect();
        for key in keys {
            let (one, two) = (self.documents.get(key), other.documents.get(key));
            if one != two {
                let shown = |document: Option<&Value>| {
                    document.map_or("(nothing)".to_owned(), ToString::to_string)
                };
                lines.push(format!(
                    "{key:?}\n    first  {}\n    second {}",
                    shown(one),
                    shown(two)
                ));
            }
        }
        let count = lines.len();
        lines.truncate(SHOWN);
        Some(format!(
            "{count} differences in {} and {} documents:\n  {}",
            self.documents.len(),
            other.documents.len(),
            lines.join("\n  ")
        ))
    }
}

fn distribution(kind: &Kind) -> Result<PathBuf, String> {
    let name = format!("{}-{}", kind.name, kind.server.version);
    let home = ground::home_for_others().join(&name);
    ground::once(&home, |home| {
        java::unpack(kind.server, home)?;
        let jars = home.join("jars");
        let sets: Vec<(&str, &[Artifact])> =
            kind.modules.iter().map(|module| (module.name, module.artifacts)).collect();
        java::jars(&jars, &sets)?;
        let server = home.join(&name);
        let furnish = || -> std::io::Result<()> {
            for module in kind.modules {
                put_in(kind, module, &jars.join(module.name), &server)?;
            }
            for entry in fs::read_dir(server.join("bin"))? {
                fs::set_permissions(entry?.path(), fs::Permissions::from_mode(0o755))?;
            }
            fs::remove_dir_all(&jars)
        };
        furnish().map_err(|error| format!("modules of {}: {error}", kind.name))?;
        open_for_others(home).map_err(|error| format!("{}: {error}", home.display()))
    })?;
    Ok(home.join(name))
}

/// Lays a module beside the server's own; jars that the server has already are left out, since it
/// refuses to start with two of one kind.
fn put_in(kind: &Kind, module: &Module, jars: &Path, server: &Path) -> std::io::Result<()> {
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
    let Module { name, class, extends, policy, .. } = module;
    let (family, version) = (kind.name, kind.server.version);
    let descriptor = format!(
        "description={name}\nversion={version}\nname={name}\nclassname=org.{family}.{class}\n\
         java.version=1.8\n{family}.version={version}\nextended.plugins={extends}\n\
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

/// Module policies that both servers need.
pub(crate) const POLICY_MUSTACHE: &str =
    "permission java.lang.RuntimePermission \"accessDeclaredMembers\";";
pub(crate) const POLICY_PAINLESS: &str = "permission java.lang.RuntimePermission \"createClassLoader\"; \
     permission java.lang.RuntimePermission \"getClassLoader\";";
pub(crate) const POLICY_CONNECT: &str = "permission java.net.SocketPermission \"*\", \"connect\"; \
     permission java.net.NetPermission \"getProxySelector\";";

const START: Duration = Duration::from_mins(2);
const NOBODY: u32 = 65_534;
const NOGROUP: u32 = 65_534;
/// Differences that a message shows.
const SHOWN: usize = 5;

/// A small heap, and nothing touched before it is used.
const JVM: &str = "-Xms1g
-Xmx1g
-XX:+UseSerialGC
-Djava.io.tmpdir=TMPDIR
";

#[test]
fn a_difference_of_states_is_told() {
    let of = |documents: &[(&str, i64)]| State {
        indices: BTreeSet::from(["i".to_owned()]),
        documents: documents
            .iter()
            .map(|(id, n)| (("i".to_owned(), (*id).to_owned()), json!({"source": {"n": n}})))
            .collect(),
    };
    let one = of(&[("1", 1), ("2", 2)]);
    assert_eq!(one.difference(&one.clone()), None);
    let told = one.difference(&of(&[("1", 1), ("2", 3), ("3", 3)])).unwrap();
    assert!(told.starts_with("2 differences in 2 and 3 documents"), "{told}");
    assert!(told.contains(r#""n":2"#) && told.contains("(nothing)"), "{told}");
    let empty = State::default().difference(&of(&[])).unwrap();
    assert!(empty.contains("index i only in the second"), "{empty}");
}
