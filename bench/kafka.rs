//! Topics for measurements on a running Kafka.
//!
//! It owns the topics it creates and deletes them. It never starts or configures a broker; one whose process it is told
//! it can stop in its tracks.

use crate::Outcome;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rustix::process::{Pid, Signal};
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Duration;

/// A topic of four partitions, deleted when dropped.
pub(crate) struct Topic {
    admin: AdminClient<DefaultClientContext>,
    name: String,
}

impl Topic {
    /// Creates a topic of this name.
    pub(crate) fn create(brokers: &str, name: String) -> Outcome<Self> {
        let admin: AdminClient<_> =
            ClientConfig::new().set("bootstrap.servers", brokers).create()?;
        let topic = NewTopic::new(&name, PARTITIONS, TopicReplication::Fixed(1));
        for result in block_on(admin.create_topics([&topic], &options()))? {
            result.map_err(|(topic, code)| format!("creating topic {topic}: {code}"))?;
        }
        Ok(Self { admin, name })
    }

    /// Its name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for Topic {
    fn drop(&mut self) {
        let deleted = block_on(self.admin.delete_topics(&[&self.name], &options()));
        if !matches!(deleted.as_deref(), Ok([Ok(_)])) {
            eprintln!("compare: topic {} is left behind: {deleted:?}", self.name);
        }
    }
}

/// A broker that is stopped (SIGSTOP) until this is dropped.
pub(crate) struct Silence(Pid);

impl Silence {
    /// Of the broker that is this process.
    pub(crate) fn of(pid: i32) -> Outcome<Self> {
        let pid = Pid::from_raw(pid).filter(|pid| !pid.is_init()).ok_or("no such process")?;
        rustix::process::kill_process(pid, Signal::STOP)?;
        Ok(Self(pid))
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        if let Err(error) = rustix::process::kill_process(self.0, Signal::CONT) {
            eprintln!("compare: the broker stays stopped: {error}");
        }
    }
}

fn options() -> AdminOptions {
    let time_max = Some(Duration::from_secs(10));
    AdminOptions::new().request_timeout(time_max).operation_timeout(time_max)
}

/// Waits for an answer of the admin client, whose own thread does the work.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}

const PARTITIONS: i32 = 4;
