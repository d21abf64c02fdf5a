//! What is written while somebody follows is seen, and an interrupt ends it.

use std::sync::atomic::{AtomicBool, Ordering};

use super::{Author, Loss, Raw, Scratch, Span, Visit};
use crate::{
    inspect::{
        capture_log,
        source::{Place, Stop},
    },
    log::Writer,
};

/// Writes what it has whenever there is nothing to read, and interrupts when it has no more.
struct Live<'a> {
    writer: Option<Writer>,
    unwritten: Vec<Vec<u8>>,
    stopped: &'a AtomicBool,
    seen: Vec<Place>,
}

impl Visit for Live<'_> {
    fn record(&mut self, raw: &Raw<'_>) -> Result<(), Stop> {
        self.seen.push(raw.place);
        Ok(())
    }

    fn loss(&mut self, loss: &Loss) -> Result<(), Stop> {
        panic!("{}", loss.text);
    }

    fn idle(&mut self) -> Result<(), Stop> {
        match (self.unwritten.pop(), &mut self.writer) {
            (Some(record), Some(writer)) => {
                writer.append(&[&record]).unwrap();
            }
            _ => self.stopped.store(true, Ordering::Relaxed),
        }
        Ok(())
    }
}

#[test]
fn a_live_log_is_followed_until_interrupted() {
    let scratch = Scratch { root: tempfile::tempdir().unwrap() };
    let stopped = AtomicBool::new(false);
    let mut live = Live {
        writer: Some(scratch.writer()),
        unwritten: Author::new(2).connection(1, 2),
        stopped: &stopped,
        seen: Vec::new(),
    };
    let span = Span { follow: true, ..Span::default() };
    capture_log::read(&scratch.dir(), span, &stopped, &mut live).unwrap();
    let frame = |sequence| Place::Log { incarnation: 0xAB, sequence };
    assert_eq!(live.seen, [frame(0), frame(1), frame(2)]);
}
