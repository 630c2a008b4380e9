//! The roll-call: who must answer, who has, and what became of the others. Pure, and its books balance at every moment
//! (rule B4).
//!
//! The issuer pins the roster of all hosts before anybody is asked (rule B1). A broker that dies changes nothing: the same
//! members are asked again by way of the next, and none runs it twice (rule B2). A host that cannot be asked who is there
//! has one place on the roster, for itself.

mod asking;
mod roster;

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;

use super::desk::Desk;
use super::seat::{Books, Limits, Seat, Verdict};
use crate::options::{Batch, Targets};
use crate::protocol::Message;
use crate::protocol::ids::{BroadcastId, Member};
use crate::protocol::limits::MEMBERS_LISTED_MAX;
use crate::protocol::mutation::{Rule, broken};
use crate::protocol::pool::{Fate, Ran, Thanks};
use crate::protocol::status::Status;
use crate::protocol::time::Moment;
use crate::term::human::span;

/// How often those who have not answered are asked about.
const CHECK_EVERY: Duration = Duration::from_millis(250);

/// Who is seen alive so often without a receipt takes no notice, however short patience is.
const IGNORED_LEAST: u32 = 4;

/// What does not change.
#[derive(Clone, Debug)]
pub struct Config {
    /// The broadcast.
    pub id: BroadcastId,
    /// The hosts that are asked, by name; everywhere else a host is its place here.
    pub hosts: Vec<String>,
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
#[expect(clippy::large_enum_variant, reason = "nearly all of them send, and none is kept")]
pub enum Action {
    /// Send this to the broker of this host.
    Send(usize, Message),
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
    /// When it last found that it had itself stood still.
    woke_at: Moment,
    desks: Vec<Desk>,
    /// Some broker has said something.
    heard: bool,
    seats: Vec<Seat>,
    /// Places on the roster, by host and member.
    index: BTreeMap<(usize, Member), usize>,
    /// Those who have answered and were not thanked yet, by host.
    answered: BTreeMap<usize, Vec<Member>>,
    books: Books,
    /// The first that was not asked yet.
    next: usize,
    /// Where the next check begins.
    check_from: usize,
    /// So many from there on are settled already.
    ahead: usize,
    stopped: bool,
    timed_out: bool,
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
            desks: config.hosts.iter().map(|host| Desk::new(now, host.clone())).collect(),
            config,
            limits,
            phase: Phase::Rolling,
            began_at: now,
            roll_at: now,
            check_at: now,
            tick_at: now,
            woke_at: Moment::ZERO,
            heard: false,
            seats: Vec::new(),
            index: BTreeMap::new(),
            answered: BTreeMap::new(),
            books: Books::default(),
            next: 0,
            check_from: 0,
            ahead: 0,
            stopped: false,
            timed_out: false,
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
    pub fn late(&self) -> impl Iterator<Item = (&str, Member)> {
        let desks = self.desks.iter();
        desks.flat_map(|desk| desk.late.iter().map(|member| (desk.host.as_str(), *member)))
    }

    /// How many serve the pool and are not asked, for they did not fit the roster.
    pub const fn unlisted(&self) -> usize {
        self.unlisted
    }

    /// When it began.
    pub const fn began_at(&self) -> Moment {
        self.began_at
    }

    /// Whether any broker has said anything yet, or there is none to ask.
    pub const fn has_heard(&self) -> bool {
        self.heard || self.desks.is_empty()
    }

    /// Takes a message that the broker of this host has sent.
    pub fn on_message(&mut self, now: Moment, host: usize, message: Message, out: &mut Vec<Action>) {
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
        let quiet_max = self.config.interval + CHECK_EVERY;
        let Some(desk) = self.desks.get_mut(host) else { return };
        if now.since(desk.heard_at) > quiet_max {
            desk.resumed_at = now;
        }
        (desk.heard_at, self.heard) = (now, true);
        match message {
            Message::Roster(roster) => self.on_roster(now, host, roster, out),
            Message::Receipt(m) => {
                if let Some(seat) = self.outstanding((host, m.member)) {
                    seat.on_receipt(now);
                }
            }
            Message::Running(m) => {
                if let Some(seat) = self.outstanding((host, m.member)) {
                    seat.on_running(now, m.state);
                }
            }
            Message::Answer(m) => {
                let verdict = match m.status {
                    Status::Ok => Verdict::Ok,
                    status => Verdict::Failed(status, m.note.0),
                };
                let member = m.member;
                if let Some(seat) = self.outstanding((host, member)) {
                    seat.reply = m.body.0;
                    self.settle(now, (host, member), verdict, out);
                }
                // Also one that was settled before: it need not keep its answer any longer.
                self.answered.entry(host).or_default().push(member);
            }
            Message::Condition(m) => self.on_condition(now, (host, m.member), (m.silent_ms, m.still_ms), out),
            Message::Gone(m) => {
                let ago = span(Duration::from_millis(m.ago_ms.into()));
                let verdict = match m.fate {
                    Fate::Died => Verdict::Dead(format!("its process ended without goodbye {ago} ago{}", told(m.ran))),
                    Fate::Left => Verdict::Left(format!("it said goodbye {ago} ago{}", told(m.ran))),
                    Fate::Unknown => Verdict::Dead("its host's broker knows it no more".to_owned()),
                };
                self.settle(now, (host, m.member), verdict, out);
            }
            _ => {}
        }
        self.ask_next(now, out);
    }

    fn outstanding(&mut self, who: (usize, Member)) -> Option<&mut Seat> {
        let place = *self.index.get(&who)?;
        let seat = self.seats.get_mut(place)?;
        let was_lost = matches!(seat.verdict, Some(Verdict::Unreachable(_)));
        let again = broken(Rule::B4) || (was_lost && broken(Rule::CountedTwice));
        (seat.verdict.is_none() || again).then_some(seat)
    }

    /// What the broker sees of a member that has not answered.
    fn on_condition(&mut self, now: Moment, who: (usize, Member), (silent, still): (u32, u32), out: &mut Vec<Action>) {
        let limits = self.limits;
        // What its broker could not pass on for a while is old, too.
        let resumed_at = self.desks.get(who.0).map_or(Moment::ZERO, |desk| desk.resumed_at);
        if self.hears_old_words(now) || now.since(resumed_at) < CHECK_EVERY {
            return;
        }
        let Some(seat) = self.outstanding(who) else { return };
        let [silent, still] = [silent, still].map(|ms| Duration::from_millis(ms.into()));
        if let Some(verdict) = seat.judge(now, (silent, still), limits) {
            self.settle(now, who, verdict, out);
        }
    }

    fn settle(&mut self, now: Moment, who: (usize, Member), verdict: Verdict, out: &mut Vec<Action>) {
        let Some(place) = self.index.get(&who).copied() else {
            return;
        };
        if self.outstanding(who).is_none() {
            return;
        }
        self.books.settle(&verdict);
        self.ahead += usize::from(place >= self.next);
        if let Some(desk) = self.desks.get_mut(who.0) {
            desk.outstanding = desk.outstanding.saturating_sub(1);
        }
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

    /// Rule A3: who stood still himself judges nobody before he has heard them again.
    fn look(&mut self, now: Moment) {
        if now.since(self.tick_at) > self.config.interval + CHECK_EVERY && !broken(Rule::A3) {
            self.woke_at = now;
            for desk in &mut self.desks {
                desk.heard_at = now;
            }
            for seat in &mut self.seats {
                seat.restart_clocks();
            }
        }
        self.tick_at = now;
    }

    /// Rule A3: whether what it hears may have been said while it stood still itself. How somebody was then is no
    /// verdict; those who are asked about him say it again.
    fn hears_old_words(&self, now: Moment) -> bool {
        now.since(self.woke_at) < CHECK_EVERY
    }

    /// Thanks all who have answered since it did last: many at once, and none later than a worker waits for it.
    pub fn thank(&mut self, out: &mut Vec<Action>) {
        let id = self.config.id;
        for (host, mut all) in std::mem::take(&mut self.answered) {
            while !all.is_empty() {
                let members = all.split_off(all.len().saturating_sub(MEMBERS_LISTED_MAX));
                out.push(Action::Send(host, Message::Thanks(Thanks { id, members })));
            }
        }
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
            Phase::Rolling => {
                if now >= self.roll_at {
                    self.roll_at = now + CHECK_EVERY;
                    self.roll(out);
                }
                // Where there is no host, all have been asked.
                self.pin_if_called(now, out);
                self.give_up(now, out);
            }
            Phase::Asking => {
                self.give_up(now, out);
                if now >= self.check_at {
                    self.check(now, out);
                    self.thank(out);
                }
                if now >= self.roll_at {
                    self.roll_at = now + self.config.interval;
                    self.roll(out);
                }
            }
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

/// What its journal adds to the end of a member.
const fn told(ran: Ran) -> &'static str {
    match ran {
        Ran::Unknown => "",
        Ran::NotBegun => "; it had not begun this",
        Ran::Begun => "; it had begun this",
        Ran::Over => "; it had run this, and its answer is lost",
    }
}

#[cfg(test)]
#[path = "gather_tests.rs"]
mod tests;
