//! What this process may open and lock. A unit has limits of its own: those of the shell matter for a start from it.

use super::{Finding, finding::size};
use crate::sys::limits;

/// Every client takes two descriptors; fewer than these are a mistake, or at least a surprise.
const FILES_MIN: u64 = 256;
const FILES_ADVISED: u64 = 20_000;
/// The rings of one worker, as measured.
const LOCKED_MIN: u64 = 8 << 20;

/// What was seen.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts {
    /// The most files that may be open: tapline raises itself to the hard limit.
    pub(super) files: u64,
    /// Bytes that may be locked.
    pub(super) locked: u64,
    /// Root locks what it likes.
    pub(super) root: bool,
}

pub(super) fn look() -> Facts {
    Facts {
        files: limits::open_files().1,
        locked: limits::locked_memory().0,
        root: rustix::process::geteuid().is_root(),
    }
}

pub(super) fn judge(facts: &Facts) -> Vec<Finding> {
    vec![files(facts.files), locked(facts)]
}

fn files(files: u64) -> Finding {
    let check = "limits.open_files";
    let clients = files / 2;
    let fix = "in the unit: LimitNOFILE=1048576; in a shell: ulimit -n 1048576 (as root)";
    match files {
        0..FILES_MIN => {
            Finding::fail(check, format!("only {files} files may be open: too few to start"), fix)
        }
        FILES_MIN..FILES_ADVISED => Finding::warn(
            check,
            format!("{files} files may be open from here: about {clients} clients"),
            fix,
        ),
        _ => Finding::ok(check, format!("{files} files may be open: about {clients} clients")),
    }
}

fn locked(facts: &Facts) -> Finding {
    let check = "limits.locked_memory";
    let shown = size(facts.locked);
    if facts.root {
        return Finding::ok(check, format!("{shown}, which does not bind root"));
    }
    if facts.locked < LOCKED_MIN {
        return Finding::fail(
            check,
            format!("{shown} may be locked: the rings of a worker need {}", size(LOCKED_MIN)),
            "in the unit: LimitMEMLOCK=infinity; in a shell: ulimit -l 8192 (as root)",
        );
    }
    Finding::ok(check, format!("{shown} may be locked"))
}
