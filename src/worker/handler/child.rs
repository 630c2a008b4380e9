//! A handler's process with its pipes: what a process per request and a co-process have in common.
//!
//! It ends when its process exits, not when its pipes close, which a daemon it left behind could withhold: what lay in
//! the pipes at the exit is read to its last byte, whoever else still writes is granted a short drain. Then the rest of
//! its process group is killed while the leader is still a zombie, so that the group's number cannot be another's yet.

use std::process::{Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::Signal;

use super::control::{Control, Line};
use super::drain::Drain;
use super::leader::{Exit, Leader};
use super::notes;
use super::pipes::{Inlet, Interest, Outlet, ReadBuffer};
use super::{Output, Spec, TURN_BYTES_MAX};
use crate::mapped::spawn::GroupCell;
use crate::protocol::message::{Channel, WorkState};
use crate::protocol::status::Status;
use crate::protocol::time::{Moment, earliest};

/// How much of standard error is kept.
const TAIL_BYTES_MAX: usize = 2048;

/// What a handler's maker is told about what he wrote to file descriptor 3.
const UNKNOWN_LINES: &str = "zhit: not understood on file descriptor 3; there are: progress DONE TOTAL [note], and fail \
                             CODE [message] with a code from 1 to 255\n";

/// Looks without waiting.
const AT_ONCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

/// What can be polled for a process: stdin, stdout, stderr, control lines, exit.
pub(super) type Interests<'a> = [Option<Interest<'a>>; 5];

/// The process.
pub(super) struct Child {
    pub(super) name: String,
    leader: Leader,
    pub(super) stdin: Inlet,
    stdout: Outlet,
    stderr: Outlet,
    pub(super) control: Control,
    buffer: ReadBuffer,
    /// Which of the two is read first alternates, so that neither starves the other.
    stderr_first: bool,
    given: u64,
    tail: Vec<u8>,
    phase: Phase,
    stopping: Option<Stopping>,
    grace: Duration,
}

enum Phase {
    Runs,
    Drains(Drain),
    Ended,
}

struct Stopping {
    why: Status,
    kill_at: Moment,
    killed: bool,
}

/// What a poll found.
pub(super) struct Ready {
    pub(super) stdin: bool,
    /// Standard output, standard error.
    outlets: [bool; 2],
    pub(super) control: bool,
    exited: bool,
}

/// What a process knows of the request or Hit that it serves, in its environment.
pub(super) struct Surroundings<'a> {
    pub(super) variables: &'a [(&'static str, String)],
    pub(super) host: &'a str,
    pub(super) known_at: Option<GroupCell>,
    pub(super) grace: Duration,
}

impl Child {
    /// Starts the program that `spec` names, or says why not.
    pub(super) fn start(spec: &Spec, around: Surroundings<'_>) -> Result<Self, String> {
        let mut command = command_of(spec)?;
        let variables = around.variables.iter().map(|(name, value)| (name, value));
        command
            .envs(variables)
            // The service is the worker.
            .env_remove("NOTIFY_SOCKET")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let (control, theirs) = Control::new().map_err(|error| {
            let error = std::io::Error::from(error);
            notes::not_started(command.get_program(), around.host, &error)
        })?;
        let started = Leader::spawn(&mut command, around.known_at, theirs);
        let (leader, pipes) =
            started.map_err(|error| notes::not_started(command.get_program(), around.host, &error))?;
        Ok(Self {
            name: notes::name_of(spec),
            leader,
            stdin: Inlet::new(pipes.stdin),
            stdout: Outlet::new(pipes.stdout, Channel::Body),
            stderr: Outlet::new(pipes.stderr, Channel::Stderr),
            control,
            buffer: ReadBuffer::new(),
            stderr_first: false,
            given: 0,
            tail: Vec::new(),
            phase: Phase::Runs,
            stopping: None,
            grace: around.grace,
        })
    }

    /// Bytes that it has given so far.
    pub(super) const fn bytes_out(&self) -> u64 {
        self.given
    }

    pub(super) fn pid(&self) -> u32 {
        self.leader.pid()
    }

    pub(super) fn stderr_tail(&self) -> &[u8] {
        let start = self.tail.len().saturating_sub(TAIL_BYTES_MAX);
        self.tail.get(start..).unwrap_or_default()
    }

    pub(super) fn state(&self) -> WorkState {
        if self.stopping.is_some() {
            WorkState::Ending
        } else if self.is_running() && self.leader.is_stopped() {
            WorkState::Stopped
        } else {
            WorkState::Running
        }
    }

    /// It has not been seen to exit.
    pub(super) const fn is_running(&self) -> bool {
        matches!(self.phase, Phase::Runs)
    }

    /// Nothing of it is left.
    pub(super) const fn has_ended(&self) -> bool {
        matches!(self.phase, Phase::Ended)
    }

    /// Why it was told to end, if it was.
    pub(super) fn stopped_for(&self) -> Option<Status> {
        self.stopping.as_ref().map(|stopping| stopping.why)
    }

    pub(super) fn is_killed(&self) -> bool {
        self.stopping.as_ref().is_some_and(|stopping| stopping.killed)
    }

    pub(super) const fn grace(&self) -> Duration {
        self.grace
    }

    /// How it exited, if it has.
    pub(super) const fn exit(&self) -> Option<Exit> {
        match &self.phase {
            Phase::Drains(drain) => Some(drain.exit),
            Phase::Runs | Phase::Ended => None,
        }
    }

    pub(super) fn interests(&self, room: usize) -> Interests<'_> {
        let has_room = room > 0;
        [
            self.stdin.interest(),
            self.stdout.interest().filter(|_| has_room),
            self.stderr.interest().filter(|_| has_room),
            // Once it has exited its lines are read in each turn, and whoever else may write any is nobody's handler.
            self.control.interest().filter(|_| self.is_running()),
            self.is_running().then(|| self.leader.interest()),
        ]
    }

    /// When its next turn is due; `timeout_at`: when it is told to end.
    pub(super) fn next_deadline(&self, timeout_at: Option<Moment>) -> Option<Moment> {
        let kill_at = self
            .stopping
            .as_ref()
            .filter(|stopping| !stopping.killed)
            .map(|stopping| stopping.kill_at);
        match &self.phase {
            Phase::Runs => earliest(kill_at, timeout_at.filter(|_| self.stopping.is_none())),
            Phase::Drains(_) if self.is_killed() => Some(Moment::ZERO),
            Phase::Drains(drain) => earliest(kill_at, drain.over_at()),
            Phase::Ended => None,
        }
    }

    pub(super) fn stop(&mut self, now: Moment, why: Status) {
        if self.stopping.is_some() || self.has_ended() {
            return;
        }
        self.stopping = Some(Stopping {
            why,
            kill_at: now + self.grace,
            killed: false,
        });
        if matches!(self.phase, Phase::Drains(_)) || self.grace.is_zero() {
            // Nobody is left to be told anything, or no time to tell it.
            self.kill();
        } else {
            self.leader.signal(Signal::TERM);
            // A stopped process takes the signal only once it goes on.
            self.leader.signal(Signal::CONT);
        }
    }

    pub(super) fn kill_by(&mut self, at: Moment) {
        if let Some(stopping) = &mut self.stopping {
            stopping.kill_at = stopping.kill_at.min(at);
        }
    }

    pub(super) fn kill(&mut self) {
        if self.has_ended() {
            return;
        }
        let fresh = Stopping {
            why: Status::Cancelled,
            kill_at: Moment::ZERO,
            killed: true,
        };
        self.stopping.get_or_insert(fresh).killed = true;
        self.leader.signal(Signal::KILL);
    }

    /// Tells it to end if its time is over, kills it if its grace is.
    pub(super) fn keep_deadlines(&mut self, now: Moment, timeout_at: Option<Moment>) {
        if self.is_running() && timeout_at.is_some_and(|at| now >= at) {
            self.stop(now, Status::Deadline);
        }
        if self
            .stopping
            .as_ref()
            .is_some_and(|stopping| !stopping.killed && now >= stopping.kill_at)
        {
            self.kill();
        }
    }

    /// One system call tells what is worth a further one.
    pub(super) fn look(&self, room: usize) -> Ready {
        let interests = self.interests(room);
        let [stdin, stdout, stderr, control, exit] = interests.each_ref().map(Option::is_some);
        let pidfd = self.leader.interest().fd;
        let asleep = || PollFd::from_borrowed_fd(pidfd, PollFlags::empty());
        let mut fds = interests.map(|interest| interest.map_or_else(asleep, Interest::to_poll));
        // If the poll itself fails, each is tried: none of them blocks.
        let looked = rustix::event::poll(&mut fds, Some(&AT_ONCE)).is_ok();
        let found = fds.map(|fd| !looked || !fd.revents().is_empty());
        Ready {
            stdin: stdin && found[0],
            outlets: [stdout && found[1], stderr && found[2]],
            control: control && found[3],
            exited: exit && found[4],
        }
    }

    /// Takes note of its exit, if the poll has seen it.
    pub(super) fn see_exit(&mut self, now: Moment, ready: &Ready) {
        if !ready.exited {
            return;
        }
        let Some(exit) = self.leader.exit() else { return };
        self.stdout.count_owed();
        self.stderr.count_owed();
        self.stdin.close();
        self.phase = Phase::Drains(Drain::new(exit, now));
    }

    /// Reads what is there, at most `room` bytes and a turn's worth; how many.
    pub(super) fn read(&mut self, ready: &Ready, room: usize, out: &mut Vec<Output>) -> usize {
        let draining = matches!(self.phase, Phase::Drains(_));
        let limit = room.min(TURN_BYTES_MAX);
        let mut left = limit;
        self.stderr_first = !self.stderr_first;
        let mut outlets = [
            (ready.outlets[0], &mut self.stdout),
            (ready.outlets[1], &mut self.stderr),
        ];
        if self.stderr_first {
            outlets.reverse();
        }
        for (ready, outlet) in outlets {
            // After the exit both are read to their end, whatever the poll said a moment before.
            let mut go_on = ready || draining;
            while go_on && left > 0 {
                let Some((chunk, full)) = outlet.read(&mut self.buffer, left) else {
                    break;
                };
                left -= chunk.len();
                go_on = full || draining;
                if outlet.channel == Channel::Stderr {
                    keep_tail(&mut self.tail, &chunk);
                }
                out.push(Output::Chunk(outlet.channel, chunk));
            }
        }
        self.given += (limit - left) as u64;
        limit - left
    }

    /// Reads what lies in standard error now, at most `room` bytes; how many.
    pub(super) fn read_stderr(&mut self, room: usize, out: &mut Vec<Output>) -> usize {
        let mut left = room.min(TURN_BYTES_MAX);
        let limit = left;
        while left > 0
            && let Some((chunk, _)) = self.stderr.read(&mut self.buffer, left)
        {
            left -= chunk.len();
            keep_tail(&mut self.tail, &chunk);
            out.push(Output::Chunk(Channel::Stderr, chunk));
        }
        limit - left
    }

    /// Whether it has read all that was written and sleeps until more comes.
    pub(super) fn waits_for_input(&self) -> bool {
        // The kernel's name for that sleep: pipe_read, or anon_pipe_read.
        let sleeps = || {
            std::fs::read_to_string(format!("/proc/{}/wchan", self.pid()))
                .is_ok_and(|place| place.contains("pipe_read"))
        };
        self.is_running() && self.stdin.unread() == Some(0) && sleeps()
    }

    /// Reads the control lines that have come; the last may come with the exit.
    pub(super) fn read_control(&mut self, ready: &Ready, room: usize, lines: &mut Vec<Line>, out: &mut Vec<Output>) {
        if !ready.control && self.is_running() {
            return;
        }
        self.control.read(lines);
        let unknown = self.control.take_unknown();
        if unknown > 0 && room >= UNKNOWN_LINES.len() {
            out.push(Output::Chunk(
                Channel::Stderr,
                Bytes::from_static(UNKNOWN_LINES.as_bytes()),
            ));
        }
    }

    /// Takes note of what a turn has done, and returns whether all that it wrote has been read.
    pub(super) fn is_drained(&mut self, now: Moment, room: usize, read: usize) -> bool {
        let owing = self.stdout.is_owing() || self.stderr.is_owing();
        let closed = !self.stdout.is_open() && !self.stderr.is_open();
        let killed = self.is_killed();
        let Phase::Drains(drain) = &mut self.phase else {
            return false;
        };
        drain.on_turn(now, room > 0, read > 0, owing);
        closed || killed || drain.over_at().is_some_and(|at| now >= at)
    }

    /// Kills what is left of its group, and lets it go.
    pub(super) fn bury(&mut self) {
        self.leader.kill_group_and_reap();
        self.stdout.close();
        self.stderr.close();
        self.phase = Phase::Ended;
    }
}

/// The command that a spec names.
fn command_of(spec: &Spec) -> Result<Command, String> {
    match spec {
        Spec::Process(words) => {
            let (program, arguments) = words
                .split_first()
                .ok_or("the worker was given no command; name one after --")?;
            let mut command = Command::new(program);
            command.args(arguments);
            Ok(command)
        }
        Spec::Shell(text) => {
            let mut command = Command::new("/bin/sh");
            command.arg("-c").arg(text);
            Ok(command)
        }
        Spec::Coprocess(talk) => command_of(&talk.command),
        Spec::Builtin(builtin) => Err(format!("{builtin} is built in and no program")),
    }
}

/// Appends to the tail of standard error; it is cut only now and then, so that it costs little.
fn keep_tail(tail: &mut Vec<u8>, chunk: &[u8]) {
    tail.extend_from_slice(&chunk[chunk.len().saturating_sub(TAIL_BYTES_MAX)..]);
    if tail.len() > 4 * TAIL_BYTES_MAX {
        tail.drain(..tail.len() - TAIL_BYTES_MAX);
    }
}
