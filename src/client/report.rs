//! What a client says at its end, and its exit code.

use std::fmt::Display;
use std::io::{self, Write as _};
use std::path::Path;

use crate::exit::Exit;
use crate::options::HitName;
use crate::protocol::message::{ClosedReason, FullReason, Left};
use crate::term::escape::one_line;
use crate::term::style;

use super::hit::{Hit, Lost, NoDirect, NoSlot, Outcome};
use super::printer::Printer;
use super::run::exit_of;

/// SIGPIPE's number: who writes to a reader that has gone ends as if by it, quietly.
const SIGPIPE: u8 = 13;

/// Says on stderr what a person must know, and gives the exit code.
pub(super) fn conclude(hit: &Hit, printer: &Printer, broken: Option<&io::Error>, socket: &Path) -> Exit {
    if let Some(error) = broken {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Exit::Signal(SIGPIPE);
        }
        say(&format_args!("cannot write the reply: {error}"));
        return Exit::HandlerFailed;
    }
    let failed = printer.worst.map_or(Exit::Success, |(_, status)| exit_of(status));
    unfinished(hit, socket).unwrap_or(failed)
}

/// Says why a Hit is over that its client had not finished with, and gives the exit code; `None` if it had.
pub(super) fn unfinished(hit: &Hit, socket: &Path) -> Option<Exit> {
    let (exit, text) = match hit.outcome()? {
        Outcome::Done => return None,
        Outcome::Abandoned => (Exit::Lost, "the Hit was given up".to_owned()),
        Outcome::NoBroker => (Exit::NoBroker, no_broker(hit, socket)),
        Outcome::NoSlot(why) => (Exit::NoSlot, no_slot(why, hit)),
        Outcome::Deadline => (Exit::Deadline, format!("the deadline passed; {}", ledger(hit))),
        Outcome::Lost(Lost::Closed(ClosedReason::Unknown | ClosedReason::Done, _)) if hit.is_uninvited() => (
            Exit::Lost,
            "there is no such Hit here: it has ended, or never was; zhit client --open opens one".to_owned(),
        ),
        Outcome::Lost(why) => (Exit::Lost, format!("the Hit was lost: {}; {}", lost(why), ledger(hit))),
    };
    say(&text);
    Some(exit)
}

/// Prints the name of a Hit that was opened for others.
pub(super) fn name(hit: &Hit) -> Exit {
    let Some(name) = name_of(hit) else { return Exit::Lost };
    match writeln!(io::stdout().lock(), "{name}") {
        Ok(()) => Exit::Success,
        Err(error) => {
            say(&format_args!("cannot write the Hit's name {name}: {error}"));
            Exit::HandlerFailed
        }
    }
}

/// How others name it, once a slot serves it.
pub(super) fn name_of(hit: &Hit) -> Option<HitName> {
    let (host, _) = hit.slot()?;
    Some(HitName {
        host: host.clone(),
        key: hit.key(),
    })
}

/// That nobody was reached.
fn no_broker(hit: &Hit, socket: &Path) -> String {
    let socket = socket.display();
    match hit.host() {
        _ if hit.may_go_elsewhere() => format!(
            "no broker reached within --wait, neither this host's at {socket} nor that of any other host of the layout; start \
             a worker, which starts one: zhit worker -- CMD"
        ),
        Some(host) => format!("the broker of {host} was not reached within --wait; zhit ping {host} tells more"),
        None => format!(
            "no broker reached at {socket} within --wait; start a worker on this host, which starts one: zhit worker -- CMD"
        ),
    }
}

/// What became of what the clients before have asked (rule O8); nothing if they had their answers. `first`: the first
/// request of this client.
pub(super) fn left_behind(left: Left, first: u64) -> Option<String> {
    let mut parts = Vec::new();
    if left.started > left.answered {
        let ran = left.started;
        parts.push(if left.stopped {
            format!(
                "request {ran} of the client before had not come in full: it is spent, and its handler was told to end"
            )
        } else {
            format!("request {ran} of the client before ran on without it; its reply is thrown away")
        });
    }
    match (left.started + 1, first.saturating_sub(1)) {
        (from, to) if from == to => parts.push(format!("request {from} of the client before never ran")),
        (from, to) if from < to => parts.push(format!("requests {from} to {to} of the client before never ran")),
        _ => {}
    }
    (!parts.is_empty()).then(|| parts.join("; "))
}

/// Says what a client that is told to end leaves behind.
pub(super) fn given_up(hit: &Hit) {
    if hit.is_outstanding() && hit.ledger().maybe > 0 {
        say(&format_args!("given up; {}", ledger(hit)));
    }
}

fn say(what: &dyn Display) {
    style::error(&format_args!("client: {what}"));
}

fn no_slot(why: &NoSlot, hit: &Hit) -> String {
    let pool = hit.pool();
    let place = match hit.host() {
        _ if hit.may_go_elsewhere() => "any host that was reached",
        Some(_) => "that host",
        None => "this host",
    };
    match why {
        NoSlot::Queued { slots: 0, .. } | NoSlot::Refused(FullReason::NoWorker) => format!(
            "no worker serves pool {pool} on {place}; start one (zhit worker --pool {pool}), or name another with --pool"
        ),
        NoSlot::Queued { ahead, slots, busy } => {
            let at = hit.host().map_or_else(String::new, |host| format!(" of {host}"));
            format!(
                "no slot became free within --wait: {busy} of {slots} slots{at} are leased and {ahead} clients waited before \
                 this one; wait longer (--wait 1m) or add slots"
            )
        }
        NoSlot::Refused(FullReason::Leaving) => {
            "the broker is leaving and no other came within --wait; start a worker on this host, which starts one: zhit worker -- CMD".to_owned()
        }
        NoSlot::Refused(FullReason::QueueFull) => "too many clients wait at this broker already; try later".to_owned(),
        NoSlot::Occupied => "another client uses this Hit, and it did not end within --wait".to_owned(),
        NoSlot::Refused(FullReason::Busy) | NoSlot::Unknown => "no slot became free within --wait".to_owned(),
    }
}

fn lost(why: &Lost) -> String {
    match why {
        Lost::Closed(reason, note) if note.is_empty() => closed(*reason).to_owned(),
        Lost::Closed(reason, note) => format!("{} ({})", closed(*reason), one_line(note)),
        Lost::Silence(ttl) => format!("no broker answered for {} s", ttl.as_secs_f32()),
        Lost::Unconfirmed => "no broker confirmed that it forgot the request".to_owned(),
        Lost::Violation(what) => format!("the slot broke the protocol: {what}"),
        Lost::NoDirect(NoDirect::NoEndpoint) => {
            "its slot has no socket of its own that can be reached from here, and --route direct allows no other way"
                .to_owned()
        }
        Lost::NoDirect(NoDirect::Silent(wait)) => format!(
            "its slot's own socket did not answer within --wait ({}), and --route direct allows no other way",
            humantime::format_duration(*wait)
        ),
    }
}

const fn closed(reason: ClosedReason) -> &'static str {
    match reason {
        ClosedReason::Done => "the slot ended it",
        ClosedReason::ClientSilent => "the slot had not heard this client for its ttl",
        ClosedReason::WorkerLeft => "its worker was asked to end",
        ClosedReason::WorkerDied => "its worker died",
        ClosedReason::HandlerEnded => "its handler ended it",
        ClosedReason::Violation => "the slot refused what this client sent",
        ClosedReason::Unknown => "the broker that leased it is gone and no slot knows it",
        ClosedReason::Superseded => "another client took it over",
        ClosedReason::HolderGone => "who held it is gone",
    }
}

/// Which requests were answered, which may have run, which never did.
fn ledger(hit: &Hit) -> String {
    let ledger = hit.ledger();
    let mut parts = vec![match (ledger.first, ledger.answered) {
        (first, last) if last < first => "no request was answered".to_owned(),
        (first, last) if last == first => format!("request {first} was answered"),
        (first, last) => format!("requests {first} to {last} were answered"),
    }];
    let ran = if ledger.exact {
        "ran without an answer"
    } else {
        "may have run without an answer"
    };
    match (ledger.answered + 1, ledger.maybe) {
        (first, last) if first == last => parts.push(format!("request {first} {ran}")),
        (first, last) if first < last => parts.push(format!("requests {first} to {last} {ran}")),
        _ => {}
    }
    let next = ledger.answered.max(ledger.maybe) + 1;
    if !hit.is_complete() || next < hit.seq() {
        parts.push(format!("request {next} and later never ran"));
    }
    parts.join("; ")
}
