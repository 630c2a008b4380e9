//! Waiting for a broker and a slot.

use std::time::Duration;

use crate::cluster::Host;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn without_a_broker_it_is_a_4() {
    let host = Host::new();
    let ended = host.client(&["--wait", "300ms", "x"]).run().code(4).wrote("");
    ended
        .says("no broker reached")
        .says("zhit worker -- CMD")
        .within(SECOND);
    let at_once = host.client(&["--wait", "0s", "x"]).run().code(4);
    at_once.within(Duration::ZERO);
    assert!(!host.runtime_base().exists(), "a client makes no directory");
}

#[test]
fn a_pool_without_workers_is_a_5() {
    let host = Host::serving(1, &[]);
    let ended = host
        .client(&["--pool", "empty", "--wait", "300ms", "x"])
        .run()
        .code(5)
        .wrote("");
    ended
        .says("no worker serves pool")
        .says("zhit worker --pool")
        .within(SECOND);
    host.stop();
}

#[test]
fn a_pool_whose_slots_are_taken_is_a_5_that_says_so() {
    let host = Host::with_script(
        1,
        &[],
        "echo started > $ROOM/started; until [ -e $ROOM/go ]; do sleep 0.01; done",
    );
    let first = host.client(&["x"]).start();
    host.wait_for_file("started");
    let ended = host.client(&["--wait", "300ms", "x"]).run().code(5).wrote("");
    ended.says("1 of 1 slots are leased").says("--wait").within(SECOND);
    host.make_file("go");
    first.wait().code(0);
    host.stop();
}

#[test]
fn no_wait_at_all_still_takes_an_idle_slot() {
    let host = Host::serving(1, &[]);
    host.client(&["--wait", "0s", "x"]).run().code(0).wrote("World\n");
    host.stop();
}

#[test]
fn a_client_waits_for_broker_and_worker_to_come() {
    let mut host = Host::new();
    let client = host.client(&["--wait", "30s", "x"]).start();
    host.start_broker(&[]);
    host.wait_for("the client in line", |pong| pong.queued == 1);
    host.start_worker(&[]);
    client.wait().code(0).quiet().wrote("World\n");
    host.stop();
}

#[test]
fn a_worker_alone_is_enough() {
    let mut host = Host::new();
    let client = host.client(&["--wait", "30s", "x"]).start();
    host.start_worker(&["--slots", "2"]).wait_for_stderr("started one");
    client.wait().code(0).quiet().wrote("World\n");
    host.wait_for_slots(2);
    host.stop();
}

#[test]
fn those_who_wait_are_served_in_order() {
    let script = "read word; echo $word >> $ROOM/order; until [ -e $ROOM/go ]; do sleep 0.01; done";
    let host = Host::with_script(1, &[], script);
    let mut clients = Vec::new();
    for number in 0..4_u32 {
        clients.push(host.client(&["--wait", "30s", &format!("{number}\n")]).start());
        host.wait_for("one more in line", |pong| {
            pong.queued == number && pong.workers.iter().any(|worker| worker.busy == 1)
        });
    }
    host.make_file("go");
    for client in clients {
        client.wait().code(0);
    }
    assert_eq!(host.wait_for_file("order"), "0\n1\n2\n3");
    host.stop();
}
