//! The client: leases a slot for a Hit, sends requests, delivers replies.

mod hold;
mod input;
mod output;
mod printer;
mod report;
mod run;

pub use run::{ClientError, run};
