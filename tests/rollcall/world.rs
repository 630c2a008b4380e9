//! Some hosts with their brokers and workers, the network between them, and one broadcast to all.

use std::time::Duration;

use bytes::Bytes;
use zhit::broadcast::gather::Config;
use zhit::options::{Batch, Targets};
use zhit::protocol::Moment;
use zhit::protocol::ids::{BroadcastId, Incarnation, Member, WorkerId};

use crate::faults::Faults;
use crate::host::{Around, Host};
use crate::issuer::{Desk, Issuer};
use crate::judge::Judge;
use crate::network::{Arrived, Network};
use crate::rng::Rng;
use crate::worker::Worker;

pub(crate) const INTERVAL: Duration = Duration::from_millis(200);
pub(crate) const LIVENESS: u32 = 3;
pub(crate) const PATIENCE: Duration = Duration::from_secs(2);
pub(crate) const STEP: Duration = Duration::from_millis(5);

/// In the order in which an issuer on the first tries the others.
pub(crate) const NAMES: [&str; 4] = ["alpha", "beta", "delta", "gamma"];

/// Where a host of this name stands among them.
pub(crate) fn place_of(name: &str) -> Option<usize> {
    NAMES.iter().position(|one| *one == name)
}

/// Until then, at the latest, things go wrong.
const FAULTS_END: Duration = Duration::from_secs(12);

/// After the faults a set closes within patience, so much more, and the time that is worked.
const BOUND: Duration = Duration::from_secs(3);

/// After so many steps brokers are asked for hints.
const HINTS_EVERY: u64 = 10;

/// The time, and whether it is told what happens.
#[derive(Clone, Copy)]
pub(crate) struct Clock {
    pub(crate) now: Moment,
    began: Moment,
    loud: bool,
}

pub(crate) struct World {
    pub(crate) clock: Clock,
    pub(crate) rng: Rng,
    pub(crate) hosts: Vec<Host>,
    pub(crate) net: Network,
    pub(crate) issuer: Issuer,
    pub(crate) judge: Judge,
    pub(crate) faults: Faults,
    longest_job_ms: u64,
    is_batched: bool,
    steps: u64,
}

impl Clock {
    pub(crate) fn say(&self, what: impl FnOnce() -> String) {
        if self.loud {
            println!("{:>9.3}  {}", self.now.since(self.began).as_secs_f64(), what());
        }
    }
}

fn config(rng: &mut Rng, hosts: usize) -> Config {
    Config {
        id: BroadcastId([9; 16]),
        hosts: NAMES.iter().take(hosts).map(|name| (*name).to_owned()).collect(),
        targets: Targets::default(),
        body: Bytes::from_static(b"do it"),
        patience: PATIENCE,
        interval: INTERVAL,
        timeout: None,
        reply_max: 1 << 20,
        batch: rng.chance(30.0).then(|| Batch::Members(rng.within(1..5) as u32)),
        stop_after: rng.chance(20.0).then_some(1),
    }
}

impl World {
    pub(crate) fn new(seed: u64, loud: bool) -> Self {
        let mut rng = Rng::new(seed);
        let now = Moment::from_micros(1_000_000_000);
        let clock = Clock { now, began: now, loud };
        let hosts = rng.pick(&[(4, 1), (3, 2), (3, 3), (2, 4)]);
        let config = config(&mut rng, hosts);
        let net = Network::new(seed, now, hosts);
        let is_batched = config.batch.is_some();
        let longest_job_ms = if is_batched {
            1500
        } else {
            rng.pick(&[(2, 1500), (1, 6000)])
        };
        let mut world = Self {
            clock,
            hosts: Vec::new(),
            judge: Judge::new(clock, hosts, net.is_lossy()),
            net,
            issuer: Issuer::new(now, seed, config),
            faults: Faults {
                often: rng.pick(&[(1, 0.5), (3, 1.2), (1, 4.0)]),
                end: now + FAULTS_END,
                may_lose: true,
            },
            longest_job_ms,
            is_batched,
            steps: 0,
            rng,
        };
        for place in 0..hosts {
            let late_ms = world.rng.pick(&[(8, 1), (1, 1000), (1, 5000)]);
            let back_at = now + world.rng.millis(0..late_ms);
            world.hosts.push(Host::new(place, back_at));
            let most = if hosts == 1 { 7 } else { 5 };
            let fewest = u64::from(hosts == 1);
            for number in 1..=world.rng.within(fewest..most) as u32 {
                world.enter(place, WorkerId(number));
            }
        }
        world
    }

    pub(crate) fn enter(&mut self, host: usize, worker: WorkerId) {
        let member = Member::new(worker, Incarnation(self.rng.next() | 1));
        let worker = Worker::new(self.clock.now, host, member, self.longest_job_ms);
        self.clock.say(|| format!("{} enters", worker.name()));
        self.hosts[host].workers.insert(member.worker, worker);
    }

    fn step(&mut self) {
        self.fault();
        let pulses = self.hosts.iter().map(Host::pulse).collect();
        for arrived in self.net.turn(self.clock.now, pulses) {
            self.deliver(arrived);
        }
        let mut around = Around {
            clock: self.clock,
            net: &mut self.net,
            judge: &mut self.judge,
            hosts: self.hosts.len(),
        };
        for host in &mut self.hosts {
            host.turn(&mut self.rng, &mut around);
        }
        self.turn_workers();
        let has_broker = self.hosts[0].machine.is_some();
        if !self.issuer.is_over() {
            self.issuer.turn(&mut Desk {
                clock: self.clock,
                net: &mut self.net,
                judge: &mut self.judge,
                has_broker,
            });
        }
        self.judge.judge(&self.hosts);
        self.judge.look(self.clock, &self.hosts, &self.issuer, &self.net);
        if self.steps.is_multiple_of(HINTS_EVERY) {
            self.judge.check_hints(self.clock.now, &mut self.hosts);
        }
        self.steps += 1;
        self.clock.now += STEP;
    }

    fn deliver(&mut self, arrived: Arrived) {
        let Some(arrived) = self.issuer.receive(arrived) else {
            return;
        };
        let host = match &arrived {
            Arrived::Local(host, ..)
            | Arrived::Member(host, ..)
            | Arrived::Public(host, ..)
            | Arrived::Called(host, ..) => *host,
        };
        if let Some(host) = self.hosts.get_mut(host) {
            host.receive(arrived);
        }
    }

    fn turn_workers(&mut self) {
        let clock = self.clock;
        for host in &mut self.hosts {
            for worker in host.workers.values_mut() {
                worker.turn(clock.now, &mut self.rng, &mut self.net);
            }
            let left = host.workers.values().filter(|worker| worker.left);
            for id in left.map(|worker| worker.member.worker).collect::<Vec<_>>() {
                host.bury(clock, id);
            }
        }
    }

    /// By when the set must be closed.
    fn closed_by(&self) -> Moment {
        let jobs = if self.is_batched {
            self.issuer.gather.seats().len().max(1) as u32
        } else {
            1
        };
        let job = Duration::from_millis(self.longest_job_ms) + INTERVAL * 2;
        self.faults.end + PATIENCE + BOUND + job * jobs
    }

    pub(crate) fn run(mut self) {
        while !self.issuer.is_over() {
            let late = self.clock.now.since(self.closed_by());
            assert!(late.is_zero(), "not closed: {:?}", self.issuer.gather.books());
            self.step();
        }
        self.judge.close(&self.issuer);
        self.clock.say(|| "it is closed".to_owned());
        self.end_faults();
        let mesh_by = self.clock.now + Judge::mesh_bound();
        while !self.judge.is_mesh_settled(&self.hosts) {
            let in_time = self.clock.now < mesh_by;
            assert!(in_time, "the mesh is not whole: {}", self.judge.blind(&self.hosts));
            self.step();
        }
    }
}
