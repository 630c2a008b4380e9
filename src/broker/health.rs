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

    /// The handlers of these slots of a worker are stopped, as by SIGSTOP; no others.
    pub fn on_stopped(&mut self, id: WorkerId, slots: &[u32]) {
        if let Some(worker) = self.registry.worker_mut(id) {
            worker.stopped = slots.iter().copied().collect();
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

    /// Whether a slot that serves a Hit hangs (rule A2): a loop has stood still for patience, or its handler is stopped.
    /// One that merely computes for long does not: its handler is a process of its own, and its loop turns.
    pub(super) fn is_hung(&self, now: Moment, number: u32, patience: Duration) -> bool {
        if broken(Rule::A2) {
            return now.since(self.heard_at) >= patience;
        }
        self.stopped.contains(&number) || self.still(now, 0).max(self.still(now, number)) >= patience
    }

    /// Nobody has stood still so far: the one who looks has (rule A3).
    pub(super) fn restart_beats(&mut self, now: Moment) {
        self.beats.iter_mut().for_each(|beat| beat.moved_at = now);
    }
}
