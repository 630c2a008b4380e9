//! The runtime directory of a host: where its processes find each other, and the locks that say who is there.
//!
//! ```text
//! BASE/CLUSTER/HOST/      0700; BASE is $ZHIT_RUNTIME_DIR, else /tmp/zhit-UID
//!     broker.sock         the broker's ROUTER for this host
//!     broker.lock         flock: who holds it is the master
//!     broker.record       who that is, as text
//!     broker.term         the highest term of this host: 8 bytes, native order
//!     broker.beat         the broker's loop counter
//!     broker.log          what an elected broker has to say; broker.log.1 what it said before that
//!     broker.trail        the last verdict on a broker that hung
//!     dir.id              16 random bytes, made with the directory (rule O5)
//!     members/w3          flock: worker w3 is present; who it is, as text
//!     members/w3.2        the ROUTER of its slot 2
//!     members/w3.beat     its loop counters
//!     members/w3.….journal  what its slots run and ran, after its death, too
//!     scratch/w3.…        what its handlers may write to
//! ```
//!
//! A lock belongs to a process and falls with it; presence is judged by locks, never by files. A lock holds only while
//! its path leads to the inode that was locked (rules A5, E4).

mod dir;
mod files;
mod lock;
mod log;
mod members;
mod process;
mod record;
mod trail;

pub use dir::{Place, RuntimeDir};
pub use lock::{BrokerLock, next_term};
pub use log::HostLog;
pub use members::{Member, MemberSeen, bury, list, member_files};
pub use process::{Executable, Stat, is_running, start_ticks};
pub use record::{Record, Reservation};
pub use trail::{read_trail, write_trail};

use std::io;
use std::path::PathBuf;

/// Why the runtime directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// The name cannot stand in a path.
    #[error(
        "{name:?} cannot name a {what}: use 1 to 64 letters, digits, '.', '_' or '-', not starting with '.' or '-'"
    )]
    Name {
        /// `cluster` or `host`.
        what: &'static str,
        /// What was given.
        name: String,
    },
    /// The sockets in it would have longer paths than the kernel takes.
    #[error(
        "the runtime directory {} has {length} bytes, at most {max} leave room for the sockets in it; \
         set ZHIT_RUNTIME_DIR to something shorter", path.display()
    )]
    TooLong {
        /// The directory.
        path: PathBuf,
        /// How long its path is.
        length: usize,
        /// How long it may be.
        max: usize,
    },
    /// Somebody may have put it there to lead us elsewhere.
    #[error("the runtime directory {} is a link; remove it, or set ZHIT_RUNTIME_DIR to a directory of yours", path.display())]
    Link {
        /// The link.
        path: PathBuf,
    },
    /// A file is in its place.
    #[error("{} is no directory; move it away, or set ZHIT_RUNTIME_DIR to a directory of yours", path.display())]
    NotADirectory {
        /// The file.
        path: PathBuf,
    },
    /// It belongs to somebody else.
    #[error(
        "the runtime directory {} belongs to uid {owner}, not to you (uid {us}); \
         set ZHIT_RUNTIME_DIR to a directory of yours", path.display()
    )]
    NotOurs {
        /// The directory.
        path: PathBuf,
        /// Its owner.
        owner: u32,
        /// Who we are.
        us: u32,
    },
    /// Others could put sockets into it.
    #[error("others may write to the runtime directory {} (mode {mode:03o}); chmod go-w it", path.display())]
    OthersMayWrite {
        /// The directory.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// We cannot put sockets into it.
    #[error("the runtime directory {} cannot be written to: {source}; set ZHIT_RUNTIME_DIR to one that can", path.display())]
    NotWritable {
        /// The directory.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file of ours holds what we never wrote.
    #[error("{} is damaged; with no zhit running, remove it", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// Every number is taken.
    #[error("{} has no room for another worker; stop some", path.display())]
    Full {
        /// The directory of members.
        path: PathBuf,
    },
    /// The system refuses.
    #[error("cannot {doing} {}: {source}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// With what.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

impl RuntimeError {
    /// Turns an error of the system into one of ours.
    fn io<E: Into<io::Error>>(doing: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(E) -> Self {
        let path = path.into();
        move |source| Self::Io {
            doing,
            path,
            source: source.into(),
        }
    }
}

#[cfg(test)]
mod tests;
