//! What must hold before replay sends anything.

use std::{
    fs, thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::Deserialize;

use crate::{ask::Asker, config::replay::StartAfter, net::SourceUrl, observe::Failure};

/// How often conditions are looked at.
const LOOK: Duration = Duration::from_secs(1);
/// How often it is said that they do not hold.
const SAY: Duration = Duration::from_secs(30);

/// Waits for all of them. False: told to stop meanwhile.
pub(super) fn wait(
    conditions: &[StartAfter],
    source: Option<&SourceUrl>,
    mut stopped: impl FnMut() -> bool,
) -> Result<bool, Failure> {
    if conditions.is_empty() {
        return Ok(true);
    }
    let asker = Asker::new();
    let mut left: Vec<&StartAfter> = conditions.iter().collect();
    let mut unsaid = SAY;
    loop {
        let mut why = String::new();
        left.retain(|condition| match holds(condition, source, &asker) {
            Ok(()) => {
                tracing::info!(event = "replay.condition_met", %condition, "a condition of the start holds");
                false
            }
            Err(reason) => {
                why = reason;
                true
            }
        });
        let Some(first) = left.first() else { return Ok(true) };
        if unsaid >= SAY {
            unsaid = Duration::ZERO;
            tracing::info!(event = "replay.waiting", condition = %first, why, "waiting for --start-after");
        }
        if stopped() {
            return Ok(false);
        }
        thread::sleep(LOOK);
        unsaid += LOOK;
    }
}

fn holds(condition: &StartAfter, source: Option<&SourceUrl>, asker: &Asker) -> Result<(), String> {
    match condition {
        StartAfter::File(path) => match fs::metadata(path) {
            Ok(_) => Ok(()),
            Err(error) => Err(format!("{}: {error}", path.display())),
        },
        StartAfter::Url(url) => match asker.get(url)? {
            (200, _) => Ok(()),
            (status, _) => Err(format!("{url} answers {status}")),
        },
        StartAfter::Time(at) => {
            let now = SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since| since.as_secs() as i64);
            if now >= *at { Ok(()) } else { Err(format!("{} s to go", at - now)) }
        }
        StartAfter::Snapshot { repository, name } => {
            let source = source.ok_or("no --source is named")?;
            let url = format!("{source}/_snapshot/{repository}/{name}");
            let (status, body) = asker.get(&url)?;
            if status != 200 {
                return Err(format!("{url} answers {status}"));
            }
            snapshot_is_complete(&body)
        }
    }
}

/// The answer of `GET /_snapshot/{repository}/{name}`: only `SUCCESS` is complete; `PARTIAL` lacks shards.
fn snapshot_is_complete(body: &[u8]) -> Result<(), String> {
    #[derive(Deserialize)]
    struct Answer {
        snapshots: Vec<Snapshot>,
    }
    #[derive(Deserialize)]
    struct Snapshot {
        state: String,
    }
    let answer: Answer = serde_json::from_slice(body)
        .map_err(|error| format!("the answer about the snapshot is unclear: {error}"))?;
    match answer.snapshots.first().map(|snapshot| snapshot.state.as_str()) {
        Some("SUCCESS") => Ok(()),
        Some(state @ ("FAILED" | "PARTIAL")) => {
            Err(format!("the snapshot is {state}: take another one, and name that"))
        }
        Some(state) => Err(format!("the snapshot is {state}")),
        None => Err("there is no such snapshot".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_snapshot_is_complete() {
        let answer = |state: &str| {
            format!(r#"{{"snapshots":[{{"snapshot":"s","state":"{state}","shards":{{}}}}]}}"#)
        };
        assert_eq!(snapshot_is_complete(answer("SUCCESS").as_bytes()), Ok(()));
        for state in ["IN_PROGRESS", "PARTIAL", "FAILED"] {
            assert!(
                snapshot_is_complete(answer(state).as_bytes())
                    .is_err_and(|why| why.contains(state))
            );
        }
        assert!(snapshot_is_complete(br#"{"snapshots":[]}"#).is_err());
        assert!(snapshot_is_complete(b"{}").is_err());
    }

    #[test]
    fn a_file_and_a_time_are_looked_at() {
        let dir = tempfile::TempDir::new().unwrap();
        let asker = Asker::new();
        let file = StartAfter::File(dir.path().join("go"));
        assert!(holds(&file, None, &asker).is_err());
        fs::write(dir.path().join("go"), "").unwrap();
        assert_eq!(holds(&file, None, &asker), Ok(()));
        assert_eq!(holds(&StartAfter::Time(1), None, &asker), Ok(()));
        assert!(holds(&StartAfter::Time(i64::MAX), None, &asker).is_err());
        let snapshot = StartAfter::Snapshot { repository: "r".into(), name: "s".into() };
        assert!(holds(&snapshot, None, &asker).is_err());
    }

    #[test]
    fn a_stop_ends_the_wait() {
        let never = [StartAfter::Time(i64::MAX)];
        assert!(!wait(&never, None, || true).unwrap());
        assert!(wait(&[], None, || true).unwrap());
    }
}
