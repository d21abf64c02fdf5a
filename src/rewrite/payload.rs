//! A body as programs see it, and what they made of it as a body again.
//!
//! Owns the kinds of payload and the rule that a document which came back as it was goes out with the bytes it came
//! with. Never parses a body for a program that does not ask for it.

use std::collections::HashMap;
use std::ops::Range;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jaq_json::{Map, Num, Rc, Val, read, write};

/// What a body is shown as. The documents are kept to tell afterwards which of them came back as they were.
pub(super) struct Payload<'a> {
    content: &'a [u8],
    /// What programs see.
    pub value: Val,
    /// The documents and where they stand in the body.
    documents: Vec<(Val, Range<usize>)>,
}

impl<'a> Payload<'a> {
    /// Reads a body out of its framing and coding. `lines` says that it is one document a line, however many they are.
    pub(super) fn new(content: &'a [u8], content_type: &[u8], lines: bool) -> Self {
        let starts_json = matches!(content.trim_ascii_start().first(), Some(b'{' | b'['));
        if starts_json
            && depth_fits(content)
            && let Some(payload) = Self::json(content, lines)
        {
            return payload;
        }
        let text = std::str::from_utf8(content);
        let form =
            content_type.to_ascii_lowercase().starts_with(b"application/x-www-form-urlencoded");
        let value = match text {
            Ok(text) if form && !text.is_empty() => field(FORM, form_value(text)),
            Ok(text) => field(TEXT, string(text)),
            Err(_) => field(BINARY, string(&STANDARD.encode(content))),
        };
        Self { content, value, documents: Vec::new() }
    }

    fn json(content: &'a [u8], lines: bool) -> Option<Self> {
        if !lines && let Ok(value) = read::parse_single(content) {
            let documents = vec![(value.clone(), 0..content.len())];
            return Some(Self { content, value: field(JSON, value), documents });
        }
        let (mut documents, read) = by_line(content);
        let mut rest = &content[read..];
        if documents.is_empty() {
            // Several documents that are not one a line.
            let values: Result<Vec<Val>, _> = read::parse_many(content).collect();
            documents = values.ok()?.into_iter().map(|value| (value, 0..0)).collect();
            rest = b"";
        }
        let mut payload = Map::default();
        let values = documents.iter().map(|(value, _)| value.clone()).collect();
        payload.insert(string(SEQUENCE), values);
        if !rest.is_empty() {
            payload.insert(string(TEXT), string(std::str::from_utf8(rest).ok()?));
        }
        Some(Self { content, value: Val::obj(payload), documents })
    }

    /// What a program made of it as a body, neither coded nor framed. The error says what no body can be made of.
    pub(super) fn content_of(&self, output: &Val) -> Result<Vec<u8>, String> {
        let fields = match output {
            Val::Null => return Ok(Vec::new()),
            Val::Obj(fields) => fields,
            _ => return Err("its payload is no object".to_owned()),
        };
        let documents = self.documents.iter().filter(|(_, range)| !range.is_empty());
        let untouched: HashMap<usize, &Range<usize>> =
            documents.filter_map(|(value, range)| Some((identity(value)?, range))).collect();
        let mut content = Vec::with_capacity(self.content.len() + 64);
        for (name, value) in fields.iter() {
            let name = text(name).ok_or("a name in its payload is no string")?;
            match (name, value) {
                (_, Val::Null) => {}
                (JSON, value) => self.document_into(value, &untouched, &mut content)?,
                (SEQUENCE, Val::Arr(values)) => {
                    for value in values.iter() {
                        self.document_into(value, &untouched, &mut content)?;
                        if content.last() != Some(&b'\n') {
                            content.push(b'\n');
                        }
                    }
                }
                (FORM, value) => form_into(value, &mut content)?,
                (TEXT, value) => content
                    .extend_from_slice(bytes(value).ok_or("its inlinedTextBody is no string")?),
                (BINARY, value) => {
                    let coded = bytes(value).ok_or("its inlinedBase64Body is no string")?;
                    let plain = STANDARD.decode(coded);
                    content
                        .extend(plain.map_err(|error| format!("its inlinedBase64Body: {error}"))?);
                }
                (other, _) => {
                    return Err(format!(
                        "its payload has {other:?}, which is not known or of another type; use {JSON}, \
                         {SEQUENCE} (a list), {FORM}, {TEXT} or {BINARY}"
                    ));
                }
            }
        }
        Ok(content)
    }

    /// Writes a document: the bytes it came with if it is one of those that came.
    fn document_into(
        &self,
        value: &Val,
        untouched: &HashMap<usize, &Range<usize>>,
        out: &mut Vec<u8>,
    ) -> Result<(), String> {
        if let Some(range) = identity(value).and_then(|identity| untouched.get(&identity)) {
            out.extend_from_slice(&self.content[(*range).clone()]);
            return Ok(());
        }
        check_json(value)?;
        // A Vec takes whatever is written to it.
        let _ = write::write(out, &write::Pp::default(), 0, value);
        // A last line end that was there stays: a bulk of one line is none without it.
        if self.documents.len() == 1 && self.content.last() == Some(&b'\n') {
            out.push(b'\n');
        }
        Ok(())
    }
}

/// Which value it is, not what it equals. A document that a program did not touch keeps it: a copy is held meanwhile,
/// so that none is changed in place.
fn identity(value: &Val) -> Option<usize> {
    match value {
        Val::Obj(fields) => Some(Rc::as_ptr(fields) as usize),
        Val::Arr(values) => Some(Rc::as_ptr(values) as usize),
        _ => None,
    }
}

/// The documents of the leading lines that hold one each, and how many bytes they have.
fn by_line(content: &[u8]) -> (Vec<(Val, Range<usize>)>, usize) {
    let mut documents = Vec::new();
    let mut at = 0;
    while at < content.len() {
        let end =
            memchr::memchr(b'\n', &content[at..]).map_or(content.len(), |length| at + length + 1);
        let line = &content[at..end];
        if !line.trim_ascii().is_empty() {
            match read::parse_single(line) {
                Ok(value @ (Val::Obj(_) | Val::Arr(_))) => documents.push((value, at..end)),
                _ => break,
            }
        }
        at = end;
    }
    (documents, at)
}

/// No deeper than a stack bears: the parser goes down a level for each.
pub(super) fn depth_fits(content: &[u8]) -> bool {
    let mut depth = 0_u32;
    let mut in_string = false;
    let mut at = 0;
    while let Some(&byte) = content.get(at) {
        match byte {
            b'"' => in_string = !in_string,
            b'\\' if in_string => at += 1,
            b'{' | b'[' if !in_string => {
                depth += 1;
                if depth > DEPTH_MAX {
                    return false;
                }
            }
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
        at += 1;
    }
    true
}

/// Values of programs reach further than JSON: such a body no server reads.
fn check_json(value: &Val) -> Result<(), String> {
    match value {
        Val::Num(Num::Float(number)) if !number.is_finite() => {
            Err("its payload has a number that JSON has not (NaN or infinite)".to_owned())
        }
        Val::BStr(_) => Err("its payload has a byte string, which JSON has not".to_owned()),
        Val::Arr(values) => values.iter().try_for_each(check_json),
        Val::Obj(fields) => fields.iter().try_for_each(|(name, value)| {
            text(name).ok_or("its payload has a name that is no string")?;
            check_json(value)
        }),
        _ => Ok(()),
    }
}

/// `a=1&a=2` as `{"a": ["1", "2"]}`.
fn form_value(body: &str) -> Val {
    let mut names: Vec<(String, Vec<Val>)> = Vec::new();
    for pair in body.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (name, value) = (form_decoded(name), Val::utf8_str(form_decoded(value).into_bytes()));
        match names.iter_mut().find(|(known, _)| *known == name) {
            Some((_, values)) => values.push(value),
            None => names.push((name, vec![value])),
        }
    }
    let fields =
        names.into_iter().map(|(name, values)| (string(&name), values.into_iter().collect()));
    Val::obj(fields.collect())
}

fn form_decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let hex = || bytes.get(at + 1..at + 3).and_then(|hex| std::str::from_utf8(hex).ok());
        let decoded = hex().and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match (byte, decoded) {
            (b'%', Some(decoded)) => {
                out.push(decoded);
                at += 2;
            }
            (b'+', _) => out.push(b' '),
            _ => out.push(byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn form_into(form: &Val, out: &mut Vec<u8>) -> Result<(), String> {
    let wrong =
        || "its inlinedFormEncodedBody is no object of strings or lists of strings".to_owned();
    let Val::Obj(fields) = form else { return Err(wrong()) };
    for (name, values) in fields.iter() {
        let one;
        let values = match values {
            Val::Arr(values) => &values[..],
            value => {
                one = [value.clone()];
                &one[..]
            }
        };
        for value in values {
            if out.last().is_some_and(|&byte| byte != b'&') {
                out.push(b'&');
            }
            form_encoded(bytes(name).ok_or_else(wrong)?, out);
            out.push(b'=');
            form_encoded(bytes(value).ok_or_else(wrong)?, out);
        }
    }
    Ok(())
}

fn form_encoded(text: &[u8], out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for &byte in text {
        match byte {
            b' ' => out.push(b'+'),
            _ if byte.is_ascii_alphanumeric() || b"*-._".contains(&byte) => out.push(byte),
            _ => {
                out.extend_from_slice(&[
                    b'%',
                    HEX[usize::from(byte >> 4)],
                    HEX[usize::from(byte & 15)],
                ]);
            }
        }
    }
}

fn field(name: &str, value: Val) -> Val {
    Val::obj(std::iter::once((string(name), value)).collect())
}

/// A string of a program.
pub(super) fn string(text: &str) -> Val {
    Val::utf8_str(text.as_bytes().to_vec())
}

/// The text of a string.
pub(super) fn text(value: &Val) -> Option<&str> {
    bytes(value).and_then(|bytes| std::str::from_utf8(bytes).ok())
}

/// The bytes of a string, which need not be UTF-8.
pub(super) fn bytes(value: &Val) -> Option<&[u8]> {
    match value {
        Val::TStr(bytes) | Val::BStr(bytes) => Some(bytes),
        _ => None,
    }
}

const JSON: &str = "inlinedJsonBody";
const SEQUENCE: &str = "inlinedJsonSequenceBodies";
const FORM: &str = "inlinedFormEncodedBody";
const TEXT: &str = "inlinedTextBody";
const BINARY: &str = "inlinedBase64Body";

/// Deeper than any document of the servers (Elasticsearch allows 1000 levels, 20 for mappings); shallower than what the
/// smallest usual stack bears.
const DEPTH_MAX: u32 = 512;
