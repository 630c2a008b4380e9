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

/// When a process started, in clock ticks since the machine did; `None` if there is no such process. A pid may be used
/// again, a pid with its start time is not.
pub fn start_ticks(pid: u32) -> Option<u64> {
    stat(pid)?.1
}

/// Whether the process that started then still runs. One that has ended and that its parent has not asked about yet
/// keeps its number, but holds nothing any more.
pub fn is_running(pid: u32, start_ticks: u64) -> bool {
    stat(pid).is_some_and(|(state, start)| start == Some(start_ticks) && !matches!(state, 'Z' | 'X'))
}

/// Its state and start time.
fn stat(pid: u32) -> Option<(char, Option<u64>)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the command in parentheses, and may hold anything; the start time is field 22 (proc(5)).
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    Some((state, fields.nth(22 - 4).and_then(|ticks| ticks.parse().ok())))
}
