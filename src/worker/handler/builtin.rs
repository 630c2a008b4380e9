//! The handlers that need no program. They must cost next to nothing: bodies pass through uncopied, and a small request
//! allocates nothing where its answer needs nothing.

use std::fmt;
use std::sync::OnceLock;
use std::time::Duration;

use bytes::Bytes;
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use super::notes::Ending;
use super::{Output, RequestContext, TURN_BYTES_MAX};
use crate::builtin::Builtin;
use crate::bytecount::{Bytecount, NotASize};
use crate::protocol::limits::CHUNK_BYTES_MAX;
use crate::protocol::message::Channel;
use crate::protocol::status::Status;
use crate::protocol::time::{Moment, earliest};

/// Most bytes of a request that is an argument (a duration, a size).
const ARGUMENT_BYTES_MAX: usize = 64;

/// Length of the block that `source` repeats: the largest prime below a chunk, so that a lost or repeated chunk of a
/// round size puts everything behind it out of step.
const SOURCE_BLOCK_BYTES: usize = 262_139;

/// One request to a builtin.
pub(super) struct BuiltinRun {
    work: Work,
    /// Reply bytes that wait for room.
    pending: Bytes,
    /// The request's END has been fed.
    fed_end: bool,
    fed: u64,
    /// What of it had been taken at the end of the last turn.
    taken: u64,
    given: u64,
    timeout: Option<Duration>,
    timeout_at: Option<Moment>,
    stopped: Option<Status>,
    /// There was more room than one turn may fill.
    cut_short: bool,
    ended: bool,
}

/// What is to be done, and how far it is.
enum Work {
    /// The request is read; then comes this answer.
    Answer(Builtin, Bytes),
    Echo,
    /// A builtin that waits for its argument.
    Argument(Builtin, Vec<u8>),
    Sleep(Moment),
    Sink(Option<Digest>),
    Source {
        position: u64,
        left: u64,
    },
    /// Nothing is left but what is pending.
    Done(Builtin),
}

/// The hash of a request that comes in several pieces; in a box, so that other builtins stay small.
#[derive(Default)]
struct Digest(Box<Xxh3>);

impl BuiltinRun {
    pub(super) fn start(builtin: Builtin, context: &RequestContext<'_>, now: Moment) -> Self {
        let work = match builtin {
            Builtin::Hello => Work::Answer(builtin, Bytes::from_static(b"World")),
            Builtin::Whoami => Work::Answer(builtin, whoami(context)),
            Builtin::Echo => Work::Echo,
            Builtin::Sleep | Builtin::Source => Work::Argument(builtin, Vec::new()),
            Builtin::Sink => Work::Sink(None),
        };
        Self {
            work,
            pending: Bytes::new(),
            fed_end: false,
            fed: 0,
            taken: 0,
            given: 0,
            timeout: context.timeout,
            timeout_at: context.timeout.map(|timeout| now + timeout),
            stopped: None,
            cut_short: false,
            ended: false,
        }
    }

    pub(super) const fn wants_input(&self) -> bool {
        self.pending.is_empty() && !self.fed_end
    }

    pub(super) const fn taken(&self) -> u64 {
        self.taken
    }

    pub(super) const fn bytes_out(&self) -> u64 {
        self.given
    }

    pub(super) fn feed(&mut self, bytes: Bytes, end: bool) {
        debug_assert!(self.wants_input(), "fed while a piece waits");
        self.fed_end |= end;
        self.fed += bytes.len() as u64;
        match &mut self.work {
            _ if self.ended => {}
            Work::Echo => self.pending = bytes,
            Work::Argument(_, text) => {
                let room = (ARGUMENT_BYTES_MAX + 1).saturating_sub(text.len());
                text.extend(bytes.iter().take(room));
            }
            Work::Sink(None) if end => self.finish_sink(xxh3_64(&bytes)),
            Work::Sink(state) => {
                let Digest(state) = state.get_or_insert_default();
                state.update(&bytes);
                if end {
                    let digest = state.digest();
                    self.finish_sink(digest);
                }
            }
            Work::Answer(..) | Work::Sleep(_) | Work::Source { .. } | Work::Done(_) => {}
        }
    }

    fn finish_sink(&mut self, digest: u64) {
        self.pending = Bytes::from(format!("{} {digest:016x}", self.fed));
        self.work = Work::Done(Builtin::Sink);
    }

    pub(super) fn stop(&mut self, why: Status) {
        self.stopped.get_or_insert(why);
    }

    pub(super) fn next_deadline(&self) -> Option<Moment> {
        let due = match self.work {
            _ if self.ended => return None,
            _ if self.stopped.is_some() || self.cut_short => Some(Moment::ZERO),
            Work::Sleep(until) => Some(until),
            _ => None,
        };
        earliest(due, self.timeout_at)
    }

    pub(super) fn turn(&mut self, now: Moment, room: usize, out: &mut Vec<Output>) {
        if self.ended {
            return;
        }
        if self.timeout_at.is_some_and(|at| now >= at) {
            self.stop(Status::Deadline);
        }
        if let Some(why) = self.stopped {
            self.taken = self.fed;
            return self.end(why, None, out);
        }
        let mut left = room.min(TURN_BYTES_MAX);
        self.emit(&mut left, out);
        if self.fed_end && self.pending.is_empty() {
            self.work_on(now, &mut left, out);
        }
        self.cut_short = left == 0 && room > TURN_BYTES_MAX;
        // What `echo` holds back opens no credit.
        let held = if matches!(self.work, Work::Echo) {
            self.pending.len()
        } else {
            0
        };
        self.taken = self.fed - held as u64;
    }

    /// The request is there; all that was pending has gone.
    fn work_on(&mut self, now: Moment, room: &mut usize, out: &mut Vec<Output>) {
        if let Work::Argument(builtin, text) = &self.work {
            let builtin = *builtin;
            match begin(builtin, text, now) {
                Ok(work) => self.work = work,
                Err(wanted) => return self.end(Status::Refused, Some(wanted), out),
            }
        }
        match &mut self.work {
            Work::Answer(builtin, answer) => {
                let builtin = *builtin;
                self.pending = std::mem::take(answer);
                self.work = Work::Done(builtin);
                self.emit(room, out);
            }
            Work::Source { position, left } => {
                self.given += emit_source(position, left, room, out);
                if *left == 0 {
                    self.work = Work::Done(Builtin::Source);
                }
            }
            Work::Sleep(until) if now < *until => return,
            Work::Sleep(_) | Work::Echo | Work::Done(_) | Work::Sink(_) | Work::Argument(..) => {}
        }
        let done = !matches!(self.work, Work::Source { .. });
        if done && self.pending.is_empty() {
            self.end(Status::Ok, None, out);
        }
    }

    /// Passes pending bytes on as far as there is room.
    fn emit(&mut self, room: &mut usize, out: &mut Vec<Output>) {
        while !self.pending.is_empty() && *room > 0 {
            let length = self.pending.len().min(*room).min(CHUNK_BYTES_MAX);
            let chunk = if length == self.pending.len() {
                std::mem::take(&mut self.pending)
            } else {
                self.pending.split_to(length)
            };
            *room -= length;
            self.given += length as u64;
            out.push(Output::Chunk(Channel::Body, chunk));
        }
    }

    fn end(&mut self, status: Status, note: Option<String>, out: &mut Vec<Output>) {
        let note = note.unwrap_or_else(|| {
            let (name, timeout) = (self.builtin().name(), self.timeout);
            Ending {
                name,
                status,
                dumped: false,
                killed: false,
                timeout,
                grace: Duration::ZERO,
            }
            .note()
        });
        self.pending = Bytes::new();
        self.ended = true;
        out.push(Output::Ended { status, note });
    }

    const fn builtin(&self) -> Builtin {
        match self.work {
            Work::Answer(builtin, _) | Work::Argument(builtin, _) | Work::Done(builtin) => builtin,
            Work::Echo => Builtin::Echo,
            Work::Sleep(_) => Builtin::Sleep,
            Work::Sink(_) => Builtin::Sink,
            Work::Source { .. } => Builtin::Source,
        }
    }
}

/// One line that shows who answers: the same thread for the whole Hit.
fn whoami(context: &RequestContext<'_>) -> Bytes {
    let thread = rustix::thread::gettid().as_raw_nonzero();
    Bytes::from(format!(
        "{}/{} thread {thread} request {}",
        context.host, context.slot, context.seq
    ))
}

/// What a builtin with an argument is to do; or the note that tells what it wants.
fn begin(builtin: Builtin, argument: &[u8], now: Moment) -> Result<Work, String> {
    let text = String::from_utf8_lossy(argument);
    let text = if argument.len() > ARGUMENT_BYTES_MAX {
        ""
    } else {
        text.trim()
    };
    let refused = |wanted: &dyn fmt::Display| format!("{builtin}: {text:?} is not what it takes: {wanted}");
    if builtin == Builtin::Source {
        let Bytecount(left) = text.parse().map_err(|error: NotASize| refused(&error))?;
        return Ok(Work::Source { position: 0, left });
    }
    let span = humantime::parse_duration(text).map_err(|_| refused(&"send a duration, such as 100ms or 2s"))?;
    Ok(Work::Sleep(now + span))
}

/// Appends as much of the source as there is room for; how much.
///
/// Byte `i` is byte `i mod 262139` of splitmix64's numbers from seed 0, each in little-endian order.
fn emit_source(position: &mut u64, left: &mut u64, room: &mut usize, out: &mut Vec<Output>) -> u64 {
    let before = *left;
    let block = source_block();
    while *left > 0 && *room > 0 {
        let start = (*position % SOURCE_BLOCK_BYTES as u64) as usize;
        let wanted = usize::try_from(*left).unwrap_or(usize::MAX);
        let length = wanted.min(*room).min(SOURCE_BLOCK_BYTES - start);
        out.push(Output::Chunk(Channel::Body, block.slice(start..start + length)));
        *room -= length;
        *left -= length as u64;
        *position += length as u64;
    }
    before - *left
}

/// The block that `source` repeats, made once.
fn source_block() -> &'static Bytes {
    static BLOCK: OnceLock<Bytes> = OnceLock::new();
    BLOCK.get_or_init(|| {
        let mut state = 0_u64;
        let numbers = std::iter::repeat_with(|| {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = state;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        });
        numbers.flat_map(u64::to_le_bytes).take(SOURCE_BLOCK_BYTES).collect()
    })
}
