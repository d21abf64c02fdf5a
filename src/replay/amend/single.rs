//! Writes of one document: the id from the answer into the path, the conditions out of the query.
//!
//! Owns the new request line. Never touches a body.

use super::{
    Amended, Conditions, Counts, Ids, Reason, Refused, Settings, Why, answer_body, changed,
    is_refusal,
};
use crate::es::answer;
use crate::es::endpoint::{Endpoint, Kind};
use crate::es::{percent_encoded_into, request_target};
use crate::http::Version;
use crate::replay::exchange::{Answer, Request};

pub(super) fn amend(
    request: &Request,
    endpoint: &Endpoint<'_>,
    answer: Option<&Answer>,
    settings: Settings,
    uncertain: bool,
) -> Result<Amended, Why> {
    let wants_id =
        settings.ids == Ids::Source && endpoint.kind == Kind::Index && endpoint.id.is_none();
    let conditional =
        settings.conditions == Conditions::Drop && endpoint.query.has_sequence_condition();
    let Some(answer) = answer else {
        return if wants_id || conditional { Err(Why::NoAnswer) } else { Ok(Amended::Untouched) };
    };
    let status = answer.status;
    let deleted = endpoint.kind == Kind::Delete;
    let refused = is_refusal(status, deleted) || (uncertain && status >= 400);
    if refused && settings.refused == Refused::Skip {
        return Ok(Amended::Leave(Reason::RefusedBySource(status)));
    }
    if !(200..300).contains(&status) || !(wants_id || conditional) {
        return Ok(Amended::Untouched);
    }
    let id = if wants_id { Some(id_of(answer)?) } else { None };
    let line = request_line(request, endpoint, id.as_deref(), conditional);
    let line = line.ok_or(Why::RequestUnreadable)?;
    let what = Counts { ids: u32::from(wants_id), left_out: 0, conditions: u32::from(conditional) };
    changed(request, Some(&line), None, what, None)
}

fn id_of(answer: &Answer) -> Result<String, Why> {
    let body = answer_body(answer)?;
    let written = answer::write(&body).map_err(|_| Why::AnswerUnreadable)?;
    let id = written.id.filter(|id| !id.is_empty()).ok_or(Why::AnswerUnreadable)?;
    Ok(id.into_owned())
}

fn request_line(
    request: &Request,
    endpoint: &Endpoint<'_>,
    id: Option<&str>,
    drop_conditions: bool,
) -> Option<Vec<u8>> {
    let bytes = &request.bytes;
    let start = bytes.iter().position(|byte| !matches!(byte, b'\r' | b'\n'))?;
    let method_bytes = memchr::memchr(b' ', &bytes[start..])?;
    let target = request_target(bytes)?;
    let path_bytes = memchr::memchr2(b'?', b'#', target).unwrap_or(target.len());
    let mut line = Vec::with_capacity(target.len() + 128);
    if let Some(id) = id {
        let path = &target[..path_bytes];
        let end = path.iter().rposition(|&byte| byte != b'/').map_or(0, |last| last + 1);
        line.extend_from_slice(b"PUT ");
        line.extend_from_slice(&path[..end]);
        line.push(b'/');
        percent_encoded_into(id, &mut line);
    } else {
        line.extend_from_slice(&bytes[start..=start + method_bytes]);
        line.extend_from_slice(&target[..path_bytes]);
    }
    let mut mark = b'?';
    let mut parameter = |line: &mut Vec<u8>, bytes: &[u8]| {
        if !bytes.is_empty() {
            line.push(mark);
            line.extend_from_slice(bytes);
            mark = b'&';
        }
    };
    // A data stream takes nothing else, and a second arrival changes nothing.
    if id.is_some() && endpoint.query.op_type().is_none() {
        parameter(&mut line, b"op_type=create");
    }
    if drop_conditions {
        parameter(&mut line, &endpoint.query.without_sequence_condition());
    } else {
        parameter(&mut line, endpoint.query.as_bytes());
    }
    line.extend_from_slice(match request.head.version {
        Version::Http10 => b" HTTP/1.0",
        Version::Http11 => b" HTTP/1.1",
    });
    Some(line)
}
