//! zhit leases one worker thread, somewhere in a cluster, to a client for a whole unit of work.
//!
//! The rooms; imports point from the roles down, never up and never from role to role:
//!
//! - roles: [`broker`], [`worker`], [`client`], [`ping`]
//! - what they share: [`builtin`], [`options`], [`exit`]
//! - [`protocol`] is pure: ids, frames, messages, and the stream machine of both ends of a Hit
//! - [`term`] is the only door to the terminal
//! - [`cli`] alone knows the command line

pub mod broker;
pub mod builtin;
pub mod cli;
pub mod client;
pub mod exit;
pub mod options;
pub mod ping;
pub mod protocol;
pub mod term;
pub mod worker;
