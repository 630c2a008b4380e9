//! The simulator: clients, slots and a broker, as the very machines that ship, on a simulated network and clock, from a
//! seed. Faults first; then the network heals and everything must finish.
//!
//! `ZHIT_SIM_SEEDS=100000 cargo test --test simulation` runs more seeds, `ZHIT_SIM_SEED=7` one.

mod acts;
mod credit;
mod handler;
mod invariants;
mod lines;
mod mutations;
mod network;
mod nodes;
mod pages;
mod plan;
mod rng;
mod run;
mod trace;
mod world;

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use run::{run_seed, story, tell};
use world::{Summary, Tally};

/// Seeds of the clean run, unless `ZHIT_SIM_SEEDS` says otherwise.
const SEEDS: u64 = 4000;

fn number_from(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{variable} must be a number, not {text:?}")),
    )
}

#[test]
fn every_seed_keeps_the_promises() {
    if let Some(seed) = number_from("ZHIT_SIM_SEED") {
        match run_seed(seed) {
            Err(broken) => panic!("{}", tell(seed, &broken)),
            Ok(summary) => println!("{summary:#?}\n{}", story(seed)),
        }
        return;
    }
    let seeds = number_from("ZHIT_SIM_SEEDS").unwrap_or(SEEDS);
    let next = AtomicU64::new(0);
    let tally = Mutex::new(Tally::new());
    let failed = AtomicU64::new(u64::MAX);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while failed.load(Ordering::Relaxed) == u64::MAX {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds {
                        break;
                    }
                    match run_seed(seed) {
                        Ok(summary) => add(&tally, &summary),
                        Err(_) => drop(failed.fetch_min(seed, Ordering::Relaxed)),
                    }
                }
            });
        }
    });
    let failed = failed.into_inner();
    if failed != u64::MAX {
        let broken = run_seed(failed).expect_err("a seed fails again");
        panic!("{}", tell(failed, &broken));
    }
    println!(
        "{seeds} seeds: {:#?}",
        tally.into_inner().expect("no thread has panicked")
    );
}

/// Adds up what happened.
fn add(all: &Mutex<Tally>, one: &Summary) {
    let mut all = all.lock().expect("no thread has panicked");
    *all.entry("events".to_owned()).or_default() += one.events;
    one.tally
        .iter()
        .for_each(|(what, times)| *all.entry(what.clone()).or_default() += times);
}

#[test]
fn a_seed_replays_identically() {
    for seed in 0..40 {
        let [first, second] = [run_seed(seed), run_seed(seed)].map(|run| run.map_err(|broken| broken.detail));
        assert_eq!(first, second, "seed {seed}");
    }
}

/// Which invariants break, how often, and the first seeds of each; and which seeds have what `ZHIT_SIM_WANTED` names in
/// their tally. For whoever works on the machines.
#[test]
#[ignore = "a tool: cargo test --test simulation survey -- --ignored --nocapture"]
fn survey() {
    let wanted = std::env::var("ZHIT_SIM_WANTED").ok();
    let mut found = std::collections::BTreeMap::new();
    let mut last = zhit::protocol::Moment::ZERO;
    for seed in 0..number_from("ZHIT_SIM_SEEDS").unwrap_or(SEEDS) {
        match run_seed(seed) {
            Ok(summary) => {
                last = last.max(summary.ended_at);
                if summary
                    .tally
                    .keys()
                    .any(|key| wanted.as_ref().is_some_and(|wanted| key.contains(wanted)))
                {
                    println!("wanted: seed {seed}");
                }
            }
            Err(broken) => found.entry(broken.invariant).or_insert_with(Vec::new).push(seed),
        }
    }
    println!("the longest clean seed ended at {last:?}");
    for (invariant, seeds) in found {
        println!(
            "{} times {invariant}: seeds {:?}",
            seeds.len(),
            &seeds[..seeds.len().min(10)]
        );
    }
}
