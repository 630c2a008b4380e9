//! Which workers and slots hang (rule A2), from their loop counters. Part of the broker's pure machine.

use std::time::Duration;

use crate::protocol::ids::WorkerId;
use crate::protocol::mutation::{Rule, broken};
use crate::protocol::time::Moment;

use super::machine::Machine;
use super::registry::Worker;

/// A loop's counter, and when it was last seen to move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Beat {
    count: u64,
    pub(super) moved_at: Moment,
}

impl Machine {
    /// What a worker's loop counters show: its control thread's, then those of its slots.
    pub fn on_beats(&mut self, now: Moment, id: WorkerId, counts: &[u64]) {
        let Some(worker) = self.registry.worker_mut(id) else {
            return;
        };
        let seen = |(index, count): (usize, &u64)| match worker.beats.get(index) {
            Some(before) if before.count == *count => *before,
            _ => Beat {
                count: *count,
                moved_at: now,
            },
        };
        worker.beats = counts.iter().enumerate().map(seen).collect();
    }

    /// Workers of which a slot hangs that serves a Hit, for the simulator.
    pub fn hung_workers(&self, now: Moment) -> Vec<WorkerId> {
        let all = self.registry.describe(now, self.config.patience, usize::MAX);
        let hung = all.into_iter().filter(|worker| worker.hung > 0);
        hung.map(|worker| worker.worker).collect()
    }

    /// The handlers of these slots of a worker hang: they are stopped, as by SIGSTOP, or their progress has ceased. No others
    /// do.
    pub fn on_hung_handlers(&mut self, id: WorkerId, slots: &[u32]) {
        if let Some(worker) = self.registry.worker_mut(id) {
            worker.hung_handlers = slots.iter().copied().collect();
        }
    }
}

impl Worker {
    /// How long the loop of the control thread (0) or of a slot has stood still; nothing if that cannot be seen.
    fn still(&self, now: Moment, number: u32) -> Duration {
        let beat = self.beats.get(number as usize);
        beat.map_or(Duration::ZERO, |beat| now.since(beat.moved_at))
    }

    /// How long its control loop has stood still.
    pub(super) fn control_still(&self, now: Moment) -> Duration {
        self.still(now, 0)
    }

    /// Whether one of its slots would take a Hit at once: both loops turn.
    pub(super) fn turns(&self, now: Moment, number: u32, liveness: Duration) -> bool {
        self.still(now, 0).max(self.still(now, number)) < liveness
    }

    /// Whether a slot that serves a Hit hangs (rule A2): a loop has stood still for patience, or its handler hangs.
    /// One that merely computes for long does not: its handler is a process of its own, and its loop turns.
    pub(super) fn is_hung(&self, now: Moment, number: u32, patience: Duration) -> bool {
        if broken(Rule::A2) {
            return now.since(self.heard_at) >= patience;
        }
        self.hung_handlers.contains(&number) || self.still(now, 0).max(self.still(now, number)) >= patience
    }

    /// Nobody has stood still so far: the one who looks has (rule A3).
    pub(super) fn restart_beats(&mut self, now: Moment) {
        self.beats.iter_mut().for_each(|beat| beat.moved_at = now);
    }
}

#[cfg(test)]
mod tests {
    use crate::broker::registry::Registry;
    use crate::protocol::ids::{Incarnation, Peer, SlotId, WorkerId};
    use crate::protocol::message::Register;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(5);

    /// A worker with one slot, registered at the beginning of time and not heard of since.
    fn registry() -> Registry {
        let mut registry = Registry::default();
        let peer = Peer::from_routing_id(&[0, 0, 0, 0, 1]).expect("a routing id");
        let said = Register {
            slot: SlotId {
                worker: WorkerId(1),
                number: 1,
            },
            incarnation: Incarnation(1),
            pid: 1,
            pool: "pool".to_owned(),
            slots: 1,
            journal: true,
            votes: true,
            draining: false,
            hit: None,
        };
        registry.register(Moment::ZERO, peer, &said);
        registry
    }

    fn beats(count: u64, moved_at: Moment) -> Vec<Beat> {
        vec![Beat { count, moved_at }; 2]
    }

    /// Rule A2: its loops turn, so who computes for long is not hung, however long nothing was heard of it.
    #[test]
    fn who_computes_for_long_is_not_hung() {
        let mut registry = registry();
        let now = Moment::ZERO + PATIENCE * 20;
        let worker = registry.worker_mut(WorkerId(1)).expect("registered");
        worker.beats = beats(7, now);
        assert!(!worker.is_hung(now, 1, PATIENCE));
        // Taken out, the rule is missed here: the simulator has no loops that stand still.
        crate::protocol::mutation::break_rule(Some(Rule::A2));
        let hung = worker.is_hung(now, 1, PATIENCE);
        crate::protocol::mutation::break_rule(None);
        assert_eq!(hung, cfg!(debug_assertions));
    }

    /// Rule A2: a loop that stands still for patience, or a handler that is stopped, and nothing else.
    #[test]
    fn who_stands_still_or_is_stopped_is_hung() {
        let mut registry = registry();
        let worker = registry.worker_mut(WorkerId(1)).expect("registered");
        worker.beats = beats(7, Moment::ZERO);
        assert!(!worker.is_hung(Moment::ZERO + PATIENCE / 2, 1, PATIENCE));
        assert!(worker.is_hung(Moment::ZERO + PATIENCE, 1, PATIENCE));
        worker.restart_beats(Moment::ZERO + PATIENCE);
        assert!(!worker.is_hung(Moment::ZERO + PATIENCE, 1, PATIENCE));
        worker.hung_handlers.insert(1);
        assert!(worker.is_hung(Moment::ZERO + PATIENCE, 1, PATIENCE));
    }
}
