//! The room's promises, from the outside.

mod headers;
mod programs;
mod signatures;

use super::{EditedHead, Rewriter, Rewritten, Settings};
use crate::http::{Limits, RequestFraming, RequestHead, RequestPart};

/// What the head of a message says; the message must be exactly one request.
pub(super) fn framed(message: &[u8]) -> RequestHead {
    try_framed(message).unwrap_or_else(|why| panic!("{why}: {}", String::from_utf8_lossy(message)))
}

pub(super) fn try_framed(message: &[u8]) -> Result<RequestHead, String> {
    let mut framing = RequestFraming::new();
    let mut at = 0;
    let mut head = None;
    loop {
        if at == message.len() {
            return Err("cut short".to_owned());
        }
        let piece =
            framing.next(&Limits::default(), &message[at..]).map_err(|r| format!("{r:?}"))?;
        if let RequestPart::Head(found) = piece.what {
            head = Some(found);
        }
        at += piece.len;
        if piece.end {
            break;
        }
    }
    if at != message.len() {
        return Err(format!("{} bytes behind the end", message.len() - at));
    }
    head.ok_or_else(|| "no head".to_owned())
}

pub(super) fn rewrite(settings: &Settings, message: &[u8]) -> Rewritten {
    let mut rewriter = Rewriter::new(settings).expect("the settings are fine");
    let head = framed(message);
    let rewritten = rewriter.apply(message, &head, 0, None);
    // The short way gives the same message.
    if let Some(edited) = rewriter.edit_head(message, &head) {
        let body = &message[head.head_bytes..];
        match (&rewritten, edited) {
            (Rewritten::Untouched, EditedHead::Untouched) => {}
            (Rewritten::Changed(changed), EditedHead::Changed(head)) => {
                assert_eq!(changed.bytes, [&head, body].concat());
            }
            (_, edited) => panic!("{edited:?} and {rewritten:?}"),
        }
    }
    rewritten
}

/// The message as it goes out, changed or not.
pub(super) fn sent(settings: &Settings, message: &str) -> String {
    match rewrite(settings, message.as_bytes()) {
        Rewritten::Untouched => message.to_owned(),
        Rewritten::Changed(changed) => String::from_utf8(changed.bytes).expect("text"),
        other => panic!("{other:?}"),
    }
}
