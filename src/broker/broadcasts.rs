//! Broadcasts on their way through a broker: who is to be asked here, and messages passed on. It keeps nothing of them but
//! what became of members that have gone. Part of the broker's pure machine.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::election::journal::{RanBroadcast, WorkerJournal};
use crate::protocol::ids::{BroadcastId, Member, Peer, ReturnPath};
use crate::protocol::limits::{BROADCASTS_JOURNALLED, FATES_MAX, MEMBERS_LISTED_MAX};
use crate::protocol::message::{Message, PongWorker};
use crate::protocol::pool::{
    Answer, Ask, Check, Condition, Enrolled, Fate, Gone, Ran, Receipt, Roll, Roster, Running, Thanks,
};
use crate::protocol::time::Moment;

use super::machine::{Action, Machine};

/// What became of members that have gone.
#[derive(Debug, Default)]
pub(super) struct Fates {
    known: BTreeMap<Member, Known>,
    order: VecDeque<Member>,
    /// Those that were there when this broker began, and may not have registered with it.
    heirlooms: BTreeMap<Member, Heirloom>,
    /// When this broker last found that it had itself stood still (rule A3).
    judges_from: Moment,
}

/// One of them.
#[derive(Clone, Debug)]
struct Known {
    fate: Fate,
    at: Moment,
    /// What it ran, as its journal tells; `None`: it kept none.
    ran: Option<Vec<RanBroadcast>>,
}

impl Known {
    fn ran(&self, id: BroadcastId) -> Ran {
        let Some(all) = &self.ran else { return Ran::Unknown };
        match all.iter().find(|one| one.id == id) {
            Some(one) if one.over => Ran::Over,
            Some(_) => Ran::Begun,
            // What came long before may have been forgotten.
            None if all.len() + 1 < BROADCASTS_JOURNALLED => Ran::NotBegun,
            None => Ran::Unknown,
        }
    }
}

/// A worker that a journal names and that has not registered here.
#[derive(Clone, Debug)]
struct Heirloom {
    pid: u32,
    pool: String,
    slots: u32,
    busy: u32,
}

impl From<&WorkerJournal> for Heirloom {
    fn from(journal: &WorkerJournal) -> Self {
        Self {
            pid: journal.pid,
            pool: journal.pool.clone(),
            slots: journal.slots.len() as u32,
            busy: journal.slots.iter().filter(|slot| slot.running.is_some()).count() as u32,
        }
    }
}

impl Fates {
    pub(super) const fn restart_clock(&mut self, now: Moment) {
        self.judges_from = now;
    }

    /// As [`note`](Self::note), unless more is known already: who has said goodbye dies, too.
    pub(super) fn note_first(&mut self, at: Moment, member: Member, fate: Fate, journal: Option<&WorkerJournal>) {
        match self.known.get_mut(&member) {
            None => self.note(at, member, fate, journal),
            Some(known) => known.ran = journal.map(|journal| journal.broadcasts.clone()).or(known.ran.take()),
        }
    }

    pub(super) fn note(&mut self, at: Moment, member: Member, fate: Fate, journal: Option<&WorkerJournal>) {
        self.heirlooms.remove(&member);
        let ran = journal.map(|journal| journal.broadcasts.clone());
        if self.known.insert(member, Known { fate, at, ran }).is_none() {
            self.order.push_back(member);
        }
        if self.order.len() > FATES_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }
}

fn milliseconds(span: Duration) -> u32 {
    u32::try_from(span.as_millis()).unwrap_or(u32::MAX)
}

impl Machine {
    /// What journals tell of those that had gone before this broker began.
    pub(super) fn inherit_fates(&mut self, now: Moment, journals: &[WorkerJournal]) {
        for journal in journals {
            let member = Member::new(journal.worker, journal.incarnation);
            if journal.alive {
                self.fates.heirlooms.insert(member, Heirloom::from(journal));
                continue;
            }
            let fate = if journal.left { Fate::Left } else { Fate::Died };
            self.fates.note(now, member, fate, Some(journal));
        }
    }

    /// Those that live, as the journals said when this broker began, and have not registered with it: they may be about
    /// to, or hang.
    fn heirlooms(&self) -> impl Iterator<Item = (Member, &Heirloom)> {
        let all = self
            .fates
            .heirlooms
            .iter()
            .map(|(member, heirloom)| (*member, heirloom));
        all.filter(|(member, _)| self.incarnation_of(member.worker) != Some(member.incarnation))
    }

    /// What a PONG tells of them, at most `max`.
    pub(super) fn describe_heirlooms(&self, now: Moment, max: usize) -> impl Iterator<Item = PongWorker> {
        let silent = now.since(self.started_at.max(self.fates.judges_from));
        let hangs = silent >= self.config.patience;
        self.heirlooms().take(max).map(move |(member, heirloom)| PongWorker {
            worker: member.worker,
            pid: heirloom.pid,
            pool: heirloom.pool.clone(),
            slots: heirloom.slots,
            busy: heirloom.busy,
            hung: if hangs { heirloom.slots } else { 0 },
            silent_ms: milliseconds(silent),
            still_ms: 0,
            draining: false,
        })
    }

    pub(super) fn heirlooms_count(&self) -> usize {
        self.heirlooms().count()
    }

    /// Who is there. Where one may be of whom nobody knows yet, the answer waits: the issuer asks again (rule B1).
    pub(super) fn on_roll(&self, now: Moment, from: Peer, roll: &Roll, out: &mut Vec<Action>) {
        // Those that are about to register could not be asked yet.
        let about_to_come = now.since(self.started_at) < self.config.interval && self.heirlooms_count() > 0;
        if self.is_young(now) || about_to_come {
            return;
        }
        let asked = |pool: &str| roll.pool.as_deref().is_none_or(|wanted| wanted == pool);
        let workers = self.registry.workers().map(|(id, worker)| Enrolled {
            member: Member::new(id, worker.incarnation),
            pool: worker.pool.clone(),
            draining: worker.draining,
        });
        let heirlooms = self.heirlooms().map(|(member, heirloom)| Enrolled {
            member,
            pool: heirloom.pool.clone(),
            draining: false,
        });
        let mut all: Vec<Enrolled> = workers.chain(heirlooms).filter(|one| asked(&one.pool)).collect();
        all.sort_by_key(|one| one.member);
        let roster = Roster {
            id: roll.id,
            host: self.config.host.clone(),
            term: self.config.term,
            total: all.len() as u32,
            members: all.into_iter().take(MEMBERS_LISTED_MAX).collect(),
        };
        out.push(Action::Send(from, Message::Roster(roster)));
    }

    /// The control connection of this member, if it is here.
    fn control_of(&self, member: Member) -> Option<Peer> {
        let worker = self.registry.worker(member.worker)?;
        worker.control.filter(|_| worker.incarnation == member.incarnation)
    }

    pub(super) fn on_ask(&self, from: Peer, ask: &Ask, out: &mut Vec<Action>) {
        for member in &ask.members {
            if let Some(control) = self.control_of(*member) {
                let path = from.to_path();
                let members = vec![*member];
                let body = ask.body.clone();
                let ask = Ask {
                    path,
                    members,
                    body,
                    ..*ask
                };
                out.push(Action::Send(control, Message::Ask(ask)));
            }
            // What became of one that is not here CHECK tells.
        }
    }

    pub(super) fn on_thanks(&self, thanks: &Thanks, out: &mut Vec<Action>) {
        for member in &thanks.members {
            if let Some(control) = self.control_of(*member) {
                let (id, members) = (thanks.id, vec![*member]);
                out.push(Action::Send(control, Message::Thanks(Thanks { id, members })));
            }
        }
    }

    /// Tells of each member how it looks, or what became of it. Of one that may still register nothing is said.
    pub(super) fn on_check(&self, now: Moment, from: Peer, check: &Check, out: &mut Vec<Action>) {
        if self.has_stood_still(now) {
            // What it has heard last says nothing; the issuer asks again.
            return;
        }
        let id = check.id;
        for member in check.members.iter().copied() {
            let known = self.registry.worker(member.worker);
            let itself = known.filter(|worker| worker.incarnation == member.incarnation);
            let seen = itself.map(|worker| (now.since(worker.heard_at), worker.control_still(now)));
            // It lives, or its end would have been seen, and has said nothing to this broker.
            let inherited = self.fates.heirlooms.contains_key(&member);
            let seen = seen.or_else(|| {
                inherited.then(|| (now.since(self.started_at.max(self.fates.judges_from)), Duration::ZERO))
            });
            if let Some((silent, still)) = seen {
                let condition = Condition {
                    id,
                    member,
                    silent_ms: milliseconds(silent),
                    still_ms: milliseconds(still),
                };
                out.push(Action::Send(from, Message::Condition(condition)));
                continue;
            }
            let (fate, since, ran) = match self.fates.known.get(&member) {
                Some(gone) => (gone.fate, gone.at, gone.ran(id)),
                None if known.is_none() && now.since(self.started_at) < self.liveness() => continue,
                None => (Fate::Unknown, now, Ran::Unknown),
            };
            let ago_ms = milliseconds(now.since(since));
            let gone = Gone {
                id,
                member,
                fate,
                ago_ms,
                ran,
            };
            out.push(Action::Send(from, Message::Gone(gone)));
        }
    }

    /// Passes on what a worker says to an issuer.
    pub(super) fn on_reply(&self, from: Peer, message: Message, out: &mut Vec<Action>) {
        let path = ReturnPath::default();
        let (back, message) = match message {
            Message::Receipt(m) => (m.path.clone(), Message::Receipt(Receipt { path, ..m })),
            Message::Running(m) => (m.path.clone(), Message::Running(Running { path, ..m })),
            Message::Answer(m) => (m.path.clone(), Message::Answer(Answer { path, ..m })),
            _ => return,
        };
        let to = Peer::from_path(&back).filter(|_| self.registry.is_known(from));
        out.extend(to.map(|to| Action::Send(to, message)));
    }
}

#[cfg(test)]
#[path = "broadcasts_tests.rs"]
mod tests;
