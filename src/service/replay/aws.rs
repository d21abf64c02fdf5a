//! Credentials for signatures, from whoever keeps them to the core.
//!
//! Owns how soon the core learns of fresh ones. Never fetches any itself.

use std::sync::Arc;

use crate::{
    config::replay::{Auth, ReplayConfig},
    credentials::Keeper,
    observe::Failure,
    replay::conductor::Conductor,
    rewrite::Credentials,
};

/// How often fresh ones are looked for: they come minutes before the old ones end.
const LOOK_EVERY_NS: u64 = 1_000_000_000;

/// Who keeps the credentials, where requests are signed.
pub(super) struct Signing {
    keeper: Option<Keeper>,
    /// What the core has.
    given: Option<Arc<Credentials>>,
    next_ns: u64,
}

impl Signing {
    /// Waits for the first ones; asks for none where nothing is signed.
    pub(super) fn start(config: &ReplayConfig) -> Result<Self, Failure> {
        let keeper = match &config.auth {
            Auth::SigV4 { region, .. } => {
                Some(Keeper::start(region).map_err(Failure::configuration)?)
            }
            _ => None,
        };
        Ok(Self { keeper, given: None, next_ns: 0 })
    }

    pub(super) fn keeper(&self) -> Option<&Keeper> {
        self.keeper.as_ref()
    }

    /// Gives the core what is newer than what it has.
    pub(super) fn refresh(&mut self, conductor: &mut Conductor, now_ns: u64) {
        let Some(keeper) = self.keeper.as_ref().filter(|_| now_ns >= self.next_ns) else { return };
        self.next_ns = now_ns + LOOK_EVERY_NS;
        let Some(newest) = keeper.current() else { return };
        if self.given.as_ref().is_none_or(|given| !Arc::ptr_eq(given, &newest)) {
            conductor.set_credentials(Credentials::clone(&newest));
            self.given = Some(newest);
        }
    }
}
