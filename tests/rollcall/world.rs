//! One broadcast on one host: an issuer, workers, a broker after the other.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::Duration;

use bytes::Bytes;
use zhit::broadcast::gather::{self, Config, Gather, Phase};
use zhit::broadcast::seat::Verdict;
use zhit::broker::machine::{self, Machine};
use zhit::election::journal::WorkerJournal;
use zhit::options::Targets;
use zhit::protocol::ids::{BroadcastId, DirId, Incarnation, Member, SlotId, WorkerId};
use zhit::protocol::message::{Goodbye, Heartbeat, Register, WorkState};
use zhit::protocol::{Message, Moment, Peer, Status, Term};
use zhit::worker::broadcasts::{self, Broadcasts, Done, Job};

use crate::rng::Rng;

const INTERVAL: Duration = Duration::from_millis(200);
const PATIENCE: Duration = Duration::from_secs(2);
const STEP: Duration = Duration::from_millis(5);

/// Until then things go wrong.
const FAULTS_END: Duration = Duration::from_secs(12);

/// By then, at the latest, all is settled: the longest pause, the longest handler, and patience twice.
const CLOSED_BY: Duration = Duration::from_secs(40);

const ISSUER: u64 = 1000;

struct Worker {
    member: Member,
    /// A connection has another number for each broker.
    machine: Broadcasts,
    /// The term of the broker that has answered its REGISTER.
    known: Option<Term>,
    say_at: Moment,
    beat: u64,
    paused_until: Moment,
    paused_for: Duration,
    alive: bool,
    left: bool,
    draining: bool,
    /// What waits to be run; the first runs until then.
    jobs: Vec<(Job, Moment)>,
    /// The handler is stopped, as by ^Z, until then.
    stopped_until: Moment,
    stopped_for: Duration,
    runs: u32,
    inbox: Vec<Message>,
}

struct Mail {
    to: u64,
    from: u64,
    /// The broker that it was sent to or by: another one's connections are not these.
    term: u64,
    message: Message,
}

pub(crate) struct World {
    rng: Rng,
    loud: bool,
    now: Moment,
    began: Moment,
    term: u64,
    broker: Option<Machine>,
    broker_back_at: Moment,
    broker_paused_until: Moment,
    workers: BTreeMap<WorkerId, Worker>,
    /// Those that have died or left.
    gone: Vec<Worker>,
    gather: Gather,
    issuer_paused_until: Moment,
    broker_had_trouble: bool,
    issuer_term: u64,
    issuer_inbox: Vec<Message>,
    mail: BinaryHeap<Reverse<(Moment, u64)>>,
    letters: BTreeMap<u64, Mail>,
    sent: u64,
    settled: BTreeMap<Member, u32>,
    roster: Vec<Member>,
    loss: f64,
}

fn peer(number: u64) -> Peer {
    Peer::from_routing_id(&number.to_be_bytes()).expect("eight bytes")
}

fn number(peer: Peer) -> u64 {
    u64::from_be_bytes(peer.routing_id().try_into().expect("eight bytes"))
}

impl World {
    pub(crate) fn new(seed: u64, loud: bool) -> Self {
        let mut rng = Rng::new(seed);
        let began = Moment::from_micros(1_000_000_000);
        let count = rng.within(1..7) as u32;
        let config = Config {
            id: BroadcastId([9; 16]),
            hosts: vec!["alpha".to_owned()],
            targets: Targets::default(),
            body: Bytes::from_static(b"do it"),
            patience: PATIENCE,
            interval: INTERVAL,
            timeout: None,
            reply_max: 1 << 20,
            batch: rng
                .chance(30.0)
                .then(|| zhit::options::Batch::Members(rng.within(1..3) as u32)),
            stop_after: rng.chance(20.0).then_some(1),
        };
        let mut world = Self {
            loss: if rng.chance(50.0) { 0.0 } else { 5.0 },
            rng,
            loud,
            now: began,
            began,
            term: 0,
            broker: None,
            broker_back_at: began,
            broker_paused_until: Moment::ZERO,
            workers: BTreeMap::new(),
            gone: Vec::new(),
            gather: Gather::new(began, config),
            issuer_paused_until: Moment::ZERO,
            broker_had_trouble: false,
            issuer_term: 0,
            issuer_inbox: Vec::new(),
            mail: BinaryHeap::new(),
            letters: BTreeMap::new(),
            sent: 0,
            settled: BTreeMap::new(),
            roster: Vec::new(),
        };
        for number in 1..=count {
            world.enter(WorkerId(number));
        }
        world
    }

    fn say(&self, what: impl FnOnce() -> String) {
        if self.loud {
            println!("{:>9.3}  {}", self.now.since(self.began).as_secs_f64(), what());
        }
    }

    fn enter(&mut self, worker: WorkerId) {
        let incarnation = Incarnation(self.rng.next() | 1);
        let member = Member { worker, incarnation };
        self.workers.insert(
            worker,
            Worker {
                member,
                machine: Broadcasts::new(member, INTERVAL, false),
                known: None,
                say_at: self.now,
                beat: 0,
                paused_until: Moment::ZERO,
                paused_for: Duration::ZERO,
                alive: true,
                left: false,
                draining: false,
                jobs: Vec::new(),
                stopped_until: Moment::ZERO,
                stopped_for: Duration::ZERO,
                runs: 0,
                inbox: Vec::new(),
            },
        );
    }

    fn send(&mut self, from: u64, to: u64, message: &Message) {
        let copies = if self.rng.chance(self.loss) {
            0
        } else {
            1 + u32::from(self.loss > 0.0 && self.rng.chance(3.0))
        };
        for _ in 0..copies {
            let delay = if self.loss > 0.0 {
                self.rng.millis(1..60)
            } else {
                Duration::from_millis(1)
            };
            self.sent += 1;
            self.mail.push(Reverse((self.now + delay, self.sent)));
            let term = self.term;
            let message = message.clone();
            self.letters.insert(
                self.sent,
                Mail {
                    to,
                    from,
                    term,
                    message,
                },
            );
        }
    }

    fn deliver(&mut self) {
        while let Some(Reverse((at, number))) = self.mail.peek().copied() {
            if at > self.now {
                return;
            }
            self.mail.pop();
            let Some(Mail {
                to,
                from,
                term,
                message,
            }) = self.letters.remove(&number)
            else {
                continue;
            };
            if term != self.term || self.broker.is_none() {
                // The connection has ended with its broker.
                continue;
            }
            match to {
                0 => self.reach_broker(from, message),
                ISSUER => self.issuer_inbox.push(message),
                worker => {
                    if let Some(worker) = self.workers.get_mut(&WorkerId(worker as u32)) {
                        worker.inbox.push(message);
                    }
                }
            }
        }
    }

    fn reach_broker(&mut self, from: u64, message: Message) {
        if self.now < self.broker_paused_until {
            // It lies in the broker's socket.
            self.sent += 1;
            self.mail.push(Reverse((self.broker_paused_until, self.sent)));
            let term = self.term;
            self.letters.insert(
                self.sent,
                Mail {
                    to: 0,
                    from,
                    term,
                    message,
                },
            );
            return;
        }
        let mut out = Vec::new();
        let journals = self.journals();
        if let Some(broker) = &mut self.broker {
            if let Message::Register(said) = &message {
                // As the broker's loop does for the successor of one whose end was not seen yet.
                let id = said.slot.worker;
                if let Some(before) = broker.incarnation_of(id).filter(|known| *known != said.incarnation) {
                    let journal = journals.iter().find(|journal| journal.incarnation == before);
                    broker.on_worker_died(self.now, (id, before), journal, &mut out);
                }
            }
            if matches!(message, Message::Ask(_) | Message::Check(_)) {
                // As the broker's loop does: it looks before somebody judges by what was seen.
                for worker in self.workers.values() {
                    broker.on_beats(self.now, worker.member.worker, &[worker.beat]);
                }
            }
            broker.on_message(self.now, peer(from), message, &mut out);
        }
        self.broker_does(out);
    }

    fn broker_does(&mut self, actions: Vec<machine::Action>) {
        for action in actions {
            match action {
                machine::Action::Send(to, message) => self.send(0, number(to), &message),
                machine::Action::Watch(id, incarnation, _) => {
                    // Its process cannot be watched any more: what it said was long under way.
                    let journals = self.journals();
                    let ended = journals
                        .iter()
                        .find(|journal| journal.incarnation == incarnation && !journal.alive);
                    let mut out = Vec::new();
                    if let (Some(broker), Some(journal)) = (&mut self.broker, ended) {
                        broker.on_worker_died(self.now, (id, incarnation), Some(journal), &mut out);
                    }
                    self.broker_does(out);
                }
                _ => {}
            }
        }
    }

    fn journals(&self) -> Vec<WorkerJournal> {
        let all = self.gone.iter().chain(self.workers.values());
        all.map(|worker| WorkerJournal {
            worker: worker.member.worker,
            incarnation: worker.member.incarnation,
            pid: 1,
            start_ticks: 1,
            alive: worker.alive,
            left: worker.left,
            session: 1,
            pool: "default".to_owned(),
            broadcasts: Vec::new(),
            broadcast_group: None,
            slots: Vec::new(),
        })
        .collect()
    }

    fn turn_broker(&mut self) {
        if self.broker.is_none() && self.now >= self.broker_back_at {
            self.term += 1;
            self.say(|| "a broker begins".to_owned());
            let config = machine::Config {
                host: "alpha".to_owned(),
                pid: 1,
                term: Term(self.term),
                dir: DirId([1; 16]),
                version: String::new(),
                interval: INTERVAL,
                liveness: 3,
                patience: PATIENCE,
                elected: true,
            };
            let mut broker = Machine::new(self.now, config);
            broker.inherit(self.now, &self.journals(), true, &mut Vec::new());
            self.broker = Some(broker);
        }
        if self.now < self.broker_paused_until {
            return;
        }
        let mut out = Vec::new();
        if let Some(broker) = &mut self.broker {
            for worker in self.workers.values() {
                broker.on_beats(self.now, worker.member.worker, &[worker.beat]);
            }
            broker.on_tick(self.now, &mut out);
        }
        self.broker_does(out);
    }

    fn turn_workers(&mut self) {
        let ids: Vec<WorkerId> = self.workers.keys().copied().collect();
        for id in ids {
            let Some(mut worker) = self.workers.remove(&id) else {
                continue;
            };
            if self.now >= worker.paused_until {
                self.turn_worker(&mut worker);
            }
            if worker.left {
                let goodbye = Goodbye {
                    slot: SlotId { worker: id, number: 0 },
                    incarnation: worker.member.incarnation,
                };
                self.say(|| format!("{id} leaves"));
                self.send(id.0.into(), 0, &Message::Goodbye(goodbye));
                worker.alive = false;
                self.gone.push(worker);
            } else {
                self.workers.insert(id, worker);
            }
        }
    }

    fn turn_worker(&mut self, worker: &mut Worker) {
        worker.beat += 1;
        let mut out = Vec::new();
        for message in std::mem::take(&mut worker.inbox) {
            match message {
                Message::Registered(registered) => worker.known = Some(registered.term),
                Message::Disconnect(_) => worker.known = None,
                Message::Ask(ask) => worker.machine.on_ask(self.now, ask, &mut out),
                Message::Thanks(thanks) => worker.machine.on_thanks(&thanks),
                _ => {}
            }
        }
        let stopped = self.now < worker.stopped_until;
        if let Some((job, until)) = worker.jobs.first()
            && *until <= self.now
            && !stopped
        {
            let status = if job.id.0[0] != 9 || !worker.member.incarnation.0.is_multiple_of(5) {
                Status::Ok
            } else {
                Status::Exit(3)
            };
            let done = Done {
                id: job.id,
                status,
                note: String::new(),
                body: Bytes::from(worker.member.incarnation.0.to_string()),
            };
            worker.jobs.remove(0);
            worker.machine.on_done(self.now, done, &mut out);
        }
        let state = if stopped {
            WorkState::Stopped
        } else {
            WorkState::Running
        };
        let runs = worker.jobs.first().map(|(job, _)| (job.id, state));
        worker.machine.on_tick(self.now, runs, &mut out);
        for action in out {
            match action {
                broadcasts::Action::Send(message) => self.send(worker.member.worker.0.into(), 0, &message),
                broadcasts::Action::Run(job) => {
                    worker.runs += 1;
                    let until = self.now + self.rng.millis(1..1500);
                    worker.jobs.push((job, until));
                }
            }
        }
        if self.now >= worker.say_at {
            worker.say_at = self.now + INTERVAL;
            let slot = SlotId {
                worker: worker.member.worker,
                number: 0,
            };
            let message = if worker.known == Some(Term(self.term)) {
                Message::Heartbeat(Heartbeat {
                    term: Term(self.term),
                    beat: worker.beat,
                })
            } else {
                Message::Register(Register {
                    slot,
                    incarnation: worker.member.incarnation,
                    pid: 1,
                    pool: "default".to_owned(),
                    slots: 1,
                    journal: true,
                    votes: true,
                    draining: worker.draining,
                    hit: None,
                })
            };
            self.send(worker.member.worker.0.into(), 0, &message);
        }
        worker.left |= worker.draining && worker.jobs.is_empty();
    }

    fn turn_issuer(&mut self) {
        if self.now < self.issuer_paused_until {
            return;
        }
        let mut out = Vec::new();
        let was_rolling = self.gather.phase() == Phase::Rolling;
        if self.broker.is_some() && self.issuer_term != self.term {
            self.issuer_term = self.term;
            self.gather.on_route(self.now, &mut out);
        }
        for message in std::mem::take(&mut self.issuer_inbox) {
            self.gather.on_message(self.now, 0, message, &mut out);
            self.check_books();
        }
        self.gather.on_tick(self.now, &mut out);
        self.check_books();
        if was_rolling && self.gather.phase() != Phase::Rolling {
            self.roster = self.gather.seats().iter().map(|seat| seat.member).collect();
        }
        for action in out {
            match action {
                gather::Action::Send(_, message) => self.send(ISSUER, 0, &message),
                gather::Action::Settled(place) => {
                    let seat = &self.gather.seats()[place];
                    let (member, verdict) = (seat.member, seat.verdict.clone());
                    self.say(|| format!("{} is settled: {verdict:?}", member.worker));
                    let verdict = verdict.expect("a verdict");
                    let reply = seat.reply.clone();
                    *self.settled.entry(member).or_default() += 1;
                    self.judge(member, &verdict, &reply);
                }
            }
        }
    }

    fn check_books(&self) {
        let books = self.gather.books();
        assert!(books.balance(), "{books:?}");
        let waiting = self.gather.seats().iter().filter(|seat| seat.verdict.is_none()).count();
        assert_eq!(books.outstanding, waiting, "{books:?}");
    }

    /// A verdict is the truth.
    fn judge(&self, member: Member, verdict: &Verdict, reply: &Bytes) {
        let what = format!("{}: {verdict:?}", member.worker);
        if member == Member::default() {
            // The host itself: nobody could be asked who is there (rule B3).
            assert!(
                matches!(verdict, Verdict::Unreachable(_)) && self.broker_had_trouble,
                "{what}"
            );
            return;
        }
        let all = self.workers.values().chain(&self.gone);
        let worker = all
            .into_iter()
            .find(|worker| worker.member == member)
            .expect("it was there");
        match verdict {
            Verdict::Ok | Verdict::Failed(..) => {
                assert_eq!(reply.as_ref(), member.incarnation.0.to_string().as_bytes(), "{what}");
                assert_eq!(worker.runs, 1, "{what}");
            }
            Verdict::Dead(_) => assert!(!worker.alive && !worker.left, "{what}"),
            Verdict::Left(_) => assert!(worker.left, "{what}"),
            Verdict::Hung(_) => {
                let stood = worker.paused_for.max(worker.stopped_for);
                assert!(
                    stood + INTERVAL >= PATIENCE || self.loss > 0.0,
                    "{what}: it stood still for {stood:?} at most"
                );
            }
            Verdict::Unreachable(_) => assert!(self.broker_had_trouble, "{what}"),
            Verdict::Skipped => assert_eq!(worker.runs, 0, "{what}"),
        }
    }

    /// Something may go wrong.
    fn fault(&mut self) {
        if self.now.since(self.began) >= FAULTS_END || !self.rng.chance(1.2) {
            return;
        }
        let ids: Vec<WorkerId> = self.workers.keys().copied().collect();
        let some = ids.get(self.rng.next() as usize % ids.len().max(1)).copied();
        match self.rng.within(0..10) {
            0 | 1 => self.kill_broker(),
            2 => {
                let span = self.rng.millis(10..1500);
                self.say(|| format!("the broker stands still for {span:?}"));
                self.broker_paused_until = self.now + span;
                self.broker_had_trouble = true;
            }
            3 => {
                let span = self.rng.millis(10..6000);
                self.say(|| format!("the issuer stands still for {span:?}"));
                self.issuer_paused_until = self.now + span;
            }
            4 | 5 => {
                let span = self.rng.millis(10..5000);
                if let Some(worker) = some
                    .and_then(|id| self.workers.get_mut(&id))
                    .filter(|w| w.paused_until <= self.now)
                {
                    (worker.paused_until, worker.paused_for) = (self.now + span, worker.paused_for.max(span));
                    let id = worker.member.worker;
                    self.say(|| format!("{id} stands still for {span:?}"));
                }
            }
            6 => {
                let span = self.rng.millis(10..5000);
                if let Some(worker) = some
                    .and_then(|id| self.workers.get_mut(&id))
                    .filter(|w| w.stopped_until <= self.now)
                {
                    (worker.stopped_until, worker.stopped_for) = (self.now + span, worker.stopped_for.max(span));
                    let id = worker.member.worker;
                    self.say(|| format!("the handler of {id} is stopped for {span:?}"));
                }
            }
            7 => self.kill_worker(some),
            8 => {
                if let Some(worker) = some.and_then(|id| self.workers.get_mut(&id)) {
                    worker.draining = true;
                }
            }
            _ => {
                // One that comes late, perhaps with the number of one that has gone.
                let free = (1..20).map(WorkerId).find(|id| !self.workers.contains_key(id));
                if let Some(id) = free {
                    self.say(|| format!("{id} enters"));
                    self.enter(id);
                }
            }
        }
    }

    fn kill_broker(&mut self) {
        if self.broker.take().is_some() {
            self.say(|| "the broker dies".to_owned());
            self.broker_had_trouble = true;
            self.broker_back_at = self.now + self.rng.millis(5..300);
            self.broker_paused_until = Moment::ZERO;
            for worker in self.workers.values_mut() {
                worker.known = None;
            }
        }
    }

    fn kill_worker(&mut self, id: Option<WorkerId>) {
        let Some(mut worker) = id.and_then(|id| self.workers.remove(&id)) else {
            return;
        };
        self.say(|| format!("{} dies", worker.member.worker));
        worker.alive = false;
        let member = worker.member;
        self.gone.push(worker);
        let mut out = Vec::new();
        if let Some(broker) = &mut self.broker {
            broker.on_worker_died(self.now, (member.worker, member.incarnation), None, &mut out);
        }
        self.broker_does(out);
    }

    pub(crate) fn run(mut self) {
        while self.gather.phase() != Phase::Closed {
            let elapsed = self.now.since(self.began);
            assert!(
                elapsed < CLOSED_BY,
                "not closed after {elapsed:?}: {:?}",
                self.gather.books()
            );
            self.fault();
            self.deliver();
            self.turn_broker();
            self.turn_workers();
            self.turn_issuer();
            self.now += STEP;
        }
        // The roster is what it was, and each of it was settled once.
        let seats: Vec<Member> = self.gather.seats().iter().map(|seat| seat.member).collect();
        assert_eq!(seats, self.roster, "the roster has changed");
        for seat in self.gather.seats() {
            assert_eq!(self.settled.get(&seat.member), Some(&1), "{}", seat.name());
        }
        for worker in self.workers.values().chain(&self.gone) {
            assert!(
                worker.runs <= 1,
                "{} ran it {} times",
                worker.member.worker,
                worker.runs
            );
        }
    }
}
