//! The program under test, started with arguments as a user would.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;

use super::process::Process;
use super::topics::Topics;
use super::{ground, port, wait};

/// How to start `tapline capture`.
#[derive(Debug)]
pub(crate) struct Capture {
    port: u16,
    /// The port of its admin endpoint; 0: it has none.
    admin: u16,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    launcher: Vec<OsString>,
    program: OsString,
    state: State,
}

/// A running `tapline capture` that accepts connections. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Tapline {
    process: Process,
    port: u16,
    admin: u16,
    state: State,
    stderr: PathBuf,
    _scratch: TempDir,
}

/// What a finished run left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// Exit code; `None` after a signal.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A state directory: of the rig, or given by the test.
#[derive(Debug)]
enum State {
    Own(TempDir),
    Given(PathBuf),
    AsItIs(PathBuf),
}

impl Capture {
    /// In front of a port on 127.0.0.1, plaintext, with a state directory of its own.
    pub(crate) fn of(source: u16) -> Self {
        Self::on(port::free(), source)
    }

    /// As [`Self::of`], listening on this port.
    pub(crate) fn on(port: u16, source: u16) -> Self {
        Self::at(port, &format!("http://127.0.0.1:{source}")).flag("--tls", "off")
    }

    /// As [`Self::of`], in front of a URL.
    pub(crate) fn to(source: &str) -> Self {
        Self::secure_to(source).flag("--tls", "off")
    }

    /// As [`Self::of`], with the TLS that clients get when nothing is said about it.
    pub(crate) fn secure(source: u16) -> Self {
        Self::secure_to(&format!("http://127.0.0.1:{source}"))
    }

    /// As [`Self::secure`], in front of a URL.
    pub(crate) fn secure_to(source: &str) -> Self {
        Self::at(port::free(), source)
    }

    fn at(port: u16, source: &str) -> Self {
        let state = State::Own(tempfile::tempdir().expect("the temporary directory is writable"));
        let arguments = vec![OsString::from("capture")];
        let (environment, launcher) = (Vec::new(), Vec::new());
        let program = env!("CARGO_BIN_EXE_tapline").into();
        Self { port, admin: 0, arguments, environment, launcher, program, state }
            .flag("--source", source)
            .flag("--listen", &format!("127.0.0.1:{port}"))
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

    /// Sets a variable of its environment.
    pub(crate) fn variable(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Starts it by another program, which is given the command line behind its own arguments.
    pub(crate) fn under<S: AsRef<OsStr>>(mut self, launcher: &[S]) -> Self {
        self.launcher = launcher.iter().map(OsString::from).collect();
        self
    }

    /// Starts this file instead of the program itself.
    pub(crate) fn program(mut self, file: &Path) -> Self {
        self.program = file.into();
        self
    }

    /// Gives it an admin endpoint.
    pub(crate) fn admin(mut self) -> Self {
        self.admin = port::free();
        let address = format!("127.0.0.1:{}", self.admin);
        self.flag("--admin", &address)
    }

    /// Takes Kafka as the sink.
    pub(crate) fn kafka(self, kafka: &Topics, topic: &str) -> Self {
        self.flag("--kafka-brokers", &kafka.brokers()).flag("--kafka-topic", topic)
    }

    /// Lets held requests wait while Kafka does not take their records, for as long as it takes.
    pub(crate) fn blocking(self) -> Self {
        self.flag("--on-capture-unavailable", "block").flag("--hold-timeout", "1h")
    }

    /// Uses a state directory that outlives this process.
    pub(crate) fn state(mut self, dir: &Path) -> Self {
        self.state = State::Given(dir.to_path_buf());
        self
    }

    /// As [`Self::state`], but the directory keeps its mode.
    pub(crate) fn state_as_it_is(mut self, dir: &Path) -> Self {
        self.state = State::AsItIs(dir.to_path_buf());
        self
    }

    /// The port it will listen on.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Starts it and waits until it accepts connections; panics with what it said when it does not.
    pub(crate) fn start(self) -> Tapline {
        self.try_start().unwrap_or_else(|outcome| {
            panic!("tapline capture did not start (code {:?}):\n{}", outcome.code, outcome.stderr)
        })
    }

    /// As [`Self::start`], giving the outcome when it ends instead.
    pub(crate) fn try_start(self) -> Result<Tapline, Outcome> {
        let scratch = tempfile::tempdir().expect("the temporary directory is writable");
        let stderr = scratch.path().join("output");
        if !matches!(self.state, State::AsItIs(_)) {
            ground::close(self.state.path());
        }
        let mut command = file_under(&self.launcher, &self.program);
        command.args(&self.arguments).arg("--state-dir").arg(self.state.path());
        command.envs(self.environment.iter().cloned());
        if !self.arguments.iter().any(|argument| argument == "--admin") {
            command.args(["--admin", "off"]);
        }
        let mut process = Process::spawn(&mut command, &stderr, scratch.path());
        let accepts = wait::until(START, || {
            process.ended().is_some() || TcpStream::connect(("127.0.0.1", self.port)).is_ok()
        });
        if accepts && process.ended().is_none() {
            let Self { port, admin, state, .. } = self;
            return Ok(Tapline { process, port, admin, state, stderr, _scratch: scratch });
        }
        let code = process.kill().code();
        Err(Outcome { code, stdout: String::new(), stderr: read(&stderr) })
    }

    /// Runs it where it is expected to refuse; panics when it accepts connections instead.
    pub(crate) fn refusal(self) -> Outcome {
        match self.try_start() {
            Ok(tapline) => panic!("tapline capture started:\n{}", tapline.output()),
            Err(outcome) => outcome,
        }
    }
}

impl Tapline {
    /// The port it listens on.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The port of its admin endpoint.
    pub(crate) fn admin(&self) -> u16 {
        self.admin
    }

    /// Its capture log.
    pub(crate) fn log(&self) -> PathBuf {
        self.state.path().join("log")
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// What it has printed so far.
    pub(crate) fn output(&self) -> String {
        read(&self.stderr)
    }

    /// The last that it said of this counter.
    pub(crate) fn counter(&self, name: &str) -> u64 {
        let said = self.output().replace('\\', "");
        let rest = said.rsplit_once(&format!("\"{name}\":")).map(|(_, rest)| rest.to_owned());
        let rest = rest.unwrap_or_else(|| panic!("no word of {name}: {said}"));
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        rest[..digits].parse().expect("a counter is a number")
    }

    /// Whether it still runs.
    pub(crate) fn runs(&mut self) -> bool {
        self.process.ended().is_none()
    }

    /// Sends SIGTERM and goes on.
    pub(crate) fn ask_to_stop(&self) {
        self.process.signal(Signal::TERM);
    }

    /// Sends SIGHUP and goes on.
    pub(crate) fn hang_up(&self) {
        self.process.signal(Signal::HUP);
    }

    /// Waits for its end; the exit code.
    pub(crate) fn wait(&mut self) -> Option<i32> {
        let Some(status) = self.process.ended_within(STOP) else {
            panic!("tapline does not end within {STOP:?}:\n{}", self.output());
        };
        status.code()
    }

    /// Sends SIGTERM and waits; panics unless it ends with 0.
    pub(crate) fn stop(&mut self) {
        self.ask_to_stop();
        let code = self.wait();
        assert_eq!(code, Some(0), "tapline ended with {code:?}:\n{}", self.output());
    }

    /// Kills it as a power failure would.
    pub(crate) fn kill(&mut self) {
        self.process.kill();
    }
}

impl State {
    fn path(&self) -> &Path {
        match self {
            Self::Own(dir) => dir.path(),
            Self::Given(dir) | Self::AsItIs(dir) => dir,
        }
    }
}

/// Runs `tapline` with arguments to its end.
pub(crate) fn run(arguments: &[&str]) -> Outcome {
    let mut command = program();
    command.args(arguments);
    if let Some(at) = arguments.iter().position(|argument| *argument == "--state-dir") {
        ground::close(Path::new(arguments[at + 1]));
    }
    let output = tempfile::tempdir().expect("the temporary directory is writable");
    let (stdout, stderr) = (output.path().join("stdout"), output.path().join("stderr"));
    let mut process = Process::spawn_apart(&mut command, &stdout, &stderr, output.path());
    let code = match process.ended_within(RUN) {
        Some(status) => status.code(),
        None => panic!("tapline {arguments:?} does not end within {RUN:?}: {}", read(&stderr)),
    };
    Outcome { code, stdout: read(&stdout), stderr: read(&stderr) }
}

/// The program, without the settings that a developer may have in the environment.
pub(crate) fn program() -> Command {
    program_under::<OsString>(&[])
}

/// As [`program`], started by another one.
pub(crate) fn program_under<S: AsRef<OsStr>>(launcher: &[S]) -> Command {
    let launcher: Vec<OsString> = launcher.iter().map(OsString::from).collect();
    file_under(&launcher, env!("CARGO_BIN_EXE_tapline").as_ref())
}

fn file_under(launcher: &[OsString], tapline: &OsStr) -> Command {
    let mut command = match launcher {
        [] => Command::new(tapline),
        [first, rest @ ..] => {
            let mut command = Command::new(first);
            command.args(rest).arg(tapline);
            command
        }
    };
    // What a developer has set for a tapline of theirs is not meant for this one.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("TAPLINE_") {
            command.env_remove(name);
        }
    }
    command
}

fn read(file: &Path) -> String {
    String::from_utf8_lossy(&fs::read(file).unwrap_or_default()).into_owned()
}

const START: Duration = Duration::from_secs(30);
/// How long a command that is to end by itself may take.
const RUN: Duration = Duration::from_mins(1);
const STOP: Duration = Duration::from_mins(1);
