//! Runs a seed, and tells what happened when it fails.

use crate::observer::Broken;
use crate::plan::Plan;
use crate::world::{Summary, World};

/// Runs a seed to its end.
pub(crate) fn run_seed(seed: u64) -> Result<Summary, Broken> {
    World::new(Plan::new(seed), false).run()
}

/// Everything that is needed to understand a failure: the seed is run once more, with its trace.
pub(crate) fn tell(seed: u64, broken: &Broken) -> String {
    let mut world = World::new(Plan::new(seed), true);
    let again = world.run();
    let same = again.is_err_and(|again| again.detail == broken.detail);
    format!(
        "seed {seed} breaks \"{}\": {}\n{:#?}\n{}\n{}replay: ZHIT_SIM_SEED={seed} cargo test --test election every_seed",
        broken.invariant,
        broken.detail,
        world.plan,
        world.text(),
        if same {
            ""
        } else {
            "the second run went another way: something is not deterministic\n"
        },
    )
}

/// The trace of a seed that holds.
pub(crate) fn story(seed: u64) -> String {
    let mut world = World::new(Plan::new(seed), true);
    let _ = world.run();
    world.text()
}
