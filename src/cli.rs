//! Every flag and its help, once: the parser, the completions and the man pages come from here. This is the only place
//! that knows clap; the roles get plain options.

mod convert;
#[cfg(test)]
mod tests;
mod texts;
mod values;

use std::ffi::OsString;
use std::io::IsTerminal as _;
use std::path::PathBuf;

use clap::builder::TypedValueParser;
use clap::{Args, CommandFactory as _, Parser, Subcommand};

pub use texts::{
    ENVIRONMENT, Example, FILES, FOLDED, HANDLER_CONTROL, HANDLER_ENVIRONMENT, HOPS, TROUBLED, captures, examples,
};
use values::{Span, batch, choice, interval, name, span, span_or_zero, ttl};

use crate::builtin::Builtin;
use crate::options::{
    Batch, BroadcastOptions, BrokerOptions, ClientOptions, Format, Framing, HitName, PingOptions, Progress,
    ReportFormat, SLOTS_MAX, Target, WorkerOptions,
};
use crate::protocol::limits;
use crate::protocol::route::Routing;

/// What was asked for on the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Route on this host.
    Broker(BrokerOptions),
    /// Serve.
    Worker(WorkerOptions),
    /// Ask.
    Client(ClientOptions),
    /// Ask everybody.
    Broadcast(BroadcastOptions),
    /// See who is there.
    Ping(PingOptions),
}

/// Reads the command line. Ends the process after help and version (0) and on a usage error (2), as clap does.
pub fn parse() -> Command {
    convert::parse_from(std::env::args_os(), std::io::stdin().is_terminal()).unwrap_or_else(|error| error.exit())
}

/// Whether this is the command line of a client that is nothing else besides: what follows depends on the rest, but it
/// needs libzmq in any case, unless it is wrong.
pub fn only_asks() -> bool {
    let mut words = std::env::args_os().skip(1);
    words.next().is_some_and(|word| word == "client") && !words.any(|word| word == "--local")
}

/// What the command line of this process, a broker's, asks for now: its layout may say something else than it did.
///
/// # Errors
/// What is wrong with it, in words.
pub fn broker_again() -> Result<BrokerOptions, String> {
    match convert::parse_again(std::env::args_os()) {
        Ok(Command::Broker(options)) => Ok(options),
        Ok(_) => Err("this is no broker's command line".to_owned()),
        Err(error) => Err(convert::what_is_wrong(&error)),
    }
}

/// What the command line of this process, a worker's, asks for now: its layout may say something else than it did.
///
/// # Errors
/// What is wrong with it, in words.
pub fn worker_again() -> Result<WorkerOptions, String> {
    match convert::parse_again(std::env::args_os()) {
        Ok(Command::Worker(options)) => Ok(options),
        Ok(_) => Err("this is no worker's command line".to_owned()),
        Err(error) => Err(convert::what_is_wrong(&error)),
    }
}

/// The table of flags, for completions and man pages.
pub fn command() -> clap::Command {
    Cli::command()
}

/// Where help shows the flags that say when silence means something: after those of the command.
const TIMING_LATE: usize = 100;

/// Where help shows the flags that every command has: last.
const PLACE_LAST: usize = 200;

/// Leases one worker thread to a client for a whole unit of work
///
/// A Hit is a unit of work that stays on one thread: zhit leases a slot, one thread of a worker, to a client, and each
/// request of the Hit runs there, in order. Brokers route on a host, workers serve, clients ask.
#[derive(Debug, Parser)]
#[command(
    name = "zhit",
    version,
    propagate_version = true,
    after_help = texts::after_help("zhit"),
    after_long_help = texts::after_long_help()
)]
struct Cli {
    #[command(flatten)]
    place: PlaceArgs,
    #[command(subcommand)]
    role: Role,
}

#[derive(Debug, Args)]
struct PlaceArgs {
    /// Name of this host [default: the hostname]
    #[arg(long, global = true, display_order = PLACE_LAST, value_name = "NAME", env = "ZHIT_HOST", hide_env_values = true, value_parser = name)]
    host: Option<String>,
    /// Name of the cluster [default: the layout's, or "default"]
    #[arg(long, global = true, display_order = PLACE_LAST, value_name = "NAME", value_parser = name)]
    cluster: Option<String>,
    /// Layout of the cluster: hosts, pools, timing [default: ~/.config/zhit/layout.yaml or /etc/zhit/layout.yaml, if there]
    #[arg(long, global = true, display_order = PLACE_LAST, value_name = "FILE", env = "ZHIT_LAYOUT", hide_env_values = true)]
    layout: Option<PathBuf>,
}

// Deferred: of one command's flags only those of that command are ever made.
#[derive(Debug, Subcommand)]
#[command(defer = true)]
enum Role {
    /// Route between the clients and workers of this host
    ///
    /// You rarely need this: a worker that finds no broker on its host starts one, which leaves when the last worker has. One
    /// that is started by hand replaces it, and stays until it is told to stop. One broker serves a host at a time. It
    /// keeps no work of its own: when it ends, however it ends, the workers elect the next, and running Hits go on.
    #[command(after_help = texts::after_help("broker"))]
    Broker(BrokerArgs),
    /// Serve requests with a program or a builtin
    ///
    /// CMD is executed as it is, once per request: the body on its stdin, the reply from its stdout, its exit status
    /// for success. Each slot is one thread and serves one Hit at a time.
    #[command(after_help = texts::after_help("worker"))]
    Worker(WorkerArgs),
    /// Ask: one Hit, its replies on stdout in order
    ///
    /// Each REQUEST is one request of the same Hit; without any, all of stdin is one request. stdout carries replies
    /// only: exact bytes for stdin, one newline at the end of each for arguments and --lines.
    #[command(after_help = texts::after_help("client"))]
    Client(ClientArgs),
    /// Ask every worker of a pool, and know when the last living one has answered
    ///
    /// Each worker runs its --on-broadcast CMD once, with the request on stdin, beside its slots: it waits for no Hit. A
    /// worker without one ignores the request, answers with its statistics, and counts as ok. It ends as soon as everybody
    /// has answered or is known not to: who hangs, has died, has left or is not reached is named, with the evidence. The
    /// last line counts all of them: expected = ok + failed + …
    #[command(after_help = texts::after_help("broadcast"))]
    Broadcast(BroadcastArgs),
    /// Show who is there: broker, workers, slots, round-trip times
    #[command(after_help = texts::after_help("ping"))]
    Ping(PingArgs),
}

#[derive(Debug, Args)]
struct TimingArgs {
    /// Period of heartbeats between broker and workers [default: the layout's, or 1s]
    #[arg(long, value_name = "D", value_parser = interval)]
    #[arg(hide_short_help = true, display_order = TIMING_LATE)]
    interval: Option<Span>,
    /// Heartbeats that may be missed before the other counts as silent, and gets no further Hits [default: the layout's, or 3]
    #[arg(long, value_name = "N")]
    #[arg(hide_short_help = true, display_order = TIMING_LATE, value_parser = clap::value_parser!(u32).range(1..=1000))]
    liveness: Option<u32>,
    /// While something is asked: silence after which whoever is asked counts as hung or not reached [default: the layout's, or 5s]
    #[arg(long, value_name = "D", value_parser = span)]
    #[arg(hide_short_help = true, display_order = TIMING_LATE)]
    patience: Option<Span>,
}

#[derive(Debug, Args)]
struct BrokerArgs {
    /// Replace a broker that was started by hand, too: ask it to leave
    #[arg(long)]
    takeover: bool,
    /// With --takeover: kill it instead of asking
    #[arg(long, requires = "takeover")]
    force: bool,
    /// Started by a worker
    #[arg(long, hide = true, conflicts_with = "takeover")]
    elected: bool,
    /// The highest term that the worker has heard of
    #[arg(long, hide = true, value_name = "TERM", default_value_t = 0, requires = "elected")]
    heard: u64,
    /// On SIGTERM, let running Hits finish for this long, if no worker is there that would elect the next broker
    #[arg(long, value_name = "D", default_value_t = Span(limits::GRACE), value_parser = span_or_zero)]
    grace: Span,
    #[command(flatten)]
    timing: TimingArgs,
}

#[derive(Debug, Args)]
struct WorkerArgs {
    /// Pool to serve in
    #[arg(long, value_name = "NAME", default_value = "default", value_parser = name)]
    pool: String,
    /// Threads, each of which serves one Hit at a time [default: the layout's, or 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=SLOTS_MAX.into()))]
    slots: Option<u32>,
    /// On SIGTERM, let running requests finish for this long; a handler whose deadline passed has as long before SIGKILL [default: the layout's, or 10s]
    #[arg(long, value_name = "D", value_parser = span_or_zero)]
    grace: Option<Span>,
    /// Serve with this handler instead of a program [default: what the layout's pool says, or hello, which answers World]
    #[arg(long, value_name = "NAME", value_parser = builtin(), conflicts_with = "cmd")]
    builtin: Option<Builtin>,
    /// Run CMD once per Hit and ask it one request after the other; how they are delimited on its stdin and stdout
    #[arg(long, value_name = "HOW", value_parser = framing(), requires = "cmd", conflicts_with = "builtin")]
    framing: Option<Framing>,
    /// Keep so many of them started ahead on each slot, so that no Hit waits for one to start; needs --framing
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=limits::WARM_MAX.into()), requires = "framing")]
    warm: u32,
    /// Text for /bin/sh -c that answers each broadcast, beside the slots [default: statistics, whatever is asked]
    #[arg(long, value_name = "CMD", value_parser = values::shell_text())]
    on_broadcast: Option<OsString>,
    #[command(flatten)]
    timing: TimingArgs,
    /// Program and arguments to run for each request
    #[arg(last = true, value_name = "CMD")]
    cmd: Vec<OsString>,
}

#[derive(Debug, Args)]
struct ClientArgs {
    /// Requests of this Hit, the texts themselves (no file names); without any, stdin is one
    #[arg(value_name = "REQUEST")]
    requests: Vec<OsString>,
    /// Take each line of stdin as a request
    #[arg(long, conflicts_with = "requests")]
    lines: bool,
    /// Run broker and worker inside this command
    #[arg(long)]
    local: bool,
    /// Handler for --local [default: hello]
    #[arg(long, value_name = "NAME", value_parser = builtin(), requires = "local", conflicts_with = "handler")]
    builtin: Option<Builtin>,
    /// Handler for --local: a text for /bin/sh -c, run for each request
    #[arg(long, value_name = "CMD", value_parser = values::shell_text(), requires = "local")]
    handler: Option<OsString>,
    /// Run the --handler once per Hit; how requests and replies are delimited on its stdin and stdout
    #[arg(long, value_name = "HOW", value_parser = framing(), requires = "handler")]
    framing: Option<Framing>,
    /// Pool to ask [default: the layout's, or "default"]
    #[arg(long, value_name = "NAME", value_parser = name)]
    pool: Option<String>,
    /// Wait this long for a broker and a slot [default: the layout's, or 5s]
    #[arg(long, value_name = "D", value_parser = span_or_zero)]
    wait: Option<Span>,
    /// End each request that takes longer [default: the layout's, or none]
    #[arg(long, value_name = "D", value_parser = span)]
    timeout: Option<Span>,
    /// If this client vanishes, free the slot after this long [default: 15s; 10m with --open; 3s with --hold]
    #[arg(long, value_name = "D", value_parser = ttl)]
    ttl: Option<Span>,
    /// Which way requests and replies go
    #[arg(long, value_name = "ROUTE", default_value = "auto", value_parser = routing())]
    route: Routing,
    #[command(flatten)]
    tenure: TenureArgs,
    /// Print replies as they are, or one JSON object each, with its status, body, time and slot
    #[arg(long, value_name = "FORMAT", default_value = "text", value_parser = format())]
    format: Format,
    /// Draw a progress bar on stderr; auto: on a terminal, for what takes long
    #[arg(long, value_name = "WHEN", default_value = "auto", value_parser = progress())]
    progress: Progress,
    #[command(flatten)]
    timing: TimingArgs,
}

// Which Hit a client uses. (No doc comment: clap would take it as the command's own.)
#[derive(Debug, Args)]
struct TenureArgs {
    #[arg(help = "Hold a Hit while the command REQUEST… runs: each zhit client in it uses that Hit, by $ZHIT_HIT")]
    #[arg(long, help_heading = "Hits of several commands", conflicts_with_all = ["lines", "local", "open", "hit", "close"], requires = "requests")]
    hold: bool,
    /// Open a Hit for other commands and print its KEY; it waits for them, for its --ttl
    #[arg(long, help_heading = "Hits of several commands", conflicts_with_all = ["requests", "lines", "local", "hit", "close"])]
    open: bool,
    #[arg(help = "Use this Hit, as $ZHIT_HIT says too, and leave it to the next command")]
    #[arg(long, value_name = "KEY", help_heading = "Hits of several commands", conflicts_with_all = ["local", "close"])]
    hit: Option<HitName>,
    /// End this Hit
    #[arg(long, value_name = "KEY", help_heading = "Hits of several commands", conflicts_with_all = ["requests", "lines", "local"])]
    close: Option<HitName>,
}

#[derive(Debug, Args)]
struct BroadcastArgs {
    /// What everybody is asked; without it, all of stdin
    #[arg(value_name = "REQUEST")]
    request: Option<OsString>,
    /// Pool to ask [default: the layout's, or "default"]
    #[arg(long, value_name = "NAME", value_parser = name, conflicts_with = "all")]
    pool: Option<String>,
    /// Ask every pool
    #[arg(long)]
    all: bool,
    /// Only these: names as 'alpha/*' or 'alpha/w[1-8,12],beta', or @TAG for those that have this tag in the layout (man zhit-layout); may be repeated
    #[arg(long, value_name = "WHOM")]
    to: Vec<String>,
    /// Ask so many at a time, as 4 or 25%: the next when one has answered or is known not to
    #[arg(long, value_name = "BATCH", value_parser = batch)]
    batch: Option<Batch>,
    /// When so many have failed, hung, died, left or were not reached, skip the rest
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    stop_after: Option<u32>,
    #[command(flatten)]
    ending: EndingArgs,
    /// End it after this long, whoever is outstanding
    #[arg(long, value_name = "D", value_parser = span)]
    timeout: Option<Span>,
    /// Group identical replies, at the end, under the names of those who gave them
    #[arg(long)]
    fold: bool,
    /// How replies are told
    #[arg(long, value_name = "FORMAT", default_value = "text", value_parser = report_format())]
    format: ReportFormat,
    /// Draw a progress bar on stderr; auto: on a terminal, for what takes long
    #[arg(long, value_name = "WHEN", default_value = "auto", value_parser = progress())]
    progress: Progress,
    /// Write a job log with GNU parallel's columns
    #[arg(long, value_name = "FILE")]
    joblog: Option<PathBuf>,
    #[command(flatten)]
    timing: TimingArgs,
}

// When a broadcast counts as done well. (No doc comment: as above.)
#[derive(Debug, Args)]
struct EndingArgs {
    /// Be content if nobody is there to be asked
    #[arg(long)]
    allow_none: bool,
    /// Exit with the largest exit code of any --on-broadcast CMD, instead of 1
    #[arg(short = 'S')]
    largest: bool,
}

#[derive(Debug, Args)]
struct PingArgs {
    /// Whom: a host, a worker or one slot: HOST, HOST/wN, HOST/wN/SLOT [default: this host, and the layout's others in a table]
    #[arg(value_name = "TARGET")]
    target: Option<Target>,
    /// Ping this many times [default: 1; 100 rounds with --hops]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    count: Option<u32>,
    /// From one ping to the next [default: 1s; with --hops none, each round follows the last at once]
    #[arg(long, value_name = "D", value_parser = span)]
    interval: Option<Span>,
    /// Wait this long for each answer; with --hops also for a slot
    #[arg(long, value_name = "D", default_value_t = Span(limits::WAIT), value_parser = span)]
    wait: Span,
    /// Ask each worker instead whether it would vote to kill the broker as hung; changes nothing
    #[arg(long, conflicts_with_all = ["count", "interval", "wait_ready"])]
    vote: bool,
    /// First wait up to this long until the broker answers and has a slot
    #[arg(long, value_name = "D", value_parser = span)]
    wait_ready: Option<Span>,
    /// Lease a slot and measure each hop between a client, its broker and the slot: percentiles of round trips, in microseconds
    #[arg(long, conflicts_with_all = ["target", "vote", "wait_ready"])]
    hops: bool,
    /// With --hops: pool whose slot is leased [default: the layout's, or "default"]
    #[arg(long, value_name = "NAME", value_parser = name, requires = "hops")]
    pool: Option<String>,
    /// With --hops: also run the handler, with this request, once in each round
    #[arg(long, value_name = "TEXT", requires = "hops")]
    request: Option<OsString>,
    /// Print for people, or one JSON object for each ping; with --hops one in all
    #[arg(long, value_name = "FORMAT", default_value = "text", value_parser = format())]
    format: Format,
}

fn builtin() -> impl TypedValueParser<Value = Builtin> {
    choice(&Builtin::ALL, |one| (one.name(), one.help()))
}

fn format() -> impl TypedValueParser<Value = Format> {
    choice(&Format::ALL, |one| (one.name(), ""))
}

fn report_format() -> impl TypedValueParser<Value = ReportFormat> {
    choice(&ReportFormat::ALL, |one| (one.name(), one.help()))
}

fn framing() -> impl TypedValueParser<Value = Framing> {
    choice(&Framing::ALL, |one| (one.name(), one.help()))
}

fn routing() -> impl TypedValueParser<Value = Routing> {
    choice(&Routing::ALL, |one| (one.name(), one.help()))
}

fn progress() -> impl TypedValueParser<Value = Progress> {
    choice(&Progress::ALL, |one| (one.name(), ""))
}
