//! Clients of other hosts, as a broker sees them.

use super::tests::{Bench, INTERVAL, config, peer, register};
use super::*;
use crate::protocol::ids::{Attach, Attempt, HitKey};
use crate::protocol::message::{Ack, AckPoint, Direction, FullReason};

pub(super) fn open() -> Message {
    Message::Open(Open {
        hit: HitKey::from_bytes([9; 16]),
        attach: Attach(1),
        attempt: Attempt(1),
        ttl_ms: 15_000,
        holder: Some(Holder { pid: 7, start_ticks: 8 }),
        pool: "default".to_owned(),
        ..Open::default()
    })
}

/// A client of another host is served as one of this: its messages go to the slot, the slot's to it, and the end of its
/// Hit. The process that holds it is on that other host.
#[test]
fn a_client_from_another_host_is_served() {
    let client = peer("client").public();
    let (now, mut out) = (Moment::from_micros(1_000_000), Vec::new());
    let machine = &mut Machine::new(now, config("beta", 1));
    machine.on_public(now, client, open(), &mut out);
    assert!(
        matches!(&out[..], [Action::Send(to, Message::Full(full))] if *to == client && full.reason == FullReason::NoWorker),
        "{out:?}"
    );
    for number in 0..=1 {
        let slot = peer(&format!("slot{number}"));
        machine.on_message(now, slot, Message::Register(register(number, 1)), &mut out);
    }
    out.clear();
    machine.on_public(now, client, open(), &mut out);
    let lease = out.iter().find_map(|action| match action {
        Action::Send(to, Message::Lease(lease)) if *to == peer("slot1") => Some(lease.clone()),
        _ => None,
    });
    let holder = lease.expect("a lease").holder;
    assert_eq!(
        holder,
        Some(Holder { pid: 0, start_ticks: 8 }),
        "nobody here has that number"
    );
    let hit = HitKey::from_bytes([9; 16]);
    let keep_alive = Message::KeepAlive {
        hit,
        attach: Attach(1),
        ack: AckPoint::default(),
    };
    assert_eq!(
        machine.route(now, client, keep_alive.head(), &mut out),
        Some(peer("slot1"))
    );
    let ack = Message::Ack(Ack {
        hit,
        attach: Attach(1),
        direction: Direction::ToClient,
        gap: false,
        ack: AckPoint::default(),
    });
    assert_eq!(machine.route(now, peer("slot1"), ack.head(), &mut out), Some(client));
    // Who is no slot has nothing for clients.
    out.clear();
    assert_eq!(machine.route(now, client, ack.head(), &mut out), None);
    assert_eq!(
        out,
        [Action::Send(client, Message::Disconnect(Disconnect::NotRegistered))]
    );
}

/// The last in line goes where a slot has become idle, if it would go; nobody loses his place by it.
#[test]
fn whoever_waits_last_is_sent_on_to_another_hosts_idle_slot() {
    let mut bench = Bench::new();
    bench.pass(INTERVAL);
    let wish = |number: u8, moves: bool| {
        let Message::Open(open) = open() else { unreachable!() };
        Message::Open(Open {
            hit: HitKey::from_bytes([number; 16]),
            queue: true,
            moves,
            ..open
        })
    };
    let (now, mut out) = (bench.now, Vec::new());
    for (number, moves) in [(1, true), (2, true), (3, false)] {
        bench.machines[0].on_message(now, peer("client"), wish(number, moves), &mut out);
    }
    for number in 0..=1 {
        let slot = peer(&format!("slot{number}"));
        bench.machines[1].on_message(now, slot, Message::Register(register(number, 1)), &mut out);
    }
    bench.said.clear();
    bench.pass(INTERVAL);
    let full = bench.said.iter().filter_map(|(at, _, message)| match message {
        Message::Full(full) if *at == 0 => Some(full),
        _ => None,
    });
    let full: Vec<_> = full.collect();
    assert_eq!(full.len(), 1, "one slot, one client");
    assert_eq!(full[0].hit, HitKey::from_bytes([2; 16]));
    assert_eq!((full[0].hints[0].host.as_str(), full[0].hints[0].idle), ("beta", 1));
    assert_eq!(bench.machines[0].held().2, 2, "the others still wait");
    // It was repeated while that FULL was under way, and its client goes elsewhere.
    bench.machines[0].on_message(bench.now, peer("client"), wish(2, true), &mut out);
    assert_eq!(bench.machines[0].held().2, 2, "nor is it put in line again");
}

/// Nobody waits where no worker serves the pool, once another host does, though all its slots are leased: it is told so.
#[test]
fn whoever_waits_where_no_worker_is_learns_who_serves_the_pool() {
    let mut bench = Bench::new();
    bench.pass(INTERVAL * 4);
    let Message::Open(wish) = open() else { unreachable!() };
    let wish = Open {
        queue: true,
        moves: true,
        ..wish
    };
    let (now, mut out) = (bench.now, Vec::new());
    bench.machines[0].on_message(now, peer("client"), Message::Open(wish), &mut out);
    for number in 0..=1 {
        let slot = peer(&format!("slot{number}"));
        bench.machines[1].on_message(now, slot, Message::Register(register(number, 1)), &mut out);
    }
    let Message::Open(other) = open() else { unreachable!() };
    let other = Open {
        hit: HitKey::from_bytes([8; 16]),
        ..other
    };
    bench.machines[1].on_message(now, peer("other"), Message::Open(other), &mut out);
    bench.said.clear();
    bench.pass(INTERVAL);
    let full = bench.said.iter().find_map(|(at, _, message)| match message {
        Message::Full(full) if *at == 0 => Some(full),
        _ => None,
    });
    let full = full.expect("it is told");
    assert_eq!(full.reason, FullReason::NoWorker);
    assert_eq!((full.hints[0].host.as_str(), full.hints[0].idle), ("beta", 0));
}
