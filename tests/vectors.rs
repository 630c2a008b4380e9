//! `tests/vectors/vectors.txt`: what other implementations check themselves against.
//!
//! `ZHIT_VECTORS_WRITE=1 cargo test --test vectors` writes the file anew from the samples; without it the file is
//! compared with what this program writes and reads.

#![allow(clippy::unwrap_used, missing_docs)]

#[path = "support/describe.rs"]
mod describe;
#[path = "support/samples.rs"]
mod samples;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;
use std::sync::Once;

use bytes::Bytes;
use describe::{describe, from_hex, hex, short_hex};
use samples::{data, large_samples, samples, whole};
use zhit::protocol::frame::{Command, FrameError, Frames, HEAD_BYTES};
use zhit::protocol::limits::{self, CHUNK_BYTES_MAX, INLINE_BYTES_MAX};
use zhit::protocol::message::{Direction, Message};

const PREAMBLE: &str = "\
# Test vectors of the zhit protocol, version 1 (docs/protocol.md, section 11).
#
# Each block is one message. `header` is the header frame, `body` the second frame if there is one, both hexadecimal;
# `5a * 8193` stands for 8193 times that byte. The other lines are the fields in the order in which they travel, numbers
# in decimal unless led by 0x, texts quoted; `bytes` is left out if there are none. Encoding the fields gives the
# frames; decoding the frames gives the fields. `X + Y` in a header stands for both in a row.
# Blocks named INVALID.* are frames that must be refused; `error` says why.
#
# Written by: ZHIT_VECTORS_WRITE=1 cargo test --test vectors
";

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/vectors.txt")
}

/// Frames that must be refused.
struct Invalid {
    name: &'static str,
    header: Vec<u8>,
    body: Option<Vec<u8>>,
}

/// The header frame of a sample, with some bytes changed.
fn spoilt(name: &str, changes: &[(usize, &[u8])]) -> Vec<u8> {
    let sample = samples()
        .into_iter()
        .chain(large_samples())
        .find(|sample| sample.name == name)
        .unwrap();
    let mut bytes = sample.message.encode().header.to_vec();
    for (at, new) in changes {
        bytes[*at..*at + new.len()].copy_from_slice(new);
    }
    bytes
}

/// A header frame shortened, or lengthened with zeros.
fn resized(mut header: Vec<u8>, by: isize) -> Vec<u8> {
    header.resize(header.len().checked_add_signed(by).unwrap(), 0);
    header
}

fn invalid_frames() -> Vec<Invalid> {
    let invalid = |name, header| Invalid {
        name,
        header,
        body: None,
    };
    let with_body = |name, header, body: &[u8]| Invalid {
        name,
        header,
        body: Some(body.to_vec()),
    };
    // Places in DATA: the packet starts behind the head, its count 40 and its first entry 42 bytes further.
    let (count, entry) = (HEAD_BYTES + 40, HEAD_BYTES + 42);
    let request = |changes: &[(usize, &[u8])]| spoilt("DATA.request", changes);
    let big = data(Direction::ToSlot, whole(1, vec![0x5a; INLINE_BYTES_MAX + 1])).encode();
    let bare = resized(request(&[]), -5);
    let over = (CHUNK_BYTES_MAX as u32 + 1).to_be_bytes();
    vec![
        invalid("INVALID.empty", vec![]),
        invalid("INVALID.head-cut", spoilt("PING", &[])[..HEAD_BYTES - 1].to_vec()),
        invalid("INVALID.magic", spoilt("PING", &[(0, b"zh")])),
        invalid("INVALID.version", spoilt("PING", &[(2, &[2])])),
        invalid("INVALID.command", spoilt("PING", &[(3, &[0])])),
        invalid("INVALID.command-kept-for-broadcast", spoilt("PING", &[(3, &[0x6f])])),
        invalid("INVALID.unknown-flag", spoilt("PING", &[(4, &[0x80])])),
        invalid("INVALID.flag-of-another-command", request(&[(4, &[0x02])])),
        invalid("INVALID.reserved-byte", spoilt("PING", &[(6, &[1])])),
        invalid("INVALID.data-without-hit", request(&[(8, &[0; 16])])),
        invalid("INVALID.ping-with-hit", spoilt("PING", &[(8, &[1])])),
        invalid("INVALID.ping-with-attach", spoilt("PING", &[(27, &[1])])),
        invalid("INVALID.ack-with-attempt", spoilt("ACK.gap", &[(31, &[1])])),
        invalid("INVALID.fields-cut", resized(spoilt("PING", &[]), -1)),
        invalid("INVALID.trailing", resized(spoilt("PING", &[]), 1)),
        with_body("INVALID.second-frame", spoilt("PING", &[]), b"x"),
        invalid("INVALID.reason", spoilt("CLOSE.done", &[(HEAD_BYTES, &[4])])),
        invalid("INVALID.state", spoilt("WORKING.idle", &[(HEAD_BYTES + 24, &[5])])),
        invalid(
            "INVALID.pool-name",
            spoilt("REGISTER.control", &[(HEAD_BYTES + 26, b"/")]),
        ),
        invalid(
            "INVALID.pool-empty",
            resized(spoilt("REGISTER.control", &[(HEAD_BYTES + 24, &[0, 0])]), -1),
        ),
        invalid(
            "INVALID.note-not-utf8",
            spoilt("CLOSED.violation", &[(HEAD_BYTES + 19, &[0xff])]),
        ),
        invalid(
            "INVALID.note-too-long",
            spoilt("CLOSED.violation", &[(HEAD_BYTES + 17, &[0x10, 0x01])]),
        ),
        invalid(
            "INVALID.hint-count-beyond-frame",
            spoilt("FULL.no-worker", &[(HEAD_BYTES + 9, &[0, 1])]),
        ),
        invalid(
            "INVALID.worker-count-beyond-limit",
            spoilt("PONG.no-workers", &[(HEAD_BYTES + 74, &[0x10, 0x01])]),
        ),
        invalid(
            "INVALID.worker-flags",
            spoilt("PONG.two-workers", &[(HEAD_BYTES + 82, &[2])]),
        ),
        invalid("INVALID.segment-count", request(&[(count, &[0x10, 0x01])])),
        invalid("INVALID.segment-table-cut", request(&[(count, &[0, 3])])),
        invalid("INVALID.channel", request(&[(entry, &[0x83])])),
        invalid("INVALID.segment-flag", request(&[(entry, &[0x84])])),
        invalid("INVALID.segment-reserved-byte", request(&[(entry + 1, &[1])])),
        invalid("INVALID.status-unknown", request(&[(entry + 8, &[0, 1, 0, 4])])),
        invalid(
            "INVALID.status-without-end",
            request(&[(entry, &[0]), (entry + 11, &[1])]),
        ),
        invalid("INVALID.segments-more-than-bytes", request(&[(entry + 7, &[6])])),
        invalid("INVALID.segments-fewer-than-bytes", request(&[(entry + 7, &[4])])),
        with_body("INVALID.second-frame-short", bare.clone(), b"Hell"),
        with_body("INVALID.second-frame-long", bare.clone(), b"Hello!"),
        with_body("INVALID.body-in-both-frames", request(&[]), b"Hello"),
        invalid(
            "INVALID.chunk-beyond-limit",
            spoilt("DATA.request", &[(entry + 4, &over)]),
        ),
        invalid(
            "INVALID.inline-beyond-limit",
            [&big.header[..], &big.body.unwrap()].concat(),
        ),
        invalid("INVALID.seq-overflow", request(&[(HEAD_BYTES + 24, &[0xff; 8])])),
        invalid("INVALID.offset-overflow", request(&[(HEAD_BYTES + 32, &[0xff; 8])])),
    ]
}

/// The kind of an error, as the document names it.
fn kind(error: &FrameError) -> String {
    match error {
        FrameError::Short { .. } => "short".into(),
        FrameError::Trailing(..) => "trailing".into(),
        FrameError::Magic(_) => "magic".into(),
        FrameError::Version(_) => "version".into(),
        FrameError::UnknownCommand(_) => "unknown command".into(),
        FrameError::Field { field, .. } => format!("field {field}"),
        FrameError::TooLarge { .. } => "too large".into(),
    }
}

fn describe_invalid(invalid: &Invalid) -> String {
    let header = Bytes::from(invalid.header.clone());
    let error = Message::decode(&header, invalid.body.clone().map(Bytes::from)).unwrap_err();
    let body = invalid
        .body
        .as_deref()
        .map(|body| format!("body = {}\n", short_hex(body)))
        .unwrap_or_default();
    // The head, then the rest with its runs: only one of these is longer than a line.
    let header = match invalid.header.len() {
        0..1000 => hex(&invalid.header),
        length => {
            let split = length - INLINE_BYTES_MAX - 1;
            format!(
                "{} + {}",
                hex(&invalid.header[..split]),
                short_hex(&invalid.header[split..])
            )
        }
    };
    let text = format!("header = {header}\n{body}error = {}\n", kind(&error));
    text.replace(" \n", "\n")
}

fn written() -> String {
    let mut text = PREAMBLE.to_owned();
    for sample in samples() {
        let frames = sample.message.encode();
        let _ = write!(text, "\n[{}]\n{}", sample.name, describe(&sample.message, &frames));
    }
    for invalid in invalid_frames() {
        let _ = write!(text, "\n[{}]\n{}", invalid.name, describe_invalid(&invalid));
    }
    text
}

/// Name and frames of each block, and its lines.
fn blocks(text: &str) -> BTreeMap<&str, (Frames, &str)> {
    let mut all = BTreeMap::new();
    for block in text.split("\n[").skip(1) {
        let (name, lines) = block.split_once("]\n").unwrap();
        let value = |key: &str| {
            lines
                .lines()
                .find_map(|line| line.strip_prefix(key)?.strip_prefix(" = "))
        };
        let header: Vec<u8> = value("header")
            .unwrap_or_default()
            .split(" + ")
            .flat_map(from_hex)
            .collect();
        let frames = Frames {
            header: header.into(),
            body: value("body").map(|body| from_hex(body).into()),
        };
        assert!(
            all.insert(name, (frames, lines.trim_end())).is_none(),
            "{name} stands twice"
        );
    }
    all
}

fn stored() -> String {
    static WRITE: Once = Once::new();
    WRITE.call_once(|| {
        if std::env::var_os("ZHIT_VECTORS_WRITE").is_some_and(|value| value == "1") {
            std::fs::write(path(), written()).unwrap();
        }
    });
    std::fs::read_to_string(path()).unwrap()
}

#[test]
fn stored_frames_and_samples_are_the_same_both_ways() {
    let text = stored();
    let stored = blocks(&text);
    for sample in samples() {
        let name = sample.name;
        let Some((frames, lines)) = stored.get(name) else {
            panic!("{name} is missing; see the preamble")
        };
        assert_eq!(&sample.message.encode(), frames, "{name}: encoded otherwise");
        let decoded = Message::decode(&frames.header, frames.body.clone());
        assert_eq!(decoded.as_ref(), Ok(&sample.message), "{name}: decoded otherwise");
        assert_eq!(
            describe(&sample.message, frames).trim_end(),
            *lines,
            "{name}: described otherwise"
        );
    }
    let expected = samples().len() + invalid_frames().len();
    assert_eq!(
        stored.len(),
        expected,
        "a block without its sample, or a sample without its block"
    );
}

#[test]
fn stored_invalid_frames_are_refused_for_the_stored_reason() {
    let text = stored();
    let stored = blocks(&text);
    for invalid in invalid_frames() {
        let name = invalid.name;
        let Some((frames, lines)) = stored.get(name) else {
            panic!("{name} is missing; see the preamble")
        };
        assert_eq!(
            (&frames.header[..], frames.body.as_deref()),
            (&invalid.header[..], invalid.body.as_deref()),
            "{name}"
        );
        let error = Message::decode(&frames.header, frames.body.clone()).unwrap_err();
        assert_eq!(
            lines.lines().last(),
            Some(format!("error = {}", kind(&error)).as_str()),
            "{name}"
        );
    }
}

#[test]
fn the_file_is_what_would_be_written() {
    assert!(
        stored() == written(),
        "{} is stale; run: ZHIT_VECTORS_WRITE=1 cargo test --test vectors",
        path().display()
    );
}

const DOCUMENT: &str = include_str!("../docs/protocol.md");

#[test]
fn the_document_has_every_command_with_its_number() {
    for command in Command::ALL {
        let (number, name) = (*command as u8, format!("{command:?}").to_uppercase());
        assert!(
            DOCUMENT.contains(&format!("\n| `{number:#04x}` | {name} |")),
            "{name} in the table"
        );
        assert!(
            DOCUMENT.contains(&format!(". {name} ({number:#04x})\n")),
            "{name} as a heading"
        );
    }
}

#[test]
fn the_document_has_the_limits_as_they_are() {
    let expected: [(&str, u64); 18] = [
        ("HEADER_BYTES_MAX", limits::HEADER_BYTES_MAX as u64),
        ("FRAME_BYTES_MAX", limits::FRAME_BYTES_MAX as u64),
        ("CHUNK_BYTES_MAX", CHUNK_BYTES_MAX as u64),
        ("INLINE_BYTES_MAX", INLINE_BYTES_MAX as u64),
        ("SEGMENTS_MAX", limits::SEGMENTS_MAX as u64),
        ("NAME_BYTES_MAX", limits::NAME_BYTES_MAX as u64),
        ("NOTE_BYTES_MAX", limits::NOTE_BYTES_MAX as u64),
        ("ENDPOINTS_MAX", limits::ENDPOINTS_MAX as u64),
        ("ENDPOINT_BYTES_MAX", limits::ENDPOINT_BYTES_MAX as u64),
        ("HINTS_MAX", limits::HINTS_MAX as u64),
        ("PONG_WORKERS_MAX", limits::PONG_WORKERS_MAX as u64),
        ("ROUTING_ID_BYTES_MAX", limits::ROUTING_ID_BYTES_MAX as u64),
        ("RETURN_PATH_BYTES_MAX", limits::RETURN_PATH_BYTES_MAX as u64),
        ("MEMBERS_LISTED_MAX", limits::MEMBERS_LISTED_MAX as u64),
        ("BROADCAST_BYTES_MAX", limits::BROADCAST_BYTES_MAX as u64),
        ("MESSAGE_COST_BYTES", limits::MESSAGE_COST_BYTES),
        ("FIRST_CREDIT_BYTES", limits::FIRST_CREDIT_BYTES),
        ("WINDOW_BYTES", limits::WINDOW_BYTES),
    ];
    let plain = DOCUMENT.replace(',', "");
    for (name, value) in expected {
        assert!(
            plain.contains(&format!("\n| `{name}` | {value} |")),
            "{name} is {value}"
        );
    }
}
