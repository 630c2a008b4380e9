//! The worker: a control thread and its slots.

mod ballots;
pub mod broadcasts;
mod control;
mod door;
mod elector;
pub mod handler;
mod herald;
mod hit;
pub mod lease;
mod office;
mod residents;
pub mod scratch;
mod serve;
mod service;
mod slot;
mod stall;
mod stats;

pub use serve::{WorkerError, serve};
