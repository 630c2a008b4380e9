//! The libzmq context: checked once, shared by all sockets of a process.

use rustix::process::{Resource, getrlimit, setrlimit};

use super::NetError;

/// The libzmq that this program was made for.
const VERSION: (i32, i32, i32) = (4, 3, 5);

/// Sockets of a broker or worker: two for each of the 1,024 slots that a worker may have, and as many again to spare.
const SERVER_SOCKETS_MAX: u16 = 4096;

/// Sockets of a client or a ping, with room for those that libzmq makes itself.
const CLIENT_SOCKETS_MAX: u16 = 16;

/// First reconnect interval, in milliseconds, before this process's random share of as many again is added: libzmq
/// doubles it without jitter, and a thousand slots must not come back to a new broker in one beat.
const RECONNECT_MS_MIN: u32 = 10;

/// Random share of the reconnect interval, in milliseconds.
const RECONNECT_MS_SPREAD: u32 = 20;

/// Has a process that lives for milliseconds, and its libzmq, allocate cheaply. Call it first of all.
pub fn prepare_short_life() {
    zmq_ext::share_one_heap();
}

/// One I/O thread and what its sockets have in common. Cloning is cheap; all clones are the same context.
///
/// The last of context and sockets to be dropped waits for what is still to be sent, at most
/// [`LINGER`](crate::protocol::limits::LINGER).
#[derive(Clone)]
pub struct Context {
    pub(super) zmq: zmq::Context,
    pub(super) reconnect_ms: i32,
}

impl Context {
    /// A context for a broker or a worker: a worker of the most slots has two sockets for each.
    ///
    /// # Errors
    /// [`NetError::Library`] when the libzmq that is linked in is not the one this program was made for;
    /// [`NetError::Zmq`] when there are no descriptors or memory left.
    pub fn new() -> Result<Self, NetError> {
        Self::of(SERVER_SOCKETS_MAX)
    }

    /// A context for one that asks and ends. A large table of sockets would be a good part of what it does.
    ///
    /// # Errors
    /// [`NetError::Library`] when the libzmq that is linked in is not the one this program was made for;
    /// [`NetError::Zmq`] when there are no descriptors or memory left.
    pub fn small() -> Result<Self, NetError> {
        Self::of(CLIENT_SOCKETS_MAX)
    }

    /// Makes a context for so many sockets.
    ///
    /// # Errors
    /// [`NetError::Library`] when the libzmq that is linked in is not the one this program was made for;
    /// [`NetError::Zmq`] when there are no descriptors or memory left.
    fn of(sockets_max: u16) -> Result<Self, NetError> {
        let (version, curve) = (zmq::version(), zmq::has("curve") == Some(true));
        if version != VERSION || !curve {
            let (major, minor, patch) = version;
            return Err(NetError::Library {
                version: format!("{major}.{minor}.{patch}"),
                curve,
            });
        }
        let zmq = zmq_ext::context(sockets_max);
        // A context that could not be made is a null pointer, and says so here.
        zmq.set_io_threads(1).map_err(|source| NetError::Zmq {
            doing: "start libzmq",
            source,
        })?;
        // Without randomness the processes merely come back together.
        let random = getrandom::u32().unwrap_or(0);
        let reconnect_ms = (RECONNECT_MS_MIN + random % (RECONNECT_MS_SPREAD + 1)).cast_signed();
        Ok(Self { zmq, reconnect_ms })
    }

    /// A socket of a kind, without options.
    pub(super) fn socket(&self, kind: zmq::SocketType) -> Result<zmq::Socket, NetError> {
        self.zmq.socket(kind).map_err(|source| NetError::Zmq {
            doing: "make a socket",
            source,
        })
    }
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context")
            .field("reconnect_ms", &self.reconnect_ms)
            .finish_non_exhaustive()
    }
}

/// Raises the soft limit of open files to the hard one, for a broker: libzmq aborts the process when its ipc listener
/// runs out of descriptors. Returns the limit in force, `None` for no limit. Children inherit it.
pub fn raise_descriptor_limit() -> Option<u64> {
    let mut limit = getrlimit(Resource::Nofile);
    let before = limit.current;
    limit.current = limit.maximum;
    // Raising the soft limit up to the hard one is always allowed; if it fails all the same, the old one serves.
    if setrlimit(Resource::Nofile, limit).is_ok() {
        limit.maximum
    } else {
        before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn context_is_made_and_shared() {
        let context = Context::new().unwrap();
        assert!((10..=30).contains(&context.reconnect_ms));
        assert!(context.clone().socket(zmq::DEALER).is_ok());
    }

    #[test]
    fn descriptor_limit_ends_at_the_hard_one() {
        let limit = raise_descriptor_limit();
        assert_eq!(limit, getrlimit(Resource::Nofile).maximum);
    }
}
