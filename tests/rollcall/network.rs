//! The network: Unix sockets on each host, and TCP between hosts.
//!
//! What goes over a Unix socket may be lost, repeated and reordered, where the seed says so. A TCP connection keeps the
//! order; what is cut waits. When a connection breaks, what is under way is lost, or still comes, late and out of order.

use std::collections::BTreeMap;
use std::time::Duration;

use zhit::protocol::{Message, Moment, Peer};

use crate::mail::{Flow, Mail};
use crate::rng::Rng;
use crate::world::{INTERVAL, LIVENESS};

/// After so much silence a TCP connection counts as broken.
const QUIET: Duration = Duration::from_millis(INTERVAL.as_millis() as u64 * LIVENESS as u64);

/// The issuer, as one who calls a broker; brokers are called by their hosts' places.
pub(crate) const ISSUER_CALLS: usize = 99;

/// Where a message has come.
pub(crate) enum Arrived {
    /// To the broker of a host, from a connection of its Unix socket.
    Local(usize, u64, Message),
    /// To such a connection of a host.
    Member(usize, u64, Message),
    /// To the broker of a host, from a connection at its public address.
    Public(usize, u64, Message),
    /// To one who has called the broker of a host.
    Called(usize, usize, Message),
}

/// How a host is, as the network sees it.
#[derive(Clone, Copy, Default)]
pub(crate) struct Pulse {
    /// Its broker's term; `None`: there is none.
    pub(crate) term: Option<u64>,
    /// Its broker's whole process stands still since then.
    pub(crate) stopped_since: Option<Moment>,
}

/// A TCP connection, or the attempt to make one.
struct Wire {
    rng: Rng,
    /// The routing id that it has at the one who is called; `None`: it is down.
    number: Option<u64>,
    terms: (u64, u64),
    connect_at: Moment,
    forth: Flow,
    back: Flow,
}

#[derive(Clone, Copy)]
struct Cut {
    since: Moment,
    until: Moment,
}

pub(crate) struct Network {
    now: Moment,
    slowest_ms: u64,
    mail: Mail,
    pulses: Vec<Pulse>,
    wires: BTreeMap<(usize, usize), Wire>,
    connections: u64,
    /// Directions in which nothing passes between two hosts.
    cuts: BTreeMap<(usize, usize), Cut>,
    /// What comes after its connection has broken, for the receiver with this term only.
    strays: Vec<(Moment, u64, Arrived)>,
}

pub(crate) fn peer(number: u64) -> Peer {
    Peer::from_routing_id(&number.to_be_bytes()).expect("eight bytes")
}

pub(crate) fn number(peer: Peer) -> u64 {
    u64::from_be_bytes(peer.routing_id().try_into().expect("eight bytes"))
}

/// The host on which one who calls is.
const fn place_of(caller: usize) -> usize {
    if caller == ISSUER_CALLS { 0 } else { caller }
}

impl Network {
    pub(crate) fn new(seed: u64, now: Moment, hosts: usize) -> Self {
        let mut rng = Rng::of([seed, 1, 0]);
        let mut network = Self {
            slowest_ms: rng.pick(&[(2, 2), (1, 30), (1, 80)]),
            mail: Mail::new(rng),
            now,
            pulses: vec![Pulse::default(); hosts],
            wires: BTreeMap::new(),
            connections: 0,
            cuts: BTreeMap::new(),
            strays: Vec::new(),
        };
        for (caller, server) in (0..hosts).flat_map(|a| (0..hosts).map(move |b| (a, b))) {
            if caller != server {
                network.open(seed, caller, server);
            }
        }
        network
    }

    /// Somebody wants a connection to the broker of a host.
    pub(crate) fn open(&mut self, seed: u64, caller: usize, server: usize) {
        let wire = Wire {
            // Its own stream: brokers answer their callers in no order.
            rng: Rng::of([seed, caller as u64 + 2, server as u64]),
            number: None,
            terms: (0, 0),
            connect_at: self.now,
            forth: Flow::default(),
            back: Flow::default(),
        };
        self.wires.insert((caller, server), wire);
    }

    pub(crate) fn close(&mut self, caller: usize) {
        self.wires.retain(|(by, _), _| *by != caller);
    }

    /// Over the Unix socket of a host.
    pub(crate) fn send_local(&mut self, host: usize, make: impl Fn() -> Arrived) {
        if let Some(term) = self.pulses[host].term {
            self.mail.send(self.now, (host, term), make);
        }
    }

    /// Whether Unix sockets lose messages.
    pub(crate) fn is_lossy(&self) -> bool {
        self.mail.loss > 0.0
    }

    /// From one who calls to the broker of a host; whether there is a connection.
    pub(crate) fn call(&mut self, caller: usize, server: usize, message: Message) -> bool {
        let slowest = self.slowest_ms;
        let Some(wire) = self.wires.get_mut(&(caller, server)) else {
            return false;
        };
        if wire.number.is_none() {
            return false;
        }
        let at = self.now + wire.rng.millis(0..slowest);
        wire.forth.push(at, message);
        true
    }

    /// From the broker of a host to one who has called it.
    pub(crate) fn answer(&mut self, server: usize, number: u64, message: Message) {
        let slowest = self.slowest_ms;
        let theirs = |wire: &&mut Wire| wire.number == Some(number);
        let mut wires = self.wires.iter_mut().filter(|((_, to), _)| *to == server);
        if let Some(wire) = wires.find_map(|(_, wire)| Some(wire).filter(theirs)) {
            let at = self.now + wire.rng.millis(0..slowest);
            wire.back.push(at, message);
        }
    }

    /// Nothing passes from one host to the other until then.
    pub(crate) fn cut(&mut self, from: usize, to: usize, until: Moment) {
        let since = self.now;
        let cut = self.cuts.entry((from, to)).or_insert(Cut { since, until });
        cut.until = cut.until.max(until);
    }

    pub(crate) fn heal(&mut self) {
        self.cuts.clear();
    }

    fn is_cut(&self, a: usize, b: usize) -> bool {
        self.cuts.contains_key(&(a, b)) || self.cuts.contains_key(&(b, a))
    }

    /// Whether what one says reaches the broker of a host, and its answers come back.
    pub(crate) fn is_sound(&self, caller: usize, server: usize) -> bool {
        let wire = self.wires.get(&(caller, server));
        wire.is_some_and(|wire| wire.number.is_some()) && !self.is_cut(place_of(caller), server)
    }

    /// Whether one who has called may send.
    pub(crate) fn is_connected(&self, caller: usize, server: usize) -> bool {
        self.wires
            .get(&(caller, server))
            .is_some_and(|wire| wire.number.is_some())
    }

    /// Time has passed: connections break and come up, and messages arrive.
    pub(crate) fn turn(&mut self, now: Moment, pulses: Vec<Pulse>) -> Vec<Arrived> {
        (self.now, self.pulses) = (now, pulses);
        self.cuts.retain(|_, cut| cut.until > now);
        let mut wires = std::mem::take(&mut self.wires);
        let mut all = Vec::new();
        for (ends, wire) in &mut wires {
            if wire.number.is_none() {
                self.connect(*ends, wire);
            } else if self.is_broken(*ends, wire) {
                self.break_off(*ends, wire);
            }
            self.carry(*ends, wire, &mut all);
        }
        self.wires = wires;
        self.deliver_strays(&mut all);
        self.mail.deliver(now, &self.pulses, &mut all);
        all
    }

    fn term_of(&self, caller: usize) -> Option<u64> {
        if caller == ISSUER_CALLS {
            return Some(0);
        }
        self.pulses[caller].term
    }

    fn stopped_since(&self, caller: usize) -> Option<Moment> {
        let pulse = self.pulses.get(caller)?;
        pulse.stopped_since
    }

    fn connect(&mut self, (caller, server): (usize, usize), wire: &mut Wire) {
        let stops = self.stopped_since(caller).or(self.stopped_since(server));
        let terms = self.term_of(caller).zip(self.term_of(server));
        let Some(terms) = terms.filter(|_| stops.is_none() && !self.is_cut(place_of(caller), server)) else {
            wire.connect_at = self.now + wire.rng.millis(1..150);
            return;
        };
        if self.now >= wire.connect_at {
            self.connections += 1;
            (wire.number, wire.terms) = (Some(self.connections), terms);
            (wire.forth, wire.back) = (Flow::default(), Flow::default());
        }
    }

    fn is_broken(&self, (caller, server): (usize, usize), wire: &Wire) -> bool {
        if self.term_of(caller).zip(self.term_of(server)) != Some(wire.terms) {
            return true;
        }
        let place = place_of(caller);
        let cuts = [(place, server), (server, place)].map(|ends| self.cuts.get(&ends).map(|cut| cut.since));
        let since = [self.stopped_since(caller), self.stopped_since(server)];
        let mut since = cuts.into_iter().chain(since).flatten();
        since.any(|since| self.now.since(since) >= QUIET)
    }

    fn break_off(&mut self, (caller, server): (usize, usize), wire: &mut Wire) {
        let Some(number) = wire.number.take() else { return };
        wire.connect_at = self.now + wire.rng.millis(1..150);
        let (forth, back) = (std::mem::take(&mut wire.forth), std::mem::take(&mut wire.back));
        let forth = forth.queue.into_iter().map(|(_, message)| (true, message));
        let back = back.queue.into_iter().map(|(_, message)| (false, message));
        for (goes_forth, message) in forth.chain(back) {
            let copies = wire.rng.pick(&[(60, 0), (35, 1), (5, 2)]);
            for _ in 0..copies {
                let at = self.now + wire.rng.millis(0..400);
                let message = message.clone();
                self.strays.push(if goes_forth {
                    (at, wire.terms.1, Arrived::Public(server, number, message))
                } else {
                    (at, wire.terms.0, Arrived::Called(caller, server, message))
                });
            }
        }
    }

    fn carry(&self, (caller, server): (usize, usize), wire: &mut Wire, all: &mut Vec<Arrived>) {
        let Some(number) = wire.number else { return };
        let place = place_of(caller);
        if !self.cuts.contains_key(&(place, server)) {
            while let Some(message) = wire.forth.pop(self.now) {
                all.push(Arrived::Public(server, number, message));
            }
        }
        if !self.cuts.contains_key(&(server, place)) {
            while let Some(message) = wire.back.pop(self.now) {
                all.push(Arrived::Called(caller, server, message));
            }
        }
    }

    fn deliver_strays(&mut self, all: &mut Vec<Arrived>) {
        let now = self.now;
        for (_, term, arrived) in self.strays.extract_if(.., |(at, _, _)| *at <= now).collect::<Vec<_>>() {
            let receiver = match &arrived {
                Arrived::Public(host, ..) | Arrived::Called(host, ..) => *host,
                Arrived::Local(..) | Arrived::Member(..) => continue,
            };
            if self.term_of(receiver) == Some(term) {
                all.push(arrived);
            }
        }
    }
}
