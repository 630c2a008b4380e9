//! A Hit as its client sees it: the pure machine behind `zhit client` and `zhit ping --hops`.
//!
//! It opens the Hit, sends requests, receives replies, keeps the Hit alive, resumes it after a broker's death and knows,
//! whatever happens, which requests were answered, which may have run and which never did. docs/protocol.md sections
//! 6 and 7.

use std::time::Duration;

use bytes::Bytes;

use crate::protocol::ids::{Attach, Attempt, DirId, HitKey, SlotId, Term};
use crate::protocol::limits::{FIRST_CREDIT_BYTES, TTL, WINDOW_BYTES};
use crate::protocol::message::{Channel, Close, CloseReason, Closed, Holder, Left, Message, WorkState, Working};
use crate::protocol::mutation::{Rule, broken};
use crate::protocol::route::{Route, Routing};
use crate::protocol::status::Status;
use crate::protocol::stream::{Piece, Receiver, Sender};
use crate::protocol::time::{Moment, earliest};

mod asking;
mod course;
mod direct;
mod heard;
mod measured;
mod outcome;
pub mod words;

use course::Course;
use direct::Direct;

pub use course::Hosts;
pub use outcome::{Ledger, Lost, NoDirect, NoSlot, Outcome};

/// What is to be sent, and which way.
pub type Outbox = Vec<(Route, Message)>;

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
    /// What becomes of the Hit when this client has no more to ask.
    pub leave: Leave,
    /// Who holds the Hit that is opened, whichever clients come and go.
    pub holder: Option<Holder>,
    /// Which way its requests go.
    pub routing: Routing,
    /// Whom it may ask.
    pub hosts: Hosts,
}

/// What becomes of a Hit whose client has no more to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leave {
    /// It is over.
    Close,
    /// It waits for another client, for its ttl.
    Detach,
    /// This client holds it, and lets others attach, until it [releases](Hit::release) it.
    Hold,
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
    /// Held for other clients.
    Held,
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
    /// When this machine last did anything.
    looked_at: Moment,
    /// When anything was heard: of anybody, and of the slot.
    heard_at: Moment,
    slot_heard_at: Moment,
    term: Term,
    dir: DirId,
    slot: Option<(String, SlotId)>,
    /// What was last heard while no slot was there.
    no_slot: NoSlot,
    work: Option<Working>,
    /// First request of this client's.
    first_seq: u64,
    /// What the clients before have left (rule O8), until it was asked for.
    left: Option<Left>,
    /// How long the Hit outlives its client's silence: what was asked for, or what another has.
    ttl: Duration,
    requests: Sender,
    replies: Receiver,
    /// No further request will be written.
    complete: bool,
    /// Last seq whose reply has arrived in full.
    answered: u64,
    /// When the oldest unanswered request became so.
    oldest_at: Moment,
    closed: Option<Closed>,
    direct: Direct,
    course: Course,
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
            looked_at: now,
            heard_at: now,
            slot_heard_at: now,
            term: Term(0),
            dir: DirId::default(),
            slot: None,
            no_slot: NoSlot::Unknown,
            work: None,
            first_seq: 1,
            left: None,
            ttl: config.ttl,
            requests: Sender::new(1, FIRST_CREDIT_BYTES),
            replies: Receiver::new(1, WINDOW_BYTES, false),
            complete: false,
            answered: 0,
            oldest_at: now,
            closed: None,
            direct: Direct::new(config.routing),
            course: Course::new(now, config.hosts.clone()),
            outcome: None,
            config,
        }
    }

    /// A Hit that another client opened, taken over with a number `client` that this one chose at random.
    ///
    /// # Panics
    /// If `client` is zero, which is the opener's number.
    pub fn attach(now: Moment, key: HitKey, client: u64, config: Config) -> Self {
        assert!(client != 0, "zero is the opener's number");
        let mut hit = Self::open(now, key, config);
        (hit.attach, hit.client) = (Attach(2), client);
        // Until the slot says where this attachment's numbers start, nothing may be written.
        hit.requests = Sender::new(1, 0);
        hit
    }

    /// The pool that it asks.
    pub fn pool(&self) -> &str {
        &self.config.pool
    }

    /// Its key.
    pub const fn key(&self) -> HitKey {
        self.key
    }

    /// How it ended, once it has.
    pub const fn outcome(&self) -> Option<&Outcome> {
        self.outcome.as_ref()
    }

    /// The host whose broker is to be spoken to; `None`: the client's own. A connection to another one, made before, is of
    /// no more use.
    pub fn host(&self) -> Option<&str> {
        self.course.there()
    }

    /// Whether it asks other hosts than its own, too.
    pub fn may_go_elsewhere(&self) -> bool {
        self.course.has_others()
    }

    /// How many other hosts it may ask, and how many of them were not there when they were tried.
    pub fn others(&self) -> (usize, usize) {
        self.course.others()
    }

    /// Host and slot that serve it, once known.
    pub const fn slot(&self) -> Option<&(String, SlotId)> {
        self.slot.as_ref()
    }

    /// What the slot last said of its work.
    pub const fn work(&self) -> Option<&Working> {
        self.work.as_ref()
    }

    /// What the clients before have left behind, and the first request that is this client's; once.
    pub fn take_left(&mut self) -> Option<(Left, u64)> {
        self.left.take().map(|left| (left, self.first_seq))
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
            first: self.first_seq,
            answered: self.answered,
            maybe,
            exact: started.is_some() || maybe == self.answered,
        }
    }

    /// The socket has a broker at its other end again: whatever is to be asked is asked now.
    pub const fn on_route(&mut self, now: Moment) {
        if matches!(self.phase, Phase::Opening | Phase::Resuming | Phase::Withdrawing { .. }) {
            self.ask_at = now;
        }
    }

    /// Rule A3: who stood still himself restarts his clocks before he judges others; he has, if he comes more than an
    /// interval after his own deadline, which is an interval after he looked last. His own wait and deadline are promises
    /// to his user and go on.
    fn look(&mut self, now: Moment) {
        if self.phase == Phase::Ended {
            return;
        }
        if now.since(self.looked_at) > self.config.interval * 2 && !broken(Rule::A3) {
            self.slot_heard(now);
            self.direct.restart_clocks(now);
        }
        self.looked_at = now;
    }

    /// `message` could not be sent by this route: there is nobody at the other end of its socket.
    pub fn on_no_route(&mut self, now: Moment, route: Route, message: &Message, out: &mut Outbox) {
        self.look(now);
        if route == Route::Direct {
            self.on_direct_lost(now);
            if let Message::Close(_) = message {
                // Nothing comes after it that could say so again.
                out.push((Route::Broker, message.clone()));
            }
            return;
        }
        match self.phase {
            Phase::Ended => return,
            Phase::Open => self.phase = Phase::Resuming,
            Phase::Waiting => self.phase = Phase::Opening,
            Phase::Held => self.keep_alive_at = now + REOPEN_WITHOUT_ROUTE,
            _ => {}
        }
        self.ask_at = now + REOPEN_WITHOUT_ROUTE;
        if matches!(message, Message::Open(_) | Message::Attach { .. }) {
            self.asked = self.asked.saturating_sub(1);
            if self.asked == 0 {
                // Nobody there has heard of this Hit: the next OPEN is the first, and this one was no attempt.
                self.sent_at = None;
                self.open_since = None;
                self.attempt.0 = self.attempt.0.saturating_sub(1);
                self.requests.rewind();
            }
        }
    }

    /// Whether it asked to attach to a Hit, and was never let in.
    pub const fn is_uninvited(&self) -> bool {
        self.client != 0 && self.slot.is_none()
    }

    /// Whether it is held for other clients.
    pub const fn is_held(&self) -> bool {
        matches!(self.phase, Phase::Held)
    }

    /// Lets a held Hit go: it is over.
    pub fn release(&mut self, out: &mut Outbox) {
        if self.is_held() {
            self.attach = Attach(0);
            let close = self.close(CloseReason::Done);
            out.push(close);
            self.end(Outcome::Done);
        }
    }

    /// Ends the Hit at once: a signal, or the reader of replies is gone.
    pub fn abandon(&mut self, out: &mut Outbox) {
        if self.phase == Phase::Ended {
            return;
        }
        if self.is_held() {
            self.release(out);
            self.outcome = Some(Outcome::Abandoned);
            return;
        }
        // One that only asked to attach has leased nothing, and its attach number may be another's.
        if self.sent_at.is_some() && (self.client == 0 || self.slot.is_some()) {
            if self.slot.is_none() {
                let (hit, attempt) = (self.key, self.attempt);
                out.push((Route::Broker, Message::Withdraw { hit, attempt }));
            }
            out.push(self.give_up());
        }
        self.end(Outcome::Abandoned);
    }

    /// CLOSE by who cannot wait for its answers: a Hit that others use goes on, and rule O8 is for what it has asked.
    fn give_up(&mut self) -> (Route, Message) {
        self.close(if self.client != 0 && self.config.leave == Leave::Detach {
            CloseReason::Detached
        } else {
            CloseReason::Abandoned
        })
    }

    fn close(&mut self, reason: CloseReason) -> (Route, Message) {
        let close = Close {
            hit: self.key,
            attach: self.attach,
            reason,
            ack: self.replies.ack(),
        };
        (self.direct.lane.wanted(), Message::Close(close))
    }

    fn end(&mut self, outcome: Outcome) {
        self.phase = Phase::Ended;
        self.outcome.get_or_insert(outcome);
    }

    /// Time has passed. An early or repeated tick does nothing.
    pub fn on_tick(&mut self, now: Moment, out: &mut Outbox) {
        self.look(now);
        match self.phase {
            Phase::Opening | Phase::Waiting if now.since(self.started_at) >= self.config.wait => {
                self.give_up_waiting(now);
            }
            Phase::Waiting if now.since(self.heard_at) >= self.liveness() => {
                self.phase = Phase::Opening;
                self.ask_at = now;
            }
            Phase::Open if self.silence(now).is_some() => {
                if self.is_direct() {
                    self.fall_back(now);
                }
                self.phase = Phase::Resuming;
                self.ask_at = now;
            }
            Phase::Resuming if now.since(self.heard_at) >= self.ttl => {
                self.end(Outcome::Lost(Lost::Silence(self.ttl)));
            }
            // The slot judges no holder while it has no broker itself (rule A4).
            Phase::Held if now.since(self.heard_at) >= self.config.ttl.max(TTL) => {
                self.end(Outcome::Lost(Lost::Silence(self.config.ttl.max(TTL))));
            }
            _ => {}
        }
        if self.is_open() && self.is_past_deadline(now) {
            let close = self.give_up();
            out.push(close);
            self.end(Outcome::Deadline);
        }
        self.flush(now, out);
    }

    fn give_up_waiting(&mut self, now: Moment) {
        if self.sent_at.is_none() && self.no_slot == NoSlot::Unknown {
            self.end(Outcome::NoBroker);
        } else if self.sent_at.is_none() {
            // Whoever was asked has said that nothing is leased.
            self.end(Outcome::NoSlot(self.no_slot.clone()));
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
        let ask = self.ask_at.min(self.looked_at + self.config.interval);
        match self.phase {
            Phase::Opening => Some(ask.min(wait)),
            Phase::Waiting => Some(ask.min(wait).min(self.heard_at + self.liveness())),
            Phase::Withdrawing { since } => Some(ask.min(since + self.confirmation())),
            Phase::Open => {
                let silent = self.is_outstanding().then(|| self.slot_heard_at + self.liveness());
                let alive = self.keep_alive_at.min(self.looked_at + self.config.interval);
                let alive = earliest(Some(alive), self.replies.next_deadline());
                let turn = self.direct.lane.deadline(self.requests.is_under_way());
                let direct = earliest(earliest(self.direct_deadline(), turn), self.deadline());
                earliest(earliest(alive, silent), direct)
            }
            Phase::Resuming => {
                let direct = earliest(self.direct_deadline(), self.deadline());
                earliest(Some(ask.min(self.heard_at + self.ttl)), direct)
            }
            Phase::Held => Some(self.keep_alive_at.min(self.looked_at + self.config.interval)),
            Phase::Ended => None,
        }
    }

    /// Whether the slot said that its handler is being ended.
    pub fn is_ending(&self) -> bool {
        self.work.as_ref().is_some_and(|work| work.state == WorkState::Ending)
    }

    /// How the handler hangs, if the slot said so (rule A2 b, c): it is stopped, or its progress has ceased.
    pub fn hung_handler(&self) -> Option<WorkState> {
        let state = self.work.as_ref().filter(|_| self.is_open())?.state;
        matches!(state, WorkState::Stopped | WorkState::Stalled).then_some(state)
    }

    /// Pieces and bytes of replies that wait for their reader, and request bytes kept for repetition.
    pub fn held(&self) -> (usize, u64, usize) {
        let (pieces, bytes) = self.replies.waiting();
        (pieces, bytes, self.requests.kept_bytes())
    }
}

#[cfg(test)]
mod tests;
