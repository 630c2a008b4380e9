//! The codec against every message it knows, and against what no peer should send.

#![allow(clippy::unwrap_used, missing_docs)]

#[path = "support/samples.rs"]
mod samples;

use std::collections::BTreeSet;

use bytes::Bytes;
use samples::{HIT, Sample, data, large_samples, samples, whole};
use zhit::protocol::frame::{Command, FrameError, Frames, HEAD_BYTES, Head};
use zhit::protocol::limits::{CHUNK_BYTES_MAX, INLINE_BYTES_MAX, NOTE_BYTES_MAX};
use zhit::protocol::message::{Channel, Closed, ClosedReason, Direction, Hint, Message, Packet, Segment};
use zhit::protocol::{Attach, HitKey};

fn all() -> Vec<Sample> {
    samples().into_iter().chain(large_samples()).collect()
}

fn decode(frames: &Frames) -> Result<Message, FrameError> {
    Message::decode(&frames.header, frames.body.clone())
}

/// Every position of a short header, some hundred of a long one.
fn positions(length: usize) -> impl Iterator<Item = usize> {
    (0..length).step_by(1 + length / 300)
}

/// Decodes what may be anything; whatever is taken must be written back as it came.
fn must_be_canonical(header: &Bytes, body: Option<&Bytes>, what: &str) {
    let Ok(message) = Message::decode(header, body.cloned()) else {
        return;
    };
    let again = message.encode();
    assert_eq!(decode(&again).as_ref(), Ok(&message), "{what}");
    // A sender may use the second frame for a small body too; only then the bytes differ.
    if body.is_none_or(|body| body.len() > INLINE_BYTES_MAX) {
        assert!(again.header == header && again.body.as_ref() == body, "{what}");
    }
}

#[test]
fn every_sample_reads_back() {
    for Sample { name, message } in all() {
        let frames = message.encode();
        assert_eq!(decode(&frames), Ok(message.clone()), "{name}");
        assert_eq!(Head::peek(&frames.header), Ok(message.head()), "{name}");
    }
}

#[test]
fn every_command_has_a_sample_of_its_name() {
    for command in Command::ALL {
        let name = format!("{command:?}").to_uppercase();
        let of = |sample: &Sample| sample.message.head().command == *command;
        assert!(samples().iter().any(of), "{name}");
        for sample in all().iter().filter(|sample| of(sample)) {
            assert_eq!(sample.name.split('.').next(), Some(name.as_str()));
        }
    }
}

#[test]
fn every_prefix_of_a_header_is_refused() {
    for Sample { name, message } in all() {
        let Frames { header, body } = message.encode();
        for length in positions(header.len()) {
            let prefix = Message::decode(&header.slice(..length), body.clone());
            assert!(prefix.is_err(), "{name} cut to {length}");
        }
    }
}

#[test]
fn a_byte_too_many_is_refused() {
    for Sample { name, message } in all() {
        let Frames { header, body } = message.encode();
        let longer = Bytes::from([&header[..], &[0]].concat());
        let refused = Message::decode(&longer, body);
        assert!(refused.is_err(), "{name}: {refused:?}");
    }
}

#[test]
fn every_mutated_byte_is_refused_or_taken_as_it_is() {
    for Sample { name, message } in all() {
        let Frames { header, body } = message.encode();
        let large = header.len() > 1000;
        for at in positions(header.len()) {
            let values = 1..=255_u8;
            for change in values.step_by(if large { 127 } else { 1 }) {
                let mut bytes = header.to_vec();
                bytes[at] ^= change;
                must_be_canonical(
                    &bytes.into(),
                    body.as_ref(),
                    &format!("{name}, byte {at} ^ {change:#04x}"),
                );
            }
        }
    }
}

/// Vigna's splitmix64: small, and the same on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.next() as u8).collect()
    }
}

#[test]
fn random_bytes_are_refused_or_taken_as_they_are() {
    let seeds: Vec<_> = samples().into_iter().map(|sample| sample.message.encode()).collect();
    for case in 0..100_000 {
        let mut random = Random(case);
        let seed = &seeds[random.below(seeds.len())];
        let mut header = match case % 3 {
            // Noise from the first byte, or after a good head.
            0 => {
                let length = random.below(200);
                random.bytes(length)
            }
            1 => {
                let length = random.below(200);
                [&seed.header[..HEAD_BYTES], &random.bytes(length)].concat()
            }
            // Two messages spliced.
            _ => {
                let other = &seeds[random.below(seeds.len())].header;
                let (cut, from) = (random.below(seed.header.len()), random.below(other.len()));
                [&seed.header[..cut], &other[from..]].concat()
            }
        };
        for _ in 0..random.below(4) {
            let at = random.below(header.len());
            let byte = random.next() as u8;
            if let Some(place) = header.get_mut(at) {
                *place = byte;
            }
        }
        let body = match random.below(3) {
            0 => seed.body.clone(),
            1 => Some(Bytes::from(random.bytes(5))),
            _ => None,
        };
        must_be_canonical(&header.into(), body.as_ref(), &format!("case {case}"));
    }
}

#[test]
fn a_large_body_is_sent_and_received_without_a_copy() {
    let body = Bytes::from(vec![1; CHUNK_BYTES_MAX]);
    let frames = data(Direction::ToSlot, whole(1, body.clone())).encode();
    let sent = frames.body.clone().unwrap();
    assert_eq!((sent.as_ptr(), sent.len()), (body.as_ptr(), body.len()));
    let Ok(Message::Data(received)) = decode(&frames) else {
        panic!("no DATA")
    };
    assert_eq!(received.packet.body.as_ptr(), body.as_ptr());
}

#[test]
fn an_inline_body_is_a_slice_of_its_frame() {
    let frames = data(Direction::ToSlot, whole(1, vec![7; INLINE_BYTES_MAX])).encode();
    assert_eq!(frames.body, None);
    let Ok(Message::Data(received)) = decode(&frames) else {
        panic!("no DATA")
    };
    assert!(frames.header.as_ptr_range().contains(&received.packet.body.as_ptr()));
}

#[test]
fn a_header_with_a_packet_is_allocated_once_and_exactly() {
    for Sample { name, message } in all() {
        if matches!(message, Message::Data(_) | Message::Open(_) | Message::Lease(_)) {
            let header = Vec::from(message.encode().header);
            assert_eq!(header.capacity(), header.len(), "{name}");
        }
    }
}

#[test]
fn a_small_body_may_come_as_a_second_frame() {
    let message = data(Direction::ToSlot, whole(1, "Hello"));
    let inline = message.encode().header;
    let header = inline.slice(..inline.len() - 5);
    assert_eq!(
        Message::decode(&header, Some(Bytes::from_static(b"Hello"))),
        Ok(message.clone())
    );
    assert_eq!(
        Message::decode(&inline, Some(Bytes::new())),
        Ok(message),
        "an empty second frame"
    );
    let both = Message::decode(&inline, Some(Bytes::from_static(b"Hello")));
    assert_eq!(
        both,
        Err(FrameError::Field {
            command: Command::Data,
            field: "body in both frames"
        })
    );
    let short = Message::decode(&header, Some(Bytes::from_static(b"Hell")));
    assert_eq!(
        short,
        Err(FrameError::Short {
            command: Some(Command::Data),
            missing: 1
        })
    );
    let long = Message::decode(&header, Some(Bytes::from_static(b"Hello!")));
    assert_eq!(long, Err(FrameError::Trailing(Command::Data, 1)));
}

#[test]
fn only_what_carries_bytes_has_a_second_frame() {
    let with_bytes = samples().into_iter().filter(|one| one.message.encode().body.is_some());
    let carry_bytes: BTreeSet<u8> = with_bytes.map(|one| one.message.head().command as u8).collect();
    assert_eq!(carry_bytes.len(), 7, "docs/protocol.md, section 3.1: {carry_bytes:x?}");
    for Sample { name, message } in samples() {
        let Frames { header, body } = message.encode();
        let command = message.head().command;
        if body.is_none() && !carry_bytes.contains(&(command as u8)) {
            let refused = Message::decode(&header, Some(Bytes::new()));
            assert_eq!(
                refused,
                Err(FrameError::Field {
                    command,
                    field: "second frame"
                }),
                "{name}"
            );
        }
    }
}

#[test]
fn long_notes_are_cut_between_characters() {
    let note = format!("x{}", "ö".repeat(NOTE_BYTES_MAX));
    let closed = Closed {
        hit: HIT,
        attach: Attach(1),
        reason: ClosedReason::Done,
        started: 0,
        answered: 0,
        note,
    };
    let Ok(Message::Closed(read)) = decode(&Message::Closed(closed).encode()) else {
        panic!("no CLOSED")
    };
    assert_eq!(read.note.len(), NOTE_BYTES_MAX - 1);
    assert!(read.note.ends_with('ö'));
}

#[test]
#[should_panic(expected = "the segments are not the body")]
fn our_own_packet_must_add_up() {
    let segments = vec![Segment {
        channel: Channel::Body,
        length: 1,
        end: None,
    }];
    data(
        Direction::ToSlot,
        Packet {
            segments,
            ..Packet::default()
        },
    )
    .encode();
}

#[test]
#[should_panic(expected = "a chunk of")]
fn our_own_chunk_must_fit() {
    data(Direction::ToSlot, whole(1, vec![0; CHUNK_BYTES_MAX + 1])).encode();
}

#[test]
#[should_panic(expected = "bad head")]
fn our_own_hit_must_have_a_key() {
    Message::Released { hit: HitKey::default() }.encode();
}

#[test]
#[should_panic(expected = "is no name")]
fn our_own_names_must_be_names() {
    let Some(Message::Full(mut full)) = samples()
        .into_iter()
        .map(|s| s.message)
        .find(|m| matches!(m, Message::Full(_)))
    else {
        panic!("no FULL");
    };
    full.hints.push(Hint {
        host: "../x".into(),
        idle: 1,
    });
    Message::Full(full).encode();
}
