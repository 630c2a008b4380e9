//! The parties: a machine each, and what its thread does around it.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;

use zhit::broker;
use zhit::election::journal::{SlotWriter, WorkerJournal};
use zhit::hit::{Config, Hit, Hosts, Leave, Outcome};
use zhit::protocol::limits::{INTERVAL, LIVENESS};
use zhit::protocol::message::{Goodbye, Heartbeat, Message, Register};
use zhit::protocol::{HitKey, Incarnation, Moment, SlotId, Term, WorkerId};
use zhit::worker::lease::{Identity, Slot};

use crate::handler::Handler;
use crate::invariants::{Books, Text, Verdict, hold};
use crate::pages::Pages;
use crate::plan::{ClientPlan, WorkerPlan};

/// When a party wants to be woken: by its machine's deadline, and by what it does itself.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Alarm {
    pub(crate) at: Option<Moment>,
    /// Ticks at one moment, to notice a machine that spins.
    pub(crate) ticks: (Moment, u32),
}

/// The broker's process, while one lives.
#[derive(Debug, Default)]
pub(crate) struct BrokerNode {
    pub(crate) machine: Option<broker::machine::Machine>,
    /// Counts brokers; messages to an earlier one are lost.
    pub(crate) life: u32,
    /// Until when one of them has leased to a worker without a journal (rule O7).
    pub(crate) unjournalled_until: Moment,
    /// When each of them started.
    pub(crate) starts: Vec<Moment>,
    pub(crate) alarm: Alarm,
    /// Worker processes that it watches.
    pub(crate) watched: Vec<(WorkerId, Incarnation, u32)>,
}

/// A worker's process with its control thread.
#[derive(Debug)]
pub(crate) struct WorkerNode {
    pub(crate) plan: WorkerPlan,
    pub(crate) incarnation: Incarnation,
    pub(crate) address: u32,
    pub(crate) is_alive: bool,
    pub(crate) term: Option<Term>,
    pub(crate) drains: bool,
    /// Its slots, by their numbers in the world.
    pub(crate) slots: Vec<usize>,
    pub(crate) beat_at: Option<Moment>,
    beat: u64,
    /// A worker that its broker cannot watch is another language's, and keeps none (rule O7).
    pub(crate) journal: Option<Rc<Pages>>,
}

impl WorkerNode {
    pub(crate) fn new(plan: WorkerPlan, index: usize) -> Self {
        Self {
            plan,
            incarnation: Incarnation(index as u64 + 1),
            address: 0,
            is_alive: false,
            term: None,
            drains: false,
            slots: Vec::new(),
            beat_at: None,
            beat: 0,
            journal: None,
        }
    }

    /// Begins its journal.
    pub(crate) fn begin(&mut self) {
        let slots = self.plan.slots;
        self.journal = self
            .plan
            .watched
            .then(|| Pages::of(self.incarnation, self.pid(), slots));
    }

    /// What a master reads of it.
    pub(crate) fn read_journal(&self) -> Option<WorkerJournal> {
        let journal = self.journal.as_ref()?;
        Some(journal.read(WorkerId(self.plan.id), self.is_alive))
    }

    pub(crate) fn id(&self, number: u32) -> SlotId {
        let worker = WorkerId(self.plan.id);
        SlotId { worker, number }
    }

    /// The process id that it tells: 0 if the broker cannot know it.
    pub(crate) fn pid(&self) -> u32 {
        if self.plan.watched {
            self.incarnation.0 as u32
        } else {
            0
        }
    }

    /// What the control thread says each interval.
    pub(crate) fn speak(&mut self) -> Message {
        self.beat += 1;
        match self.term {
            Some(term) => Message::Heartbeat(Heartbeat { term, beat: self.beat }),
            None => Message::Register(Register {
                slot: self.id(0),
                incarnation: self.incarnation,
                pid: self.pid(),
                pool: pool_name(self.plan.pool),
                slots: self.plan.slots,
                journal: self.plan.watched,
                votes: false,
                draining: self.drains,
                hit: None,
            }),
        }
    }

    pub(crate) fn goodbye(&self) -> Message {
        Message::Goodbye(Goodbye {
            slot: self.id(0),
            incarnation: self.incarnation,
        })
    }
}

/// A slot's thread.
#[derive(Debug)]
pub(crate) struct SlotNode {
    pub(crate) machine: Slot,
    pub(crate) worker: usize,
    pub(crate) address: u32,
    pub(crate) is_alive: bool,
    pub(crate) alarm: Alarm,
    pub(crate) handler: Option<Handler>,
    pub(crate) journal: Option<SlotWriter<Rc<Pages>>>,
    pub(crate) step_at: Option<Moment>,
}

impl SlotNode {
    pub(crate) fn new(worker: &WorkerNode, index: usize, number: u32) -> Self {
        let me = Identity {
            slot: worker.id(number),
            incarnation: worker.incarnation,
            pid: worker.pid(),
            pool: pool_name(worker.plan.pool),
            slots: worker.plan.slots,
            journal: worker.plan.watched,
            votes: false,
        };
        let journal = worker.journal.as_ref();
        Self {
            journal: journal.map(|pages| SlotWriter::new(Rc::clone(pages), number)),
            machine: Slot::new(me, INTERVAL, LIVENESS),
            worker: index,
            address: 0,
            is_alive: true,
            alarm: Alarm::default(),
            handler: None,
            step_at: None,
        }
    }
}

/// The name of a pool.
pub(crate) fn pool_name(pool: usize) -> String {
    format!("pool{pool}")
}

/// A client's process: its machine, the writer of its requests and the reader of its replies.
#[derive(Debug)]
pub(crate) struct ClientNode {
    pub(crate) plan: ClientPlan,
    pub(crate) index: usize,
    pub(crate) key: HitKey,
    pub(crate) address: u32,
    /// There while the process runs.
    pub(crate) machine: Option<Hit>,
    pub(crate) outcome: Option<Outcome>,
    /// When it ended; a slot had said by then that it serves.
    pub(crate) ended_at: Moment,
    pub(crate) was_served: bool,
    pub(crate) crashed: bool,
    pub(crate) alarm: Alarm,
    pub(crate) step_at: Option<Moment>,
    /// Its connection straight to a slot, by number; and whether one is being made.
    pub(crate) line: Option<u32>,
    pub(crate) dials: bool,
    request: usize,
    written: u64,
    write_at: Moment,
    /// A piece that the reader has in hand: bytes left, and whether it ends a reply.
    holding: Option<(u64, bool)>,
    read_at: Moment,
}

impl ClientNode {
    pub(crate) const fn new(plan: ClientPlan, index: usize, key: HitKey) -> Self {
        Self {
            plan,
            index,
            key,
            address: 0,
            machine: None,
            outcome: None,
            ended_at: Moment::ZERO,
            was_served: false,
            crashed: false,
            alarm: Alarm {
                at: None,
                ticks: (Moment::ZERO, 0),
            },
            step_at: None,
            line: None,
            dials: false,
            request: 0,
            written: 0,
            write_at: Moment::ZERO,
            holding: None,
            read_at: Moment::ZERO,
        }
    }

    /// The number by which it asks to attach.
    pub(crate) const fn number(&self) -> u64 {
        self.index as u64 + 1
    }

    pub(crate) fn start(&mut self, now: Moment) {
        let config = Config {
            pool: pool_name(self.plan.pool),
            wait: self.plan.wait,
            ttl: self.plan.ttl,
            timeout: self.plan.timeout,
            timeout_slack: Duration::from_secs(2),
            interval: INTERVAL,
            liveness: LIVENESS,
            one_shot: self.plan.one_shot,
            leave: if self.plan.leaves { Leave::Detach } else { Leave::Close },
            holder: None,
            routing: self.plan.routing,
            hosts: Hosts::default(),
        };
        self.machine = Some(if self.plan.attaches {
            Hit::attach(now, self.key, self.number(), config)
        } else {
            Hit::open(now, self.key, config)
        });
    }

    /// Writes and reads what can be now.
    pub(crate) fn pump(&mut self, now: Moment, books: &mut Books) -> Verdict {
        let Some(mut machine) = self.machine.take() else {
            return Ok(());
        };
        self.write(now, &mut machine, books);
        let read = self.read(now, &mut machine, books);
        self.machine = Some(machine);
        let next = [self.write_at, self.read_at].into_iter().filter(|at| *at > now).min();
        self.step_at = next;
        read
    }

    fn write(&mut self, now: Moment, machine: &mut Hit, books: &Books) {
        while self.write_at <= now {
            let Some(length) = books.requests[self.index].get(self.request) else {
                machine.complete();
                return;
            };
            let Some(room) = machine.room() else { return };
            let left = length - self.written;
            let bite = left.min(room as u64).min(self.plan.bite);
            if bite == 0 && left > 0 {
                return;
            }
            // Every other request's end comes by itself, as it does when a pipe is closed after its last byte.
            let end = bite == left && (left == 0 || self.request.is_multiple_of(2));
            let text = Text::request(self.index, machine.seq());
            let bytes: Bytes = text.piece(self.written, bite);
            machine.write(now, bytes, end);
            self.written += bite;
            if !self.plan.pace.is_zero() {
                self.write_at = now + self.plan.pace;
            }
            if end {
                (self.request, self.written) = (self.request + 1, 0);
                if !self.plan.pause.is_zero() {
                    self.write_at = now + self.plan.pause;
                }
            }
        }
    }

    fn read(&mut self, now: Moment, machine: &mut Hit, books: &mut Books) -> Verdict {
        let (most, pace) = self.plan.reads.unwrap_or((u64::MAX, Duration::ZERO));
        while self.read_at <= now {
            let Some((left, ended)) = self.holding.take() else {
                let Some(piece) = machine.next_reply() else {
                    return Ok(());
                };
                books.read(self.index, self.plan.hit, &piece)?;
                self.holding = Some((piece.bytes.len() as u64, piece.end.is_some()));
                continue;
            };
            let bite = left.min(most);
            let all = bite == left;
            machine.consumed(bite, all && ended);
            if !all {
                self.holding = Some((left - bite, ended));
            }
            if left > 0 && !pace.is_zero() {
                self.read_at = now + pace;
            }
        }
        Ok(())
    }

    /// Whether nothing more is to be expected of it.
    pub(crate) const fn is_finished(&self) -> bool {
        self.crashed || self.outcome.is_some()
    }

    /// What it says must be true.
    pub(crate) fn check(&self, books: &Books) -> Verdict {
        let (Some(outcome), Some(machine)) = (&self.outcome, &self.machine) else {
            return hold(self.crashed, "after healing everything finishes", || {
                format!("client {}", self.index)
            });
        };
        books.outcome(self.index, self.plan.hit, outcome, machine.ledger())
    }
}
