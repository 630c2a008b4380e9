//! Sees everything, and says which promise a step breaks.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use zhit::election::vote::{Ballot, Voter};
use zhit::protocol::{Moment, Term};

use crate::host::Index;
use crate::plan::Plan;
use crate::world::World;

/// A promise that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Broken {
    pub(crate) invariant: &'static str,
    pub(crate) detail: String,
}

impl Broken {
    pub(crate) const fn new(invariant: &'static str, detail: String) -> Self {
        Self { invariant, detail }
    }
}

pub(crate) type Verdict = Result<(), Broken>;

fn demand(holds: bool, invariant: &'static str, detail: impl FnOnce() -> String) -> Verdict {
    if holds {
        Ok(())
    } else {
        Err(Broken::new(invariant, detail()))
    }
}

/// Most candidates that one worker may start within a second: 15, 30, 60, 120, 240 and 480 ms apart, and one to spare.
const STARTS_MAX: usize = 8;

/// What one member has seen and said.
#[derive(Debug, Default)]
struct Seen {
    /// Since when its loop turns without a gap (rule A3).
    awake_since: Moment,
    /// The counter as it last read it, of which process, and since when it reads the same.
    read: Option<(Index, u64)>,
    same_since: Moment,
    /// What it asks the others about, since when.
    asks: Option<(Ballot, Moment)>,
    heard: BTreeMap<Voter, Moment>,
    starts: Vec<Moment>,
}

#[derive(Debug, Default)]
pub(crate) struct Observer {
    seen: BTreeMap<usize, Seen>,
    cast: BTreeSet<(Voter, Ballot)>,
    last: Option<(Term, u32)>,
}

impl Observer {
    fn of(&mut self, member: usize) -> &mut Seen {
        self.seen.entry(member).or_default()
    }

    /// A member watches another process, or is a new member.
    pub(crate) fn restart(&mut self, now: Moment, member: usize) {
        let seen = self.of(member);
        (seen.read, seen.same_since, seen.asks) = (None, now, None);
    }

    pub(crate) fn member_turns(&mut self, now: Moment, member: usize, turned_at: Moment, plan: &Plan) {
        let gap = now.since(turned_at);
        let seen = self.of(member);
        if gap > plan.interval + plan.interval / 4 {
            seen.awake_since = now;
            seen.asks = None;
        }
    }

    pub(crate) fn read(&mut self, now: Moment, member: usize, process: Index, beat: u64) {
        let seen = self.of(member);
        if seen.read.is_some_and(|read| read != (process, beat)) || (seen.read.is_none() && beat != 0) {
            seen.same_since = now;
        }
        seen.read = Some((process, beat));
    }

    pub(crate) fn heard(&mut self, now: Moment, member: usize, from: Voter) {
        self.of(member).heard.insert(from, now);
    }

    pub(crate) fn asks(&mut self, now: Moment, member: usize, ballot: Ballot) {
        let seen = self.of(member);
        if seen.asks.is_none_or(|(asked, _)| asked != ballot) {
            seen.asks = Some((ballot, now));
        }
    }

    /// A member votes "hung". It must have seen what it says for the whole detection time.
    pub(crate) fn casts(&mut self, now: Moment, member: usize, me: Voter, ballot: Ballot, plan: &Plan) -> Verdict {
        self.cast.insert((me, ballot));
        self.may_judge(now, member, ballot, plan)
    }

    fn may_judge(&self, now: Moment, member: usize, ballot: Ballot, plan: &Plan) -> Verdict {
        let span = plan.span();
        let Some(seen) = self.seen.get(&member) else {
            return Ok(());
        };
        let (awake, same) = (now.since(seen.awake_since), now.since(seen.same_since));
        demand(
            seen.read.is_none_or(|(_, beat)| beat == ballot.beat),
            "V1: a vote falls by a sign of life",
            || format!("member {member} judges by {ballot:?} and has read {:?}", seen.read),
        )?;
        demand(same >= span, "V4: whose counter moves is not suspected", || {
            format!("member {member} judges by {ballot:?}, which has stood still for {same:?} only")
        })?;
        demand(awake >= span, "A3: who stood still himself judges anew", || {
            format!("member {member} judges by {ballot:?} and has been awake for {awake:?} only")
        })
    }

    /// A member decides to kill.
    pub(crate) fn kill(&self, world: &World, killer: usize, ballot: Ballot, present: &[usize]) -> Verdict {
        let (now, plan) = (world.now, &world.plan);
        self.may_judge(now, killer, ballot, plan)?;
        demand(present.contains(&killer), "V1: only members vote", || {
            format!("member {killer} is not present")
        })?;
        let seen = &self.seen[&killer];
        let asked_at = seen
            .asks
            .filter(|(asked, _)| *asked == ballot)
            .map_or(now, |(_, at)| at);
        let (mut votes, mut of) = (0, 0);
        for index in present {
            let member = &world.members[*index];
            let heard_at = seen.heard.get(&member.me).copied().unwrap_or_default().max(asked_at);
            let silent = now.since(heard_at) >= plan.patience * 2;
            let stands_still = now.since(member.turned_at) >= plan.span();
            if *index != killer && silent && stands_still {
                continue;
            }
            of += 1;
            votes += u32::from(*index == killer || self.cast.contains(&(member.me, ballot)));
        }
        demand(votes > of / 2, "V2: nobody kills without quorum", || {
            format!("member {killer} kills {ballot:?}: {votes} of {of}")
        })
    }

    /// A master begins its term.
    pub(crate) fn elected(&mut self, term: Term, heard: Term, stored: Term, unix: u64, dir: u32) -> Verdict {
        let last = self.last.replace((term, dir));
        let known = heard.max(stored);
        demand(term > known && term.0 >= unix, "E2: terms grow", || {
            format!("term {term} begins, and {known} was known")
        })?;
        // A directory that is wiped twice within a second, before anybody has heard of the first term, may see the same
        // number again: terms are compared within one directory (rule O5 tells directories apart).
        demand(
            last.is_none_or(|(last, of)| term > last || dir != of),
            "E2: a term has one holder",
            || format!("term {term} begins after {last:?}"),
        )
    }

    /// A member starts a candidate.
    pub(crate) fn starts(&mut self, now: Moment, member: usize) -> Verdict {
        let starts = &mut self.of(member).starts;
        starts.retain(|start| now.since(*start) < Duration::from_secs(1));
        starts.push(now);
        let count = starts.len();
        demand(count <= STARTS_MAX, "E1: candidates are no flood", || {
            format!("member {member} has started {count} within a second")
        })
    }
}
