//! How a receive, a send or a watch of one side ended, and what that means for the connection.

use super::{
    connection::{CLIENT, Connection, Receiving, SOURCE},
    core::Core,
};
use crate::{
    observe::Counter,
    ring::{Errno, ReceiveEnd, Ring, Token},
};

pub(super) fn receive_ended<R: Ring>(
    connection: &mut Connection,
    core: &mut Core<R>,
    token: Token,
    end: ReceiveEnd,
) {
    let side = connection.side(token.side());
    side.receiving = Receiving::Off;
    match end {
        ReceiveEnd::Eof if side.tls.is_some() => connection.sealed_eof(core, token.side()),
        ReceiveEnd::Eof if token.side() == SOURCE => connection.source_eof(core),
        ReceiveEnd::Eof => connection.client_eof(),
        ReceiveEnd::NoBuffers => {
            core.counters.add(Counter::NoBuffers, 1);
            side.receiving = Receiving::Starved;
            core.starved.push(token);
        }
        ReceiveEnd::Cancelled | ReceiveEnd::Rearm => {}
        ReceiveEnd::Failed(errno) => failed(connection, core, token, errno),
    }
}

fn failed<R: Ring>(connection: &mut Connection, core: &mut Core<R>, token: Token, errno: Errno) {
    if connection.side(token.side()).closing.is_some() {
        return;
    }
    match token.side() {
        CLIENT => connection.client_failed(core, errno),
        _ => connection.source_failed(core, errno),
    }
}

/// A send that fails because the source closed early does not make its answer worthless: what it
/// sent is read first, and the end of that tells what happened.
pub(super) fn send_failed<R: Ring>(
    connection: &mut Connection,
    core: &mut Core<R>,
    token: Token,
    errno: Errno,
) {
    if token.side() == SOURCE && !connection.source.eof {
        connection.source.deaf = true;
    } else {
        failed(connection, core, token, errno);
    }
}

pub(super) fn hung_up<R: Ring>(connection: &mut Connection, core: &mut Core<R>, token: Token) {
    let side = connection.side(token.side());
    if side.closing.is_some() {
        return;
    }
    if token.side() == CLIENT && !side.shut {
        // Without a FIN of ours a full hang-up can only be a reset.
        connection.client_failed(core, Errno(libc::ECONNRESET));
        return;
    }
    // What the peer sent before it went is read, whatever the marks say; the end of it follows.
    if side.receiving == Receiving::Off
        && !side.eof
        && let Some(fd) = side.fd
    {
        side.receiving = Receiving::On;
        core.ring.receive(token, fd);
    }
}
