//! Who is stopped (SIGSTOP) and goes on later.

use rustix::process::{Pid, Signal, kill_process};

use crate::cluster::Host;
use crate::{QUICK, SECOND, WAITS_FOR_GO};

#[test]
fn a_silent_worker_is_told_of_and_waited_for() {
    let mut host = Host::new();
    host.start_broker(&QUICK);
    host.start_worker(&[&QUICK[..], &["--", "sh", "-c", WAITS_FOR_GO]].concat());
    host.wait_for_slots(1);
    let mut client = host.client(&[&QUICK[..], &["x"]].concat()).start();
    host.wait_for_file("started");
    host.worker().signal(Signal::STOP);
    client.wait_for_stderr("alpha/w1/1 has been silent for");
    host.make_file("go");
    assert!(client.is_running(), "it waits");
    host.worker().signal(Signal::CONT);
    client.wait().code(0).wrote("x\n");
    host.stop();
}

#[test]
fn a_stopped_handler_is_told_of_and_waited_for() {
    let host = Host::with_script(1, &QUICK, WAITS_FOR_GO);
    let mut client = host.client(&[&QUICK[..], &["x"]].concat()).start();
    let handler = host.wait_for_file("started");
    signal(&handler, Signal::STOP);
    client.wait_for_stderr("the handler on alpha/w1/1 is stopped");
    // Rule A2 (b): it counts as hung for whoever looks.
    host.wait_for("the hung slot", |pong| {
        pong.workers.iter().any(|worker| worker.hung == 1)
    });
    let shown = host.zhit(&["ping"]).run().code(3);
    assert!(shown.text().contains("1 slot hung"), "{}", shown.text());
    host.make_file("go");
    assert!(client.is_running(), "it waits");
    signal(&handler, Signal::CONT);
    client.wait().code(0).wrote("x\n");
    host.wait_for("nobody hung", |pong| pong.workers.iter().all(|worker| worker.hung == 0));
    host.zhit(&["ping"]).run().code(0);
    host.stop();
}

#[test]
fn a_stopped_worker_is_shown_as_hung_and_gets_no_hit() {
    let mut host = Host::new();
    host.start_broker(&QUICK);
    let script = [&QUICK[..], &["--slots", "2", "--", "sh", "-c", WAITS_FOR_GO]].concat();
    host.start_worker(&script);
    host.wait_for_slots(2);
    let first = host.client(&[&QUICK[..], &["x"]].concat()).start();
    host.wait_for_file("started");
    host.worker().signal(Signal::STOP);
    host.wait_for("the hung slot", |pong| {
        pong.workers.iter().any(|worker| worker.hung == 1)
    });
    let shown = host.zhit(&["ping"]).run().code(3);
    assert!(shown.text().contains("hung"), "{}", shown.text());
    // Its other slot is idle, and is not leased: it could not serve.
    let second = host.client(&["--wait", "300ms", "x"]).run().code(5);
    second.says("1 of 2 slots");
    host.make_file("go");
    host.worker().signal(Signal::CONT);
    first.wait().code(0).wrote("x\n");
    host.wait_for_slots(2);
    host.zhit(&["ping"]).run().code(0);
    host.stop();
}

/// A handler that computes for longer than patience, and says nothing, is not hung.
#[test]
fn who_merely_takes_long_is_not_hung() {
    let host = Host::with_script(1, &QUICK, WAITS_FOR_GO);
    let client = host.client(&[&QUICK[..], &["x"]].concat()).start();
    host.wait_for_file("started");
    let began = zhit::clock::now();
    host.wait_for("twice patience, and nobody hung", |pong| {
        assert!(pong.workers.iter().all(|worker| worker.hung == 0), "{pong:?}");
        zhit::clock::now().since(began) > 2 * SECOND
    });
    host.make_file("go");
    client.wait().code(0).quiet().wrote("x\n");
    host.stop();
}

fn signal(pid: &str, signal: Signal) {
    let pid = pid.parse().ok().and_then(Pid::from_raw).expect("a pid");
    kill_process(pid, signal).expect("a handler of ours");
}

#[test]
fn a_client_that_was_stopped_goes_on() {
    let host = Host::with_script(1, &[], WAITS_FOR_GO);
    let mut client = host.client(&["x"]).start();
    host.wait_for_file("started");
    client.signal(Signal::STOP);
    host.make_file("go");
    host.wait_for_handlers_end_but(client.pid());
    client.signal(Signal::CONT);
    client.wait().code(0).quiet().wrote("x\n");
    host.stop();
}

#[test]
fn a_broker_that_was_stopped_goes_on() {
    // For less than it takes to suspect it.
    let mut host = Host::with_script(1, &[], WAITS_FOR_GO);
    let client = host.client(&["x"]).start();
    host.wait_for_file("started");
    host.broker().signal(Signal::STOP);
    host.make_file("go");
    host.wait_for_handlers_end_but(client.pid());
    host.broker().signal(Signal::CONT);
    client.wait().code(0).wrote("x\n");
    host.wait_for_slots(1);
    host.stop();
}
