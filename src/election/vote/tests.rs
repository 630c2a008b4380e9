//! Tests of the vote machine.

use super::*;
use crate::protocol::ids::{Incarnation, Term, WorkerId};

const INTERVAL: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(5);
/// interval × liveness.
const SPAN_MS: u64 = 3000;
const START_MS: u64 = 1_000_000;

const MASTER: Suspect = Suspect {
    term: Term(17),
    pid: 812,
    start_ticks: 5000,
};

const HUNG: Ballot = Ballot {
    suspect: MASTER,
    beat: 40,
};

fn voter(id: u32) -> Voter {
    Voter {
        id: WorkerId(id),
        incarnation: Incarnation(u64::from(id) + 100),
    }
}

fn at(millis: u64) -> Moment {
    Moment::from_micros((START_MS + millis) * 1000)
}

/// Worker 2 of `members`, and the world that it sees.
struct Seat {
    machine: Vote,
    now_ms: u64,
    /// Counter of the master, and of each member, by number from 1.
    beat: u64,
    members: Vec<u64>,
    said: Vec<Action>,
}

impl Seat {
    fn new(members: usize) -> Self {
        let config = Config {
            me: voter(2),
            interval: INTERVAL,
            liveness: 3,
            patience: PATIENCE,
            votes: true,
        };
        let mut seat = Self {
            machine: Vote::new(at(0), config),
            now_ms: 0,
            beat: HUNG.beat,
            members: vec![1; members],
            said: Vec::new(),
        };
        seat.machine.on_holder(at(0), Some(MASTER), &mut seat.said);
        seat.turn();
        seat
    }

    fn now(&self) -> Moment {
        at(self.now_ms)
    }

    fn facts(&self) -> Vec<Fact> {
        let fact = |(index, beat): (usize, &u64)| {
            let Voter { id, incarnation } = voter(index as u32 + 1);
            let (votes, beat) = (true, Some(*beat));
            Fact {
                id,
                incarnation,
                votes,
                beat,
            }
        };
        self.members.iter().enumerate().map(fact).collect()
    }

    fn turn(&mut self) {
        let (now, facts) = (self.now(), self.facts());
        self.machine.on_members(now, &facts, &mut self.said);
        self.machine.on_broker_beat(now, self.beat, &mut self.said);
        self.machine.on_tick(now, &mut self.said);
    }

    /// Turns whenever it is due, until `until_ms`; returns what was said on the way. The other members are well.
    fn run(&mut self, until_ms: u64) -> Vec<Action> {
        self.run_with(until_ms, |seat| {
            seat.members.iter_mut().for_each(|beat| *beat += 1);
        })
    }

    fn run_with(&mut self, until_ms: u64, mut each: impl FnMut(&mut Self)) -> Vec<Action> {
        loop {
            let due_ms = (self.machine.next_deadline().as_micros() / 1000).saturating_sub(START_MS);
            if due_ms > until_ms {
                self.now_ms = until_ms;
                return std::mem::take(&mut self.said);
            }
            self.now_ms = due_ms.max(self.now_ms);
            each(self);
            self.turn();
        }
    }

    /// A member votes.
    fn hears(&mut self, id: u32, hung: bool) {
        let now = self.now();
        self.machine.on_vote(now, voter(id), HUNG, hung, &mut self.said);
    }

    fn is_suspicious(&self) -> bool {
        self.machine.tally(self.now()).is_some()
    }
}

fn kills(said: &[Action]) -> usize {
    said.iter().filter(|action| matches!(action, Action::Kill(..))).count()
}

fn cleared(said: &[Action], wanted: Sign) -> bool {
    let suspect = MASTER;
    let sign = wanted;
    said.contains(&Action::Note(Event::Cleared { suspect, sign }))
}

#[test]
fn a_master_that_stands_still_and_does_not_answer_is_suspected_after_the_detection_time() {
    let mut seat = Seat::new(3);
    let said = seat.run(SPAN_MS - 1);
    assert_eq!(said, [Action::Ping, Action::Ping], "after one interval, and again");
    let said = seat.run(SPAN_MS);
    assert!(said.contains(&Action::AskForVotes(vec![WorkerId(1), WorkerId(3)], HUNG)));
    assert!(said.iter().any(|action| matches!(
        action,
        Action::Note(Event::Suspected { beat_still, unanswered, .. })
            if beat_still.as_secs() == 3 && unanswered.as_secs() == 2
    )));
    assert!(matches!(seat.machine.state(seat.now()), State::Suspected(MASTER, _)));
}

#[test]
fn an_overloaded_master_is_never_suspected() {
    let mut seat = Seat::new(1);
    let mut turns = 0;
    let said = seat.run_with(60_000, |seat| {
        turns += 1;
        // It turns every 2.5 s and answers nothing.
        seat.beat += u64::from(turns % 10 == 0);
    });
    assert!(said.iter().all(|action| *action == Action::Ping), "{said:?}");
}

#[test]
fn a_master_that_answers_is_not_suspected_whatever_its_counter_says() {
    let mut seat = Seat::new(1);
    let said = seat.run_with(60_000, |seat| seat.machine.on_answer(seat.now(), &mut seat.said));
    assert!(!said.iter().any(|action| matches!(action, Action::Note(_))), "{said:?}");
}

#[test]
fn a_majority_kills() {
    let mut seat = Seat::new(3);
    seat.run(SPAN_MS + 5);
    seat.hears(3, true);
    let said = seat.run(SPAN_MS + 10);
    let Some(Action::Kill(HUNG, tally)) = said.last() else {
        panic!("{said:?}")
    };
    assert_eq!((tally.votes, tally.of, tally.needed), (2, 3, 2));
    assert_eq!(kills(&seat.run(SPAN_MS + 4000)), 0, "it is not killed again at once");
}

#[test]
fn lower_numbers_kill_first() {
    let mut seat = Seat::new(3);
    seat.run(SPAN_MS + 5);
    seat.hears(1, true);
    let due = SPAN_MS + 5 + KILL_STAGGER.as_millis() as u64;
    assert_eq!(kills(&seat.run(due - 1)), 0);
    assert_eq!(kills(&seat.run(due)), 1);
}

#[test]
fn nobody_kills_without_a_fresh_reading() {
    let mut seat = Seat::new(2);
    seat.run(SPAN_MS - 1);
    seat.hears(1, true);
    let mut out = Vec::new();
    seat.machine.on_tick(at(SPAN_MS), &mut out);
    assert_eq!(kills(&out), 0, "{out:?}");
    assert_eq!(kills(&seat.run(SPAN_MS + 300)), 1);
}

#[test]
fn one_of_two_that_hears_nothing_does_not_kill_and_says_why() {
    let mut seat = Seat::new(2);
    let said = seat.run(60_000);
    assert_eq!(kills(&said), 0);
    let told: Vec<_> = said
        .iter()
        .filter_map(|action| match action {
            Action::Note(Event::NoQuorum { tally, .. }) => Some(tally),
            _ => None,
        })
        .collect();
    assert_eq!(told.len(), 1, "told once: {told:?}");
    assert_eq!((told[0].votes, told[0].of, told[0].needed), (1, 2, 2));
    assert_eq!(told[0].silent, [WorkerId(1)]);
}

#[test]
fn one_of_two_kills_when_the_other_is_stopped_too_after_two_patiences() {
    let mut seat = Seat::new(2);
    let patiences = 2 * PATIENCE.as_millis() as u64;
    assert_eq!(kills(&seat.run_with(SPAN_MS + patiences - 1, |_| {})), 0);
    let said = seat.run_with(SPAN_MS + patiences + 250, |_| {});
    let Some(Action::Kill(HUNG, tally)) = said.iter().find(|action| matches!(action, Action::Kill(..))) else {
        panic!("{said:?}")
    };
    assert_eq!((tally.votes, tally.of, &tally.excused), (1, 1, &vec![WorkerId(1)]));
}

#[test]
fn a_member_without_a_counter_always_counts() {
    let mut seat = Seat::new(1);
    seat.members.clear();
    let said = seat.run_with(60_000, |seat| {
        let mut facts = Seat::new(2).facts();
        facts[0].beat = None;
        seat.machine.on_members(seat.now(), &facts, &mut seat.said);
    });
    assert_eq!(kills(&said), 0);
}

#[test]
fn a_vote_falls_by_one_sign_of_life() {
    type Sees = fn(&mut Seat);
    let signs: [(Sign, Sees); 2] = [
        (Sign::Moved, |seat| {
            seat.beat += 1;
            seat.turn();
        }),
        (Sign::Answered, |seat| {
            seat.machine.on_answer(seat.now(), &mut seat.said);
        }),
    ];
    for (sign, see) in signs {
        let mut seat = Seat::new(3);
        seat.run(SPAN_MS + 5);
        see(&mut seat);
        seat.hears(1, true);
        seat.hears(3, true);
        let said = seat.run(SPAN_MS + 900);
        assert_eq!(kills(&said), 0);
        assert!(cleared(&said, sign));
        for id in [1, 3] {
            assert!(said.contains(&Action::Answer(WorkerId(id), HUNG, false)), "{said:?}");
        }
        assert!(!seat.is_suspicious());
    }
}

#[test]
fn a_vote_on_an_earlier_standstill_does_not_count() {
    let mut seat = Seat::new(3);
    seat.beat += 1;
    seat.run(SPAN_MS + 300);
    assert!(seat.is_suspicious());
    seat.hears(3, true);
    assert_eq!(kills(&seat.run(SPAN_MS + 900)), 0);
}

#[test]
fn a_vote_that_was_taken_back_or_has_lapsed_does_not_count() {
    let mut seat = Seat::new(3);
    seat.run(SPAN_MS - 1);
    seat.hears(3, true);
    seat.hears(3, false);
    assert_eq!(kills(&seat.run(SPAN_MS + 100)), 0);
    let mut seat = Seat::new(5);
    seat.run(SPAN_MS + 5);
    seat.hears(3, true);
    seat.run(SPAN_MS + 5 + SPAN_MS);
    seat.hears(4, true);
    assert_eq!(kills(&seat.run(SPAN_MS + SPAN_MS + 500)), 0);
    seat.hears(3, true);
    assert_eq!(kills(&seat.run(SPAN_MS + SPAN_MS + 600)), 1);
}

#[test]
fn who_is_no_present_voting_member_is_not_heard() {
    let mut seat = Seat::new(3);
    seat.run(SPAN_MS + 5);
    let (stranger, earlier) = (
        voter(9),
        Voter {
            incarnation: Incarnation(1),
            ..voter(3)
        },
    );
    for from in [stranger, earlier, voter(2)] {
        seat.machine.on_vote(seat.now(), from, HUNG, true, &mut seat.said);
        seat.machine.on_ballot(seat.now(), from, HUNG, &mut seat.said);
    }
    let said = seat.run(SPAN_MS + 500);
    assert_eq!(kills(&said), 0);
    assert_eq!(seat.machine.tally(seat.now()).unwrap().votes, 1);
}

#[test]
fn a_vote_goes_with_its_voter() {
    let mut seat = Seat::new(4);
    seat.run(SPAN_MS + 5);
    seat.hears(3, true);
    seat.members.pop();
    seat.members.pop();
    assert_eq!(
        kills(&seat.run(SPAN_MS + 500)),
        0,
        "w1 and w2 are left, and w1 is silent"
    );
}

#[test]
fn a_ballot_is_answered_by_own_evidence() {
    let mut seat = Seat::new(3);
    let asked = |seat: &mut Seat, ballot: Ballot| {
        seat.said.clear();
        let now = seat.now();
        seat.machine.on_ballot(now, voter(1), ballot, &mut seat.said);
        seat.said.clone()
    };
    let answer = |ballot, hung| [Action::Answer(WorkerId(1), ballot, hung)];
    assert_eq!(asked(&mut seat, HUNG), answer(HUNG, false));
    seat.run(SPAN_MS);
    assert_eq!(asked(&mut seat, HUNG), answer(HUNG, true));
    let other = Ballot { beat: 41, ..HUNG };
    assert_eq!(asked(&mut seat, other), answer(other, false));
}

#[test]
fn who_stood_still_himself_judges_anew() {
    let mut seat = Seat::new(3);
    seat.run(SPAN_MS + 5);
    assert!(seat.is_suspicious());
    seat.now_ms += 20_000;
    seat.hears(1, true);
    seat.hears(3, true);
    seat.turn();
    assert!(cleared(&seat.said, Sign::StoodStillMyself));
    let again = seat.now_ms + SPAN_MS;
    let said = seat.run(again - 1);
    assert_eq!(kills(&said), 0);
    assert!(!seat.is_suspicious());
    seat.run(again);
    assert!(seat.is_suspicious());
}

#[test]
fn another_master_is_judged_anew() {
    let mut seat = Seat::new(1);
    seat.run(SPAN_MS - 1);
    let next = Suspect {
        term: Term(18),
        ..MASTER
    };
    seat.machine.on_holder(seat.now(), Some(next), &mut seat.said);
    let said = seat.run(SPAN_MS - 1 + SPAN_MS - 1);
    assert_eq!(kills(&said), 0);
    seat.machine.on_holder(seat.now(), None, &mut seat.said);
    assert_eq!(seat.machine.state(seat.now()), State::NoMaster);
    assert_eq!(seat.run(60_000), []);
}

#[test]
fn who_does_not_vote_or_is_not_present_says_nothing() {
    let mut outsider = Seat::new(1);
    outsider.machine.on_ballot(at(1), voter(1), HUNG, &mut outsider.said);
    let mut silent = Seat::new(3);
    silent.machine.config.votes = false;
    silent.machine.on_ballot(at(1), voter(1), HUNG, &mut silent.said);
    for mut seat in [outsider, silent] {
        let said = seat.run(20_000);
        let quiet = |action: &Action| matches!(action, Action::Ping | Action::Note(Event::Suspected { .. }));
        assert!(said.iter().all(quiet), "{said:?}");
    }
}

#[test]
fn early_and_repeated_ticks_do_nothing() {
    let mut seat = Seat::new(3);
    for now_ms in (0..SPAN_MS + 500).step_by(7) {
        seat.now_ms = now_ms;
        seat.turn();
        let said = seat.said.len();
        seat.turn();
        assert_eq!(seat.said.len(), said, "at {now_ms} ms");
    }
    assert_eq!(seat.said.iter().filter(|action| **action == Action::Ping).count(), 3);
}

#[test]
fn a_short_detection_time_is_kept() {
    let mut seat = Seat::new(1);
    seat.machine.config.liveness = 1;
    seat.machine.on_holder(at(0), None, &mut seat.said);
    seat.machine.on_holder(at(0), Some(MASTER), &mut seat.said);
    seat.turn();
    seat.run(999);
    assert!(!seat.is_suspicious());
    seat.run(1000);
    assert!(seat.is_suspicious());
}
