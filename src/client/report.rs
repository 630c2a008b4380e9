//! What a client says at its end, and its exit code.

use std::fmt::Display;
use std::io::{self, Write as _};
use std::path::Path;

use crate::exit::Exit;
use crate::hit::{Hit, Lost, Outcome, words};
use crate::options::HitName;
use crate::protocol::message::{ClosedReason, Left};
use crate::term::style;

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
        Outcome::NoBroker => (Exit::NoBroker, words::no_broker(hit, socket)),
        Outcome::NoSlot(why) => (Exit::NoSlot, words::no_slot(why, hit)),
        Outcome::Deadline => (Exit::Deadline, format!("the deadline passed; {}", ledger(hit))),
        Outcome::Lost(Lost::Closed(ClosedReason::Unknown | ClosedReason::Done, _)) if hit.is_uninvited() => (
            Exit::Lost,
            "there is no such Hit here: it has ended, or never was; zhit client --open opens one".to_owned(),
        ),
        Outcome::Lost(why) => (Exit::Lost, format!("{}; {}", words::lost(why), ledger(hit))),
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
