//! Waiting for what is expected within microseconds: one looks for a while before one sleeps.
//!
//! A thread that sleeps has to be woken, and so has the processor that idles meanwhile: on a quiet machine half of a round
//! trip's time (docs/architecture.md, Processes). Whoever looks in vain stops to, until something comes soon again: an idle or
//! slow peer costs one look, and who has nobody to wait for none.

use std::time::Duration;

use crate::clock;
use crate::net::{NetError, Poll, Ready};
use crate::protocol::limits::LOOK_FOR;

/// Whether looking has paid.
#[derive(Debug)]
pub struct Eager {
    is_hopeful: bool,
}

impl Default for Eager {
    fn default() -> Self {
        Self::new()
    }
}

impl Eager {
    /// One that has not been disappointed yet.
    pub const fn new() -> Self {
        Self { is_hopeful: true }
    }

    /// As [`Poll::wait`]. `expects`: an answer may come at once.
    ///
    /// # Errors
    /// [`NetError`].
    pub fn wait(&mut self, mut poll: Poll<'_>, timeout: Duration, expects: bool) -> Result<Ready, NetError> {
        if !expects || timeout <= LOOK_FOR {
            return poll.wait(Some(timeout));
        }
        let began = clock::now();
        if self.is_hopeful {
            while !poll.look()? {
                if clock::now().since(began) >= LOOK_FOR {
                    self.is_hopeful = false;
                    break;
                }
                // Who has work to do may do it here: an answer needs others to run.
                std::thread::yield_now();
            }
            if self.is_hopeful {
                return poll.wait(Some(Duration::ZERO));
            }
        }
        let ready = poll.wait(Some(timeout))?;
        self.waited(clock::now().since(began), !ready.is_empty());
        Ok(ready)
    }

    /// It slept; whatever came so soon would almost have been seen.
    fn waited(&mut self, took: Duration, came: bool) {
        self.is_hopeful |= came && took < LOOK_FOR * 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::{Interest, Waker};

    #[test]
    fn whoever_looks_in_vain_sleeps_until_something_comes_soon_again() {
        let waker = Waker::new().unwrap();
        let mut eager = Eager::new();
        let mut wait = |timeout| {
            let mut poll = Poll::new();
            let key = poll.fd(&waker, Interest::READ);
            let ready = eager.wait(poll, timeout, true).unwrap();
            (ready.readable(key), eager.is_hopeful)
        };
        let long = Duration::from_millis(20);
        waker.wake();
        assert_eq!(wait(long), (true, true), "what is there is seen");
        waker.drain();
        assert_eq!(wait(long), (false, false), "nothing came");
        assert_eq!(wait(long), (false, false));
        waker.wake();
        assert_eq!(wait(long), (true, true), "it was there at once");
        waker.drain();
        assert_eq!(wait(LOOK_FOR), (false, true), "for a moment nobody looks");
    }

    #[test]
    fn what_comes_late_is_no_reason_to_look() {
        let mut eager = Eager { is_hopeful: false };
        eager.waited(LOOK_FOR * 2, true);
        assert!(!eager.is_hopeful);
        eager.waited(LOOK_FOR, false);
        assert!(!eager.is_hopeful);
        eager.waited(LOOK_FOR, true);
        assert!(eager.is_hopeful);
    }
}
