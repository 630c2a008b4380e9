//! What a slot runs for a request, as something that its loop can poll: nothing here blocks or sleeps.
//!
//! The loop calls [`Running::turn`] after [`start`](Running::start), [`feed`](Running::feed), [`stop`](Running::stop)
//! and [`kill`](Running::kill), when one of [`fds`](Running::fds) is ready, when there is room for output again, and at
//! [`next_deadline`](Running::next_deadline). A turn too many does nothing. The last thing that comes out is
//! [`Output::Ended`], whatever happens.

mod builtin;
mod child;
mod control;
mod coprocess;
mod drain;
mod framing;
mod leader;
mod notes;
mod per_request;
mod pipes;
#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
pub use pipes::Interest;

use self::builtin::BuiltinRun;
use self::child::Interests;
use self::coprocess::Exchange;
pub use self::coprocess::{Coprocess, Home};
use self::per_request::Process;
use super::scratch::Scratch;
use crate::builtin::Builtin;
use crate::mapped::spawn::GroupCell;
use crate::options::Framing;
use crate::protocol::ids::{BroadcastId, HitKey, SlotId};
use crate::protocol::limits::CHUNK_BYTES_MAX;
use crate::protocol::message::{Channel, Progress, WorkState};
use crate::protocol::status::Status;
use crate::protocol::time::Moment;

/// Most bytes that one turn gives, so that the slot's loop comes round soon (rule A1).
const TURN_BYTES_MAX: usize = 4 * CHUNK_BYTES_MAX;

/// Names the broadcast that a handler answers: nobody starts one in it.
pub use crate::options::BROADCAST_VARIABLE;

/// What a worker runs for each request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Spec {
    /// A program and its arguments, executed as they are; no shell sees them.
    Process(Vec<OsString>),
    /// A command for `/bin/sh -c`.
    Shell(String),
    /// One process for a whole Hit.
    Coprocess(Box<Coprocesses>),
    /// No program at all.
    Builtin(Builtin),
}

/// Co-processes, as a worker starts them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coprocesses {
    /// The program: words or a shell command.
    pub command: Spec,
    /// How requests and replies are told apart on its pipes.
    pub framing: Framing,
    /// How many of them a slot keeps started ahead.
    pub warm: u32,
    /// Most bytes of one request (rule S4).
    pub frame_max: usize,
}

/// What a request that has ended leaves.
pub enum Left {
    /// Nothing.
    Nothing,
    /// A co-process that waits for the next one.
    Resident(Box<Coprocess>),
    /// A co-process that has ended, and its Hit with it; what a person should know about that.
    Gone(String),
}

/// Which request is run, where, and within which limits.
#[derive(Debug)]
pub struct RequestContext<'a> {
    /// The Hit (`ZHIT_HIT_ID`).
    pub hit: HitKey,
    /// The request's number in the Hit, from 1 (`ZHIT_SEQ`).
    pub seq: u64,
    /// The broadcast that is answered (`ZHIT_BROADCAST`); there is no Hit then.
    pub broadcast: Option<BroadcastId>,
    /// The worker's pool (`ZHIT_POOL`).
    pub pool: &'a str,
    /// The host's name (`ZHIT_HOST`).
    pub host: &'a str,
    /// The slot (`ZHIT_SLOT`, as `w3/2`).
    pub slot: SlotId,
    /// The Hit's scratch directory (`ZHIT_DIR`); only a process makes it.
    pub scratch: &'a mut Scratch,
    /// From SIGTERM to SIGKILL.
    pub grace: Duration,
    /// From the start to SIGTERM.
    pub timeout: Option<Duration>,
    /// Where a process that serves it writes who it is (rule O2).
    pub known_at: Option<GroupCell>,
}

/// What a request gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// At most [`CHUNK_BYTES_MAX`] bytes of its reply or its standard error.
    Chunk(Channel, Bytes),
    /// It has ended and nothing more comes; no process of it is left.
    Ended {
        /// How.
        status: Status,
        /// What a person should know about it; empty if all is well.
        note: String,
    },
}

/// One request that runs.
///
/// Dropped before its end, it kills its process group and reaps it.
pub struct Running(Kind);

enum Kind {
    Builtin(BuiltinRun),
    /// In a box, so that the small and many builtins stay small.
    Process(Box<Process>),
    Exchange(Box<Exchange>),
    NotStarted(NotStarted),
}

/// What could not be started: it takes what it is sent and ends at its first turn.
#[derive(Default)]
struct NotStarted {
    note: Option<String>,
    /// Bytes that were fed, and those of them that count as taken since the last turn.
    fed: u64,
    taken: u64,
    fed_end: bool,
}

impl Kind {
    fn not_started(note: String) -> Self {
        Self::NotStarted(NotStarted {
            note: Some(note),
            ..NotStarted::default()
        })
    }
}

impl Running {
    /// Starts a request. A failure to start comes out as [`Output::Ended`] on the next turn.
    ///
    /// To be called on the slot's thread: the kernel kills the process if that thread ends.
    pub fn start(spec: &Spec, context: RequestContext<'_>, now: Moment) -> Self {
        Self(match spec {
            Spec::Builtin(builtin) => Kind::Builtin(BuiltinRun::start(*builtin, &context, now)),
            Spec::Coprocess(_) => Kind::not_started("a co-process is asked, not started".to_owned()),
            Spec::Process(_) | Spec::Shell(_) => match Process::start(spec, context, now) {
                Ok(process) => Kind::Process(Box::new(process)),
                Err(note) => Kind::not_started(note),
            },
        })
    }

    /// Asks a co-process.
    pub fn ask(process: Coprocess, context: &RequestContext<'_>, now: Moment) -> Self {
        Self(Kind::Exchange(Box::new(Exchange::start(process, context, now))))
    }

    /// A request whose handler could not be started, and why.
    pub fn not_started(note: String) -> Self {
        Self(Kind::not_started(note))
    }

    /// What is left once it has ended.
    pub fn leave(self) -> Left {
        match self.0 {
            Kind::Exchange(exchange) => exchange.leave(),
            Kind::Builtin(_) | Kind::Process(_) | Kind::NotStarted(_) => Left::Nothing,
        }
    }

    /// Whether more of the request's body is wanted; else a piece waits inside, or the end has been fed.
    pub fn wants_input(&self) -> bool {
        match &self.0 {
            Kind::Builtin(run) => run.wants_input(),
            Kind::Process(process) => process.wants_input(),
            Kind::Exchange(exchange) => exchange.wants_input(),
            Kind::NotStarted(failed) => !failed.fed_end,
        }
    }

    /// Hands over the next piece of the body, and whether it is the last. Only when [wanted](Self::wants_input).
    pub fn feed(&mut self, bytes: Bytes, end: bool) {
        match &mut self.0 {
            Kind::Builtin(run) => run.feed(bytes, end),
            Kind::Process(process) => process.feed(bytes, end),
            Kind::Exchange(exchange) => exchange.feed(&bytes, end),
            Kind::NotStarted(failed) => {
                failed.fed += bytes.len() as u64;
                failed.fed_end |= end;
            }
        }
    }

    /// Bytes of the body that the handler has been given, or that were discarded because it does not want them. It grows
    /// in turns only.
    pub fn taken(&self) -> u64 {
        match &self.0 {
            Kind::Builtin(run) => run.taken(),
            Kind::Process(process) => process.taken(),
            Kind::Exchange(exchange) => exchange.taken(),
            Kind::NotStarted(failed) => failed.taken,
        }
    }

    /// Bytes that the handler has given so far, over all channels.
    pub fn bytes_out(&self) -> u64 {
        match &self.0 {
            Kind::Builtin(run) => run.bytes_out(),
            Kind::Process(process) => process.bytes_out(),
            Kind::Exchange(exchange) => exchange.bytes_out(),
            Kind::NotStarted(_) => 0,
        }
    }

    /// What to poll for; output is waited for only if there is room for it.
    pub fn fds(&self, output_room: usize) -> impl Iterator<Item = Interest<'_>> {
        let interests: Interests<'_> = match &self.0 {
            Kind::Process(process) => process.interests(output_room),
            Kind::Exchange(exchange) => exchange.interests(output_room),
            Kind::Builtin(_) | Kind::NotStarted(_) => Interests::default(),
        };
        interests.into_iter().flatten()
    }

    /// Does what can be done now and appends what comes of it: at most `output_room` bytes (and 1 MiB), and the end.
    pub fn turn(&mut self, now: Moment, output_room: usize, out: &mut Vec<Output>) {
        match &mut self.0 {
            Kind::Builtin(run) => run.turn(now, output_room, out),
            Kind::Process(process) => process.turn(now, output_room, out),
            Kind::Exchange(exchange) => exchange.turn(now, output_room, out),
            Kind::NotStarted(failed) => {
                failed.taken = failed.fed;
                let ended = failed.note.take().map(|note| Output::Ended {
                    status: Status::NotStarted,
                    note,
                });
                out.extend(ended);
            }
        }
    }

    /// Tells the handler to end: SIGTERM to its process group, SIGKILL after the grace. It ends with status `why`,
    /// whatever it answers; the first reason holds.
    pub fn stop(&mut self, now: Moment, why: Status) {
        match &mut self.0 {
            Kind::Builtin(run) => run.stop(why),
            Kind::Process(process) => process.stop(now, why),
            Kind::Exchange(exchange) => exchange.stop(now, why),
            Kind::NotStarted(_) => {}
        }
    }

    /// Kills a handler that was told to end and has not by then, even if its grace is longer.
    pub fn kill_by(&mut self, at: Moment) {
        match &mut self.0 {
            Kind::Process(process) => process.kill_by(at),
            Kind::Exchange(exchange) => exchange.kill_by(at),
            Kind::Builtin(_) | Kind::NotStarted(_) => {}
        }
    }

    /// Kills the handler's process group. It ends as cancelled, unless it was being stopped for another reason; output
    /// for which there is no room is lost.
    pub fn kill(&mut self) {
        match &mut self.0 {
            Kind::Builtin(run) => run.stop(Status::Cancelled),
            Kind::Process(process) => process.kill(),
            Kind::Exchange(exchange) => exchange.kill(),
            Kind::NotStarted(_) => {}
        }
    }

    /// When the next turn is due even if nothing happens.
    pub fn next_deadline(&self) -> Option<Moment> {
        match &self.0 {
            Kind::Builtin(run) => run.next_deadline(),
            Kind::Process(process) => process.next_deadline(),
            Kind::Exchange(exchange) => exchange.next_deadline(),
            Kind::NotStarted(failed) => failed.note.as_ref().map(|_| Moment::ZERO),
        }
    }

    /// The handler's process, which leads a process group of the same number.
    pub fn pid(&self) -> Option<u32> {
        match &self.0 {
            Kind::Process(process) => Some(process.pid()),
            Kind::Exchange(exchange) => Some(exchange.pid()),
            Kind::Builtin(_) | Kind::NotStarted(_) => None,
        }
    }

    /// What the handler does: running, stopped by a signal (rule A2 b) or told to end. Asks the kernel.
    pub fn state(&self) -> WorkState {
        match &self.0 {
            Kind::Process(process) => process.state(),
            Kind::Exchange(exchange) => exchange.state(),
            Kind::Builtin(_) | Kind::NotStarted(_) => WorkState::Running,
        }
    }

    /// How far the handler says it is.
    pub fn progress(&self) -> Option<&Progress> {
        match &self.0 {
            Kind::Process(process) => process.progress(),
            Kind::Exchange(exchange) => exchange.progress(),
            Kind::Builtin(_) | Kind::NotStarted(_) => None,
        }
    }

    /// The last bytes that the handler said on its standard error, for the worker's own log.
    pub fn stderr_tail(&self) -> &[u8] {
        match &self.0 {
            Kind::Process(process) => process.stderr_tail(),
            Kind::Exchange(exchange) => exchange.stderr_tail(),
            Kind::Builtin(_) | Kind::NotStarted(_) => &[],
        }
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the bodies that it holds.
        let mut shown = f.debug_struct("Running");
        shown
            .field("pid", &self.pid())
            .field("taken", &self.taken())
            .field("bytes_out", &self.bytes_out());
        shown.finish_non_exhaustive()
    }
}
