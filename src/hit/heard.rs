//! What arrives at a client's Hit. Part of its pure machine.

use std::time::Duration;

use crate::protocol::ids::{Attach, HitKey};
use crate::protocol::limits::WINDOW_BYTES;
use crate::protocol::message::{Closed, ClosedReason, Direction, Full, Message, Opened, Packet, Queued};
use crate::protocol::route::Route;
use crate::protocol::stream::{Receiver, Sender, Violation};
use crate::protocol::time::Moment;

use super::{Hit, Lost, NoSlot, Outbox, Outcome, Phase};

impl Hit {
    /// Takes a message that came by this route.
    pub fn on_message(&mut self, now: Moment, route: Route, message: Message, out: &mut Outbox) {
        let strange = route == Route::Direct && !self.is_direct_mine(&message);
        if self.phase == Phase::Ended || strange {
            return;
        }
        self.look(now);
        if route == Route::Direct {
            self.direct_heard(now);
        }
        match message {
            Message::Opened(opened) if opened.hit == self.key => self.on_opened(now, &opened, out),
            Message::Data(data) if self.is_mine(data.hit, data.attach) && data.direction == Direction::ToClient => {
                self.on_data(now, route, &data.packet);
            }
            Message::Ack(ack) if self.is_mine(ack.hit, ack.attach) && ack.direction == Direction::ToClient => {
                self.slot_heard(now);
                let taken = self.requests.on_ack(now, ack.ack, ack.gap);
                self.check(taken);
            }
            Message::Working(working) if self.is_held() && (working.hit, working.attach) == (self.key, Attach(0)) => {
                self.slot_heard(now);
            }
            Message::Working(working) if self.is_mine(working.hit, working.attach) => {
                self.slot_heard(now);
                let taken = self.requests.on_ack(now, working.ack, false);
                self.work = Some(working);
                self.check(taken);
            }
            Message::Closed(closed) if closed.hit == self.key && closed.attach <= self.attach => {
                if route == Route::Broker && self.is_direct() && closed.reason != ClosedReason::WorkerDied {
                    // It may be ahead of a reply.
                    self.direct.put_off(now, closed);
                } else {
                    self.on_closed(now, closed);
                }
            }
            Message::Occupied {
                hit,
                attach,
                client,
                current,
            } if client != 0 && (hit, attach, client) == (self.key, self.attach, self.client) => {
                self.on_occupied(now, current);
            }
            Message::Queued(queued) if queued.hit == self.key && self.client == 0 => self.on_queued(now, &queued),
            Message::Full(full) if full.hit == self.key && self.client == 0 => self.on_full(now, &full),
            Message::Withdrawn { hit, attempt } if hit == self.key && attempt == self.attempt => {
                if matches!(self.phase, Phase::Withdrawing { .. }) {
                    self.end(Outcome::NoSlot(self.no_slot.clone()));
                }
            }
            Message::Held(held) if held.hit == self.key => self.heard(now),
            // For another Hit, an older attempt or another role: not for this machine.
            _ => {}
        }
        self.flush(now, out);
    }

    /// Whether a message of this attachment is for this client: until OPENED has said so, one that wants to attach may
    /// hear what is meant for another with the same attach number.
    pub(super) fn is_mine(&self, hit: HitKey, attach: Attach) -> bool {
        hit == self.key && attach == self.attach && (self.client == 0 || self.slot.is_some())
    }

    pub(super) const fn heard(&mut self, now: Moment) {
        self.heard_at = now;
    }

    pub(super) fn slot_heard(&mut self, now: Moment) {
        self.heard(now);
        self.slot_heard_at = now;
    }

    pub(super) fn on_opened(&mut self, now: Moment, opened: &Opened, out: &mut Outbox) {
        let mine = opened.attach == self.attach && opened.client == self.client && opened.attempt <= self.attempt;
        if !mine {
            return;
        }
        self.slot_heard(now);
        let first_time = self.slot.is_none();
        if first_time {
            self.slot = Some((opened.host.clone(), opened.slot));
            self.dir = opened.dir;
            if self.client != 0 {
                if opened.first_seq == 0 {
                    return self.end(Outcome::Lost(Lost::Violation(
                        "its first request has number 0".to_owned(),
                    )));
                }
                self.requests = Sender::new(opened.first_seq, opened.ack.limit);
                self.replies = Receiver::new(opened.first_seq, WINDOW_BYTES, false);
                self.answered = opened.first_seq - 1;
                self.first_seq = opened.first_seq;
                self.left = Some(opened.left);
                self.ttl = Duration::from_millis(u64::from(opened.ttl_ms)).max(self.config.interval);
            }
            self.oldest_at = now;
        }
        self.term = opened.term;
        self.phase = Phase::Open;
        let taken = self.requests.on_ack(now, opened.ack, false);
        // What the slot had not received when it said so may be on its way: the stream sorts out what arrives twice.
        self.requests.rewind();
        self.check(taken);
        if self.client != 0 && first_time {
            // Nothing else tells the slot how much this client takes.
            self.replies.ack_within(now, Duration::ZERO);
        }
        self.on_endpoints(now, &opened.endpoints, out);
    }

    pub(super) fn on_data(&mut self, now: Moment, route: Route, packet: &Packet) {
        self.slot_heard(now);
        self.direct.on_reply(packet.body.len());
        if route != self.direct.lane.wanted() {
            // The slot waits for this before it changes its route, too.
            self.replies.ack_within(now, Duration::ZERO);
        }
        let before = self.replies.next().0;
        let taken = self
            .replies
            .on_packet(now, packet)
            .and_then(|()| self.requests.on_ack(now, packet.ack, false));
        let after = self.replies.next().0;
        let asked = if self.requests.is_mid_message() {
            self.requests.seq()
        } else {
            self.requests.seq() - 1
        };
        if after - 1 > asked {
            let what = format!("it answered request {}, which was not sent", after - 1);
            return self.end(Outcome::Lost(Lost::Violation(what)));
        }
        if after > before {
            self.answered = after - 1;
            self.oldest_at = now;
        }
        if self.phase == Phase::Resuming {
            self.phase = Phase::Open;
        }
        self.check(taken);
    }

    pub(super) fn check(&mut self, taken: Result<(), Violation>) {
        if let Err(violation) = taken {
            self.end(Outcome::Lost(Lost::Violation(violation.to_string())));
        }
    }

    pub(super) fn on_closed(&mut self, now: Moment, closed: Closed) {
        self.heard(now);
        let (reason, note) = (closed.reason, closed.note.clone());
        self.closed = Some(closed);
        // A reply that has arrived in full counts, whatever ended the Hit afterwards.
        if self.complete && !self.is_outstanding() && self.answered > 0 {
            return self.end_when_read();
        }
        self.end(Outcome::Lost(Lost::Closed(reason, note)));
    }

    /// Everything is answered: the Hit ends as done when the reader has taken all of it.
    pub(super) fn end_when_read(&mut self) {
        self.phase = Phase::Open;
        if self.replies.peek().is_none() {
            self.end(Outcome::Done);
        }
    }

    pub(super) fn on_occupied(&mut self, now: Moment, current: Attach) {
        self.heard(now);
        if self.slot.is_some() {
            if current > self.attach {
                // Rule O8: it was silent for so long that another client took the Hit over.
                let note = "another client holds the Hit".to_owned();
                self.end(Outcome::Lost(Lost::Closed(ClosedReason::Superseded, note)));
            }
            return;
        }
        self.no_slot = NoSlot::Occupied;
        if current >= self.attach {
            self.attach = Attach(current.0.saturating_add(1));
            self.ask_at = now;
        } else {
            self.ask_at = now + self.ask_again();
        }
    }

    pub(super) fn on_queued(&mut self, now: Moment, queued: &Queued) {
        self.heard(now);
        self.unleased_at = now;
        if queued.attempt == self.attempt {
            // So far nothing is leased.
            self.open_since = Some(now);
            if self.phase == Phase::Opening {
                self.phase = Phase::Waiting;
            }
        }
        self.no_slot = NoSlot::Queued {
            ahead: queued.ahead,
            slots: queued.slots,
            busy: queued.busy,
        };
    }

    pub(super) fn on_full(&mut self, now: Moment, full: &Full) {
        self.heard(now);
        // Rule O6: only the latest attempt's FULL means that nothing is leased.
        if full.attempt != self.attempt || self.is_open() {
            return;
        }
        (self.open_since, self.unleased_at) = (None, now);
        self.no_slot = NoSlot::Refused(full.reason);
        if matches!(self.phase, Phase::Withdrawing { .. }) {
            return self.end(Outcome::NoSlot(self.no_slot.clone()));
        }
        if self.course.has_others() {
            let next = self.course.full(full.reason, &full.hints, self.key);
            return self.ask_afresh(now, next);
        }
        self.phase = Phase::Opening;
        self.ask_at = now + self.config.interval / 4;
    }
}
