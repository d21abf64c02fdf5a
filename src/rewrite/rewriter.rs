//! One request through all that is asked of it.
//!
//! Owns the order of the steps and what becomes of a request at which one of them failed.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::edits::Edits;
use super::message::{Message, framed};
use super::object::{self, Outcome};
use super::program::Program;
use super::settings::{Auth, OnError, Settings, Transform};
use super::sigv4::{Credentials, Signer};
use super::type_mapping::TypeMapping;
use crate::http::{Method, RequestHead};

/// Rewrites the requests of a run, one after another.
pub struct Rewriter {
    edits: Edits,
    filter: Option<Program>,
    transforms: Vec<Step>,
    signer: Option<Signer>,
    on_error: OnError,
    pulse: Arc<AtomicU64>,
}

/// What became of a request.
#[derive(Debug, PartialEq, Eq)]
pub enum Rewritten {
    /// It goes out byte for byte.
    Untouched,
    /// It goes out as this.
    Changed(Changed),
    /// It is not sent: the filter or a transform says so.
    Filtered,
    /// It has to be signed and the credentials are missing or over: try again when there are new ones.
    Unsigned,
    /// A program failed on it, or it cannot be signed.
    Failed {
        /// What happened, for the log and the tuple.
        why: String,
        /// What goes out instead.
        instead: Instead,
    },
}

/// A head after the edits.
#[derive(Debug, PartialEq, Eq)]
pub enum EditedHead {
    /// It is as it was.
    Untouched,
    /// It is this.
    Changed(Vec<u8>),
}

/// A request that differs from what was captured.
#[derive(Debug, PartialEq, Eq)]
pub struct Changed {
    /// The whole message.
    pub bytes: Vec<u8>,
    /// Its method is HEAD: the answer has no body.
    pub head_request: bool,
}

/// What goes out for a request on which a program failed.
#[derive(Debug, PartialEq, Eq)]
pub enum Instead {
    /// The captured bytes.
    Untouched,
    /// The captured request, with the header edits and the signature alone.
    Changed(Changed),
    /// Nothing; it is put aside.
    Quarantine,
}

enum Step {
    Program(Program),
    TypeMapping(TypeMapping),
}

impl Rewriter {
    /// Checks the settings and compiles the programs. The error says what is wrong and what to do.
    pub fn new(settings: &Settings) -> Result<Self, String> {
        let filter = settings.filter.as_deref();
        let step = |transform: &Transform| match transform {
            Transform::Jq { name, source } => Program::new(name, source).map(Step::Program),
            Transform::TypeMapping(mapping) => {
                mapping.check().map(|()| Step::TypeMapping(mapping.clone()))
            }
        };
        let signer = match &settings.auth {
            Auth::SigV4 { service, region } => Some(Signer::new(service, region)?),
            _ => None,
        };
        Ok(Self {
            edits: Edits::new(settings)?,
            filter: filter.map(|filter| Program::new("--request-filter", filter)).transpose()?,
            transforms: settings.transforms.iter().map(step).collect::<Result<_, _>>()?,
            signer,
            on_error: settings.on_error,
            pulse: Arc::default(),
        })
    }

    /// Every request goes out byte for byte.
    pub fn is_identity(&self) -> bool {
        self.edits.is_empty()
            && self.filter.is_none()
            && self.transforms.is_empty()
            && self.signer.is_none()
    }

    /// Rises whenever programs begin with a request, and when they are done with it: odd while they run. `None` without
    /// programs.
    pub fn pulse(&self) -> Option<Arc<AtomicU64>> {
        let is_program = |step: &Step| matches!(step, Step::Program(_));
        let any = self.filter.is_some() || self.transforms.iter().any(is_program);
        any.then(|| Arc::clone(&self.pulse))
    }

    /// Requests are signed, each time anew: [`Rewriter::apply`] needs credentials, and [`Rewriter::sign_again`] is to
    /// be called before a request goes out once more.
    pub fn signs(&self) -> bool {
        self.signer.is_some()
    }

    /// What header edits make of the head of `request`, where they are all that is asked for: what follows the head
    /// needs no copy then. `None`: [`Rewriter::apply`] is to be asked.
    pub fn edit_head(&self, request: &[u8], head: &RequestHead) -> Option<EditedHead> {
        if self.filter.is_some() || !self.transforms.is_empty() || self.signer.is_some() {
            return None;
        }
        let edited = self.edits.apply_to_head(request, head);
        Some(edited.map_or(EditedHead::Untouched, EditedHead::Changed))
    }

    /// Rewrites `request`, one whole message whose head says `head`. `now_unix_s` and `credentials` are those of the
    /// signature; nothing else depends on them.
    pub fn apply(
        &mut self,
        request: &[u8],
        head: &RequestHead,
        now_unix_s: i64,
        credentials: Option<&Credentials>,
    ) -> Rewritten {
        let signature = match self.signature(now_unix_s, credentials) {
            Ok(signature) => signature,
            Err(unsigned) => return unsigned,
        };
        if self.filter.is_none() && self.transforms.is_empty() {
            return match self.finished(request, head, signature) {
                Ok(None) => Rewritten::Untouched,
                Ok(Some(changed)) => Rewritten::Changed(changed),
                Err(why) => Rewritten::Failed { why, instead: Instead::Quarantine },
            };
        }
        self.pulse.fetch_add(1, Ordering::Relaxed);
        let transformed = self.transformed(request, head);
        self.pulse.fetch_add(1, Ordering::Relaxed);
        let (why, on_error) = match transformed {
            Ok(None) => return Rewritten::Filtered,
            Ok(Some(made)) => {
                let finished = match &made {
                    Made::AsItWas => self.finished(request, head, signature),
                    Made::Anew(bytes, head) => self.finished(bytes, head, signature),
                };
                match (finished, made) {
                    (Ok(Some(changed)), _) => return Rewritten::Changed(changed),
                    (Ok(None), Made::AsItWas) => return Rewritten::Untouched,
                    (Ok(None), Made::Anew(bytes, head)) => {
                        return Rewritten::Changed(Changed { bytes, head_request: is_head(&head) });
                    }
                    (Err(why), _) => (why, OnError::Quarantine),
                }
            }
            Err(why) => (why, self.on_error),
        };
        let instead = match on_error {
            OnError::Quarantine => Instead::Quarantine,
            OnError::SendOriginal => match self.finished(request, head, signature) {
                Ok(None) => Instead::Untouched,
                Ok(Some(changed)) => Instead::Changed(changed),
                Err(_) => Instead::Quarantine,
            },
        };
        Rewritten::Failed { why, instead }
    }

    /// A request that this rewriter made, or one made of it for a retry, with a new signature: the services refuse one
    /// that is older than five minutes or of another body. Untouched where nothing is signed.
    pub fn sign_again(
        &self,
        sent: &[u8],
        now_unix_s: i64,
        credentials: Option<&Credentials>,
    ) -> Rewritten {
        let signature = match self.signature(now_unix_s, credentials) {
            Ok(Some(signature)) => signature,
            Ok(None) => return Rewritten::Untouched,
            Err(unsigned) => return unsigned,
        };
        let signed = framed(sent).and_then(|head| {
            let bare = Edits::for_signature().apply(sent, &head, 0);
            let bytes = bare.as_deref().unwrap_or(sent);
            Ok(Changed { bytes: signature.sign(bytes)?, head_request: is_head(&head) })
        });
        match signed {
            Ok(changed) => Rewritten::Changed(changed),
            Err(why) => Rewritten::Failed { why, instead: Instead::Quarantine },
        }
    }

    fn signature<'a>(
        &'a self,
        now_unix_s: i64,
        credentials: Option<&'a Credentials>,
    ) -> Result<Option<Signature<'a>>, Rewritten> {
        let Some(signer) = &self.signer else { return Ok(None) };
        match credentials.filter(|credentials| credentials.hold_at(now_unix_s)) {
            Some(credentials) => Ok(Some(Signature { signer, now_unix_s, credentials })),
            None => Err(Rewritten::Unsigned),
        }
    }

    /// What filter and transforms make of a request; `None` when it is not to be sent.
    fn transformed(&self, request: &[u8], head: &RequestHead) -> Result<Option<Made>, String> {
        if let Some(filter) = &self.filter
            && !object::passes(filter, &Message::new(request, head))?
        {
            return Ok(None);
        }
        let mut made = Made::AsItWas;
        for step in &self.transforms {
            let message = match &made {
                Made::AsItWas => Message::new(request, head),
                Made::Anew(bytes, head) => Message::new(bytes, head),
            };
            let outcome = match step {
                Step::Program(program) => object::transform(program, &message)?,
                Step::TypeMapping(mapping) => mapping.sanitized(&message)?,
            };
            match outcome {
                Outcome::Unchanged => {}
                Outcome::Nothing => return Ok(None),
                Outcome::Changed(bytes) => {
                    let head = framed(&bytes)?;
                    made = Made::Anew(bytes, Box::new(head));
                }
            }
        }
        Ok(Some(made))
    }

    /// Header edits and signature; `None` when there was nothing to do.
    fn finished(
        &self,
        request: &[u8],
        head: &RequestHead,
        signature: Option<Signature<'_>>,
    ) -> Result<Option<Changed>, String> {
        let edited = self.edits.apply(request, head, 0);
        let bytes = match signature {
            None => edited,
            Some(signature) => Some(signature.sign(edited.as_deref().unwrap_or(request))?),
        };
        Ok(bytes.map(|bytes| Changed { bytes, head_request: is_head(head) }))
    }
}

/// A request after the transforms.
enum Made {
    AsItWas,
    Anew(Vec<u8>, Box<RequestHead>),
}

#[derive(Clone, Copy)]
struct Signature<'a> {
    signer: &'a Signer,
    now_unix_s: i64,
    credentials: &'a Credentials,
}

impl Signature<'_> {
    fn sign(&self, bytes: &[u8]) -> Result<Vec<u8>, String> {
        let head = framed(bytes)?;
        let message = Message::new(bytes, &head);
        let (bytes, head) = match object::without_chunks(&message)? {
            None => (Cow::Borrowed(bytes), head),
            Some(bytes) => {
                let head = framed(&bytes)?;
                (Cow::Owned(bytes), head)
            }
        };
        self.signer.sign(&Message::new(&bytes, &head), self.now_unix_s, self.credentials)
    }
}

fn is_head(head: &RequestHead) -> bool {
    head.method == Method::Head
}
