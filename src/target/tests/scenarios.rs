//! Single things that a worker must do, each in a quiet world.

use std::time::Duration;

use super::{
    check,
    peer::Manners,
    world::{Setup, World},
};
use crate::target::{Broken, Counter};

fn run(setup: Setup) -> World {
    let mut world = World::build(7, setup);
    world.run();
    check::check(&world);
    world
}

#[test]
fn one_connection_serves_job_after_job() {
    let world = run(Setup::quiet());
    assert_eq!((world.replies.len(), world.peers.len()), (10, 1));
    assert_eq!(world.counters.get(Counter::Opened), 1);
}

#[test]
fn connections_are_as_many_as_jobs_in_flight_and_no_more_than_allowed() {
    let slow = Manners { delay_ns_max: 50_000_000, answer_bytes_max: 100, ..Manners::default() };
    let setup = Setup { in_flight: 8, jobs: 100, manners: slow, ..Setup::quiet() };
    assert!((2..=8).contains(&run(setup).peers.len()));
    let mut setup = Setup { in_flight: 8, jobs: 100, manners: slow, ..Setup::quiet() };
    setup.settings.connections_max = 3;
    assert_eq!(run(setup).peers.len(), 3);
}

#[test]
fn an_unused_connection_is_closed_after_its_time() {
    let mut setup = Setup { jobs: 3, pause_ns_max: 4_000_000_000, ..Setup::quiet() };
    setup.settings.idle_timeout = Duration::from_millis(1);
    let world = run(setup);
    assert_eq!(world.peers.len(), 3);
    assert_eq!(world.counters.get(Counter::ClosedIdle), 0);
}

#[test]
fn a_large_request_on_a_slow_wire_is_no_timeout_as_long_as_it_moves() {
    let mut setup = Setup { jobs: 1, body_bytes_max: 1 << 22, ..Setup::quiet() };
    setup.socket_bytes_max = 600;
    let mut world = World::build(11, setup);
    world.run();
    check::check(&world);
    assert!(world.replies[0].result.is_ok());
}

#[test]
fn a_silent_target_is_given_up_in_time() {
    let silent = Manners { silent: 1000, ..Manners::default() };
    let setup = Setup { calm: false, jobs: 2, manners: silent, ..Setup::quiet() };
    let world = run(setup);
    for reply in &world.replies {
        assert_eq!(reply.result, Err(Broken::Timeout { response_begun: false }));
        let waited = reply.finished_ns - reply.sent_ns;
        assert!((5_000_000_000..5_100_000_000).contains(&waited), "{waited}");
    }
}

#[test]
fn every_address_is_tried_and_the_last_failure_told() {
    let mut setup = Setup { calm: false, jobs: 2, ..Setup::quiet() };
    setup.settings.addresses = vec!["10.0.0.1:1".parse().expect("address"); 3];
    setup.faults.connect_refused = 1000;
    let world = run(setup);
    assert_eq!(world.counters.get(Counter::ConnectFailures), 6);
    let refused = |reply: &crate::target::Reply| matches!(reply.result, Err(Broken::Connect(_)));
    assert!(world.replies.iter().all(refused));
}
