//! The program of this process, and starting it again to take over from it.
//!
//! The new process must not be a child of this one: a service manager that is told of a main process that is not its
//! own child does not wait for that one at a stop, but kills it at once (systemd 252 does so). So the child starts
//! itself once more and ends, and the new process becomes the manager's, or process 1's.

use std::{
    env,
    ffi::OsString,
    io::{self, Read},
    os::unix::{
        net::UnixStream,
        process::{CommandExt, ExitStatusExt},
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    thread,
};

use crate::proxy::Control;

/// The file that this process was started from, and its arguments.
pub(super) struct Program {
    path: PathBuf,
    arguments: Vec<OsString>,
}

impl Program {
    /// Taken at the start: when the file is replaced, the kernel knows this process's file as a deleted one.
    pub(super) fn of_this_process() -> io::Result<Self> {
        let mut arguments = env::args_os();
        let called = arguments.next().map(PathBuf::from).unwrap_or_default();
        // A name without a slash was looked up in PATH.
        let path = if called.components().count() > 1 {
            std::path::absolute(called)?
        } else {
            env::current_exe()?
        };
        Ok(Self { path, arguments: arguments.collect() })
    }

    /// Where it lies.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Starts it again, to take over from this process. Its end before that is logged.
    pub(super) fn start_again(&self, control: &Arc<Control>) -> io::Result<()> {
        // Both the child and the new process hold the other end: it ends when both have.
        let (lifeline, theirs) = UnixStream::pair()?;
        let mut command = Command::new(&self.path);
        command.args(&self.arguments).stdin(Stdio::from(std::os::fd::OwnedFd::from(theirs)));
        if !self.arguments.iter().any(|argument| argument == TAKE_OVER) {
            command.arg(TAKE_OVER);
        }
        // They name this process or its descriptors.
        for name in ["WATCHDOG_PID", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"] {
            command.env_remove(name);
        }
        let child = command.env(DETACH, "1").spawn()?;
        drop(command);
        let control = Arc::clone(control);
        thread::Builder::new()
            .name("successor".into())
            .spawn(move || watch(child, lifeline, &control))?;
        Ok(())
    }
}

/// In the child of [`Program::start_again`]: starts this program once more, with the same arguments, and is done.
pub(super) fn detach() -> io::Result<bool> {
    if env::var_os(DETACH).is_none() {
        return Ok(false);
    }
    let mut arguments = env::args_os();
    let mut command = Command::new(env::current_exe()?);
    if let Some(called) = arguments.next() {
        command.arg0(called);
    }
    command.args(arguments).env_remove(DETACH).spawn()?;
    Ok(true)
}

/// Says so when the new process ends without having taken over.
fn watch(mut child: Child, mut lifeline: UnixStream, control: &Control) {
    let status = child.wait();
    // Nobody writes: this waits for the end.
    let _ = lifeline.read(&mut [0]);
    if control.is_draining() {
        return;
    }
    let failed = status.ok().filter(|status| !status.success());
    tracing::error!(
        event = "handover.failed",
        code = failed.and_then(|status| status.code()),
        signal = failed.and_then(|status| status.signal()),
        "the new process ended before it had taken over, and said why; this process goes on as before"
    );
}

const TAKE_OVER: &str = "--take-over";
/// Set for the child alone.
const DETACH: &str = "TAPLINE_CAPTURE_DETACH";
