//! A scraper of metrics beside the load, far busier than any Prometheus, to see what it does to latency.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Asks for `/metrics` ten times a second until it is dropped. Panics there when it never got an answer.
pub(crate) struct Scraper {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<u64>>,
}

impl Scraper {
    /// Of this endpoint.
    pub(crate) fn start(address: SocketAddr) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&over);
        let thread = thread::spawn(move || {
            let mut answers = 0;
            while !told.load(Ordering::Relaxed) {
                answers += u64::from(scrape(address).is_some());
                thread::sleep(PAUSE);
            }
            answers
        });
        Self { over, thread: Some(thread) }
    }
}

impl Drop for Scraper {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        let answers = self.thread.take().and_then(|thread| thread.join().ok());
        assert!(thread::panicking() || answers > Some(0), "no answer to /metrics");
    }
}

fn scrape(address: SocketAddr) -> Option<()> {
    let mut stream = TcpStream::connect_timeout(&address, TIME_MAX).ok()?;
    stream.set_read_timeout(Some(TIME_MAX)).ok()?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: b\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    answer.starts_with(b"HTTP/1.1 200").then_some(())
}

const PAUSE: Duration = Duration::from_millis(100);
const TIME_MAX: Duration = Duration::from_secs(2);
