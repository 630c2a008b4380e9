//! Runs a seed, and tells what happened when it fails.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

use crate::invariants::Broken;
use crate::plan::Plan;
use crate::world::{Summary, World};

thread_local! {
    /// What a panic of this thread said, while a seed runs: not listening, nothing said, said.
    #[expect(clippy::option_option, reason = "three states, each needed")]
    static PANIC: RefCell<Option<Option<String>>> = const { RefCell::new(None) };
}

/// A seed that fails by a panic is no test that fails: what it says is kept, not printed.
fn keep_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let kept = PANIC.with_borrow_mut(|panic| panic.as_mut().map(|said| *said = Some(info.to_string())));
            if kept.is_none() {
                usual(info);
            }
        }));
    });
}

fn run_world(world: &mut World) -> Result<Summary, Broken> {
    keep_panics();
    PANIC.set(Some(None));
    let result = catch_unwind(AssertUnwindSafe(|| world.run()));
    let said = PANIC.take().flatten();
    result.unwrap_or_else(|_| {
        Err(Broken {
            invariant: "no machine panics",
            detail: said.unwrap_or_default(),
        })
    })
}

/// Runs a seed to its end.
pub(crate) fn run_seed(seed: u64) -> Result<Summary, Broken> {
    run_world(&mut World::new(Plan::new(seed), false))
}

/// Everything that is needed to understand a failure: the seed is run once more, with its trace.
pub(crate) fn tell(seed: u64, broken: &Broken) -> String {
    let mut world = World::new(Plan::new(seed), true);
    let again = run_world(&mut world);
    let same = again.is_err_and(|again| again.detail == broken.detail);
    format!(
        "seed {seed} breaks \"{}\": {}\n{:#?}\n{}{}\nreplay: ZHIT_SIM_SEED={seed} cargo test --test simulation every_seed",
        broken.invariant,
        broken.detail,
        world.plan,
        world.trace.text(),
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
    let _ = run_world(&mut world);
    world.trace.text()
}
