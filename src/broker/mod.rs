//! The broker: routes on one host, and leases its slots.

pub mod machine;
mod registry;
mod waiting;
