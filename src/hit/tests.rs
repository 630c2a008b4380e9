use super::*;
use crate::protocol::WorkerId;
use crate::protocol::message::{
    Ack, AckPoint, ClosedReason, Data, Direction, Disconnect, Full, FullReason, Held, Opened, Packet, Queued, Segment,
};
use crate::protocol::tables::{Table, cell};

pub(super) const INTERVAL: Duration = Duration::from_secs(1);
const WAIT: Duration = Duration::from_secs(5);
pub(super) const TTL: Duration = Duration::from_secs(15);
const TIMEOUT: Duration = Duration::from_secs(60);
const CLIENT: u64 = 77;

pub(super) fn key() -> HitKey {
    HitKey::from_bytes([7; 16])
}

pub(super) fn config() -> Config {
    Config {
        pool: "default".to_owned(),
        wait: WAIT,
        ttl: TTL,
        timeout: Some(TIMEOUT),
        timeout_slack: INTERVAL,
        interval: INTERVAL,
        liveness: 3,
        one_shot: false,
        leave: Leave::Close,
        holder: None,
        routing: Routing::Auto,
        hosts: Hosts::default(),
    }
}

/// A client at a moment.
pub(super) struct Bench {
    pub(super) hit: Hit,
    pub(super) now: Moment,
    pub(super) out: Outbox,
}

impl Bench {
    pub(super) fn new(hit: impl FnOnce(Moment) -> Hit) -> Self {
        let now = Moment::from_micros(1_000_000);
        let (hit, out) = (hit(now), Vec::new());
        let mut bench = Self { hit, now, out };
        bench.write();
        bench.hit.flush(now, &mut bench.out);
        bench
    }

    fn opener() -> Self {
        Self::new(|now| Hit::open(now, key(), config()))
    }

    fn attacher() -> Self {
        Self::new(|now| Hit::attach(now, key(), CLIENT, config()))
    }

    pub(super) fn write(&mut self) {
        if self.hit.room().is_some_and(|room| room >= 4) {
            self.hit.write(self.now, Bytes::from_static(b"ask!"), true);
        }
    }

    pub(super) fn hear(&mut self, message: Message) {
        self.hit.on_message(self.now, Route::Broker, message, &mut self.out);
    }

    /// Time passes, and the loop turns four times an interval.
    pub(super) fn pass(&mut self, span: Duration) {
        let until = self.now + span;
        while self.now < until {
            self.now = until.min(self.now + INTERVAL / 4);
            self.hit.on_tick(self.now, &mut self.out);
        }
    }

    /// One turn, so much later.
    pub(super) fn step(&mut self, span: Duration) {
        self.now += span;
        self.hit.on_tick(self.now, &mut self.out);
    }

    pub(super) fn opened(&self) -> Opened {
        Opened {
            hit: key(),
            attach: self.hit.attach,
            attempt: self.hit.attempt,
            client: self.hit.client,
            term: Term(1),
            dir: DirId([1; 16]),
            host: "alpha".to_owned(),
            slot: SlotId {
                worker: WorkerId(1),
                number: 1,
            },
            first_seq: if self.hit.client == 0 { 1 } else { 5 },
            ack: AckPoint {
                seq: if self.hit.client == 0 { 1 } else { 5 },
                offset: 0,
                limit: WINDOW_BYTES,
            },
            ttl_ms: 15_000,
            left: Left::default(),
            endpoints: Vec::new(),
        }
    }

    pub(super) fn data(&self) -> Data {
        let (seq, offset) = self.hit.replies.next();
        Data {
            hit: key(),
            attach: self.hit.attach,
            direction: Direction::ToClient,
            packet: Packet {
                ack: self.ack(),
                seq,
                offset,
                segments: vec![Segment {
                    channel: Channel::Body,
                    length: 3,
                    end: Some(Status::Ok),
                }],
                body: Bytes::from_static(b"yes"),
            },
        }
    }

    /// Acknowledges nothing new.
    pub(super) fn ack(&self) -> AckPoint {
        AckPoint {
            seq: if self.hit.client == 0 { 1 } else { 5 },
            offset: 0,
            limit: WINDOW_BYTES,
        }
    }

    fn occupied(&self, current: u32) -> Message {
        Message::Occupied {
            hit: key(),
            attach: self.hit.attach,
            client: self.hit.client,
            current: Attach(current),
        }
    }

    pub(super) fn sent(&mut self) -> Vec<String> {
        let sent = std::mem::take(&mut self.out).into_iter();
        sent.map(|(_, message)| format!("{:?}", message.head().command).to_uppercase())
            .collect()
    }

    fn phase(&self) -> String {
        match (self.hit.phase, &self.hit.outcome) {
            (Phase::Withdrawing { .. }, _) => "Withdrawing".to_owned(),
            (Phase::Ended, Some(Outcome::Lost(Lost::Closed(..)))) => "Ended (closed)".to_owned(),
            (Phase::Ended, Some(Outcome::Lost(Lost::Violation(_)))) => "Ended (violation)".to_owned(),
            (Phase::Ended, Some(Outcome::Lost(Lost::Silence(_)))) => "Ended (silence)".to_owned(),
            (Phase::Ended, Some(Outcome::Lost(Lost::Unconfirmed))) => "Ended (unconfirmed)".to_owned(),
            (Phase::Ended, Some(Outcome::NoSlot(_))) => "Ended (no slot)".to_owned(),
            (Phase::Ended, Some(outcome)) => format!("Ended ({})", format!("{outcome:?}").to_lowercase()),
            (phase, _) => format!("{phase:?}"),
        }
    }
}

const STATES: [&str; 8] = [
    "Opening",
    "Waiting",
    "Withdrawing",
    "Open",
    "Resuming",
    "Attaching",
    "Attached, Resuming",
    "Ended",
];

/// A client in this state, with one request written, if it could be.
fn in_state(state: &str) -> Bench {
    let mut bench = if state.starts_with("Att") {
        Bench::attacher()
    } else {
        Bench::opener()
    };
    match state {
        "Waiting" => bench.hear(queued(1)),
        "Withdrawing" => bench.pass(WAIT),
        "Open" => bench.hear(Message::Opened(bench.opened())),
        "Resuming" | "Attached, Resuming" => {
            bench.hear(Message::Opened(bench.opened()));
            bench.write();
            bench.pass(INTERVAL * 4);
        }
        "Ended" => bench.hit.abandon(&mut bench.out),
        _ => {}
    }
    let expected = state.rsplit(", ").next().unwrap_or(state);
    let phase = if state == "Attaching" { "Opening" } else { expected };
    assert!(bench.phase().starts_with(phase), "{state}: {}", bench.phase());
    bench.out.clear();
    bench
}

fn queued(attempt: u32) -> Message {
    Message::Queued(Queued {
        hit: key(),
        attempt: Attempt(attempt),
        term: Term(1),
        ahead: 2,
        slots: 4,
        busy: 4,
    })
}

fn full(attempt: u32) -> Message {
    Message::Full(Full {
        hit: key(),
        attempt: Attempt(attempt),
        reason: FullReason::Leaving,
        term: Term(1),
        hints: Vec::new(),
    })
}

fn closed(attach: u32) -> Message {
    Message::Closed(Closed {
        hit: key(),
        attach: Attach(attach),
        reason: ClosedReason::WorkerDied,
        started: u64::MAX,
        answered: u64::MAX,
        note: String::new(),
    })
}

type Event = fn(&mut Bench);

#[expect(clippy::too_many_lines, reason = "a list: one entry an event")]
fn events() -> Vec<(&'static str, Event)> {
    vec![
        ("OPENED", |b| b.hear(Message::Opened(b.opened()))),
        ("OPENED of an attempt never made", |b| {
            let attempt = Attempt(99);
            b.hear(Message::Opened(Opened { attempt, ..b.opened() }));
        }),
        ("OPENED to another client", |b| {
            b.hear(Message::Opened(Opened {
                client: 5,
                ..b.opened()
            }));
        }),
        ("DATA", |b| b.hear(Message::Data(b.data()))),
        ("DATA, a gap before it", |b| {
            let mut data = b.data();
            data.packet.seq += 1;
            b.hear(Message::Data(data));
        }),
        ("DATA beyond the credit", |b| {
            b.hit.replies = Receiver::new(b.hit.replies.next().0, 10, false);
            b.hear(Message::Data(b.data()));
        }),
        ("DATA of another attachment, or to the slot", |b| {
            let attach = Attach(b.hit.attach.0 + 1);
            b.hear(Message::Data(Data { attach, ..b.data() }));
            let direction = Direction::ToSlot;
            b.hear(Message::Data(Data { direction, ..b.data() }));
        }),
        ("ACK", |b| {
            b.hear(Message::Ack(ack(b.hit.attach, b.ack())));
        }),
        ("ACK of what was not sent", |b| {
            b.hear(Message::Ack(ack(b.hit.attach, AckPoint { seq: 50, ..b.ack() })));
        }),
        ("WORKING", |b| {
            b.hear(Message::Working(Working {
                hit: key(),
                attach: b.hit.attach,
                ack: b.ack(),
                state: WorkState::Running,
                seq: 1,
                elapsed_ms: 5,
                bytes_in: 4,
                bytes_out: 0,
                progress: None,
            }));
        }),
        ("CLOSED", |b| b.hear(closed(b.hit.attach.0))),
        ("CLOSED to a higher attach number", |b| {
            b.hear(closed(b.hit.attach.0 + 1));
        }),
        ("OCCUPIED, higher", |b| b.hear(b.occupied(b.hit.attach.0 + 1))),
        ("OCCUPIED, lower", |b| b.hear(b.occupied(b.hit.attach.0 - 1))),
        ("QUEUED", |b| b.hear(queued(b.hit.attempt.0))),
        ("QUEUED, older attempt", |b| {
            b.hear(queued(b.hit.attempt.0.wrapping_sub(1)));
        }),
        ("FULL", |b| b.hear(full(b.hit.attempt.0))),
        ("FULL, older attempt", |b| b.hear(full(b.hit.attempt.0.wrapping_sub(1)))),
        ("WITHDRAWN", |b| {
            b.hear(Message::Withdrawn {
                hit: key(),
                attempt: b.hit.attempt,
            });
        }),
        ("WITHDRAWN, older attempt", |b| {
            let attempt = Attempt(b.hit.attempt.0.wrapping_sub(1));
            b.hear(Message::Withdrawn { hit: key(), attempt });
        }),
        ("HELD", |b| {
            b.hear(Message::Held(Held {
                hit: key(),
                attempt: b.hit.attempt,
                term: Term(1),
                slot: SlotId::default(),
                silent_ms: 0,
            }));
        }),
        ("anything of another Hit", |b| {
            let hit = HitKey::from_bytes([9; 16]);
            b.hear(Message::Opened(Opened { hit, ..b.opened() }));
            b.hear(Message::Data(Data { hit, ..b.data() }));
            b.hear(Message::Withdrawn {
                hit,
                attempt: b.hit.attempt,
            });
        }),
        ("any other command", |b| {
            b.hear(Message::Farewell);
            b.hear(Message::Disconnect(Disconnect::Unexpected));
            b.hear(Message::Ping { nonce: 1 });
        }),
        ("a request is written", |b| {
            b.write();
            b.hit.flush(b.now, &mut b.out);
        }),
        ("it is told to stop", |b| b.hit.abandon(&mut b.out)),
        ("no route to a broker", |b| {
            let attempt = b.hit.attempt;
            let withdraw = Message::Withdraw { hit: key(), attempt };
            b.hit.on_no_route(b.now, Route::Broker, &withdraw, &mut b.out);
        }),
        ("a route again", |b| {
            b.hit.on_route(b.now);
            b.hit.flush(b.now, &mut b.out);
        }),
        ("silence for an interval", |b| b.pass(INTERVAL)),
        ("silence for liveness intervals", |b| b.pass(INTERVAL * 3)),
        ("silence for twice that", |b| b.pass(INTERVAL * 6)),
        ("silence for its ttl, and what it waits for", |b| {
            b.pass(TTL + INTERVAL * 3);
        }),
        ("the deadline of its request", |b| {
            for _ in 0..65 {
                // The slot says that it works, or that somebody else does.
                b.hit.heard(b.now);
                b.pass(INTERVAL);
            }
        }),
    ]
}

fn ack(attach: Attach, ack: AckPoint) -> Ack {
    Ack {
        hit: key(),
        attach,
        direction: Direction::ToClient,
        gap: false,
        ack,
    }
}

#[test]
fn every_cell_of_the_table_is_true() {
    let mut table = Table::new("client", &STATES);
    for (name, event) in events() {
        let cells = STATES.map(|state| {
            let mut bench = in_state(state);
            let before = (bench.phase(), format!("{:?}", bench.hit));
            event(&mut bench);
            let phase = bench.phase();
            let change = (phase != before.0).then(|| format!("→ {phase}"));
            let is_same = format!("{:?}", bench.hit) == before.1;
            cell(change, bench.sent(), is_same)
        });
        table.row(name, &cells);
    }
    table.check();
}

/// A client that has attached, and asked something.
fn attached() -> Bench {
    let mut bench = Bench::attacher();
    bench.hear(Message::Opened(bench.opened()));
    bench.write();
    bench.hit.flush(bench.now, &mut bench.out);
    bench.out.clear();
    bench
}

#[test]
fn one_that_wants_to_attach_takes_nothing_of_who_holds_the_number() {
    let mut bench = Bench::attacher();
    let mut data = bench.data();
    data.packet.ack.seq = 40;
    bench.hear(Message::Data(data));
    assert_eq!(bench.phase(), "Opening");
    assert!(bench.hit.next_reply().is_none());
}

#[test]
fn a_superseded_client_hears_so() {
    let mut bench = attached();
    bench.pass(INTERVAL * 4);
    assert_eq!(bench.phase(), "Resuming");
    bench.hear(bench.occupied(3));
    let Some(Outcome::Lost(Lost::Closed(reason, _))) = bench.hit.outcome() else {
        panic!("{}", bench.phase())
    };
    assert_eq!(*reason, ClosedReason::Superseded);
}

#[test]
fn one_that_never_attached_has_leased_nothing() {
    let mut bench = Bench::attacher();
    while bench.hit.outcome().is_none() {
        bench.hear(bench.occupied(1));
        bench.pass(INTERVAL);
    }
    assert!(matches!(bench.hit.outcome(), Some(Outcome::NoSlot(_))));
    assert!(!bench.sent().contains(&"WITHDRAW".to_owned()));
}

#[test]
fn an_attachers_requests_start_where_the_slot_says() {
    let mut bench = attached();
    assert_eq!(bench.hit.seq(), 6);
    assert_eq!((bench.hit.ledger().answered, bench.hit.ledger().maybe), (4, 5));
    bench.hear(Message::Data(bench.data()));
    assert_eq!(bench.hit.ledger().answered, 5);
}

#[test]
fn a_client_that_ticks_only_at_its_deadlines_notices_a_silent_slot() {
    let mut bench = in_state("Open");
    while bench.hit.outcome().is_none() {
        bench.now = bench.hit.next_deadline().expect("it waits for something");
        bench.hit.on_tick(bench.now, &mut bench.out);
    }
    assert_eq!(bench.phase(), "Ended (silence)");
    assert!(bench.now.since(Moment::from_micros(1_000_000)) < TTL + INTERVAL * 4);
}

#[test]
fn a_client_that_stood_still_asks_before_it_judges() {
    let mut bench = in_state("Resuming");
    bench.now += TTL * 2;
    bench.hit.on_tick(bench.now, &mut bench.out);
    assert_eq!(bench.phase(), "Resuming");
    assert_eq!(bench.sent(), ["OPEN"]);
}

#[test]
fn no_slot_is_said_only_after_withdrawn() {
    let mut bench = Bench::opener();
    bench.pass(WAIT + INTERVAL);
    assert_eq!((bench.phase().as_str(), bench.hit.outcome()), ("Withdrawing", None));
    // It was leased after all.
    bench.hear(Message::Opened(bench.opened()));
    assert_eq!(bench.phase(), "Open");
    bench.hear(Message::Withdrawn {
        hit: key(),
        attempt: bench.hit.attempt,
    });
    assert_eq!(bench.phase(), "Open");
}

#[test]
fn replies_that_arrived_in_full_count_whatever_ended_the_hit() {
    let mut bench = in_state("Open");
    bench.hit.complete();
    bench.hear(Message::Data(bench.data()));
    bench.hear(closed(1));
    assert_eq!(bench.hit.outcome(), None, "its reader has not taken the reply yet");
    assert!(bench.hit.next_reply().is_some());
    bench.hit.flush(bench.now, &mut bench.out);
    assert_eq!(bench.hit.outcome(), Some(&Outcome::Done));
}

#[test]
fn the_ledger_says_what_may_have_run() {
    let mut bench = in_state("Open");
    bench.write();
    bench.hit.flush(bench.now, &mut bench.out);
    bench.hear(Message::Data(bench.data()));
    let ledger = bench.hit.ledger();
    assert_eq!((ledger.answered, ledger.maybe, ledger.exact), (1, 2, false));
    let Message::Closed(said) = closed(1) else {
        unreachable!()
    };
    bench.hear(Message::Closed(Closed {
        started: 1,
        answered: 1,
        ..said
    }));
    let ledger = bench.hit.ledger();
    assert_eq!((ledger.answered, ledger.maybe, ledger.exact), (1, 1, true));
}

/// Others use the Hit: rule O8 is for what this one has asked.
#[test]
fn who_uses_a_hit_of_others_leaves_it_when_it_gives_up() {
    for gives_up in [true, false] {
        let leave = Leave::Detach;
        let mut bench = Bench::new(|now| Hit::attach(now, key(), CLIENT, Config { leave, ..config() }));
        bench.hear(Message::Opened(bench.opened()));
        bench.write();
        bench.hit.flush(bench.now, &mut bench.out);
        bench.out.clear();
        if gives_up {
            bench.hit.abandon(&mut bench.out);
        } else {
            // Its slot is heard, and does not end what is too late.
            while bench.hit.outcome().is_none() {
                bench.pass(INTERVAL);
                bench.hear(Message::Ack(ack(bench.hit.attach, bench.ack())));
            }
        }
        let reasons = bench.out.iter().filter_map(|(_, message)| match message {
            Message::Close(close) => Some(close.reason),
            _ => None,
        });
        assert_eq!(reasons.collect::<Vec<_>>(), [CloseReason::Detached]);
    }
}

#[test]
fn who_only_opened_a_hit_for_others_ends_it_when_it_gives_up() {
    let leave = Leave::Detach;
    let mut bench = Bench::new(|now| Hit::open(now, key(), Config { leave, ..config() }));
    bench.hit.abandon(&mut bench.out);
    assert!(
        matches!(bench.out.last(), Some((_, Message::Close(close))) if close.reason == CloseReason::Abandoned),
        "{:?}",
        bench.out
    );
}

#[test]
fn who_attaches_keeps_the_hit_by_the_ttl_it_has() {
    let mut bench = Bench::attacher();
    let (ttl_ms, answered, started) = (1500, 3, 4);
    let stopped = true;
    bench.hear(Message::Opened(Opened {
        ttl_ms,
        left: Left {
            started,
            answered,
            stopped,
        },
        ..bench.opened()
    }));
    assert_eq!(
        bench.hit.take_left().map(|(left, first)| (left.started, first)),
        Some((4, 5))
    );
    assert_eq!(bench.hit.take_left(), None, "it is said once");
    bench.out.clear();
    bench.pass(Duration::from_millis(3000));
    let alive = bench.sent().iter().filter(|sent| *sent == "KEEPALIVE").count();
    assert!(alive >= 5, "each third of 1.5 s: {alive}");
}
