//! DEALER and ROUTER, carrying whole messages of one or two frames over Unix sockets, and over TCP between hosts.
//!
//! No ZMTP heartbeats on Unix sockets: the kernel reports the end of a peer at once, and a peer that merely hangs would
//! answer them anyway. Between hosts they find out that a link is cut. Routing ids are those that libzmq makes; identities
//! travel in the protocol.

use std::fmt;
use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use zmq::{DONTWAIT, Error, Message, SNDMORE, Socket};

use super::{Context, NetError};
use crate::protocol::frame::Frames;
use crate::protocol::ids::Peer;
use crate::protocol::limits::{FRAME_BYTES_MAX, LINGER, RECEIVE_MESSAGES_MAX, SOCKET_PATH_BYTES_MAX};

/// Longest pause between two tries to connect, in milliseconds: how late a new broker may be noticed.
const RECONNECT_MS_MAX: i32 = 500;

/// How long a connection may take to say what it is, in milliseconds. Short, so that strangers do not hold descriptors;
/// long enough for a machine with a thousand processes that start together.
const HANDSHAKE_MS_MAX: i32 = 5000;

/// Longest such silence, in milliseconds: ZMTP counts it in 16 bits of tenths of a second.
const QUIET_MS_MAX: i32 = 3_600_000;

/// Connections that wait to be accepted; beyond it the kernel refuses and libzmq tries again later.
const BACKLOG: i32 = 1024;

const SCHEME: &str = "ipc://";
const TCP_SCHEME: &str = "tcp://";

/// What became of a message that was to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Sent {
    /// It is on its way, and arrives if its connection lives.
    Done,
    /// Nobody is there to send it to. It was dropped, whole.
    NoRoute,
}

/// What came in as one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    /// A message of one or two frames.
    Frames(Frames),
    /// No message of ours: too many frames, or one that is too large. All of it was read and dropped.
    Malformed {
        /// How many frames came, the routing id left out.
        frames: usize,
        /// How many bytes they had in all.
        bytes: usize,
    },
}

/// A DEALER: one connection to a ROUTER that may be there or not.
pub struct Dealer {
    pub(super) zmq: Socket,
}

impl Dealer {
    /// Makes a DEALER that is not connected.
    ///
    /// # Errors
    /// [`NetError::Zmq`] when there are no descriptors left.
    pub fn new(context: &Context) -> Result<Self, NetError> {
        let zmq = make(context, zmq::DEALER)?;
        // Nothing queues for a peer that is not there: it would reach whoever comes next.
        zmq.set_immediate(true).map_err(failed("set a socket's options"))?;
        Ok(Self { zmq })
    }

    /// Connects to the ROUTER at `path`, now or as soon as one is there, and again whenever the connection breaks. One
    /// path at a time: messages to several would be dealt out in turn.
    ///
    /// # Errors
    /// [`NetError::BadPath`], [`NetError::PathTooLong`], [`NetError::Zmq`].
    pub fn connect(&mut self, path: &Path) -> Result<(), NetError> {
        self.zmq
            .connect(&endpoint(path)?)
            .map_err(failed("connect to a socket"))
    }

    /// Connects to the ROUTER at an address of another host, as [`connect`](Self::connect) does. `quiet`: after so much
    /// silence the connection counts as broken.
    ///
    /// # Errors
    /// [`NetError::Zmq`].
    pub fn connect_to(&mut self, address: SocketAddr, quiet: Duration) -> Result<(), NetError> {
        prepare_tcp(&self.zmq, address, quiet)?;
        self.zmq
            .connect(&endpoint_at(address))
            .map_err(failed("connect to another host"))
    }

    /// Gives the connection to `path` up. What has come in from it may be lost.
    ///
    /// # Errors
    /// [`NetError::Zmq`] when there was none.
    pub fn disconnect(&mut self, path: &Path) -> Result<(), NetError> {
        self.zmq
            .disconnect(&endpoint(path)?)
            .map_err(failed("disconnect from a socket"))
    }

    /// Sends a message, without waiting.
    ///
    /// # Errors
    /// [`NetError::Zmq`]; a peer that is not there is no error.
    pub fn send(&mut self, frames: Frames) -> Result<Sent, NetError> {
        send_frames(&self.zmq, frames)
    }

    /// The next message, without waiting; `None` when there is none.
    ///
    /// # Errors
    /// [`NetError::Zmq`].
    pub fn recv(&mut self) -> Result<Option<Received>, NetError> {
        recv_frame(&self.zmq)?
            .map(|first| recv_frames(&self.zmq, first))
            .transpose()
    }

    /// Whether a message sent now has a connection to go to. It may be stale by the time of the sending.
    pub fn has_route(&self) -> bool {
        self.zmq.get_events().is_ok_and(|events| events.contains(zmq::POLLOUT))
    }
}

/// A ROUTER: many connections, each named by its [`Peer`].
pub struct Router {
    pub(super) zmq: Socket,
    bound: Vec<Bound>,
}

/// A socket file of ours, told from a successor's at the same path by its inode.
struct Bound {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl Bound {
    fn is_ours(&self) -> bool {
        fs::symlink_metadata(&self.path).is_ok_and(|found| found.dev() == self.device && found.ino() == self.inode)
    }
}

impl Router {
    /// Makes a ROUTER that listens nowhere.
    ///
    /// # Errors
    /// [`NetError::Zmq`] when there are no descriptors left.
    pub fn new(context: &Context) -> Result<Self, NetError> {
        let zmq = make(context, zmq::ROUTER)?;
        let options = || {
            // Else a message to a peer that is gone vanishes without a word.
            zmq.set_router_mandatory(true)?;
            zmq.set_backlog(BACKLOG)
        };
        options().map_err(failed("set a socket's options"))?;
        Ok(Self { zmq, bound: Vec::new() })
    }

    /// Listens at `path`. A socket that is there already is taken away, whoever listens on it: hold the lock that makes
    /// the path yours. Anything else there is left alone.
    ///
    /// # Errors
    /// [`NetError::BadPath`], [`NetError::PathTooLong`], [`NetError::NotASocket`], [`NetError::Bind`] with what the
    /// system said, [`NetError::Zmq`].
    pub fn bind(&mut self, path: &Path) -> Result<(), NetError> {
        let endpoint = endpoint(path)?;
        let cannot = |source: io::Error| NetError::Bind {
            path: path.to_owned(),
            source,
        };
        match fs::symlink_metadata(path) {
            Ok(found) if !found.file_type().is_socket() => return Err(NetError::NotASocket { path: path.to_owned() }),
            Ok(_) => fs::remove_file(path).map_err(cannot)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(cannot(error)),
        }
        // A trial: what the system has against the path is an error here and a panic in the zmq crate. libzmq then
        // replaces this socket by its own.
        drop(UnixListener::bind(path).map_err(cannot)?);
        self.zmq.bind(&endpoint).map_err(failed("listen on a socket"))?;
        let made = fs::symlink_metadata(path).map_err(cannot)?;
        self.bound.push(Bound {
            path: path.to_owned(),
            device: made.dev(),
            inode: made.ino(),
        });
        Ok(())
    }

    /// Listens at an address, for other hosts. `quiet`: after so much silence a connection counts as broken.
    ///
    /// # Errors
    /// [`NetError::Listen`] with what the system said, [`NetError::Zmq`].
    pub fn bind_to(&mut self, address: SocketAddr, quiet: Duration) -> Result<(), NetError> {
        prepare_tcp(&self.zmq, address, quiet)?;
        // A trial: what the system has against the address is an error here and a panic in the zmq crate.
        drop(TcpListener::bind(address).map_err(|source| NetError::Listen { address, source })?);
        match self.zmq.bind(&endpoint_at(address)) {
            Err(Error::EADDRINUSE) => Err(NetError::Listen {
                address,
                source: io::ErrorKind::AddrInUse.into(),
            }),
            other => other.map_err(failed("listen at an address")),
        }
    }

    /// Takes the socket files away that are still ours, then stops listening. Connections that exist go on. A
    /// successor's socket at the same path is left alone (rule E4). Dropping does the same.
    pub fn unbind(&mut self) {
        for bound in self.bound.drain(..) {
            if bound.is_ours() {
                // A file that cannot be taken away is replaced by the next who binds; nobody answers on it.
                let _ = fs::remove_file(&bound.path);
            }
            // libzmq closes the listener on its own thread, and leaves the file to us.
            if let Ok(endpoint) = endpoint(&bound.path) {
                let _ = self.zmq.unbind(&endpoint);
            }
        }
    }

    /// Whether every socket file that it listens at is still there and its own.
    pub fn is_still_bound(&self) -> bool {
        self.bound.iter().all(Bound::is_ours)
    }

    /// Sends a message to a peer, without waiting.
    ///
    /// # Errors
    /// [`NetError::Zmq`]; a peer that is gone is no error.
    pub fn send(&mut self, to: Peer, frames: Frames) -> Result<Sent, NetError> {
        loop {
            match self.zmq.send(to.routing_id(), DONTWAIT | SNDMORE) {
                Ok(()) => return send_frames(&self.zmq, frames),
                Err(Error::EINTR) => {}
                Err(Error::EHOSTUNREACH | Error::EAGAIN) => return Ok(Sent::NoRoute),
                Err(error) => return Err(failed("send a message")(error)),
            }
        }
    }

    /// The next message and who sent it, without waiting; `None` when there is none. The peer is `None` if it gave
    /// itself a routing id longer than any of libzmq's; it cannot be answered.
    ///
    /// # Errors
    /// [`NetError::Zmq`].
    pub fn recv(&mut self) -> Result<Option<(Option<Peer>, Received)>, NetError> {
        let Some(id) = recv_frame(&self.zmq)? else {
            return Ok(None);
        };
        let peer = Peer::from_routing_id(&id);
        let first = if id.get_more() { recv_frame(&self.zmq)? } else { None };
        let received = match first {
            Some(first) => recv_frames(&self.zmq, first)?,
            None => Received::Malformed { frames: 0, bytes: 0 },
        };
        Ok(Some((peer, received)))
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        self.unbind();
    }
}

impl fmt::Debug for Dealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dealer").finish_non_exhaustive()
    }
}

impl fmt::Debug for Router {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Router")
            .field("bound", &self.bound.len())
            .finish_non_exhaustive()
    }
}

/// The endpoint of a Unix socket path, as other processes and languages are told it: `ipc:///tmp/…`.
///
/// # Errors
/// [`NetError::BadPath`], [`NetError::PathTooLong`].
pub fn endpoint(path: &Path) -> Result<String, NetError> {
    let length = path.as_os_str().len();
    if length > SOCKET_PATH_BYTES_MAX {
        return Err(NetError::PathTooLong {
            path: path.to_owned(),
            length,
        });
    }
    // Without the leading slash libzmq would take `@…` for an abstract name and `*` for one of its own choice.
    match path.to_str() {
        Some(text) if path.is_absolute() && !text.contains('\0') => Ok(format!("{SCHEME}{text}")),
        _ => Err(NetError::BadPath { path: path.to_owned() }),
    }
}

/// The path of an `ipc://` endpoint that a peer named; `None` if it is of another kind or could not be connected to.
pub fn endpoint_path(endpoint: &str) -> Option<&Path> {
    let path = Path::new(endpoint.strip_prefix(SCHEME)?);
    self::endpoint(path).is_ok().then_some(path)
}

/// The address of a `tcp://` endpoint that a peer named; `None` if it is of another kind, or names no address in digits.
pub fn endpoint_address(endpoint: &str) -> Option<SocketAddr> {
    endpoint.strip_prefix(TCP_SCHEME)?.parse().ok()
}

/// The endpoint of an address.
pub fn endpoint_at(address: SocketAddr) -> String {
    format!("{TCP_SCHEME}{address}")
}

/// A socket with the options that both kinds share.
fn make(context: &Context, kind: zmq::SocketType) -> Result<Socket, NetError> {
    let zmq = context.socket(kind)?;
    let options = || {
        // libzmq's default waits for ever at the end.
        zmq.set_linger(i32::try_from(LINGER.as_millis()).unwrap_or(0))?;
        zmq.set_rcvhwm(RECEIVE_MESSAGES_MAX)?;
        // Credit bounds what is owed to a peer; a limit in messages could only lose some.
        zmq.set_sndhwm(0)?;
        zmq.set_maxmsgsize(i64::try_from(FRAME_BYTES_MAX).unwrap_or(i64::MAX))?;
        zmq.set_reconnect_ivl(context.reconnect_ms)?;
        zmq.set_reconnect_ivl_max(RECONNECT_MS_MAX)?;
        zmq.set_handshake_ivl(HANDSHAKE_MS_MAX)
    };
    options().map_err(failed("set a socket's options"))?;
    Ok(zmq)
}

/// The options of a socket that reaches other hosts.
fn prepare_tcp(zmq: &Socket, address: SocketAddr, quiet: Duration) -> Result<(), NetError> {
    let quiet = i32::try_from(quiet.as_millis()).unwrap_or(i32::MAX).min(QUIET_MS_MAX);
    let options = || {
        zmq.set_ipv6(address.is_ipv6())?;
        // Else the kernel tries for two minutes, whether or not the link is back.
        zmq.set_connect_timeout(quiet)?;
        // Brokers notice a silent host by its news; this only ends the connection, and is not to cost more than those.
        zmq.set_heartbeat_ivl(quiet)?;
        zmq.set_heartbeat_timeout(quiet)?;
        zmq.set_heartbeat_ttl(quiet)
    };
    options().map_err(failed("set a socket's options"))
}

fn failed(doing: &'static str) -> impl Fn(Error) -> NetError {
    move |source| NetError::Zmq { doing, source }
}

/// Sends the one or two frames of a message. The first decides whether it has a route; a connection that ends before
/// the second takes the first along with it.
fn send_frames(zmq: &Socket, frames: Frames) -> Result<Sent, NetError> {
    let Frames { header, body } = frames;
    match body {
        None => send_frame(zmq, &header, 0),
        Some(body) => match send_frame(zmq, &header, SNDMORE)? {
            Sent::Done => send_frame(zmq, &body, 0),
            Sent::NoRoute => Ok(Sent::NoRoute),
        },
    }
}

fn send_frame(zmq: &Socket, bytes: &Bytes, more: i32) -> Result<Sent, NetError> {
    loop {
        // An interrupted call has taken the bytes and sent nothing, so it gets a reference of its own.
        match zmq_ext::send_bytes(zmq, bytes.clone(), DONTWAIT | more) {
            Ok(()) => return Ok(Sent::Done),
            Err(Error::EINTR) => {}
            Err(Error::EAGAIN | Error::EHOSTUNREACH) => return Ok(Sent::NoRoute),
            Err(error) => return Err(failed("send a message")(error)),
        }
    }
}

fn recv_frame(zmq: &Socket) -> Result<Option<Message>, NetError> {
    loop {
        match zmq.recv_msg(DONTWAIT) {
            Ok(message) => return Ok(Some(message)),
            Err(Error::EINTR) => {}
            Err(Error::EAGAIN) => return Ok(None),
            Err(error) => return Err(failed("receive a message")(error)),
        }
    }
}

/// The rest of a message whose first frame is here. libzmq hands messages over whole, so all of it is there.
fn recv_frames(zmq: &Socket, first: Message) -> Result<Received, NetError> {
    let (mut frames, mut bytes, mut more) = (1, first.len(), first.get_more());
    let mut fits = first.len() <= FRAME_BYTES_MAX;
    let header = zmq_ext::into_bytes(first);
    let mut body = None;
    while more && let Some(frame) = recv_frame(zmq)? {
        frames += 1;
        bytes += frame.len();
        more = frame.get_more();
        fits &= frames == 2 && frame.len() <= FRAME_BYTES_MAX;
        body = fits.then(|| zmq_ext::into_bytes(frame));
    }
    Ok(if fits {
        Received::Frames(Frames { header, body })
    } else {
        Received::Malformed { frames, bytes }
    })
}
