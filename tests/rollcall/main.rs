//! Broadcasts and the mesh, simulated: the very machines that ship, on one host or some, on a network that loses, repeats and
//! delays, with links that are cut, and brokers and workers that die, hang, leave and come late.
//!
//! `ZHIT_SIM_SEED=N cargo test --test rollcall every_seed` replays one seed with its trace; `ZHIT_SIM_SEEDS=N` runs as many.

#[path = "../simulation/rng.rs"]
#[allow(dead_code, reason = "this simulator uses a part of it")]
mod rng;

mod faults;
mod host;
mod issuer;
mod judge;
mod mail;
mod network;
mod trouble;
mod views;
mod worker;
mod world;

use std::panic::catch_unwind;

use world::World;
use zhit::protocol::mutation::{Rule, break_rule};

/// Seeds of an ordinary run.
const SEEDS: u64 = 3000;

/// Seeds within which each rule that is taken out must be missed.
const SEEDS_TO_FIND: u64 = 1000;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn no_seed_breaks_a_promise() {
    if let Some(seed) = number("ZHIT_SIM_SEED") {
        return World::new(seed, true).run();
    }
    for seed in 0..number("ZHIT_SIM_SEEDS").unwrap_or(SEEDS) {
        if let Err(why) = catch_unwind(|| World::new(seed, false).run()) {
            println!("seed {seed}: replay it with ZHIT_SIM_SEED={seed} cargo test --test rollcall");
            std::panic::resume_unwind(why);
        }
    }
}

/// The first seed that notices that a rule is broken.
fn found(rule: Rule) -> Option<u64> {
    (0..SEEDS_TO_FIND).find(|seed| {
        break_rule(Some(rule));
        let ended = catch_unwind(|| World::new(*seed, false).run());
        break_rule(None);
        ended.is_err()
    })
}

#[test]
fn a_seed_misses_each_rule_that_is_taken_out() {
    for rule in [Rule::B1, Rule::B2, Rule::B4, Rule::CountedTwice, Rule::A3] {
        let seed = found(rule).unwrap_or_else(|| panic!("no seed misses {rule:?}"));
        println!("{rule:?} is missed by seed {seed}");
    }
}
