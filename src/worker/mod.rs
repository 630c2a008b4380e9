//! The worker: a control thread and its slots.

pub mod handler;
mod hit;
pub mod lease;
pub mod scratch;
