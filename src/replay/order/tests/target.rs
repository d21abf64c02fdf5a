//! A simulated target: requests in flight side by side, each done after a time of its own.

use std::collections::HashMap;

use super::Dice;
use super::source::{Record, World};
use crate::replay::exchange::{ConnectionId, ExchangeId, Seen};
use crate::replay::order::{Counters, Facts, Order, Ready, Schedule};

/// When each item was under way, in ticks of the target; `None` for items that were not sent.
pub(super) struct Run {
    pub(super) items: Vec<Vec<Option<(u64, u64)>>>,
    pub(super) left_out: Vec<Vec<u32>>,
    pub(super) counters: Counters,
    pub(super) most_in_flight: usize,
}

/// How the schedule is used.
#[derive(Debug, Clone, Copy)]
pub(super) struct Use {
    pub(super) order: Order,
    /// What the answers tell is kept from the schedule: it is wrong then.
    pub(super) blind: bool,
}

/// Plays the records to the schedule and its requests to the target.
pub(super) fn replay(seed: u64, world: &World, how: Use) -> Run {
    let mut dice = Dice::new(seed ^ 0x7a72_6765);
    let mut schedule = Schedule::new(how.order);
    let mut run = Run {
        items: world.requests.iter().map(|request| vec![None; request.ops.len()]).collect(),
        left_out: vec![Vec::new(); world.requests.len()],
        counters: Counters::default(),
        most_in_flight: 0,
    };
    let in_flight_max = 1 + dice.below(40) as usize;
    let read_ahead = 1 + dice.below(60);
    let mut in_flight: Vec<(u64, Ready, u64)> = Vec::new();
    // Requests are numbered in the order in which they are recorded.
    let (mut numbers, mut ids) = (Vec::new(), HashMap::new());
    let (mut records, mut now) = (world.records.iter(), 0);
    loop {
        now += 1;
        for _ in 0..=dice.below(read_ahead) {
            match records.next() {
                Some(Record::Request(number)) => {
                    let request = &world.requests[*number];
                    let id = ExchangeId(numbers.len() as u64);
                    numbers.push(*number);
                    ids.insert(*number, id);
                    let connection = ConnectionId(request.connection as u64);
                    let seen = Seen { clock: 0, ns: request.received_at as i64 };
                    schedule.admit(id, connection, seen, request.footprint.clone());
                }
                Some(Record::Answer(number)) => {
                    let request = &world.requests[*number];
                    let until = Some(request.answered_at as i64).filter(|_| !request.lost);
                    let facts = if how.blind { Facts::none() } else { request.facts() };
                    schedule.answered(ids[number], until, || facts);
                }
                None => {}
            }
        }
        while in_flight.len() < in_flight_max {
            let Some(ready) = schedule.ready() else { break };
            let number = numbers[ready.id.0 as usize];
            for item in 0..world.requests[number].ops.len() as u32 {
                let mine = ready.items.as_ref().is_none_or(|items| items.contains(&item));
                if mine && !ready.left_out.contains(&item) {
                    let sent = &mut run.items[number][item as usize];
                    assert!(sent.is_none(), "seed {seed}: item {item} of {number} goes twice");
                    *sent = Some((now, u64::MAX));
                }
            }
            run.left_out[number].clone_from(&ready.left_out);
            let until = now + 1 + dice.below(25);
            in_flight.push((until, ready, now));
        }
        run.most_in_flight = run.most_in_flight.max(in_flight.len());
        if records.len() == 0 && in_flight.is_empty() {
            break;
        }
        let due = in_flight.iter().position(|(until, ..)| *until <= now);
        if let Some(at) = due {
            let (_, ready, since) = in_flight.swap_remove(at);
            for sent in run.items[numbers[ready.id.0 as usize]].iter_mut().flatten() {
                if sent.0 == since && sent.1 == u64::MAX {
                    sent.1 = now;
                }
            }
            schedule.finished(ready.id);
        }
        assert!(now < 1_000_000, "seed {seed}: no end");
    }
    assert!(
        schedule.holds_nothing(),
        "seed {seed}: stuck with {} requests: {:?}",
        schedule.len(),
        schedule.why_blocked()
    );
    run.counters = *schedule.counters();
    run
}
