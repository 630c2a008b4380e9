//! One host as an issuer sees it: whether its broker has told who is there, and when it was heard. Pure.

use std::collections::BTreeSet;
use std::ops::Range;
use std::time::Duration;

use crate::protocol::ids::Member;
use crate::protocol::pool::Enrolled;
use crate::protocol::time::Moment;
use crate::term::human::span;

/// What its broker has said of who is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Presence {
    /// Nothing yet.
    Awaited,
    /// These.
    Called(Vec<Enrolled>),
    /// It is not reached, and this is how that is known (rule B3).
    Unreached(String),
}

/// One host.
#[derive(Clone, Debug)]
pub(super) struct Desk {
    pub(super) host: String,
    pub(super) roll: Presence,
    /// When its broker was heard last.
    pub(super) heard_at: Moment,
    /// When it was heard again after a silence: what it had not passed on by then comes first.
    pub(super) resumed_at: Moment,
    /// Who came after the roster was pinned.
    pub(super) late: BTreeSet<Member>,
    /// Its members' places on the roster.
    pub(super) places: Range<usize>,
    /// How many of them are not settled.
    pub(super) outstanding: usize,
}

impl Desk {
    pub(super) const fn new(now: Moment, host: String) -> Self {
        Self {
            host,
            roll: Presence::Awaited,
            heard_at: now,
            resumed_at: Moment::ZERO,
            late: BTreeSet::new(),
            places: 0..0,
            outstanding: 0,
        }
    }

    pub(super) fn is_awaited(&self) -> bool {
        self.roll == Presence::Awaited
    }

    /// Rule B3: why it is not reached, if it was asked until patience was over.
    pub(super) fn is_lost(&self, now: Moment, patience: Duration) -> Option<String> {
        let silent = now.since(self.heard_at);
        (silent >= patience).then(|| format!("its host's broker has been silent for {}", span(silent)))
    }
}
