//! Tells a process from a later one with the same number.

use std::fs;

/// When a process started, in clock ticks since the machine did; `None` if there is no such process. A pid may be used
/// again, a pid with its start time is not.
pub fn start_ticks(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the command in parentheses, and may hold anything; the start time is field 22 (proc(5)).
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_ascii_whitespace().nth(22 - 3)?.parse().ok()
}
