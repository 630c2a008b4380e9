//! The broker's loop: feeds the pure machine from its socket, its clock and its watched processes.
//!
//! One thread, one ROUTER. A message of an open Hit is looked at no further than its head and goes on with its body
//! untouched.

use std::path::Path;
use std::time::Duration;

use tracing::{debug, info, warn};

use crate::clock;
use crate::election::journal::{self, Journals, Unjournalled, WorkerJournal};
use crate::fault;
use crate::mapped::Counters;
use crate::net::{Context, Interest, NetError, Poll, Received, Router, Waker};
use crate::options::{Hosts, Timing};
use crate::protocol::Message;
use crate::protocol::frame::{Frames, Head};
use crate::protocol::ids::{Incarnation, Peer, Side, WorkerId};
use crate::protocol::limits::{MESSAGES_PER_TURN_MAX, TTL};
use crate::protocol::mesh::Greeting;
use crate::protocol::message::Yield;
use crate::protocol::time::{Moment, earliest};
use crate::runtime::{self, RuntimeDir};
use crate::term::human::span;

use super::eyes::Eyes;
use super::machine::{Action, Config, Machine};
use super::mesh::Notice;
use super::watch::Watch;
use super::wires::{From, Wires};

/// However many ask, the loops of all workers are looked at no more often than this.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(20);

/// What a worker sent before it died is taken before its death: libzmq reads its connection meanwhile.
const LAST_WORDS: Duration = Duration::from_millis(10);

/// Why the broker's loop ends before it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum LoopError {
    /// The network.
    #[error(transparent)]
    Net(#[from] NetError),
    /// No random bytes.
    #[error("the system gives no random bytes: {0}")]
    Random(#[from] getrandom::Error),
    /// The kernel refuses to watch processes.
    #[error("cannot watch processes: {0}; raise the limit of open files (ulimit -n)")]
    Watch(#[from] rustix::io::Errno),
}

/// Ends what a dead worker's handlers have left running (rule O9).
fn report_killed(journal: &WorkerJournal) {
    let killed = journal::kill_groups(journal);
    if killed > 0 {
        info!("ended {killed} processes that {} left running", journal.worker);
    }
}

/// What is to be known of another host.
fn tell(host: &str, notice: &Notice) {
    match notice {
        Notice::Joined(term) => info!("host {host} is there (term {term})"),
        Notice::Replaced(term) => info!("host {host} has another broker (term {term})"),
        Notice::Expired(silent) => warn!(
            "host {host} is not reached: nothing was heard of it for {}",
            span(*silent)
        ),
        Notice::OtherLayout => warn!("host {host} was told another layout than this one: compare the files"),
    }
}

/// The loop's own state.
pub(super) struct Loop {
    machine: Machine,
    router: Router,
    watch: Watch,
    counters: Counters,
    timing: Timing,
    actions: Vec<Action>,
    /// A worker's process has ended; when that is taken as its death.
    bury_at: Option<Moment>,
    wanted: Option<Yield>,
    dir: RuntimeDir,
    eyes: Eyes,
    unjournalled: Unjournalled,
    looked_at: Moment,
    look_at: Moment,
    prune_at: Moment,
    incarnation: Incarnation,
    wires: Wires,
}

impl Loop {
    /// A loop that serves on `router`.
    pub(super) fn new(
        config: Config,
        timing: Timing,
        context: &Context,
        dir: RuntimeDir,
        counters: Counters,
        unjournalled: Unjournalled,
    ) -> Result<Self, LoopError> {
        let mut router = Router::new(context)?;
        router.bind(&dir.broker_socket())?;
        let mut incarnation = [0; 8];
        getrandom::fill(&mut incarnation)?;
        let machine = Machine::new(clock::now(), config);
        Ok(Self {
            incarnation: Incarnation(u64::from_be_bytes(incarnation)),
            wires: Wires::new(context, timing.interval * timing.liveness),
            machine,
            router,
            watch: Watch::new()?,
            counters,
            timing,
            actions: Vec::new(),
            bury_at: None,
            wanted: None,
            dir,
            eyes: Eyes::default(),
            unjournalled,
            looked_at: Moment::ZERO,
            look_at: Moment::ZERO,
            prune_at: Moment::ZERO,
        })
    }

    /// Who wants the office, if somebody has asked for it that this broker yields to.
    pub(super) const fn wanted(&self) -> Option<Yield> {
        self.wanted
    }

    /// Whether it was elected and nobody needs it any more.
    pub(super) fn is_unneeded(&self) -> bool {
        self.machine.is_unneeded(clock::now())
    }

    /// Whether a member is here that would elect the next broker.
    pub(super) fn has_electors(&self) -> bool {
        self.machine.has_electors()
    }

    /// Takes over what journals tell of the time before this broker (rule O4).
    pub(super) fn inherit(&mut self) -> Result<(), LoopError> {
        let journals = journal::read_all(&self.dir).unwrap_or_else(|error| {
            warn!(%error, "nobody knows what ran before");
            Journals::default()
        });
        for damaged in &journals.damaged {
            warn!("{damaged}");
        }
        for dead in journals.all.iter().filter(|journal| !journal.alive) {
            report_killed(dead);
            self.bury(dead.worker);
        }
        self.prune();
        if let Some(age) = self.dir.age() {
            self.machine.know_nothing_before(clock::now().before(age));
        }
        self.machine
            .leased_unjournalled_until(self.unjournalled.until(clock::now()));
        self.machine
            .inherit(clock::now(), &journals.all, journals.complete, &mut self.actions);
        self.perform()
    }

    /// These are the cluster's hosts, from now on.
    pub(super) fn set_hosts(&mut self, hosts: &Hosts) -> Result<(), LoopError> {
        let host = self.machine.host().to_owned();
        self.wires.set(&host, hosts)?;
        let me = Greeting {
            term: self.machine.term(),
            incarnation: self.incarnation,
            layout: hosts.layout,
            interval_ms: u32::try_from(self.timing.interval.as_millis()).unwrap_or(u32::MAX),
            liveness: self.timing.liveness,
            host: host.clone(),
        };
        let others = hosts.addresses.keys().filter(|name| **name != host).cloned();
        self.machine.set_mesh(clock::now(), me, others);
        Ok(())
    }

    /// Listens anew where somebody has taken the socket away. Whoever is connected stays.
    pub(super) fn mend_socket(&mut self, path: &Path) -> Result<(), LoopError> {
        if !self.router.is_still_bound() {
            warn!("{} was taken away: listening there anew", path.display());
            self.router.unbind();
            self.router.bind(path)?;
        }
        Ok(())
    }

    /// How many Hits are served.
    pub(super) fn hits(&self) -> usize {
        self.machine.hits()
    }

    /// Takes no new Hit from now on.
    pub(super) fn leave(&mut self) -> Result<(), LoopError> {
        self.machine.leave(&mut self.actions);
        self.perform()
    }

    /// Tells everybody who is registered that this broker goes.
    pub(super) fn say_farewell(&mut self) -> Result<(), LoopError> {
        self.sweep();
        self.machine.say_farewell(&mut self.actions);
        self.perform()
    }

    /// One turn: takes what came, does what is due, waits for more, at most a quarter of an interval (rule A1).
    pub(super) fn turn(&mut self, stop: &Waker) -> Result<(), LoopError> {
        self.counters.bump(0);
        self.machine.beat();
        let mut drained = false;
        for _ in 0..MESSAGES_PER_TURN_MAX {
            let Some((peer, received)) = self.router.recv()? else {
                drained = true;
                break;
            };
            match (peer, received) {
                (Some(peer), Received::Frames(frames)) => self.on_frames(peer, frames)?,
                (peer, received) => debug!(?peer, ?received, "dropped what is no message"),
            }
        }
        self.take_from_others()?;
        if drained && self.bury_at.is_some_and(|at| at <= clock::now()) {
            self.bury_at = None;
            for (worker, incarnation) in self.watch.ended() {
                self.worker_died(worker, incarnation);
            }
        }
        // Before the tick, which notices whether this loop has itself stood still (rule A3).
        self.look_around();
        self.machine.on_tick(clock::now(), &mut self.actions);
        self.perform()?;
        self.wait(stop)
    }

    /// Looks at the loops and handlers of all workers, each half interval.
    fn look_around(&mut self) {
        let now = clock::now();
        if now < self.look_at {
            return;
        }
        (self.looked_at, self.look_at) = (now, now + self.timing.interval / 2);
        if now >= self.prune_at {
            self.prune();
        }
        for (id, incarnation) in self.machine.workers().collect::<Vec<_>>() {
            if let Some(seen) = self.eyes.look(&self.dir, id, incarnation) {
                self.machine.on_beats(now, id, &seen.counts);
                self.machine.on_hung_handlers(id, &seen.hung);
            }
        }
    }

    /// What a worker's slots run and ran.
    fn journal_of(&self, worker: WorkerId, incarnation: Incarnation) -> Option<WorkerJournal> {
        journal::read_of(&self.dir, worker, incarnation).unwrap_or_else(|error| {
            warn!(%error, "what {worker} ran is not known");
            None
        })
    }

    /// A worker's number has passed to another process before the end of the first one was seen.
    fn notice_successor(&mut self, message: &Message) {
        let Message::Register(said) = message else { return };
        let id = said.slot.worker;
        let before = self.machine.incarnation_of(id);
        if let Some(incarnation) = before.filter(|known| *known != said.incarnation) {
            self.worker_died(id, incarnation);
        }
    }

    /// Takes old journals away, and notes in those of the dead when they were found so.
    fn prune(&mut self) {
        let now = clock::now();
        self.prune_at = now + TTL;
        if let Err(error) = journal::prune(&self.dir, now) {
            warn!(%error, "old journals stay");
        }
        self.sweep();
    }

    /// Clears away the dead of whom no broker has heard: they kept no journal, and died between two brokers (rule O7).
    fn sweep(&self) {
        match runtime::list(&self.dir) {
            Ok(members) => {
                let dead = members.iter().filter(|member| !member.present);
                dead.for_each(|member| self.bury(member.id));
            }
            Err(error) => warn!(%error, "nobody knows who is present"),
        }
    }

    /// Clears away what a dead worker left in the directory, unless somebody has its number by now.
    fn bury(&self, worker: WorkerId) {
        if let Err(error) = runtime::bury(&self.dir, worker) {
            warn!(%error, "what {worker} left behind stays");
        }
    }

    /// A worker's process has ended. Its clients hear of it only when nothing that it ran is left (rule O9).
    fn worker_died(&mut self, worker: WorkerId, incarnation: Incarnation) {
        let mut journal = self.journal_of(worker, incarnation);
        if let Some(journal) = &mut journal {
            // Its process has ended, whoever still keeps its lock for a moment.
            journal.alive = false;
            report_killed(journal);
        }
        self.bury(worker);
        self.machine
            .on_worker_died(clock::now(), (worker, incarnation), journal.as_ref(), &mut self.actions);
    }

    fn on_frames(&mut self, from: Peer, frames: Frames) -> Result<(), LoopError> {
        let now = clock::now();
        match Head::peek(&frames.header) {
            Ok(head) if head.command.is_routed() => {
                if let Some(to) = self.machine.route(now, from, head, &mut self.actions) {
                    self.forward(to, frames)?;
                }
            }
            Ok(_) => match Message::decode(&frames.header, frames.body) {
                Ok(message) => {
                    if matches!(message, Message::Ask(_) | Message::Check(_)) {
                        // Somebody is about to judge by what is seen.
                        self.look_at = self.look_at.min(self.looked_at + LOOK_AGAIN_AFTER);
                        self.look_around();
                    }
                    self.notice_successor(&message);
                    self.machine.on_message(now, from, message, &mut self.actions);
                }
                Err(error) => debug!(?from, %error, "dropped what is no message"),
            },
            Err(error) => debug!(?from, %error, "dropped what is no message"),
        }
        self.perform()
    }

    /// Takes what other hosts have sent.
    fn take_from_others(&mut self) -> Result<(), LoopError> {
        let now = clock::now();
        self.wires.listen(now);
        self.machine.set_trouble(self.wires.trouble());
        for (from, frames) in self.wires.receive()? {
            if let From::Public(peer) = from
                && Head::peek(&frames.header).is_ok_and(|head| head.command.is_routed())
            {
                // A client that has come from another host.
                self.on_frames(peer, frames)?;
                continue;
            }
            let message = match Message::decode(&frames.header, frames.body) {
                Ok(message) => message,
                Err(error) => {
                    debug!(%error, "dropped what is no message of another host");
                    continue;
                }
            };
            match from {
                From::Public(peer) => self.machine.on_public(now, peer, message, &mut self.actions),
                From::Called(host) => self.machine.on_called(now, &host, message, &mut self.actions),
            }
            self.perform()?;
        }
        Ok(())
    }

    fn send(&mut self, to: Peer, message: Message) -> Result<(), LoopError> {
        fault::at_sending(&message);
        let Some((to, message)) = self.machine.relayed(to, message) else {
            return Ok(());
        };
        self.forward(to, message.encode())
    }

    /// Sends what goes there as it is. A client that has gone is noticed by its slot; a slot that has gone, by its
    /// worker's pidfd; another host asks again.
    fn forward(&mut self, to: Peer, frames: Frames) -> Result<(), LoopError> {
        if to.side() == Side::Local {
            let _ = self.router.send(to, frames)?;
        } else {
            self.wires.answer(to, frames)?;
        }
        Ok(())
    }

    fn call(&mut self, host: &str, message: &Message) -> Result<(), LoopError> {
        // Whoever has asked waits for the answer; of greetings this broker itself does, and not for long.
        let wait = match message {
            Message::Relay(_) => self.timing.patience,
            _ => self.timing.interval / 4,
        };
        self.wires.call(host, message.encode(), clock::now() + wait)?;
        Ok(())
    }

    fn perform(&mut self) -> Result<(), LoopError> {
        while !self.actions.is_empty() {
            for action in std::mem::take(&mut self.actions) {
                match action {
                    Action::Send(to, message) => self.send(to, message)?,
                    Action::Call(host, message) => self.call(&host, &message)?,
                    Action::Note(host, notice) => tell(&host, &notice),
                    // The journals have told of it before it registered.
                    Action::Watch(worker, incarnation, _) if self.watch.has(worker, incarnation) => {}
                    Action::Watch(worker, incarnation, pid) => {
                        info!("{worker} (pid {pid}) has joined");
                        if !self.watch.add(worker, incarnation, pid) {
                            warn!("{worker} (pid {pid}) has ended already");
                            self.worker_died(worker, incarnation);
                        }
                    }
                    Action::Consult(worker) => {
                        let incarnation = self.machine.workers().find(|(id, _)| *id == worker);
                        let journal = incarnation.and_then(|(id, incarnation)| self.journal_of(id, incarnation));
                        if let Some(journal) = journal {
                            self.machine.on_journal(clock::now(), &journal);
                        }
                    }
                    Action::LeasesUnjournalled => self.unjournalled.note(clock::now()),
                    Action::Yield(wanted) => self.wanted = Some(wanted),
                    Action::Unwatch(worker) => {
                        info!("{worker} has gone");
                        self.watch.remove(worker);
                        self.eyes.forget(worker);
                    }
                }
            }
        }
        Ok(())
    }

    fn wait(&mut self, stop: &Waker) -> Result<(), LoopError> {
        let longest = self.timing.interval / 4;
        let others = earliest(self.bury_at, self.wires.next_deadline());
        let deadline = self.machine.next_deadline();
        let deadline = others.map_or(deadline, |at| at.min(deadline));
        let timeout = deadline.since(clock::now()).min(longest);
        let mut poll = Poll::new();
        poll.socket(&self.router, Interest::READ);
        let stopped = poll.fd(stop, Interest::READ);
        let ended = poll.fd(&self.watch, Interest::READ.when(self.bury_at.is_none()));
        let keys = self.wires.poll(clock::now(), &mut poll);
        let ready = poll.wait(Some(timeout))?;
        self.wires.waited(clock::now(), &ready, &keys, longest);
        if ready.readable(stopped) {
            stop.drain();
        }
        if ready.readable(ended) && self.bury_at.is_none() {
            self.bury_at = Some(clock::now() + LAST_WORDS);
        }
        Ok(())
    }
}
