//! The demonstration itself: two servers, `tapline capture` and `tapline replay` between them, a mix, a comparison.
//!
//! Children never outlive their handle, and their directory goes with it. What is shown is the caller's.

use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use uuid::Uuid;

use super::{Server, Totals, traffic};

/// How far a running demonstration is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Since its traffic began.
    pub elapsed: Duration,
    /// Requests that the source has answered.
    pub source_requests: u64,
    /// Requests that the target has answered.
    pub target_requests: u64,
    /// The traffic has ended, and what is behind is being caught up with.
    pub traffic_over: bool,
}

/// What came of a demonstration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// What the clients did.
    pub totals: Totals,
    /// Documents in the source.
    pub documents: usize,
    /// Documents that stand in one of both only, or differ: 0 when the states are equal.
    pub different: usize,
}

/// Runs the demonstration with `exe`, the program itself, and `duration` of traffic. `show` is told some ten times a
/// second how far it is. Fails when a child cannot be started or fails; the message holds what it said.
pub fn run(
    exe: &Path,
    duration: Duration,
    seed: u64,
    show: &mut dyn FnMut(Progress),
) -> io::Result<Verdict> {
    let (source, target) = (Server::start()?, Server::start()?);
    let scratch = Scratch::new()?;
    let listen = free_address()?;
    let state = scratch.0.join("capture");
    let log = state.join("log");
    let mut capture = Tapline::start(exe, &scratch, "capture", |command| {
        command.args([
            "capture",
            "--tls",
            "off",
            "--admin",
            "off",
            "--source",
            &url(source.addr()),
        ]);
        command.args(["--listen", &listen.to_string(), "--state-dir"]).arg(&state);
    })?;
    capture.wait_for(listen)?;
    let replay = |end: &'static str| {
        Tapline::start(exe, &scratch, "replay", |command| {
            command.args(["replay", "--speedup", "max", "--admin", "off", "--tuples", "off", end]);
            command.args(["--target", &url(target.addr()), "--state-dir"]);
            command.arg(scratch.0.join("replay")).arg("--log").arg(&log);
        })
    };
    let following = replay("--follow")?;

    let start = Instant::now();
    let mut progress = |traffic_over| {
        show(Progress {
            elapsed: start.elapsed(),
            source_requests: source.requests(),
            target_requests: target.requests(),
            traffic_over,
        });
        thread::sleep(SHOW_EVERY);
    };
    let totals = thread::scope(|scope| {
        let mix = scope.spawn(|| traffic(listen, duration, seed));
        while !mix.is_finished() {
            progress(false);
        }
        mix.join().unwrap_or_else(|_| Err(io::Error::other("the traffic panicked")))
    })?;
    capture.stop()?;
    following.stop()?;
    // Whatever the follower had not come to: the same group goes on to the end of the log.
    let mut rest = replay("--until-end")?;
    while rest.ended()?.is_none() {
        if start.elapsed() > duration + PATIENCE {
            return Err(rest.failure("does not come to the end of the log"));
        }
        progress(true);
    }
    rest.end()?;

    let (one, other) = (source.state(), target.state());
    let lacking = one.iter().filter(|(key, document)| other.get(*key) != Some(*document)).count();
    let surplus = other.keys().filter(|key| !one.contains_key(*key)).count();
    Ok(Verdict { totals, documents: one.len(), different: lacking + surplus })
}

/// A child with what it says in a file.
struct Tapline {
    name: &'static str,
    child: Child,
    said: PathBuf,
}

impl Tapline {
    fn start(
        exe: &Path,
        scratch: &Scratch,
        name: &'static str,
        arguments: impl FnOnce(&mut Command),
    ) -> io::Result<Self> {
        let said = scratch.0.join(format!("{name}.output"));
        let output = File::options().create(true).append(true).open(&said)?;
        let mut command = Command::new(exe);
        arguments(&mut command);
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        Ok(Self { name, child: command.spawn()?, said })
    }

    /// Waits until it accepts connections.
    fn wait_for(&mut self, addr: SocketAddr) -> io::Result<()> {
        let start = Instant::now();
        while TcpStream::connect(addr).is_err() {
            if self.ended()?.is_some() || start.elapsed() > PATIENCE {
                return Err(self.failure("does not listen"));
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// Asks it to stop and waits for its end.
    fn stop(mut self) -> io::Result<()> {
        // One that has ended already has failed; `end` says so.
        if self.ended()?.is_none()
            && let Some(pid) = Pid::from_raw(self.child.id().cast_signed())
        {
            kill_process(pid, Signal::TERM)?;
        }
        let start = Instant::now();
        while self.ended()?.is_none() {
            if start.elapsed() > PATIENCE {
                return Err(self.failure("does not stop when it is asked to"));
            }
            thread::sleep(Duration::from_millis(10));
        }
        self.end()
    }

    /// Its end, which is to be a good one.
    fn end(mut self) -> io::Result<()> {
        let status = self.child.wait()?;
        if status.success() { Ok(()) } else { Err(self.failure(&format!("ended: {status}"))) }
    }

    fn failure(&self, what: &str) -> io::Error {
        let said = fs::read(&self.said).unwrap_or_default();
        let said = String::from_utf8_lossy(&said);
        let lines: Vec<&str> = said.lines().collect();
        let last = lines[lines.len().saturating_sub(LAST_LINES)..].join("\n");
        io::Error::other(format!("tapline {} {what}; the last it said:\n{last}", self.name))
    }
}

impl Drop for Tapline {
    fn drop(&mut self) {
        // Both do nothing to one that has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A directory that goes with its handle.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> io::Result<Self> {
        let dir = std::env::temp_dir().join(format!("tapline-demo-{}", Uuid::new_v4().simple()));
        fs::create_dir(&dir)?;
        Ok(Self(dir))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// An address on the loopback that nobody listens on now.
fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

fn url(addr: SocketAddr) -> String {
    format!("http://{addr}")
}

const SHOW_EVERY: Duration = Duration::from_millis(100);
/// How long a child may take for anything.
const PATIENCE: Duration = Duration::from_secs(20);
/// Lines of a child's output that a failure shows.
const LAST_LINES: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_fails_is_quoted() {
        let failed = run(Path::new("/bin/cat"), Duration::ZERO, 1, &mut |_| {}).unwrap_err();
        let text = failed.to_string();
        assert!(text.starts_with("tapline capture does not listen; "), "{text}");
        assert!(text.contains("--tls"), "what it said is shown: {text}");
    }

    #[test]
    fn a_scratch_directory_goes_with_its_handle() {
        let scratch = Scratch::new().unwrap();
        let dir = scratch.0.clone();
        fs::write(dir.join("file"), "").unwrap();
        drop(scratch);
        assert!(!dir.exists());
    }
}
