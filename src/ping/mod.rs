//! Who is there: `zhit ping` asks this host's broker and reports what it knows.

mod objects;
pub mod probe;
pub mod report;
mod statistics;
mod votes;

pub use probe::{PingError, run};
