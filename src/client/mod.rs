//! The client: leases a slot for a Hit, sends requests, delivers replies.

pub mod hit;
mod hold;
mod input;
mod output;
mod printer;
mod report;
mod run;
mod wires;

pub use run::{ClientError, run};
pub use wires::{Ends, Found, WireError};
