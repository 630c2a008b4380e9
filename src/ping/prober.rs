//! One question after the other, to this host's broker and to those of others.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use crate::clock;
use crate::gateway::Gateway;
use crate::net::{Context, Interest, NetError, Poll, Sent, Waker};
use crate::options::{PingOptions, Target};
use crate::protocol::ids::{ReturnPath, SlotId, WorkerId};
use crate::protocol::limits::{CONNECT_GAP, INTERVAL, LIVENESS, MASTER_GAP};
use crate::protocol::message::Pong;
use crate::protocol::pool::Probe;
use crate::protocol::{Message, Moment};
use crate::runtime::{BrokerLock, RuntimeDir};
use crate::signals::Stop;

use super::PingError;
use super::hosts::Hosts;
use super::slots::Slots;

/// How soon a slot that has not answered is asked again.
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(200);

/// What became of one ping.
pub(super) enum Asked {
    Answered(Box<Pong>, Duration),
    Lost,
    /// Not reached, and why.
    Nowhere(String),
    NoBroker,
    Signal(i32),
}

pub(super) struct Prober<'a> {
    pub(super) dir: &'a RuntimeDir,
    gateway: Gateway,
    stop: &'a Stop,
    waker: Waker,
    nonce: u64,
    here: String,
    /// The host that is asked.
    there: String,
}

impl<'a> Prober<'a> {
    pub(super) fn new(
        options: &PingOptions,
        context: &Context,
        dir: &'a RuntimeDir,
        stop: &'a Stop,
    ) -> Result<Self, NetError> {
        let here = options.place.host.clone();
        let gateway = Gateway::new(context, dir, &here, &options.others, INTERVAL * LIVENESS)?;
        let waker = Waker::new()?;
        stop.register(&waker);
        let there = options.target.as_ref().map_or(&here, |target| &target.host);
        Ok(Self {
            dir,
            gateway,
            stop,
            waker,
            nonce: 0,
            there: there.clone(),
            here,
        })
    }

    /// The host that is asked, if it is another.
    pub(super) fn there(&self) -> Option<&str> {
        (self.there != self.here).then_some(&self.there)
    }

    /// The host through which others are asked, if that is not this one.
    pub(super) fn through(&self) -> Option<&str> {
        self.gateway.through()
    }

    /// One ping of at most `wait`. With `give_up_early`, a host that has no master ends it soon. Another host is asked
    /// through this one, and where that one is silent through each of the others, until it is heard.
    pub(super) fn ask(&mut self, wait: Duration, give_up_early: bool) -> Result<Asked, PingError> {
        if self.there().is_none() {
            self.gateway.go_home()?;
            return self.ask_once(clock::now() + wait, give_up_early);
        }
        let began = self.gateway.through().map(str::to_owned);
        loop {
            let asked = self.ask_once(clock::now() + wait, give_up_early)?;
            let is_silent = matches!(asked, Asked::Lost | Asked::NoBroker);
            if !is_silent || !self.gateway.go_on()? || self.gateway.through() == began.as_deref() {
                return Ok(asked);
            }
        }
    }

    fn ask_once(&mut self, until: Moment, give_up_early: bool) -> Result<Asked, PingError> {
        self.nonce += 1;
        let began_at = clock::now();
        let mut sent_at = None;
        loop {
            if let Some(number) = self.signal() {
                return Ok(Asked::Signal(number));
            }
            if sent_at.is_none() {
                // Taken before the sending: this thread may be held up after it, and the answer be here already.
                let before = clock::now();
                let sent = self.gateway.send(&self.there, &Message::Ping { nonce: self.nonce })?;
                sent_at = (sent == Sent::Done).then_some(before);
            }
            // What answers an earlier ping, or is no PONG, is passed over.
            while let Some((host, said)) = self.gateway.hear()? {
                match said {
                    Ok(Message::Pong(pong)) if pong.nonce == self.nonce => {
                        let rtt = clock::now().since(sent_at.unwrap_or(began_at));
                        return Ok(Asked::Answered(Box::new(pong), rtt));
                    }
                    Err(why) if host == self.there => return Ok(Asked::Nowhere(why)),
                    _ => {}
                }
            }
            let now = clock::now();
            let early = give_up_early && sent_at.is_none() && self.gateway.through().is_none();
            if early && now.since(began_at) >= MASTER_GAP && !BrokerLock::is_held(self.dir)? {
                return Ok(Asked::NoBroker);
            }
            let away = self.is_away(sent_at.is_some(), began_at);
            if now >= until || away {
                return Ok(Asked::Lost);
            }
            let wake_at = if early {
                until.min(now + MASTER_GAP)
            } else {
                self.look_again_at(until, sent_at.is_some(), began_at)
            };
            self.wait(wake_at, Interest::READ | Interest::WRITE.when(sent_at.is_none()))?;
        }
    }

    /// One ping to each of these hosts, of at most `wait`; `heard`: this host's broker has just answered. Where it has
    /// not, they are asked through one of themselves.
    pub(super) fn ask_hosts(
        &mut self,
        others: &BTreeMap<String, SocketAddr>,
        wait: Duration,
        heard: bool,
    ) -> Result<Hosts, NetError> {
        let names: Vec<String> = others.keys().cloned().collect();
        if heard {
            return self.ask_hosts_once(&names, wait);
        }
        let mut hosts = Hosts::new(&names);
        for _ in others {
            self.gateway.go_on()?;
            hosts = self.ask_hosts_once(&names, wait)?;
            if hosts.has_heard() || self.signal().is_some() {
                break;
            }
        }
        Ok(hosts)
    }

    /// Whether the other host that it goes through is not there: it was not connected to in time.
    fn is_away(&self, connected: bool, since: Moment) -> bool {
        self.gateway.through().is_some() && !connected && clock::now().since(since) >= CONNECT_GAP
    }

    /// Until when to wait for something to happen.
    fn look_again_at(&self, until: Moment, connected: bool, since: Moment) -> Moment {
        if self.gateway.through().is_some() && !connected {
            until.min(since + CONNECT_GAP)
        } else {
            until
        }
    }

    fn ask_hosts_once(&mut self, names: &[String], wait: Duration) -> Result<Hosts, NetError> {
        self.nonce += 1;
        let asked_at = clock::now();
        let until = asked_at + wait;
        let mut hosts = Hosts::new(names);
        let mut unasked = names.iter().peekable();
        let mut connected = false;
        while hosts.awaits_any() && clock::now() < until && self.signal().is_none() {
            if self.is_away(connected, asked_at) {
                break;
            }
            while let Some(host) = unasked.peek()
                && self.gateway.send(host, &Message::Ping { nonce: self.nonce })? == Sent::Done
            {
                connected = true;
                unasked.next();
            }
            while let Some((host, said)) = self.gateway.hear()? {
                let rtt = clock::now().since(asked_at);
                match said {
                    Ok(Message::Pong(pong)) if pong.nonce == self.nonce => hosts.on_pong(&host, pong, rtt),
                    Ok(_) => {}
                    Err(why) => hosts.on_nowhere(&host, why),
                }
            }
            if hosts.awaits_any() {
                let wake_at = self.look_again_at(until, connected, asked_at);
                self.wait(wake_at, Interest::READ | Interest::WRITE.when(unasked.peek().is_some()))?;
            }
        }
        hosts.give_up(clock::now().since(asked_at));
        Ok(hosts)
    }

    /// Asks the slots that `target` names what they do, until all have said so, or until then. Who is not there is named.
    pub(super) fn ask_slots(
        &mut self,
        target: &Target,
        pong: &Pong,
        until: Moment,
    ) -> Result<Result<Option<Slots>, String>, NetError> {
        let mut slots = match Slots::of(target, pong) {
            Ok(Some(slots)) => slots,
            other => return Ok(other),
        };
        let worker = target.worker.unwrap_or_default();
        let mut asked_at = BTreeMap::new();
        let mut ask_at = clock::now();
        while slots.silent().next().is_some() && clock::now() < until && self.signal().is_none() {
            if clock::now() >= ask_at {
                // One of a living worker may be about to register: nobody answers for it.
                ask_at = clock::now() + ASK_AGAIN_AFTER;
                self.nonce += 1;
                asked_at.insert(self.nonce, clock::now());
                self.probe(worker, slots.silent())?;
            }
            while let Some((_, said)) = self.gateway.hear()? {
                if let Ok(Message::State(state)) = said
                    && let Some(asked_at) = asked_at.get(&state.nonce)
                {
                    slots.on_state(state, clock::now().since(*asked_at));
                }
            }
            if slots.silent().next().is_some() {
                self.wait(until.min(ask_at), Interest::READ)?;
            }
        }
        Ok(Ok(Some(slots)))
    }

    fn probe(&mut self, worker: WorkerId, numbers: impl Iterator<Item = u32>) -> Result<(), NetError> {
        for number in numbers {
            let probe = Probe {
                nonce: self.nonce,
                slot: SlotId { worker, number },
                path: ReturnPath::default(),
            };
            // One that cannot be sent is not answered, which is said.
            let _ = self.gateway.send(&self.there, &Message::Probe(probe))?;
        }
        Ok(())
    }

    /// Waits for `until`; returns the signal that ends it early.
    pub(super) fn pause_until(&mut self, until: Moment) -> Result<Option<i32>, NetError> {
        while self.signal().is_none() && clock::now() < until {
            self.wait(until, Interest::NONE)?;
        }
        Ok(self.signal())
    }

    fn signal(&self) -> Option<i32> {
        (self.stop.stage() > 0).then(|| self.stop.signal())
    }

    fn wait(&self, until: Moment, interest: Interest) -> Result<(), NetError> {
        let mut poll = Poll::new();
        poll.socket(self.gateway.dealer(), interest);
        poll.fd(&self.waker, Interest::READ);
        poll.wait(Some(until.since(clock::now())))?;
        self.waker.drain();
        Ok(())
    }
}
