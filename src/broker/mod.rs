//! The broker: routes on one host, and leases its slots.

mod answers;
mod broadcasts;
mod eyes;
mod health;
mod inheritance;
mod leases;
mod leasing;
pub mod machine;
mod members;
mod office;
mod registry;
mod run;
mod serve;
mod waiting;

pub use run::LoopError;
pub use serve::{BrokerError, serve};
