//! `zhit broker --takeover --force`: the end of a broker that does not leave.

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::runtime::{Executable, Record, start_ticks};

/// Why a broker is not killed.
#[derive(Debug, thiserror::Error)]
pub enum ForceError {
    /// There is no record, or nobody lives whom it names.
    #[error("the record of the broker that has the lock names nobody alive; find it with: fuser -v {0}")]
    Nobody(String),
    /// The system refuses.
    #[error("cannot kill pid {pid}: {source}; end it as the user who started it: kill -9 {pid}")]
    Refused {
        /// The broker.
        pid: u32,
        /// What the system says.
        source: std::io::Error,
    },
}

/// Kills the process that the record names, if it is that very process (rule V3).
///
/// # Errors
/// [`ForceError`].
pub fn kill(record: Option<&Record>, lock: &std::path::Path) -> Result<(), ForceError> {
    let nobody = || ForceError::Nobody(lock.display().to_string());
    let record = record.ok_or_else(nobody)?;
    let pid = i32::try_from(record.pid)
        .ok()
        .and_then(Pid::from_raw)
        .ok_or_else(nobody)?;
    let pidfd = pidfd_open(pid, PidfdFlags::empty()).map_err(|_| nobody())?;
    // Compared after opening: from here on the descriptor names one process, whatever happens to the number.
    let is_same = start_ticks(record.pid) == Some(record.start_ticks)
        && record
            .executable
            .is_none_or(|wanted| Executable::of(record.pid) == Some(wanted));
    if !is_same {
        return Err(nobody());
    }
    match pidfd_send_signal(&pidfd, Signal::KILL) {
        Ok(()) | Err(Errno::SRCH) => Ok(()),
        Err(errno) => Err(ForceError::Refused {
            pid: record.pid,
            source: errno.into(),
        }),
    }
}
