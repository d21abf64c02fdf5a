//! SIGHUP: what can change while traffic flows changes all at once, or nothing does.
//!
//! Each part that can change has a hook. The configuration is read anew and every hook prepares its part; only when all
//! of them could are the changes applied. A broken file, an unreadable certificate or a bad filter thus leaves
//! everything as it was.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use serde_json::{Value, json};

use crate::{
    config::{Effective, Loaded},
    observe::Failure,
};

/// Puts a prepared change into effect. It cannot fail: whatever could was done while preparing.
pub(crate) type Apply = Box<dyn FnOnce()>;

/// What one part has to do at a reload.
pub(crate) struct Hook<C> {
    /// The part, for messages.
    pub(crate) name: &'static str,
    /// The settings that it follows; a change of any other one needs a restart.
    pub(crate) settings: &'static [&'static str],
    /// How it prepares its change.
    pub(crate) prepare: Prepare<C>,
}

/// Prepares a change from the configuration as it reads now, without any effect yet.
pub(crate) type Prepare<C> = Box<dyn Fn(&C) -> Result<Apply, String>>;

/// Reads the configuration anew, from the same command line, environment and file.
pub type Reread<C> = Box<dyn Fn() -> Result<Loaded<C>, Failure>>;

/// How to reload, and how that went so far.
pub(super) struct Reload<C> {
    reread: Reread<C>,
    hooks: Vec<Hook<C>>,
    /// As it was read last.
    effective: Effective,
    state: Arc<ReloadState>,
}

/// How reloading went so far, for whoever asks.
#[derive(Debug, Default)]
pub(super) struct ReloadState {
    done: AtomicU64,
    failed: AtomicU64,
    /// Why the last one failed; empty when it did not.
    error: Mutex<String>,
}

impl ReloadState {
    pub(super) fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    pub(super) fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    pub(super) fn to_json(&self) -> Value {
        let error = self.error.lock().unwrap_or_else(PoisonError::into_inner);
        let last_error = Some(error.as_str()).filter(|error| !error.is_empty());
        json!({ "done": self.done(), "failed": self.failed(), "last_error": last_error })
    }

    /// The end of one; counts it.
    fn ended(&self, result: Result<(), String>) {
        let counter = if result.is_ok() { &self.done } else { &self.failed };
        counter.fetch_add(1, Ordering::Relaxed);
        let mut error = self.error.lock().unwrap_or_else(PoisonError::into_inner);
        *error = result.err().unwrap_or_default();
    }
}

impl<C> Reload<C> {
    pub(super) fn new(reread: Reread<C>, hooks: Vec<Hook<C>>, effective: Effective) -> Self {
        Self { reread, hooks, effective, state: Arc::default() }
    }

    /// How it goes.
    pub(super) fn state(&self) -> Arc<ReloadState> {
        Arc::clone(&self.state)
    }

    /// Changes everything or nothing; says which in one line. Gives the settings as they read now.
    pub(super) fn run(&mut self) -> Option<Effective> {
        match self.prepare() {
            Ok((changes, effective)) => {
                for apply in changes {
                    apply();
                }
                self.state.ended(Ok(()));
                let changed = self.effective.changed(&effective);
                let fixed = |name: &&&str| !self.hooks.iter().any(|h| h.settings.contains(*name));
                let needs_restart: Vec<&str> = changed.iter().filter(fixed).copied().collect();
                tracing::info!(
                    event = "capture.reloaded",
                    reloads = self.state.done(),
                    changed = changed.join(","),
                    "reloaded"
                );
                if !needs_restart.is_empty() {
                    tracing::warn!(
                        event = "capture.reload_incomplete",
                        settings = needs_restart.join(","),
                        "these settings were changed too, but take effect only at the next start"
                    );
                }
                self.effective = effective.clone();
                Some(effective)
            }
            Err(error) => {
                tracing::error!(
                    event = "capture.reload_failed",
                    failures = self.state.failed() + 1,
                    "{error}; everything stays as it was"
                );
                self.state.ended(Err(error));
                None
            }
        }
    }

    fn prepare(&self) -> Result<(Vec<Apply>, Effective), String> {
        let Loaded { config, effective } =
            (self.reread)().map_err(|failure| failure.to_string())?;
        let prepare = |hook: &Hook<C>| {
            (hook.prepare)(&config).map_err(|error| format!("{}: {error}", hook.name))
        };
        let changes = self.hooks.iter().map(prepare).collect::<Result<_, _>>()?;
        Ok((changes, effective))
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, rc::Rc};

    use super::*;

    #[test]
    fn everything_changes_or_nothing() {
        let asked = Rc::new(Cell::new(Some(7)));
        let (first, second) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
        let hook = |name, bad: i32, to: &Rc<Cell<i32>>| {
            let to = Rc::clone(to);
            let prepare = move |value: &i32| -> Result<Apply, String> {
                let (to, value) = (Rc::clone(&to), *value);
                if value == bad {
                    Err("cannot".into())
                } else {
                    Ok(Box::new(move || to.set(value)))
                }
            };
            Hook { name, settings: &[], prepare: Box::new(prepare) }
        };
        let reread = {
            let asked = Rc::clone(&asked);
            move || {
                let config = asked.get().ok_or_else(|| Failure::configuration("broken file"))?;
                Ok(Loaded { config, effective: Effective::default() })
            }
        };
        let hooks = vec![hook("one", -1, &first), hook("two", 8, &second)];
        let mut reload = Reload::new(Box::new(reread), hooks, Effective::default());
        let state = reload.state();
        let mut values_after = |value| {
            asked.set(value);
            reload.run();
            (first.get(), second.get(), state.done(), state.failed())
        };
        assert_eq!(values_after(Some(7)), (7, 7, 1, 0));
        assert_eq!(
            values_after(Some(8)),
            (7, 7, 1, 1),
            "the second hook cannot, so the first does not"
        );
        assert_eq!(values_after(None), (7, 7, 1, 2));
        assert_eq!(state.to_json()["last_error"], "broken file");
        assert_eq!(values_after(Some(9)), (9, 9, 2, 2));
    }
}
