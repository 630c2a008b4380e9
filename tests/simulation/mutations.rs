//! Proof that the simulator can fail: with one rule broken, a seed notices.
#![cfg(debug_assertions)]

use zhit::protocol::mutation::{Rule, break_rule};

use crate::run::run_seed;

/// Seeds within which a broken rule must be noticed.
const SEEDS: u64 = 1000;

/// The same for rules that few seeds put to the test: brokers' deaths, long silence, sleep.
const RARE_SEEDS: u64 = 10_000;

fn a_seed_notices(rule: Rule, seeds: u64) {
    break_rule(Some(rule));
    let found = (0..seeds).find_map(|seed| run_seed(seed).err().map(|broken| (seed, broken)));
    break_rule(None);
    let Some((seed, broken)) = found else {
        panic!("{rule:?} is broken, and {seeds} seeds did not notice")
    };
    let detail: String = broken.detail.chars().take(300).collect();
    println!("{rule:?}: found by seed {seed}: {}: {detail}", broken.invariant);
}

macro_rules! noticed {
    ($seeds:ident: $($name:ident: $rule:ident),+ $(,)?) => { $(
        #[test]
        fn $name() {
            a_seed_notices(Rule::$rule, $seeds);
        }
    )+ };
}

noticed! {
    SEEDS:
    credit_ignored_is_noticed: Credit,
    s1_broken_is_noticed: S1,
    s2_broken_is_noticed: S2,
    o1_broken_is_noticed: O1,
    o6_broken_is_noticed: O6,
    o8_broken_is_noticed: O8,
    r1_broken_is_noticed: R1,
    a_lost_end_is_noticed: LostEnd,
    a_double_lease_is_noticed: DoubleLease,
}

noticed! {
    RARE_SEEDS:
    o2_broken_is_noticed: O2,
    o3_broken_is_noticed: O3,
    o4_broken_is_noticed: O4,
    o5_broken_is_noticed: O5,
    a2_broken_is_noticed: A2,
    a3_broken_is_noticed: A3,
}

/// How often each rule is noticed: for whoever works on the plan.
#[test]
#[ignore = "a tool: cargo test --test simulation how_often -- --ignored --nocapture"]
fn how_often() {
    use Rule::{Credit, DoubleLease, LostEnd, O1, O6, O8, R1, S1, S2};
    for rule in [Credit, DoubleLease, LostEnd, O1, O6, O8, R1, S1, S2] {
        break_rule(Some(rule));
        let mut found = std::collections::BTreeMap::<_, u32>::new();
        let broken = (0..SEEDS).filter_map(|seed| run_seed(seed).err());
        broken.for_each(|broken| *found.entry(broken.invariant).or_default() += 1);
        break_rule(None);
        println!("{rule:?}: {found:?}");
    }
}
