//! What a seed means: who takes part, what each does, and which faults happen when. The same for the clean run and for
//! every mutation.

use std::time::Duration;

use zhit::protocol::Moment;
use zhit::protocol::route::Routing;

use crate::rng::Rng;

/// Longest that the network holds a message back. Shorter than two livenesses, which is how long a broker remembers a
/// key at the least.
const LATE_MAX_MS: u64 = 4500;

/// How the network treats messages until it heals.
#[derive(Clone, Debug)]
pub(crate) struct Network {
    /// Percent of the messages that are lost, repeated, and held back.
    pub(crate) loss: f64,
    pub(crate) repeat: f64,
    pub(crate) late: f64,
    /// How long a message is held back at most.
    pub(crate) late_max: Duration,
    /// Messages of one link keep their order.
    pub(crate) in_order: bool,
}

/// One worker process.
#[derive(Clone, Debug)]
pub(crate) struct WorkerPlan {
    pub(crate) id: u32,
    pub(crate) pool: usize,
    pub(crate) slots: u32,
    /// The broker can watch its process.
    pub(crate) watched: bool,
    pub(crate) starts_at: Moment,
    pub(crate) dies_at: Option<Moment>,
    pub(crate) drains_at: Option<Moment>,
    pub(crate) grace: Duration,
}

/// One client process.
#[derive(Clone, Debug)]
pub(crate) struct ClientPlan {
    /// Which Hit.
    pub(crate) hit: usize,
    /// It takes a Hit over that another opened.
    pub(crate) attaches: bool,
    /// It leaves the Hit to the next client, or to its ttl.
    pub(crate) leaves: bool,
    pub(crate) pool: usize,
    pub(crate) starts_at: Moment,
    pub(crate) wait: Duration,
    pub(crate) ttl: Duration,
    pub(crate) timeout: Option<Duration>,
    pub(crate) one_shot: bool,
    /// Bytes of each request.
    pub(crate) requests: Vec<u64>,
    /// Most bytes of one write, and the time between two.
    pub(crate) bite: u64,
    pub(crate) pace: Duration,
    /// Time between two requests.
    pub(crate) pause: Duration,
    /// Most bytes of a reply taken at once, and the time between two; `None`: at once and everything.
    pub(crate) reads: Option<(u64, Duration)>,
    pub(crate) crashes_at: Option<Moment>,
    pub(crate) abandons_at: Option<Moment>,
    pub(crate) routing: Routing,
}

/// A time in which a client's connection straight to its slot carries nothing, though it does not end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hole {
    pub(crate) client: usize,
    /// One way only; `None`: both.
    pub(crate) to_slot: Option<bool>,
    pub(crate) from: Moment,
    /// `None`: for good, the network's healing notwithstanding.
    pub(crate) until: Option<Moment>,
}

/// A time in which no message to or from a party arrives.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cut {
    /// Client or, if false, slot; by its number.
    pub(crate) client: bool,
    pub(crate) index: usize,
    pub(crate) from: Moment,
    pub(crate) until: Moment,
}

/// A time in which what a client sends is held back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stall {
    pub(crate) client: usize,
    pub(crate) from: Moment,
    pub(crate) until: Moment,
    pub(crate) by: Duration,
}

/// A process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Process {
    Broker,
    Worker(usize),
    Client(usize),
}

/// A time in which a process stands still.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Freeze {
    pub(crate) process: Process,
    pub(crate) from: Moment,
    pub(crate) until: Moment,
}

/// What a seed means.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) network: Network,
    /// When the faults stop.
    pub(crate) heals_at: Moment,
    pub(crate) workers: Vec<WorkerPlan>,
    pub(crate) clients: Vec<ClientPlan>,
    pub(crate) cuts: Vec<Cut>,
    pub(crate) stalls: Vec<Stall>,
    pub(crate) freezes: Vec<Freeze>,
    /// Connections that break and come back under another name.
    pub(crate) reconnects: Vec<(Moment, bool, usize)>,
    /// When the broker dies, and how long until the next one serves.
    pub(crate) broker_deaths: Vec<(Moment, Duration)>,
    /// So many times it dies just after it has sent a LEASE, and the slot may be slow to take it.
    pub(crate) lease_kills: u32,
    /// How long after a new broker serves a socket finds it, at most; until then it delivers what the old one sent.
    pub(crate) finds_within: Duration,
    /// The whole machine sleeps once.
    pub(crate) sleeps: bool,
    /// When clients' connections straight to their slots end; those that carry nothing; and who never gets one.
    pub(crate) line_breaks: Vec<(Moment, usize)>,
    pub(crate) holes: Vec<Hole>,
    pub(crate) unreached: Vec<usize>,
}

/// Which bodies a seed has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bodies {
    Small,
    Mixed,
    /// Thousands of empty requests.
    Flood,
    /// Several MiB each.
    Big,
    /// One small request that rides with its OPEN.
    OneShot,
}

fn at(rng: &mut Rng, from_ms: u64, until_ms: u64) -> Moment {
    Moment::ZERO + rng.millis(from_ms..until_ms)
}

impl Plan {
    /// The plan of a seed.
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = Rng::of([seed, 1, 1]);
        let bodies = rng.pick(&[
            (45, Bodies::Small),
            (25, Bodies::Mixed),
            (10, Bodies::Flood),
            (5, Bodies::Big),
            (15, Bodies::OneShot),
        ]);
        let heals_at = at(&mut rng, 3000, 12_000);
        let pools = rng.within(1..3) as usize;
        let workers = plan_workers(&mut rng, pools);
        let mut clients = plan_clients(&mut rng, bodies, pools);
        let slots: u32 = workers.iter().map(|worker| worker.slots).sum();
        let mut network = plan_network(&mut rng);
        let broker_deaths = plan_broker_deaths(&mut rng, &mut network);
        let (mut cuts, stalls) = plan_successions(&mut rng, &mut clients);
        if !broker_deaths.is_empty() {
            cuts.clear();
        }
        let mut reconnects = Vec::new();
        let parties = (0..clients.len()).map(|index| (true, index));
        for (client, index) in parties.chain((0..slots as usize).map(|index| (false, index))) {
            let (from, length) = (at(&mut rng, 0, 8000), rng.millis(200..6000));
            if broker_deaths.is_empty() && rng.chance(10.0) {
                let until = from + length;
                cuts.push(Cut {
                    client,
                    index,
                    from,
                    until,
                });
            }
            if rng.chance(8.0) {
                reconnects.push((at(&mut rng, 100, 8000), client, index));
            }
        }
        let freezes = plan_freezes(&mut rng, workers.len(), clients.len(), heals_at);
        let mut plan = Self {
            seed,
            network,
            heals_at,
            workers,
            clients,
            cuts,
            stalls,
            freezes,
            reconnects,
            broker_deaths,
            lease_kills: 0,
            finds_within: Duration::ZERO,
            sleeps: false,
            line_breaks: Vec::new(),
            holes: Vec::new(),
            unreached: Vec::new(),
        };
        // Later faults draw from a stream of their own, so that they leave the rest of a seed as it is.
        let mut rng = Rng::of([seed, 4, 4]);
        plan.many_brokers(&mut rng);
        plan.who_leaves(&mut Rng::of([seed, 5, 5]));
        plan.who_is_direct(&mut Rng::of([seed, 6, 6]));
        match rng.within(0..100) {
            0..4 => plan.long_silence(&mut rng),
            4..8 => plan.sleep(&mut rng),
            _ => {}
        }
        plan
    }

    /// Some clients close no Hit; those after them find what they have left.
    fn who_leaves(&mut self, rng: &mut Rng) {
        for client in &mut self.clients {
            client.leaves = !client.one_shot && rng.chance(30.0);
        }
    }

    /// Some clients speak straight to their slots, and these connections fail in their own ways.
    fn who_is_direct(&mut self, rng: &mut Rng) {
        if rng.chance(35.0) {
            return;
        }
        for index in 0..self.clients.len() {
            if rng.chance(80.0) {
                self.clients[index].routing = Routing::Auto;
            }
            if rng.chance(10.0) {
                self.unreached.push(index);
            }
            for _ in 0..rng.within(0..3) {
                self.line_breaks.push((at(rng, 10, 8000), index));
            }
            if rng.chance(30.0) {
                let from = at(rng, 10, 7000);
                self.holes.push(Hole {
                    client: index,
                    to_slot: rng.pick(&[(2, None), (1, Some(true)), (1, Some(false))]),
                    from,
                    until: rng.chance(60.0).then(|| from + rng.millis(10..9000)),
                });
            }
        }
        for client in &mut self.clients {
            if client.routing == Routing::Auto && rng.chance(15.0) {
                client.routing = Routing::Direct;
            }
        }
    }

    /// Whether a client's own connection to its slot fails at all.
    pub(crate) fn fails_straight(&self, client: usize) -> bool {
        let breaks = self.line_breaks.iter().any(|(_, index)| *index == client);
        breaks || self.unreached.contains(&client) || self.holes.iter().any(|hole| hole.client == client)
    }

    /// Brokers that die one after the other, and at the moment of a LEASE; mostly with journals everywhere.
    fn many_brokers(&mut self, rng: &mut Rng) {
        let Some((first, _)) = self.broker_deaths.first().copied() else {
            return;
        };
        if rng.chance(75.0) {
            self.workers.iter_mut().for_each(|worker| worker.watched = true);
        }
        self.finds_within = rng.millis(1..800);
        let mut at = first;
        for _ in 0..rng.within(0..5) {
            at += rng.millis(5..1500);
            self.broker_deaths.push((at, rng.micros(100..300_000)));
        }
        self.lease_kills = rng.within(0..4) as u32;
    }

    /// A client is heard once and then cut off until every journal has forgotten its Hit (rule O5).
    fn long_silence(&mut self, rng: &mut Rng) {
        let index = rng.within(0..self.clients.len() as u64) as usize;
        let client = &mut self.clients[index];
        (client.ttl, client.wait) = (rng.millis(4000..5000), Duration::from_secs(60));
        let from = client.starts_at + Duration::from_micros(10);
        let until = from + client.ttl * 3 + rng.millis(1500..6000);
        self.heals_at = self.heals_at.max(until);
        let cut = Cut {
            client: true,
            index,
            from,
            until,
        };
        self.cuts.push(cut);
    }

    /// All processes stand still together, longer than most ttls: nobody was silent, nobody has lost anything (rule A3).
    fn sleep(&mut self, rng: &mut Rng) {
        let from = at(rng, 500, 7000);
        let until = from + rng.millis(3000..16_000);
        self.sleeps = true;
        self.heals_at = self.heals_at.max(until + Duration::from_millis(100));
        let workers = (0..self.workers.len()).map(Process::Worker);
        let clients = (0..self.clients.len()).map(Process::Client);
        let all = workers.chain(clients).chain([Process::Broker]);
        self.freezes = all.map(|process| Freeze { process, from, until }).collect();
    }
}

impl Plan {
    /// Whether nothing of the plan can make this client lose its Hit: neither network nor workers nor other clients. A
    /// broker's death must not.
    pub(crate) fn is_kind_to(&self, client: usize) -> bool {
        let own = &self.clients[client];
        let network = &self.network;
        let calm = [network.loss, network.repeat, network.late]
            .iter()
            .all(|percent| *percent <= 0.0);
        let kept = |worker: &WorkerPlan| worker.dies_at.is_none() && worker.drains_at.is_none();
        let cut = self.cuts.iter().any(|cut| !cut.client || cut.index == client);
        let stalled = self.stalls.iter().any(|stall| stall.client == client);
        let moved = |(_, is_client, index): &(_, bool, usize)| !is_client || *index == client;
        let frozen = |freeze: &Freeze| match freeze.process {
            Process::Client(index) => index == client,
            Process::Broker | Process::Worker(_) => true,
        };
        let awake = self.sleeps || !self.freezes.iter().any(frozen);
        let spared = !cut && !stalled && !self.reconnects.iter().any(moved) && awake;
        let alone = self.clients.iter().filter(|other| other.hit == own.hit).count() == 1;
        let late = own.starts_at > self.heals_at;
        (calm || late) && spared && alone && self.workers.iter().all(kept)
    }

    /// Whether every member keeps a journal (rule O7).
    pub(crate) fn has_journals(&self) -> bool {
        self.workers.iter().all(|worker| worker.watched)
    }
}

fn plan_freezes(rng: &mut Rng, workers: usize, clients: usize, heals_at: Moment) -> Vec<Freeze> {
    let clients = (0..clients).map(|index| (4.0, Process::Client(index)));
    let workers = (0..workers).map(|index| (5.0, Process::Worker(index)));
    let mut freezes = Vec::new();
    for (percent, process) in clients.chain(workers).chain([(5.0, Process::Broker)]) {
        if rng.chance(percent) {
            let from = at(rng, 100, 8000);
            let until = (from + rng.millis(100..12_000)).min(heals_at);
            freezes.push(Freeze { process, from, until });
        }
    }
    freezes
}

fn plan_network(rng: &mut Rng) -> Network {
    let (lossy, late) = rng.pick(&[
        (15, (false, false)),
        (35, (true, false)),
        (20, (false, true)),
        (30, (true, true)),
    ]);
    let tenths = |rng: &mut Rng, most: u64| rng.within(1..most * 10) as f64 / 10.0;
    Network {
        loss: if lossy { tenths(rng, 20) } else { 0.0 },
        repeat: if lossy { tenths(rng, 15) } else { 0.0 },
        late: if late { tenths(rng, 20) } else { 0.0 },
        late_max: rng.millis(50..LATE_MAX_MS),
        in_order: rng.chance(30.0),
    }
}

/// A broker's death is survived only as far as what it knew comes again by itself; what a lost REGISTER or a stale
/// message of the old connection would do then is for the journals of a later issue (rules O3, O4). So nothing is lost
/// in such a seed but what was under way to the broker.
fn plan_broker_deaths(rng: &mut Rng, network: &mut Network) -> Vec<(Moment, Duration)> {
    if !rng.chance(12.0) {
        return Vec::new();
    }
    (network.loss, network.repeat, network.late, network.in_order) = (0.0, 0.0, 0.0, true);
    vec![(at(rng, 200, 8000), rng.millis(5..700))]
}

/// Trouble around the moment when a Hit passes from one client to the next: the first one's last messages are late, or
/// it is cut off and comes back when it holds the Hit no more (rule O8).
fn plan_successions(rng: &mut Rng, clients: &mut [ClientPlan]) -> (Vec<Cut>, Vec<Stall>) {
    let (mut cuts, mut stalls) = (Vec::new(), Vec::new());
    for index in 1..clients.len() {
        let (before, rest) = clients.split_at_mut(index);
        let next = &mut rest[0];
        let first = before.last_mut().filter(|first| next.attaches && !first.attaches);
        let Some(first) = first.filter(|_| rng.chance(70.0)) else {
            continue;
        };
        let trouble_at = first.starts_at + rng.millis(50..2500);
        next.starts_at = trouble_at + rng.millis(0..3500);
        // There should be something to send in that time.
        let pause = rng.millis(20..600);
        if first.requests.len() < 20 {
            first.pause = first.pause.max(pause);
        }
        if first.crashes_at.is_some() {
            let until = trouble_at + rng.millis(10..1500);
            stalls.push(Stall {
                client: index - 1,
                from: trouble_at,
                until: until + Duration::from_millis(1),
                by: rng.millis(3200..LATE_MAX_MS),
            });
            first.crashes_at = Some(until);
            if rng.chance(30.0) {
                // It says goodbye, but nobody hears it for a long time.
                first.abandons_at = first.crashes_at.take();
            }
        } else {
            cuts.push(Cut {
                client: true,
                index: index - 1,
                from: trouble_at,
                until: trouble_at + rng.millis(3100..6500),
            });
        }
    }
    (cuts, stalls)
}

fn plan_workers(rng: &mut Rng, pools: usize) -> Vec<WorkerPlan> {
    let mut workers = Vec::new();
    for id in 1..=rng.within(1..4) as u32 {
        let starts_at = if rng.chance(80.0) {
            Moment::ZERO
        } else {
            at(rng, 0, 5000)
        };
        let dies_at = rng.chance(12.0).then(|| at(rng, 300, 9000));
        let first = WorkerPlan {
            id,
            pool: rng.within(0..pools as u64) as usize,
            slots: rng.within(1..4) as u32,
            watched: rng.chance(85.0),
            starts_at,
            dies_at,
            drains_at: rng.chance(10.0).then(|| at(rng, 300, 9000)),
            grace: rng.millis(100..6000),
        };
        let again = dies_at.filter(|_| rng.chance(60.0));
        workers.push(first.clone());
        if let Some(died_at) = again {
            // The id is free again: a new process takes it.
            workers.push(WorkerPlan {
                starts_at: died_at.max(starts_at) + rng.millis(1..3000),
                dies_at: None,
                drains_at: None,
                ..first
            });
        }
    }
    workers
}

fn plan_clients(rng: &mut Rng, bodies: Bodies, pools: usize) -> Vec<ClientPlan> {
    let most = match bodies {
        Bodies::Small | Bodies::OneShot => 9,
        Bodies::Mixed => 6,
        Bodies::Flood => 3,
        Bodies::Big => 2,
    };
    let mut clients = Vec::new();
    for hit in 0..rng.within(1..most) as usize {
        let opener = plan_client(rng, bodies, hit, pools);
        let next_at = opener.crashes_at.unwrap_or_else(|| at(rng, 0, 8000));
        let share = if opener.crashes_at.is_some() { 75.0 } else { 15.0 };
        let successors = if !rng.chance(share) {
            0
        } else if rng.chance(20.0) {
            2
        } else {
            1
        };
        clients.push(opener.clone());
        for _ in 0..successors {
            let mut next = plan_client(rng, bodies, hit, pools);
            (next.attaches, next.one_shot, next.pool) = (true, false, opener.pool);
            next.starts_at = next_at + rng.millis(0..4000);
            next.wait = rng.millis(3000..9000);
            next.crashes_at = next.crashes_at.map(|_| next.starts_at + rng.millis(500..8000));
            clients.push(next);
        }
    }
    clients
}

fn plan_client(rng: &mut Rng, bodies: Bodies, hit: usize, pools: usize) -> ClientPlan {
    let starts_at = at(rng, 0, 4000);
    let requests = plan_requests(rng, bodies);
    let total: u64 = requests.iter().sum();
    let wait = if rng.chance(40.0) {
        rng.millis(100..2000)
    } else {
        rng.millis(2000..8000)
    };
    let slow = rng.chance(30.0);
    // However slow, writing and reading a body take some seconds at most.
    let bite = (total / rng.within(5..100)).max(1).max(total / 2000);
    let steps = total / bite + requests.len() as u64 + 1;
    let pace = rng.micros(1..4_000_000 / steps);
    let reads = rng.chance(40.0).then(|| {
        let bite = if bodies == Bodies::Big {
            rng.within(100_000..2_000_000)
        } else {
            rng.within(100..100_000).max(total / 200)
        };
        (bite, rng.micros(1..20_000))
    });
    ClientPlan {
        hit,
        attaches: false,
        leaves: false,
        pool: rng.within(0..pools as u64) as usize,
        starts_at,
        wait,
        ttl: rng.millis(4000..15_000),
        timeout: rng.chance(10.0).then(|| rng.millis(200..5000)),
        one_shot: bodies == Bodies::OneShot,
        bite: if slow { bite } else { u64::MAX },
        pace: if slow { pace } else { Duration::ZERO },
        pause: if requests.len() > 10 || rng.chance(60.0) {
            Duration::ZERO
        } else {
            rng.millis(1..7000) / (requests.len() as u32 + 1)
        },
        reads,
        requests,
        crashes_at: rng.chance(15.0).then(|| starts_at + rng.millis(1..4000)),
        abandons_at: rng.chance(7.0).then(|| starts_at + rng.millis(1..4000)),
        routing: Routing::Broker,
    }
}

fn plan_requests(rng: &mut Rng, bodies: Bodies) -> Vec<u64> {
    let count = match bodies {
        Bodies::OneShot => 1,
        Bodies::Flood => rng.within(500..2500),
        Bodies::Big => rng.within(1..4),
        Bodies::Small => rng.within(0..12),
        Bodies::Mixed => rng.within(1..10),
    };
    let mut length = || match bodies {
        Bodies::OneShot | Bodies::Small => {
            rng.pick(&[(1, 0..1), (4, 1..200), (1, 200..20_000)].map(|(w, r)| (w, (r.start, r.end))))
        }
        Bodies::Flood => rng.pick(&[(15, (0, 1)), (1, (1, 40))]),
        Bodies::Big => (1_000_000, 7_000_000),
        Bodies::Mixed => rng.pick(&[(1, (0, 1)), (3, (1, 5000)), (4, (5000, 300_000))]),
    };
    let ranges: Vec<(u64, u64)> = (0..count).map(|_| length()).collect();
    ranges.into_iter().map(|(from, to)| rng.within(from..to)).collect()
}
