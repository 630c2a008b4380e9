//! What each role is asked to do, in plain types: the command line is turned into these once (`cli`), so that no role
//! knows of flags.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use crate::builtin::Builtin;
use crate::protocol::ids::{BadHitKey, is_name};
use crate::protocol::mesh::LayoutDigest;
use crate::protocol::route::Routing;
use crate::protocol::{HitKey, Term, WorkerId, limits};

pub mod target;

pub use target::Targets;

/// Most slots of one worker: each is a thread with sockets of its own.
pub const SLOTS_MAX: u32 = 1024;

/// Shortest duration that a flag takes, zero apart: below it a busy machine cannot tell late from lost.
pub const DURATION_MIN: Duration = Duration::from_millis(1);

/// Shortest heartbeat interval: loops turn four times in it (rule A1).
pub const INTERVAL_MIN: Duration = Duration::from_millis(20);

/// Longest duration that a flag takes: 365 days, well inside every clock's arithmetic.
pub const DURATION_MAX: Duration = Duration::from_secs(365 * 24 * 3600);

/// Which host of which cluster this process belongs to. Both are names (`protocol::ids::is_name`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The host: `--host`, `$ZHIT_HOST`, the hostname, or `localhost` if the hostname is no name.
    pub host: String,
    /// The cluster.
    pub cluster: String,
    /// The layout that says so, by its whole path; `None`: there is none.
    pub layout: Option<PathBuf>,
}

/// When silence means something. `patience` is at least `interval`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Period of heartbeats.
    pub interval: Duration,
    /// Heartbeats that may be missed; at least 1.
    pub liveness: u32,
    /// How long silence is tolerated while work is outstanding.
    pub patience: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            interval: limits::INTERVAL,
            liveness: limits::LIVENESS,
            patience: limits::PATIENCE,
        }
    }
}

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

impl Format {
    /// Every format.
    pub const ALL: [Self; 2] = [Self::Text, Self::Json];

    /// Its name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
        }
    }
}

/// Whether a progress bar is drawn on stderr.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Progress {
    /// On a terminal, for bodies that take long.
    #[default]
    Auto,
    /// At once, terminal or not.
    Always,
    /// Not at all.
    Never,
}

impl Progress {
    /// Every choice.
    pub const ALL: [Self; 3] = [Self::Auto, Self::Always, Self::Never];

    /// Its name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Always => "always",
            Self::Never => "never",
        }
    }
}

/// How a co-process tells requests and replies apart on its pipes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// One line each.
    Lines,
    /// Length in decimal digits, a colon, the bytes, a comma.
    Netstring,
    /// Four bytes of length, the highest first, then the bytes.
    U32,
}

impl Framing {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Lines, Self::Netstring, Self::U32];

    /// As a flag names it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Lines => "lines",
            Self::Netstring => "netstring",
            Self::U32 => "u32",
        }
    }

    /// What it is, in a line.
    pub const fn help(self) -> &'static str {
        match self {
            Self::Lines => "one line each",
            Self::Netstring => "LENGTH:BYTES, each",
            Self::U32 => "four bytes of length, the highest first, then the bytes",
        }
    }
}

/// In the handler of a broadcast, the broadcast's id.
pub const BROADCAST_VARIABLE: &str = "ZHIT_BROADCAST";

/// What serves a Hit's requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Handler {
    /// A handler of our own.
    Builtin(Builtin),
    /// A program and its arguments, executed as they are, once per request. Never empty.
    Command(Vec<OsString>),
    /// A text for `/bin/sh -c`, once per request. Never empty.
    Shell(OsString),
    /// A program that is started once per Hit, and asked one request after the other.
    Coprocess {
        /// [`Command`](Self::Command) or [`Shell`](Self::Shell).
        program: Box<Self>,
        /// How requests and replies are told apart on its pipes.
        framing: Framing,
        /// How many of them each slot keeps started ahead.
        warm: u32,
        /// Most bytes of one request (rule S4).
        frame_max: usize,
    },
}

impl Handler {
    /// This program as a co-process, if a framing is named.
    #[must_use]
    pub fn framed(self, framing: Option<Framing>, warm: u32) -> Self {
        match framing {
            Some(framing) => Self::Coprocess {
                program: Box::new(self),
                framing,
                warm,
                frame_max: limits::FRAME_MAX_BYTES,
            },
            None => self,
        }
    }
}

impl Default for Handler {
    fn default() -> Self {
        Self::Builtin(Builtin::default())
    }
}

/// How a broker comes to its host's office.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Office {
    /// By hand: it stays until told to leave.
    Dedicated(Takeover),
    /// Started by a member: it yields to a dedicated one, and leaves when nobody needs it any more.
    Elected,
}

/// What a broker that is started by hand does about another that was, and holds the office.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Takeover {
    /// Nothing: it says who that is.
    #[default]
    Refuse,
    /// Asks it to leave.
    Ask,
    /// Kills it.
    Force,
}

/// The hosts of a cluster that have an address, as a broker is told of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hosts {
    /// Where the brokers of all of them listen, this one's included; by name.
    pub addresses: BTreeMap<String, SocketAddr>,
    /// Tells the layout that says so from others.
    pub layout: LayoutDigest,
}

/// `zhit broker`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerOptions {
    /// How it comes to the office.
    pub office: Office,
    /// Where it routes.
    pub place: Place,
    /// Its heartbeats.
    pub timing: Timing,
    /// The highest term of this host that whoever started it has heard of (rule E2); zero: none.
    pub heard: Term,
    /// What running Hits are granted when it is asked to leave and no member would elect the next one; zero: nothing.
    pub grace: Duration,
    /// The cluster.
    pub hosts: Hosts,
}

/// Where the slots of a host may listen for clients of other hosts, one port each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectPorts {
    /// The host's address.
    pub ip: IpAddr,
    /// The ports, which all workers of the host share.
    pub ports: RangeInclusive<u16>,
}

/// `zhit worker`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerOptions {
    /// Where it serves.
    pub place: Place,
    /// Its heartbeats.
    pub timing: Timing,
    /// The pool that it belongs to; a name.
    pub pool: String,
    /// Slots, 1 to [`SLOTS_MAX`].
    pub slots: u32,
    /// What running requests are granted when it is asked to leave, and a handler between SIGTERM and SIGKILL.
    pub grace: Duration,
    /// What serves the requests.
    pub handler: Handler,
    /// Deadline of each request, also of those whose client names none or a later one.
    pub timeout_max: Option<Duration>,
    /// A text for `/bin/sh -c` that answers broadcasts; `None`: the builtin `stats`.
    pub on_broadcast: Option<OsString>,
    /// Starts a broker when the host has none, and votes on one that hangs.
    pub elects: bool,
    /// Where its slots listen for clients of other hosts; `None`: those come by the broker only.
    pub direct: Option<DirectPorts>,
}

/// Where a client's requests come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// One request each, exactly these bytes; none where a Hit is only opened, held or closed.
    Arguments(Vec<Vec<u8>>),
    /// Each line of stdin is a request, without its newline.
    Lines,
    /// All of stdin is one request.
    Stdin,
}

/// A Hit as people and scripts name it: `HOST/HEX`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HitName {
    /// The host whose worker serves it.
    pub host: String,
    /// Its key.
    pub key: HitKey,
}

impl fmt::Display for HitName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.host, self.key)
    }
}

/// Why a text names no Hit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadHitName {
    /// There is no slash, or no host before it.
    #[error("a Hit is named HOST/HEX, as zhit client --open prints it")]
    NoHost,
    /// What follows it is no key.
    #[error(transparent)]
    Key(#[from] BadHitKey),
}

impl FromStr for HitName {
    type Err = BadHitName;

    fn from_str(text: &str) -> Result<Self, BadHitName> {
        let (host, key) = text.split_once('/').ok_or(BadHitName::NoHost)?;
        if !is_name(host) {
            return Err(BadHitName::NoHost);
        }
        Ok(Self {
            host: host.to_owned(),
            key: key.parse()?,
        })
    }
}

/// Which Hit a client uses, and what becomes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tenure {
    /// One of its own, which ends with it.
    Own,
    /// One that waits for other clients, for its ttl: its name is printed.
    Open,
    /// One that is held as long as this command runs. Never empty.
    Hold(Vec<OsString>),
    /// One that is there.
    Use(HitName),
    /// One that is there, and is then over.
    Close(HitName),
}

/// `zhit client`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientOptions {
    /// Where it asks; not used when `local` is set.
    pub place: Place,
    /// Its heartbeats.
    pub timing: Timing,
    /// The pool that it asks; a name.
    pub pool: String,
    /// Its requests.
    pub input: Input,
    /// Which Hit it uses.
    pub tenure: Tenure,
    /// Broker and worker live inside this process, with this handler.
    pub local: Option<Handler>,
    /// How long to wait for a broker and a slot; zero: not at all.
    pub wait: Duration,
    /// Deadline per request.
    pub timeout: Option<Duration>,
    /// How long the Hit outlives a silent client; at most [`limits::TTL_MAX`].
    pub ttl: Duration,
    /// Which way its requests go.
    pub routing: Routing,
    /// Where the brokers of other hosts listen, by name.
    pub others: BTreeMap<String, SocketAddr>,
    /// How replies are printed.
    pub format: Format,
    /// Whether a progress bar is drawn.
    pub progress: Progress,
}

/// How many are asked at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Batch {
    /// So many.
    Members(u32),
    /// So many of a hundred.
    Percent(u32),
}

impl Batch {
    /// How many of so many those are; at least one.
    pub fn of(self, expected: usize) -> usize {
        match self {
            Self::Members(count) => count as usize,
            Self::Percent(percent) => (expected * percent as usize).div_ceil(100).max(1),
        }
    }
}

/// How a broadcast is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum ReportFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object at the end.
    Json,
    /// One JSON object for each member, as it is settled.
    Jsonl,
}

impl ReportFormat {
    /// Every format.
    pub const ALL: [Self; 3] = [Self::Text, Self::Json, Self::Jsonl];

    /// Its name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
            Self::Jsonl => "jsonl",
        }
    }

    /// What it is, in a few words.
    pub const fn help(self) -> &'static str {
        match self {
            Self::Text => "each line of a reply behind its member's name",
            Self::Json => "one object at the end",
            Self::Jsonl => "an object for each member, as it is settled",
        }
    }
}

/// `zhit broadcast`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BroadcastOptions {
    /// Where it starts.
    pub place: Place,
    /// When silence means something.
    pub timing: Timing,
    /// The request; `None`: all of stdin.
    pub request: Option<Vec<u8>>,
    /// Whom.
    pub targets: Targets,
    /// The hosts that may be meant, this one first if it is one of them.
    pub hosts: Vec<String>,
    /// Where the brokers of other hosts listen.
    pub others: BTreeMap<String, SocketAddr>,
    /// How many at a time.
    pub batch: Option<Batch>,
    /// After so many that did not do well the rest is skipped.
    pub stop_after: Option<u32>,
    /// How long it may take.
    pub timeout: Option<Duration>,
    /// Most bytes of a reply.
    pub reply_max: u32,
    /// That nobody is there to be asked is well.
    pub allow_none: bool,
    /// Ends with the largest code of a handler.
    pub largest_code: bool,
    /// Identical replies are told once.
    pub fold: bool,
    /// How it is told.
    pub format: ReportFormat,
    /// The bar.
    pub progress: Progress,
    /// Where GNU parallel's job log goes.
    pub joblog: Option<PathBuf>,
}

/// Whom a ping is about, in more detail than its host: `HOST/wN` or `HOST/wN/SLOT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Its host.
    pub host: String,
    /// The worker; `None`: the whole host.
    pub worker: Option<WorkerId>,
    /// One slot of it; `None`: all of them.
    pub slot: Option<u32>,
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("{text:?} is no target: write HOST, HOST/wN or HOST/wN/SLOT, such as alpha/w3/2");
        let mut parts = text.split('/');
        let host = parts.next().filter(|host| is_name(host)).ok_or_else(bad)?.to_owned();
        let number = |digits: &str| digits.parse::<u32>().ok().filter(|number| *number > 0).ok_or_else(bad);
        let worker = parts
            .next()
            .map(|worker| number(worker.strip_prefix('w').ok_or_else(bad)?).map(WorkerId));
        let slot = parts.next().map(number);
        match parts.next() {
            None => Ok(Self {
                host,
                worker: worker.transpose()?,
                slot: slot.transpose()?,
            }),
            Some(_) => Err(bad()),
        }
    }
}

/// `zhit ping`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PingOptions {
    /// Whom it asks.
    pub place: Place,
    /// Whom it is about; `None`: the host, and those of the next field.
    pub target: Option<Target>,
    /// Where the brokers of the cluster's other hosts listen.
    pub others: BTreeMap<String, SocketAddr>,
    /// How many pings; at least 1.
    pub count: u32,
    /// From one ping to the next.
    pub interval: Duration,
    /// How long each waits for its answer.
    pub wait: Duration,
    /// First wait up to this long until the broker answers and has a slot.
    pub wait_ready: Option<Duration>,
    /// Instead, ask the members how they would vote on their broker.
    pub vote: bool,
    /// Instead, measure each hop between a client and its slot.
    pub hops: Option<HopsOptions>,
    /// How answers are printed.
    pub format: Format,
}

/// Most rounds of `zhit ping --hops`: every round trip is kept, eight bytes for each hop of a round.
pub const HOPS_ROUNDS_MAX: u32 = 1_000_000;

/// `zhit ping --hops`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HopsOptions {
    /// The pool whose slot is leased; a name.
    pub pool: String,
    /// What its handler is asked in each round; `None`: it is not asked.
    pub request: Option<Vec<u8>>,
}
