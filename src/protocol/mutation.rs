//! Rules switched off on purpose, to prove that the simulator would notice.
//!
//! In a release build [`broken`] is the constant `false` and costs nothing. In a debug build a test may break one rule
//! for its own thread with [`break_rule`]; a seed of the simulator must then fail.

use std::cell::Cell;

/// A rule of the protocol that a test may break. The names follow the design's rule numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// The sender ignores the credit it was given.
    Credit,
    /// S1: an acknowledgement may move backward, and data is taken at whatever offset it claims.
    S1,
    /// S2: a message costs its bytes alone, so empty requests are free.
    S2,
    /// O1: the broker leases without looking the key up.
    O1,
    /// O2: a request is journalled when its handler has ended, not before it starts.
    O2,
    /// O3: a slot does not look at the term after it has journalled a lease.
    O3,
    /// O4: a new broker leases a repeated OPEN without looking into the journals.
    O4,
    /// O5: a client repeats its OPEN for ever, and to a directory that is another.
    O5,
    /// O6: the client ends with "no slot" without a confirmed WITHDRAW.
    O6,
    /// O8: messages of an older attach number are taken.
    O8,
    /// A2: who computes for long is taken as hung.
    A2,
    /// A3: who stood still himself judges others at once.
    A3,
    /// R1: a client stays on a direct route that is dead.
    R1,
    /// B1: the roster is pinned anew by each answer to a roll-call.
    B1,
    /// B2: what is asked again is run again.
    B2,
    /// B4: a member is counted again with each answer.
    B4,
    /// B4: a member of a host that was lost is counted again when that host comes back.
    CountedTwice,
    /// E2: a term is what was stored plus one, whatever was heard or the time is.
    E2,
    /// V1: a vote that was cast stands, whatever signs of life come later.
    V1,
    /// V2: members that are silent do not count, even if their loops turn.
    V2,
    /// V3: the kill goes to the pid that the record names, whoever has it now.
    V3,
    /// The END mark of a message is not sent again when it was lost.
    LostEnd,
    /// The broker leases a slot that is not idle, and the slot does not object.
    DoubleLease,
}

thread_local! {
    static BROKEN: Cell<Option<Rule>> = const { Cell::new(None) };
}

/// Whether `rule` is switched off in this thread. Always `false` in a release build.
#[inline]
pub fn broken(rule: Rule) -> bool {
    cfg!(debug_assertions) && BROKEN.get() == Some(rule)
}

/// Switches one rule off for this thread (`None`: all hold again). Without effect in a release build.
pub fn break_rule(rule: Option<Rule>) {
    BROKEN.set(rule);
}
