//! The directory itself: found, made, checked and held open.

use std::env;
use std::fs::DirBuilder;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{Access, AtFlags, CWD, FileType, Mode, OFlags, accessat, fstat, mkdirat, openat, statat};
use rustix::io::Errno;
use rustix::process::geteuid;

use super::{RuntimeError, files};
use crate::protocol::ids::{DirId, SlotId, WorkerId, is_name};
use crate::protocol::limits::SOCKET_PATH_BYTES_MAX;

/// The longest name that a socket may have below the directory; see [`RuntimeDir::slot_socket`].
const SOCKET_NAME_LONGEST: &str = "members/w99999.99999";

/// Longest path of the directory: a slash and the longest name come after it.
const DIR_BYTES_MAX: usize = SOCKET_PATH_BYTES_MAX - 1 - SOCKET_NAME_LONGEST.len();

/// Random bytes, written when the directory is made.
const ID: &str = "dir.id";

const BROKER_SOCKET: &str = "broker.sock";

/// How often a directory that others make and remove meanwhile is tried.
const TRIES: u32 = 8;

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// Where a host's runtime directory is to be: BASE/CLUSTER/HOST.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    base: PathBuf,
    cluster: String,
    host: String,
}

impl Place {
    /// The place below `base`; without one, below `/tmp/zhit-UID`.
    ///
    /// # Errors
    /// [`RuntimeError::Name`], [`RuntimeError::TooLong`]; [`RuntimeError::Io`] for a relative base in a working
    /// directory that is gone.
    pub fn new(base: Option<&Path>, cluster: &str, host: &str) -> Result<Self, RuntimeError> {
        for (what, name) in [("cluster", cluster), ("host", host)] {
            if !is_name(name) {
                return Err(RuntimeError::Name {
                    what,
                    name: name.to_owned(),
                });
            }
        }
        let base = match base {
            // Without a slash at its end, which would follow a link; absolute, because sockets are found by it.
            Some(base) => std::path::absolute(base.components().collect::<PathBuf>())
                .map_err(RuntimeError::io("find the directory", base))?,
            None => PathBuf::from(format!("/tmp/zhit-{}", geteuid().as_raw())),
        };
        let place = Self {
            base,
            cluster: cluster.to_owned(),
            host: host.to_owned(),
        };
        let path = place.path();
        let length = path.as_os_str().len();
        if length > DIR_BYTES_MAX {
            return Err(RuntimeError::TooLong {
                path,
                length,
                max: DIR_BYTES_MAX,
            });
        }
        Ok(place)
    }

    /// The place below `$ZHIT_RUNTIME_DIR`, if that is set and not empty.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn from_env(cluster: &str, host: &str) -> Result<Self, RuntimeError> {
        let base = env::var_os("ZHIT_RUNTIME_DIR").filter(|base| !base.is_empty());
        Self::new(base.as_ref().map(Path::new), cluster, host)
    }

    /// The directory's path.
    pub fn path(&self) -> PathBuf {
        self.base.join(&self.cluster).join(&self.host)
    }

    /// The broker's socket there.
    pub fn broker_socket(&self) -> PathBuf {
        self.path().join(BROKER_SOCKET)
    }
}

/// A host's runtime directory, checked and held open.
#[derive(Debug)]
pub struct RuntimeDir {
    fd: OwnedFd,
    path: PathBuf,
}

impl RuntimeDir {
    /// Opens the directory, and makes what of it is missing.
    ///
    /// # Errors
    /// [`RuntimeError`]: why it cannot be trusted or used.
    pub fn open(place: &Place) -> Result<Self, RuntimeError> {
        if let Some(parent) = place.base.parent() {
            // What lies above the base is the user's affair and not checked.
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(parent)
                .map_err(RuntimeError::io("make the directory", parent))?;
        }
        // A directory that vanishes between two levels is made again by the next try.
        let found = (0..TRIES).find_map(|_| Self::find(place, true).transpose());
        let dir = found.unwrap_or_else(|| Err(RuntimeError::io("make the directory", place.path())(Errno::NOENT)))?;
        for name in ["members", "scratch"] {
            level(dir.fd.as_fd(), name.as_ref(), &dir.path.join(name), true)?;
        }
        Ok(dir)
    }

    /// Opens the directory if it is there, and makes nothing.
    ///
    /// # Errors
    /// [`RuntimeError`]: why it cannot be trusted or used.
    pub fn open_existing(place: &Place) -> Result<Option<Self>, RuntimeError> {
        Self::find(place, false)
    }

    fn find(place: &Place, create: bool) -> Result<Option<Self>, RuntimeError> {
        let mut path = place.base.clone();
        let Some(mut fd) = level(CWD, &path, &path, create)? else {
            return Ok(None);
        };
        for name in [&place.cluster, &place.host] {
            path.push(name);
            let Some(next) = level(fd.as_fd(), name.as_ref(), &path, create)? else {
                return Ok(None);
            };
            fd = next;
        }
        if create {
            accessat(&fd, ".", Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS).map_err(|errno| {
                RuntimeError::NotWritable {
                    path: path.clone(),
                    source: errno.into(),
                }
            })?;
        }
        Ok(Some(Self { fd, path }))
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What `$ZHIT_RUNTIME_DIR` would have to be for it: the path without cluster and host.
    pub fn base(&self) -> &Path {
        self.path.ancestors().nth(2).unwrap_or(&self.path)
    }

    /// The same directory, held open once more.
    ///
    /// # Errors
    /// [`RuntimeError::Io`] when there are no descriptors left.
    pub fn try_clone(&self) -> Result<Self, RuntimeError> {
        let fd = self.fd.try_clone().map_err(RuntimeError::io("open", &self.path))?;
        Ok(Self {
            fd,
            path: self.path.clone(),
        })
    }

    /// Whether its path still leads to it; it may have been wiped and made anew.
    pub fn is_still_there(&self) -> bool {
        files::leads_to(&self.path, &self.fd)
    }

    /// The broker's socket.
    pub fn broker_socket(&self) -> PathBuf {
        self.path.join(BROKER_SOCKET)
    }

    /// The broker's lock.
    pub fn broker_lock(&self) -> PathBuf {
        self.path.join(super::lock::LOCK)
    }

    /// The socket of a slot's own ROUTER; with slot number 0, of the worker's control thread.
    pub fn slot_socket(&self, slot: SlotId) -> PathBuf {
        self.path.join(format!("members/{}.{}", slot.worker, slot.number))
    }

    /// The directory for what handlers write. Names there start with the worker's, and no
    /// digit comes after it (`w3.…`).
    pub fn scratch(&self) -> PathBuf {
        self.path.join("scratch")
    }

    /// Name, below the directory, of the broker's loop counter.
    pub const fn broker_beat(&self) -> &'static str {
        "broker.beat"
    }

    /// Name, below the directory, of a worker's loop counters: the control thread's, then those of slots 1, 2, …
    pub fn member_beat(&self, worker: WorkerId) -> String {
        format!("members/{worker}.beat")
    }

    /// Names this boot of the machine.
    ///
    /// # Errors
    /// [`RuntimeError::Damaged`], [`RuntimeError::Io`].
    pub fn boot(&self) -> Result<u128, RuntimeError> {
        let boot = std::fs::read_to_string(BOOT_ID).map_err(RuntimeError::io("read", BOOT_ID))?;
        u128::from_str_radix(&boot.trim().replace('-', ""), 16)
            .map_err(|_| RuntimeError::Damaged { path: BOOT_ID.into() })
    }

    /// How long ago it was made, or made anew after it was wiped; nothing if that cannot be told.
    pub fn age(&self) -> Option<Duration> {
        // Its id is written once, with it.
        let made = std::fs::metadata(self.path.join(ID))
            .and_then(|found| found.modified())
            .ok()?;
        made.elapsed().ok()
    }

    /// Name, below the directory, of the word that holds the highest term of this host (rule O3).
    pub const fn term_word(&self) -> &'static str {
        super::lock::TERM
    }

    /// Names this directory on this boot of the machine (rule O5): random bytes that were made with it, mixed with the
    /// boot id, so that a wiped directory and a restarted machine both change it.
    ///
    /// # Errors
    /// [`RuntimeError::Damaged`], [`RuntimeError::Io`].
    pub fn id(&self) -> Result<DirId, RuntimeError> {
        let path = self.path.join(ID);
        let boot = self.boot()?;
        let read = || files::read(&self.fd, ID).map_err(RuntimeError::io("read", &path));
        let stored = if let Some(stored) = read()? {
            stored
        } else {
            files::random::<16>()
                .and_then(|random| files::create_once(&self.fd, ID, &random))
                .map_err(RuntimeError::io("write", &path))?;
            // Of several that make it at once, one wins.
            read()?.unwrap_or_default()
        };
        let stored = stored
            .try_into()
            .map(u128::from_be_bytes)
            .map_err(|_| RuntimeError::Damaged { path })?;
        Ok(DirId((stored ^ boot).to_be_bytes()))
    }
}

impl AsFd for RuntimeDir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Opens one level: a directory, no link, ours, and closed to others' writing. `None` if it is not there and not to be
/// made. `path` is its whole path, for messages.
fn level(parent: BorrowedFd<'_>, name: &Path, path: &Path, create: bool) -> Result<Option<OwnedFd>, RuntimeError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = match openat(parent, name, flags, Mode::empty()) {
        Err(Errno::NOENT) if create => match mkdirat(parent, name, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => openat(parent, name, flags, Mode::empty()),
            Err(errno) => return Err(RuntimeError::io("make the directory", path)(errno)),
        },
        opened => opened,
    };
    match opened {
        Ok(fd) => {
            let stat = fstat(&fd).map_err(RuntimeError::io("look at", path))?;
            let mode = stat.st_mode & 0o777;
            check_owner(stat.st_uid, path)?;
            if mode & 0o022 != 0 {
                return Err(RuntimeError::OthersMayWrite {
                    path: path.to_owned(),
                    mode,
                });
            }
            Ok(Some(fd))
        }
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => {
            // Why: what it is says more than what the system says.
            if let Ok(stat) = statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
                match FileType::from_raw_mode(stat.st_mode) {
                    FileType::Symlink => return Err(RuntimeError::Link { path: path.to_owned() }),
                    FileType::Directory => check_owner(stat.st_uid, path)?,
                    _ => return Err(RuntimeError::NotADirectory { path: path.to_owned() }),
                }
            }
            Err(RuntimeError::io("open the directory", path)(errno))
        }
    }
}

fn check_owner(owner: u32, path: &Path) -> Result<(), RuntimeError> {
    let us = geteuid().as_raw();
    if owner == us {
        Ok(())
    } else {
        Err(RuntimeError::NotOurs {
            path: path.to_owned(),
            owner,
            us,
        })
    }
}
