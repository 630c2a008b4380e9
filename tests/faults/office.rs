//! Who is a host's broker: one at a time, one after the other, whatever happens to it.

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::cluster::{Host, eventually};
use crate::{SECOND, WAITS_FOR_GO};

/// The term that the record names.
fn term(host: &Host) -> u64 {
    fact(host, "term ").parse().expect("a number")
}

/// What follows `key` in the record; waits for a record that has it.
fn fact(host: &Host, key: &str) -> String {
    eventually(&format!("{key}in the record"), || {
        let record = fs::read_to_string(host.runtime_dir().join("broker.record")).ok()?;
        record
            .lines()
            .find_map(|line| line.strip_prefix(key))
            .map(str::to_owned)
    })
}

fn signal(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a pid");
    kill_process(pid, signal).expect("a process of ours");
}

/// A host whose worker has started its broker.
fn elected(script: &str) -> Host {
    let mut host = Host::new();
    host.start_worker(&["--slots", "2", "--", "sh", "-c", script]);
    host.wait_for_slots(2);
    host
}

#[test]
fn a_second_broker_is_refused_and_told_who_serves() {
    let mut host = Host::new();
    let pid = host.start_broker(&[]).pid();
    let refused = host.zhit(&["broker"]).run().code(2).wrote("");
    refused
        .says(&format!("pid {pid}"))
        .says("started by hand")
        .says("zhit broker --takeover")
        .within(SECOND);
    host.stop();
}

#[test]
fn a_takeover_ends_the_first_and_no_hit() {
    let mut host = Host::with_script(1, &[], WAITS_FOR_GO);
    let client = host.client(&["a", "b"]).start();
    host.wait_for_file("started");
    let first = host.take_broker();
    let before = term(&host);
    host.start_broker(&["--takeover"]);
    first.wait().code(0).says("leaving the office to pid");
    assert!(term(&host) > before);
    host.make_file("go");
    client.wait().code(0).quiet().wrote("a\nb\n");
    host.stop();
}

#[test]
fn a_stopped_broker_is_taken_over_by_force_only() {
    let mut host = Host::with_script(1, &["--patience", "1m"], WAITS_FOR_GO);
    let client = host.client(&["a", "b"]).start();
    host.wait_for_file("started");
    let mut first = host.take_broker();
    first.signal(Signal::STOP);
    let refused = host.zhit(&["broker", "--takeover"]).run().code(2);
    refused.says("does not").says("--takeover --force").within(4 * SECOND);
    host.start_broker(&["--takeover", "--force"]);
    assert_eq!(first.wait().code, 137);
    host.make_file("go");
    client.wait().code(0).wrote("a\nb\n");
    host.stop();
}

/// Rule E3: members would elect the next broker within milliseconds of the end of the one that is killed.
#[test]
fn who_forces_the_office_gets_it_before_any_member() {
    let mut host = elected("cat");
    host.start_worker(&["--slots", "1", "--", "cat"]);
    host.start_worker(&["--slots", "1", "--", "cat"]);
    for _ in 0..5 {
        let mut forced = host.zhit(&["broker", "--takeover", "--force"]).start();
        let pid = forced.pid();
        host.wait_for("the one that was forced", |pong| pong.pid == pid);
        forced.signal(Signal::KILL);
        forced.wait().code(137);
        host.wait_for("an elected one", |pong| pong.pid != pid);
    }
    host.stop();
}

/// Rule E2: members remember what a wiped directory does not.
#[test]
fn terms_grow_though_the_directory_is_wiped() {
    const FAR: u64 = 1 << 40;
    let host = elected("cat");
    let word = fs::OpenOptions::new()
        .write(true)
        .open(host.runtime_dir().join("broker.term"));
    word.expect("the term")
        .write_all_at(&FAR.to_ne_bytes(), 0)
        .expect("room for it");
    signal(host.elected().expect("a broker"), Signal::KILL);
    let stored = eventually("a term after the stored one", || {
        Some(term(&host)).filter(|term| *term > FAR)
    });
    fs::remove_dir_all(host.runtime_dir()).expect("a directory");
    host.wait_for_slots(2);
    assert!(term(&host) > stored, "{} after {stored}", term(&host));
    host.stop();
}

#[test]
fn one_started_by_hand_takes_over_from_an_elected_one() {
    let mut host = elected(WAITS_FOR_GO);
    let client = host.client(&["a", "b"]).start();
    host.wait_for_file("started");
    assert_eq!(fact(&host, "how "), "elected");
    let before = term(&host);
    host.start_broker(&[]);
    assert_eq!(fact(&host, "how "), "dedicated");
    assert!(term(&host) > before);
    host.wait_for_elected_to_leave();
    host.make_file("go");
    client.wait().code(0).quiet().wrote("a\nb\n");
    host.stop();
}

#[test]
fn an_elected_broker_that_is_killed_is_replaced_and_no_hit_is_lost() {
    let mut host = elected(WAITS_FOR_GO);
    let client = host.client(&["a", "b"]).start();
    host.wait_for_file("started");
    let (pid, before) = (host.elected().expect("a broker"), term(&host));
    signal(pid, Signal::KILL);
    host.worker().wait_for_stderr("the broker has ended");
    host.wait_for("the Hit at the next broker", |pong| {
        pong.pid != pid && pong.workers.iter().any(|worker| worker.busy == 1)
    });
    assert!(term(&host) > before);
    host.make_file("go");
    client.wait().code(0).wrote("a\nb\n");
    host.stop();
}

#[test]
fn the_end_of_the_worker_that_started_it_costs_no_broker() {
    let mut host = elected("cat");
    let pid = host.elected().expect("a broker");
    host.start_worker(&["--pool", "other"]);
    host.wait_for_slots(3);
    // In the order of their starting: the first started the broker.
    host.take_first_worker().end_by(Signal::KILL);
    host.wait_for_slots(1);
    assert_eq!(host.elected(), Some(pid));
    host.client(&["--pool", "other", "x"]).run().code(0).wrote("World\n");
    host.stop();
}

#[test]
fn a_terminals_signals_do_not_reach_an_elected_broker() {
    let host = elected("cat");
    let pid = host.elected().expect("a broker");
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("the broker's");
    let (_, fields) = stat.rsplit_once(')').expect("a command's name");
    let fields: Vec<_> = fields.split_ascii_whitespace().collect();
    let (group, session, terminal) = (fields[2], fields[3], fields[4]);
    assert_eq!(
        (group, session),
        (&*pid.to_string(), &*pid.to_string()),
        "a session of its own"
    );
    assert_eq!(terminal, "0", "no terminal");
    host.stop();
}

#[test]
fn an_elected_broker_leaves_when_nobody_needs_it() {
    let mut host = elected("cat");
    host.client(&["x"]).run().code(0);
    host.take_worker().end_by(Signal::TERM).code(0);
    assert!(host.elected().is_some(), "it stays a few seconds, for the next command");
    host.wait_for_elected_to_leave();
    host.assert_nothing_left();
    let log = fs::read_to_string(host.runtime_dir().join("broker.log")).expect("its log");
    assert!(log.contains("leaving: no member and no client"), "{log}");
}

#[test]
fn of_many_workers_that_come_at_once_one_broker_comes() {
    let mut host = Host::new();
    for _ in 0..6 {
        host.start_worker(&[]);
    }
    host.wait_for_slots(6);
    host.client(&["x"]).run().code(0).wrote("World\n");
    for _ in 0..5 {
        let (pid, before) = (host.elected().expect("a broker"), term(&host));
        signal(pid, Signal::KILL);
        host.wait_for("all of them at the next", |pong| {
            pong.pid != pid && pong.term.0 > before && pong.workers.len() == 6
        });
        eventually("one broker and no more", || {
            (host.elected_all().len() == 1).then_some(())
        });
    }
    host.stop();
}

#[test]
fn a_broker_whose_directory_is_wiped_leaves() {
    let host = elected("cat");
    let pid = host.elected().expect("a broker");
    fs::remove_dir_all(host.runtime_base()).expect("the directory");
    host.wait_for_slots(2);
    eventually("the end of the one that nobody sees", || {
        (!host.elected_all().contains(&pid)).then_some(())
    });
    host.client(&["x"]).run().code(0).wrote("x\n").within(Duration::ZERO);
    host.stop();
}
