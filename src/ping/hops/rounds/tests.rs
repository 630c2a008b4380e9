use super::*;
use crate::hit::{Hosts, Leave, Outcome};
use crate::protocol::WorkerId;
use crate::protocol::ids::{Attach, DirId, Term};
use crate::protocol::message::{AckPoint, CloseReason, Closed, ClosedReason, Left, Opened, Working};
use crate::protocol::route::Routing;

const PATIENCE: Duration = Duration::from_secs(2);
const ENDPOINT: &str = "ipc:///x/members/w3.1";

fn key() -> HitKey {
    HitKey::from_bytes([7; 16])
}

/// A broker and a slot that answer as a test says, at a time of the test's own.
struct Bench {
    rounds: Rounds,
    now: Moment,
    out: Outbox,
    /// How long each answer takes, in the order of [`Ask`]; `None`: it does not come.
    takes: [Option<u64>; 4],
    /// The slot speaks straight to its client.
    is_straight: bool,
    sent: Vec<&'static str>,
}

impl Bench {
    fn new(rounds: u32, interval: Duration) -> Self {
        let config = Config {
            pool: "default".to_owned(),
            wait: PATIENCE,
            ttl: Duration::from_secs(15),
            timeout: None,
            timeout_slack: PATIENCE,
            interval: Duration::from_secs(1),
            liveness: 3,
            one_shot: false,
            leave: Leave::Close,
            holder: None,
            routing: Routing::Broker,
            hosts: Hosts::default(),
        };
        let plan = Plan {
            rounds,
            interval,
            patience: PATIENCE,
            request: None,
        };
        let now = Moment::from_micros(1_000_000);
        Self {
            rounds: Rounds::new(now, key(), config, plan),
            now,
            out: Vec::new(),
            takes: [Some(40), Some(100), None, Some(30)],
            is_straight: false,
            sent: Vec::new(),
        }
    }

    fn hear(&mut self, route: Route, message: Message) {
        self.rounds.on_message(self.now, route, message, &mut self.out);
    }

    fn pass(&mut self, micros: u64) {
        self.now += Duration::from_micros(micros);
    }

    /// One turn of the loop. Where nothing is to be sent, time passes until something is due.
    fn turn(&mut self) {
        self.rounds.direct.set_connected(true);
        self.rounds.on_tick(self.now, &mut self.out);
        if self.out.is_empty() && self.rounds.end().is_none() {
            self.now = self.rounds.next_deadline(self.now).unwrap();
        }
        for (route, message) in std::mem::take(&mut self.out) {
            self.answer(route, message);
        }
    }

    /// Turns the loop until this holds.
    fn turn_until(&mut self, holds: impl Fn(&Self) -> bool) {
        for _ in 0..100_000 {
            if holds(self) {
                return;
            }
            self.turn();
        }
        panic!("it does not come to that: {:?}", self.rounds);
    }

    /// Turns the loop until it is over.
    fn run(&mut self) -> End {
        self.turn();
        self.turn_until(|bench| bench.rounds.end().is_some() && bench.out.is_empty());
        self.rounds.end().unwrap()
    }

    fn answer(&mut self, route: Route, message: Message) {
        match message {
            Message::Open(open) => {
                self.sent.push("OPEN");
                self.is_straight = false;
                self.pass(500);
                self.hear(Route::Broker, opened(open.attempt, &[ENDPOINT]));
            }
            Message::Ping { nonce } => {
                self.sent.push("PING");
                if let Some(micros) = self.takes[0] {
                    self.pass(micros);
                    self.hear(Route::Broker, pong(nonce));
                }
            }
            Message::KeepAlive { .. } => {
                self.is_straight |= route == Route::Direct;
                let straight = self.is_straight;
                self.sent
                    .push(if straight { "KEEPALIVE straight" } else { "KEEPALIVE" });
                if let Some(micros) = self.takes[if straight { 3 } else { 1 }] {
                    self.pass(micros);
                    self.hear(if straight { Route::Direct } else { Route::Broker }, working());
                }
            }
            Message::Close(close) => self.sent.push(match close.reason {
                CloseReason::Done => "CLOSE done",
                _ => "CLOSE abandoned",
            }),
            Message::Withdraw { .. } => self.sent.push("WITHDRAW"),
            other => panic!("{other:?}"),
        }
    }
}

fn ack() -> AckPoint {
    AckPoint {
        seq: 1,
        offset: 0,
        limit: 1 << 20,
    }
}

fn opened(attempt: Attempt, endpoints: &[&str]) -> Message {
    Message::Opened(Opened {
        hit: key(),
        attach: Attach(1),
        attempt,
        client: 0,
        term: Term(1),
        dir: DirId([1; 16]),
        host: "alpha".to_owned(),
        slot: SlotId {
            worker: WorkerId(3),
            number: 1,
        },
        first_seq: 1,
        ack: ack(),
        ttl_ms: 15_000,
        left: Left::default(),
        endpoints: endpoints.iter().map(|one| (*one).to_owned()).collect(),
    })
}

fn pong(nonce: u64) -> Message {
    Message::Pong(Pong {
        nonce,
        host: "alpha".to_owned(),
        pid: 4711,
        term: Term(1),
        uptime_ms: 1,
        version: "0.1.0".to_owned(),
        trouble: String::new(),
        queued: 0,
        workers_total: 0,
        workers: Vec::new(),
    })
}

fn working() -> Message {
    Message::Working(Working {
        hit: key(),
        attach: Attach(1),
        ack: ack(),
        ..Working::default()
    })
}

#[test]
fn each_round_asks_one_after_the_other_and_resumes_before_and_after_it_asks_straight() {
    let mut bench = Bench::new(2, Duration::ZERO);
    assert_eq!(bench.run(), End::Done);
    let round = ["OPEN", "KEEPALIVE straight", "OPEN", "PING", "KEEPALIVE"];
    let all = [&round[..], &round, &["CLOSE done"]].concat();
    assert_eq!(bench.sent, all);
    let of = |trips: &super::super::trips::Trips| {
        let figures = trips.figures().unwrap();
        (trips.count(), figures.min, figures.max, trips.lost_count())
    };
    let all = &bench.rounds.measured;
    assert_eq!(of(&all.client_broker), (2, 40, 40, 0));
    assert_eq!(of(&all.client_slot), (2, 100, 100, 0));
    assert_eq!(of(&all.broker_slot), (2, 60, 60, 0));
    assert_eq!(of(&all.direct), (2, 30, 30, 0));
    assert_eq!(bench.rounds.hit().outcome(), Some(&Outcome::Done));
}

#[test]
fn rounds_begin_an_interval_apart_and_none_follows_the_last() {
    let mut bench = Bench::new(3, Duration::from_secs(1));
    let began = bench.now;
    assert_eq!(bench.run(), End::Done);
    let took = bench.now.since(began);
    assert!(
        took >= Duration::from_secs(2) && took < Duration::from_secs(3),
        "{took:?}"
    );
}

#[test]
fn an_answer_that_is_late_is_not_the_next_ones() {
    let mut bench = Bench::new(2, Duration::ZERO);
    bench.rounds.direct = Direct::None("there is none".to_owned());
    bench.takes[1] = None;
    bench.turn_until(|bench| bench.sent.last() == Some(&"KEEPALIVE"));
    // It is lost; its answer comes after the next round's question, before that one's.
    bench.pass(PATIENCE.as_micros() as u64);
    bench.rounds.on_tick(bench.now, &mut bench.out);
    assert_eq!(
        bench.rounds.take_remarks(),
        ["client-slot: no answer within 2.0s (round 1)"]
    );
    let open = |out: &Outbox| {
        out.iter().find_map(|(_, one)| match one {
            Message::Open(open) => Some(open.attempt),
            _ => None,
        })
    };
    let attempt = open(&bench.out).expect("the Hit is resumed");
    bench.out.clear();
    bench.hear(Route::Broker, working());
    assert_eq!(bench.rounds.measured.client_slot.count(), 0);
    bench.hear(Route::Broker, opened(attempt, &[]));
    bench.takes[1] = Some(70);
    assert_eq!(bench.run(), End::Done);
    assert_eq!(bench.rounds.measured.client_slot.figures().unwrap().max, 70);
    assert_eq!(bench.rounds.measured.broker_slot.lost_count(), 1);
}

#[test]
fn a_slot_that_never_answers_straight_has_no_such_hop() {
    let mut bench = Bench::new(2, Duration::ZERO);
    bench.takes[3] = None;
    assert_eq!(bench.run(), End::Done);
    let why = format!("no answer at {ENDPOINT} within 2.0s");
    assert_eq!(bench.rounds.direct.why(), Some(why.as_str()));
    assert!(!bench.rounds.measured.has_lost());
    assert_eq!(bench.rounds.measured.client_slot.count(), 2);
}

#[test]
fn a_connection_by_which_an_answer_was_lost_is_left() {
    let mut bench = Bench::new(2, Duration::from_secs(10));
    bench.turn_until(|bench| bench.rounds.measured.direct.count() == 1);
    bench.takes[3] = None;
    bench.turn_until(|bench| bench.rounds.measured.direct.lost_count() == 1);
    assert!(bench.rounds.direct.take_stale() && !bench.rounds.direct.is_connected());
    bench.takes[3] = Some(30);
    assert_eq!(bench.run(), End::Done);
    assert_eq!(bench.rounds.take_remarks(), ["direct: no answer within 2.0s (round 2)"]);
    assert_eq!(
        (bench.rounds.direct.why(), bench.rounds.measured.direct.count()),
        (None, 1)
    );
}

#[test]
fn silence_ends_it_and_the_hit_is_closed() {
    let mut bench = Bench::new(100, Duration::ZERO);
    bench.takes[0] = None;
    assert_eq!(bench.run(), End::Silent(Ask::Broker));
    let all = &bench.rounds.measured;
    assert_eq!((all.client_broker.lost_count(), all.client_slot.count()), (3, 2));
    let close = "CLOSE abandoned";
    assert!(bench.sent.ends_with(&[close, close]), "by either way: {:?}", bench.sent);
    assert_eq!(bench.rounds.take_remarks().len(), 3);
}

#[test]
fn who_is_stopped_closes_the_hit() {
    let mut bench = Bench::new(100, Duration::from_secs(1));
    bench.rounds.on_tick(bench.now, &mut bench.out);
    bench.rounds.stop(&mut bench.out);
    assert_eq!(bench.run(), End::Stopped);
    assert_eq!(bench.sent, ["OPEN", "WITHDRAW", "CLOSE abandoned"]);

    let mut bench = Bench::new(100, Duration::from_secs(1));
    bench.turn_until(|bench| bench.rounds.measured.direct.count() == 1);
    bench.rounds.stop(&mut bench.out);
    assert_eq!(bench.run(), End::Stopped);
    assert!(bench.sent.last().unwrap().starts_with("CLOSE"), "{:?}", bench.sent);
}

#[test]
fn a_worker_that_dies_ends_it_with_what_was_measured() {
    let mut bench = Bench::new(100, Duration::from_secs(1));
    bench.turn_until(|bench| bench.rounds.measured.client_slot.count() == 1);
    bench.hear(
        Route::Broker,
        Message::Closed(Closed {
            hit: key(),
            attach: Attach(1),
            reason: ClosedReason::WorkerDied,
            started: 0,
            answered: 0,
            note: String::new(),
        }),
    );
    assert_eq!(bench.run(), End::Hit);
    assert_eq!(bench.rounds.measured.client_slot.count(), 1);
}

#[test]
fn a_question_that_cannot_be_sent_is_asked_again() {
    let mut bench = Bench::new(1, Duration::ZERO);
    bench.rounds.direct = Direct::None("there is none".to_owned());
    while !matches!(bench.out.last(), Some((_, Message::Ping { .. }))) {
        for (route, message) in std::mem::take(&mut bench.out) {
            bench.answer(route, message);
        }
        bench.rounds.on_tick(bench.now, &mut bench.out);
    }
    let (route, ping) = bench.out.pop().unwrap();
    bench.pass(900_000);
    bench.rounds.on_no_route(bench.now, route, &ping, &mut bench.out);
    bench.rounds.on_tick(bench.now, &mut bench.out);
    assert!(!bench.out.iter().any(|(_, one)| matches!(one, Message::Ping { .. })));
    bench.rounds.on_route(bench.now);
    assert_eq!(bench.run(), End::Done);
    let all = &bench.rounds.measured;
    assert_eq!((all.client_broker.figures().unwrap().max, all.has_lost()), (40, false));
}
