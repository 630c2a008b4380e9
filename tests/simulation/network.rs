//! The network: when a message arrives, if it does, and how often.

use std::collections::BTreeMap;

use zhit::protocol::Moment;

use crate::plan::{Cut, Network, Plan, Stall};
use crate::rng::Rng;

/// A connection, by the number that its peer has at the broker, and whether towards the broker.
pub(crate) type Link = (u32, bool);

/// What the network does.
#[derive(Debug)]
pub(crate) struct Links {
    plan: Network,
    cuts: Vec<Cut>,
    stalls: Vec<Stall>,
    rng: Rng,
    healed: bool,
    /// When the last message of each link arrives.
    last: BTreeMap<Link, Moment>,
}

impl Links {
    pub(crate) fn new(plan: &Plan) -> Self {
        Self {
            plan: plan.network.clone(),
            cuts: plan.cuts.clone(),
            stalls: plan.stalls.clone(),
            rng: Rng::of([plan.seed, 2, 2]),
            healed: false,
            last: BTreeMap::new(),
        }
    }

    /// No more faults.
    pub(crate) fn heal(&mut self) {
        self.healed = true;
    }

    /// Whether nothing arrives at or from this client or slot now.
    pub(crate) fn is_cut(&self, now: Moment, party: Option<(bool, usize)>) -> bool {
        let cut = |cut: &Cut| party == Some((cut.client, cut.index)) && cut.from <= now && now < cut.until;
        !self.healed && self.cuts.iter().any(cut)
    }

    /// When a message that is sent now arrives: not at all, once or twice.
    pub(crate) fn arrivals(&mut self, now: Moment, link: Link, client: Option<usize>) -> [Option<Moment>; 2] {
        let stall = |stall: &&Stall| link.1 && client == Some(stall.client) && stall.from <= now && now < stall.until;
        if let Some(stall) = self.stalls.iter().find(stall).filter(|_| !self.healed) {
            return [Some(now + stall.by), None];
        }
        if !self.healed && self.rng.chance(self.plan.loss) {
            return [None; 2];
        }
        let again = !self.healed && self.rng.chance(self.plan.repeat);
        [true, again].map(|comes| comes.then(|| self.arrival(now, link)))
    }

    fn arrival(&mut self, now: Moment, link: Link) -> Moment {
        let mut at = now + self.rng.micros(20..800);
        if !self.healed && self.rng.chance(self.plan.late) {
            at += self.rng.micros(1..self.plan.late_max.as_micros() as u64 + 2);
        }
        if self.healed || self.plan.in_order {
            let last = self.last.entry(link).or_default();
            at = at.max(*last);
            *last = at;
        }
        at
    }
}
