//! A handler's process as the leader of its process group, held by a pidfd from the moment it exists. Until it is
//! reaped here, its number cannot become another's, so the group can be signalled by number.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command};

use rustix::event::Timespec;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, WaitIdStatus};

use super::pipes::{Interest, set_nonblocking};
use crate::mapped::spawn::{self, GroupCell};
use crate::protocol::status::Status;
use crate::signals;

/// How long a drop waits for what it has killed; only a process stuck in the kernel takes longer.
const REAP_MAX: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

/// What a handler's exit status is taken as when the kernel no longer knows it.
const LOST_EXIT: u8 = 255;

/// A child process. Dropping it kills its group and reaps it.
#[derive(Debug)]
pub(super) struct Leader {
    pid: Pid,
    pidfd: OwnedFd,
    reaped: bool,
}

/// Our ends of the standard pipes, which do not block.
#[derive(Debug)]
pub(super) struct Pipes {
    pub(super) stdin: OwnedFd,
    pub(super) stdout: OwnedFd,
    pub(super) stderr: OwnedFd,
}

/// How a process ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Exit {
    pub(super) status: Status,
    /// Left a core file.
    pub(super) dumped: bool,
}

impl Leader {
    /// Starts the command, whose three standard files are to be pipes, in a group of its own; tied to this thread.
    pub(super) fn spawn(
        command: &mut Command,
        known_at: Option<GroupCell>,
        control: OwnedFd,
    ) -> io::Result<(Self, Pipes)> {
        spawn::tie_to_this_thread(command, control, known_at);
        let mut child = signals::unblocked(|| command.spawn())?;
        // Nobody else reaps, so the number is still this child's, even if it has exited already.
        let pid = Pid::from_child(&child);
        let pidfd = match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
            Ok(pidfd) => pidfd,
            Err(error) => {
                let _ = rustix::process::kill_process_group(pid, Signal::KILL);
                let _ = child.wait();
                return Err(error.into());
            }
        };
        let leader = Self {
            pid,
            pidfd,
            reaped: false,
        };
        let pipes = Pipes::take_from(&mut child)?;
        Ok((leader, pipes))
    }

    pub(super) fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// Readable once the process has exited.
    pub(super) fn interest(&self) -> Interest<'_> {
        Interest::read(&self.pidfd)
    }

    /// Signals the group; only the leader if it has moved itself to another group.
    pub(super) fn signal(&self, signal: Signal) {
        if !self.reaped && rustix::process::kill_process_group(self.pid, signal).is_err() {
            let _ = rustix::process::pidfd_send_signal(&self.pidfd, signal);
        }
    }

    /// How it exited, if it has; it stays a zombie.
    pub(super) fn exit(&mut self) -> Option<Exit> {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        let Ok(status) = self.wait(options) else {
            // SIGCHLD is ignored in this process, against the rule of the house: the kernel has reaped it, and its
            // number may be another's.
            self.reaped = true;
            return Some(Exit {
                status: Status::Exit(LOST_EXIT),
                dumped: false,
            });
        };
        status.map(|status| Exit::from(&status))
    }

    /// Kills what is left of the group and lets the zombie go. To be called once it has exited.
    pub(super) fn kill_group_and_reap(&mut self) {
        self.signal(Signal::KILL);
        let _ = self.wait(WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
        self.reaped = true;
    }

    /// Whether a signal or a tracer has stopped it (state T of proc(5)).
    pub(super) fn is_stopped(&self) -> bool {
        let mut text = [0; 64];
        let length = File::open(format!("/proc/{}/stat", self.pid()))
            .and_then(|mut stat| stat.read(&mut text))
            .unwrap_or(0);
        // `PID (NAME) STATE`: a name has at most 15 bytes and may contain anything, also `)`.
        let text = text.get(..length).unwrap_or_default();
        let state = text.rsplit(|byte| *byte == b')').next().and_then(|rest| rest.get(1));
        matches!(state, Some(b'T' | b't'))
    }

    fn wait(&self, options: WaitIdOptions) -> rustix::io::Result<Option<WaitIdStatus>> {
        rustix::io::retry_on_intr(|| rustix::process::waitid(WaitId::PidFd(self.pidfd.as_fd()), options))
    }
}

impl Drop for Leader {
    fn drop(&mut self) {
        if self.reaped {
            return;
        }
        self.signal(Signal::KILL);
        let mut fds = [self.interest().to_poll()];
        while rustix::event::poll(&mut fds, Some(&REAP_MAX)) == Err(Errno::INTR) {}
        self.kill_group_and_reap();
    }
}

impl Pipes {
    fn take_from(child: &mut Child) -> io::Result<Self> {
        let missing = || io::Error::other("a standard file is no pipe");
        let pipes = Self {
            stdin: child.stdin.take().ok_or_else(missing)?.into(),
            stdout: child.stdout.take().ok_or_else(missing)?.into(),
            stderr: child.stderr.take().ok_or_else(missing)?.into(),
        };
        for fd in [&pipes.stdin, &pipes.stdout, &pipes.stderr] {
            set_nonblocking(fd)?;
        }
        Ok(pipes)
    }
}

impl From<&WaitIdStatus> for Exit {
    fn from(status: &WaitIdStatus) -> Self {
        let ended = match (status.exit_status(), status.terminating_signal()) {
            (Some(0), _) => Status::Ok,
            (Some(code), _) => Status::Exit(low_byte(code)),
            (None, Some(number)) => Status::Signal(low_byte(number)),
            (None, None) => Status::Exit(LOST_EXIT),
        };
        Self {
            status: ended,
            dumped: status.dumped(),
        }
    }
}

/// What the kernel keeps of an exit code or a signal's number.
fn low_byte(number: i32) -> u8 {
    let [low, ..] = number.to_le_bytes();
    low
}
