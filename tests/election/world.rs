//! The world of a seed: a clock, a heap of events, the members, the host, and what happens to them.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::Duration;

use zhit::election::vote::{Ballot, Voter};
use zhit::protocol::{Moment, WorkerId};

use crate::host::{Host, Index};
use crate::member::{Input, Member};
use crate::observer::{Broken, Observer, Verdict};
use crate::plan::{Fault, Plan};
use crate::rng::Rng;

/// Seconds since 1970 at the world's beginning.
const UNIX: u64 = 1_795_000_000;

/// How long a master must have served, after the faults have ended, for all to be well.
const SERVES_FOR: Duration = Duration::from_secs(1);

/// What members say to each other.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Message {
    Ask(Ballot),
    Vote(Ballot, bool),
}

#[derive(Clone, Debug)]
pub(crate) enum Event {
    MemberTurn(usize),
    MemberContinues(usize),
    Input(usize, Input),
    ProcessTurn(Index),
    ProcessContinues(Index),
    Kill(usize, Ballot, Index),
    Fault(Fault),
    Heal,
}

/// The heap's entry: by time, then in the order of their making.
struct Entry(Moment, u64, Event);

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        (self.0, self.1) == (other.0, other.1)
    }
}
impl Eq for Entry {}
impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.0, self.1).cmp(&(other.0, other.1))
    }
}

/// What a seed that kept all promises did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    pub(crate) tally: BTreeMap<&'static str, u64>,
    pub(crate) ended_at: Moment,
}

pub(crate) struct World {
    pub(crate) now: Moment,
    pub(crate) plan: Plan,
    heap: BinaryHeap<Reverse<Entry>>,
    events: u64,
    /// Incarnations so far.
    pub(crate) made: u64,
    pub(crate) rng: Rng,
    pub(crate) host: Host,
    pub(crate) members: Vec<Member>,
    cuts: Vec<(usize, Option<usize>, Moment)>,
    pub(crate) observer: Observer,
    pub(crate) next_hangs: bool,
    set_back: u64,
    /// Since when a master has served; `None` while none does.
    pub(crate) serves_since: Option<Moment>,
    broken: Option<Broken>,
    tally: BTreeMap<&'static str, u64>,
    lines: Option<Vec<String>>,
}

impl World {
    pub(crate) fn new(plan: Plan, told: bool) -> Self {
        let mut world = Self {
            now: Moment::ZERO,
            heap: BinaryHeap::new(),
            events: 0,
            made: 0,
            rng: Rng::of([plan.seed, 2, 2]),
            host: Host::default(),
            members: Vec::new(),
            cuts: Vec::new(),
            observer: Observer::default(),
            next_hangs: false,
            set_back: 0,
            serves_since: None,
            broken: None,
            tally: BTreeMap::new(),
            lines: told.then(Vec::new),
            plan,
        };
        (0..world.plan.members).for_each(|_| world.join());
        for (at, fault) in world.plan.faults.clone() {
            world.push(at, Event::Fault(fault));
        }
        world.push(world.plan.heals_at, Event::Heal);
        world
    }

    pub(crate) fn push(&mut self, at: Moment, event: Event) {
        self.events += 1;
        self.heap.push(Reverse(Entry(at, self.events, event)));
    }

    pub(crate) fn count(&mut self, what: &'static str) {
        *self.tally.entry(what).or_default() += 1;
    }

    pub(crate) fn counted(&self, what: &str) -> u64 {
        self.tally.get(what).copied().unwrap_or_default()
    }

    pub(crate) fn trace(&mut self, words: impl FnOnce(&Self) -> String) {
        if self.lines.is_some() {
            let line = format!("{:?} {}", self.now, words(self));
            self.lines.iter_mut().for_each(|lines| lines.push(line.clone()));
        }
    }

    pub(crate) fn text(&self) -> String {
        self.lines.as_ref().map(|lines| lines.join("\n")).unwrap_or_default()
    }

    pub(crate) fn fail_if(&mut self, verdict: Verdict) {
        if let Err(broken) = verdict {
            self.broken.get_or_insert(broken);
        }
    }

    pub(crate) const fn unix(&self) -> u64 {
        UNIX + self.now.as_micros() / 1_000_000 - self.set_back
    }

    /// Runs until a master has served for a while after the faults have ended.
    pub(crate) fn run(&mut self) -> Result<Summary, Broken> {
        let plan = &self.plan;
        let give_up_at = plan.heals_at + plan.patience * 2 + plan.span() * 2 + plan.interval * 4 + SERVES_FOR * 5;
        loop {
            let serves = |since: Moment| self.now.since(since.max(self.plan.heals_at)) >= SERVES_FOR;
            if self.now > self.plan.heals_at && self.serves_since.is_some_and(serves) {
                break;
            }
            self.step()?;
            if self.now > give_up_at {
                return Err(Broken::new(
                    "a master serves once the faults have ended",
                    format!("at {:?} none has served for {SERVES_FOR:?}", self.now),
                ));
            }
        }
        Ok(Summary {
            tally: self.tally.clone(),
            ended_at: self.now,
        })
    }

    /// Runs until a moment, whoever serves.
    pub(crate) fn run_until(&mut self, until: Moment) -> Result<(), Broken> {
        while self.heap.peek().is_some_and(|Reverse(entry)| entry.0 <= until) {
            self.step()?;
        }
        self.now = until;
        Ok(())
    }

    pub(crate) fn step(&mut self) -> Result<(), Broken> {
        let Reverse(Entry(at, _, event)) = self.heap.pop().expect("the members turn for ever");
        self.now = at;
        match event {
            Event::MemberTurn(index) => {
                let member = &self.members[index];
                if member.alive && !member.stopped && member.turn_at == at {
                    self.turn_member(index);
                }
            }
            Event::MemberContinues(index) => self.continue_member(index),
            Event::Input(index, input) => self.hand(index, input),
            Event::ProcessTurn(index) => {
                if self.host.processes[index].turn_at == at {
                    self.turn_process(index);
                }
            }
            Event::ProcessContinues(index) => self.continue_process(index),
            Event::Kill(index, ballot, charge) => self.kill(index, ballot, charge),
            Event::Fault(fault) => self.break_something(fault),
            Event::Heal => self.heal(),
        }
        match self.host.serving() {
            None => self.serves_since = None,
            Some(_) => drop(self.serves_since.get_or_insert(at)),
        }
        self.broken.take().map_or(Ok(()), Err)
    }

    pub(crate) fn send(&mut self, from: Voter, to: WorkerId, message: Message) {
        let present = self.present();
        let by_name = |name: WorkerId| present.iter().copied().find(|index| self.members[*index].me.id == name);
        let Some(index) = by_name(to) else {
            return;
        };
        let sender = self.members.iter().position(|member| member.me == from);
        let healthy = self.now >= self.plan.heals_at;
        let network = self.plan.network;
        if !healthy && (sender.is_some_and(|sender| self.is_cut(sender, index)) || self.rng.chance(network.loss)) {
            return;
        }
        let copies = 1 + u64::from(!healthy && self.rng.chance(network.repeat));
        for _ in 0..copies {
            let delay = if !healthy && self.rng.chance(network.late) {
                self.rng.millis(5..9000)
            } else {
                self.rng.micros(50..3000)
            };
            let at = self.now + delay;
            self.push(at, Event::Input(index, Input::Message(from, message)));
        }
    }

    fn is_cut(&self, one: usize, other: usize) -> bool {
        let concerns = |cut: &(usize, Option<usize>, Moment)| match cut.1 {
            Some(second) => (cut.0, second) == (one, other) || (cut.0, second) == (other, one),
            None => cut.0 == one || cut.0 == other,
        };
        self.cuts.iter().any(|cut| self.now < cut.2 && concerns(cut))
    }

    fn join(&mut self) {
        let number = self.free_number();
        self.made += 1;
        let (index, now) = (self.members.len(), self.now);
        let member = Member::new(now, &self.plan, number, self.made, self.host.dir);
        self.members.push(member);
        self.observer.restart(now, index);
        self.trace(|_| format!("{} joins", WorkerId(number)));
        let at = now + self.rng.micros(1..50_000);
        self.members[index].turn_at = at;
        self.push(at, Event::MemberTurn(index));
    }

    fn continue_member(&mut self, index: usize) {
        if self.members[index].alive && self.members[index].stopped {
            self.members[index].stopped = false;
            self.trace(|world| format!("{} goes on", world.members[index].me.id));
            self.turn_member(index);
        }
    }

    fn stop_member(&mut self, index: usize, span: Duration) {
        self.trace(|world| format!("{} is stopped for {span:?}", world.members[index].me.id));
        self.members[index].stopped = true;
        let at = self.now + span;
        self.push(at, Event::MemberContinues(index));
    }

    fn end_member(&mut self, index: usize) {
        self.trace(|world| format!("{} is gone", world.members[index].me.id));
        self.members[index].alive = false;
    }

    /// The present member that a plan means by a number.
    fn meant(&self, number: usize) -> Option<usize> {
        let present = self.present();
        present.get(number % present.len().max(1)).copied()
    }

    pub(crate) fn break_something(&mut self, fault: Fault) {
        self.trace(|_| format!("-- {fault:?}"));
        match fault {
            Fault::MasterCrashes => {
                if let Some(master) = self.host.lock {
                    self.end_process(master);
                }
            }
            Fault::MasterStops(span) => {
                if let Some(master) = self.host.serving() {
                    self.stop_process(master, span);
                }
            }
            Fault::MasterOverloaded(span) => {
                if let Some(master) = self.host.serving() {
                    self.host.processes[master].overloaded_until = self.now + span;
                }
            }
            Fault::NextHangsBeforeRecord => self.next_hangs = true,
            Fault::MasterYields(after) => self.yield_office(after),
            Fault::MemberCrashes(number) | Fault::MemberLeaves(number) => {
                if let Some(index) = self.meant(number) {
                    self.end_member(index);
                }
            }
            Fault::MemberStops(number, span) => {
                if let Some(index) = self.meant(number) {
                    self.stop_member(index, span);
                }
            }
            Fault::MemberJoins => self.join(),
            Fault::HostSuspends(span) => self.suspend(span),
            Fault::Cut(one, other, span) => {
                let until = self.now + span;
                if let Some(one) = self.meant(one) {
                    self.cuts.push((one, other.and_then(|other| self.meant(other)), until));
                }
            }
            Fault::DirectoryWiped => self.host.wipe(),
            Fault::ClockSetBack => self.set_back += 3600,
        }
    }

    fn suspend(&mut self, span: Duration) {
        for index in 0..self.members.len() {
            if self.members[index].alive {
                let late = self.rng.micros(0..50_000);
                self.stop_member(index, span + late);
            }
        }
        for index in 0..self.host.processes.len() {
            if self.host.processes[index].alive {
                let late = self.rng.micros(0..800_000);
                self.stop_process(index, Some(span + late));
            }
        }
    }

    /// No fault begins any more; what is stopped goes on, but for what the plan leaves to the members.
    fn heal(&mut self) {
        self.trace(|_| "-- healed".to_owned());
        self.next_hangs = false;
        if !self.members.iter().any(|member| member.alive) {
            self.join();
        }
        let stopped = |world: &Self| {
            let alive = world.members.iter().enumerate().filter(|(_, member)| member.alive);
            let stopped = alive.filter(|(_, member)| member.stopped);
            stopped.map(|(index, _)| index).collect::<Vec<_>>()
        };
        let alive = self.members.iter().filter(|member| member.alive).count();
        let keep = usize::from(self.plan.member_stays_stopped && alive > 1);
        let stopped = stopped(self);
        for index in stopped.into_iter().skip(keep) {
            self.continue_member(index);
        }
        for index in 0..self.host.processes.len() {
            if !(self.plan.master_stays_stopped && self.host.lock == Some(index)) {
                self.continue_process(index);
            }
        }
    }
}
