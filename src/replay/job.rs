//! What the core asks the workers for, and what comes back.

/// A request to be sent once.
#[derive(Debug, Default)]
pub struct Job {
    /// Its number, given back with the reply.
    pub id: u64,
    /// The head to send, or nothing when it stands in `bytes`.
    pub head: Vec<u8>,
    /// What to send, from [`Self::from`] on.
    pub bytes: Vec<u8>,
    /// Where in `bytes` that begins which goes behind `head`.
    pub from: usize,
    /// The response has no body.
    pub head_request: bool,
    /// Bytes of the response that are wanted; 0: nothing of one with a status below 400.
    pub keep: usize,
}

/// What came of a job.
#[derive(Debug)]
pub struct Reply {
    /// The job's.
    pub id: u64,
    /// The job's head.
    pub head: Vec<u8>,
    /// The job's bytes.
    pub bytes: Vec<u8>,
    /// The response, or why there is none.
    pub result: Result<Response, Broken>,
    /// From the start of sending to the result, nanoseconds.
    pub took_ns: u64,
}

/// The target's final response.
#[derive(Debug)]
pub struct Response {
    /// Status code.
    pub status: u16,
    /// Head and body, perhaps cut.
    pub bytes: Vec<u8>,
    /// Bytes of the head with its blank line.
    pub head_bytes: usize,
    /// All of it is in `bytes`.
    pub whole: bool,
    /// Bytes on the wire.
    pub wire_bytes: u64,
}

/// Why there is no response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// As far as retries depend on it.
    pub kind: BrokenKind,
    /// In words.
    pub text: String,
}

/// The kinds of [`Broken`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BrokenKind {
    /// No connection could be made; nothing was sent.
    Unconnected,
    /// A connection that had served before ended without a byte of a response.
    Stale,
    /// The connection ended within the exchange.
    Lost,
    /// No byte came for too long.
    TimedOut,
    /// What came is no HTTP response.
    Malformed,
    /// The worker was told to end.
    Cancelled,
}
