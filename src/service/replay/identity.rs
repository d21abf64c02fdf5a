//! Is the target a cluster, and not the source? Asked before anything is sent.

use std::{fs, sync::Arc, thread, time::Duration};

use super::{crew::Crew, parts};
use crate::{
    ask::{Asker, Cluster},
    config::replay::{Input, ReplayConfig},
    credentials::Keeper,
    es::body,
    net::SourceUrl,
    observe::Failure,
    replay::job::Job,
    sys::{bell::Bell, clock::Clock},
};

/// How long the target may take to answer at all before it is said that it does not.
const SAY: Duration = Duration::from_secs(10);
/// How long after a failed question the next one is asked.
const AGAIN: Duration = Duration::from_millis(500);
/// Bytes of the answer that are wanted.
const ANSWER_BYTES_MAX: usize = 64 << 10;
const QUESTION: &[u8] = b"GET / HTTP/1.1\r\nHost: target\r\nAccept: application/json\r\n\r\n";

/// Waits until the target answers, then refuses a target that is the source. Returns the `cluster_uuid` of the
/// target. The question goes the way of every request: same connections, same TLS, same credentials.
pub(super) fn check(
    config: &ReplayConfig,
    crew: &mut Crew,
    bell: &Arc<Bell>,
    keeper: Option<&Keeper>,
    stopped: impl FnMut() -> bool,
) -> Result<Option<String>, Failure> {
    let source_url = config.source.clone().or_else(|| url_beside_the_log(config));
    if source_url.as_ref() == Some(&config.target) {
        return Err(same(&format!("both are {}", config.target)));
    }
    let Some((status, body)) = ask_target(config, crew, bell, keeper, stopped)? else {
        return Ok(None);
    };
    let target = Cluster::parse(&body);
    if let Some(cluster) = &target {
        tracing::info!(event = "replay.target", target = %cluster, "the target answers");
    } else {
        tracing::warn!(
            event = "replay.target_unknown",
            status,
            "the target does not say which cluster it is; whether it is the source cannot be told"
        );
    }
    let uuid = target.as_ref().and_then(Cluster::uuid).map(str::to_owned);
    let (Some(url), Some(target)) = (source_url, target) else { return Ok(uuid) };
    let source = Asker::new().cluster(&url);
    match source {
        Ok(source) if source.uuid().is_some() && source.uuid() == target.uuid() => {
            Err(same(&format!("both say cluster_uuid {}", source.cluster_uuid)))
        }
        Ok(source) => {
            tracing::info!(event = "replay.source", source = %source, "the source is another cluster");
            Ok(uuid)
        }
        Err(why) => {
            tracing::warn!(
                event = "replay.source_unknown",
                why,
                "the source cannot be asked which cluster it is"
            );
            Ok(uuid)
        }
    }
}

pub(super) fn same(why: &str) -> Failure {
    Failure::configuration(format!(
        "the target is the source ({why}): replaying into it would do everything twice. Name the new cluster with \
         --target"
    ))
}

/// What `tapline capture` noted beside its log.
fn url_beside_the_log(config: &ReplayConfig) -> Option<SourceUrl> {
    let Input::Log(dir) = &config.input else { return None };
    fs::read_to_string(dir.join(crate::log::SOURCE_FILE)).ok()?.trim().parse().ok()
}

/// Status and body of `GET /`; `None` when stopped meanwhile.
fn ask_target(
    config: &ReplayConfig,
    crew: &mut Crew,
    bell: &Arc<Bell>,
    keeper: Option<&Keeper>,
    mut stopped: impl FnMut() -> bool,
) -> Result<Option<(u16, Vec<u8>)>, Failure> {
    let clock = Clock::default();
    let mut said_ns = 0;
    loop {
        // Anew each time: a signature holds for minutes, and so may credentials.
        let credentials = keeper.and_then(Keeper::current);
        let now_unix_s = (clock.unix_ns() / 1_000_000_000) as i64;
        let bytes = parts::question(config, QUESTION, now_unix_s, credentials.as_deref())?;
        crew.send(Job { bytes, keep: ANSWER_BYTES_MAX, ..Job::default() });
        crew.flush();
        let mut answer = None;
        while answer.is_none() {
            crew.collect(|reply| answer = Some(reply.result));
            crew.check()?;
            if stopped() {
                return Ok(None);
            }
            if answer.is_none() {
                thread::sleep(Duration::from_millis(1));
                bell.hush();
            }
        }
        match answer {
            Some(Ok(response)) => {
                let chunked = body::is_chunked(&response.bytes[..response.head_bytes]);
                let body =
                    body::decoded(&response.bytes, response.head_bytes, chunked, ANSWER_BYTES_MAX);
                return Ok(Some((
                    response.status,
                    body.map(std::borrow::Cow::into_owned).unwrap_or_default(),
                )));
            }
            Some(Err(broken)) => {
                // Other than a target that is down, this does not mend itself.
                if let Some(why) = crew.distrust() {
                    return Err(Failure::configuration(format!(
                        "no TLS with the target {}: {why}. See --target-ca, --target-cert, --target-insecure",
                        config.target
                    )));
                }
                let now = clock.monotonic_ns();
                if said_ns == 0 || now > said_ns + SAY.as_nanos() as u64 {
                    said_ns = now.max(1);
                    tracing::warn!(
                        event = "replay.target_down",
                        target = %config.target,
                        why = broken.text,
                        "the target does not answer; trying until it does"
                    );
                }
            }
            None => {}
        }
        thread::sleep(AGAIN);
    }
}
