//! What a person at a shell sees of zhit: replies, bytes, messages, exit codes. Real processes throughout.

#[path = "../support/cluster.rs"]
mod cluster;

mod bytes;
mod codes;
mod directory;
mod service;
mod slots;
mod waiting;
