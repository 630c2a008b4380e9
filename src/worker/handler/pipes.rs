//! Our ends of a handler's pipes. Nothing here blocks; a pipe is widened only once bulk flows through it, so that small
//! requests stay cheap and the user's allowance of pipe memory (`pipe-user-pages-soft`) is spent on those that use it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use bytes::{Buf, Bytes};
use rustix::event::{PollFd, PollFlags};
use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::protocol::limits::CHUNK_BYTES_MAX;
use crate::protocol::message::Channel;

/// Bytes that a pipe holds once bulk flows: several chunks, so that neither side waits for the other's time slice.
const WIDE_PIPE_BYTES: usize = 1024 * 1024;

/// What a pipe holds at first on Linux; more than this at once is bulk.
const NARROW_PIPE_BYTES: usize = 64 * 1024;

/// First size of a read: one page does for most replies.
const FIRST_READ_BYTES: usize = 4096;

/// What can be waited for.
#[derive(Clone, Copy, Debug)]
pub struct Interest<'a> {
    /// The file.
    pub fd: BorrowedFd<'a>,
    /// Until it takes bytes; else until it has some, or its end.
    pub write: bool,
}

impl<'a> Interest<'a> {
    pub(super) fn read(fd: &'a OwnedFd) -> Self {
        Self {
            fd: fd.as_fd(),
            write: false,
        }
    }

    pub(super) fn write(fd: &'a OwnedFd) -> Self {
        Self {
            fd: fd.as_fd(),
            write: true,
        }
    }

    pub(super) fn to_poll(self) -> PollFd<'a> {
        PollFd::from_borrowed_fd(self.fd, if self.write { PollFlags::OUT } else { PollFlags::IN })
    }
}

/// Makes one of our ends return `WouldBlock` instead of waiting. The handler's end is another open file and unaffected.
pub(super) fn set_nonblocking(fd: &OwnedFd) -> rustix::io::Result<()> {
    let flags = rustix::fs::fcntl_getfl(fd)?;
    rustix::fs::fcntl_setfl(fd, flags | OFlags::NONBLOCK)
}

/// Widens a pipe at its first bulk. A refusal (the user's allowance is spent) leaves it as it is.
fn widen(fd: &OwnedFd, wide: &mut bool) -> bool {
    if std::mem::replace(wide, true) {
        return false;
    }
    rustix::pipe::fcntl_setpipe_size(fd, WIDE_PIPE_BYTES).is_ok()
}

/// The way into a handler: its standard input.
pub(super) struct Inlet {
    fd: Option<OwnedFd>,
    /// The one piece that waits for room in the pipe.
    piece: Bytes,
    /// The body ends with the piece.
    end: bool,
    taken: u64,
    wide: bool,
}

impl Inlet {
    pub(super) const fn new(fd: OwnedFd) -> Self {
        Self {
            fd: Some(fd),
            piece: Bytes::new(),
            end: false,
            taken: 0,
            wide: false,
        }
    }

    pub(super) const fn wants_more(&self) -> bool {
        self.piece.is_empty() && !self.end
    }

    /// Bytes that went into the pipe, or nowhere because the handler does not want them.
    pub(super) const fn taken(&self) -> u64 {
        self.taken
    }

    pub(super) fn feed(&mut self, bytes: Bytes, end: bool) {
        debug_assert!(self.wants_more(), "fed while a piece waits");
        self.piece = bytes;
        self.end |= end;
    }

    pub(super) fn interest(&self) -> Option<Interest<'_>> {
        self.fd.as_ref().filter(|_| !self.piece.is_empty()).map(Interest::write)
    }

    /// Bytes that wait for the handler, here and in the pipe; `None` if nobody knows, or nobody reads.
    pub(super) fn unread(&self) -> Option<u64> {
        let in_pipe = rustix::io::ioctl_fionread(self.fd.as_ref()?).ok()?;
        Some(in_pipe + self.piece.len() as u64)
    }

    /// Writes what the pipe takes now; nothing if it is not `ready`.
    pub(super) fn write(&mut self, ready: bool) {
        while let Some(fd) = self.fd.as_ref().filter(|_| ready && !self.piece.is_empty()) {
            match rustix::io::write(fd, &self.piece) {
                Ok(count) => {
                    self.taken += count as u64;
                    self.piece.advance(count);
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) if self.piece.len() >= NARROW_PIPE_BYTES && widen(fd, &mut self.wide) => {}
                Err(Errno::AGAIN) => break,
                // The handler has closed its end (or, never seen, the pipe failed): it does not want the rest.
                Err(_) => self.fd = None,
            }
        }
        if self.fd.is_none() {
            self.taken += self.piece.len() as u64;
            self.piece = Bytes::new();
        }
        if self.piece.is_empty() && self.end {
            self.fd = None;
        }
    }

    /// Nobody reads any more.
    pub(super) fn close(&mut self) {
        self.fd = None;
        self.write(false);
    }
}

/// A way out of a handler: its standard output or standard error.
pub(super) struct Outlet {
    fd: Option<OwnedFd>,
    pub(super) channel: Channel,
    /// Bytes that lay in the pipe when the handler exited and have not been read: they are the handler's own.
    owed: u64,
    wide: bool,
}

impl Outlet {
    pub(super) const fn new(fd: OwnedFd, channel: Channel) -> Self {
        Self {
            fd: Some(fd),
            channel,
            owed: 0,
            wide: false,
        }
    }

    pub(super) const fn is_open(&self) -> bool {
        self.fd.is_some()
    }

    pub(super) fn close(&mut self) {
        self.fd = None;
        self.owed = 0;
    }

    pub(super) const fn is_owing(&self) -> bool {
        self.owed > 0
    }

    pub(super) fn interest(&self) -> Option<Interest<'_>> {
        self.fd.as_ref().map(Interest::read)
    }

    /// To be called when the handler has exited: all it has ever written and nobody read lies in the pipe now.
    pub(super) fn count_owed(&mut self) {
        self.owed = self
            .fd
            .as_ref()
            .and_then(|fd| rustix::io::ioctl_fionread(fd).ok())
            .unwrap_or(0);
    }

    /// Reads one chunk of at most `room` bytes (which are more than none); the flag says that more may be there.
    /// `None`: nothing is there now, or ever again.
    pub(super) fn read(&mut self, buffer: &mut ReadBuffer, room: usize) -> Option<(Bytes, bool)> {
        let fd = self.fd.as_ref()?;
        match rustix::io::retry_on_intr(|| buffer.read(fd, room)) {
            Ok((chunk, full)) if !chunk.is_empty() => {
                self.owed = self.owed.saturating_sub(chunk.len() as u64);
                if full && chunk.len() >= NARROW_PIPE_BYTES / 4 {
                    widen(fd, &mut self.wide);
                }
                Some((chunk, full))
            }
            Err(Errno::AGAIN) => {
                // Somebody else has read from this pipe if something is owed: nothing is left of it.
                self.owed = 0;
                None
            }
            Ok(_) | Err(_) => {
                self.fd = None;
                self.owed = 0;
                None
            }
        }
    }
}

/// Where chunks are read into. It grows with what flows. A large chunk leaves with its memory, uncopied; a small one is
/// copied out, so that what waits for a client's acknowledgement never holds much more memory than it has bytes.
pub(super) struct ReadBuffer {
    bytes: Vec<u8>,
    size: usize,
}

impl ReadBuffer {
    pub(super) const fn new() -> Self {
        Self {
            bytes: Vec::new(),
            size: FIRST_READ_BYTES,
        }
    }

    /// Reads once, at most `room` bytes and one chunk; also tells whether all that was asked for came.
    fn read(&mut self, fd: &OwnedFd, room: usize) -> rustix::io::Result<(Bytes, bool)> {
        self.bytes.clear();
        if self.bytes.capacity() < self.size {
            self.bytes = Vec::with_capacity(self.size);
        }
        let capacity = self.bytes.capacity();
        let offered = capacity.min(room).min(CHUNK_BYTES_MAX);
        let chunk = if offered < capacity {
            let (filled, _) = rustix::io::read(fd, &mut self.bytes.spare_capacity_mut()[..offered])?;
            Bytes::copy_from_slice(filled)
        } else {
            rustix::io::read(fd, rustix::buffer::spare_capacity(&mut self.bytes))?;
            if self.bytes.len() >= capacity / 2 {
                Bytes::from(std::mem::take(&mut self.bytes))
            } else {
                Bytes::copy_from_slice(&self.bytes)
            }
        };
        let full = chunk.len() == offered;
        if full {
            self.size = (self.size * 4).min(CHUNK_BYTES_MAX);
        }
        Ok((chunk, full))
    }
}
