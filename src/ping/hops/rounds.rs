//! Round after round: what is asked, what has answered it, and how long that took. Pure: it is told the time and what
//! arrives, and pushes what is to be sent.
//!
//! In a round each question waits for the answer to the one before. The slot answers by the route by which it last heard its
//! client; so, once it was asked straight, the Hit is resumed by the broker. OPENED, which answers that and names its OPEN, also
//! comes behind every WORKING that was under way: none is taken for the answer to a later question. A round begins with the
//! same, so that who slept during the pause is awake, and the first question does not look slower than the next. None of that
//! is timed.

use std::time::Duration;

use bytes::Bytes;

use crate::hit::{Config, Hit, Outbox};
use crate::protocol::ids::{Attempt, HitKey, SlotId};
use crate::protocol::message::{Message, Pong};
use crate::protocol::route::Route;
use crate::protocol::status::Status;
use crate::protocol::time::{Moment, earliest};

use super::measured::{Ask, Measured};
use super::way::{Count, Direct};

mod asking;
mod heard;

/// So many questions of one hop without an answer, one after the other, end it: a lost one may be a broker's death.
pub(super) const LOST_IN_A_ROW_MAX: u32 = 3;

/// How long a round waits for the resumption: a slot that does not answer it does not answer what is asked then either, and
/// is given its patience there.
const RESUMED_WITHIN: Duration = Duration::from_secs(1);

/// What is to be done.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// How often.
    pub(super) rounds: u32,
    /// From one round to the next; zero: at once.
    pub(super) interval: Duration,
    /// How long an answer may take.
    pub(super) patience: Duration,
    /// What the handler is asked in each round, if it is.
    pub(super) request: Option<Bytes>,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// As planned.
    Done,
    /// The Hit is over; its outcome says why.
    Hit,
    /// Nothing answers this any more.
    Silent(Ask),
    /// By the user.
    Stopped,
}

/// A question that was sent.
#[derive(Clone, Copy, Debug)]
struct Sent {
    at: Moment,
    number: u64,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    /// The Hit is being opened.
    Leasing,
    /// Between two rounds.
    Resting {
        until: Moment,
    },
    /// The Hit is resumed by the broker.
    Resuming {
        since: Moment,
        next: Ask,
    },
    Asking {
        ask: Ask,
        since: Moment,
        sent: Option<Sent>,
    },
    Over(End),
}

/// The machine.
#[derive(Debug)]
pub(super) struct Rounds {
    plan: Plan,
    hit: Hit,
    step: Step,
    /// Rounds that have begun.
    round: u32,
    began_at: Moment,
    nonce: u64,
    /// Nobody is at the other end of the broker's socket.
    is_cut: bool,
    /// The last OPEN that was not answered yet.
    opening: Option<Attempt>,
    by_broker: Count,
    pub(super) direct: Direct,
    /// What is left of a request that is being written.
    unwritten: Option<Bytes>,
    pub(super) measured: Measured,
    /// The broker, as it last answered.
    pub(super) pong: Option<Pong>,
    /// Requests that failed, and how the first did.
    pub(super) failed: (u64, Option<Status>),
    remarks: Vec<String>,
}

impl Rounds {
    pub(super) fn new(now: Moment, key: HitKey, config: Config, plan: Plan) -> Self {
        Self {
            plan,
            hit: Hit::open(now, key, config),
            step: Step::Leasing,
            round: 0,
            began_at: now,
            nonce: 0,
            is_cut: false,
            opening: None,
            by_broker: Count::default(),
            direct: Direct::Unknown,
            unwritten: None,
            measured: Measured::default(),
            pong: None,
            failed: (0, None),
            remarks: Vec::new(),
        }
    }

    pub(super) const fn hit(&self) -> &Hit {
        &self.hit
    }

    /// Host and slot, once known.
    pub(super) const fn slot(&self) -> Option<&(String, SlotId)> {
        self.hit.slot()
    }

    /// How it ended, once it has.
    pub(super) const fn end(&self) -> Option<End> {
        match self.step {
            Step::Over(end) => Some(end),
            _ => None,
        }
    }

    /// How many rounds have begun.
    pub(super) const fn begun(&self) -> u32 {
        self.round
    }

    /// What a person should know at once.
    pub(super) fn take_remarks(&mut self) -> Vec<String> {
        std::mem::take(&mut self.remarks)
    }

    /// The broker's socket has somebody at its other end again.
    pub(super) const fn on_route(&mut self, now: Moment) {
        self.is_cut = false;
        self.hit.on_route(now);
    }

    /// The round is over.
    fn rest(&mut self, now: Moment) -> Step {
        let next_at = now.max(self.began_at + self.plan.interval);
        Step::Resting {
            until: if self.is_last() { now } else { next_at },
        }
    }

    /// Time has passed: asks what is due.
    pub(super) fn on_tick(&mut self, now: Moment, out: &mut Outbox) {
        while self.end().is_none() && self.hit.outcome().is_none() && self.go(now, out) {}
        self.unwritten.take_if(|request| self.hit.write_part(now, request));
        let from = out.len();
        self.hit.on_tick(now, out);
        self.note(out, from);
        if self.hit.outcome().is_some() && self.end().is_none() {
            self.step = Step::Over(End::Hit);
        }
    }

    /// Goes on to what comes next; whether it did.
    fn go(&mut self, now: Moment, out: &mut Outbox) -> bool {
        match self.step {
            Step::Leasing if self.is_settled() => {
                self.begin(now);
                self.step = Step::asking(now, Ask::Direct);
            }
            Step::Resting { until } if until <= now && self.is_last() => self.finish(End::Done, out),
            Step::Resting { until } if until <= now => {
                self.begin(now);
                self.resume(now, Ask::Direct);
            }
            Step::Resuming { since, next } if self.is_settled() || self.resumed_by(since) <= now => {
                self.step = Step::asking(now, next);
            }
            Step::Asking { ask, sent: None, .. } if self.is_skipped(ask) => self.go_on_from(now, ask),
            Step::Asking { ask, since, .. } if self.is_late(since, now) => self.settle(now, ask, None, out),
            Step::Asking { ask, since, sent: None } => {
                let number = self.ask(now, ask, out);
                let sent = number.map(|number| Sent { at: now, number });
                self.step = Step::Asking { ask, since, sent };
                return false;
            }
            _ => return false,
        }
        true
    }

    fn begin(&mut self, now: Moment) {
        self.round += 1;
        self.began_at = now;
        self.measured.begin();
    }

    /// Has the slot speak by the broker again, and then asks this.
    fn resume(&mut self, now: Moment, next: Ask) {
        self.hit.resume(now);
        self.step = Step::Resuming { since: now, next };
    }

    const fn is_last(&self) -> bool {
        self.round >= self.plan.rounds
    }

    fn is_settled(&self) -> bool {
        self.hit.is_settled() && self.opening.is_none()
    }

    fn is_late(&self, since: Moment, now: Moment) -> bool {
        since + self.plan.patience <= now
    }

    fn resumed_by(&self, since: Moment) -> Moment {
        since + self.plan.patience.min(RESUMED_WITHIN)
    }

    /// Takes note of what the Hit sends by itself.
    fn note(&mut self, out: &Outbox, from: usize) {
        for (route, message) in out.iter().skip(from) {
            match message {
                Message::Open(open) => self.opening = Some(open.attempt),
                Message::KeepAlive { .. } if *route == Route::Broker => {
                    self.by_broker.sent();
                }
                _ => {}
            }
        }
    }

    /// The user has had enough.
    pub(super) fn stop(&mut self, out: &mut Outbox) {
        if self.end().is_none() {
            self.finish(End::Stopped, out);
        }
    }

    /// Ends it; the Hit is closed.
    fn finish(&mut self, end: End, out: &mut Outbox) {
        self.step = Step::Over(end);
        let is_silent = matches!(end, End::Silent(_));
        if self.is_settled() && !self.hit.is_outstanding() && !is_silent {
            // Closed by the next flush.
            return self.hit.complete();
        }
        let from = out.len();
        self.hit.abandon(out);
        let close = out.iter().skip(from).find(|(_, one)| matches!(one, Message::Close(_)));
        // By either way, if one does not answer.
        let straight = close.filter(|_| is_silent && self.direct.is_connected());
        let straight = straight.map(|(_, close)| (Route::Direct, close.clone()));
        out.extend(straight);
    }

    /// When to tick at the latest.
    pub(super) fn next_deadline(&self, now: Moment) -> Option<Moment> {
        let step = match self.step {
            Step::Resting { until } if until > now => Some(until),
            Step::Resuming { since, .. } => Some(self.resumed_by(since)),
            Step::Asking { since, .. } => Some(since + self.plan.patience),
            Step::Resting { .. } => Some(now),
            Step::Leasing | Step::Over(_) => None,
        };
        earliest(step, self.hit.next_deadline())
    }
}

impl Step {
    const fn asking(since: Moment, ask: Ask) -> Self {
        Self::Asking { ask, since, sent: None }
    }
}

#[cfg(test)]
mod tests;
