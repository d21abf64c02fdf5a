//! Tests of the framing as a whole: what comes out for the bytes that go in.

mod chunked;
mod requests;
mod responses;
mod smuggling;
mod split;

use super::{
    Answering, Eof, Limits, Malformed, Refusal, RequestFraming, RequestHead, RequestPart,
    ResponseFraming, ResponseHead, ResponsePart,
};

/// What a stream of requests was read as. Offsets count from the start of the stream.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Seen {
    Request {
        head: RequestHead,
        starts_at: usize,
        head_ends_at: usize,
    },
    Response {
        head: ResponseHead,
        head_ends_at: usize,
    },
    End {
        at: usize,
    },
    Refused(Refusal),
    Malformed(Malformed),
    /// The stream ended here, in a body of which this much was seen, or with this much kept.
    Open {
        body_bytes: usize,
        kept: Vec<u8>,
        at_boundary: bool,
    },
    Eof(Eof),
}

/// Reads `stream` as requests, cut at `cuts`.
pub(super) fn requests(limits: &Limits, stream: &[u8], cuts: &[usize]) -> Vec<Seen> {
    let mut framing = RequestFraming::new();
    let mut seen = Vec::new();
    let (mut at, mut message_at, mut body_bytes) = (0, 0, 0);
    for input in pieces(stream, cuts) {
        let mut rest = input;
        while !rest.is_empty() {
            let piece = match framing.next(limits, rest) {
                Ok(piece) => piece,
                Err(refusal) => {
                    assert_eq!(framing.next(limits, rest), Err(refusal), "a refusal is final");
                    assert!(!framing.at_boundary());
                    let kept = framing.kept().len();
                    assert!(kept == 0 || framing.kept() == &stream[message_at..at]);
                    assert_eq!(framing.take_kept().len(), kept);
                    assert_eq!(framing.next(limits, rest), Err(refusal), "a refusal is final");
                    seen.push(Seen::Refused(refusal));
                    return seen;
                }
            };
            assert!((1..=rest.len()).contains(&piece.len), "{piece:?}");
            at += piece.len;
            match piece.what {
                RequestPart::HeadPart => {
                    assert_eq!(piece.len, rest.len());
                    assert!(!piece.end);
                    assert_eq!(framing.kept(), &stream[message_at..at]);
                    assert_eq!(framing.head_kept(), b"");
                }
                RequestPart::Head(head) => {
                    let whole = [framing.head_kept(), &rest[..piece.len]].concat();
                    assert_eq!(whole, &stream[message_at..at], "the head's bytes");
                    assert_eq!(head.head_bytes, whole.len());
                    assert_eq!(framing.kept(), b"");
                    seen.push(Seen::Request { head, starts_at: message_at, head_ends_at: at });
                    body_bytes = 0;
                }
                RequestPart::Body => {
                    body_bytes += piece.len;
                    assert_eq!(framing.head_kept(), b"");
                }
            }
            if piece.end {
                assert!(framing.at_boundary());
                seen.push(Seen::End { at });
                message_at = at;
                body_bytes = 0;
            }
            rest = &rest[piece.len..];
        }
    }
    let (kept, at_boundary) = (framing.kept().to_vec(), framing.at_boundary());
    assert_eq!(framing.take_kept(), kept);
    seen.push(Seen::Open { body_bytes, kept, at_boundary });
    seen
}

/// Reads `stream` as responses to `asked` (then to other requests), cut at `cuts`, and then closed.
pub(super) fn responses(
    limits: &Limits,
    asked: &[Answering],
    stream: &[u8],
    cuts: &[usize],
) -> Vec<Seen> {
    let mut framing = ResponseFraming::new();
    let mut seen = Vec::new();
    let (mut at, mut body_bytes, mut answered, mut interim) = (0, 0, 0, false);
    for input in pieces(stream, cuts) {
        let mut rest = input;
        while !rest.is_empty() {
            let request = asked.get(answered).copied().unwrap_or(Answering::Other);
            let piece = match framing.next(limits, request, rest) {
                Ok(piece) => piece,
                Err(fault) => {
                    assert_eq!(framing.next(limits, request, rest), Err(fault));
                    assert!(!framing.at_boundary());
                    seen.push(Seen::Malformed(fault));
                    return seen;
                }
            };
            assert!((1..=rest.len()).contains(&piece.len), "{piece:?}");
            at += piece.len;
            match piece.what {
                ResponsePart::HeadPart => assert!(piece.len == rest.len() && !piece.end),
                ResponsePart::Head(head) => {
                    seen.push(Seen::Response { head, head_ends_at: at });
                    interim = head.interim;
                    body_bytes = 0;
                }
                ResponsePart::Body => body_bytes += piece.len,
            }
            if piece.end {
                seen.push(Seen::End { at });
                answered += usize::from(!interim);
                body_bytes = 0;
            }
            rest = &rest[piece.len..];
        }
    }
    let at_boundary = framing.at_boundary();
    seen.push(Seen::Open { body_bytes, kept: Vec::new(), at_boundary });
    seen.push(Seen::Eof(framing.eof()));
    seen
}

/// The one request head at the front of `stream`.
pub(super) fn head_of(stream: &[u8]) -> RequestHead {
    match RequestFraming::new().next(&Limits::default(), stream) {
        Ok(piece) => match piece.what {
            RequestPart::Head(head) => head,
            other => panic!("{other:?} for {:?}", stream.escape_ascii().to_string()),
        },
        Err(refusal) => panic!("{refusal:?} for {:?}", stream.escape_ascii().to_string()),
    }
}

/// Why `stream` is refused; the same whether it comes at once or byte for byte.
pub(super) fn refusal_of(limits: &Limits, stream: &[u8]) -> Option<Refusal> {
    let whole = requests(limits, stream, &[]);
    let all: Vec<usize> = (1..stream.len()).collect();
    assert_eq!(whole, requests(limits, stream, &all), "{:?}", stream.escape_ascii().to_string());
    match whole.last() {
        Some(Seen::Refused(refusal)) => Some(*refusal),
        _ => None,
    }
}

/// What is wrong with `stream` as responses to ordinary requests, at once and byte for byte.
pub(super) fn malformed_of(limits: &Limits, stream: &[u8]) -> Option<Malformed> {
    let whole = responses(limits, &[], stream, &[]);
    let all: Vec<usize> = (1..stream.len()).collect();
    assert_eq!(whole, responses(limits, &[], stream, &all));
    match whole.last() {
        Some(Seen::Malformed(fault)) => Some(*fault),
        _ => None,
    }
}

fn pieces<'a>(stream: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    let mut from = 0;
    for &cut in cuts.iter().filter(|&&cut| cut < stream.len()) {
        if cut > from {
            pieces.push(&stream[from..cut]);
            from = cut;
        }
    }
    pieces.push(&stream[from..]);
    pieces
}
