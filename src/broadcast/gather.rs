//! The roll-call: who must answer, who has, and what became of the others. Pure, and its books balance at every moment
//! (rule B4).
//!
//! The issuer pins the roster before anybody is asked (rule B1). A broker that dies changes nothing: the same members are
//! asked again by way of the next, and none runs it twice (rule B2).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;

use super::seat::{Books, Limits, Seat, Verdict, span};
use crate::options::{Batch, Targets};
use crate::protocol::Message;
use crate::protocol::ids::{BroadcastId, Member, ReturnPath};
use crate::protocol::mutation::{Rule, broken};
use crate::protocol::pool::{Ask, Blob, Check, Enrolled, Fate, Roll, Roster, Thanks};
use crate::protocol::status::Status;
use crate::protocol::time::Moment;

/// How often those who have not answered are asked about.
const CHECK_EVERY: Duration = Duration::from_millis(250);

/// Who is seen alive so often without a receipt takes no notice, however short patience is.
const IGNORED_LEAST: u32 = 4;

/// What does not change.
#[derive(Clone, Debug)]
pub struct Config {
    /// The broadcast.
    pub id: BroadcastId,
    /// Whom.
    pub targets: Targets,
    /// The request.
    pub body: Bytes,
    /// How long silence is tolerated.
    pub patience: Duration,
    /// Period of heartbeats.
    pub interval: Duration,
    /// How long it may take in all.
    pub timeout: Option<Duration>,
    /// Most bytes of a reply.
    pub reply_max: u32,
    /// How many are asked at a time; `None`: all.
    pub batch: Option<Batch>,
    /// After so many that did not do well nobody further is asked.
    pub stop_after: Option<u32>,
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The roster is not known yet.
    Rolling,
    /// It is pinned.
    Asking,
    /// Everybody is settled, or it was ended.
    Closed,
}

/// What the loop must do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send this to the broker.
    Send(Message),
    /// This member, by its place on the roster, is settled.
    Settled(usize),
}

/// The machine.
#[derive(Debug)]
pub struct Gather {
    config: Config,
    limits: Limits,
    phase: Phase,
    began_at: Moment,
    roll_at: Moment,
    check_at: Moment,
    tick_at: Moment,
    /// When a broker was heard last.
    heard_at: Moment,
    seats: Vec<Seat>,
    index: BTreeMap<Member, usize>,
    books: Books,
    /// The first that was not asked yet.
    next: usize,
    stopped: bool,
    timed_out: bool,
    /// Who came after the roster was pinned.
    late: BTreeSet<Member>,
    /// How many serve the pool and did not fit the roster.
    unlisted: usize,
}

impl Gather {
    /// A broadcast that begins now.
    pub fn new(now: Moment, config: Config) -> Self {
        let looks = config.patience.as_millis() / CHECK_EVERY.as_millis();
        let limits = Limits {
            patience: config.patience,
            interval: config.interval,
            ignored_max: u32::try_from(looks).unwrap_or(u32::MAX).max(IGNORED_LEAST),
        };
        Self {
            config,
            limits,
            phase: Phase::Rolling,
            began_at: now,
            roll_at: now,
            check_at: now,
            tick_at: now,
            heard_at: now,
            seats: Vec::new(),
            index: BTreeMap::new(),
            books: Books::default(),
            next: 0,
            stopped: false,
            timed_out: false,
            late: BTreeSet::new(),
            unlisted: 0,
        }
    }

    /// How far it is.
    pub const fn phase(&self) -> Phase {
        self.phase
    }

    /// The roster.
    pub fn seats(&self) -> &[Seat] {
        &self.seats
    }

    /// The books.
    pub const fn books(&self) -> Books {
        self.books
    }

    /// Whether `--timeout` ended it.
    pub const fn timed_out(&self) -> bool {
        self.timed_out
    }

    /// Who came after the roster was pinned, and was not asked.
    pub fn late(&self) -> impl Iterator<Item = Member> {
        self.late.iter().copied()
    }

    /// How many serve the pool and are not asked, for they did not fit the roster.
    pub const fn unlisted(&self) -> usize {
        self.unlisted
    }

    /// When it began.
    pub const fn began_at(&self) -> Moment {
        self.began_at
    }

    /// Takes a message.
    pub fn on_message(&mut self, now: Moment, message: Message, out: &mut Vec<Action>) {
        let about = match &message {
            Message::Roster(m) => m.id,
            Message::Receipt(m) => m.id,
            Message::Running(m) => m.id,
            Message::Answer(m) => m.id,
            Message::Condition(m) => m.id,
            Message::Gone(m) => m.id,
            _ => return,
        };
        if about != self.config.id || self.phase == Phase::Closed {
            return;
        }
        self.look(now);
        self.heard_at = now;
        match message {
            Message::Roster(roster) => self.pin(now, roster, out),
            Message::Receipt(m) => {
                if let Some(seat) = self.outstanding(m.member) {
                    seat.on_receipt(now);
                }
            }
            Message::Running(m) => {
                if let Some(seat) = self.outstanding(m.member) {
                    seat.on_running(now, m.state);
                }
            }
            Message::Answer(m) => {
                let verdict = match m.status {
                    Status::Ok => Verdict::Ok,
                    status => Verdict::Failed(status, m.note.0),
                };
                let member = m.member;
                if let Some(seat) = self.outstanding(member) {
                    seat.reply = m.body.0;
                    self.settle(now, member, verdict, out);
                }
                // Also of one that was settled before: it need not keep its answer any longer.
                let members = vec![member];
                let id = self.config.id;
                out.push(Action::Send(Message::Thanks(Thanks { id, members })));
            }
            Message::Condition(m) => self.on_condition(now, m.member, (m.silent_ms, m.still_ms), out),
            Message::Gone(m) => {
                let ago = span(Duration::from_millis(m.ago_ms.into()));
                let verdict = match m.fate {
                    Fate::Died => Verdict::Dead(format!("its process ended without goodbye {ago} ago")),
                    Fate::Left => Verdict::Left(format!("it said goodbye {ago} ago")),
                    Fate::Unknown => Verdict::Dead("its host's broker knows it no more".to_owned()),
                };
                self.settle(now, m.member, verdict, out);
            }
            _ => {}
        }
        self.ask_next(now, out);
    }

    /// Rule B1: pinned once, whatever later rosters say.
    fn pin(&mut self, now: Moment, roster: Roster, out: &mut Vec<Action>) {
        let host = roster.host;
        let wanted = |one: &Enrolled| self.config.targets.take(&host, one.member.worker, &one.pool);
        if self.phase != Phase::Rolling && !broken(Rule::B1) {
            let new = roster.members.iter().filter(|one| wanted(one)).map(|one| one.member);
            let late = new
                .filter(|member| !self.index.contains_key(member))
                .collect::<Vec<_>>();
            return self.late.extend(late);
        }
        self.phase = Phase::Asking;
        self.unlisted = (roster.total as usize).saturating_sub(roster.members.len());
        self.seats = roster
            .members
            .into_iter()
            .filter(|one| wanted(one))
            .map(|one| Seat::new(&host, one))
            .collect();
        let places = self.seats.iter().enumerate();
        self.index = places.map(|(place, seat)| (seat.member, place)).collect();
        self.books.expected = self.seats.len();
        self.books.outstanding = self.seats.len();
        self.check_at = now + CHECK_EVERY;
        self.roll_at = now + self.config.interval;
        self.ask_next(now, out);
        self.close_if_settled();
    }

    fn outstanding(&mut self, member: Member) -> Option<&mut Seat> {
        let place = *self.index.get(&member)?;
        let seat = self.seats.get_mut(place)?;
        (seat.verdict.is_none() || broken(Rule::B4)).then_some(seat)
    }

    /// What the broker sees of a member that has not answered.
    fn on_condition(&mut self, now: Moment, member: Member, (silent, still): (u32, u32), out: &mut Vec<Action>) {
        let limits = self.limits;
        let Some(seat) = self.outstanding(member) else { return };
        let [silent, still] = [silent, still].map(|ms| Duration::from_millis(ms.into()));
        if let Some(verdict) = seat.judge(now, (silent, still), limits) {
            self.settle(now, member, verdict, out);
        }
    }

    fn settle(&mut self, now: Moment, member: Member, verdict: Verdict, out: &mut Vec<Action>) {
        let Some(place) = self.index.get(&member).copied() else {
            return;
        };
        if self.outstanding(member).is_none() {
            return;
        }
        self.books.settle(&verdict);
        if let Some(seat) = self.seats.get_mut(place) {
            (seat.settled_at, seat.verdict) = (Some(now), Some(verdict));
        }
        out.push(Action::Settled(place));
        self.close_if_settled();
    }

    const fn close_if_settled(&mut self) {
        if self.books.outstanding == 0 {
            self.phase = Phase::Closed;
        }
    }

    /// Asks those whose turn it is. One whose turn does not come any more is skipped.
    fn ask_next(&mut self, now: Moment, out: &mut Vec<Action>) {
        if self.phase != Phase::Asking {
            return;
        }
        let bad = self.books.settled() - self.books.ok - self.books.skipped;
        if self.config.stop_after.is_some_and(|most| bad >= most as usize) && !self.stopped {
            self.stopped = true;
            let rest: Vec<Member> = self.seats.iter().skip(self.next).map(|seat| seat.member).collect();
            self.next = self.seats.len();
            for member in rest {
                self.settle(now, member, Verdict::Skipped, out);
            }
        }
        let window = self
            .config
            .batch
            .map_or(usize::MAX, |batch| batch.of(self.books.expected));
        let under_way = self.next - self.books.settled().min(self.next);
        let until = self
            .seats
            .len()
            .min(self.next.saturating_add(window.saturating_sub(under_way)));
        let mut members = Vec::new();
        for seat in self.seats.get_mut(self.next..until).unwrap_or_default() {
            (seat.asked_at, seat.sent_at) = (Some(now), now);
            members.push(seat.member);
        }
        self.next = until;
        self.ask(members, out);
    }

    fn ask(&self, members: Vec<Member>, out: &mut Vec<Action>) {
        if members.is_empty() {
            return;
        }
        let timeout = self.config.timeout.unwrap_or_default();
        out.push(Action::Send(Message::Ask(Ask {
            id: self.config.id,
            timeout_ms: u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX),
            reply_max: self.config.reply_max,
            path: ReturnPath::default(),
            members,
            body: Blob(self.config.body.clone()),
        })));
    }

    /// The connection to a broker is new: whatever was under way is said again.
    pub fn on_route(&mut self, now: Moment, out: &mut Vec<Action>) {
        self.roll_at = now;
        let unheard = self
            .seats
            .iter_mut()
            .filter(|seat| seat.verdict.is_none() && seat.asked_at.is_some());
        let members = unheard.map(|seat| {
            seat.sent_at = now;
            seat.restart_clocks();
            seat.member
        });
        let members = members.collect();
        self.ask(members, out);
        self.on_tick(now, out);
    }

    /// Rule A3: who stood still himself judges nobody before he has heard them again.
    fn look(&mut self, now: Moment) {
        if now.since(self.tick_at) > self.config.interval + CHECK_EVERY && !broken(Rule::A3) {
            self.heard_at = now;
            for seat in &mut self.seats {
                seat.restart_clocks();
            }
        }
        self.tick_at = now;
    }

    /// Time has passed.
    pub fn on_tick(&mut self, now: Moment, out: &mut Vec<Action>) {
        self.look(now);
        let over = |timeout: Duration| now.since(self.began_at) >= timeout;
        match self.phase {
            Phase::Closed => {}
            _ if self.config.timeout.is_some_and(over) => {
                self.timed_out = true;
                self.phase = Phase::Closed;
            }
            Phase::Rolling if now >= self.roll_at => {
                self.roll_at = now + CHECK_EVERY;
                self.roll(out);
            }
            Phase::Rolling => {}
            Phase::Asking => {
                if now.since(self.heard_at) >= self.config.patience {
                    return self.give_up(now, out);
                }
                if now >= self.check_at {
                    self.check(now, out);
                }
                if now >= self.roll_at {
                    self.roll_at = now + self.config.interval;
                    self.roll(out);
                }
            }
        }
    }

    /// Asks who is there. Once that is pinned, only to tell who came too late.
    fn roll(&self, out: &mut Vec<Action>) {
        let (id, pool) = (self.config.id, self.config.targets.pool.clone());
        out.push(Action::Send(Message::Roll(Roll { id, pool })));
    }

    /// Asks again who has sent no receipt, and after all who have not answered.
    fn check(&mut self, now: Moment, out: &mut Vec<Action>) {
        self.check_at = now + CHECK_EVERY;
        let interval = self.config.interval;
        let (mut all, mut again) = (Vec::new(), Vec::new());
        for seat in &mut self.seats {
            if seat.verdict.is_some() || seat.asked_at.is_none() {
                continue;
            }
            all.push(seat.member);
            // One that is silent has lost the message, or the answer to it was lost: it is kept, and sent again.
            if !seat.is_fresh(now, interval) && now.since(seat.sent_at) >= interval {
                seat.sent_at = now;
                again.push(seat.member);
            }
        }
        self.ask(again, out);
        let id = self.config.id;
        out.push(Action::Send(Message::Check(Check { id, members: all })));
    }

    /// Rule B3: the host was asked until patience was over.
    fn give_up(&mut self, now: Moment, out: &mut Vec<Action>) {
        let silent = span(now.since(self.heard_at));
        let rest: Vec<Member> = self
            .seats
            .iter()
            .filter(|seat| seat.verdict.is_none())
            .map(|seat| seat.member)
            .collect();
        for member in rest {
            let evidence = format!("its host's broker has been silent for {silent}");
            self.settle(now, member, Verdict::Unreachable(evidence), out);
        }
    }

    /// It is ended before everybody is settled (^C).
    pub const fn end(&mut self) {
        self.phase = Phase::Closed;
    }

    /// When to tick at the latest.
    pub fn next_deadline(&self) -> Moment {
        let due = match self.phase {
            Phase::Rolling => self.roll_at,
            Phase::Asking | Phase::Closed => self.check_at,
        };
        let timeout = self.config.timeout.map(|timeout| self.began_at + timeout);
        timeout.map_or(due, |at| at.min(due))
    }
}

#[cfg(test)]
#[path = "gather_tests.rs"]
mod tests;
