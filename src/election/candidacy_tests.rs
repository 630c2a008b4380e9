//! Tests of the candidacy machine.

use super::*;

const INTERVAL: Duration = Duration::from_secs(1);
const START: Moment = Moment::from_micros(1_000_000_000);

fn at(millis: u64) -> Moment {
    START + Duration::from_millis(millis)
}

const FREE: Seen = Seen {
    holder: None,
    reserved: None,
    lock_held: false,
};

const TAKEN: Seen = Seen {
    lock_held: true,
    ..FREE
};

fn held() -> Seen {
    Seen {
        holder: Some(Holder {
            pid: 7,
            start_ticks: 70,
            term: Term(1),
            alive: true,
        }),
        ..TAKEN
    }
}

fn reserved(until: Moment, alive: bool) -> Seen {
    Seen {
        reserved: Some(Reservation { pid: 9, until, alive }),
        ..FREE
    }
}

fn ranked(rank: u32) -> Candidacy {
    let mut machine = Candidacy::new(START, INTERVAL);
    machine.on_members(START, Some(rank));
    machine
}

fn shown(machine: &mut Candidacy, now: Moment, seen: Seen) -> Vec<Action> {
    let mut out = Vec::new();
    machine.on_record(now, seen, &mut out);
    out
}

fn ticked(machine: &mut Candidacy, now: Moment) -> Vec<Action> {
    let mut out = Vec::new();
    machine.on_tick(now, &mut out);
    out
}

/// Runs the machine until `until`, with every candidate exiting at once; returns when it started them.
fn starts(machine: &mut Candidacy, until: Moment, seen: Seen, ok: bool) -> Vec<Moment> {
    let mut starts = Vec::new();
    loop {
        let now = machine.next_deadline();
        if now > until {
            return starts;
        }
        let mut actions = ticked(machine, now);
        while let Some(action) = actions.pop() {
            match action {
                Action::Look => actions.extend(shown(machine, now, seen)),
                Action::StartCandidate => {
                    starts.push(now);
                    machine.on_candidate_exited(now, ok, &mut actions);
                }
                Action::EndCandidate => panic!("it has ended"),
            }
        }
    }
}

#[test]
fn the_lowest_rank_starts_at_once() {
    let mut machine = ranked(0);
    assert_eq!(shown(&mut machine, START, held()), []);
    let mut out = Vec::new();
    machine.on_holder_ended(at(10), &mut out);
    assert_eq!(out, [Action::Look]);
    assert_eq!(shown(&mut machine, at(10), FREE), [Action::StartCandidate]);
}

#[test]
fn the_next_ranks_wait_a_stagger_each_and_look_again() {
    for rank in 1..5 {
        let mut machine = ranked(rank);
        assert_eq!(shown(&mut machine, START, FREE), []);
        let due = START + CANDIDATE_STAGGER * rank;
        assert_eq!(machine.next_deadline(), due);
        assert_eq!(ticked(&mut machine, at(1)), [], "an early tick does nothing");
        assert_eq!(ticked(&mut machine, due), [Action::Look]);
        assert_eq!(ticked(&mut machine, due), [], "a repeated tick does nothing");
        assert_eq!(shown(&mut machine, due, FREE), [Action::StartCandidate]);
    }
}

#[test]
fn nobody_starts_while_the_lock_is_held() {
    let mut machine = ranked(0);
    assert_eq!(starts(&mut machine, at(60_000), TAKEN, false), []);
    assert_eq!(starts(&mut machine, at(120_000), held(), false), []);
}

#[test]
fn who_is_on_the_way_into_the_office_is_asked_about_less_and_less() {
    let mut machine = ranked(0);
    let mut looks = 0;
    while machine.next_deadline() < at(10_000) {
        let now = machine.next_deadline();
        looks += ticked(&mut machine, now).len();
        shown(&mut machine, now, TAKEN);
    }
    assert!(looks < 50, "{looks}");
}

#[test]
fn who_is_no_member_elects_nobody() {
    let mut machine = Candidacy::new(START, INTERVAL);
    assert_eq!(starts(&mut machine, at(10_000), FREE, false), []);
    machine.on_members(at(10_001), Some(0));
    assert_eq!(machine.next_deadline(), at(10_001));
}

#[test]
fn a_reservation_holds_until_its_process_ends() {
    let mut machine = ranked(0);
    assert_eq!(shown(&mut machine, START, reserved(at(1500), true)), []);
    assert_eq!(machine.next_deadline(), START + RESERVED_LOOK_EVERY);
    assert_eq!(
        shown(&mut machine, at(20), reserved(at(1500), false)),
        [Action::StartCandidate]
    );
}

#[test]
fn a_reservation_ends_at_its_time_and_after_two_seconds_whatever_it_says() {
    for (until, ends) in [(at(1500), at(1500)), (at(3_600_000), at(2000))] {
        let mut machine = ranked(0);
        let first = starts(&mut machine, at(2500), reserved(until, true), true)[0];
        assert!(first >= ends && first.since(ends) <= RESERVED_LOOK_EVERY, "{first:?}");
    }
}

#[test]
fn candidates_that_fail_follow_each_other_ever_slower() {
    for ok in [false, true] {
        let mut machine = ranked(0);
        let starts = starts(&mut machine, at(10_000), FREE, ok);
        let first_second = starts.iter().filter(|start| **start < at(1000)).count();
        assert!((5..=8).contains(&first_second), "{first_second} in the first second");
        assert!(starts.len() <= 17, "{} in ten seconds", starts.len());
        let mut gaps = starts.windows(2).map(|two| two[1].since(two[0]));
        assert!(gaps.clone().all(|gap| gap >= CANDIDATE_STAGGER));
        assert!(gaps.next_back().unwrap() >= CANDIDATE_BACKOFF_MAX);
    }
}

#[test]
fn pauses_are_short_again_after_a_quiet_time() {
    let mut machine = ranked(0);
    assert!(starts(&mut machine, at(10_000), FREE, false).len() > 5);
    starts(&mut machine, at(20_000), held(), false);
    let mut out = Vec::new();
    machine.on_holder_ended(at(20_001), &mut out);
    assert_eq!(shown(&mut machine, at(20_001), FREE), [Action::StartCandidate]);
    machine.on_candidate_exited(at(20_011), false, &mut out);
    assert_eq!(shown(&mut machine, at(20_011), FREE), []);
    assert_eq!(machine.next_deadline(), at(20_011) + CANDIDATE_STAGGER);
}

#[test]
fn a_worker_has_one_candidate_at_a_time_and_ends_one_that_is_stuck() {
    let mut machine = ranked(0);
    assert_eq!(shown(&mut machine, START, FREE), [Action::StartCandidate]);
    let mut ended = Vec::new();
    while machine.next_deadline() < at(60_000) {
        let now = machine.next_deadline();
        let actions = ticked(&mut machine, now);
        if actions.contains(&Action::EndCandidate) {
            ended.push(now);
        }
        if actions.contains(&Action::Look) {
            assert_eq!(shown(&mut machine, now, FREE), []);
        }
    }
    assert_eq!(ended, [START + CANDIDATE_PATIENCE]);
    let mut out = Vec::new();
    machine.on_candidate_exited(at(60_000), false, &mut out);
    assert_eq!(out, [Action::Look]);
}
