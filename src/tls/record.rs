//! TLS records: where one ends, and how one is opened where it lies or sealed from where its parts lie.
//!
//! The ciphers, nonces and associated data are those of rustls' provider ([`MessageDecrypter`], [`MessageEncrypter`]).
//! What is here is what rustls' own connection would add around them: headers and sequence numbers.

use rustls::{
    ConnectionTrafficSecrets, ContentType, Error, ProtocolVersion, SupportedCipherSuite,
    crypto::cipher::{
        AeadKey, InboundOpaqueMessage, Iv, MessageDecrypter, MessageEncrypter, OutboundChunks,
        OutboundPlainMessage,
    },
};

use super::fault::TlsFault;

/// Type, version, length.
pub(super) const HEADER_BYTES: usize = 5;
/// The most plaintext of one record (RFC 8446 section 5.1).
pub(super) const PLAIN_BYTES_MAX: usize = 1 << 14;
/// What sealing may add (RFC 5246 section 6.2.3; RFC 8446 allows less).
const EXPANSION_BYTES_MAX: usize = 2048;

/// The length of the record that `bytes` begin with, header included; `None` while that cannot be told.
pub(super) fn record_bytes(bytes: &[u8]) -> Result<Option<usize>, TlsFault> {
    let Some(header) = bytes.first_chunk::<HEADER_BYTES>() else { return Ok(None) };
    if !matches!(header[0], 20..=23) || header[1] != 3 {
        return Err(TlsFault::malformed("what came is no TLS record"));
    }
    let payload = usize::from(u16::from_be_bytes([header[3], header[4]]));
    if payload > PLAIN_BYTES_MAX + EXPANSION_BYTES_MAX {
        return Err(TlsFault::malformed("a TLS record is longer than one may be"));
    }
    Ok(Some(HEADER_BYTES + payload))
}

/// The keys of what is received.
pub(super) struct Opener {
    decrypter: Box<dyn MessageDecrypter>,
    sequence: u64,
    suite: SupportedCipherSuite,
}

impl Opener {
    pub(super) fn new(
        suite: SupportedCipherSuite,
        (sequence, secrets): (u64, ConnectionTrafficSecrets),
    ) -> Result<Self, TlsFault> {
        let (key, iv) = key_and_iv(secrets)?;
        let decrypter = match suite {
            SupportedCipherSuite::Tls13(suite) => suite.aead_alg.decrypter(key, iv),
            SupportedCipherSuite::Tls12(suite) => {
                let fixed = suite.aead_alg.key_block_shape().fixed_iv_len;
                suite.aead_alg.decrypter(key, &iv.as_ref()[..fixed])
            }
        };
        Ok(Self { decrypter, sequence, suite })
    }

    /// Opens one whole record in place: what it is, and its plaintext, a stretch of `record`.
    pub(super) fn open<'a>(
        &mut self,
        record: &'a mut [u8],
    ) -> Result<(ContentType, &'a [u8]), TlsFault> {
        let (header, payload) = record.split_at_mut(HEADER_BYTES);
        let outer = ContentType::from(header[0]);
        let version = ProtocolVersion::from(u16::from_be_bytes([header[1], header[2]]));
        if self.suite.tls13().is_some() && outer != ContentType::ApplicationData {
            return Err(TlsFault::malformed("a record that should be sealed is not"));
        }
        let message = InboundOpaqueMessage::new(outer, version, payload);
        let plain = self.decrypter.decrypt(message, self.sequence)?;
        self.sequence += 1;
        Ok((plain.typ, plain.payload))
    }
}

/// The keys of what is sent.
pub(super) struct Sealer {
    encrypter: Box<dyn MessageEncrypter>,
    sequence: u64,
    /// Records that these keys may seal (RFC 8446 section 5.5).
    sequence_max: u64,
}

impl Sealer {
    pub(super) fn new(
        suite: SupportedCipherSuite,
        (sequence, secrets): (u64, ConnectionTrafficSecrets),
    ) -> Result<Self, TlsFault> {
        let (key, iv) = key_and_iv(secrets)?;
        let (encrypter, common) = match suite {
            SupportedCipherSuite::Tls13(suite) => {
                (suite.aead_alg.encrypter(key, iv), &suite.common)
            }
            SupportedCipherSuite::Tls12(suite) => {
                let fixed = suite.aead_alg.key_block_shape().fixed_iv_len;
                let (fixed, explicit) = iv.as_ref().split_at(fixed);
                (suite.aead_alg.encrypter(key, fixed, explicit), &suite.common)
            }
        };
        Ok(Self { encrypter, sequence, sequence_max: common.confidentiality_limit })
    }

    /// Whether these keys have sealed as much as they may, but for a last record of each kind of farewell.
    pub(super) fn is_used_up(&self) -> bool {
        self.sequence.saturating_add(RESERVED) >= self.sequence_max
    }

    /// One record of `parts`, at most [`PLAIN_BYTES_MAX`], in memory of its own.
    pub(super) fn seal(
        &mut self,
        typ: ContentType,
        parts: OutboundChunks<'_>,
    ) -> Result<Vec<u8>, TlsFault> {
        debug_assert!(parts.len() <= PLAIN_BYTES_MAX, "invariant: the caller cuts");
        if self.sequence >= self.sequence_max {
            return Err(Error::EncryptError.into());
        }
        // In TLS 1.3 too a record says that it is one of 1.2 (RFC 8446 section 5.1).
        let message =
            OutboundPlainMessage { typ, version: ProtocolVersion::TLSv1_2, payload: parts };
        let record = self.encrypter.encrypt(message, self.sequence)?;
        self.sequence += 1;
        Ok(record.encode())
    }
}

/// Records kept for a change of keys and an alert.
const RESERVED: u64 = 4;

fn key_and_iv(secrets: ConnectionTrafficSecrets) -> Result<(AeadKey, Iv), TlsFault> {
    match secrets {
        ConnectionTrafficSecrets::Aes128Gcm { key, iv }
        | ConnectionTrafficSecrets::Aes256Gcm { key, iv }
        | ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => Ok((key, iv)),
        _ => Err(TlsFault::malformed("a cipher suite was agreed upon that is unknown here")),
    }
}
