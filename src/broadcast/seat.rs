//! One member's place on a roster, what is known of it, and the books over all. Pure.

use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;

use crate::protocol::ids::Member;
use crate::protocol::message::WorkState;
use crate::protocol::pool::Enrolled;
use crate::protocol::status::Status;
use crate::protocol::time::Moment;
use crate::term::human::span;

/// What became of a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It answered, and all is well.
    Ok,
    /// Its handler failed.
    Failed(Status, String),
    /// It hangs (rule A2).
    Hung(String),
    /// It ended without goodbye.
    Dead(String),
    /// It said goodbye.
    Left(String),
    /// Its host is not reached.
    Unreachable(String),
    /// It was not asked: others had failed.
    Skipped,
}

/// One member on the roster.
#[derive(Clone, Debug)]
pub struct Seat {
    /// Its host.
    pub host: String,
    /// That host's place among those that are asked.
    pub(super) at: usize,
    /// Who.
    pub member: Member,
    /// Its pool.
    pub pool: String,
    /// When it was asked first; `None`: not yet.
    pub asked_at: Option<Moment>,
    /// When it was settled.
    pub settled_at: Option<Moment>,
    /// What became of it; `None`: outstanding.
    pub verdict: Option<Verdict>,
    /// What it replied.
    pub reply: Bytes,
    pub(super) sent_at: Moment,
    received: bool,
    /// When it was heard last, and what it did then.
    heard: Option<(Moment, WorkState)>,
    /// Since when its handler does not go on.
    stopped_since: Option<Moment>,
    /// How often it was seen alive and had not told that it was asked.
    ignored: u32,
}

/// How long is too long.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) patience: Duration,
    pub(super) interval: Duration,
    /// How often one may be seen alive that has not told that it was asked.
    pub(super) ignored_max: u32,
}

impl Seat {
    pub(super) fn new(host: &str, at: usize, one: Enrolled) -> Self {
        Self {
            host: host.to_owned(),
            at,
            member: one.member,
            pool: one.pool,
            asked_at: None,
            settled_at: None,
            verdict: None,
            reply: Bytes::new(),
            sent_at: Moment::ZERO,
            received: false,
            heard: None,
            stopped_since: None,
            ignored: 0,
        }
    }

    pub(super) const fn on_receipt(&mut self, now: Moment) {
        (self.received, self.heard) = (true, Some((now, WorkState::Running)));
    }

    pub(super) fn on_running(&mut self, now: Moment, state: WorkState) {
        (self.received, self.heard) = (true, Some((now, state)));
        let stopped = matches!(state, WorkState::Stopped | WorkState::Stalled);
        self.stopped_since = stopped.then(|| self.stopped_since.unwrap_or(now));
    }

    /// It is asked by another way.
    pub(super) const fn is_asked_anew(&mut self) {
        self.ignored = 0;
    }

    /// Whoever judges has stood still himself.
    pub(super) const fn restart_clocks(&mut self) {
        (self.stopped_since, self.ignored) = (None, 0);
    }

    /// Whether it was heard lately: what it said longer ago may not be so any more.
    pub(super) fn is_fresh(&self, now: Moment, interval: Duration) -> bool {
        self.heard.is_some_and(|(at, _)| now.since(at) < 2 * interval)
    }

    /// What becomes of it by what its broker sees: how long it sends no heartbeat, how long its loop stands still (nothing:
    /// that cannot be seen). Hung is rule A2, and nothing else.
    pub(super) fn judge(
        &mut self,
        now: Moment,
        (silent, still): (Duration, Duration),
        limits: Limits,
    ) -> Option<Verdict> {
        let patience = limits.patience;
        let waited = now.since(self.asked_at?);
        let may_judge = waited >= patience;
        let heard = self.heard.map_or("no receipt".to_owned(), |(at, _)| {
            format!("last word {} ago", span(now.since(at)))
        });
        let fresh = self.is_fresh(now, limits.interval);
        if may_judge && still >= patience {
            let (still, silent) = (span(still), span(silent));
            return Some(Verdict::Hung(format!(
                "loop still for {still}, heartbeat {silent} old, {heard}"
            )));
        }
        if may_judge && still.is_zero() && silent >= patience {
            return Some(Verdict::Hung(format!("no heartbeat for {}, {heard}", span(silent))));
        }
        if fresh && self.stopped_since.is_some_and(|since| now.since(since) >= patience) {
            let evidence = "its handler is stopped, or has ceased to report progress";
            return Some(Verdict::Hung(evidence.to_owned()));
        }
        // It is there and turns, and was asked again and again.
        let turns = silent.max(still) < 2 * limits.interval;
        self.ignored = if turns && !self.received { self.ignored + 1 } else { 0 };
        (may_judge && self.ignored >= limits.ignored_max).then(|| {
            let why = format!("it sends no receipt for {}: does it know broadcasts?", span(waited));
            Verdict::Failed(Status::Refused, why)
        })
    }

    /// `alpha/w3`; of a whole host that was not reached, `alpha`.
    pub fn name(&self) -> String {
        if self.member == Member::default() {
            return self.host.clone();
        }
        format!("{}/{}", self.host, self.member.worker)
    }

    /// The place of its host, and who it is there.
    pub(super) const fn who(&self) -> (usize, Member) {
        (self.at, self.member)
    }

    /// From when it was asked to when it was settled, or until now.
    pub fn took(&self, now: Moment) -> Duration {
        let until = self.settled_at.unwrap_or(now);
        self.asked_at.map_or(Duration::ZERO, |asked| until.since(asked))
    }
}

/// The books: who was expected, and what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "each is the count of its verdict")]
pub struct Books {
    pub expected: usize,
    pub ok: usize,
    pub failed: usize,
    pub hung: usize,
    pub dead: usize,
    pub left: usize,
    pub skipped: usize,
    pub unreachable: usize,
    pub outstanding: usize,
}

impl Books {
    /// One more is settled.
    pub(super) const fn settle(&mut self, verdict: &Verdict) {
        *match verdict {
            Verdict::Ok => &mut self.ok,
            Verdict::Failed(..) => &mut self.failed,
            Verdict::Hung(_) => &mut self.hung,
            Verdict::Dead(_) => &mut self.dead,
            Verdict::Left(_) => &mut self.left,
            Verdict::Unreachable(_) => &mut self.unreachable,
            Verdict::Skipped => &mut self.skipped,
        } += 1;
        self.outstanding = self.outstanding.saturating_sub(1);
    }

    /// Whether they balance (rule B4). If not, it is a bug.
    pub const fn balance(&self) -> bool {
        let others = self.failed + self.hung + self.dead + self.left + self.skipped + self.unreachable;
        self.expected == self.ok + others + self.outstanding
    }

    /// How many are settled.
    pub const fn settled(&self) -> usize {
        self.expected - self.outstanding
    }
}
