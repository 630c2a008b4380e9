//! `zhit client --hold -- CMD`: leases a Hit for as long as a command runs, whose own clients use it.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, ExitStatus};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::clock;
use crate::exit::Exit;
use crate::hit::{Config, Hit, Hosts, Leave, Outbox};
use crate::mapped::spawn;
use crate::net::{Interest, Poll, Waker};
use crate::options::ClientOptions;
use crate::protocol::limits::MESSAGES_PER_TURN_MAX;
use crate::protocol::message::Holder;
use crate::protocol::route::{Route, Routing};
use crate::protocol::time::Moment;
use crate::runtime::start_ticks;
use crate::signals::{self, Stop};
use crate::term::style;
use crate::wires::{ASK_MIN, Wires, random_key};

use super::report;
use super::run::ClientError;

/// Names the Hit for the command's own clients.
const HIT_VARIABLE: &str = "ZHIT_HIT";

/// A loop of the client turns at least this often.
const TURN_MAX: std::time::Duration = std::time::Duration::from_millis(250);

/// Exit codes of a command that is not there, and of one that cannot be started.
const NOT_FOUND: u8 = 127;
const NOT_STARTED: u8 = 126;

/// What an exit code is that the kernel does not tell.
const LOST_EXIT: u8 = 255;

/// The command.
struct Running {
    child: Child,
    pidfd: OwnedFd,
    /// The stages of stopping that it was told of.
    told: u8,
}

/// The loop's own state.
struct Holding {
    hit: Hit,
    wires: Wires,
    messages: Outbox,
    words: Vec<OsString>,
    command: Option<Running>,
}

/// Holds a Hit while the command runs, and ends as that does.
///
/// # Errors
/// [`ClientError`].
pub(super) fn run(
    options: ClientOptions,
    words: Vec<OsString>,
    hosts: Hosts,
    wires: Wires,
    stop: &Stop,
    waker: &Waker,
) -> Result<Exit, ClientError> {
    let now = clock::now();
    let pid = std::process::id();
    let config = Config {
        pool: options.pool,
        wait: options.wait.max(ASK_MIN),
        ttl: options.ttl,
        timeout: options.timeout,
        timeout_slack: options.timing.interval,
        interval: options.timing.interval,
        liveness: options.timing.liveness,
        one_shot: false,
        leave: Leave::Hold,
        holder: Some(Holder {
            pid,
            start_ticks: start_ticks(pid).unwrap_or(0),
        }),
        // It only keeps the Hit.
        routing: Routing::Broker,
        hosts,
    };
    let mut hit = Hit::open(now, random_key()?, config);
    // It asks nothing itself.
    hit.complete();
    let mut holding = Holding {
        hit,
        wires,
        messages: Vec::new(),
        words,
        command: None,
    };
    loop {
        if let Some(exit) = holding.turn(stop)? {
            return Ok(exit);
        }
        holding.wait(waker)?;
    }
}

impl Holding {
    /// One turn; gives the exit code at the end.
    fn turn(&mut self, stop: &Stop) -> Result<Option<Exit>, ClientError> {
        self.receive()?;
        self.hit.on_tick(clock::now(), &mut self.messages);
        self.send()?;
        if self.hit.is_held() && self.command.is_none() && stop.stage() == 0 {
            match self.start() {
                Ok(command) => self.command = Some(command),
                Err(error) => {
                    let program = self.words[0].to_string_lossy();
                    style::error(&format_args!("client: cannot start {program}: {error}"));
                    self.let_go()?;
                    // As env(1) and shells do.
                    let missing = error.kind() == io::ErrorKind::NotFound;
                    return Ok(Some(Exit::Command(if missing { NOT_FOUND } else { NOT_STARTED })));
                }
            }
        }
        let Some(command) = &mut self.command else {
            return self.turn_without_command(stop);
        };
        if let Some(status) = command.ended() {
            let lost = report::unfinished(&self.hit, self.wires.home_socket());
            self.let_go()?;
            return Ok(Some(lost.unwrap_or_else(|| exit_of(status))));
        }
        if self.hit.outcome().is_some() {
            // It works on what is not there any more.
            command.tell(1, Signal::TERM);
        }
        // The terminal's ^C reaches the command by itself, which may mind it or not.
        match (stop.stage(), stop.signal()) {
            (0, _) => {}
            (1, number) if number == Signal::INT.as_raw() => command.told = command.told.max(1),
            (1, number) => command.tell(1, Signal::from_named_raw(number).unwrap_or(Signal::TERM)),
            (_, number) => {
                command.tell(2, Signal::KILL);
                self.let_go()?;
                return Ok(Some(Exit::of_signal(number)));
            }
        }
        Ok(None)
    }

    /// There is no Hit yet, or none that a command could use.
    fn turn_without_command(&mut self, stop: &Stop) -> Result<Option<Exit>, ClientError> {
        if stop.stage() > 0 {
            self.hit.abandon(&mut self.messages);
            self.send()?;
            return Ok(Some(Exit::of_signal(stop.signal())));
        }
        Ok(report::unfinished(&self.hit, self.wires.home_socket()))
    }

    /// Starts the command in this terminal's foreground, as it would run without us.
    fn start(&self) -> io::Result<Running> {
        let (program, arguments) = self
            .words
            .split_first()
            .ok_or_else(|| io::Error::other("there is no command"))?;
        let name = report::name_of(&self.hit).map_or_else(String::new, |name| name.to_string());
        let mut command = Command::new(program);
        command.args(arguments).env(HIT_VARIABLE, name);
        spawn::end_with_this_thread(&mut command);
        let mut child = signals::unblocked(|| command.spawn())?;
        match pidfd_open(Pid::from_child(&child), PidfdFlags::empty()) {
            Ok(pidfd) => Ok(Running { child, pidfd, told: 0 }),
            Err(errno) => {
                // Without it nobody would notice its end.
                let _ = child.kill();
                let _ = child.wait();
                Err(errno.into())
            }
        }
    }

    fn receive(&mut self) -> Result<(), ClientError> {
        for _ in 0..MESSAGES_PER_TURN_MAX {
            let Some(message) = self.wires.recv(Route::Broker)? else {
                break;
            };
            let now = clock::now();
            self.hit.on_message(now, Route::Broker, message, &mut self.messages);
            self.send()?;
        }
        Ok(())
    }

    fn send(&mut self) -> Result<(), ClientError> {
        self.wires.follow(self.hit.host())?;
        for (route, message) in std::mem::take(&mut self.messages) {
            if !self.wires.send(route, &message)? {
                self.hit.on_no_route(clock::now(), route, &message, &mut self.messages);
            }
        }
        Ok(())
    }

    fn let_go(&mut self) -> Result<(), ClientError> {
        self.hit.release(&mut self.messages);
        self.send()
    }

    fn wait(&mut self, waker: &Waker) -> Result<(), ClientError> {
        let now = clock::now();
        let due = self.hit.next_deadline().unwrap_or(Moment::ZERO);
        let timeout = if self.hit.outcome().is_some() {
            TURN_MAX
        } else {
            due.since(now).min(TURN_MAX)
        };
        let mut poll = Poll::new();
        let keys = self.wires.wait_for(&mut poll, false);
        let woken = poll.fd(waker, Interest::READ);
        if let Some(command) = &self.command {
            poll.fd(command, Interest::READ);
        }
        let ready = poll.wait(Some(timeout))?;
        if ready.readable(woken) {
            waker.drain();
        }
        if self.wires.has_found_broker(&ready, keys) {
            self.hit.on_route(clock::now());
        }
        Ok(())
    }
}

impl Running {
    fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Sends it a signal, once a stage.
    fn tell(&mut self, stage: u8, signal: Signal) {
        if self.told < stage {
            self.told = stage;
            // One that has ended needs no telling.
            let _ = pidfd_send_signal(&self.pidfd, signal);
        }
    }
}

impl AsFd for Running {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

fn exit_of(status: ExitStatus) -> Exit {
    match (status.code(), status.signal()) {
        (Some(0), _) => Exit::Success,
        (Some(code), _) => Exit::Command(u8::try_from(code).unwrap_or(LOST_EXIT)),
        (None, Some(signal)) => Exit::of_signal(signal),
        (None, None) => Exit::Command(LOST_EXIT),
    }
}
