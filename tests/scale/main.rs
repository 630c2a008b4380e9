//! What a broadcast costs in clusters of many hosts: the very machines that ship, on a network with a simple cost model.
//! docs/scale.md says what the model is and what came out.
//!
//! `ZHIT_SCALE=full cargo test --release --test scale -- --nocapture` counts up to a million workers, prints the table and
//! writes docs/scale.json, of which `benches/scale_chart.py` makes the charts.

mod alone;
mod cost;
mod host;
mod idle;
mod members;
mod table;
mod world;

use std::time::Duration;

use table::Point;
use world::{Outcome, World};

/// Hosts of the full run; the last are more than a layout may have.
const HOSTS: [usize; 5] = [100, 300, 1000, 3000, 10_000];

/// Workers on each.
const WORKERS: u32 = 100;

/// A broadcast in which nobody is late: every worker is asked, answers and is thanked, once.
#[test]
fn every_message_of_a_broadcast_is_accounted_for() {
    let (hosts, workers) = (100, 10);
    let Outcome {
        books,
        closed_after,
        hops,
        sum,
        issuer,
        broker,
        other_broker,
        worker,
        unthanked,
        ..
    } = World::new(hosts, workers).run();
    let (all, others) = (hosts as u64 * u64::from(workers), hosts as u64 - 1);
    let per_host = u64::from(workers);
    assert!(books.balance(), "{books:?}");
    assert_eq!((books.expected as u64, books.ok as u64, unthanked), (all, all, 0));
    // The issuer: ROLL, ASK and THANKS to each host; ROSTER, RECEIPT and ANSWER back.
    assert_eq!((issuer.sent, issuer.received), (3 * 100, 100 + 2 * all));
    // Its broker passes on all of it, both ways; to its own workers one by one.
    assert_eq!(
        broker.received,
        issuer.sent + others * (1 + 2 * per_host) + 2 * per_host
    );
    assert_eq!(broker.sent, issuer.received + others * 3 + 2 * per_host);
    // Another host's: ROLL, ASK, THANKS, its workers' RECEIPT and ANSWER; these two it passes on, with ROSTER.
    assert_eq!(other_broker.received, 3 + 2 * per_host);
    assert_eq!(other_broker.sent, 1 + 2 * per_host + 2 * per_host);
    // A worker: ASK and THANKS; RECEIPT and ANSWER.
    assert_eq!((worker.received, worker.sent), (2, 2));
    // Each message is sent once a hop, and is taken once.
    let sent = issuer.sent + broker.sent + others * other_broker.sent + all * worker.sent;
    let received = issuer.received + broker.received + others * other_broker.received + all * worker.received;
    assert_eq!((sum.messages, sum.messages), (sent, received), "{:?}", sum.kinds);
    // ROLL 2, ROSTER 2, ASK 3, ANSWER 3.
    assert_eq!(hops, 10);
    assert!(closed_after < Duration::from_millis(250), "{closed_after:?}");
}

/// In a pace one NEWS to each and from each, and in ten of them a greeting both ways: so one that is in no hurry costs a
/// broker the same, however many there are.
#[test]
fn an_idle_broker_exchanges_as_many_messages_a_second_however_many_others_there_are() {
    for hosts in [2, 101, 301] {
        let others = (hosts - 1) as f64;
        let expected = others * (2.0 + 0.4) / members::pace(hosts).as_secs_f64();
        let idle = idle::idle(hosts, 10).messages();
        assert!((idle - expected).abs() < 0.001, "{hosts} hosts: {idle}, not {expected}");
        assert!(idle < 3.0 * 2.4 + 0.001, "{hosts} hosts: {idle}");
    }
}

#[test]
fn the_full_run() {
    if std::env::var("ZHIT_SCALE").is_ok_and(|what| what == "full") {
        // First, while the process is small: they look at their own memory, and what was freed before is not seen.
        let books = HOSTS.map(|hosts| (hosts, alone::alone(hosts, WORKERS)));
        let mut points = Vec::new();
        for (hosts, books) in books {
            points.push(Point::measure(hosts, WORKERS, books));
            println!("{}", table::table(&points));
            let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/scale.json");
            std::fs::write(path, table::json(&points)).expect("docs/scale.json");
        }
    }
}
