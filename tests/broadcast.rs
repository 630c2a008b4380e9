//! Broadcasts, by real processes: everybody is asked, and who does not answer is named.

#[path = "support/cluster.rs"]
mod cluster;

use std::fs;
use std::time::Duration;

use cluster::{Host, Process, eventually};
use rustix::process::{Pid, Signal, kill_process};

const SECOND: Duration = Duration::from_secs(1);

/// Short times for what is judged by silence.
const QUICK: [&str; 4] = ["--interval", "100ms", "--patience", "1s"];

/// A worker whose broadcasts run this.
fn worker(host: &Host, script: &str) -> Process {
    let all = [&["worker"], &QUICK[..], &["--grace", "0s", "--on-broadcast", script]].concat();
    host.zhit(&all).start()
}

/// So many of them, known to their broker, w1 first.
fn workers(host: &Host, count: u32, script: &str) -> Vec<Process> {
    let start = |number| {
        let worker = worker(host, script);
        host.wait_for_slots(number);
        worker
    };
    (1..=count).map(start).collect()
}

fn broadcast(host: &Host, arguments: &[&str]) -> cluster::Start {
    host.zhit(&[&["broadcast"], &QUICK[..], arguments].concat())
}

fn end(workers: Vec<Process>) {
    for worker in workers {
        worker.end_by(Signal::TERM).code(0);
    }
}

#[test]
fn everybody_answers_and_it_ends_with_the_last() {
    let host = Host::new();
    let all = workers(&host, 10, "tr a-z A-Z");
    let ended = broadcast(&host, &["hello"]).run().code(0).within(SECOND / 2);
    let mut lines: Vec<String> = ended.text().lines().map(str::to_owned).collect();
    lines.sort_by_key(String::len);
    assert_eq!(lines.len(), 10);
    assert_eq!(
        (lines[0].len(), lines[9].as_str()),
        ("alpha/w1: HELLO".len(), "alpha/w10: HELLO")
    );
    ended.says("expected 10 = 10 ok in 0.");
    let folded = broadcast(&host, &["--fold"]).stdin("x").run().code(0);
    folded.wrote("alpha/w[1-10] (10)\n  X\n");
    let some = broadcast(&host, &["--to", "alpha/w[2-3,10]", "x"]).run().code(0);
    some.says("expected 3 = 3 ok");
    end(all);
    host.stop();
}

#[test]
fn without_a_program_workers_tell_their_statistics() {
    let host = Host::serving(2, &["--builtin", "echo"]);
    host.client(&["a"]).run().code(0);
    let stats = eventually("a Hit in the statistics", || {
        let text = host
            .zhit(&["broadcast", "stats", "--format", "jsonl"])
            .run()
            .code(0)
            .text();
        let one: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let stats: serde_json::Value = serde_json::from_str(one["reply"].as_str()?).expect("JSON");
        (stats["hits"] == 1).then_some(stats)
    });
    assert_eq!((&stats["slots"], &stats["busy"]), (&2.into(), &0.into()));
    assert!(stats["rss_kib"].as_u64() > Some(1000));
    host.stop();
}

/// One of each, in one broadcast: the books balance, and everybody is named with evidence.
#[test]
fn whatever_becomes_of_a_member_is_told_with_evidence() {
    let host = Host::new();
    let script = "echo $$ > $ROOM/$ZHIT_WORKER; case $ZHIT_WORKER in
        w2) echo no disk >&2; exit 3;;
        w3|w4) exec sleep 1000;;
        w6) until [ -e $ROOM/go ]; do sleep 0.01; done; echo late;;
        *) echo fine;;
    esac";
    let mut all = workers(&host, 6, script);
    all[4].signal(Signal::STOP);
    let asked = broadcast(&host, &["x"]).start();
    for file in ["w2", "w3", "w4", "w6"] {
        host.wait_for_file(file);
    }
    let late = worker(&host, script);
    host.wait_for("the late one", |pong| pong.workers.len() == 7);
    all.remove(2).end_by(Signal::KILL);
    // Asked to end, without any grace: it leaves, and its handler is ended.
    all.remove(2).end_by(Signal::TERM).code(0);
    let waits = eventually("its pid", || fs::read_to_string(host.room().join("w4")).ok());
    assert!(
        !fs::exists(format!("/proc/{}", waits.trim())).expect("a look"),
        "its handler goes on"
    );
    // The stopped one is hung by now; the last answer is still to come.
    let started = zhit::clock::now();
    eventually("patience is over", || {
        (zhit::clock::now().since(started) > 2 * SECOND).then_some(())
    });
    host.make_file("go");
    let ended = asked.wait().code(3).says("alpha/w2 failed: exit 3: no disk\n");
    let ended = ended
        .says("alpha/w3 dead: its process ended without goodbye")
        .says("alpha/w4 left: it said goodbye")
        .says("alpha/w5 hung: ")
        .says("not asked, for it came after the roster was pinned: alpha/w7")
        .says("expected 6 = 2 ok + 1 failed + 1 hung + 1 dead + 1 left in ");
    let mut lines: Vec<String> = ended.text().lines().map(str::to_owned).collect();
    lines.sort();
    assert_eq!(lines, ["alpha/w1: fine", "alpha/w6: late"]);
    for worker in &mut all {
        worker.signal(Signal::CONT);
    }
    end(all);
    end(vec![late]);
    host.stop();
}

/// Rules B1, B2: the same roster by way of the next broker, and nobody runs it twice.
#[test]
fn a_broker_that_dies_amid_it_changes_nothing() {
    let host = Host::new();
    let script = "echo ran >> $ROOM/$ZHIT_WORKER; until [ -e $ROOM/go ]; do sleep 0.01; done; echo done";
    let all = workers(&host, 4, script);
    let asked = broadcast(&host, &["x"]).start();
    for number in 1..=4 {
        host.wait_for_file(&format!("w{number}"));
    }
    for round in 0..2 {
        let pid = host.elected().expect("a broker");
        let killed = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a pid");
        kill_process(killed, Signal::KILL).expect("a process of ours");
        eventually(&format!("broker {round} after it"), || {
            host.elected().filter(|next| *next != pid)
        });
    }
    host.make_file("go");
    asked.wait().code(0).says("expected 4 = 4 ok");
    for number in 1..=4 {
        let ran = fs::read_to_string(host.room().join(format!("w{number}"))).expect("its file");
        assert_eq!(ran, "ran\n", "w{number}");
    }
    end(all);
    host.stop();
}

#[test]
fn a_broadcasts_handler_starts_none_and_a_hits_handler_may() {
    let host = Host::new();
    let program = env!("CARGO_BIN_EXE_zhit");
    let again = format!("{program} broadcast x 2>&1; echo $?");
    let mut all = workers(&host, 1, &again);
    let ended = broadcast(&host, &["x"]).run().code(0).text();
    assert!(ended.contains("refused") && ended.contains("alpha/w1: 2\n"), "{ended}");
    let by_hit = [
        "worker",
        "--pool",
        "asks",
        "--",
        program,
        "broadcast",
        "--to",
        "alpha/w2",
        "--pool",
        "asks",
    ];
    let mut serving = host.zhit(&by_hit).start();
    host.wait_for_slots(2);
    host.client(&["--pool", "asks", "x"])
        .run()
        .code(0)
        .says("expected 1 = 1 ok");
    serving.signal(Signal::TERM);
    serving.wait().code(0);
    all.remove(0).end_by(Signal::TERM).code(0);
    host.stop();
}

#[test]
fn who_interrupts_it_is_told_who_is_outstanding() {
    let host = Host::new();
    let all = workers(
        &host,
        3,
        "[ $ZHIT_WORKER = w2 ] || exec echo fine; echo $$ > $ROOM/w2; exec sleep 1000",
    );
    let mut asked = broadcast(&host, &["x"]).start();
    host.wait_for_file("w2");
    asked.wait_for_stdout("alpha/w1: fine\nalpha/w3: fine\n".len());
    let ended = asked.end_by(Signal::INT).code(130).within(SECOND);
    ended.says("outstanding: alpha/w2\n").says("+ 1 outstanding in ");
    let timed = broadcast(&host, &["--timeout", "300ms", "x"]).run().within(2 * SECOND);
    timed.code(124).says("outstanding");
    end(all);
    host.stop();
}

#[test]
fn a_rolling_broadcast_stops_after_failures_and_logs_each_job() {
    let host = Host::new();
    let all = workers(&host, 5, "echo x >> $ROOM/ran; [ $ZHIT_WORKER != w2 ]");
    let log = host.room().join("log");
    let log = log.to_str().expect("a path");
    let arguments = ["--batch", "1", "--stop-after", "1", "--joblog", log, "reload"];
    let ended = broadcast(&host, &arguments).run().code(1);
    ended.says("expected 5 = 1 ok + 1 failed + 3 skipped");
    assert_eq!(fs::read_to_string(host.room().join("ran")).expect("it"), "x\nx\n");
    let log = fs::read_to_string(log).expect("the log");
    assert_eq!(log.lines().count(), 6, "{log}");
    assert!(
        log.starts_with("Seq\tHost\tStarttime\tJobRuntime\tSend\tReceive\tExitval\tSignal\tCommand\n"),
        "{log}"
    );
    broadcast(&host, &["-S", "--to", "alpha/w2", "reload"]).run().code(1);
    // A log that cannot be written is found out before anybody is asked.
    let before = fs::read_to_string(host.room().join("ran")).expect("it");
    let nowhere = host.room().join("none/log");
    let arguments = ["--joblog", nowhere.to_str().expect("a path"), "reload"];
    broadcast(&host, &arguments)
        .run()
        .code(2)
        .wrote("")
        .says("cannot write the job log");
    assert_eq!(fs::read_to_string(host.room().join("ran")).expect("it"), before);
    end(all);
    host.stop();
}

#[test]
fn what_cannot_be_asked_is_said() {
    let host = Host::new();
    let nobody = host.zhit(&["broadcast", "--patience", "1s", "x"]).run().code(4);
    nobody.says("no broker reached");
    let all = workers(&host, 1, "head -c 2000000 /dev/zero");
    broadcast(&host, &["x"])
        .run()
        .code(1)
        .wrote("")
        .says("longer than 1048576 bytes")
        .says("zhit client");
    broadcast(&host, &["--pool", "none", "x"])
        .run()
        .code(3)
        .says("nobody is there");
    broadcast(&host, &["--pool", "none", "--allow-none", "x"]).run().code(0);
    broadcast(&host, &["--to", "beta/*", "x"])
        .run()
        .code(2)
        .says("there is no host beta");
    broadcast(&host, &["--to", "@gpu", "x"]).run().code(2).says("tag gpu");
    let long = vec![b'x'; 1 << 21];
    broadcast(&host, &[])
        .stdin(long)
        .run()
        .code(2)
        .says("longer than 1048576 bytes");
    end(all);
    host.stop();
}

fn signal(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a process id");
    kill_process(pid, signal).expect("it is there");
}

/// Rule B1: a broker that has just begun leaves nobody out who has not registered with it yet, or hangs.
#[test]
fn after_a_brokers_death_nobody_is_left_out() {
    let host = Host::new();
    let mut all = workers(&host, 6, "cat");
    for _ in 0..3 {
        signal(host.elected().expect("a broker"), Signal::KILL);
        let ended = broadcast(&host, &["x"]).run().code(0);
        ended.says("expected 6 = 6 ok in ").within(2 * SECOND);
    }
    all[0].signal(Signal::STOP);
    let broker = host.elected().expect("a broker");
    signal(broker, Signal::KILL);
    eventually("the next broker", || host.elected().filter(|next| *next != broker));
    let ended = broadcast(&host, &["x"]).run().code(3).within(4 * SECOND);
    ended.says("alpha/w1 hung: ").says("expected 6 = 5 ok + 1 hung in ");
    let seen = host.zhit(&["ping"]).run().code(3).text();
    assert!(seen.contains("\n6 workers, 6 slots: "), "{seen}");
    all[0].signal(Signal::CONT);
    broadcast(&host, &["x"]).run().code(0).says("expected 6 = 6 ok");
    host.zhit(&["ping"]).run().code(0);
    end(all);
    host.stop();
}

/// Rules B2, O9: what a worker that was killed has run is told by its journal, and nothing of its handler is left.
#[test]
fn of_a_worker_that_was_killed_the_journal_tells() {
    let host = Host::new();
    let mut all = workers(
        &host,
        2,
        "echo x >$ROOM/$ZHIT_WORKER; [ $ZHIT_WORKER = w2 ] || sleep 1000 | sleep 1000",
    );
    let asked = broadcast(&host, &["x"]).start();
    host.wait_for_file("w1");
    host.wait_for_file("w2");
    let first = all.remove(0);
    signal(first.pid(), Signal::KILL);
    let ended = asked.wait().code(3).within(3 * SECOND);
    ended
        .says("alpha/w1 dead: its process ended without goodbye ")
        .says(" ago; it had begun this\n")
        .says("expected 2 = 1 ok + 1 dead in ");
    assert_eq!(first.wait().code, 137);
    let is_left = || host.commands().iter().any(|command| command.starts_with("sleep 1000"));
    eventually("the end of its handler", || (!is_left()).then_some(()));
    end(all);
    host.stop();
}

/// Rule A2: one that waits behind a handler that is stopped hangs as that does, and is not waited for without end.
#[test]
fn behind_a_stopped_handler_others_hang_too() {
    let host = Host::new();
    let script = r#"read x; [ "$x" != s ] || [ $ZHIT_WORKER = w2 ] || kill -STOP $$; echo fine"#;
    let all = workers(&host, 2, script);
    for request in ["s", "q"] {
        let ended = broadcast(&host, &[request]).run().code(3).within(4 * SECOND);
        ended.says("alpha/w1 hung: ").says("expected 2 = 1 ok + 1 hung in ");
    }
    end(all);
    host.stop();
}

/// Whoever takes the broker's socket away costs the host a moment, and no connection.
#[test]
fn a_socket_that_was_taken_away_is_made_anew() {
    let host = Host::new();
    let all = workers(&host, 2, "cat");
    let broker = host.elected().expect("a broker");
    fs::remove_file(host.runtime_dir().join("broker.sock")).expect("a socket");
    broadcast(&host, &["x"]).run().code(0).says("expected 2 = 2 ok");
    host.client(&["--wait", "5s", "x"]).run().code(0).wrote("World\n");
    assert_eq!(host.elected(), Some(broker));
    end(all);
    host.stop();
}

/// Whoever serves a Hit may ask everybody; whoever answers a broadcast may not, or it could go round for ever.
#[test]
fn a_hits_handler_may_broadcast_and_a_broadcasts_may_not() {
    let mut host = Host::new();
    let zhit = env!("CARGO_BIN_EXE_zhit");
    let all = workers(&host, 2, "echo fine");
    let asks = format!("{zhit} broadcast --interval 100ms --fold x");
    host.start_worker(&["--pool", "askers", "--", "sh", "-c", &asks]);
    host.wait_for_slots(3);
    host.client(&["--pool", "askers", "--wait", "5s", "x"])
        .run()
        .code(0)
        .wrote("alpha/w[1-2] (2)\n  fine\n");
    let again = format!("{zhit} broadcast x");
    let nested = workers_of(&host, "nested", &again);
    host.wait_for_slots(4);
    broadcast(&host, &["--pool", "nested", "x"])
        .run()
        .code(1)
        .says("alpha/w4 failed: exit 2: ")
        .says("one that starts another could go round for ever; refused");
    nested.end_by(Signal::TERM).code(0);
    end(all);
    host.stop();
}

fn workers_of(host: &Host, pool: &str, script: &str) -> Process {
    let all = [
        &["worker"],
        &QUICK[..],
        &["--grace", "0s", "--pool", pool, "--on-broadcast", script],
    ]
    .concat();
    host.zhit(&all).start()
}
