//! The roll-call: who must answer, who has, and what became of the others. Pure, and its books balance at every moment
//! (rule B4).
//!
//! The issuer pins the roster of all hosts before anybody is asked (rule B1). A broker that dies changes nothing: the same
//! members are asked again by way of the next, and none runs it twice (rule B2). A host that cannot be asked who is there
//! has one place on the roster, for itself.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;

use super::desk::{Desk, Roll as Called};
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
    desks: Vec<Desk>,
    seats: Vec<Seat>,
    /// Places on the roster, by host and member.
    index: BTreeMap<(usize, Member), usize>,
    books: Books,
    /// The first that was not asked yet.
    next: usize,
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
            seats: Vec::new(),
            index: BTreeMap::new(),
            books: Books::default(),
            next: 0,
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

    /// Whether any broker has said anything yet.
    pub fn has_heard(&self) -> bool {
        let said = |desk: &Desk| !desk.is_awaited() || desk.heard_at > self.began_at;
        self.phase != Phase::Rolling || self.desks.iter().any(said)
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
        let Some(desk) = self.desks.get_mut(host) else { return };
        desk.heard_at = now;
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
                // Also of one that was settled before: it need not keep its answer any longer.
                let members = vec![member];
                let id = self.config.id;
                out.push(Action::Send(host, Message::Thanks(Thanks { id, members })));
            }
            Message::Condition(m) => self.on_condition(now, (host, m.member), (m.silent_ms, m.still_ms), out),
            Message::Gone(m) => {
                let ago = span(Duration::from_millis(m.ago_ms.into()));
                let verdict = match m.fate {
                    Fate::Died => Verdict::Dead(format!("its process ended without goodbye {ago} ago")),
                    Fate::Left => Verdict::Left(format!("it said goodbye {ago} ago")),
                    Fate::Unknown => Verdict::Dead("its host's broker knows it no more".to_owned()),
                };
                self.settle(now, (host, m.member), verdict, out);
            }
            _ => {}
        }
        self.ask_next(now, out);
    }

    /// A broker has told that this host is not reached, and how it knows (rule B3: it has tried until patience was over).
    pub fn on_unreached(&mut self, now: Moment, host: usize, evidence: String, out: &mut Vec<Action>) {
        self.look(now);
        let Some(desk) = self.desks.get_mut(host) else { return };
        match self.phase {
            Phase::Closed => {}
            Phase::Rolling => {
                desk.roll = Called::Unreached(evidence);
                self.pin_if_called(now, out);
            }
            Phase::Asking => self.lose(now, host, &evidence, out),
        }
    }

    fn on_roster(&mut self, now: Moment, host: usize, roster: Roster, out: &mut Vec<Action>) {
        let targets = &self.config.targets;
        let Some(desk) = self.desks.get_mut(host) else { return };
        let listed = roster.members.len();
        let mut members = roster.members;
        members.retain(|one| targets.take(&desk.host, one.member.worker, &one.pool));
        if self.phase != Phase::Rolling && !broken(Rule::B1) {
            let index = &self.index;
            let new = members.iter().map(|one| one.member);
            desk.late
                .extend(new.filter(|member| !index.contains_key(&(host, *member))));
            return;
        }
        if desk.is_awaited() || broken(Rule::B1) {
            self.unlisted += (roster.total as usize).saturating_sub(listed);
        }
        desk.roll = Called::Called(members);
        self.pin_if_called(now, out);
    }

    /// Rule B1: pinned once, when every host has said who is there, or is known not to be reached.
    fn pin_if_called(&mut self, now: Moment, out: &mut Vec<Action>) {
        if self.desks.iter().any(Desk::is_awaited) {
            return;
        }
        self.phase = Phase::Asking;
        self.seats.clear();
        self.index.clear();
        let mut unreached = Vec::new();
        for (host, desk) in self.desks.iter_mut().enumerate() {
            // It was not asked any further while others were.
            desk.heard_at = now;
            let members = match &desk.roll {
                Called::Called(members) => members.clone(),
                Called::Unreached(evidence) => {
                    unreached.push((host, evidence.clone()));
                    vec![Enrolled::whole_host()]
                }
                Called::Awaited => Vec::new(),
            };
            for one in members {
                self.index.insert((host, one.member), self.seats.len());
                self.seats.push(Seat::new(&desk.host, host, one));
            }
        }
        self.books = Books::default();
        self.books.expected = self.seats.len();
        self.books.outstanding = self.seats.len();
        self.check_at = now + CHECK_EVERY;
        self.roll_at = now + self.config.interval;
        for (host, evidence) in unreached {
            self.lose(now, host, &evidence, out);
        }
        self.ask_next(now, out);
        self.close_if_settled();
    }

    fn outstanding(&mut self, who: (usize, Member)) -> Option<&mut Seat> {
        let place = *self.index.get(&who)?;
        let seat = self.seats.get_mut(place)?;
        (seat.verdict.is_none() || broken(Rule::B4)).then_some(seat)
    }

    /// What the broker sees of a member that has not answered.
    fn on_condition(&mut self, now: Moment, who: (usize, Member), (silent, still): (u32, u32), out: &mut Vec<Action>) {
        let limits = self.limits;
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
            let rest: Vec<_> = self.seats.iter().skip(self.next).map(Seat::who).collect();
            (self.next, self.ahead) = (self.seats.len(), 0);
            for who in rest {
                self.settle(now, who, Verdict::Skipped, out);
            }
        }
        let window = self
            .config
            .batch
            .map_or(usize::MAX, |batch| batch.of(self.books.expected));
        let mut under_way = self.next - (self.books.settled() - self.ahead);
        let mut who = Vec::new();
        while under_way < window
            && let Some(seat) = self.seats.get_mut(self.next)
        {
            self.next += 1;
            if seat.verdict.is_some() {
                // One whose host was lost before its turn came.
                self.ahead -= 1;
                continue;
            }
            (seat.asked_at, seat.sent_at) = (Some(now), now);
            who.push(seat.who());
            under_way += 1;
        }
        self.ask(&who, out);
    }

    /// Asks them, each by way of the broker of its host.
    fn ask(&self, who: &[(usize, Member)], out: &mut Vec<Action>) {
        let timeout = self.config.timeout.unwrap_or_default();
        for (host, members) in by_host(who) {
            let ask = Ask {
                id: self.config.id,
                timeout_ms: u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX),
                reply_max: self.config.reply_max,
                path: ReturnPath::default(),
                members,
                body: Blob(self.config.body.clone()),
            };
            out.push(Action::Send(host, Message::Ask(ask)));
        }
    }

    /// The connection to a broker is new: whatever was under way is said again.
    pub fn on_route(&mut self, now: Moment, out: &mut Vec<Action>) {
        self.roll_at = now;
        let unheard = self
            .seats
            .iter_mut()
            .filter(|seat| seat.verdict.is_none() && seat.asked_at.is_some());
        let who = unheard.map(|seat| {
            seat.sent_at = now;
            seat.restart_clocks();
            seat.who()
        });
        let who: Vec<_> = who.collect();
        self.ask(&who, out);
        self.on_tick(now, out);
    }

    /// Rule A3: who stood still himself judges nobody before he has heard them again.
    fn look(&mut self, now: Moment) {
        if now.since(self.tick_at) > self.config.interval + CHECK_EVERY && !broken(Rule::A3) {
            for desk in &mut self.desks {
                desk.heard_at = now;
            }
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
        for (host, desk) in self.desks.iter().enumerate() {
            if self.phase == Phase::Rolling && !desk.is_awaited() {
                continue;
            }
            let pool = pool.clone();
            out.push(Action::Send(host, Message::Roll(Roll { id, pool })));
        }
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
            all.push(seat.who());
            // One that is silent has lost the message, or the answer to it was lost: it is kept, and sent again.
            if !seat.is_fresh(now, interval) && now.since(seat.sent_at) >= interval {
                seat.sent_at = now;
                again.push(seat.who());
            }
        }
        self.ask(&again, out);
        let id = self.config.id;
        let asked = by_host(&all).into_iter();
        out.extend(asked.map(|(host, members)| Action::Send(host, Message::Check(Check { id, members }))));
    }

    /// Rule B3: hosts that were asked until patience was over are not reached.
    fn give_up(&mut self, now: Moment, out: &mut Vec<Action>) {
        let patience = self.config.patience;
        for host in 0..self.desks.len() {
            let Some(desk) = self.desks.get_mut(host) else { continue };
            let Some(evidence) = desk.is_lost(now, patience) else {
                continue;
            };
            match self.phase {
                Phase::Rolling if desk.is_awaited() => {
                    desk.roll = Called::Unreached(evidence);
                    self.pin_if_called(now, out);
                }
                Phase::Asking => self.lose(now, host, &evidence, out),
                Phase::Rolling | Phase::Closed => {}
            }
        }
    }

    /// Who is outstanding on a host that is not reached.
    fn lose(&mut self, now: Moment, host: usize, evidence: &str, out: &mut Vec<Action>) {
        let rest = self
            .seats
            .iter()
            .filter(|seat| seat.at == host && seat.verdict.is_none());
        for who in rest.map(Seat::who).collect::<Vec<_>>() {
            self.settle(now, who, Verdict::Unreachable(evidence.to_owned()), out);
        }
        self.ask_next(now, out);
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

/// Members by their hosts.
fn by_host(who: &[(usize, Member)]) -> BTreeMap<usize, Vec<Member>> {
    let mut all: BTreeMap<usize, Vec<Member>> = BTreeMap::new();
    for (host, member) in who {
        all.entry(*host).or_default().push(*member);
    }
    all
}

#[cfg(test)]
#[path = "gather_tests.rs"]
mod tests;
