//! A worker's control thread: makes the worker known to its broker, exchanges heartbeats, and leads its slots out when
//! the worker is asked to end.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tracing::{info, warn};

use crate::clock;
use crate::mapped::Counters;
use crate::net::{Context, Dealer, Interest, NetError, Poll, Received, Sent, Waker};
use crate::notify;
use crate::protocol::Message;
use crate::protocol::ids::{Member, Term};
use crate::protocol::limits::MESSAGES_PER_TURN_MAX;
use crate::protocol::message::{Disconnect, Goodbye, Heartbeat, Register, Registered};
use crate::protocol::time::Moment;

use super::broadcasts::{self, Broadcasts};
use super::elector::Elector;
use super::herald::Herald;
use super::lease::Identity;
use super::slot::Orders;

/// How long a worker waits for its broker to let it go; one that is there answers at once.
const FAREWELL_WAIT: Duration = Duration::from_millis(250);

/// What the control thread knows of its broker.
#[derive(Debug)]
enum Link {
    /// REGISTER is repeated at `at`.
    Unknown { at: Moment },
    /// Known to the broker of this term, which was heard then.
    Known {
        term: Term,
        heard_at: Moment,
        beat_at: Moment,
    },
}

/// The control thread's own state.
pub(super) struct Control {
    me: Identity,
    interval: Duration,
    liveness: u32,
    dealer: Dealer,
    link: Link,
    beat: u64,
    no_route: bool,
    announced: bool,
    /// `None`: this worker elects nobody.
    elector: Option<Elector>,
    let_go: bool,
    orders: Arc<Orders>,
    slots: Vec<Waker>,
    counters: Arc<Counters>,
    broadcasts: Broadcasts,
    herald: Herald,
    asked: Vec<broadcasts::Action>,
}

impl Control {
    /// A control thread for these slots; `me` has slot number 0.
    pub(super) fn new(
        me: Identity,
        (interval, liveness): (Duration, u32),
        (context, socket): (&Context, &std::path::Path),
        orders: Arc<Orders>,
        (slots, counters): (Vec<Waker>, Arc<Counters>),
        (elector, herald): (Option<Elector>, Herald),
    ) -> Result<Self, NetError> {
        let mut dealer = Dealer::new(context)?;
        dealer.connect(socket)?;
        let member = Member::new(me.slot.worker, me.incarnation);
        Ok(Self {
            broadcasts: Broadcasts::new(member, interval, herald.is_prompt()),
            herald,
            asked: Vec::new(),
            me,
            interval,
            liveness,
            dealer,
            link: Link::Unknown { at: Moment::ZERO },
            beat: 0,
            no_route: true,
            announced: false,
            elector,
            let_go: false,
            orders,
            slots,
            counters,
        })
    }

    /// One turn: receives, sends what is due, then waits for something to happen, at most a quarter of an interval
    /// (rule A1). `stop` ends the wait.
    pub(super) fn turn(&mut self, stop: &Waker) -> Result<(), NetError> {
        self.turn_within(stop, self.interval / 4)
    }

    /// As [`turn`](Self::turn), with a shorter wait.
    pub(super) fn turn_within(&mut self, stop: &Waker, longest: Duration) -> Result<(), NetError> {
        self.receive()?;
        self.broadcast()?;
        if let Some(elector) = &mut self.elector {
            let due = elector.turn()?;
            if due.another_broker {
                self.link = Link::Unknown { at: clock::now() };
                self.tell_slots();
            }
            if due.ping {
                self.send(&Message::Ping { nonce: self.beat })?;
            }
        }
        self.send_due(clock::now())?;
        self.wait(stop, longest.min(self.interval / 4))
    }

    fn receive(&mut self) -> Result<(), NetError> {
        self.beat += 1;
        self.counters.bump(0);
        for _ in 0..MESSAGES_PER_TURN_MAX {
            match self.dealer.recv()? {
                None => break,
                Some(Received::Frames(frames)) => match Message::decode(&frames.header, frames.body) {
                    Ok(message) => self.on_message(clock::now(), message),
                    Err(error) => warn!(%error, "dropped what is no message"),
                },
                Some(malformed) => warn!(?malformed, "dropped what is no message"),
            }
        }
        Ok(())
    }

    /// Takes what has run, and sends what is to be said of it.
    fn broadcast(&mut self) -> Result<(), NetError> {
        let now = clock::now();
        for done in self.herald.done() {
            self.broadcasts.on_done(now, done, &mut self.asked);
        }
        self.broadcasts.on_tick(now, self.herald.state(), &mut self.asked);
        while !self.asked.is_empty() {
            for action in std::mem::take(&mut self.asked) {
                match action {
                    broadcasts::Action::Send(message) => self.send(&message)?,
                    broadcasts::Action::Run(job) => {
                        if let Some(done) = self.herald.run(job) {
                            self.broadcasts.on_done(now, done, &mut self.asked);
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// Whether no broadcast runs or waits for that.
    pub(super) fn has_answered(&self) -> bool {
        self.broadcasts.is_idle()
    }

    fn on_message(&mut self, now: Moment, message: Message) {
        if let Some(elector) = &mut self.elector {
            // Whatever comes on this connection the broker itself has said.
            elector.on_answer();
        }
        match message {
            Message::Registered(registered) => self.on_registered(now, &registered),
            Message::Heartbeat(heartbeat) => {
                if let Link::Known { term, heard_at, .. } = &mut self.link
                    && *term == heartbeat.term
                {
                    *heard_at = now;
                }
            }
            Message::Ask(ask) => self.broadcasts.on_ask(now, ask, &mut self.asked),
            Message::Thanks(thanks) => self.broadcasts.on_thanks(&thanks),
            Message::Farewell => self.let_go = true,
            Message::Disconnect(reason) => {
                if reason == Disconnect::Leaving && matches!(self.link, Link::Known { .. }) {
                    info!("the broker is leaving");
                }
                self.link = Link::Unknown {
                    at: now + self.interval / 4,
                };
            }
            _ => {}
        }
    }

    fn on_registered(&mut self, now: Moment, registered: &Registered) {
        let term = registered.term;
        if let Some(elector) = &mut self.elector {
            elector.on_term(term);
        }
        self.interval = Duration::from_millis(u64::from(registered.interval_ms.max(1)));
        self.liveness = registered.liveness.max(1);
        let new = !matches!(self.link, Link::Known { term: known, .. } if known == term);
        self.link = Link::Known {
            term,
            heard_at: now,
            beat_at: now + self.interval,
        };
        if new {
            self.tell_slots();
            let (worker, pool, slots) = (self.me.slot.worker, &self.me.pool, self.me.slots);
            info!(
                "{}/{worker} serves pool {pool} with {slots} slots (broker term {term})",
                registered.host
            );
            notify::ready();
            self.announced = true;
        }
    }

    /// There is a broker that may not know the slots.
    fn tell_slots(&self) {
        self.orders.registrations.fetch_add(1, Ordering::Release);
        self.slots.iter().for_each(Waker::wake);
    }

    fn send_due(&mut self, now: Moment) -> Result<(), NetError> {
        match self.link {
            Link::Unknown { at } if at <= now => {
                self.link = Link::Unknown {
                    at: now + self.interval,
                };
                self.send(&self.register())?;
                // In its first turn the socket cannot have connected yet.
                if self.no_route && !self.announced && self.beat > 1 && self.elector.is_none() {
                    info!("no broker on this host yet; start one: zhit broker");
                    self.announced = true;
                }
            }
            Link::Known { heard_at, .. } if now.since(heard_at) >= self.interval * self.liveness => {
                warn!(silent = ?now.since(heard_at), "the broker is silent");
                self.link = Link::Unknown { at: now };
            }
            Link::Known {
                term,
                heard_at,
                beat_at,
            } if beat_at <= now => {
                self.link = Link::Known {
                    term,
                    heard_at,
                    beat_at: now + self.interval,
                };
                self.send(&Message::Heartbeat(Heartbeat { term, beat: self.beat }))?;
            }
            _ => {}
        }
        Ok(())
    }

    fn send(&mut self, message: &Message) -> Result<(), NetError> {
        if self.dealer.send(message.encode())? == Sent::NoRoute {
            if matches!(self.link, Link::Known { .. }) {
                warn!("the broker is gone");
                self.link = Link::Unknown { at: clock::now() };
            }
            self.no_route = true;
        }
        Ok(())
    }

    fn register(&self) -> Message {
        Message::Register(Register {
            slot: self.me.slot,
            incarnation: self.me.incarnation,
            pid: self.me.pid,
            pool: self.me.pool.clone(),
            slots: self.me.slots,
            journal: self.me.journal,
            votes: self.me.votes,
            draining: self.orders.drain.load(Ordering::Acquire),
            hit: None,
        })
    }

    /// The worker takes no new Hit; slots and broker are told.
    pub(super) fn drain(&mut self) -> Result<(), NetError> {
        notify::stopping();
        self.orders.drain.store(true, Ordering::Release);
        self.slots.iter().for_each(Waker::wake);
        self.send(&self.register())
    }

    /// The grace is over: slots end what they run.
    pub(super) fn abandon(&self) {
        self.orders.abandon.store(true, Ordering::Release);
        self.slots.iter().for_each(Waker::wake);
    }

    /// There is no time left: slots kill what they run.
    pub(super) fn kill(&self) {
        self.orders.kill.store(true, Ordering::Release);
        self.abandon();
    }

    /// Says goodbye for the whole worker and waits a moment to be let go.
    pub(super) fn say_goodbye(&mut self, stop: &Waker) -> Result<(), NetError> {
        let goodbye = Goodbye {
            slot: self.me.slot,
            incarnation: self.me.incarnation,
        };
        if self.dealer.send(Message::Goodbye(goodbye).encode())? == Sent::NoRoute {
            return Ok(());
        }
        let until = clock::now() + FAREWELL_WAIT;
        loop {
            self.receive()?;
            let left = until.since(clock::now());
            if self.let_go || left.is_zero() {
                return Ok(());
            }
            self.wait(stop, left)?;
        }
    }

    fn wait(&mut self, stop: &Waker, longest: Duration) -> Result<(), NetError> {
        let elector = self.elector.as_ref();
        let now = clock::now();
        let due = elector.map_or(longest, |elector| elector.next_deadline().since(now));
        let due = self.broadcasts.next_deadline().map_or(due, |at| at.since(now).min(due));
        let ends: Vec<_> = elector.into_iter().flat_map(Elector::ends).collect();
        let mut poll = Poll::new();
        let dealer = poll.socket(&self.dealer, Interest::READ | Interest::WRITE.when(self.no_route));
        let stopped = poll.fd(stop, Interest::READ);
        let ended: Vec<_> = ends.iter().map(|end| poll.fd(end, Interest::READ)).collect();
        if let Some(elector) = elector {
            elector.poll(&mut poll);
        }
        let ready = poll.wait(Some(longest.min(due)))?;
        if ready.readable(stopped) {
            stop.drain();
        }
        if ended.into_iter().any(|end| ready.readable(end))
            && let Some(elector) = &mut self.elector
        {
            elector.on_ended();
        }
        if self.no_route && ready.writable(dealer) {
            self.no_route = false;
            self.link = Link::Unknown { at: clock::now() };
        }
        Ok(())
    }
}
