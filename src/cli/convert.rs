//! From parsed flags to the options of a role, with the checks that span several flags.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{CommandFactory as _, Parser as _};

use super::{BrokerArgs, Cli, ClientArgs, Command, PingArgs, PlaceArgs, Role, TimingArgs, WorkerArgs};
use crate::options::{
    BrokerOptions, ClientOptions, Handler, Input, Office, PingOptions, Place, Takeover, Tenure, Timing, WorkerOptions,
};
use crate::protocol::Term;
use crate::protocol::ids::is_name;
use crate::protocol::limits;

/// Names the Hit that every client uses, as `--hit` does.
pub(super) const HIT_VARIABLE: &str = "ZHIT_HIT";

/// How long a Hit waits for its next command, unless --ttl says so.
const OPEN_TTL: Duration = Duration::from_secs(600);

/// Reads a command line whose first word is the program's name.
pub(super) fn parse_from(
    words: impl IntoIterator<Item = OsString>,
    stdin_is_terminal: bool,
) -> Result<Command, clap::Error> {
    let words: Vec<OsString> = words.into_iter().collect();
    let ends_in_dashes = words.last().is_some_and(|last| last == "--");
    let Cli { place, role } = Cli::try_parse_from(words)?;
    let place = site(place);
    match role {
        Role::Broker(args) => broker(place, &args).map(Command::Broker),
        Role::Worker(args) => worker(place, args, ends_in_dashes).map(Command::Worker),
        Role::Client(args) => client(place, args, stdin_is_terminal).map(Command::Client),
        Role::Ping(args) => Ok(Command::Ping(ping(place, &args))),
    }
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

fn site(args: PlaceArgs) -> Place {
    let host = args.host.unwrap_or_else(|| {
        let known = rustix::system::uname().nodename().to_string_lossy().into_owned();
        if is_name(&known) { known } else { "localhost".to_owned() }
    });
    Place {
        host,
        cluster: args.cluster,
    }
}

fn timing(role: &str, args: &TimingArgs) -> Result<Timing, clap::Error> {
    if args.patience.0 < args.interval.0 {
        let text = format!(
            "--patience {} is shorter than --interval {}: nobody can be heard that often; give at least the interval",
            args.patience, args.interval
        );
        return Err(usage(role, ErrorKind::ValueValidation, text));
    }
    Ok(Timing {
        interval: args.interval.0,
        liveness: args.liveness,
        patience: args.patience.0,
    })
}

fn broker(place: Place, args: &BrokerArgs) -> Result<BrokerOptions, clap::Error> {
    let office = match (args.elected, args.takeover, args.force) {
        (true, ..) => Office::Elected,
        (_, false, _) => Office::Dedicated(Takeover::Refuse),
        (_, true, false) => Office::Dedicated(Takeover::Ask),
        (_, true, true) => Office::Dedicated(Takeover::Force),
    };
    Ok(BrokerOptions {
        office,
        place,
        timing: timing("broker", &args.timing)?,
        heard: Term(args.heard),
        grace: args.grace.0,
    })
}

fn worker(place: Place, args: WorkerArgs, ends_in_dashes: bool) -> Result<WorkerOptions, clap::Error> {
    let timing = timing("worker", &args.timing)?;
    if args.cmd.is_empty() && ends_in_dashes {
        let text = "there is no CMD after --: name a program, or leave -- out";
        return Err(usage("worker", ErrorKind::TooFewValues, text));
    }
    let handler = match args.builtin {
        Some(builtin) => Handler::Builtin(builtin),
        None if args.cmd.is_empty() => Handler::default(),
        None => Handler::Command(args.cmd).framed(args.framing, args.warm),
    };
    Ok(WorkerOptions {
        place,
        timing,
        pool: args.pool,
        slots: args.slots,
        grace: args.grace.0,
        handler,
        elects: true,
    })
}

/// Which Hit a client uses.
fn tenure(args: &mut ClientArgs, place: &Place) -> Result<Tenure, clap::Error> {
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
    {
        let (there, here) = (&name.host, &place.host);
        return Err(refuse(format!(
            "the Hit {name} is on host {there}, and this is {here}: ask there, or name the host with --host"
        )));
    }
    Ok(tenure)
}

fn client(place: Place, mut args: ClientArgs, stdin_is_terminal: bool) -> Result<ClientOptions, clap::Error> {
    let timing = timing("client", &args.timing)?;
    let tenure = tenure(&mut args, &place)?;
    let ttl = args.ttl.map_or_else(
        || match &tenure {
            Tenure::Open => OPEN_TTL,
            Tenure::Hold(_) => timing.interval * timing.liveness,
            Tenure::Own | Tenure::Use(_) | Tenure::Close(_) => limits::TTL,
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
        pool: args.pool,
        input,
        tenure,
        local,
        wait: args.wait.0,
        timeout: args.timeout.map(|span| span.0),
        ttl,
        format: args.format,
        progress: args.progress,
    })
}

fn ping(place: Place, args: &PingArgs) -> PingOptions {
    PingOptions {
        place,
        count: args.count,
        interval: args.interval.0,
        wait: args.wait.0,
        vote: args.vote,
        wait_ready: args.wait_ready.map(|span| -> Duration { span.0 }),
        format: args.format,
    }
}
