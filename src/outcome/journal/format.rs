//! The journal's bytes: a header, then batches, each with its kind, length and checksum.
//!
//! ```text
//! header  "TAPJRNL" version:u8
//! batch   kind:u8 count:u24 crc32c:u32 items         the checksum covers kind, count and items
//! noted   fingerprint:u64 unix_s:u32 stage:u8 lane:u32 number:u64    (kind 1; lane u32::MAX: not met in this run)
//! saved   lane:u32 number:u64                                        (kind 2)        all little-endian
//! ```
//!
//! Lanes mean something within the run that wrote them only, and a run begins its file anew, so all of a file's lanes
//! are of one run. Reading stops at the first batch that is not whole: a batch is one write, so only the last can be
//! torn. What lies before the last saved position of its lane is left out.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use super::Stage;

/// An entry as it is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Noted {
    pub(super) fingerprint: u64,
    pub(super) stage: Stage,
    /// When it was noted, Unix seconds.
    pub(super) at_s: u32,
    /// Lane and number in this run, once it was met in it.
    pub(super) place: Option<(u32, u64)>,
}

/// Appends entries as batches.
pub(super) fn write(out: &mut Vec<u8>, entries: &[Noted]) {
    for entries in entries.chunks(BATCH_ITEMS_MAX) {
        batch(out, NOTED, entries.len(), |out| {
            for noted in entries {
                let (lane, number) = noted.place.unwrap_or((NO_LANE, 0));
                out.extend_from_slice(&noted.fingerprint.to_le_bytes());
                out.extend_from_slice(&noted.at_s.to_le_bytes());
                out.push(noted.stage as u8);
                out.extend_from_slice(&lane.to_le_bytes());
                out.extend_from_slice(&number.to_le_bytes());
            }
        });
    }
}

/// Appends positions that were saved.
pub(super) fn write_saved(out: &mut Vec<u8>, lanes: &[(u32, u64)]) {
    for lanes in lanes.chunks(BATCH_ITEMS_MAX) {
        batch(out, SAVED, lanes.len(), |out| {
            for (lane, number) in lanes {
                out.extend_from_slice(&lane.to_le_bytes());
                out.extend_from_slice(&number.to_le_bytes());
            }
        });
    }
}

/// What a file holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Read {
    /// What the saved position needs, by fingerprint; places are forgotten, for they were another run's.
    Good(HashMap<u64, Noted, RandomState>),
    /// Something else, or a newer version.
    Foreign,
}

/// Reads a file's bytes.
pub(super) fn read(bytes: &[u8]) -> Read {
    let Some(mut rest) = bytes.strip_prefix(&HEADER) else {
        // Cut within the header, or never written before the host crashed: nothing was noted.
        let unwritten = HEADER.starts_with(bytes) || bytes.iter().all(|&byte| byte == 0);
        return if unwritten { Read::Good(HashMap::default()) } else { Read::Foreign };
    };
    let mut entries: HashMap<u64, Noted, RandomState> = HashMap::default();
    entries.reserve(rest.len() / NOTED_BYTES);
    let mut saved: HashMap<u32, u64> = HashMap::new();
    while let Some((kind, items, after)) = whole_batch(rest) {
        if kind == NOTED {
            for noted in items.chunks_exact(NOTED_BYTES).filter_map(noted) {
                let at = entries.entry(noted.fingerprint).or_insert(noted);
                *at = Noted { stage: noted.stage.max(at.stage), ..noted };
            }
        } else {
            for (lane, first) in items.chunks_exact(SAVED_BYTES).filter_map(place) {
                let at = saved.entry(lane).or_insert(first);
                *at = first.max(*at);
            }
        }
        rest = after;
    }
    entries.retain(|_, noted| {
        let first = noted.place.and_then(|(lane, number)| Some((saved.get(&lane)?, number)));
        first.is_none_or(|(first, number)| number >= *first)
    });
    for noted in entries.values_mut() {
        noted.place = None;
    }
    Read::Good(entries)
}

fn batch(out: &mut Vec<u8>, kind: u8, count: usize, items: impl FnOnce(&mut Vec<u8>)) {
    let begin = out.len();
    let [a, b, c, _] = (count as u32).to_le_bytes();
    out.extend_from_slice(&[kind, a, b, c, 0, 0, 0, 0]);
    items(out);
    let crc = checksum(&out[begin..]);
    out[begin + 4..begin + BATCH_HEAD_BYTES].copy_from_slice(&crc.to_le_bytes());
}

/// Kind and items of the batch in front, and what follows it.
fn whole_batch(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let [kind, a, b, c] = *bytes.first_chunk()?;
    let item_bytes = match kind {
        NOTED => NOTED_BYTES,
        SAVED => SAVED_BYTES,
        _ => return None,
    };
    let count = u32::from_le_bytes([a, b, c, 0]) as usize;
    let (batch, after) = bytes.split_at_checked(BATCH_HEAD_BYTES + count * item_bytes)?;
    let crc = u32::from_le_bytes(*batch[4..].first_chunk()?);
    (crc == checksum(batch)).then_some((kind, &batch[BATCH_HEAD_BYTES..], after))
}

fn noted(bytes: &[u8]) -> Option<Noted> {
    let (fingerprint, rest) = bytes.split_first_chunk()?;
    let (at_s, rest) = rest.split_first_chunk()?;
    let (stage, rest) = rest.split_first()?;
    let stage = if *stage == Stage::Answered as u8 { Stage::Answered } else { Stage::Written };
    let place = place(rest)?;
    Some(Noted {
        fingerprint: u64::from_le_bytes(*fingerprint),
        stage,
        at_s: u32::from_le_bytes(*at_s),
        place: (place.0 != NO_LANE).then_some(place),
    })
}

fn place(bytes: &[u8]) -> Option<(u32, u64)> {
    let (lane, rest) = bytes.split_first_chunk()?;
    Some((u32::from_le_bytes(*lane), u64::from_le_bytes(*rest.first_chunk()?)))
}

fn checksum(batch: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&batch[..4]), &batch[BATCH_HEAD_BYTES..])
}

/// What a journal begins with.
pub(super) const HEADER: [u8; 8] = *b"TAPJRNL\x01";
pub(super) const NOTED_BYTES: usize = 25;
const SAVED_BYTES: usize = 12;
const BATCH_HEAD_BYTES: usize = 8;
const BATCH_ITEMS_MAX: usize = 1 << 16;
const NOTED: u8 = 1;
const SAVED: u8 = 2;
/// No lane has this number: lanes are counted from 0.
const NO_LANE: u32 = u32::MAX;
