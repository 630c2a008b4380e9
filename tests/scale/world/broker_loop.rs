//! The loop of the issuer's broker: what src/broker/run.rs and wires.rs do with sockets, in the same order and with the same
//! limits.

use std::time::Duration;

use zhit::broker::machine;
use zhit::protocol::Moment;
use zhit::protocol::limits::{HOST_MESSAGES_PER_TURN_MAX, MESSAGES_PER_TURN_MAX};

use super::{
    INTERVAL, LOCAL_HOP, Letter, NETWORK_HOP, RECEIVE, SEND, World, at_worker, hear_all, is_of_mesh, name, place,
    wire_bytes, worker_of, worker_peer,
};

impl World {
    pub(super) fn turn_broker(&mut self) {
        let start = self.broker_at;
        self.broker_busy_until = start;
        self.outcome.longest_lines.1 = self.outcome.longest_lines.1.max(self.local.len());
        self.take_local(start);
        self.take_from_others(start);
        if self.broker_busy_until >= self.hear_at {
            self.hear_at = self.broker_busy_until + INTERVAL / 2;
            hear_all(&mut self.broker, self.broker_busy_until, self.workers);
        }
        let mut out = Vec::new();
        self.broker.on_tick(self.broker_busy_until, &mut out);
        self.broker_does(out, 0);
        let due = self.broker.next_deadline().min(self.broker_busy_until + INTERVAL / 4);
        let mut next = if self.ready.is_empty() { due } else { start };
        if let Some(((at, _), _)) = self.local.first_key_value() {
            next = next.min(*at);
        }
        if let Some((at, _)) = self.waiting.first() {
            next = next.min(*at);
        }
        self.broker_at = next.max(self.broker_busy_until).max(start + Duration::from_micros(1));
    }

    fn take_local(&mut self, start: Moment) {
        for _ in 0..MESSAGES_PER_TURN_MAX {
            let Some(first) = self.local.first_entry().filter(|first| first.key().0 <= start) else {
                return;
            };
            let (from, letter) = first.remove();
            self.broker_busy_until += RECEIVE;
            self.outcome.broker.take(wire_bytes(&letter.message));
            let mut out = Vec::new();
            self.broker
                .on_message(self.broker_busy_until, from, letter.message, &mut out);
            self.broker_does(out, letter.hops);
        }
    }

    /// One host after the other, from behind the one that was heard last; no more of each and in all than a turn has room
    /// for.
    fn take_from_others(&mut self, start: Moment) {
        while let Some((at, host)) = self.waiting.first().copied().filter(|(at, _)| *at <= start) {
            self.waiting.remove(&(at, host));
            self.waits_until[host] = None;
            self.ready.insert(host);
        }
        let first = self.heard_last + 1;
        let turn = self.ready.range(first..).chain(self.ready.range(..first));
        let mut taken = 0;
        for host in turn.copied().collect::<Vec<_>>() {
            if taken >= MESSAGES_PER_TURN_MAX * 2 {
                return;
            }
            for _ in 0..HOST_MESSAGES_PER_TURN_MAX {
                let said = self
                    .others
                    .take(host, &mut self.hosts[host], start, &mut self.outcome.sum);
                let Some(letter) = said else {
                    self.ready.remove(&host);
                    self.wait_for(host);
                    break;
                };
                taken += 1;
                self.take_called(host, letter);
            }
            self.heard_last = host;
        }
    }

    fn take_called(&mut self, host: usize, letter: Letter) {
        self.broker_busy_until += RECEIVE;
        let tally = if is_of_mesh(&letter.message) {
            &mut self.outcome.mesh
        } else {
            &mut self.outcome.broker
        };
        tally.take(wire_bytes(&letter.message));
        let mut out = Vec::new();
        self.broker
            .on_called(self.broker_busy_until, &name(host), letter.message, &mut out);
        self.broker_does(out, letter.hops);
    }

    /// The host is looked at again when it may have said something.
    pub(super) fn wait_for(&mut self, host: usize) {
        if self.ready.contains(&host) {
            return;
        }
        let at = self.hosts[host].next_at();
        if let Some(before) = self.waits_until[host].replace(at) {
            self.waiting.remove(&(before, host));
        }
        self.waiting.insert((at, host));
    }

    fn broker_does(&mut self, out: Vec<machine::Action>, hops: u32) {
        for action in out {
            match action {
                machine::Action::Send(to, message) => {
                    let Some((to, message)) = self.broker.relayed(to, message) else {
                        continue;
                    };
                    self.broker_busy_until += SEND;
                    if is_of_mesh(&message) {
                        self.outcome.mesh.send(wire_bytes(&message));
                        continue;
                    }
                    let bytes = self.outcome.sum.hop(&message);
                    self.outcome.broker.send(bytes);
                    let (at, hops) = (self.broker_busy_until + LOCAL_HOP, hops + 1);
                    match worker_of(to) {
                        Some(worker) => self.tell_worker(worker, Letter { at, hops, message }),
                        None => self.tell_issuer(Letter { at, hops, message }),
                    }
                }
                machine::Action::Call(host, message) => {
                    self.broker_busy_until += SEND;
                    if is_of_mesh(&message) {
                        self.outcome.mesh.send(wire_bytes(&message));
                    } else {
                        let bytes = self.outcome.sum.hop(&message);
                        self.outcome.broker.send(bytes);
                    }
                    let (at, hops) = (self.broker_busy_until + NETWORK_HOP, hops + 1);
                    let host = place(&host);
                    self.hosts[host].post(Letter { at, hops, message });
                    self.wait_for(host);
                }
                _ => {}
            }
        }
    }

    fn tell_issuer(&mut self, letter: Letter) {
        self.issuer_at = self.issuer_at.min(letter.at).max(self.issuer_busy_until);
        self.inbox.push_back(letter);
    }

    /// One of this host's own workers.
    fn tell_worker(&mut self, number: u32, letter: Letter) {
        let Some(machine) = self.own.get_mut(&number) else {
            return;
        };
        for (at, message) in at_worker(machine, letter.at, letter.message) {
            self.outcome.sum.hop(&message);
            let (at, hops) = (at + LOCAL_HOP, letter.hops + 1);
            self.post(worker_peer(number), Letter { at, hops, message });
        }
    }
}
