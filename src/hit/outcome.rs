//! How a Hit ended for its client.

use std::time::Duration;

use crate::protocol::message::{ClosedReason, FullReason};

/// How the Hit ended for this client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Every request is answered and every reply was taken.
    Done,
    /// No broker was ever reached; nothing was sent.
    NoBroker,
    /// No slot within the wait, and none will be: the broker has confirmed that it forgot the Hit.
    NoSlot(NoSlot),
    /// The Hit was lost: [`Hit::ledger`](super::Hit::ledger) says what ran.
    Lost(Lost),
    /// The client was told to stop.
    Abandoned,
    /// A request passed its deadline and the slot did not end it.
    Deadline,
}

/// Why there was no slot, as far as the broker told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoSlot {
    /// It waited in line.
    Queued {
        /// How many waited before it.
        ahead: u32,
        /// Slots of the pool.
        slots: u32,
        /// How many were leased.
        busy: u32,
    },
    /// Another client was attached to the Hit.
    Occupied,
    /// The broker refused.
    Refused(FullReason),
    /// Nothing was heard but the confirmation.
    Unknown,
}

/// Why a Hit was lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lost {
    /// The slot or the broker ended it.
    Closed(ClosedReason, String),
    /// Nothing was heard for the ttl.
    Silence(Duration),
    /// An OPEN was sent and neither answered nor withdrawn.
    Unconfirmed,
    /// The slot broke the protocol.
    Violation(String),
    /// Nothing but the direct route was wanted, and there is none.
    NoDirect(NoDirect),
}

/// Why there is no direct route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoDirect {
    /// The slot has no socket of its own that this client can reach.
    NoEndpoint,
    /// The slot's own socket did not answer for so long.
    Silent(Duration),
}

/// What became of the requests; each seq is in one of them, from `first`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ledger {
    /// The first request of this client: those before were others'.
    pub first: u64,
    /// first ..= answered: replied in full.
    pub answered: u64,
    /// answered + 1 ..= maybe: may have run, without a reply in full.
    pub maybe: u64,
    /// The upper end of `maybe` is exact: the slot said what it started.
    pub exact: bool,
}
