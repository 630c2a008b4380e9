use super::super::tests::{Bench, INTERVAL, TTL};
use super::*;
use crate::protocol::message::{AckPoint, ClosedReason, WorkState, Working};

/// What it sends, and which way.
fn sent(bench: &mut Bench) -> Vec<String> {
    let sent = std::mem::take(&mut bench.out).into_iter();
    sent.map(|(route, message)| format!("{:?} {route:?}", message.head().command).to_uppercase())
        .collect()
}

/// OPENED, with an endpoint.
fn opened(bench: &Bench) -> Message {
    Message::Opened(crate::protocol::message::Opened {
        endpoints: vec!["tcp://10.0.0.1:7430".to_owned(), "ipc:///run/members/w1.1".to_owned()],
        ..bench.opened()
    })
}

fn working(bench: &Bench) -> Working {
    let (seq, offset) = if bench.hit.is_outstanding() { (2, 0) } else { (1, 0) };
    Working {
        hit: bench.hit.key,
        attach: bench.hit.attach,
        ack: AckPoint {
            seq,
            offset,
            limit: 1 << 20,
        },
        state: WorkState::Idle,
        seq: 0,
        elapsed_ms: 0,
        bytes_in: 0,
        bytes_out: 0,
        progress: None,
    }
}

fn hear_straight(bench: &mut Bench, message: Message) {
    bench.hit.on_message(bench.now, Route::Direct, message, &mut bench.out);
}

fn bench_of(routing: Routing) -> Bench {
    let config = super::super::tests::config();
    Bench::new(|now| {
        Hit::open(
            now,
            super::super::tests::key(),
            super::super::Config { routing, ..config },
        )
    })
}

/// A client that speaks straight to its slot.
fn up() -> Bench {
    let mut bench = bench_of(Routing::Auto);
    bench.hear(opened(&bench));
    bench.step(DIRECT_AFTER);
    bench.hit.on_direct_route(bench.now);
    bench.hit.flush(bench.now, &mut bench.out);
    let answer = Message::Working(working(&bench));
    hear_straight(&mut bench, answer);
    assert!(bench.hit.is_direct());
    bench.out.clear();
    bench
}

#[test]
fn the_slot_is_asked_before_it_is_trusted() {
    let mut bench = bench_of(Routing::Auto);
    assert_eq!(sent(&mut bench), ["OPEN BROKER"]);
    bench.hear(opened(&bench));
    assert_eq!(bench.hit.direct_endpoint(), None, "it may be over in a moment");
    bench.step(DIRECT_AFTER);
    assert_eq!(bench.hit.direct_endpoint(), Some("ipc:///run/members/w1.1"));
    bench.out.clear();
    bench.step(DIRECT_AFTER);
    assert_eq!(sent(&mut bench), [""; 0], "there is no connection yet");
    bench.hit.on_direct_route(bench.now);
    bench.write();
    bench.hit.flush(bench.now, &mut bench.out);
    assert_eq!(sent(&mut bench), ["DATA BROKER", "KEEPALIVE DIRECT"]);
    let answer = Message::Working(Working {
        ack: bench.ack(),
        ..working(&bench)
    });
    hear_straight(&mut bench, answer);
    bench.write();
    bench.hit.flush(bench.now, &mut bench.out);
    assert_eq!(sent(&mut bench), ["ACK DIRECT"], "what is under way is not overtaken");
    let mut all = working(&bench);
    all.ack.seq = 3;
    hear_straight(&mut bench, Message::Working(all));
    assert_eq!(sent(&mut bench), ["DATA DIRECT"]);
}

#[test]
fn a_broker_that_stops_in_the_middle_of_the_change_is_not_waited_for() {
    let mut bench = bench_of(Routing::Auto);
    bench.hear(opened(&bench));
    bench.step(DIRECT_AFTER);
    bench.hit.on_direct_route(bench.now);
    bench.write();
    bench.hit.flush(bench.now, &mut bench.out);
    let answer = Message::Working(Working {
        ack: bench.ack(),
        ..working(&bench)
    });
    hear_straight(&mut bench, answer);
    bench.out.clear();
    assert_eq!(bench.hit.next_deadline(), Some(bench.now + TURN_WITHIN));
    bench.step(TURN_WITHIN);
    assert_eq!(sent(&mut bench), ["DATA DIRECT"], "both requests, again");
}

#[test]
fn a_hit_without_more_to_ask_makes_no_connection_until_it_takes_long() {
    let mut bench = bench_of(Routing::Auto);
    bench.hit.complete();
    bench.hear(opened(&bench));
    bench.step(INTERVAL / 2);
    assert_eq!(bench.hit.direct_endpoint(), None);
    bench.step(INTERVAL / 2);
    assert!(bench.hit.direct_endpoint().is_some(), "its broker may die meanwhile");
}

#[test]
fn it_resumes_by_the_broker_at_once_when_the_connection_ends() {
    let mut bench = up();
    bench.write();
    bench.hit.flush(bench.now, &mut bench.out);
    assert_eq!(sent(&mut bench), ["DATA DIRECT"]);
    bench.hit.on_direct_lost(bench.now);
    bench.hit.flush(bench.now, &mut bench.out);
    assert_eq!(sent(&mut bench), ["OPEN BROKER"]);
    bench.hear(opened(&bench));
    assert_eq!(
        sent(&mut bench),
        ["DATA BROKER"],
        "what is not acknowledged comes again"
    );
    assert_eq!(
        bench.hit.direct_endpoint(),
        None,
        "and the slot is left alone for a while"
    );
    bench.step(INTERVAL * 3);
    assert!(bench.hit.direct_endpoint().is_some(), "then it is tried again");
}

#[test]
fn silence_on_the_direct_route_is_noticed_even_when_nothing_is_outstanding() {
    let mut bench = up();
    let data = bench.data();
    hear_straight(&mut bench, Message::Data(data));
    assert!(!bench.hit.is_outstanding());
    bench.out.clear();
    bench.pass(INTERVAL * 6);
    let sent = sent(&mut bench);
    let resumed = sent.iter().position(|what| what == "OPEN BROKER");
    assert_eq!(sent[..2], ["ACK DIRECT", "KEEPALIVE DIRECT"]);
    assert!(resumed.is_some(), "{sent:?}");
    assert!(INTERVAL * 6 < TTL, "long before its slot gives it up");
}

#[test]
fn the_brokers_silence_does_not_matter_while_the_slot_answers() {
    let mut bench = up();
    bench.write();
    bench.hit.flush(bench.now, &mut bench.out);
    for _ in 0..40 {
        bench.step(INTERVAL / 2);
        let answer = Message::Working(working(&bench));
        hear_straight(&mut bench, answer);
    }
    assert!(sent(&mut bench).iter().all(|what| what.ends_with("DIRECT")));
    assert_eq!(bench.hit.phase, Phase::Open);
}

#[test]
fn the_slots_word_that_it_is_over_does_not_overtake_its_bytes() {
    let closed = |reason| {
        Message::Closed(Closed {
            hit: super::super::tests::key(),
            attach: crate::protocol::Attach(1),
            reason,
            started: 2,
            answered: 1,
            note: String::new(),
        })
    };
    let mut bench = up();
    bench.hear(closed(ClosedReason::WorkerLeft));
    assert_eq!(bench.hit.outcome, None, "by the broker it may be ahead of a reply");
    hear_straight(&mut bench, closed(ClosedReason::WorkerLeft));
    assert!(matches!(bench.hit.outcome, Some(Outcome::Lost(Lost::Closed(..)))));
    // Who leaves may be gone before that is read.
    for lost in [true, false] {
        let mut bench = up();
        bench.hear(closed(ClosedReason::WorkerLeft));
        assert_eq!(bench.hit.next_deadline(), Some(bench.now + TURN_WITHIN));
        if lost {
            bench.hit.on_direct_lost(bench.now);
            bench.hit.flush(bench.now, &mut bench.out);
        } else {
            bench.step(TURN_WITHIN);
        }
        assert!(matches!(bench.hit.outcome, Some(Outcome::Lost(Lost::Closed(..)))));
        assert_eq!(bench.sent(), [""; 0], "there is nothing to resume");
    }
    let mut bench = up();
    bench.hear(closed(ClosedReason::WorkerDied));
    assert!(
        matches!(bench.hit.outcome, Some(Outcome::Lost(Lost::Closed(..)))),
        "nobody else can say so"
    );
}

#[test]
fn a_close_that_finds_no_connection_goes_by_the_broker() {
    let mut bench = up();
    bench.hit.abandon(&mut bench.out);
    let (route, close) = bench.out.pop().unwrap();
    assert_eq!(route, Route::Direct);
    bench.hit.on_no_route(bench.now, route, &close, &mut bench.out);
    assert_eq!(sent(&mut bench), ["CLOSE BROKER"]);
}

#[test]
fn nothing_but_the_hits_own_is_taken_straight() {
    let mut bench = up();
    bench.hit.on_direct_lost(bench.now);
    bench.out.clear();
    let strange = [
        opened(&bench),
        Message::Farewell,
        Message::Working(Working {
            attach: crate::protocol::Attach(9),
            ..working(&bench)
        }),
        Message::Working(Working {
            hit: crate::protocol::HitKey::from_bytes([9; 16]),
            ..working(&bench)
        }),
    ];
    for message in strange {
        hear_straight(&mut bench, message);
    }
    assert!(!bench.hit.is_direct());
    let answer = Message::Working(working(&bench));
    hear_straight(&mut bench, answer);
    assert!(
        bench.hit.is_direct() && bench.hit.phase == Phase::Open,
        "it has come back"
    );
}

#[test]
fn forced_it_sends_no_request_by_the_broker() {
    let mut bench = bench_of(Routing::Direct);
    let (_, open) = bench.out.pop().unwrap();
    let Message::Open(open) = open else { panic!("it opens") };
    assert!(open.packet.segments.is_empty());
    bench.hear(opened(&bench));
    assert_eq!(sent(&mut bench), [""; 0]);
    bench.hit.on_direct_route(bench.now);
    bench.hit.flush(bench.now, &mut bench.out);
    assert_eq!(sent(&mut bench), ["KEEPALIVE DIRECT"]);
    let answer = Message::Working(Working {
        ack: bench.ack(),
        ..working(&bench)
    });
    hear_straight(&mut bench, answer);
    assert_eq!(sent(&mut bench), ["DATA DIRECT"]);
}

#[test]
fn forced_it_waits_for_a_connection_that_has_ended_to_come_back() {
    let mut bench = bench_of(Routing::Direct);
    bench.hear(opened(&bench));
    bench.hit.on_direct_route(bench.now);
    bench.hit.flush(bench.now, &mut bench.out);
    let answer = Message::Working(Working {
        ack: bench.ack(),
        ..working(&bench)
    });
    hear_straight(&mut bench, answer.clone());
    bench.hit.on_direct_lost(bench.now);
    bench.out.clear();
    bench.hit.flush(bench.now, &mut bench.out);
    bench.hear(opened(&bench));
    assert_eq!(sent(&mut bench), ["OPEN BROKER"], "and no bytes");
    bench.hit.on_direct_route(bench.now);
    bench.hit.flush(bench.now, &mut bench.out);
    hear_straight(&mut bench, answer);
    assert_eq!(sent(&mut bench), ["KEEPALIVE DIRECT", "DATA DIRECT"]);
}

#[test]
fn an_endpoint_that_cannot_be_connected_to_is_left_alone() {
    let mut bench = bench_of(Routing::Auto);
    bench.hear(opened(&bench));
    bench.step(DIRECT_AFTER);
    bench.hit.on_direct_impossible(&mut bench.out);
    assert_eq!(bench.hit.direct_endpoint(), None);
    assert_eq!(bench.hit.outcome, None);
    let mut forced = bench_of(Routing::Direct);
    forced.hear(opened(&forced));
    forced.hit.on_direct_impossible(&mut forced.out);
    assert_eq!(
        forced.hit.outcome,
        Some(Outcome::Lost(Lost::NoDirect(NoDirect::NoEndpoint)))
    );
}

#[test]
fn forced_it_ends_when_there_is_no_such_route() {
    let mut bench = bench_of(Routing::Direct);
    bench.out.clear();
    bench.hear(Message::Opened(bench.opened()));
    let lost = |why| Some(Outcome::Lost(Lost::NoDirect(why)));
    assert_eq!(bench.hit.outcome, lost(NoDirect::NoEndpoint));
    assert_eq!(sent(&mut bench), ["CLOSE BROKER"]);

    let mut bench = bench_of(Routing::Direct);
    bench.hear(opened(&bench));
    let wait = bench.hit.config.wait;
    bench.step(wait);
    assert_eq!(bench.hit.outcome, lost(NoDirect::Silent(wait)));
    assert_eq!(bench.hit.ledger().maybe, 0, "nothing was sent");
}
