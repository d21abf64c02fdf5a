//! Started processes: where they run, what they print, and that they end.
//!
//! It owns every child of the bench. It never ends a process it did not start, and none outlives
//! its value here.

use crate::Outcome;
use crate::host;
use crate::usage::{self, Spent};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// A child, terminated when dropped.
pub(crate) struct Process {
    name: String,
    child: Child,
    input: Option<ChildStdin>,
    lines: Option<Receiver<String>>,
    log: PathBuf,
}

impl Process {
    /// Starts a proxy; everything it prints goes to the log file.
    pub(crate) fn proxy(
        name: &str,
        mut command: Command,
        core: Option<usize>,
        log: &Path,
    ) -> Outcome<Self> {
        let output = File::create(log)?;
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let child = spawn(&mut command, core).map_err(|e| format!("starting {name}: {e}"))?;
        let name = name.to_owned();
        Ok(Self { name, child, input: None, lines: None, log: log.to_owned() })
    }

    /// Starts this program again in another role; its lines can be read, and it ends with its
    /// standard input.
    pub(crate) fn role(
        role: &str,
        arguments: &[String],
        core: Option<usize>,
        log: &Path,
    ) -> Outcome<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["--role", role]).args(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(File::create(log)?);
        let mut child = spawn(&mut command, core)?;
        let (sender, lines) = channel();
        if let Some(output) = child.stdout.take() {
            std::thread::spawn(move || {
                for line in BufReader::new(output).lines().map_while(Result::ok) {
                    if sender.send(line).is_err() {
                        return;
                    }
                }
            });
        }
        let input = child.stdin.take();
        Ok(Self { name: role.to_owned(), child, input, lines: Some(lines), log: log.to_owned() })
    }

    /// The process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The next line a role prints; an error when it ends or takes longer than `time_max`.
    pub(crate) fn line(&mut self, time_max: Duration) -> Outcome<String> {
        let until = Instant::now() + time_max;
        let lines = self.lines.as_ref().ok_or("a proxy's lines are in its log")?;
        loop {
            host::check_interrupted()?;
            match lines.recv_timeout(Duration::from_millis(100)) {
                Ok(line) => return Ok(line),
                Err(RecvTimeoutError::Disconnected) => return Err(self.last_words().into()),
                Err(RecvTimeoutError::Timeout) if Instant::now() > until => {
                    return Err(format!("{} said nothing for {time_max:?}", self.name).into());
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    /// Writes a line to a role.
    pub(crate) fn tell(&mut self, line: &str) -> Outcome<()> {
        writeln!(self.input.as_mut().ok_or("no standard input")?, "{line}")?;
        Ok(())
    }

    /// An error when the process has ended by itself.
    pub(crate) fn check_running(&mut self) -> Outcome<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => Err(format!("{} ({status})", self.last_words()).into()),
        }
    }

    /// Waits for it to end by itself, successfully, and says what it cost. Its memory is looked at
    /// every few milliseconds: the peak is that of the last look.
    pub(crate) fn spent(&mut self, time_max: Duration) -> Outcome<Spent> {
        let started = Instant::now();
        let mut spent = Spent::default();
        loop {
            if let Some(cpu_us) = usage::ended_cpu_us(self.pid())? {
                spent.seconds = started.elapsed().as_secs_f64();
                spent.cpu_us = cpu_us;
                break;
            }
            spent.peak_bytes = usage::peak_bytes(self.pid())?.unwrap_or(spent.peak_bytes);
            host::check_interrupted()?;
            if started.elapsed() > time_max {
                return Err(format!("{} has not ended after {time_max:?}", self.name).into());
            }
            std::thread::sleep(LOOK_PAUSE);
        }
        match self.child.wait()? {
            status if status.success() => Ok(spent),
            status => Err(format!("{} ({status})", self.last_words()).into()),
        }
    }

    /// The end of what it printed, for an error message.
    fn last_words(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().filter(|l| !l.trim().is_empty()).collect();
        let last = lines[lines.len().saturating_sub(3)..].join("; ");
        format!("{} ended: {last}", self.name)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.input.take());
        let id = self.child.id();
        let signal = |signal| Pid::from_raw(id as i32).map(|pid| kill_process(pid, signal));
        // Waiting first tells a child that has ended, whose id may be another's once it is reaped.
        let until = Instant::now() + TERMINATION_TIME_MAX;
        let mut told = false;
        while let Ok(None) = self.child.try_wait() {
            if !told {
                signal(Signal::TERM);
                told = true;
            } else if Instant::now() > until {
                signal(Signal::KILL);
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        if self.child.wait().is_err() {
            eprintln!("compare: could not wait for {} (pid {id})", self.name);
        }
    }
}

/// Starts a child on one core. Affinity passes from the starting thread to the child, so a
/// thread made for it is pinned and ends.
fn spawn(command: &mut Command, core: Option<usize>) -> io::Result<Child> {
    let Some(id) = core else { return command.spawn() };
    std::thread::scope(|scope| {
        let pinned = scope.spawn(move || {
            if core_affinity::set_for_current(core_affinity::CoreId { id }) {
                command.spawn()
            } else {
                Err(io::Error::other(format!("cannot pin to core {id}")))
            }
        });
        pinned.join().unwrap_or_else(|_| Err(io::Error::other("the starting thread panicked")))
    })
}

const LOOK_PAUSE: Duration = Duration::from_millis(10);
const TERMINATION_TIME_MAX: Duration = Duration::from_secs(8);
