//! Processes under test: started with everything they read and write at hand, waited for within limits, ended by pid.

use std::io::{PipeReader, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use zhit::clock;
use zhit::protocol::Moment;

use super::capture::{Captured, full_pipe};
use super::ended::Ended;

/// No wait of a test is longer: what takes as long hangs.
pub(crate) const LIMIT: Duration = Duration::from_secs(40);

/// How late a machine with more to do than it can may be, where a test asks whether something was prompt.
pub(crate) const SLACK: Duration = Duration::from_secs(4);

/// Between two looks at a condition.
const PAUSE: Duration = Duration::from_millis(4);

/// Looks until there is something to see, and gives it.
///
/// # Panics
/// After [`LIMIT`].
#[track_caller]
#[expect(
    clippy::disallowed_methods,
    reason = "the one place where tests wait: between two looks at a condition"
)]
pub(crate) fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = clock::now();
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(clock::now().since(began) < LIMIT, "not seen within {LIMIT:?}: {what}");
        std::thread::sleep(PAUSE);
    }
}

/// Says that a test cannot be run here. It passes then: the runner has no third way.
pub(crate) fn skipped(why: &str) {
    // Not by a macro, whose output is shown of tests that fail only.
    let _ = writeln!(std::io::stderr(), "skipped: {why}");
}

/// Where a process's input comes from.
enum Input {
    Nothing,
    Bytes(Vec<u8>),
    /// The test writes it, and closes it.
    Held,
}

/// Where a process's output goes.
enum Output {
    Captured,
    /// Counted and hashed, not kept.
    Digested,
    /// Nobody reads it; the pipe fills up.
    Unread,
    /// The reader has gone already.
    Closed,
}

/// A process that is not started yet.
pub(crate) struct Start {
    command: Command,
    what: String,
    input: Input,
    output: Output,
    stderr_full: bool,
}

impl Start {
    /// This program, with its signals as a terminal gives them, however the tests were started.
    pub(crate) fn new(program: &str, arguments: &[&str]) -> Self {
        let mut command = Command::new("env");
        command
            .arg("--default-signal=INT,HUP,PIPE")
            .arg(program)
            .args(arguments);
        Self {
            command,
            what: format!(
                "{} {}",
                program.rsplit('/').next().unwrap_or(program),
                arguments.join(" ")
            ),
            input: Input::Nothing,
            output: Output::Captured,
            stderr_full: false,
        }
    }

    pub(crate) fn env(mut self, name: &str, value: impl AsRef<std::ffi::OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// A further argument, any bytes.
    pub(crate) fn arg(mut self, argument: impl AsRef<std::ffi::OsStr>) -> Self {
        self.command.arg(argument);
        self
    }

    /// These bytes, then the end.
    pub(crate) fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.input = Input::Bytes(bytes.into());
        self
    }

    /// A pipe that the test writes to: [`Process::stdin`].
    pub(crate) fn hold_stdin(mut self) -> Self {
        self.input = Input::Held;
        self
    }

    /// A pipe that nobody reads, but that is not closed either.
    pub(crate) fn leave_stdout_unread(mut self) -> Self {
        self.output = Output::Unread;
        self
    }

    /// A pipe whose reader is gone, as of `| head -c0`.
    pub(crate) fn close_stdout(mut self) -> Self {
        self.output = Output::Closed;
        self
    }

    /// Output is counted and hashed, and not kept: [`Process::digest`].
    pub(crate) fn digest_stdout(mut self) -> Self {
        self.output = Output::Digested;
        self
    }

    /// Its stderr is a pipe that is full, and that nobody reads.
    pub(crate) fn fill_stderr(mut self) -> Self {
        self.stderr_full = true;
        self
    }

    pub(crate) fn start(mut self) -> Process {
        self.command.stdin(match self.input {
            Input::Nothing => Stdio::null(),
            Input::Bytes(_) | Input::Held => Stdio::piped(),
        });
        let closed;
        self.command.stderr(Stdio::piped());
        let full = self.stderr_full.then(full_pipe).map(|(reader, writer)| {
            self.command.stderr(writer);
            reader
        });
        if let Output::Closed = self.output {
            let (reader, writer) = std::io::pipe().expect("a pipe");
            drop(reader);
            closed = writer;
            self.command.stdout(closed);
        } else {
            self.command.stdout(Stdio::piped());
        }
        let began = clock::now();
        let mut child = self.command.spawn().expect("env starts");
        let stdin = child.stdin.take();
        let stdin = match self.input {
            Input::Bytes(bytes) => {
                // A process that stops reading closes the pipe, and that ends the thread.
                std::thread::spawn(move || stdin.map(|mut stdin| stdin.write_all(&bytes)));
                None
            }
            _ => stdin,
        };
        let stderr = Captured::of(child.stderr.take(), true);
        let (stdout, unread) = match self.output {
            Output::Captured => (Captured::of(child.stdout.take(), true), None),
            Output::Digested => (Captured::of(child.stdout.take(), false), None),
            _ => (Captured::of(None::<std::io::Empty>, true), child.stdout.take()),
        };
        Process {
            what: self.what,
            child,
            stdin,
            stdout,
            stderr,
            _unread: (unread, full),
            began,
            ended: None,
        }
    }

    /// Starts it and waits for its end.
    #[track_caller]
    pub(crate) fn run(self) -> Ended {
        self.start().wait()
    }
}

/// A process that runs. Dropping it kills and reaps it.
pub(crate) struct Process {
    what: String,
    child: Child,
    /// Its standard input, if the test holds it.
    pub(crate) stdin: Option<ChildStdin>,
    stdout: Captured,
    stderr: Captured,
    _unread: (Option<ChildStdout>, Option<PipeReader>),
    began: Moment,
    ended: Option<ExitStatus>,
}

impl Process {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has not ended.
    pub(crate) fn is_running(&mut self) -> bool {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().expect("a child of ours");
        }
        self.ended.is_none()
    }

    /// Sends a signal; not once it has ended, when its number may be another's.
    pub(crate) fn signal(&mut self, signal: Signal) {
        if self.is_running() {
            let pid = Pid::from_child(&self.child);
            kill_process(pid, signal).expect("a process of ours takes a signal");
        }
    }

    /// Waits until it has said this on stderr.
    #[track_caller]
    pub(crate) fn wait_for_stderr(&mut self, text: &str) {
        self.wait_until(&format!("{text:?} on stderr"), |process| {
            process.stderr.text().contains(text)
        });
    }

    /// Waits until it has written so many bytes to stdout.
    #[track_caller]
    pub(crate) fn wait_for_stdout(&mut self, bytes: usize) {
        self.wait_until(&format!("{bytes} bytes on stdout"), |process| {
            process.stdout.seen().count >= bytes
        });
    }

    #[track_caller]
    fn wait_until(&mut self, what: &str, holds: impl Fn(&Self) -> bool) {
        eventually(&format!("{}: {what}", self.what), || {
            let running = self.is_running();
            let seen = holds(self);
            assert!(
                seen || running || !self.stderr.is_complete(),
                "{} ended without {what}; it said:\n{}",
                self.what,
                self.stderr.text()
            );
            seen.then_some(())
        });
    }

    /// Waits for its end, and gives all that it said.
    #[track_caller]
    pub(crate) fn wait(mut self) -> Ended {
        let what = format!("the end of {}", self.what);
        let took = eventually(&what, || (!self.is_running()).then(|| clock::now().since(self.began)));
        eventually("its pipes' end", || {
            (self.stdout.is_complete() && self.stderr.is_complete()).then_some(())
        });
        let status = self.ended.unwrap_or_default();
        Ended {
            what: self.what.clone(),
            code: status
                .code()
                .unwrap_or_else(|| 128 + status.signal().unwrap_or_default()),
            stdout: std::mem::take(&mut self.stdout.seen().bytes),
            stderr: self.stderr.text(),
            took,
        }
    }

    /// Sends a signal and waits for its end; how long that took stands in [`Ended::took`].
    #[track_caller]
    pub(crate) fn end_by(mut self, signal: Signal) -> Ended {
        self.began = clock::now();
        self.signal(signal);
        self.wait()
    }

    /// XXH3 of its output so far, if it is not kept.
    pub(crate) fn digest(&self) -> u64 {
        self.stdout.seen().hash.digest()
    }

    /// The most memory that it has held so far (`VmHWM`), in KiB.
    pub(crate) fn peak_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let digits = line.map(|line| line.trim().trim_end_matches(" kB"));
        digits
            .and_then(|digits| digits.parse().ok())
            .expect("VmHWM of a process that runs")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- {} (pid {}) said:\n{}", self.what, self.pid(), self.stderr.text());
        }
        if self.is_running() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
