//! Bulks: ids and conditions in the action lines, items left out.
//!
//! Owns the matching of the request's items with the answer's. Never touches a source.

use super::{
    Amended, Conditions, Counts, Ids, Needs, Reason, Refused, Settings, Why, answer_body, changed,
    is_refusal,
};
use crate::es::answer::{self, AnswerItem};
use crate::es::body::{self, DECODED_BYTES_MAX};
use crate::es::bulk::{self, BulkItem};
use crate::es::endpoint::Endpoint;
use crate::http::RequestHead;
use crate::replay::exchange::{Answer, Request};

pub(super) fn amend(
    request: &Request,
    endpoint: &Endpoint<'_>,
    answer: Option<&Answer>,
    settings: Settings,
    uncertain_items: &[usize],
    needs: Needs,
) -> Result<Amended, Why> {
    let mut wanted = Needs {
        ids: needs.ids && settings.ids == Ids::Source,
        conditions: needs.conditions && settings.conditions == Conditions::Drop,
    };
    let skips = settings.refused == Refused::Skip;
    if !skips && wanted == Needs::default() {
        return Ok(Amended::Untouched);
    }
    if let Some(answer) = answer
        && answer.status != 200
    {
        // Refused as a whole.
        let left = skips && is_refusal(answer.status, false);
        let reason = Reason::RefusedBySource(answer.status);
        return Ok(if left { Amended::Leave(reason) } else { Amended::Untouched });
    }
    // Where the flag stands in the front it is found without reading the rest.
    let has_errors = match answer {
        Some(answer) if skips => !is_without_errors(answer),
        _ => false,
    };
    if !has_errors && wanted == Needs::default() {
        return Ok(Amended::Untouched);
    }
    let RequestHead { head_bytes, chunked, .. } = request.head;
    let body = body::decoded(&request.bytes, head_bytes, chunked, DECODED_BYTES_MAX)
        .map_err(|_| Why::RequestUnreadable)?;
    let lines: Result<Vec<_>, _> = bulk::lines(&body, None).collect();
    let lines = lines.map_err(|_| Why::RequestUnreadable)?;
    let mut found = Needs::default();
    for item in &lines {
        found.add(item);
    }
    wanted.ids &= found.ids;
    wanted.conditions &= found.conditions;
    if !has_errors && wanted == Needs::default() {
        return Ok(Amended::Untouched);
    }

    let answer_body = answer_body(answer.ok_or(Why::NoAnswer)?)?;
    if endpoint.query.is_filtered() {
        return Err(Why::AnswerUnreadable);
    }
    let answer = answer::bulk(&answer_body).map_err(|_| Why::AnswerUnreadable)?;
    let answers = answer.items.unwrap_or_default();
    if answers.len() != lines.len() {
        return Err(Why::AnswerUnreadable);
    }

    let mut what = Counts::default();
    let mut kept = Vec::with_capacity(lines.len());
    let mut out = Vec::with_capacity(body.len() + lines.len() * ID_BYTES);
    for (item, answer) in lines.iter().zip(&answers) {
        let status = answer.written.status.unwrap_or(0);
        let uncertain = uncertain_items.contains(&item.number);
        let deleted = answer.written.error.is_none();
        if skips && (is_refusal(status, deleted) || (uncertain && status >= 400)) {
            what.left_out += 1;
            continue;
        }
        kept.push(item.number);
        write_item(&body, item, answer, wanted, &mut what, &mut out);
    }
    if what == Counts::default() {
        return Ok(Amended::Untouched);
    }
    if kept.is_empty() {
        return Ok(Amended::Leave(Reason::AllItemsRefused));
    }
    let kept = (what.left_out > 0).then_some(kept);
    changed(request, None, Some(&out), what, kept)
}

fn is_without_errors(answer: &Answer) -> bool {
    // Plain and in one chunk at most, the flag is within the first bytes; anything else is read as a whole later.
    let body = answer.bytes.get(answer.head_bytes..).unwrap_or(&[]);
    let json = memchr::memchr(b'{', &body[..body.len().min(CHUNK_LINE_BYTES)]);
    let flag = json.and_then(|from| answer::errors_at_front(&body[from..]));
    if let Some(errors) = flag {
        return !errors;
    }
    let body = answer_body(answer).unwrap_or_default();
    answer::errors_at_front(&body) == Some(false)
        || answer::bulk(&body).is_ok_and(|answer| answer.errors == Some(false))
}

fn write_item(
    body: &[u8],
    item: &BulkItem<'_>,
    answer: &AnswerItem<'_>,
    wanted: Needs,
    what: &mut Counts,
    out: &mut Vec<u8>,
) {
    let written = &answer.written;
    let taken = written.status.is_some_and(|status| (200..300).contains(&status));
    let id = written.id.as_deref().filter(|_| wanted.ids && taken && item.wants_id());
    let drop = wanted.conditions && taken && item.sequence_condition;
    if id.is_none() && !drop {
        out.extend_from_slice(&body[item.whole.clone()]);
        return;
    }
    what.ids += u32::from(id.is_some());
    what.conditions += u32::from(drop);
    bulk::write_amended(body, item, id, drop, out);
}

/// `"_id":"` and the 20 bytes of an id that a server makes.
const ID_BYTES: usize = 32;
/// Where the JSON of an answer may begin behind the line of its first chunk.
const CHUNK_LINE_BYTES: usize = 16;
