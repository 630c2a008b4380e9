//! Who is stopped (SIGSTOP) and goes on later.

use rustix::process::Signal;

use crate::cluster::Host;
use crate::{QUICK, WAITS_FOR_GO};

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
    let mut host = Host::with_script(1, &QUICK, WAITS_FOR_GO);
    let client = host.client(&[&QUICK[..], &["x"]].concat()).start();
    host.wait_for_file("started");
    host.broker().signal(Signal::STOP);
    host.worker().wait_for_stderr("the broker is silent");
    host.make_file("go");
    host.wait_for_handlers_end_but(client.pid());
    host.broker().signal(Signal::CONT);
    client.wait().code(0).wrote("x\n");
    host.wait_for_slots(1);
    host.stop();
}
