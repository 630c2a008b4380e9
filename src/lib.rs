//! zhit leases one worker thread, somewhere in a cluster, to a client for a whole unit of work.
//!
//! The rooms, and which way imports point:
//!
//! - [`protocol`] is pure: frames, messages, ids, limits and the stream machine of both ends.
//! - [`net`] is the only door to libzmq; [`clock`] the only one to the clock.
//! - [`runtime`] is the directory where the processes of a host find each other, and its locks;
//!   [`mapped`] its files that show which loops still turn.
//! - [`signals`] keeps the main thread for signals.

pub mod clock;
pub mod mapped;
pub mod net;
pub mod protocol;
pub mod runtime;
pub mod signals;
