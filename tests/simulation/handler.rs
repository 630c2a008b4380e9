//! The simulated handler: takes input fast or slowly, answers before or after, ends early, late or when told.

use std::time::Duration;

use zhit::protocol::message::Channel;
use zhit::protocol::{Moment, Status};
use zhit::worker::lease::Slot;

use crate::invariants::{Books, Broken, Text};
use crate::rng::Rng;

/// A handler that runs.
#[derive(Debug)]
pub(crate) struct Handler {
    pub(crate) hit: usize,
    pub(crate) seq: u64,
    /// Reads so many bytes at most; then it has seen enough.
    reads_max: u64,
    /// Most bytes taken or given at once, and the time between two times.
    bite: u64,
    pace: Duration,
    /// Answers while it reads.
    full_duplex: bool,
    /// Bytes of the reply; `None`: as many as it has read.
    reply: Option<u64>,
    complaint: u64,
    think: Duration,
    status: Status,
    note: String,
    /// How long it takes to end when told.
    dies_within: Duration,
    // What it has done.
    next_at: Moment,
    /// Bytes in its pipe, bytes taken out, and whether the end was handed to it.
    pipe: u64,
    read: u64,
    eof: bool,
    has_thought: bool,
    given: u64,
    complained: u64,
    deadline: Option<Moment>,
    ends_at: Option<Moment>,
}

/// What a handler did in a step.
#[derive(Debug)]
pub(crate) enum Step {
    /// Waits for input, room or this moment.
    Waits(Option<Moment>),
    /// It is gone.
    Ended(Status, String),
}

/// How much work a request may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scale {
    /// Requests of the client.
    pub(crate) requests: usize,
    /// Bytes of its largest.
    pub(crate) largest: u64,
}

impl Handler {
    pub(crate) fn new(
        now: Moment,
        hit: usize,
        seq: u64,
        timeout: Option<Duration>,
        scale: Scale,
        mut rng: Rng,
    ) -> Self {
        let rng = &mut rng;
        let many = scale.requests > 20;
        let reads_max = match rng.within(0..if many { 100 } else { 10 }) {
            0 => 0,
            1 => rng.within(0..scale.largest + 1),
            _ => u64::MAX,
        };
        let reply = match rng.within(0..10) {
            _ if many => Some(rng.pick(&[(3, 0), (1, 20)])),
            0 => Some(0),
            1..=3 => Some(rng.within(0..500)),
            4 => Some(rng.within(0..(scale.largest * 2).clamp(1000, 6_000_000))),
            _ => None,
        };
        let (bite, pace) = if many || rng.chance(60.0) {
            (u64::MAX, Duration::ZERO)
        } else {
            let bite = (scale.largest / rng.within(1..60)).max(50);
            (bite, rng.micros(1..20_000))
        };
        let think = match rng.within(0..10) {
            _ if many => rng.micros(0..300),
            0 => rng.millis(1..2500) / (scale.requests as u32 + 2),
            1..=3 => rng.millis(1..200),
            _ => rng.micros(0..5000),
        };
        let failed = rng.chance(10.0);
        Self {
            hit,
            seq,
            reads_max,
            bite,
            pace,
            full_duplex: rng.chance(30.0) && reply.is_some(),
            reply,
            complaint: if many || rng.chance(80.0) {
                0
            } else {
                rng.within(1..3000)
            },
            think,
            status: if failed { Status::Exit(3) } else { Status::Ok },
            note: if failed {
                "no such thing".to_owned()
            } else {
                String::new()
            },
            dies_within: rng.micros(1..500_000),
            next_at: now,
            pipe: 0,
            read: 0,
            eof: false,
            has_thought: false,
            given: 0,
            complained: 0,
            deadline: timeout.map(|timeout| now + timeout),
            ends_at: None,
        }
    }

    /// It is told to end.
    pub(crate) fn stop(&mut self, now: Moment) {
        self.ends_at = Some(now + self.dies_within);
    }

    fn has_read(&self) -> bool {
        self.read >= self.reads_max || (self.eof && self.pipe == 0)
    }

    fn reply(&self) -> u64 {
        self.reply.unwrap_or(self.read)
    }

    /// Goes on until it must wait.
    pub(crate) fn step(&mut self, now: Moment, slot: &mut Slot, books: &mut Books) -> Result<Step, Broken> {
        loop {
            if self.ends_at.is_some_and(|at| at <= now) {
                return Ok(Step::Ended(Status::Cancelled, String::new()));
            }
            if self.deadline.is_some_and(|at| at <= now) {
                return Ok(Step::Ended(Status::Deadline, String::new()));
            }
            let limit = [self.ends_at, self.deadline].into_iter().flatten().min();
            if self.next_at > now {
                return Ok(Step::Waits(Some(limit.map_or(self.next_at, |at| at.min(self.next_at)))));
            }
            let moved = self.take(slot, books)? | self.give(slot, books);
            if moved {
                self.next_at = now + self.pace;
                continue;
            }
            if !self.has_read() || (self.has_thought && self.given < self.reply()) {
                return Ok(Step::Waits(limit));
            }
            if !self.has_thought {
                self.has_thought = true;
                self.next_at = now + self.think;
                continue;
            }
            return Ok(Step::Ended(self.status, self.note.clone()));
        }
    }

    fn take(&mut self, slot: &mut Slot, books: &mut Books) -> Result<bool, Broken> {
        if self.has_read() {
            return Ok(false);
        }
        let mut moved = false;
        if self.pipe == 0
            && let Some(piece) = slot.next_input()
        {
            books.handed(self.hit, self.seq, &piece)?;
            (self.pipe, self.eof, moved) = (piece.bytes.len() as u64, piece.end.is_some(), true);
        }
        let bite = self.pipe.min(self.bite);
        if bite > 0 {
            (self.pipe, self.read, moved) = (self.pipe - bite, self.read + bite, true);
            slot.on_taken(bite);
        }
        Ok(moved)
    }

    fn give(&mut self, slot: &mut Slot, books: &mut Books) -> bool {
        if !self.full_duplex && !self.has_thought {
            return false;
        }
        let room = slot.output_room() as u64;
        let (channel, left, at, length) = if self.complained < self.complaint {
            (
                Channel::Stderr,
                self.complaint - self.complained,
                &mut self.complained,
                0,
            )
        } else {
            let (reply, length) = (self.reply(), if self.full_duplex { 0 } else { self.read });
            (Channel::Body, reply - self.given, &mut self.given, length)
        };
        let bite = left.min(room).min(self.bite).min(1 << 20);
        if bite == 0 {
            return false;
        }
        let text = Text::reply(self.hit, self.seq, length, channel);
        books.gave(self.hit, self.seq, channel, text, bite);
        slot.on_output(channel, text.piece(*at, bite));
        *at += bite;
        true
    }
}
