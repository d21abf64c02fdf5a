//! Ends a replay in which a jq program does not end.
//!
//! A program that runs for ever on one request would run for ever on it after every start as well, while nothing is
//! sent and a Kafka group waits for its member. So it is said what is wrong, and the process ends; the position stays
//! before that request.

use std::{
    process,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use crate::observe::{ExitCode, Failure};

/// How long programs may work on one request. Large bodies take a second per few megabytes.
const LIMIT: Duration = Duration::from_mins(2);
/// How often it is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// Watches programs by their pulse, see [`Rewriter::pulse`](crate::rewrite::Rewriter::pulse), until nobody else has it.
pub(super) fn watch(pulse: Arc<AtomicU64>) -> Result<(), Failure> {
    let watching = move || {
        if is_stuck(&pulse, LIMIT, LOOK) {
            eprintln!(
                "tapline: a jq program (--transform, --request-filter) has run for {} s on one request and does not \
                 end. Mend it and start again: replay goes on before that request",
                LIMIT.as_secs()
            );
            process::exit(ExitCode::Configuration as i32);
        }
    };
    thread::Builder::new().name("tapline-programs".into()).spawn(watching).map(drop).map_err(
        |error| {
            Failure::new(
                ExitCode::Failed,
                format!("cannot start a thread: {error}. Raise ulimit -u or TasksMax="),
            )
        },
    )
}

/// Waits until a program has run for this long on one request, or nobody runs any more.
fn is_stuck(pulse: &Arc<AtomicU64>, limit: Duration, look: Duration) -> bool {
    let (mut last, mut same) = (0, Duration::ZERO);
    while Arc::strong_count(pulse) > 1 {
        thread::sleep(look);
        let now = pulse.load(Ordering::Relaxed);
        let runs = !now.is_multiple_of(2) && now == last;
        same = if runs { same + look } else { Duration::ZERO };
        last = now;
        if same >= limit {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_program_that_runs_on_is_stuck() {
        let look = Duration::from_millis(1);
        let pulse = Arc::new(AtomicU64::new(7));
        let watched = Arc::clone(&pulse);
        assert!(is_stuck(&watched, 20 * look, look));
        pulse.store(8, Ordering::Relaxed);
        let waiting = thread::spawn(move || is_stuck(&watched, 20 * look, look));
        for number in 9..60 {
            pulse.store(number, Ordering::Relaxed);
        }
        pulse.store(60, Ordering::Relaxed);
        drop(pulse);
        assert!(!waiting.join().unwrap());
    }
}
