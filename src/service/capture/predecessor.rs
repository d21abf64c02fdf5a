//! The old process's side of a hand-over: it waits to be asked, gives its sockets, and lets go only when the new
//! process accepts. Whatever goes wrong before that, this process goes on as if nothing had been.

use std::{
    fs, io,
    os::fd::{AsFd, OwnedFd},
    path::Path,
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
        handover::{self, Desk, Message, PROTOCOL, Peer},
    },
    proxy::Control,
};

/// What is handed over, and who is told.
pub(super) struct Estate {
    /// Gone when this process stops for another reason.
    pub(super) doors: Weak<Doors>,
    pub(super) control: Arc<Control>,
    /// The socket of the admin endpoint.
    pub(super) admin: Option<OwnedFd>,
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
    let mut sockets = vec![(handover::TRAFFIC, doors.descriptors())];
    sockets.extend(estate.admin.iter().map(|admin| (handover::ADMIN, vec![admin.as_fd()])));
    peer.send_sockets(&sockets).map_err(failed)?;
    drop(sockets);
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

/// How long the other process may take to say what it wants.
const ASK_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the workers may take to stop accepting; it is a turn of each.
const ACCEPT_END_TIMEOUT: Duration = Duration::from_secs(10);
const STEP: Duration = Duration::from_millis(2);
const PAUSE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

    use super::*;

    struct Old {
        _dir: tempfile::TempDir,
        path: PathBuf,
        doors: Arc<Doors>,
        inbox: UnboundedReceiver<Event>,
    }

    fn old() -> Old {
        let dir = tempfile::tempdir().expect("temp dir");
        let path = dir.path().join("desk.sock");
        let any = "127.0.0.1:0".parse().expect("address");
        let doors = Arc::new(Doors::bind(&[any], 2).expect("free"));
        doors.open().expect("free");
        let (events, inbox) = unbounded_channel();
        let (control, managed, admin) = (Arc::default(), false, None);
        let estate = Estate { doors: Arc::downgrade(&doors), control, admin, managed, events };
        wait(&path, estate).expect("a desk");
        Old { _dir: dir, path, doors, inbox }
    }

    fn ask(path: &Path, protocol: u32) -> (Peer, Option<Message>) {
        let peer = Peer::connect(path).expect("somebody waits");
        peer.set_patience(Duration::from_secs(30)).expect("a socket");
        peer.send(&Message::Ask { protocol, version: "9.9.9".into() }).expect("sent");
        let answer = peer.receive().expect("an answer").map(|(message, _)| message);
        (peer, answer)
    }

    fn sockets() -> Message {
        Message::Sockets { purpose: handover::TRAFFIC.into(), more: false }
    }

    #[test]
    fn a_program_that_speaks_differently_is_refused_and_the_next_one_is_served() {
        let mut old = old();
        let (_, answer) = ask(&old.path, 99);
        let Some(Message::Refused { why }) = answer else { panic!("{answer:?}") };
        assert!(why.contains("protocol 99") && why.contains("9.9.9"), "{why}");
        // It gets the sockets and goes away: this process keeps them too.
        let (peer, answer) = ask(&old.path, PROTOCOL);
        assert_eq!(answer, Some(sockets()));
        drop(peer);
        let (peer, answer) = ask(&old.path, PROTOCOL);
        assert_eq!(answer, Some(sockets()));
        peer.send(&Message::Ready).expect("sent");
        let event = old.inbox.blocking_recv();
        assert!(matches!(event, Some(Event::HandedOver(id)) if id == std::process::id()));
        assert_eq!(Arc::strong_count(&old.doors), 1, "nothing else keeps the sockets open");
    }

    #[test]
    fn a_process_that_stops_hands_nothing_over() {
        let old = old();
        drop(old.doors);
        let (_, answer) = ask(&old.path, PROTOCOL);
        assert_eq!(answer, Some(Message::Refused { why: "this process is stopping".into() }));
    }
}
