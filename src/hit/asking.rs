//! What a client's Hit sends. Part of its pure machine.

use std::time::Duration;

use crate::protocol::ids::{Attach, DirId, Term};
use crate::protocol::message::{Ack, CloseReason, Data, Direction, Message, Open, Packet};
use crate::protocol::mutation::{Rule, broken};
use crate::protocol::route::Route;
use crate::protocol::time::Moment;

use super::course::Next;
use super::{Hit, Leave, Lost, Outbox, Outcome, Phase};

impl Hit {
    /// Sends what is due. Called by every other entry point that has `out`; after [`write`](Self::write) and
    /// [`consumed`](Self::consumed) the caller does so once for all.
    pub fn flush(&mut self, now: Moment, out: &mut Outbox) {
        self.look(now);
        self.end_as_put_off(now);
        match self.phase {
            Phase::Opening | Phase::Waiting => {
                self.go_on(now);
                self.ask(now, out);
            }
            Phase::Resuming => {
                self.ask(now, out);
                self.tend_direct(now, out);
            }
            Phase::Withdrawing { since } => self.withdraw(now, since, out),
            Phase::Open => {
                self.hasten(now);
                self.send_packets(now, out);
                self.keep_alive(now, out);
                self.tend_direct(now, out);
                self.finish(out);
            }
            Phase::Held => self.keep_held(now, out),
            Phase::Ended => {}
        }
    }

    /// Goes to another host, if the broker of the one that is asked is not there and has got nothing.
    fn go_on(&mut self, now: Moment) {
        let unheard = self.phase == Phase::Opening && self.sent_at.is_none();
        if unheard && self.course.gap_until().is_some_and(|until| until <= now) {
            let next = self.course.unreached(self.key);
            self.ask_afresh(now, next);
        }
    }

    /// Asks anew, where nobody has heard of this Hit yet, or has forgotten it.
    pub(super) fn ask_afresh(&mut self, now: Moment, next: Next) {
        (self.sent_at, self.open_since, self.asked) = (None, None, 0);
        (self.term, self.dir) = (Term(0), DirId::default());
        self.requests.rewind();
        self.phase = Phase::Opening;
        self.ask_at = match next {
            Next::Ask => now,
            Next::Pause => now + self.config.interval / 4,
        };
        self.course.begin(self.ask_at);
    }

    /// OPEN or ATTACH, again each interval until the slot answers.
    pub(super) fn ask(&mut self, now: Moment, out: &mut Outbox) {
        if self.ask_at > now {
            return;
        }
        if self.client == 0
            && self.slot.is_none()
            && self.sent_at.is_some()
            && now.since(self.unleased_at) >= self.config.ttl
            && !broken(Rule::O5)
        {
            // Rule O5: no journal is sure to remember the key any longer.
            return self.end(Outcome::Lost(Lost::Unconfirmed));
        }
        self.ask_at = now + self.ask_again();
        let first = self.sent_at.is_none();
        self.asked = self.asked.saturating_add(1);
        self.sent_at.get_or_insert(now);
        if first {
            self.unleased_at = now;
        }
        let open_since = *self.open_since.get_or_insert(now);
        if self.client != 0 {
            let attach = Message::Attach {
                hit: self.key,
                attach: self.attach,
                client: self.client,
                timeout_ms: self.timeout_ms(),
            };
            return out.push((Route::Broker, attach));
        }
        if self.phase != Phase::Waiting {
            self.attempt.0 = self.attempt.0.saturating_add(1);
        }
        let ack = self.replies.ack();
        let packet = if first && !self.direct.is_forced() {
            self.requests.next_packet(now, ack)
        } else {
            None
        };
        let nothing = Packet {
            ack,
            seq: 1,
            ..Packet::default()
        };
        let open = Open {
            hit: self.key,
            attach: self.attach,
            attempt: self.attempt,
            queue: self.course.queues(),
            moves: self.course.has_others(),
            close_after: first && self.config.one_shot && self.complete && !self.requests.has_unsent(),
            resume: self.phase == Phase::Resuming,
            term: self.term,
            dir: self.dir,
            age_ms: u32::try_from(now.since(open_since).as_millis()).unwrap_or(u32::MAX),
            ttl_ms: u32::try_from(self.config.ttl.as_millis()).unwrap_or(u32::MAX),
            timeout_ms: self.timeout_ms(),
            holder: self.config.holder,
            pool: self.config.pool.clone(),
            packet: packet.unwrap_or(nothing),
        };
        out.push((Route::Broker, Message::Open(open)));
    }

    fn timeout_ms(&self) -> u32 {
        let timeout = self.config.timeout;
        timeout.map_or(0, |t| u32::try_from(t.as_millis().max(1)).unwrap_or(u32::MAX))
    }

    /// How soon to ask again what was not answered. Who waits for another client's end asks more often: nobody tells it.
    pub(super) fn ask_again(&self) -> Duration {
        if self.client == 0 {
            self.config.interval
        } else {
            self.config.interval / 4
        }
    }

    pub(super) fn withdraw(&mut self, now: Moment, since: Moment, out: &mut Outbox) {
        if now.since(since) >= self.confirmation() {
            return self.end(Outcome::Lost(Lost::Unconfirmed));
        }
        if self.ask_at <= now {
            self.ask_at = now + self.config.interval / 4;
            let (hit, attempt) = (self.key, self.attempt);
            out.push((Route::Broker, Message::Withdraw { hit, attempt }));
        }
    }

    pub(super) fn send_packets(&mut self, now: Moment, out: &mut Outbox) {
        let (hit, attach, direction) = (self.key, self.attach, Direction::ToSlot);
        while self.requests.has_unsent() {
            let Some(route) = self.direct.for_bytes(self.requests.is_under_way()) else {
                break;
            };
            let ack = self.replies.ack();
            let Some(packet) = self.requests.next_packet(now, ack) else {
                break;
            };
            let data = Data {
                hit,
                attach,
                direction,
                packet,
            };
            out.push((route, Message::Data(data)));
        }
        if !self.is_finished()
            && let Some(gap) = self.replies.ack_due(now)
        {
            let ack = Ack {
                hit,
                attach,
                direction,
                gap,
                ack: self.replies.ack(),
            };
            out.push((self.direct.lane.wanted(), Message::Ack(ack)));
        }
    }

    pub(super) fn keep_alive(&mut self, now: Moment, out: &mut Outbox) {
        if self.keep_alive_at > now {
            return;
        }
        // A client that is silent for liveness × interval counts as detached (rule O8).
        let attached = self.config.interval * (self.config.liveness - 1).max(1);
        let period = (self.ttl / 3).min(attached);
        let period = if self.is_outstanding() {
            period.min(self.config.interval)
        } else {
            period
        };
        self.keep_alive_at = now + period;
        let (hit, attach, ack) = (self.key, self.attach, self.replies.ack());
        let route = self.direct.keeps_alive(now);
        out.push((route, Message::KeepAlive { hit, attach, ack }));
    }

    /// Tells the slot that the holder is there: it has the attach number 0, whoever is attached.
    fn keep_held(&mut self, now: Moment, out: &mut Outbox) {
        if self.keep_alive_at > now {
            return;
        }
        self.keep_alive_at = now + (self.config.ttl / 3).min(self.config.interval);
        let (hit, attach, ack) = (self.key, Attach(0), self.replies.ack());
        out.push((Route::Broker, Message::KeepAlive { hit, attach, ack }));
    }

    pub(super) fn is_finished(&self) -> bool {
        self.complete && !self.is_outstanding() && self.replies.peek().is_none()
    }

    pub(super) fn finish(&mut self, out: &mut Outbox) {
        if !self.is_finished() {
            return;
        }
        let reason = match self.config.leave {
            Leave::Close => CloseReason::Done,
            Leave::Detach | Leave::Hold => CloseReason::Detached,
        };
        let close = self.close(reason);
        out.push(close);
        if self.config.leave == Leave::Hold {
            self.phase = Phase::Held;
            // The broker learns at once whom to tell of the Hit's end.
            self.keep_alive_at = self.looked_at;
        } else {
            self.end(Outcome::Done);
        }
    }
}
