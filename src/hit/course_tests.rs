use std::collections::BTreeMap;
use std::time::Duration;

use super::{Course, Hosts, Next};
use crate::protocol::ids::HitKey;
use crate::protocol::message::{FullReason, Hint};
use crate::protocol::time::Moment;

const NOW: Moment = Moment::ZERO;

fn key(number: u8) -> HitKey {
    HitKey::from_bytes([number; 16])
}

fn hints(all: &[(&str, u32)]) -> Vec<Hint> {
    let hint = |(host, idle): &(&str, u32)| Hint {
        host: (*host).to_owned(),
        idle: *idle,
    };
    all.iter().map(hint).collect()
}

fn course(others: &[&str]) -> Course {
    let hosts = Hosts {
        here: "alpha".to_owned(),
        others: others.iter().map(|host| (*host).to_owned()).collect(),
        only: None,
    };
    Course::new(NOW, hosts)
}

#[test]
fn a_lone_host_is_asked_for_a_place_in_line_at_once() {
    let course = course(&[]);
    assert!(course.queues() && course.there().is_none());
    assert_eq!(course.gap_until(), None);
}

#[test]
fn who_wants_a_hit_that_is_somewhere_asks_there() {
    let hosts = Hosts {
        here: "alpha".to_owned(),
        others: vec!["beta".to_owned()],
        only: Some("gamma".to_owned()),
    };
    let course = Course::new(NOW, hosts);
    assert_eq!((course.there(), course.queues()), (Some("gamma"), true));
    assert!(!course.has_others());
}

/// Rule O6: another host on FULL only; when all were full once, in line at the own one.
#[test]
fn a_full_host_sends_to_the_idle_ones_and_then_the_own_line_is_joined() {
    let mut course = course(&["beta", "gamma"]);
    assert!(!course.queues());
    let two = hints(&[("gamma", 3), ("beta", 0)]);
    assert_eq!(course.full(FullReason::Busy, &two, key(1)), Next::Ask);
    assert_eq!((course.there(), course.queues()), (Some("gamma"), false));
    // Somebody was faster.
    let now_beta = hints(&[("beta", 1)]);
    assert_eq!(course.full(FullReason::Busy, &now_beta, key(1)), Next::Ask);
    assert_eq!((course.there(), course.queues()), (Some("beta"), false));
    assert_eq!(course.full(FullReason::Busy, &[], key(1)), Next::Ask);
    assert_eq!((course.there(), course.queues()), (None, true));
    // Not even in line: all of it again, a moment later.
    assert_eq!(course.full(FullReason::QueueFull, &[], key(1)), Next::Pause);
    assert_eq!((course.there(), course.queues()), (None, false));
}

/// Whoever stands in line is sent on when a slot is idle elsewhere, even where it was refused before.
#[test]
fn from_its_place_in_line_it_goes_where_a_slot_has_become_idle() {
    let mut course = course(&["beta"]);
    let beta = hints(&[("beta", 1)]);
    assert_eq!(course.full(FullReason::Busy, &beta, key(1)), Next::Ask);
    assert_eq!(course.full(FullReason::Busy, &[], key(1)), Next::Ask);
    assert_eq!((course.there(), course.queues()), (None, true));
    assert_eq!(course.full(FullReason::Busy, &beta, key(1)), Next::Ask);
    assert_eq!((course.there(), course.queues()), (Some("beta"), false));
    assert_eq!(course.full(FullReason::Busy, &[], key(1)), Next::Ask);
    assert_eq!((course.there(), course.queues()), (None, true), "back in its own line");
}

#[test]
fn a_host_that_does_not_serve_the_pool_is_no_place_to_wait() {
    let mut course = course(&["beta", "gamma"]);
    let busy = hints(&[("gamma", 0)]);
    assert_eq!(course.full(FullReason::NoWorker, &busy, key(1)), Next::Ask);
    assert_eq!((course.there(), course.queues()), (Some("gamma"), true));
}

#[test]
fn where_nobody_serves_the_pool_it_waits_at_its_own_host() {
    let mut course = course(&["beta"]);
    assert_eq!(course.full(FullReason::NoWorker, &[], key(1)), Next::Ask);
    assert_eq!((course.there(), course.queues()), (None, true));
}

#[test]
fn hosts_that_are_not_there_are_passed_over_in_order() {
    let mut course = course(&["beta", "gamma"]);
    assert_eq!(course.gap_until(), Some(NOW + Duration::from_millis(250)));
    assert_eq!(course.unreached(key(1)), Next::Ask);
    assert_eq!(course.there(), Some("beta"));
    assert_eq!(course.gap_until(), Some(NOW + Duration::from_millis(500)));
    assert_eq!(course.unreached(key(1)), Next::Ask);
    assert_eq!((course.there(), course.queues()), (Some("gamma"), false));
    // The only one that answers is the one to wait at.
    assert_eq!(course.full(FullReason::Busy, &[], key(1)), Next::Ask);
    assert_eq!((course.there(), course.queues()), (Some("gamma"), true));
}

#[test]
fn when_nobody_is_there_it_begins_anew_at_its_own_host() {
    let mut course = course(&["beta"]);
    assert_eq!(course.unreached(key(1)), Next::Ask);
    assert_eq!(course.others(), (1, 0), "beta was not tried yet");
    assert_eq!(course.unreached(key(1)), Next::Pause);
    assert_eq!(course.others(), (1, 1));
    assert_eq!((course.there(), course.queues()), (None, false));
}

/// A hint that leads nowhere is followed by the next.
#[test]
fn a_hinted_host_that_is_not_reached_is_not_the_end() {
    let mut course = course(&["beta", "gamma"]);
    let both = hints(&[("beta", 1), ("gamma", 1)]);
    assert_eq!(course.full(FullReason::Busy, &both, key(1)), Next::Ask);
    let first = course.there().map(str::to_owned);
    assert_eq!(course.unreached(key(1)), Next::Ask);
    assert!(course.there().is_some() && course.there().map(str::to_owned) != first);
    assert_eq!(course.unreached(key(1)), Next::Ask);
    assert_eq!((course.there(), course.queues()), (None, true));
}

#[test]
fn strangers_are_not_gone_to() {
    let mut course = course(&["beta"]);
    let strange = hints(&[("omega", 9)]);
    assert_eq!(course.full(FullReason::Busy, &strange, key(1)), Next::Ask);
    assert_eq!((course.there(), course.queues()), (None, true));
}

/// Many clients with the same news share the idle slots out as they are.
#[test]
fn the_least_loaded_host_gets_the_most() {
    let mut count: BTreeMap<String, u32> = BTreeMap::new();
    for number in 0..=u8::MAX {
        let mut course = course(&["beta", "gamma"]);
        let mut bytes = [0; 16];
        bytes[15] = number;
        let hints = hints(&[("beta", 6), ("gamma", 2)]);
        course.full(FullReason::Busy, &hints, HitKey::from_bytes(bytes));
        *count.entry(course.there().unwrap_or_default().to_owned()).or_default() += 1;
    }
    assert_eq!(count.values().sum::<u32>(), 256);
    let (beta, gamma) = (count["beta"], count["gamma"]);
    assert!(beta > gamma * 2 && gamma > 30, "{count:?}");
}
