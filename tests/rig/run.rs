//! A load through a proxy whose sink may break, and the marks that the source saw meanwhile.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use super::content::Content;
use super::load::{self, Load};
use super::origin::Origin;
use super::tapline::{Capture, Tapline};
use super::topics::Topics;
use super::wait;

/// Eight clients that write through a proxy without end.
pub(crate) struct Run {
    seen: Arc<Mutex<BTreeSet<u64>>>,
    load: Arc<Load>,
    clients: thread::JoinHandle<()>,
    tapline: Tapline,
    _origin: Origin,
}

/// Marks are never given out twice in one process.
static NEXT: AtomicU64 = AtomicU64::new(0);

impl Run {
    /// Starts an origin, the proxy that `capture` makes for its port, and the clients.
    pub(crate) fn start(capture: impl FnOnce(u16) -> Capture) -> Self {
        Self::with(capture, Load::from, false)
    }

    /// As [`Self::start`], with small bodies and clients that come again when they are refused.
    pub(crate) fn start_light(capture: impl FnOnce(u16) -> Capture) -> Self {
        Self::with(capture, Load::light_from, true)
    }

    /// As [`Self::start`], with a rest of each client before each of its requests.
    pub(crate) fn start_resting(rest: Duration, capture: impl FnOnce(u16) -> Capture) -> Self {
        Self::with(capture, |from| Load::from(from).resting(rest), false)
    }

    fn with(
        capture: impl FnOnce(u16) -> Capture,
        load: impl FnOnce(u64) -> Load,
        tenacious: bool,
    ) -> Self {
        let seen = Arc::new(Mutex::new(BTreeSet::new()));
        let noting = Arc::clone(&seen);
        let origin = load::origin(move |mark| {
            noting.lock().unwrap().insert(mark);
        });
        let tapline = capture(origin.port()).start();
        let load = Arc::new(load(NEXT.fetch_add(1_000_000, Ordering::Relaxed)));
        let (running, port) = (Arc::clone(&load), tapline.port());
        let clients = thread::spawn(move || running.run(port, 8, u64::MAX, tenacious));
        Self { seen, load, clients, tapline, _origin: origin }
    }

    /// The proxy.
    pub(crate) fn tapline(&self) -> &Tapline {
        &self.tapline
    }

    /// Waits until so many more requests were answered.
    pub(crate) fn busy(&self, more: u64) {
        let before = self.load.answered();
        let busy = wait::until(PATIENCE, || self.load.answered() >= before + more);
        assert!(busy, "{} answers: {}", self.load.answered() - before, self.tapline.output());
    }

    /// Writes that were answered.
    pub(crate) fn written(&self) -> u64 {
        self.load.written()
    }

    /// Waits until so many writes were answered since the start.
    pub(crate) fn wrote(&self, writes: u64) {
        assert!(
            self.wrote_in(writes, PATIENCE),
            "{} writes: {}",
            self.written(),
            self.tapline.output()
        );
    }

    /// As [`Self::wrote`], for so long; whether they were.
    pub(crate) fn wrote_in(&self, writes: u64, limit: Duration) -> bool {
        wait::until(limit, || self.load.written() >= writes)
    }

    /// Waits until records go straight to Kafka again, for the so many-th time.
    pub(crate) fn straight(&self, times: usize) {
        let straight = || self.tapline.output().matches("kafka.working").count() >= times;
        assert!(wait::until(PATIENCE, straight), "{}", self.tapline.output());
    }

    /// Ends the load, and the proxy when everything has gone from the spool to the topic.
    pub(crate) fn stop(mut self, kafka: &Topics, topic: &str) -> (BTreeSet<u64>, String) {
        self.load.stop();
        self.clients.join().unwrap();
        let seen = self.seen.lock().unwrap().clone();
        wait::until(PATIENCE, || Content::of(kafka, topic).marks.is_superset(&seen));
        self.tapline.stop();
        (seen, self.tapline.output())
    }

    /// What the source has seen when everything that was on its way has arrived.
    pub(crate) fn kill(mut self) -> BTreeSet<u64> {
        self.tapline.kill();
        self.load.stop();
        self.clients.join().unwrap();
        thread::sleep(Duration::from_millis(200));
        self.seen.lock().unwrap().clone()
    }
}

/// The spools in a state directory.
pub(crate) fn spools(state: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(state.join("log")).expect("the spool's directory is there");
    let dirs = entries.map(|entry| entry.unwrap().path());
    dirs.filter(|path| path.join("drained").exists()).collect()
}

const PATIENCE: Duration = Duration::from_mins(3);
