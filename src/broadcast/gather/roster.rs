//! Who must answer: the roster of all hosts, pinned once (rule B1), and hosts that are not reached (rule B3).

use super::{Action, CHECK_EVERY, Gather, Phase};
use crate::broadcast::desk::{Desk, Presence};
use crate::broadcast::seat::{Books, Seat, Verdict};
use crate::protocol::Message;
use crate::protocol::mutation::{Rule, broken};
use crate::protocol::pool::{Enrolled, Roll, Roster};
use crate::protocol::time::Moment;

impl Gather {
    /// A broker has told that this host is not reached, and how it knows (rule B3: it has tried until patience was over).
    pub fn on_unreached(&mut self, now: Moment, host: usize, evidence: String, out: &mut Vec<Action>) {
        self.look(now);
        self.heard = true;
        if self.hears_old_words(now) {
            return;
        }
        let Some(desk) = self.desks.get_mut(host) else { return };
        match self.phase {
            Phase::Closed => {}
            Phase::Rolling => {
                desk.roll = Presence::Unreached(evidence);
                self.pin_if_called(now, out);
            }
            Phase::Asking => self.lose(now, host, &evidence, out),
        }
    }

    pub(super) fn on_roster(&mut self, now: Moment, host: usize, roster: Roster, out: &mut Vec<Action>) {
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
        desk.roll = Presence::Called(members);
        self.pin_if_called(now, out);
    }

    /// Rule B1: pinned once, when every host has said who is there, or is known not to be reached.
    pub(super) fn pin_if_called(&mut self, now: Moment, out: &mut Vec<Action>) {
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
                Presence::Called(members) => members.clone(),
                Presence::Unreached(evidence) => {
                    unreached.push((host, evidence.clone()));
                    vec![Enrolled::whole_host()]
                }
                Presence::Awaited => Vec::new(),
            };
            let first = self.seats.len();
            for one in members {
                self.index.insert((host, one.member), self.seats.len());
                self.seats.push(Seat::new(&desk.host, host, one));
            }
            desk.places = first..self.seats.len();
            desk.outstanding = desk.places.len();
        }
        self.books = Books::default();
        self.books.expected = self.seats.len();
        self.books.outstanding = self.seats.len();
        self.check_at = now + CHECK_EVERY;
        self.roll_at = now + self.config.interval;
        // All of them first: what is known already is neither asked nor skipped.
        for (host, evidence) in unreached {
            self.settle_lost(now, host, &evidence, out);
        }
        self.ask_next(now, out);
        self.close_if_settled();
    }

    /// Asks who is there. Once that is pinned, only to tell who came too late.
    pub(super) fn roll(&self, out: &mut Vec<Action>) {
        let (id, pool) = (self.config.id, self.config.targets.pool.clone());
        for (host, desk) in self.desks.iter().enumerate() {
            if self.phase == Phase::Rolling && !desk.is_awaited() {
                continue;
            }
            let pool = pool.clone();
            out.push(Action::Send(host, Message::Roll(Roll { id, pool })));
        }
    }

    /// Rule B3: hosts that were asked until patience was over are not reached.
    pub(super) fn give_up(&mut self, now: Moment, out: &mut Vec<Action>) {
        let patience = self.config.patience;
        for host in 0..self.desks.len() {
            let Some(desk) = self.desks.get_mut(host) else { continue };
            let Some(evidence) = desk.is_lost(now, patience) else {
                continue;
            };
            match self.phase {
                Phase::Rolling if desk.is_awaited() => {
                    desk.roll = Presence::Unreached(evidence);
                    self.pin_if_called(now, out);
                }
                Phase::Asking => self.lose(now, host, &evidence, out),
                Phase::Rolling | Phase::Closed => {}
            }
        }
    }

    /// Who is outstanding on a host that is not reached is so; others may be asked instead.
    fn lose(&mut self, now: Moment, host: usize, evidence: &str, out: &mut Vec<Action>) {
        self.settle_lost(now, host, evidence, out);
        self.ask_next(now, out);
    }

    fn settle_lost(&mut self, now: Moment, host: usize, evidence: &str, out: &mut Vec<Action>) {
        let Some(desk) = self.desks.get(host).filter(|desk| desk.outstanding > 0) else {
            return;
        };
        let places = self.seats.get(desk.places.clone()).unwrap_or_default();
        let rest = places.iter().filter(|seat| seat.verdict.is_none());
        for who in rest.map(Seat::who).collect::<Vec<_>>() {
            self.settle(now, who, Verdict::Unreachable(evidence.to_owned()), out);
        }
    }
}
