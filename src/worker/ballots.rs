//! A worker's votes on its host's broker (rules V1 to V4): the loop around `election::vote`.
//!
//! Members speak to each other through a ROUTER of each control thread, in `members/`. A connection to another is made
//! when there is first something to say to it, which is when the broker hangs.

use std::collections::BTreeMap;
use std::time::Duration;

use tracing::{debug, error, info, warn};

use crate::clock;
use crate::election::verdict::{Outcome, Trail, Watch};
use crate::election::vote::{Action, Ballot, Config, Event, Fact, Tally, Vote, Voter};
use crate::election::{holder, kept};
use crate::mapped::CountersView;
use crate::net::{Context, Dealer, Interest, NetError, Poll, Received, Router, Sent};
use crate::options::Timing;
use crate::protocol::ids::{Incarnation, SlotId, WorkerId};
use crate::protocol::limits::MESSAGES_PER_TURN_MAX;
use crate::protocol::message::{self, Suspect};
use crate::protocol::time::Moment;
use crate::protocol::{Message, Peer};
use crate::runtime::{self, MemberSeen, RuntimeDir};

/// A connection to another member, and what waits until it stands.
#[derive(Debug)]
struct Line {
    incarnation: Incarnation,
    dealer: Dealer,
    unsent: Vec<Message>,
}

/// A member's loop counters, while it is present.
#[derive(Debug)]
struct Seen {
    facts: MemberSeen,
    beats: Option<CountersView>,
}

/// The votes of one worker.
#[derive(Debug)]
pub(super) struct Ballots {
    context: Context,
    dir: RuntimeDir,
    host: String,
    timing: Timing,
    me: Voter,
    machine: Vote,
    router: Router,
    lines: BTreeMap<WorkerId, Line>,
    members: BTreeMap<WorkerId, Seen>,
    listed_at: Option<Moment>,
    beat: Option<CountersView>,
    holder: Option<Suspect>,
    /// Held from the beginning of the suspicion.
    watch: Option<Watch>,
    actions: Vec<Action>,
    ping: bool,
}

impl Ballots {
    /// Begins to listen to other members.
    pub(super) fn new(
        context: &Context,
        dir: RuntimeDir,
        host: String,
        timing: Timing,
        me: Voter,
    ) -> Result<Self, NetError> {
        let mut router = Router::new(context)?;
        router.bind(&dir.slot_socket(control_of(me.id)))?;
        let config = Config {
            me,
            interval: timing.interval,
            liveness: timing.liveness,
            patience: timing.patience,
            votes: true,
        };
        Ok(Self {
            context: context.clone(),
            dir,
            host,
            timing,
            me,
            machine: Vote::new(clock::now(), config),
            router,
            lines: BTreeMap::new(),
            members: BTreeMap::new(),
            listed_at: None,
            beat: None,
            holder: None,
            watch: None,
            actions: Vec::new(),
            ping: false,
        })
    }

    /// Adds what is to be waited for.
    pub(super) fn poll<'a>(&'a self, poll: &mut Poll<'a>) {
        poll.socket(&self.router, Interest::READ);
        for line in self.lines.values() {
            let write = Interest::WRITE.when(!line.unsent.is_empty());
            poll.socket(&line.dealer, Interest::READ | write);
        }
    }

    /// When to come back at the latest.
    pub(super) fn next_deadline(&self) -> Moment {
        self.machine.next_deadline()
    }

    /// The broker itself has said something.
    pub(super) fn on_answer(&mut self) {
        self.machine.on_answer(clock::now(), &mut self.actions);
    }

    /// One turn: drains the sockets, looks at holder, members and counters, then judges (rule A3). Returns whether the
    /// broker is to be pinged now.
    pub(super) fn turn(&mut self, holder: Option<Suspect>) -> Result<bool, NetError> {
        // What one step asks for is done before the next: it may be about somebody who is gone by then.
        self.receive()?;
        self.perform()?;
        self.watch_holder(holder);
        self.perform()?;
        if self.machine.tally(clock::now()).is_some() {
            self.list_members(Duration::ZERO);
        } else if self.machine.needs_members() {
            self.list_members(self.timing.interval);
        }
        self.read_beat();
        self.perform()?;
        self.machine.on_tick(clock::now(), &mut self.actions);
        self.perform()?;
        self.flush()?;
        Ok(std::mem::take(&mut self.ping))
    }

    fn receive(&mut self) -> Result<(), NetError> {
        for _ in 0..MESSAGES_PER_TURN_MAX {
            let Some((peer, received)) = self.router.recv()? else {
                break;
            };
            if let (Some(peer), Received::Frames(frames)) = (peer, received)
                && let Ok(message) = Message::decode(&frames.header, frames.body)
            {
                self.on_message(peer, &message)?;
            }
        }
        // Nothing is said to a member that asks; what comes is thrown away.
        for line in self.lines.values_mut() {
            while line.dealer.recv()?.is_some() {}
        }
        Ok(())
    }

    fn on_message(&mut self, from: Peer, message: &Message) -> Result<(), NetError> {
        let now = clock::now();
        if matches!(message, Message::Ballot(_) | Message::Vote(_)) {
            self.list_members(self.timing.interval);
        }
        match message {
            Message::Ballot(said) => {
                let voter = voter(said.member, said.incarnation);
                self.machine
                    .on_ballot(now, voter, ballot(said.suspect, said.beat), &mut self.actions);
            }
            Message::Vote(said) => {
                let voter = voter(said.member, said.incarnation);
                let ballot = ballot(said.suspect, said.beat);
                self.machine.on_vote(now, voter, ballot, said.hung, &mut self.actions);
            }
            // Whoever diagnoses: how does this member vote?
            Message::Ping { .. } => {
                if let Some(answer) = self.opinion(now) {
                    let _ = self.router.send(from, answer.encode())?;
                }
            }
            // Nothing else is said between members.
            _ => {}
        }
        Ok(())
    }

    /// How this member would vote now.
    fn opinion(&self, now: Moment) -> Option<Message> {
        let suspect = self.holder?;
        let beat = self.beat.as_ref().and_then(|beat| beat.get(0)).unwrap_or(0);
        let hung = self.machine.tally(now).is_some();
        Some(self.vote(ballot(suspect, beat), hung))
    }

    fn watch_holder(&mut self, holder: Option<Suspect>) {
        if self.holder != holder {
            self.holder = holder;
            self.beat = None;
            self.watch = None;
            self.machine.on_holder(clock::now(), holder, &mut self.actions);
        }
    }

    /// Who is present, unless that was looked at less than so long ago.
    fn list_members(&mut self, age: Duration) {
        let now = clock::now();
        if self.listed_at.is_some_and(|at| now.since(at) < age) {
            return;
        }
        self.listed_at = Some(now);
        let listed = match runtime::list(&self.dir) {
            Ok(listed) => listed,
            Err(error) => return warn!(%error, "nobody knows who is present"),
        };
        let present: BTreeMap<_, _> = listed
            .into_iter()
            .filter(|member| member.present)
            .map(|member| (member.id, member))
            .collect();
        self.members.retain(|id, seen| present.get(id) == Some(&seen.facts));
        for (id, facts) in present {
            let seen = self.members.entry(id).or_insert_with(|| Seen { facts, beats: None });
            if seen.beats.is_none() {
                // One that has just entered has none yet; another language's never has.
                seen.beats = CountersView::open(&self.dir, &self.dir.member_beat(id)).ok().flatten();
            }
        }
        let members = &self.members;
        self.lines.retain(|id, line| {
            members
                .get(id)
                .is_some_and(|seen| seen.facts.incarnation == line.incarnation)
        });
        let facts: Vec<Fact> = members
            .values()
            .map(|seen| Fact {
                id: seen.facts.id,
                incarnation: seen.facts.incarnation,
                votes: seen.facts.votes,
                beat: seen.beats.as_ref().and_then(|beats| beats.get(0)),
            })
            .collect();
        self.machine.on_members(now, &facts, &mut self.actions);
    }

    fn read_beat(&mut self) {
        if self.beat.is_none() {
            self.beat = CountersView::open(&self.dir, self.dir.broker_beat()).ok().flatten();
        }
        let count = self.beat.as_ref().and_then(|beat| beat.get(0)).unwrap_or(0);
        self.machine.on_broker_beat(clock::now(), count, &mut self.actions);
    }

    fn perform(&mut self) -> Result<(), NetError> {
        while !self.actions.is_empty() {
            for action in std::mem::take(&mut self.actions) {
                match action {
                    Action::Ping => self.ping = true,
                    Action::AskForVotes(members, ballot) => {
                        let asked = Message::Ballot(message::Ballot {
                            member: self.me.id,
                            incarnation: self.me.incarnation,
                            suspect: ballot.suspect,
                            beat: ballot.beat,
                        });
                        for member in members {
                            self.say(member, asked.clone())?;
                        }
                    }
                    Action::Answer(member, ballot, hung) => self.say(member, self.vote(ballot, hung))?,
                    Action::Kill(ballot, tally) => self.kill(ballot, tally),
                    Action::Note(event) => self.note(event),
                }
            }
        }
        Ok(())
    }

    fn vote(&self, ballot: Ballot, hung: bool) -> Message {
        Message::Vote(message::Vote {
            member: self.me.id,
            incarnation: self.me.incarnation,
            suspect: ballot.suspect,
            beat: ballot.beat,
            hung,
        })
    }

    /// Sends to another member, now or as soon as the connection stands. Only the latest of a kind waits.
    fn say(&mut self, to: WorkerId, message: Message) -> Result<(), NetError> {
        let Some(seen) = self.members.get(&to) else {
            return Ok(());
        };
        let incarnation = seen.facts.incarnation;
        if !self.lines.contains_key(&to) {
            let mut dealer = Dealer::new(&self.context)?;
            dealer.connect(&self.dir.slot_socket(control_of(to)))?;
            let unsent = Vec::new();
            self.lines.insert(
                to,
                Line {
                    incarnation,
                    dealer,
                    unsent,
                },
            );
        }
        if let Some(line) = self.lines.get_mut(&to) {
            let command = message.head().command;
            line.unsent.retain(|waiting| waiting.head().command != command);
            line.unsent.push(message);
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), NetError> {
        for line in self.lines.values_mut() {
            while let Some(message) = line.unsent.first() {
                if line.dealer.send(message.encode())? == Sent::NoRoute {
                    break;
                }
                line.unsent.remove(0);
            }
        }
        Ok(())
    }

    fn note(&mut self, event: Event) {
        match event {
            Event::Suspected {
                suspect,
                beat_still,
                unanswered,
            } => {
                self.watch = Watch::open(suspect.pid, suspect.start_ticks);
                warn!(
                    "the broker (pid {}, term {}) seems to hang: its loop has stood still for {beat_still:.1?}, and a ping \
                     is unanswered for {unanswered:.1?}; asking the other members",
                    suspect.pid, suspect.term
                );
            }
            Event::Cleared { suspect, sign } => {
                self.watch = None;
                let (pid, term) = (suspect.pid, suspect.term);
                info!("the broker (pid {pid}, term {term}) {sign}");
            }
            Event::NoQuorum { suspect, tally } => {
                let trail = self.trail(suspect, tally, Outcome::NoQuorum);
                warn!("{trail}");
                self.keep(clock::now(), &trail);
            }
        }
    }

    /// There is quorum.
    fn kill(&mut self, ballot: Ballot, tally: Tally) {
        let suspect = ballot.suspect;
        let Some(watch) = self.watch.take() else {
            // It ended before it could be held, or nobody lets it be held.
            return debug!(?suspect, "there is nobody to kill");
        };
        let mut trail = self.trail(suspect, tally, Outcome::Killed(None));
        trail.autopsy = watch.autopsy();
        let begun_at = clock::now();
        let is_still = || self.beat.as_ref().and_then(|beat| beat.get(0)).unwrap_or(0) == ballot.beat;
        let killed = holder::evidence(&self.dir).and_then(|evidence| Ok(watch.kill(&evidence, is_still)?));
        match killed {
            // Another member was faster, and keeps the trail.
            Ok(killed) if killed.already => debug!("{trail}"),
            Ok(_) => {
                warn!("{trail}");
                self.keep(begun_at, &trail);
            }
            Err(why) => {
                trail.outcome = Outcome::Refused(why.to_string());
                error!("{trail}");
                self.keep(begun_at, &trail);
                // The next try needs it.
                self.watch = Some(watch);
            }
        }
    }

    fn trail(&self, suspect: Suspect, tally: Tally, outcome: Outcome) -> Trail {
        Trail {
            host: self.host.clone(),
            suspect,
            tally,
            autopsy: None,
            outcome,
        }
    }

    /// Keeps the trail where the next broker and `zhit ping` find it.
    fn keep(&self, at: Moment, trail: &Trail) {
        if let Err(error) = kept::write(&self.dir, at, trail) {
            warn!(%error, "the trail is in this log only");
        }
    }
}

const fn control_of(worker: WorkerId) -> SlotId {
    SlotId { worker, number: 0 }
}

const fn voter(id: WorkerId, incarnation: Incarnation) -> Voter {
    Voter { id, incarnation }
}

const fn ballot(suspect: Suspect, beat: u64) -> Ballot {
    Ballot { suspect, beat }
}
