//! A worker that keeps no journal (rule O7): what nobody can know is said.

use rustix::process::Signal;

use crate::SECOND;
use crate::cluster::Process;
use crate::pairing::{Pairing, Side};

/// A host with a worker in Python that is stopped with a lease on its way to it, and a client that has not heard of it.
fn leased_to_one_that_is_stopped(client: Side) -> Option<(Pairing, Process)> {
    let mut pairing = Pairing::new(client, Side::Python)?;
    pairing.obeys(1);
    pairing.host.worker().signal(Signal::STOP);
    let client = pairing.client(&["--wait", "20s", "wait"]).start();
    pairing
        .host
        .wait_for("the lease", |pong| pong.workers.iter().any(|worker| worker.busy == 1));
    pairing.kill_broker();
    Some((pairing, client))
}

#[test]
fn a_repeated_open_after_a_brokers_death_may_have_run() {
    let Some((mut pairing, client)) = leased_to_one_that_is_stopped(Side::Rust) else {
        return;
    };
    let ended = client.wait().code(6).wrote("").within(5 * SECOND);
    ended.says("request 1 may have run without an answer");
    // The lease of the dead broker lies in the worker's socket: it is of a stale term and runs nothing.
    pairing.host.worker().signal(Signal::CONT);
    pairing.wait_until_idle(1);
    pairing.client(&["x"]).run().code(0).wrote("x\n");
    assert!(!pairing.host.room().join("started").exists(), "a stale lease ran");
    pairing.stop();
}

#[test]
fn so_it_is_if_the_worker_dies_as_well() {
    let Some((mut pairing, client)) = leased_to_one_that_is_stopped(Side::Rust) else {
        return;
    };
    pairing.take_worker().end_by(Signal::KILL);
    let ended = client.wait().code(6).wrote("").within(5 * SECOND);
    ended.says("request 1 may have run without an answer");
    pairing.stop();
}

/// The client in Python sends no bytes before it has heard of its slot, so it knows that none of them ran.
#[test]
fn a_client_that_sent_nothing_knows_that_nothing_ran() {
    let Some((mut pairing, client)) = leased_to_one_that_is_stopped(Side::Python) else {
        return;
    };
    pairing.take_worker().end_by(Signal::KILL);
    let ended = client.wait().code(6).wrote("").within(5 * SECOND);
    ended.says("answered: none; may have run without an answer: none");
    pairing.stop();
}
