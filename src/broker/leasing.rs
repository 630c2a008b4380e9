//! Who gets which slot: OPEN, WITHDRAW, DECLINED, and the ends of leases. Part of the broker's pure machine.

use std::time::Duration;

use crate::protocol::ids::{Attach, Attempt, DirId, HitKey, Peer};
use crate::protocol::limits::QUEUE_MAX;
use crate::protocol::message::{ClosedReason, DeclineReason, Declined, FullReason, Message, Open};
use crate::protocol::mutation::{Rule, broken};
use crate::protocol::time::Moment;

use super::answers::{closed, ended};
use super::leases::Leased;
use super::machine::{Action, Machine};
use super::waiting::{End, Past, Wish};

impl Machine {
    pub(super) fn on_open(&mut self, now: Moment, from: Peer, open: Open, out: &mut Vec<Action>) {
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
                Some(Past::Ended(end)) => {
                    return out.push(Action::Send(from, ended(open.hit, open.attach, end, "")));
                }
                _ => {}
            }
        }
        let repeated = open.resume || open.age_ms > 0;
        if repeated && self.is_awaited(now, open.hit) && !broken(Rule::O4) {
            // An earlier OPEN of it has reached this broker's predecessor, or may have, and a slot that has not registered
            // here yet holds it, or may.
            if self.early.len() < QUEUE_MAX {
                self.early.insert(open.hit, Wish::new(now, from, &open));
            }
            return;
        }
        // Rule O5: a directory that was wiped, or another boot of the machine, remembers nothing of what ran before.
        let elsewhere = open.dir != DirId::default() && open.dir != self.config.dir && !broken(Rule::O5);
        let asked_at = now.before(Duration::from_millis(u64::from(open.age_ms)));
        if open.resume || elsewhere || self.may_have_run(now, asked_at) {
            // "May have run" is the only true answer (rule O4).
            let unknown = closed(open.hit, open.attach, ClosedReason::Unknown, "");
            return out.push(Action::Send(from, unknown));
        }
        if self.leaving {
            return self.send_full(from, &open, FullReason::Leaving, out);
        }
        self.lease_or_queue(now, from, open, out);
    }

    fn lease_or_queue(&mut self, now: Moment, from: Peer, open: Open, out: &mut Vec<Action>) {
        let liveness = self.liveness();
        let slot = if broken(Rule::DoubleLease) {
            self.registry.any_slot(&open.pool)
        } else {
            self.registry.take_idle(now, &open.pool, liveness)
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
                client: Some((open.attach, client)),
                attempt: open.attempt,
                wish: Some(Wish::new(now, client, &open)),
                served: false,
                ..Leased::found(now, slot, ttl)
            },
        );
        if !self.registry.keeps_journal(slot) {
            out.push(Action::LeasesUnjournalled);
        }
        out.push(Action::Send(slot, self.lease_message(open)));
    }

    /// An OPEN of a Hit that is leased already: its slot answers, with what it has.
    pub(super) fn open_leased(&mut self, now: Moment, from: Peer, mut open: Open, out: &mut Vec<Action>) {
        let Some(leased) = self.leases.get_mut(&open.hit) else {
            return;
        };
        if leased.client.is_some_and(|(attach, _)| open.attach < attach) {
            let superseded = closed(open.hit, open.attach, ClosedReason::Superseded, "");
            return out.push(Action::Send(from, superseded));
        }
        // Rule O1: only the newest attempt is answered, and each once.
        if open.attempt <= leased.attempt {
            return;
        }
        leased.attempt = open.attempt;
        leased.client = Some((open.attach, from));
        // It is never started anew once a slot has served it.
        open.resume |= leased.served;
        leased.asked_at = now;
        // A Hit that was found here has the ttl that its client says, for as long as its key counts (rule O4).
        leased.ttl = leased.ttl.max(Duration::from_millis(u64::from(open.ttl_ms)));
        if leased.wish.is_some() {
            leased.wish = Some(Wish::new(now, from, &open));
        }
        let slot = leased.slot;
        let (hit, attempt) = (open.hit, open.attempt);
        out.push(Action::Send(slot, self.lease_message(open)));
        self.send_held(now, from, hit, attempt, slot, out);
    }

    pub(super) fn on_withdraw(
        &mut self,
        now: Moment,
        from: Peer,
        hit: HitKey,
        attempt: Attempt,
        out: &mut Vec<Action>,
    ) {
        if let Some(leased) = self.leases.get_mut(&hit) {
            // Too late: the slot says so itself, by OPENED.
            leased.attempt = leased.attempt.max(attempt);
            if leased.client.is_none_or(|(attach, _)| attach == Attach(1)) {
                leased.client = Some((Attach(1), from));
            }
            let slot = leased.slot;
            self.ask_again(now, hit, out);
            return self.send_held(now, from, hit, attempt, slot, out);
        }
        if let Some(Past::Ended(end)) = self.memory.get(hit) {
            return out.push(Action::Send(from, ended(hit, Attach(1), end, "")));
        }
        match self.waiting.get(hit) {
            Some(wish) if wish.open.attempt > attempt => return,
            // Rule O6: a slot that has not registered here yet may hold it, so nothing is confirmed; nor is it where a key
            // may have been forgotten.
            None if self.is_awaited(now, hit) || now.since(self.memory.forgotten_until()) < self.liveness() => return,
            _ => {}
        }
        let ttl = self
            .waiting
            .remove(hit)
            .map_or(self.liveness(), |wish| self.ttl_of(&wish));
        let newest = match self.memory.get(hit) {
            Some(Past::Withdrawn(before)) => before.max(attempt),
            _ => attempt,
        };
        // An OPEN of this attempt that is still on its way comes too late.
        self.memory.insert(now, ttl, hit, Past::Withdrawn(newest));
        out.push(Action::Send(from, Message::Withdrawn { hit, attempt }));
    }

    /// How long what became of a wish is to be remembered.
    fn ttl_of(&self, wish: &Wish) -> Duration {
        Duration::from_millis(u64::from(wish.open.ttl_ms)).max(self.liveness())
    }

    /// Asks a slot once more whether it serves what it was leased.
    pub(super) fn ask_again(&mut self, now: Moment, hit: HitKey, out: &mut Vec<Action>) {
        let Some(leased) = self.leases.get_mut(&hit) else {
            return;
        };
        if leased.wish.is_none() {
            leased.doubt(now, hit);
        }
        leased.asked_at = now;
        let (slot, attempt) = (leased.slot, leased.attempt);
        let Some(wish) = leased.wish.as_mut() else { return };
        wish.open.attempt = attempt;
        let open = wish.open.clone();
        out.push(Action::Send(slot, self.lease_message(open)));
    }

    /// LEASEs that were not answered for an interval are repeated: they, or what answered them, may be lost.
    pub(super) fn ask_unanswered(&mut self, now: Moment, out: &mut Vec<Action>) {
        let interval = self.config.interval;
        let silent = self.leases.iter().filter(|(_, leased)| leased.wish.is_some());
        let silent: Vec<HitKey> = silent
            .filter(|(_, leased)| now.since(leased.asked_at) >= interval)
            .map(|(hit, _)| *hit)
            .collect();
        for hit in silent {
            self.ask_again(now, hit, out);
        }
    }

    pub(super) fn on_declined(&mut self, now: Moment, from: Peer, declined: &Declined, out: &mut Vec<Action>) {
        let hit = declined.hit;
        let Some(leased) = self.leases.get(&hit).filter(|leased| leased.slot == from) else {
            return;
        };
        if declined.attempt != leased.attempt {
            return;
        }
        if leased.served || matches!(declined.reason, DeclineReason::Ended | DeclineReason::Unknown) {
            let reason = if leased.served {
                ClosedReason::Unknown
            } else {
                ClosedReason::Done
            };
            for (attach, client) in leased.parties() {
                out.push(Action::Send(client, closed(hit, attach, reason, "")));
            }
            return self.end_lease(now, hit, reason, declined.serving, out);
        }
        let Some(wish) = self.leases.remove(&hit).and_then(|leased| leased.wish) else {
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

    /// A slot's Hit is over: the slot is idle unless it serves another, and the first in line gets it.
    pub(super) fn end_lease(
        &mut self,
        now: Moment,
        hit: HitKey,
        reason: ClosedReason,
        serving: Option<HitKey>,
        out: &mut Vec<Action>,
    ) {
        let Some(leased) = self.leases.remove(&hit) else { return };
        self.memory
            .insert(now, leased.ttl, hit, Past::Ended(End::unknown(reason)));
        if let Some(other) = serving {
            return self.registry.occupy(leased.slot, other);
        }
        self.free_slot(now, leased.slot, hit, out);
    }

    /// The slot serves this Hit no more.
    pub(super) fn free_slot(&mut self, now: Moment, slot: Peer, hit: HitKey, out: &mut Vec<Action>) {
        if self.registry.slot(slot).is_none_or(|slot| slot.hit != Some(hit)) {
            return;
        }
        self.registry.release(slot);
        if let Some(pool) = self.pool_of(slot) {
            self.serve_line(now, &pool, out);
        }
    }

    fn pool_of(&self, slot: Peer) -> Option<String> {
        let worker = self.registry.slot(slot)?.id.worker;
        self.registry.worker(worker).map(|worker| worker.pool.clone())
    }

    /// Another host serves a pool and has so many idle slots of it: as many of those who wait here for one, and would go
    /// there, are told. The last in line are: they lose no place if others are faster. Where nobody serves the pool here, all
    /// are: they wait for nothing.
    pub(super) fn send_on(&mut self, now: Moment, pool: &str, idle: u32, out: &mut Vec<Action>) {
        let (slots, _) = self.registry.count(pool);
        let (count, reason) = if slots == 0 && !self.is_young(now) {
            (QUEUE_MAX, FullReason::NoWorker)
        } else {
            (idle as usize, FullReason::Busy)
        };
        for wish in self.waiting.take_last(pool, count, |wish| wish.open.moves) {
            // Rule O6: who waits repeats its OPEN with the same attempt. One that is still on its way comes too late.
            let past = Past::Withdrawn(wish.open.attempt);
            self.memory.insert(now, self.ttl_of(&wish), wish.open.hit, past);
            self.send_full(wish.client, &wish.open, reason, out);
        }
    }

    /// Leases idle slots of a pool to those who wait for one.
    pub(super) fn serve_line(&mut self, now: Moment, pool: &str, out: &mut Vec<Action>) {
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
}
