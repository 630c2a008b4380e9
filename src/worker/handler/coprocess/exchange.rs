//! A request that runs in a co-process: it is written once it is whole, and ends with one frame, with a word on file
//! descriptor 3, or with the process.

use std::time::Duration;

use bytes::Bytes;

use super::Coprocess;
use crate::protocol::message::{Channel, Progress, WorkState};
use crate::protocol::status::Status;
use crate::protocol::time::{Moment, earliest};
use crate::worker::handler::child::Interests;
use crate::worker::handler::control::Line;
use crate::worker::handler::framing::{self, Decoder};
use crate::worker::handler::notes::Ending;
use crate::worker::handler::{Left, Output, RequestContext};

/// What fails a request whose co-process did not keep to its framing (`EX_PROTOCOL` of sysexits.h).
const BROKEN_FRAMING: u8 = 76;

/// After this silence one that has read a request and waits for more is suspected of buffering its output.
const HINT_AFTER: Duration = Duration::from_secs(2);

/// A request that a co-process is asked.
pub(in crate::worker::handler) struct Exchange {
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
    pub(in crate::worker::handler) fn start(process: Coprocess, context: &RequestContext<'_>, now: Moment) -> Self {
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

    pub(in crate::worker::handler) const fn wants_input(&self) -> bool {
        !self.complete
    }

    pub(in crate::worker::handler) fn feed(&mut self, bytes: &Bytes, end: bool) {
        self.fed += bytes.len() as u64;
        match &mut self.gathered {
            Some(gathered) if gathered.len() + bytes.len() <= self.process.talk.frame_max => {
                gathered.extend_from_slice(bytes);
            }
            too_long => *too_long = None,
        }
        self.complete |= end;
    }

    pub(in crate::worker::handler) const fn taken(&self) -> u64 {
        self.taken
    }

    pub(in crate::worker::handler) const fn bytes_out(&self) -> u64 {
        self.given
    }

    pub(in crate::worker::handler) fn pid(&self) -> u32 {
        self.process.pid()
    }

    pub(in crate::worker::handler) fn stderr_tail(&self) -> &[u8] {
        self.process.child.stderr_tail()
    }

    pub(in crate::worker::handler) fn state(&self) -> WorkState {
        self.process.child.state()
    }

    pub(in crate::worker::handler) const fn progress(&self) -> Option<&Progress> {
        self.progress.as_ref()
    }

    pub(in crate::worker::handler) fn interests(&self, room: usize) -> Interests<'_> {
        self.process.child.interests(room)
    }

    pub(in crate::worker::handler) fn next_deadline(&self) -> Option<Moment> {
        if self.ended {
            return None;
        }
        if self.unasked.is_some() || self.fed > self.taken {
            return Some(Moment::ZERO);
        }
        earliest(self.process.child.next_deadline(self.timeout_at), self.hint_at)
    }

    pub(in crate::worker::handler) fn stop(&mut self, now: Moment, why: Status) {
        if self.asked_at.is_some() {
            self.process.child.stop(now, why);
        } else {
            self.unasked.get_or_insert((why, String::new()));
        }
    }

    pub(in crate::worker::handler) fn kill_by(&mut self, at: Moment) {
        self.process.child.kill_by(at);
    }

    pub(in crate::worker::handler) fn kill(&mut self) {
        if self.asked_at.is_some() {
            self.process.child.kill();
        } else {
            self.unasked.get_or_insert((Status::Cancelled, String::new()));
        }
    }

    pub(in crate::worker::handler) fn turn(&mut self, now: Moment, room: usize, out: &mut Vec<Output>) {
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
    pub(in crate::worker::handler) fn leave(self) -> Left {
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
