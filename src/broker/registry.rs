//! Who is registered: workers, their slots, and which slots are idle, the longest idle first. Part of the broker's pure
//! machine.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use crate::protocol::ids::{HitKey, Incarnation, Peer, SlotId, WorkerId};
use crate::protocol::message::{PongWorker, Register};
use crate::protocol::time::Moment;

use super::health::Beat;

/// A worker: its control connection and its slots'.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) incarnation: Incarnation,
    pub(super) pid: u32,
    pub(super) pool: String,
    pub(super) control: Option<Peer>,
    pub(super) heard_at: Moment,
    pub(super) draining: bool,
    /// It elects and judges brokers (rule O7).
    pub(super) votes: bool,
    /// It keeps a journal (rule O7).
    journal: bool,
    /// Its loops, as far as they can be seen from here: the control thread's, then those of its slots.
    pub(super) beats: Vec<Beat>,
    /// Slots whose handler is stopped, or has ceased to report progress.
    pub(super) hung_handlers: BTreeSet<u32>,
    pub(super) slots: BTreeMap<u32, Peer>,
    /// How many of them serve a Hit: counted as that changes, since every turn of the loop asks.
    busy: u32,
}

/// A slot's connection.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) id: SlotId,
    pub(super) hit: Option<HitKey>,
    pub(super) draining: bool,
    /// Stands in its pool's line of idle slots.
    in_line: bool,
}

#[derive(Debug, Default)]
pub(super) struct Registry {
    workers: BTreeMap<WorkerId, Worker>,
    slots: HashMap<Peer, Slot>,
    controls: HashMap<Peer, WorkerId>,
    /// Idle slots of each pool, the longest idle first. May name slots that are idle no more; those are skipped.
    idle: HashMap<String, VecDeque<Peer>>,
    /// Counts what changes [`pools`](Self::pools).
    changes: u64,
}

impl Registry {
    /// Another number than before if [`pools`](Self::pools) may say something else.
    pub(super) const fn changes(&self) -> u64 {
        self.changes
    }

    /// Which Hit a slot serves. All changes of that go through here.
    fn set_hit(&mut self, peer: Peer, hit: Option<HitKey>) {
        let Some(slot) = self.slots.get_mut(&peer) else { return };
        let before = std::mem::replace(&mut slot.hit, hit).is_some();
        if before != hit.is_some()
            && let Some(worker) = self.workers.get_mut(&slot.id.worker)
        {
            worker.busy = if before { worker.busy - 1 } else { worker.busy + 1 };
            self.changes += 1;
        }
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len() + self.controls.len()
    }

    pub(super) fn worker(&self, id: WorkerId) -> Option<&Worker> {
        self.workers.get(&id)
    }

    pub(super) fn worker_mut(&mut self, id: WorkerId) -> Option<&mut Worker> {
        self.workers.get_mut(&id)
    }

    pub(super) fn workers(&self) -> impl Iterator<Item = (WorkerId, &Worker)> {
        self.workers.iter().map(|(id, worker)| (*id, worker))
    }

    pub(super) fn slot(&self, peer: Peer) -> Option<&Slot> {
        self.slots.get(&peer)
    }

    pub(super) fn is_known(&self, peer: Peer) -> bool {
        self.slots.contains_key(&peer) || self.controls.contains_key(&peer)
    }

    /// Whether this connection is another slot's, or another worker's, than that of this one. The number 0 is a control
    /// thread's.
    pub(super) fn is_another(&self, peer: Peer, id: SlotId) -> bool {
        let slot = self.slots.get(&peer).map(|slot| slot.id);
        let control = self.controls.get(&peer).map(|worker| (*worker, 0));
        let known = slot.map(|slot| (slot.worker, slot.number)).or(control);
        known.is_some_and(|known| known != (id.worker, id.number))
    }

    /// Peers of every slot and control thread.
    pub(super) fn peers(&self) -> impl Iterator<Item = Peer> {
        let workers = self.workers.values();
        workers.flat_map(|worker| worker.slots.values().copied().chain(worker.control))
    }

    pub(super) fn heard(&mut self, now: Moment, control: Peer) -> bool {
        let worker = self.controls.get(&control).and_then(|id| self.workers.get_mut(id));
        worker.map(|worker| worker.heard_at = now).is_some()
    }

    /// Every worker counts as heard now (rule A3).
    pub(super) fn restart_clocks(&mut self, now: Moment) {
        for worker in self.workers.values_mut() {
            worker.heard_at = now;
            worker.restart_beats(now);
        }
    }

    /// Makes a worker known, or one slot of it; returns whether the worker is new. Does not touch which Hit the slot
    /// serves, whatever connection it has. An earlier incarnation must have been forgotten.
    pub(super) fn register(&mut self, now: Moment, from: Peer, said: &Register) -> bool {
        let id = said.slot.worker;
        let is_new = !self.workers.contains_key(&id);
        let worker = self.workers.entry(id).or_insert_with(|| Worker {
            incarnation: said.incarnation,
            pid: said.pid,
            pool: said.pool.clone(),
            control: None,
            heard_at: now,
            draining: false,
            votes: said.votes,
            journal: said.journal,
            beats: Vec::new(),
            hung_handlers: BTreeSet::new(),
            slots: BTreeMap::new(),
            busy: 0,
        });
        let differs = said.draining && !worker.draining;
        worker.heard_at = now;
        worker.draining |= said.draining;
        worker.votes |= said.votes;
        let old = if said.slot.number == 0 {
            let old = worker.control.replace(from);
            self.controls.insert(from, id);
            old
        } else {
            let old = worker.slots.insert(said.slot.number, from);
            self.changes += u64::from(old.is_none());
            let moved = old.filter(|old| *old != from).and_then(|old| self.slots.get(&old));
            let hit = moved.and_then(|slot| slot.hit);
            let slot = self.slots.entry(from).or_insert(Slot {
                id: said.slot,
                hit: None,
                draining: false,
                in_line: false,
            });
            slot.draining = said.draining;
            if hit.is_some() {
                self.set_hit(from, hit);
            }
            old
        };
        if let Some(old) = old.filter(|old| *old != from) {
            self.set_hit(old, None);
            self.slots.remove(&old);
            self.controls.remove(&old);
        }
        self.changes += u64::from(is_new || differs);
        is_new
    }

    /// Whether the worker of this slot keeps a journal; one that is not known counts as one that does not.
    pub(super) fn keeps_journal(&self, slot: Peer) -> bool {
        let worker = self.slots.get(&slot).and_then(|slot| self.workers.get(&slot.id.worker));
        worker.is_some_and(|worker| worker.journal)
    }

    /// The connection of a slot.
    pub(super) fn slot_peer(&self, id: SlotId) -> Option<Peer> {
        self.workers.get(&id.worker)?.slots.get(&id.number).copied()
    }

    /// Forgets a worker; returns the connections of its slots.
    pub(super) fn forget_worker(&mut self, id: WorkerId) -> Vec<Peer> {
        let Some(worker) = self.workers.remove(&id) else {
            return Vec::new();
        };
        self.changes += 1;
        if let Some(control) = worker.control {
            self.controls.remove(&control);
        }
        let slots: Vec<Peer> = worker.slots.into_values().collect();
        for peer in &slots {
            self.slots.remove(peer);
        }
        slots
    }

    /// Forgets one slot; returns its connection.
    pub(super) fn forget_slot(&mut self, id: SlotId) -> Option<Peer> {
        let peer = self.workers.get_mut(&id.worker)?.slots.remove(&id.number)?;
        self.set_hit(peer, None);
        self.changes += 1;
        self.slots.remove(&peer);
        Some(peer)
    }

    /// The slot serves this Hit.
    pub(super) fn occupy(&mut self, peer: Peer, hit: HitKey) {
        self.set_hit(peer, Some(hit));
    }

    /// The slot serves nothing; it goes to the end of its pool's line.
    pub(super) fn release(&mut self, peer: Peer) {
        self.set_hit(peer, None);
        let Some(slot) = self.slots.get_mut(&peer) else { return };
        let Some(worker) = self.workers.get(&slot.id.worker) else {
            return;
        };
        if !slot.in_line {
            slot.in_line = true;
            self.idle.entry(worker.pool.clone()).or_default().push_back(peer);
        }
    }

    /// Takes the longest idle slot of a pool whose worker was heard within `liveness` and whose loops turn. Another one
    /// keeps its place.
    pub(super) fn take_idle(&mut self, now: Moment, pool: &str, liveness: Duration) -> Option<Peer> {
        let line = self.idle.get_mut(pool)?;
        let mut silent = Vec::new();
        let mut found = None;
        while let Some(peer) = line.pop_front() {
            let Some(slot) = self.slots.get_mut(&peer) else {
                continue;
            };
            let worker = self.workers.get(&slot.id.worker);
            let usable = slot.hit.is_none() && !slot.draining && worker.is_some_and(|worker| !worker.draining);
            let number = slot.id.number;
            let awake = |worker: &Worker| now.since(worker.heard_at) < liveness && worker.turns(now, number, liveness);
            if usable && !worker.is_some_and(awake) {
                silent.push(peer);
                continue;
            }
            slot.in_line = false;
            if usable {
                found = Some(peer);
                break;
            }
        }
        silent.into_iter().rev().for_each(|peer| line.push_front(peer));
        if line.is_empty() {
            self.idle.remove(pool);
        }
        found
    }

    /// The slot takes no new Hit.
    pub(super) fn set_draining(&mut self, peer: Peer) {
        self.set_hit(peer, None);
        if let Some(slot) = self.slots.get_mut(&peer) {
            slot.draining = true;
        }
    }

    /// A slot to break the rules with: any of the pool, idle or not. For the simulator's mutation.
    pub(super) fn any_slot(&self, pool: &str) -> Option<Peer> {
        let worker = self.workers.values().find(|worker| worker.pool == pool)?;
        worker.slots.values().next().copied()
    }

    /// Slots of a pool, and how many of them serve a Hit.
    pub(super) fn count(&self, pool: &str) -> (u32, u32) {
        let of_pool = self.workers.values().filter(|worker| worker.pool == pool);
        of_pool.fold((0, 0), |(slots, busy), worker| {
            (slots + worker.slots.len() as u32, busy + worker.busy)
        })
    }

    /// Slots of each pool, and how many of them would take a Hit: none of a worker that is silent.
    pub(super) fn pools(&self, now: Moment, liveness: Duration) -> BTreeMap<String, (u32, u32)> {
        let mut pools: BTreeMap<String, (u32, u32)> = BTreeMap::new();
        for worker in self.workers.values() {
            let slots = worker.slots.len() as u32;
            let takes = !worker.draining && now.since(worker.heard_at) < liveness;
            let idle = if takes { slots - worker.busy } else { 0 };
            let pool = pools.entry(worker.pool.clone()).or_default();
            *pool = (pool.0 + slots, pool.1 + idle);
        }
        pools
    }

    /// Slots of a worker that serve a Hit and hang.
    fn hung(&self, now: Moment, worker: &Worker, patience: Duration) -> u32 {
        let busy = |peer: &Peer| self.slots.get(peer).is_some_and(|slot| slot.hit.is_some());
        let hung = |(number, peer): &(&u32, &Peer)| busy(peer) && worker.is_hung(now, **number, patience);
        worker.slots.iter().filter(hung).count() as u32
    }

    /// What a PONG tells of at most `max` workers.
    pub(super) fn describe(&self, now: Moment, patience: Duration, max: usize) -> Vec<PongWorker> {
        let workers = self.workers.iter().take(max);
        workers
            .map(|(id, worker)| PongWorker {
                worker: *id,
                pid: worker.pid,
                pool: worker.pool.clone(),
                slots: worker.slots.len() as u32,
                busy: worker.busy,
                silent_ms: u32::try_from(now.since(worker.heard_at).as_millis()).unwrap_or(u32::MAX),
                hung: self.hung(now, worker, patience),
                still_ms: u32::try_from(worker.control_still(now).as_millis()).unwrap_or(u32::MAX),
                draining: worker.draining,
            })
            .collect()
    }
}
