//! The worker: a control thread and its slots.

mod hit;
pub mod lease;
