//! What a request touches and what its answer tells, read from their bytes.

use super::{
    exchange::{Answer, Request},
    order::{Document, Fact, Facts, Footprint, Item, footprint::hash},
};
use crate::es::{
    answer::{self, Written},
    body::{self, DECODED_BYTES_MAX},
    bulk,
    endpoint::{Endpoint, Kind},
    request_target,
};

/// What the request touches.
pub(super) fn footprint(request: &Request) -> Footprint {
    let everything = Footprint::Everything { renames: true };
    let Some(target) = request_target(&request.bytes) else { return everything };
    let endpoint = Endpoint::of(request.head.method, target);
    let index = endpoint.indices.single();
    match endpoint.kind {
        Kind::Search | Kind::MultiSearch | Kind::IndexRead | Kind::GlobalRead | Kind::Context => {
            Footprint::Free
        }
        Kind::Get => match (index, &endpoint.id) {
            (Some(index), Some(id)) => {
                Footprint::Read(Document::new(index.as_bytes(), id.as_bytes()))
            }
            _ => Footprint::Free,
        },
        Kind::Index | Kind::Create | Kind::Update | Kind::Delete => match (index, &endpoint.id) {
            (Some(index), Some(id)) => {
                Footprint::Write(Document::new(index.as_bytes(), id.as_bytes()))
            }
            (Some(index), None) => Footprint::Generated(hash(index.as_bytes())),
            _ => everything,
        },
        Kind::Bulk => items(request, index).map_or(everything, Footprint::Bulk),
        Kind::DeleteByQuery | Kind::UpdateByQuery | Kind::Maintenance | Kind::IndexAdmin => {
            let renames = endpoint.kind == Kind::IndexAdmin;
            let indices = &endpoint.indices;
            if indices.is_none()
                || indices.is_all()
                || indices.has_wildcard()
                || indices.has_date_math()
            {
                return Footprint::Everything { renames };
            }
            Footprint::Indices {
                names: indices.iter().map(|name| hash(name.as_bytes())).collect(),
                renames,
            }
        }
        Kind::Global | Kind::Unknown if request.head.safe => Footprint::Free,
        Kind::Global | Kind::Unknown => everything,
    }
}

fn items(request: &Request, index: Option<&str>) -> Option<Vec<Item>> {
    let head = &request.head;
    let body =
        body::decoded(&request.bytes, head.head_bytes, head.chunked, DECODED_BYTES_MAX).ok()?;
    bulk::lines(&body, index)
        .map(|item| {
            let item = item.ok()?;
            let index = hash(item.index.as_deref()?.as_bytes());
            Some(Item { index, id: item.id.as_deref().map(|id| hash(id.as_bytes())) })
        })
        .collect()
}

/// What the source's answer tells.
pub(super) fn facts(request: &Request, answer: &Answer) -> Facts {
    let chunked = body::is_chunked(&answer.bytes[..answer.head_bytes.min(answer.bytes.len())]);
    if !answer.whole {
        return Facts::none();
    }
    let Ok(body) = body::decoded(&answer.bytes, answer.head_bytes, chunked, DECODED_BYTES_MAX)
    else {
        return Facts::none();
    };
    let target = request_target(&request.bytes).unwrap_or_default();
    let endpoint = Endpoint::of(request.head.method, target);
    if endpoint.kind != Kind::Bulk {
        return Facts::one(
            answer::write(&body)
                .map_or(Fact { status: answer.status, ..Fact::default() }, |written| {
                    fact(&written, answer.status)
                }),
        );
    }
    let Ok(bulk) = answer::bulk(&body) else { return Facts::none() };
    let items = bulk.items.unwrap_or_default();
    Facts {
        items: items
            .iter()
            .map(|item| fact(&item.written, item.written.status.unwrap_or(0)))
            .collect(),
    }
}

fn fact(written: &Written<'_>, status: u16) -> Fact {
    Fact {
        status,
        // One that has none says a negative number.
        seq_no: written.seq_no.and_then(|number| u64::try_from(number).ok()),
        version: written.version.and_then(|number| u64::try_from(number).ok()),
        index: written.index.as_deref().map(|index| hash(index.as_bytes())),
        unchanged: written.result.as_deref() == Some("noop"),
    }
}
