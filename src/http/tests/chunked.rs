//! Chunked bodies: every fault of the threat table's row T3 beside the nearest body that passes.

use super::super::Limits;
use super::{Refusal, Seen, refusal_of, requests};

#[test]
fn bodies_that_end() {
    for body in [
        "0\r\n\r\n",
        "00\r\n\r\n",
        "0;a=b\r\n\r\n",
        "1\r\na\r\n0\r\n\r\n",
        "001\r\na\r\n0\r\n\r\n",
        "A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n",
        "2\r\n\r\n\r\n0\r\n\r\n",
        "1;name;other=\"a b\" ; x\r\na\r\n0\r\n\r\n",
        "0\r\nX-Sum: 1\tb\r\nHosts: a\r\nHos: b\r\nLength:\r\n\r\n",
    ] {
        let stream = format!("{HEAD}{body}");
        let seen = requests(&Limits::default(), stream.as_bytes(), &[]);
        assert_eq!(seen.get(1), Some(&Seen::End { at: stream.len() }), "{body:?}");
        assert_eq!(refuse(body), None, "{body:?}");
    }
    // The digits of one size do not count for the next.
    let many = "00000001\r\na\r\n".repeat(20);
    assert_eq!(refuse(&format!("{many}0\r\n\r\n")), None);
}

#[test]
fn chunk_lines() {
    check(&[
        ("\r\n", Refusal::ChunkSizeEmpty),
        (";a\r\n", Refusal::ChunkSizeEmpty),
        ("+1\r\na\r\n", Refusal::ChunkSizeInvalid),
        ("-1\r\na\r\n", Refusal::ChunkSizeInvalid),
        ("0x1\r\na\r\n", Refusal::ChunkSizeInvalid),
        ("1_0\r\na\r\n", Refusal::ChunkSizeInvalid),
        (" 1\r\na\r\n", Refusal::ChunkSizeInvalid),
        ("1 \r\na\r\n", Refusal::ChunkSizeInvalid),
        ("1 ;a\r\na\r\n", Refusal::ChunkSizeInvalid),
        ("1\t\r\na\r\n", Refusal::ChunkSizeInvalid),
        ("1g\r\na\r\n", Refusal::ChunkSizeInvalid),
        ("00000000000000001\r\na\r\n", Refusal::ChunkSizeOverflow),
        ("8000000000000000\r\n", Refusal::ChunkSizeOverflow),
        ("FFFFFFFFFFFFFFFF\r\n", Refusal::ChunkSizeOverflow),
        ("1\na\r\n", Refusal::BareLf),
        ("1\rXa\r\n", Refusal::BareCr),
        ("1;a\na\r\n", Refusal::BareLf),
        ("1;a\rX\na\r\n", Refusal::BareCr),
        ("1;a\tb\r\na\r\n", Refusal::ChunkExtensionControl),
        ("1;a\0b\r\na\r\n", Refusal::ChunkExtensionControl),
        ("1;a\x7fb\r\na\r\n", Refusal::ChunkExtensionControl),
    ]);
    assert_eq!(refuse("0000000000000001\r\na\r\n"), None);
    assert_eq!(refuse("7fffffffffffffff\r\na"), None);
}

#[test]
fn chunk_data_ends_with_crlf() {
    check(&[
        ("1\r\nab\r\n", Refusal::ChunkDataUnterminated),
        ("1\r\na\n", Refusal::ChunkDataUnterminated),
        ("1\r\na\rb", Refusal::ChunkDataUnterminated),
        ("1\r\na0\r\n\r\n", Refusal::ChunkDataUnterminated),
    ]);
}

#[test]
fn trailers() {
    check(&[
        ("0\r\nGET / HTTP/1.1\r\n", Refusal::FieldNameWhitespace),
        ("0\r\n A: b\r\n", Refusal::ObsFold),
        ("0\r\nA: b\r\n c\r\n", Refusal::ObsFold),
        ("0\r\nA : b\r\n", Refusal::FieldNameWhitespace),
        ("0\r\n: b\r\n", Refusal::TrailerInvalid),
        ("0\r\nAb\r\n", Refusal::TrailerInvalid),
        ("0\r\nA\0: b\r\n", Refusal::TrailerInvalid),
        ("0\r\nA: \0\r\n", Refusal::FieldValueNul),
        ("0\r\nA: \x01\r\n", Refusal::FieldValueControl),
        ("0\r\nA: b\nC: d\r\n", Refusal::BareLf),
        ("0\r\n\n", Refusal::BareLf),
        ("0\r\nA: b\rC", Refusal::BareCr),
        ("0\r\n\rX", Refusal::BareCr),
        ("0\r\nContent-Length: 5\r\n", Refusal::TrailerForbidden),
        ("0\r\na: b\r\nTRANSFER-encoding: x\r\n", Refusal::TrailerForbidden),
        ("0\r\nhost:\r\n", Refusal::TrailerForbidden),
    ]);
}

#[test]
fn limits_count_over_the_whole_message() {
    let limits = Limits {
        chunk_extension_bytes_max: 8,
        trailer_bytes_max: 12,
        fields_max: 2,
        ..Limits::default()
    };
    let refused = |body: &str| refusal_of(&limits, format!("{HEAD}{body}").as_bytes());
    assert_eq!(refused("1;234\r\na\r\n0;234\r\n\r\n"), None);
    assert_eq!(refused("1;234\r\na\r\n0;2345\r\n\r\n"), Some(Refusal::ChunkExtensionsTooLarge));
    assert_eq!(refused("0\r\na: b\r\nc: d\r\n\r\n"), None);
    assert_eq!(refused("0\r\na: b\r\nc: de\r\n\r\n"), Some(Refusal::TrailersTooLarge));
    assert_eq!(refused("0\r\na:\r\nb:\r\n\r\n"), None);
    assert_eq!(refused("0\r\na:\r\nb:\r\nc:\r\n\r\n"), Some(Refusal::TrailersTooLarge));
}

fn check(examples: &[(&str, Refusal)]) {
    for (body, expected) in examples {
        assert_eq!(refuse(body), Some(*expected), "{body:?}");
    }
}

fn refuse(body: &str) -> Option<Refusal> {
    refusal_of(&Limits::default(), format!("{HEAD}{body}").as_bytes())
}

const HEAD: &str = "POST /_bulk HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
