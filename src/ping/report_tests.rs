//! What people and scripts read, word for word.

use super::*;
use crate::protocol::ids::WorkerId;

const RTT: Duration = Duration::from_micros(183);

fn worker(id: u32, pool: &str, pid: u32, slots: u32, busy: u32) -> PongWorker {
    PongWorker {
        worker: WorkerId(id),
        pid,
        pool: pool.into(),
        slots,
        busy,
        hung: 0,
        still_ms: 0,
        silent_ms: 412,
        draining: false,
    }
}

fn pong(workers: Vec<PongWorker>) -> Pong {
    Pong {
        nonce: 1,
        host: "alpha".into(),
        pid: 812,
        term: Term(1_795_843_200),
        uptime_ms: 123_456,
        version: "0.1.0".into(),
        trouble: String::new(),
        queued: 0,
        workers_total: workers.len() as u32,
        workers,
    }
}

fn text() -> Report {
    Report::new(Format::Text, Screen::PLAIN, "alpha")
}

fn json() -> Report {
    Report::new(Format::Json, Screen::PLAIN, "alpha")
}

#[test]
fn one_probe_shows_broker_workers_and_tally() {
    let wanted = "\
alpha  broker pid 812  term 1795843200  up 2m 3s  zhit 0.1.0  rtt 0.183 ms
WORKER  POOL     PID  SLOTS  IDLE  BUSY     HEARD
w1      default  815      4     3     1  0.4s ago
1 worker, 4 slots: 3 idle, 1 busy; 0 waiting
";
    let mut report = text();
    assert_eq!(
        report.answered(1, &pong(vec![worker(1, "default", 815, 4, 1)]), RTT),
        wanted
    );
    assert_eq!(report.summary(Duration::from_millis(1)), "");
    assert!(!report.is_incomplete());
}

#[test]
fn what_is_out_of_the_ordinary_is_named() {
    let draining = PongWorker {
        draining: true,
        ..worker(2, "cad", 20_815, 16, 3)
    };
    let silent = PongWorker {
        silent_ms: 4000,
        ..worker(3, "cad", 0, 1, 0)
    };
    let mut pong = pong(vec![worker(1, "default", 815, 4, 1), draining, silent]);
    pong.queued = 2;
    pong.workers_total = 5;
    let wanted = "\
alpha  broker pid 812  term 1795843200  up 2m 3s  zhit 0.1.0  rtt 0.183 ms
WORKER  POOL       PID  SLOTS  IDLE  BUSY     HEARD  STATE
w1      default    815      4     3     1  0.4s ago
w2      cad      20815     16     0     3  0.4s ago  draining
w3      cad          -      1     1     0  4.0s ago  silent
and 2 workers that the broker does not list
5 workers, 21 slots: 4 idle, 4 busy, 13 draining; 2 waiting
";
    assert_eq!(text().answered(1, &pong, RTT), wanted);
}

#[test]
fn who_hangs_is_named_with_the_evidence_and_makes_the_ping_incomplete() {
    let stopped = PongWorker {
        hung: 2,
        still_ms: 6200,
        ..worker(1, "default", 815, 4, 2)
    };
    let one_slot = PongWorker {
        hung: 1,
        ..worker(2, "default", 816, 4, 2)
    };
    let mut report = text();
    let shown = report.answered(1, &pong(vec![stopped, one_slot]), RTT);
    assert!(shown.contains("0.4s ago  hung: loop still for 6.2s\n"), "{shown}");
    assert!(
        shown.contains("0.4s ago  1 slot hung: loop still, handler stopped, or its progress ceased\n"),
        "{shown}"
    );
    assert!(report.is_incomplete());
    report.answered(2, &pong(vec![worker(1, "default", 815, 4, 2)]), RTT);
    assert!(!report.is_incomplete(), "they go on");
}

#[test]
fn broker_without_workers_says_how_to_start_one() {
    let wanted = "\
alpha  broker pid 812  term 1795843200  up 2m 3s  zhit 0.1.0  rtt 0.183 ms
no workers; 0 waiting; start one: zhit worker
";
    assert_eq!(text().answered(1, &pong(vec![]), RTT), wanted);
}

#[test]
fn series_takes_a_line_a_probe_and_ends_in_statistics() {
    let mut report = text();
    let mut pong = pong(vec![worker(1, "default", 815, 4, 1)]);
    report.answered(1, &pong, RTT);
    assert_eq!(
        report.answered(2, &pong, Duration::from_micros(1210)),
        "alpha  seq 2  rtt 1.21 ms  1 worker, 4 slots: 3 idle, 1 busy; 0 waiting\n"
    );
    assert_eq!(
        report.lost(3, Duration::from_secs(5)),
        "alpha  seq 3  no answer within 5.0s\n"
    );
    pong.pid = 900;
    let full = report.answered(4, &pong, RTT);
    assert!(
        full.starts_with("alpha  broker pid 900  "),
        "another broker is shown in full: {full}"
    );
    assert_eq!(
        report.summary(Duration::from_millis(8200)),
        "4 sent, 3 answered, 25% lost in 8.2s; rtt min 0.183 avg 0.525 max 1.21 p99 1.21 ms\n"
    );
    assert!(report.is_incomplete());
    assert!(
        report
            .summary(Duration::from_micros(10_661))
            .contains("25% lost in 10.7 ms; ")
    );
}

#[test]
fn series_without_an_answer_has_no_round_trips() {
    let mut report = text();
    report.lost(1, Duration::from_secs(1));
    report.lost(2, Duration::from_secs(1));
    assert_eq!(
        report.summary(Duration::from_secs(2)),
        "2 sent, 0 answered, 100% lost in 2.0s\n"
    );
}

#[test]
fn what_peers_say_cannot_move_the_cursor() {
    let mut pong = pong(vec![worker(1, "a\x1b[2J\n", 815, 1, 5)]);
    pong.host = "h\x1b]0;x\x07".into();
    pong.version = "\u{202e}1".into();
    let shown = text().answered(1, &pong, RTT);
    assert!(!shown.contains(['\x1b', '\x07', '\u{202e}']), "{shown:?}");
    assert_eq!(shown.lines().count(), 4);
}

#[test]
fn json_has_an_object_a_line() {
    let mut report = json();
    let wanted = concat!(
        r#"{"kind":"probe","seq":1,"host":"alpha","answered":true,"rtt_ms":0.183,"#,
        r#""broker":{"pid":812,"term":1795843200,"uptime_ms":123456,"version":"0.1.0","trouble":null},"#,
        r#""queued":0,"workers_total":1,"slots":{"slots":4,"idle":3,"busy":1,"draining":0},"#,
        r#""workers":[{"worker":"w1","pool":"default","pid":815,"slots":4,"idle":3,"busy":1,"silent_ms":412,"#,
        r#""draining":false,"hung":0,"still_ms":0}]}"#,
        "\n"
    );
    assert_eq!(
        report.answered(1, &pong(vec![worker(1, "default", 815, 4, 1)]), RTT),
        wanted
    );
    assert_eq!(
        report.lost(2, Duration::from_secs(1)),
        "{\"kind\":\"probe\",\"seq\":2,\"host\":\"alpha\",\"answered\":false,\"waited_ms\":1000.0}\n"
    );
    assert_eq!(
        report.summary(Duration::from_micros(1_000_500)),
        concat!(
            r#"{"kind":"summary","sent":2,"answered":1,"lost":1,"elapsed_ms":1000.5,"#,
            r#""rtt_ms":{"min":0.183,"avg":0.183,"max":0.183,"p99":0.183}}"#,
            "\n"
        )
    );
    assert!(json().summary(Duration::ZERO).contains("\"rtt_ms\":null"));
}
