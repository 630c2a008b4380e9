//! What goes wrong, until the faults end.

use std::time::Duration;

use zhit::protocol::Moment;
use zhit::protocol::ids::WorkerId;

use crate::world::{NAMES, World};

/// How often something goes wrong, and what may.
#[derive(Clone, Copy)]
pub(crate) struct Faults {
    /// In a hundred steps.
    pub(crate) often: f64,
    /// Until then.
    pub(crate) end: Moment,
    /// One host's broker may still be lost for good.
    pub(crate) may_lose: bool,
}

impl World {
    /// A span of some milliseconds, from now on, that ends with the faults.
    fn until(&mut self, longest_ms: u64) -> (Moment, Duration) {
        let span = self.rng.millis(10..longest_ms);
        let until = (self.clock.now + span).min(self.faults.end);
        (until, until.since(self.clock.now))
    }

    fn some_worker(&mut self, host: usize) -> Option<WorkerId> {
        let ids: Vec<WorkerId> = self.hosts[host].workers.keys().copied().collect();
        let at = self.rng.next() as usize;
        ids.get(at % ids.len().max(1)).copied()
    }

    /// Something may go wrong.
    pub(crate) fn fault(&mut self) {
        if self.clock.now >= self.faults.end || !self.rng.chance(self.faults.often) {
            return;
        }
        let host = self.rng.within(0..self.hosts.len() as u64) as usize;
        let some = self.some_worker(host);
        match self.rng.within(0..14) {
            0 | 1 => self.kill_broker(host),
            2 | 3 => self.pause_broker(host),
            4 => self.pause_issuer(),
            5 | 6 => self.pause_worker(host, some),
            7 => self.stop_handler(host, some),
            8 => {
                if let Some(id) = some {
                    self.hosts[host].bury(self.clock, id);
                }
            }
            9 => {
                if let Some(worker) = some.and_then(|id| self.hosts[host].workers.get_mut(&id)) {
                    worker.draining = true;
                }
            }
            10 => {
                // One that comes late, perhaps with the number of one that has gone.
                let workers = &self.hosts[host].workers;
                if let Some(id) = (1..20).map(WorkerId).find(|id| !workers.contains_key(id)) {
                    self.enter(host, id);
                }
            }
            _ => self.cut(host),
        }
    }

    fn kill_broker(&mut self, host: usize) {
        let longest = self.rng.pick(&[(3, 300), (1, 4000)]);
        let (until, _) = self.until(longest);
        let may_lose = self.faults.may_lose && self.hosts.len() > 1;
        let is_lost = may_lose && self.rng.chance(20.0);
        if self.hosts[host].machine.is_none() {
            return;
        }
        self.faults.may_lose &= !is_lost;
        self.hosts[host].kill(self.clock, Some(until).filter(|_| !is_lost));
    }

    fn pause_broker(&mut self, host: usize) {
        let longest = self.rng.pick(&[(1, 1500), (1, 4000)]);
        let (until, span) = self.until(longest);
        let whole = self.rng.chance(50.0);
        let host = &mut self.hosts[host];
        if host.serves() {
            let how = if whole { "is stopped" } else { "hangs" };
            self.clock
                .say(|| format!("{}: the broker {how} for {span:?}", host.name()));
            (host.paused_until, host.whole) = (until, whole);
        }
    }

    fn pause_issuer(&mut self) {
        let (until, span) = self.until(6000);
        // One that is stopped before it has heard anybody says that it reaches nobody, and that is that.
        if !self.issuer.is_paused() && (self.issuer.gather.has_heard() || self.rng.chance(10.0)) {
            self.clock.say(|| format!("the issuer stands still for {span:?}"));
            self.issuer.paused_until = until;
        }
    }

    fn pause_worker(&mut self, host: usize, some: Option<WorkerId>) {
        let (until, span) = self.until(5000);
        let clock = self.clock;
        if let Some(worker) = some.and_then(|id| self.hosts[host].workers.get_mut(&id))
            && worker.paused.extend(clock.now, until)
        {
            clock.say(|| format!("{} stands still for {span:?}", worker.name()));
        }
    }

    fn stop_handler(&mut self, host: usize, some: Option<WorkerId>) {
        let (until, span) = self.until(5000);
        let clock = self.clock;
        if let Some(worker) = some.and_then(|id| self.hosts[host].workers.get_mut(&id))
            && worker.stopped.extend(clock.now, until)
        {
            clock.say(|| format!("the handler of {} is stopped for {span:?}", worker.name()));
        }
    }

    fn cut(&mut self, a: usize) {
        let b = self.rng.within(0..self.hosts.len() as u64) as usize;
        if a == b {
            return;
        }
        let longest = self.rng.pick(&[(1, 600), (1, 5000)]);
        let (until, span) = self.until(longest);
        let both = self.rng.chance(50.0);
        let way = if both { "between" } else { "one way between" };
        self.clock
            .say(|| format!("cut {way} {} and {} for {span:?}", NAMES[a], NAMES[b]));
        self.net.cut(a, b, until);
        if both {
            self.net.cut(b, a, until);
        }
    }

    /// Nothing goes wrong any more.
    pub(crate) fn end_faults(&mut self) {
        let now = self.clock.now;
        self.clock.say(|| "the faults end".to_owned());
        self.faults.end = self.faults.end.min(now);
        self.net.heal();
        self.issuer.paused_until = self.issuer.paused_until.min(now);
        for host in &mut self.hosts {
            host.paused_until = host.paused_until.min(now);
            host.back_at = host.back_at.map(|at| at.min(now));
            for worker in host.workers.values_mut() {
                worker.paused.end(now);
                worker.stopped.end(now);
            }
        }
    }
}
