//! SIGHUP: what can change while traffic flows changes all at once, or nothing does.
//!
//! Each part that can change has a hook. The configuration is read anew and every hook prepares its part; only when all
//! of them could are the changes applied. A broken file, an unreadable certificate or a bad filter thus leaves
//! everything as it was.

use crate::observe::Failure;

/// Puts a prepared change into effect. It cannot fail: whatever could was done while preparing.
pub(crate) type Apply = Box<dyn FnOnce()>;

/// What one part has to do at a reload.
pub(crate) struct Hook<C> {
    /// The part, for messages.
    pub(crate) name: &'static str,
    /// How it prepares its change.
    pub(crate) prepare: Prepare<C>,
}

/// Prepares a change from the configuration as it reads now, without any effect yet.
pub(crate) type Prepare<C> = Box<dyn Fn(&C) -> Result<Apply, String>>;

/// Reads the configuration anew, from the same command line, environment and file.
pub type Reread<C> = Box<dyn Fn() -> Result<C, Failure>>;

/// How to reload, and how that went so far.
pub(super) struct Reload<C> {
    reread: Reread<C>,
    hooks: Vec<Hook<C>>,
    done: u64,
    failed: u64,
}

impl<C> Reload<C> {
    pub(super) fn new(reread: Reread<C>, hooks: Vec<Hook<C>>) -> Self {
        Self { reread, hooks, done: 0, failed: 0 }
    }

    /// Changes everything or nothing; says which in one line.
    pub(super) fn run(&mut self) {
        match self.prepare() {
            Ok(changes) => {
                for apply in changes {
                    apply();
                }
                self.done += 1;
                tracing::info!(event = "capture.reloaded", reloads = self.done, "reloaded");
            }
            Err(error) => {
                self.failed += 1;
                tracing::error!(
                    event = "capture.reload_failed",
                    failures = self.failed,
                    "{error}; everything stays as it was"
                );
            }
        }
    }

    fn prepare(&self) -> Result<Vec<Apply>, String> {
        let config = (self.reread)().map_err(|failure| failure.to_string())?;
        let prepare = |hook: &Hook<C>| {
            (hook.prepare)(&config).map_err(|error| format!("{}: {error}", hook.name))
        };
        self.hooks.iter().map(prepare).collect()
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
            Hook { name, prepare: Box::new(prepare) }
        };
        let reread = {
            let asked = Rc::clone(&asked);
            move || asked.get().ok_or_else(|| Failure::configuration("broken file"))
        };
        let hooks = vec![hook("one", -1, &first), hook("two", 8, &second)];
        let mut reload = Reload::new(Box::new(reread), hooks);
        let mut values_after = |value| {
            asked.set(value);
            reload.run();
            (first.get(), second.get(), reload.done, reload.failed)
        };
        assert_eq!(values_after(Some(7)), (7, 7, 1, 0));
        assert_eq!(
            values_after(Some(8)),
            (7, 7, 1, 1),
            "the second hook cannot, so the first does not"
        );
        assert_eq!(values_after(None), (7, 7, 1, 2));
        assert_eq!(values_after(Some(9)), (9, 9, 2, 2));
    }
}
