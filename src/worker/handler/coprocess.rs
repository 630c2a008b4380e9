//! A co-process: one process for a whole Hit, which is asked one request at a time and answers each with one frame.
//!
//! Between requests it is a [`Coprocess`], which only has to stay alive and silent; a request that runs is an
//! [`Exchange`], which has it meanwhile. A request is delivered whole, so that none is ever left half in the pipe (rule
//! S4); a reply is passed on as it comes.

mod exchange;

use std::time::Duration;

pub(super) use exchange::Exchange;

use super::child::{Child, Surroundings};
use super::control::Line;
use super::framing::{self, Decoded, Decoder};
use super::notes::excerpt;
use super::{Coprocesses, Output, Spec, TURN_BYTES_MAX};
use crate::mapped::spawn::GroupCell;
use crate::protocol::ids::{HitKey, SlotId};
use crate::protocol::message::Channel;
use crate::protocol::status::Status;
use crate::protocol::time::{Moment, earliest};
use crate::runtime::start_ticks;
use crate::worker::scratch::Scratch;

/// How long one whose Hit is over has to end by itself once its stdin is closed.
const END_OF_INPUT_PATIENCE: Duration = Duration::from_secs(1);

/// How long after its Hit the stdin of one in a warm pool is closed: an interpreter that ends keeps a processor busy for
/// tens of milliseconds, and the client that was just answered needs it for one.
const CLOSE_AFTER: Duration = Duration::from_millis(3);

/// Where a co-process lives.
pub struct Home<'a> {
    /// The Hit, if it is known already.
    pub hit: Option<HitKey>,
    /// The worker's pool.
    pub pool: &'a str,
    /// The host's name.
    pub host: &'a str,
    /// The slot.
    pub slot: SlotId,
    /// The directory that it may write to; it is its own and ends with it.
    pub scratch: Scratch,
    /// From SIGTERM to SIGKILL.
    pub grace: Duration,
    /// Where it writes who it is, if it is started for a Hit (rule O2).
    pub known_at: Option<GroupCell>,
}

/// A co-process that is asked nothing.
pub struct Coprocess {
    child: Child,
    started_at: u64,
    talk: Coprocesses,
    decoder: Decoder,
    /// It has said what nobody asked for, and is being ended.
    broken: Option<String>,
    /// Its Hit is over; when it is told to end if it has not by itself.
    retired: Option<Moment>,
    /// When its stdin is closed.
    close_at: Option<Moment>,
    #[expect(dead_code, reason = "removed when this is dropped")]
    scratch: Scratch,
    outputs: Vec<Output>,
    lines: Vec<Line>,
}

impl Coprocess {
    /// Starts it, or says why not. To be called on the slot's thread: the kernel kills it if that thread ends.
    ///
    /// # Errors
    /// A note for people.
    pub fn start(talk: &Coprocesses, mut home: Home<'_>) -> Result<Self, String> {
        let dir = home
            .scratch
            .make()
            .map_err(|error| format!("cannot start a handler on {}: {error}", home.host))?
            .display()
            .to_string();
        let mut variables = vec![
            ("ZHIT_POOL", home.pool.to_owned()),
            ("ZHIT_SLOT", home.slot.to_string()),
            ("ZHIT_HOST", home.host.to_owned()),
            ("ZHIT_DIR", dir),
        ];
        variables.extend(home.hit.map(|hit| ("ZHIT_HIT_ID", hit.to_string())));
        let around = Surroundings {
            variables: &variables,
            host: home.host,
            known_at: home.known_at,
            grace: home.grace,
        };
        let is_ahead = around.known_at.is_none();
        let child = Child::start(&talk.command, around)?;
        Ok(Self {
            // Looked up now, so that nobody waits for it when a Hit comes; who is started for one writes it himself.
            started_at: if is_ahead {
                start_ticks(child.pid()).unwrap_or(0)
            } else {
                0
            },
            child,
            talk: talk.clone(),
            decoder: Decoder::new(talk.framing),
            broken: None,
            retired: None,
            close_at: None,
            scratch: home.scratch,
            outputs: Vec::new(),
            lines: Vec::new(),
        })
    }

    /// Its process, which leads a process group of the same number.
    pub fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// When it started, in clock ticks since the machine did; 0 if nobody knows.
    pub const fn started_at(&self) -> u64 {
        self.started_at
    }

    /// Whether it was started as these say.
    pub fn is_of(&self, talk: &Coprocesses) -> bool {
        self.talk == *talk
    }

    /// Whether it may be asked: it lives, and has said nothing yet.
    pub fn is_fit(&self) -> bool {
        self.child.is_running() && self.broken.is_none()
    }

    /// What to poll for while it is asked nothing.
    pub fn fds(&self) -> impl Iterator<Item = super::Interest<'_>> {
        self.child.interests(usize::MAX).into_iter().flatten()
    }

    /// When its next turn is due.
    pub fn next_deadline(&self) -> Option<Moment> {
        let retired = self.retired.filter(|_| self.child.is_running());
        earliest(earliest(self.child.next_deadline(None), retired), self.close_at)
    }

    /// Looks at it while it is asked nothing. Gives a note for people once it has ended, and nothing of it is left.
    pub fn turn(&mut self, now: Moment) -> Option<String> {
        if self.close_at.take_if(|at| *at <= now).is_some() {
            self.child.stdin.close();
        }
        if self.retired.is_some_and(|at| at <= now) {
            self.child.stop(now, Status::Cancelled);
        }
        self.child.keep_deadlines(now, None);
        let ready = self.child.look(usize::MAX);
        self.child.see_exit(now, &ready);
        self.child.stdin.write(ready.stdin);
        let read = self.child.read(&ready, TURN_BYTES_MAX, &mut self.outputs);
        self.child.read_control(&ready, 0, &mut self.lines, &mut self.outputs);
        self.lines.clear();
        for output in std::mem::take(&mut self.outputs) {
            if let Output::Chunk(Channel::Body, bytes) = output {
                self.on_stray(&bytes);
            }
        }
        if !self.child.is_drained(now, TURN_BYTES_MAX, read) {
            return None;
        }
        let exit = self.child.exit();
        self.child.bury();
        let name = &self.child.name;
        let ended = exit.map_or_else(String::new, |exit| format!("{name} ended ({})", exit.status));
        Some(self.broken.take().unwrap_or(ended))
    }

    /// It has said what nobody asked for: what it says next could be taken for a reply.
    fn on_stray(&mut self, bytes: &[u8]) {
        if self.retired.is_none() && self.broken.is_none() {
            let (name, said) = (&self.child.name, excerpt(bytes));
            self.broken = Some(format!("{name} said {said} unasked, so no reply of it can be trusted"));
            self.child.kill();
        }
    }

    /// Its Hit is over: it has nothing more to read, and is told to end if it does not.
    pub fn retire(&mut self, now: Moment) {
        self.retired = Some(now + END_OF_INPUT_PATIENCE);
        let after = if self.talk.warm > 0 {
            CLOSE_AFTER
        } else {
            Duration::ZERO
        };
        self.close_at = Some(now + after);
    }

    /// Tells it to end.
    pub fn stop(&mut self, now: Moment) {
        self.retired.get_or_insert(now);
        self.child.stop(now, Status::Cancelled);
    }

    /// Kills one that was told to end and has not by then.
    pub fn kill_by(&mut self, at: Moment) {
        self.child.kill_by(at);
    }

    /// Kills it.
    pub fn kill(&mut self) {
        self.child.kill();
    }

    /// Takes note of what is read from it during a request, or passes it on.
    fn decode(&mut self, replied: &mut bool, out: &mut Vec<Output>) {
        for output in std::mem::take(&mut self.outputs) {
            let Output::Chunk(Channel::Body, mut bytes) = output else {
                out.push(output);
                continue;
            };
            while self.broken.is_none() && !bytes.is_empty() {
                if *replied {
                    self.on_stray(&bytes);
                    break;
                }
                match self.decoder.next(&mut bytes) {
                    Ok(Some(Decoded::Body(body))) => out.push(Output::Chunk(Channel::Body, body)),
                    Ok(Some(Decoded::End)) => *replied = true,
                    Ok(None) => {}
                    Err(what) => {
                        let (name, form) = (&self.child.name, framing::form(self.talk.framing));
                        self.broken = Some(format!("{name} answered with {what}, where a reply is {form}"));
                        self.child.kill();
                    }
                }
            }
            // An empty frame ends without a byte of its own.
            if self.broken.is_none() && !*replied && matches!(self.decoder.next(&mut bytes), Ok(Some(Decoded::End))) {
                *replied = true;
            }
        }
    }
}

/// What [`Spec::Coprocess`] needs a program for.
impl From<Coprocesses> for Spec {
    fn from(talk: Coprocesses) -> Self {
        Self::Coprocess(Box::new(talk))
    }
}
