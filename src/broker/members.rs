//! Workers and slots that come, say what they do, and go. Part of the broker's pure machine.

use std::time::Duration;

use crate::election::journal::WorkerJournal;
use crate::protocol::ids::{Attach, HitKey, Incarnation, Member, Peer, WorkerId};
use crate::protocol::limits::REGISTERED_MAX;
use crate::protocol::message::{ClosedReason, Disconnect, Goodbye, Heartbeat, Message, Register, Registered};
use crate::protocol::pool::Fate;
use crate::protocol::time::Moment;

use super::answers::ended;
use super::leases::Leased;
use super::machine::{Action, Machine};
use super::waiting::{End, Past};

impl Machine {
    pub(super) fn on_register(&mut self, now: Moment, from: Peer, said: &Register, out: &mut Vec<Action>) {
        if self.leaving {
            return out.push(Action::Send(from, Message::Disconnect(Disconnect::Leaving)));
        }
        if self.registry.len() >= REGISTERED_MAX && !self.registry.is_known(from) {
            return out.push(Action::Send(from, Message::Disconnect(Disconnect::TooMany)));
        }
        if self.registry.is_another(from, said.slot) {
            return out.push(Action::Send(from, Message::Disconnect(Disconnect::Unexpected)));
        }
        let id = said.slot.worker;
        if self
            .registry
            .worker(id)
            .is_some_and(|worker| worker.incarnation != said.incarnation)
        {
            // The id's lock has passed to a new process, so the old one is dead, whatever its pidfd says later.
            self.bury(now, id, ClosedReason::WorkerDied, None, out);
        }
        let old = self.registry.slot_peer(said.slot);
        if self.registry.register(now, from, said) && said.pid != 0 {
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
        if said.slot.number == 0 {
            return;
        }
        if let Some(old) = old.filter(|old| *old != from) {
            // The slot has a new connection: what was leased to it is reached by that.
            let leases = self.leases.values_mut().filter(|leased| leased.slot == old);
            leases.for_each(|leased| leased.slot = from);
        }
        let ttl = self.slot_has_come(said.slot, said.hit, out);
        self.on_slot_state(now, from, said, ttl, out);
    }

    /// A slot says which Hit it serves. It knows best, but what it said may have been long under way: where it
    /// contradicts, the slot is asked.
    fn on_slot_state(&mut self, now: Moment, from: Peer, said: &Register, ttl: Duration, out: &mut Vec<Action>) {
        let believed = self.registry.slot(from).and_then(|slot| slot.hit);
        match (said.hit, believed) {
            (Some(hit), _) if self.leases.get(&hit).is_none_or(|leased| leased.slot != from) => {
                self.find_lease(now, from, (hit, ttl), out);
                let other = believed.filter(|other| *other != hit);
                let unasked = |other: &HitKey| self.leases.get(other).is_some_and(|leased| leased.wish.is_none());
                if let Some(other) = other.filter(unasked) {
                    self.ask_again(now, other, out);
                }
            }
            (Some(_), _) => {}
            (None, Some(hit)) => match self.leases.get(&hit) {
                // A LEASE may be on its way to a slot that has not heard of it.
                Some(leased) if leased.wish.is_some() => {}
                Some(_) => self.ask_again(now, hit, out),
                None => self.free_slot(now, from, hit, out),
            },
            (None, None) => {
                self.registry.release(from);
                self.serve_line(now, &said.pool, out);
            }
        }
    }

    /// A slot says that it serves a Hit that is not known to be there.
    fn find_lease(&mut self, now: Moment, from: Peer, (hit, ttl): (HitKey, Duration), out: &mut Vec<Action>) {
        let known = self.leases.get(&hit);
        if known.is_some_and(|leased| leased.served && leased.wish.is_none()) {
            // Another slot serves it: this one spoke of an earlier time.
            return;
        }
        let mut found = Leased::found(now, from, self.liveness().max(ttl));
        if let Some(old) = self.leases.remove(&hit) {
            self.free_slot(now, old.slot, hit, out);
            (found.client, found.candidate, found.attempt) = (old.client, old.candidate, old.attempt);
        }
        if let Some(wish) = self.waiting.remove(hit) {
            found.client = Some((wish.open.attach, wish.client));
        }
        if self.registry.slot(from).is_some_and(|slot| slot.hit.is_none()) {
            self.registry.occupy(from, hit);
        }
        self.leases.insert(hit, found);
        match self.early.remove(&hit) {
            // Its client has asked for it already.
            Some(wish) => self.open_leased(now, wish.client, wish.open, out),
            None => self.ask_again(now, hit, out),
        }
    }

    pub(super) fn on_heartbeat(&mut self, now: Moment, from: Peer, heartbeat: &Heartbeat, out: &mut Vec<Action>) {
        if heartbeat.term != self.config.term || !self.registry.heard(now, from) {
            return out.push(Action::Send(from, Message::Disconnect(Disconnect::NotRegistered)));
        }
        let answer = Heartbeat {
            term: self.config.term,
            beat: self.beat,
        };
        out.push(Action::Send(from, Message::Heartbeat(answer)));
    }

    pub(super) fn on_goodbye(&mut self, now: Moment, from: Peer, goodbye: &Goodbye, out: &mut Vec<Action>) {
        let id = goodbye.slot.worker;
        let known = self
            .registry
            .worker(id)
            .is_some_and(|worker| worker.incarnation == goodbye.incarnation);
        if known && goodbye.slot.number == 0 {
            self.bury(now, id, ClosedReason::WorkerLeft, None, out);
        } else if known && let Some(slot) = self.registry.forget_slot(goodbye.slot) {
            self.lost_slots(now, &[slot], ClosedReason::WorkerLeft, None, out);
        } else if goodbye.slot.number == 0 {
            // It has not registered with this broker.
            let incarnation = goodbye.incarnation;
            self.fates.note(now, Member::new(id, incarnation), Fate::Left, None);
        }
        out.push(Action::Send(from, Message::Farewell));
    }

    pub(super) fn bury(
        &mut self,
        now: Moment,
        id: WorkerId,
        reason: ClosedReason,
        journal: Option<&WorkerJournal>,
        out: &mut Vec<Action>,
    ) {
        out.push(Action::Unwatch(id));
        if let Some(incarnation) = self.incarnation_of(id) {
            // Its goodbye may be overtaken by its successor's REGISTER, which comes on another connection.
            let left = reason == ClosedReason::WorkerLeft || journal.is_some_and(|journal| journal.left);
            let fate = if left { Fate::Left } else { Fate::Died };
            self.fates.note(now, Member::new(id, incarnation), fate, journal);
        }
        if let Some(journal) = journal {
            self.remember(now, journal);
        }
        let slots = self.registry.forget_worker(id);
        self.lost_slots(now, &slots, reason, journal, out);
    }

    /// The worker's process has ended without goodbye, and nothing that it ran is left (rule O9). Its journal says what
    /// became of its requests, if it kept one.
    pub fn on_worker_died(
        &mut self,
        now: Moment,
        (id, incarnation): (WorkerId, Incarnation),
        journal: Option<&WorkerJournal>,
        out: &mut Vec<Action>,
    ) {
        let known = self.registry.worker(id);
        if known.is_some_and(|worker| worker.incarnation == incarnation) {
            self.bury(now, id, ClosedReason::WorkerDied, journal, out);
        } else {
            if let Some(journal) = journal {
                self.remember(now, journal);
            }
            let left = journal.is_some_and(|journal| journal.left);
            let fate = if left { Fate::Left } else { Fate::Died };
            self.fates.note_first(now, Member::new(id, incarnation), fate, journal);
        }
        self.heir_of(now, id, incarnation);
    }

    /// Slots are gone: the clients of their Hits are told.
    fn lost_slots(
        &mut self,
        now: Moment,
        slots: &[Peer],
        reason: ClosedReason,
        journal: Option<&WorkerJournal>,
        out: &mut Vec<Action>,
    ) {
        let note = match reason {
            ClosedReason::WorkerLeft => "the worker has left",
            _ => "the process ended without goodbye",
        };
        let memory = &mut self.memory;
        self.leases.retain(|hit, leased| {
            if !slots.contains(&leased.slot) {
                return true;
            }
            // A LEASE that the slot never saw is told apart from one that it served by its journal alone.
            let known = memory.get(*hit).filter(|_| journal.is_some());
            let end = match known {
                Some(Past::Ended(end)) => end,
                _ if journal.is_some() && !leased.served => End::nothing(reason),
                _ => End::unknown(reason),
            };
            let attach = leased.client.map_or(Attach(0), |(attach, _)| attach);
            let end = End { attach, ..end };
            memory.insert(now, leased.ttl, *hit, Past::Ended(end));
            let parties = leased.parties();
            out.extend(parties.map(|(attach, client)| Action::Send(client, ended(*hit, attach, end, note))));
            false
        });
    }
}
