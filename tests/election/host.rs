//! What the kernel and the runtime directory know: processes and their numbers, the lock, the record, the stored term.

use zhit::election::candidacy::{Holder, Reservation, Seen};
use zhit::election::vote::Suspect;
use zhit::protocol::{Moment, Term};

use crate::rng::Rng;

/// A process, for ever; its pid may be used again.
pub(crate) type Index = usize;

/// How far a broker process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// It is being loaded.
    Starting,
    /// It tries to take the lock.
    Trying {
        give_up_at: Moment,
    },
    /// It holds the lock and has not written its record.
    Holding,
    Serving,
    /// Some other program, which got a number that was free.
    Bystander,
}

#[derive(Clone, Debug)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    pub(crate) start_ticks: u64,
    pub(crate) stage: Stage,
    pub(crate) alive: bool,
    pub(crate) stopped: bool,
    /// Of which directory, counted from its wipings.
    pub(crate) dir: u32,
    pub(crate) term: Term,
    pub(crate) beat: u64,
    pub(crate) overloaded_until: Moment,
    /// The member that started it, as a candidate.
    pub(crate) starter: Option<usize>,
    /// The highest term that it was told of.
    pub(crate) heard: Term,
    /// Members that wait for an answer.
    pub(crate) pings: Vec<usize>,
    /// When it turns next; events for other moments are void.
    pub(crate) turn_at: Moment,
}

impl Process {
    pub(crate) const fn suspect(&self) -> Suspect {
        Suspect {
            term: self.term,
            pid: self.pid,
            start_ticks: self.start_ticks,
        }
    }

    pub(crate) fn is(&self, suspect: Suspect) -> bool {
        (self.pid, self.start_ticks) == (suspect.pid, suspect.start_ticks)
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Record {
    pub(crate) suspect: Suspect,
    pub(crate) reserved: Option<(Index, Moment)>,
}

#[derive(Debug, Default)]
pub(crate) struct Host {
    pub(crate) processes: Vec<Process>,
    pub(crate) dir: u32,
    pub(crate) lock: Option<Index>,
    pub(crate) record: Option<Record>,
    pub(crate) stored: Term,
    /// Numbers that are free again, the latest last.
    freed: Vec<u32>,
}

impl Host {
    pub(crate) fn spawn(&mut self, rng: &mut Rng, now: Moment, stage: Stage) -> Index {
        let again = !self.freed.is_empty() && rng.chance(60.0);
        let pid = match self.freed.pop().filter(|_| again) {
            Some(pid) => pid,
            None => 100 + self.processes.len() as u32,
        };
        self.processes.push(Process {
            pid,
            start_ticks: 1 + self.processes.len() as u64,
            stage,
            alive: true,
            stopped: false,
            dir: self.dir,
            term: Term(0),
            beat: 0,
            overloaded_until: Moment::ZERO,
            starter: None,
            heard: Term(0),
            pings: Vec::new(),
            turn_at: now,
        });
        self.processes.len() - 1
    }

    /// Ends a process; the kernel takes its lock away.
    pub(crate) fn end(&mut self, index: Index) {
        let process = &mut self.processes[index];
        process.alive = false;
        self.freed.push(process.pid);
        self.release(index);
    }

    pub(crate) fn release(&mut self, index: Index) {
        if self.lock == Some(index) {
            self.lock = None;
        }
    }

    pub(crate) fn wipe(&mut self) {
        self.dir += 1;
        (self.lock, self.record, self.stored) = (None, None, Term(0));
    }

    /// The living process of this number.
    pub(crate) fn by_pid(&self, pid: u32) -> Option<Index> {
        self.processes
            .iter()
            .position(|process| process.alive && process.pid == pid)
    }

    /// The living process that this names.
    pub(crate) fn find(&self, suspect: Suspect) -> Option<Index> {
        self.by_pid(suspect.pid)
            .filter(|index| self.processes[*index].is(suspect))
    }

    pub(crate) fn look(&self) -> Seen {
        let holder = self.record.map(|record| Holder {
            pid: record.suspect.pid,
            start_ticks: record.suspect.start_ticks,
            term: record.suspect.term,
            alive: self.find(record.suspect).is_some(),
        });
        let reserved = self.record.and_then(|record| record.reserved);
        Seen {
            holder,
            reserved: reserved.map(|(index, until)| Reservation {
                pid: self.processes[index].pid,
                until,
                alive: self.processes[index].alive,
            }),
            lock_held: self.lock.is_some(),
        }
    }

    /// Who holds the office, by the record, or by the lock where the record names nobody alive (rule V3).
    pub(crate) fn holder(&self) -> Option<(Index, Suspect)> {
        let lock = self.lock?;
        let recorded = self
            .record
            .and_then(|record| Some((self.find(record.suspect)?, record.suspect)));
        let by_lock = || {
            let unrecorded = Suspect {
                term: Term(0),
                ..self.processes[lock].suspect()
            };
            (lock, unrecorded)
        };
        Some(recorded.unwrap_or_else(by_lock))
    }

    /// The master, if one serves.
    pub(crate) fn serving(&self) -> Option<Index> {
        let index = self.lock?;
        let process = &self.processes[index];
        let recorded = self.record.is_some_and(|record| process.is(record.suspect));
        (recorded && process.stage == Stage::Serving && !process.stopped).then_some(index)
    }
}
