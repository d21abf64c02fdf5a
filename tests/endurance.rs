//! Held writes under every fault of Kafka, with tapline itself killed again and again.
//!
//! The judge stands outside: what the source saw must be in the topic in the end, each connection's records whole and in
//! order. Long: a million writes and 200 kills (`TAPLINE_TEST_SLOW=1`, in a release build).

use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;

use crate::rig::content::Content;
use crate::rig::hole::Hole;
use crate::rig::kafka::Kafka;
use crate::rig::origin::{Origin, ok};
use crate::rig::run::{Run, spools};
use crate::rig::services;
use crate::rig::tapline::Capture;
use crate::rig::wait;

#[test]
fn what_the_source_saw_is_in_kafka_whatever_befell_kafka_and_us() {
    if !services::wanted("what_the_source_saw_is_in_kafka_whatever_befell_kafka_and_us") {
        return;
    }
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
    let mut draw = Draw(seed.unwrap_or_else(|| u64::from(std::process::id())) | 1);
    services::say(&format!("endurance: SEED={}", draw.0));
    let mut world = World::new();
    // In turn, so that either policy meets each fault.
    let (mut sums, mut faults) = ([Sum::default(), Sum::default()], FAULTS.iter().cycle());
    for chain in 0..services::scale(2, 20) {
        let policy = (chain % 2) as usize;
        let rounds = services::scale(4, 10);
        let some = faults.by_ref().copied().take(rounds as usize).collect::<Vec<_>>();
        world.chain(chain, ["spool", "block"][policy], &some, &mut draw, &mut sums[policy]);
    }
    for (policy, sum) in ["spool", "block"].iter().zip(&sums) {
        services::say(&format!("endurance, {policy}: {sum:?}"));
        assert!(sum.kills > 0 && sum.writes >= services::scale(800, 500_000), "{sum:?}");
    }
}

/// What can befall Kafka and the way to it.
#[derive(Clone, Copy, Debug)]
enum Fault {
    None,
    Killed,
    Paused,
    Swallowed,
    Slow,
    Cut,
    Narrowed,
}

const FAULTS: [Fault; 7] = [
    Fault::Killed,
    Fault::Paused,
    Fault::None,
    Fault::Swallowed,
    Fault::Slow,
    Fault::Narrowed,
    Fault::Cut,
];

/// What was shown; the source's marks are more than its writes, since a bulk has several.
#[derive(Debug, Default)]
struct Sum {
    writes: u64,
    marks: usize,
    kills: u64,
    /// Records that stand in the topic a second time.
    repeats: u64,
    /// The most of them in a chain of kills.
    repeats_at_most: u64,
}

struct Draw(u64);

impl Draw {
    /// Below the bound (xorshift).
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// One broker behind a relay.
struct World {
    kafka: Kafka,
    hole: Hole,
    topic: String,
}

impl World {
    fn new() -> Self {
        let hole = Hole::open();
        let advertised = format!("PLAINTEXT://127.0.0.1:{}", hole.port());
        let kafka = Kafka::start_behind(&hole, &[("advertised.listeners", &advertised)]);
        Self { kafka, hole, topic: String::new() }
    }

    /// One state directory and one topic, under a run of tapline for each fault.
    fn chain(
        &mut self,
        number: u64,
        policy: &str,
        faults: &[Fault],
        draw: &mut Draw,
        sum: &mut Sum,
    ) {
        self.topic = format!("endured-{number}");
        self.kafka.create_topic(&self.topic, 2, &[]);
        let state = tempfile::tempdir().unwrap();
        let (brokers, topic) = (self.kafka.brokers(), self.topic.clone());
        let capture = |source| {
            Capture::of(source)
                .state(state.path())
                .flag("--kafka-brokers", &brokers)
                .flag("--kafka-topic", &topic)
                .flag("--on-capture-unavailable", policy)
                .flag("--hold-timeout", "2s")
        };
        let mut seen = BTreeSet::new();
        for fault in faults {
            let run = Run::start_light(capture);
            let goal = services::scale(200, 5_000);
            run.wrote(goal);
            self.strike(*fault);
            // Under `block` little is answered meanwhile.
            run.wrote_in(goal * 2, Duration::from_millis(500 + draw.below(2_500)));
            let heals_first = draw.below(2) == 0;
            if heals_first {
                self.heal(*fault);
                run.wrote(run.written() + goal / 10);
            }
            thread::sleep(Duration::from_micros(draw.below(300_000)));
            sum.writes += run.written();
            seen.extend(run.kill());
            sum.kills += 1;
            if !heals_first {
                self.heal(*fault);
            }
        }
        let origin = Origin::answering(|_| ok(b"done"));
        let mut last = capture(origin.port()).start();
        if policy == "spool" {
            let drained = wait::until(PATIENCE, || spools(state.path()).len() <= 1);
            assert!(drained, "{:?}: {}", spools(state.path()), last.output());
        }
        let whole = wait::until(PATIENCE, || {
            Content::of(&self.kafka, &self.topic).marks.is_superset(&seen)
        });
        last.stop();
        let content = Content::of(&self.kafka, &self.topic);
        content.hold(&seen, &last.output());
        assert!(whole);
        self.kafka.delete_topic(&self.topic);
        sum.marks += seen.len();
        sum.repeats += content.repeats;
        sum.repeats_at_most = sum.repeats_at_most.max(content.repeats);
    }

    fn strike(&mut self, fault: Fault) {
        match fault {
            Fault::None => {}
            Fault::Killed => self.kafka.kill(),
            Fault::Paused => self.kafka.pause(),
            Fault::Swallowed => self.hole.turn(true),
            Fault::Slow => self.hole.drag(true),
            Fault::Cut => self.hole.cut(),
            Fault::Narrowed => self.kafka.set_topic(&self.topic, "max.message.bytes", "1500"),
        }
    }

    fn heal(&mut self, fault: Fault) {
        match fault {
            Fault::None | Fault::Cut => {}
            Fault::Killed => self.kafka.revive(),
            Fault::Paused => self.kafka.resume(),
            Fault::Swallowed => self.hole.turn(false),
            Fault::Slow => self.hole.drag(false),
            Fault::Narrowed => self.kafka.set_topic(&self.topic, "max.message.bytes", "1048588"),
        }
    }
}

const PATIENCE: Duration = Duration::from_mins(3);
