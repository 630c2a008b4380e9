//! Who is there: `zhit ping` asks this host's broker and reports what it knows.

mod hops;
mod hosts;
mod objects;
pub mod probe;
mod prober;
pub mod report;
pub mod slots;
mod statistics;
mod votes;

pub use probe::{PingError, run};
