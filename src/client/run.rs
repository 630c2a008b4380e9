//! `zhit client`: one loop over stdin, the broker's socket and the writer, around the pure machine in `hit`.

use std::io;
use std::time::Duration;

use rustix::stdio::stdin;

use crate::clock;
use crate::eager::Eager;
use crate::exit::Exit;
use crate::gateway::in_turn;
use crate::hit::{Config, Hit, Hosts, Leave, Outbox};
use crate::net::{Interest, NetError, Poll, Waker};
use crate::options::{ClientOptions, Format, Input, Tenure};
use crate::processor::Stay;
use crate::protocol::limits::MESSAGES_PER_TURN_MAX;
use crate::protocol::message::WorkState;
use crate::protocol::route::Route;
use crate::protocol::status::Status;
use crate::protocol::time::Moment;
use crate::signals::Stop;
use crate::term::progress::Bar;
use crate::term::style::Screen;
use crate::wires::{ASK_MIN, Ends, Found, Reached, WireError, Wires, random_key};

use super::hold;
use super::input::Source;
use super::output::{Cost, Sink, Stream, Writer};
use super::printer::Printer;
use super::report;

/// The loop turns at least this often, so that a bar moves and a silence is noticed.
const TURN_MAX: Duration = Duration::from_millis(250);

/// A client that has its answer by then has stayed on one processor. It turns at least once more after that.
const STAYS_FOR: Duration = Duration::from_millis(3);

/// Why a client cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The host's directory, or the network.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// The network.
    #[error(transparent)]
    Net(#[from] NetError),
    /// Standard input.
    #[error("cannot read stdin: {0}; give requests as arguments, or redirect stdin from a readable file")]
    Stdin(io::Error),
    /// The kernel gives no random bytes.
    #[error("cannot choose a key: {0}")]
    Random(#[from] getrandom::Error),
}

/// The loop's own state.
struct Client {
    hit: Hit,
    wires: Wires,
    /// It stays on one processor until then.
    stay: Option<(Stay, Moment)>,
    eager: Eager,
    source: Source,
    printer: Printer,
    sink: Sink,
    slot: String,
    messages: Outbox,
    warned: bool,
    patience: Duration,
    /// What writing stdout ended with.
    broken: Option<io::Error>,
}

/// Runs the Hit and returns how it ended; everything that is to be said was said.
///
/// # Errors
/// [`ClientError`] when nothing could be tried.
pub fn run(
    mut options: ClientOptions,
    ends: Ends,
    home: Found,
    stay: Option<Stay>,
    stop: &Stop,
) -> Result<Exit, ClientError> {
    let asks = matches!((&options.tenure, &options.input), (Tenure::Own, Input::Arguments(_)));
    let stay = match stay {
        // Whatever is more than questions and their answers goes where the scheduler likes.
        Some(stay) if !asks => {
            stay.end();
            None
        }
        stay => stay,
    };
    let started_at = clock::now();
    let waker = Waker::new()?;
    stop.register(&waker);
    let quiet = options.timing.interval * options.timing.liveness;
    let hosts = hosts(&options);
    let wires = Wires::new(ends, home, std::mem::take(&mut options.others), quiet)?;
    if let Tenure::Hold(words) = &options.tenure {
        let words = words.clone();
        return hold::run(options, words, hosts, wires, stop, &waker);
    }
    let opens = options.tenure == Tenure::Open;
    let mut client = Client::new(started_at, options, hosts, wires, waker.clone())?;
    client.stay = stay.map(|stay| (stay, started_at + STAYS_FOR));
    let ended = client.serve(stop, &waker)?;
    client.sink.bar.finish();
    Ok(match ended {
        Ended::Signal(signal) => {
            report::given_up(&client.hit);
            Exit::of_signal(signal)
        }
        Ended::Outcome => {
            let exit = report::conclude(
                &client.hit,
                &client.printer,
                client.broken.as_ref(),
                client.wires.home_socket(),
            );
            if exit == Exit::Success && opens {
                report::name(&client.hit)
            } else {
                exit
            }
        }
    })
}

/// Whom a client may ask: one that wants a Hit which is there already, its host alone.
fn hosts(options: &ClientOptions) -> Hosts {
    let here = &options.place.host;
    Hosts {
        here: here.clone(),
        others: in_turn(here, &options.others).map(|(host, _)| host.clone()).collect(),
        only: match &options.tenure {
            Tenure::Use(name) | Tenure::Close(name) => Some(name.host.clone()),
            Tenure::Own | Tenure::Open | Tenure::Hold(_) => None,
        },
    }
}

/// Why the loop ended.
enum Ended {
    Outcome,
    Signal(i32),
}

impl Client {
    fn new(
        started_at: Moment,
        options: ClientOptions,
        hosts: Hosts,
        wires: Wires,
        waker: Waker,
    ) -> Result<Self, ClientError> {
        let key = match &options.tenure {
            Tenure::Use(name) | Tenure::Close(name) => name.key,
            Tenure::Own | Tenure::Open | Tenure::Hold(_) => random_key()?,
        };
        let attaches = matches!(options.tenure, Tenure::Use(_) | Tenure::Close(_));
        let leave = match options.tenure {
            Tenure::Own | Tenure::Close(_) => Leave::Close,
            Tenure::Open | Tenure::Use(_) | Tenure::Hold(_) => Leave::Detach,
        };
        let timing = options.timing;
        let exact = options.input == Input::Stdin;
        let source = Source::new(options.input);
        let config = Config {
            pool: options.pool,
            wait: options.wait.max(ASK_MIN),
            ttl: options.ttl,
            timeout: options.timeout,
            timeout_slack: timing.interval,
            interval: timing.interval,
            liveness: timing.liveness,
            one_shot: source.count() == Some(1) && options.tenure == Tenure::Own,
            leave,
            holder: None,
            routing: options.routing,
            hosts,
        };
        let json = options.format == Format::Json;
        Ok(Self {
            hit: if attaches {
                // Its number among those that attach; zero is the opener's.
                Hit::attach(started_at, key, random_key()?.number().max(1), config)
            } else {
                Hit::open(started_at, key, config)
            },
            wires,
            stay: None,
            eager: Eager::new(),
            source,
            printer: Printer::new(options.format, exact && !json, Screen::stderr().is_terminal()),
            sink: Sink {
                writer: Writer::new(waker),
                bar: Bar::new(options.progress, "client", clock::now()),
            },
            slot: String::new(),
            messages: Vec::new(),
            warned: false,
            patience: timing.patience,
            broken: None,
        })
    }

    fn serve(&mut self, stop: &Stop, waker: &Waker) -> Result<Ended, ClientError> {
        self.pump();
        loop {
            if stop.stage() > 0 {
                self.hit.abandon(&mut self.messages);
                self.send()?;
                return Ok(Ended::Signal(stop.signal()));
            }
            self.receive()?;
            self.deliver();
            let now = clock::now();
            if let Some((stay, _)) = self.stay.take_if(|(_, until)| *until <= now) {
                stay.end();
            }
            self.hit.on_tick(now, &mut self.messages);
            self.tend_direct()?;
            self.send()?;
            self.warn_of_hung();
            self.tell_of_predecessor();
            if self.hit.outcome().is_some() && (self.sink.writer.is_idle() || self.broken.is_some()) {
                return Ok(Ended::Outcome);
            }
            self.wait(waker)?;
        }
    }

    fn receive(&mut self) -> Result<(), ClientError> {
        // The slot's own words before the broker's: that it has died is said of one that may have answered before.
        for route in [Route::Direct, Route::Broker] {
            for _ in 0..MESSAGES_PER_TURN_MAX {
                let Some(message) = self.wires.recv(route)? else { break };
                self.hit.on_message(clock::now(), route, message, &mut self.messages);
                self.send()?;
            }
        }
        if self.slot.is_empty()
            && let Some((host, slot)) = self.hit.slot()
        {
            self.slot = format!("{host}/{slot}");
        }
        Ok(())
    }

    /// Hands replies to the writer, and opens credit for what it has written.
    fn deliver(&mut self) {
        let now = clock::now();
        while let Some(piece) = self.hit.next_reply() {
            self.sink.bar.received(piece.bytes.len() as u64);
            self.printer.on_piece(now, piece, &self.slot, &mut self.sink);
        }
        self.printer.flush(&mut self.sink);
        match self.sink.writer.written() {
            Ok(cost) => {
                self.hit.consumed(cost.bytes, false);
                (0..cost.ends).for_each(|_| self.hit.consumed(0, true));
            }
            Err(error) => {
                self.hit.abandon(&mut self.messages);
                self.broken = Some(error);
            }
        }
        self.pump();
        let work = self.hit.work();
        let progress = work.and_then(|work| work.progress.as_ref());
        let said = progress.map(|said| (said.done, said.total, said.note.as_str()));
        self.sink.bar.work(now, work.map_or(0, |work| work.seq), said);
        self.sink.bar.tick(now);
    }

    fn pump(&mut self) {
        let now = clock::now();
        let from = self.hit.seq();
        let written = self.source.pump(now, &mut self.hit);
        (from..=self.hit.seq()).for_each(|seq| self.printer.on_request(now, seq));
        self.sink.bar.sent(written);
    }

    fn send(&mut self) -> Result<(), ClientError> {
        self.wires.follow(self.hit.host())?;
        while !self.messages.is_empty() {
            for (route, message) in std::mem::take(&mut self.messages) {
                if !self.wires.send(route, &message)? {
                    let now = clock::now();
                    self.hit.on_no_route(now, route, &message, &mut self.messages);
                }
            }
        }
        Ok(())
    }

    /// Connects to the slot itself, once the Hit wants that.
    fn tend_direct(&mut self) -> Result<(), ClientError> {
        let Some(endpoint) = self.hit.direct_endpoint() else {
            return Ok(());
        };
        match self.wires.reach(endpoint)? {
            Reached::Yes => self.hit.on_direct_route(clock::now()),
            Reached::NotYet => {}
            Reached::Never => self.hit.on_direct_impossible(&mut self.messages),
        }
        Ok(())
    }

    /// Says what became of a request that the client before left behind (rule O8).
    fn tell_of_predecessor(&mut self) {
        let left = self.hit.take_left();
        let Some(what) = left.and_then(|(left, first)| report::left_behind(left, first)) else {
            return;
        };
        let text = format!("zhit: client: {what}\n");
        self.sink.write(Stream::Err, text.into(), Cost::default());
    }

    /// Says once, each time, that the slot hangs (rule A2). That ends nothing: the user, or a deadline, does.
    fn warn_of_hung(&mut self) {
        let silence = self
            .hit
            .silence(clock::now())
            .filter(|silence| *silence >= self.patience);
        let hung = self.hit.hung_handler();
        if silence.is_none() && hung.is_none() {
            self.warned = false;
        } else if !self.warned {
            self.warned = true;
            let slot = &self.slot;
            let what = match (silence, hung) {
                (Some(silence), _) => format!("{slot} has been silent for {} s", silence.as_secs()),
                (None, Some(WorkState::Stalled)) => {
                    let patience = humantime::format_duration(self.patience);
                    format!("the handler on {slot} reported progress before, and none for {patience}")
                }
                (None, _) => format!("the handler on {slot} is stopped (kill -CONT continues it)"),
            };
            let text = format!("zhit: client: {what}; waiting for it (^C gives up)\n");
            self.sink.write(Stream::Err, text.into(), Cost::default());
        }
    }

    fn wait(&mut self, waker: &Waker) -> Result<(), ClientError> {
        let now = clock::now();
        let timeout = self
            .hit
            .next_deadline()
            .map_or(TURN_MAX, |at| at.since(now).min(TURN_MAX));
        let stays = self.stay.as_ref().map_or(TURN_MAX, |(_, until)| until.since(now));
        let timeout = timeout.min(stays);
        let input = stdin();
        let mut poll = Poll::new();
        let keys = self.wires.wait_for(&mut poll, self.hit.direct_endpoint().is_some());
        let woken = poll.fd(waker, Interest::READ);
        let wants = self.source.wants_stdin(&self.hit);
        let stdin_key = poll.fd(&input, Interest::READ.when(wants));
        let expects = self.hit.outcome().is_none() && self.hit.is_outstanding();
        let ready = self.eager.wait(poll, timeout, expects)?;
        if ready.readable(woken) {
            waker.drain();
        }
        if self.wires.has_found_broker(&ready, keys) {
            self.hit.on_route(clock::now());
        }
        // Nothing wakes who listens on a connection that has ended.
        if self.hit.is_direct() && ready.is_empty() && self.wires.has_lost_direct() {
            self.hit.on_direct_lost(clock::now());
        }
        if wants && ready.readable(stdin_key) {
            self.source.read_stdin(&self.hit).map_err(ClientError::Stdin)?;
        }
        Ok(())
    }
}

/// The exit code of the worst status.
pub(super) const fn exit_of(status: Status) -> Exit {
    match status {
        Status::Ok => Exit::Success,
        Status::Deadline => Exit::Deadline,
        Status::Exit(_) | Status::Signal(_) | Status::NotStarted | Status::Refused | Status::Cancelled => {
            Exit::HandlerFailed
        }
    }
}
