//! What it costs a stream's two ends to move a request and its reply, without a network between them. No byte is copied
//! on the way, so that a body of several chunks costs its packets and no more.

use std::time::Duration;

use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use zhit::protocol::limits::{CHUNK_BYTES_MAX, WINDOW_BYTES};
use zhit::protocol::message::{AckPoint, Channel};
use zhit::protocol::stream::{Receiver, Sender};
use zhit::protocol::{Moment, Status};

/// One direction: who sends and who receives.
struct Lane {
    sender: Sender,
    receiver: Receiver,
}

impl Lane {
    fn new() -> Self {
        Self {
            sender: Sender::new(1, WINDOW_BYTES),
            receiver: Receiver::new(1, WINDOW_BYTES, false),
        }
    }

    /// Moves one message as far as its reader; `back`: what the packets acknowledge of the other direction.
    fn carry(&mut self, now: Moment, body: &Bytes, back: AckPoint) -> usize {
        let mut taken = 0;
        let mut rest = body.clone();
        loop {
            let chunk = rest.split_to(rest.len().min(CHUNK_BYTES_MAX));
            let end = rest.is_empty().then_some(Status::Ok);
            self.sender.write(Channel::Body, chunk, end);
            while let Some(packet) = self.sender.next_packet(now, back) {
                self.receiver.on_packet(now, &packet).expect("within the credit");
            }
            while let Some(piece) = self.receiver.take() {
                taken += piece.bytes.len();
                self.receiver.consumed(piece.bytes.len() as u64, piece.end.is_some());
            }
            // A body that needs several chunks is acknowledged meanwhile.
            if end.is_some() {
                return taken;
            }
            let ack = self.receiver.ack();
            self.sender.on_ack(now, ack, false).expect("it was sent");
        }
    }

    fn acknowledge(&mut self, now: Moment) -> AckPoint {
        let ack = self.receiver.ack();
        self.sender.on_ack(now, ack, false).expect("it was sent");
        ack
    }
}

fn streams(criterion: &mut Criterion) {
    for (name, bytes) in [
        ("request and reply of 64 B", 64),
        ("request and reply of 1 MiB", 1 << 20),
    ] {
        let body = Bytes::from(vec![b'x'; bytes]);
        let (mut there, mut back) = (Lane::new(), Lane::new());
        let mut now = Moment::from_micros(1);
        criterion.bench_function(name, |bench| {
            bench.iter(|| {
                now += Duration::from_micros(10);
                // Each packet carries what the other direction has received.
                let known = back.acknowledge(now);
                let asked = there.carry(now, &body, known);
                let known = there.acknowledge(now);
                asked + back.carry(now, &body, known)
            });
        });
    }
}

criterion_group!(benches, streams);
criterion_main!(benches);
