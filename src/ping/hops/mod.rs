//! `zhit ping --hops`: how long each hop takes between a client, its broker, its slot and the handler, on a Hit of its own.
//!
//! How it ends: 0 when every question was answered, 1 when the handler failed, 3 when an answer was lost, 4 and 5 as
//! `zhit client` does when there is no broker or no slot, 6 when the Hit was lost, 128+n by signal n.

mod measured;
mod report;
mod rounds;
mod run;
mod trips;
mod way;

pub(super) use run::run;
