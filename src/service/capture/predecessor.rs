//! The old process's side of a hand-over: it waits to be asked, gives its sockets, and lets go only when the new
//! process accepts. Whatever goes wrong before that, this process goes on as if nothing had been.

use std::{
    fs, io,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Arc, Weak},
    thread,
    time::{Duration, Instant},
};

use tokio::sync::mpsc::UnboundedSender;

use super::super::Event;
use crate::{
    config::limits,
    net::{
        Doors,
        handover::{Desk, Message, PROTOCOL, Peer},
    },
    proxy::Control,
};

/// What is handed over, and who is told.
pub(super) struct Estate {
    /// Gone when this process stops for another reason.
    pub(super) doors: Weak<Doors>,
    pub(super) control: Arc<Control>,
    /// A service manager watches this process.
    pub(super) managed: bool,
    pub(super) events: UnboundedSender<Event>,
}

/// Waits at `path` until the sockets are handed over, on a thread of its own.
pub(super) fn wait(path: &Path, estate: Estate) -> io::Result<()> {
    let desk = Desk::open(path)?;
    let work = move || {
        loop {
            let result = desk.accept().map_err(|error| format!("waiting failed: {error}"));
            match result.and_then(|peer| serve(&peer, &estate)) {
                Ok(()) => return,
                Err(why) => tracing::warn!(
                    event = "handover.failed",
                    why,
                    "the listening sockets were not handed over; this process goes on as before"
                ),
            }
            // A descriptor that cannot be accepted on fails again at once.
            thread::sleep(PAUSE);
        }
    };
    thread::Builder::new().name("hand-over".into()).spawn(work).map(drop)
}

/// One hand-over from asking to letting go.
fn serve(peer: &Peer, estate: &Estate) -> Result<(), String> {
    match prepare(peer, estate) {
        Ok(process) => finish(peer, estate, process),
        Err(why) => {
            let _ = peer.send(&Message::Refused { why: why.clone() });
            Err(why)
        }
    }
}

/// Up to the moment at which the new process accepts; its id.
fn prepare(peer: &Peer, estate: &Estate) -> Result<u32, String> {
    let failed = |error: io::Error| format!("the new process: {error}");
    let who = peer.credentials().map_err(failed)?;
    let user = rustix::process::geteuid().as_raw();
    if who.user != user && who.user != 0 {
        return Err(format!("user {} may not take over from user {user}", who.user));
    }
    may_succeed(who.process, estate.managed)?;
    peer.set_patience(ASK_TIMEOUT).map_err(failed)?;
    match peer.receive().map_err(failed)? {
        Some((Message::Ask { protocol: PROTOCOL, version }, _)) => tracing::info!(
            event = "handover.asked",
            process = who.process,
            version,
            "a new process asks for the listening sockets"
        ),
        Some((Message::Ask { protocol, version }, _)) => {
            return Err(format!(
                "version {version} hands over by protocol {protocol}, this is version {} with protocol {PROTOCOL}; \
                 stop this process and start the new one instead",
                env!("CARGO_PKG_VERSION")
            ));
        }
        Some((Message::Refused { why }, _)) => return Err(why),
        Some(_) => return Err("the new process does not ask, but says something else".into()),
        None => return Err("the new process is gone".into()),
    }
    let Some(doors) = estate.doors.upgrade() else { return Err("this process is stopping".into()) };
    peer.send_sockets(&doors.descriptors()).map_err(failed)?;
    drop(doors);
    peer.set_patience(limits::HAND_OVER_TIMEOUT).map_err(failed)?;
    match peer.receive().map_err(failed)? {
        Some((Message::Ready, _)) => {}
        Some((Message::Refused { why }, _)) => {
            return Err(format!("the new process did not start: {why}"));
        }
        Some(_) => return Err("the new process says something unexpected".into()),
        None => return Err("the new process ended before it was ready; see what it logged".into()),
    }
    if estate.doors.upgrade().is_none() {
        return Err("this process is stopping".into());
    }
    Ok(who.process)
}

/// Whether the new process can be what this one is to those who watch it.
fn may_succeed(process: u32, managed: bool) -> Result<(), String> {
    if std::process::id() == 1 {
        return Err(
            "this is process 1 of a container, which ends with it; start another container instead"
                .into(),
        );
    }
    let group = |process: &str| fs::read_to_string(format!("/proc/{process}/cgroup")).ok();
    if managed && group("self") != group(&process.to_string()) {
        return Err(
            "this process is run by a service manager, which would take its end for the end of the service. \
             Run: systemctl kill --kill-whom=main --signal=SIGUSR2 tapline-capture"
                .into(),
        );
    }
    Ok(())
}

/// The new process accepts: this one stops doing so, and says when it has.
fn finish(peer: &Peer, estate: &Estate, process: u32) -> Result<(), String> {
    if estate.events.send(Event::HandedOver(process)).is_err() {
        return Err("this process is ending".into());
    }
    let deadline = Instant::now() + ACCEPT_END_TIMEOUT;
    // The workers need a turn each to end their accepts.
    while !estate.control.is_draining() || estate.control.accepting() > 0 {
        if Instant::now() > deadline {
            tracing::warn!(event = "handover.slow", "a worker has not stopped accepting yet");
            break;
        }
        thread::sleep(STEP);
    }
    // It goes on by itself if it does not hear this.
    let _ = peer.send(&Message::Yours);
    Ok(())
}

/// The program that this process was started as, and how.
pub(super) struct Program {
    path: PathBuf,
    arguments: Vec<std::ffi::OsString>,
}

impl Program {
    /// Taken at the start: when the file is replaced, the kernel knows this process's file as a deleted one.
    pub(super) fn of_this_process() -> io::Result<Self> {
        let mut arguments = std::env::args_os();
        let called = arguments.next().map(PathBuf::from).unwrap_or_default();
        // A name without a slash was looked up in PATH.
        let path = if called.components().count() > 1 {
            std::path::absolute(called)?
        } else {
            std::env::current_exe()?
        };
        Ok(Self { path, arguments: arguments.collect() })
    }

    /// Starts it again, to take over from this process. Its end before that is logged.
    pub(super) fn start_again(&self, control: &Arc<Control>) -> io::Result<u32> {
        let mut command = Command::new(&self.path);
        command.args(&self.arguments).stdin(Stdio::null());
        if !self.arguments.iter().any(|argument| argument == TAKE_OVER) {
            command.arg(TAKE_OVER);
        }
        // They name this process or its descriptors.
        for name in ["WATCHDOG_PID", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"] {
            command.env_remove(name);
        }
        let mut child = command.spawn()?;
        let process = child.id();
        let control = Arc::clone(control);
        let reap = move || {
            let Ok(status) = child.wait() else { return };
            if !control.is_draining() {
                tracing::error!(
                    event = "handover.failed",
                    process,
                    code = status.code(),
                    signal = status.signal(),
                    "the new process ended before it had taken over; this process goes on as before"
                );
            }
        };
        thread::Builder::new().name("successor".into()).spawn(reap)?;
        Ok(process)
    }

    /// Where it lies.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

/// How long the other process may take to say what it wants.
const ASK_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the workers may take to stop accepting; it is a turn of each.
const ACCEPT_END_TIMEOUT: Duration = Duration::from_secs(10);
const STEP: Duration = Duration::from_millis(2);
const PAUSE: Duration = Duration::from_millis(100);
const TAKE_OVER: &str = "--take-over";
