//! Java and Maven: which runtime to use, and jars from Maven Central.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{process, services};

/// An artifact on Maven Central.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Artifact {
    pub(crate) group: &'static str,
    pub(crate) name: &'static str,
    pub(crate) version: &'static str,
}

/// The home of the newest Java runtime with a version in the given range, looked for on the `PATH`
/// and beside it.
pub(crate) fn home(oldest: u32, newest: u32) -> Result<PathBuf, String> {
    let java = services::program("java", INSTALL_JAVA)?;
    let own = java
        .canonicalize()
        .ok()
        .and_then(|file| Some(file.parent()?.parent()?.to_path_buf()))
        .ok_or("java is not in a directory of a Java runtime")?;
    let beside = own.parent().map(fs::read_dir).and_then(Result::ok).into_iter().flatten();
    beside
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|home| home.join("bin/java").is_file())
        .filter_map(|home| Some((version(&home)?, home)))
        .filter(|(version, _)| (oldest..=newest).contains(version))
        .max()
        .map(|(_, home)| home)
        .ok_or_else(|| {
            format!(
                "no Java between {oldest} and {newest} beside {}: {INSTALL_JAVA}",
                own.display()
            )
        })
}

/// Compiles and runs a program of `tests/clients` that is one file, with the jars of a directory; what it prints.
pub(crate) fn run(program: &str, jars: &Path, arguments: &[&str]) -> Result<String, String> {
    let home = home(11, 25)?;
    if !home.join("bin/javac").is_file() {
        return Err(format!("{} has no compiler: {INSTALL_JDK}", home.display()));
    }
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(program);
    let output = Command::new(home.join("bin/java"))
        .env_remove("JAVA_TOOL_OPTIONS")
        .args(["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp"])
        .arg(jars.join("*"))
        .arg(file)
        .args(arguments)
        .output()
        .map_err(|error| format!("java: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    Err(format!("{program} failed: {}", process::tail(&errors)))
}

/// Compiles one file of `tests/clients` with the jars of a directory; its classes go into a directory.
pub(crate) fn compile(program: &str, jars: &Path, into: &Path) -> Result<(), String> {
    let home = home(17, 99)?;
    let compiler = home.join("bin/javac");
    if !compiler.is_file() {
        return Err(format!("{} has no compiler: {INSTALL_JDK}", home.display()));
    }
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(program);
    let output = Command::new(compiler)
        .env_remove("JAVA_TOOL_OPTIONS")
        .args(["-J-Xmx256m", "-proc:none", "-cp"])
        .arg(jars.join("*"))
        .arg("-d")
        .arg(into)
        .arg(file)
        .output()
        .map_err(|error| format!("javac: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    Err(format!("{program} does not compile: {}", process::tail(&errors)))
}

/// Puts the jars of the artifacts and all they need into one directory each, in one Maven run:
/// `into/<key>/*.jar`.
pub(crate) fn jars(into: &Path, sets: &[(&str, &[Artifact])]) -> Result<(), String> {
    let scratch = into.join(".pom");
    let mut modules = String::new();
    for (key, artifacts) in sets {
        let mut dependencies = String::new();
        for Artifact { group, name, version } in *artifacts {
            write!(
                dependencies,
                "<dependency><groupId>{group}</groupId><artifactId>{name}</artifactId>\
                 <version>{version}</version></dependency>"
            )
            .expect("writing to a string cannot fail");
        }
        let pom = format!(
            "<project><modelVersion>4.0.0</modelVersion><parent><groupId>rig</groupId>\
             <artifactId>rig</artifactId><version>1</version></parent>\
             <artifactId>rig-{key}</artifactId><dependencies>{dependencies}</dependencies></project>"
        );
        store(&scratch.join(key).join("pom.xml"), &pom)?;
        write!(modules, "<module>{key}</module>").expect("writing to a string cannot fail");
    }
    let pom = format!(
        "<project><modelVersion>4.0.0</modelVersion><groupId>rig</groupId>\
         <artifactId>rig</artifactId><version>1</version><packaging>pom</packaging>\
         <modules>{modules}</modules></project>"
    );
    store(&scratch.join("pom.xml"), &pom)?;
    maven(
        &scratch,
        &[
            "dependency:copy-dependencies",
            "-DincludeScope=runtime",
            "-DoutputDirectory=${project.basedir}/jars",
        ],
    )?;
    for (key, _) in sets {
        let failed = |error| format!("jars of {key}: {error}");
        fs::rename(scratch.join(key).join("jars"), into.join(key)).map_err(failed)?;
    }
    fs::remove_dir_all(&scratch).map_err(|error| format!("{}: {error}", scratch.display()))
}

/// Unpacks a zip artifact into a directory.
pub(crate) fn unpack(artifact: Artifact, into: &Path) -> Result<(), String> {
    let Artifact { group, name, version } = artifact;
    maven(
        into,
        &[
            "dependency:unpack",
            &format!("-Dartifact={group}:{name}:{version}:zip"),
            &format!("-DoutputDirectory={}", into.display()),
        ],
    )
}

/// Maven leaves markers of what it has unpacked in the directory it runs in.
fn maven(dir: &Path, arguments: &[&str]) -> Result<(), String> {
    services::program("java", INSTALL_JAVA)?;
    let program = services::program("mvn", "apt-get install maven")?;
    let output = Command::new(program)
        .args(["-B", "-q"])
        .args(arguments)
        .current_dir(dir)
        .output()
        .map_err(|error| format!("mvn: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let printed = String::from_utf8_lossy(&output.stdout);
    Err(format!("mvn could not resolve {arguments:?}:\n{}", process::tail(&printed)))
}

fn version(home: &Path) -> Option<u32> {
    let release = fs::read_to_string(home.join("release")).ok()?;
    let line = release.lines().find_map(|line| line.strip_prefix("JAVA_VERSION=\""))?;
    let line = line.strip_prefix("1.").unwrap_or(line);
    line.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

fn store(file: &Path, text: &str) -> Result<(), String> {
    let dir = file.parent().expect("invariant: a file lies in a directory");
    fs::create_dir_all(dir)
        .and_then(|()| fs::write(file, text))
        .map_err(|error| format!("{}: {error}", file.display()))
}

const INSTALL_JAVA: &str = "apt-get install openjdk-17-jre-headless";
const INSTALL_JDK: &str = "apt-get install openjdk-17-jdk-headless";
