//! Waiting for sockets and file descriptors together.
//!
//! A [`Poll`] is made anew for each wait, so that it holds the sockets no longer than that; it costs three small
//! allocations. What libzmq tells through a socket's own descriptor is an edge, easily missed; `zmq_poll` asks the
//! socket itself.

use std::fmt;
use std::ops::BitOr;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use zmq::{PollEvents, PollItem};

use super::{Dealer, NetError, Router};

/// What to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interest(PollEvents);

impl Interest {
    /// Nothing: the item keeps its place and is left alone, even if its other end has gone.
    pub const NONE: Self = Self(PollEvents::empty());
    /// Something to read, or an end.
    pub const READ: Self = Self(zmq::POLLIN);
    /// Room to write, or nobody to write to.
    pub const WRITE: Self = Self(zmq::POLLOUT);

    /// This interest if `wanted`, else none.
    #[must_use]
    pub const fn when(self, wanted: bool) -> Self {
        if wanted { self } else { Self::NONE }
    }
}

impl BitOr for Interest {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// Names an item of one [`Poll`] in the [`Ready`] that comes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key(usize);

/// A socket that can be waited for: a `&Dealer` or a `&Router`.
pub struct AnySocket<'a>(&'a zmq::Socket);

impl<'a> From<&'a Dealer> for AnySocket<'a> {
    fn from(dealer: &'a Dealer) -> Self {
        Self(&dealer.zmq)
    }
}

impl<'a> From<&'a Router> for AnySocket<'a> {
    fn from(router: &'a Router) -> Self {
        Self(&router.zmq)
    }
}

/// The items of one wait.
#[derive(Default)]
pub struct Poll<'a> {
    items: Vec<PollItem<'a>>,
    asked: Vec<Interest>,
}

impl<'a> Poll<'a> {
    /// Nothing to wait for yet.
    pub fn new() -> Self {
        Self {
            items: Vec::with_capacity(8),
            asked: Vec::with_capacity(8),
        }
    }

    /// Adds a [`Dealer`] or a [`Router`]. A DEALER is writable while it has a route.
    pub fn socket(&mut self, socket: impl Into<AnySocket<'a>>, interest: Interest) -> Key {
        self.push(socket.into().0.as_poll_item(interest.0), interest)
    }

    /// Adds a file descriptor.
    pub fn fd<F: AsFd>(&mut self, fd: &'a F, interest: Interest) -> Key {
        // poll(2) reports a hang-up even to those who asked for nothing, and skips negative descriptors.
        let number = if interest == Interest::NONE {
            -1
        } else {
            fd.as_fd().as_raw_fd()
        };
        self.push(PollItem::from_fd(number, interest.0), interest)
    }

    /// Waits until something is ready, for `timeout` (rounded up to milliseconds) or without end. A signal ends the wait
    /// like the timeout does, so look at the clock afterwards.
    ///
    /// # Errors
    /// [`NetError::Zmq`].
    pub fn wait(mut self, timeout: Option<Duration>) -> Result<Ready, NetError> {
        if self.items.is_empty() {
            // Without items libzmq would not wait for ever, nor exactly.
            self.push(PollItem::from_fd(-1, PollEvents::empty()), Interest::NONE);
        }
        match zmq::poll(&mut self.items, milliseconds(timeout)) {
            // An interrupted call may leave what an earlier pass saw in the items.
            Ok(0) | Err(zmq::Error::EINTR) => Ok(Ready { events: Vec::new() }),
            Ok(_) => {
                let found = |(item, asked): (&PollItem<'_>, &Interest)| Events {
                    found: item.get_revents(),
                    asked: *asked,
                };
                Ok(Ready {
                    events: self.items.iter().zip(&self.asked).map(found).collect(),
                })
            }
            Err(source) => Err(NetError::Zmq {
                doing: "wait for sockets",
                source,
            }),
        }
    }

    /// Whether something is ready now; [`wait`](Self::wait) tells what.
    ///
    /// # Errors
    /// [`NetError::Zmq`].
    pub fn look(&mut self) -> Result<bool, NetError> {
        match zmq::poll(&mut self.items, 0) {
            Ok(count) => Ok(count > 0),
            Err(zmq::Error::EINTR) => Ok(false),
            Err(source) => Err(NetError::Zmq {
                doing: "look at sockets",
                source,
            }),
        }
    }

    fn push(&mut self, item: PollItem<'a>, interest: Interest) -> Key {
        self.items.push(item);
        self.asked.push(interest);
        Key(self.items.len() - 1)
    }
}

impl fmt::Debug for Poll<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Poll")
            .field("items", &self.items.len())
            .finish_non_exhaustive()
    }
}

/// What a wait found.
#[derive(Debug)]
pub struct Ready {
    /// In the order of the items; empty when nothing was found.
    events: Vec<Events>,
}

#[derive(Clone, Copy, Debug)]
struct Events {
    found: PollEvents,
    asked: Interest,
}

impl Ready {
    /// Whether nothing was found: the time is over, or a signal came.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// Whether reading was asked for and would find something: bytes, messages, an end, or an error.
    pub fn readable(&self, key: Key) -> bool {
        self.found(key, zmq::POLLIN)
    }

    /// Whether writing was asked for and would do something: it has room, or fails at once.
    pub fn writable(&self, key: Key) -> bool {
        self.found(key, zmq::POLLOUT)
    }

    /// Whether the descriptor's other end has gone, or it is broken. There may be something left to read.
    pub fn failed(&self, key: Key) -> bool {
        self.events
            .get(key.0)
            .is_some_and(|events| events.found.contains(zmq::POLLERR))
    }

    fn found(&self, key: Key, wanted: PollEvents) -> bool {
        self.events
            .get(key.0)
            .is_some_and(|events| events.asked.0.contains(wanted) && events.found.intersects(wanted | zmq::POLLERR))
    }
}

/// A timeout as libzmq takes it: -1 for none, else milliseconds, rounded up so that nobody spins before a deadline.
fn milliseconds(timeout: Option<Duration>) -> i64 {
    let Some(timeout) = timeout else { return -1 };
    i32::try_from(timeout.as_nanos().div_ceil(1_000_000))
        .unwrap_or(i32::MAX)
        .into()
}
