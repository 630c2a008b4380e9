//! Broker processes: from the start of a candidate to a master's turns.

use std::time::Duration;

use zhit::protocol::{Moment, Term};
use zhit::runtime::next_term;

use crate::host::{Index, Record, Stage};
use crate::member::Input;
use crate::world::{Event, World};

/// For how long a candidate that finds the lock taken tries again (rule E1), and how often.
const TRIES_FOR: Duration = Duration::from_millis(50);
const TRIES_EVERY: Duration = Duration::from_millis(5);

impl World {
    pub(crate) fn start_candidate(&mut self, starter: usize) {
        self.count("candidates");
        let broken = self.observer.starts(self.now, starter);
        self.fail_if(broken);
        let index = self.host.spawn(&mut self.rng, self.now, Stage::Starting);
        let heard = self.members[starter].heard;
        let process = &mut self.host.processes[index];
        (process.starter, process.heard) = (Some(starter), heard);
        self.members[starter].candidate = Some(index);
        self.trace(|world| {
            let pid = world.host.processes[index].pid;
            format!("{} starts candidate {pid}", world.members[starter].me.id)
        });
        let after = self.rng.micros(2000..20_000);
        self.turn_process_in(index, after);
    }

    /// A broker that somebody starts by hand (rule E3).
    pub(crate) fn start_dedicated(&mut self, after: Duration) -> Index {
        let index = self.host.spawn(&mut self.rng, self.now, Stage::Starting);
        self.turn_process_in(index, after);
        index
    }

    pub(crate) fn turn_process_in(&mut self, index: Index, after: Duration) {
        let at = self.now + after;
        self.host.processes[index].turn_at = at;
        self.push(at, Event::ProcessTurn(index));
    }

    pub(crate) fn turn_process(&mut self, index: Index) {
        let process = &self.host.processes[index];
        if !process.alive || process.stopped {
            return;
        }
        if process.dir != self.host.dir && process.stage != Stage::Bystander {
            // Rule E4.
            self.trace(|world| format!("{} leaves a directory that is gone", world.host.processes[index].pid));
            return self.end_process(index);
        }
        match process.stage {
            Stage::Starting => {
                self.host.processes[index].stage = Stage::Trying {
                    give_up_at: self.now + TRIES_FOR,
                };
                self.turn_process(index);
            }
            Stage::Trying { give_up_at } => self.try_lock(index, give_up_at),
            Stage::Holding => self.take_office(index),
            Stage::Serving => self.serve(index),
            Stage::Bystander => {}
        }
    }

    fn try_lock(&mut self, index: Index, give_up_at: Moment) {
        if self.host.lock.is_some() {
            if self.now >= give_up_at {
                return self.end_process(index);
            }
            return self.turn_process_in(index, TRIES_EVERY);
        }
        self.host.lock = Some(index);
        self.host.processes[index].stage = Stage::Holding;
        self.trace(|world| format!("{} takes the lock", world.host.processes[index].pid));
        if std::mem::take(&mut self.next_hangs) {
            self.stop_process(index, None);
        }
        let after = self.rng.micros(100..4000);
        self.turn_process_in(index, after);
    }

    fn take_office(&mut self, index: Index) {
        let heard = self.host.processes[index].heard;
        let term = next_term(self.host.stored, heard, self.unix());
        let broken = self
            .observer
            .elected(term, heard, self.host.stored, self.unix(), self.host.dir);
        self.fail_if(broken);
        self.host.stored = term;
        let process = &mut self.host.processes[index];
        (process.term, process.stage, process.beat) = (term, Stage::Serving, 1);
        let (suspect, starter) = (process.suspect(), process.starter.take());
        self.host.record = Some(Record {
            suspect,
            reserved: None,
        });
        self.count("elected");
        self.trace(|_| format!("{} is master of term {term}", suspect.pid));
        if let Some(starter) = starter {
            self.after_a_moment(Event::Input(starter, Input::Candidate { ok: true }));
        }
        self.turn_process_in(index, Duration::ZERO);
    }

    fn serve(&mut self, index: Index) {
        let now = self.now;
        let (span, interval) = (self.plan.span(), self.plan.interval.as_micros() as u64);
        let process = &mut self.host.processes[index];
        process.beat += 1;
        let overloaded = now < process.overloaded_until;
        let pings = std::mem::take(&mut process.pings);
        for member in pings {
            if overloaded && self.rng.chance(80.0) {
                continue;
            }
            let delay = if overloaded {
                self.rng.micros(interval..interval * 8)
            } else {
                self.rng.micros(50..2000)
            };
            self.push(now + delay, Event::Input(member, Input::Answer(index)));
        }
        let longest = if overloaded {
            // It turns within the detection time, as seen by who looks each quarter of an interval.
            span.as_micros() as u64 - interval / 2
        } else {
            interval / 4
        };
        let after = self.rng.micros(longest / 8..longest);
        self.turn_process_in(index, after);
    }

    pub(crate) fn ping(&mut self, member: usize) {
        let Some(master) = self.members[member].watched else {
            return;
        };
        let process = &mut self.host.processes[master];
        if !process.alive {
            return;
        }
        process.pings.push(member);
        if !process.stopped && process.stage == Stage::Serving && self.now >= process.overloaded_until {
            // A message wakes its loop.
            self.turn_process_in(master, Duration::from_micros(100));
        }
    }

    /// Stops a process, for good or for a while.
    pub(crate) fn stop_process(&mut self, index: Index, span: Option<Duration>) {
        self.trace(|world| format!("{} is stopped for {span:?}", world.host.processes[index].pid));
        self.host.processes[index].stopped = true;
        if let Some(span) = span {
            let at = self.now + span;
            self.push(at, Event::ProcessContinues(index));
        }
    }

    pub(crate) fn continue_process(&mut self, index: Index) {
        let process = &mut self.host.processes[index];
        if process.alive && process.stopped {
            process.stopped = false;
            self.trace(|world| format!("{} goes on", world.host.processes[index].pid));
            self.turn_process_in(index, Duration::ZERO);
        }
    }

    /// A process ends, however that came.
    pub(crate) fn end_process(&mut self, index: Index) {
        if !self.host.processes[index].alive {
            return;
        }
        self.trace(|world| format!("{} ends", world.host.processes[index].pid));
        self.host.end(index);
        if let Some(starter) = self.host.processes[index].starter.take() {
            self.after_a_moment(Event::Input(starter, Input::Candidate { ok: false }));
        }
        for member in 0..self.members.len() {
            if self.members[member].watched == Some(index) {
                self.after_a_moment(Event::Input(member, Input::HolderEnded(index)));
            }
        }
        if self.now < self.plan.heals_at && self.rng.chance(30.0) {
            // Somebody else gets the number.
            self.host.spawn(&mut self.rng, self.now, Stage::Bystander);
        }
    }

    fn after_a_moment(&mut self, event: Event) {
        let at = self.now + self.rng.micros(20..1000);
        self.push(at, event);
    }

    /// The master leaves and keeps the office for another (rule E3).
    pub(crate) fn yield_office(&mut self, comes_after: Option<Duration>) {
        let Some(master) = self.host.serving() else {
            return;
        };
        let successor = self.start_dedicated(comes_after.unwrap_or(Duration::from_secs(3600)));
        let until = self.now + Duration::from_secs(2);
        if let Some(record) = &mut self.host.record {
            record.reserved = Some((successor, until));
        }
        let heard = self.host.processes[master].term;
        self.host.processes[successor].heard = heard.max(Term(0));
        self.count("yielded");
        self.trace(|world| format!("the office is kept for {}", world.host.processes[successor].pid));
        self.end_process(master);
    }
}
