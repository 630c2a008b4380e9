//! The protocol: what travels between clients, brokers and workers, and the stream machine that both ends of a Hit run.
//!
//! This room is pure. It opens nothing, reads no clock and knows no socket; time comes in as a [`Moment`], bytes as
//! [`bytes::Bytes`]. Whatever a peer sends ends in a value or in a typed error, never in a panic.
//! `docs/protocol.md` describes the same things for other languages.

#![cfg_attr(not(test), deny(clippy::indexing_slicing))]

pub mod codec;
pub mod frame;
pub mod ids;
pub mod limits;
pub mod mesh;
pub mod message;
pub mod mutation;
pub mod pool;
pub mod route;
pub mod status;
pub mod stream;
#[cfg(test)]
pub(crate) mod tables;
pub mod time;

pub use ids::{Attach, Attempt, DirId, HitKey, Incarnation, Peer, SlotId, Term, WorkerId};
pub use message::Message;
pub use status::Status;
pub use time::Moment;
