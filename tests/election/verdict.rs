//! A member kills: what is decided, and a moment later done, by the comparison that ships.

use zhit::election::verdict::{Claim, Target, target};
use zhit::election::vote::{Ballot, Tally};
use zhit::protocol::mutation::{Rule, broken};

use crate::host::Index;
use crate::observer::Broken;
use crate::world::{Event, World};

impl World {
    pub(crate) fn decide_kill(&mut self, index: usize, ballot: Ballot, tally: &Tally) {
        self.count("verdicts");
        if !tally.excused.is_empty() {
            self.count("verdicts without the silent");
        }
        self.trace(|world| {
            format!(
                "{} has {} of {} against {} at {}, without {:?}",
                world.members[index].me.id, tally.votes, tally.of, ballot.suspect.pid, ballot.beat, tally.excused
            )
        });
        let present = self.present();
        let broken = self.observer.kill(self, index, ballot, &present);
        self.fail_if(broken);
        let Some(charge) = self.charged(index, ballot.suspect) else {
            return self.count("ended before the verdict");
        };
        // The autopsy takes its time, in which the loop hears of nothing.
        let at = self.now + self.rng.micros(100..25_000);
        self.push(at, Event::Kill(index, ballot, charge));
    }

    /// The kill itself. Whoever was stopped since he decided finds out by the counter.
    pub(crate) fn kill(&mut self, index: usize, ballot: Ballot, charge: Index) {
        let member = &self.members[index];
        if member.stopped && member.alive {
            let later = self.now + self.plan.interval / 4;
            return self.push(later, Event::Kill(index, ballot, charge));
        }
        if !member.alive {
            return;
        }
        let judged = &self.host.processes[charge];
        let record = self.host.record.map(|record| record.suspect);
        let by_number = broken(Rule::V3);
        if (!judged.alive && !by_number) || judged.beat != ballot.beat {
            return;
        }
        let claim = record.map(|suspect| Claim {
            pid: suspect.pid,
            start_ticks: suspect.start_ticks,
            executable: None,
        });
        let named_alive = record.is_some_and(|suspect| self.host.find(suspect).is_some());
        let hit = match claim.filter(|_| named_alive) {
            Some(claim) => match target(judged.pid, judged.start_ticks, &claim) {
                Ok(Target::Watched) => Some(charge),
                Ok(Target::Number(pid)) => self.host.by_pid(pid),
                Err(_) => None,
            },
            // The record names nobody alive: the lock must.
            None => Some(charge).filter(|charge| self.host.lock == Some(*charge)),
        };
        let Some(hit) = hit else {
            return self.count("refused");
        };
        self.count("killed");
        if hit != charge {
            let (pid, judged) = (self.host.processes[hit].pid, self.host.processes[charge].start_ticks);
            self.fail_if(Err(Broken::new(
                "V3: a kill hits the process that was judged",
                format!("{pid} was killed, and it is not the process that started at {judged}"),
            )));
        }
        self.end_process(hit);
    }
}
