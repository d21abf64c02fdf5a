//! The newest credentials, kept fresh by a thread.
//!
//! Owns when they are fetched again. Readers take an `Arc` and wait for nobody: the lock is held for a copy of it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::chain::Chain;
use crate::rewrite::Credentials;

/// Keeps credentials until it is dropped.
pub struct Keeper {
    shared: Arc<Shared>,
    /// The thread ends when this is gone, or when the fetch that it is at is over: nobody waits for that.
    _stop: Sender<()>,
}

#[derive(Default)]
struct Shared {
    known: Mutex<Known>,
    changed: Condvar,
    failures: AtomicU64,
}

#[derive(Default)]
struct Known {
    newest: Option<Arc<Credentials>>,
    /// Why the last fetch failed, if it did.
    trouble: Option<String>,
}

impl Keeper {
    /// Finds credentials for `region` by the default chain and keeps them fresh. Waits for the first ones; the error
    /// says what was tried and what to do.
    pub fn start(region: &str) -> Result<Self, String> {
        Self::started(Self::begin(region)?)
    }

    /// As [`Keeper::start`], without waiting: they are fetched until there are some.
    pub fn begin(region: &str) -> Result<Self, String> {
        let region = region.to_owned();
        Self::with(move || Chain::new(&region).map(|mut chain| move || chain.fetch()))
    }

    /// Waits until there are credentials, or a fetch has failed. The error is why there are none.
    pub fn wait(&self, at_most: Duration) -> Result<(), String> {
        let known = self.shared.known();
        let unknown = |known: &mut Known| known.newest.is_none() && known.trouble.is_none();
        let waited = self.shared.changed.wait_timeout_while(known, at_most, unknown);
        let (known, _) = waited.unwrap_or_else(PoisonError::into_inner);
        match (&known.newest, &known.trouble) {
            (Some(_), _) => Ok(()),
            (None, Some(why)) => Err(why.clone()),
            (None, None) => Err("AWS credentials are still being fetched".into()),
        }
    }

    /// The newest credentials; they may be over when fetching others keeps failing.
    pub fn current(&self) -> Option<Arc<Credentials>> {
        self.shared.known().newest.clone()
    }

    /// Why the last fetch failed, if it did.
    pub fn trouble(&self) -> Option<String> {
        self.shared.known().trouble.clone()
    }

    /// How many fetches have failed since the first.
    pub fn failures(&self) -> u64 {
        self.shared.failures.load(Ordering::Relaxed)
    }

    fn started(keeper: Self) -> Result<Self, String> {
        match keeper.wait(FIRST_MAX) {
            Ok(()) => Ok(keeper),
            Err(why) => Err(format!("no credentials for --auth sigv4: {why}")),
        }
    }

    /// `make` runs on the thread that will fetch.
    fn with<F>(make: impl FnOnce() -> Result<F, String> + Send + 'static) -> Result<Self, String>
    where
        F: FnMut() -> Result<Credentials, String>,
    {
        let shared = Arc::new(Shared::default());
        let (stop, stopped) = channel();
        let of_thread = Arc::clone(&shared);
        let run = move || match make() {
            Ok(fetch) => of_thread.keep(fetch, &stopped),
            Err(why) => of_thread.fail(why),
        };
        let thread = std::thread::Builder::new().name("credentials".to_owned()).spawn(run);
        thread.map_err(|error| {
            format!("no thread for credentials: {error}; raise the limit on tasks")
        })?;
        Ok(Self { shared, _stop: stop })
    }
}

impl Shared {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, found: Credentials) {
        *self.known() = Known { newest: Some(Arc::new(found)), trouble: None };
        self.changed.notify_all();
    }

    fn fail(&self, why: String) {
        self.known().trouble = Some(why);
        self.changed.notify_all();
    }

    /// Fetches again and again, until `stopped` hangs up.
    fn keep(&self, mut fetch: impl FnMut() -> Result<Credentials, String>, stopped: &Receiver<()>) {
        loop {
            let wait = match fetch() {
                Ok(found) => {
                    self.put(found);
                    self.wait()
                }
                Err(why) => {
                    self.failures.fetch_add(1, Ordering::Relaxed);
                    if self.known().newest.is_some() {
                        tracing::warn!(
                            "credentials cannot be fetched anew, the old ones serve until they end: {why}"
                        );
                    }
                    self.fail(why);
                    RETRY
                }
            };
            if !matches!(stopped.recv_timeout(wait), Err(RecvTimeoutError::Timeout)) {
                return;
            }
        }
    }

    fn wait(&self) -> Duration {
        let expires = self.known().newest.as_ref().and_then(|found| found.expires_unix_s);
        let now =
            SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64);
        refresh_in(expires, now)
    }
}

/// How long credentials may be used before others are fetched.
fn refresh_in(expires_unix_s: Option<i64>, now_unix_s: i64) -> Duration {
    let Some(expires) = expires_unix_s else { return REREAD };
    let left = Duration::from_secs(u64::try_from(expires.saturating_sub(now_unix_s)).unwrap_or(0));
    left.saturating_sub(EARLY).clamp(RETRY, REREAD)
}

/// Before the end: the services give new ones from then on.
const EARLY: Duration = Duration::from_mins(5);
/// Those that do not end may still be replaced in the file they come from.
const REREAD: Duration = Duration::from_hours(1);
/// Longer than a fetch takes at most.
const FIRST_MAX: Duration = Duration::from_secs(40);
/// Between failed fetches.
const RETRY: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    fn credentials(expires_unix_s: Option<i64>) -> Credentials {
        Credentials {
            key_id: "id".to_owned(),
            secret: "secret".to_owned(),
            session_token: None,
            expires_unix_s,
        }
    }

    #[test]
    fn the_first_ones_are_there_when_it_starts() {
        let keeper = Keeper::with(|| Ok(|| Ok(credentials(None)))).and_then(Keeper::started);
        let keeper = keeper.expect("found");
        assert_eq!(keeper.current().as_deref(), Some(&credentials(None)));
        assert_eq!(keeper.failures(), 0);
    }

    #[test]
    fn a_chain_without_any_says_what_to_do() {
        let none = || Ok(|| Err("nothing there; set AWS_PROFILE".to_owned()));
        let why = Keeper::with(none).and_then(Keeper::started).err().expect("an error");
        assert!(why.contains("--auth sigv4") && why.contains("AWS_PROFILE"), "{why}");
        let broken = || Err::<fn() -> _, _>("no runtime".to_owned());
        assert!(Keeper::with(broken).and_then(Keeper::started).is_err());
    }

    #[test]
    fn they_are_fetched_anew_before_they_end() {
        assert_eq!(refresh_in(Some(10_000), 0), REREAD);
        assert_eq!(refresh_in(Some(1_000), 0), Duration::from_secs(700));
        assert_eq!(refresh_in(Some(200), 0), RETRY);
        assert_eq!(refresh_in(Some(0), 200), RETRY);
        assert_eq!(refresh_in(None, 0), REREAD);
    }

    #[test]
    fn a_failed_fetch_leaves_the_old_ones() {
        let shared = Shared::default();
        shared.put(credentials(Some(0)));
        let (stop, stopped) = channel::<()>();
        drop(stop);
        shared.keep(|| Err("gone".to_owned()), &stopped);
        assert!(shared.known().newest.is_some());
        assert_eq!(shared.known().trouble.as_deref(), Some("gone"));
    }
}
