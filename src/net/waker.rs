//! Ends another thread's wait.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::event::{EventfdFlags, eventfd};

use super::NetError;

/// An eventfd: readable from [`wake`](Self::wake) until [`drain`](Self::drain). Clones are the same one.
///
/// One thread waits on it (in a [`Poll`](super::Poll)) and drains it; any other may wake it.
/// Set what is to be seen before waking, and look at it after draining.
#[derive(Clone, Debug)]
pub struct Waker(Arc<OwnedFd>);

impl Waker {
    /// A waker that is not awake.
    ///
    /// # Errors
    /// [`NetError::Eventfd`] when there are no descriptors left.
    pub fn new() -> Result<Self, NetError> {
        let fd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK);
        fd.map(|fd| Self(Arc::new(fd)))
            .map_err(|errno| NetError::Eventfd(errno.into()))
    }

    /// Ends the wait, now or the next. Never blocks.
    pub fn wake(&self) {
        // The only failure left is a full counter, and then it is awake already.
        let _ = rustix::io::write(&self.0, &1u64.to_ne_bytes());
    }

    /// Takes all wakings so far. Never blocks.
    pub fn drain(&self) {
        // Nothing to take is no failure.
        let _ = rustix::io::read(&self.0, &mut [0u8; 8]);
    }
}

impl AsFd for Waker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
