//! The real ring on loopback sockets, where a simulated one cannot know what the kernel does.
#![allow(unsafe_code)]

use std::{
    net::{TcpListener, TcpStream},
    os::fd::{FromRawFd, IntoRawFd},
    time::Duration,
};

use super::{Completion, Errno, Fd, Options, Ring, Segment, SendQueue, Token, Uring};

fn pair() -> (Fd, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let ours = TcpStream::connect(listener.local_addr().expect("address")).expect("connect");
    let (peer, _) = listener.accept().expect("accept");
    (Fd(ours.into_raw_fd()), peer)
}

fn wait_for(ring: &mut Uring, seconds: u32) -> Option<Completion> {
    let mut out = Vec::new();
    for _ in 0..seconds * 10 {
        ring.wait(Some(Duration::from_millis(100)), &mut out).expect("wait");
        if let Some(completion) = out.pop() {
            return Some(completion);
        }
    }
    None
}

/// The kernel completes a cancelled send that had made progress with what it had sent, not with ECANCELED.
#[test]
fn a_cancelled_send_ends_although_its_peer_never_reads() {
    let mut ring = Uring::new(Options { entries: 64, completions: 256, ..Options::default() })
        .expect("a ring");
    let (fd, peer) = pair();
    let token = Token::new(1, 1, 0);
    let mut queue = SendQueue::default();
    queue.push(Segment::owned(vec![7; 64 << 20]));
    ring.send(token, fd, &mut queue);
    assert_eq!(wait_for(&mut ring, 1), None, "64 MiB fit into the socket's buffer");
    ring.cancel_all(fd);
    let end = wait_for(&mut ring, 10);
    assert_eq!(end, Some(Completion::SendFailed(token, Errno(libc::ECANCELED))));
    ring.close(fd, true);
    drop(peer);
}

#[test]
fn what_it_connects_is_kept_alive_and_not_delayed() {
    let mut ring = Uring::new(Options::default()).expect("a ring");
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let fd = ring.open(&listener.local_addr().expect("address")).expect("a socket");
    // SAFETY: the descriptor was made a line above and is nobody's else.
    let socket = unsafe { socket2::Socket::from_raw_fd(fd.0) };
    assert!(socket.keepalive().expect("asked") && socket.tcp_nodelay().expect("asked"));
    assert_eq!(socket.tcp_keepalive_time().expect("asked"), Duration::from_mins(1));
}
