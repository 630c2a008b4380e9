//! From parsed flags to the options of a role, with the checks that span several flags.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{CommandFactory as _, Parser as _};

use super::values::Span;
use super::{BroadcastArgs, BrokerArgs, Cli, ClientArgs, Command, PingArgs, PlaceArgs, Role, TimingArgs, WorkerArgs};
use crate::layout::{self, Choice, Found, Layout};
use crate::options::target::{Glob, Targets};
use crate::options::{
    BROADCAST_VARIABLE, BroadcastOptions, BrokerOptions, ClientOptions, DirectPorts, HOPS_ROUNDS_MAX, Handler,
    HopsOptions, Input, Office, PingOptions, Place, ReportFormat, Takeover, Tenure, Timing, WorkerOptions,
};
use crate::protocol::Term;
use crate::protocol::ids::is_name;
use crate::protocol::limits;

/// The pool that a client asks where nobody names one.
const POOL: &str = "default";

/// Names the Hit that every client uses, as `--hit` does.
pub(super) const HIT_VARIABLE: &str = "ZHIT_HIT";

/// How many rounds `ping --hops` takes unless --count says so: enough for a p99, and over in some tens of milliseconds.
const HOPS_ROUNDS: u32 = 100;

/// How long a Hit waits for its next command, unless --ttl says so.
const OPEN_TTL: Duration = Duration::from_secs(600);

/// Reads a command line whose first word is the program's name.
pub(super) fn parse_from(
    words: impl IntoIterator<Item = OsString>,
    stdin_is_terminal: bool,
) -> Result<Command, clap::Error> {
    parse(words, stdin_is_terminal, true)
}

/// The same of a process that serves already.
pub(super) fn parse_again(words: impl IntoIterator<Item = OsString>) -> Result<Command, clap::Error> {
    parse(words, false, false)
}

fn parse(
    words: impl IntoIterator<Item = OsString>,
    stdin_is_terminal: bool,
    begins: bool,
) -> Result<Command, clap::Error> {
    let words: Vec<OsString> = words.into_iter().collect();
    let ends_in_dashes = words.last().is_some_and(|last| last == "--");
    let Cli { place, role } = Cli::try_parse_from(words)?;
    let is_elected = matches!(&role, Role::Broker(args) if args.elected);
    let (file, layout) = match layout(&place) {
        // Its workers were told all that it needs, and a host must not be without a broker for a slip in a file.
        Err(error) if is_elected && begins => {
            let what = what_is_wrong(&error);
            crate::term::error(&format_args!("broker: this host is served without the others: {what}"));
            (None, None)
        }
        found => found?.unzip(),
    };
    let place = site(place, file, layout.as_ref());
    let layout = layout.unwrap_or_else(|| Layout::none(&place.cluster));
    match role {
        Role::Broker(args) => broker(place, &args, &layout).map(Command::Broker),
        Role::Worker(args) => worker(place, args, ends_in_dashes, &layout).map(Command::Worker),
        Role::Client(args) => client(place, args, stdin_is_terminal, &layout).map(Command::Client),
        Role::Broadcast(args) => broadcast(place, args, stdin_is_terminal, &layout).map(Command::Broadcast),
        Role::Ping(args) => ping(place, &args, &layout).map(Command::Ping),
    }
}

/// The layout that the command line, the environment or the usual places name.
fn layout(args: &PlaceArgs) -> Result<Option<Found>, clap::Error> {
    let choice = Choice {
        file: args.layout.as_deref(),
        cluster: args.cluster.as_deref(),
    };
    layout::find(choice).map_err(|error| Cli::command().error(ErrorKind::Io, error))
}

/// What an error says, without how to use the command.
pub(super) fn what_is_wrong(error: &clap::Error) -> String {
    let whole = error.render().to_string();
    let text = whole.strip_prefix("error: ").unwrap_or(&whole);
    text.split("\n\n").next().unwrap_or(text).trim_end().to_owned()
}

/// A usage error, shown with the usage of `role`.
fn usage(role: &str, kind: ErrorKind, text: impl std::fmt::Display) -> clap::Error {
    let mut whole = Cli::command();
    whole.build();
    match whole.find_subcommand_mut(role) {
        Some(part) => part.error(kind, text),
        None => whole.error(kind, text),
    }
}

/// What people call the cluster where nobody names one.
const CLUSTER: &str = "default";

fn site(args: PlaceArgs, file: Option<PathBuf>, layout: Option<&Layout>) -> Place {
    let of_layout = || layout?.host_here().map(str::to_owned);
    let host = args.host.or_else(of_layout).unwrap_or_else(|| {
        let known = rustix::system::uname().nodename().to_string_lossy().into_owned();
        if is_name(&known) { known } else { "localhost".to_owned() }
    });
    let cluster = layout.map(|layout| layout.cluster.clone()).or(args.cluster);
    Place {
        host,
        cluster: cluster.unwrap_or_else(|| CLUSTER.to_owned()),
        layout: file,
    }
}

fn timing(role: &str, args: &TimingArgs, layout: &Layout) -> Result<Timing, clap::Error> {
    let otherwise = layout.timing.or(Timing::default());
    let timing = Timing {
        interval: args.interval.map_or(otherwise.interval, |interval| interval.0),
        liveness: args.liveness.unwrap_or(otherwise.liveness),
        patience: args.patience.map_or(otherwise.patience, |patience| patience.0),
    };
    if timing.patience < timing.interval {
        let text = format!(
            "--patience {} is shorter than --interval {}: nobody can be heard that often; give at least the interval",
            Span(timing.patience),
            Span(timing.interval)
        );
        return Err(usage(role, ErrorKind::ValueValidation, text));
    }
    Ok(timing)
}

fn broker(place: Place, args: &BrokerArgs, layout: &Layout) -> Result<BrokerOptions, clap::Error> {
    let office = match (args.elected, args.takeover, args.force) {
        (true, ..) => Office::Elected,
        (_, false, _) => Office::Dedicated(Takeover::Refuse),
        (_, true, false) => Office::Dedicated(Takeover::Ask),
        (_, true, true) => Office::Dedicated(Takeover::Force),
    };
    Ok(BrokerOptions {
        office,
        place,
        timing: timing("broker", &args.timing, layout)?,
        heard: Term(args.heard),
        grace: args.grace.0,
        hosts: layout.addresses(),
    })
}

fn worker(place: Place, args: WorkerArgs, ends_in_dashes: bool, layout: &Layout) -> Result<WorkerOptions, clap::Error> {
    let timing = timing("worker", &args.timing, layout)?;
    let pool = layout.pools.get(&args.pool);
    if pool.is_none() && !layout.pools.is_empty() && args.builtin.is_none() && args.cmd.is_empty() {
        let known: Vec<&str> = layout.pools.keys().map(String::as_str).collect();
        let text = format!(
            "the layout of {} has no pool {}; there are: {}; or name a handler here: -- CMD",
            layout.cluster,
            args.pool,
            known.join(", ")
        );
        return Err(usage("worker", ErrorKind::ValueValidation, text));
    }
    if args.cmd.is_empty() && ends_in_dashes {
        let text = "there is no CMD after --: name a program, or leave -- out";
        return Err(usage("worker", ErrorKind::TooFewValues, text));
    }
    if args.cmd.first().is_some_and(|program| program.is_empty()) {
        let text = "CMD is empty: name a program after --";
        return Err(usage("worker", ErrorKind::InvalidValue, text));
    }
    note_island("worker", &place, layout);
    let handler = match args.builtin {
        Some(builtin) => Handler::Builtin(builtin),
        None if args.cmd.is_empty() => pool.map_or_else(Handler::default, |pool| pool.handler.clone()),
        None => Handler::Command(args.cmd).framed(args.framing, args.warm),
    };
    Ok(WorkerOptions {
        direct: direct_ports(&place, layout),
        place,
        timing,
        pool: args.pool,
        slots: args.slots.or(pool.and_then(|pool| pool.slots)).unwrap_or(1),
        grace: args
            .grace
            .map(|grace| grace.0)
            .or(pool.and_then(|pool| pool.grace))
            .unwrap_or(limits::GRACE),
        handler,
        timeout_max: pool.and_then(|pool| pool.limits.timeout),
        on_broadcast: args.on_broadcast,
        elects: true,
    })
}

/// Where the slots of this host may listen for clients of others.
fn direct_ports(place: &Place, layout: &Layout) -> Option<DirectPorts> {
    let host = layout.hosts.get(&place.host)?;
    let (ip, ports) = (host.address?.ip(), host.direct_ports.clone()?);
    Some(DirectPorts { ip, ports })
}

/// Says it of a host that the layout does not have, but for its name it may be a slip.
fn note_island(role: &str, place: &Place, layout: &Layout) {
    let (host, known) = (&place.host, &layout.hosts);
    if !known.is_empty() && !known.contains_key(host) {
        let known: Vec<&str> = known.keys().map(String::as_str).collect();
        crate::term::note(&format_args!(
            "{role}: the layout of {} has no host {host}; there are: {}. {host} is served by itself, and other hosts do not \
             reach it",
            layout.cluster,
            known.join(", ")
        ));
    }
}

/// Which Hit a client uses.
fn tenure(args: &mut ClientArgs, place: &Place, others: &BTreeMap<String, SocketAddr>) -> Result<Tenure, clap::Error> {
    let refuse = |text: String| usage("client", ErrorKind::ValueValidation, text);
    let tenure = if args.tenure.hold {
        Tenure::Hold(std::mem::take(&mut args.requests))
    } else if args.tenure.open {
        Tenure::Open
    } else if let Some(name) = args.tenure.close.take() {
        Tenure::Close(name)
    } else if let Some(name) = args.tenure.hit.take() {
        Tenure::Use(name)
    } else if let Some(text) = std::env::var_os(HIT_VARIABLE).filter(|text| !text.is_empty() && !args.local) {
        let text = text.to_string_lossy();
        let name = text
            .parse()
            .map_err(|why| refuse(format!("${HIT_VARIABLE} is {text:?}: {why}")))?;
        Tenure::Use(name)
    } else {
        Tenure::Own
    };
    if let Tenure::Use(name) | Tenure::Close(name) = &tenure
        && name.host != place.host
        && !others.contains_key(&name.host)
    {
        let (there, here) = (&name.host, &place.host);
        return Err(refuse(format!(
            "the Hit {name} is on host {there}, this is {here}, and no layout says where {there} is: ask there, name the \
             layout with --layout, or this host with --host"
        )));
    }
    Ok(tenure)
}

fn client(
    place: Place,
    mut args: ClientArgs,
    stdin_is_terminal: bool,
    layout: &Layout,
) -> Result<ClientOptions, clap::Error> {
    let timing = timing("client", &args.timing, layout)?;
    let otherwise = &layout.client;
    let others = others_of(&place, layout);
    let tenure = tenure(&mut args, &place, &others)?;
    let ttl = args.ttl.map_or_else(
        || match &tenure {
            Tenure::Open => OPEN_TTL,
            Tenure::Hold(_) => timing.interval * timing.liveness,
            Tenure::Own | Tenure::Use(_) | Tenure::Close(_) => otherwise.ttl.unwrap_or(limits::TTL),
        },
        |ttl| ttl.0,
    );
    let requests: Vec<Vec<u8>> = args.requests.into_iter().map(OsString::into_vec).collect();
    let input = match (args.lines, requests.is_empty()) {
        _ if matches!(tenure, Tenure::Open | Tenure::Hold(_) | Tenure::Close(_)) => Input::Arguments(Vec::new()),
        (true, _) => Input::Lines,
        (false, false) => Input::Arguments(requests),
        (false, true) if !stdin_is_terminal => Input::Stdin,
        (false, true) => {
            let text = "there is no REQUEST, and stdin is a terminal: \
                        name a REQUEST, give stdin a file or a pipe, or type lines with --lines";
            return Err(usage("client", ErrorKind::MissingRequiredArgument, text));
        }
    };
    let local = args.local.then(|| match (args.builtin, args.handler) {
        (Some(builtin), _) => Handler::Builtin(builtin),
        (None, Some(text)) => Handler::Shell(text).framed(args.framing, 0),
        (None, None) => Handler::default(),
    });
    Ok(ClientOptions {
        place,
        timing,
        pool: args.pool.unwrap_or_else(|| pool_of(layout)),
        input,
        tenure,
        local,
        wait: args.wait.map(|wait| wait.0).or(otherwise.wait).unwrap_or(limits::WAIT),
        timeout: args.timeout.map(|span| span.0).or(otherwise.timeout),
        ttl,
        routing: args.route,
        others,
        format: args.format,
        progress: args.progress,
    })
}

/// That a host is not there, and which are. One that looks like a worker was meant as that.
fn no_host(name: &str, here: &str, layout: &Layout) -> String {
    let mut all: Vec<&str> = layout.hosts.keys().map(String::as_str).collect();
    if !all.contains(&here) {
        all.insert(0, here);
    }
    let is_worker = name.strip_prefix('w').is_some_and(|rest| rest.parse::<u32>().is_ok());
    let hint = if is_worker {
        format!("; a worker is written with its host: {here}/{name}")
    } else {
        String::new()
    };
    format!("there is no host {name}; there are: {}{hint}", all.join(", "))
}

/// Whom a broadcast is for. A name that the layout does not have is an error.
fn targets(pool: Option<String>, to: &[String], here: &str, layout: &Layout) -> Result<Targets, clap::Error> {
    let refuse = |text: String| usage("broadcast", ErrorKind::ValueValidation, text);
    if let Some(pool) = pool
        .as_ref()
        .filter(|pool| !layout.pools.is_empty() && !layout.pools.contains_key(*pool))
    {
        let all: Vec<&str> = layout.pools.keys().map(String::as_str).collect();
        return Err(refuse(format!(
            "the layout has no pool {pool}; there are: {}",
            all.join(", ")
        )));
    }
    let mut targets = Targets {
        pool,
        ..Targets::default()
    };
    for one in to {
        let Some(tag) = one.strip_prefix('@') else {
            let globs = Glob::list(one).map_err(refuse)?;
            let unknown = |host: &String| host != here && !layout.hosts.contains_key(host);
            if let Some(host) = globs.iter().filter_map(Glob::host).find(unknown) {
                return Err(refuse(no_host(&host, here, layout)));
            }
            targets.globs.extend(globs);
            continue;
        };
        let has = |tags: &[String]| tags.iter().any(|one| one == tag);
        let tagged = targets.tagged.get_or_insert_default();
        let before = (tagged.hosts.len(), tagged.pools.len());
        let hosts = layout.hosts.iter().filter(|(_, host)| has(&host.tags));
        tagged.hosts.extend(hosts.map(|(name, _)| name.clone()));
        let pools = layout.pools.iter().filter(|(_, pool)| has(&pool.tags));
        tagged.pools.extend(pools.map(|(name, _)| name.clone()));
        if (tagged.hosts.len(), tagged.pools.len()) == before {
            let text = format!("nothing in the layout has the tag {tag}: give tags to hosts or pools there");
            return Err(refuse(text));
        }
    }
    Ok(targets)
}

fn broadcast(
    place: Place,
    args: BroadcastArgs,
    stdin_is_terminal: bool,
    layout: &Layout,
) -> Result<BroadcastOptions, clap::Error> {
    if let Some(id) = std::env::var_os(BROADCAST_VARIABLE).filter(|id| !id.is_empty()) {
        let text = format!(
            "this is the handler of broadcast {}: one that starts another could go round for ever; refused",
            id.to_string_lossy()
        );
        return Err(usage("broadcast", ErrorKind::ValueValidation, text));
    }
    if args.request.is_none() && stdin_is_terminal {
        let text = "there is no REQUEST, and stdin is a terminal: name a REQUEST, or give stdin a file or a pipe";
        return Err(usage("broadcast", ErrorKind::MissingRequiredArgument, text));
    }
    if args.fold && args.format != ReportFormat::Text {
        let text = "--fold is for people: json and jsonl tell of each member anyway; leave one out";
        return Err(usage("broadcast", ErrorKind::ArgumentConflict, text));
    }
    let pool = args.pool.unwrap_or_else(|| pool_of(layout));
    let targets = targets((!args.all).then_some(pool), &args.to, &place.host, layout)?;
    let others = layout.hosts.keys().filter(|host| **host != place.host);
    let hosts = std::iter::once(&place.host).chain(others);
    Ok(BroadcastOptions {
        others: others_of(&place, layout),
        timing: timing("broadcast", &args.timing, layout)?,
        request: args.request.map(OsString::into_vec),
        hosts: hosts.filter(|host| targets.reach(host)).cloned().collect(),
        targets,
        place,
        batch: args.batch,
        stop_after: args.stop_after,
        timeout: args.timeout.map(|timeout| timeout.0),
        reply_max: limits::BROADCAST_BYTES_MAX as u32,
        allow_none: args.ending.allow_none,
        largest_code: args.ending.largest,
        fold: args.fold,
        format: args.format,
        progress: args.progress,
        joblog: args.joblog,
    })
}

/// Where the brokers of other hosts listen.
fn others_of(place: &Place, layout: &Layout) -> BTreeMap<String, SocketAddr> {
    let mut all = layout.addresses().addresses;
    all.remove(&place.host);
    all
}

/// The pool that is asked where the command names none.
fn pool_of(layout: &Layout) -> String {
    layout.client.pool.clone().unwrap_or_else(|| POOL.to_owned())
}

fn ping(place: Place, args: &PingArgs, layout: &Layout) -> Result<PingOptions, clap::Error> {
    if let Some(target) = &args.target
        && target.host != place.host
    {
        let (there, here) = (&target.host, &place.host);
        let refuse = |text: String| Err(usage("ping", ErrorKind::ValueValidation, text));
        if !layout.hosts.contains_key(there) {
            return refuse(no_host(there, here, layout));
        }
        if args.vote {
            return refuse(format!(
                "the members of {there} vote on their own broker: ask there, this is {here}"
            ));
        }
    }
    let (count, interval) = if args.hops {
        (HOPS_ROUNDS, Duration::ZERO)
    } else {
        (1, limits::INTERVAL)
    };
    let count = args.count.unwrap_or(count);
    if args.hops && count > HOPS_ROUNDS_MAX {
        let text = format!("--count {count} is too many rounds for --hops: the most is {HOPS_ROUNDS_MAX}");
        return Err(usage("ping", ErrorKind::ValueValidation, text));
    }
    let hops = args.hops.then(|| HopsOptions {
        pool: args.pool.clone().unwrap_or_else(|| pool_of(layout)),
        request: args.request.clone().map(OsString::into_vec),
    });
    Ok(PingOptions {
        others: others_of(&place, layout),
        place,
        target: args.target.clone(),
        count,
        interval: args.interval.map_or(interval, |span| span.0),
        hops,
        wait: args.wait.0,
        vote: args.vote,
        wait_ready: args.wait_ready.map(|span| -> Duration { span.0 }),
        format: args.format,
    })
}
