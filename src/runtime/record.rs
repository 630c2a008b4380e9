//! Who the master is: written by the holder of the lock, read by all others.

use std::fmt::Write as _;
use std::process;

use super::dir::RuntimeDir;
use super::process::start_ticks;
use super::{RuntimeError, files};
use crate::clock;
use crate::protocol::Term;

const RECORD: &str = "broker.record";

/// Who the master is. It says so itself; only the lock proves it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its process.
    pub pid: u32,
    /// When that process started, in clock ticks since the machine did.
    pub start_ticks: u64,
    /// Its term.
    pub term: Term,
    /// Digest of its layout; zeros without one.
    pub layout_digest: [u8; 16],
    /// When it became the master, in seconds since 1970.
    pub started_unix: u64,
}

impl Record {
    /// This process, as the master of a term.
    pub fn of_this_process(term: Term) -> Self {
        let pid = process::id();
        // Without a /proc the record names nobody alive, which is safe: nobody is killed by such a record.
        let start_ticks = start_ticks(pid).unwrap_or(0);
        Self {
            pid,
            start_ticks,
            term,
            layout_digest: [0; 16],
            started_unix: clock::unix_seconds(),
        }
    }

    /// Whether the process that it names is still there.
    pub fn is_alive(&self) -> bool {
        start_ticks(self.pid) == Some(self.start_ticks)
    }

    /// Writes the record, in one step, in place of an earlier one.
    ///
    /// # Errors
    /// [`RuntimeError::Io`].
    pub fn write(&self, dir: &RuntimeDir) -> Result<(), RuntimeError> {
        files::replace(dir, RECORD, self.to_text().as_bytes())
            .map_err(RuntimeError::io("write", dir.path().join(RECORD)))
    }

    /// Reads the record; `None` when there is none.
    ///
    /// # Errors
    /// [`RuntimeError::Damaged`], [`RuntimeError::Io`].
    pub fn read(dir: &RuntimeDir) -> Result<Option<Self>, RuntimeError> {
        let path = || dir.path().join(RECORD);
        let Some(bytes) = files::read(dir, RECORD).map_err(RuntimeError::io("read", path()))? else {
            return Ok(None);
        };
        let record = str::from_utf8(&bytes).ok().and_then(Self::from_text);
        record.map(Some).ok_or_else(|| RuntimeError::Damaged { path: path() })
    }

    /// Takes the record away, if there is one.
    ///
    /// # Errors
    /// [`RuntimeError::Io`].
    pub fn remove(dir: &RuntimeDir) -> Result<(), RuntimeError> {
        files::remove(dir, RECORD).map_err(RuntimeError::io("remove", dir.path().join(RECORD)))
    }

    /// A line `key value` for each field; who reads it ignores keys that it does not know.
    fn to_text(self) -> String {
        let Self {
            pid,
            start_ticks,
            term,
            layout_digest,
            started_unix,
        } = self;
        let mut text = format!("pid {pid}\nstart {start_ticks}\nterm {term}\nstarted {started_unix}\nlayout ");
        for byte in layout_digest {
            // Writing to a string cannot fail.
            let _ = write!(text, "{byte:02x}");
        }
        text.push('\n');
        text
    }

    fn from_text(text: &str) -> Option<Self> {
        let layout = files::fact(text, "layout").filter(|digits| digits.len() == 32)?;
        Some(Self {
            pid: files::fact(text, "pid")?.parse().ok()?,
            start_ticks: files::fact(text, "start")?.parse().ok()?,
            term: Term(files::fact(text, "term")?.parse().ok()?),
            layout_digest: u128::from_str_radix(layout, 16).ok()?.to_be_bytes(),
            started_unix: files::fact(text, "started")?.parse().ok()?,
        })
    }
}
