//! Proof that the simulator can fail: with one rule broken, a seed notices.
#![cfg(debug_assertions)]

use zhit::protocol::mutation::{Rule, break_rule};

use crate::run::run_seed;

/// Seeds within which a broken rule must be noticed.
const SEEDS: u64 = 10_000;

fn a_seed_notices(rule: Rule) {
    break_rule(Some(rule));
    let found = (0..SEEDS).find_map(|seed| run_seed(seed).err().map(|broken| (seed, broken)));
    break_rule(None);
    let Some((seed, broken)) = found else {
        panic!("{rule:?} is broken, and {SEEDS} seeds did not notice")
    };
    println!(
        "{rule:?}: found by seed {seed}: {}: {}",
        broken.invariant, broken.detail
    );
}

macro_rules! noticed {
    ($($name:ident: $rule:ident),+ $(,)?) => { $(
        #[test]
        fn $name() {
            a_seed_notices(Rule::$rule);
        }
    )+ };
}

noticed! {
    a3_broken_is_noticed: A3,
    e2_broken_is_noticed: E2,
    v1_broken_is_noticed: V1,
    v2_broken_is_noticed: V2,
    v3_broken_is_noticed: V3,
}
