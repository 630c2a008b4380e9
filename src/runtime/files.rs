//! Small files in a directory that is held open: read whole, written whole, locked, and told apart by inode.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FlockOperation, Mode, OFlags, flock, fstat, fsync, openat, renameat, statat, unlinkat};
use rustix::io::{Errno, retry_on_intr};

/// Most bytes that are read of one of our files. A trail names all silent members; the others have some hundred bytes.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Files are for their owner only.
pub(super) const OWNER_ONLY: Mode = Mode::RUSR.union(Mode::WUSR);

/// What a file holds; `None` when there is none.
pub(super) fn read(dir: impl AsFd, name: &str) -> io::Result<Option<Vec<u8>>> {
    let fd = match openat(
        dir,
        name,
        OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW,
        Mode::empty(),
    ) {
        Ok(fd) => fd,
        Err(Errno::NOENT) => return Ok(None),
        Err(errno) => return Err(errno.into()),
    };
    let mut bytes = Vec::new();
    File::from(fd).take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

/// Writes a file under a name that nobody knows. It must not be there before.
pub(super) fn write_new(dir: impl AsFd, name: &str, bytes: &[u8]) -> io::Result<OwnedFd> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let fd = openat(dir, name, flags, OWNER_ONLY)?;
    write_at_start(&fd, bytes)?;
    Ok(fd)
}

/// Replaces a file in one step: others see the old text or the new one. It need not outlive the machine.
pub(super) fn replace(dir: impl AsFd, name: &str, bytes: &[u8]) -> io::Result<()> {
    let new = unique(name)?;
    let written = write_new(&dir, &new, bytes).and_then(|_| Ok(renameat(&dir, &new, &dir, name)?));
    if written.is_err() {
        // What is left of it has a name of its own and disturbs nobody.
        let _ = unlinkat(&dir, &new, AtFlags::empty());
    }
    written
}

/// Makes a file in one step, unless it is there already; then that one stays.
pub(super) fn create_once(dir: impl AsFd, name: &str, bytes: &[u8]) -> io::Result<()> {
    let new = unique(name)?;
    let fd = write_new(&dir, &new, bytes)?;
    // An empty file after a power failure would have to be removed by hand.
    let linked = fsync(&fd).and_then(|()| rustix::fs::linkat(&dir, &new, &dir, name, AtFlags::empty()));
    // As above.
    let _ = unlinkat(&dir, &new, AtFlags::empty());
    match linked {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// Removes a file; that it is not there is fine.
pub(super) fn remove(dir: impl AsFd, name: &str) -> io::Result<()> {
    match unlinkat(dir, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// Writes all of `bytes` to the start of a file.
pub(super) fn write_at_start(fd: impl AsFd, bytes: &[u8]) -> io::Result<()> {
    let mut done = 0;
    while let Some(rest) = bytes.get(done..).filter(|rest| !rest.is_empty()) {
        done += retry_on_intr(|| rustix::io::pwrite(&fd, rest, done as u64))?;
    }
    Ok(())
}

/// Opens a file that is there to be locked, and makes it if need be.
pub(super) fn open_lock_file(dir: impl AsFd, name: &str) -> io::Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    Ok(openat(dir, name, flags, OWNER_ONLY)?)
}

/// Takes a lock if it is free.
pub(super) fn lock(fd: impl AsFd, operation: FlockOperation) -> io::Result<bool> {
    match retry_on_intr(|| flock(&fd, operation)) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

/// Whether somebody holds the lock on a file. Asking holds a shared lock for a moment, so who takes the lock tries
/// more than once.
pub(super) fn is_locked(dir: impl AsFd, name: &str) -> io::Result<bool> {
    match openat(
        dir,
        name,
        OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW,
        Mode::empty(),
    ) {
        Ok(fd) => Ok(!lock(&fd, FlockOperation::NonBlockingLockShared)?),
        Err(Errno::NOENT) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

/// Whether the path leads to the file that is open. Any trouble on the way means no.
pub(super) fn leads_to(path: &Path, fd: impl AsFd) -> bool {
    let (Ok(there), Ok(ours)) = (statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW), fstat(fd)) else {
        return false;
    };
    (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino)
}

/// The value in a line `key value` of a text.
pub(super) fn fact<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '))
}

/// A name that no other process chooses, hidden from those who list.
fn unique(name: &str) -> io::Result<String> {
    Ok(format!(".{name}.{:08x}", u32::from_ne_bytes(random()?)))
}

/// Random bytes from the kernel.
pub(super) fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(bytes)
}
