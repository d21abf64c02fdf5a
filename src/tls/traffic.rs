//! A connection after its handshake: plaintext in and out of records, and the few messages beside it.
//!
//! rustls hands a finished handshake over for this (`rustls::kernel`, made for TLS in the kernel): secrets, and the
//! schedule of later ones. Its own connection would copy every record's plaintext out into memory of its own; here a
//! record is opened where it lies and sealed from where its parts lie.

use std::ops::Range;

use rustls::{
    AlertDescription, ConnectionTrafficSecrets, ContentType, Error, ExtractedSecrets,
    ProtocolVersion, SupportedCipherSuite, client::ClientConnectionData,
    crypto::cipher::OutboundChunks, kernel::KernelConnection, server::ServerConnectionData,
};

use super::{
    fault::TlsFault,
    record::{Opener, PLAIN_BYTES_MAX, Sealer},
};

/// What later keys come from.
pub(super) enum Keys {
    Client(KernelConnection<ClientConnectionData>),
    Server(KernelConnection<ServerConnectionData>),
}

pub(super) struct Traffic {
    keys: Keys,
    opener: Opener,
    sealer: Sealer,
    /// Part of a handshake message that goes on in the next record.
    message: Vec<u8>,
    /// Records in a row that carried nothing.
    empty: u32,
    renegotiation_refused: bool,
    /// We said that nothing more follows.
    said_farewell: bool,
    /// A change of our keys was asked for and is announced in what is not sent yet.
    answered_update: bool,
}

/// What a record had.
pub(super) enum Content {
    /// Plaintext: this stretch of the record.
    Plain(Range<usize>),
    /// Something for TLS itself.
    Nothing,
    /// The peer says that nothing more follows.
    Farewell,
}

impl Traffic {
    pub(super) fn new(keys: Keys, secrets: ExtractedSecrets) -> Result<Self, TlsFault> {
        let suite = keys.suite();
        Ok(Self {
            opener: Opener::new(suite, secrets.rx)?,
            sealer: Sealer::new(suite, secrets.tx)?,
            keys,
            message: Vec::new(),
            empty: 0,
            renegotiation_refused: false,
            said_farewell: false,
            answered_update: false,
        })
    }

    /// Opens one whole record in place. What TLS itself has to answer goes to `outgoing`; after a fault, the alert.
    pub(super) fn open(
        &mut self,
        record: &mut [u8],
        outgoing: &mut Vec<u8>,
    ) -> Result<Content, TlsFault> {
        let result = self.open_record(record, outgoing);
        if let Err(fault) = &result
            && fault.kind() != super::FaultKind::Alert
        {
            self.alert(AlertDescription::UnexpectedMessage, outgoing);
        }
        result
    }

    fn open_record(
        &mut self,
        record: &mut [u8],
        outgoing: &mut Vec<u8>,
    ) -> Result<Content, TlsFault> {
        let first = record.as_ptr().addr();
        let (typ, plain) = match self.opener.open(record) {
            Ok(opened) => opened,
            Err(fault) => {
                self.alert(AlertDescription::BadRecordMac, outgoing);
                return Err(fault);
            }
        };
        if plain.is_empty() {
            self.empty += 1;
            if self.empty > EMPTY_MAX {
                return Err(TlsFault::malformed("the peer sends records without content"));
            }
        } else {
            self.empty = 0;
        }
        match typ {
            ContentType::ApplicationData if !self.message.is_empty() => {
                Err(TlsFault::malformed("plaintext within a handshake message"))
            }
            ContentType::ApplicationData if plain.is_empty() => Ok(Content::Nothing),
            ContentType::ApplicationData => {
                let start = plain.as_ptr().addr() - first;
                Ok(Content::Plain(start..start + plain.len()))
            }
            ContentType::Alert => self.alerted(plain),
            ContentType::Handshake => self.told(plain, outgoing).map(|()| Content::Nothing),
            _ => Err(TlsFault::malformed("a record of a kind that does not belong here")),
        }
    }

    fn alerted(&self, alert: &[u8]) -> Result<Content, TlsFault> {
        let &[level, description] = alert else {
            return Err(TlsFault::malformed("an alert of a wrong length"));
        };
        match (level, AlertDescription::from(description)) {
            (_, AlertDescription::CloseNotify) => Ok(Content::Farewell),
            (_, AlertDescription::UserCanceled) => Ok(Content::Nothing),
            (WARNING, _) if !self.is_13() => Ok(Content::Nothing),
            (_, description) => Err(Error::AlertReceived(description).into()),
        }
    }

    /// Handshake messages behind the handshake (RFC 8446 section 4.6).
    fn told(&mut self, part: &[u8], outgoing: &mut Vec<u8>) -> Result<(), TlsFault> {
        self.message.extend_from_slice(part);
        while let Some(&[typ, a, b, c]) = self.message.first_chunk() {
            let end = 4 + usize::from(a) * 65536 + usize::from(b) * 256 + usize::from(c);
            if end > MESSAGE_BYTES_MAX {
                return Err(TlsFault::malformed("a handshake message is too long"));
            }
            if self.message.len() < end {
                break;
            }
            let rest = self.message.split_off(end);
            let message = std::mem::replace(&mut self.message, rest);
            match (typ, self.is_13(), &mut self.keys) {
                (NEW_SESSION_TICKET, true, Keys::Client(keys)) => {
                    keys.handle_new_session_ticket(&message[4..])?;
                }
                (KEY_UPDATE, true, _) => self.update(&message[4..], outgoing)?,
                (HELLO_REQUEST, false, Keys::Client(_))
                | (CLIENT_HELLO, false, Keys::Server(_)) => {
                    self.refuse_renegotiation(outgoing)?;
                }
                _ => return Err(TlsFault::malformed("a handshake message that nothing asked for")),
            }
        }
        if self.message.is_empty() {
            self.message = Vec::new();
        }
        Ok(())
    }

    /// The peer has changed its keys, and may want us to change ours (RFC 8446 section 4.6.3).
    fn update(&mut self, request: &[u8], outgoing: &mut Vec<u8>) -> Result<(), TlsFault> {
        if !self.message.is_empty() {
            return Err(TlsFault::malformed("a change of keys within a record"));
        }
        let next = match &mut self.keys {
            Keys::Client(keys) => keys.update_rx_secret(),
            Keys::Server(keys) => keys.update_rx_secret(),
        };
        self.opener = Opener::new(self.keys.suite(), next?)?;
        match request {
            [0] => Ok(()),
            // One answer to several requests is enough, and all that a flood of them gets.
            [1] if self.answered_update || self.said_farewell => Ok(()),
            [1] => {
                self.answered_update = true;
                self.renew(outgoing)
            }
            _ => Err(TlsFault::malformed("a change of keys that is none")),
        }
    }

    /// Seals with new keys from here on.
    fn renew(&mut self, outgoing: &mut Vec<u8>) -> Result<(), TlsFault> {
        let message = [KEY_UPDATE, 0, 0, 1, 0];
        let record = self.sealer.seal(ContentType::Handshake, message[..].into())?;
        outgoing.extend_from_slice(&record);
        self.sealer = Sealer::new(self.keys.suite(), self.keys.next_tx()?)?;
        Ok(())
    }

    /// Once, as RFC 5246 section 7.2.2 has it; who insists is not spoken to any more.
    fn refuse_renegotiation(&mut self, outgoing: &mut Vec<u8>) -> Result<(), TlsFault> {
        if std::mem::replace(&mut self.renegotiation_refused, true) {
            return Err(TlsFault::malformed("the peer insists on renegotiation"));
        }
        let alert = [WARNING, u8::from(AlertDescription::NoRenegotiation)];
        outgoing.extend_from_slice(&self.sealer.seal(ContentType::Alert, alert[..].into())?);
        Ok(())
    }

    /// Seals `parts`, one behind the other, in as few records as possible; `sealed` gets each.
    pub(super) fn seal(
        &mut self,
        parts: &[&[u8]],
        sealed: &mut impl FnMut(Vec<u8>),
    ) -> Result<(), TlsFault> {
        let mut rest = OutboundChunks::new(parts);
        while !rest.is_empty() {
            let (now, later) = rest.split_at(PLAIN_BYTES_MAX);
            if self.sealer.is_used_up() && self.is_13() {
                let mut announcement = Vec::new();
                self.renew(&mut announcement)?;
                sealed(announcement);
            }
            sealed(self.sealer.seal(ContentType::ApplicationData, now)?);
            rest = later;
        }
        Ok(())
    }

    /// What was in `outgoing` is on its way.
    pub(super) fn sent(&mut self) {
        self.answered_update = false;
    }

    /// Says that nothing more follows; false when that was said before.
    pub(super) fn say_farewell(&mut self, outgoing: &mut Vec<u8>) -> bool {
        if std::mem::replace(&mut self.said_farewell, true) {
            return false;
        }
        let alert = [WARNING, u8::from(AlertDescription::CloseNotify)];
        match self.sealer.seal(ContentType::Alert, alert[..].into()) {
            Ok(record) => outgoing.extend_from_slice(&record),
            Err(_) => return false,
        }
        true
    }

    fn alert(&mut self, description: AlertDescription, outgoing: &mut Vec<u8>) {
        let alert = [FATAL, u8::from(description)];
        if !std::mem::replace(&mut self.said_farewell, true)
            && let Ok(record) = self.sealer.seal(ContentType::Alert, alert[..].into())
        {
            outgoing.extend_from_slice(&record);
        }
    }

    fn is_13(&self) -> bool {
        self.keys.version() == ProtocolVersion::TLSv1_3
    }
}

impl Keys {
    fn suite(&self) -> SupportedCipherSuite {
        match self {
            Self::Client(keys) => keys.negotiated_cipher_suite(),
            Self::Server(keys) => keys.negotiated_cipher_suite(),
        }
    }

    fn version(&self) -> ProtocolVersion {
        match self {
            Self::Client(keys) => keys.protocol_version(),
            Self::Server(keys) => keys.protocol_version(),
        }
    }

    fn next_tx(&mut self) -> Result<(u64, ConnectionTrafficSecrets), Error> {
        match self {
            Self::Client(keys) => keys.update_tx_secret(),
            Self::Server(keys) => keys.update_tx_secret(),
        }
    }
}

/// More of them in a row have no purpose but to keep us busy.
const EMPTY_MAX: u32 = 32;
/// As rustls has it.
const MESSAGE_BYTES_MAX: usize = 0xffff;

const WARNING: u8 = 1;
const FATAL: u8 = 2;

const HELLO_REQUEST: u8 = 0;
const CLIENT_HELLO: u8 = 1;
const NEW_SESSION_TICKET: u8 = 4;
const KEY_UPDATE: u8 = 24;
