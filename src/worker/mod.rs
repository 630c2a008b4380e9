//! The worker's room: what a slot runs for a Hit, and where.

pub mod handler;
pub mod scratch;
