//! Who is there: brokers, workers, and what they are called.

use std::time::Duration;

use zhit::broker::machine::{self, Machine};
use zhit::protocol::ids::{DirId, Incarnation, Member, SlotId, WorkerId};
use zhit::protocol::limits::MESH_NEWS_PER_INTERVAL;
use zhit::protocol::mesh::Greeting;
use zhit::protocol::message::{Heartbeat, Register};
use zhit::protocol::{Message, Moment, Peer, Status, Term};
use zhit::worker::broadcasts::{self, Broadcasts, Done};

use crate::cost::{HANDLER, INTERVAL, PATIENCE, RECEIVE, SEND};

/// The term of every broker.
const TERM: Term = Term(1);

/// The numbers of worker's connections begin after it.
const FIRST_WORKER: u64 = 1 << 32;

pub(crate) fn peer(number: u64) -> Peer {
    Peer::from_routing_id(&number.to_be_bytes()).expect("eight bytes")
}

/// The connection of a worker of this number.
pub(crate) fn worker_peer(worker: u32) -> Peer {
    peer(FIRST_WORKER + u64::from(worker))
}

/// Whose that connection is; `None`: no worker's.
pub(crate) fn worker_of(peer: Peer) -> Option<u32> {
    let number = u64::from_be_bytes(peer.routing_id().try_into().ok()?);
    number.checked_sub(FIRST_WORKER).map(|number| number as u32)
}

pub(crate) fn name(host: usize) -> String {
    format!("h{host:05}")
}

pub(crate) fn member(worker: u32) -> Member {
    Member::new(WorkerId(worker), Incarnation(u64::from(worker)))
}

/// How often each of so many brokers tells its news.
pub(crate) fn pace(hosts: usize) -> Duration {
    INTERVAL * (hosts as u32 - 1).div_ceil(MESH_NEWS_PER_INTERVAL).max(1)
}

/// Who a host's broker is, one of so many.
pub(crate) fn greeting(host: usize, hosts: usize) -> Greeting {
    Greeting {
        host: name(host),
        term: TERM,
        incarnation: Incarnation(7),
        layout: [1; 16],
        interval_ms: pace(hosts).as_millis() as u32,
        liveness: 3,
    }
}

/// A host's broker, with all its workers.
pub(crate) fn broker(now: Moment, host: usize, workers: u32) -> Machine {
    let config = machine::Config {
        host: name(host),
        pid: 1,
        term: TERM,
        dir: DirId([1; 16]),
        version: String::new(),
        interval: INTERVAL,
        liveness: 3,
        patience: PATIENCE,
        elected: true,
    };
    let mut broker = Machine::new(now, config);
    // It need not wait for workers that nobody knows of.
    broker.inherit(now, &[], true, &mut Vec::new());
    for worker in 1..=workers {
        let register = Register {
            slot: SlotId {
                worker: WorkerId(worker),
                number: 0,
            },
            incarnation: member(worker).incarnation,
            pid: 1,
            pool: "default".to_owned(),
            slots: 1,
            journal: true,
            votes: true,
            draining: false,
            hit: None,
        };
        broker.on_message(now, worker_peer(worker), Message::Register(register), &mut Vec::new());
    }
    broker
}

/// Every worker is heard. What it costs belongs to no broadcast, and stays within its host.
pub(crate) fn hear_all(broker: &mut Machine, now: Moment, workers: u32) {
    for worker in 1..=workers {
        let beat = Message::Heartbeat(Heartbeat { term: TERM, beat: 1 });
        broker.on_message(now, worker_peer(worker), beat, &mut Vec::new());
    }
}

/// What a worker says to one message, with the time after which it does.
pub(crate) fn at_worker(worker: &mut Broadcasts, at: Moment, message: Message) -> Vec<(Moment, Message)> {
    let now = at + RECEIVE;
    let mut out = Vec::new();
    match message {
        Message::Ask(ask) => worker.on_ask(now, ask, &mut out),
        Message::Thanks(thanks) => worker.on_thanks(&thanks),
        _ => {}
    }
    let mut said = Vec::new();
    for action in out {
        match action {
            broadcasts::Action::Send(message) => said.push((now + SEND, message)),
            broadcasts::Action::Run(job) => {
                let (now, mut out) = (now + SEND + HANDLER, Vec::new());
                let done = Done {
                    id: job.id,
                    status: Status::Ok,
                    note: String::new(),
                    body: job.body,
                };
                worker.on_done(now, done, &mut out);
                said.extend(out.into_iter().filter_map(|action| match action {
                    broadcasts::Action::Send(message) => Some((now + SEND, message)),
                    broadcasts::Action::Run(_) => None,
                }));
            }
        }
    }
    said
}
