//! A worker's control thread: its machines, and what its loop does around them.

use zhit::election::candidacy::{self, Candidacy};
use zhit::election::vote::{self, Action, Ballot, Config, Fact, Suspect, Vote, Voter};
use zhit::protocol::{Incarnation, Moment, Term, WorkerId};

use crate::host::Index;
use crate::plan::Plan;
use crate::world::{Event, Message, World};

/// What has come in since the last turn.
#[derive(Clone, Debug)]
pub(crate) enum Input {
    Message(Voter, Message),
    /// The master of this process answers.
    Answer(Index),
    HolderEnded(Index),
    Candidate {
        ok: bool,
    },
}

#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) me: Voter,
    pub(crate) vote: Vote,
    pub(crate) candidacy: Candidacy,
    pub(crate) alive: bool,
    pub(crate) stopped: bool,
    pub(crate) dir: u32,
    pub(crate) beat: u64,
    pub(crate) inbox: Vec<Input>,
    /// It has looked for its rank since it entered.
    pub(crate) ranked: bool,
    /// Whose pidfd and counter it has open.
    pub(crate) watched: Option<Index>,
    /// Whose pidfd it has opened since the vote began.
    pub(crate) charge: Option<Index>,
    pub(crate) heard: Term,
    pub(crate) check_at: Moment,
    pub(crate) turn_at: Moment,
    pub(crate) turned_at: Moment,
    pub(crate) candidate: Option<Index>,
}

impl Member {
    pub(crate) fn new(now: Moment, plan: &Plan, number: u32, incarnation: u64, dir: u32) -> Self {
        let me = Voter {
            id: WorkerId(number),
            incarnation: Incarnation(incarnation),
        };
        let config = Config {
            me,
            interval: plan.interval,
            liveness: plan.liveness,
            patience: plan.patience,
            votes: true,
        };
        Self {
            me,
            vote: Vote::new(now, config),
            candidacy: Candidacy::new(now, plan.interval),
            alive: true,
            stopped: false,
            dir,
            beat: 0,
            inbox: Vec::new(),
            ranked: false,
            watched: None,
            charge: None,
            heard: Term(0),
            check_at: now + plan.interval,
            turn_at: now,
            turned_at: now,
            candidate: None,
        }
    }
}

impl World {
    /// Present members of the directory, by number.
    pub(crate) fn present(&self) -> Vec<usize> {
        let here = |index: &usize| self.members[*index].alive && self.members[*index].dir == self.host.dir;
        let mut present: Vec<_> = (0..self.members.len()).filter(here).collect();
        present.sort_unstable_by_key(|index| self.members[*index].me.id);
        present
    }

    /// Something has come in for a member; it turns at once unless it stands still.
    pub(crate) fn hand(&mut self, index: usize, input: Input) {
        let member = &mut self.members[index];
        if !member.alive {
            return;
        }
        member.inbox.push(input);
        if !member.stopped {
            self.turn_member(index);
        }
    }

    pub(crate) fn turn_member(&mut self, index: usize) {
        self.observer
            .member_turns(self.now, index, self.members[index].turned_at, &self.plan);
        let now = self.now;
        let member = &mut self.members[index];
        member.beat += 1;
        member.turned_at = now;
        let inbox = std::mem::take(&mut member.inbox);
        for input in inbox {
            self.take_input(index, &input);
        }
        self.check_presence(index);
        self.tell_members(index);
        self.read_beat(index);
        // What a machine says is done before it is told anything else.
        let (mut votes, mut looks) = (Vec::new(), Vec::new());
        self.members[index].vote.on_tick(now, &mut votes);
        self.do_votes(index, votes);
        self.members[index].candidacy.on_tick(now, &mut looks);
        self.do_looks(index, looks);
        self.schedule_member(index);
    }

    fn schedule_member(&mut self, index: usize) {
        let (now, longest) = (self.now, self.plan.interval / 4);
        let member = &mut self.members[index];
        let due = member.vote.next_deadline().min(member.candidacy.next_deadline());
        member.turn_at = due.min(now + longest).max(now + std::time::Duration::from_micros(1));
        let at = member.turn_at;
        self.push(at, Event::MemberTurn(index));
    }

    fn take_input(&mut self, index: usize, input: &Input) {
        let now = self.now;
        if matches!(input, Input::Message(..)) {
            self.tell_voters(index);
        }
        let member = &mut self.members[index];
        let (mut votes, mut looks) = (Vec::new(), Vec::new());
        match *input {
            Input::Message(from, Message::Ask(ballot)) => {
                self.observer.heard(now, index, from);
                member.vote.on_ballot(now, from, ballot, &mut votes);
            }
            Input::Message(from, Message::Vote(ballot, hung)) => {
                self.observer.heard(now, index, from);
                member.vote.on_vote(now, from, ballot, hung, &mut votes);
            }
            Input::Answer(process) => {
                if member.watched == Some(process) {
                    member.vote.on_answer(now, &mut votes);
                }
            }
            Input::HolderEnded(process) => {
                if member.watched == Some(process) {
                    member.watched = None;
                    self.tell_rank(index);
                    let member = &mut self.members[index];
                    member.candidacy.on_holder_ended(now, &mut looks);
                }
            }
            Input::Candidate { ok } => {
                member.candidate = None;
                member.candidacy.on_candidate_exited(now, ok, &mut looks);
            }
        }
        self.do_looks(index, looks);
        self.do_votes(index, votes);
    }

    /// Rule A5: a member whose directory was wiped enters anew before it votes further.
    fn check_presence(&mut self, index: usize) {
        let now = self.now;
        if now < self.members[index].check_at {
            return;
        }
        self.members[index].check_at = now + self.plan.interval;
        if self.members[index].dir == self.host.dir {
            return;
        }
        let number = self.free_number();
        self.made += 1;
        let old = &self.members[index];
        let mut new = Member::new(now, &self.plan, number, self.made, self.host.dir);
        (new.heard, new.beat) = (old.heard, old.beat);
        self.trace(|world| format!("{} enters anew as {}", world.members[index].me.id, WorkerId(number)));
        self.members[index] = new;
        self.observer.restart(now, index);
    }

    pub(crate) fn free_number(&self) -> u32 {
        let taken: Vec<_> = self
            .present()
            .into_iter()
            .map(|index| self.members[index].me.id.0)
            .collect();
        (1..=taken.len() as u32 + 1)
            .find(|number| !taken.contains(number))
            .expect("one more number than members")
    }

    /// A worker looks at the others only when that matters: what it knows at other times may be as old as it likes.
    fn tell_members(&mut self, index: usize) {
        if self.members[index].vote.needs_members() {
            self.tell_voters(index);
        }
        let member = &self.members[index];
        if !member.ranked || member.candidacy.needs_rank() {
            self.tell_rank(index);
        }
    }

    fn tell_rank(&mut self, index: usize) {
        let rank = self.present().iter().position(|other| *other == index);
        let now = self.now;
        let member = &mut self.members[index];
        member.ranked = true;
        member.candidacy.on_members(now, rank.map(|rank| rank as u32));
    }

    fn tell_voters(&mut self, index: usize) {
        let fact = |other: usize| {
            let member = &self.members[other];
            Fact {
                id: member.me.id,
                incarnation: member.me.incarnation,
                votes: true,
                beat: Some(member.beat),
            }
        };
        let facts: Vec<_> = self.present().into_iter().map(fact).collect();
        let mut out = Vec::new();
        let now = self.now;
        self.members[index].vote.on_members(now, &facts, &mut out);
        self.do_votes(index, out);
    }

    fn read_beat(&mut self, index: usize) {
        let now = self.now;
        let Some(watched) = self.members[index].watched else {
            return;
        };
        let beat = self.host.processes[watched].beat;
        self.observer.read(now, index, watched, beat);
        let mut out = Vec::new();
        self.members[index].vote.on_broker_beat(now, beat, &mut out);
        self.do_votes(index, out);
    }

    fn do_looks(&mut self, index: usize, mut todo: Vec<candidacy::Action>) {
        let now = self.now;
        while let Some(action) = todo.pop() {
            match action {
                candidacy::Action::Look => {
                    self.see_holder(index);
                    // Its path may lead into a new directory, where it is no member yet.
                    let seen = self.host.look();
                    self.members[index].candidacy.on_record(now, seen, &mut todo);
                }
                candidacy::Action::StartCandidate => self.start_candidate(index),
                candidacy::Action::EndCandidate => {
                    if let Some(candidate) = self.members[index].candidate {
                        self.trace(|world| format!("{} ends its candidate", world.members[index].me.id));
                        self.end_process(candidate);
                    }
                }
            }
        }
    }

    fn see_holder(&mut self, index: usize) {
        let (now, holder) = (self.now, self.host.holder());
        let watched = holder.map(|(process, _)| process);
        let member = &mut self.members[index];
        if let Some((_, suspect)) = holder {
            member.heard = member.heard.max(suspect.term);
        }
        if member.watched != watched {
            member.watched = watched;
            self.observer.restart(now, index);
        }
        let mut out = Vec::new();
        let member = &mut self.members[index];
        member.vote.on_holder(now, holder.map(|(_, suspect)| suspect), &mut out);
        self.do_votes(index, out);
    }

    fn do_votes(&mut self, index: usize, actions: Vec<Action>) {
        let me = self.members[index].me;
        for action in actions {
            match action {
                Action::Ping => self.ping(index),
                Action::AskForVotes(others, ballot) => {
                    self.cast(index, ballot);
                    self.observer.asks(self.now, index, ballot);
                    for other in others {
                        self.send(me, other, Message::Ask(ballot));
                    }
                }
                Action::Answer(other, ballot, hung) => {
                    if hung {
                        self.cast(index, ballot);
                    }
                    self.send(me, other, Message::Vote(ballot, hung));
                }
                Action::Kill(ballot, tally) => self.decide_kill(index, ballot, &tally),
                Action::Note(event) => self.note(index, &event),
            }
        }
    }

    fn cast(&mut self, index: usize, ballot: Ballot) {
        let broken = self
            .observer
            .casts(self.now, index, self.members[index].me, ballot, &self.plan);
        self.fail_if(broken);
    }

    fn note(&mut self, index: usize, event: &vote::Event) {
        self.trace(|world| format!("{} {event:?}", world.members[index].me.id));
        match event {
            vote::Event::Suspected { suspect, .. } => {
                self.count("suspected");
                self.members[index].charge = self.host.find(*suspect);
            }
            vote::Event::Cleared { .. } => {
                self.count("cleared");
                self.members[index].charge = None;
            }
            vote::Event::NoQuorum { .. } => self.count("no quorum"),
        }
    }

    /// Whom a member has suspected, and holds by a pidfd.
    pub(crate) fn charged(&self, index: usize, suspect: Suspect) -> Option<Index> {
        self.members[index]
            .charge
            .filter(|charge| self.host.processes[*charge].is(suspect))
    }
}
