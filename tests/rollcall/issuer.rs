//! The issuer on the first host, as `src/broadcast/run.rs` and `src/gateway.rs` have it: through its own broker, or through
//! another host's.

use std::time::Duration;

use zhit::broadcast::gather::{Action, Config, Gather, Phase};
use zhit::protocol::ids::ReturnPath;
use zhit::protocol::mesh::{Relay, Within};
use zhit::protocol::{Message, Moment};

use crate::judge::Judge;
use crate::network::{Arrived, ISSUER_CALLS, Network};
use crate::world::{Clock, INTERVAL, LIVENESS, NAMES, PATIENCE, place_of};

/// As in `src/gateway.rs`.
const MASTER_GAP: Duration = Duration::from_millis(250);

/// Its connections have numbers from here on.
const CONNECTIONS: u64 = 1000;

pub(crate) struct Issuer {
    seed: u64,
    pub(crate) gather: Gather,
    hosts: usize,
    /// The host that it goes through, if that is not its own.
    pub(crate) through: Option<usize>,
    heard_at: Moment,
    no_route: bool,
    connection: u64,
    inbox: Vec<Message>,
    pub(crate) paused_until: Moment,
    paused_since: Option<Moment>,
    /// It has found no broker at all.
    pub(crate) gave_up: bool,
}

/// What it works with.
pub(crate) struct Desk<'a> {
    pub(crate) clock: Clock,
    pub(crate) net: &'a mut Network,
    pub(crate) judge: &'a mut Judge,
    /// Whether its own host has a broker.
    pub(crate) has_broker: bool,
}

impl Issuer {
    pub(crate) fn new(now: Moment, seed: u64, config: Config) -> Self {
        Self {
            seed,
            hosts: config.hosts.len(),
            gather: Gather::new(now, config),
            through: None,
            heard_at: now,
            no_route: true,
            connection: CONNECTIONS,
            inbox: Vec::new(),
            paused_until: Moment::ZERO,
            paused_since: None,
            gave_up: false,
        }
    }

    pub(crate) fn is_paused(&self) -> bool {
        self.paused_since.is_some()
    }

    pub(crate) const fn is_over(&self) -> bool {
        self.gave_up || matches!(self.gather.phase(), Phase::Closed)
    }

    /// Whether it is this that a message has come for; takes it.
    pub(crate) fn receive(&mut self, arrived: Arrived) -> Option<Arrived> {
        match arrived {
            Arrived::Member(0, to, message) if to == self.connection && self.through.is_none() => {
                self.inbox.push(message);
            }
            // To a connection that it has closed.
            Arrived::Member(0, CONNECTIONS.., _) => {}
            Arrived::Called(ISSUER_CALLS, host, message) => {
                if self.through == Some(host) {
                    self.inbox.push(message);
                }
            }
            other => return Some(other),
        }
        None
    }

    pub(crate) fn turn(&mut self, desk: &mut Desk<'_>) {
        let now = desk.clock.now;
        if now < self.paused_until {
            self.paused_since.get_or_insert(now);
            return;
        }
        if let Some(since) = self.paused_since.take() {
            desk.judge.issuer_woke(now, now.since(since));
        }
        let mut out = Vec::new();
        for message in std::mem::take(&mut self.inbox) {
            self.heard_at = now;
            self.take(now, message, &mut out);
            self.perform(&mut out, desk);
        }
        self.turn_elsewhere(desk);
        if !self.gather.has_heard() && now.since(self.gather.began_at()) >= PATIENCE {
            self.gave_up = true;
            desk.clock.say(|| "the issuer reaches no broker".to_owned());
            return desk.judge.nobody_reached(now);
        }
        self.gather.on_tick(now, &mut out);
        self.perform(&mut out, desk);
        if self.no_route && self.is_connected(desk) {
            self.no_route = false;
            self.gather.on_route(now, &mut out);
            self.perform(&mut out, desk);
        }
    }

    fn is_connected(&self, desk: &Desk<'_>) -> bool {
        match self.through {
            None => desk.has_broker,
            Some(host) => desk.net.is_connected(ISSUER_CALLS, host),
        }
    }

    fn take(&mut self, now: Moment, message: Message, out: &mut Vec<Action>) {
        let Message::Relayed(relayed) = message else {
            return self.gather.on_message(now, self.through.unwrap_or(0), message, out);
        };
        let Some(host) = place_of(&relayed.host) else {
            return;
        };
        let within = relayed.within.0;
        match within.map(|frames| Message::decode(&frames.header, frames.body)) {
            Some(Ok(message)) => self.gather.on_message(now, host, message, out),
            Some(Err(error)) => panic!("{error}"),
            None => self.gather.on_unreached(now, host, relayed.note.0, out),
        }
    }

    fn turn_elsewhere(&mut self, desk: &mut Desk<'_>) {
        let now = desk.clock.now;
        let silent = now.since(self.heard_at);
        let is_absent = self.through.is_none() && !desk.has_broker;
        if silent < MASTER_GAP || (silent < INTERVAL * LIVENESS && !is_absent) {
            return;
        }
        self.heard_at = now;
        if self.hosts == 1 {
            return;
        }
        let next = self.through.map_or(1, |at| at + 1);
        self.through = Some(next).filter(|next| *next < self.hosts);
        desk.net.close(ISSUER_CALLS);
        self.inbox.clear();
        self.connection += 1;
        if let Some(host) = self.through {
            desk.net.open(self.seed, ISSUER_CALLS, host);
        }
        let through = self.through.unwrap_or(0);
        desk.clock.say(|| format!("the issuer goes through {}", NAMES[through]));
        self.no_route = true;
    }

    fn perform(&mut self, actions: &mut Vec<Action>, desk: &mut Desk<'_>) {
        desk.judge.check(&self.gather);
        for action in std::mem::take(actions) {
            match action {
                Action::Send(host, message) => {
                    if !self.send(host, message, desk) {
                        self.no_route = true;
                    }
                }
                Action::Settled(place) => {
                    let seat = &self.gather.seats()[place];
                    desk.clock.say(|| format!("{}: {:?}", seat.name(), seat.verdict));
                    desk.judge.settled(seat);
                }
            }
        }
    }

    fn send(&self, host: usize, message: Message, desk: &mut Desk<'_>) -> bool {
        let message = if self.through.is_none() && host == 0 {
            message
        } else {
            Message::Relay(Relay {
                host: NAMES[host].to_owned(),
                path: ReturnPath::default(),
                within: Within::new(message.encode()),
            })
        };
        match self.through {
            Some(through) => desk.net.call(ISSUER_CALLS, through, message),
            None if desk.has_broker => {
                let from = self.connection;
                desk.net.send_local(0, || Arrived::Local(0, from, message.clone()));
                true
            }
            None => false,
        }
    }
}
