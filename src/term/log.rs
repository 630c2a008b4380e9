//! Where broker and worker log: standard error, as long as somebody takes it. A loop that keeps Hits alive never waits
//! for the reader of its log: a line for which the pipe has no room is dropped, and the next one says how many were.

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::{Mutex, PoisonError};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// A pipe that polls writable takes this much without blocking (`PIPE_BUF`).
const AT_ONCE_BYTES_MAX: usize = 4096;

/// Longest line; what was dropped before it is told within the rest.
const LINE_BYTES_MAX: usize = AT_ONCE_BYTES_MAX - 128;

/// Lines dropped since the last that was written.
static DROPPED: Mutex<u64> = Mutex::new(0);

/// A writer of whole lines to standard error. It never blocks and never fails.
#[derive(Clone, Copy, Debug, Default)]
pub struct Log;

impl Write for Log {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        // Held over the write, so that no other thread fills the pipe between the look and the write.
        let mut dropped = DROPPED.lock().unwrap_or_else(PoisonError::into_inner);
        let stderr = io::stderr();
        if takes_at_once(&stderr) {
            // When it cannot be written there is nobody to tell.
            let _ = stderr
                .lock()
                .write_all(&with_dropped(line, std::mem::take(&mut *dropped)));
        } else {
            *dropped += 1;
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn takes_at_once(stream: impl AsFd) -> bool {
    let mut fds = [PollFd::new(&stream, PollFlags::OUT)];
    let ready = poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }));
    ready == Ok(1) && fds[0].revents().contains(PollFlags::OUT)
}

/// The line, cut to its limit, after a line on those that were dropped.
fn with_dropped(line: &[u8], dropped: u64) -> Vec<u8> {
    let mut text = Vec::with_capacity(line.len());
    if dropped > 0 {
        text.extend_from_slice(format!("({dropped} lines are missing: nobody took them)\n").as_bytes());
    }
    if line.len() > LINE_BYTES_MAX {
        text.extend_from_slice(&line[..LINE_BYTES_MAX - 1]);
        text.push(b'\n');
    } else {
        text.extend_from_slice(line);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_were_dropped_are_counted() {
        assert_eq!(with_dropped(b"a line\n", 0), b"a line\n");
        let told = with_dropped(b"a line\n", 3);
        assert_eq!(told, b"(3 lines are missing: nobody took them)\na line\n");
    }

    #[test]
    fn a_line_fits_into_one_write() {
        let told = with_dropped(&[b'x'; 10_000], u64::MAX);
        assert!(told.len() <= AT_ONCE_BYTES_MAX);
        assert_eq!(told.last(), Some(&b'\n'));
    }

    #[test]
    fn a_full_pipe_takes_nothing() {
        let (reader, mut writer) = io::pipe().expect("a pipe");
        assert!(takes_at_once(&writer));
        rustix::io::ioctl_fionbio(&writer, true).expect("a pipe need not block");
        while writer.write(&[0; 4096]).is_ok() {}
        assert!(!takes_at_once(&writer));
        drop(reader);
    }
}
