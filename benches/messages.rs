//! What it costs to write and to read messages: the head alone, as a broker reads it, and whole ones.

use std::hint::black_box;

use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use zhit::protocol::frame::Head;
use zhit::protocol::message::{AckPoint, Channel, Data, Direction, Open, Packet, Segment};
use zhit::protocol::{Attach, Attempt, HitKey, Message, Status};

/// A request of so many bytes.
fn packet(bytes: usize) -> Packet {
    Packet {
        ack: AckPoint {
            seq: 1,
            offset: 0,
            limit: 1 << 22,
        },
        seq: 1,
        offset: 0,
        segments: vec![Segment {
            channel: Channel::Body,
            length: bytes as u32,
            end: Some(Status::Ok),
        }],
        body: Bytes::from(vec![b'x'; bytes]),
    }
}

fn data(bytes: usize) -> Message {
    Message::Data(Data {
        hit: HitKey::from_bytes([1; 16]),
        attach: Attach(1),
        direction: Direction::ToSlot,
        packet: packet(bytes),
    })
}

fn open() -> Message {
    Message::Open(Open {
        hit: HitKey::from_bytes([1; 16]),
        attach: Attach(1),
        attempt: Attempt(1),
        queue: true,
        close_after: true,
        ttl_ms: 15_000,
        pool: "default".to_owned(),
        packet: packet(64),
        ..Open::default()
    })
}

fn messages(criterion: &mut Criterion) {
    let header = data(64).encode().header;
    criterion.bench_function("head of a message: read", |bench| {
        bench.iter(|| Head::peek(black_box(&header)));
    });
    for (name, message) in [
        ("DATA of 64 B", data(64)),
        ("DATA of 256 KiB", data(256 * 1024)),
        ("OPEN with 64 B", open()),
    ] {
        criterion.bench_function(&format!("{name}: encode"), |bench| {
            bench.iter(|| black_box(&message).encode());
        });
        let frames = message.encode();
        criterion.bench_function(&format!("{name}: decode"), |bench| {
            bench.iter(|| Message::decode(black_box(&frames.header), frames.body.clone()));
        });
    }
}

criterion_group!(benches, messages);
criterion_main!(benches);
