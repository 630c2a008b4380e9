//! The broker: routes on one host, and leases its slots.

pub mod machine;
mod registry;
mod run;
mod serve;
mod waiting;

pub use run::LoopError;
pub use serve::{BrokerError, serve};
