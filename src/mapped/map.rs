//! A file of 64-bit numbers in native order, mapped into memory and shared with whoever maps it, too.

use std::os::fd::OwnedFd;
use std::ptr::{self, NonNull};
use std::sync::atomic::AtomicU64;

use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::{Errno, retry_on_intr};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

pub(super) const WORD_BYTES: usize = size_of::<AtomicU64>();

/// Has the file system keep room for `count` numbers, all zero: a full one is an error here and would be a SIGBUS later.
pub(super) fn reserve(file: &OwnedFd, count: usize) -> rustix::io::Result<()> {
    let bytes = count * WORD_BYTES;
    match retry_on_intr(|| fallocate(file, FallocateFlags::empty(), 0, bytes as u64)) {
        // A file system that cannot promise is made to keep its word.
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => write_zeros(file, bytes),
        reserved => reserved,
    }
}

fn write_zeros(file: &OwnedFd, bytes: usize) -> rustix::io::Result<()> {
    let zeros = vec![0; bytes];
    let mut rest = &zeros[..];
    while !rest.is_empty() {
        let written = retry_on_intr(|| rustix::io::write(file, rest))?;
        rest = &rest[written..];
    }
    Ok(())
}

/// A shared mapping of the first `count` numbers of a file.
pub(super) struct Map {
    start: NonNull<AtomicU64>,
    count: usize,
}

// SAFETY: the mapping belongs to the process and not to a thread, and all access to it is atomic.
unsafe impl Send for Map {}
// SAFETY: as above.
unsafe impl Sync for Map {}

impl Map {
    /// Maps `count` numbers of a file that is at least as long.
    pub(super) fn new(file: &OwnedFd, count: usize, protection: ProtFlags) -> rustix::io::Result<Self> {
        // SAFETY: a null address lets the kernel choose one where nothing is mapped, so no memory of ours changes. The
        // length is not zero: callers ask for at least one number.
        let start = unsafe {
            mmap(
                ptr::null_mut(),
                count * WORD_BYTES,
                protection,
                MapFlags::SHARED,
                file,
                0,
            )
        }?
        .cast();
        NonNull::new(start)
            .map(|start| Self { start, count })
            .ok_or(Errno::NOMEM)
    }

    pub(super) const fn count(&self) -> usize {
        self.count
    }

    pub(super) fn words(&self) -> &[AtomicU64] {
        // SAFETY: `start` is the start of a mapping of `count` numbers, aligned to a page, that lives as long as `self`;
        // every bit pattern is a number. Other processes write to the file, but only through atomics of this size, which
        // is what `AtomicU64` allows for; a read-only mapping is only loaded from, and loads of this size are plain loads
        // wherever zhit runs. Touching a page that the file no longer has would be a SIGBUS: nobody but our own uid can
        // shorten the file, because its directory is 0700 and checked (src/runtime), and no zhit does.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.count) }
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `new` with this length, and no reference into it outlives `self`. Failure would
        // mean that it is not mapped, and then there is nothing to do.
        let _ = unsafe { munmap(self.start.as_ptr().cast(), self.count * WORD_BYTES) };
    }
}
