//! `--check`: what a start would find, without starting or changing anything.

use std::{fmt, net::TcpStream, path::Path, time::Duration};

use super::{checks, sinks};
use crate::{
    admin::Door,
    config::{
        AdminConfig, CaptureConfig, DoctorConfig, Effective, Loaded,
        replay::{Input, ReplayConfig},
    },
    doctor::{self, Finding},
    kafka::Access,
    net::SourceUrl,
    observe::Failure,
    sys::{disk, limits, tree::Tree},
};

/// How long a peer may take to be connected to.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// What was found; printed line by line.
#[derive(Debug, Default)]
pub(super) struct Findings {
    lines: Vec<(Grade, &'static str, String)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Grade {
    Fine,
    /// It would start, but somebody should know.
    Note,
    Fails,
}

impl Findings {
    pub(super) fn add(&mut self, what: &'static str, result: Result<String, String>) {
        match result {
            Ok(text) => self.lines.push((Grade::Fine, what, text)),
            Err(text) => self.lines.push((Grade::Fails, what, text)),
        }
    }

    pub(super) fn note(&mut self, what: &'static str, text: String) {
        self.lines.push((Grade::Note, what, text));
    }

    fn count(&self, grade: Grade) -> usize {
        self.lines.iter().filter(|(found, ..)| *found == grade).count()
    }

    /// Prints settings and findings; an error when a start would fail.
    fn conclude(&self, effective: &Effective) -> Result<(), Failure> {
        println!("settings\n{effective}\nwhat a start would find\n{self}");
        match self.count(Grade::Fails) {
            0 => Ok(()),
            1 => Err(Failure::configuration("it would not start: see the line with FAILS above")),
            n => Err(Failure::configuration(format!(
                "it would not start: see the {n} lines with FAILS above"
            ))),
        }
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (grade, what, text) in &self.lines {
            let grade = match grade {
                Grade::Fine => "ok",
                Grade::Note => "note",
                Grade::Fails => "FAILS",
            };
            writeln!(f, "{grade:5}  {what:10}  {text}")?;
        }
        Ok(())
    }
}

/// What `tapline capture` would find.
pub fn capture(loaded: &Loaded<CaptureConfig>) -> Result<(), Failure> {
    let config = &loaded.config;
    let mut found = Findings::default();
    found.add("tls", super::capture::check_tls(config).map_err(|failure| failure.to_string()));
    host(&mut found, checks::descriptors());
    state_dir(&mut found, &config.state_dir);
    peer(&mut found, "source", &config.source);
    match checks::doors(config, 1, None) {
        Ok(_) => found.add("listen", Ok("the addresses are free".into())),
        Err(failure) => busy(&mut found, "listen", failure.to_string()),
    }
    admin(&mut found, &config.admin);
    if let Some(dir) = config.log_dir().filter(|_| config.kafka.is_none()) {
        space(&mut found, "log", &dir);
    }
    if let Some(kafka) = &config.kafka {
        found.add(
            "kafka",
            told(sinks::check_kafka(config, kafka), "the topic is there, or no broker answers yet"),
        );
    }
    surroundings(&mut found, config);
    found.conclude(&loaded.effective)
}

/// What doctor finds beyond what a start looks at: it would start, but somebody should know. Neither the source nor
/// Kafka is asked anything; that is left to doctor itself.
fn surroundings(found: &mut Findings, config: &CaptureConfig) {
    let config = DoctorConfig { source: None, kafka: None, ..config.into() };
    let looked_at = ["kernel", "io_uring", "listen", "state.directory"];
    for finding in doctor::examine(&config, &Tree::default()) {
        let Finding { check, status, detail, fix } = finding;
        if status != doctor::Status::Ok && !looked_at.contains(&check.as_str()) {
            found.note("doctor", format!("{check}: {detail}; fix: {fix}"));
        }
    }
}

/// What `tapline replay` would find.
pub fn replay(loaded: &Loaded<ReplayConfig>) -> Result<(), Failure> {
    let config = &loaded.config;
    let mut found = Findings::default();
    host(&mut found, checks::descriptors_for_replay());
    state_dir(&mut found, &config.state_dir);
    peer(&mut found, "target", &config.target);
    admin(&mut found, &config.admin);
    let input = match &config.input {
        Input::Log(dir) if dir.is_dir() => Ok(format!("the capture log {}", dir.display())),
        Input::Log(dir) => Err(format!(
            "there is no capture log {}; name it with --log, or start tapline capture first",
            dir.display()
        )),
        Input::File(path) if path.is_file() => Ok(format!("the file {}", path.display())),
        Input::File(path) => Err(format!("there is no file {}", path.display())),
        Input::Stdin => Ok("the standard input".into()),
        Input::Kafka(kafka) => Ok(format!("the topic {} of {}", kafka.topic, kafka.brokers)),
    };
    found.add("input", input);
    if let Input::Kafka(kafka) = &config.input {
        let (access, warnings) = match Access::with_warnings(kafka) {
            Ok((_, warnings)) => (Ok("files of the Kafka client can be read".into()), warnings),
            Err(failure) => (Err(failure.to_string()), Vec::new()),
        };
        found.add("kafka", access);
        for warning in warnings {
            found.note("kafka", warning);
        }
    }
    let rewriting = super::replay::check_rewriting(config);
    found.add("rewriting", told(rewriting, "transforms and filters can be read"));
    found.conclude(&loaded.effective)
}

fn told(result: Result<(), Failure>, fine: &str) -> Result<String, String> {
    result.map(|()| fine.to_owned()).map_err(|failure| failure.to_string())
}

fn host(found: &mut Findings, descriptors: Result<(), Failure>) {
    if let Err(failure) = checks::user() {
        found.add("user", Err(failure.to_string()));
    }
    found.add("kernel", told(checks::rings(), "io_uring can be used"));
    let memory = limits::memory_bytes() >> 20;
    found.add("memory", Ok(format!("{memory} MiB")));
    found.add("files", told(descriptors, "enough may be open"));
}

fn state_dir(found: &mut Findings, dir: &Path) {
    if dir.exists() {
        let result = crate::sys::state::prepare(dir);
        found.add("state", result.map(|()| format!("{} is ours", dir.display())));
        return;
    }
    let above =
        dir.ancestors().skip(1).find(|above| above.as_os_str().is_empty() || above.exists());
    let text = format!("{} will be made", dir.display());
    found.add(
        "state",
        above.map(|_| text).ok_or_else(|| format!("{} cannot be made", dir.display())),
    );
}

fn peer(found: &mut Findings, what: &'static str, url: &SourceUrl) {
    let addresses = match url.resolve() {
        Ok(addresses) => addresses,
        Err(error) => {
            found.add(what, Err(format!("the name of {url} cannot be resolved: {error}")));
            return;
        }
    };
    let connect = |address| TcpStream::connect_timeout(address, CONNECT_TIMEOUT);
    match addresses
        .iter()
        .map(connect)
        .find(Result::is_ok)
        .or_else(|| addresses.first().map(connect))
    {
        Some(Ok(_)) => found.add(what, Ok(format!("{url} takes connections"))),
        Some(Err(error)) => found.note(what, format!("{url} takes no connection now: {error}")),
        None => found.note(what, format!("{url} has no address")),
    }
}

fn admin(found: &mut Findings, config: &AdminConfig) {
    match checks::admin(config, false) {
        Ok(Door::Busy(address)) => {
            found.note("admin", format!("{address} is in use, and will be waited for"));
        }
        Ok(door) => found.add("admin", Ok(door.to_string())),
        Err(failure) => busy(found, "admin", failure.to_string()),
    }
}

/// An address in use is no fault of the settings: the tapline that is to be reloaded may be the one that uses it.
fn busy(found: &mut Findings, what: &'static str, text: String) {
    if text.contains("in use") {
        found.note(what, text);
    } else {
        found.add(what, Err(text));
    }
}

fn space(found: &mut Findings, what: &'static str, dir: &Path) {
    let below = dir.ancestors().find(|above| above.is_dir());
    match disk::space(below.unwrap_or(Path::new("."))) {
        Ok(space) => {
            let text = format!("{}, with {} MiB free", dir.display(), space.free_bytes >> 20);
            found.add(what, Ok(text));
        }
        Err(error) => found.note(what, format!("{}: {error}", dir.display())),
    }
}
