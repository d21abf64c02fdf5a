//! What is queued for a side that speaks TLS is sealed at the end of the turn, straight from where it lies, in as few
//! records as possible, and leaves in one gathered send.

use super::{
    connection::Side,
    core::{Core, discard},
};
use crate::{
    config::limits,
    ring::{Chunk, Ring, Segment, Token},
    tls::TlsFault,
};

/// Starts a send of what `side` is to be told, sealed if it speaks TLS. No send may be under way.
pub(super) fn send<R: Ring>(
    core: &mut Core<R>,
    side: &mut Side,
    token: Token,
) -> Result<(), TlsFault> {
    let Some(fd) = side.fd else { return Ok(()) };
    let result = if side.tls.is_none() {
        std::mem::swap(&mut core.sealed, &mut side.out);
        Ok(())
    } else {
        seal(core, side)
    };
    if !core.sealed.is_empty() {
        side.sending = core.sealed.bytes();
        core.ring.send(token, fd, &mut core.sealed);
    }
    result
}

fn seal<R: Ring>(core: &mut Core<R>, side: &mut Side) -> Result<(), TlsFault> {
    let Core { ring, sealed, recorder, .. } = core;
    let Some(session) = &mut side.tls else { return Ok(()) };
    if let Some(bytes) = session.outgoing() {
        sealed.push(Segment::owned(bytes));
    }
    if !session.is_open() {
        return Ok(());
    }
    let mut left = limits::SEAL_BYTES;
    while left > 0 && !side.out.is_empty() {
        let mut parts = [&[][..]; PARTS_MAX];
        let (mut count, mut taken) = (0, 0);
        for (segment, part) in side.out.segments().zip(parts.iter_mut()) {
            let bytes = bytes_of(ring, segment);
            *part = &bytes[..bytes.len().min((left - taken) as usize)];
            taken += part.len() as u64;
            count += 1;
            if taken == left {
                break;
            }
        }
        session.seal(&parts[..count], |record| sealed.push(Segment::owned(record)))?;
        left -= taken;
        side.out.advance(taken, |segment| discard(ring, &mut recorder.pool, segment));
    }
    Ok(())
}

fn bytes_of<'a, R: Ring>(ring: &'a R, segment: &'a Segment) -> &'a [u8] {
    match segment {
        Segment::Provided { buffer, offset, len } => {
            ring.bytes(Chunk { buffer: *buffer, offset: *offset, len: *len })
        }
        Segment::Owned { bytes, offset, len } => &bytes[*offset as usize..][..*len as usize],
        Segment::Shared { bytes, offset, len } => &bytes[*offset as usize..][..*len as usize],
    }
}

/// Segments sealed together; what is beyond begins a record of its own.
const PARTS_MAX: usize = 64;
