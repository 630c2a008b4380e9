//! What a broker's machine does for each message, and for a Hit as a whole, with few and with many slots.

use std::time::Duration;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use zhit::broker::machine::{Action, Config, Machine};
use zhit::protocol::frame::{Command, Head};
use zhit::protocol::mesh::{Greeting, LayoutDigest};
use zhit::protocol::message::{AckPoint, Open, Packet, Register};
use zhit::protocol::{Attach, Attempt, DirId, HitKey, Incarnation, Message, Moment, Peer, SlotId, Term, WorkerId};

const INTERVAL: Duration = Duration::from_secs(1);
const SLOTS_OF_WORKER: u32 = 1000;

fn peer(kind: u8, number: u32) -> Peer {
    let [a, b, c, d] = number.to_be_bytes();
    Peer::from_routing_id(&[kind, a, b, c, d]).expect("five bytes")
}

/// Slots are numbered through all workers; number 0 of each worker is its control thread.
fn slot(number: u32) -> Peer {
    peer(b's', number)
}

fn register(worker: u32, number: u32, slots: u32) -> Message {
    Message::Register(Register {
        slot: SlotId {
            worker: WorkerId(worker),
            number,
        },
        incarnation: Incarnation(1),
        pid: worker,
        pool: "default".to_owned(),
        slots,
        journal: true,
        votes: false,
        draining: false,
        hit: None,
    })
}

fn open(key: HitKey) -> Message {
    Message::Open(Open {
        hit: key,
        attach: Attach(1),
        attempt: Attempt(1),
        queue: true,
        ttl_ms: 15_000,
        pool: "default".to_owned(),
        packet: Packet {
            ack: AckPoint {
                seq: 1,
                offset: 0,
                limit: 1000,
            },
            seq: 1,
            ..Packet::default()
        },
        ..Open::default()
    })
}

/// A broker that has served for a while, with so many idle slots.
fn broker(slots: u32) -> (Machine, Moment) {
    let began_at = Moment::from_micros(1_000_000);
    let config = Config {
        host: "alpha".to_owned(),
        pid: 1,
        term: Term(2),
        dir: DirId([1; 16]),
        version: "0".to_owned(),
        interval: INTERVAL,
        liveness: 3,
        patience: INTERVAL * 5,
        elected: false,
    };
    let mut machine = Machine::new(began_at, config);
    let me = Greeting {
        term: Term(2),
        incarnation: Incarnation(1),
        layout: LayoutDigest::default(),
        interval_ms: 1000,
        liveness: 3,
        host: "alpha".to_owned(),
    };
    machine.set_mesh(began_at, me, []);
    let now = began_at + INTERVAL * 10;
    let mut out = Vec::new();
    machine.on_tick(now, &mut out);
    for number in 0..slots {
        let (worker, place) = (1 + number / SLOTS_OF_WORKER, number % SLOTS_OF_WORKER);
        if place == 0 {
            machine.on_message(now, peer(b'w', worker), register(worker, 0, SLOTS_OF_WORKER), &mut out);
        }
        machine.on_message(
            now,
            slot(number),
            register(worker, place + 1, SLOTS_OF_WORKER),
            &mut out,
        );
    }
    machine.on_tick(now, &mut out);
    (machine, now)
}

fn head(command: Command, to_slot: bool, key: HitKey) -> Head {
    Head {
        command,
        flags: u8::from(to_slot),
        hit: key,
        attach: Attach(1),
        attempt: Attempt(1),
    }
}

/// Leases a slot to this Hit, and has it answer. Returns the slot.
fn lease(machine: &mut Machine, now: Moment, key: HitKey) -> Peer {
    let mut out = Vec::new();
    machine.on_message(now, peer(b'c', 1), open(key), &mut out);
    let leased = out.iter().find_map(|action| match action {
        Action::Send(to, Message::Lease(_)) => Some(*to),
        _ => None,
    });
    let slot = leased.expect("an idle slot");
    let to = machine.route(now, slot, head(Command::Opened, false, key), &mut out);
    assert_eq!(to, Some(peer(b'c', 1)), "the client is told");
    slot
}

fn release(machine: &mut Machine, now: Moment, key: HitKey, slot: Peer) {
    let mut out = Vec::new();
    machine.route(now, peer(b'c', 1), head(Command::Close, true, key), &mut out);
    machine.route(now, slot, head(Command::Closed, false, key), &mut out);
}

fn forwarding(criterion: &mut Criterion) {
    for (slots, many) in [(10, "10"), (10_000, "10,000")] {
        let (mut machine, now) = broker(slots);
        let key = HitKey::from_bytes([1; 16]);
        let served_by = lease(&mut machine, now, key);
        let (there, back) = (head(Command::Data, true, key), head(Command::Data, false, key));
        let mut out = Vec::new();
        criterion.bench_function(&format!("request and reply forwarded, {many} slots"), |bench| {
            bench.iter(|| {
                let to = machine.route(now, peer(b'c', 1), there, &mut out);
                (to, machine.route(now, served_by, back, &mut out))
            });
        });
        assert!(out.is_empty(), "nothing but forwarding: {out:?}");
        // The loop does this after each turn, most of the time with nothing to do.
        criterion.bench_function(&format!("a tick before its time, {many} slots"), |bench| {
            bench.iter(|| machine.on_tick(now, &mut out));
        });
    }
}

fn leasing(criterion: &mut Criterion) {
    for (slots, many) in [(10, "10"), (10_000, "10,000")] {
        let (mut machine, now) = broker(slots);
        let mut number = 0_u128;
        criterion.bench_function(&format!("open, lease, release, {many} slots"), |bench| {
            bench.iter_batched(
                || {
                    number += 1;
                    HitKey::from_bytes(number.to_be_bytes())
                },
                |key| {
                    let slot = lease(&mut machine, now, key);
                    release(&mut machine, now, key, slot);
                },
                BatchSize::SmallInput,
            );
        });
    }
}

criterion_group!(benches, forwarding, leasing);
criterion_main!(benches);
