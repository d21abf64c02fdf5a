//! Framing: a stream reads the same however it is cut, every byte is accounted for, a refusal is final.

use tapline::http::{
    Answering, Eof, Limits, Malformed, Refusal, RequestFraming, RequestHead, RequestPart,
    ResponseFraming, ResponseHead, ResponsePart,
};

/// The first byte says how many cuts follow, a byte each; the rest is what the client sends.
pub(crate) fn request_framing(data: &[u8]) {
    let (cuts, stream) = cut(data);
    let limits = limits(stream.len());
    let whole = requests(&limits, stream, &[]);
    assert_eq!(requests(&limits, stream, &cuts), whole, "cut at {cuts:?}");
    if stream.len() <= 512 {
        let every: Vec<usize> = (1..stream.len()).collect();
        assert_eq!(requests(&limits, stream, &every), whole, "cut everywhere");
    }
}

/// As [`request_framing`], with what the source sends; the lowest bit of every cut says what is answered.
pub(crate) fn response_framing(data: &[u8]) {
    let (cuts, stream) = cut(data);
    let limits = limits(stream.len());
    let asked: Vec<Answering> = data
        .iter()
        .skip(1)
        .take(8)
        .map(|byte| if byte & 1 == 1 { Answering::Head } else { Answering::Other })
        .collect();
    let whole = responses(&limits, &asked, stream, &[]);
    assert_eq!(responses(&limits, &asked, stream, &cuts), whole, "cut at {cuts:?}");
    if stream.len() <= 512 {
        let every: Vec<usize> = (1..stream.len()).collect();
        assert_eq!(responses(&limits, &asked, stream, &every), whole, "cut everywhere");
    }
}

/// What a stream was read as, with places counted from its start.
#[derive(Debug, PartialEq)]
enum Seen {
    Request(RequestHead, usize),
    Response(ResponseHead, usize),
    End(usize),
    Refused(Refusal),
    Malformed(Malformed),
    Open(bool),
    Eof(Eof),
}

fn requests(limits: &Limits, stream: &[u8], cuts: &[usize]) -> Vec<Seen> {
    let mut framing = RequestFraming::new();
    let (mut seen, mut at) = (Vec::new(), 0);
    for mut rest in pieces(stream, cuts) {
        while !rest.is_empty() {
            let piece = match framing.next(limits, rest) {
                Ok(piece) => piece,
                Err(refusal) => {
                    assert_eq!(framing.next(limits, b"GET / HTTP/1.1\r\n\r\n"), Err(refusal));
                    seen.push(Seen::Refused(refusal));
                    return seen;
                }
            };
            assert!((1..=rest.len()).contains(&piece.len), "{piece:?} of {}", rest.len());
            at += piece.len;
            if let RequestPart::Head(head) = piece.what {
                assert_eq!(framing.head_kept().len() + piece.len, head.head_bytes);
                seen.push(Seen::Request(head, at));
            }
            assert!(framing.kept().len() <= limits.head_bytes_max, "the head's bound holds");
            if piece.end {
                assert!(framing.at_boundary());
                seen.push(Seen::End(at));
            }
            rest = &rest[piece.len..];
        }
    }
    assert_eq!(at, stream.len());
    seen.push(Seen::Open(framing.at_boundary()));
    seen
}

fn responses(limits: &Limits, asked: &[Answering], stream: &[u8], cuts: &[usize]) -> Vec<Seen> {
    let mut framing = ResponseFraming::new();
    let (mut seen, mut at, mut answered, mut interim) = (Vec::new(), 0, 0, false);
    for mut rest in pieces(stream, cuts) {
        while !rest.is_empty() {
            let request = asked.get(answered).copied().unwrap_or(Answering::Other);
            let piece = match framing.next(limits, request, rest) {
                Ok(piece) => piece,
                Err(fault) => {
                    assert_eq!(framing.next(limits, request, b"HTTP/1.1 200\r\n"), Err(fault));
                    seen.push(Seen::Malformed(fault));
                    return seen;
                }
            };
            assert!((1..=rest.len()).contains(&piece.len), "{piece:?} of {}", rest.len());
            at += piece.len;
            if let ResponsePart::Head(head) = piece.what {
                interim = head.interim;
                seen.push(Seen::Response(head, at));
            }
            if piece.end {
                answered += usize::from(!interim);
                seen.push(Seen::End(at));
            }
            rest = &rest[piece.len..];
        }
    }
    seen.push(Seen::Open(framing.at_boundary()));
    seen.push(Seen::Eof(framing.eof()));
    seen
}

/// Every other length of stream is read under limits that are small enough to be met.
fn limits(len: usize) -> Limits {
    if len.is_multiple_of(2) {
        return Limits::default();
    }
    Limits {
        line_bytes_max: 40,
        head_bytes_max: 120,
        fields_max: 4,
        chunk_extension_bytes_max: 6,
        trailer_bytes_max: 20,
    }
}

fn cut(data: &[u8]) -> (Vec<usize>, &[u8]) {
    let Some((count, rest)) = data.split_first() else { return (Vec::new(), data) };
    let (places, stream) = rest.split_at(rest.len().min(usize::from(count % 8)));
    let mut cuts: Vec<usize> =
        places.iter().map(|place| usize::from(*place) * stream.len() / 256).collect();
    cuts.sort_unstable();
    (cuts, stream)
}

fn pieces<'a>(stream: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    let mut from = 0;
    for &to in cuts.iter().chain([&stream.len()]) {
        if to > from {
            pieces.push(&stream[from..to]);
            from = to;
        }
    }
    pieces
}
