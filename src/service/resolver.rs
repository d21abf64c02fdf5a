//! The names of source and target are looked up for as long as the process runs: managed clusters move behind theirs.

use std::{
    io,
    net::IpAddr,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use crate::net::{Addresses, SourceUrl};

/// How often a name is looked up. Resolvers answer from a cache until the time to live that its owner gave has passed.
const PERIOD: Duration = Duration::from_secs(5);
/// How often it is said that a name cannot be looked up.
const QUIET: Duration = Duration::from_mins(5);

/// Keeps `addresses` to what the name of `url` leads to. What is connected stays; new connections go there.
pub(super) fn follow(
    what: &'static str,
    url: SourceUrl,
    addresses: Arc<Addresses>,
) -> io::Result<()> {
    if url.host.parse::<IpAddr>().is_ok() {
        return Ok(());
    }
    let work = move || {
        let mut said: Option<Instant> = None;
        loop {
            thread::sleep(PERIOD);
            match url.resolve() {
                Ok(found) => {
                    said = None;
                    let before = addresses.current();
                    if addresses.replace(found) {
                        tracing::info!(
                            event = "resolver.moved",
                            what,
                            host = url.host,
                            before = ?before,
                            now = ?addresses.current(),
                            "the name leads elsewhere now: new connections go there"
                        );
                    }
                }
                Err(error) if said.is_none_or(|said| said.elapsed() >= QUIET) => {
                    said = Some(Instant::now());
                    tracing::warn!(
                        event = "resolver.failed",
                        what,
                        host = url.host,
                        %error,
                        "the name cannot be looked up; the addresses that are known stay in use"
                    );
                }
                Err(_) => {}
            }
        }
    };
    thread::Builder::new().name("resolver".into()).spawn(work).map(drop)
}
