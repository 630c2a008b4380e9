//! Which host a Hit asks for a slot: its own first, then whom a full one names, and, when all are full, one to wait at.
//! Part of a client's pure machine; docs/protocol.md section 6.1, rule O6.

use std::collections::{BTreeMap, BTreeSet};

use crate::protocol::ids::HitKey;
use crate::protocol::limits::{CONNECT_GAP, MASTER_GAP};
use crate::protocol::message::{FullReason, Hint};
use crate::protocol::time::Moment;

/// 2^64 by the golden ratio: the upper half of a product with it hangs on every bit of the other factor below.
const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// The hosts that a client may ask.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hosts {
    /// The client's own.
    pub here: String,
    /// Those of the others whose brokers have an address, in the order in which they are tried where nobody names one.
    pub others: Vec<String>,
    /// The only one to ask, since it has the Hit.
    pub only: Option<String>,
}

/// What has become of an OPEN at a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tried {
    /// It was told so.
    Full(FullReason),
    /// Nothing was sent: no broker was there.
    Unreached,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Ask at once: another host, or this one for a place in line.
    Ask,
    /// All were asked: begin anew after a pause.
    Pause,
}

/// Where a Hit is asked for, and where it was.
#[derive(Clone, Debug)]
pub(super) struct Course {
    hosts: Hosts,
    at: String,
    /// Since when.
    since: Moment,
    queues: bool,
    tried: BTreeMap<String, Tried>,
    /// Who serves the pool, as the last host that was full has said; the best first.
    hints: Vec<Hint>,
    /// Other hosts whose brokers were ever found not to be there.
    missed: BTreeSet<String>,
}

impl Course {
    /// Begins at the host that has the Hit, or else at the client's own.
    pub(super) fn new(now: Moment, mut hosts: Hosts) -> Self {
        if hosts.only.is_some() {
            hosts.others.clear();
        }
        Self {
            at: hosts.only.as_ref().unwrap_or(&hosts.here).clone(),
            since: now,
            queues: hosts.others.is_empty(),
            tried: BTreeMap::new(),
            hints: Vec::new(),
            missed: BTreeSet::new(),
            hosts,
        }
    }

    /// The host that it asks; `None`: the client's own.
    pub(super) fn there(&self) -> Option<&str> {
        (self.at != self.hosts.here).then_some(self.at.as_str())
    }

    /// Whether there are others to go to.
    pub(super) fn has_others(&self) -> bool {
        !self.hosts.others.is_empty()
    }

    /// How many other hosts there are, and how many of them were tried in vain.
    pub(super) fn others(&self) -> (usize, usize) {
        (self.hosts.others.len(), self.missed.len())
    }

    /// Whether it asks for a place in line, if no slot is idle.
    pub(super) const fn queues(&self) -> bool {
        self.queues
    }

    /// The host is asked from then on.
    pub(super) const fn begin(&mut self, at: Moment) {
        self.since = at;
    }

    /// When to go on from a host whose broker is not there; `None`: there is nowhere to go.
    pub(super) fn gap_until(&self) -> Option<Moment> {
        let gap = if self.there().is_some() {
            CONNECT_GAP
        } else {
            MASTER_GAP
        };
        self.has_others().then(|| self.since + gap)
    }

    /// The host that it asks was not reached, so that nothing was sent there.
    pub(super) fn unreached(&mut self, key: HitKey) -> Next {
        self.missed.extend(self.there().map(str::to_owned));
        self.go_on(Tried::Unreached, key)
    }

    /// The host that it asks has said FULL (rule O6): nothing is leased there.
    pub(super) fn full(&mut self, reason: FullReason, hints: &[Hint], key: HitKey) -> Next {
        hints.clone_into(&mut self.hints);
        self.go_on(Tried::Full(reason), key)
    }

    fn go_on(&mut self, tried: Tried, key: HitKey) -> Next {
        let queued = std::mem::take(&mut self.queues);
        if queued {
            // It was sent on from its place in line, or had none: all may have changed since.
            self.tried.clear();
        }
        self.tried.insert(self.at.clone(), tried);
        let idle = self.idle(key);
        let next = if queued { idle } else { idle.or_else(|| self.another()) };
        let Some(next) = next else {
            // Nobody is left, or not even a place in line was to be had.
            self.queues = false;
            self.tried.clear();
            self.at.clone_from(&self.hosts.here);
            return Next::Pause;
        };
        self.at = next;
        Next::Ask
    }

    /// One that nobody has named, or a place in line.
    fn another(&mut self) -> Option<String> {
        self.unasked().or_else(|| {
            self.queues = true;
            self.line()
        })
    }

    /// One of those that are said to have idle slots and were not asked yet, each as likely as it has slots: many clients
    /// that hear the same news must not all go to the same host.
    fn idle(&self, key: HitKey) -> Option<String> {
        let fit: Vec<&Hint> = self.hints.iter().filter(|hint| self.is_idle(hint)).collect();
        let all: u64 = fit.iter().map(|hint| u64::from(hint.idle)).sum();
        // The key is random; it chooses anew each time.
        let odd = GOLDEN.wrapping_mul(2 * self.tried.len() as u64 + 1);
        let mut at = (key.number().wrapping_mul(odd) >> 32) % all.max(1);
        for hint in fit {
            let idle = u64::from(hint.idle);
            if at < idle {
                return Some(hint.host.clone());
            }
            at -= idle;
        }
        None
    }

    fn is_idle(&self, hint: &Hint) -> bool {
        hint.idle > 0 && self.knows(&hint.host) && !self.tried.contains_key(&hint.host)
    }

    fn knows(&self, host: &str) -> bool {
        host == self.hosts.here || self.hosts.others.iter().any(|other| other == host)
    }

    /// The next in order, as long as nobody has said who is idle.
    fn unasked(&self) -> Option<String> {
        let told = self.tried.values().any(|tried| matches!(tried, Tried::Full(_)));
        let mut others = self.hosts.others.iter().filter(|_| !told);
        others.find(|host| !self.tried.contains_key(*host)).cloned()
    }

    /// The host to wait at: its own if that serves the pool, else the first that does, else the first that answers.
    fn line(&self) -> Option<String> {
        let all = || std::iter::once(&self.hosts.here).chain(&self.hosts.others);
        let serves = |host: &&String| match self.tried.get(*host) {
            Some(Tried::Full(reason)) => !matches!(reason, FullReason::NoWorker | FullReason::Leaving),
            Some(Tried::Unreached) => false,
            None => self.hints.iter().any(|hint| hint.host == **host),
        };
        let answers = |host: &&String| matches!(self.tried.get(*host), Some(Tried::Full(_)));
        all().find(serves).or_else(|| all().find(answers)).cloned()
    }
}

#[cfg(test)]
#[path = "course_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "course_hit_tests.rs"]
mod hit_tests;
