//! Starts a role: opens what it needs, runs it, and turns how it ended into an exit code. Errors are printed here, once.

use std::fmt::Display;
use std::sync::Arc;

use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::broadcast::{self, BroadcastError};
use crate::broker;
use crate::client::{self, ClientError};
use crate::exit::Exit;
use crate::local;
use crate::net::{self, Context, NetError};
use crate::options::{
    BroadcastOptions, BrokerOptions, ClientOptions, Handler, Office, PingOptions, Place, WorkerOptions,
};
use crate::ping::{self, PingError};
use crate::processor::Stay;
use crate::runtime::{self, HostLog, RuntimeDir, RuntimeError};
use crate::signals::Stop;
use crate::term::log::Log;
use crate::wires::{Ends, Found};
use crate::worker;

/// Filters the log of broker and worker, in tracing's notation; `info` if it is not set.
const LOG_VARIABLE: &str = "ZHIT_LOG";

/// `zhit broker`. `again` says what is asked of it when its layout is to be read again.
pub fn broker(options: &BrokerOptions, again: fn() -> Result<BrokerOptions, String>, stop: &Stop) -> Exit {
    let served = open(&options.place).map_err(Failure::from).and_then(|dir| {
        match options.office {
            Office::Dedicated(_) => log(),
            // Nobody looks at the terminal of the member that started it.
            Office::Elected => log_to(HostLog::open(dir.try_clone()?)?),
        }
        let context = Context::new()?;
        Ok(broker::serve(options, again, &dir, &context, stop)?)
    });
    exit("broker", served.map(|()| ended(stop)))
}

/// `zhit worker`. `again` says what is asked of it when its layout is to be read again.
pub fn worker(options: &WorkerOptions, again: fn() -> Result<WorkerOptions, String>, stop: &Stop) -> Exit {
    log();
    let served = Context::new()
        .map_err(Failure::from)
        .and_then(|context| Ok(worker::serve(options, || open(&options.place), again, &context, stop)?));
    exit("worker", served.map(|()| ended(stop)))
}

/// What a client needs whatever it is asked: libzmq's threads, and a socket.
#[derive(Debug)]
pub struct Ready(Result<Ends, NetError>);

/// For a process that is a client and nothing else. Call it before its first thread is spawned. It stays on one processor
/// until it is known to be more than a question and its answer.
pub fn prepare_client() -> Option<Stay> {
    net::prepare_short_life();
    Stay::here()
}

impl Ready {
    /// Starts libzmq. What goes wrong is said by the client.
    pub fn new() -> Self {
        Self(Context::small().and_then(|context| Ends::new(&context)))
    }
}

impl Default for Ready {
    fn default() -> Self {
        Self::new()
    }
}

/// What a client is to do, and what was there of its host when that was asked.
#[derive(Debug)]
pub struct Question {
    options: ClientOptions,
    found: Result<Found, RuntimeError>,
}

impl Question {
    /// Looks for the host's directory at once; what goes wrong is said by the client.
    pub fn new(options: ClientOptions) -> Self {
        let found = place(&options.place).and_then(Found::look);
        Self { options, found }
    }
}

/// `zhit client`.
pub fn client(question: Question, ready: Ready, stay: Option<Stay>, stop: &Stop) -> Exit {
    let ask = || Ok(client::run(question.options, ready.0?, question.found?, stay, stop)?);
    exit("client", ask())
}

/// `zhit client --local`.
pub fn local(options: ClientOptions, handler: Handler, stop: &Arc<Stop>) -> Exit {
    exit("client", local::run(options, handler, stop))
}

/// `zhit broadcast`.
pub fn broadcast(options: &BroadcastOptions, stop: &Stop) -> Exit {
    let ended = open(&options.place).map_err(Failure::from).and_then(|dir| {
        let context = Context::small()?;
        Ok(broadcast::run(options, &context, &dir, stop)?)
    });
    exit("broadcast", ended)
}

/// `zhit ping`.
pub fn ping(options: &PingOptions, stop: &Stop) -> Exit {
    let ended = open(&options.place).map_err(Failure::from).and_then(|dir| {
        let context = Context::small()?;
        Ok(ping::run(options, &context, &dir, stop)?)
    });
    exit("ping", ended)
}

/// How a broker or worker ended that did what it was asked: a second signal asks it to cut off what runs.
fn ended(stop: &Stop) -> Exit {
    if stop.stage() == 2 {
        Exit::of_signal(stop.signal())
    } else {
        Exit::Success
    }
}

/// Opens the host's runtime directory.
fn open(place: &Place) -> Result<RuntimeDir, RuntimeError> {
    RuntimeDir::open(&self::place(place)?)
}

fn place(place: &Place) -> Result<runtime::Place, RuntimeError> {
    runtime::Place::from_env(&place.cluster, &place.host)
}

/// Why a role did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "each variant is the error of its room")]
pub enum Failure {
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    #[error(transparent)]
    Net(#[from] NetError),
    #[error(transparent)]
    Broker(#[from] broker::BrokerError),
    #[error(transparent)]
    Worker(#[from] worker::WorkerError),
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error(transparent)]
    Ping(#[from] PingError),
    #[error(transparent)]
    Broadcast(#[from] BroadcastError),
    #[error(transparent)]
    Local(#[from] local::LocalError),
}

fn exit(role: &str, ended: Result<Exit, Failure>) -> Exit {
    ended.unwrap_or_else(|failure| {
        complain(role, &failure);
        Exit::Usage
    })
}

fn complain(role: &str, what: &dyn Display) {
    crate::term::style::error(&format_args!("{role}: {what}"));
}

/// What broker and worker do is logged to stderr.
fn log() {
    let screen = crate::term::style::Screen::stderr();
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(Log::default)
        .with_target(false)
        .with_ansi(screen.has_colour());
    // Only the first role of a process sets it.
    let _ = tracing_subscriber::registry()
        .with(lines.with_filter(filter()))
        .try_init();
}

/// What an elected broker does is logged to the host's log.
fn log_to(file: HostLog) {
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(move || file.clone())
        .with_target(false)
        .with_ansi(false);
    // As above.
    let _ = tracing_subscriber::registry()
        .with(lines.with_filter(filter()))
        .try_init();
}

fn filter() -> Targets {
    let wanted = std::env::var(LOG_VARIABLE).ok().and_then(|text| text.parse().ok());
    wanted.unwrap_or_else(|| Targets::new().with_default(LevelFilter::INFO))
}
