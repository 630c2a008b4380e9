//! What the tests of these rooms are told by brokers.

use std::time::Duration;

use bytes::Bytes;

use super::gather::Config;
use crate::options::Targets;
use crate::protocol::ids::{BroadcastId, Member, ReturnPath};
use crate::protocol::pool::{Answer, Blob, Condition, Enrolled, Fate, Gone, Note, Ran, Receipt, Roster};
use crate::protocol::status::Status;
use crate::protocol::{Incarnation, Message, Moment, Term, WorkerId};

pub(super) const ID: BroadcastId = BroadcastId([7; 16]);

pub(super) fn at(millis: u64) -> Moment {
    Moment::from_micros(1_000_000_000 + millis * 1000)
}

pub(super) fn member(number: u32) -> Member {
    Member::new(WorkerId(number), Incarnation(number.into()))
}

pub(super) fn config(hosts: &[&str]) -> Config {
    Config {
        id: ID,
        hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
        targets: Targets::default(),
        body: Bytes::from_static(b"hello"),
        patience: Duration::from_secs(5),
        interval: Duration::from_secs(1),
        timeout: None,
        reply_max: 1 << 20,
        batch: None,
        stop_after: None,
    }
}

/// w1 to wN of a host.
pub(super) fn roster(host: &str, members: u32) -> Message {
    let enrolled = |number| Enrolled {
        member: member(number),
        pool: "default".to_owned(),
        draining: false,
    };
    Message::Roster(Roster {
        id: ID,
        host: host.to_owned(),
        term: Term(1),
        total: members,
        members: (1..=members).map(enrolled).collect(),
    })
}

pub(super) fn answer(number: u32, status: Status, note: &str, body: &'static str) -> Message {
    Message::Answer(Answer {
        id: ID,
        member: member(number),
        path: ReturnPath::default(),
        status,
        elapsed_ms: 1,
        note: Note(note.to_owned()),
        body: Blob(Bytes::from_static(body.as_bytes())),
    })
}

pub(super) fn receipt(number: u32) -> Message {
    Message::Receipt(Receipt {
        id: ID,
        member: member(number),
        path: ReturnPath::default(),
    })
}

pub(super) fn condition(number: u32, silent_ms: u32, still_ms: u32) -> Message {
    Message::Condition(Condition {
        id: ID,
        member: member(number),
        silent_ms,
        still_ms,
    })
}

pub(super) fn gone(number: u32, fate: Fate, ago_ms: u32, ran: Ran) -> Message {
    Message::Gone(Gone {
        id: ID,
        member: member(number),
        fate,
        ago_ms,
        ran,
    })
}
