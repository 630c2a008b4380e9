//! The direct route, as a client's Hit sees it: when it is worth a connection, whether it answers, and that it is left
//! at the byte when it does not. Part of its pure machine; docs/protocol.md section 7.8.

use std::time::Duration;

use crate::protocol::limits::{DIRECT_AFTER, DIRECT_AFTER_BYTES, DIRECT_FAILURES_MAX, TURN_WITHIN};
use crate::protocol::message::{Closed, Direction, Message};
use crate::protocol::mutation::{Rule, broken};
use crate::protocol::route::{Lane, Route, Routing};
use crate::protocol::time::{Moment, earliest};

use super::{Hit, Lost, NoDirect, Outbox, Outcome, Phase};

/// What is known of the slot's own socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// None was named yet, or none is wanted.
    Unknown,
    /// It is not asked before then: the Hit may be over, or it did not answer.
    Resting { until: Moment },
    /// A connection to it is wanted; it is asked, once there is one, until it answers.
    Asking { since: Moment, ask_at: Option<Moment> },
    /// It has answered; `asked_at`: when it was first asked since.
    Up { asked_at: Option<Moment> },
}

/// The direct route, and by which of both the requests go.
#[derive(Debug)]
pub(super) struct Direct {
    routing: Routing,
    endpoint: String,
    state: State,
    pub(super) lane: Lane<Route>,
    /// How often, one after the other, it did not answer.
    failures: u32,
    /// Bytes of replies so far.
    received: u64,
    /// What the broker has said of the Hit's end, and until when the slot may say it, behind its bytes.
    put_off: Option<(Closed, Moment)>,
}

impl Direct {
    pub(super) const fn new(routing: Routing) -> Self {
        Self {
            routing,
            endpoint: String::new(),
            state: State::Unknown,
            lane: Lane::new(Route::Broker),
            failures: 0,
            received: 0,
            put_off: None,
        }
    }

    /// Requests are not sent by the broker.
    pub(super) fn is_forced(&self) -> bool {
        self.routing == Routing::Direct
    }

    const fn is_up(&self) -> bool {
        matches!(self.state, State::Up { .. })
    }

    /// The client says KEEPALIVE; returns which way. An idle one would not notice otherwise that nobody hears it.
    pub(super) fn keeps_alive(&mut self, now: Moment) -> Route {
        if let State::Up { asked_at } = &mut self.state {
            asked_at.get_or_insert(now);
        }
        self.lane.wanted()
    }

    /// Rule A3.
    pub(super) fn restart_clocks(&mut self, now: Moment) {
        if let State::Up { asked_at } = &mut self.state {
            *asked_at = asked_at.map(|_| now);
        }
    }

    pub(super) const fn on_reply(&mut self, bytes: usize) {
        self.received = self.received.saturating_add(bytes as u64);
    }

    /// The Hit is over, the broker says; bytes of the slot's may be under way.
    pub(super) fn put_off(&mut self, now: Moment, closed: Closed) {
        self.put_off.get_or_insert((closed, now + TURN_WITHIN));
    }

    /// The way of the next bytes; `None`: none may leave now.
    pub(super) fn for_bytes(&mut self, under_way: bool) -> Option<Route> {
        if self.is_forced() && !self.is_up() {
            return None;
        }
        self.lane.for_bytes(under_way)
    }

    /// It did not answer, or does no more.
    fn fail(&mut self, now: Moment, liveness: Duration) {
        self.failures = (self.failures + 1).min(DIRECT_FAILURES_MAX);
        self.state = if self.is_forced() {
            State::Asking {
                since: now,
                ask_at: None,
            }
        } else {
            State::Resting {
                until: now + liveness * self.failures,
            }
        };
        self.lane.jump_to(Route::Broker);
    }
}

impl Hit {
    /// Where a connection of this client's own is to lead, once one is wanted; an endpoint as the slot has named it.
    pub fn direct_endpoint(&self) -> Option<&str> {
        let wanted = matches!(self.direct.state, State::Asking { .. } | State::Up { .. }) && self.is_open();
        wanted.then_some(self.direct.endpoint.as_str())
    }

    /// Whether requests go straight to the slot.
    pub const fn is_direct(&self) -> bool {
        self.direct.is_up()
    }

    /// There is a connection to [`direct_endpoint`](Self::direct_endpoint): who is at its other end is asked. To say so
    /// again changes nothing.
    pub fn on_direct_route(&mut self, now: Moment) {
        if let State::Asking { ask_at, .. } = &mut self.direct.state {
            ask_at.get_or_insert(now);
        }
    }

    /// The connection to the slot has ended.
    pub fn on_direct_lost(&mut self, now: Moment) {
        match &mut self.direct.state {
            State::Up { .. } => self.fall_back(now),
            State::Asking { ask_at, .. } => *ask_at = None,
            State::Unknown | State::Resting { .. } => {}
        }
    }

    /// No connection can be made to what the slot has named.
    pub fn on_direct_impossible(&mut self, out: &mut Outbox) {
        self.direct.state = State::Unknown;
        if self.direct.is_forced() && self.is_open() {
            self.end_without_direct(NoDirect::NoEndpoint, out);
        }
    }

    /// The slot has named its own sockets.
    pub(super) fn on_endpoints(&mut self, now: Moment, endpoints: &[String], out: &mut Outbox) {
        if self.direct.routing == Routing::Broker || self.direct.state != State::Unknown {
            return;
        }
        let kind = if self.course.there().is_some() {
            "tcp://"
        } else {
            "ipc://"
        };
        let Some(endpoint) = endpoints.iter().find(|one| one.starts_with(kind)) else {
            if self.direct.is_forced() && self.is_open() {
                self.end_without_direct(NoDirect::NoEndpoint, out);
            }
            return;
        };
        endpoint.clone_into(&mut self.direct.endpoint);
        self.direct.state = if self.direct.is_forced() {
            State::Asking {
                since: now,
                ask_at: None,
            }
        } else {
            State::Resting {
                until: now + DIRECT_AFTER,
            }
        };
    }

    /// Whether a message that came by the connection to the slot is this client's. Nothing else is taken there.
    pub(super) fn is_direct_mine(&self, message: &Message) -> bool {
        let (hit, attach) = match message {
            Message::Data(data) if data.direction == Direction::ToClient => (data.hit, data.attach),
            Message::Ack(ack) if ack.direction == Direction::ToClient => (ack.hit, ack.attach),
            Message::Working(working) => (working.hit, working.attach),
            Message::Closed(closed) => (closed.hit, closed.attach),
            _ => return false,
        };
        self.is_open() && self.direct.state != State::Unknown && self.is_mine(hit, attach)
    }

    /// The slot speaks by the direct route: it lives, and what is new goes there.
    pub(super) fn direct_heard(&mut self, now: Moment) {
        if !self.is_direct() {
            // The slot changes over, too, as soon as it knows what has come by the broker.
            self.replies.ack_within(now, Duration::ZERO);
        }
        self.direct.state = State::Up { asked_at: None };
        self.direct.failures = 0;
        if self.phase == Phase::Resuming {
            // The broker's route is silent, and what went there may be lost.
            self.direct.lane.jump_to(Route::Direct);
            self.requests.rewind();
            self.phase = Phase::Open;
        } else {
            self.direct.lane.turn_to(now, Route::Direct);
        }
    }

    /// The direct route is silent, or its connection has ended: the Hit is resumed by the broker, from the byte that the
    /// slot has.
    pub(super) fn fall_back(&mut self, now: Moment) {
        if broken(Rule::R1) {
            self.direct.restart_clocks(now);
            return;
        }
        let liveness = self.liveness();
        self.direct.fail(now, liveness);
        self.requests.rewind();
        if self.phase == Phase::Open {
            self.phase = Phase::Resuming;
            self.ask_at = now;
        }
    }

    /// The slot had its time to say itself that the Hit is over, or can say nothing any more.
    pub(super) fn end_as_put_off(&mut self, now: Moment) {
        let up = self.is_direct();
        if let Some((closed, _)) = self.direct.put_off.take_if(|(_, until)| *until <= now || !up) {
            self.on_closed(now, closed);
        }
    }

    /// What went by the broker is not acknowledged for so long that it may be lost with it.
    pub(super) fn hasten(&mut self, now: Moment) {
        let under_way = self.requests.is_under_way();
        if self.direct.lane.deadline(under_way).is_some_and(|at| at <= now) {
            self.direct.lane.jump_to(self.direct.lane.wanted());
            self.requests.rewind();
        }
    }

    /// Connects, asks, gives up and tries again.
    pub(super) fn tend_direct(&mut self, now: Moment, out: &mut Outbox) {
        match self.direct.state {
            State::Unknown | State::Up { asked_at: None } => {}
            State::Up { asked_at: Some(at) } => {
                if at + self.answer_patience() <= now {
                    self.fall_back(now);
                }
            }
            State::Resting { .. } => {
                if self.direct_at().is_some_and(|at| at <= now) {
                    self.direct.state = State::Asking {
                        since: now,
                        ask_at: None,
                    };
                }
            }
            State::Asking { since, .. } if since + self.direct_patience() <= now => {
                if self.direct.is_forced() {
                    self.end_without_direct(NoDirect::Silent(self.direct_patience()), out);
                } else {
                    let liveness = self.liveness();
                    self.direct.fail(now, liveness);
                }
            }
            State::Asking { since, ask_at } => {
                if ask_at.is_some_and(|at| at <= now) {
                    let ask_at = Some(now + self.config.interval);
                    self.direct.state = State::Asking { since, ask_at };
                    let ack = self.replies.ack();
                    let (hit, attach) = (self.key, self.attach);
                    out.push((Route::Direct, Message::KeepAlive { hit, attach, ack }));
                }
            }
        }
    }

    /// How long a KEEPALIVE may stay unanswered on a route that is in use: well within the ttl, or the slot would end the
    /// Hit before it hears of its client by the broker.
    fn answer_patience(&self) -> Duration {
        self.liveness().min(self.ttl / 3)
    }

    /// How long the slot's own socket may leave unanswered what it is asked.
    fn direct_patience(&self) -> Duration {
        if self.direct.is_forced() {
            self.config.wait
        } else {
            self.liveness()
        }
    }

    /// When a connection becomes worth its making: there is more to ask, a long reply, or a long wait.
    fn direct_at(&self) -> Option<Moment> {
        let State::Resting { until } = self.direct.state else {
            return None;
        };
        let busy = !self.complete || self.requests.has_unsent() || self.direct.received >= DIRECT_AFTER_BYTES;
        if busy {
            Some(until)
        } else if self.is_outstanding() {
            Some(until.max(self.oldest_at + self.config.interval))
        } else {
            None
        }
    }

    /// When [`tend_direct`](Self::tend_direct) has something to do.
    pub(super) fn direct_deadline(&self) -> Option<Moment> {
        let put_off = self.direct.put_off.as_ref().map(|(_, until)| *until);
        let state = match self.direct.state {
            State::Unknown | State::Up { asked_at: None } => None,
            State::Up { asked_at: Some(at) } => Some(at + self.answer_patience()),
            State::Resting { .. } => self.direct_at(),
            State::Asking { since, ask_at } => {
                let until = since + self.direct_patience();
                Some(ask_at.map_or(until, |at| at.min(until)))
            }
        };
        earliest(put_off, state)
    }

    fn end_without_direct(&mut self, why: NoDirect, out: &mut Outbox) {
        let close = self.give_up();
        out.push(close);
        self.end(Outcome::Lost(Lost::NoDirect(why)));
    }
}

#[cfg(test)]
#[path = "direct_tests.rs"]
mod tests;
