//! zhit leases one worker thread, somewhere in a cluster, to a client for a whole unit of work.
//!
//! The rooms, and which way imports point:
//!
//! - [`protocol`] is pure: frames, messages, ids, limits and the stream machine of both ends.
//! - [`term`] is the only door to the terminal.

pub mod protocol;
pub mod term;
