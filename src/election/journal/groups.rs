//! The end of what a dead worker's handlers have left running (rule O9).

use std::fs;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::WorkerJournal;

/// What a process says of itself in /proc.
struct Stat {
    group: u32,
    start_ticks: u64,
    zombie: bool,
}

/// Kills the process groups of a dead worker's handlers. Returns how many processes were killed.
///
/// A group is known by its leader's start time. As long as one of its processes lives the kernel gives its number to no
/// other, so a number whose process started at another time is another group's, and left alone.
pub fn kill_groups(journal: &WorkerJournal) -> usize {
    let running = journal.slots.iter().filter_map(|slot| slot.running.as_ref());
    let groups = running.filter_map(|hit| hit.group);
    groups.map(|(group, started)| kill_group(group, started)).sum()
}

fn kill_group(group: u32, leader_started: u64) -> usize {
    match stat(group) {
        Some(leader) if leader.start_ticks != leader_started => return 0,
        _ => {}
    }
    let members = processes().filter(|pid| is_member(*pid, group, leader_started));
    members.filter(|pid| kill(*pid, group, leader_started)).count()
}

/// Whether the process is of this group, and not older than its leader.
fn is_member(pid: u32, group: u32, leader_started: u64) -> bool {
    stat(pid).is_some_and(|stat| stat.group == group && stat.start_ticks >= leader_started && !stat.zombie)
}

/// Kills one process, if it is still what it was once its descriptor is held.
fn kill(pid: u32, group: u32, leader_started: u64) -> bool {
    let number = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let Some(pidfd) = number.and_then(|number| pidfd_open(number, PidfdFlags::empty()).ok()) else {
        return false;
    };
    is_member(pid, group, leader_started) && pidfd_send_signal(&pidfd, Signal::KILL).is_ok()
}

fn processes() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok);
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn stat(pid: u32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the command in parentheses, and may hold anything (proc(5)).
    let (_, fields) = text.rsplit_once(')')?;
    let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
    Some(Stat {
        zombie: matches!(*fields.first()?, "Z" | "X"),
        group: fields.get(5 - 3)?.parse().ok()?,
        start_ticks: fields.get(22 - 3)?.parse().ok()?,
    })
}
