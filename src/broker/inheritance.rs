//! What a broker takes over from those before it: which Hits the members' journals name, of the living and of the dead
//! (rule O4). Part of the broker's pure machine.

use std::collections::BTreeMap;

use crate::election::journal::{EndedHit, RunningHit, WorkerJournal};
use crate::protocol::ids::{Attach, HitKey, Incarnation, SlotId, WorkerId};
use crate::protocol::limits::TTL;
use crate::protocol::message::ClosedReason;
use crate::protocol::mutation::{Rule, broken};
use crate::protocol::time::Moment;

use super::machine::{Action, Machine};
use super::waiting::{End, Past};

/// Hits that slots served when the journals were read. Each waits for its slot to register, or for its worker's lock to
/// fall, and for nothing else (rule O3).
#[derive(Debug, Default)]
pub(super) struct Inheritance {
    held: BTreeMap<HitKey, (SlotId, Incarnation)>,
    /// Every member keeps a journal: a key that none of them names never ran.
    pub(super) complete: bool,
}

impl Inheritance {
    pub(super) fn holds(&self, hit: HitKey) -> bool {
        self.held.contains_key(&hit)
    }

    /// A slot has come itself, and says what it serves.
    fn take(&mut self, slot: SlotId) -> Vec<HitKey> {
        let of_slot = self.held.iter().filter(|(_, (held, _))| *held == slot);
        let keys: Vec<HitKey> = of_slot.map(|(key, _)| *key).collect();
        for key in &keys {
            self.held.remove(key);
        }
        keys
    }

    fn of_worker(&mut self, id: WorkerId, incarnation: Incarnation) -> Vec<HitKey> {
        let theirs = |(slot, held): &(SlotId, Incarnation)| slot.worker == id && *held == incarnation;
        let keys: Vec<HitKey> = self
            .held
            .iter()
            .filter(|(_, held)| theirs(held))
            .map(|(key, _)| *key)
            .collect();
        self.held.retain(|_, held| !theirs(held));
        keys
    }
}

impl Machine {
    /// Takes over what the journals of all members say, at the very start; `complete`: there is no member without one.
    pub fn inherit(&mut self, now: Moment, journals: &[WorkerJournal], complete: bool, out: &mut Vec<Action>) {
        self.inheritance.complete = complete;
        for journal in journals {
            self.remember(now, journal);
            if !journal.alive {
                continue;
            }
            for slot in &journal.slots {
                let Some(hit) = &slot.running else { continue };
                let id = SlotId {
                    worker: journal.worker,
                    number: slot.slot,
                };
                self.inheritance.held.insert(hit.key, (id, journal.incarnation));
            }
            // One that has died since then is noticed as this begins.
            out.push(Action::Watch(journal.worker, journal.incarnation, journal.pid));
        }
    }

    /// The host's directory was made then, and knows nothing of what ran before (rule O5): it may have been wiped.
    pub fn know_nothing_before(&mut self, made_at: Moment) {
        self.memory.forget_until(made_at);
    }

    /// Keeps what a journal tells of Hits that are over, and, of a dead worker, of those that it ran.
    pub(super) fn remember(&mut self, now: Moment, journal: &WorkerJournal) {
        for slot in &journal.slots {
            self.memory.forget_until(slot.overwritten_until);
            for hit in &slot.ended {
                let until = hit.ended_at + TTL * 2;
                if until > now {
                    self.memory.insert_new(until, hit.key, Past::Ended(End::from(hit)));
                }
            }
            if let (Some(hit), false) = (&slot.running, journal.alive) {
                let end = End::of(died(journal), hit);
                self.memory
                    .insert(now + hit.ttl.max(TTL) * 2, hit.key, Past::Ended(end));
            }
        }
    }

    /// A slot has registered: what it held when the journals were read it holds still, as it says itself, or has ended
    /// meanwhile, as its journal says by now.
    pub(super) fn slot_has_come(&mut self, slot: SlotId, serves: Option<HitKey>, out: &mut Vec<Action>) {
        let held = self.inheritance.take(slot);
        if held.iter().any(|key| serves != Some(*key)) {
            out.push(Action::Consult(slot.worker));
        }
    }

    /// A worker that may never have registered here has ended; its journal says what became of its Hits.
    pub(super) fn heir_of(&mut self, now: Moment, id: WorkerId, incarnation: Incarnation) {
        for key in self.inheritance.of_worker(id, incarnation) {
            let unknown = End::unknown(ClosedReason::WorkerDied);
            self.memory.insert_new(now + TTL * 2, key, Past::Ended(unknown));
        }
    }

    /// Whether nobody can know yet, or ever, whether a Hit that neither this broker nor a journal names was served
    /// before: the first OPEN of it left at `asked_at`.
    pub(super) fn may_have_run(&self, now: Moment, asked_at: Moment) -> bool {
        if broken(Rule::O4) {
            return false;
        }
        let before_us = asked_at < self.started_at && !self.inheritance.complete;
        let forgotten_until = self.memory.forgotten_until();
        before_us || (asked_at < now && forgotten_until > Moment::ZERO && asked_at <= forgotten_until)
    }
}

fn died(journal: &WorkerJournal) -> ClosedReason {
    if journal.left {
        ClosedReason::WorkerLeft
    } else {
        ClosedReason::WorkerDied
    }
}

impl End {
    fn of(reason: ClosedReason, hit: &RunningHit) -> Self {
        Self {
            reason,
            started: hit.started,
            answered: hit.answered,
            attach: Attach(0),
        }
    }
}

impl From<&EndedHit> for End {
    fn from(hit: &EndedHit) -> Self {
        Self {
            reason: hit.reason,
            started: hit.started,
            answered: hit.answered,
            attach: Attach(0),
        }
    }
}
