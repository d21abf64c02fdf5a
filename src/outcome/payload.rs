//! The forms in which a tuple shows a body (reference-compatible names).
//!
//! | content | key |
//! |---|---|
//! | one JSON object or array | `inlinedJsonBody` |
//! | two or more | `inlinedJsonSequenceBodies` |
//! | a form (by its `Content-Type`) | `inlinedFormEncodedBody`: name to list of values |
//! | other UTF-8, and the empty body | `inlinedTextBody` |
//! | the rest | `inlinedBase64Body` |
//!
//! JSON stands in the line as it stood in the body: numbers, key order, duplicate keys and escapes are untouched,
//! only line ends between tokens go. When JSON values are followed by a piece of one (a body that was cut), the
//! piece is shown beside them as text. A body above the bound shows its beginning and says in `inlinedBodyCut` what
//! is missing.

use std::borrow::Cow;
use std::io::Write;

use base64::{Engine, engine::general_purpose::STANDARD};

use super::content::{Content, More};
use super::json::{NoValue, blanks, is_plain, value_end};

/// Appends the payload object.
pub(super) fn write(out: &mut Vec<u8>, content: &Content<'_>, form: bool, missing: Missing) {
    out.push(b'{');
    let bytes = &content.bytes[..];
    let form = form && content.more.is_none();
    if !(json(out, bytes) || form && form_encoded(out, bytes)) {
        text_or_base64(out, bytes, content.more.is_some());
    }
    cut(out, content, missing);
    out.push(b'}');
}

/// Bytes of a message that were not kept by whoever read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Missing(pub(super) u64);

/// Appends a JSON string. Bytes that are not UTF-8 are read as Latin-1, as HTTP/1 once had it.
pub(super) fn string(out: &mut Vec<u8>, bytes: &[u8]) {
    if is_plain(bytes) {
        out.push(b'"');
        out.extend_from_slice(bytes);
        return out.push(b'"');
    }
    let text = std::str::from_utf8(bytes).map_or_else(
        |_| Cow::Owned(bytes.iter().map(|&byte| char::from(byte)).collect::<String>()),
        Cow::Borrowed,
    );
    let to_memory = serde_json::to_writer(&mut *out, &*text);
    to_memory.expect("invariant: writing a string to memory cannot fail");
}

/// Appends the JSON forms if the content is JSON: values, and perhaps the beginning of one more.
fn json(out: &mut Vec<u8>, bytes: &[u8]) -> bool {
    let start = bytes.trim_ascii_start();
    if !matches!(start.first(), Some(b'{' | b'[')) {
        return false;
    }
    let begin = out.len();
    let mut count = 0;
    let mut rest = start;
    let mut first_end = 0;
    out.extend_from_slice(b"\"inlinedJsonSequenceBodies\":[");
    let first_begin = out.len();
    while !rest.is_empty() {
        match value_end(rest) {
            Ok(end) if matches!(rest[0], b'{' | b'[') && is_text(&rest[..end]) => {
                if count > 0 {
                    out.push(b',');
                }
                minified(out, &rest[..end]);
                if count == 0 {
                    first_end = out.len();
                }
                count += 1;
                rest = &rest[blanks(rest, end)..];
            }
            Err(NoValue::Cut) if count > 0 => break,
            _ => {
                out.truncate(begin);
                return false;
            }
        }
    }
    if count == 1 {
        const KEY: &[u8] = b"\"inlinedJsonBody\":";
        out[begin..begin + KEY.len()].copy_from_slice(KEY);
        out.copy_within(first_begin..first_end, begin + KEY.len());
        out.truncate(begin + KEY.len() + first_end - first_begin);
    } else {
        out.push(b']');
    }
    if !rest.is_empty() {
        out.push(b',');
        text_or_base64(out, rest, true);
    }
    true
}

fn is_text(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok()
}

/// Copies a valid JSON value without the line ends between its tokens, and then without other blanks there.
fn minified(out: &mut Vec<u8>, value: &[u8]) {
    if memchr::memchr2(b'\n', b'\r', value).is_none() {
        return out.extend_from_slice(value);
    }
    let mut rest = value;
    while let Some(quote) = memchr::memchr(b'"', rest) {
        out.extend(rest[..quote].iter().filter(|byte| !byte.is_ascii_whitespace()));
        rest = &rest[quote..];
        let end = string_end(rest);
        out.extend_from_slice(&rest[..end]);
        rest = &rest[end..];
    }
    out.extend(rest.iter().filter(|byte| !byte.is_ascii_whitespace()));
}

/// Length of the string that `bytes` begins with, quotes included.
fn string_end(bytes: &[u8]) -> usize {
    let mut at = 1;
    while let Some(next) = bytes.get(at..).and_then(|rest| memchr::memchr2(b'"', b'\\', rest)) {
        if bytes[at + next] == b'"' {
            return at + next + 1;
        }
        at += next + 2;
    }
    bytes.len()
}

/// Appends the form if it is one: `+` and `%XX` undone, values listed under their names in order.
fn form_encoded(out: &mut Vec<u8>, bytes: &[u8]) -> bool {
    if bytes.is_empty() {
        return false;
    }
    let mut fields: Vec<(String, Vec<String>)> = Vec::new();
    for pair in bytes.split(|&byte| byte == b'&').filter(|pair| !pair.is_empty()) {
        let (name, value) = match memchr::memchr(b'=', pair) {
            Some(at) => (&pair[..at], &pair[at + 1..]),
            None => (pair, &b""[..]),
        };
        let (Some(name), Some(value)) = (url_decoded(name), url_decoded(value)) else {
            return false;
        };
        match fields.iter().position(|field| field.0 == name) {
            Some(at) => fields[at].1.push(value),
            None if fields.len() == FORM_FIELDS_MAX => return false,
            None => fields.push((name, vec![value])),
        }
    }
    out.extend_from_slice(b"\"inlinedFormEncodedBody\":{");
    for (at, (name, values)) in fields.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        string(out, name.as_bytes());
        out.push(b':');
        serde_json::to_writer(&mut *out, values)
            .expect("invariant: writing strings to memory cannot fail");
    }
    out.push(b'}');
    true
}

fn url_decoded(text: &[u8]) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        at += 1;
        match byte {
            b'+' => bytes.push(b' '),
            b'%' => {
                let digits = std::str::from_utf8(text.get(at..at + 2)?).ok()?;
                bytes.push(u8::from_str_radix(digits, 16).ok()?);
                at += 2;
            }
            _ => bytes.push(byte),
        }
    }
    String::from_utf8(bytes).ok()
}

/// `cut`: the bytes may end within a character, which is then left out.
fn text_or_base64(out: &mut Vec<u8>, bytes: &[u8], cut: bool) {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => Some(text),
        Err(error) if cut && error.error_len().is_none() => {
            std::str::from_utf8(&bytes[..error.valid_up_to()]).ok()
        }
        Err(_) => None,
    };
    if let Some(text) = text {
        out.extend_from_slice(b"\"inlinedTextBody\":");
        return string(out, text.as_bytes());
    }
    out.extend_from_slice(b"\"inlinedBase64Body\":\"");
    let from = out.len();
    out.resize(from + bytes.len().div_ceil(3) * 4, 0);
    let written = STANDARD
        .encode_slice(bytes, &mut out[from..])
        .expect("invariant: four characters for every three bytes");
    out.truncate(from + written);
    out.push(b'"');
}

fn cut(out: &mut Vec<u8>, content: &Content<'_>, missing: Missing) {
    if content.more.is_none() && missing.0 == 0 {
        return;
    }
    write!(out, ",\"inlinedBodyCut\":{{\"shown\":{}", content.bytes.len())
        .and_then(|()| match content.more {
            None => Ok(()),
            Some(More::Of { bytes, crc32c }) => {
                write!(out, ",\"length\":{bytes},\"crc32c\":\"{crc32c:08x}\"")
            }
            Some(More::AtLeast(bytes)) => write!(out, ",\"lengthAtLeast\":{bytes}"),
        })
        .and_then(|()| match missing.0 {
            0 => Ok(()),
            bytes => write!(out, ",\"notKept\":{bytes}"),
        })
        .expect("invariant: writing to memory cannot fail");
    out.push(b'}');
}

/// Above this a form is shown as text: nobody reads it as a form, and finding names is linear.
const FORM_FIELDS_MAX: usize = 256;

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(bytes: &[u8], form: bool, more: Option<More>) -> String {
        let mut out = Vec::new();
        let content = Content { bytes: Cow::Borrowed(bytes), more, decompressed: false };
        write(&mut out, &content, form, Missing(0));
        String::from_utf8(out).expect("a payload is UTF-8")
    }

    #[test]
    fn each_content_has_its_form() {
        let cases: &[(&[u8], bool, &str)] = &[
            (b"", false, r#"{"inlinedTextBody":""}"#),
            (b"", true, r#"{"inlinedTextBody":""}"#),
            (b"{\"a\":1.10}", false, r#"{"inlinedJsonBody":{"a":1.10}}"#),
            (b" [1e3, 2] \n", false, r#"{"inlinedJsonBody":[1e3, 2]}"#),
            (
                b"{\"a\":1,\n \"a\":\"x \\\"\\n y\"\r\n}",
                false,
                r#"{"inlinedJsonBody":{"a":1,"a":"x \"\n y"}}"#,
            ),
            (b"{}\n{\"b\":[]}\n", false, r#"{"inlinedJsonSequenceBodies":[{},{"b":[]}]}"#),
            (
                b"{}\n{}\n{\"lon",
                false,
                r#"{"inlinedJsonSequenceBodies":[{},{}],"inlinedTextBody":"{\"lon"}"#,
            ),
            (b"{}\n{\"lon", false, r#"{"inlinedJsonBody":{},"inlinedTextBody":"{\"lon"}"#),
            (b"{\"lon", false, r#"{"inlinedTextBody":"{\"lon"}"#),
            (b"{}\nnot json", false, r#"{"inlinedTextBody":"{}\nnot json"}"#),
            (b"17", false, r#"{"inlinedTextBody":"17"}"#),
            (b"caf\xc3\xa9\r\n", false, "{\"inlinedTextBody\":\"café\\r\\n\"}"),
            (b"\xff\x00", false, r#"{"inlinedBase64Body":"/wA="}"#),
            (b"{\"a\":\"\xff\"}", false, r#"{"inlinedBase64Body":"eyJhIjoi/yJ9"}"#),
            (
                b"a=1&b=x+y%21&a=2&c",
                true,
                r#"{"inlinedFormEncodedBody":{"a":["1","2"],"b":["x y!"],"c":[""]}}"#,
            ),
            (b"a=%zz", true, r#"{"inlinedTextBody":"a=%zz"}"#),
            (b"a=1", false, r#"{"inlinedTextBody":"a=1"}"#),
            (
                b"{\"n\":123456789012345678901234567890}",
                false,
                r#"{"inlinedJsonBody":{"n":123456789012345678901234567890}}"#,
            ),
        ];
        for (bytes, form, expected) in cases {
            assert_eq!(shown(bytes, *form, None), *expected);
        }
    }

    #[test]
    fn a_cut_body_says_what_is_missing() {
        let more = Some(More::Of { bytes: 9, crc32c: 0xab });
        let expected = r#"{"inlinedTextBody":"ab","inlinedBodyCut":{"shown":3,"length":9,"crc32c":"000000ab"}}"#;
        assert_eq!(shown(b"ab\xc3", false, more), expected);
        let expected = r#"{"inlinedJsonBody":{},"inlinedTextBody":"{","inlinedBodyCut":{"shown":3,"lengthAtLeast":7}}"#;
        assert_eq!(shown(b"{}{", false, Some(More::AtLeast(7))), expected);
        let mut out = Vec::new();
        let content = Content { bytes: Cow::Borrowed(b"x"), more: None, decompressed: false };
        write(&mut out, &content, false, Missing(5));
        let expected = r#"{"inlinedTextBody":"x","inlinedBodyCut":{"shown":1,"notKept":5}}"#;
        assert_eq!(String::from_utf8(out).expect("UTF-8"), expected);
    }

    proptest! {
        #[test]
        fn any_bytes_give_one_line_of_valid_json(
            bytes in prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..200),
                proptest::collection::vec(
                    prop::sample::select(b"{}[]\",:\\ \n\r01truefalsenull\xc3\xa9&=%+".to_vec()), 0..60),
            ],
            form: bool,
        ) {
            let text = shown(&bytes, form, None);
            prop_assert!(!text.contains(['\n', '\r']));
            let value: serde_json::Value = serde_json::from_str(&text).expect("valid JSON");
            prop_assert!(value.is_object());
        }

        #[test]
        fn json_keeps_its_meaning_however_it_is_laid_out(
            value in arbitrary_json(), pretty: bool,
        ) {
            let body = if pretty {
                serde_json::to_vec_pretty(&value)
            } else {
                serde_json::to_vec(&value)
            }.expect("JSON");
            let text = shown(&body, false, None);
            let read: serde_json::Value = serde_json::from_str(&text).expect("valid JSON");
            prop_assert_eq!(&read["inlinedJsonBody"], &value);
        }
    }

    pub(in crate::outcome) fn arbitrary_json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            any::<i64>().prop_map(serde_json::Value::from),
            ".{0,12}".prop_map(serde_json::Value::from),
            Just(serde_json::Value::Null),
        ];
        let tree = leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(serde_json::Value::from),
                prop::collection::btree_map(".{0,8}", inner, 0..4)
                    .prop_map(|map| { serde_json::Value::Object(map.into_iter().collect()) }),
            ]
        });
        prop::collection::vec(tree, 0..4).prop_map(serde_json::Value::from)
    }
}
