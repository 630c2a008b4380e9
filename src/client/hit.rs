//! A Hit as its client sees it: the pure machine behind `zhit client`.
//!
//! It opens the Hit, sends requests, receives replies, keeps the Hit alive, resumes it after a broker's death and knows,
//! whatever happens, which requests were answered, which may have run and which never did. docs/protocol.md sections
//! 6 and 7.

use std::time::Duration;

use bytes::Bytes;

use crate::protocol::ids::{Attach, Attempt, DirId, HitKey, SlotId, Term};
use crate::protocol::limits::{FIRST_CREDIT_BYTES, WINDOW_BYTES};
use crate::protocol::message::{
    Ack, Channel, Close, CloseReason, Closed, ClosedReason, Data, Direction, Full, FullReason, Message, Open, Opened,
    Packet, Queued, WorkState, Working,
};
use crate::protocol::mutation::{Rule, broken};
use crate::protocol::status::Status;
use crate::protocol::stream::{Piece, Receiver, Sender};
use crate::protocol::time::{Moment, earliest};

/// How soon an OPEN is tried again while there is no broker at the other end of the socket.
const REOPEN_WITHOUT_ROUTE: Duration = Duration::from_millis(20);

/// What the client wants.
#[derive(Clone, Debug)]
pub struct Config {
    /// The pool.
    pub pool: String,
    /// How long to wait for a broker and a slot.
    pub wait: Duration,
    /// How long the Hit outlives this client's silence.
    pub ttl: Duration,
    /// Deadline of each request.
    pub timeout: Option<Duration>,
    /// What the slot may take beyond the deadline to kill the handler, before this end gives up by itself.
    pub timeout_slack: Duration,
    /// Period of heartbeats.
    pub interval: Duration,
    /// How many may be missed.
    pub liveness: u32,
    /// The first packet holds the only request: end the Hit once it is answered.
    pub one_shot: bool,
}

/// How the Hit ended for this client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Every request is answered and every reply was taken.
    Done,
    /// No broker was ever reached; nothing was sent.
    NoBroker,
    /// No slot within the wait, and none will be: the broker has confirmed that it forgot the Hit.
    NoSlot(NoSlot),
    /// The Hit was lost: [`Hit::ledger`] says what ran.
    Lost(Lost),
    /// The client was told to stop.
    Abandoned,
    /// A request passed its deadline and the slot did not end it.
    Deadline,
}

/// Why there was no slot, as far as the broker told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoSlot {
    /// It waited in line.
    Queued {
        /// How many waited before it.
        ahead: u32,
        /// Slots of the pool.
        slots: u32,
        /// How many were leased.
        busy: u32,
    },
    /// The broker refused.
    Refused(FullReason),
    /// Nothing was heard but the confirmation.
    Unknown,
}

/// Why a Hit was lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lost {
    /// The slot or the broker ended it.
    Closed(ClosedReason, String),
    /// Nothing was heard for the ttl.
    Silence(Duration),
    /// An OPEN was sent and neither answered nor withdrawn.
    Unconfirmed,
    /// The slot broke the protocol.
    Violation(String),
}

/// What became of the requests; each seq is in one of them, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ledger {
    /// 1 ..= answered: replied in full.
    pub answered: u64,
    /// answered + 1 ..= maybe: may have run, without a reply in full.
    pub maybe: u64,
    /// The upper end of `maybe` is exact: the slot said what it started.
    pub exact: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// OPEN is repeated until something answers.
    Opening,
    /// In line at a broker.
    Waiting,
    /// The wait is over; WITHDRAW is repeated until it is confirmed.
    Withdrawing { since: Moment },
    /// A slot serves.
    Open,
    /// A slot served; its route is silent; OPEN is repeated.
    Resuming,
    /// See `outcome`.
    Ended,
}

/// The machine.
#[derive(Debug)]
pub struct Hit {
    key: HitKey,
    config: Config,
    phase: Phase,
    attach: Attach,
    /// Number of this client in ATTACH; 0 for the opener.
    client: u64,
    attempt: Attempt,
    started_at: Moment,
    /// When the first OPEN left, if one did.
    sent_at: Option<Moment>,
    /// When the first OPEN left since a broker last said FULL: from then on some broker may have leased.
    open_since: Option<Moment>,
    /// When a broker last said that nothing is leased, or else when the first OPEN left (rule O5).
    unleased_at: Moment,
    /// How many OPENs left.
    asked: u32,
    /// When to send the next OPEN, ATTACH or WITHDRAW.
    ask_at: Moment,
    keep_alive_at: Moment,
    /// When anything was heard: of anybody, and of the slot.
    heard_at: Moment,
    slot_heard_at: Moment,
    term: Term,
    dir: DirId,
    slot: Option<(String, SlotId)>,
    /// What was last heard while no slot was there.
    no_slot: NoSlot,
    work: Option<Working>,
    requests: Sender,
    replies: Receiver,
    /// No further request will be written.
    complete: bool,
    /// Last seq whose reply has arrived in full.
    answered: u64,
    /// When the oldest unanswered request became so.
    oldest_at: Moment,
    closed: Option<Closed>,
    outcome: Option<Outcome>,
}

impl Hit {
    /// A Hit with this key, opened by this client.
    pub fn open(now: Moment, key: HitKey, config: Config) -> Self {
        Self {
            key,
            phase: Phase::Opening,
            attach: Attach(1),
            client: 0,
            attempt: Attempt(0),
            started_at: now,
            sent_at: None,
            open_since: None,
            unleased_at: now,
            asked: 0,
            ask_at: now,
            keep_alive_at: now + config.interval,
            heard_at: now,
            slot_heard_at: now,
            term: Term(0),
            dir: DirId::default(),
            slot: None,
            no_slot: NoSlot::Unknown,
            work: None,
            requests: Sender::new(1, FIRST_CREDIT_BYTES),
            replies: Receiver::new(1, WINDOW_BYTES, false),
            complete: false,
            answered: 0,
            oldest_at: now,
            closed: None,
            outcome: None,
            config,
        }
    }

    /// A Hit that another client opened, taken over with a number `client` that this one chose at random.
    pub fn attach(now: Moment, key: HitKey, client: u64, config: Config) -> Self {
        assert!(client != 0, "zero is the opener's number");
        let mut hit = Self::open(now, key, config);
        (hit.attach, hit.client) = (Attach(2), client);
        // Until the slot says where this attachment's numbers start, nothing may be written.
        hit.requests = Sender::new(1, 0);
        hit
    }

    /// Its key.
    pub const fn key(&self) -> HitKey {
        self.key
    }

    /// How it ended, once it has.
    pub const fn outcome(&self) -> Option<&Outcome> {
        self.outcome.as_ref()
    }

    /// Host and slot that serve it, once known.
    pub const fn slot(&self) -> Option<&(String, SlotId)> {
        self.slot.as_ref()
    }

    /// What the slot last said of its work.
    pub const fn work(&self) -> Option<&Working> {
        self.work.as_ref()
    }

    /// Whether a slot serves, or served until its route fell silent.
    pub const fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open | Phase::Resuming)
    }

    /// How long the slot has been silent, if it should have answered by now.
    pub fn silence(&self, now: Moment) -> Option<Duration> {
        let silent = now.since(self.slot_heard_at);
        (self.is_open() && self.is_outstanding() && silent >= self.liveness()).then_some(silent)
    }

    fn liveness(&self) -> Duration {
        self.config.interval * self.config.liveness
    }

    /// How long a WITHDRAW may stay unanswered: a new broker confirms nothing for a liveness, until the slots have told
    /// it what they serve.
    fn confirmation(&self) -> Duration {
        self.liveness() * 2
    }

    // What the client's reader of requests and writer of replies do.

    /// How many bytes of the current request may be written now; `None` if not even an empty one may begin.
    pub fn room(&self) -> Option<usize> {
        if self.complete || self.outcome.is_some() {
            None
        } else {
            self.requests.room()
        }
    }

    /// Seq of the request that is written next or now.
    pub const fn seq(&self) -> u64 {
        self.requests.seq()
    }

    /// Takes bytes of the current request, at most [`room`](Self::room); `end`: it ends with them. Sent by
    /// [`flush`](Self::flush).
    pub fn write(&mut self, now: Moment, bytes: Bytes, end: bool) {
        if !self.is_outstanding() {
            self.oldest_at = now;
            self.slot_heard_at = now;
            self.keep_alive_at = self.keep_alive_at.min(now + self.config.interval);
        }
        self.requests.write(Channel::Body, bytes, end.then_some(Status::Ok));
    }

    /// Whether every request was written.
    pub const fn is_complete(&self) -> bool {
        self.complete
    }

    /// No further request will come.
    pub const fn complete(&mut self) {
        self.complete = true;
    }

    /// The next piece of a reply. Once it has gone where it goes, [`consumed`](Self::consumed) opens its credit.
    pub fn next_reply(&mut self) -> Option<Piece> {
        self.replies.take()
    }

    /// The reader of replies has taken so many bytes, and with `ended` a reply's end.
    pub fn consumed(&mut self, bytes: u64, ended: bool) {
        self.replies.consumed(bytes, ended);
    }

    /// Whether any request was written that has no full reply yet.
    pub const fn is_outstanding(&self) -> bool {
        let written = if self.requests.is_mid_message() {
            self.requests.seq()
        } else {
            self.requests.seq() - 1
        };
        self.answered < written
    }

    /// Last request whose reply has arrived in full; 0 if none.
    pub const fn answered(&self) -> u64 {
        self.answered
    }

    /// What became of the requests.
    pub fn ledger(&self) -> Ledger {
        let touched = if self.sent_at.is_some() {
            self.requests.last_touched()
        } else {
            0
        };
        let started = self
            .closed
            .as_ref()
            .map(|closed| closed.started)
            .filter(|started| *started != u64::MAX);
        let maybe = started
            .map_or(touched, |started| started.min(touched))
            .max(self.answered);
        Ledger {
            answered: self.answered,
            maybe,
            exact: started.is_some() || maybe == self.answered,
        }
    }

    // What arrives.

    /// Takes a message.
    pub fn on_message(&mut self, now: Moment, message: Message, out: &mut Vec<Message>) {
        if self.phase == Phase::Ended {
            return;
        }
        match message {
            Message::Opened(opened) if opened.hit == self.key => self.on_opened(now, &opened),
            Message::Data(data) if self.is_mine(data.hit, data.attach) && data.direction == Direction::ToClient => {
                self.on_data(now, &data.packet);
            }
            Message::Ack(ack) if self.is_mine(ack.hit, ack.attach) && ack.direction == Direction::ToClient => {
                self.slot_heard(now);
                let taken = self.requests.on_ack(now, ack.ack, ack.gap);
                self.check(taken);
            }
            Message::Working(working) if self.is_mine(working.hit, working.attach) => {
                self.slot_heard(now);
                let taken = self.requests.on_ack(now, working.ack, false);
                self.work = Some(working);
                self.check(taken);
            }
            Message::Closed(closed) if closed.hit == self.key && closed.attach <= self.attach => {
                self.on_closed(now, closed);
            }
            Message::Occupied {
                hit,
                attach,
                client,
                current,
            } if hit == self.key && self.client != 0 => {
                if (attach, client) == (self.attach, self.client) {
                    self.on_occupied(now, current);
                }
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
    fn is_mine(&self, hit: HitKey, attach: Attach) -> bool {
        hit == self.key && attach == self.attach && (self.client == 0 || self.slot.is_some())
    }

    const fn heard(&mut self, now: Moment) {
        self.heard_at = now;
    }

    fn slot_heard(&mut self, now: Moment) {
        self.heard(now);
        self.slot_heard_at = now;
    }

    fn on_opened(&mut self, now: Moment, opened: &Opened) {
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
    }

    fn on_data(&mut self, now: Moment, packet: &Packet) {
        self.slot_heard(now);
        let before = self.replies.next().0;
        let taken = self
            .replies
            .on_packet(now, packet)
            .and_then(|()| self.requests.on_ack(now, packet.ack, false));
        let after = self.replies.next().0;
        if after > before {
            self.answered = after - 1;
            self.oldest_at = now;
        }
        if self.phase == Phase::Resuming {
            self.phase = Phase::Open;
        }
        self.check(taken);
    }

    fn check(&mut self, taken: Result<(), crate::protocol::stream::Violation>) {
        if let Err(violation) = taken {
            self.end(Outcome::Lost(Lost::Violation(violation.to_string())));
        }
    }

    fn on_closed(&mut self, now: Moment, closed: Closed) {
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
    fn end_when_read(&mut self) {
        self.phase = Phase::Open;
        if self.replies.peek().is_none() {
            self.end(Outcome::Done);
        }
    }

    fn on_occupied(&mut self, now: Moment, current: Attach) {
        self.heard(now);
        if self.slot.is_some() {
            if current > self.attach {
                // Rule O8: it was silent for so long that another client took the Hit over.
                let note = "another client holds the Hit".to_owned();
                self.end(Outcome::Lost(Lost::Closed(ClosedReason::Superseded, note)));
            }
            return;
        }
        if current >= self.attach {
            self.attach = Attach(current.0.saturating_add(1));
            self.ask_at = now;
        } else {
            self.ask_at = now + self.config.interval;
        }
    }

    fn on_queued(&mut self, now: Moment, queued: &Queued) {
        self.heard(now);
        self.unleased_at = now;
        if queued.attempt == self.attempt && self.phase == Phase::Opening {
            self.phase = Phase::Waiting;
        }
        self.no_slot = NoSlot::Queued {
            ahead: queued.ahead,
            slots: queued.slots,
            busy: queued.busy,
        };
    }

    fn on_full(&mut self, now: Moment, full: &Full) {
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
        self.phase = Phase::Opening;
        self.ask_at = now + self.config.interval / 4;
    }

    /// The socket has a broker at its other end again: whatever is to be asked is asked now.
    pub const fn on_route(&mut self, now: Moment) {
        if matches!(self.phase, Phase::Opening | Phase::Resuming | Phase::Withdrawing { .. }) {
            self.ask_at = now;
        }
    }

    /// `message` could not be sent: there is no broker at the other end of the socket.
    pub fn on_no_route(&mut self, now: Moment, message: &Message) {
        match self.phase {
            Phase::Ended => return,
            Phase::Open => self.phase = Phase::Resuming,
            Phase::Waiting => self.phase = Phase::Opening,
            _ => {}
        }
        self.ask_at = now + REOPEN_WITHOUT_ROUTE;
        if matches!(message, Message::Open(_) | Message::Attach { .. }) {
            self.asked = self.asked.saturating_sub(1);
            if self.asked == 0 {
                // Nobody has heard of this Hit: the next OPEN is the first.
                self.sent_at = None;
                self.open_since = None;
                self.attempt = Attempt(0);
                self.requests.rewind();
            }
        }
    }

    /// Ends the Hit at once: a signal, or the reader of replies is gone.
    pub fn abandon(&mut self, out: &mut Vec<Message>) {
        if self.phase == Phase::Ended {
            return;
        }
        // One that only asked to attach has leased nothing, and its attach number may be another's.
        if self.sent_at.is_some() && (self.client == 0 || self.slot.is_some()) {
            if self.slot.is_none() {
                out.push(Message::Withdraw {
                    hit: self.key,
                    attempt: self.attempt,
                });
            }
            out.push(self.close(CloseReason::Abandoned));
        }
        self.end(Outcome::Abandoned);
    }

    fn close(&mut self, reason: CloseReason) -> Message {
        let ack = self.replies.ack();
        Message::Close(Close {
            hit: self.key,
            attach: self.attach,
            reason,
            ack,
        })
    }

    fn end(&mut self, outcome: Outcome) {
        self.phase = Phase::Ended;
        self.outcome.get_or_insert(outcome);
    }

    /// Sends what is due. Called by every other entry point that has `out`; after [`write`](Self::write) and
    /// [`consumed`](Self::consumed) the caller does so once for all.
    pub fn flush(&mut self, now: Moment, out: &mut Vec<Message>) {
        match self.phase {
            Phase::Opening | Phase::Waiting | Phase::Resuming => self.ask(now, out),
            Phase::Withdrawing { since } => self.withdraw(now, since, out),
            Phase::Open => {
                self.send_packets(now, out);
                self.keep_alive(now, out);
                self.finish(out);
            }
            Phase::Ended => {}
        }
    }

    /// OPEN or ATTACH, again each interval until the slot answers.
    fn ask(&mut self, now: Moment, out: &mut Vec<Message>) {
        if self.ask_at > now {
            return;
        }
        if self.client == 0
            && self.slot.is_none()
            && self.sent_at.is_some()
            && now.since(self.unleased_at) >= self.config.ttl
        {
            // Rule O5: no journal is sure to remember the key any longer.
            return self.end(Outcome::Lost(Lost::Unconfirmed));
        }
        self.ask_at = now + self.config.interval;
        let first = self.sent_at.is_none();
        self.asked = self.asked.saturating_add(1);
        self.sent_at.get_or_insert(now);
        if first {
            self.unleased_at = now;
        }
        let open_since = *self.open_since.get_or_insert(now);
        if self.client != 0 {
            return out.push(Message::Attach {
                hit: self.key,
                attach: self.attach,
                client: self.client,
            });
        }
        if self.phase != Phase::Waiting {
            self.attempt.0 = self.attempt.0.saturating_add(1);
        }
        let ack = self.replies.ack();
        let packet = if first {
            self.requests.next_packet(now, ack)
        } else {
            None
        };
        let nothing = Packet {
            ack,
            seq: 1,
            ..Packet::default()
        };
        out.push(Message::Open(Open {
            hit: self.key,
            attach: self.attach,
            attempt: self.attempt,
            queue: true,
            close_after: first && self.config.one_shot && self.complete && !self.requests.has_unsent(),
            resume: self.phase == Phase::Resuming,
            term: self.term,
            dir: self.dir,
            age_ms: u32::try_from(now.since(open_since).as_millis()).unwrap_or(u32::MAX),
            ttl_ms: u32::try_from(self.config.ttl.as_millis()).unwrap_or(u32::MAX),
            timeout_ms: self
                .config
                .timeout
                .map_or(0, |t| u32::try_from(t.as_millis().max(1)).unwrap_or(u32::MAX)),
            pool: self.config.pool.clone(),
            packet: packet.unwrap_or(nothing),
        }));
    }

    fn withdraw(&mut self, now: Moment, since: Moment, out: &mut Vec<Message>) {
        if now.since(since) >= self.confirmation() {
            return self.end(Outcome::Lost(Lost::Unconfirmed));
        }
        if self.ask_at <= now {
            self.ask_at = now + self.config.interval / 4;
            out.push(Message::Withdraw {
                hit: self.key,
                attempt: self.attempt,
            });
        }
    }

    fn send_packets(&mut self, now: Moment, out: &mut Vec<Message>) {
        let (hit, attach, direction) = (self.key, self.attach, Direction::ToSlot);
        while self.requests.has_unsent() {
            let ack = self.replies.ack();
            let Some(packet) = self.requests.next_packet(now, ack) else {
                break;
            };
            out.push(Message::Data(Data {
                hit,
                attach,
                direction,
                packet,
            }));
        }
        if !self.is_finished()
            && let Some(gap) = self.replies.ack_due(now)
        {
            let ack = self.replies.ack();
            out.push(Message::Ack(Ack {
                hit,
                attach,
                direction,
                gap,
                ack,
            }));
        }
    }

    fn keep_alive(&mut self, now: Moment, out: &mut Vec<Message>) {
        if self.keep_alive_at > now {
            return;
        }
        // A client that is silent for liveness × interval counts as detached (rule O8).
        let attached = self.config.interval * (self.config.liveness - 1).max(1);
        let period = (self.config.ttl / 3).min(attached);
        let period = if self.is_outstanding() {
            period.min(self.config.interval)
        } else {
            period
        };
        self.keep_alive_at = now + period;
        let ack = self.replies.ack();
        out.push(Message::KeepAlive {
            hit: self.key,
            attach: self.attach,
            ack,
        });
    }

    fn is_finished(&self) -> bool {
        self.complete && !self.is_outstanding() && self.replies.peek().is_none()
    }

    fn finish(&mut self, out: &mut Vec<Message>) {
        if self.is_finished() {
            let close = self.close(CloseReason::Done);
            out.push(close);
            self.end(Outcome::Done);
        }
    }

    /// Time has passed. An early or repeated tick does nothing.
    pub fn on_tick(&mut self, now: Moment, out: &mut Vec<Message>) {
        if self
            .next_deadline()
            .is_some_and(|at| now.since(at) > self.config.interval)
        {
            // Rule A3: who stood still himself restarts his clocks before he judges others; he has, if he comes more
            // than an interval after his own deadline. His own wait and deadline are promises to his user and go on.
            self.slot_heard(now);
        }
        match self.phase {
            Phase::Opening | Phase::Waiting if now.since(self.started_at) >= self.config.wait => {
                self.give_up_waiting(now);
            }
            Phase::Waiting if now.since(self.heard_at) >= self.liveness() => {
                self.phase = Phase::Opening;
                self.ask_at = now;
            }
            Phase::Open if self.silence(now).is_some() => {
                self.phase = Phase::Resuming;
                self.ask_at = now;
            }
            Phase::Resuming if now.since(self.heard_at) >= self.config.ttl => {
                self.end(Outcome::Lost(Lost::Silence(self.config.ttl)));
            }
            _ => {}
        }
        if self.is_open() && self.is_past_deadline(now) {
            let close = self.close(CloseReason::Abandoned);
            out.push(close);
            self.end(Outcome::Deadline);
        }
        self.flush(now, out);
    }

    fn give_up_waiting(&mut self, now: Moment) {
        if self.sent_at.is_none() {
            self.end(Outcome::NoBroker);
        } else if self.client != 0 || broken(Rule::O6) {
            // An ATTACH leases nothing, so there is nothing to withdraw.
            self.end(Outcome::NoSlot(self.no_slot.clone()));
        } else {
            self.phase = Phase::Withdrawing { since: now };
            self.ask_at = now;
        }
    }

    fn deadline(&self) -> Option<Moment> {
        let timeout = self.config.timeout?;
        self.is_outstanding()
            .then(|| self.oldest_at + timeout + self.config.timeout_slack)
    }

    fn is_past_deadline(&self, now: Moment) -> bool {
        self.deadline().is_some_and(|at| at <= now)
    }

    /// When to tick at the latest.
    pub fn next_deadline(&self) -> Option<Moment> {
        let wait = self.started_at + self.config.wait;
        let ask = self.ask_at;
        match self.phase {
            Phase::Opening => Some(ask.min(wait)),
            Phase::Waiting => Some(ask.min(wait).min(self.heard_at + self.liveness())),
            Phase::Withdrawing { since } => Some(ask.min(since + self.confirmation())),
            Phase::Open => {
                let silent = self.is_outstanding().then(|| self.slot_heard_at + self.liveness());
                let alive = earliest(Some(self.keep_alive_at), self.replies.next_deadline());
                earliest(earliest(alive, silent), self.deadline())
            }
            Phase::Resuming => earliest(Some(ask.min(self.heard_at + self.config.ttl)), self.deadline()),
            Phase::Ended => None,
        }
    }

    /// Whether the slot said that its handler is being ended.
    pub fn is_ending(&self) -> bool {
        self.work.as_ref().is_some_and(|work| work.state == WorkState::Ending)
    }

    /// Pieces and bytes of replies that wait for their reader, and request bytes kept for repetition.
    pub fn held(&self) -> (usize, u64, usize) {
        let (pieces, bytes) = self.replies.waiting();
        (pieces, bytes, self.requests.kept_bytes())
    }
}

#[cfg(test)]
#[path = "hit_tests.rs"]
mod tests;
