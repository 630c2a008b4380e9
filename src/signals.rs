//! Signals: the main thread takes them, and tells the role's threads through a [`Stop`].
//!
//! All other threads are spawned with signals blocked, so that no call of theirs is interrupted. The first SIGINT,
//! SIGTERM or (where it means end) SIGHUP asks the role to end well, the second to end now. SIGQUIT and the rest keep
//! their defaults, but SIGPIPE: a broken pipe is an error of the write.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsRawFd as _, IntoRawFd as _};
use std::panic;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU8, AtomicU32, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use rustix::fs::{Mode, OFlags};
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGPIPE, SIGTERM};
use signal_hook::iterator::{Handle, Signals};

use crate::net::Waker;

/// After the second signal a role has this long to kill what it started and to take its files away.
const STOP_NOW: Duration = Duration::from_millis(200);

/// More than /proc/self/stat ever has: 52 numbers and the name of a command.
const STAT_BYTES_MAX: usize = 2048;

/// What a thread raises by its own fault. Blocked, they would kill the process without the runtime's message.
const FAULTS: [Signal; 7] = [
    Signal::SIGSEGV,
    Signal::SIGBUS,
    Signal::SIGFPE,
    Signal::SIGILL,
    Signal::SIGTRAP,
    Signal::SIGABRT,
    Signal::SIGSYS,
];

/// What SIGHUP means to a role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hangup {
    /// The terminal is gone: end.
    End,
    /// Read the layout again.
    Reload,
}

impl Hangup {
    /// What it means to a broker or a worker: with a controlling terminal, that this has gone.
    pub fn of_server() -> Self {
        // The kernel opens /dev/tty for those who have a controlling terminal only (tty(4)).
        if File::open("/dev/tty").is_ok() {
            Self::End
        } else {
            Self::Reload
        }
    }
}

/// Why a role gave no result.
#[derive(Debug, thiserror::Error)]
pub enum Unfinished {
    /// It could not be started.
    #[error("cannot start: {0}")]
    Start(#[from] io::Error),
    /// It did not end in time after the second signal, which is this one. Its thread still runs: exit with 128 + n.
    #[error("stopped by signal {0}")]
    Signalled(i32),
}

/// Whether and how the role is to end. Shared by its threads.
#[derive(Debug, Default)]
pub struct Stop {
    stage: AtomicU8,
    signal: AtomicI32,
    reloads: AtomicU32,
    wakers: Mutex<Vec<Waker>>,
}

impl Stop {
    /// 0: go on. 1: take no new work, finish what runs, say goodbye. 2: stop now.
    pub fn stage(&self) -> u8 {
        self.stage.load(Ordering::Acquire)
    }

    /// The first signal's number; 0 before it.
    pub fn signal(&self) -> i32 {
        self.signal.load(Ordering::Acquire)
    }

    /// Has the waker woken at each further stage, and at once if one was reached already.
    pub fn register(&self, waker: &Waker) {
        self.wakers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(waker.clone());
        if self.stage() > 0 {
            waker.wake();
        }
    }

    /// Goes to the next stage, as a signal does.
    pub fn raise(&self, signal: i32) {
        // Only the first is kept.
        let _ = self
            .signal
            .compare_exchange(0, signal, Ordering::AcqRel, Ordering::Acquire);
        let next = |stage: u8| Some((stage + 1).min(2));
        // The function never refuses.
        let _ = self.stage.fetch_update(Ordering::AcqRel, Ordering::Acquire, next);
        self.wake();
    }

    /// How often the role was asked to read its layout again.
    pub fn reloads(&self) -> u32 {
        self.reloads.load(Ordering::Acquire)
    }

    /// Asks it to.
    pub fn reload(&self) {
        self.reloads.fetch_add(1, Ordering::AcqRel);
        self.wake();
    }

    fn wake(&self) {
        for waker in self.wakers.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            waker.wake();
        }
    }
}

/// Makes the process fit to run: standard input, output and error are open, if only on /dev/null, so that no socket ever
/// has their numbers; and a write to a closed pipe is an error, not the end. Call it first of all.
///
/// # Errors
/// When /dev/null cannot be opened, or the signal not be taken.
pub fn prepare_process() -> io::Result<()> {
    loop {
        // The lowest free number is taken. Not close-on-exec: what we start needs the three as well.
        let null = rustix::fs::open("/dev/null", OFlags::RDWR, Mode::empty())?;
        if null.as_raw_fd() > 2 {
            break;
        }
        // Kept open to the process's end.
        let _ = null.into_raw_fd();
    }
    // Taken rather than ignored: programs that we start do not inherit it. Nobody looks at the flag.
    signal_hook::flag::register(SIGPIPE, Arc::new(AtomicBool::new(false))).map(drop)
}

/// Runs a role on a thread of its own and takes the signals meanwhile. Call it on the main thread, before any other
/// thread is spawned.
///
/// A role that ends within 200 ms of the second signal still gives its result.
///
/// # Errors
/// [`Unfinished`].
///
/// # Panics
/// When the role did.
pub fn run_role<T, F>(name: &str, hangup: Hangup, role: F) -> Result<T, Unfinished>
where
    T: Send + 'static,
    F: FnOnce(Arc<Stop>) -> T + Send + 'static,
{
    let signals = Signals::new(caught())?;
    let started = Started::new(name, &signals, role)?;
    started.take(signals, hangup)
}

/// The same, and this thread does its part of the role's start meanwhile; what it does must be short, for signals that
/// come are only taken once it is done.
///
/// # Errors
/// [`Unfinished`].
///
/// # Panics
/// When the role did.
pub fn run_role_beside<T, F>(name: &str, hangup: Hangup, role: F, meanwhile: impl FnOnce()) -> Result<T, Unfinished>
where
    T: Send + 'static,
    F: FnOnce(Arc<Stop>) -> T + Send + 'static,
{
    // The role's thread comes first, since it takes longest to begin. Signals that come before there is somebody to take
    // them wait: no other thread is there that could.
    let before = block()?;
    let signals = Signals::new([0_i32; 0])?;
    let started = Started::new(name, &signals, role)?;
    meanwhile();
    for signal in caught() {
        signals.add_signal(signal)?;
    }
    before.thread_set_mask().map_err(io::Error::from)?;
    started.take(signals, hangup)
}

/// A role that runs.
struct Started<T> {
    stop: Arc<Stop>,
    thread: JoinHandle<T>,
    /// Disconnected at its end.
    finished: mpsc::Receiver<()>,
}

impl<T: Send + 'static> Started<T> {
    fn new<F>(name: &str, signals: &Signals, role: F) -> io::Result<Self>
    where
        F: FnOnce(Arc<Stop>) -> T + Send + 'static,
    {
        let (done, finished) = mpsc::channel();
        let end = RoleEnd {
            signals: signals.handle(),
            _done: done,
        };
        let stop = Arc::new(Stop::default());
        let theirs = Arc::clone(&stop);
        let thread = spawn(name, move || {
            let _end = end;
            role(theirs)
        })?;
        Ok(Self { stop, thread, finished })
    }

    /// Takes signals until it ends.
    fn take(self, mut signals: Signals, hangup: Hangup) -> Result<T, Unfinished> {
        for signal in signals.forever() {
            if signal == SIGHUP && hangup == Hangup::Reload {
                self.stop.reload();
                continue;
            }
            self.stop.raise(signal);
            if self.stop.stage() == 2 && self.finished.recv_timeout(STOP_NOW) == Err(RecvTimeoutError::Timeout) {
                return Err(Unfinished::Signalled(signal));
            }
        }
        self.thread.join().or_else(|panicked| panic::resume_unwind(panicked))
    }
}

/// Ends the wait for signals when the role ends, even by a panic.
struct RoleEnd {
    signals: Handle,
    /// Its end tells the main thread, too.
    _done: mpsc::Sender<()>,
}

impl Drop for RoleEnd {
    fn drop(&mut self) {
        self.signals.close();
    }
}

/// Blocks all signals in this thread but its own faults; gives what was blocked before.
fn block() -> io::Result<SigSet> {
    let mut blocked = SigSet::all();
    for fault in FAULTS {
        blocked.remove(fault);
    }
    Ok(blocked.thread_swap_mask(SigmaskHow::SIG_BLOCK)?)
}

/// Spawns a thread that takes no signals. Threads that it spawns take none either.
///
/// # Errors
/// When the system has no room for another thread.
pub fn spawn<T, F>(name: &str, work: F) -> io::Result<JoinHandle<T>>
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    // Blocked here, around the spawn, so that the thread has not a single moment without.
    let before = block()?;
    let thread = thread::Builder::new().name(name.to_owned()).spawn(work);
    before.thread_set_mask()?;
    thread
}

/// Does `work` with no signal blocked in this thread: for what may take long before there is anything to end well; and for
/// spawning a process, which inherits what is blocked, and could not be asked to end by SIGTERM.
///
/// # Errors
/// Those of `work`.
pub fn unblocked<T>(work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let before = SigSet::empty().thread_swap_mask(SigmaskHow::SIG_SETMASK)?;
    let result = work();
    before.thread_set_mask()?;
    result
}

/// Has the kernel keep the exit status of children, which it throws away for a process that was started with SIGCHLD
/// ignored.
///
/// # Errors
/// What the system says.
pub fn keep_children() -> io::Result<()> {
    // Any handler will do; nobody looks at the flag.
    signal_hook::flag::register(SIGCHLD, Arc::new(AtomicBool::new(false))).map(drop)
}

/// The signals that we take. Those that were ignored from the start stay so, as `nohup` and a shell's `&` want it;
/// except SIGTERM, so that nobody ever needs `kill -9`.
fn caught() -> Vec<i32> {
    let ignored = ignored_at_start().unwrap_or(0);
    [SIGTERM, SIGINT, SIGHUP]
        .into_iter()
        .filter(|signal| *signal == SIGTERM || ignored >> (signal - 1) & 1 == 0)
        .collect()
}

/// The set of ignored signals, signal n as bit n - 1, without the real-time ones: field 33 of /proc/self/stat (proc(5)),
/// a file that the kernel writes in a fifth of the time that `status` takes.
fn ignored_at_start() -> Option<u64> {
    let mut stat = [0; STAT_BYTES_MAX];
    let length = File::open("/proc/self/stat")
        .and_then(|mut file| file.read(&mut stat))
        .ok()?;
    let stat = str::from_utf8(stat.get(..length)?).ok()?;
    // The second field is the command in parentheses, and may hold anything.
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_ascii_whitespace().nth(33 - 3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use nix::sys::signal::kill;
    use nix::unistd::Pid;

    use super::*;
    use crate::net::{Interest, Poll};

    fn woken(waker: &Waker) -> bool {
        let mut poll = Poll::new();
        let key = poll.fd(waker, Interest::READ);
        let woken = poll.wait(Some(Duration::from_secs(20))).unwrap().readable(key);
        waker.drain();
        woken
    }

    #[test]
    fn stop_goes_through_its_stages_and_wakes() {
        let (stop, early, late) = (Stop::default(), Waker::new().unwrap(), Waker::new().unwrap());
        stop.register(&early);
        assert_eq!((stop.stage(), stop.signal()), (0, 0));
        stop.raise(SIGTERM);
        assert_eq!((stop.stage(), stop.signal()), (1, SIGTERM));
        assert!(woken(&early));
        stop.register(&late);
        assert!(woken(&late), "who comes late is told at once");
        stop.raise(SIGINT);
        stop.raise(SIGINT);
        assert_eq!((stop.stage(), stop.signal()), (2, SIGTERM));
        assert!(woken(&early));
    }

    /// One test for all that sends signals: they reach every `run_role` of the process.
    #[test]
    fn signals_reach_the_role_and_its_end_ends_the_wait() {
        assert_eq!(run_role("quiet", Hangup::End, |_| 7).unwrap(), 7);

        // `raise` is a call to this process, so the signal comes by way of the handler.
        let send = |signal| kill(Pid::this(), signal).unwrap();
        let ended = run_role("polite", Hangup::Reload, move |stop| {
            let waker = Waker::new().unwrap();
            stop.register(&waker);
            send(Signal::SIGHUP);
            // Who was started by nohup ignores it, and so do we.
            let takes_it = caught().contains(&SIGHUP);
            assert!(!takes_it || woken(&waker));
            let after_hangup = (stop.reloads() == u32::from(takes_it), stop.stage());
            send(Signal::SIGTERM);
            assert!(woken(&waker));
            (after_hangup, (stop.stage(), stop.signal()))
        });
        assert_eq!(ended.unwrap(), ((true, 0), (1, SIGTERM)));

        let (hold, wait) = mpsc::channel::<()>();
        let stuck = run_role("stuck", Hangup::End, move |stop| {
            let waker = Waker::new().unwrap();
            stop.register(&waker);
            send(Signal::SIGTERM);
            assert!(woken(&waker));
            send(Signal::SIGTERM);
            wait.recv().ok()
        });
        assert!(matches!(stuck, Err(Unfinished::Signalled(SIGTERM))));
        drop(hold);

        let panicked = panic::catch_unwind(|| run_role("broken", Hangup::End, |_| panic!("on purpose")));
        assert!(panicked.is_err());
    }

    #[test]
    fn threads_block_signals_and_their_children_do_not() {
        let blocked = |spawn: fn(&mut Command) -> io::Result<std::process::Output>| {
            let output = spawn(Command::new("grep").args(["SigBlk", "/proc/self/status"])).unwrap();
            let text = String::from_utf8(output.stdout).unwrap();
            u64::from_str_radix(text.trim_start_matches("SigBlk:").trim(), 16).unwrap()
        };
        let thread = spawn("blocked", move || {
            let mask = SigSet::thread_get_mask().unwrap();
            assert!(mask.contains(Signal::SIGTERM) && mask.contains(Signal::SIGINT) && !mask.contains(Signal::SIGSEGV));
            assert_eq!(blocked(|command| unblocked(|| command.output())), 0);
            assert!(SigSet::thread_get_mask().unwrap().contains(Signal::SIGTERM));
            println!("without `unblocked` a child has {:x} blocked", blocked(Command::output));
        });
        thread.unwrap().join().unwrap();
    }
}
