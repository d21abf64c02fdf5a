//! Several real brokers: leaders that die and freeze, too few copies in step, addresses that change.

use std::time::{Duration, Instant};

use rdkafka::error::RDKafkaErrorCode;
use serde_json::Value;

use crate::rig::brokers::Brokers;
use crate::rig::client::{Client, bare, request};
use crate::rig::content::Content;
use crate::rig::hosts::Hosts;
use crate::rig::kafka::{Extras, Kafka};
use crate::rig::origin::{Origin, ok};
use crate::rig::records::Records;
use crate::rig::run::Run;
use crate::rig::tapline::{Capture, Tapline};
use crate::rig::topics::Topics;
use crate::rig::{port, services, wait};

#[test]
fn leaders_that_die_and_freeze_under_load_are_left_for_the_next() {
    if !services::wanted("leaders_that_die_and_freeze_under_load_are_left_for_the_next") {
        return;
    }
    let mut brokers = Brokers::start(3);
    brokers.create_topic("led", 6, &[]);
    let run = run(|source| Capture::of(source).kafka(&brokers, "led"));
    run.busy(200);
    for round in 0..services::scale(1, 10) {
        let dead = brokers.leader("led", 0);
        let began = Instant::now();
        brokers.kill(dead);
        assert!(brokers.left("led", dead), "nobody leads in place of broker {dead}");
        // Two of three are enough.
        await_working(run.tapline());
        let after_death = began.elapsed();
        run.busy(200);
        brokers.revive(dead);
        assert!(brokers.in_step("led"), "broker {dead} does not come back into step");

        let frozen = brokers.leader("led", 1);
        let began = Instant::now();
        brokers.pause(frozen);
        assert!(brokers.left("led", frozen), "nobody leads in place of broker {frozen}");
        // By turns it wakes when nobody counts on it any more, and while it is still waited for.
        if round % 2 == 0 {
            await_working(run.tapline());
            let after_pause = began.elapsed();
            services::say(&format!(
                "led: straight again after {after_death:?} and {after_pause:?}"
            ));
        }
        run.busy(200);
        brokers.resume(frozen);
        assert!(brokers.in_step("led"), "broker {frozen} does not come back into step");
        await_working(run.tapline());
    }
    judge(run, &brokers, "led");
}

#[test]
fn too_few_replicas_in_step_are_named_and_lose_nothing() {
    if !services::wanted("too_few_replicas_in_step_are_named_and_lose_nothing") {
        return;
    }
    let mut brokers = Brokers::start(1);
    let topics = ["thin", "thin-blocked", "thin-asked"];
    for topic in topics {
        brokers.create_topic(topic, 3, &[]);
    }
    let run = run(|source| Capture::of(source).kafka(&brokers, "thin"));
    let origin = Origin::answering(|_| ok(b"done"));
    let blocking = &mut Capture::of(origin.port())
        .kafka(&brokers, "thin-blocked")
        .flag("--on-capture-unavailable", "block")
        .flag("--hold-timeout", "2s")
        .admin()
        .start();
    let put = |target: &str| {
        let mut client = Client::connect(blocking.port());
        client.send(&request("PUT", target, b"{}"));
        client
    };
    for round in 0..services::scale(1, 10) {
        run.busy(100);
        await_working(blocking);
        assert_eq!(put("/i/_doc/1").response("PUT").status(), 200);
        brokers.kill(2);
        brokers.kill(3);
        let refused = || (0..3).all(|one| brokers.answer("thin-asked", one) == Err(TOO_FEW));
        assert!(wait::until(PATIENCE, refused), "{:?}", brokers.answer("thin-asked", 0));
        let before = origin.received_bytes();
        let mut clients: Vec<_> = (0..5).map(|_| put("/i/_doc/never")).collect();
        for client in &mut clients {
            let answer = client.response("PUT");
            assert_eq!(answer.status(), 503, "{}", answer.text());
        }
        assert_eq!(origin.received_bytes(), before, "nothing of them reached the source");
        // Each says what it lacks, everywhere, and whether writes go on.
        for (tapline, code, cause) in
            [(run.tapline(), 200, "spooling"), (blocking, 503, "sink_waiting")]
        {
            let named = || {
                let (status, readiness) = asked(tapline, "/readyz");
                let why = state(tapline)["log"]["why"].to_string();
                status == code
                    && readiness.contains(cause)
                    && [readiness, why, tapline.output()].iter().all(|text| text.contains(LACKS))
            };
            let shown = || (asked(tapline, "/readyz"), tapline.output());
            assert!(wait::until(PATIENCE, named), "{:?}", shown());
        }
        run.busy(200);
        brokers.revive(2);
        brokers.revive(3);
        await_working(run.tapline());
        await_working(blocking);
        let ready = || asked(blocking, "/readyz").0 == 200;
        assert!(wait::until(PATIENCE, ready), "{:?}", asked(blocking, "/readyz"));
        let undelivered = || -> u32 {
            let records = Records::of_topic(&brokers, "thin-blocked");
            records.connections().iter().map(|one| one.undelivered).sum()
        };
        let said = || undelivered() == 5 * (round + 1);
        assert!(wait::until(PATIENCE, said), "{} of {}", undelivered(), 5 * (round + 1));
        assert!(topics.iter().all(|topic| brokers.in_step(topic)), "they do not come into step");
    }
    blocking.stop();
    judge(run, &brokers, "thin");
}

#[test]
fn brokers_that_move_behind_their_name_are_followed() {
    if !services::wanted("brokers_that_move_behind_their_name_are_followed") {
        return;
    }
    let [own, named, controller] = [(); 3].map(|()| port::free());
    let listeners = |address: &str| {
        let own = format!("PLAINTEXT://127.0.0.1:{own},CONTROLLER://127.0.0.1:{controller}");
        format!("{own},NAMED://{address}:{named}")
    };
    let mut kafka = Kafka::start_with(
        own,
        &[
            ("listeners", &listeners("127.0.0.1")),
            (
                "advertised.listeners",
                &format!("PLAINTEXT://127.0.0.1:{own},NAMED://{NAME}:{named}"),
            ),
            ("listener.security.protocol.map", PROTOCOLS),
            ("controller.quorum.voters", &format!("1@127.0.0.1:{controller}")),
        ],
        Extras::default(),
    );
    kafka.create_topic("moved", 2, &[]);
    let hosts = Hosts::of(NAME, "127.0.0.1");
    let run = run(|source| {
        Capture::of(source)
            .under(&hosts.launcher())
            .flag("--kafka-brokers", &format!("{NAME}:{named}"))
            .flag("--kafka-topic", "moved")
    });
    run.busy(100);
    await_working(run.tapline());
    for round in 0..services::scale(1, 10) {
        let address = format!("127.0.0.{}", 2 + round);
        kafka.kill();
        kafka.revive_with(&[("listeners", &listeners(&address))]);
        run.busy(100);
        assert_eq!(state(run.tapline())["log"]["state"], "spooling", "{}", run.tapline().output());
        hosts.lead_to(&address);
        await_working(run.tapline());
        run.busy(100);
    }
    judge(run, &kafka, "moved");
}

/// A load whose clients rest, so that what gathers in a long outage is soon sent.
fn run(capture: impl FnOnce(u16) -> Capture) -> Run {
    Run::start_resting(Duration::from_millis(50), |source| capture(source).admin())
}

/// Ends the load; everything that the source saw must be there, in order.
fn judge(run: Run, topics: &Topics, topic: &str) {
    let (seen, output) = run.stop(topics, topic);
    let content = Content::of(topics, topic);
    content.hold(&seen, &output);
    services::say(&format!("{topic}: {} marks, {} records twice", seen.len(), content.repeats));
}

fn asked(tapline: &Tapline, page: &str) -> (u16, String) {
    let answer = Client::connect(tapline.admin()).ask(&bare("GET", page));
    (answer.status(), answer.text())
}

fn state(tapline: &Tapline) -> Value {
    serde_json::from_str(&asked(tapline, "/status").1).expect("/status is JSON")
}

/// Waits until records go straight to the topic.
fn await_working(tapline: &Tapline) {
    let works = || state(tapline)["log"]["state"] == "working";
    assert!(wait::until(PATIENCE, works), "{}", tapline.output());
}

const NAME: &str = "broker.test";
const PROTOCOLS: &str = "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,NAMED:PLAINTEXT";
const TOO_FEW: RDKafkaErrorCode = RDKafkaErrorCode::NotEnoughReplicas;
/// Of the partitions of a topic, when one broker is left of three.
const LACKS: &str = "has 1 of 3";
const PATIENCE: Duration = Duration::from_mins(2);
