//! Another host: its broker, and its workers.
//!
//! All are alike, and a broker keeps nothing of a broadcast: so one machine stands for the brokers of all other hosts, and only
//! their names are exchanged at its door. What a host has been sent lies in its letterbox until somebody wants to know what
//! it has said; then it is worked off, with the times it bears. A worker has a machine of its own, from the ASK until
//! THANKS has come and no further word can.

use std::collections::{BTreeMap, VecDeque};

use zhit::broker::machine::{self, Machine};
use zhit::protocol::mesh::{Relay, Relayed};
use zhit::protocol::{Message, Moment, Peer};
use zhit::worker::broadcasts::Broadcasts;

use crate::cost::{INTERVAL, LOCAL_HOP, Letter, NETWORK_HOP, RECEIVE, SEND, Sum, Tally, is_of_mesh, kind, wire_bytes};
use crate::members::{at_worker, broker, greeting, hear_all, member, name, pace, peer, worker_of, worker_peer};

/// Their one broker.
pub(crate) struct Others {
    broker: Machine,
    /// The connection of the issuer's broker.
    caller: Peer,
    news: Message,
    hosts: usize,
    workers: u32,
    /// What the workers of the host that is looked at have exchanged, and its broker.
    pub(crate) seen: usize,
    pub(crate) broker_tally: Tally,
    pub(crate) worker_tally: Tally,
}

/// One host.
#[derive(Default)]
pub(crate) struct Host {
    /// What was sent to it and not worked off.
    letterbox: VecDeque<Letter>,
    /// What it has said and nobody has taken.
    said: VecDeque<Letter>,
    free_at: Moment,
    news_at: Moment,
    awake: BTreeMap<u32, Broadcasts>,
}

impl Host {
    pub(crate) fn new(news_at: Moment) -> Self {
        Self {
            news_at,
            ..Self::default()
        }
    }

    pub(crate) fn post(&mut self, letter: Letter) {
        self.letterbox.push_back(letter);
    }

    /// How many of its workers still keep an answer for the issuer.
    pub(crate) fn unthanked(&self) -> usize {
        self.awake.len()
    }

    /// Nothing of it is there before that.
    pub(crate) fn next_at(&self) -> Moment {
        let first = self.said.front().map(|letter| letter.at);
        let next = self.letterbox.front().map(|letter| letter.at + NETWORK_HOP);
        first.or(next).map_or(self.news_at, |at| at.min(self.news_at))
    }
}

impl Others {
    pub(crate) fn new(now: Moment, hosts: usize, workers: u32) -> Self {
        let mut broker = broker(now, 1, workers);
        broker.set_mesh(now, greeting(1, hosts), [name(0)]);
        let caller = peer(1).public();
        let mut out = Vec::new();
        broker.on_public(now, caller, Message::Greet(greeting(0, hosts)), &mut out);
        let news = out.into_iter().find_map(|action| match action {
            machine::Action::Send(_, message @ Message::News(_)) => Some(message),
            _ => None,
        });
        Self {
            broker,
            caller,
            news: news.expect("who has greeted is told the news"),
            hosts,
            workers,
            seen: 1,
            broker_tally: Tally::default(),
            worker_tally: Tally::default(),
        }
    }

    /// Works off all that was sent to this host; what it says to that nobody takes any more.
    pub(crate) fn work_off(&mut self, place: usize, host: &mut Host, sum: &mut Sum) {
        while let Some(letter) = host.letterbox.pop_front() {
            self.react(place, host, letter, sum);
        }
    }

    /// The next that this host says by then.
    pub(crate) fn take(&mut self, place: usize, host: &mut Host, until: Moment, sum: &mut Sum) -> Option<Letter> {
        if host.news_at <= until {
            let (at, hops, message) = (host.news_at, 1, self.news.clone());
            host.news_at = at + pace(self.hosts);
            return Some(Letter { at, hops, message });
        }
        while host.said.front().is_none() && host.letterbox.front().is_some_and(|letter| letter.at <= until) {
            let letter = host.letterbox.pop_front().expect("it is there");
            self.react(place, host, letter, sum);
        }
        let is_there = host.said.front().is_some_and(|letter| letter.at <= until);
        is_there.then(|| host.said.pop_front()).flatten()
    }

    fn react(&mut self, place: usize, host: &mut Host, letter: Letter, sum: &mut Sum) {
        let own = name(1);
        let message = match letter.message {
            Message::Relay(relay) => Message::Relay(Relay { host: own, ..relay }),
            message => message,
        };
        if place == self.seen && !is_of_mesh(&message) {
            self.broker_tally.take(wire_bytes(&message));
        }
        let now = letter.at.max(host.free_at) + RECEIVE;
        self.broker.on_tick(now, &mut Vec::new());
        if kind(&message) == "CHECK" {
            hear_all(&mut self.broker, now, self.workers);
        }
        let mut out = Vec::new();
        self.broker.on_public(now, self.caller, message, &mut out);
        host.free_at = now;
        let words = self.perform(place, host, out, letter.hops, sum);
        // What its workers say to it comes in the order of its times.
        let mut words: VecDeque<_> = words.into();
        words.make_contiguous().sort_by_key(|(letter, _)| letter.at);
        for (letter, worker) in words {
            if place == self.seen {
                self.broker_tally.take(wire_bytes(&letter.message));
            }
            let now = letter.at.max(host.free_at) + RECEIVE;
            host.free_at = now;
            let mut out = Vec::new();
            self.broker
                .on_message(now, worker_peer(worker), letter.message, &mut out);
            let more = self.perform(place, host, out, letter.hops, sum);
            assert!(more.is_empty(), "an answer has awakened a worker");
        }
    }

    /// Sends what the broker says; returns what its workers say to that.
    fn perform(
        &mut self,
        place: usize,
        host: &mut Host,
        out: Vec<machine::Action>,
        hops: u32,
        sum: &mut Sum,
    ) -> Vec<(Letter, u32)> {
        let mut words = Vec::new();
        for action in out {
            let machine::Action::Send(to, message) = action else {
                continue;
            };
            host.free_at += SEND;
            let Some(worker) = worker_of(to) else {
                self.answer(place, host, (to, message), hops + 1, sum);
                continue;
            };
            let bytes = sum.hop(&message);
            if place == self.seen {
                self.broker_tally.send(bytes);
            }
            words.extend(self.tell_worker(place, host, (worker, message, bytes), hops + 1, sum));
        }
        words
    }

    fn answer(&mut self, place: usize, host: &mut Host, (to, message): (Peer, Message), hops: u32, sum: &mut Sum) {
        let Some((_, message)) = self.broker.relayed(to, message) else {
            return;
        };
        let message = match message {
            Message::Relayed(relayed) => Message::Relayed(Relayed {
                host: name(place),
                ..relayed
            }),
            Message::Greeted(_) => Message::Greeted(greeting(place, self.hosts)),
            message => message,
        };
        if !is_of_mesh(&message) {
            let bytes = sum.hop(&message);
            if place == self.seen {
                self.broker_tally.send(bytes);
            }
        }
        let at = host.free_at + NETWORK_HOP;
        host.said.push_back(Letter { at, hops, message });
    }

    fn tell_worker(
        &mut self,
        place: usize,
        host: &mut Host,
        (number, message, bytes): (u32, Message, u64),
        hops: u32,
        sum: &mut Sum,
    ) -> Vec<(Letter, u32)> {
        let ends = matches!(message, Message::Thanks(_));
        let machine = host
            .awake
            .entry(number)
            .or_insert_with(|| Broadcasts::new(member(number), INTERVAL, false));
        let said = at_worker(machine, host.free_at + LOCAL_HOP, message);
        if ends {
            host.awake.remove(&number);
        }
        let seen = place == self.seen && number == 1;
        if seen {
            self.worker_tally.take(bytes);
        }
        let letters = said.into_iter().map(|(at, message)| {
            let bytes = sum.hop(&message);
            if seen {
                self.worker_tally.send(bytes);
            }
            let (at, hops) = (at + LOCAL_HOP, hops + 1);
            (Letter { at, hops, message }, number)
        });
        letters.collect()
    }
}
