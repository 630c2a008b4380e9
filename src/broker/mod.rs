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
pub mod mesh;
mod office;
mod registry;
mod run;
mod serve;
mod waiting;
mod watch;
mod wires;

pub use run::LoopError;
pub use serve::{BrokerError, serve};
