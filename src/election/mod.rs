//! Who is a host's master when the last one has died or hangs. Shared by workers, which watch, vote and start candidates,
//! and by the broker, which takes the office.

pub mod candidacy;
pub mod candidate;
pub mod holder;
pub mod journal;
pub mod kept;
pub mod verdict;
pub mod vote;
