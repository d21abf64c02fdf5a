//! The new process's side of a hand-over: it asks for the listening sockets, starts with them, and says so when it
//! accepts.

use std::{
    io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    thread,
};

use tokio::sync::mpsc::UnboundedSender;

use super::super::Event;
use crate::{
    config::{CaptureConfig, limits},
    net::handover::{self, Message, PROTOCOL, Peer},
    observe::{ExitCode, Failure},
};

/// What was handed over.
#[derive(Debug, Default)]
pub(super) struct Inheritance {
    /// Sockets on which clients connect.
    pub(super) traffic: Vec<OwnedFd>,
    /// The socket of the admin endpoint.
    pub(super) admin: Option<OwnedFd>,
}

/// The conversation with the process that is taken over from.
pub(super) struct Succession {
    peer: Peer,
}

/// Where processes with this configuration meet: one name for each set of addresses, so that two that listen on
/// different ones may share a state directory.
pub(super) fn meeting_place(config: &CaptureConfig) -> PathBuf {
    let mut addresses: Vec<String> = config.listen.iter().map(ToString::to_string).collect();
    addresses.sort();
    let name = crc32c::crc32c(addresses.join(",").as_bytes());
    config.state_dir.join(format!("hand-over-{name:08x}.sock"))
}

impl Succession {
    /// Asks the process that waits at `path` for its sockets.
    pub(super) fn ask(path: &Path) -> Result<(Self, Inheritance), Failure> {
        let fail = |error: io::Error| {
            let text = format!("the process to take over from: {error}");
            Failure::new(ExitCode::Unavailable, text)
        };
        let peer = Peer::connect(path).map_err(|error| {
            let text = format!(
                "there is nobody to take over from: no tapline capture with the same --listen waits at {} ({error}). \
                 Start it without --take-over",
                path.display()
            );
            Failure::new(ExitCode::Unavailable, text)
        })?;
        peer.set_patience(limits::HAND_OVER_TIMEOUT).map_err(fail)?;
        let version = env!("CARGO_PKG_VERSION").into();
        peer.send(&Message::Ask { protocol: PROTOCOL, version }).map_err(fail)?;
        let mut inheritance = Inheritance::default();
        loop {
            match peer.receive().map_err(fail)? {
                Some((Message::Sockets { purpose, more }, mut some)) => {
                    match purpose.as_str() {
                        handover::TRAFFIC => inheritance.traffic.append(&mut some),
                        handover::ADMIN => inheritance.admin = some.pop(),
                        _ => {}
                    }
                    if !more {
                        break;
                    }
                }
                Some((Message::Refused { why }, _)) => {
                    return Err(Failure::configuration(format!(
                        "the running process refuses: {why}"
                    )));
                }
                Some(_) => return Err(fail(io::Error::other("it says something unexpected"))),
                None => return Err(fail(io::Error::other("it is gone"))),
            }
        }
        Ok((Self { peer }, inheritance))
    }

    /// It does not come about; the other process goes on.
    pub(super) fn give_up(&self, why: &Failure) {
        let _ = self.peer.send(&Message::Refused { why: why.to_string() });
    }

    /// Says that this process accepts and waits, on a thread of its own, until the other one does not any more.
    pub(super) fn complete(self, events: UnboundedSender<Event>) -> io::Result<()> {
        let work = move || {
            let _ = events.send(Event::TookOver(self.converse()));
        };
        thread::Builder::new().name("take-over".into()).spawn(work).map(drop)
    }

    fn converse(&self) -> Result<(), String> {
        let answer = self.peer.send(&Message::Ready).and_then(|()| self.peer.receive());
        match answer {
            Ok(Some((Message::Refused { why }, _))) => Err(why),
            Ok(Some(_)) => Ok(()),
            // Whatever became of it: the sockets are here and connections come in.
            Ok(None) | Err(_) => {
                tracing::warn!(
                    event = "handover.alone",
                    "the process that was taken over from is gone without a word; this one goes on"
                );
                Ok(())
            }
        }
    }
}
