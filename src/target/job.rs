//! What a worker is asked for and what it hands back.

use std::{fmt, sync::Arc};

use crate::{http::Malformed, ring::Errno};

/// A request to be sent once, as it is.
#[derive(Debug, Default)]
pub struct Job {
    /// The caller's name for it, handed back with the reply.
    pub id: u64,
    /// What goes before the rest, or nothing.
    pub head: Vec<u8>,
    /// The request from [`Self::from`] on: head and body as they go over the wire, or what follows [`Self::head`].
    pub bytes: Vec<u8>,
    /// Bytes in front of `bytes` that are not sent: what `head` stands for. With `head` there is always one to send.
    pub from: usize,
    /// A HEAD request: its response has no body, whatever the head says (RFC 9110 section 9.3.2).
    pub head_request: bool,
    /// Bytes of the response (head and body) to hand back at most; the head is handed back whole in any case, but for
    /// 0: then nothing is, unless the status is 400 or above.
    pub keep: usize,
}

/// What became of a job. Times are those of the clock that the worker is turned with, in nanoseconds, and 0 where it
/// did not come to that.
#[derive(Debug)]
pub struct Reply {
    /// The job's.
    pub id: u64,
    /// The job's.
    pub head: Vec<u8>,
    /// The job's.
    pub bytes: Vec<u8>,
    /// The final response, or why there is none.
    pub result: Result<Response, Broken>,
    /// When the job was given to a connection, made or yet to be made.
    pub started_ns: u64,
    /// When the last byte of the request was in the socket's buffer.
    pub sent_ns: u64,
    /// When the result was known.
    pub finished_ns: u64,
}

/// A final response; interim ones (RFC 9110 section 15.2) are left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Head and body, chunk framing included; perhaps cut, see `whole`.
    pub bytes: Vec<u8>,
    /// Bytes of the head with its blank line; 0 when nothing was wanted of the response.
    pub head_bytes: usize,
    /// All of it is in `bytes`.
    pub whole: bool,
    /// Bytes it had on the wire.
    pub wire_bytes: u64,
}

/// Why a job has no response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Broken {
    /// No address could be connected to; the last one's error. Nothing was sent.
    Connect(Errno),
    /// The last address did not answer the connect in time, or the handshake of TLS took too long. Nothing was sent.
    ConnectTimeout,
    /// The process or the host is out of descriptors or memory, and no other connection is there to wait for. Nothing
    /// was sent.
    NoDescriptors(Errno),
    /// The connection was closed (`None`) or reset within the handshake of TLS. Nothing of the request was sent.
    Unsecured(Option<Errno>),
    /// The target's certificate is not to be trusted, or what it says is no TLS.
    Tls {
        /// Found within the handshake: nothing of the request was sent, and waiting will not help.
        handshake: bool,
        /// What is wrong and what to do.
        text: Arc<str>,
    },
    /// The connection was closed or reset before the response was whole.
    Lost {
        /// The connection had carried a request before: it may have been closed by the target as an idle one, and then
        /// the request was not read.
        reused: bool,
        /// Bytes of a response had come.
        response_begun: bool,
        /// `None`: the target closed it in order.
        error: Option<Errno>,
    },
    /// No byte came or went for as long as is allowed.
    Timeout {
        /// Bytes of a response had come.
        response_begun: bool,
    },
    /// The response's framing was nonsense.
    Malformed(Malformed),
    /// [`super::ConductorEnd::cancel_all`] was called. The target may have read the request.
    Cancelled,
}

impl Broken {
    /// No byte of the request was given to the kernel: to send it again changes nothing at the target twice.
    pub fn is_unsent(&self) -> bool {
        matches!(
            self,
            Self::Connect(_)
                | Self::ConnectTimeout
                | Self::NoDescriptors(_)
                | Self::Unsecured(_)
                | Self::Tls { handshake: true, .. }
        )
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let begun = |begun: bool| if begun { "within the response" } else { "before a response" };
        match self {
            Self::Connect(errno) => write!(f, "cannot connect to the target: {errno}"),
            Self::ConnectTimeout => f.write_str("cannot connect to the target: no answer in time"),
            Self::NoDescriptors(errno) => {
                write!(f, "cannot open a socket: {errno}; raise the limit of open files")
            }
            Self::Unsecured(None) => f.write_str(
                "the target closed the connection within the TLS handshake: does it speak TLS on this port?",
            ),
            Self::Unsecured(Some(errno)) => {
                write!(f, "the connection broke within the TLS handshake: {errno}")
            }
            Self::Tls { text, .. } => write!(f, "no TLS with the target: {text}"),
            Self::Lost { response_begun, error: None, .. } => {
                write!(f, "the target closed the connection {}", begun(*response_begun))
            }
            Self::Lost { response_begun, error: Some(errno), .. } => {
                write!(f, "the connection broke {}: {errno}", begun(*response_begun))
            }
            Self::Timeout { response_begun } => {
                write!(f, "the target was silent for too long {}", begun(*response_begun))
            }
            Self::Malformed(fault) => {
                write!(f, "the target's response is no HTTP/1: {}", fault.reason())
            }
            Self::Cancelled => f.write_str("cancelled"),
        }
    }
}
