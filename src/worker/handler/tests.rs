//! Handlers as a slot runs them, with real processes, driven by a small loop with a hard limit in time.

use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rustix::event::{PollFd, Timespec};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};

use super::{Output, RequestContext, Running, Spec};
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
    began: Instant,
    _scratch: Scratch,
    _room: Room,
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
            hit: HIT,
            seq: 7,
            pool: "default",
            host: "alpha",
            slot: SLOT,
            scratch: &mut scratch,
            grace: limits.grace,
            timeout: limits.timeout,
        };
        let running = Running::start(spec, context, now());
        Self {
            running,
            body: Vec::new(),
            stderr: Vec::new(),
            reply: Vec::new(),
            ended: None,
            out: Vec::new(),
            room: ROOM,
            filled: false,
            began: Instant::now(),
            _scratch: scratch,
            _room: room,
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
        assert!(self.began.elapsed() < LIMIT, "the handler hangs after {} bytes", self.running.bytes_out());
        if self.running.wants_input() {
            let piece = self.body.get(*fed).cloned().unwrap_or_default();
            *fed += 1;
            self.running.feed(piece, *fed >= self.body.len());
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
        let mut fds: Vec<_> = self
            .running
            .fds(self.room)
            .map(|(fd, flags)| PollFd::from_borrowed_fd(fd, flags))
            .collect();
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
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < LIMIT, "{what}");
        std::thread::yield_now();
    }
}

#[test]
fn body_goes_through_a_process_and_comes_back() {
    let body = bulk(10_000_000);
    let bench = Bench::words(&["cat"]).with_body(body.clone()).run();
    assert_eq!(bench.status(), Status::Ok);
    assert_eq!(bench.note(), "");
    assert!(bench.reply == body.concat());
    assert_eq!(bench.running.taken(), 10_000_000);
    assert_eq!(bench.running.bytes_out(), 10_000_000);
}

#[test]
fn sort_answers_after_the_end_of_its_body() {
    let body = vec![Bytes::from_static(b"b\nc\n"), Bytes::from_static(b"a\n")];
    let bench = Bench::words(&["sort"]).with_body(body).run();
    assert_eq!((bench.text(), bench.status()), ("a\nb\nc\n", Status::Ok));
}

#[test]
fn exit_codes_and_signals_become_the_status() {
    let bench = Bench::words(&["false"]).run();
    assert_eq!((bench.status(), bench.note()), (Status::Exit(1), "false: exit 1"));
    let bench = Bench::shell("exit 3").run();
    assert_eq!((bench.status(), bench.note()), (Status::Exit(3), "exit 3: exit 3"));
    let bench = Bench::shell("kill -KILL $$").run();
    assert_eq!(bench.status(), Status::Signal(9));
    assert_eq!(bench.note(), "kill -KILL $$: killed by SIGKILL (signal 9)");
}

#[test]
fn standard_error_comes_apart() {
    let bench = Bench::shell("echo out; echo err >&2; exit 4").run();
    assert_eq!((bench.text(), bench.stderr.as_slice()), ("out\n", b"err\n".as_slice()));
    assert_eq!(bench.status(), Status::Exit(4));
    assert_eq!(bench.running.stderr_tail(), b"err\n");
    let bench = Bench::shell("seq 100000 >&2; echo last >&2").run();
    assert_eq!(bench.running.stderr_tail().len(), 2048);
    assert!(bench.running.stderr_tail().ends_with(b"100000\nlast\n"));
}

#[test]
fn words_are_never_seen_by_a_shell() {
    let bench = Bench::words(&["printf", "%s", "$HOME; `id` *"]).run();
    assert_eq!(bench.text(), "$HOME; `id` *");
}

#[test]
fn handler_knows_its_request() {
    let script = "printf '%s ' $ZHIT_HIT_ID $ZHIT_SEQ $ZHIT_POOL $ZHIT_SLOT $ZHIT_HOST; cd \"$ZHIT_DIR\" && pwd";
    let bench = Bench::shell(script).run();
    let dir = bench._room.0.join("scratch/w3-2-cdcdcdcd");
    assert_eq!(bench.text(), format!("{HIT} 7 default w3/2 alpha {}\n", dir.display()));
    assert!(dir.is_dir());
}

#[test]
fn handler_inherits_three_files_and_no_signal_settings() {
    let careless = rustix::fs::open("/dev/null", rustix::fs::OFlags::RDONLY, rustix::fs::Mode::empty()).unwrap();
    let bench = Bench::shell("ls /proc/self/fd | tr '\\n' ' '; grep -E 'Sig(Blk|Ign)' /proc/self/status").run();
    drop(careless);
    // 3 is the directory that `ls` reads.
    assert!(bench.text().starts_with("0 1 2 3 "), "{}", bench.text());
    let sigpipe = 1 << (Signal::PIPE.as_raw() - 1);
    let masks: Vec<u64> = bench
        .text()
        .lines()
        .filter_map(|line| line.rsplit_once('\t'))
        .map(|(_, mask)| u64::from_str_radix(mask, 16).unwrap())
        .collect();
    assert_eq!(masks.len(), 2);
    assert_eq!((masks[0], masks[1] & sigpipe), (0, 0));
}

#[test]
fn handler_leads_a_group_of_its_own() {
    let bench = Bench::shell("echo $$ $(ps -o pgid= -p $$ 2>/dev/null || cut -d' ' -f5 /proc/$$/stat)").run();
    let numbers: Vec<&str> = bench.text().split_whitespace().collect();
    assert_eq!(numbers[0], numbers[1]);
}

#[test]
fn handler_may_close_its_input_early() {
    let bench = Bench::words(&["head", "-c3"]).with_body(bulk(20_000_000)).run();
    assert_eq!(
        (bench.reply.as_slice(), bench.status()),
        (&bulk(3).concat()[..], Status::Ok)
    );
}

#[test]
fn what_a_living_handler_does_not_want_is_discarded() {
    // It is done with its input long before it ends.
    let bench = Bench::shell("exec <&-; sleep 0.3").with_body(bulk(5_000_000)).run();
    assert_eq!(bench.status(), Status::Ok);
    assert_eq!(bench.running.taken(), 5_000_000);
}

#[test]
fn handler_that_never_reads_is_not_fed_without_bound() {
    let bench = Bench::shell("sleep 0.2; echo done").with_body(bulk(50_000_000)).run();
    assert_eq!((bench.text(), bench.status()), ("done\n", Status::Ok));
    assert!(bench.running.taken() < 4_000_000, "{}", bench.running.taken());
}

#[test]
fn unasked_output_comes_whole_within_a_small_room() {
    let mut bench = Bench::words(&["head", "-c", "100000000", "/dev/zero"]);
    bench.room = 300_000;
    let bench = bench.run();
    assert_eq!((bench.reply.len(), bench.status()), (100_000_000, Status::Ok));
}

#[test]
fn output_waits_for_room_after_the_exit() {
    let mut bench = Bench::shell("head -c 60000 /dev/zero; head -c 50000 /dev/zero >&2");
    let pid = bench.running.pid().unwrap();
    bench.room = 0;
    let mut fed = 0;
    bench.round(&mut fed);
    let zombie = || {
        std::fs::read_to_string(format!("/proc/{pid}/stat"))
            .unwrap()
            .contains(") Z ")
    };
    eventually("it exits", zombie);
    for _ in 0..3 {
        assert!(bench.round(&mut fed));
        assert_eq!(bench.running.next_deadline(), None);
        assert_eq!(bench.running.fds(0).count(), 0);
    }
    bench.room = 7_000;
    let bench = bench.run();
    assert_eq!(
        (bench.reply.len(), bench.stderr.len(), bench.status()),
        (60_000, 50_000, Status::Ok)
    );
}

#[test]
fn flood_on_standard_error_does_not_starve_the_reply() {
    let mut bench = Bench::shell("yes >&2 & head -c 1000000 /dev/zero; kill $!");
    bench.room = 65_536;
    let bench = bench.run();
    assert_eq!((bench.reply.len(), bench.status()), (1_000_000, Status::Ok));
}

#[test]
fn daemon_that_holds_the_pipes_delays_little_and_is_killed() {
    let bench = Bench::shell("sleep 30 & echo $!").run();
    assert_eq!(bench.status(), Status::Ok);
    assert!(
        bench.began.elapsed() < Duration::from_secs(2),
        "{:?}",
        bench.began.elapsed()
    );
    let daemon: u32 = bench.text().trim().parse().unwrap();
    eventually("the daemon is killed", || {
        std::fs::read_to_string(format!("/proc/{daemon}/stat")).map_or(true, |stat| stat.contains(") Z "))
    });
}

#[test]
fn daemon_that_chatters_delays_a_bounded_time() {
    let bench = Bench::shell("yes & echo hi").run();
    assert_eq!(bench.status(), Status::Ok);
    assert!(
        bench.began.elapsed() < Duration::from_secs(4),
        "{:?}",
        bench.began.elapsed()
    );
}

#[test]
fn handler_that_closes_its_output_runs_on() {
    let bench = Bench::shell("echo hi; exec >&- 2>&-; sleep 0.2; exit 5").run();
    assert_eq!((bench.text(), bench.status()), ("hi\n", Status::Exit(5)));
    assert!(bench.began.elapsed() >= Duration::from_millis(200));
}

#[test]
fn missing_commands_end_with_advice() {
    let bench = Bench::words(&["zhit-no-such-command", "x"]).run();
    assert_eq!(bench.status(), Status::NotStarted);
    let advice =
        "cannot start \"zhit-no-such-command\" on alpha: no such command on PATH; give its path or install it there";
    assert_eq!(bench.note(), advice);
    let bench = Bench::words(&["/nowhere/x"]).with_body(bulk(1_000_000)).run();
    assert!(bench.note().contains("no such file"), "{}", bench.note());
    let bench = Bench::words(&["/etc/passwd"]).run();
    assert!(bench.note().contains("chmod +x"), "{}", bench.note());
    assert_eq!(Bench::words(&[]).run().status(), Status::NotStarted);
    let bench = Bench::shell("zhit-no-such-command").run();
    assert_eq!(bench.status(), Status::Exit(127));
}

#[test]
fn scratch_that_cannot_be_made_ends_with_advice() {
    let room = Room::new();
    let mut scratch = Scratch::new(&room.0.join("file"), SLOT, HIT);
    std::fs::write(room.0.join("file"), "").unwrap();
    let (pool, host, grace) = ("default", "alpha", Duration::ZERO);
    let context = RequestContext {
        hit: HIT,
        seq: 1,
        pool,
        host,
        slot: SLOT,
        scratch: &mut scratch,
        grace,
        timeout: None,
    };
    let mut out = Vec::new();
    Running::start(&words_spec(&["cat"]), context, now()).turn(now(), ROOM, &mut out);
    assert!(
        matches!(&out[..], [Output::Ended { status: Status::NotStarted, note }] if note.contains("scratch")),
        "{out:?}"
    );
}

#[test]
fn deadline_tells_the_handler_to_end() {
    let limits = Limits {
        timeout: Some(Duration::from_millis(100)),
        ..NO_LIMITS
    };
    let script = "trap 'echo bye; exit 0' TERM; while :; do sleep 0.02; done";
    let bench = Bench::start(&Spec::Shell(script.to_owned()), &limits).run();
    assert_eq!((bench.text(), bench.status()), ("bye\n", Status::Deadline));
    assert!(
        bench.note().ends_with(": deadline of 100ms passed; told to end"),
        "{}",
        bench.note()
    );
}

#[test]
fn handler_that_ignores_sigterm_is_killed_after_the_grace() {
    let limits = Limits {
        timeout: Some(Duration::from_millis(100)),
        grace: Duration::from_millis(200),
    };
    let script = "trap '' TERM; sleep 60 & sleep 60";
    let bench = Bench::start(&Spec::Shell(script.to_owned()), &limits).run();
    assert_eq!(bench.status(), Status::Deadline);
    let note = bench.note();
    assert!(
        note.ends_with("deadline of 100ms passed; told to end, killed 200ms later"),
        "{note}"
    );
    let elapsed = bench.began.elapsed();
    assert!(
        (Duration::from_millis(280)..Duration::from_secs(3)).contains(&elapsed),
        "{elapsed:?}"
    );
}

#[test]
fn stopped_handler_is_seen_and_can_still_be_told_to_end() {
    let mut bench = Bench::shell("echo up; exec sleep 60");
    bench.until_reply(b"up\n");
    assert_eq!(bench.running.state(), WorkState::Running);
    let pid = Pid::from_raw(bench.running.pid().unwrap().cast_signed()).unwrap();
    rustix::process::kill_process(pid, Signal::STOP).unwrap();
    eventually("it is stopped", || bench.running.state() == WorkState::Stopped);
    bench.running.stop(now(), Status::Cancelled);
    assert_eq!(bench.running.state(), WorkState::Ending);
    let bench = bench.run();
    assert_eq!(bench.status(), Status::Cancelled);
    assert!(bench.note().ends_with(": cancelled"), "{}", bench.note());
    assert!(bench.began.elapsed() < Duration::from_secs(5));
}

#[test]
fn kill_ends_at_once_and_keeps_the_first_reason() {
    let mut bench = Bench::shell("trap '' TERM; echo up; while :; do sleep 1; done");
    bench.until_reply(b"up\n");
    bench.running.stop(now(), Status::Deadline);
    bench.running.kill();
    let bench = bench.run();
    assert_eq!(bench.status(), Status::Deadline);
    let mut bench = Bench::words(&["sleep", "60"]);
    bench.running.kill();
    assert_eq!(bench.run().status(), Status::Cancelled);
}

#[test]
fn kill_waits_for_no_room() {
    let mut bench = Bench::words(&["yes"]);
    let mut fed = 0;
    while bench.running.bytes_out() == 0 {
        bench.round(&mut fed);
    }
    bench.room = 0;
    bench.running.kill();
    assert_eq!(bench.run().status(), Status::Cancelled);
}

#[test]
fn cancelling_a_drain_ends_it() {
    let mut bench = Bench::shell("head -c 60000 /dev/zero");
    let pid = bench.running.pid().unwrap();
    bench.room = 0;
    let mut fed = 0;
    eventually("it exits", || {
        std::fs::read_to_string(format!("/proc/{pid}/stat"))
            .unwrap()
            .contains(") Z ")
    });
    assert!(bench.round(&mut fed));
    bench.running.stop(now(), Status::Cancelled);
    assert!(bench.running.next_deadline().is_some());
    assert_eq!(bench.run().status(), Status::Cancelled);
}

#[test]
fn dropping_a_request_kills_its_group_and_reaps_it() {
    let mut bench = Bench::shell("sleep 60 & echo up; wait");
    bench.until_reply(b"up\n");
    let pid = bench.running.pid().unwrap();
    drop(bench);
    assert!(!exists(pid));
    eventually("the group is gone", || {
        rustix::process::test_kill_process_group(Pid::from_raw(pid.cast_signed()).unwrap()).is_err()
    });
}

#[test]
fn handler_dies_with_its_slot_thread() {
    let pid = std::thread::spawn(|| {
        let mut bench = Bench::shell("echo up; exec sleep 60");
        bench.until_reply(b"up\n");
        let pid = bench.running.pid().unwrap();
        // As if the thread had been torn away: nothing is dropped.
        std::mem::forget(bench.running);
        pid
    })
    .join()
    .unwrap();
    let id = WaitId::Pid(Pid::from_raw(pid.cast_signed()).unwrap());
    let ended = rustix::process::waitid(id, WaitIdOptions::EXITED).unwrap().unwrap();
    assert_eq!(ended.terminating_signal(), Some(Signal::KILL.as_raw()));
}

/// Runs alone in a process of its own (see below), because it counts what the whole process holds.
#[test]
#[ignore = "run by requests_leave_neither_files_nor_zombies"]
fn census() {
    let held = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let specs = [
        "cat",
        "exit 3",
        "sleep 30 & echo hi",
        "kill -KILL $$",
        "exec <&-; sleep 0.01",
    ];
    let before = held();
    for round in 0..10 {
        for script in specs {
            Bench::shell(script).with_body(bulk(1000 * round)).run();
        }
        Bench::words(&["zhit-no-such-command"]).run();
        drop(Bench::words(&["sleep", "60"]));
        let mut bench = Bench::words(&["sleep", "60"]);
        bench.running.kill();
        bench.run();
    }
    assert_eq!(held(), before);
    let children = rustix::process::waitid(WaitId::All, WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
    assert_eq!(children.unwrap_err(), rustix::io::Errno::CHILD);
}

#[test]
fn requests_leave_neither_files_nor_zombies() {
    let output = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "worker::handler::tests::census",
            "--ignored",
            "--test-threads=1",
        ])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

#[test]
fn hello_says_world() {
    let bench = Bench::builtin(Builtin::Hello, b"anything").run();
    assert_eq!((bench.text(), bench.status(), bench.note()), ("World", Status::Ok, ""));
    assert_eq!(bench.running.taken(), 8);
}

#[test]
fn echo_gives_back_what_it_gets_within_the_room() {
    let body = bulk(3_000_000);
    let mut bench = Bench::start(&Spec::Builtin(Builtin::Echo), &NO_LIMITS).with_body(body.clone());
    bench.room = 1000;
    let bench = bench.run();
    assert!(bench.reply == body.concat());
    assert_eq!(
        (bench.running.taken(), bench.running.bytes_out()),
        (3_000_000, 3_000_000)
    );
}

#[test]
fn echo_without_room_takes_no_more() {
    let mut bench = Bench::start(&Spec::Builtin(Builtin::Echo), &NO_LIMITS).with_body(bulk(1_000_000));
    bench.room = 0;
    let mut fed = 0;
    for _ in 0..5 {
        assert!(bench.round(&mut fed));
    }
    assert_eq!((fed, bench.running.taken()), (1, 0));
}

#[test]
fn whoami_names_place_thread_and_request() {
    let bench = Bench::builtin(Builtin::Whoami, b"").run();
    let thread = rustix::thread::gettid().as_raw_nonzero();
    assert_eq!(bench.text(), format!("alpha/w3/2 thread {thread} request 7"));
}

#[test]
fn sleep_sleeps_for_what_it_is_told() {
    let bench = Bench::builtin(Builtin::Sleep, b"100ms\n").run();
    assert_eq!((bench.text(), bench.status()), ("", Status::Ok));
    assert!(bench.began.elapsed() >= Duration::from_millis(100));
    let bench = Bench::builtin(Builtin::Sleep, b"5").run();
    assert_eq!(bench.status(), Status::Refused);
    assert_eq!(
        bench.note(),
        "sleep: \"5\" is not what it takes: send a duration, such as 100ms or 2s"
    );
}

#[test]
fn sleep_ends_at_its_deadline_and_when_stopped() {
    let limits = Limits {
        timeout: Some(Duration::from_millis(50)),
        ..NO_LIMITS
    };
    let mut bench = Bench::start(&Spec::Builtin(Builtin::Sleep), &limits);
    bench.body = vec![Bytes::from_static(b"1h")];
    let bench = bench.run();
    assert_eq!(
        (bench.status(), bench.note()),
        (Status::Deadline, "sleep: deadline of 50ms passed; told to end")
    );
    let mut bench = Bench::builtin(Builtin::Sleep, b"1h");
    let mut fed = 0;
    assert!(bench.round(&mut fed));
    bench.running.stop(now(), Status::Cancelled);
    assert_eq!(bench.run().status(), Status::Cancelled);
}

#[test]
fn sink_counts_and_hashes_the_same_whole_or_in_pieces() {
    let body = bulk(1_000_000);
    let whole = Bytes::from(body.concat());
    let expected = format!("1000000 {:016x}", xxhash_rust::xxh3::xxh3_64(&whole));
    for pieces in [body, vec![whole]] {
        let bench = Bench::start(&Spec::Builtin(Builtin::Sink), &NO_LIMITS)
            .with_body(pieces)
            .run();
        assert_eq!((bench.text(), bench.status()), (expected.as_str(), Status::Ok));
    }
    assert_eq!(Bench::builtin(Builtin::Sink, b"").run().text(), "0 2d06800538d394c2");
}

#[test]
fn source_gives_the_same_bytes_in_every_room() {
    let bench = Bench::builtin(Builtin::Source, b"1MiB").run();
    assert_eq!((bench.reply.len(), bench.status()), (1 << 20, Status::Ok));
    let mut small = Bench::builtin(Builtin::Source, b" 1048576 ");
    small.room = 100_000;
    assert!(small.run().reply == bench.reply);
    // The first number of splitmix64 from seed 0.
    assert_eq!(bench.reply[..8], 0xe220_a839_7b1d_cdaf_u64.to_le_bytes());
    assert_eq!(Bench::builtin(Builtin::Source, b"0").run().status(), Status::Ok);
    for bad in [&b""[..], b"x", b"10 miles", b"-1", b"99999999999TiB", &[b'1'; 100]] {
        let bench = Bench::builtin(Builtin::Source, bad).run();
        assert_eq!(bench.status(), Status::Refused);
        assert!(bench.note().contains("10MiB"), "{}", bench.note());
    }
}

#[test]
fn builtin_may_end_before_its_body() {
    let mut bench = Bench::start(&Spec::Builtin(Builtin::Hello), &NO_LIMITS);
    bench.running.feed(Bytes::from_static(b"begun"), false);
    bench.running.stop(now(), Status::Cancelled);
    let bench = bench.run();
    assert_eq!((bench.text(), bench.status()), ("", Status::Cancelled));
}
