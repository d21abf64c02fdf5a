//! Records that hold hashes where credentials were sent: what is recorded differs from what is forwarded.
//!
//! Requests wait until a head, or a block of a body that is hidden, can be hashed as a whole; they are forwarded with
//! it. A block that never gets complete, because its client goes, is neither recorded nor forwarded. Answers are
//! forwarded as they come, and only their way into the records is delayed.

use super::{
    connection::{CLIENT, Connection, SOURCE},
    core::Core,
    recording::{CoreParts, Hold},
};
use crate::{
    filter::{HiddenBody, Redaction},
    http::{ResponsePart, ResponsePiece},
    ring::Ring,
};

/// What of a connection waits to be recorded.
#[derive(Debug, Default)]
pub(super) struct Veil {
    /// The body of the request that is arriving.
    pub(super) request: Option<HiddenBody>,
    /// The front of an answer's head.
    answer_head: Vec<u8>,
    /// The body of the answer that is arriving.
    answer: Option<HiddenBody>,
}

impl Connection {
    /// Body bytes of the request that is arriving. False when its body is not hidden.
    pub(super) fn veil_request<R: Ring>(
        &mut self,
        core: &mut CoreParts<'_, R>,
        redaction: &Redaction,
        bytes: &[u8],
        end: bool,
    ) -> bool {
        let Some(mut hidden) = self.veil.as_mut().and_then(|veil| veil.request.take()) else {
            return false;
        };
        hidden.push(redaction, bytes, &mut |block| {
            self.pass_other(core, &block.recorded, 0, block.original);
        });
        if end {
            if let Some(block) = hidden.finish(redaction) {
                self.pass_other(core, &block.recorded, 0, block.original);
            }
        } else if let Some(veil) = &mut self.veil {
            veil.request = Some(hidden);
        }
        true
    }

    /// Records a piece of an answer.
    pub(super) fn veil_answer<R: Ring>(
        &mut self,
        core: &mut CoreParts<'_, R>,
        redaction: &Redaction,
        piece: &ResponsePiece,
        bytes: &[u8],
    ) {
        let hides = self.pipeline.front().is_some_and(|asked| asked.hides_body);
        let mut veil = self.veil.take().unwrap_or_default();
        match &piece.what {
            ResponsePart::HeadPart => veil.answer_head.extend_from_slice(bytes),
            ResponsePart::Head(head) => {
                veil.answer_head.extend_from_slice(bytes);
                let head_bytes = std::mem::take(&mut veil.answer_head);
                let recorded = redaction.head(&head_bytes).unwrap_or(head_bytes);
                self.record(core, SOURCE, &recorded, Hold::No);
                veil.answer = (hides && !piece.end).then(|| HiddenBody::new(head.chunked));
            }
            ResponsePart::Body => match &mut veil.answer {
                Some(hidden) => {
                    let mut each = |recorded: &[u8]| self.record(core, SOURCE, recorded, Hold::No);
                    hidden.push(redaction, bytes, &mut |block| each(&block.recorded));
                    if piece.end {
                        hidden
                            .finish(redaction)
                            .into_iter()
                            .for_each(|block| each(&block.recorded));
                        veil.answer = None;
                    }
                }
                None => self.record(core, SOURCE, bytes, Hold::No),
            },
        }
        self.veil = Some(veil);
    }

    /// The connection is over: what waits of an answer is recorded as far as it came.
    pub(super) fn end_veil<R: Ring>(&mut self, core: &mut Core<R>) {
        let Some(mut veil) = self.veil.take() else { return };
        let mut parts = CoreParts::of(core);
        let filter = self.filter.clone();
        let Some(redaction) = filter.as_ref().and_then(|f| f.redaction.as_ref()) else { return };
        if !veil.answer_head.is_empty() {
            let recorded = redaction.head(&veil.answer_head).unwrap_or(veil.answer_head);
            self.record(&mut parts, SOURCE, &recorded, Hold::No);
        }
        if let Some(block) = veil.answer.as_mut().and_then(|hidden| hidden.finish(redaction)) {
            self.record(&mut parts, SOURCE, &block.recorded, Hold::No);
        }
    }

    /// What is kept of a head that never got complete, as it may be recorded.
    pub(super) fn record_front<R: Ring>(&mut self, core: &mut Core<R>, front: Vec<u8>) {
        let mut parts = CoreParts::of(core);
        let redaction = self.filter.as_ref().and_then(|f| f.redaction.as_ref());
        let recorded = redaction.and_then(|redaction| redaction.head(&front)).unwrap_or(front);
        self.record(&mut parts, CLIENT, &recorded, Hold::No);
    }
}
