//! Real processes stopped or killed at the very moments that the rules are about: nothing runs twice, nothing is lost that
//! is not said to be, one broker follows the other.

#[path = "../support/cluster.rs"]
mod cluster;

use std::fs;

use rustix::process::{Pid, Signal, kill_process};

use cluster::{Host, Process, Start, eventually};

/// Notes that it runs, then answers with its request.
const NOTES: &str = "echo $ZHIT_SEQ >> $ROOM/notes; cat";

/// Short times for what is judged by silence.
const QUICK: [&str; 4] = ["--interval", "100ms", "--patience", "500ms"];

fn signal(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a pid");
    // A broker that has ended meanwhile has ended.
    let _ = kill_process(pid, signal);
}

fn is_stopped(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ")
        .is_some_and(|(_, fields)| fields.starts_with('T'))
}

/// Starts a process to which something happens at a point, once.
fn faulty(host: &Host, start: Start, point: &str, what: &str) -> Process {
    start
        .env("FAILPOINTS", format!("{point}=return({what})"))
        .env("ZHIT_FAULT_ONCE", host.room().join("fault"))
        .start()
}

/// A host with one worker that would elect, and one that serves and to which something happens.
fn serving(point: &str, what: &str) -> (Host, Process) {
    let mut host = Host::new();
    host.start_worker(&[&QUICK[..], &["--pool", "others"]].concat());
    host.wait_for_slots(1);
    let serves = [&["worker"], &QUICK[..], &["--", "sh", "-c", NOTES]].concat();
    let worker = faulty(&host, host.zhit(&serves), point, what);
    host.wait_for_slots(2);
    (host, worker)
}

fn ran(host: &Host) -> Vec<String> {
    let notes = fs::read_to_string(host.room().join("notes")).unwrap_or_default();
    notes.lines().map(str::to_owned).collect()
}

/// The broker dies while a slot stands at the point; the next one finds the slot's entry, and waits for the slot.
#[test]
fn a_broker_dies_while_a_slot_stands_still() {
    for point in ["leased", "started", "answered"] {
        let (host, mut worker) = serving(point, "stop");
        let client = host.client(&["--wait", "1m", "a", "b"]).start();
        eventually("a slot at the point", || is_stopped(worker.pid()).then_some(()));
        let broker = host.elected().expect("a broker");
        signal(broker, Signal::KILL);
        eventually("the next broker", || host.elected().filter(|next| *next != broker));
        worker.signal(Signal::CONT);
        client.wait().code(0).wrote("a\nb\n");
        assert_eq!(ran(&host), ["1", "2"], "{point}");
        worker.end_by(Signal::TERM).code(0);
        host.stop();
    }
}

/// The worker dies at the point; broker and client tell the truth, from its journal.
#[test]
fn a_worker_dies_at_the_point() {
    // What the handler has given travels as it comes; its end is what makes it an answer.
    for (point, said, ran_then, wrote) in [
        ("leased", "request 1 and later never ran", &[][..], ""),
        ("started", "request 1 ran without an answer", &[], ""),
        ("answered", "request 1 ran without an answer", &["1"], "a"),
    ] {
        let (host, worker) = serving(point, "kill");
        let client = host.client(&["--wait", "1m", "a", "b", "c"]).start();
        assert_eq!(worker.wait().code, 137);
        let ended = client.wait().code(6).says("no request was answered").says(said);
        assert!(wrote.starts_with(&*ended.text()), "{point}: {}", ended.text());
        assert_eq!(ran(&host), ran_then, "{point}");
        host.stop();
    }
}

/// Broker and worker die at once: the next broker judges by the journal of the dead.
#[test]
fn a_worker_dies_at_the_point_and_its_broker_with_it() {
    for point in ["started", "answered"] {
        let (host, mut worker) = serving(point, "stop");
        let client = host.client(&["--wait", "1m", "a", "b"]).start();
        eventually("a slot at the point", || is_stopped(worker.pid()).then_some(()));
        let broker = host.elected().expect("a broker");
        signal(broker, Signal::STOP);
        worker.signal(Signal::KILL);
        signal(broker, Signal::KILL);
        client.wait().code(6).says("request 1 ran without an answer");
        host.stop();
    }
}

/// One that stops before it has written its record is known by its lock; one that dies there is followed at once.
#[test]
fn a_candidate_stands_still_or_dies_between_lock_and_record() {
    for what in ["stop", "kill"] {
        let mut host = Host::new();
        let workers: Vec<_> = (0..3)
            .map(|_| faulty(&host, host.zhit(&[&["worker"], &QUICK[..]].concat()), "locked", what))
            .collect();
        host.wait_for_slots(3);
        host.client(&["x"]).run().code(0).wrote("World\n");
        for worker in workers {
            worker.end_by(Signal::TERM).code(0);
        }
        host.start_broker(&[]);
        host.stop();
    }
}

/// A leaver that stops before its lock has fallen is ended by the members; one that dies there is followed at once.
#[test]
fn a_leaver_stands_still_or_dies_between_unlink_and_release() {
    for what in ["stop", "kill"] {
        let mut host = Host::new();
        let first = faulty(&host, host.zhit(&[&["broker"], &QUICK[..]].concat()), "unlinked", what);
        host.wait_for("the broker", |_| true);
        for _ in 0..2 {
            host.start_worker(&QUICK);
        }
        host.wait_for_slots(2);
        assert_eq!(first.end_by(Signal::TERM).code, 137, "{what}");
        host.wait_for_slots(2);
        host.client(&["x"]).run().code(0).wrote("World\n");
        host.stop();
    }
}

/// Appends to a file, and answers.
const APPENDS: &str = "echo $ZHIT_WORKER >> $ROOM/notes; cat";

fn appended(host: &Host) -> Vec<String> {
    let mut lines = ran(host);
    lines.sort();
    lines
}

/// Rules B1, B2: the host's broker dies at each point of a broadcast; each member runs it once, and all answers arrive.
#[test]
fn a_broker_dies_at_each_point_of_a_broadcast() {
    for point in ["roster", "ask", "receipt", "answer"] {
        let mut host = Host::new();
        // The one that dies; its workers start another when it does.
        let broker = faulty(&host, host.zhit(&[&["broker"], &QUICK[..]].concat()), point, "kill");
        host.wait_for("the broker", |_| true);
        for number in 1..=3 {
            host.start_worker(&[&QUICK[..], &["--on-broadcast", APPENDS]].concat());
            host.wait_for_slots(number);
        }
        let ended = host
            .zhit(&["broadcast", "--interval", "100ms", "--fold", "x"])
            .run()
            .code(0);
        ended.says("expected 3 = 3 ok in ").wrote("alpha/w[1-3] (3)\n  x\n");
        assert_eq!(broker.wait().code, 137, "{point}");
        assert_eq!(appended(&host), ["w1", "w2", "w3"], "{point}");
        host.stop();
    }
}

/// Rule B2: a worker dies just before its handler starts, and just after that has ended; the journal tells which it was.
#[test]
fn a_worker_dies_at_each_point_of_a_broadcast() {
    for (point, told, ran_then) in [
        ("broadcast-begun", "; it had begun this\n", &["w1"][..]),
        (
            "broadcast-over",
            "; it had run this, and its answer is lost\n",
            &["w1", "w2"],
        ),
    ] {
        let mut host = Host::new();
        let serves = [&QUICK[..], &["--on-broadcast", APPENDS]].concat();
        host.start_worker(&serves);
        host.wait_for_slots(1);
        let worker = faulty(&host, host.zhit(&[&["worker"], &serves[..]].concat()), point, "kill");
        host.wait_for_slots(2);
        // Nobody else comes by the point first.
        let arguments = ["broadcast", "--interval", "100ms", "--to", "alpha/w2", "x"];
        let ended = host.zhit(&arguments).run().code(3);
        ended.says("expected 1 = 0 ok + 1 dead in ").says(told);
        assert_eq!(worker.wait().code, 137, "{point}");
        host.zhit(&["broadcast", "--to", "alpha/w1", "x"]).run().code(0);
        assert_eq!(appended(&host), ran_then, "{point}");
        host.stop();
    }
}
