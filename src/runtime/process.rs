//! Tells a process from a later one with the same number.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

/// What a process runs: the file, whatever its name is by now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Executable {
    /// Device of the file.
    pub device: u64,
    /// Its inode there.
    pub inode: u64,
}

impl Executable {
    /// What this process runs; `None` if there is no such process, or it is another user's.
    pub fn of(pid: u32) -> Option<Self> {
        let found = fs::metadata(format!("/proc/{pid}/exe")).ok()?;
        Some(Self {
            device: found.dev(),
            inode: found.ino(),
        })
    }
}

/// What a process says of itself in /proc (proc(5)).
#[derive(Clone, Copy, Debug)]
pub struct Stat {
    /// Its process group.
    pub group: u32,
    /// Its session; 0 if that was begun outside this process's namespace, as a container's first one may be.
    pub session: u32,
    /// When it started, in clock ticks since the machine did.
    pub start_ticks: u64,
    /// It has ended, and its parent has not asked about it yet: it holds nothing any more, but its number.
    pub ended: bool,
}

impl Stat {
    /// `None` if there is no such process.
    pub fn of(pid: u32) -> Option<Self> {
        let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The second field is the command in parentheses, and may hold anything.
        let (_, fields) = text.rsplit_once(')')?;
        let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
        Some(Self {
            ended: matches!(*fields.first()?, "Z" | "X"),
            group: fields.get(5 - 3)?.parse().ok()?,
            session: fields.get(6 - 3)?.parse().ok()?,
            start_ticks: fields.get(22 - 3)?.parse().ok()?,
        })
    }
}

/// When a process started, in clock ticks since the machine did; `None` if there is no such process. A pid may be used
/// again, a pid with its start time is not.
pub fn start_ticks(pid: u32) -> Option<u64> {
    Some(Stat::of(pid)?.start_ticks)
}

/// Whether the process that started then still runs.
pub fn is_running(pid: u32, start_ticks: u64) -> bool {
    Stat::of(pid).is_some_and(|stat| stat.start_ticks == start_ticks && !stat.ended)
}
