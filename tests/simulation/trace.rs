//! What happened, in one line each, and a hash of it by which two runs of a seed are compared.

use std::collections::VecDeque;
use std::fmt::Write;
use std::sync::OnceLock;

use zhit::protocol::message::{AckPoint, Message, Packet};
use zhit::protocol::{HitKey, Moment};

use crate::rng::mix;

/// Lines that a failure prints, unless `ZHIT_SIM_LINES` says otherwise.
const LINES: usize = 200;

fn lines_max() -> usize {
    static LINES_MAX: OnceLock<usize> = OnceLock::new();
    *LINES_MAX.get_or_init(|| {
        let asked = std::env::var("ZHIT_SIM_LINES");
        asked.ok().and_then(|lines| lines.parse().ok()).unwrap_or(LINES)
    })
}

/// The trace of a run.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    hash: u64,
    /// Kept only when a failed seed is run again to be told: text is dear.
    lines: Option<VecDeque<String>>,
}

impl Trace {
    pub(crate) fn new(told: bool) -> Self {
        Self {
            hash: 0,
            lines: told.then(VecDeque::new),
        }
    }

    /// Notes an event: numbers for the hash, words for the reader.
    pub(crate) fn note(&mut self, now: Moment, numbers: [u64; 2], words: impl FnOnce() -> String) {
        for number in [now.as_micros(), numbers[0], numbers[1]] {
            self.hash = mix(self.hash ^ number);
        }
        if let Some(lines) = &mut self.lines {
            if lines.len() == lines_max() {
                lines.pop_front();
            }
            lines.push_back(format!("{now:?} {}", words()));
        }
    }

    pub(crate) const fn hash(&self) -> u64 {
        self.hash
    }

    pub(crate) fn text(&self) -> String {
        let lines = self.lines.iter().flatten();
        lines.fold(String::new(), |mut text, line| {
            text.push_str(line);
            text.push('\n');
            text
        })
    }
}

/// A number that says which message this is, for the hash.
pub(crate) fn number_of(header: &[u8]) -> u64 {
    header.chunks(8).fold(header.len() as u64, |all, chunk| {
        let mut bytes = [0; 8];
        bytes[..chunk.len()].copy_from_slice(chunk);
        mix(all ^ u64::from_le_bytes(bytes))
    })
}

/// The number of a Hit, which stands in the last bytes of its key.
pub(crate) fn hit_index(key: HitKey) -> usize {
    let bytes = key.as_bytes();
    usize::from(u16::from_be_bytes([bytes[14], bytes[15]]))
}

fn ack_text(ack: &AckPoint) -> String {
    format!("ack {}+{} limit {}", ack.seq, ack.offset, ack.limit)
}

fn packet_text(packet: &Packet) -> String {
    let ends = packet.segments.iter().filter(|segment| segment.end.is_some()).count();
    if packet.segments.is_empty() {
        return format!("no bytes, {}", ack_text(&packet.ack));
    }
    format!(
        "{}+{}: {} bytes {ends} ends, {}",
        packet.seq,
        packet.offset,
        packet.body.len(),
        ack_text(&packet.ack)
    )
}

/// A message in a few words.
pub(crate) fn message_text(message: &Message) -> String {
    let head = message.head();
    let mut text = format!("{:?}", head.command).to_uppercase();
    if !head.hit.is_none() {
        let _ = write!(text, " hit {}", hit_index(head.hit));
    }
    if head.attach.0 > 0 {
        let _ = write!(text, " attach {}", head.attach.0);
    }
    if head.attempt.0 > 0 {
        let _ = write!(text, " attempt {}", head.attempt.0);
    }
    let more = match message {
        Message::Open(m) => format!(
            "{}{}{}",
            if m.resume { "resume " } else { "" },
            if m.close_after { "close-after " } else { "" },
            packet_text(&m.packet)
        ),
        Message::Lease(m) => format!(
            "{}term {} {}",
            if m.resume { "resume " } else { "" },
            m.term,
            packet_text(&m.packet)
        ),
        Message::Data(m) => packet_text(&m.packet),
        Message::Ack(m) => format!("{}{}", if m.gap { "gap " } else { "" }, ack_text(&m.ack)),
        Message::KeepAlive { ack, .. } => ack_text(ack),
        Message::Working(m) => format!("{:?} seq {} {}", m.state, m.seq, ack_text(&m.ack)),
        Message::Opened(m) => format!("client {} first {} {}", m.client, m.first_seq, ack_text(&m.ack)),
        Message::Attach { client, .. } => format!("client {client}"),
        Message::Occupied { client, current, .. } => format!("client {client} current {}", current.0),
        Message::Register(m) => format!("{}{}", m.slot, if m.draining { " draining" } else { "" }),
        Message::Registered(m) => format!("term {}", m.term),
        Message::Goodbye(m) => m.slot.to_string(),
        Message::Declined(m) => format!("{:?} serving {:?}", m.reason, m.serving.map(hit_index)),
        Message::Closed(m) => format!(
            "{:?} started {} answered {} {}",
            m.reason, m.started, m.answered, m.note
        ),
        Message::Close(m) => format!("{:?} {}", m.reason, ack_text(&m.ack)),
        Message::Disconnect(reason) => format!("{reason:?}"),
        Message::Full(m) => format!("{:?}", m.reason),
        Message::Queued(m) => format!("ahead {}", m.ahead),
        _ => String::new(),
    };
    if !more.is_empty() {
        let _ = write!(text, " {more}");
    }
    text
}
