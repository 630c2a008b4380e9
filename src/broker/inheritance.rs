//! What a broker takes over from those before it: which Hits the members' journals name, of the living and of the dead
//! (rule O4). Part of the broker's pure machine.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::election::journal::{EndedHit, RunningHit, WorkerJournal};
use crate::protocol::ids::{HitKey, Incarnation, SlotId, WorkerId};
use crate::protocol::limits::TTL;
use crate::protocol::message::ClosedReason;
use crate::protocol::mutation::{Rule, broken};
use crate::protocol::time::Moment;

use super::machine::{Action, Machine};
use super::waiting::{End, Past};

/// How long a repeated OPEN may be under way, at a busy broker's start: by so much its first one seems to have left later
/// than it has, and it must not seem to have left after the lease that it was given (rule O7).
const UNDER_WAY: Duration = Duration::from_millis(500);

/// Hits that slots served when the journals were read. Each waits for its slot to register, or for its worker's lock to
/// fall, and for nothing else (rule O3).
#[derive(Debug, Default)]
pub(super) struct Inheritance {
    held: BTreeMap<HitKey, Held>,
    /// Every member keeps a journal: a key that none of them names never ran.
    pub(super) complete: bool,
}

/// One of them.
#[derive(Clone, Copy, Debug)]
struct Held {
    slot: SlotId,
    incarnation: Incarnation,
    ttl: Duration,
}

impl Inheritance {
    pub(super) fn holds(&self, hit: HitKey) -> bool {
        self.held.contains_key(&hit)
    }

    /// Takes out those that `theirs` names, each with its ttl.
    fn take(&mut self, theirs: impl Fn(&Held) -> bool) -> Vec<(HitKey, Duration)> {
        let found = self.held.iter().filter(|(_, held)| theirs(held));
        let found = found.map(|(key, held)| (*key, held.ttl)).collect();
        self.held.retain(|_, held| !theirs(held));
        found
    }
}

impl Machine {
    /// Takes over what the journals of all members say, at the very start; `complete`: there is no member without one.
    pub fn inherit(&mut self, now: Moment, journals: &[WorkerJournal], complete: bool, out: &mut Vec<Action>) {
        self.inheritance.complete = complete;
        self.inherit_fates(now, journals);
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
                let held = Held {
                    slot: id,
                    incarnation: journal.incarnation,
                    ttl: hit.ttl,
                };
                self.inheritance.held.insert(hit.key, held);
            }
            // One that has died since then is noticed as this begins.
            out.push(Action::Watch(journal.worker, journal.incarnation, journal.pid));
        }
    }

    /// Nothing is known of what ran before then: the host's directory was made later, and may have been wiped (rule O5).
    pub fn know_nothing_before(&mut self, made_at: Moment) {
        self.memory.forget_until(made_at);
    }

    /// Until then Hits were leased to workers without a journal (rule O7); zero: none was.
    pub fn leased_unjournalled_until(&mut self, last_at: Moment) {
        if last_at > Moment::ZERO {
            self.memory.forget_until(last_at + UNDER_WAY);
        }
    }

    /// Keeps what a journal tells of Hits that are over, and, of a dead worker, of those that it ran.
    pub(super) fn remember(&mut self, now: Moment, journal: &WorkerJournal) {
        for slot in &journal.slots {
            self.memory.forget_until(slot.overwritten_until);
            for hit in &slot.ended {
                let ttl = hit.ttl.max(TTL);
                if hit.ended_at + ttl * 2 > now {
                    let past = Past::Ended(End::from(hit));
                    self.memory.insert_new(hit.ended_at, ttl, hit.key, past);
                }
            }
            if let (Some(hit), false) = (&slot.running, journal.alive) {
                let end = End::of(died(journal), hit);
                self.memory.insert(now, hit.ttl.max(TTL), hit.key, Past::Ended(end));
            }
        }
    }

    /// A slot has registered: what it held when the journals were read it holds still, as it says itself, or has ended
    /// meanwhile, as its journal says by now. Returns the ttl of what it serves; the usual one if that is not known.
    pub(super) fn slot_has_come(&mut self, slot: SlotId, serves: Option<HitKey>, out: &mut Vec<Action>) -> Duration {
        let held = self.inheritance.take(|held| held.slot == slot);
        if held.iter().any(|(key, _)| serves != Some(*key)) {
            out.push(Action::Consult(slot.worker));
        }
        let serving = held.iter().find(|(key, _)| serves == Some(*key));
        serving.map_or(TTL, |(_, ttl)| (*ttl).max(TTL))
    }

    /// A worker that may never have registered here has ended; its journal says what became of its Hits.
    pub(super) fn heir_of(&mut self, now: Moment, id: WorkerId, incarnation: Incarnation) {
        let theirs = |held: &Held| held.slot.worker == id && held.incarnation == incarnation;
        for (key, ttl) in self.inheritance.take(theirs) {
            let unknown = End::unknown(ClosedReason::WorkerDied);
            self.memory.insert_new(now, ttl.max(TTL), key, Past::Ended(unknown));
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
            attach: hit.attach,
        }
    }
}

impl From<&EndedHit> for End {
    fn from(hit: &EndedHit) -> Self {
        Self {
            reason: hit.reason,
            started: hit.started,
            answered: hit.answered,
            attach: hit.attach,
        }
    }
}
