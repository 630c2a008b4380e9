//! Whether a host's master hangs: suspicion, ballots and quorum (rules V1, V2, V4, A3). PURE.
//!
//! One instance in each worker's control thread. A master is suspected when its loop counter stands still *and* it
//! leaves a ping unanswered, both through `liveness × interval`. Who suspects asks all voting members, and the asking is
//! its own vote; each answers from what it sees itself. A vote names the process and the counter at which that stands
//! still, so one that was long under way tells of nothing that has happened since.
//!
//! Each turn of the loop: drain the sockets, tell of the members (if that matters), read the counter, then tick. What the machine says is
//! done before it or [`candidacy`](super::candidacy) is told anything else: a suspicion that is acted upon after its
//! suspect has gone is one against nobody. Nobody is killed but in a tick that follows upon a fresh reading.

mod ballot;
mod quorum;

use std::time::Duration;

use crate::protocol::limits::KILL_STAGGER;
use crate::protocol::mutation::{Rule, broken};
use crate::protocol::time::{Moment, earliest};

pub use ballot::{Action, Ballot, Config, Event, Sign, State, Suspect, Voter};
pub use quorum::{Fact, Tally};
use quorum::{Members, Question};

/// The master, as this worker watches it.
#[derive(Clone, Debug)]
struct Watched {
    suspect: Suspect,
    beat: u64,
    moved_at: Moment,
    /// The first ping that is unanswered.
    asked_at: Option<Moment>,
    ping_at: Moment,
    case: Option<Case>,
}

/// A suspicion: this worker's vote.
#[derive(Clone, Debug)]
struct Case {
    ballot: Ballot,
    since: Moment,
    ask_at: Moment,
    /// When this worker kills, while there is quorum.
    kill_at: Option<Moment>,
    not_before: Moment,
    told: Option<Tally>,
}

/// The machine.
#[derive(Debug)]
pub struct Vote {
    config: Config,
    members: Members,
    watched: Option<Watched>,
    tick_at: Moment,
    /// The counter has been read since the last tick.
    fresh: bool,
}

impl Vote {
    /// A worker that has just become a member.
    pub fn new(now: Moment, config: Config) -> Self {
        Self {
            config,
            members: Members::default(),
            watched: None,
            tick_at: now + config.interval / 4,
            fresh: false,
        }
    }

    /// Who holds the office, as record and lock show.
    pub fn on_holder(&mut self, now: Moment, holder: Option<Suspect>, out: &mut Vec<Action>) {
        self.wake(now, out);
        if self.watched.as_ref().map(|watched| watched.suspect) == holder {
            return;
        }
        self.close(Sign::Gone, out);
        self.watched = holder.map(|suspect| Watched {
            suspect,
            beat: 0,
            moved_at: now,
            asked_at: None,
            ping_at: now + self.ask_after(),
            case: None,
        });
    }

    /// The master's loop counter; 0 while it has none. Any change is a sign of life.
    pub fn on_broker_beat(&mut self, now: Moment, counter: u64, out: &mut Vec<Action>) {
        self.wake(now, out);
        self.fresh = true;
        let ping_at = now + self.ask_after();
        let Some(watched) = self.watched.as_mut().filter(|watched| watched.beat != counter) else {
            return;
        };
        (watched.beat, watched.moved_at) = (counter, now);
        if watched.asked_at.is_none() {
            watched.ping_at = ping_at;
        }
        self.sign_of_life(Sign::Moved, out);
    }

    /// The master itself has answered a ping, or said anything else.
    pub fn on_answer(&mut self, now: Moment, out: &mut Vec<Action>) {
        self.wake(now, out);
        let ping_at = now + self.ask_after();
        if let Some(watched) = &mut self.watched {
            (watched.asked_at, watched.ping_at) = (None, ping_at);
            self.sign_of_life(Sign::Answered, out);
        }
    }

    /// Who is present now, this worker among them. To be told before a ballot or vote is, and while
    /// [`needs_members`](Self::needs_members).
    pub fn on_members(&mut self, now: Moment, facts: &[Fact], out: &mut Vec<Action>) {
        self.wake(now, out);
        self.members.update(now, facts);
    }

    /// A member says that it votes "hung", and asks how this worker votes.
    pub fn on_ballot(&mut self, now: Moment, from: Voter, ballot: Ballot, out: &mut Vec<Action>) {
        self.on_vote(now, from, ballot, true, out);
        if self.may_vote() && self.members.is_voter(from) {
            out.push(Action::Answer(from.id, ballot, self.ballot() == Some(ballot)));
        }
    }

    /// A member says how it votes. Who is no present voting member is not heard.
    pub fn on_vote(&mut self, now: Moment, from: Voter, ballot: Ballot, hung: bool, out: &mut Vec<Action>) {
        self.wake(now, out);
        if from != self.config.me && self.members.hear(now, from, ballot, hung) && self.ballot().is_some() {
            // It may be the one that was missing.
            self.tick_at = self.tick_at.min(now);
        }
    }

    /// Time has passed. An early or repeated tick does nothing.
    pub fn on_tick(&mut self, now: Moment, out: &mut Vec<Action>) {
        self.wake(now, out);
        self.tick_at = now + self.config.interval / 4;
        let fresh = std::mem::take(&mut self.fresh);
        self.ping(now, out);
        self.suspect(now, out);
        if self.may_vote() {
            self.ask(now, out);
            if fresh {
                self.judge(now, out);
            }
        }
    }

    /// When to tick at the latest.
    pub fn next_deadline(&self) -> Moment {
        let watched = self.watched.as_ref();
        let own = watched.and_then(|watched| match &watched.case {
            // Who may not vote has nothing to do but watch.
            Some(case) => earliest(Some(case.ask_at), case.kill_at).filter(|_| self.may_vote()),
            None => self.suspect_at(watched),
        });
        let ping_at = watched.map(|watched| watched.ping_at);
        earliest(own, ping_at).map_or(self.tick_at, |at| at.min(self.tick_at))
    }

    /// How the votes stand, as far as this worker has heard; `None` while it suspects nobody.
    pub fn tally(&self, now: Moment) -> Option<Tally> {
        let watched = self.watched.as_ref()?;
        watched.case.as_ref().map(|case| self.count(now, watched, case))
    }

    /// Whether it matters who is present: from a ping on that is unanswered. To look is work that grows with the number
    /// of members, and each of them would do it.
    pub fn needs_members(&self) -> bool {
        let watched = self.watched.as_ref();
        watched.is_some_and(|watched| watched.asked_at.is_some() || watched.case.is_some())
    }

    /// What this worker thinks of the master.
    pub fn state(&self, now: Moment) -> State {
        match (&self.watched, self.tally(now)) {
            (None, _) => State::NoMaster,
            (Some(watched), None) => State::Trusted(watched.suspect),
            (Some(watched), Some(tally)) => State::Suspected(watched.suspect, tally),
        }
    }

    /// Detection time: for how long a master must show no sign of life.
    fn span(&self) -> Duration {
        self.config.interval * self.config.liveness.max(1)
    }

    /// How long a counter stands still before the master is asked, and how long an answer may take. It is half of a
    /// short detection time, so that the question does not lengthen it.
    fn ask_after(&self) -> Duration {
        self.config.interval.min(self.span() / 2)
    }

    fn suspect_at(&self, watched: &Watched) -> Option<Moment> {
        let unanswered = watched.asked_at? + self.ask_after();
        Some(unanswered.max(watched.moved_at + self.span()))
    }

    /// What this worker votes "hung" on.
    fn ballot(&self) -> Option<Ballot> {
        Some(self.watched.as_ref()?.case.as_ref()?.ballot)
    }

    fn may_vote(&self) -> bool {
        self.config.votes && self.members.is_voter(self.config.me)
    }

    /// Rule A3: who stood still himself restarts all his clocks, and his votes fall.
    fn wake(&mut self, now: Moment, out: &mut Vec<Action>) {
        if now.since(self.tick_at) <= self.config.interval || broken(Rule::A3) {
            return;
        }
        self.tick_at = now;
        self.members.restart_clocks(now);
        self.close(Sign::StoodStillMyself, out);
        let ping_at = now + self.ask_after();
        if let Some(watched) = &mut self.watched {
            (watched.moved_at, watched.asked_at, watched.ping_at) = (now, None, ping_at);
        }
    }

    /// Rule V1: a vote falls by a single sign of life.
    fn sign_of_life(&mut self, sign: Sign, out: &mut Vec<Action>) {
        if !broken(Rule::V1) {
            self.close(sign, out);
        }
    }

    /// Takes this worker's vote back, and says so to those who may count on it.
    fn close(&mut self, sign: Sign, out: &mut Vec<Action>) {
        let Some(watched) = &mut self.watched else {
            return;
        };
        let Some(case) = watched.case.take() else {
            return;
        };
        let suspect = watched.suspect;
        if self.may_vote() && sign != Sign::Gone {
            let others = self.members.other_voters(self.config.me);
            out.extend(others.map(|id| Action::Answer(id, case.ballot, false)));
        }
        out.push(Action::Note(Event::Cleared { suspect, sign }));
    }

    fn ping(&mut self, now: Moment, out: &mut Vec<Action>) {
        let again_at = now + self.config.interval;
        if let Some(watched) = self.watched.as_mut().filter(|watched| watched.ping_at <= now) {
            watched.asked_at.get_or_insert(now);
            watched.ping_at = again_at;
            out.push(Action::Ping);
        }
    }

    fn suspect(&mut self, now: Moment, out: &mut Vec<Action>) {
        let suspect_at = self.watched.as_ref().and_then(|watched| self.suspect_at(watched));
        let Some(watched) = &mut self.watched else {
            return;
        };
        if watched.case.is_some() || suspect_at.is_none_or(|at| now < at) {
            return;
        }
        watched.case = Some(Case {
            ballot: Ballot {
                suspect: watched.suspect,
                beat: watched.beat,
            },
            since: now,
            ask_at: now,
            kill_at: None,
            not_before: now,
            told: None,
        });
        out.push(Action::Note(Event::Suspected {
            suspect: watched.suspect,
            beat_still: now.since(watched.moved_at),
            unanswered: watched.asked_at.map_or(Duration::ZERO, |at| now.since(at)),
        }));
    }

    /// Asks each interval: messages may be lost, and who has just come has not been asked.
    fn ask(&mut self, now: Moment, out: &mut Vec<Action>) {
        let again_at = now + self.config.interval;
        let Some(case) = self.watched.as_mut().and_then(|watched| watched.case.as_mut()) else {
            return;
        };
        if case.ask_at <= now {
            case.ask_at = again_at;
            let others: Vec<_> = self.members.other_voters(self.config.me).collect();
            if !others.is_empty() {
                out.push(Action::AskForVotes(others, case.ballot));
            }
        }
    }

    fn judge(&mut self, now: Moment, out: &mut Vec<Action>) {
        let (interval, patience) = (self.config.interval, self.config.patience);
        let tally = self.tally(now);
        let Some(watched) = &mut self.watched else {
            return;
        };
        let (Some(case), Some(tally)) = (&mut watched.case, tally) else {
            return;
        };
        let suspect = watched.suspect;
        if !tally.has_quorum() {
            case.kill_at = None;
            let changed = case.told.as_ref().is_none_or(|told| !told.counts_as(&tally));
            if changed && now.since(case.since) >= interval {
                case.told = Some(tally.clone());
                out.push(Action::Note(Event::NoQuorum { suspect, tally }));
            }
            return;
        }
        let kill_at = case
            .kill_at
            .unwrap_or(now + KILL_STAGGER * tally.turn)
            .max(case.not_before);
        case.kill_at = Some(kill_at);
        if kill_at <= now {
            // Should it fail, another try follows, and another line in the log, but no flood of either.
            case.not_before = now + patience;
            case.kill_at = Some(case.not_before);
            out.push(Action::Kill(case.ballot, tally));
        }
    }

    fn count(&self, now: Moment, watched: &Watched, case: &Case) -> Tally {
        let count = self.members.count(&Question {
            now,
            me: self.config.me.id,
            ballot: case.ballot,
            asked_at: case.since,
            still_after: self.span(),
            silent_after: self.config.interval,
            excused_after: self.config.patience * 2,
        });
        Tally {
            beat_still: now.since(watched.moved_at),
            unanswered: watched.asked_at.map_or(Duration::ZERO, |at| now.since(at)),
            ..count
        }
    }
}

#[cfg(test)]
mod tests;
