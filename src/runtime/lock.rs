//! The host's lock: the process that holds it is the host's master.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use rustix::fs::FlockOperation;

use super::dir::RuntimeDir;
use super::{RuntimeError, files};
use crate::clock;
use crate::protocol::Term;
use crate::protocol::mutation::{Rule, broken};

pub(super) const LOCK: &str = "broker.lock";
pub(super) const TERM: &str = "broker.term";

/// How often a lock file that is wiped and made anew meanwhile is tried.
const TRIES: u32 = 8;

/// Pause between two tries to take a lock that is held.
const RETRY_AFTER: Duration = Duration::from_millis(5);

/// The host's lock, held by this process until it is dropped or the process ends, however it ends.
#[derive(Debug)]
pub struct BrokerLock {
    file: OwnedFd,
    path: PathBuf,
}

impl BrokerLock {
    /// Takes the lock if it is free. One that is only asked about ([`is_held`](Self::is_held)) looks held for a moment;
    /// see [`take_within`](Self::take_within).
    ///
    /// # Errors
    /// [`RuntimeError::Io`].
    pub fn try_take(dir: &RuntimeDir) -> Result<Option<Self>, RuntimeError> {
        let path = dir.path().join(LOCK);
        for _ in 0..TRIES {
            let file = files::open_lock_file(dir, LOCK).map_err(RuntimeError::io("open", &path))?;
            if !files::lock(&file, FlockOperation::NonBlockingLockExclusive).map_err(RuntimeError::io("lock", &path))? {
                return Ok(None);
            }
            // Between opening and locking the directory may have been wiped: then this lock is one that nobody sees.
            if files::leads_to(&path, &file) {
                return Ok(Some(Self { file, path }));
            }
            if !dir.is_still_there() {
                break;
            }
        }
        Err(RuntimeError::io("keep", path)(rustix::io::Errno::NOENT))
    }

    /// Takes the lock, trying for `patience` while it is held (rule E1). Blocks that long.
    ///
    /// # Errors
    /// [`RuntimeError::Io`].
    pub fn take_within(dir: &RuntimeDir, patience: Duration) -> Result<Option<Self>, RuntimeError> {
        let give_up_at = clock::now() + patience;
        loop {
            let taken = Self::try_take(dir)?;
            if taken.is_some() || clock::now() >= give_up_at {
                return Ok(taken);
            }
            pause(RETRY_AFTER);
        }
    }

    /// Whether the lock's path still leads to what is locked; if not, the holder leaves at once (rule E4).
    pub fn is_still_ours(&self) -> bool {
        files::leads_to(&self.path, &self.file)
    }

    /// Begins a new term, given the highest that was ever heard of (rule E2), and stores it. Only the holder of the
    /// lock may, which is why it is asked here.
    ///
    /// # Errors
    /// [`RuntimeError::Io`].
    pub fn begin_term(&self, dir: &RuntimeDir, heard: Term) -> Result<Term, RuntimeError> {
        let path = dir.path().join(TERM);
        let stored = files::read(dir, TERM).map_err(RuntimeError::io("read", &path))?;
        // A file that is not there, or too short, tells nothing; the time of day still grows.
        let stored = stored
            .and_then(|bytes| bytes.first_chunk().copied())
            .map_or(0, u64::from_ne_bytes);
        let term = next_term(Term(stored), heard, clock::unix_seconds());
        // In place and in one call: a process that dies leaves the old term or the new one, and a mapping of the file
        // stays good (rule O3).
        files::open_lock_file(dir, TERM)
            .and_then(|file| files::write_at_start(file, &term.0.to_ne_bytes()))
            .map_err(RuntimeError::io("write", path))?;
        Ok(term)
    }

    /// Whether a process holds the lock now.
    ///
    /// # Errors
    /// [`RuntimeError::Io`].
    pub fn is_held(dir: &RuntimeDir) -> Result<bool, RuntimeError> {
        files::is_locked(dir, LOCK).map_err(RuntimeError::io("ask about", dir.path().join(LOCK)))
    }
}

/// Nobody tells when a lock falls, and the wait is bounded by the caller's patience.
#[expect(
    clippy::disallowed_methods,
    reason = "a lock that is polled, for a bounded time, before there is a loop"
)]
fn pause(span: Duration) {
    thread::sleep(span);
}

/// Rule E2: higher than any term before, even where the stored one was lost.
pub fn next_term(stored: Term, heard: Term, unix_seconds: u64) -> Term {
    if broken(Rule::E2) {
        return Term(stored.0.saturating_add(1));
    }
    Term(
        stored
            .0
            .saturating_add(1)
            .max(heard.0.saturating_add(1))
            .max(unix_seconds),
    )
}
