//! A wake-up is never lost: whoever fills a queue wakes a thread that did not see it before it slept.
//!
//! The queue is a counter that is written and read without any ordering, weaker than the real ones: what the protocol
//! promises, it promises by its own fences.
#![cfg(all(test, loom))]

#[path = "../../src/sys/parked.rs"]
mod parked;

use loom::sync::Arc;
use loom::sync::Notify;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;
use parked::Parked;

struct Shared {
    parked: Parked,
    items: AtomicUsize,
    /// Stands for the event descriptor: a notice is kept until somebody waits.
    event: Notify,
}

impl Shared {
    fn new() -> Arc<Self> {
        Arc::new(Self { parked: Parked::new(), items: AtomicUsize::new(0), event: Notify::new() })
    }

    fn fill(&self) {
        self.items.fetch_add(1, Ordering::Relaxed);
        if self.parked.claim() {
            self.event.notify();
        }
    }

    /// Sleeps whenever nothing is there; loom reports a thread that nobody wakes.
    fn take(&self, all: usize) {
        let mut taken = 0;
        while taken < all {
            self.parked.announce();
            if self.items.load(Ordering::Relaxed) == taken {
                self.event.wait();
            }
            self.parked.take_back();
            taken = self.items.load(Ordering::Relaxed);
        }
    }
}

#[test]
fn one_who_fills_wakes_the_sleeper() {
    loom::model(|| {
        let shared = Shared::new();
        let sleeper = thread::spawn({
            let shared = Arc::clone(&shared);
            move || shared.take(2)
        });
        shared.fill();
        shared.fill();
        sleeper.join().unwrap();
    });
}

#[test]
fn two_who_fill_wake_the_sleeper() {
    // All of it would take hours; few lost wake-ups need more changes of thread than these.
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(|| {
        let shared = Shared::new();
        let fillers = [(); 2].map(|()| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || shared.fill())
        });
        shared.take(2);
        for filler in fillers {
            filler.join().unwrap();
        }
    });
}
