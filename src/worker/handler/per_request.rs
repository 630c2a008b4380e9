//! A process per request: body on stdin, reply from stdout, full duplex.
//!
//! It ends when its process exits, not when its pipes close, which a daemon it left behind could withhold: what lay in
//! the pipes at the exit is read to its last byte, whoever else still writes is granted a short drain. Then the rest of
//! its process group is killed while the leader is still a zombie, so that the group's number cannot be another's yet.

use std::process::{Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::Signal;

use super::drain::Drain;
use super::leader::Leader;
use super::notes::{self, Ending};
use super::pipes::{Inlet, Interest, Outlet, ReadBuffer};
use super::{Output, RequestContext, Spec, TURN_BYTES_MAX};
use crate::protocol::message::{Channel, WorkState};
use crate::protocol::status::Status;
use crate::protocol::time::{Moment, earliest};

/// How much of standard error is kept.
const TAIL_BYTES_MAX: usize = 2048;

/// Looks without waiting.
const AT_ONCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

/// One handler process.
pub(super) struct Process {
    name: String,
    leader: Leader,
    stdin: Inlet,
    stdout: Outlet,
    stderr: Outlet,
    buffer: ReadBuffer,
    /// Which of the two is read first alternates, so that neither starves the other.
    stderr_first: bool,
    given: u64,
    tail: Vec<u8>,
    phase: Phase,
    stopping: Option<Stopping>,
    timeout: Option<Duration>,
    timeout_at: Option<Moment>,
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
struct Ready {
    stdin: bool,
    /// Standard output, standard error.
    outlets: [bool; 2],
    exited: bool,
}

impl Process {
    /// Starts the process, or says why not.
    pub(super) fn start(spec: &Spec, context: RequestContext<'_>, now: Moment) -> Result<Self, String> {
        let RequestContext {
            hit,
            seq,
            pool,
            host,
            slot,
            scratch,
            grace,
            timeout,
            known_at,
        } = context;
        let mut command = command_of(spec)?;
        let dir = scratch
            .make()
            .map_err(|error| format!("cannot start a handler on {host}: {error}"))?;
        command
            .env("ZHIT_HIT_ID", hit.to_string())
            .env("ZHIT_SEQ", seq.to_string())
            .env("ZHIT_POOL", pool)
            .env("ZHIT_SLOT", slot.to_string())
            .env("ZHIT_HOST", host)
            .env("ZHIT_DIR", dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let started = Leader::spawn(&mut command, known_at);
        let (leader, pipes) = started.map_err(|error| notes::not_started(command.get_program(), host, &error))?;
        Ok(Self {
            name: notes::name_of(spec),
            leader,
            stdin: Inlet::new(pipes.stdin),
            stdout: Outlet::new(pipes.stdout, Channel::Body),
            stderr: Outlet::new(pipes.stderr, Channel::Stderr),
            buffer: ReadBuffer::new(),
            stderr_first: false,
            given: 0,
            tail: Vec::new(),
            phase: Phase::Runs,
            stopping: None,
            timeout,
            timeout_at: timeout.map(|timeout| now + timeout),
            grace,
        })
    }

    pub(super) const fn wants_input(&self) -> bool {
        self.stdin.wants_more()
    }

    pub(super) fn feed(&mut self, bytes: Bytes, end: bool) {
        self.stdin.feed(bytes, end);
    }

    pub(super) const fn taken(&self) -> u64 {
        self.stdin.taken()
    }

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
        } else if matches!(self.phase, Phase::Runs) && self.leader.is_stopped() {
            WorkState::Stopped
        } else {
            WorkState::Running
        }
    }

    /// What to poll for: stdin, stdout, stderr, exit.
    pub(super) fn interests(&self, room: usize) -> [Option<Interest<'_>>; 4] {
        let has_room = room > 0;
        [
            self.stdin.interest(),
            self.stdout.interest().filter(|_| has_room),
            self.stderr.interest().filter(|_| has_room),
            matches!(self.phase, Phase::Runs).then(|| self.leader.interest()),
        ]
    }

    pub(super) fn next_deadline(&self) -> Option<Moment> {
        let kill_at = self
            .stopping
            .as_ref()
            .filter(|stopping| !stopping.killed)
            .map(|stopping| stopping.kill_at);
        match &self.phase {
            Phase::Runs => earliest(kill_at, self.timeout_at.filter(|_| self.stopping.is_none())),
            Phase::Drains(_) if self.is_killed() => Some(Moment::ZERO),
            Phase::Drains(drain) => earliest(kill_at, drain.over_at()),
            Phase::Ended => None,
        }
    }

    pub(super) fn stop(&mut self, now: Moment, why: Status) {
        if self.stopping.is_some() || matches!(self.phase, Phase::Ended) {
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
        if matches!(self.phase, Phase::Ended) {
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

    pub(super) fn turn(&mut self, now: Moment, room: usize, out: &mut Vec<Output>) {
        if matches!(self.phase, Phase::Ended) {
            return;
        }
        self.keep_deadlines(now);
        let ready = self.look(room);
        if ready.exited {
            self.see_exit(now);
        }
        self.stdin.write(ready.stdin);
        let read = self.read(&ready, room, out);
        self.given += read as u64;
        let owing = self.is_owing();
        if let Phase::Drains(drain) = &mut self.phase {
            drain.on_turn(now, room > 0, read > 0, owing);
        }
        self.end_if_drained(now, out);
    }

    fn is_killed(&self) -> bool {
        self.stopping.as_ref().is_some_and(|stopping| stopping.killed)
    }

    fn is_owing(&self) -> bool {
        self.stdout.is_owing() || self.stderr.is_owing()
    }

    fn keep_deadlines(&mut self, now: Moment) {
        if matches!(self.phase, Phase::Runs) && self.timeout_at.is_some_and(|at| now >= at) {
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
    fn look(&self, room: usize) -> Ready {
        let interests = self.interests(room);
        let [stdin, stdout, stderr, exit] = interests.each_ref().map(Option::is_some);
        let pidfd = self.leader.interest().fd;
        let asleep = || PollFd::from_borrowed_fd(pidfd, PollFlags::empty());
        let mut fds = interests.map(|interest| interest.map_or_else(asleep, Interest::to_poll));
        // If the poll itself fails, each is tried: none of them blocks.
        let looked = rustix::event::poll(&mut fds, Some(&AT_ONCE)).is_ok();
        let [a, b, c, d] = fds.map(|fd| !looked || !fd.revents().is_empty());
        Ready {
            stdin: stdin && a,
            outlets: [stdout && b, stderr && c],
            exited: exit && d,
        }
    }

    fn see_exit(&mut self, now: Moment) {
        let Some(exit) = self.leader.exit() else { return };
        self.stdout.count_owed();
        self.stderr.count_owed();
        self.stdin.close();
        self.phase = Phase::Drains(Drain::new(exit, now));
    }

    /// Reads what is there, at most `room` bytes and a turn's worth; how many.
    fn read(&mut self, ready: &Ready, room: usize, out: &mut Vec<Output>) -> usize {
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
        limit - left
    }

    fn end_if_drained(&mut self, now: Moment, out: &mut Vec<Output>) {
        let Phase::Drains(drain) = &self.phase else { return };
        let closed = !self.stdout.is_open() && !self.stderr.is_open();
        let quiet = drain.over_at().is_some_and(|at| now >= at);
        if !(closed || quiet || self.is_killed()) {
            return;
        }
        let exit = drain.exit;
        let status = self.stopping.as_ref().map_or(exit.status, |stopping| stopping.why);
        let ending = Ending {
            name: &self.name,
            status,
            dumped: exit.dumped,
            killed: self.is_killed(),
            timeout: self.timeout,
            grace: self.grace,
        };
        out.push(Output::Ended {
            status,
            note: ending.note(),
        });
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
