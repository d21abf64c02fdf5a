//! What goes in and comes out: limits, events, counters.

use std::rc::Rc;

use crate::{
    http,
    replay::exchange::{
        Answer, ConnectionId, ConnectionName, ExchangeId, Mark, Request, Unanswered,
    },
};

/// The bounds of reassembly.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Of the framing.
    pub http: http::Limits,
    /// The longest request, head and body; a longer one is a [`TroubleKind::TooLarge`].
    pub request_bytes_max: usize,
    /// So much is kept of an answer; what is beyond is counted.
    pub answer_bytes_max: usize,
    /// Of which answers bytes are kept at all.
    pub keep_answers: KeepAnswers,
    /// A conversation without anything newer, in captured time, is over. Nanoseconds.
    pub connection_timeout_ns: i64,
    /// How far back, in sequence numbers of a worker, a duplicate is recognised.
    pub duplicates_window: usize,
}

/// Which answers are worth their memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeepAnswers {
    /// All: somebody reads them.
    All,
    /// Of safe requests only status, times and length; of documents read and of `GET /` all the same everything.
    Writes,
}

/// What a record completed or ended.
#[derive(Debug)]
pub enum Event {
    /// A whole request. The hold on its mark is the caller's from here on.
    Request(Request),
    /// The answer to an earlier request.
    Answer {
        /// Whose.
        id: ExchangeId,
        /// What.
        answer: Answer,
    },
    /// There will be none.
    Unanswered {
        /// Whose.
        id: ExchangeId,
        /// Why.
        why: Unanswered,
    },
    /// The request never reached the source: it must not be sent.
    Undelivered {
        /// Which.
        id: ExchangeId,
    },
    /// The lane of the request went to somebody else, before its answer was known.
    Forgotten {
        /// Which.
        id: ExchangeId,
    },
    /// A large bulk has begun and goes on in a later record: the source may apply what is there of it.
    Arriving {
        /// On which.
        connection: ConnectionId,
        /// Its first byte, Unix nanoseconds.
        first_ns: i64,
    },
    /// It came out of the connection, or never will.
    Arrived {
        /// Of which.
        connection: ConnectionId,
    },
    /// A connection from which a request came is over.
    ConnectionEnded {
        /// Which.
        connection: ConnectionId,
        /// When, Unix nanoseconds.
        at_ns: i64,
    },
    /// Something in the records is amiss.
    Trouble(Trouble),
}

/// What is amiss. Whatever it says, nothing of it is among the requests.
#[derive(Debug)]
pub struct Trouble {
    /// The record: in which the request begins, or in which it shows. Not held any more.
    pub mark: Mark,
    /// Whose.
    pub connection: Rc<ConnectionName>,
    /// What.
    pub kind: TroubleKind,
    /// In one line.
    pub reason: String,
    /// What there is of the request, to be looked at.
    pub bytes: Vec<u8>,
}

/// The kinds of [`Trouble`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TroubleKind {
    /// Records of the connection are missing.
    Gap,
    /// A request is not whole.
    Truncated,
    /// A request beyond the limit, or beyond the memory.
    TooLarge,
    /// Bytes that are no request.
    NotARequest,
    /// Bytes that are no response, or another request's.
    Unreadable,
    /// A response that ends with its connection before its own end.
    CutOff,
    /// The capture says that traffic passed by it.
    Uncaptured,
}

impl TroubleKind {
    /// The stable label for metrics and quarantine, in snake case.
    pub fn label(self) -> &'static str {
        match self {
            Self::Gap => "records_missing",
            Self::Truncated => "request_truncated",
            Self::TooLarge => "request_too_large",
            Self::NotARequest => "not_a_request",
            Self::Unreadable => "response_unreadable",
            Self::CutOff => "response_cut_off",
            Self::Uncaptured => "uncaptured",
        }
    }
}

/// What was read and what came of it, since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Records, all of them.
    pub records: u64,
    /// Records that had been there before.
    pub duplicates: u64,
    /// Records behind a later one of their connection.
    pub late: u64,
    /// Conversations begun.
    pub connections: u64,
    /// Conversations that ended for want of anything newer.
    pub expired: u64,
    /// Records that are no traffic: a worker of the capture says where it stands.
    pub heartbeats: u64,
    /// Whole requests.
    pub requests: u64,
    /// Answers, whole.
    pub answers: u64,
    /// Requests without one.
    pub unanswered: u64,
    /// Places where records of a connection are missing.
    pub gaps: u64,
    /// The records that are missing there.
    pub missing_records: u64,
    /// Requests that are not whole.
    pub truncated: u64,
    /// Requests beyond the limit or the memory.
    pub too_large: u64,
    /// Bytes that are no request, times.
    pub not_requests: u64,
    /// Requests that were taken in spite of bare line feeds or folded lines.
    pub mended: u64,
    /// Requests that the capture itself gave up.
    pub dropped_by_capture: u64,
    /// Requests that tapline refused when they were captured; the source never saw them.
    pub refused: u64,
    /// Requests in the records that never reached the source.
    pub undelivered: u64,
    /// Of these, such as were settled before the note came.
    pub undelivered_late: u64,
    /// Notes of traffic that passed uncaptured.
    pub uncaptured_notes: u64,
    /// Requests that passed uncaptured.
    pub uncaptured_requests: u64,
    /// Bytes that passed uncaptured, both directions.
    pub uncaptured_bytes: u64,
    /// Requests that the capture left out on purpose, with their whole answers: what is there still matches.
    pub left_out: u64,
    /// Responses that could not be read or told apart.
    pub unreadable: u64,
    /// Responses that ended with the connection.
    pub cut_off: u64,
    /// Bytes of requests whose beginning is not in the records.
    pub ignored_request_bytes: u64,
    /// Bytes of responses that answer nothing in the records.
    pub ignored_response_bytes: u64,
    /// Bytes after a switch of protocols, both directions.
    pub tunnel_bytes: u64,
}
