//! The end of a hung master: autopsy, and a kill that cannot hit anybody else (rule V3).
//!
//! A [`Watch`] holds the suspect's pidfd from the time the vote begins, so that whatever gets its number later is out of
//! reach. Before the kill the record must still name that very process, with the executable that it runs; a suspect
//! that has written no record is known by the lock that it holds.

mod autopsy;
mod error;
mod locks;
mod trail;

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::vote::Suspect;
use crate::clock;
use crate::protocol::limits::KILL_WAIT;
use crate::protocol::mutation::{Rule, broken};
use crate::runtime::start_ticks;

pub use autopsy::{Autopsy, autopsy};
pub use error::VerdictError;
pub use locks::{lock_holder, lock_holder_in};
pub use trail::{Elected, Outcome, Trail};

/// A file, whatever its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileId {
    /// Its file system.
    pub device: u64,
    /// Its inode there.
    pub inode: u64,
}

impl FileId {
    /// The file that a path leads to.
    ///
    /// # Errors
    /// As `stat(2)`.
    pub fn of(path: impl AsRef<std::path::Path>) -> io::Result<Self> {
        let found = fs::metadata(path)?;
        Ok(Self {
            device: found.dev(),
            inode: found.ino(),
        })
    }

    /// The file that a process runs, even if it has been replaced or removed meanwhile.
    ///
    /// # Errors
    /// As `stat(2)`; `EACCES` for a process of another user.
    pub fn of_executable(pid: u32) -> io::Result<Self> {
        Self::of(format!("/proc/{pid}/exe"))
    }
}

/// What the record says of the master.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Its process.
    pub pid: u32,
    /// When that process started, in clock ticks since the machine did.
    pub start_ticks: u64,
    /// What it runs, if the record says so.
    pub executable: Option<FileId>,
}

/// By what the suspect is known to be the master at the time of the kill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// The record, read just now.
    Record(Claim),
    /// It holds the lock on this file, and the record names nobody alive.
    Lock(FileId),
}

/// Between the fall of a lock and the end of the last thread of the process that held it.
const LAST_MOMENT: Duration = Duration::from_millis(20);

/// Whom a kill may hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The process whose pidfd is held.
    Watched,
    /// Whoever has the number. Only with rule V3 broken.
    Number(u32),
}

/// The suspect has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Killed {
    /// It had ended already.
    pub already: bool,
    /// How long its end took.
    pub within: Duration,
}

/// A suspect's process, held so that its number cannot mislead.
#[derive(Debug)]
pub struct Watch {
    pid: u32,
    start_ticks: u64,
    pidfd: OwnedFd,
}

impl Watch {
    /// Takes hold of the process of this number that started then; `None` if it has ended, or cannot be held.
    pub fn open(pid: u32, start: u64) -> Option<Self> {
        let number = i32::try_from(pid).ok().and_then(Pid::from_raw)?;
        let pidfd = pidfd_open(number, PidfdFlags::empty()).ok()?;
        // After opening: what has this start time now is what was opened.
        (start_ticks(pid)? == start).then_some(Self {
            pid,
            start_ticks: start,
            pidfd,
        })
    }

    /// Its number.
    pub const fn pid(&self) -> u32 {
        self.pid
    }

    /// Whether it has ended.
    pub fn has_ended(&self) -> bool {
        self.ends_within(Duration::ZERO).unwrap_or(false)
    }

    /// Looks at the process from outside; `None` if it has ended.
    pub fn autopsy(&self) -> Option<Autopsy> {
        autopsy(self.pid).filter(|_| start_ticks(self.pid) == Some(self.start_ticks))
    }

    /// Kills the process, if it is the master by this evidence, and waits for its end, at most [`KILL_WAIT`].
    ///
    /// `is_still` says whether its loop counter stands where it was judged. It is asked last, right before the signal:
    /// whoever kills may himself have been stopped since he decided to.
    ///
    /// # Errors
    /// [`VerdictError`]: why it was not killed, or has not ended.
    pub fn kill(&self, evidence: &Evidence, is_still: impl FnOnce() -> bool) -> Result<Killed, VerdictError> {
        self.kill_by(evidence, is_still, |pidfd| pidfd_send_signal(pidfd, Signal::KILL))
    }

    fn kill_by(
        &self,
        evidence: &Evidence,
        is_still: impl FnOnce() -> bool,
        send: impl FnOnce(BorrowedFd<'_>) -> rustix::io::Result<()>,
    ) -> Result<Killed, VerdictError> {
        let begun_at = clock::now();
        let ended = |already| Killed {
            already,
            within: clock::now().since(begun_at),
        };
        if self.has_ended() && !broken(Rule::V3) {
            return Ok(ended(true));
        }
        let target = match self.judge(evidence) {
            // Another member was faster: its lock falls a moment before all of it has ended.
            Err(_) if self.ends_within(LAST_MOMENT).unwrap_or(false) && !broken(Rule::V3) => return Ok(ended(true)),
            judged => judged?,
        };
        if !is_still() {
            return Err(VerdictError::Lives { pid: self.pid });
        }
        let signalled = match target {
            Target::Watched => send(self.pidfd.as_fd()),
            Target::Number(pid) => i32::try_from(pid)
                .ok()
                .and_then(Pid::from_raw)
                .map_or(Err(Errno::SRCH), |pid| rustix::process::kill_process(pid, Signal::KILL)),
        };
        match signalled {
            Ok(()) => {}
            Err(Errno::SRCH) => return Ok(ended(true)),
            Err(errno @ (Errno::PERM | Errno::ACCESS)) => return Err(self.not_permitted(errno)),
            Err(errno) => return Err(self.failed("kill", errno.into())),
        }
        if self
            .ends_within(KILL_WAIT)
            .map_err(|error| self.failed("watch", error.into()))?
        {
            Ok(ended(false))
        } else {
            Err(VerdictError::StillThere {
                pid: self.pid,
                state: autopsy(self.pid).map_or('?', |found| found.state),
            })
        }
    }

    /// Compares the process with what it is to be killed by.
    fn judge(&self, evidence: &Evidence) -> Result<Target, VerdictError> {
        let pid = self.pid;
        match evidence {
            Evidence::Record(claim) => {
                let target = target(pid, self.start_ticks, claim)?;
                if target == Target::Watched {
                    let wanted = claim.executable.ok_or(VerdictError::UnknownProgram { pid })?;
                    let found = FileId::of_executable(pid).map_err(|error| self.unreadable(error))?;
                    if found != wanted {
                        return Err(VerdictError::AnotherProgram { pid });
                    }
                }
                Ok(target)
            }
            Evidence::Lock(file) => match lock_holder(*file) {
                Ok(Some(holder)) if holder == pid => Ok(Target::Watched),
                Ok(_) => Err(VerdictError::NoHolder { pid }),
                Err(error) => Err(self.failed("find the lock of", error)),
            },
        }
    }

    fn unreadable(&self, error: io::Error) -> VerdictError {
        match Errno::from_io_error(&error) {
            // What may not be looked at cannot be compared, so it is not killed either, even where we could.
            Some(errno @ (Errno::PERM | Errno::ACCESS)) => self.not_permitted(errno),
            _ => self.failed("look at", error),
        }
    }

    fn not_permitted(&self, errno: Errno) -> VerdictError {
        VerdictError::NotPermitted {
            pid: self.pid,
            uid: owner(self.pid),
            errno,
        }
    }

    const fn failed(&self, doing: &'static str, source: io::Error) -> VerdictError {
        let pid = self.pid;
        VerdictError::Io { doing, pid, source }
    }

    /// Waits for the process to end; returns whether it has.
    fn ends_within(&self, longest: Duration) -> rustix::io::Result<bool> {
        let until = clock::now() + longest;
        loop {
            let left = until.since(clock::now());
            let timeout = Timespec {
                tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: left.subsec_nanos().into(),
            };
            let mut fds = [PollFd::from_borrowed_fd(self.as_fd(), PollFlags::IN)];
            match poll(&mut fds, Some(&timeout)) {
                Err(Errno::INTR) => {}
                polled => return polled.map(|ready| ready > 0),
            }
        }
    }
}

impl AsFd for Watch {
    /// Readable once the process has ended.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

/// Whom a kill may hit, if this process was judged and the record says this now (rule V3). What it runs is compared
/// apart, since that can be read of a real process only.
///
/// # Errors
/// [`VerdictError::Another`].
pub fn target(pid: u32, start_ticks: u64, claim: &Claim) -> Result<Target, VerdictError> {
    if broken(Rule::V3) {
        return Ok(Target::Number(claim.pid));
    }
    if (claim.pid, claim.start_ticks) == (pid, start_ticks) {
        Ok(Target::Watched)
    } else {
        let named = claim.pid;
        Err(VerdictError::Another { pid, named })
    }
}

/// The suspect that the lock names, where the record names nobody alive (rule V3).
///
/// # Errors
/// As reading `/proc/locks`.
pub fn suspect_by_lock(file: FileId) -> io::Result<Option<Suspect>> {
    let Some(pid) = lock_holder(file)? else {
        return Ok(None);
    };
    Ok(start_ticks(pid).map(|start_ticks| Suspect {
        term: crate::protocol::Term::default(),
        pid,
        start_ticks,
    }))
}

/// Whose process it is, by its real uid.
fn owner(pid: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let uids = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    uids.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests;
