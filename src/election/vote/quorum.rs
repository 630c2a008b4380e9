//! Who votes, who has said what, and whether it is enough (rule V2). The only place where a quorum is computed.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Ballot, Voter};
use crate::protocol::ids::{Incarnation, WorkerId};
use crate::protocol::mutation::{Rule, broken};
use crate::protocol::time::Moment;

/// A present member, as its lock and its mapped file show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fact {
    /// Its number.
    pub id: WorkerId,
    /// Its incarnation.
    pub incarnation: Incarnation,
    /// Whether it has declared a vote (rule O7).
    pub votes: bool,
    /// The loop counter of its control thread. One that cannot be read proves no standstill: its member always counts.
    pub beat: Option<u64>,
}

/// How the votes stand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many vote "hung".
    pub votes: u32,
    /// How many count.
    pub of: u32,
    /// How many must vote "hung": a majority of those who count.
    pub needed: u32,
    /// Who counts and has not been heard of late.
    pub silent: Vec<WorkerId>,
    /// Who votes but does not count, since it is silent and stands still (rule V2).
    pub excused: Vec<WorkerId>,
    /// This worker's place among those who vote "hung", from 0.
    pub turn: u32,
    /// For how long the master's counter has stood still.
    pub beat_still: Duration,
    /// For how long a ping has been unanswered.
    pub unanswered: Duration,
}

impl Tally {
    /// Whether enough vote "hung".
    pub const fn has_quorum(&self) -> bool {
        self.votes >= self.needed
    }

    /// Whether the other tally says the same, but for the time that has passed.
    pub(super) fn counts_as(&self, other: &Self) -> bool {
        let counts = |tally: &Self| (tally.votes, tally.of, tally.needed);
        counts(self) == counts(other) && (&self.silent, &self.excused) == (&other.silent, &other.excused)
    }
}

/// What is counted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Question {
    pub(super) now: Moment,
    /// Who counts; its own vote is "hung".
    pub(super) me: WorkerId,
    pub(super) ballot: Ballot,
    /// Since when the others have been asked.
    pub(super) asked_at: Moment,
    /// A counter that has not moved for so long stands still; a vote that was not repeated for so long has lapsed.
    pub(super) still_after: Duration,
    /// Who has not been heard for so long is silent.
    pub(super) silent_after: Duration,
    /// Who has been silent for so long, and stands still, does not count.
    pub(super) excused_after: Duration,
}

#[derive(Clone, Copy, Debug)]
struct Member {
    fact: Fact,
    /// When its counter was last seen to move.
    moved_at: Moment,
    /// When it last said something about any vote.
    heard_at: Option<Moment>,
    /// What it last voted "hung" on, and when.
    hung: Option<(Ballot, Moment)>,
}

/// The present members.
#[derive(Debug, Default)]
pub(super) struct Members {
    all: BTreeMap<WorkerId, Member>,
}

impl Members {
    /// Takes what is seen of the members. Who is new, or another under an old number, has said nothing yet.
    pub(super) fn update(&mut self, now: Moment, facts: &[Fact]) {
        let present: BTreeMap<_, _> = facts.iter().map(|fact| (fact.id, fact.incarnation)).collect();
        self.all
            .retain(|id, member| present.get(id) == Some(&member.fact.incarnation));
        for fact in facts {
            let member = self.all.entry(fact.id).or_insert(Member {
                fact: *fact,
                moved_at: now,
                heard_at: None,
                hung: None,
            });
            if member.fact.beat != fact.beat {
                member.moved_at = now;
            }
            member.fact = *fact;
        }
    }

    /// Rule A3: what was seen and heard before is no evidence any more.
    pub(super) fn restart_clocks(&mut self, now: Moment) {
        for member in self.all.values_mut() {
            member.moved_at = now;
            member.heard_at = None;
            member.hung = None;
        }
    }

    /// Whether this very process is present and votes.
    pub(super) fn is_voter(&self, voter: Voter) -> bool {
        self.all
            .get(&voter.id)
            .is_some_and(|member| member.fact.votes && member.fact.incarnation == voter.incarnation)
    }

    /// All who vote, but one.
    pub(super) fn other_voters(&self, me: Voter) -> impl Iterator<Item = WorkerId> {
        let voters = self.all.values().filter(|member| member.fact.votes);
        voters.map(|member| member.fact.id).filter(move |id| *id != me.id)
    }

    /// Takes a vote; returns whether its voter is heard.
    pub(super) fn hear(&mut self, now: Moment, from: Voter, ballot: Ballot, hung: bool) -> bool {
        if !self.is_voter(from) {
            return false;
        }
        if let Some(member) = self.all.get_mut(&from.id) {
            member.heard_at = Some(now);
            if hung {
                member.hung = Some((ballot, now));
            } else if member.hung.is_some_and(|(hung_on, _)| hung_on == ballot) {
                member.hung = None;
            }
        }
        true
    }

    /// Rule V2: a majority of the present voting members, without those who have not answered for two patiences and
    /// whose own counter stands still. These count neither for nor against.
    pub(super) fn count(&self, question: &Question) -> Tally {
        let mut tally = Tally::default();
        for member in self.all.values().filter(|member| member.fact.votes) {
            let id = member.fact.id;
            if id == question.me {
                tally.of += 1;
                tally.turn = tally.votes;
                tally.votes += 1;
                continue;
            }
            let heard_at = member.heard_at.unwrap_or_default().max(question.asked_at);
            let silence = question.now.since(heard_at);
            let stands_still =
                member.fact.beat.is_some() && question.now.since(member.moved_at) >= question.still_after;
            if silence >= question.excused_after && (stands_still || broken(Rule::V2)) {
                tally.excused.push(id);
                continue;
            }
            tally.of += 1;
            let has_voted = |(ballot, at): (Ballot, Moment)| {
                ballot == question.ballot && question.now.since(at) < question.still_after
            };
            if member.hung.is_some_and(has_voted) {
                tally.votes += 1;
            } else if silence >= question.silent_after {
                tally.silent.push(id);
            }
        }
        tally.needed = tally.of / 2 + 1;
        tally
    }
}
