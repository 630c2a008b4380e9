//! The end of what a dead worker's handlers have left running (rule O9).

use std::fs;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::WorkerJournal;
use crate::clock;
use crate::runtime::Stat;

/// How often a group is looked for; each scan finds what was forked during the one before.
const SCANS_MAX: u32 = 8;

/// How long the ends of those killed in one scan are waited for.
const END_WAIT: Duration = Duration::from_millis(500);

/// Kills the process groups of a dead worker's handlers. Returns how many processes were killed.
///
/// A group is known by its leader's start time. As long as one of its processes lives the kernel gives its number to no
/// other, so a number whose process started at another time is another group's, and left alone. Where the leader has gone,
/// the session tells a group from a later one of its number.
pub fn kill_groups(journal: &WorkerJournal) -> usize {
    let running = journal.slots.iter().filter_map(|slot| slot.running.as_ref());
    let groups = running.filter_map(|hit| hit.group).chain(journal.broadcast_group);
    let groups = groups.map(|(number, leader_started)| Group {
        number,
        leader_started,
        session: journal.session,
    });
    groups.map(kill_group).sum()
}

/// The process group of a handler.
#[derive(Clone, Copy)]
struct Group {
    number: u32,
    leader_started: u64,
    session: u32,
}

impl Group {
    /// Whether the process is of this group, and not older than its leader.
    fn has(self, pid: u32) -> bool {
        Stat::of(pid).is_some_and(|stat| {
            (stat.group, stat.session) == (self.number, self.session)
                && stat.start_ticks >= self.leader_started
                && !stat.ended
        })
    }
}

fn kill_group(group: Group) -> usize {
    match Stat::of(group.number) {
        Some(leader) if leader.start_ticks != group.leader_started => return 0,
        _ => {}
    }
    let mut killed = 0;
    // One that is being forked as its parent is killed is found by the next scan.
    for _ in 0..SCANS_MAX {
        let members = processes().filter(|pid| group.has(*pid));
        let ending: Vec<OwnedFd> = members.filter_map(|pid| kill(pid, group)).collect();
        if ending.is_empty() {
            break;
        }
        killed += ending.len();
        wait_for_ends(&ending);
    }
    killed
}

/// Waits until they have ended: a client that asks elsewhere must not meet the old handler (rule O9).
fn wait_for_ends(ending: &[OwnedFd]) {
    let until = clock::now() + END_WAIT;
    for process in ending {
        let left = until.since(clock::now());
        let timeout = Timespec {
            tv_sec: left.as_secs().cast_signed(),
            tv_nsec: left.subsec_nanos().into(),
        };
        // One that is stuck in the kernel is waited for no longer than the bound.
        let _ = poll(&mut [PollFd::new(process, PollFlags::IN)], Some(&timeout));
    }
}

/// Kills one process, if it is still what it was once its descriptor is held. Gives the descriptor, to wait for its end.
fn kill(pid: u32, group: Group) -> Option<OwnedFd> {
    let number = i32::try_from(pid).ok().and_then(Pid::from_raw)?;
    let pidfd = pidfd_open(number, PidfdFlags::empty()).ok()?;
    let killed = group.has(pid) && pidfd_send_signal(&pidfd, Signal::KILL).is_ok();
    killed.then_some(pidfd)
}

fn processes() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok);
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt as _;
    use std::process::{Child, Command, Stdio};

    use super::super::{RunningHit, SlotJournal};
    use super::*;
    use crate::protocol::{Attach, HitKey, Incarnation, Moment, Term, WorkerId};

    fn journal(group: u32, started: u64) -> WorkerJournal {
        let running = RunningHit {
            key: HitKey::from_bytes([1; 16]),
            term: Term(1),
            ttl: Duration::from_secs(15),
            started: 1,
            answered: 0,
            attach: Attach(1),
            group: Some((group, started)),
        };
        WorkerJournal {
            worker: WorkerId(1),
            incarnation: Incarnation(1),
            pid: 1,
            start_ticks: 1,
            alive: false,
            left: false,
            session: session(),
            pool: "default".to_owned(),
            broadcasts: Vec::new(),
            broadcast_group: None,
            slots: vec![SlotJournal {
                slot: 1,
                running: Some(running),
                ended: Vec::new(),
                overwritten_until: Moment::ZERO,
            }],
        }
    }

    fn session() -> u32 {
        Stat::of(std::process::id()).unwrap().session
    }

    fn pipeline(script: &str) -> Child {
        let mut shell = Command::new("sh");
        shell.args(["-c", script]).stdout(Stdio::piped()).process_group(0);
        shell.spawn().unwrap()
    }

    /// Waits until the group has so many living processes.
    fn wait_for(group: u32, started: u64, count: usize) {
        let until = clock::now() + Duration::from_secs(20);
        let looked_for = Group {
            number: group,
            leader_started: started,
            session: session(),
        };
        while processes().filter(|pid| looked_for.has(*pid)).count() != count {
            assert!(clock::now() < until, "not {count} processes in group {group}");
            std::thread::yield_now();
        }
    }

    #[test]
    fn all_of_a_pipeline_is_ended_and_nobody_else() {
        let mut ours = pipeline("sleep 1000 | sleep 1000; :");
        let mut others = pipeline("exec sleep 1000");
        let (group, other) = (ours.id(), others.id());
        let started = Stat::of(group).unwrap().start_ticks;
        wait_for(group, started, 3);
        assert_eq!(
            kill_groups(&journal(group, started + 1)),
            0,
            "the number is another's now"
        );
        assert_eq!(kill_groups(&journal(group, started)), 3);
        wait_for(group, started, 0);
        assert!(others.try_wait().unwrap().is_none());
        ours.wait().unwrap();
        assert_eq!(kill_groups(&journal(other, 0)), 0);
        others.kill().unwrap();
        others.wait().unwrap();
    }

    #[test]
    fn a_group_whose_leader_has_gone_is_ended_too() {
        let mut leader = pipeline("sleep 1000 & exec sleep 1000");
        let group = leader.id();
        let started = Stat::of(group).unwrap().start_ticks;
        wait_for(group, started, 2);
        leader.kill().unwrap();
        leader.wait().unwrap();
        let another = WorkerJournal {
            session: session() + 1,
            ..journal(group, started)
        };
        assert_eq!(kill_groups(&another), 0, "a later group of that number");
        assert_eq!(kill_groups(&journal(group, started)), 1);
        wait_for(group, started, 0);
    }
}
