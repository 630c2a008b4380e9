//! A host: its broker, one after the other, fed as `src/broker/run.rs` feeds it, and its workers.

use std::collections::BTreeMap;
use std::time::Duration;

use zhit::broker::machine::{Action, Config, Machine};
use zhit::election::journal::WorkerJournal;
use zhit::protocol::ids::{DirId, Incarnation, Member, Peer, Side, WorkerId};
use zhit::protocol::mesh::Greeting;
use zhit::protocol::{Message, Moment, Term};

use crate::judge::Judge;
use crate::network::{Arrived, Network, Pulse, number, peer};
use crate::rng::Rng;
use crate::worker::Worker;
use crate::world::{Clock, INTERVAL, LIVENESS, NAMES, PATIENCE, place_of};

/// As in `src/broker/run.rs`.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(20);

/// As in `src/broker/run.rs`.
const LAST_WORDS: Duration = Duration::from_millis(10);

/// What a host's broker is given to work with.
pub(crate) struct Around<'a> {
    pub(crate) clock: Clock,
    pub(crate) net: &'a mut Network,
    pub(crate) judge: &'a mut Judge,
    /// How many hosts there are.
    pub(crate) hosts: usize,
}

#[derive(Default)]
pub(crate) struct Host {
    pub(crate) place: usize,
    pub(crate) machine: Option<Machine>,
    pub(crate) term: u64,
    /// When the next broker begins; `None`: never.
    pub(crate) back_at: Option<Moment>,
    pub(crate) paused_until: Moment,
    paused_since: Option<Moment>,
    /// Not its loop alone hangs, but its process is stopped.
    pub(crate) whole: bool,
    pub(crate) workers: BTreeMap<WorkerId, Worker>,
    /// Those that have died or left.
    pub(crate) gone: Vec<Worker>,
    local: Vec<(u64, Message)>,
    remote: Vec<Arrived>,
    deaths: Vec<(Moment, Member)>,
    looked_at: Moment,
}

impl Host {
    pub(crate) fn new(place: usize, back_at: Moment) -> Self {
        Self {
            place,
            back_at: Some(back_at),
            ..Self::default()
        }
    }

    pub(crate) fn name(&self) -> &'static str {
        NAMES[self.place]
    }

    pub(crate) fn pulse(&self) -> Pulse {
        Pulse {
            term: self.machine.as_ref().map(|_| self.term),
            stopped_since: self.paused_since.filter(|_| self.whole),
        }
    }

    /// Whether its broker serves.
    pub(crate) fn serves(&self) -> bool {
        self.machine.is_some() && self.paused_since.is_none()
    }

    /// Every worker that ever was.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Worker> {
        self.workers.values().chain(&self.gone)
    }

    pub(crate) fn receive(&mut self, arrived: Arrived) {
        match arrived {
            Arrived::Local(_, from, message) => self.local.push((from, message)),
            Arrived::Member(_, to, message) => {
                if let Some(worker) = self.workers.get_mut(&WorkerId(to as u32)) {
                    worker.inbox.push(message);
                }
            }
            Arrived::Public(..) | Arrived::Called(..) => self.remote.push(arrived),
        }
    }

    fn journals(&self) -> Vec<WorkerJournal> {
        self.all().map(Worker::journal).collect()
    }

    /// One turn of its broker's loop.
    pub(crate) fn turn(&mut self, rng: &mut Rng, around: &mut Around<'_>) {
        let now = around.clock.now;
        if self.machine.is_none() && self.back_at.is_some_and(|at| at <= now) {
            self.begin(rng, around);
        }
        if now < self.paused_until {
            self.paused_since.get_or_insert(now);
            return;
        }
        if let Some(since) = self.paused_since.take() {
            around.judge.woke(now, self.place, now.since(since));
        }
        for (from, message) in std::mem::take(&mut self.local) {
            self.on_local(from, message, around);
        }
        for arrived in std::mem::take(&mut self.remote) {
            self.on_remote(arrived, around);
        }
        let dead = self.deaths.extract_if(.., |(at, _)| *at <= now);
        for (_, member) in dead.collect::<Vec<_>>() {
            self.worker_died(member, around);
        }
        if now.since(self.looked_at) >= INTERVAL / 2 {
            self.look_around(now);
        }
        self.feed(around, |machine, out| machine.on_tick(now, out));
    }

    fn begin(&mut self, rng: &mut Rng, around: &mut Around<'_>) {
        let now = around.clock.now;
        self.term += rng.within(1..4);
        around
            .clock
            .say(|| format!("{}: a broker begins, term {}", self.name(), self.term));
        around.judge.began(now, self.place);
        let config = Config {
            host: self.name().to_owned(),
            pid: 1,
            term: Term(self.term),
            dir: DirId([self.place as u8; 16]),
            version: String::new(),
            interval: INTERVAL,
            liveness: LIVENESS,
            patience: PATIENCE,
            elected: true,
        };
        let me = Greeting {
            host: self.name().to_owned(),
            term: Term(self.term),
            incarnation: Incarnation(rng.next()),
            layout: [1; 16],
            interval_ms: INTERVAL.as_millis() as u32,
            liveness: LIVENESS,
        };
        self.machine = Some(Machine::new(now, config));
        let journals = self.journals();
        self.feed(around, |machine, out| machine.inherit(now, &journals, true, out));
        if let Some(machine) = &mut self.machine
            && around.hosts > 1
        {
            let others = (0..around.hosts).filter(|other| *other != self.place);
            machine.set_mesh(now, me, others.map(|other| NAMES[other].to_owned()));
        }
    }

    /// Its broker is killed.
    pub(crate) fn kill(&mut self, clock: Clock, back_at: Option<Moment>) {
        if self.machine.take().is_none() {
            return;
        }
        clock.say(|| {
            let back = back_at.map_or("for good".to_owned(), |at| format!("for {:?}", at.since(clock.now)));
            format!("{}: the broker dies, {back}", self.name())
        });
        (self.back_at, self.paused_until, self.paused_since) = (back_at, Moment::ZERO, None);
        self.local.clear();
        self.remote.clear();
        self.deaths.clear();
        for worker in self.workers.values_mut() {
            worker.known = None;
        }
    }

    /// A worker is killed.
    pub(crate) fn bury(&mut self, clock: Clock, id: WorkerId) {
        if let Some(mut worker) = self.workers.remove(&id) {
            clock.say(|| format!("{} ends", worker.name()));
            worker.alive = false;
            self.deaths.push((clock.now + LAST_WORDS, worker.member));
            self.gone.push(worker);
        }
    }

    fn feed(&mut self, around: &mut Around<'_>, what: impl FnOnce(&mut Machine, &mut Vec<Action>)) {
        let mut out = Vec::new();
        if let Some(machine) = &mut self.machine {
            what(machine, &mut out);
        }
        self.perform(out, around);
    }

    fn look_around(&mut self, now: Moment) {
        self.looked_at = now;
        let Some(machine) = &mut self.machine else { return };
        for (id, incarnation) in machine.workers().collect::<Vec<_>>() {
            let seen = self.workers.get(&id);
            if let Some(worker) = seen.filter(|worker| worker.member.incarnation == incarnation) {
                machine.on_beats(now, id, &[worker.beat]);
            }
        }
    }

    fn worker_died(&mut self, member: Member, around: &mut Around<'_>) {
        let now = around.clock.now;
        // Its process has ended, whoever still keeps its lock for a moment.
        let journal = self.all().find(|one| one.member == member).map(|one| WorkerJournal {
            alive: false,
            ..one.journal()
        });
        let who = (member.worker, member.incarnation);
        self.feed(around, |machine, out| {
            machine.on_worker_died(now, who, journal.as_ref(), out);
        });
    }

    fn on_local(&mut self, from: u64, message: Message, around: &mut Around<'_>) {
        let now = around.clock.now;
        if matches!(message, Message::Ask(_) | Message::Check(_)) && now.since(self.looked_at) >= LOOK_AGAIN_AFTER {
            // Somebody is about to judge by what is seen.
            self.look_around(now);
        }
        if let Message::Register(said) = &message {
            let id = said.slot.worker;
            let known = self.machine.as_ref().and_then(|machine| machine.incarnation_of(id));
            if let Some(before) = known.filter(|known| *known != said.incarnation) {
                self.worker_died(Member::new(id, before), around);
            }
        }
        self.feed(around, |machine, out| machine.on_message(now, peer(from), message, out));
    }

    fn on_remote(&mut self, arrived: Arrived, around: &mut Around<'_>) {
        let now = around.clock.now;
        match arrived {
            Arrived::Public(_, from, message) => {
                self.feed(around, |machine, out| {
                    machine.on_public(now, peer(from).public(), message, out);
                });
            }
            Arrived::Called(_, host, message) => {
                around.judge.heard(now, (self.place, host), &message);
                self.feed(around, |machine, out| machine.on_called(now, NAMES[host], message, out));
            }
            Arrived::Local(..) | Arrived::Member(..) => {}
        }
    }

    fn perform(&mut self, actions: Vec<Action>, around: &mut Around<'_>) {
        for action in actions {
            match action {
                Action::Send(to, message) => self.send(to, message, around),
                Action::Call(host, message) => {
                    let host = place_of(&host).expect("a host");
                    around.net.call(self.place, host, message);
                }
                Action::Note(host, notice) => {
                    let host = place_of(&host).expect("a host");
                    let clock = around.clock;
                    clock.say(|| format!("{}: {} {notice:?}", self.name(), NAMES[host]));
                    around.judge.note(clock.now, (self.place, host), &notice);
                }
                Action::Watch(worker, incarnation, _) => {
                    // Its process cannot be watched any more: what it said was long under way.
                    let member = Member::new(worker, incarnation);
                    if self.gone.iter().any(|one| one.member == member) {
                        self.worker_died(member, around);
                    }
                }
                _ => {}
            }
        }
    }

    fn send(&self, to: Peer, message: Message, around: &mut Around<'_>) {
        if let Message::Relayed(relayed) = &message {
            around.judge.passes_on(self.place, relayed);
        }
        let Some(machine) = &self.machine else { return };
        let Some((to, message)) = machine.relayed(to, message) else {
            return;
        };
        if to.side() == Side::Local {
            let (host, to) = (self.place, number(to));
            around
                .net
                .send_local(host, || Arrived::Member(host, to, message.clone()));
        } else {
            around.net.answer(self.place, number(to), message);
        }
    }
}
