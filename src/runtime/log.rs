//! The log of a broker that no terminal belongs to: a file that never grows beyond its bound and never blocks.

use std::fs::File;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::{OFlags, fstat, openat, renameat};

use super::RuntimeError;
use super::dir::RuntimeDir;
use super::files::OWNER_ONLY;

const LOG: &str = "broker.log";

/// What the log was before it reached its bound.
const OLD_LOG: &str = "broker.log.1";

/// Bound of each of the two.
const LOG_BYTES_MAX: u64 = 1024 * 1024;

/// A writer of whole lines to the host's log. All clones write to the same file. Other processes may, too.
#[derive(Clone, Debug)]
pub struct HostLog {
    dir: Arc<RuntimeDir>,
    file: Arc<Mutex<File>>,
}

impl HostLog {
    /// Opens the log, or begins it.
    ///
    /// # Errors
    /// [`RuntimeError::Io`].
    pub fn open(dir: RuntimeDir) -> Result<Self, RuntimeError> {
        let file = open(&dir).map_err(RuntimeError::io("open", dir.path().join(LOG)))?;
        Ok(Self {
            dir: Arc::new(dir),
            file: Arc::new(Mutex::new(file)),
        })
    }

    /// The file as another process's standard error.
    ///
    /// # Errors
    /// [`RuntimeError::Io`].
    pub fn file_of(dir: &RuntimeDir) -> Result<File, RuntimeError> {
        open(dir).map_err(RuntimeError::io("open", dir.path().join(LOG)))
    }
}

impl Write for HostLog {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let full = fstat(&*file).is_ok_and(|stat| stat.st_size.cast_unsigned() >= LOG_BYTES_MAX);
        if full {
            // Where the old log cannot be put aside this one is full: a log is not worth a broker.
            renameat(&*self.dir, LOG, &*self.dir, OLD_LOG)?;
            *file = open(&self.dir)?;
        }
        file.write_all(line)?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn open(dir: &RuntimeDir) -> io::Result<File> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::APPEND | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let file = openat(dir, LOG, flags, OWNER_ONLY)?;
    Ok(file.into())
}
