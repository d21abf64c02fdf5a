//! One side of one connection, from the first byte on: a handshake, then traffic.

use std::ops::Range;

use super::{
    Acceptor, FaultKind, TlsFault, Trust,
    handshake::Handshake,
    record::{HEADER_BYTES, record_bytes},
    traffic::{Content, Traffic},
};

/// A TLS session over bytes that somebody else moves: received bytes go into [`Session::open`], what TLS itself has
/// to say comes out of [`Session::outgoing`], plaintext is sealed by [`Session::seal`]. Everything that comes out has
/// to be sent in the order in which it came.
pub struct Session {
    stage: Stage,
    /// Bytes that wait for the rest of their record. Has memory only while there are some.
    torn: Vec<u8>,
    outgoing: Vec<u8>,
    begun: bool,
}

enum Stage {
    Handshake(Handshake),
    Traffic(Box<Traffic>),
    /// A fault ended it; only the alert may be left to send.
    Failed,
}

/// Where the plaintext of received bytes lies. Reused from call to call.
#[derive(Debug, Default)]
pub struct Opened {
    /// Records that came in pieces, put together and opened.
    pub gathered: Vec<u8>,
    /// Their plaintext, in `gathered`. Stands before all of `ranges`.
    pub gathered_ranges: Vec<Range<usize>>,
    /// Plaintext in the received bytes themselves.
    pub ranges: Vec<Range<usize>>,
    /// The peer says that nothing more follows. What came behind that is left out.
    pub farewell: bool,
}

impl Session {
    /// The side of a server.
    pub fn accept(acceptor: &Acceptor) -> Result<Self, TlsFault> {
        Ok(Self::new(Handshake::server(acceptor.config())?))
    }

    /// The side of a client; [`Session::outgoing`] has its first message.
    pub fn connect(trust: &Trust) -> Result<Self, TlsFault> {
        let mut session = Self::new(Handshake::client(trust.config(), trust.name())?);
        session.shake_hands()?;
        Ok(session)
    }

    fn new(handshake: Handshake) -> Self {
        let stage = Stage::Handshake(handshake);
        Self { stage, torn: Vec::new(), outgoing: Vec::new(), begun: false }
    }

    /// The handshake is under way.
    pub fn is_handshaking(&self) -> bool {
        matches!(self.stage, Stage::Handshake(_))
    }

    /// Plaintext may be sealed.
    pub fn is_open(&self) -> bool {
        matches!(self.stage, Stage::Traffic(_))
    }

    /// Whether anything was received.
    pub fn has_begun(&self) -> bool {
        self.begun
    }

    /// Takes all of `bytes` and opens in place what can be opened; `opened` says where the plaintext is, also of what
    /// preceded a fault. Returns whether the handshake ended in this call, and if so whether an earlier session was
    /// taken up again.
    pub fn open(
        &mut self,
        bytes: &mut [u8],
        opened: &mut Opened,
    ) -> Result<Option<Established>, TlsFault> {
        opened.clear();
        self.begun = true;
        let result = self.open_all(bytes, opened);
        if result.is_err() {
            self.stage = Stage::Failed;
            self.torn = Vec::new();
        }
        result
    }

    fn open_all(
        &mut self,
        bytes: &mut [u8],
        opened: &mut Opened,
    ) -> Result<Option<Established>, TlsFault> {
        match self.stage {
            Stage::Failed => Ok(None),
            Stage::Traffic(_) => {
                let (at, farewell) = self.complete(bytes, opened)?;
                if !farewell {
                    self.open_records(&mut bytes[at..], at, opened)?;
                }
                Ok(None)
            }
            Stage::Handshake(_) => {
                self.torn.extend_from_slice(bytes);
                let established = self.shake_hands()?;
                if established.is_some() && !self.torn.is_empty() {
                    let mut whole = std::mem::take(&mut self.torn);
                    let result = self.open_records(&mut whole, 0, opened);
                    opened.gathered_ranges.append(&mut opened.ranges);
                    opened.gathered = whole;
                    result?;
                }
                Ok(established)
            }
        }
    }

    fn shake_hands(&mut self) -> Result<Option<Established>, TlsFault> {
        let Self { stage, torn, outgoing, .. } = self;
        let Stage::Handshake(handshake) = stage else { return Ok(None) };
        check_first(torn, handshake.is_server())?;
        let (used, done) = handshake.advance(torn, outgoing)?;
        if used == torn.len() {
            *torn = Vec::new();
        } else {
            torn.drain(..used);
        }
        if !done {
            return Ok(None);
        }
        let resumed = handshake.is_resumed();
        let Stage::Handshake(handshake) = std::mem::replace(stage, Stage::Failed) else {
            return Ok(None);
        };
        *stage = Stage::Traffic(Box::new(handshake.into_traffic()?));
        Ok(Some(Established { resumed }))
    }

    /// Completes the record that an earlier call saw the beginning of: how much of `bytes` that took, and whether the
    /// peer said farewell in it.
    fn complete(&mut self, bytes: &[u8], opened: &mut Opened) -> Result<(usize, bool), TlsFault> {
        if self.torn.is_empty() {
            return Ok((0, false));
        }
        let mut at = HEADER_BYTES.saturating_sub(self.torn.len()).min(bytes.len());
        self.torn.extend_from_slice(&bytes[..at]);
        let Some(len) = record_bytes(&self.torn)? else { return Ok((at, false)) };
        let more = (len - self.torn.len()).min(bytes.len() - at);
        self.torn.reserve_exact(len - self.torn.len());
        self.torn.extend_from_slice(&bytes[at..at + more]);
        at += more;
        if self.torn.len() < len {
            return Ok((at, false));
        }
        let mut record = std::mem::take(&mut self.torn);
        let content = self.open_record(&mut record);
        opened.gathered = record;
        match content? {
            Content::Plain(range) => opened.gathered_ranges.push(range),
            Content::Nothing => {}
            Content::Farewell => opened.farewell = true,
        }
        Ok((at, opened.farewell))
    }

    /// Opens the records of `bytes`, which begin `base` bytes behind what the ranges count from; what is left of them
    /// waits for more.
    fn open_records(
        &mut self,
        bytes: &mut [u8],
        base: usize,
        opened: &mut Opened,
    ) -> Result<(), TlsFault> {
        let mut at = 0;
        while at < bytes.len() {
            let len = record_bytes(&bytes[at..])?;
            let Some(len) = len.filter(|len| at + len <= bytes.len()) else {
                self.torn = Vec::with_capacity(len.unwrap_or(HEADER_BYTES));
                self.torn.extend_from_slice(&bytes[at..]);
                return Ok(());
            };
            match self.open_record(&mut bytes[at..at + len])? {
                Content::Plain(range) => {
                    opened.ranges.push(base + at + range.start..base + at + range.end);
                }
                Content::Nothing => {}
                Content::Farewell => {
                    opened.farewell = true;
                    return Ok(());
                }
            }
            at += len;
        }
        Ok(())
    }

    fn open_record(&mut self, record: &mut [u8]) -> Result<Content, TlsFault> {
        match &mut self.stage {
            Stage::Traffic(traffic) => traffic.open(record, &mut self.outgoing),
            _ => Ok(Content::Nothing),
        }
    }

    /// Seals `parts`, one behind the other, in as few records as possible; `sealed` gets each. What
    /// [`Session::outgoing`] has must be sent before.
    pub fn seal(
        &mut self,
        parts: &[&[u8]],
        mut sealed: impl FnMut(Vec<u8>),
    ) -> Result<(), TlsFault> {
        match &mut self.stage {
            Stage::Traffic(traffic) => traffic.seal(parts, &mut sealed),
            _ => Ok(()),
        }
    }

    /// Says that nothing more follows; false when there is nobody to say it to, or it was said before.
    pub fn say_farewell(&mut self) -> bool {
        match &mut self.stage {
            Stage::Traffic(traffic) => traffic.say_farewell(&mut self.outgoing),
            _ => false,
        }
    }

    /// Whether TLS itself has something to say.
    pub fn has_outgoing(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// What TLS itself has to say; to be sent before what is sealed after this.
    pub fn outgoing(&mut self) -> Option<Vec<u8>> {
        if self.outgoing.is_empty() {
            return None;
        }
        if let Stage::Traffic(traffic) = &mut self.stage {
            traffic.sent();
        }
        Some(std::mem::take(&mut self.outgoing))
    }
}

/// A handshake that ended well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Established {
    /// An earlier session was taken up again, which spares the signature.
    pub resumed: bool,
}

impl Opened {
    fn clear(&mut self) {
        self.gathered = Vec::new();
        self.gathered_ranges.clear();
        self.ranges.clear();
        self.farewell = false;
    }
}

/// Says what the other side speaks when its first byte shows that it is not TLS.
fn check_first(bytes: &[u8], server: bool) -> Result<(), TlsFault> {
    match bytes.first() {
        None | Some(20..=23) => Ok(()),
        Some(b'A'..=b'Z') if server => {
            Err(TlsFault::new(FaultKind::Plaintext, "a client spoke HTTP without TLS"))
        }
        Some(_) if server => Err(TlsFault::malformed("what came is no TLS")),
        Some(_) => {
            Err(TlsFault::malformed("what came is no TLS. Does the server speak TLS on this port?"))
        }
    }
}
