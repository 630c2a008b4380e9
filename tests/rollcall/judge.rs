//! What is promised, and whether it was kept: books, rosters, verdicts. What is promised of the mesh is in `views.rs`.

use std::collections::BTreeMap;
use std::time::Duration;

use zhit::broadcast::gather::{Gather, Phase};
use zhit::broadcast::seat::{Seat, Verdict};
use zhit::protocol::Moment;
use zhit::protocol::ids::Member;

use crate::host::Host;
use crate::issuer::Issuer;
use crate::network::{ISSUER_CALLS, Network};
use crate::trouble::Trouble;
use crate::views::View;
use crate::worker::Worker;
use crate::world::{Clock, INTERVAL, LIVENESS, PATIENCE, place_of};

/// How long a way must be sound to be of use, and how long it is in trouble when who waits at its end may say that it was so for
/// patience: his last question may have been asked just before.
const SPANS: (Duration, Duration) = (Duration::from_millis(700), Duration::from_millis(1400));

/// The same where messages are lost.
const SPANS_LOSSY: (Duration, Duration) = (Duration::from_millis(1500), Duration::from_millis(1000));

/// As in `src/broadcast/gather.rs`: whoever stands still for longer starts his clocks anew.
const STANDSTILL: Duration = Duration::from_millis(INTERVAL.as_millis() as u64 + 250);

/// What was so until then may still be said.
const LATELY: Duration = Duration::from_millis(1500);

pub(crate) struct Judge {
    clock: Clock,
    pub(crate) lossy: bool,
    settled: BTreeMap<(usize, Member), u32>,
    /// Those that the issuer has settled in this step.
    verdicts: Vec<Seat>,
    roster: Option<Vec<(usize, Member)>>,
    /// From the issuer to the broker of each host.
    paths: Vec<Trouble>,
    /// From the broker of one host to that of another.
    links: BTreeMap<(usize, usize), Trouble>,
    pub(crate) views: BTreeMap<(usize, usize), View>,
    issuer_stood: (Moment, Duration),
}

fn host_of(seat: &Seat) -> usize {
    place_of(&seat.host).expect("a host")
}

fn roster_of(gather: &Gather) -> Vec<(usize, Member)> {
    let seats = gather.seats().iter();
    seats.map(|seat| (host_of(seat), seat.member)).collect()
}

impl Judge {
    pub(crate) fn new(clock: Clock, hosts: usize, lossy: bool) -> Self {
        let pairs = (0..hosts).flat_map(|a| (0..hosts).map(move |b| (a, b)));
        let pairs: Vec<_> = pairs.filter(|(a, b)| a != b).collect();
        Self {
            clock,
            lossy,
            settled: BTreeMap::new(),
            verdicts: Vec::new(),
            roster: None,
            paths: vec![Trouble::default(); hosts],
            links: pairs.iter().map(|pair| (*pair, Trouble::default())).collect(),
            views: pairs.iter().map(|pair| (*pair, View::default())).collect(),
            issuer_stood: (clock.now, Duration::ZERO),
        }
    }

    /// How long a way must be sound to be of use, and what is long.
    const fn spans(&self) -> (Duration, Duration) {
        if self.lossy { SPANS_LOSSY } else { SPANS }
    }

    /// What is sound now and what is not.
    pub(crate) fn look(&mut self, clock: Clock, hosts: &[Host], issuer: &Issuer, net: &Network) {
        self.clock = clock;
        let spans = self.spans();
        let through = issuer.through.unwrap_or(0);
        let is_near = issuer.through.is_none_or(|host| net.is_sound(ISSUER_CALLS, host));
        let is_near = is_near && hosts[through].serves() && !issuer.is_paused();
        for host in hosts {
            let there = host.place;
            let is_far = there == through || (net.is_sound(through, there) && host.serves());
            self.paths[there].look(clock.now, is_near && is_far, spans);
        }
        for ((by, of), link) in &mut self.links {
            link.look(clock.now, net.is_sound(*by, *of) && hosts[*of].serves(), spans);
        }
    }

    /// A broker begins, and knows nothing of the others.
    pub(crate) fn began(&mut self, now: Moment, host: usize) {
        for ((by, _), link) in &mut self.links {
            if *by == host {
                link.restart();
            }
        }
        self.views_begin(now, host);
    }

    /// A broker has stood still for so long.
    pub(crate) fn woke(&mut self, now: Moment, host: usize, stood: Duration) {
        if stood > INTERVAL * 2 {
            let mine = self.links.iter_mut().filter(|((by, _), _)| *by == host);
            mine.for_each(|(_, link)| link.restart());
        }
        self.views_wake(now, host, stood);
    }

    pub(crate) fn issuer_woke(&mut self, now: Moment, stood: Duration) {
        if stood > STANDSTILL {
            self.paths.iter_mut().for_each(Trouble::restart);
        }
        self.issuer_stood = (now, stood);
    }

    /// The issuer has given up, having heard nothing at all.
    pub(crate) fn nobody_reached(&self, now: Moment) {
        let stood = now.since(self.issuer_stood.0) < PATIENCE && self.issuer_stood.1 > Duration::ZERO;
        let trouble = self.paths[0].was_long(now, Duration::from_secs(1));
        assert!(stood || trouble, "there was a broker");
    }

    /// After each step of the issuer: the books balance (rule B4), and the roster is what it was (rule B1).
    pub(crate) fn check(&mut self, gather: &Gather) {
        let books = gather.books();
        assert!(books.balance(), "{books:?}");
        let waiting = gather.seats().iter().filter(|seat| seat.verdict.is_none()).count();
        assert_eq!(books.outstanding, waiting, "{books:?}");
        assert_eq!(books.expected, gather.seats().len(), "{books:?}");
        if gather.phase() != Phase::Rolling {
            let roster = roster_of(gather);
            let pinned = self.roster.get_or_insert_with(|| roster.clone());
            assert_eq!(roster, *pinned, "the roster has changed");
        }
    }

    pub(crate) fn settled(&mut self, seat: &Seat) {
        let times = self.settled.entry((host_of(seat), seat.member)).or_default();
        *times += 1;
        assert_eq!(*times, 1, "{} is settled again: {:?}", seat.name(), seat.verdict);
        self.verdicts.push(seat.clone());
    }

    /// What was settled in this step is the truth.
    pub(crate) fn judge(&mut self, hosts: &[Host]) {
        for seat in std::mem::take(&mut self.verdicts) {
            self.judge_one(hosts, &seat);
        }
        for worker in hosts.iter().flat_map(Host::all) {
            assert!(worker.runs <= 1, "{} ran it {} times", worker.name(), worker.runs);
        }
    }

    fn judge_one(&self, hosts: &[Host], seat: &Seat) {
        let host = host_of(seat);
        let verdict = seat.verdict.as_ref().expect("a verdict");
        let what = format!("{}: {verdict:?}", seat.name());
        if let Verdict::Unreachable(why) = verdict {
            let is_whole = seat.member == Member::default();
            return assert!(self.was_unreachable(host, why, is_whole), "{what}");
        }
        let mut all = hosts[host].all();
        let worker = all.find(|worker| worker.member == seat.member).expect("it was there");
        self.judge_worker(worker, seat, &what);
    }

    fn judge_worker(&self, worker: &Worker, seat: &Seat, what: &str) {
        match seat.verdict.as_ref().expect("a verdict") {
            Verdict::Ok | Verdict::Failed(..) => {
                assert_eq!(seat.reply, worker.reply(), "{what}");
                assert_eq!(worker.runs, 1, "{what}");
            }
            Verdict::Dead(_) => assert!(!worker.alive && !worker.left, "{what}"),
            Verdict::Left(_) => assert!(worker.left, "{what}"),
            Verdict::Hung(_) => {
                let stands = [worker.paused, worker.stopped];
                let long = stands.iter().any(|stop| stop.was_long(self.clock.now));
                assert!(long, "{what}: it did not stand still for long");
            }
            Verdict::Skipped => assert_eq!(worker.runs, 0, "{what}"),
            Verdict::Unreachable(_) => {}
        }
    }

    /// Rule B3: its broker, or a way to it, was in trouble for about patience.
    fn was_unreachable(&self, host: usize, why: &str, is_whole: bool) -> bool {
        let now = self.clock.now;
        let mut within = LATELY;
        if is_whole {
            // It was so when it was found; meanwhile other hosts were asked, and perhaps the issuer stood still.
            within += PATIENCE;
            let stood = now.since(self.issuer_stood.0) < within;
            within += if stood { self.issuer_stood.1 } else { Duration::ZERO };
        }
        let said_by = why.rsplit_once("says ").map(|(_, name)| name);
        let said_by = said_by.and_then(place_of);
        match said_by {
            Some(by) => self.links[&(by, host)].was_long(now, within),
            None => self.paths[host].was_long(now, within),
        }
    }

    /// It is over: everybody on the roster is settled.
    pub(crate) fn close(&mut self, issuer: &Issuer) {
        if issuer.gave_up {
            return;
        }
        self.check(&issuer.gather);
        let roster = self.roster.clone().unwrap_or_default();
        for who in &roster {
            assert_eq!(self.settled.get(who), Some(&1), "{who:?}");
        }
        assert_eq!(
            self.settled.len(),
            roster.len(),
            "one is settled who is not on the roster"
        );
    }

    /// Within what time a broker must hear from another one to name it.
    pub(crate) const fn liveness() -> Duration {
        Duration::from_millis(INTERVAL.as_millis() as u64 * LIVENESS as u64)
    }
}
