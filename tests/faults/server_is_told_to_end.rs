//! Broker and worker that are told to end: once, and what runs may finish within the grace; twice, and nothing may.

use std::time::Duration;

use rustix::process::Signal;

use crate::cluster::Host;
use crate::{ENDS, IGNORES_SIGTERM, SECOND, WAITS_FOR_GO};

#[test]
fn idle() {
    for (signal, _) in ENDS {
        let mut host = Host::serving(2, &["--", "cat"]);
        host.client(&["x"]).run().code(0);
        host.take_worker().end_by(signal).code(0).within(Duration::ZERO);
        host.wait_for_slots(0);
        host.take_broker().end_by(signal).code(0).within(Duration::ZERO);
        host.assert_nothing_left();
    }
}

#[test]
fn while_nobody_reads_its_log() {
    for (signal, _) in ENDS {
        let host = Host::new();
        let broker = host.zhit(&["broker"]).fill_stderr().start();
        host.wait_for("the broker", |_| true);
        let worker = host.zhit(&["worker"]).fill_stderr().start();
        host.wait_for_slots(1);
        host.client(&["x"]).run().code(0).wrote("World\n");
        worker.end_by(signal).code(0).within(SECOND);
        broker.end_by(signal).code(0).within(SECOND);
        host.assert_nothing_left();
    }
}

#[test]
fn worker_that_has_started_its_broker() {
    for (signal, _) in ENDS {
        let mut host = Host::new();
        host.start_worker(&[]).wait_for_stderr("started one");
        host.wait_for_slots(1);
        host.take_worker().end_by(signal).code(0).within(Duration::ZERO);
        // The broker belongs to no worker, and leaves by itself when nobody needs it (rule E5).
        host.wait_for_elected_to_leave();
        host.assert_nothing_left();
    }
}

#[test]
fn worker_whose_broker_is_gone() {
    for (signal, _) in ENDS {
        let mut host = Host::serving(2, &[]);
        // Its slots may be known before the worker itself is.
        host.worker().wait_for_stderr("serves pool");
        host.take_broker().end_by(Signal::KILL);
        host.worker().wait_for_stderr("the broker has ended");
        host.take_worker().end_by(signal).code(0).within(SECOND);
    }
}

#[test]
fn worker_lets_what_runs_finish() {
    for (signal, _) in ENDS {
        let mut host = Host::with_script(1, &["--grace", "1m"], WAITS_FOR_GO);
        let client = host.client(&["x"]).start();
        host.wait_for_file("started");
        host.worker().signal(signal);
        host.worker().wait_for_stderr("leaving");
        host.client(&["--wait", "300ms", "late"]).run().code(5);
        host.make_file("go");
        client.wait().code(0).wrote("x\n");
        host.take_worker().wait().code(0);
        host.stop();
    }
}

#[test]
fn worker_ends_what_outlasts_the_grace() {
    for (signal, _) in ENDS {
        let mut host = Host::with_script(1, &["--grace", "500ms"], WAITS_FOR_GO);
        let client = host.client(&["a", "b"]).start();
        host.wait_for_file("started");
        host.take_worker().end_by(signal).code(0).within(SECOND);
        let lost = client.wait().code(6).wrote("");
        lost.says("its worker was asked to end")
            .says("request 1 ran without an answer")
            .says("request 2 and later never ran");
        host.stop();
    }
}

#[test]
fn worker_whose_handler_ignores_sigterm() {
    // The grace is longer than the slack, so that it cannot be spent twice unseen.
    let mut host = Host::with_script(1, &["--grace", "6s"], IGNORES_SIGTERM);
    let client = host.client(&["x"]).start();
    host.wait_for_file("started");
    host.take_worker().end_by(Signal::TERM).code(0).within(7 * SECOND);
    client
        .wait()
        .code(6)
        .says("its worker was asked to end")
        .says("request 1 ran without an answer");
    host.stop();
}

#[test]
fn worker_whose_client_takes_nothing() {
    for (signal, _) in ENDS {
        let mut host = Host::with_script(1, &["--grace", "500ms"], "echo $$ > $ROOM/started; cat /dev/zero");
        let client = host.client(&["x"]).leave_stdout_unread().start();
        host.wait_for_file("started");
        host.take_worker().end_by(signal).code(0).within(SECOND);
        client.end_by(signal);
        host.stop();
    }
}

#[test]
fn broker_leaves_at_once_and_what_runs_goes_on_with_the_next() {
    for (signal, _) in ENDS {
        let mut host = Host::with_script(1, &[], WAITS_FOR_GO);
        let client = host.client(&["x"]).start();
        host.wait_for_file("started");
        host.take_broker().end_by(signal).code(0).within(Duration::ZERO);
        host.wait_for("the Hit at the next broker", |pong| {
            pong.workers.iter().any(|worker| worker.busy == 1)
        });
        host.make_file("go");
        client.wait().code(0).wrote("x\n").quiet();
        host.stop();
    }
}

#[test]
fn worker_twice() {
    for (signal, code) in ENDS {
        // The handler's group is more than its leader.
        let script = "trap '' TERM; echo $$ > $ROOM/started; sleep 1000 | cat";
        let mut host = Host::with_script(1, &["--grace", "1m"], script);
        let client = host.client(&["x"]).start();
        host.wait_for_file("started");
        host.worker().signal(signal);
        host.worker().wait_for_stderr("to finish");
        let ended = host.take_worker().end_by(signal).within(Duration::ZERO);
        assert!([0, code].contains(&ended.code), "{}", ended.code);
        client.wait().code(6).says("its worker was asked to end").within(SECOND);
        host.stop();
    }
}
