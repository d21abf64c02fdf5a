//! Child processes that never outlive the run.
//!
//! Each child leads its own process group. Dropping the handle kills the group; when the run itself
//! is killed, a watchdog that holds one end of a pipe sees its end and does the same.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use super::wait;

/// A running child with its watchdog.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    watchdog: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command` with everything it prints going to the file `log`. When the run is killed,
    /// the directory `litter` is removed too.
    pub(crate) fn spawn(command: &mut Command, log: &Path, litter: &Path) -> Self {
        Self::spawn_apart(command, log, log, litter)
    }

    /// As [`Self::spawn`], with errors in a file of their own when `errors` is another file.
    pub(crate) fn spawn_apart(
        command: &mut Command,
        log: &Path,
        errors: &Path,
        litter: &Path,
    ) -> Self {
        let out = File::create(log).expect("the run's directory is writable");
        let err = if errors == log {
            out.try_clone().expect("a file handle can be duplicated")
        } else {
            File::create(errors).expect("the run's directory is writable")
        };
        command.stdin(Stdio::null()).stdout(out).stderr(err);
        let child = command
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", command.get_program().display()));
        let watchdog = Command::new("sh")
            .args(["-c", WATCHDOG, "watchdog", &child.id().to_string()])
            .arg(litter)
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("sh starts");
        Self { child, watchdog, log: log.to_path_buf() }
    }

    /// How it ended, if it did.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child of ours can be waited for")
    }

    /// How it ended, if it does within the limit.
    pub(crate) fn ended_within(&mut self, limit: Duration) -> Option<ExitStatus> {
        wait::for_some(limit, || self.ended())
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal to the child alone; nothing happens when it is gone.
    pub(crate) fn signal(&self, signal: Signal) {
        let _ = kill_process(self.pid(), signal);
    }

    /// Stops the child and waits until none of its threads runs any more: on a busy host that takes a while.
    pub(crate) fn pause(&self) {
        self.signal(Signal::STOP);
        let tasks = format!("/proc/{}/task", self.id());
        let stopped = || {
            let entries = fs::read_dir(&tasks).into_iter().flatten().flatten();
            let stats =
                entries.filter_map(|task| fs::read_to_string(task.path().join("stat")).ok());
            // The state is what follows the name, which ends with the last bracket.
            stats
                .into_iter()
                .all(|stat| stat.rsplit(") ").next().is_some_and(|s| s.starts_with('T')))
        };
        assert!(wait::until(Duration::from_secs(30), stopped), "process {} goes on", self.id());
    }

    /// Kills the whole group at once and waits for the child.
    pub(crate) fn kill(&mut self) -> ExitStatus {
        if self.ended().is_none() {
            let _ = kill_process_group(self.pid(), Signal::KILL);
        }
        self.child.wait().expect("a child of ours can be waited for")
    }

    /// The last lines it printed, for messages.
    pub(crate) fn last_words(&self) -> String {
        let text = fs::read(&self.log).unwrap_or_default();
        tail(&String::from_utf8_lossy(&text))
    }

    fn pid(&self) -> Pid {
        // The child is not reaped while this handle lives, or it was by `ended`; then the group
        // is not signalled any more.
        Pid::from_raw(self.child.id() as i32).expect("invariant: a process id is not zero")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if let Some(mut pipe) = self.watchdog.stdin.take() {
            let _ = pipe.write_all(b"done\n");
        }
        let _ = self.watchdog.wait();
    }
}

/// The last lines of a text.
pub(crate) fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LAST_LINES)..].join("\n")
}

const LAST_LINES: usize = 15;

/// `read` fails at the end of the pipe, and only then is the group killed.
const WATCHDOG: &str = r#"read -r word || {
    kill -KILL "-$1"
    sleep 1
    rm -rf "$2"
}"#;

#[test]
fn a_dropped_process_is_gone_with_its_children() {
    let scratch = tempfile::tempdir().unwrap();
    let log = scratch.path().join("log");
    let mut command = Command::new("sh");
    command.args(["-c", "sleep 1000 & echo $!; wait"]);
    let process = Process::spawn(&mut command, &log, scratch.path());
    let grandchild = wait::for_some(Duration::from_secs(5), || {
        fs::read_to_string(&log).ok()?.trim().parse::<u32>().ok()
    })
    .expect("the child prints its child's id");
    assert!(runs(grandchild));
    drop(process);
    assert!(wait::until(Duration::from_secs(5), || !runs(grandchild)));
}

#[test]
fn the_watchdog_kills_when_its_pipe_ends() {
    let scratch = tempfile::tempdir().unwrap();
    let litter = scratch.path().join("litter");
    fs::create_dir(&litter).unwrap();
    let mut command = Command::new("sleep");
    command.arg("1000");
    let mut process = Process::spawn(&mut command, &scratch.path().join("log"), &litter);
    // What the kernel does when this process dies.
    drop(process.watchdog.stdin.take());
    assert!(process.ended_within(Duration::from_secs(5)).is_some());
    assert!(wait::until(Duration::from_secs(5), || !litter.exists()));
}

#[cfg(test)]
fn runs(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(
        |stat| !matches!(stat.rsplit(") ").next(), Some(rest) if rest.starts_with(['Z', 'X'])),
    )
}
