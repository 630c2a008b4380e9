//! `zhit ping --hops` against real brokers and workers.

#[path = "support/cluster.rs"]
mod cluster;

use std::time::Duration;

use cluster::{Ended, Host, Process, Start, eventually};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// Longer than any test: it ends otherwise.
const MANY: [&str; 4] = ["--count", "1000000", "--format", "json"];

fn hops(host: &Host, arguments: &[&str]) -> Start {
    host.zhit(&[&["ping", "--hops"], arguments].concat())
}

fn object(ended: &Ended) -> Value {
    let text = ended.text();
    assert_eq!(text.lines().count(), 1, "one object: {text}");
    serde_json::from_str(&text).expect("JSON")
}

/// The row of a hop.
#[track_caller]
fn hop<'a>(object: &'a Value, name: &str) -> &'a Value {
    let rows = object["hops"].as_array().expect("hops");
    rows.iter().find(|row| row["hop"] == name).expect(name)
}

/// Asserts that a hop was measured so often, and that its percentiles are in order.
#[track_caller]
fn is_whole(object: &Value, name: &str, count: u64) {
    let row = hop(object, name);
    assert_eq!((&row["count"], &row["lost"]), (&count.into(), &0.into()), "{row}");
    let figures = ["min_us", "p50_us", "p90_us", "p99_us", "max_us"].map(|one| row[one].as_i64().expect(one));
    assert!(figures.is_sorted(), "{row}");
}

/// One that asks a handler which makes the file `ran`, so that it has measured something when that is there.
#[track_caller]
fn begun(host: &Host, arguments: &[&str]) -> Process {
    let process = hops(host, &[&MANY[..], &["--request", "x"], arguments].concat()).start();
    host.wait_for_file("ran");
    process
}

#[track_caller]
fn with_file() -> Host {
    Host::with_script(1, &[], "echo > $ROOM/ran; cat")
}

#[test]
fn every_hop_is_measured_and_the_slot_is_free_again() {
    let host = Host::serving(1, &["--builtin", "echo"]);
    let ended = hops(&host, &["--count", "20", "--format", "json"])
        .run()
        .code(0)
        .quiet();
    let all = object(&ended);
    for name in ["client-broker", "client-slot", "broker-slot", "direct"] {
        is_whole(&all, name, 20);
    }
    let rows = all["hops"].as_array().expect("hops");
    assert_eq!(rows.len(), 4, "nobody has asked for a request: {all}");
    assert_eq!((&all["slot"], &all["rounds"]), (&"alpha/w1/1".into(), &20.into()));
    assert_eq!(
        (&all["broker"]["pid"].is_number(), &all["ended"]),
        (&true, &Value::Null)
    );
    let endpoint = all["endpoint"].as_str().expect("an endpoint");
    assert!(endpoint.ends_with("members/w1.1"), "{endpoint}");
    // At once, not after its ttl.
    host.wait_for_slots(1);
    let text = hops(&host, &["--count", "2"]).run().code(0).quiet().text();
    assert!(text.starts_with("HOP ") && text.contains("\ndirect: ipc://"), "{text}");
    host.stop();
}

#[test]
fn a_request_runs_once_a_round_and_only_if_asked_for() {
    let host = Host::with_script(1, &[], "echo ran >> $ROOM/runs; cat");
    hops(&host, &["--count", "3"]).run().code(0);
    let runs = || std::fs::read_to_string(host.room().join("runs")).unwrap_or_default();
    assert_eq!(runs(), "");
    // Longer than the credit that a Hit begins with.
    let long = "x".repeat(100_000);
    let asked = hops(&host, &["--count", "3", "--request", &long, "--format", "json"]);
    let all = object(&asked.run().code(0).quiet());
    assert_eq!(runs(), "ran\nran\nran\n");
    is_whole(&all, "handler", 3);
    is_whole(&all, "direct", 3);
    let starts = hop(&all, "handler")["min_us"].as_i64();
    assert!(starts > Some(0), "a program takes longer than an empty answer: {all}");
    host.stop();
}

#[test]
fn a_handler_that_fails_is_told() {
    let host = Host::with_script(1, &[], "exit 3");
    let ended = hops(&host, &["--count", "2", "--request", ""]).run().code(1);
    ended.says("2 of 2 requests failed, the first with: exit 3");
    host.stop();
}

#[test]
fn nobody_to_measure_is_told_as_a_client_is() {
    let host = Host::new();
    let nobody = hops(&host, &["--wait", "300ms"]).run().code(4).wrote("");
    nobody.says("no broker reached");
    let mut host = Host::serving(1, &[]);
    let none = hops(&host, &["--wait", "300ms", "--pool", "none"])
        .run()
        .code(5)
        .wrote("");
    none.says("no worker serves pool none on this host");
    host.start_worker(&[
        "--pool",
        "busy",
        "--",
        "sh",
        "-c",
        "echo > $ROOM/ran; until [ -e $ROOM/go ]; do sleep 0.01; done",
    ]);
    host.wait_for_slots(2);
    let client = host.client(&["--pool", "busy", "x"]).start();
    host.wait_for_file("ran");
    let busy = hops(&host, &["--wait", "300ms", "--pool", "busy"])
        .run()
        .code(5)
        .wrote("");
    busy.says("1 of 1 slots are leased");
    host.make_file("go");
    client.wait().code(0);
    host.wait_for_slots(2);
    host.stop();
}

#[test]
fn a_worker_that_is_killed_ends_it_with_what_was_measured() {
    let mut host = with_file();
    let process = begun(&host, &[]);
    host.take_worker().end_by(Signal::KILL);
    let ended = process.wait().code(6).says("the Hit was lost: its worker died");
    let all = object(&ended);
    let why = all["ended"].as_str().expect("why");
    assert!(why.starts_with("the Hit was lost: its worker died"), "{why}");
    assert!(hop(&all, "client-slot")["count"].as_u64() > Some(0), "{all}");
}

#[test]
fn a_signal_ends_it_with_what_was_measured() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let host = with_file();
        let ended = begun(&host, &[]).end_by(signal).code(code).quiet();
        let all = object(&ended);
        assert_eq!(all["ended"], "it was stopped");
        assert!(hop(&all, "client-slot")["count"].as_u64() > Some(0), "{all}");
        host.wait_for_slots(1);
        host.stop();
    }
}

#[test]
fn a_worker_that_is_stopped_is_named_and_waited_for_no_longer() {
    let mut host = with_file();
    let process = begun(&host, &["--wait", "300ms"]);
    host.worker().signal(Signal::STOP);
    let ended = process.wait().code(3).within(Duration::from_secs(5));
    let ended = ended.says("no answer within 0.3s (round ").says(", 3 times in a row");
    let all = object(&ended);
    assert!(hop(&all, "client-slot")["lost"].as_u64() > Some(0), "{all}");
    host.worker().signal(Signal::CONT);
    // It was told meanwhile that the Hit is over.
    host.wait_for_slots(1);
    host.stop();
}

#[test]
fn a_broker_that_is_stopped_is_named_and_the_slot_is_told_straight() {
    // The worker does not replace it so soon.
    let mut host = Host::with_script(1, &["--interval", "5s"], "echo > $ROOM/ran; cat");
    let process = begun(&host, &["--wait", "300ms"]);
    host.broker().signal(Signal::STOP);
    let ended = process.wait().code(3).within(Duration::from_secs(5));
    let all = object(&ended.says("client-broker: no answer within 0.3s (round "));
    assert!(hop(&all, "client-broker")["lost"].as_u64() > Some(0), "{all}");
    assert_eq!(hop(&all, "direct")["lost"], 0, "{all}");
    host.broker().signal(Signal::CONT);
    host.wait_for_slots(1);
    host.stop();
}

#[test]
fn it_goes_on_with_the_next_broker() {
    let mut host = Host::new();
    host.start_worker(&["--", "sh", "-c", "echo > $ROOM/ran; cat"]);
    host.wait_for_slots(1);
    let process = begun(&host, &["--wait", "1s"]);
    let first = host.elected().expect("a broker");
    let pid = i32::try_from(first).ok().and_then(Pid::from_raw).expect("a pid");
    kill_process(pid, Signal::KILL).expect("a process of ours");
    let next = eventually("the next broker", || host.elected().filter(|next| *next != first));
    // Some rounds of it.
    for _ in 0..2 {
        std::fs::remove_file(host.room().join("ran")).expect("the file");
        host.wait_for_file("ran");
    }
    let all = object(&process.end_by(Signal::INT).code(130));
    assert_eq!(all["broker"]["pid"], next, "{all}");
    host.wait_for_slots(1);
    host.stop();
}

#[test]
fn a_reader_that_has_gone_ends_it_quietly() {
    let host = Host::serving(1, &[]);
    hops(&host, &["--count", "2"]).close_stdout().run().code(141).quiet();
    host.wait_for_slots(1);
    host.stop();
}
