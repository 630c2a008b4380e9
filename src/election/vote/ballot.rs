//! What is voted on, by whom, and what comes of it: the words of the vote machine.

use std::fmt;
use std::time::Duration;

use super::Tally;
use crate::protocol::ids::{Incarnation, WorkerId};

pub use crate::protocol::message::Suspect;

/// What is voted on: that the suspect's loop stands still at this count (rule V1). If it has moved on, the vote is void.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ballot {
    /// Who is suspected.
    pub suspect: Suspect,
    /// Its loop counter.
    pub beat: u64,
}

/// A worker as a voter: a later one of the same number is another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Voter {
    /// Its number.
    pub id: WorkerId,
    /// Its incarnation.
    pub incarnation: Incarnation,
}

/// What does not change while a worker is present.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// This worker.
    pub me: Voter,
    /// Period of heartbeats.
    pub interval: Duration,
    /// How many may be missed.
    pub liveness: u32,
    /// How long silence is tolerated.
    pub patience: Duration,
    /// Whether this worker votes. One that does not watches, and says nothing.
    pub votes: bool,
}

/// What the worker's loop must do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Ask the master for an answer, now.
    Ping,
    /// Tell these members how this worker votes, and ask how they do.
    AskForVotes(Vec<WorkerId>, Ballot),
    /// Tell this member whether this worker agrees.
    Answer(WorkerId, Ballot, bool),
    /// There is quorum: kill this process and no other (rule V3), if its counter still stands there.
    Kill(Ballot, Tally),
    /// Worth a line in the log.
    Note(Event),
}

/// What is worth a line in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The master hangs, as this worker sees it. The time to open its pidfd ([`verdict`](crate::election::verdict)).
    Suspected {
        /// Who.
        suspect: Suspect,
        /// For how long its counter has stood still.
        beat_still: Duration,
        /// For how long a ping has been unanswered.
        unanswered: Duration,
    },
    /// It does not, after all, or not as far as this worker may say.
    Cleared {
        /// Who.
        suspect: Suspect,
        /// Why.
        sign: Sign,
    },
    /// Nobody is killed, because too few agree. Told once, and again when the count has changed.
    NoQuorum {
        /// Who.
        suspect: Suspect,
        /// The count.
        tally: Tally,
    },
}

/// Why a suspicion fell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// The counter moved.
    Moved,
    /// The master answered.
    Answered,
    /// This worker had stood still itself (rule A3).
    StoodStillMyself,
    /// Another holds the office, or nobody.
    Gone,
}

/// Completes "the broker …".
impl fmt::Display for Sign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Moved => "does not hang: its loop turns",
            Self::Answered => "does not hang: it has answered",
            Self::StoodStillMyself => "is not suspected any more: this worker has itself stood still",
            Self::Gone => "that seemed to hang has gone",
        })
    }
}

/// What this worker thinks of the master.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Nobody holds the office.
    NoMaster,
    /// Nothing is wrong with it.
    Trusted(Suspect),
    /// It hangs, as this worker sees it; so the votes stand.
    Suspected(Suspect, Tally),
}
