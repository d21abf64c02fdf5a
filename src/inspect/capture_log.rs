//! Records out of a capture log directory.
//!
//! Owns the sentences for a directory that is not there or holds nothing. Without `follow` it ends
//! where the log ends at the moment the reader gets there, so a log that is being written is read
//! up to what the writer has written by then.

use std::{path::Path, sync::atomic::AtomicBool, thread, time::Duration};

use super::source::{Loss, Place, Raw, Span, Stop, Visit, is_raised};
use crate::{
    log::{LogError, Position, RECORD, Reader},
    observe::{ExitCode, Failure},
};

/// Gives every record of the log in `dir` to the visitor.
pub(super) fn read(
    dir: &Path,
    span: Span,
    stopped: &AtomicBool,
    visitor: &mut dyn Visit,
) -> Result<(), Stop> {
    check(dir, span.follow)?;
    let mut reader = Reader::open(dir, &Position::start()).map_err(failure)?;
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
            Err(error) => return Err(failure(error).into()),
        }
    }
    Ok(())
}

/// A directory without a log is a slip of the command line more often than an empty log.
fn check(dir: &Path, follow: bool) -> Result<(), Failure> {
    let name = dir.display();
    if !dir.is_dir() {
        return Err(Failure::configuration(format!(
            "there is no capture log at {name}. Name its directory with --log (tapline capture \
             writes to log in its --state-dir), or a topic with --kafka-brokers"
        )));
    }
    if follow || holds_segments(dir) {
        return Ok(());
    }
    let inner = dir.join("log");
    let advice = if holds_segments(&inner) {
        format!("There is one in {}: name that with --log", inner.display())
    } else {
        "Name another directory with --log, or start tapline capture with it first".into()
    };
    Err(Failure::configuration(format!("{name} holds no capture log. {advice}")))
}

/// Whether any directory below is one that a writer began. What cannot be listed is left to the
/// reader, which says why.
fn holds_segments(dir: &Path) -> bool {
    let Ok(entries) = dir.read_dir() else { return dir.is_dir() };
    entries.filter_map(Result::ok).any(|entry| {
        let Ok(mut files) = entry.path().read_dir() else { return false };
        files.any(|file| file.is_ok_and(|file| file.file_name().to_string_lossy().contains(".seg")))
    })
}

fn failure(error: LogError) -> Failure {
    let code = match error {
        LogError::Io { .. } => ExitCode::Failed,
        _ => ExitCode::Configuration,
    };
    Failure::new(code, error)
}

fn loss(error: &LogError) -> Loss {
    let records = match error {
        LogError::Corrupt { sequences, .. } => Some(sequences.end - sequences.start),
        LogError::Missing { first, end: Some(end), .. } => Some(end - first),
        _ => None,
    };
    Loss { text: error.to_string(), records }
}

/// How often a followed log is looked at again.
const FOLLOW_PAUSE: Duration = Duration::from_millis(100);
