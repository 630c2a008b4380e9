//! Whether a handler that has told of its progress has ceased to (rule A2 c). Pure.

use std::time::Duration;

use crate::protocol::message::{Progress, WorkState};
use crate::protocol::time::Moment;

/// The progress that was seen last.
#[derive(Debug)]
pub(super) struct Stall {
    seen: Option<Progress>,
    at: Moment,
}

impl Stall {
    /// A request begins.
    pub(super) const fn new(now: Moment) -> Self {
        Self { seen: None, at: now }
    }

    /// What the handler does, as it looks by its `state` and `progress`. One that `waits` for others cannot get on.
    pub(super) fn judge(
        &mut self,
        now: Moment,
        state: WorkState,
        (progress, waits): (Option<&Progress>, bool),
        patience: Duration,
    ) -> WorkState {
        if waits || progress != self.seen.as_ref() {
            (self.seen, self.at) = (progress.cloned(), now);
        }
        let stalled = progress.is_some() && now.since(self.at) >= patience;
        match state {
            WorkState::Running if stalled => WorkState::Stalled,
            state => state,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_told_of_progress_and_ceased_to_is_stalled() {
        let patience = Duration::from_secs(5);
        let at = |seconds: u64| Moment::from_micros(seconds * 1_000_000);
        let progress = |done| Progress {
            done,
            total: 10,
            note: String::new(),
        };
        let mut stall = Stall::new(at(100));
        let mut judge = |now, progress: Option<&Progress>, waits| {
            stall.judge(at(now), WorkState::Running, (progress, waits), patience)
        };
        // Who never told of any may compute as long as it likes.
        assert_eq!(judge(200, None, false), WorkState::Running);
        assert_eq!(judge(201, Some(&progress(1)), false), WorkState::Running);
        assert_eq!(judge(205, Some(&progress(1)), false), WorkState::Running);
        assert_eq!(judge(206, Some(&progress(1)), false), WorkState::Stalled);
        assert_eq!(judge(207, Some(&progress(2)), false), WorkState::Running);
        assert_eq!(judge(213, Some(&progress(2)), true), WorkState::Running);
        assert_eq!(judge(217, Some(&progress(2)), false), WorkState::Running);
        assert_eq!(judge(218, Some(&progress(2)), false), WorkState::Stalled);
        let state = stall.judge(at(230), WorkState::Stopped, (Some(&progress(2)), false), patience);
        assert_eq!(state, WorkState::Stopped);
    }
}
