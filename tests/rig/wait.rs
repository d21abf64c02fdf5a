//! Waiting for something that happens elsewhere, always with a limit.

use std::time::{Duration, Instant};

/// Asks until `probe` gives a value; `None` when the limit has passed.
pub(crate) fn for_some<T>(limit: Duration, mut probe: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(value) = probe() {
            return Some(value);
        }
        if Instant::now() >= deadline {
            return None;
        }
        std::thread::sleep(STEP);
    }
}

/// Asks until `probe` holds; whether it did within the limit.
pub(crate) fn until(limit: Duration, mut probe: impl FnMut() -> bool) -> bool {
    for_some(limit, || probe().then_some(())).is_some()
}

const STEP: Duration = Duration::from_millis(10);
