//! `zhit broadcast`: asks every worker of a pool one thing, and knows when the last living one has answered.
//!
//! [`gather`] holds the roster and keeps the books, [`fold`] and [`report`] say what came of it; all three are pure.

mod desk;
pub mod fold;
pub mod gather;
pub mod report;
mod run;
pub mod seat;
#[cfg(test)]
mod testing;

pub use run::{BroadcastError, run};
