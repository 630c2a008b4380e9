//! Who holds a host's office, and by what evidence it may be killed (rule V3).

use crate::protocol::message::Suspect;
use crate::runtime::{Record, RuntimeDir, RuntimeError};

use super::verdict::{Claim, Evidence, FileId, Killed, VerdictError, Watch, suspect_by_lock};

/// Why a holder is not killed.
#[derive(Debug, thiserror::Error)]
pub enum HolderError {
    /// The record, or the lock, cannot be read.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// The lock cannot be looked at.
    #[error("cannot find out who holds the host's lock: {0}")]
    Lock(std::io::Error),
    /// Nobody holds it.
    #[error("nobody holds the host's lock any more")]
    Nobody,
    /// It is not, or cannot be, killed.
    #[error(transparent)]
    Verdict(#[from] VerdictError),
}

/// Who holds the lock, if the record names nobody alive.
///
/// # Errors
/// [`HolderError::Lock`].
pub fn by_lock(dir: &RuntimeDir) -> Result<Option<Suspect>, HolderError> {
    FileId::of(dir.broker_lock())
        .and_then(suspect_by_lock)
        .map_err(HolderError::Lock)
}

/// By what a suspect is known to be the master, now.
///
/// # Errors
/// [`HolderError`].
pub fn evidence(dir: &RuntimeDir) -> Result<Evidence, HolderError> {
    match Record::read(dir)?.filter(Record::is_alive) {
        Some(record) => Ok(Evidence::Record(Claim {
            pid: record.pid,
            start_ticks: record.start_ticks,
            executable: record.executable.map(|file| FileId {
                device: file.device,
                inode: file.inode,
            }),
        })),
        None => FileId::of(dir.broker_lock())
            .map(Evidence::Lock)
            .map_err(HolderError::Lock),
    }
}

/// Kills whoever holds the office: `zhit broker --takeover --force`.
///
/// # Errors
/// [`HolderError`].
pub fn kill(dir: &RuntimeDir) -> Result<Killed, HolderError> {
    let alive = Record::read(dir)?.filter(Record::is_alive);
    let suspect = match alive {
        Some(record) => record.suspect(),
        None => by_lock(dir)?.ok_or(HolderError::Nobody)?,
    };
    let watch = Watch::open(suspect.pid, suspect.start_ticks).ok_or(HolderError::Nobody)?;
    // Whoever forces it wants it gone, hung or not.
    Ok(watch.kill(&evidence(dir)?, || true)?)
}
