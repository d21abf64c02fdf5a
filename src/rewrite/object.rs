//! A request as an object for programs, and a request again from the object that came back.
//!
//! Owns what decides which bytes are made anew: a field line whose values came back as they were is copied, a body that
//! came back as it was is copied with its framing, and only what differs is written. The object:
//!
//! ```json
//! {"URI": "/i/_doc/1", "method": "PUT", "protocol": "HTTP/1.1",
//!  "headers": {"Host": ["source:9200"], "X-Twice": ["1", "2"]},
//!  "payload": {"inlinedJsonBody": {}}}
//! ```

use std::borrow::Cow;

use jaq_json::{Map, Val};

use super::edits::CRLF;
use super::message::Message;
use super::payload::{Payload, bytes, string};
use super::program::Program;
use super::settings::is_framing;
use crate::es::body;
use crate::http::{is_field_name, is_field_value, is_token};

/// What a program made of a request.
pub(super) enum Outcome {
    Unchanged,
    Changed(Vec<u8>),
    /// It gave nothing: the request is not sent.
    Nothing,
}

/// Runs `program` on `message`. The error says what went wrong.
pub(super) fn transform(program: &Program, message: &Message<'_>) -> Result<Outcome, String> {
    let content = content(program, message)?;
    let payload = content.as_deref().map(|content| payload(message, content));
    let groups = groups(message);
    let input = object(message, &groups, payload.as_ref());
    match program.run(input.clone())? {
        None => Ok(Outcome::Nothing),
        Some(output) => rebuild(program, message, &groups, payload.as_ref(), &input, &output)
            .map_err(|why| format!("{}: {why}", program.name())),
    }
}

/// Does `filter` let `message` through? The first output decides; none is a no.
pub(super) fn passes(filter: &Program, message: &Message<'_>) -> Result<bool, String> {
    let content = content(filter, message)?;
    let payload = content.as_deref().map(|content| payload(message, content));
    let output = filter.run(object(message, &groups(message), payload.as_ref()))?;
    Ok(!matches!(output, None | Some(Val::Null | Val::Bool(false))))
}

/// The body out of its framing and coding, for a program that may read it.
fn content<'a>(program: &Program, message: &Message<'a>) -> Result<Option<Cow<'a, [u8]>>, String> {
    program.reads_payload.then(|| decoded(message)).transpose()
}

fn decoded<'a>(message: &Message<'a>) -> Result<Cow<'a, [u8]>, String> {
    let head = message.head;
    body::decoded(message.bytes, head.head_bytes, head.chunked, body::DECODED_BYTES_MAX)
        .map_err(|error| format!("the body cannot be read: {error}"))
}

fn payload<'a>(message: &Message<'_>, content: &'a [u8]) -> Payload<'a> {
    let content_type = message.field(b"content-type").unwrap_or_default();
    let path = message.target.split(|&byte| byte == b'?').next().unwrap_or_default();
    let lines = [&b"/_bulk"[..], b"/_msearch", b"/_msearch/template"];
    Payload::new(content, content_type, lines.iter().any(|end| path.ends_with(end)))
}

/// Fields of one name, in whatever case, under the first one's.
struct Group<'a> {
    name: &'a [u8],
    values: Vec<&'a [u8]>,
}

fn groups<'a>(message: &Message<'a>) -> Vec<Group<'a>> {
    let mut groups: Vec<Group<'a>> = Vec::with_capacity(message.fields.len());
    for field in &message.fields {
        match groups.iter_mut().find(|group| group.name.eq_ignore_ascii_case(field.name)) {
            Some(group) => group.values.push(field.value),
            None => groups.push(Group { name: field.name, values: vec![field.value] }),
        }
    }
    groups
}

fn object(message: &Message<'_>, groups: &[Group<'_>], payload: Option<&Payload<'_>>) -> Val {
    let raw = |bytes: &[u8]| Val::utf8_str(bytes.to_vec());
    let header = |group: &Group<'_>| {
        (raw(group.name), group.values.iter().map(|value| raw(value)).collect::<Val>())
    };
    let headers = Val::obj(groups.iter().map(header).collect());
    let mut fields: Map = [
        (string(URI), raw(message.target)),
        (string(METHOD), raw(message.method)),
        (string(PROTOCOL), raw(message.protocol)),
        (string(HEADERS), headers),
    ]
    .into_iter()
    .collect();
    if let Some(payload) = payload {
        fields.insert(string(PAYLOAD), payload.value.clone());
    }
    Val::obj(fields)
}

fn rebuild(
    program: &Program,
    message: &Message<'_>,
    groups: &[Group<'_>],
    payload: Option<&Payload<'_>>,
    input: &Val,
    output: &Val,
) -> Result<Outcome, String> {
    let fields =
        fields_of(output).ok_or("its output is no object; give the request object back")?;
    let field = |name: &str| fields.get(&string(name));
    let first_line = first_line(message, &field)?;
    let Some(Val::Obj(headers)) = field(HEADERS) else {
        return Err("its output has no object headers".to_owned());
    };
    let headers = headers_of(groups, headers)?;

    let was = fields_of(input).and_then(|fields| fields.get(&string(PAYLOAD)));
    let body = match (payload, field(PAYLOAD)) {
        (Some(_), is) if is == was => None,
        (Some(_), None) if !program.names_payload => None,
        (Some(payload), is) => Some(payload.content_of(is.unwrap_or(&Val::Null))?),
        (None, None | Some(Val::Null)) => None,
        (None, Some(_)) => return Err("its output has a payload it was not given".to_owned()),
    };
    let chunked = headers.iter().any(|header| {
        let is_chunked = |value: &Cow<'_, [u8]>| value.eq_ignore_ascii_case(b"chunked");
        header.name.eq_ignore_ascii_case(b"transfer-encoding")
            && header.values.iter().any(is_chunked)
    });
    let coding = |name: &[u8]| name.eq_ignore_ascii_case(b"content-encoding");
    let is_coding = headers.iter().find(|header| coding(header.name));
    let was_coding = groups.iter().find(|group| coding(group.name));
    let same_coding = match (is_coding, was_coding) {
        (None, None) => true,
        (Some(is), Some(was)) => is.is(was),
        _ => false,
    };
    let reframed = body.is_some() || chunked != message.head.chunked || !same_coding;

    let framing = if reframed {
        let content = match body {
            Some(content) => Cow::Owned(content),
            None => decoded(message)?,
        };
        let coding = is_coding.map(|header| header.values.join(&b", "[..])).unwrap_or_default();
        let coded = coded(&coding, content)?;
        if chunked { Framing::Chunked(coded) } else { Framing::Length(coded) }
    } else {
        Framing::AsItWas
    };
    let mut out = Vec::with_capacity(message.bytes.len() + 256);
    out.extend_from_slice(&first_line);
    fields_into(message, groups, &headers, &framing, &mut out);
    out.extend_from_slice(CRLF);
    framing.body_into(message, &mut out);
    Ok(if out == message.bytes { Outcome::Unchanged } else { Outcome::Changed(out) })
}

fn coded<'a>(coding: &[u8], content: Cow<'a, [u8]>) -> Result<Cow<'a, [u8]>, String> {
    if coding.is_empty() || content.is_empty() {
        return Ok(content);
    }
    let head = [b"* * *\r\nContent-Encoding: ", coding, b"\r\n\r\n"].concat();
    let coded = body::encoded(&head, false, &content).map(Cow::into_owned);
    coded.map(Cow::Owned).map_err(|error| format!("the body cannot be written: {error}"))
}

/// How the body that goes out is framed.
enum Framing<'a> {
    AsItWas,
    Chunked(Cow<'a, [u8]>),
    Length(Cow<'a, [u8]>),
}

impl Framing<'_> {
    /// The field that says so: in the place and the case of `name`, which was there.
    fn field_into(&self, name: &[u8], out: &mut Vec<u8>) {
        match self {
            Self::AsItWas => {}
            Self::Chunked(_) => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
            Self::Length(body) => {
                let is_length = name.eq_ignore_ascii_case(b"content-length");
                out.extend_from_slice(if is_length { name } else { b"Content-Length" });
                out.extend_from_slice(format!(": {}\r\n", body.len()).as_bytes());
            }
        }
    }

    fn body_into(&self, message: &Message<'_>, out: &mut Vec<u8>) {
        match self {
            Self::AsItWas => out.extend_from_slice(message.body()),
            Self::Length(body) => out.extend_from_slice(body),
            Self::Chunked(body) => {
                if !body.is_empty() {
                    out.extend_from_slice(format!("{:x}\r\n", body.len()).as_bytes());
                    out.extend_from_slice(body);
                    out.extend_from_slice(CRLF);
                }
                out.extend_from_slice(b"0\r\n\r\n");
            }
        }
    }
}

/// The request line, the one that came unless something in it differs.
fn first_line<'a>(
    message: &Message<'a>,
    field: &dyn Fn(&str) -> Option<&'a Val>,
) -> Result<Cow<'a, [u8]>, String> {
    let part = |name: &str| {
        let value = field(name).and_then(bytes);
        value
            .ok_or_else(|| format!("its output has no string {name}; give the request object back"))
    };
    let (target, method, protocol) = (part(URI)?, part(METHOD)?, part(PROTOCOL)?);
    if target == message.target && method == message.method && protocol == message.protocol {
        return Ok(Cow::Borrowed(&message.bytes[message.first_line.clone()]));
    }
    if method.is_empty() || !method.iter().all(|&byte| is_token(byte)) {
        return Err("its method is no method".to_owned());
    }
    if target.is_empty() || target.iter().any(|&byte| byte <= b' ' || byte == 0x7f) {
        return Err(
            "its URI is empty or has a blank or a control character; encode it as %20".to_owned()
        );
    }
    Ok(Cow::Owned([method, b" ", target, b" ", protocol, CRLF].concat()))
}

/// A field as it came back.
struct Header<'a> {
    name: &'a [u8],
    values: Vec<Cow<'a, [u8]>>,
}

impl Header<'_> {
    /// Are its values those of the group?
    fn is(&self, group: &Group<'_>) -> bool {
        self.values.len() == group.values.len()
            && self.values.iter().zip(&group.values).all(|(is, was)| is.as_ref() == *was)
    }
}

/// The fields that came back, one for each name whatever its case. Of two that differ in case only, the one that was
/// not there before counts.
fn headers_of<'a>(groups: &[Group<'_>], headers: &'a Map) -> Result<Vec<Header<'a>>, String> {
    let mut all: Vec<Header<'a>> = Vec::with_capacity(headers.len());
    for (name, value) in headers {
        let name = bytes(name).filter(|name| is_field_name(name));
        let name =
            name.ok_or_else(|| "one of its headers has a name that no field has".to_owned())?;
        let shown = || String::from_utf8_lossy(name).into_owned();
        let header = Header {
            name,
            values: values_of(value).ok_or_else(|| {
                format!(
                    "its header {} is no string without control characters, number or list of them",
                    shown()
                )
            })?,
        };
        let Some(known) = all.iter_mut().find(|known| known.name.eq_ignore_ascii_case(name)) else {
            all.push(header);
            continue;
        };
        if !groups.iter().any(|group| group.name == name) {
            known.values = header.values;
        }
    }
    Ok(all)
}

/// The values of one field, each of which can stand on a line.
fn values_of(value: &Val) -> Option<Vec<Cow<'_, [u8]>>> {
    match value {
        Val::Arr(values) => values.iter().map(one_value).collect(),
        Val::Null => Some(Vec::new()),
        value => one_value(value).map(|value| vec![value]),
    }
}

fn one_value(value: &Val) -> Option<Cow<'_, [u8]>> {
    match value {
        Val::TStr(_) => {
            let value = bytes(value).map(<[u8]>::trim_ascii);
            value.filter(|value| is_field_value(value)).map(Cow::Borrowed)
        }
        Val::Num(_) | Val::Bool(_) => Some(Cow::Owned(value.to_string().into_bytes())),
        _ => None,
    }
}

/// The field lines: those whose values came back as they were as they stood, the others in the place of the old ones,
/// new ones last; the field that frames the body in its old place too.
fn fields_into(
    message: &Message<'_>,
    groups: &[Group<'_>],
    headers: &[Header<'_>],
    framing: &Framing<'_>,
    out: &mut Vec<u8>,
) {
    let line_into = |name: &[u8], value: &[u8], out: &mut Vec<u8>| {
        for part in [name, b": ", value, CRLF] {
            out.extend_from_slice(part);
        }
    };
    let mut written = vec![0; groups.len()];
    for field in &message.fields {
        if is_framing(field.name) {
            match framing {
                Framing::AsItWas => out.extend_from_slice(field.line),
                _ => framing.field_into(field.name, out),
            }
            continue;
        }
        // The trailers are gone with the old framing.
        if !matches!(framing, Framing::AsItWas) && field.name.eq_ignore_ascii_case(b"trailer") {
            continue;
        }
        let found = groups.iter().position(|group| group.name.eq_ignore_ascii_case(field.name));
        let Some(number) = found else { continue };
        let group = &groups[number];
        let header = headers.iter().find(|header| header.name.eq_ignore_ascii_case(group.name));
        let Some(header) = header else { continue };
        let nth = written[number];
        written[number] += 1;
        if header.is(group) {
            out.extend_from_slice(field.line);
            continue;
        }
        let is_last = written[number] == group.values.len();
        let until = if is_last { header.values.len() } else { written[number] };
        for value in header.values.get(nth..until.min(header.values.len())).unwrap_or_default() {
            line_into(field.name, value, out);
        }
    }
    for header in headers.iter().filter(|header| !is_framing(header.name)) {
        if !groups.iter().any(|group| group.name.eq_ignore_ascii_case(header.name)) {
            for value in &header.values {
                line_into(header.name, value, out);
            }
        }
    }
    let head = message.head;
    let was_framed = head.chunked || head.content_length.is_some();
    if !was_framed && !matches!(framing, Framing::Length(body) if body.is_empty()) {
        framing.field_into(b"", out);
    }
}

/// `message` with its body as `Content-Length` says instead of chunked; `None` when it is not chunked.
pub(super) fn without_chunks(message: &Message<'_>) -> Result<Option<Vec<u8>>, String> {
    if !message.head.chunked {
        return Ok(None);
    }
    let mut out = Vec::with_capacity(message.bytes.len() + 32);
    out.extend_from_slice(&message.bytes[message.first_line.clone()]);
    for field in &message.fields {
        if !is_framing(field.name) && !field.name.eq_ignore_ascii_case(b"trailer") {
            out.extend_from_slice(field.line);
        }
    }
    // Without a head there is no coding to be undone.
    let coded = body::decoded(message.body(), 0, true, body::DECODED_BYTES_MAX)
        .map_err(|error| format!("the body cannot be read: {error}"))?;
    out.extend_from_slice(format!("Content-Length: {}\r\n\r\n", coded.len()).as_bytes());
    out.extend_from_slice(&coded);
    Ok(Some(out))
}

fn fields_of(value: &Val) -> Option<&Map> {
    match value {
        Val::Obj(fields) => Some(fields),
        _ => None,
    }
}

const URI: &str = "URI";
const METHOD: &str = "method";
const PROTOCOL: &str = "protocol";
const HEADERS: &str = "headers";
const PAYLOAD: &str = "payload";
