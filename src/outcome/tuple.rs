//! What a tuple is made of: plain bytes and times, nothing of the replayer's own types.

/// An HTTP/1.x message as it was on the wire: head, body, chunk framing and trailers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Message {
    /// Head and body; perhaps cut, see `wire_bytes`.
    pub bytes: Vec<u8>,
    /// Bytes of the head with its blank line.
    pub head_bytes: usize,
    /// Bytes the message had on the wire; more than `bytes.len()` when it was cut.
    pub wire_bytes: u64,
}

impl Message {
    /// A message of which every byte is there.
    pub fn whole(bytes: Vec<u8>, head_bytes: usize) -> Self {
        let wire_bytes = bytes.len() as u64;
        Self { bytes, head_bytes, wire_bytes }
    }

    /// Not all of it was kept.
    pub fn is_cut(&self) -> bool {
        self.wire_bytes > self.bytes.len() as u64
    }
}

/// A response and how long it took.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reply {
    /// The final response.
    pub message: Message,
    /// From the source: last byte of the request to last byte of the response, as captured. From the target: first
    /// byte sent to last byte of the response. Nanoseconds; negative when the source answered before the request's
    /// end.
    pub took_ns: i64,
}

/// What went, or would have gone, to the target.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum TargetRequest {
    /// Nothing: a filter took the request out, or it ended before it could be sent.
    #[default]
    NotSent,
    /// The source's request byte for byte; no copy is needed.
    AsCaptured,
    /// The source's request with this head in place of its own.
    OtherHead(Vec<u8>),
    /// Something else.
    Changed(Message),
}

/// One try at the target.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attempt {
    /// What came back, whole or in part.
    pub reply: Option<Reply>,
    /// What went wrong.
    pub error: Option<String>,
}

/// Everything known of one replayed request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tuple {
    /// The captured connection's id.
    pub connection: String,
    /// The request's number in it.
    pub index: u64,
    /// What the client sent.
    pub source_request: Message,
    /// What the source answered, if any of it was captured.
    pub source_response: Option<Reply>,
    /// What was sent instead.
    pub target_request: TargetRequest,
    /// All tries, in order.
    pub target_responses: Vec<Attempt>,
    /// Why the request as a whole has no proper outcome.
    pub error: Option<String>,
    /// It may have reached the target twice: sent again after a connection broke, or after a restart.
    pub possible_duplicate: bool,
    /// What was done to it, as stable kebab-case words: `ids-pinned`, `items-left-out`, …
    pub notes: Vec<&'static str>,
}

impl Tuple {
    /// Bytes it holds, for budgets.
    pub fn bytes(&self) -> usize {
        let reply = |reply: &Reply| reply.message.bytes.len();
        let changed = match &self.target_request {
            TargetRequest::Changed(message) => message.bytes.len(),
            TargetRequest::OtherHead(head) => head.len(),
            TargetRequest::NotSent | TargetRequest::AsCaptured => 0,
        };
        let attempts = self.target_responses.iter().filter_map(|attempt| attempt.reply.as_ref());
        self.source_request.bytes.len()
            + self.source_response.as_ref().map_or(0, reply)
            + changed
            + attempts.map(reply).sum::<usize>()
            + std::mem::size_of::<Self>()
    }
}
