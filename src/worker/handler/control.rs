//! Control lines: what a handler says beside its reply, on file descriptor 3.
//!
//! ```text
//! progress DONE TOTAL [note]     how far this request is; TOTAL 0: nobody knows
//! fail CODE [message]            this request fails with that exit code (1 to 255)
//! ```

use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};

use super::pipes::{Interest, set_nonblocking};
use crate::protocol::limits::CONTROL_LINE_BYTES_MAX;
use crate::protocol::message::Progress;

/// What one look reads.
const READ_BYTES: usize = 4096;

/// Reads of one look, so that a handler that babbles does not hold up its slot (rule A1).
const READS_MAX: usize = 16;

/// A control line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Line {
    Progress(Progress),
    Fail(u8, String),
}

impl Line {
    /// Reads a line without its newline; `None` if it is none that we know.
    fn parse(line: &[u8]) -> Option<Self> {
        let line = String::from_utf8_lossy(line);
        let (word, rest) = cut(line.trim());
        match word {
            "progress" => {
                let (done, rest) = cut(rest);
                let (total, note) = cut(rest);
                Some(Self::Progress(Progress {
                    done: done.parse().ok()?,
                    total: total.parse().ok()?,
                    note: note.to_owned(),
                }))
            }
            "fail" => {
                let (code, message) = cut(rest);
                let code = code.parse().ok().filter(|code| *code > 0)?;
                Some(Self::Fail(code, message.to_owned()))
            }
            _ => None,
        }
    }
}

/// The first word, and what follows it.
fn cut(text: &str) -> (&str, &str) {
    let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    (word, rest.trim_start())
}

/// Our end of the pipe.
pub(super) struct Control {
    fd: Option<OwnedFd>,
    /// The line that has begun.
    line: Vec<u8>,
    /// Lines that are none, for a remark to the handler's maker.
    unknown: u64,
}

impl Control {
    /// The pipe: our end, and the handler's.
    pub(super) fn new() -> rustix::io::Result<(Self, OwnedFd)> {
        let (ours, theirs) = pipe_with(PipeFlags::CLOEXEC)?;
        set_nonblocking(&ours)?;
        let control = Self {
            fd: Some(ours),
            line: Vec::new(),
            unknown: 0,
        };
        Ok((control, theirs))
    }

    pub(super) fn interest(&self) -> Option<Interest<'_>> {
        self.fd.as_ref().map(Interest::read)
    }

    /// Reads the lines that are there.
    pub(super) fn read(&mut self, out: &mut Vec<Line>) {
        for _ in 0..READS_MAX {
            let Some(fd) = &self.fd else { return };
            let mut bytes = [0; READ_BYTES];
            match rustix::io::read(fd, &mut bytes[..]) {
                Ok(0) => self.fd = None,
                Ok(count) => self.take(&bytes[..count], out),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                Err(_) => self.fd = None,
            }
        }
    }

    /// How many lines were none since this was asked last.
    pub(super) fn take_unknown(&mut self) -> u64 {
        std::mem::take(&mut self.unknown)
    }

    fn take(&mut self, bytes: &[u8], out: &mut Vec<Line>) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let room = CONTROL_LINE_BYTES_MAX.saturating_sub(self.line.len());
            // The end of a line that is too long is cut off: it is for people.
            self.line.extend_from_slice(&piece[..piece.len().min(room)]);
            if piece.ends_with(b"\n") {
                match Line::parse(&self.line) {
                    Some(line) => out.push(line),
                    None => self.unknown += 1,
                }
                self.line.clear();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(done: u64, total: u64, note: &str) -> Line {
        Line::Progress(Progress {
            done,
            total,
            note: note.to_owned(),
        })
    }

    #[test]
    fn lines_are_read_and_others_counted() {
        let (mut control, theirs) = Control::new().unwrap();
        let mut lines = Vec::new();
        control.read(&mut lines);
        assert!(lines.is_empty(), "nothing was said yet");
        let text =
            b"progress 1 10\nprogress 2 0  half way \nfail 3 no such user\nfail 0 x\nfail\nhello\nprogress 1\n\nprog";
        rustix::io::write(&theirs, text).unwrap();
        control.read(&mut lines);
        let fail = Line::Fail(3, "no such user".to_owned());
        assert_eq!(lines, [progress(1, 10, ""), progress(2, 0, "half way"), fail]);
        assert_eq!(control.take_unknown(), 5);
        rustix::io::write(&theirs, b"ress 5 5\n").unwrap();
        drop(theirs);
        lines.clear();
        control.read(&mut lines);
        assert_eq!(lines, [progress(5, 5, "")]);
        assert!(control.interest().is_none(), "nobody can say anything more");
    }

    #[test]
    fn a_line_without_end_takes_no_memory() {
        let (mut control, theirs) = Control::new().unwrap();
        let mut lines = Vec::new();
        for _ in 0..8 {
            rustix::io::write(&theirs, &[b'x'; 4096]).unwrap();
            control.read(&mut lines);
        }
        assert_eq!(control.line.len(), CONTROL_LINE_BYTES_MAX);
        rustix::io::write(&theirs, b"\nprogress 1 2\n").unwrap();
        control.read(&mut lines);
        assert_eq!(lines, [progress(1, 2, "")]);
    }
}
