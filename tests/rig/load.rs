//! Concurrent writes with marks in their bodies, and an origin that looks at each mark the moment
//! it arrives.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use super::client::{bare, chunked, request, try_connect};
use super::marker::{self, Scanner};
use super::origin::{Origin, ok};

/// An origin that answers everything and tells `arrived` about each mark, before it reads on.
pub(crate) fn origin<F>(arrived: F) -> Origin
where
    F: Fn(u64) + Send + Sync + 'static,
{
    let marks = Mutex::new(Scanner::new());
    Origin::observing(
        move |connection, bytes| {
            let found =
                marks.lock().unwrap_or_else(PoisonError::into_inner).scan(connection, bytes);
            found.into_iter().for_each(&arrived);
        },
        |visit| {
            while let Some(request) = visit.request()? {
                visit.send(&ok(&request.body[..request.body.len().min(20)]))?;
            }
            Ok(())
        },
    )
}

/// What the clients of a load were told.
#[derive(Debug, Default)]
pub(crate) struct Load {
    next: AtomicU64,
    answered: AtomicU64,
    written: AtomicU64,
    /// Leaves out the large bodies.
    light: bool,
    stopped: AtomicBool,
    pause: Duration,
}

impl Load {
    /// A load whose marks count from there.
    pub(crate) fn from(mark: u64) -> Self {
        Self { next: AtomicU64::new(mark), ..Self::default() }
    }

    /// As [`Self::from`], with small bodies but for one request in 64.
    pub(crate) fn light_from(mark: u64) -> Self {
        Self { light: true, ..Self::from(mark) }
    }

    /// Writes that were answered.
    pub(crate) fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Lets each client rest so long before a request: what gathers in a long outage stays small.
    pub(crate) fn resting(self, pause: Duration) -> Self {
        Self { pause, ..self }
    }

    /// Marks given out so far; they count from 0.
    pub(crate) fn marks(&self) -> u64 {
        self.next.load(Ordering::Relaxed)
    }

    /// Requests that were answered.
    pub(crate) fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    /// Lets the clients finish what they are at and stop.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    /// Runs `clients` connections until `marks` have been sent or the load is stopped. A client
    /// whose connection breaks gives up, or connects again when `tenacious`.
    pub(crate) fn run(self: &Arc<Self>, port: u16, clients: usize, marks: u64, tenacious: bool) {
        thread::scope(|scope| {
            for number in 0..clients {
                scope.spawn(move || {
                    loop {
                        // What a client meets when the proxy dies is not what is judged here.
                        let outcome = self.converse(port, number, marks);
                        if outcome.is_ok() || !tenacious || self.stopped.load(Ordering::Relaxed) {
                            return;
                        }
                        thread::sleep(Duration::from_millis(5));
                    }
                });
            }
        });
    }

    fn converse(&self, port: u16, number: usize, marks: u64) -> io::Result<()> {
        let mut client = try_connect(port)?;
        let mut round = number;
        while self.marks() < marks && !self.stopped.load(Ordering::Relaxed) {
            round += 1;
            thread::sleep(self.pause);
            let mark = || marker::text(self.next.fetch_add(1, Ordering::Relaxed));
            let (wire, methods): (Vec<u8>, &[&str]) = match round % 8 {
                0 => {
                    (chunked("POST", "/_bulk", &[mark().as_bytes(), mark().as_bytes()]), &["POST"])
                }
                1 if !self.light || round % 64 == 1 => {
                    // Larger than any record buffer should be for one request: it must flow.
                    let line = |_| format!("{}{}\n", "x".repeat(4000), mark());
                    let body: String = (0..30).map(line).collect();
                    (request("POST", "/_bulk", body.as_bytes()), &["POST"])
                }
                2 => {
                    let first = request("PUT", "/i/_doc/1", mark().as_bytes());
                    let second = request("POST", "/i/_update/1", mark().as_bytes());
                    let all = [bare("GET", "/"), first, bare("GET", "/i"), second].concat();
                    (all, &["GET", "PUT", "GET", "POST"])
                }
                3 => (request("DELETE", "/i/_doc/1", mark().as_bytes()), &["DELETE"]),
                _ => (request("POST", "/i/_doc", mark().as_bytes()), &["POST"]),
            };
            client.try_send(&wire)?;
            for method in methods {
                let response = client.try_response(method)?;
                if response.status() != 200 {
                    return Err(io::Error::other(format!("status {}", response.status())));
                }
                self.answered.fetch_add(1, Ordering::Relaxed);
                self.written.fetch_add(u64::from(*method != "GET"), Ordering::Relaxed);
            }
        }
        Ok(())
    }
}
