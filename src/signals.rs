//! Signals: the main thread handles them and does nothing else; every other thread blocks them.

use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread::{Builder, JoinHandle};

use nix::sys::signal::SigSet;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::net::{NetError, Waker};

/// What a role is told of signals. Clones share it.
#[derive(Clone, Debug)]
pub struct Stop {
    signal: Arc<AtomicU8>,
    waker: Waker,
}

impl Stop {
    /// Nothing has been asked yet.
    ///
    /// # Errors
    /// [`NetError::Eventfd`] when there are no descriptors left.
    pub fn new() -> Result<Self, NetError> {
        Ok(Self {
            signal: Arc::default(),
            waker: Waker::new()?,
        })
    }

    /// The signal that asked the role to end, if one did.
    pub fn signal(&self) -> Option<u8> {
        Some(self.signal.load(Ordering::Acquire)).filter(|signal| *signal != 0)
    }

    /// Readable when something was asked. The role's loop polls and drains it.
    pub const fn waker(&self) -> &Waker {
        &self.waker
    }

    /// Asks the role to end as this signal does. The first one holds.
    pub fn ask(&self, signal: u8) {
        let _ = self
            .signal
            .compare_exchange(0, signal, Ordering::AcqRel, Ordering::Acquire);
        self.waker.wake();
    }
}

/// What a hang-up (SIGHUP) means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HangUp {
    /// The end, as SIGTERM.
    Ends,
    /// Nothing, unless the process has a controlling terminal: then the end.
    EndsOnTerminal,
}

/// How a role ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended<T> {
    /// By itself.
    Returned(T),
    /// A second signal came: it may still run, and the process must end now.
    Forced(u8),
    /// It panicked; the message was printed.
    Panicked,
}

/// Starts a thread that blocks every signal.
///
/// # Panics
/// If the system cannot start one more thread.
pub fn spawn_quiet<T: Send + 'static>(name: &str, work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    let started = Builder::new().name(name.to_owned()).spawn(move || {
        // The call fails for no set of signals; were it to, a signal would interrupt a wait, which every loop bears.
        let _ = SigSet::all().thread_block();
        work()
    });
    started.expect("the system starts a thread; if not, lower --slots or raise the limit of processes (ulimit -u)")
}

/// Runs a role on a thread of its own while this one, the main thread, waits for signals.
///
/// The first SIGINT or SIGTERM is passed to the role, the second ends the wait.
///
/// # Errors
/// What the system says when signals cannot be handled.
pub fn run_role<T: Send + 'static>(
    name: &str,
    hang_up: HangUp,
    stop: &Stop,
    role: impl FnOnce() -> T + Send + 'static,
) -> std::io::Result<Ended<T>> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    let handle = signals.handle();
    let thread = spawn_quiet(name, move || {
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(role));
        handle.close();
        result
    });
    let mut asked = false;
    for signal in &mut signals {
        if signal == SIGHUP && hang_up == HangUp::EndsOnTerminal && !std::io::stdin().is_terminal() {
            continue;
        }
        let number = u8::try_from(signal).unwrap_or(0);
        if std::mem::replace(&mut asked, true) {
            return Ok(Ended::Forced(number));
        }
        stop.ask(number);
    }
    Ok(match thread.join() {
        Ok(Ok(result)) => Ended::Returned(result),
        _ => Ended::Panicked,
    })
}
