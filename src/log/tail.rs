//! Where the frames of a segment end, and what it means when one is missing.
//!
//! Owns the judgement between what never reached the disk and what was damaged there. Power that is lost keeps any of
//! the sectors written since the last fdatasync and loses others, so that whole frames can stand behind a missing one,
//! though nobody was ever told that either is safe. Two things are asked of such a hole. No frame behind it may say
//! that the missing ones were durable when it was written ([`FrameHead::durable_before`]). And it must look like a
//! sector that never came: zeroes up to a boundary, for a segment is blank before it is written. Then the log ends
//! there. Anything else is damage. Damage to the very last batch that looks like a lost sector cannot be told from
//! one; it would take a disk that loses what it has confirmed.

use super::error::LogError;
use super::format::{END, HEADER_BYTES};
use super::window::Window;

/// What a disk writes as a whole, at the least.
pub(super) const SECTOR_BYTES: u64 = 512;

/// What a segment holds.
#[derive(Debug)]
pub(super) struct Tail {
    /// Where the frames end.
    pub(super) end: u64,
    /// The sequence that follows them.
    pub(super) next: u64,
    /// Sequences that are missing before the end. May be empty for a hole that has none.
    pub(super) lost: Vec<std::ops::Range<u64>>,
    /// Something before the end cannot be read.
    pub(super) damaged: bool,
    /// Something behind the end was begun and did not become durable.
    pub(super) torn: bool,
}

/// Frames that are missing, with whole ones behind them.
#[derive(Debug)]
struct Hole {
    start: u64,
    first: u64,
    /// The sequence behind it.
    next: u64,
    /// A sector in it was never written.
    blank: bool,
}

/// Reads a segment on from a frame's place.
pub(super) fn search(window: &mut Window, from: u64, next: u64) -> Result<Tail, LogError> {
    let (mut end, mut next) = (from.max(HEADER_BYTES as u64), next);
    let (mut holes, mut durable) = (Vec::new(), 0);
    let mut torn = false;
    'frames: loop {
        while let Some(frame) = window.frame(end)?.filter(|frame| frame.head.sequence == next) {
            durable = durable.max(frame.head.durable_before());
            if frame.head.kind == END {
                break 'frames;
            }
            end += frame.head.stride();
            next += 1;
        }
        let Some((offset, head)) = window.seek(end, next)? else {
            torn = !window.is_blank(end)?;
            break;
        };
        let blank = window.has_blank_sector(end, offset)?;
        holes.push(Hole { start: end, first: next, next: head.sequence, blank });
        (end, next) = (offset, head.sequence);
    }
    if let Some(at) = holes.iter().position(|hole| hole.first >= durable)
        && holes[at].blank
    {
        (end, next) = (holes[at].start, holes[at].first);
        torn = true;
        holes.truncate(at);
    }
    let lost = holes.iter().map(|hole| hole.first..hole.next).filter(|lost| !lost.is_empty());
    Ok(Tail { end, next, lost: lost.collect(), damaged: !holes.is_empty(), torn })
}
