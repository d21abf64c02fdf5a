use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::*;

const MS: u64 = 1_000_000;

fn bounds(in_flight_max: u32) -> Bounds {
    Bounds { in_flight_max, requests_per_second: None, bytes_per_second: None }
}

/// Goes on with a limiter that has seen time pass.
fn drive_on(limiter: &mut Limiter, rounds: u32, latency: impl Fn(u32) -> u64) {
    limiter.last_decrease_ns = 0;
    limiter.in_flight = 0;
    drive(limiter, rounds, u32::MAX, |in_flight, _| latency(in_flight));
}

/// Drives a limiter that always has work against a target that takes `latency(in flight)`, and refuses above
/// `refuses_above`; the requests answered and the time passed.
fn drive(
    limiter: &mut Limiter,
    rounds: u32,
    refuses_above: u32,
    latency: impl Fn(u32, u32) -> u64,
) -> (u64, u64) {
    let mut now = 0;
    let mut answered = 0;
    let mut running = BinaryHeap::new();
    for round in 0..rounds {
        while limiter.admit(now, 100) == Admission::Now {
            let in_flight = limiter.in_flight();
            let took = latency(in_flight, round);
            running.push(Reverse((now + took, took, in_flight > refuses_above)));
        }
        let Reverse((end, took, refused)) = running.pop().unwrap();
        now = end;
        let signal = if refused { Signal::Refused } else { Signal::Answered };
        answered += u64::from(!refused);
        limiter.finished(now, took, Class::Bulk, signal);
    }
    (answered, now)
}

#[test]
fn a_fast_and_noisy_target_is_filled() {
    let mut limiter = Limiter::new(bounds(1024));
    // 200 µs, now and then 15 ms.
    drive(&mut limiter, 5_000, u32::MAX, |_, n| if n % 50 == 0 { 15 * MS } else { 200_000 });
    assert_eq!(limiter.limit(), 1024);
    assert_eq!(limiter.limited_by(), Some(Reason::InFlightMax));
    limiter.in_flight = 0;
    drive(&mut limiter, 50_000, u32::MAX, |_, n| if n % 7 == 0 { 15 * MS } else { 100_000 });
    assert_eq!(limiter.limit(), 1024);
}

#[test]
fn refusals_hold_the_limit_near_what_the_target_bears() {
    let mut limiter = Limiter::new(bounds(4096));
    let (answered, _) = drive(&mut limiter, 100_000, 200, |_, _| 2 * MS);
    assert!((90..=210).contains(&limiter.limit()), "{}", limiter.limit());
    assert!(answered > 98_000, "{answered} of 100000 were accepted");
    assert_eq!(limiter.limited_by(), Some(Reason::Refusals));
}

#[test]
fn one_round_of_refusals_counts_once() {
    let mut limiter = Limiter::new(bounds(16));
    for _ in 0..16 {
        assert_eq!(limiter.admit(0, 1), Admission::Now);
    }
    assert_eq!(limiter.admit(0, 1), Admission::AfterNext);
    for _ in 0..16 {
        limiter.finished(5 * MS, 5 * MS, Class::Document, Signal::Refused);
    }
    assert_eq!((limiter.limit(), limiter.in_flight()), (8, 0));
    assert_eq!(limiter.admit(6 * MS, 1), Admission::Now);
    limiter.finished(7 * MS, MS, Class::Document, Signal::Refused);
    assert_eq!(limiter.limit(), 1);
}

#[test]
fn a_target_that_queues_is_not_buried() {
    let mut limiter = Limiter::new(bounds(4096));
    // Bears 100 at once in 30 ms; what is above waits in line.
    let latency = |in_flight: u32, _| 30 * MS * u64::from(in_flight.max(100)) / 100;
    drive(&mut limiter, 100_000, u32::MAX, latency);
    assert!((100..=260).contains(&limiter.limit()), "{}", limiter.limit());
    assert_eq!(limiter.limited_by(), Some(Reason::Latency));
    drive_on(&mut limiter, 400_000, |in_flight| latency(in_flight, 0));
    assert!((100..=260).contains(&limiter.limit()), "{}", limiter.limit());
}

#[test]
fn a_target_that_became_slower_for_good_is_filled_again() {
    let mut limiter = Limiter::new(bounds(256));
    drive(&mut limiter, 10_000, u32::MAX, |_, _| 15 * MS);
    assert_eq!(limiter.limit(), 256);
    let mut least = u32::MAX;
    for _ in 0..100 {
        drive_on(&mut limiter, 1_000, |_| 100 * MS);
        least = least.min(limiter.limit());
    }
    assert!(least < 64, "{least}");
    assert_eq!(limiter.limit(), 256);
}

#[test]
fn classes_are_held_against_themselves() {
    let mut limiter = Limiter::new(bounds(64));
    for n in 0..20_000_u64 {
        assert_eq!(limiter.admit(n, 1), Admission::Now);
        let (class, took) = if n % 2 == 0 { (Class::Bulk, 90 * MS) } else { (Class::Document, MS) };
        limiter.finished(n * 100 * MS, took, class, Signal::Answered);
    }
    assert!(limiter.last_decrease.is_none());
}

#[test]
fn what_ends_without_an_answer_says_nothing() {
    let mut limiter = Limiter::new(bounds(64));
    for signal in [Signal::Broken, Signal::Unsent] {
        assert_eq!(limiter.admit(0, 1), Admission::Now);
        limiter.finished(90, 90, Class::Other, signal);
    }
    assert_eq!((limiter.limit(), limiter.in_flight()), (16, 0));
    assert_eq!(limiter.limited_by(), None);
}

#[test]
fn rates_are_kept_over_time() {
    let mut limiter = Limiter::new(Bounds { requests_per_second: Some(1000), ..bounds(10_000) });
    let (mut now, mut sent) = (3_600_000 * MS, 0_u64);
    let start = now;
    while now < start + 10_000 * MS {
        match limiter.admit(now, 1) {
            Admission::Now => {
                sent += 1;
                limiter.finished(now, 0, Class::Document, Signal::Answered);
            }
            Admission::At(at) => {
                assert!(at > now);
                now = at;
            }
            Admission::AfterNext => unreachable!("nothing is in flight"),
        }
    }
    assert!((10_000..=10_051).contains(&sent), "{sent}");
    assert_eq!(limiter.limited_by(), Some(Reason::Requests));
    assert_eq!(limiter.limited_by(), None);
}

#[test]
fn a_request_larger_than_the_rate_goes_and_is_paid_for() {
    let mut limiter = Limiter::new(Bounds { bytes_per_second: Some(1000), ..bounds(10) });
    let now = 3_600_000 * MS;
    assert_eq!(limiter.admit(now, 5_000), Admission::Now);
    assert_eq!(limiter.admit(now, 1), Admission::At(now - 50 * MS + 5_000 * MS));
    assert_eq!(limiter.limited_by(), Some(Reason::Bytes));
    assert_eq!(limiter.admit(now + 4_950 * MS, 1), Admission::Now);
}
