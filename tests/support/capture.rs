//! What a process writes, read by a thread so that it never waits for the test.

use std::io::{PipeReader, PipeWriter, Read, Write as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use xxhash_rust::xxh3::Xxh3;

/// A pipe that takes not a byte more.
pub(super) fn full_pipe() -> (PipeReader, PipeWriter) {
    let (reader, mut writer) = std::io::pipe().expect("a pipe");
    let flags = fcntl_getfl(&writer).expect("flags");
    fcntl_setfl(&writer, flags | OFlags::NONBLOCK).expect("flags");
    while writer.write(&[b'.'; 4096]).is_ok() {}
    fcntl_setfl(&writer, flags).expect("flags");
    (reader, writer)
}

/// What a pipe gave so far.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) bytes: Vec<u8>,
    pub(super) count: usize,
    pub(super) hash: Xxh3,
}

/// A pipe that a thread reads.
pub(super) struct Captured {
    seen: Arc<Mutex<Seen>>,
    thread: Option<JoinHandle<()>>,
}

impl Captured {
    pub(super) fn of(pipe: Option<impl Read + Send + 'static>, keep: bool) -> Self {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let theirs = Arc::clone(&seen);
        let thread = pipe.map(|mut pipe| {
            std::thread::spawn(move || {
                let mut buffer = vec![0; 64 * 1024];
                while let Ok(count @ 1..) = pipe.read(&mut buffer) {
                    let mut seen = theirs.lock().unwrap_or_else(PoisonError::into_inner);
                    seen.count += count;
                    if keep {
                        seen.bytes.extend_from_slice(&buffer[..count]);
                    } else {
                        seen.hash.update(&buffer[..count]);
                    }
                }
            })
        });
        Self { seen, thread }
    }

    pub(super) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.seen().bytes).into_owned()
    }

    pub(super) fn is_complete(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }
}
