//! `tapline replay`, started as a user would, and the summary it leaves.
//!
//! What this rig takes for granted about its command line and its summary stands here alone:
//! [`Replay::to`] and [`Summary::read`].

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use super::ground;
use super::kafka::Kafka;
use super::process::Process;
use super::tapline::program;

/// How to start `tapline replay`.
#[derive(Clone, Debug)]
pub(crate) struct Replay {
    arguments: Vec<OsString>,
    state: PathBuf,
    stdin: Option<PathBuf>,
}

/// A running `tapline replay`. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Replayer {
    process: Process,
    scratch: TempDir,
}

/// What a finished run left.
#[derive(Clone, Debug)]
pub(crate) struct Replayed {
    /// Exit code; `None` after a signal.
    pub(crate) code: Option<i32>,
    /// What it printed, both streams.
    pub(crate) output: String,
    /// `None` when it wrote none, as after `kill -9`.
    pub(crate) summary: Option<Summary>,
}

/// The counts of one run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    pub(crate) overlaps_by_answer: u64,
    pub(crate) overlaps_by_capture: u64,
    pub(crate) order_cycles: u64,
    pub(crate) late_writes: u64,
    pub(crate) bulk_parts: u64,
    pub(crate) possible_duplicates: u64,
    pub(crate) read_records: u64,
    pub(crate) requests: u64,
    pub(crate) sent: u64,
    pub(crate) done: u64,
    pub(crate) failed: u64,
    pub(crate) quarantined: u64,
    pub(crate) duplicates_skipped: u64,
    pub(crate) retries: u64,
}

impl Replay {
    /// To a port on 127.0.0.1, as fast as it allows, with a state directory that the test keeps.
    pub(crate) fn to(target: u16, state: &Path) -> Self {
        Self::to_url(&format!("http://127.0.0.1:{target}"), state)
    }

    /// The same by URL.
    pub(crate) fn to_url(target: &str, state: &Path) -> Self {
        ground::close(state);
        let arguments = ["replay", "--speedup", "max"].map(OsString::from);
        Self { arguments: arguments.to_vec(), state: state.to_path_buf(), stdin: None }
            .flag("--target", target)
            .flag("--state-dir", &state.to_string_lossy())
            .switch("--no-replay-marker")
    }

    /// Marks what is sent, as a replay does when it is not told otherwise.
    pub(crate) fn marked(mut self) -> Self {
        self.arguments.retain(|argument| argument != "--no-replay-marker");
        self
    }

    /// At this many times the captured speed instead of as fast as it allows.
    pub(crate) fn speed(mut self, factor: &str) -> Self {
        for argument in &mut self.arguments {
            if argument == "max" {
                *argument = factor.into();
            }
        }
        self
    }

    /// Adds a flag with a value.
    pub(crate) fn flag(mut self, name: &str, value: &str) -> Self {
        self.arguments.extend([name.into(), value.into()]);
        self
    }

    /// Adds a flag without a value.
    pub(crate) fn switch(mut self, name: &str) -> Self {
        self.arguments.push(name.into());
        self
    }

    /// From a capture log, to its end.
    pub(crate) fn log(self, dir: &Path) -> Self {
        self.flag("--log", &dir.to_string_lossy()).switch("--until-end")
    }

    /// From a topic.
    pub(crate) fn kafka(self, kafka: &Kafka, topic: &str, group: &str) -> Self {
        self.flag("--kafka-brokers", &kafka.brokers())
            .flag("--kafka-topic", topic)
            .flag("--group", group)
    }

    /// From a file of records, to its end.
    pub(crate) fn input(self, file: &Path) -> Self {
        self.flag("--input", &file.to_string_lossy())
    }

    /// From standard input, a pipe that a file is poured into.
    pub(crate) fn stdin(mut self, file: &Path) -> Self {
        self.stdin = Some(file.to_path_buf());
        self.flag("--input", "-")
    }

    /// Starts it.
    pub(crate) fn start(&self) -> Replayer {
        let scratch = tempfile::tempdir().expect("the temporary directory is writable");
        let summary = scratch.path().join(SUMMARY);
        let tapline = program();
        let mut command = match &self.stdin {
            None => program(),
            Some(file) => {
                let mut shell = Command::new("sh");
                shell.args(["-c", r#"cat "$0" | "$@""#]).arg(file).arg(tapline.get_program());
                for (name, _) in tapline.get_envs().filter(|(_, value)| value.is_none()) {
                    shell.env_remove(name);
                }
                shell
            }
        };
        command.args(&self.arguments).arg("--summary").arg(summary);
        if !self.arguments.iter().any(|argument| argument == "--admin") {
            command.args(["--admin", "off"]);
        }
        let log = scratch.path().join(OUTPUT);
        Replayer { process: Process::spawn(&mut command, &log, scratch.path()), scratch }
    }

    /// Runs it to its end.
    pub(crate) fn run(&self) -> Replayed {
        self.start().wait()
    }

    /// Runs it to its end; panics unless it ends with 0. Its summary.
    pub(crate) fn succeed(&self) -> Summary {
        self.run().success()
    }

    /// Runs it to its end; panics when that is not a refusal with this code. What it said.
    pub(crate) fn refusal(&self, code: i32) -> String {
        let replayed = self.run();
        assert_eq!(replayed.code, Some(code), "{}", replayed.output);
        assert!(!replayed.output.trim().is_empty(), "a refusal says what to do");
        replayed.output
    }

    /// All files below its quarantine as one text, names before contents.
    pub(crate) fn quarantine(&self) -> String {
        all_below(&self.state.join("quarantine"))
    }
}

impl Replayer {
    /// What it has printed so far.
    pub(crate) fn output(&self) -> String {
        let bytes = fs::read(self.scratch.path().join(OUTPUT)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Whether it still runs.
    pub(crate) fn runs(&mut self) -> bool {
        self.process.ended().is_none()
    }

    /// Waits for its end.
    pub(crate) fn wait(mut self) -> Replayed {
        let Some(status) = self.process.ended_within(RUN) else {
            panic!("tapline replay does not end within {RUN:?}:\n{}", self.output());
        };
        let summary = Summary::read(&self.scratch.path().join(SUMMARY));
        Replayed { code: status.code(), output: self.output(), summary }
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Sends SIGTERM and waits; panics unless it ends with 0. Its summary.
    pub(crate) fn stop(self) -> Summary {
        self.process.signal(Signal::TERM);
        self.wait().success()
    }

    /// Kills it as a power failure would; whether it was still at work.
    pub(crate) fn kill(mut self) -> bool {
        let runs = self.runs();
        self.process.kill();
        runs
    }
}

impl Replayed {
    /// Panics unless it ended with 0. Its summary.
    pub(crate) fn success(self) -> Summary {
        assert_eq!(self.code, Some(0), "tapline replay failed:\n{}", self.output);
        self.summary.unwrap_or_else(|| panic!("there is no summary:\n{}", self.output))
    }
}

impl Summary {
    /// The file that `--summary FILE` names: one JSON object.
    fn read(file: &Path) -> Option<Self> {
        let text = fs::read_to_string(file).ok()?;
        let summary: Value = serde_json::from_str(&text).expect("a summary is JSON");
        let count = |name: &str| {
            summary[name].as_u64().unwrap_or_else(|| panic!("no count {name:?} in {summary}"))
        };
        Some(Self {
            overlaps_by_answer: summary["overlaps_by_answer"].as_u64().unwrap_or(0),
            overlaps_by_capture: summary["overlaps_by_capture"].as_u64().unwrap_or(0),
            order_cycles: summary["order_cycles"].as_u64().unwrap_or(0),
            late_writes: count("late_writes"),
            bulk_parts: summary["bulk_parts"].as_u64().unwrap_or(0),
            possible_duplicates: summary["possible_duplicates"].as_u64().unwrap_or(0),
            read_records: count("read_records"),
            requests: count("requests"),
            sent: count("sent"),
            done: count("done"),
            failed: count("failed"),
            quarantined: count("quarantined"),
            duplicates_skipped: count("duplicates_skipped"),
            retries: count("retries"),
        })
    }
}

fn all_below(dir: &Path) -> String {
    use std::io::Read;
    let mut text = String::new();
    let Ok(entries) = fs::read_dir(dir) else { return text };
    for entry in entries.filter_map(Result::ok) {
        let path = entry.path();
        if path.is_dir() {
            text.push_str(&all_below(&path));
            continue;
        }
        let bytes = fs::read(&path).unwrap_or_default();
        let mut plain = Vec::new();
        // What is being written may end in the middle of a member.
        let _ = flate2::read::MultiGzDecoder::new(&bytes[..]).read_to_end(&mut plain);
        let content = if bytes.starts_with(&[0x1f, 0x8b]) { &plain } else { &bytes };
        text.push_str(&path.to_string_lossy());
        text.push('\n');
        text.push_str(&String::from_utf8_lossy(content));
        text.push('\n');
    }
    text
}

const SUMMARY: &str = "summary.json";
const OUTPUT: &str = "output";
const RUN: Duration = Duration::from_mins(10);

#[test]
fn a_summary_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("s");
    assert_eq!(Summary::read(&file), None);
    let counts = r#"{"read_records":9,"requests":8,"sent":7,"done":6,"failed":5,"quarantined":4,
        "duplicates_skipped":3,"retries":2,"late_writes":10,"lag_s":0.5}"#;
    fs::write(&file, counts).unwrap();
    let summary = Summary::read(&file).unwrap();
    assert_eq!((summary.read_records, summary.sent, summary.retries), (9, 7, 2));
    fs::write(&file, "{}").unwrap();
    assert!(std::panic::catch_unwind(|| Summary::read(&file)).is_err());
}
