//! A worker's eye on its host's office: it sees the holder's end at once, and starts a candidate when it is its turn
//! (rule E1). The loop around `election::candidacy`.

use std::os::fd::{AsFd as _, BorrowedFd};

use rustix::process::{Signal, pidfd_send_signal};
use tracing::{debug, info, warn};

use crate::clock;
use crate::election::candidacy::{Action, Candidacy, Holder, Reservation, Seen};
use crate::election::candidate::Candidate;
use crate::election::holder;
use crate::election::verdict::Watch;
use crate::options::{Place, Timing};
use crate::protocol::ids::{Term, WorkerId};
use crate::protocol::message::Suspect;
use crate::protocol::time::Moment;
use crate::runtime::{self, BrokerLock, Record, RuntimeDir, is_running};

/// The watcher.
#[derive(Debug)]
pub(super) struct OfficeWatch {
    dir: RuntimeDir,
    place: Place,
    timing: Timing,
    me: WorkerId,
    machine: Candidacy,
    /// The holder of the office, and its process, held so that no other can take its number over.
    holder: Option<(Suspect, Watch)>,
    candidate: Option<Candidate>,
    /// Brokers that this worker started and that took the office: asked how they ended, so that no zombie is left.
    elected: Vec<Candidate>,
    actions: Vec<Action>,
    /// The highest term of this host that was ever heard of (rule E2).
    heard: Term,
    ranked_at: Option<Moment>,
    ended: bool,
    changed: bool,
}

impl OfficeWatch {
    /// Watches the office of this directory, of whose terms the highest so far is `heard`.
    pub(super) fn new(dir: RuntimeDir, place: Place, timing: Timing, me: WorkerId, heard: Term) -> Self {
        Self {
            machine: Candidacy::new(clock::now(), timing.interval),
            dir,
            place,
            timing,
            me,
            holder: None,
            candidate: None,
            elected: Vec::new(),
            actions: Vec::new(),
            heard,
            ranked_at: None,
            ended: false,
            changed: false,
        }
    }

    /// Descriptors whose being readable is the end of somebody: the holder, the candidate.
    pub(super) fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let holder = self.holder.iter().map(|(_, watch)| watch.as_fd());
        let ours = self.candidate.iter().chain(&self.elected);
        holder.chain(ours.map(|candidate| candidate.pidfd().as_fd()))
    }

    /// One of them is readable.
    pub(super) const fn on_ended(&mut self) {
        self.ended = true;
    }

    /// Who holds the office.
    pub(super) fn holder(&self) -> Option<Suspect> {
        self.holder.as_ref().map(|(who, _)| *who)
    }

    /// When to come back at the latest.
    pub(super) fn next_deadline(&self) -> Moment {
        self.machine.next_deadline()
    }

    /// One turn. Returns whether somebody else holds the office than before: he knows nobody yet.
    pub(super) fn turn(&mut self) -> bool {
        let now = clock::now();
        self.rank(now);
        if std::mem::take(&mut self.ended) {
            self.bury_candidate();
            if let Some((who, _)) = self.holder.take_if(|(_, watch)| watch.has_ended()) {
                warn!("the broker has ended (pid {}, term {})", who.pid, who.term);
                self.machine.on_holder_ended(now, &mut self.actions);
            }
        }
        self.machine.on_tick(now, &mut self.actions);
        self.perform();
        std::mem::take(&mut self.changed)
    }

    /// This worker's place among the present members: looked up when it enters, when the broker ends, and each interval
    /// while there is none. At other times an old place will do, since only the order of candidates depends on it.
    fn rank(&mut self, now: Moment) {
        let due = self
            .ranked_at
            .is_none_or(|at| self.machine.needs_rank() && now.since(at) >= self.timing.interval);
        if !due && !self.ended {
            return;
        }
        self.ranked_at = Some(now);
        // A directory that cannot be read has no members that could be asked.
        let members = runtime::list(&self.dir).unwrap_or_default();
        let present = members.iter().filter(|member| member.present);
        let rank = present.clone().take_while(|member| member.id != self.me).count();
        let is_there = present.clone().any(|member| member.id == self.me);
        self.machine.on_members(now, is_there.then_some(rank as u32));
    }

    fn bury_candidate(&mut self) {
        self.elected.retain_mut(|candidate| candidate.ended().is_none());
        let Some(candidate) = &mut self.candidate else { return };
        let Some(well) = candidate.ended() else { return };
        debug!(pid = candidate.pid(), well, "the candidate has ended");
        self.candidate = None;
        if !well {
            warn!(
                "the broker that this worker started has failed; why stands in {}",
                self.log()
            );
        }
        self.machine.on_candidate_exited(clock::now(), false, &mut self.actions);
    }

    fn log(&self) -> String {
        self.dir.path().join("broker.log").display().to_string()
    }

    fn perform(&mut self) {
        while let Some(action) = self.actions.pop() {
            match action {
                Action::Look => self.look(),
                Action::StartCandidate => self.start_candidate(),
                Action::EndCandidate => {
                    if let Some(candidate) = &self.candidate {
                        warn!("the broker that this worker started does nothing; ending it");
                        // One that has ended meanwhile is buried in the next turn.
                        let _ = pidfd_send_signal(candidate.pidfd(), Signal::KILL);
                    }
                }
            }
        }
    }

    fn look(&mut self) {
        let record = Record::read(&self.dir).unwrap_or_else(|error| {
            warn!(%error, "the broker's record cannot be read");
            None
        });
        let lock_held = BrokerLock::is_held(&self.dir).unwrap_or_else(|error| {
            warn!(%error, "nobody knows whether there is a broker");
            true
        });
        let seen = Seen {
            holder: record.map(|record| Holder {
                pid: record.pid,
                start_ticks: record.start_ticks,
                term: record.term,
                alive: record.is_alive(),
            }),
            reserved: record.and_then(|record| record.reserved).map(|reserved| Reservation {
                pid: reserved.pid,
                until: reserved.until,
                alive: is_running(reserved.pid, reserved.start_ticks),
            }),
            lock_held,
        };
        match record {
            Some(record) if seen.is_held() => self.watch(record.suspect()),
            // One that has written no record, and may hang before it does, is known by its lock (rule V3).
            _ if lock_held => {
                if let Ok(Some(suspect)) = holder::by_lock(&self.dir) {
                    self.watch(suspect);
                }
            }
            _ => self.holder = None,
        }
        self.machine.on_record(clock::now(), seen, &mut self.actions);
    }

    /// There is, or was, a broker of this term.
    pub(super) fn on_term(&mut self, term: Term) {
        self.heard = self.heard.max(term);
    }

    fn watch(&mut self, who: Suspect) {
        self.on_term(who.term);
        if self.holder.as_ref().is_some_and(|(known, _)| *known == who) {
            return;
        }
        self.holder = Watch::open(who.pid, who.start_ticks).map(|watch| (who, watch));
        self.changed |= self.holder.is_some() && who.term != Term(0);
        if let Some(candidate) = self.candidate.take_if(|candidate| candidate.pid() == who.pid) {
            self.elected.push(candidate);
            self.machine.on_candidate_exited(clock::now(), true, &mut self.actions);
        }
    }

    fn start_candidate(&mut self) {
        match Candidate::start(&self.dir, &self.place, self.timing, self.heard) {
            Ok(candidate) => {
                info!("this host has no broker; started one (pid {})", candidate.pid());
                self.candidate = Some(candidate);
            }
            Err(error) => {
                warn!(%error, "this host has no broker");
                self.machine.on_candidate_exited(clock::now(), false, &mut self.actions);
            }
        }
    }
}
