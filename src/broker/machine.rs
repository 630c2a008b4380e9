//! What a broker knows: the pure machine behind `zhit broker`.
//!
//! It leases idle slots to OPENs, the longest idle first, keeps OPENs that find none in line, and tells for every
//! message of a Hit to which connection it goes. All of it is soft state: a new broker learns it from REGISTERs, and
//! clients repeat their OPENs. docs/protocol.md sections 6 and 8.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::election::journal::WorkerJournal;
use crate::protocol::frame::{Command, Head};
use crate::protocol::ids::{Attach, DirId, HitKey, Incarnation, Peer, Term, WorkerId};
use crate::protocol::limits::{TTL, UNNEEDED_AFTER};
use crate::protocol::message::{ClosedReason, Disconnect, FullReason, Message, Yield};
use crate::protocol::mutation::{Rule, broken};
use crate::protocol::time::Moment;

use super::answers::ended;
use super::broadcasts::Fates;
use super::inheritance::Inheritance;
use super::leases::Leases;
use super::mesh::{Mesh, Notice};
use super::registry::Registry;
use super::waiting::{End, Memory, Past, Waiting, Wish};

/// What does not change while a broker serves.
#[derive(Clone, Debug)]
pub struct Config {
    /// Name of the host.
    pub host: String,
    /// The broker's process id.
    pub pid: u32,
    /// Its term.
    pub term: Term,
    /// Id of the runtime directory.
    pub dir: DirId,
    /// The program's version.
    pub version: String,
    /// Period of heartbeats.
    pub interval: Duration,
    /// How many may be missed.
    pub liveness: u32,
    /// How long silence is tolerated while work is outstanding.
    pub patience: Duration,
    /// It was started by a member, and yields to one that was started by hand.
    pub elected: bool,
}

/// What the broker's loop must do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send this message.
    Send(Peer, Message),
    /// Send this to the broker of another host.
    Call(String, Message),
    /// This is to be known of another host.
    Note(String, Notice),
    /// Watch this process: its end is the worker's death.
    Watch(WorkerId, Incarnation, u32),
    /// Watch it no more.
    Unwatch(WorkerId),
    /// Read this worker's journal: [`Machine::on_journal`].
    Consult(WorkerId),
    /// Note, for the brokers that follow, that a Hit is leased now to a worker that keeps no journal (rule O7).
    LeasesUnjournalled,
    /// Leave the office to this process (rule E3).
    Yield(Yield),
}

/// The machine.
#[derive(Debug)]
pub struct Machine {
    pub(super) config: Config,
    pub(super) started_at: Moment,
    pub(super) registry: Registry,
    pub(super) leases: Leases,
    pub(super) waiting: Waiting,
    pub(super) memory: Memory,
    pub(super) inheritance: Inheritance,
    /// OPENs of Hits that may be served already, while slots may not have registered yet.
    pub(super) early: BTreeMap<HitKey, Wish>,
    pub(super) fates: Fates,
    pub(super) mesh: Mesh,
    pub(super) trouble: String,
    pub(super) leaving: bool,
    pub(super) beat: u64,
    tick_at: Moment,
    /// Until then slots may not have registered yet.
    young_until: Moment,
    /// When somebody was here last: a member, one in line, or who asked anything.
    needed_at: Moment,
}

impl Machine {
    /// A broker that begins to serve.
    pub fn new(now: Moment, config: Config) -> Self {
        Self {
            started_at: now,
            registry: Registry::default(),
            leases: Leases::new(),
            waiting: Waiting::default(),
            memory: Memory::default(),
            inheritance: Inheritance::default(),
            early: BTreeMap::new(),
            fates: Fates::default(),
            mesh: Mesh::default(),
            trouble: String::new(),
            leaving: false,
            beat: 0,
            tick_at: now + config.interval,
            young_until: now + config.interval * config.liveness,
            needed_at: now,
            config,
        }
    }

    pub(super) fn liveness(&self) -> Duration {
        self.config.interval * self.config.liveness
    }

    /// Whether slots may be there that have not registered with this broker yet, and that no journal tells of.
    pub(super) fn is_young(&self, now: Moment) -> bool {
        !self.inheritance.complete && (now < self.young_until || self.was_young_before_it_stood_still(now))
    }

    /// Rule A3: slots had no chance to register while it stood still itself.
    fn was_young_before_it_stood_still(&self, now: Moment) -> bool {
        self.has_stood_still(now) && self.tick_at < self.young_until + self.config.interval
    }

    /// Whether a slot holds the Hit, or may hold it, that has not registered with this broker yet.
    pub(super) fn is_awaited(&self, now: Moment, hit: HitKey) -> bool {
        self.inheritance.holds(hit) || self.is_young(now)
    }

    /// What a worker's journal says by now.
    pub fn on_journal(&mut self, now: Moment, journal: &WorkerJournal) {
        self.remember(now, journal);
    }

    /// Takes a message of an open Hit by its head alone; returns where it goes. `None`: nowhere.
    pub fn route(&mut self, now: Moment, from: Peer, head: Head, out: &mut Vec<Action>) -> Option<Peer> {
        if head.goes_to_slot() {
            return self.route_to_slot(now, from, head, out);
        }
        if self.registry.slot(from).is_none() {
            out.push(Action::Send(from, Message::Disconnect(Disconnect::NotRegistered)));
            return None;
        }
        let leased = self.leases.get_mut(&head.hit).filter(|leased| leased.slot == from);
        let is_leased = leased.is_some();
        let to = leased.and_then(|leased| leased.on_slot(head));
        if head.command == Command::Opened && is_leased {
            self.registry.occupy(from, head.hit);
        }
        // Who holds the Hit is told first, and the lease ends with what its client is told.
        if head.command == Command::Closed && head.attach != Attach(0) {
            if is_leased {
                self.end_lease(now, head.hit, ClosedReason::Done, None, out);
            } else if self.memory.get(head.hit).is_none() {
                // It was leased by a predecessor: a repetition of its OPEN is not to be leased here.
                self.memory
                    .insert(now, TTL, head.hit, Past::Ended(End::unknown(ClosedReason::Done)));
                if !self.registry.keeps_journal(from) {
                    // Its ttl may be longer than that, and nobody knows it.
                    self.memory.forget_until(now);
                }
            }
            self.free_slot(now, from, head.hit, out);
            out.push(Action::Send(from, Message::Released { hit: head.hit }));
        }
        to
    }

    fn route_to_slot(&mut self, now: Moment, from: Peer, head: Head, out: &mut Vec<Action>) -> Option<Peer> {
        let end = match self.leases.get_mut(&head.hit) {
            Some(leased) => {
                if leased.on_client(from, head) {
                    return Some(leased.slot);
                }
                Some(End::unknown(ClosedReason::Superseded))
            }
            None => match self.memory.get(head.hit) {
                Some(Past::Ended(end)) => Some(end),
                // It may be held by a slot that has not registered here yet.
                _ if self.waiting.get(head.hit).is_some() || self.is_awaited(now, head.hit) => None,
                _ => Some(End::unknown(ClosedReason::Unknown)),
            },
        };
        // Who asks is told that there is nothing to wait for; to bytes under way nobody listens any more.
        if let Some(end) = end.filter(|_| matches!(head.command, Command::Attach | Command::KeepAlive)) {
            out.push(Action::Send(from, ended(head.hit, head.attach, end, "")));
        }
        None
    }

    /// Takes a message that is for the broker itself.
    pub fn on_message(&mut self, now: Moment, from: Peer, message: Message, out: &mut Vec<Action>) {
        self.needed_at = now;
        match message {
            Message::Register(register) => self.on_register(now, from, &register, out),
            Message::Heartbeat(heartbeat) => self.on_heartbeat(now, from, &heartbeat, out),
            Message::Goodbye(goodbye) => self.on_goodbye(now, from, &goodbye, out),
            Message::Open(open) => self.on_open(now, from, open, out),
            Message::Withdraw { hit, attempt } => self.on_withdraw(now, from, hit, attempt, out),
            Message::Declined(declined) => self.on_declined(now, from, &declined, out),
            Message::Yield(wanted) => self.on_yield(from, wanted, out),
            Message::Ping { nonce } => out.push(Action::Send(from, self.pong(now, nonce))),
            Message::Probe(probe) => self.on_probe(from, &probe, out),
            Message::State(state) => self.on_state(from, state, out),
            Message::Roll(roll) => self.on_roll(now, from, &roll, out),
            Message::Ask(ask) => self.on_ask(from, &ask, out),
            Message::Thanks(thanks) => self.on_thanks(&thanks, out),
            Message::Check(check) => self.on_check(now, from, &check, out),
            Message::Receipt(_) | Message::Running(_) | Message::Answer(_) => self.on_reply(from, message, out),
            Message::Relay(relay) => self.on_relay(now, from, relay, out),
            // Nothing else is said to a broker.
            _ => out.push(Action::Send(from, Message::Disconnect(Disconnect::Unexpected))),
        }
    }

    fn on_yield(&self, from: Peer, wanted: Yield, out: &mut Vec<Action>) {
        let yields = self.config.elected || wanted.takeover;
        let answer = if yields {
            Disconnect::Leaving
        } else {
            Disconnect::Dedicated
        };
        out.push(Action::Send(from, Message::Disconnect(answer)));
        if yields {
            out.push(Action::Yield(wanted));
        }
    }

    /// Takes no new Hit from now on. Whoever waits is told.
    pub fn leave(&mut self, out: &mut Vec<Action>) {
        self.leaving = true;
        for wish in self.waiting.drain() {
            self.send_full(wish.client, &wish.open, FullReason::Leaving, out);
        }
    }

    /// Says goodbye to everybody who is registered.
    pub fn say_farewell(&self, out: &mut Vec<Action>) {
        let peers = self.registry.peers();
        out.extend(peers.map(|peer| Action::Send(peer, Message::Disconnect(Disconnect::Leaving))));
    }

    /// Workers that are registered.
    pub fn workers(&self) -> impl Iterator<Item = (WorkerId, Incarnation)> {
        self.registry.workers().map(|(id, worker)| (id, worker.incarnation))
    }

    /// Which worker has this number.
    pub fn incarnation_of(&self, id: WorkerId) -> Option<Incarnation> {
        self.registry.worker(id).map(|worker| worker.incarnation)
    }

    /// What keeps it from doing all that it should, for those who ask; `None`: nothing.
    pub fn set_trouble(&mut self, trouble: Option<&str>) {
        trouble.unwrap_or_default().clone_into(&mut self.trouble);
    }

    /// Name of the host.
    pub fn host(&self) -> &str {
        &self.config.host
    }

    /// The broker's term.
    pub const fn term(&self) -> Term {
        self.config.term
    }

    /// How many Hits are served.
    pub fn hits(&self) -> usize {
        self.leases.len()
    }

    /// Whether a member is here that would elect the next broker (rule O7).
    pub fn has_electors(&self) -> bool {
        self.registry.workers().any(|(_, worker)| worker.votes)
    }

    /// Whether nobody has needed it for long enough to leave, if it was elected (rule E5).
    pub fn is_unneeded(&self, now: Moment) -> bool {
        let alone = self.registry.len() == 0 && self.leases.is_empty() && self.waiting.len() == 0;
        self.config.elected && alone && now.since(self.needed_at) >= UNNEEDED_AFTER
    }

    /// The loop has turned.
    pub const fn beat(&mut self) {
        self.beat += 1;
    }

    /// Rule A3: whether it has itself stood still, and not looked around since.
    pub(super) fn has_stood_still(&self, now: Moment) -> bool {
        now.since(self.tick_at) > self.config.interval && !broken(Rule::A3)
    }

    /// Time has passed. An early or repeated tick does nothing.
    pub fn on_tick(&mut self, now: Moment, out: &mut Vec<Action>) {
        if self.has_stood_still(now) {
            self.mesh.restart_clocks(now);
        }
        self.mesh_tick(now, out);
        if now < self.tick_at {
            return;
        }
        if self.has_stood_still(now) {
            // Rule A3: who stood still himself restarts his clocks before he judges others.
            self.registry.restart_clocks(now);
            self.fates.restart_clock(now);
            self.waiting.restart_clocks(now);
            if self.was_young_before_it_stood_still(now) {
                self.young_until = now + self.liveness();
            }
        }
        self.tick_at = now + self.config.interval;
        if self.registry.len() > 0 || self.waiting.len() > 0 {
            self.needed_at = now;
        }
        self.memory.expire(now);
        self.waiting.expire(now, self.liveness());
        let silence = self.liveness() * 2;
        let gone = self
            .registry
            .workers()
            .filter(|(_, worker)| worker.pid == 0 && now.since(worker.heard_at) >= silence);
        // A worker whose process cannot be watched from here is dead when it is silent; others die by their pidfd.
        for id in gone.map(|(id, _)| id).collect::<Vec<_>>() {
            self.bury(now, id, ClosedReason::WorkerDied, None, out);
        }
        // Their clients repeat them.
        let (inheritance, young) = (&self.inheritance, self.is_young(now));
        self.early.retain(|hit, _| young || inheritance.holds(*hit));
        self.ask_unanswered(now, out);
        for pool in self.waiting.pools() {
            self.serve_line(now, &pool, out);
        }
    }

    /// When to tick at the latest.
    pub fn next_deadline(&self) -> Moment {
        self.mesh
            .next_deadline()
            .map_or(self.tick_at, |at| at.min(self.tick_at))
    }

    /// Entries held, for the simulator: (registered, leases, waiting, remembered keys).
    pub fn held(&self) -> (usize, usize, usize, usize) {
        (
            self.registry.len(),
            self.leases.len(),
            self.waiting.len(),
            self.memory.len(),
        )
    }
}

#[cfg(test)]
#[path = "machine_tests.rs"]
mod tests;
