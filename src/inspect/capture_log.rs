//! Records out of a capture log directory.
//!
//! Without `follow` it ends where the log ends at the moment the reader gets there, so a log that is
//! being written is read up to what the writer has written by then.

use std::{path::Path, sync::atomic::AtomicBool, thread, time::Duration};

use super::source::{Loss, Place, Raw, Span, Stop, Visit, is_raised};
use crate::{
    feed::{check_log, log_failure, lost_records},
    log::{LogError, Position, RECORD, Reader},
};

/// Gives every record of the log in `dir` to the visitor.
pub(super) fn read(
    dir: &Path,
    span: Span,
    stopped: &AtomicBool,
    visitor: &mut dyn Visit,
) -> Result<(), Stop> {
    check_log(dir, span.follow)?;
    let mut reader = Reader::open(dir, &Position::start()).map_err(log_failure)?;
    while !is_raised(stopped) {
        match reader.next() {
            Ok(Some(frame)) => {
                let place = Place::Log { incarnation: frame.incarnation, sequence: frame.sequence };
                let payload = (frame.kind == RECORD).then_some(frame.payload);
                visitor.record(&Raw { place, node: frame.node, payload })?;
            }
            Ok(None) if span.follow => {
                visitor.idle()?;
                thread::sleep(FOLLOW_PAUSE);
            }
            Ok(None) => return Ok(()),
            Err(error) if error.is_loss() => visitor.loss(&loss(&error))?,
            Err(error) => return Err(log_failure(error).into()),
        }
    }
    Ok(())
}

fn loss(error: &LogError) -> Loss {
    Loss { text: error.to_string(), records: lost_records(error) }
}

/// How often a followed log is looked at again.
const FOLLOW_PAUSE: Duration = Duration::from_millis(100);
