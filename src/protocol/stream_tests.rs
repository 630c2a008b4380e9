use super::*;
use crate::protocol::limits::{FIRST_CREDIT_BYTES, WINDOW_BYTES};

const NOW: Moment = Moment::from_micros(10);

fn pair() -> (Sender, Receiver) {
    (Sender::new(1, WINDOW_BYTES), Receiver::new(1, WINDOW_BYTES, false))
}

fn body(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

fn packet(sender: &mut Sender) -> Packet {
    sender.next_packet(NOW, AckPoint::default()).expect("something to send")
}

fn texts(receiver: &mut Receiver) -> Vec<(u64, Vec<u8>, bool)> {
    std::iter::from_fn(|| receiver.take())
        .map(|p| (p.seq, p.bytes.to_vec(), p.end.is_some()))
        .collect()
}

#[test]
fn several_small_messages_travel_in_one_packet() {
    let (mut sender, mut receiver) = pair();
    sender.write(Channel::Body, body("one"), Some(Status::Ok));
    sender.write(Channel::Body, body(""), Some(Status::Ok));
    sender.write(Channel::Stderr, body("thr"), None);
    let packet = packet(&mut sender);
    assert!(!sender.has_unsent());
    receiver.on_packet(NOW, &packet).expect("within credit");
    assert_eq!(receiver.next(), (3, 3));
    assert_eq!(
        texts(&mut receiver),
        [
            (1, b"one".to_vec(), true),
            (2, vec![], true),
            (3, b"thr".to_vec(), false)
        ]
    );
}

#[test]
fn repeated_packet_is_taken_once() {
    let (mut sender, mut receiver) = pair();
    sender.write(Channel::Body, body("once"), Some(Status::Ok));
    let packet = packet(&mut sender);
    for _ in 0..3 {
        receiver.on_packet(NOW, &packet).expect("within credit");
    }
    assert_eq!(texts(&mut receiver).len(), 1);
}

#[test]
fn packet_that_is_half_known_gives_its_new_half() {
    let (mut sender, mut receiver) = pair();
    sender.write(Channel::Body, body("ab"), None);
    receiver.on_packet(NOW, &packet(&mut sender)).expect("within credit");
    let whole = Packet {
        seq: 1,
        segments: vec![Segment {
            channel: Channel::Body,
            length: 4,
            end: Some(Status::Ok),
        }],
        body: body("abcd"),
        ..Packet::default()
    };
    receiver.on_packet(NOW, &whole).expect("within credit");
    assert_eq!(
        texts(&mut receiver),
        [(1, b"ab".to_vec(), false), (1, b"cd".to_vec(), true)]
    );
}

#[test]
fn gap_is_reported_and_repaired_once() {
    let (mut sender, mut receiver) = pair();
    let big = Bytes::from(vec![7; INLINE_BYTES_MAX + 1]);
    for _ in 0..3 {
        sender.write(Channel::Body, big.clone(), None);
    }
    let (first, _lost, third) = (packet(&mut sender), packet(&mut sender), packet(&mut sender));
    receiver.on_packet(NOW, &first).expect("within credit");
    receiver.on_packet(NOW, &third).expect("a gap is no violation");
    assert_eq!(receiver.ack_due(NOW), Some(true));
    let ack = receiver.ack();
    sender.on_ack(NOW, ack, true).expect("true");
    let again = packet(&mut sender);
    assert_eq!(again.offset, big.len() as u64);
    sender.on_ack(NOW, ack, true).expect("true");
    assert_eq!(
        packet(&mut sender).offset,
        2 * big.len() as u64,
        "one loss rewinds once"
    );
}

#[test]
fn lagging_acknowledgement_long_after_the_last_send_rewinds() {
    let (mut sender, mut receiver) = pair();
    sender.write(Channel::Body, body("lost"), Some(Status::Ok));
    let _lost = packet(&mut sender);
    sender.on_ack(NOW, receiver.ack(), false).expect("true");
    assert!(!sender.has_unsent(), "too early to tell");
    sender.on_ack(NOW + RESEND_AFTER, receiver.ack(), false).expect("true");
    assert!(sender.has_unsent());
}

#[test]
fn acknowledgement_moves_forward_only() {
    let (mut sender, mut receiver) = pair();
    let old = receiver.ack();
    sender.write(Channel::Body, body("x"), Some(Status::Ok));
    receiver.on_packet(NOW, &packet(&mut sender)).expect("within credit");
    receiver.consumed(1, true);
    sender.on_ack(NOW, receiver.ack(), false).expect("true");
    assert!(sender.is_settled());
    let room = sender.room();
    sender.on_ack(NOW, old, false).expect("stale, not false");
    assert_eq!(sender.room(), room);
}

#[test]
fn acknowledging_what_was_not_sent_is_a_violation() {
    let (mut sender, _) = pair();
    sender.write(Channel::Body, body("x"), Some(Status::Ok));
    let ahead = AckPoint {
        seq: 2,
        offset: 0,
        limit: 0,
    };
    assert_eq!(
        sender.on_ack(NOW, ahead, false),
        Err(Violation::AckAhead { seq: 2, offset: 0 })
    );
}

#[test]
fn empty_messages_cost_credit_too() {
    let mut sender = Sender::new(1, FIRST_CREDIT_BYTES);
    let mut count = 0;
    while sender.room().is_some() {
        sender.write(Channel::Body, Bytes::new(), Some(Status::Ok));
        count += 1;
    }
    assert_eq!(count, FIRST_CREDIT_BYTES / MESSAGE_COST_BYTES);
}

#[test]
fn bytes_beyond_the_credit_end_the_hit() {
    let mut sender = Sender::new(1, 10_000);
    let mut receiver = Receiver::new(1, 100, false);
    sender.write(Channel::Body, Bytes::from(vec![0; 37]), Some(Status::Ok));
    assert_eq!(
        receiver.on_packet(NOW, &packet(&mut sender)),
        Err(Violation::Credit { over: 1 })
    );
}

#[test]
fn credit_opens_only_as_the_reader_takes() {
    let mut sender = Sender::new(1, 1000);
    let mut receiver = Receiver::new(1, 1000, false);
    sender.write(Channel::Body, Bytes::from(vec![0; 936]), None);
    receiver.on_packet(NOW, &packet(&mut sender)).expect("within credit");
    sender.on_ack(NOW, receiver.ack(), false).expect("true");
    assert_eq!(sender.room(), Some(0));
    assert_eq!(receiver.ack_due(NOW), None);
    receiver.take();
    receiver.consumed(936, false);
    assert_eq!(
        receiver.ack_due(NOW),
        Some(false),
        "credit has opened by more than a quarter"
    );
    sender.on_ack(NOW, receiver.ack(), false).expect("true");
    assert_eq!(sender.room(), Some(936));
}

#[test]
fn acknowledgement_is_due_after_its_delay() {
    let (mut sender, mut receiver) = pair();
    sender.write(Channel::Body, body("x"), Some(Status::Ok));
    receiver.on_packet(NOW, &packet(&mut sender)).expect("within credit");
    assert_eq!(receiver.ack_due(NOW), None);
    assert_eq!(receiver.next_deadline(), Some(NOW + ACK_DELAY));
    assert_eq!(receiver.ack_due(NOW + ACK_DELAY), Some(false));
    receiver.ack();
    assert_eq!(receiver.next_deadline(), None);
}

#[test]
fn requests_carry_nothing_but_bodies() {
    for (channel, end) in [(Channel::Stderr, None), (Channel::Body, Some(Status::Exit(1)))] {
        let mut sender = Sender::new(1, 1000);
        let mut receiver = Receiver::new(1, 1000, true);
        sender.write(channel, body("x"), end);
        assert_eq!(receiver.on_packet(NOW, &packet(&mut sender)), Err(Violation::Channel));
    }
}

#[test]
fn large_write_is_cut_into_chunks_without_a_copy() {
    let (mut sender, mut receiver) = pair();
    let bytes = Bytes::from(vec![1; 2 * CHUNK_BYTES_MAX + 5]);
    sender.write(Channel::Body, bytes.clone(), Some(Status::Ok));
    let mut lengths = Vec::new();
    while let Some(packet) = sender.next_packet(NOW, AckPoint::default()) {
        assert!(bytes.as_ptr_range().contains(&packet.body.as_ptr()));
        lengths.push(packet.body.len());
        receiver.on_packet(NOW, &packet).expect("within credit");
    }
    assert_eq!(lengths, [CHUNK_BYTES_MAX, CHUNK_BYTES_MAX, 5]);
    assert_eq!(receiver.next(), (2, 0));
    assert_eq!(sender.last_touched(), 1);
}
