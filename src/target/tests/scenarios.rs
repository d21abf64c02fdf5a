//! Single things that a worker must do, each in a quiet world.

use std::time::Duration;

use super::{
    check,
    peer::Manners,
    world::{Setup, World},
};
use crate::{
    net::Addresses,
    target::{Broken, Counter},
};

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
    setup.settings.addresses = Addresses::new(vec!["10.0.0.1:1".parse().expect("address"); 3]);
    setup.faults.connect_refused = 1000;
    let world = run(setup);
    assert_eq!(world.counters.get(Counter::ConnectFailures), 6);
    let refused = |reply: &crate::target::Reply| matches!(reply.result, Err(Broken::Connect(_)));
    assert!(world.replies.iter().all(refused));
}

#[test]
fn one_handshake_serves_job_after_job() {
    let mut setup = Setup { body_bytes_max: 1 << 20, ..Setup::quiet() };
    setup.seal();
    let world = run(setup);
    assert_eq!((world.replies.len(), world.peers.len()), (10, 1));
    assert!(world.replies.iter().all(|reply| reply.result.is_ok()));
}

#[test]
fn an_open_end_counts_over_tls_only_when_the_target_vouches_for_it() {
    let open = Manners { answer_bytes_max: 100, until_eof: 1000, ..Manners::default() };
    let mut setup = Setup { manners: open, ..Setup::quiet() };
    setup.seal();
    assert!(run(setup).replies.iter().all(|reply| reply.result.is_ok()));
    let rude = Manners { rude: 1000, ..open };
    let mut setup = Setup { calm: false, manners: rude, ..Setup::quiet() };
    setup.seal();
    let world = run(setup);
    let lost = world.replies.iter().filter(|reply| reply.result.is_err()).count();
    assert!(lost > 0, "answers to HEAD have no end to be cut");
    assert_eq!(world.counters.get(Counter::Lost), lost as u64);
}

#[test]
fn a_handshake_has_the_time_of_a_connect_and_a_stranger_gets_nothing() {
    let mut setup = Setup { calm: false, jobs: 3, ..Setup::quiet() };
    setup.seal();
    setup.server = Some(super::line::Stage::new("es.example").server.clone());
    setup.distrusted = true;
    let world = run(setup);
    assert_eq!(world.counters.get(Counter::TlsFailures), 3);
    for reply in &world.replies {
        let refused = matches!(reply.result, Err(Broken::Tls { handshake: true, .. }));
        assert!(refused && reply.sent_ns == 0, "{:?}", reply.result);
    }
    // Targets that take bytes for something else, and wait for more of it.
    let mut setup = Setup { calm: false, jobs: 2, ..Setup::quiet() };
    setup.seal();
    setup.server = None;
    setup.settings.connect_timeout = Duration::from_secs(2);
    let mut world = World::build(7, setup);
    world.run();
    for reply in &world.replies {
        assert_eq!(reply.result, Err(Broken::ConnectTimeout));
        let waited = reply.finished_ns - reply.started_ns;
        assert!((2_000_000_000..2_200_000_000).contains(&waited), "{waited}");
    }
}
