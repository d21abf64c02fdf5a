//! One topic between a document server as source and another as target, and a Kafka group that replays it.

use std::path::PathBuf;
use std::time::Duration;

use tapline::demo::Server;
use tempfile::TempDir;

use super::kafka::Kafka;
use super::replayer::{Replay, Replayer};
use super::tapline::Capture;
use super::wait;

/// A topic between two servers, and whoever reads it as one group.
pub(crate) struct Group {
    name: &'static str,
    pub(crate) source: Server,
    pub(crate) target: Server,
    state: TempDir,
    /// So that a member that is gone is missed soon.
    config: PathBuf,
    joined: u32,
}

impl Group {
    /// With a topic of this name.
    pub(crate) fn new(name: &'static str) -> Self {
        Kafka::shared().create_topic(name, 6, &[]);
        let state = tempfile::tempdir().unwrap();
        let config = state.path().join("kafka.properties");
        std::fs::write(&config, "session.timeout.ms=6000\nheartbeat.interval.ms=500\n").unwrap();
        let server = || Server::start().unwrap();
        Self { name, source: server(), target: server(), state, config, joined: 0 }
    }

    /// Each has a state directory of its own, as on a machine of its own.
    pub(crate) fn replay(&self, member: &str) -> Replay {
        Replay::to(self.target.addr().port(), &self.state.path().join(member))
            .kafka(Kafka::shared(), self.name, self.name)
            .flag("--kafka-config", &self.config.to_string_lossy())
    }

    /// One more member.
    pub(crate) fn join(&mut self) -> Replayer {
        let name = self.next_member();
        self.replay(&name).start()
    }

    /// A name that no member has had.
    pub(crate) fn next_member(&mut self) -> String {
        self.joined += 1;
        format!("member-{}", self.joined)
    }

    /// A capture in front of the source, which keeps the state directory of this name.
    pub(crate) fn capture(&self, node: &str) -> Capture {
        let capture = Capture::of(self.source.addr().port());
        capture.state(&self.state.path().join(node)).kafka(Kafka::shared(), self.name)
    }

    /// Waits until the target has what the source has.
    pub(crate) fn assert_equal(&self) {
        let source = self.source.state();
        assert!(source.len() > 50, "{} documents", source.len());
        let equal = wait::until(PATIENCE, || self.target.state() == source);
        let target = self.target.state();
        let different: Vec<_> =
            source.iter().filter(|(key, value)| target.get(*key) != Some(value)).take(5).collect();
        assert!(equal, "{} documents of {}, {different:?}", target.len(), source.len());
    }

    /// Waits until the members have stored all of it: what a member that was lost had not stored is sent again, which
    /// leaves the target as it is.
    pub(crate) fn wait_until_stored(&self) {
        let lag = || Kafka::shared().lag(self.name, self.name);
        assert!(wait::until(PATIENCE, || lag() == 0), "{} records are not stored", lag());
    }

    /// What the group has stored is all there is: nothing holds a position back, nothing was passed by.
    pub(crate) fn assert_nothing_is_left(&self) {
        let last = self.replay("last").switch("--until-end").succeed();
        assert_eq!((last.read_records, last.requests, last.sent), (0, 0, 0), "{last:?}");
        self.assert_equal();
    }
}

/// A member that dies is missed after six seconds.
pub(crate) const PATIENCE: Duration = Duration::from_mins(3);
