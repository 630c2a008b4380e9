//! zhit leases one worker thread, somewhere in a cluster, to a client for a whole unit of work.
//!
//! The rooms; imports point from the roles down, never up and never from role to role:
//!
//! - roles: [`broker`], [`worker`], [`client`], [`broadcast`], [`ping`]; [`roles`] starts them, [`local`] puts three into one process
//! - what they share: [`builtin`], [`options`], [`exit`], [`runtime`] (the host's directory), [`gateway`] (the way to
//!   brokers), [`hit`] (pure: a Hit as its client sees it) and [`wires`] around it, [`eager`] (waiting for what comes at once), [`processor`],
//!   [`signals`], [`notify`]
//! - the doors: [`net`] to the network, [`mapped`] to shared memory, [`clock`] to the clock, [`term`] to the terminal
//! - [`protocol`] is pure: ids, frames, messages, and the stream machine of both ends of a Hit
//! - [`cli`] alone knows the command line

pub mod broadcast;
pub mod broker;
pub mod builtin;
pub mod bytecount;
pub mod cli;
pub mod client;
pub mod clock;
pub mod eager;
pub mod election;
pub mod exit;
pub mod fault;
pub mod gateway;
pub mod hit;
pub mod layout;
pub mod local;
pub mod mapped;
pub mod net;
pub mod notify;
pub mod options;
pub mod ping;
pub mod processor;
pub mod protocol;
pub mod roles;
pub mod runtime;
pub mod signals;
pub mod term;
pub mod wires;
pub mod worker;
