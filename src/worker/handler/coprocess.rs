//! A co-process: one process for a whole Hit, which is asked one request at a time and answers each with one frame.
//!
//! Between requests it is a [`Coprocess`], which only has to stay alive and silent; a request that runs is an
//! [`Exchange`], which has it meanwhile. A request is delivered whole, so that none is ever left half in the pipe (rule
//! S4); a reply is passed on as it comes.

use std::time::Duration;

use bytes::Bytes;

use super::child::{Child, Interests, Surroundings};
use super::control::Line;
use super::framing::{self, Decoded, Decoder};
use super::notes::{Ending, excerpt};
use super::{Coprocesses, Left, Output, RequestContext, Spec, TURN_BYTES_MAX};
use crate::mapped::spawn::GroupCell;
use crate::protocol::ids::{HitKey, SlotId};
use crate::protocol::message::{Channel, Progress, WorkState};
use crate::protocol::status::Status;
use crate::protocol::time::{Moment, earliest};
use crate::runtime::start_ticks;
use crate::worker::scratch::Scratch;

/// What fails a request whose co-process did not keep to its framing (`EX_PROTOCOL` of sysexits.h).
const BROKEN_FRAMING: u8 = 76;

/// How long one whose Hit is over has to end by itself once its stdin is closed.
const END_OF_INPUT_PATIENCE: Duration = Duration::from_secs(1);

/// How long after its Hit the stdin of one in a warm pool is closed: an interpreter that ends keeps a processor busy for
/// tens of milliseconds, and the client that was just answered needs it for one.
const CLOSE_AFTER: Duration = Duration::from_millis(3);

/// After this silence one that has read a request and waits for more is suspected of buffering its output.
const HINT_AFTER: Duration = Duration::from_secs(2);

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

/// A request that a co-process is asked.
pub(super) struct Exchange {
    process: Coprocess,
    seq: u64,
    timeout: Option<Duration>,
    timeout_at: Option<Moment>,
    grace: Duration,
    /// The request, as far as it has come; `None`: it is too long.
    gathered: Option<Vec<u8>>,
    complete: bool,
    /// Bytes that were fed, and those of them that count as taken since the last turn.
    fed: u64,
    taken: u64,
    /// It stands in the pipe, since then.
    asked_at: Option<Moment>,
    /// How long it is there.
    frame_bytes: u64,
    given: u64,
    replied: bool,
    failed: Option<(u8, String)>,
    /// It ends so, and its co-process was never asked.
    unasked: Option<(Status, String)>,
    progress: Option<Progress>,
    /// When to look whether it may be buffering its output.
    hint_at: Option<Moment>,
    ended: bool,
}

impl Exchange {
    pub(super) fn start(process: Coprocess, context: &RequestContext<'_>, now: Moment) -> Self {
        Self {
            process,
            seq: context.seq,
            timeout: context.timeout,
            timeout_at: context.timeout.map(|timeout| now + timeout),
            grace: context.grace,
            gathered: Some(Vec::new()),
            complete: false,
            fed: 0,
            taken: 0,
            asked_at: None,
            frame_bytes: 0,
            given: 0,
            replied: false,
            failed: None,
            unasked: None,
            progress: None,
            hint_at: None,
            ended: false,
        }
    }

    pub(super) const fn wants_input(&self) -> bool {
        !self.complete
    }

    pub(super) fn feed(&mut self, bytes: &Bytes, end: bool) {
        self.fed += bytes.len() as u64;
        match &mut self.gathered {
            Some(gathered) if gathered.len() + bytes.len() <= self.process.talk.frame_max => {
                gathered.extend_from_slice(bytes);
            }
            too_long => *too_long = None,
        }
        self.complete |= end;
    }

    pub(super) const fn taken(&self) -> u64 {
        self.taken
    }

    pub(super) const fn bytes_out(&self) -> u64 {
        self.given
    }

    pub(super) fn pid(&self) -> u32 {
        self.process.pid()
    }

    pub(super) fn stderr_tail(&self) -> &[u8] {
        self.process.child.stderr_tail()
    }

    pub(super) fn state(&self) -> WorkState {
        self.process.child.state()
    }

    pub(super) const fn progress(&self) -> Option<&Progress> {
        self.progress.as_ref()
    }

    pub(super) fn interests(&self, room: usize) -> Interests<'_> {
        self.process.child.interests(room)
    }

    pub(super) fn next_deadline(&self) -> Option<Moment> {
        if self.ended {
            return None;
        }
        if self.unasked.is_some() || self.fed > self.taken {
            return Some(Moment::ZERO);
        }
        earliest(self.process.child.next_deadline(self.timeout_at), self.hint_at)
    }

    pub(super) fn stop(&mut self, now: Moment, why: Status) {
        if self.asked_at.is_some() {
            self.process.child.stop(now, why);
        } else {
            self.unasked.get_or_insert((why, String::new()));
        }
    }

    pub(super) fn kill_by(&mut self, at: Moment) {
        self.process.child.kill_by(at);
    }

    pub(super) fn kill(&mut self) {
        if self.asked_at.is_some() {
            self.process.child.kill();
        } else {
            self.unasked.get_or_insert((Status::Cancelled, String::new()));
        }
    }

    pub(super) fn turn(&mut self, now: Moment, room: usize, out: &mut Vec<Output>) {
        if self.ended {
            return;
        }
        self.taken = self.fed;
        self.ask(now);
        if self.asked_at.is_none() && self.timeout_at.is_some_and(|at| at <= now) {
            self.unasked.get_or_insert((Status::Deadline, self.late_note()));
        }
        if let Some((status, note)) = self.unasked.take() {
            return self.end(status, note, out);
        }
        let process = &mut self.process;
        process
            .child
            .keep_deadlines(now, self.timeout_at.filter(|_| self.asked_at.is_some()));
        let ready = process.child.look(room);
        process.child.see_exit(now, &ready);
        process.child.stdin.write(ready.stdin);
        let mut read = process.child.read(&ready, room, &mut process.outputs);
        // Before it is asked, whatever it says is said unasked; and before it has read anything of the request, too.
        let unheard = self.given == 0
            && process
                .child
                .stdin
                .unread()
                .is_some_and(|unread| unread >= self.frame_bytes);
        let mut replied = self.replied || self.asked_at.is_none() || unheard;
        let from = out.len();
        process.decode(&mut replied, out);
        self.replied = replied && self.asked_at.is_some() && !unheard;
        if self.replied || ready.control {
            // What it said before that lies in the other pipes by now.
            read += process.child.read_stderr(room - read.min(room), out);
        }
        process
            .child
            .read_control(&ready, room - read.min(room), &mut process.lines, out);
        self.given += out[from..].iter().map(size).sum::<u64>();
        self.obey();
        self.hint(now, room, out);
        self.end_if_over(now, (room, read), out);
    }

    /// Writes the request, once it is whole.
    fn ask(&mut self, now: Moment) {
        if !self.complete || self.asked_at.is_some() || self.unasked.is_some() {
            return;
        }
        let framed = match self.gathered.take() {
            Some(request) => framing::encode(self.process.talk.framing, request).map_err(str::to_owned),
            None => Err(format!(
                "the request is longer than {} bytes, the most that this co-process takes at once (frame_max in a layout)",
                self.process.talk.frame_max
            )),
        };
        match framed {
            Ok(frame) => {
                self.frame_bytes = frame.len() as u64;
                self.process.child.stdin.feed(frame, false);
                self.asked_at = Some(now);
                self.hint_at = Some(now + HINT_AFTER);
            }
            Err(why) => self.unasked = Some((Status::Refused, why)),
        }
    }

    fn obey(&mut self) {
        for line in self.process.lines.drain(..) {
            match line {
                Line::Progress(progress) => self.progress = Some(progress),
                Line::Fail(code, message) => {
                    self.failed.get_or_insert((code, message));
                }
            }
        }
    }

    /// One that has read all and waits for more may keep its answer in a buffer.
    fn hint(&mut self, now: Moment, room: usize, out: &mut Vec<Output>) {
        if self.hint_at.take_if(|at| now >= *at).is_none() {
            return;
        }
        let waits = self.given == 0 && self.process.child.waits_for_input();
        let (name, seq) = (&self.process.child.name, self.seq);
        let hint = format!(
            "zhit: {name} has read request {seq} and waits for more without an answer; if it buffers its output, start it \
             with stdbuf -oL\n"
        );
        if waits && hint.len() <= room {
            out.push(Output::Chunk(Channel::Stderr, hint.into()));
        }
    }

    fn end_if_over(&mut self, now: Moment, (room, read): (usize, usize), out: &mut Vec<Output>) {
        let child = &mut self.process.child;
        if child.is_drained(now, room, read) {
            let exit = child.exit();
            let (status, note) = self.how_it_ended(exit.map(|exit| (exit.status, exit.dumped)));
            self.process.child.bury();
            return self.end(status, note, out);
        }
        if !child.is_running() || child.stopped_for().is_some() {
            return;
        }
        if let Some((code, message)) = self.failed.take() {
            // What it has begun to answer counts no more.
            self.process.decoder = Decoder::new(self.process.talk.framing);
            return self.end(Status::Exit(code), message, out);
        }
        if self.replied && child.stdin.wants_more() {
            self.end(Status::Ok, String::new(), out);
        }
    }

    /// The process has ended, and with it the Hit.
    fn how_it_ended(&mut self, exit: Option<(Status, bool)>) -> (Status, String) {
        let name = &self.process.child.name;
        let cut_off = self.process.child.stopped_for().is_some() && self.process.broken.is_none();
        if self.replied && !cut_off {
            return (Status::Ok, String::new());
        }
        if let Some(broken) = &self.process.broken {
            return (Status::Exit(BROKEN_FRAMING), broken.clone());
        }
        if let Some((code, message)) = self.failed.take() {
            return (Status::Exit(code), message);
        }
        let (status, dumped) = exit.unwrap_or((Status::Cancelled, false));
        let status = self.process.child.stopped_for().unwrap_or(status);
        if status.is_ok() {
            return (
                Status::Exit(BROKEN_FRAMING),
                format!("{name} ended (exit 0) before it had answered"),
            );
        }
        let ending = Ending {
            name,
            status,
            dumped,
            killed: self.process.child.is_killed(),
            timeout: self.timeout,
            grace: self.grace,
        };
        (status, ending.note())
    }

    fn late_note(&self) -> String {
        let limit = self.timeout.map_or_else(String::new, |timeout| {
            format!(" of {}", humantime::format_duration(timeout))
        });
        format!("the deadline{limit} passed before the whole request had come")
    }

    fn end(&mut self, status: Status, note: String, out: &mut Vec<Output>) {
        self.ended = true;
        out.push(Output::Ended { status, note });
    }

    /// What is left once it has ended.
    pub(super) fn leave(self) -> Left {
        let mut process = self.process;
        if process.child.has_ended() {
            let name = &process.child.name;
            return Left::Gone(process.broken.take().unwrap_or_else(|| format!("{name} has ended")));
        }
        Left::Resident(Box::new(process))
    }
}

fn size(output: &Output) -> u64 {
    match output {
        Output::Chunk(_, bytes) => bytes.len() as u64,
        Output::Ended { .. } => 0,
    }
}

/// What [`Spec::Coprocess`] needs a program for.
impl From<Coprocesses> for Spec {
    fn from(talk: Coprocesses) -> Self {
        Self::Coprocess(Box::new(talk))
    }
}
