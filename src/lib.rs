//! zhit leases one worker thread, somewhere in a cluster, to a client for a whole unit of work.
//!
//! The rooms, and which way imports point:
//!
//! - [`cli`] reads the command line into [`options`], plain values for the roles; [`builtin`] names the handlers that
//!   need no program, [`exit`] the codes that a shell sees.
//! - [`protocol`] is pure: frames, messages, ids, limits and the stream machine of both ends.

pub mod builtin;
pub mod cli;
pub mod exit;
pub mod options;
pub mod protocol;
