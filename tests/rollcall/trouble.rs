//! How long a way has been in trouble, as who stands outside sees it.

use std::time::Duration;

use zhit::protocol::Moment;

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Trouble {
    began: Option<Moment>,
    bad_at: Moment,
    /// When it had lasted for long last.
    long_at: Option<Moment>,
}

impl Trouble {
    /// How it is now. `heals`: for so long it must be sound to count as sound; `long`: what counts as long.
    pub(crate) fn look(&mut self, now: Moment, sound: bool, (heals, long): (Duration, Duration)) {
        if !sound {
            self.began.get_or_insert(now);
            self.bad_at = now;
        } else if now.since(self.bad_at) > heals {
            self.began = None;
        }
        if self.began.is_some_and(|began| now.since(began) >= long) {
            self.long_at = Some(now);
        }
    }

    /// Rule A3: who watched it has himself stood still.
    pub(crate) const fn restart(&mut self) {
        self.began = None;
    }

    /// Whether it was in trouble for long within this time.
    pub(crate) fn was_long(&self, now: Moment, within: Duration) -> bool {
        self.long_at.is_some_and(|at| now.since(at) <= within)
    }
}
