//! A Hit that goes from host to host, as a whole.

use std::time::Duration;

use super::super::tests::{Bench, INTERVAL, config, key};
use super::super::{Config, Hit, Hosts, NoSlot, Outcome};
use crate::protocol::ids::Attempt;
use crate::protocol::message::{Full, FullReason, Hint, Message, Open, Queued};
use crate::protocol::route::Route;
use crate::protocol::{DirId, Term};

fn bench() -> Bench {
    let hosts = Hosts {
        here: "alpha".to_owned(),
        others: vec!["beta".to_owned(), "gamma".to_owned()],
        only: None,
    };
    Bench::new(|now| Hit::open(now, key(), Config { hosts, ..config() }))
}

fn full(attempt: u32, reason: FullReason, hints: &[(&str, u32)]) -> Message {
    let hint = |(host, idle): &(&str, u32)| Hint {
        host: (*host).to_owned(),
        idle: *idle,
    };
    Message::Full(Full {
        hit: key(),
        attempt: Attempt(attempt),
        reason,
        term: Term(1),
        hints: hints.iter().map(hint).collect(),
    })
}

/// The last OPEN that was sent.
fn open(bench: &mut Bench) -> Open {
    let sent = std::mem::take(&mut bench.out);
    let opens = sent.into_iter().filter_map(|(_, message)| match message {
        Message::Open(open) => Some(open),
        _ => None,
    });
    opens.last().expect("an OPEN")
}

/// Rule O6: to another host on FULL only; there it is the first that is heard of this Hit, its first request with it.
#[test]
fn a_full_host_is_left_for_an_idle_one_with_all_that_was_said() {
    let mut bench = bench();
    let first = open(&mut bench);
    assert!(!first.queue && bench.hit.host().is_none());
    assert_eq!((first.attempt, first.packet.body.len()), (Attempt(1), 4));
    // An older attempt's FULL says nothing of the latest.
    bench.hear(full(7, FullReason::Busy, &[("beta", 1)]));
    assert_eq!(bench.hit.host(), None);
    bench.step(Duration::from_millis(100));
    bench.hear(full(1, FullReason::Busy, &[("beta", 1)]));
    assert_eq!(bench.hit.host(), Some("beta"));
    let second = open(&mut bench);
    assert!(!second.queue && !second.resume);
    assert_eq!(
        (second.attempt, second.age_ms, second.dir),
        (Attempt(2), 0, DirId::default())
    );
    assert_eq!(second.packet.body, first.packet.body);
    // What alpha says again is of no more meaning.
    bench.hear(full(1, FullReason::Busy, &[("gamma", 1)]));
    assert_eq!(bench.hit.host(), Some("beta"));
    bench.hear(Message::Opened(bench.opened()));
    assert!(bench.hit.is_open());
}

#[test]
fn when_all_are_full_it_stands_in_line_at_its_own_host_and_withdraws_there() {
    let mut bench = bench();
    bench.hear(full(1, FullReason::Busy, &[("gamma", 1), ("beta", 0)]));
    assert_eq!(bench.hit.host(), Some("gamma"));
    bench.hear(full(2, FullReason::Busy, &[]));
    assert_eq!(bench.hit.host(), None);
    let queued = open(&mut bench);
    assert!(queued.queue);
    assert_eq!(queued.attempt, Attempt(3));
    bench.pass(INTERVAL * 6);
    assert_eq!(
        bench.hit.outcome(),
        None,
        "a slot may have been leased: it withdraws first"
    );
    bench.hear(Message::Withdrawn {
        hit: key(),
        attempt: bench.hit.attempt,
    });
    assert_eq!(
        bench.hit.outcome(),
        Some(&Outcome::NoSlot(NoSlot::Refused(FullReason::Busy)))
    );
}

/// What could not be sent has reached nobody; what was sent ties the Hit to its host.
#[test]
fn a_host_without_a_broker_is_left_only_if_it_was_sent_nothing() {
    let mut bench = bench();
    let lost = |bench: &mut Bench| {
        for (route, message) in std::mem::take(&mut bench.out) {
            bench.hit.on_no_route(bench.now, route, &message, &mut bench.out);
        }
    };
    lost(&mut bench);
    for _ in 0..13 {
        bench.step(Duration::from_millis(20));
        lost(&mut bench);
    }
    assert_eq!(bench.hit.host(), Some("beta"));
    bench.hit.on_route(bench.now);
    bench.step(Duration::ZERO);
    let asked = open(&mut bench);
    assert_eq!((asked.attempt, asked.packet.body.len()), (Attempt(1), 4));
    // Beta has it now, or may: nobody else is asked, however silent it is.
    let attempt = Message::Open(asked);
    for _ in 0..30 {
        bench.step(INTERVAL / 10);
        bench
            .hit
            .on_no_route(bench.now, Route::Broker, &attempt, &mut bench.out);
        bench.out.clear();
        bench.hit.on_route(bench.now);
        bench.step(Duration::ZERO);
        bench.out.clear();
    }
    assert_eq!(bench.hit.host(), Some("beta"));
}

#[test]
fn who_was_told_that_all_are_full_and_then_finds_nobody_has_had_no_slot() {
    let mut bench = bench();
    bench.out.clear();
    bench.hear(full(1, FullReason::NoWorker, &[("beta", 1)]));
    let until = bench.now + INTERVAL * 6;
    while bench.now < until && bench.hit.outcome().is_none() {
        for (route, message) in std::mem::take(&mut bench.out) {
            bench.hit.on_no_route(bench.now, route, &message, &mut bench.out);
        }
        bench.step(Duration::from_millis(20));
    }
    assert_eq!(
        bench.hit.outcome(),
        Some(&Outcome::NoSlot(NoSlot::Refused(FullReason::NoWorker)))
    );
}

#[test]
fn in_line_it_goes_on_to_a_slot_that_has_become_idle_elsewhere() {
    let mut bench = bench();
    bench.hear(full(1, FullReason::Busy, &[]));
    let waiting = open(&mut bench);
    assert!(waiting.queue && waiting.moves);
    bench.hear(Message::Queued(Queued {
        hit: key(),
        attempt: waiting.attempt,
        term: Term(1),
        ahead: 0,
        slots: 1,
        busy: 1,
    }));
    bench.pass(INTERVAL);
    bench.hear(full(waiting.attempt.0, FullReason::Busy, &[("gamma", 1)]));
    assert_eq!(bench.hit.host(), Some("gamma"));
    let next = open(&mut bench);
    assert!(!next.queue);
    assert_eq!(next.packet.body.len(), 4, "its first request again: nobody has it");
}

/// After a pause the own host is asked, and only then left.
#[test]
fn after_a_pause_its_own_host_is_asked_before_any_other() {
    let mut bench = bench();
    bench.hear(full(1, FullReason::Busy, &[]));
    bench.hear(full(2, FullReason::QueueFull, &[]));
    bench.out.clear();
    bench.step(INTERVAL / 4);
    assert_eq!(bench.hit.host(), None);
    assert_eq!(open(&mut bench).attempt, Attempt(3));
}

/// An OPEN that could not be sent is no attempt; those that other hosts have got were.
#[test]
fn attempts_never_fall() {
    let mut bench = bench();
    bench.hear(full(1, FullReason::Busy, &[("beta", 1)]));
    let unsent = Message::Open(open(&mut bench));
    bench.hit.on_no_route(bench.now, Route::Broker, &unsent, &mut bench.out);
    bench.hit.on_route(bench.now);
    bench.step(Duration::ZERO);
    assert_eq!(open(&mut bench).attempt, Attempt(2));
}
