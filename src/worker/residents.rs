//! The co-processes of a slot: the one that lives with the Hit, and those that are started ahead.

use std::collections::VecDeque;
use std::ops::Deref;
use std::path::Path;
use std::time::Duration;

use tracing::warn;

use super::handler::{Coprocess, Coprocesses, Home, Interest, RequestContext};
use super::scratch::Scratch;
use crate::clock;
use crate::election::journal::{SlotWriter, Store};
use crate::protocol::ids::SlotId;
use crate::protocol::time::{Moment, earliest};

/// How often those that were started ahead are looked at. One that could not live is not started again before that.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How long after one was taken the next is started at the earliest: a start takes the processor from the first reply,
/// which was the reason to start it ahead.
const START_AFTER: Duration = Duration::from_millis(5);

/// The co-processes.
#[derive(Default)]
pub(super) struct Residents {
    /// The Hit's own, while it is asked nothing.
    resident: Option<Box<Coprocess>>,
    /// Started ahead, the oldest first.
    spares: VecDeque<Coprocess>,
    started: u64,
    /// `None`: at once.
    look_at: Option<Moment>,
}

impl Residents {
    /// The co-process for a request: the Hit's own, or for its first one that was started ahead, or a new one.
    pub(super) fn take(
        &mut self,
        talk: &Coprocesses,
        context: &RequestContext<'_>,
        journal: &SlotWriter<impl Deref<Target: Store>>,
    ) -> Result<Coprocess, String> {
        if let Some(resident) = self.resident.take() {
            return Ok(*resident);
        }
        let now = clock::now();
        self.look_at = Some(now + START_AFTER);
        while let Some(mut spare) = self.spares.pop_front() {
            if lives(&mut spare, talk, now) {
                // Rule O2: before it sees a byte.
                journal.write_group(spare.pid(), spare.started_at());
                return Ok(spare);
            }
        }
        let home = Home {
            hit: Some(context.hit),
            pool: context.pool,
            host: context.host,
            slot: context.slot,
            scratch: context.scratch.another(),
            grace: context.grace,
            known_at: context.known_at.clone(),
        };
        Coprocess::start(talk, home)
    }

    /// A request has ended, and its co-process waits for the next.
    pub(super) fn put(&mut self, process: Box<Coprocess>) {
        self.resident = Some(process);
    }

    /// Looks at the one that is asked nothing. Says why it has ended, if it has.
    pub(super) fn turn(&mut self, now: Moment) -> Option<String> {
        let why = self.resident.as_mut()?.turn(now)?;
        self.resident = None;
        Some(why)
    }

    /// Process id of the Hit's own.
    pub(super) fn pid(&self) -> Option<u32> {
        self.resident.as_ref().map(|resident| resident.pid())
    }

    /// The Hit is over.
    pub(super) fn retire(&mut self, now: Moment) {
        if let Some(resident) = &mut self.resident {
            resident.retire(now);
        }
    }

    /// The worker leaves.
    pub(super) fn end(&mut self, now: Moment, kill_by: Moment, kill: bool) {
        self.spares.clear();
        if let Some(resident) = &mut self.resident {
            resident.stop(now);
            resident.kill_by(kill_by);
            if kill {
                resident.kill();
            }
        }
    }

    /// What to poll for while no request runs.
    pub(super) fn fds(&self) -> impl Iterator<Item = Interest<'_>> {
        self.resident.iter().flat_map(|resident| resident.fds())
    }

    /// When to look again.
    pub(super) fn next_deadline(&self) -> Option<Moment> {
        let resident = self.resident.as_ref().and_then(|resident| resident.next_deadline());
        earliest(resident, self.look_at)
    }

    /// None are to be started ahead any more.
    pub(super) fn let_cool(&mut self) {
        self.spares.clear();
        self.look_at = None;
    }

    /// Starts one ahead if one is missing. Those that were started otherwise than `talk` says, or have ended, are replaced.
    pub(super) fn keep_warm(
        &mut self,
        talk: &Coprocesses,
        (pool, host, slot): (&str, &str, SlotId),
        runtime_dir: &Path,
        grace: Duration,
    ) {
        let now = clock::now();
        if self.look_at.is_some_and(|at| now < at) {
            return;
        }
        self.spares.retain(|spare| spare.is_of(talk));
        let before = self.spares.len();
        self.spares.retain_mut(|spare| lives(spare, talk, now));
        let have_died = self.spares.len() < before;
        if have_died {
            warn!(%slot, "a handler that was started ahead has ended, or has spoken, before it was asked");
        }
        if have_died || self.spares.len() >= talk.warm as usize {
            self.look_at = Some(now + LOOK_EVERY);
            return;
        }
        self.started += 1;
        let home = Home {
            hit: None,
            pool,
            host,
            slot,
            scratch: Scratch::ahead(runtime_dir, slot, self.started),
            grace,
            known_at: None,
        };
        self.look_at = None;
        match Coprocess::start(talk, home) {
            Ok(spare) => self.spares.push_back(spare),
            Err(note) => {
                self.look_at = Some(now + LOOK_EVERY);
                warn!(%slot, "{note}");
            }
        }
    }
}

/// Whether one that was started ahead may serve a Hit.
fn lives(spare: &mut Coprocess, talk: &Coprocesses, now: Moment) -> bool {
    spare.is_of(talk) && spare.turn(now).is_none() && spare.is_fit()
}
