//! What a seed means: how many members, how good their messages are, and which faults happen when.

use std::time::Duration;

use zhit::protocol::Moment;

use crate::rng::Rng;

/// Something goes wrong.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// The master is killed by somebody.
    MasterCrashes,
    /// The master is stopped, and goes on after a while or never.
    MasterStops(Option<Duration>),
    /// The master turns slowly, but turns, and hardly answers.
    MasterOverloaded(Duration),
    /// The next process that takes the lock is stopped before it has written its record.
    NextHangsBeforeRecord,
    /// The master leaves, and keeps the office for another that comes (or not) after a while.
    MasterYields(Option<Duration>),
    MemberCrashes(usize),
    MemberStops(usize, Duration),
    MemberJoins,
    MemberLeaves(usize),
    /// Everything stands still, then goes on, each at its own moment.
    HostSuspends(Duration),
    /// Nothing passes between two members; or, without a second, between one and all others.
    Cut(usize, Option<usize>, Duration),
    DirectoryWiped,
    /// The time of day is set back.
    ClockSetBack,
}

/// How often messages between members are lost, repeated or late, in percent.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Network {
    pub(crate) loss: f64,
    pub(crate) repeat: f64,
    pub(crate) late: f64,
}

#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) members: usize,
    pub(crate) interval: Duration,
    pub(crate) liveness: u32,
    pub(crate) patience: Duration,
    pub(crate) network: Network,
    pub(crate) faults: Vec<(Moment, Fault)>,
    pub(crate) heals_at: Moment,
    /// Whether what is stopped when the faults end stays so: the master, and one of the members.
    pub(crate) master_stays_stopped: bool,
    pub(crate) member_stays_stopped: bool,
}

impl Plan {
    /// A host without faults.
    pub(crate) const fn calm(members: usize) -> Self {
        Self {
            seed: 0,
            members,
            interval: Duration::from_secs(1),
            liveness: 3,
            patience: Duration::from_secs(5),
            network: Network {
                loss: 0.0,
                repeat: 0.0,
                late: 0.0,
            },
            faults: Vec::new(),
            heals_at: Moment::ZERO,
            master_stays_stopped: true,
            member_stays_stopped: true,
        }
    }

    /// Detection time.
    pub(crate) fn span(&self) -> Duration {
        self.interval * self.liveness
    }

    /// The plan of a seed.
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = Rng::of([seed, 1, 1]);
        let members = rng.pick(&[(25, 2), (20, 3), (15, 4), (10, 5), (10, 6), (7, 7), (7, 8), (6, 9)]);
        let interval = Duration::from_millis(rng.pick(&[(2, 1000), (1, 400)]));
        let liveness = rng.within(2..4) as u32;
        let patience = interval * rng.within(2..5) as u32;
        let network = if rng.chance(50.0) {
            Network::default()
        } else {
            Network {
                loss: rng.within(0..40) as f64,
                repeat: rng.within(0..30) as f64,
                late: rng.within(0..20) as f64,
            }
        };
        let length = interval * rng.within(8..20) as u32;
        let clock_set_back = rng.chance(25.0);
        let count = rng.within(2..10);
        let mut faults: Vec<_> = (0..count)
            .map(|_| {
                let at = Moment::ZERO + rng.micros(1000..length.as_micros() as u64);
                (at, draw(&mut rng, interval, clock_set_back))
            })
            .collect();
        if rng.chance(15.0) {
            hang_around_a_suspension(&mut rng, interval * liveness, &mut faults);
        }
        if rng.chance(20.0) {
            hang_with_members(&mut rng, members, interval * liveness, &mut faults);
        }
        faults.retain(|(at, _)| *at < Moment::ZERO + length);
        faults.sort_by_key(|(at, _)| *at);
        Self {
            seed,
            members,
            interval,
            liveness,
            patience,
            network,
            faults,
            heals_at: Moment::ZERO + length,
            master_stays_stopped: rng.chance(50.0),
            member_stays_stopped: rng.chance(30.0),
        }
    }
}

fn draw(rng: &mut Rng, interval: Duration, clock_set_back: bool) -> Fault {
    let micros = interval.as_micros() as u64;
    let mut span = |quarters: std::ops::Range<u64>| {
        Duration::from_micros(rng.within(quarters.start * micros / 4..quarters.end * micros / 4))
    };
    let (stop, pause, short) = (span(1..40), span(1..60), span(1..16));
    let (one, other) = (rng.within(0..9) as usize, rng.within(0..9) as usize);
    let cut = rng.chance(60.0).then_some(other);
    let for_ever = rng.chance(30.0);
    // With the time of day set back, only what is stored or remembered makes terms grow, so nothing is wiped.
    let wipe_or_clock = if clock_set_back {
        Fault::ClockSetBack
    } else {
        Fault::DirectoryWiped
    };
    rng.pick(&[
        (10, Fault::MasterCrashes),
        (25, Fault::MasterStops((!for_ever).then_some(stop))),
        (8, Fault::MasterOverloaded(pause)),
        (4, Fault::NextHangsBeforeRecord),
        (6, Fault::MasterYields((!for_ever).then_some(short / 4))),
        (8, Fault::MemberCrashes(one)),
        (15, Fault::MemberStops(one, pause)),
        (6, Fault::MemberJoins),
        (4, Fault::MemberLeaves(one)),
        (6, Fault::HostSuspends(pause)),
        (12, Fault::Cut(one, cut, pause)),
        (6, wipe_or_clock),
    ])
}

/// A master that stands still for less than the detection time, and a host that is suspended meanwhile: who judges by
/// old clocks kills a master that nobody has given the time to show its life.
fn hang_around_a_suspension(rng: &mut Rng, span: Duration, faults: &mut Vec<(Moment, Fault)>) {
    let at = Moment::ZERO + rng.millis(500..3000);
    let stopped = span.mul_f64(rng.within(50..95) as f64 / 100.0);
    faults.push((at, Fault::MasterStops(Some(stopped + Duration::from_millis(200)))));
    faults.push((at + stopped, Fault::HostSuspends(span * 2)));
}

/// A master that hangs for good, and members that are stopped or cannot be heard meanwhile: the hard half of rule V2.
fn hang_with_members(rng: &mut Rng, members: usize, span: Duration, faults: &mut Vec<(Moment, Fault)>) {
    let at = Moment::ZERO + rng.millis(500..2000);
    faults.push((at, Fault::MasterStops(None)));
    for member in 0..members {
        let at = at + rng.micros(0..span.as_micros() as u64 * 2);
        let long = span * rng.within(2..12) as u32;
        match rng.within(0..3) {
            0 => faults.push((at, Fault::MemberStops(member, long))),
            1 => faults.push((at, Fault::Cut(member, None, long))),
            _ => {}
        }
    }
}
