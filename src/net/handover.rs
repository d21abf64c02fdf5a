//! Handing listening sockets over to another process: a Unix socket that a process waits on, and the few messages that
//! two processes exchange on it.
//!
//! ```text
//!  new process                      old process
//!     ── Ask (protocol) ──────────────▶  who is it, may it
//!     ◀───────── Sockets + descriptors ──
//!        starts: log, sink, rings, accepts
//!     ── Ready ───────────────────────▶  tells the service manager, stops accepting
//!     ◀────────────────────────── Yours ── drains and ends
//! ```
//!
//! Both sides may say `Refused` with the reason instead. The descriptors name the same sockets in both processes, so
//! that nothing in their queues is lost whichever of them closes first. The messages are JSON, one per datagram
//! (`SOCK_SEQPACKET`): programs of different versions meet here.

use std::{
    fs,
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::{
    fs::{Mode, OFlags, chmod, open},
    net::{
        AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
        SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType, accept_with,
        bind, connect, listen, recvmsg, sendmsg, socket_with,
        sockopt::{Timeout, set_socket_timeout, socket_peercred},
    },
};
use serde::{Deserialize, Serialize};

/// What this program speaks. A message that is changed in a way that the other side cannot ignore counts one up.
pub const PROTOCOL: u32 = 1;

/// Sockets on which clients connect.
pub const TRAFFIC: &str = "traffic";
/// The socket of the admin endpoint.
pub const ADMIN: &str = "admin";

/// What the two processes say to each other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "say", rename_all = "kebab-case")]
pub enum Message {
    /// The new process: give me your sockets.
    Ask {
        /// [`PROTOCOL`] of who asks.
        protocol: u32,
        /// Its version, for people.
        version: String,
    },
    /// The old process: here they are, or some of them.
    Sockets {
        /// What they are for: [`TRAFFIC`] or [`ADMIN`]. What a program does not know it leaves alone.
        purpose: String,
        /// More follow in another message.
        more: bool,
    },
    /// The new process: everything is up, I accept.
    Ready,
    /// The old process: I accept no more.
    Yours,
    /// Either: it does not come about.
    Refused {
        /// Why, for people.
        why: String,
    },
}

/// Where a process waits for its successor.
#[derive(Debug)]
pub struct Desk {
    socket: OwnedFd,
}

/// A conversation with the other process.
#[derive(Debug)]
pub struct Peer {
    socket: OwnedFd,
}

/// Who is at the other end, as the kernel says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// Process.
    pub process: u32,
    /// User.
    pub user: u32,
}

impl Desk {
    /// Waits at `path`, which only this user can reach (0600). Whoever waited there before is not found any more.
    pub fn open(path: &Path) -> io::Result<Self> {
        let socket = seqpacket()?;
        let new = path.with_extension(format!("new-{}", std::process::id()));
        let _ = fs::remove_file(&new);
        reach(&new, |address| bind(&socket, address))?;
        // Nobody can connect before `listen`.
        chmod(&new, Mode::RUSR | Mode::WUSR)?;
        listen(&socket, 4)?;
        fs::rename(&new, path)?;
        Ok(Self { socket })
    }

    /// The next process that asks.
    pub fn accept(&self) -> io::Result<Peer> {
        loop {
            match accept_with(&self.socket, SocketFlags::CLOEXEC) {
                Ok(socket) => return Ok(Peer { socket }),
                Err(rustix::io::Errno::INTR | rustix::io::Errno::CONNABORTED) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl Peer {
    /// Goes to the process that waits at `path`.
    pub fn connect(path: &Path) -> io::Result<Self> {
        let socket = seqpacket()?;
        reach(path, |address| connect(&socket, address))?;
        Ok(Self { socket })
    }

    /// Who it is.
    pub fn credentials(&self) -> io::Result<Credentials> {
        let found = socket_peercred(&self.socket)?;
        Ok(Credentials { process: found.pid.as_raw_pid() as u32, user: found.uid.as_raw() })
    }

    /// How long [`Peer::receive`] waits.
    pub fn set_patience(&self, patience: Duration) -> io::Result<()> {
        Ok(set_socket_timeout(&self.socket, Timeout::Recv, Some(patience))?)
    }

    /// Sends a message.
    pub fn send(&self, message: &Message) -> io::Result<()> {
        self.send_with(message, &[])
    }

    /// Sends all sockets of each purpose, in as many messages as the kernel wants.
    pub fn send_sockets(&self, sockets: &[(&str, Vec<BorrowedFd<'_>>)]) -> io::Result<()> {
        let mut parts = Vec::new();
        for (purpose, sockets) in sockets {
            parts.extend(sockets.chunks(DESCRIPTORS_PER_MESSAGE).map(|some| (*purpose, some)));
        }
        let mut parts = parts.into_iter().peekable();
        while let Some((purpose, some)) = parts.next() {
            let (purpose, more) = (purpose.to_owned(), parts.peek().is_some());
            self.send_with(&Message::Sockets { purpose, more }, some)?;
        }
        Ok(())
    }

    fn send_with(&self, message: &Message, sockets: &[BorrowedFd<'_>]) -> io::Result<()> {
        let text = serde_json::to_vec(message)?;
        let mut space = [MaybeUninit::uninit(); SPACE];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !sockets.is_empty() {
            let fits = control.push(SendAncillaryMessage::ScmRights(sockets));
            assert!(fits, "invariant: there is space for {DESCRIPTORS_PER_MESSAGE}");
        }
        sendmsg(&self.socket, &[IoSlice::new(&text)], &mut control, SendFlags::NOSIGNAL)?;
        Ok(())
    }

    /// The next message with the descriptors that came with it; `None` when the other process is gone.
    pub fn receive(&self) -> io::Result<Option<(Message, Vec<OwnedFd>)>> {
        let mut text = vec![0; MESSAGE_BYTES_MAX];
        let mut space = [MaybeUninit::uninit(); SPACE];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received = loop {
            let into = &mut [IoSliceMut::new(&mut text)];
            match recvmsg(&self.socket, into, &mut control, RecvFlags::CMSG_CLOEXEC) {
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::CONNRESET) => return Ok(None),
                Err(rustix::io::Errno::AGAIN) => {
                    return Err(io::Error::new(io::ErrorKind::TimedOut, "it says nothing"));
                }
                other => break other?,
            }
        };
        let mut descriptors = Vec::new();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = message {
                descriptors.extend(rights);
            }
        }
        if received.bytes == 0 {
            return Ok(None);
        }
        let message = serde_json::from_slice(&text[..received.bytes])
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        Ok(Some((message, descriptors)))
    }
}

fn seqpacket() -> io::Result<OwnedFd> {
    Ok(socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?)
}

/// Calls with the address of `path`, however long that is: an address holds 107 bytes, so a longer path is reached
/// through its open directory.
fn reach(
    path: &Path,
    call: impl FnOnce(&SocketAddrUnix) -> rustix::io::Result<()>,
) -> io::Result<()> {
    if path.as_os_str().len() <= ADDRESS_BYTES_MAX {
        return Ok(call(&SocketAddrUnix::new(path)?)?);
    }
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let directory =
        open(parent, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let number = std::os::fd::AsRawFd::as_raw_fd(&directory.as_fd());
    let through = PathBuf::from(format!("/proc/self/fd/{number}")).join(name);
    Ok(call(&SocketAddrUnix::new(through)?)?)
}

const ADDRESS_BYTES_MAX: usize = 100;
/// The kernel takes up to 253.
const DESCRIPTORS_PER_MESSAGE: usize = 64;
const SPACE: usize = rustix::cmsg_space!(ScmRights(64));
const MESSAGE_BYTES_MAX: usize = 16 << 10;

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, os::unix::fs::PermissionsExt, thread};

    use super::*;

    #[test]
    fn sockets_arrive_whatever_their_number_and_the_length_of_the_path() {
        for (length, sockets) in [(1, 1), (200, 130)] {
            let dir = tempfile::tempdir().expect("temp dir");
            let dir = dir.path().join("d".repeat(length));
            fs::create_dir(&dir).expect("made");
            let path = dir.join("desk.sock");
            let desk = Desk::open(&path).expect("a desk");
            let mode = fs::metadata(&path).expect("it is there").permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
            let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
            let address = listener.local_addr().expect("bound");
            let old = thread::spawn(move || {
                let peer = desk.accept().expect("somebody came");
                assert_eq!(peer.credentials().expect("known").process, std::process::id());
                let (message, _) = peer.receive().expect("received").expect("not gone");
                assert_eq!(message, Message::Ready);
                let all =
                    [(ADMIN, vec![listener.as_fd()]), (TRAFFIC, vec![listener.as_fd(); sockets])];
                peer.send_sockets(&all).expect("sent");
            });
            let peer = Peer::connect(&path).expect("somebody waits");
            peer.send(&Message::Ready).expect("sent");
            let (mut received, mut admin, mut more) = (Vec::new(), 0, true);
            while more {
                let (message, some) = peer.receive().expect("received").expect("not gone");
                let Message::Sockets { purpose, more: rest } = message else {
                    panic!("{message:?}")
                };
                more = rest;
                if purpose == TRAFFIC {
                    received.extend(some);
                } else {
                    admin += some.len();
                }
            }
            assert_eq!((received.len(), admin), (sockets, 1));
            old.join().expect("the old one is content");
            assert_eq!(peer.receive().expect("no error").map(|(message, _)| message), None);
            let twin = TcpListener::from(received.pop().expect("one"));
            assert_eq!(twin.local_addr().expect("bound"), address);
        }
    }

    #[test]
    fn whoever_waited_before_is_not_found_any_more() {
        let dir = tempfile::tempdir().expect("temp dir");
        let path = dir.path().join("desk.sock");
        assert!(Peer::connect(&path).is_err());
        let first = Desk::open(&path).expect("a desk");
        let second = Desk::open(&path).expect("a desk");
        let peer = Peer::connect(&path).expect("somebody waits");
        peer.send(&Message::Ready).expect("sent");
        drop(first);
        let found = second.accept().expect("it is the second");
        assert_eq!(
            found.receive().expect("received").map(|(message, _)| message),
            Some(Message::Ready)
        );
        drop(second);
        assert!(Peer::connect(&path).is_err(), "what is left of it refuses");
    }
}
