//! zhit leases one worker thread, somewhere in a cluster, to a client for a whole unit of work.
//!
//! The rooms, and which way imports point:
//!
//! - [`protocol`] is pure: frames, messages, ids, limits and the stream machine of both ends.
//! - [`mapped`] is the only room with unsafe code: mapped files, and what runs between fork and exec.
//! - [`builtin`] names the handlers that need no program.
//! - [`worker`] runs what a Hit asks for.

pub mod builtin;
pub mod mapped;
pub mod protocol;
pub mod worker;
