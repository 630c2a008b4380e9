//! A worker: its control thread and what it runs.

use std::time::Duration;

use bytes::Bytes;
use zhit::election::journal::WorkerJournal;
use zhit::protocol::ids::{Member, SlotId};
use zhit::protocol::message::{Goodbye, Heartbeat, Register, WorkState};
use zhit::protocol::{Message, Moment, Status, Term};
use zhit::worker::broadcasts::{self, Broadcasts, Done, Job};

use crate::network::{Arrived, Network};
use crate::rng::Rng;
use crate::world::{INTERVAL, NAMES, PATIENCE};

/// What was so until then may still be said.
const LATELY: Duration = Duration::from_millis(1000);

/// That it went on for so long between two stops nobody may have seen: it is told once an interval, and may be lost.
const UNSEEN: Duration = Duration::from_millis(3 * INTERVAL.as_millis() as u64);

/// What a slot's connection has for its number, beside that of its worker.
const SLOT: u64 = 100;

/// From when to when it is stopped.
#[derive(Clone, Copy, Default)]
pub(crate) struct Stop {
    since: Moment,
    pub(crate) until: Moment,
    /// When the last one ended, or ends, that was about as long as patience.
    long_until: Moment,
}

pub(crate) struct Worker {
    pub(crate) host: usize,
    pub(crate) member: Member,
    machine: Broadcasts,
    /// The term of the broker that has answered its REGISTER.
    pub(crate) known: Option<Term>,
    say_at: Moment,
    pub(crate) beat: u64,
    /// All of it.
    pub(crate) paused: Stop,
    /// Its handler, as by ^Z.
    pub(crate) stopped: Stop,
    pub(crate) alive: bool,
    pub(crate) left: bool,
    pub(crate) draining: bool,
    /// What waits to be run; the first runs until then.
    jobs: Vec<(Job, Moment)>,
    longest_job_ms: u64,
    pub(crate) runs: u32,
    pub(crate) inbox: Vec<Message>,
}

impl Stop {
    /// Whether it was not stopped already.
    pub(crate) fn extend(&mut self, now: Moment, until: Moment) -> bool {
        let is_new = self.until <= now;
        if is_new {
            if now.since(self.until) > UNSEEN {
                self.since = now;
            }
            self.until = until;
            if until.since(self.since) + INTERVAL >= PATIENCE {
                self.long_until = until;
            }
        }
        is_new
    }

    /// Whether it was so, until a moment ago, for about patience.
    pub(crate) fn was_long(&self, now: Moment) -> bool {
        let lasts = now.since(self.since) + INTERVAL * 2 >= PATIENCE;
        now.since(self.long_until) < LATELY && (lasts || self.long_until < self.until)
    }

    /// It goes on now.
    pub(crate) fn end(&mut self, now: Moment) {
        self.until = self.until.min(now);
    }
}

impl Worker {
    pub(crate) fn new(now: Moment, host: usize, member: Member, longest_job_ms: u64) -> Self {
        Self {
            host,
            member,
            machine: Broadcasts::new(member, INTERVAL, false),
            known: None,
            say_at: now,
            beat: 0,
            paused: Stop::default(),
            stopped: Stop::default(),
            alive: true,
            left: false,
            draining: false,
            jobs: Vec::new(),
            longest_job_ms,
            runs: 0,
            inbox: Vec::new(),
        }
    }

    pub(crate) fn name(&self) -> String {
        format!("{}/{}", NAMES[self.host], self.member.worker)
    }

    /// What it replies.
    pub(crate) fn reply(&self) -> Bytes {
        Bytes::from(self.member.incarnation.0.to_string())
    }

    pub(crate) fn journal(&self) -> WorkerJournal {
        WorkerJournal {
            worker: self.member.worker,
            incarnation: self.member.incarnation,
            pid: 1,
            start_ticks: 1,
            alive: self.alive,
            left: self.left,
            session: 1,
            pool: NAMES[self.host].to_owned(),
            broadcasts: Vec::new(),
            broadcast_group: None,
            slots: Vec::new(),
        }
    }

    fn send(&self, net: &mut Network, slot: u64, message: &Message) {
        let from = u64::from(self.member.worker.0) + slot;
        net.send_local(self.host, || Arrived::Local(self.host, from, message.clone()));
    }

    pub(crate) fn turn(&mut self, now: Moment, rng: &mut Rng, net: &mut Network) {
        if now < self.paused.until {
            return;
        }
        self.beat += 1;
        let mut out = Vec::new();
        for message in std::mem::take(&mut self.inbox) {
            match message {
                Message::Registered(registered) => {
                    let is_new = self.known.replace(registered.term) != Some(registered.term);
                    is_new.then(|| self.send(net, SLOT, &self.register(1)));
                }
                Message::Disconnect(_) => self.known = None,
                Message::Ask(ask) => self.machine.on_ask(now, ask, &mut out),
                Message::Thanks(thanks) => self.machine.on_thanks(&thanks),
                _ => {}
            }
        }
        self.go_on(now, &mut out);
        for action in out {
            match action {
                broadcasts::Action::Send(message) => self.send(net, 0, &message),
                broadcasts::Action::Run(job) => {
                    self.runs += 1;
                    let until = now + rng.millis(1..self.longest_job_ms);
                    self.jobs.push((job, until));
                }
            }
        }
        if now >= self.say_at {
            self.say_at = now + INTERVAL;
            let beat = self.beat;
            let message = match self.known {
                Some(term) => Message::Heartbeat(Heartbeat { term, beat }),
                None => self.register(0),
            };
            self.send(net, 0, &message);
        }
        if self.draining && self.jobs.is_empty() {
            self.leave(net);
        }
    }

    /// What it runs ends, and it tells of the rest.
    fn go_on(&mut self, now: Moment, out: &mut Vec<broadcasts::Action>) {
        let stopped = now < self.stopped.until;
        if let Some((job, _)) = self.jobs.first().filter(|(_, until)| *until <= now && !stopped) {
            let status = if self.member.incarnation.0.is_multiple_of(5) {
                Status::Exit(3)
            } else {
                Status::Ok
            };
            let done = Done {
                id: job.id,
                status,
                note: String::new(),
                body: self.reply(),
            };
            self.jobs.remove(0);
            self.machine.on_done(now, done, out);
        }
        let state = if stopped {
            WorkState::Stopped
        } else {
            WorkState::Running
        };
        let runs = self.jobs.first().map(|(job, _)| (job.id, state));
        self.machine.on_tick(now, runs, out);
    }

    fn register(&self, number: u32) -> Message {
        Message::Register(Register {
            slot: SlotId {
                worker: self.member.worker,
                number,
            },
            incarnation: self.member.incarnation,
            pid: 1,
            // A pool of its own for each host, so that the brokers of all others find it only in the news.
            pool: NAMES[self.host].to_owned(),
            slots: 1,
            journal: true,
            votes: true,
            draining: self.draining,
            hit: None,
        })
    }

    fn leave(&mut self, net: &mut Network) {
        self.left = true;
        self.alive = false;
        let goodbye = Goodbye {
            slot: SlotId {
                worker: self.member.worker,
                number: 0,
            },
            incarnation: self.member.incarnation,
        };
        self.send(net, 0, &Message::Goodbye(goodbye));
    }
}
