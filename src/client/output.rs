//! Where replies go: stdout and stderr, without ever blocking the loop that keeps the Hit alive.
//!
//! What is short and fits into the pipe at once is written on the spot; everything else by a thread of its own, which
//! reports what it has written, so that credit opens as the final reader takes.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::net::Waker;
use crate::signals;
use crate::term::progress::{Bar, Output};

/// A pipe that polls writable takes this much without blocking (`PIPE_BUF`).
const AT_ONCE_BYTES_MAX: usize = 4096;

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stream {
    /// Replies.
    Out,
    /// What handlers say on their standard error.
    Err,
}

impl Stream {
    fn write(self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Out => {
                let mut out = io::stdout().lock();
                out.write_all(bytes).and_then(|()| out.flush())
            }
            Self::Err => io::stderr().lock().write_all(bytes),
        }
    }

    fn takes_at_once(self) -> bool {
        let (out, err) = (io::stdout(), io::stderr());
        let fd = match self {
            Self::Out => out.as_fd(),
            Self::Err => err.as_fd(),
        };
        let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::OUT)];
        let ready = poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }));
        ready == Ok(1) && fds[0].revents().contains(PollFlags::OUT)
    }
}

/// What a job's bytes give back when they are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Cost {
    /// Bytes of replies.
    pub(super) bytes: u64,
    /// Ends of replies.
    pub(super) ends: u64,
}

/// What the writing thread tells.
#[derive(Debug, Default)]
struct Told {
    done: AtomicU64,
    failed: Mutex<Option<io::Error>>,
}

/// The writer.
#[derive(Debug)]
pub(super) struct Writer {
    jobs: Option<Sender<(Stream, Bytes)>>,
    waker: Waker,
    told: Arc<Told>,
    /// Costs of what the thread was given, oldest first.
    given: VecDeque<Cost>,
    seen: u64,
    /// Written on the spot.
    at_once: Cost,
    failed: Option<io::Error>,
}

impl Writer {
    /// A writer that wakes `waker` when it has made progress.
    pub(super) fn new(waker: Waker) -> Self {
        let told = Arc::default();
        Self {
            jobs: None,
            waker,
            told,
            given: VecDeque::new(),
            seen: 0,
            at_once: Cost::default(),
            failed: None,
        }
    }

    /// Takes bytes to write.
    pub(super) fn write(&mut self, stream: Stream, bytes: Bytes, cost: Cost) {
        if self.given.is_empty() && bytes.len() <= AT_ONCE_BYTES_MAX && (bytes.is_empty() || stream.takes_at_once()) {
            match stream.write(&bytes) {
                Ok(()) => {
                    self.at_once.bytes += cost.bytes;
                    self.at_once.ends += cost.ends;
                }
                Err(error) => self.failed = Some(error),
            }
            return;
        }
        self.given.push_back(cost);
        let jobs = match self.jobs.take() {
            Some(jobs) => jobs,
            None => match start(self.waker.clone(), Arc::clone(&self.told)) {
                Ok(jobs) => jobs,
                Err(error) => return self.failed = Some(error),
            },
        };
        // The thread ends only after it has reported why.
        let _ = jobs.send((stream, bytes));
        self.jobs = Some(jobs);
    }

    /// What was written since the last call.
    ///
    /// # Errors
    /// What the system says when a stream cannot be written to; nothing is written after that.
    pub(super) fn written(&mut self) -> io::Result<Cost> {
        let done = self.told.done.load(Ordering::Acquire);
        let mut cost = std::mem::take(&mut self.at_once);
        for job in self.given.drain(..usize::try_from(done - self.seen).unwrap_or(0)) {
            cost.bytes += job.bytes;
            cost.ends += job.ends;
        }
        self.seen = done;
        let failed = self.told.failed.lock().ok().and_then(|mut failed| failed.take());
        match self.failed.take().or(failed) {
            Some(error) => Err(error),
            None => Ok(cost),
        }
    }

    /// Whether everything is written.
    pub(super) fn is_idle(&self) -> bool {
        self.given.is_empty()
    }
}

/// The writer, and the bar that must not stand in its way.
pub(super) struct Sink {
    pub(super) writer: Writer,
    pub(super) bar: Bar,
}

impl Sink {
    /// Takes bytes to write.
    pub(super) fn write(&mut self, stream: Stream, bytes: Bytes, cost: Cost) {
        let output = match stream {
            Stream::Out => Output::Stdout,
            Stream::Err => Output::Stderr,
        };
        let shown = bytes.clone();
        self.bar
            .with_hidden(output, &shown, || self.writer.write(stream, bytes, cost));
    }
}

fn start(waker: Waker, told: Arc<Told>) -> io::Result<Sender<(Stream, Bytes)>> {
    let (jobs, queue) = channel::<(Stream, Bytes)>();
    signals::spawn("writer", move || {
        for (stream, bytes) in queue {
            if let Err(error) = stream.write(&bytes) {
                if let Ok(mut failed) = told.failed.lock() {
                    *failed = Some(error);
                }
                waker.wake();
                return;
            }
            told.done.fetch_add(1, Ordering::Release);
            waker.wake();
        }
    })?;
    Ok(jobs)
}
