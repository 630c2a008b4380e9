//! The only door to libzmq: sockets that carry the protocol's [`Frames`](crate::protocol::frame::Frames), and waiting
//! for them together with file descriptors.
//!
//! Nothing here blocks but [`Poll::wait`], knows a message or reads a clock. Endpoints are Unix socket paths, and TCP
//! addresses between hosts; both are tried before libzmq sees them, because the `zmq` crate panics on an error number that
//! it does not know. A socket belongs to one thread at a time (`Send`, not `Sync`), best for life.

mod context;
mod poll;
mod socket;
mod waker;

pub use context::{Context, prepare_short_life, raise_descriptor_limit};
pub use poll::{AnySocket, Interest, Key, Poll, Ready};
pub use socket::{Dealer, Received, Router, Sent, endpoint, endpoint_address, endpoint_at, endpoint_path};
pub use waker::Waker;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::protocol::limits::SOCKET_PATH_BYTES_MAX;

/// Why the network does not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// The program was linked with something else than its own libzmq.
    #[error(
        "libzmq {version} with{} CURVE is linked in; zhit needs 4.3.5 with CURVE: build it with the libzmq in its sources",
        if *.curve { "" } else { "out" }
    )]
    Library {
        /// What is linked in.
        version: String,
        /// Whether it can encrypt.
        curve: bool,
    },
    /// libzmq refuses.
    #[error("cannot {doing}: {source}{}", advice(*.source))]
    Zmq {
        /// What was tried.
        doing: &'static str,
        /// What libzmq says.
        source: zmq::Error,
    },
    /// No socket can be made there.
    #[error("cannot listen on {}: {source}", path.display())]
    Bind {
        /// Where.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Nobody can listen there.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// Something else than a socket is in the place of one; it is left alone.
    #[error("cannot listen on {}: it exists and is no socket; move it away", path.display())]
    NotASocket {
        /// Where.
        path: PathBuf,
    },
    /// The kernel takes no such path.
    #[error(
        "the socket path {} has {length} bytes, at most {SOCKET_PATH_BYTES_MAX} are possible; \
         set ZHIT_RUNTIME_DIR to something shorter", path.display()
    )]
    PathTooLong {
        /// Where.
        path: PathBuf,
        /// How long the path is.
        length: usize,
    },
    /// The path does not start with `/`, or is not UTF-8.
    #[error("{} is no socket path; one starts with / and is valid UTF-8", path.display())]
    BadPath {
        /// What was given.
        path: PathBuf,
    },
    /// The kernel refuses a descriptor for waking up.
    #[error("cannot make an eventfd: {0}; raise the limit of open files (ulimit -n)")]
    Eventfd(io::Error),
}

/// What to try; empty where the message says it all.
fn advice(error: zmq::Error) -> &'static str {
    match error {
        zmq::Error::EMFILE => "; raise the limit of open files (ulimit -n)",
        zmq::Error::ENOMEM => "; free some memory",
        _ => "",
    }
}

#[cfg(test)]
mod tests;
