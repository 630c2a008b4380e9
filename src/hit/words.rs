//! How a Hit ended, in words: what every role says that had one.

use std::path::Path;

use crate::protocol::message::{ClosedReason, FullReason};
use crate::term::escape::one_line;

use super::{Hit, Lost, NoDirect, NoSlot};

/// That nobody was reached, and what to do.
pub fn no_broker(hit: &Hit, socket: &Path) -> String {
    let socket = socket.display();
    match (hit.host(), hit.others()) {
        (_, (all @ 1.., tried)) if tried >= all => format!(
            "no broker reached within --wait, neither this host's at {socket} nor that of any other host of the layout; start \
             a worker, which starts one: zhit worker -- CMD"
        ),
        (_, (all @ 1.., tried)) => format!(
            "no broker reached within --wait: not this host's at {socket}, and of the {all} other hosts of the layout {tried} \
             were tried, for half a second each; wait longer, or start a worker here, which starts a broker: zhit worker -- CMD"
        ),
        (Some(host), _) => format!("the broker of {host} was not reached within --wait; zhit ping {host} tells more"),
        (None, _) => format!(
            "no broker reached at {socket} within --wait; start a worker on this host, which starts one: zhit worker -- CMD"
        ),
    }
}

/// Why there is no slot, and what to do.
pub fn no_slot(why: &NoSlot, hit: &Hit) -> String {
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

/// Why the Hit was lost.
pub fn lost(why: &Lost) -> String {
    format!("the Hit was lost: {}", cause(why))
}

fn cause(why: &Lost) -> String {
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
