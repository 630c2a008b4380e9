//! The simulator of elections: the members of one host, each with the very machines that ship, and its broker processes,
//! lock, record and pids, on a simulated clock, from a seed. Faults first; then they stop, and a master must serve.
//!
//! `ZHIT_SIM_SEEDS=100000 cargo test --test election` runs more seeds, `ZHIT_SIM_SEED=7` one.

mod host;
mod member;
mod mutations;
mod observer;
mod plan;
mod process;
#[path = "../simulation/rng.rs"]
#[allow(dead_code, reason = "the other simulator draws more")]
mod rng;
mod run;
mod scenarios;
mod verdict;
mod world;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use run::{run_seed, story, tell};

/// Seeds of the clean run, unless `ZHIT_SIM_SEEDS` says otherwise.
const SEEDS: u64 = 10_000;

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
    let failed = AtomicU64::new(u64::MAX);
    let all = Mutex::new(BTreeMap::<&'static str, u64>::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while failed.load(Ordering::Relaxed) == u64::MAX {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds {
                        break;
                    }
                    match run_seed(seed) {
                        Err(_) => drop(failed.fetch_min(seed, Ordering::Relaxed)),
                        Ok(summary) => {
                            let mut all = all.lock().expect("no thread has panicked");
                            let tally = summary.tally.iter();
                            tally.for_each(|(what, times)| *all.entry(what).or_default() += times);
                        }
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
        all.into_inner().expect("no thread has panicked")
    );
}

#[test]
fn a_seed_replays_identically() {
    for seed in 0..100 {
        let [first, second] = [(); 2].map(|()| run_seed(seed).map_err(|broken| broken.detail));
        assert_eq!(first, second, "seed {seed}");
    }
}

/// Which invariants break, how often, and the first seeds of each. For whoever works on the machines.
#[test]
#[ignore = "a tool: cargo test --test election survey -- --ignored --nocapture"]
fn survey() {
    let mut found = BTreeMap::new();
    for seed in 0..number_from("ZHIT_SIM_SEEDS").unwrap_or(SEEDS) {
        if let Err(broken) = run_seed(seed) {
            found.entry(broken.invariant).or_insert_with(Vec::new).push(seed);
        }
    }
    for (invariant, seeds) in found {
        let first = &seeds[..seeds.len().min(10)];
        println!("{} times {invariant}: seeds {first:?}", seeds.len());
    }
}
