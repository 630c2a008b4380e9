//! Handlers as a slot runs them, with real processes, driven by a small loop with a hard limit in time.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on may panic")]

mod builtins;
mod endings;
mod processes;

use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use rustix::event::Timespec;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};

use super::{Interest, Output, RequestContext, Running, Spec};
use crate::builtin::Builtin;
use crate::protocol::ids::{HitKey, SlotId, WorkerId};
use crate::protocol::limits::CHUNK_BYTES_MAX;
use crate::protocol::message::{Channel, WorkState};
use crate::protocol::status::Status;
use crate::protocol::time::Moment;
use crate::worker::scratch::Scratch;

/// No test takes longer.
const LIMIT: Duration = Duration::from_secs(30);
const ROOM: usize = 4 * 1024 * 1024;
const SLOT: SlotId = SlotId {
    worker: WorkerId(3),
    number: 2,
};
const HIT: HitKey = HitKey::from_bytes([0xcd; 16]);

fn now() -> Moment {
    let clock = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Moment::from_micros(clock.tv_sec.unsigned_abs() * 1_000_000 + clock.tv_nsec.unsigned_abs() / 1000)
}

/// A runtime directory of a test's own.
struct Room(PathBuf);

impl Room {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("zhit-handler-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

/// One request under test.
struct Bench {
    running: Running,
    body: Vec<Bytes>,
    stderr: Vec<u8>,
    reply: Vec<u8>,
    ended: Option<(Status, String)>,
    out: Vec<Output>,
    /// Bytes that a turn may give.
    room: usize,
    /// The last turn gave as many.
    filled: bool,
    began: Moment,
    _scratch: Scratch,
    dir: Room,
}

struct Limits {
    grace: Duration,
    timeout: Option<Duration>,
}

const NO_LIMITS: Limits = Limits {
    grace: Duration::from_secs(10),
    timeout: None,
};

impl Bench {
    fn start(spec: &Spec, limits: &Limits) -> Self {
        let room = Room::new();
        let mut scratch = Scratch::new(&room.0, SLOT, HIT);
        let context = RequestContext {
            broadcast: None,
            hit: HIT,
            seq: 7,
            pool: "default",
            host: "alpha",
            slot: SLOT,
            scratch: &mut scratch,
            grace: limits.grace,
            timeout: limits.timeout,
            known_at: None,
        };
        // Before it starts: what it runs for is never measured too short.
        let began = now();
        let running = Running::start(spec, context, began);
        Self {
            running,
            body: Vec::new(),
            stderr: Vec::new(),
            reply: Vec::new(),
            ended: None,
            out: Vec::new(),
            room: ROOM,
            filled: false,
            began,
            _scratch: scratch,
            dir: room,
        }
    }

    fn shell(text: &str) -> Self {
        Self::start(&Spec::Shell(text.to_owned()), &NO_LIMITS)
    }

    fn words(words: &[&str]) -> Self {
        Self::start(&words_spec(words), &NO_LIMITS)
    }

    fn builtin(builtin: Builtin, request: &'static [u8]) -> Self {
        let mut bench = Self::start(&Spec::Builtin(builtin), &NO_LIMITS);
        bench.body = vec![Bytes::from_static(request)];
        bench
    }

    fn with_body(mut self, body: Vec<Bytes>) -> Self {
        self.body = body;
        self
    }

    /// One round of a slot's loop. Whether it goes on.
    fn round(&mut self, fed: &mut usize) -> bool {
        assert!(
            now().since(self.began) < LIMIT,
            "the handler hangs after {} bytes",
            self.running.bytes_out()
        );
        if self.running.wants_input() {
            let piece = self.body.get(*fed).cloned().unwrap_or_default();
            *fed += 1;
            let taken = self.running.taken();
            self.running.feed(piece, *fed >= self.body.len());
            assert_eq!(self.running.taken(), taken, "taken outside a turn");
        }
        self.running.turn(now(), self.room, &mut self.out);
        let mut given = 0;
        for output in self.out.drain(..) {
            assert!(self.ended.is_none(), "something after the end: {output:?}");
            match output {
                Output::Chunk(channel, bytes) => {
                    assert!(!bytes.is_empty() && bytes.len() <= CHUNK_BYTES_MAX);
                    given += bytes.len();
                    if channel == Channel::Body {
                        &mut self.reply
                    } else {
                        &mut self.stderr
                    }
                    .extend_from_slice(&bytes);
                }
                Output::Ended { status, note } => self.ended = Some((status, note)),
            }
        }
        assert!(given <= self.room, "{given} bytes for a room of {}", self.room);
        self.filled = given == self.room;
        self.ended.is_none()
    }

    /// Waits as a slot would.
    fn wait(&self) {
        let longest = Duration::from_millis(250);
        let due = self
            .running
            .next_deadline()
            .map_or(longest, |at| at.since(now()).min(longest));
        let due = Timespec {
            tv_sec: 0,
            tv_nsec: i64::from(due.subsec_nanos()),
        };
        let mut fds: Vec<_> = self.running.fds(self.room).map(Interest::to_poll).collect();
        // The next round brings new room, and perhaps input.
        if !(self.running.wants_input() || self.filled && self.room > 0) {
            let _ = rustix::event::poll(&mut fds, Some(&due));
        }
    }

    fn run(mut self) -> Self {
        let mut fed = 0;
        while self.round(&mut fed) {
            self.wait();
        }
        self
    }

    /// Goes on until the reply so far is this, so that the handler is known to be at that point.
    fn until_reply(&mut self, expected: &[u8]) {
        let mut fed = 0;
        while self.reply != expected {
            assert!(self.round(&mut fed), "ended early: {:?}", self.ended);
            self.wait();
        }
    }

    fn elapsed(&self) -> Duration {
        now().since(self.began)
    }

    fn status(&self) -> Status {
        self.ended.as_ref().unwrap().0
    }

    fn note(&self) -> &str {
        &self.ended.as_ref().unwrap().1
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.reply).unwrap()
    }
}

fn words_spec(words: &[&str]) -> Spec {
    Spec::Process(words.iter().map(Into::into).collect())
}

/// Bytes that differ everywhere, in chunks.
fn bulk(bytes: usize) -> Vec<Bytes> {
    let whole: Bytes = (0_u64..)
        .flat_map(|n| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15)).to_le_bytes())
        .take(bytes)
        .collect();
    (0..bytes)
        .step_by(CHUNK_BYTES_MAX)
        .map(|at| whole.slice(at..bytes.min(at + CHUNK_BYTES_MAX)))
        .collect()
}

/// Whether the process is there, a zombie included.
fn exists(pid: u32) -> bool {
    PathBuf::from(format!("/proc/{pid}")).exists()
}

/// Polls for a condition that comes true soon.
fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let began = now();
    while !condition() {
        assert!(now().since(began) < LIMIT, "{what}");
        std::thread::yield_now();
    }
}
