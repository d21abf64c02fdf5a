//! One socket of a simulated ring and the operations under way on it.
//!
//! An operation is under way until its final completion was handed to the worker, which may be long after the kernel
//! did its part: what the worker asks in between comes too late, as in a real ring.

use std::collections::VecDeque;

use super::net::LinkId;
use crate::ring::{Completion, SendQueue, Token};

/// The four kinds of operation, each with its own order of completions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Receive,
    Send,
    Connect,
    Watch,
}

pub(super) const KINDS: [Kind; 4] = [Kind::Receive, Kind::Send, Kind::Connect, Kind::Watch];

#[derive(Default)]
pub(super) struct Socket {
    pub(super) link: Option<LinkId>,
    pub(super) connect_asked: bool,
    operations: [Option<Operation>; KINDS.len()],
}

pub(super) struct Operation {
    pub(super) token: Token,
    /// The worker asked for its end.
    pub(super) cancelled: bool,
    /// The kernel is done with it.
    pub(super) over: bool,
    /// What the worker has not been told.
    pub(super) done: VecDeque<Completion>,
    /// For a receive: it ends with its first data, of which there is no more than this.
    pub(super) once: Option<usize>,
    /// For a send: what is left.
    pub(super) queue: SendQueue,
    /// For a send: what went.
    pub(super) sent: u64,
    /// For a connect: when it is answered, and whether well.
    pub(super) due: Option<(u64, bool)>,
    /// For a watch: the hang-up was reported.
    pub(super) reported: bool,
}

impl Socket {
    pub(super) fn accepted(link: LinkId) -> Self {
        Self { link: Some(link), connect_asked: true, ..Self::default() }
    }

    pub(super) fn get(&mut self, kind: Kind) -> Option<&mut Operation> {
        self.operations[kind as usize].as_mut()
    }

    pub(super) fn peek(&self, kind: Kind) -> Option<&Operation> {
        self.operations[kind as usize].as_ref()
    }

    pub(super) fn start(&mut self, kind: Kind, token: Token) -> &mut Operation {
        assert!(self.peek(kind).is_none(), "contract: two operations {kind:?} on one socket");
        self.operations[kind as usize].insert(Operation {
            token,
            cancelled: false,
            over: false,
            done: VecDeque::new(),
            once: None,
            queue: SendQueue::default(),
            sent: 0,
            due: None,
            reported: false,
        })
    }

    /// The next completion of an operation, and whether it was its last.
    pub(super) fn hand_over(&mut self, kind: Kind) -> Option<Completion> {
        let operation = self.get(kind)?;
        let completion = operation.done.pop_front()?;
        if operation.over && operation.done.is_empty() {
            self.operations[kind as usize] = None;
        }
        Some(completion)
    }

    pub(super) fn cancel(&mut self) {
        self.operations.iter_mut().flatten().for_each(|operation| operation.cancelled = true);
    }

    pub(super) fn is_still(&self) -> bool {
        self.operations.iter().all(Option::is_none)
    }
}

impl Operation {
    pub(super) fn end(&mut self, completion: Completion) {
        self.done.push_back(completion);
        self.over = true;
    }
}
