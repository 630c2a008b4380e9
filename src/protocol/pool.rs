//! The messages that reach beyond one Hit: what a slot does now, and broadcasts.
//!
//! They use nothing of the head; their fields are written and read in the order in which they stand here.

use super::codec::wire::plain;
use super::ids::{BroadcastId, HitKey, Member, ReturnPath, SlotId, Term};
use super::message::{Progress, WorkState};
use super::status::Status;

pub use super::codec::wire::Blob;

plain! {
    /// PROBE: what does this slot do? The broker passes it on, with the way back.
    Probe {
        /// Any number, to be sent back.
        nonce: u64,
        /// Whom.
        slot: SlotId,
        /// The way back.
        path: ReturnPath,
    }

    /// STATE: what a slot does.
    State {
        /// The PROBE's.
        nonce: u64,
        /// Who.
        slot: SlotId,
        /// The way back.
        path: ReturnPath,
        /// The Hit that it serves; none: it is idle.
        hit: HitKey,
        /// What it does for it.
        state: WorkState,
        /// The request that runs, or the last that did; 0 if none has.
        seq: u64,
        /// Milliseconds since that started.
        elapsed_ms: u64,
        /// Process id of its handler; 0 if it is none.
        pid: u32,
        /// Bytes that the handler has taken.
        bytes_in: u64,
        /// Bytes that it has given.
        bytes_out: u64,
        /// Its own progress.
        progress: Option<Progress>,
    }

    /// ROLL: who serves a pool here?
    Roll {
        /// The broadcast.
        id: BroadcastId,
        /// The pool; `None`: every pool.
        pool: Option<String>,
    }

    /// ROSTER: all who are to be asked on one host.
    Roster {
        /// The broadcast.
        id: BroadcastId,
        /// The host.
        host: String,
        /// Its broker's term.
        term: Term,
        /// How many serve the pool there, listed or not.
        total: u32,
        /// They, by number.
        members: Vec<Enrolled>,
    }

    /// One worker in a ROSTER.
    Enrolled {
        /// Who.
        member: Member,
        /// Its pool.
        pool: String,
        /// It takes no new work: it is leaving.
        draining: bool,
    }

    /// ASK: each of these is to run the request once, and to answer.
    Ask {
        /// The broadcast.
        id: BroadcastId,
        /// How long each may run, in milliseconds; 0: as long as it takes.
        timeout_ms: u32,
        /// Most bytes of a reply.
        reply_max: u32,
        /// The way back.
        path: ReturnPath,
        /// Who.
        members: Vec<Member>,
        /// The request.
        body: Blob,
    }

    /// RECEIPT: it has arrived.
    Receipt {
        /// The broadcast.
        id: BroadcastId,
        /// Whose.
        member: Member,
        /// The way back.
        path: ReturnPath,
    }

    /// RUNNING: it is not answered yet.
    Running {
        /// The broadcast.
        id: BroadcastId,
        /// Whose.
        member: Member,
        /// The way back.
        path: ReturnPath,
        /// What it does.
        state: WorkState,
        /// Milliseconds since the ASK arrived.
        elapsed_ms: u64,
    }

    /// ANSWER: it has run.
    Answer {
        /// The broadcast.
        id: BroadcastId,
        /// Whose.
        member: Member,
        /// The way back.
        path: ReturnPath,
        /// How it ended.
        status: Status,
        /// Milliseconds since the ASK arrived.
        elapsed_ms: u64,
        /// In words, why it failed.
        note: Note,
        /// The reply.
        body: Blob,
    }

    /// THANKS: their answers have arrived and need not be kept.
    Thanks {
        /// The broadcast.
        id: BroadcastId,
        /// Whose.
        members: Vec<Member>,
    }

    /// CHECK: what of those who have not answered?
    Check {
        /// The broadcast.
        id: BroadcastId,
        /// Who.
        members: Vec<Member>,
    }

    /// CONDITION: how a member looks that is there.
    Condition {
        /// The broadcast.
        id: BroadcastId,
        /// Who.
        member: Member,
        /// Milliseconds since its last heartbeat.
        silent_ms: u32,
        /// Milliseconds since its control loop was last seen to turn; 0 if that cannot be seen.
        still_ms: u32,
    }

    /// GONE: a member that is not there any more.
    Gone {
        /// The broadcast.
        id: BroadcastId,
        /// Who.
        member: Member,
        /// What became of it.
        fate: Fate,
        /// Milliseconds since that was seen.
        ago_ms: u32,
        /// Whether it ran the broadcast.
        ran: Ran,
    }
}

impl Enrolled {
    /// The place on a roster of a host that cannot be asked who is there.
    pub fn whole_host() -> Self {
        Self {
            member: Member::default(),
            pool: String::new(),
            draining: false,
        }
    }
}

/// A text for a person; what is too long of it is cut.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Note(pub String);

/// What became of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Fate {
    /// Its process ended without goodbye.
    Died = 1,
    /// It said goodbye.
    Left = 2,
    /// The broker has never heard of it.
    Unknown = 3,
}

/// Whether a member that has gone ran a broadcast, as its journal tells (rule B2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Ran {
    /// Nothing tells.
    Unknown = 0,
    /// It had not begun.
    NotBegun = 1,
    /// It had begun, and had not ended.
    Begun = 2,
    /// It was over.
    Over = 3,
}
