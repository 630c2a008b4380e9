//! When a worker starts a candidate for its host's office (rules E1, E3). PURE.
//!
//! The office is vacant when nobody holds the lock. The lowest rank then starts a candidate at once, each next one a
//! stagger later if the lock is still free, and all go on until the record names a live holder: whoever should have
//! come first may be stopped. Nothing is decided from memory: a candidate is started only in answer to a fresh look.

use std::time::Duration;

use crate::protocol::ids::Term;
use crate::protocol::limits::{
    CANDIDATE_BACKOFF_MAX, CANDIDATE_PATIENCE, CANDIDATE_STAGGER, RESERVATION_MAX, RESERVED_LOOK_EVERY,
};
use crate::protocol::time::{Moment, earliest};

/// Who the record says is the master.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its process.
    pub pid: u32,
    /// When that process started, in clock ticks since the machine did.
    pub start_ticks: u64,
    /// Its term.
    pub term: Term,
    /// Whether that very process is still there.
    pub alive: bool,
}

/// For whom a leaver keeps the office (rule E3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reservation {
    /// The process that is to follow.
    pub pid: u32,
    /// Until when.
    pub until: Moment,
    /// Whether that process is still there.
    pub alive: bool,
}

/// What a look at record and lock shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Whom the record names.
    pub holder: Option<Holder>,
    /// For whom the record keeps the office.
    pub reserved: Option<Reservation>,
    /// Whether somebody holds the lock.
    pub lock_held: bool,
}

impl Seen {
    /// Whether a living process that the record names holds the office.
    pub fn is_held(&self) -> bool {
        self.lock_held && self.holder.is_some_and(|holder| holder.alive)
    }
}

/// What the worker's loop must do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Read record and lock now, and say what they show ([`Candidacy::on_record`]).
    Look,
    /// Start a candidate; say when it has taken the office or ended ([`Candidacy::on_candidate_exited`]).
    StartCandidate,
    /// Kill the candidate that this worker started, through its handle: it has done neither.
    EndCandidate,
}

/// The machine.
#[derive(Debug)]
pub struct Candidacy {
    interval: Duration,
    /// `None`: not a present member, so no elector.
    rank: Option<u32>,
    /// Since when the office has been seen free for anybody.
    vacant_at: Option<Moment>,
    /// The reservation that holds us back, and since when: its own word counts for [`RESERVATION_MAX`] at most.
    reserved: Option<(Reservation, Moment)>,
    look_at: Moment,
    /// Pause between looks while somebody else is on the way into the office; doubles.
    look_pause: Duration,
    /// When our candidate is overdue, while it runs.
    overdue_at: Option<Moment>,
    running: bool,
    started_at: Option<Moment>,
    backoff: Duration,
    not_before: Moment,
}

impl Candidacy {
    /// A worker that has just come and will look at once.
    pub const fn new(now: Moment, interval: Duration) -> Self {
        Self {
            interval,
            rank: None,
            vacant_at: None,
            reserved: None,
            look_at: now,
            look_pause: CANDIDATE_STAGGER,
            overdue_at: None,
            running: false,
            started_at: None,
            backoff: Duration::ZERO,
            not_before: now,
        }
    }

    /// Whether this worker's place matters: while the office is vacant. To find it out is work that grows with the number
    /// of members, and each of them would do it.
    pub const fn needs_rank(&self) -> bool {
        self.vacant_at.is_some()
    }

    /// This worker's place among the present members, by number, from 0; `None` while it is none of them (rule A5).
    pub fn on_members(&mut self, now: Moment, rank: Option<u32>) {
        if self.rank != rank {
            self.rank = rank;
            if self.vacant_at.is_some() {
                self.look_at = self.look_at.min(now);
            }
        }
    }

    /// The pidfd of the recorded holder says that it has ended.
    pub fn on_holder_ended(&mut self, now: Moment, out: &mut Vec<Action>) {
        self.look(now, out);
    }

    /// The candidate that this worker started has taken the office (`ok`), or has ended without.
    pub fn on_candidate_exited(&mut self, now: Moment, ok: bool, out: &mut Vec<Action>) {
        self.running = false;
        self.overdue_at = None;
        if !ok {
            self.not_before = self.not_before.max(now + self.backoff);
        }
        self.look(now, out);
    }

    /// What record and lock show now.
    pub fn on_record(&mut self, now: Moment, seen: Seen, out: &mut Vec<Action>) {
        if seen.lock_held {
            self.vacant_at = None;
            if seen.is_held() {
                self.reserved = None;
                self.look_pause = CANDIDATE_STAGGER;
                self.overdue_at = None;
                // Its pidfd tells of its end; this is for one that leaves and lives on.
                self.look_at = now + self.interval;
            } else {
                self.look_later(now);
            }
            return;
        }
        if self.is_held_back(now, seen.reserved) {
            self.vacant_at = None;
            self.look_at = now + RESERVED_LOOK_EVERY;
            return;
        }
        let vacant_at = *self.vacant_at.get_or_insert(now);
        let Some(rank) = self.rank else {
            self.look_at = now + self.interval;
            return;
        };
        if self.running {
            return self.look_later(now);
        }
        let start_at = (vacant_at + CANDIDATE_STAGGER * rank).max(self.not_before);
        if now < start_at {
            self.look_at = start_at;
            return;
        }
        self.start(now);
        out.push(Action::StartCandidate);
    }

    /// Time has passed. An early or repeated tick does nothing.
    pub fn on_tick(&mut self, now: Moment, out: &mut Vec<Action>) {
        if self.overdue_at.is_some_and(|at| at <= now) {
            self.overdue_at = None;
            out.push(Action::EndCandidate);
        }
        if self.look_at <= now {
            self.look(now, out);
        }
    }

    /// When to tick at the latest.
    pub fn next_deadline(&self) -> Moment {
        earliest(Some(self.look_at), self.overdue_at).unwrap_or(self.look_at)
    }

    fn look(&mut self, now: Moment, out: &mut Vec<Action>) {
        // Should the look fail, another follows.
        self.look_at = now + CANDIDATE_STAGGER;
        out.push(Action::Look);
    }

    /// Somebody is on the way into the office, and usually there in a moment. Asking about the lock disturbs those who
    /// take it, so the pauses grow.
    fn look_later(&mut self, now: Moment) {
        self.look_at = now + self.look_pause;
        self.look_pause = (self.look_pause * 2).min(self.interval / 4).max(CANDIDATE_STAGGER);
    }

    /// A reservation ends with its process, at its time, or [`RESERVATION_MAX`] after it was first seen.
    fn is_held_back(&mut self, now: Moment, reserved: Option<Reservation>) -> bool {
        let Some(reservation) = reserved else {
            self.reserved = None;
            return false;
        };
        let same = |known: &Reservation| (known.pid, known.until) == (reservation.pid, reservation.until);
        let since = match self.reserved {
            Some((known, since)) if same(&known) => since,
            _ => now,
        };
        self.reserved = Some((reservation, since));
        reservation.alive && now < reservation.until && now.since(since) < RESERVATION_MAX
    }

    /// The pause to the next start doubles with every start that follows soon upon another, whether that one's candidate
    /// failed, lost or won and died: none of them may become a flood of processes.
    fn start(&mut self, now: Moment) {
        let soon = self
            .started_at
            .is_some_and(|at| now.since(at) < CANDIDATE_BACKOFF_MAX * 2);
        self.backoff = if soon {
            (self.backoff * 2).min(CANDIDATE_BACKOFF_MAX)
        } else {
            CANDIDATE_STAGGER
        };
        self.started_at = Some(now);
        self.not_before = now + self.backoff;
        self.running = true;
        self.overdue_at = Some(now + CANDIDATE_PATIENCE);
        self.look_pause = CANDIDATE_STAGGER;
        self.look_at = now + CANDIDATE_STAGGER;
    }
}

#[cfg(test)]
#[path = "candidacy_tests.rs"]
mod tests;
