//! The issuer and its broker: the two processes through which all of a broadcast goes. Each is one thread, whose loop takes
//! what has come, does what is due, and waits; each message costs it time, so that what comes meanwhile waits in line.

mod broker_loop;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use zhit::broadcast::gather::{self, Config, Gather, Phase};
use zhit::broadcast::seat::Books;
use zhit::broker::machine::Machine;
use zhit::clock;
use zhit::options::Targets;
use zhit::protocol::ids::{BroadcastId, ReturnPath};
use zhit::protocol::limits::MESSAGES_PER_TURN_MAX;
use zhit::protocol::mesh::{Relay, Within};
use zhit::protocol::{Message, Moment, Peer};
use zhit::worker::broadcasts::Broadcasts;

use crate::cost::{
    INTERVAL, LOCAL_HOP, Letter, NETWORK_HOP, PATIENCE, RECEIVE, SEND, Sum, Tally, is_of_mesh, wire_bytes,
};
use crate::host::{Host, Others};
use crate::members::{at_worker, broker, greeting, hear_all, member, name, pace, peer, worker_of, worker_peer};

/// A broadcast that is not closed by then is given up, as by ^C.
const CLOSED_BY: Duration = Duration::from_secs(120);

/// Likewise one that takes so long on the machine that counts it.
const REAL_TIME_MAX: Duration = Duration::from_secs(300);

/// The connection of the issuer to its broker. Those of other hosts' brokers have the numbers of their hosts.
const ISSUER: u64 = 1 << 24;

/// What the request and each reply say.
const BODY: &[u8] = b"uptime";

/// What was counted.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) books: Books,
    /// It took too much real time, and how far it had come is chance.
    pub(crate) is_cut_off: bool,
    pub(crate) closed_after: Duration,
    pub(crate) pinned_after: Duration,
    pub(crate) hops: u32,
    pub(crate) sum: Sum,
    pub(crate) issuer: Tally,
    pub(crate) broker: Tally,
    pub(crate) other_broker: Tally,
    pub(crate) worker: Tally,
    /// What the mesh itself exchanged with the issuer's broker meanwhile.
    pub(crate) mesh: Tally,
    /// Workers that ran it and keep their answer, for no THANKS came.
    pub(crate) unthanked: usize,
    /// Most messages that lay at once before the issuer, and before its broker on its own host.
    pub(crate) longest_lines: (usize, usize),
}

pub(crate) struct World {
    heard_last: usize,
    hosts: Vec<Host>,
    others: Others,
    began: Moment,
    gather: Gather,
    inbox: VecDeque<Letter>,
    /// When it turns next.
    issuer_at: Moment,
    /// Until then it is at what it has taken.
    issuer_busy_until: Moment,
    broker: Machine,
    broker_at: Moment,
    /// Until then it is at what it has taken.
    broker_busy_until: Moment,
    hear_at: Moment,
    workers: u32,
    own: BTreeMap<u32, Broadcasts>,
    /// What has come from this host, by its time.
    local: BTreeMap<(Moment, u64), (Peer, Letter)>,
    posted: u64,
    /// Hosts that have nothing to say before that.
    waiting: BTreeSet<(Moment, usize)>,
    waits_until: Vec<Option<Moment>>,
    /// Those that have, in the order of their names: so the broker's loop takes them.
    ready: BTreeSet<usize>,
    pinned_at: Option<Moment>,
    outcome: Outcome,
}

impl World {
    pub(crate) fn new(hosts: usize, workers: u32) -> Self {
        let began = Moment::from_micros(1_000_000_000_000);
        let config = Config {
            id: BroadcastId([9; 16]),
            hosts: (0..hosts).map(name).collect(),
            targets: Targets::default(),
            body: Bytes::from_static(BODY),
            patience: PATIENCE,
            interval: INTERVAL,
            timeout: None,
            reply_max: 1 << 20,
            batch: None,
            stop_after: None,
        };
        let mut world = Self {
            heard_last: 0,
            hosts: (0..hosts)
                .map(|host| Host::new((began + pace(hosts)).before(heard_before(host, hosts))))
                .collect(),
            others: Others::new(began, hosts, workers),
            began,
            gather: Gather::new(began, config),
            inbox: VecDeque::new(),
            issuer_at: began,
            issuer_busy_until: began,
            broker: broker(began, 0, workers),
            broker_at: began,
            broker_busy_until: began,
            hear_at: began,
            workers,
            own: (1..=workers)
                .map(|worker| (worker, Broadcasts::new(member(worker), INTERVAL, false)))
                .collect(),
            local: BTreeMap::new(),
            posted: 0,
            waiting: BTreeSet::new(),
            waits_until: vec![None; hosts],
            ready: BTreeSet::new(),
            pinned_at: None,
            outcome: Outcome::default(),
        };
        world.meet();
        world
    }

    /// The brokers know each other before anybody asks anything.
    fn meet(&mut self) {
        let now = self.began;
        let hosts = self.hosts.len();
        let others = 1..hosts;
        self.broker.set_mesh(now, greeting(0, hosts), others.clone().map(name));
        for other in others {
            let mut out = Vec::new();
            let greet = Message::Greet(greeting(other, hosts));
            self.broker.on_public(now, peer(other as u64).public(), greet, &mut out);
            let greeted = Message::Greeted(greeting(other, hosts));
            let heard_at = now.before(heard_before(other, hosts));
            self.broker.on_called(heard_at, &name(other), greeted, &mut out);
            self.wait_for(other);
        }
    }

    /// The broadcast, until all that it has caused is over.
    pub(crate) fn run(mut self) -> Outcome {
        let really_began = clock::now();
        while self.gather.phase() != Phase::Closed {
            let took = self.issuer_at.min(self.broker_at).since(self.began);
            self.outcome.is_cut_off = clock::now().since(really_began) >= REAL_TIME_MAX;
            if took >= CLOSED_BY || self.outcome.is_cut_off {
                self.gather.end();
            } else if self.broker_at <= self.issuer_at {
                self.turn_broker();
            } else {
                self.turn_issuer();
            }
        }
        self.outcome.closed_after = self.issuer_busy_until.since(self.began);
        let mut out = Vec::new();
        self.gather.thank(&mut out);
        self.issuer_does(out, 0);
        if self.gather.books().outstanding == 0 {
            self.work_off();
        }
        let pinned_at = self.pinned_at.unwrap_or(self.issuer_at);
        Outcome {
            books: self.gather.books(),
            pinned_after: pinned_at.since(self.began),
            other_broker: self.others.broker_tally,
            worker: self.others.worker_tally,
            ..self.outcome
        }
    }

    /// What the issuer has sent before it ended still arrives.
    fn work_off(&mut self) {
        while !self.local.is_empty() {
            self.turn_broker();
        }
        for (place, host) in self.hosts.iter_mut().enumerate() {
            self.others.work_off(place, host, &mut self.outcome.sum);
            self.outcome.unthanked += host.unthanked();
            // A million workers that keep an answer each would be a gigabyte.
            *host = Host::default();
        }
    }

    fn turn_issuer(&mut self) {
        let start = self.issuer_at;
        self.issuer_busy_until = start;
        self.outcome.longest_lines.0 = self.outcome.longest_lines.0.max(self.inbox.len());
        for _ in 0..MESSAGES_PER_TURN_MAX {
            let Some(letter) = self.inbox.pop_front_if(|letter| letter.at <= start) else {
                break;
            };
            self.issuer_busy_until += RECEIVE;
            self.outcome.issuer.take(wire_bytes(&letter.message));
            self.take(letter);
        }
        let mut out = Vec::new();
        self.gather.on_tick(self.issuer_busy_until, &mut out);
        self.issuer_does(out, 0);
        if self.pinned_at.is_none() && self.gather.phase() != Phase::Rolling {
            self.pinned_at = Some(self.issuer_busy_until);
        }
        let due = self.gather.next_deadline().min(self.issuer_busy_until + INTERVAL / 4);
        let next = self.inbox.front().map_or(due, |letter| due.min(letter.at));
        self.issuer_at = next.max(self.issuer_busy_until).max(start + Duration::from_micros(1));
    }

    fn take(&mut self, letter: Letter) {
        let (now, mut out) = (self.issuer_busy_until, Vec::new());
        match letter.message {
            Message::Relayed(relayed) => {
                let host = place(&relayed.host);
                match relayed.within.0 {
                    Some(frames) => {
                        let message = Message::decode(&frames.header, frames.body).expect("a message");
                        self.gather.on_message(now, host, message, &mut out);
                    }
                    None => self.gather.on_unreached(now, host, relayed.note.0, &mut out),
                }
            }
            message => self.gather.on_message(now, 0, message, &mut out),
        }
        self.issuer_does(out, letter.hops);
    }

    fn issuer_does(&mut self, out: Vec<gather::Action>, hops: u32) {
        for action in out {
            let gather::Action::Send(host, message) = action else {
                self.outcome.hops = self.outcome.hops.max(hops);
                continue;
            };
            let message = if host == 0 {
                message
            } else {
                Message::Relay(Relay {
                    host: name(host),
                    path: ReturnPath::default(),
                    within: Within::new(message.encode()),
                })
            };
            self.issuer_busy_until += SEND;
            let bytes = self.outcome.sum.hop(&message);
            self.outcome.issuer.send(bytes);
            let (at, hops) = (self.issuer_busy_until + LOCAL_HOP, hops + 1);
            self.post(peer(ISSUER), Letter { at, hops, message });
        }
    }

    /// To this host's broker, from somebody here.
    fn post(&mut self, from: Peer, letter: Letter) {
        self.broker_at = self.broker_at.min(letter.at).max(self.broker_busy_until);
        self.posted += 1;
        self.local.insert((letter.at, self.posted), (from, letter));
    }
}

/// How long before the broadcast the news of a host came last: they do not all come at once.
fn heard_before(host: usize, hosts: usize) -> Duration {
    pace(hosts) * host as u32 / hosts as u32
}

/// The place of the host of this name.
fn place(name: &str) -> usize {
    name[1..].parse().expect("a name of ours")
}
