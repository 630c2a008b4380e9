//! What a worker's slots run and ran, and its broadcasts, as a master reads it: of the living and of the dead (rules O2 to O4,
//! B2).

mod broadcasts;
mod files;
mod groups;
mod layout;
mod reader;
mod writer;

use std::time::Duration;

pub use broadcasts::BroadcastWriter;
pub use files::{JournalError, Journals, Unjournalled, open_for, prune, read_all, read_of, term_word};
pub use groups::kill_groups;
pub use reader::{Load, read_words, tally};
pub use writer::{Author, Entry, SlotWriter, Store, begin, leave, words_for};

use crate::protocol::ids::{Attach, BroadcastId, HitKey, Incarnation, Term, WorkerId};
use crate::protocol::message::ClosedReason;
use crate::protocol::time::Moment;

/// One worker's journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerJournal {
    /// The worker.
    pub worker: WorkerId,
    /// Tells it from others of that number.
    pub incarnation: Incarnation,
    /// Its process.
    pub pid: u32,
    /// When that process started, in clock ticks since the machine did.
    pub start_ticks: u64,
    /// Its lock is held.
    pub alive: bool,
    /// It has said goodbye.
    pub left: bool,
    /// Its session, and that of its handlers' process groups.
    pub session: u32,
    /// Its pool.
    pub pool: String,
    /// Broadcasts that it ran (rule B2), those that are remembered, the last one last.
    pub broadcasts: Vec<RanBroadcast>,
    /// The process group of the handler of one that runs, and when its leader started.
    pub broadcast_group: Option<(u32, u64)>,
    /// Its slots, by number.
    pub slots: Vec<SlotJournal>,
}

/// A broadcast that a worker ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RanBroadcast {
    /// Which.
    pub id: BroadcastId,
    /// Its handler has ended.
    pub over: bool,
}

/// What one slot runs and ran.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotJournal {
    /// Its number, from 1.
    pub slot: u32,
    /// The Hit that it serves.
    pub running: Option<RunningHit>,
    /// Hits that it served.
    pub ended: Vec<EndedHit>,
    /// Until then Hits have ended that are not remembered any more: who asks for one that began before then cannot be told
    /// that it never ran.
    pub overwritten_until: Moment,
}

/// A Hit that is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunningHit {
    /// Its key.
    pub key: HitKey,
    /// Of the lease.
    pub term: Term,
    /// How long its client may be silent.
    pub ttl: Duration,
    /// Last seq whose handler was started; 0: none.
    pub started: u64,
    /// Last seq whose reply the handler completed; 0: none.
    pub answered: u64,
    /// Who holds it (rule O8).
    pub attach: Attach,
    /// The handler's process group, and when its leader started; `None`: no process.
    pub group: Option<(u32, u64)>,
}

/// A Hit that was served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndedHit {
    /// Its key.
    pub key: HitKey,
    /// Last seq whose handler was started; 0: none.
    pub started: u64,
    /// Last seq whose reply the handler completed; 0: none.
    pub answered: u64,
    /// How it ended.
    pub reason: ClosedReason,
    /// When.
    pub ended_at: Moment,
    /// How long its client might be silent: its key counts for two of them (rule O4).
    pub ttl: Duration,
    /// Who held it last (rule O8): to others the numbers say nothing.
    pub attach: Attach,
}

#[cfg(test)]
mod tests;
