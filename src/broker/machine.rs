//! What a broker knows: the pure machine behind `zhit broker`.
//!
//! It leases idle slots to OPENs, the longest idle first, keeps OPENs that find none in line, and tells for every
//! message of a Hit to which connection it goes. All of it is soft state: a new broker learns it from REGISTERs, and
//! clients repeat their OPENs. docs/protocol.md sections 6 and 8.

use std::collections::HashMap;
use std::time::Duration;

use crate::protocol::frame::{Command, Head};
use crate::protocol::ids::{Attach, Attempt, DirId, HitKey, Incarnation, Peer, SlotId, Term, WorkerId};
use crate::protocol::limits::{PONG_WORKERS_MAX, QUEUE_MAX, REGISTERED_MAX};
use crate::protocol::message::{
    Closed, ClosedReason, DeclineReason, Declined, Disconnect, Full, FullReason, Goodbye, Heartbeat, Held, Lease,
    Message, Open, Pong, Queued, Register, Registered,
};
use crate::protocol::mutation::{Rule, broken};
use crate::protocol::time::Moment;

use super::registry::Registry;
use super::waiting::{Memory, Past, Waiting, Wish};

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
}

/// What the broker's loop must do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send this message.
    Send(Peer, Message),
    /// Watch this process: its end is the worker's death.
    Watch(WorkerId, Incarnation, u32),
    /// Watch it no more.
    Unwatch(WorkerId),
}

/// A slot that is leased.
#[derive(Debug)]
struct Leased {
    slot: Peer,
    /// The attached client and its number.
    client: Option<(Attach, Peer)>,
    /// One that asked to attach and was not answered yet.
    candidate: Option<(Attach, Peer)>,
    /// The newest attempt that was passed on to the slot.
    attempt: Attempt,
    /// What to lease again if the slot declines; gone once it has said OPENED.
    wish: Option<Wish>,
    ttl: Duration,
}

/// The machine.
#[derive(Debug)]
pub struct Machine {
    config: Config,
    started_at: Moment,
    registry: Registry,
    leases: HashMap<HitKey, Leased>,
    waiting: Waiting,
    memory: Memory,
    leaving: bool,
    beat: u64,
    tick_at: Moment,
}

impl Machine {
    /// A broker that begins to serve.
    pub fn new(now: Moment, config: Config) -> Self {
        Self {
            started_at: now,
            registry: Registry::default(),
            leases: HashMap::new(),
            waiting: Waiting::default(),
            memory: Memory::default(),
            leaving: false,
            beat: 0,
            tick_at: now + config.interval,
            config,
        }
    }

    fn liveness(&self) -> Duration {
        self.config.interval * self.config.liveness
    }

    /// Takes a message of an open Hit by its head alone; returns where it goes. `None`: nowhere.
    pub fn route(&mut self, now: Moment, from: Peer, head: Head, out: &mut Vec<Action>) -> Option<Peer> {
        if head.goes_to_slot() {
            return self.route_to_slot(from, head);
        }
        if self.registry.slot(from).is_none() {
            out.push(Action::Send(from, Message::Disconnect(Disconnect::NotRegistered)));
            return None;
        }
        let leased = self.leases.get_mut(&head.hit);
        let Some(leased) = leased.filter(|leased| leased.slot == from) else {
            if head.command == Command::Closed {
                out.push(Action::Send(from, Message::Released { hit: head.hit }));
            }
            return None;
        };
        if head.command == Command::Opened {
            leased.wish = None;
            if leased.candidate.is_some_and(|(attach, _)| attach == head.attach) {
                leased.client = leased.candidate.take();
            }
        }
        let client = [leased.client, leased.candidate].into_iter().flatten();
        let to = client
            .into_iter()
            .find(|(attach, _)| *attach == head.attach)
            .map(|(_, peer)| peer);
        if head.command == Command::Closed {
            self.end_lease(now, head.hit, ClosedReason::Done, out);
            out.push(Action::Send(from, Message::Released { hit: head.hit }));
        }
        to
    }

    fn route_to_slot(&mut self, from: Peer, head: Head) -> Option<Peer> {
        let leased = self.leases.get_mut(&head.hit)?;
        match leased.client {
            // A client speaks by the connection it has now.
            Some((attach, _)) if attach == head.attach => leased.client = Some((attach, from)),
            None => leased.client = Some((head.attach, from)),
            Some((attach, _)) if head.attach > attach => leased.candidate = Some((head.attach, from)),
            // Of an older attachment: the slot drops it (rule O8).
            Some(_) => {}
        }
        Some(leased.slot)
    }

    /// Takes a message that is for the broker itself.
    pub fn on_message(&mut self, now: Moment, from: Peer, message: Message, out: &mut Vec<Action>) {
        match message {
            Message::Register(register) => self.on_register(now, from, register, out),
            Message::Heartbeat(heartbeat) => self.on_heartbeat(now, from, &heartbeat, out),
            Message::Goodbye(goodbye) => self.on_goodbye(now, from, &goodbye, out),
            Message::Open(open) => self.on_open(now, from, open, out),
            Message::Withdraw { hit, attempt } => self.on_withdraw(now, from, hit, attempt, out),
            Message::Declined(declined) => self.on_declined(now, from, &declined, out),
            Message::Ping { nonce } => out.push(Action::Send(from, self.pong(now, nonce))),
            // Nothing else is said to a broker.
            _ => out.push(Action::Send(from, Message::Disconnect(Disconnect::Unexpected))),
        }
    }

    fn on_register(&mut self, now: Moment, from: Peer, said: Register, out: &mut Vec<Action>) {
        if self.leaving {
            return out.push(Action::Send(from, Message::Disconnect(Disconnect::Leaving)));
        }
        if self.registry.len() >= REGISTERED_MAX && !self.registry.is_known(from) {
            return out.push(Action::Send(from, Message::Disconnect(Disconnect::TooMany)));
        }
        let id = said.slot.worker;
        if self
            .registry
            .worker(id)
            .is_some_and(|worker| worker.incarnation != said.incarnation)
        {
            // The id's lock has passed to a new process, so the old one is dead, whatever its pidfd says later.
            self.bury(now, id, out);
        }
        if self.registry.register(now, from, &said) && said.pid != 0 {
            out.push(Action::Watch(id, said.incarnation, said.pid));
        }
        out.push(Action::Send(
            from,
            Message::Registered(Registered {
                term: self.config.term,
                dir: self.config.dir,
                host: self.config.host.clone(),
                interval_ms: self.config.interval.as_millis() as u32,
                liveness: self.config.liveness,
            }),
        ));
        if said.slot.number != 0 {
            self.on_slot_state(now, from, &said, out);
        }
    }

    /// A slot says which Hit it serves; it knows best.
    fn on_slot_state(&mut self, now: Moment, from: Peer, said: &Register, out: &mut Vec<Action>) {
        let believed = self.registry.slot(from).and_then(|slot| slot.hit);
        match (said.hit, believed) {
            (Some(hit), _) if self.leases.get(&hit).is_none_or(|leased| leased.slot != from) => {
                // The slot has a new connection, or this broker is new.
                let old = self.leases.remove(&hit);
                self.registry.occupy(from, hit);
                self.waiting.remove(hit);
                let (client, candidate) = old.map_or((None, None), |old| (old.client, old.candidate));
                let ttl = self.liveness();
                let attempt = Attempt(0);
                self.leases.insert(
                    hit,
                    Leased {
                        slot: from,
                        client,
                        candidate,
                        attempt,
                        wish: None,
                        ttl,
                    },
                );
            }
            (Some(_), _) => {}
            // A LEASE may be on its way to a slot that has not heard of it.
            (None, Some(hit)) if self.leases.get(&hit).is_some_and(|leased| leased.wish.is_some()) => {}
            (None, Some(hit)) => self.end_lease(now, hit, ClosedReason::Done, out),
            (None, None) => {
                self.registry.release(from);
                self.serve_line(now, &said.pool, out);
            }
        }
    }

    fn on_heartbeat(&mut self, now: Moment, from: Peer, heartbeat: &Heartbeat, out: &mut Vec<Action>) {
        if heartbeat.term != self.config.term || !self.registry.heard(now, from) {
            return out.push(Action::Send(from, Message::Disconnect(Disconnect::NotRegistered)));
        }
        let answer = Heartbeat {
            term: self.config.term,
            beat: self.beat,
        };
        out.push(Action::Send(from, Message::Heartbeat(answer)));
    }

    fn on_goodbye(&mut self, now: Moment, from: Peer, goodbye: &Goodbye, out: &mut Vec<Action>) {
        let id = goodbye.slot.worker;
        let known = self
            .registry
            .worker(id)
            .is_some_and(|worker| worker.incarnation == goodbye.incarnation);
        if known && goodbye.slot.number == 0 {
            self.bury(now, id, out);
        } else if known && let Some(hit) = self.registry.forget_slot(from) {
            self.lost_slot(now, hit, ClosedReason::WorkerLeft, out);
        }
        out.push(Action::Send(from, Message::Farewell));
    }

    /// The worker's process has ended without goodbye.
    pub fn on_worker_died(&mut self, now: Moment, id: WorkerId, incarnation: Incarnation, out: &mut Vec<Action>) {
        if self
            .registry
            .worker(id)
            .is_some_and(|worker| worker.incarnation == incarnation)
        {
            self.bury(now, id, out);
        }
    }

    fn bury(&mut self, now: Moment, id: WorkerId, out: &mut Vec<Action>) {
        out.push(Action::Unwatch(id));
        for hit in self.registry.forget_worker(id) {
            self.lost_slot(now, hit, ClosedReason::WorkerDied, out);
        }
    }

    /// The slot that served a Hit is gone: its client is told.
    fn lost_slot(&mut self, now: Moment, hit: HitKey, reason: ClosedReason, out: &mut Vec<Action>) {
        let Some(leased) = self.leases.remove(&hit) else { return };
        self.memory.insert(now + leased.ttl * 2, hit, Past::Ended(reason));
        for (attach, client) in [leased.client, leased.candidate].into_iter().flatten() {
            let note = "the process ended without goodbye".to_owned();
            let unknown = u64::MAX;
            let closed = Closed {
                hit,
                attach,
                reason,
                started: unknown,
                answered: unknown,
                note,
            };
            out.push(Action::Send(client, Message::Closed(closed)));
        }
    }

    /// A slot's Hit is over: the slot is idle, and the first in line gets it.
    fn end_lease(&mut self, now: Moment, hit: HitKey, reason: ClosedReason, out: &mut Vec<Action>) {
        let Some(leased) = self.leases.remove(&hit) else { return };
        self.memory.insert(now + leased.ttl * 2, hit, Past::Ended(reason));
        let Some(pool) = self.pool_of(leased.slot) else { return };
        self.registry.release(leased.slot);
        self.serve_line(now, &pool, out);
    }

    fn pool_of(&self, slot: Peer) -> Option<String> {
        let worker = self.registry.slot(slot)?.id.worker;
        self.registry.worker(worker).map(|worker| worker.pool.clone())
    }

    fn on_open(&mut self, now: Moment, from: Peer, open: Open, out: &mut Vec<Action>) {
        if !broken(Rule::O1) {
            // Rule O1: the key is looked up before anything is leased.
            if self.leases.contains_key(&open.hit) {
                return self.open_leased(now, from, open, out);
            }
            if let Some(wish) = self.waiting.get(open.hit) {
                if open.attempt >= wish.open.attempt && self.waiting.refresh(Wish::new(now, from, &open)) {
                    self.send_queued(open.hit, out);
                }
                return;
            }
            match self.memory.get(open.hit) {
                Some(Past::Withdrawn(attempt)) if open.attempt <= attempt => return,
                Some(Past::Ended(reason)) => return self.send_closed(from, &open, reason, out),
                _ => {}
            }
        }
        if self.leaving {
            return self.send_full(from, &open, FullReason::Leaving, out);
        }
        if open.resume || open.attempt > Attempt(1) {
            // It may be held by a slot that has not registered here yet.
            if now.since(self.started_at) < self.liveness() {
                return;
            }
            if open.resume {
                return self.send_closed(from, &open, ClosedReason::Unknown, out);
            }
        }
        self.lease_or_queue(now, from, open, out);
    }

    fn lease_or_queue(&mut self, now: Moment, from: Peer, open: Open, out: &mut Vec<Action>) {
        let liveness = self.liveness();
        let slot = match broken(Rule::DoubleLease) {
            true => self.registry.any_slot(&open.pool),
            false => self.registry.take_idle(now, &open.pool, liveness),
        };
        if let Some(slot) = slot {
            return self.lease(now, slot, from, open, out);
        }
        let (slots, _) = self.registry.count(&open.pool);
        if self.waiting.len() >= QUEUE_MAX {
            return self.send_full(from, &open, FullReason::QueueFull, out);
        }
        if !open.queue {
            let reason = if slots == 0 {
                FullReason::NoWorker
            } else {
                FullReason::Busy
            };
            return self.send_full(from, &open, reason, out);
        }
        let hit = open.hit;
        self.waiting.push(Wish::new(now, from, &open), false);
        self.send_queued(hit, out);
    }

    fn lease(&mut self, now: Moment, slot: Peer, client: Peer, open: Open, out: &mut Vec<Action>) {
        let ttl = Duration::from_millis(u64::from(open.ttl_ms)).max(self.liveness());
        self.memory.remove(open.hit);
        self.registry.occupy(slot, open.hit);
        self.leases.insert(
            open.hit,
            Leased {
                slot,
                client: Some((open.attach, client)),
                candidate: None,
                attempt: open.attempt,
                wish: Some(Wish::new(now, client, &open)),
                ttl,
            },
        );
        out.push(Action::Send(slot, self.lease_message(open)));
    }

    fn lease_message(&self, open: Open) -> Message {
        Message::Lease(Lease {
            hit: open.hit,
            attach: open.attach,
            attempt: open.attempt,
            close_after: open.close_after,
            resume: open.resume,
            term: self.config.term,
            ttl_ms: open.ttl_ms,
            timeout_ms: open.timeout_ms,
            packet: open.packet,
        })
    }

    /// An OPEN of a Hit that is leased already: its slot answers, with what it has.
    fn open_leased(&mut self, now: Moment, from: Peer, open: Open, out: &mut Vec<Action>) {
        let Some(leased) = self.leases.get_mut(&open.hit) else {
            return;
        };
        // Rule O1: only the newest attempt is answered, and each once.
        if open.attempt <= leased.attempt || leased.client.is_some_and(|(attach, _)| open.attach < attach) {
            return;
        }
        leased.attempt = open.attempt;
        leased.client = Some((open.attach, from));
        if let Some(wish) = &mut leased.wish {
            *wish = Wish::new(now, from, &open);
        }
        let slot = leased.slot;
        let (hit, attempt) = (open.hit, open.attempt);
        out.push(Action::Send(slot, self.lease_message(open)));
        self.send_held(now, from, hit, attempt, slot, out);
    }

    fn send_held(&self, now: Moment, to: Peer, hit: HitKey, attempt: Attempt, slot: Peer, out: &mut Vec<Action>) {
        let id = self.registry.slot(slot).map_or(SlotId::default(), |slot| slot.id);
        let silent = self
            .registry
            .worker(id.worker)
            .map_or(Duration::ZERO, |worker| now.since(worker.heard_at));
        let silent_ms = u32::try_from(silent.as_millis()).unwrap_or(u32::MAX);
        let held = Held {
            hit,
            attempt,
            term: self.config.term,
            slot: id,
            silent_ms,
        };
        out.push(Action::Send(to, Message::Held(held)));
    }

    fn send_closed(&self, to: Peer, open: &Open, reason: ClosedReason, out: &mut Vec<Action>) {
        let unknown = u64::MAX;
        let (hit, attach, note) = (open.hit, open.attach, String::new());
        let closed = Closed {
            hit,
            attach,
            reason,
            started: unknown,
            answered: unknown,
            note,
        };
        out.push(Action::Send(to, Message::Closed(closed)));
    }

    fn send_full(&self, to: Peer, open: &Open, reason: FullReason, out: &mut Vec<Action>) {
        let (hit, attempt, term) = (open.hit, open.attempt, self.config.term);
        out.push(Action::Send(
            to,
            Message::Full(Full {
                hit,
                attempt,
                reason,
                term,
                hints: Vec::new(),
            }),
        ));
    }

    fn send_queued(&self, hit: HitKey, out: &mut Vec<Action>) {
        let Some(wish) = self.waiting.get(hit) else { return };
        let (slots, busy) = self.registry.count(&wish.open.pool);
        let (attempt, ahead) = (wish.open.attempt, self.waiting.ahead(wish));
        let queued = Queued {
            hit,
            attempt,
            term: self.config.term,
            ahead,
            slots,
            busy,
        };
        out.push(Action::Send(wish.client, Message::Queued(queued)));
    }

    fn on_withdraw(&mut self, now: Moment, from: Peer, hit: HitKey, attempt: Attempt, out: &mut Vec<Action>) {
        if let Some(leased) = self.leases.get(&hit) {
            // Too late: the slot says so itself, by OPENED.
            let slot = leased.slot;
            if let Some(wish) = leased.wish.clone() {
                out.push(Action::Send(slot, self.lease_message(Open { attempt, ..wish.open })));
            }
            return self.send_held(now, from, hit, attempt, slot, out);
        }
        if let Some(Past::Ended(reason)) = self.memory.get(hit) {
            let unknown = u64::MAX;
            let closed = Closed {
                hit,
                attach: Attach(1),
                reason,
                started: unknown,
                answered: unknown,
                note: String::new(),
            };
            return out.push(Action::Send(from, Message::Closed(closed)));
        }
        if self.waiting.get(hit).is_some_and(|wish| wish.open.attempt > attempt) {
            return;
        }
        let ttl = self.waiting.remove(hit).map_or(self.liveness(), |wish| {
            Duration::from_millis(u64::from(wish.open.ttl_ms)).max(self.liveness())
        });
        // An OPEN of this attempt that is still on its way comes too late.
        self.memory.insert(now + ttl * 2, hit, Past::Withdrawn(attempt));
        out.push(Action::Send(from, Message::Withdrawn { hit, attempt }));
    }

    fn on_declined(&mut self, now: Moment, from: Peer, declined: &Declined, out: &mut Vec<Action>) {
        let Some(leased) = self.leases.get(&declined.hit).filter(|leased| leased.slot == from) else {
            return;
        };
        if declined.attempt != leased.attempt {
            return;
        }
        let confirmed = leased.wish.is_none();
        if confirmed || matches!(declined.reason, DeclineReason::Ended | DeclineReason::Unknown) {
            let client = leased.client;
            let reason = if confirmed {
                ClosedReason::Unknown
            } else {
                ClosedReason::Done
            };
            self.end_lease(now, declined.hit, reason, out);
            if let Some((attach, client)) = client {
                let (hit, unknown, note) = (declined.hit, u64::MAX, String::new());
                let closed = Closed {
                    hit,
                    attach,
                    reason,
                    started: unknown,
                    answered: unknown,
                    note,
                };
                out.push(Action::Send(client, Message::Closed(closed)));
            }
            return;
        }
        let Some(wish) = self.leases.remove(&declined.hit).and_then(|leased| leased.wish) else {
            return;
        };
        match declined.serving {
            Some(other) => self.registry.occupy(from, other),
            None => self.registry.set_draining(from),
        }
        let pool = wish.open.pool.clone();
        self.waiting.push(wish, true);
        self.serve_line(now, &pool, out);
    }

    /// Leases idle slots of a pool to those who wait for one.
    fn serve_line(&mut self, now: Moment, pool: &str, out: &mut Vec<Action>) {
        let liveness = self.liveness();
        while self.waiting.has(pool) {
            let Some(slot) = self.registry.take_idle(now, pool, liveness) else {
                return;
            };
            let Some(wish) = self.waiting.pop(pool) else {
                return self.registry.release(slot);
            };
            self.lease(now, slot, wish.client, wish.open, out);
        }
    }

    fn pong(&self, now: Moment, nonce: u64) -> Message {
        Message::Pong(Pong {
            nonce,
            host: self.config.host.clone(),
            pid: self.config.pid,
            term: self.config.term,
            uptime_ms: now.since(self.started_at).as_millis() as u64,
            version: self.config.version.clone(),
            queued: self.waiting.len() as u32,
            workers_total: self.registry.workers().count() as u32,
            workers: self.registry.describe(now, PONG_WORKERS_MAX),
        })
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

    /// How many Hits are served.
    pub fn hits(&self) -> usize {
        self.leases.len()
    }

    /// The loop has turned.
    pub const fn beat(&mut self) {
        self.beat += 1;
    }

    /// Time has passed. An early or repeated tick does nothing.
    pub fn on_tick(&mut self, now: Moment, out: &mut Vec<Action>) {
        if now < self.tick_at {
            return;
        }
        if now.since(self.tick_at) > self.config.interval {
            // Rule A3: who stood still himself restarts his clocks before he judges others.
            self.registry.restart_clocks(now);
            self.waiting.restart_clocks(now);
        }
        self.tick_at = now + self.config.interval;
        self.memory.expire(now);
        self.waiting.expire(now, self.liveness());
        let silence = self.liveness() * 2;
        let gone = self
            .registry
            .workers()
            .filter(|(_, worker)| worker.pid == 0 && now.since(worker.heard_at) >= silence);
        // A worker whose process cannot be watched from here is dead when it is silent; others die by their pidfd.
        for id in gone.map(|(id, _)| id).collect::<Vec<_>>() {
            self.bury(now, id, out);
        }
        for pool in self.waiting.pools() {
            self.serve_line(now, &pool, out);
        }
    }

    /// When to tick at the latest.
    pub const fn next_deadline(&self) -> Moment {
        self.tick_at
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
