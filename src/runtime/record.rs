//! Who the master is: written by the holder of the lock, read by all others.

use std::fmt::Write as _;
use std::process;
use std::time::Duration;

use super::dir::RuntimeDir;
use super::process::{Executable, is_running, start_ticks};
use super::{RuntimeError, files};
use crate::clock;
use crate::protocol::Term;
use crate::protocol::message::Suspect;
use crate::protocol::time::Moment;

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
    /// It was started by a member; one that was started by hand is preferred.
    pub elected: bool,
    /// What it runs; a process that runs something else is another (rule V3).
    pub executable: Option<Executable>,
    /// Its holder leaves, and has promised the office to somebody.
    pub reserved: Option<Reservation>,
}

/// For whom the office is kept while it changes hands (rule E3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reservation {
    /// The process.
    pub pid: u32,
    /// When that process started, in clock ticks since the machine did.
    pub start_ticks: u64,
    /// Until when at the latest.
    pub until: Moment,
}

impl Reservation {
    /// How long an office is kept for somebody who does not come.
    pub const LASTS: Duration = Duration::from_secs(2);

    /// For this process, from now on.
    pub fn of(now: Moment, pid: u32, start_ticks: u64) -> Self {
        Self {
            pid,
            start_ticks,
            until: now + Self::LASTS,
        }
    }

    /// Whether it keeps others away: it ends with its process, too.
    pub fn holds(&self, now: Moment) -> bool {
        now < self.until && now + Self::LASTS >= self.until && is_running(self.pid, self.start_ticks)
    }

    /// Whether it is for this very process.
    pub fn is_mine(&self) -> bool {
        self.pid == process::id()
    }
}

impl Record {
    /// This process, as the master of a term.
    pub fn of_this_process(term: Term, elected: bool) -> Self {
        let pid = process::id();
        // Without a /proc the record names nobody alive, which is safe: nobody is killed by such a record.
        let start_ticks = start_ticks(pid).unwrap_or(0);
        Self {
            pid,
            start_ticks,
            term,
            layout_digest: [0; 16],
            started_unix: clock::unix_seconds(),
            elected,
            executable: Executable::of(pid),
            reserved: None,
        }
    }

    /// Who a vote on this master would be about.
    pub const fn suspect(&self) -> Suspect {
        Suspect {
            term: self.term,
            pid: self.pid,
            start_ticks: self.start_ticks,
        }
    }

    /// Whether the process that it names still runs.
    pub fn is_alive(&self) -> bool {
        is_running(self.pid, self.start_ticks)
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
            elected,
            executable,
            reserved,
        } = self;
        let layout = u128::from_be_bytes(layout_digest);
        let how = if elected { "elected" } else { "dedicated" };
        let mut text = format!(
            "pid {pid}\nstart {start_ticks}\nterm {term}\nstarted {started_unix}\nlayout {layout:032x}\nhow {how}\n"
        );
        // Writing to a string cannot fail.
        if let Some(Executable { device, inode }) = executable {
            let _ = writeln!(text, "executable {device}:{inode}");
        }
        if let Some(Reservation {
            pid,
            start_ticks,
            until,
        }) = reserved
        {
            let _ = writeln!(text, "reserved {pid} {start_ticks} {}", until.as_micros());
        }
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
            elected: files::fact(text, "how") == Some("elected"),
            executable: files::fact(text, "executable").and_then(executable),
            reserved: files::fact(text, "reserved").and_then(reservation),
        })
    }
}

fn executable(text: &str) -> Option<Executable> {
    let (device, inode) = text.split_once(':')?;
    Some(Executable {
        device: device.parse().ok()?,
        inode: inode.parse().ok()?,
    })
}

fn reservation(text: &str) -> Option<Reservation> {
    let mut numbers = text.split(' ');
    Some(Reservation {
        pid: numbers.next()?.parse().ok()?,
        start_ticks: numbers.next()?.parse().ok()?,
        until: Moment::from_micros(numbers.next()?.parse().ok()?),
    })
}
