//! Split invariance: a stream reads the same however it was cut.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::super::{Answering, Limits};
use super::{Seen, requests, responses};

proptest! {
    #[test]
    fn valid_requests(messages in vec(request(), 1..5), cuts in cuts()) {
        let stream = messages.concat();
        let whole = requests(&Limits::default(), &stream, &[]);
        let ends = whole.iter().filter(|seen| matches!(seen, Seen::End { .. })).count();
        prop_assert_eq!(ends, messages.len());
        for cuts in [at(&cuts, stream.len()), every_byte(&stream)] {
            prop_assert_eq!(&requests(&Limits::default(), &stream, &cuts), &whole);
        }
    }

    #[test]
    fn mutated_requests(
        messages in vec(request(), 1..4),
        mutations in vec(mutation(), 1..4),
        limits in limits(),
        cuts in cuts(),
    ) {
        let stream = mutate(messages.concat(), &mutations);
        let whole = requests(&limits, &stream, &[]);
        for cuts in [at(&cuts, stream.len()), every_byte(&stream)] {
            prop_assert_eq!(&requests(&limits, &stream, &cuts), &whole);
        }
    }

    #[test]
    fn valid_responses(messages in vec(response(), 1..5), cuts in cuts()) {
        let (asked, stream) = exchange(&messages);
        let whole = responses(&Limits::default(), &asked, &stream, &[]);
        let ends = whole.iter().filter(|seen| matches!(seen, Seen::End { .. })).count();
        prop_assert_eq!(ends, messages.len());
        for cuts in [at(&cuts, stream.len()), every_byte(&stream)] {
            prop_assert_eq!(&responses(&Limits::default(), &asked, &stream, &cuts), &whole);
        }
    }

    #[test]
    fn mutated_responses(
        messages in vec(response(), 1..4),
        mutations in vec(mutation(), 1..4),
        limits in limits(),
        cuts in cuts(),
    ) {
        let (asked, stream) = exchange(&messages);
        let stream = mutate(stream, &mutations);
        let whole = responses(&limits, &asked, &stream, &[]);
        for cuts in [at(&cuts, stream.len()), every_byte(&stream)] {
            prop_assert_eq!(&responses(&limits, &asked, &stream, &cuts), &whole);
        }
    }

    #[test]
    fn arbitrary_bytes(stream in vec(any::<u8>(), 1..200), cuts in cuts()) {
        let limits = Limits::default();
        let cuts = at(&cuts, stream.len());
        prop_assert_eq!(requests(&limits, &stream, &cuts), requests(&limits, &stream, &[]));
        let asked = [Answering::Head];
        prop_assert_eq!(
            responses(&limits, &asked, &stream, &cuts),
            responses(&limits, &asked, &stream, &[])
        );
    }
}

fn request() -> impl Strategy<Value = Vec<u8>> {
    let line = select(vec![
        "GET / HTTP/1.1",
        "\r\nGET /a?b=c HTTP/1.1",
        "\r\n\r\nHEAD /logs HTTP/1.0",
        "POST /_bulk HTTP/1.1",
        "POST /logs/_search HTTP/1.1",
        "PUT /logs/_doc/1 HTTP/1.1",
        "OPTIONS * HTTP/1.1",
        "GET http://a/ HTTP/1.1",
    ]);
    (line, fields(), body()).prop_map(|(line, fields, body)| {
        let body = if line.ends_with("1.0") { sized(b"old") } else { body };
        [line.as_bytes(), b"\r\n", fields.as_bytes(), &body].concat()
    })
}

fn response() -> impl Strategy<Value = (Answering, bool, Vec<u8>)> {
    let bodyless = select(vec![
        (Answering::Other, true, "HTTP/1.1 100 Continue\r\n"),
        (Answering::Other, true, "HTTP/1.1 103 Early\r\nContent-Length: 3\r\n"),
        (Answering::Other, false, "HTTP/1.1 204 No Content\r\n"),
        (Answering::Other, false, "HTTP/1.1 304\r\nContent-Length: 3\r\n"),
        (Answering::Head, false, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"),
        (Answering::Head, false, "HTTP/1.0 404 Not Found\r\n"),
    ])
    .prop_map(|(asked, interim, head)| (asked, interim, format!("{head}\r\n").into_bytes()));
    let line = select(vec!["HTTP/1.1 200 OK\r\n", "HTTP/1.1 429 \r\n", "HTTP/1.1 500\r\n"]);
    let framed = (line, fields(), prop_oneof![sized_body(), chunked_body()]).prop_map(
        |(line, fields, body)| {
            let bytes = [line.as_bytes(), fields.as_bytes(), &body].concat();
            (Answering::Other, false, bytes)
        },
    );
    prop_oneof![bodyless, framed]
}

/// The requests that the final responses answer, and all responses in one stream.
fn exchange(messages: &[(Answering, bool, Vec<u8>)]) -> (Vec<Answering>, Vec<u8>) {
    let asked = messages.iter().filter(|message| !message.1).map(|message| message.0).collect();
    (asked, messages.iter().flat_map(|message| message.2.clone()).collect())
}

fn fields() -> impl Strategy<Value = String> {
    let field = select(vec![
        "Accept: */*\r\n",
        "Connection: keep-alive, Upgrade\r\n",
        "connection:close\r\n",
        "Upgrade: h2c\r\n",
        "Expect: 100-continue\r\n",
        "X-Opaque-Id:\t1 2\t\r\n",
        "X-HTTP-Method-Override: PUT\r\n",
        "Content-Type: application/x-ndjson\r\n",
        "X-Empty:\r\n",
    ]);
    vec(field, 0..5).prop_map(|fields| fields.concat())
}

/// The last fields of a head, its blank line and the body.
fn body() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![Just(b"Host: a\r\n\r\n".to_vec()), sized_body(), chunked_body()]
}

fn sized_body() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..60).prop_map(|content| sized(&content))
}

fn sized(content: &[u8]) -> Vec<u8> {
    [format!("Content-Length: {}\r\n\r\n", content.len()).as_bytes(), content].concat()
}

fn chunked_body() -> impl Strategy<Value = Vec<u8>> {
    let extension = select(vec!["", ";a", ";a=\"b c\""]);
    let chunk = (vec(any::<u8>(), 1..40), extension).prop_map(|(data, extension)| {
        [format!("{:x}{extension}\r\n", data.len()).as_bytes(), &data, b"\r\n"].concat()
    });
    let trailers = select(vec!["", "X-Sum: 1\t2\r\n", "Hosts: a\r\nX:\r\n"]);
    (vec(chunk, 0..4), trailers).prop_map(|(chunks, trailers)| {
        let last = format!("0\r\n{trailers}\r\n");
        [b"transfer-encoding: chunked\r\n\r\n", &*chunks.concat(), last.as_bytes()].concat()
    })
}

/// Small enough to be reached.
fn limits() -> impl Strategy<Value = Limits> {
    (12..80_usize, 20..200_usize, 1..6_usize, 0..12_usize, 0..30_usize).prop_map(
        |(line, head, fields, extension, trailer)| Limits {
            line_bytes_max: line,
            head_bytes_max: head,
            fields_max: fields,
            chunk_extension_bytes_max: extension,
            trailer_bytes_max: trailer,
        },
    )
}

/// Where, and what: overwrite, insert, or cut bytes out.
type Mutation = (Index, u8, Vec<u8>);

fn mutation() -> impl Strategy<Value = Mutation> {
    let telling = select(vec![
        "\r",
        "\n",
        "\r\n",
        "\r\n\r\n",
        " ",
        "\t",
        "\0",
        ":",
        ";",
        ",",
        "0",
        "1",
        "F",
        "/",
        "\x7f",
        "Content-Length: 3\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Host: a\r\n",
        "HTTP/1.1",
    ])
    .prop_map(|text| text.as_bytes().to_vec());
    (any::<Index>(), 0..3_u8, prop_oneof![3 => telling, 1 => vec(any::<u8>(), 1..3)])
}

fn mutate(mut stream: Vec<u8>, mutations: &[Mutation]) -> Vec<u8> {
    for (place, kind, bytes) in mutations {
        let from = place.index(stream.len());
        let to = (from + bytes.len()).min(stream.len());
        match kind {
            0 => drop(stream.splice(from..to, bytes.iter().copied())),
            1 => drop(stream.splice(from..from, bytes.iter().copied())),
            _ if to - from < stream.len() => drop(stream.drain(from..to)),
            _ => {}
        }
    }
    stream
}

fn cuts() -> impl Strategy<Value = Vec<Index>> {
    vec(any::<Index>(), 0..8)
}

fn at(cuts: &[Index], len: usize) -> Vec<usize> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(len)).collect();
    cuts.sort_unstable();
    cuts
}

fn every_byte(stream: &[u8]) -> Vec<usize> {
    (1..stream.len()).collect()
}
