//! The first question to the brokers, and why they do not answer it.

use std::time::{Duration, Instant};

use rdkafka::{ClientContext, client::Client, metadata::Metadata};

use super::{trouble::Trouble, witness::Witness};

/// What the brokers know of a topic, or of all. `hear` serves an event of the client: complaints and questions for
/// tokens wait in its queue. Does not wait any longer once a complaint says what has to be mended.
pub fn metadata<C: ClientContext + AsRef<Witness>>(
    client: &Client<C>,
    topic: Option<&str>,
    at_most: Duration,
    mut hear: impl FnMut(),
) -> Result<Metadata, Trouble> {
    let began = Instant::now();
    let mut specific_since = None;
    loop {
        let error = match client.fetch_metadata(topic, STEP) {
            Ok(metadata) => return Ok(metadata),
            Err(error) => error,
        };
        for _ in 0..EVENTS_PER_STEP {
            hear();
        }
        let said = (**client.context()).as_ref().last();
        let is_specific = said.as_ref().is_some_and(Trouble::is_specific);
        let since = *specific_since.get_or_insert_with(Instant::now);
        if !is_specific {
            specific_since = None;
        }
        // Another broker may answer yet.
        let told = is_specific && since.elapsed() >= SECOND_CHANCE;
        if told || began.elapsed() >= at_most {
            return Err(said.unwrap_or_else(|| Trouble::of(None, &error.to_string())));
        }
    }
}

/// How long each question waits for its answer.
const STEP: Duration = Duration::from_millis(500);
const SECOND_CHANCE: Duration = Duration::from_secs(1);
/// Events that are looked through in between.
const EVENTS_PER_STEP: usize = 16;
