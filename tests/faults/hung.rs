//! A broker that hangs: members vote, kill it, and elect the next; or cannot, and say why.

use std::fs;

use rustix::process::{Pid, Signal, kill_process};

use crate::cluster::{Host, Process, eventually};
use crate::{QUICK, SECOND, WAITS_FOR_GO};

fn signal(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a pid");
    kill_process(pid, signal).expect("a process of ours");
}

/// A host with so many electing workers; the first serves with this script.
fn elected(workers: usize, script: &str) -> Host {
    elected_with(&QUICK, workers, script)
}

fn elected_with(timing: &[&str], workers: usize, script: &str) -> Host {
    let mut host = Host::new();
    host.start_worker(&[timing, &["--", "sh", "-c", script]].concat());
    host.wait_for_slots(1);
    for _ in 1..workers {
        host.start_worker(&[timing, &["--pool", "others"]].concat());
    }
    host.wait_for_slots(workers as u32);
    host
}

/// Waits for another broker than this one, and for so many workers at it.
fn next_broker(host: &Host, before: u32, workers: usize) {
    host.wait_for("the next broker", |pong| {
        pong.pid != before && pong.workers.len() >= workers
    });
}

fn trail(host: &Host) -> String {
    let path = host.runtime_dir().join("broker.trail");
    eventually("a trail", || fs::read_to_string(&path).ok())
}

#[test]
fn eight_workers_end_a_stopped_broker_and_no_hit_is_harmed() {
    let host = elected_with(&[], 8, WAITS_FOR_GO);
    let client = host.client(&["a", "b"]).start();
    host.wait_for_file("started");
    let broker = host.elected().expect("a broker");
    signal(broker, Signal::STOP);
    next_broker(&host, broker, 8);
    host.make_file("go");
    client.wait().code(0).wrote("a\nb\n");
    let trail = eventually("the trail's end", || {
        Some(trail(&host)).filter(|trail| trail.contains("elected, pid"))
    });
    for part in [
        &format!("master alpha/{broker} term "),
        "of 8 voted hung (beat still for ",
        ", state T; killed; term ",
    ] {
        assert!(trail.contains(part), "{part} in {trail}");
    }
    let shown = host.zhit(&["ping"]).run().code(0);
    assert!(shown.text().contains("last verdict: master alpha/"), "{}", shown.text());
    host.stop();
}

#[test]
fn without_a_quorum_nobody_kills_until_the_silent_are_excused() {
    let mut host = elected(8, WAITS_FOR_GO);
    let broker = host.elected().expect("a broker");
    let mut stopped: Vec<Process> = (0..5).map(|_| host.take_worker()).collect();
    for worker in &mut stopped {
        worker.signal(Signal::STOP);
    }
    signal(broker, Signal::STOP);
    // Three of eight are no majority. Two patiences later those who do not answer, and whose loops stand still, do not
    // count any more (rule V2).
    let why = eventually("the reason why nobody kills", || {
        Some(trail(&host)).filter(|trail| trail.contains("no quorum, "))
    });
    assert!(why.contains("of 8, 5 needed"), "{why}");
    next_broker(&host, broker, 3);
    for worker in &mut stopped {
        worker.signal(Signal::CONT);
    }
    host.wait_for("all of them", |pong| pong.workers.len() == 8);
    for worker in stopped {
        worker.end_by(Signal::TERM).code(0);
    }
    host.stop();
}

#[test]
fn of_two_workers_one_stopped_the_host_recovers() {
    let mut host = elected(2, "cat");
    let broker = host.elected().expect("a broker");
    let mut other = host.take_worker();
    other.signal(Signal::STOP);
    signal(broker, Signal::STOP);
    next_broker(&host, broker, 1);
    host.client(&["x"]).run().code(0).wrote("x\n");
    other.signal(Signal::CONT);
    host.wait_for("both", |pong| pong.workers.len() == 2);
    other.end_by(Signal::TERM).code(0);
    host.stop();
}

#[test]
fn a_broker_that_is_stopped_for_a_moment_is_not_killed() {
    let host = elected(3, "cat");
    let broker = host.elected().expect("a broker");
    for _ in 0..5 {
        signal(broker, Signal::STOP);
        host.client(&["--wait", "100ms", "x"]).run();
        signal(broker, Signal::CONT);
        host.client(&["x"]).run().code(0).wrote("x\n");
    }
    assert_eq!(host.elected(), Some(broker));
    host.stop();
}

#[test]
fn one_that_wakes_after_its_directory_was_wiped_says_no_word() {
    let mut host = Host::new();
    host.start_worker(&["--", "cat"]);
    host.wait_for_slots(1);
    let broker = host.elected().expect("a broker");
    signal(broker, Signal::STOP);
    fs::remove_dir_all(host.runtime_base()).expect("the directory");
    next_broker(&host, broker, 1);
    signal(broker, Signal::CONT);
    eventually("the end of the old one", || {
        (!host.elected_all().contains(&broker)).then_some(())
    });
    host.client(&["x"]).run().code(0).quiet().wrote("x\n");
    host.stop();
}

#[test]
fn a_pipeline_of_a_killed_worker_is_not_left_behind() {
    let mut host = elected(1, "echo $$ > $ROOM/started; sleep 1000 | cat");
    host.start_worker(&["--pool", "others"]);
    host.wait_for_slots(2);
    let client = host.client(&["x"]).start();
    host.wait_for_file("started");
    host.take_first_worker().end_by(Signal::KILL);
    let lost = client.wait().code(6).within(SECOND);
    lost.says("request 1 ran without an answer");
    // The client is told only after the processes are gone (rule O9).
    let left: Vec<_> = host
        .commands()
        .into_iter()
        .filter(|command| command.contains("sleep"))
        .collect();
    assert_eq!(left, Vec::<String>::new());
    host.stop();
}

#[test]
fn votes_can_be_looked_at() {
    let host = elected(3, "cat");
    let shown = host
        .zhit(&["ping", "--vote", "--wait", "1m"])
        .run()
        .code(0)
        .within(SECOND);
    assert!(
        shown.text().contains("0 of 3 would vote hung, 2 needed"),
        "{}",
        shown.text()
    );
    let broker = host.elected().expect("a broker");
    signal(broker, Signal::STOP);
    // For as long as it takes them to end it.
    eventually("a vote, or the next broker", || {
        let shown = host.zhit(&["ping", "--vote", "--wait", "50ms"]).run();
        (shown.text().contains("w1  hung") || host.elected() != Some(broker)).then_some(())
    });
    next_broker(&host, broker, 3);
    host.stop();
}
