//! The worker: a control thread and its slots.

mod ballots;
mod control;
mod elector;
pub mod handler;
mod hit;
pub mod lease;
mod office;
mod residents;
pub mod scratch;
mod serve;
mod service;
mod slot;

pub use serve::{WorkerError, serve};
