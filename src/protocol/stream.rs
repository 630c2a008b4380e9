//! One direction of a Hit: a stream of bytes with message marks, over routes that may lose, repeat or re-order packets.
//!
//! [`Sender`] keeps what was not acknowledged and sends it again when it learns of a loss. [`Receiver`] takes each byte
//! once, in order, and gives credit only as its reader takes the bytes away. Neither has timers of its own that send
//! data: what is lost is noticed when the other side is heard (a gap, or an acknowledgement that lags), so a peer that
//! is silent is never buried in repetitions. Rules S1 to S4; docs/protocol.md section 5.
//!
//! A *position* counts from the start of the attachment: every message costs its bytes and
//! [`MESSAGE_COST_BYTES`] more (rule S2).

use std::collections::VecDeque;
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use super::limits::{
    ACK_DELAY, ACK_EVERY_BYTES, CHUNK_BYTES_MAX, INLINE_BYTES_MAX, MESSAGE_COST_BYTES, RESEND_AFTER, SEGMENTS_MAX,
    WINDOW_BYTES,
};
use super::message::{AckPoint, Channel, Packet, Segment};
use super::mutation::{Rule, broken};
use super::status::Status;
use super::time::Moment;

/// Why a peer's packet or acknowledgement breaks the protocol; the Hit ends with it (rule S3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// Bytes beyond the credit given.
    #[error("sent {over} bytes beyond its credit")]
    Credit {
        /// How far beyond.
        over: u64,
    },
    /// Acknowledges what was never sent.
    #[error("acknowledged request {seq}, byte {offset}, which was not sent")]
    AckAhead {
        /// The message.
        seq: u64,
        /// The byte.
        offset: u64,
    },
    /// A segment of a kind that does not go this way.
    #[error("a request may carry nothing but its body")]
    Channel,
}

/// What a message costs beyond its bytes.
fn message_cost() -> u64 {
    if broken(Rule::S2) { 0 } else { MESSAGE_COST_BYTES }
}

/// Bytes of one message, on their way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The message.
    pub seq: u64,
    /// What the bytes are.
    pub channel: Channel,
    /// The bytes.
    pub bytes: Bytes,
    /// The message ends with them.
    pub end: Option<Status>,
}

#[derive(Debug)]
struct Kept {
    offset: u64,
    piece: Piece,
}

impl Kept {
    /// (seq, offset) just after it.
    fn after(&self) -> (u64, u64) {
        match self.piece.end {
            Some(_) => (self.piece.seq + 1, 0),
            None => (self.piece.seq, self.offset + self.piece.bytes.len() as u64),
        }
    }
}

/// The sending end.
#[derive(Debug)]
pub struct Sender {
    /// Written and not acknowledged, oldest first.
    kept: VecDeque<Kept>,
    /// How many of `kept` were sent since the last rewind.
    sent: usize,
    /// (seq, offset) of the next byte to be written.
    next: (u64, u64),
    /// Position of the next byte to be written.
    position: u64,
    /// (seq, offset) after the furthest byte ever sent.
    furthest: (u64, u64),
    acked: (u64, u64),
    /// Position of the first byte that is not acknowledged.
    acked_position: u64,
    limit: u64,
    /// When something was last sent for the first time or again.
    sent_at: Moment,
    /// Where and when the last gap made it rewind, so that one loss rewinds once.
    gap_at: Option<((u64, u64), Moment)>,
}

impl Sender {
    /// A stream whose first message is `first_seq`, with credit up to position `limit`.
    pub fn new(first_seq: u64, limit: u64) -> Self {
        let start = (first_seq, 0);
        Self {
            kept: VecDeque::new(),
            sent: 0,
            next: start,
            position: 0,
            furthest: start,
            acked: start,
            acked_position: 0,
            limit: limit.min(WINDOW_BYTES),
            sent_at: Moment::ZERO,
            gap_at: None,
        }
    }

    /// How many bytes [`write`](Self::write) takes now; `None` if not even an empty message may begin.
    pub fn room(&self) -> Option<usize> {
        if broken(Rule::Credit) {
            return Some(usize::MAX);
        }
        let cost = if self.next.1 == 0 { message_cost() } else { 0 };
        let left = self.limit.checked_sub(self.position + cost)?;
        Some(usize::try_from(left).unwrap_or(usize::MAX))
    }

    /// Message that the next written byte belongs to.
    pub const fn seq(&self) -> u64 {
        self.next.0
    }

    /// Whether the current message has bytes already.
    pub const fn is_mid_message(&self) -> bool {
        self.next.1 > 0
    }

    /// Takes bytes of the current message; with `end` they are its last.
    ///
    /// # Panics
    /// If `bytes` are more than [`room`](Self::room), or if the message has not room to begin: the caller's fault.
    pub fn write(&mut self, channel: Channel, bytes: Bytes, end: Option<Status>) {
        let room = self.room();
        assert!(
            room.is_some_and(|room| bytes.len() <= room),
            "written beyond the credit: {} > {room:?}",
            bytes.len()
        );
        let mut rest = bytes;
        while rest.len() > CHUNK_BYTES_MAX {
            let first = rest.split_to(CHUNK_BYTES_MAX);
            self.keep(channel, first, None);
        }
        if !rest.is_empty() || end.is_some() {
            self.keep(channel, rest, end);
        }
    }

    fn keep(&mut self, channel: Channel, bytes: Bytes, end: Option<Status>) {
        let (seq, offset) = self.next;
        if offset == 0 {
            self.position += message_cost();
        }
        self.position += bytes.len() as u64;
        let kept = Kept {
            offset,
            piece: Piece {
                seq,
                channel,
                bytes,
                end,
            },
        };
        self.next = kept.after();
        self.kept.push_back(kept);
    }

    /// The next packet to send, with `ack` for the other direction; `None` when all is sent.
    pub fn next_packet(&mut self, now: Moment, ack: AckPoint) -> Option<Packet> {
        let first = self.kept.get(self.sent)?;
        let (seq, offset) = (first.piece.seq, first.offset);
        let mut segments = Vec::new();
        let mut bytes = 0;
        for kept in self.kept.range(self.sent..) {
            let length = kept.piece.bytes.len();
            if !segments.is_empty() && (bytes + length > INLINE_BYTES_MAX || segments.len() == SEGMENTS_MAX) {
                break;
            }
            bytes += length;
            let repeated = kept.after() <= self.furthest;
            let end = if repeated && broken(Rule::LostEnd) {
                None
            } else {
                kept.piece.end
            };
            segments.push(Segment {
                channel: kept.piece.channel,
                length: length as u32,
                end,
            });
        }
        let body = self.gather(segments.len(), bytes);
        self.sent += segments.len();
        if let Some(last) = self.kept.get(self.sent - 1) {
            self.furthest = self.furthest.max(last.after());
        }
        self.sent_at = now;
        Some(Packet {
            ack,
            seq,
            offset,
            segments,
            body,
        })
    }

    /// The bytes of the next `count` pieces, without a copy if there is one.
    fn gather(&self, count: usize, bytes: usize) -> Bytes {
        let mut pieces = self
            .kept
            .range(self.sent..self.sent + count)
            .map(|kept| &kept.piece.bytes);
        if count == 1 {
            return pieces.next().cloned().unwrap_or_default();
        }
        let mut body = BytesMut::with_capacity(bytes);
        pieces.for_each(|piece| body.extend_from_slice(piece));
        body.freeze()
    }

    /// Takes an acknowledgement; `gap`: the receiver has seen what comes after a loss.
    ///
    /// # Errors
    /// [`Violation::AckAhead`] if it names what was never sent.
    pub fn on_ack(&mut self, now: Moment, ack: AckPoint, gap: bool) -> Result<(), Violation> {
        let point = (ack.seq, ack.offset);
        if point > self.furthest {
            return Err(Violation::AckAhead {
                seq: ack.seq,
                offset: ack.offset,
            });
        }
        let forward = point >= self.acked || broken(Rule::S1);
        if forward {
            self.acked = point;
        }
        while let Some(kept) = self.kept.pop_front_if(|kept| kept.after() <= point) {
            let begins = if kept.offset == 0 { message_cost() } else { 0 };
            self.acked_position += begins + kept.piece.bytes.len() as u64;
            self.sent = self.sent.saturating_sub(1);
        }
        // Nobody may make this end hold more than a window, whatever limit he claims.
        let limit = ack.limit.min(self.acked_position + WINDOW_BYTES);
        self.limit = if broken(Rule::S1) { limit } else { self.limit.max(limit) };
        if !forward {
            return Ok(());
        }
        let known = |(at, when): (_, Moment)| at == point && now.since(when) < RESEND_AFTER;
        let first_time = !self.gap_at.is_some_and(known);
        let lags = self.sent > 0 && now.since(self.sent_at) >= RESEND_AFTER;
        if lags || (gap && first_time) {
            self.gap_at = Some((point, now));
            self.rewind();
        }
        Ok(())
    }

    /// Sends all that is not acknowledged once more: the route has changed.
    pub const fn rewind(&mut self) {
        self.sent = 0;
    }

    /// Whether bytes are under way: sent, and not acknowledged.
    pub const fn is_under_way(&self) -> bool {
        self.sent > 0
    }

    /// Whether something waits to be sent.
    pub fn has_unsent(&self) -> bool {
        self.sent < self.kept.len()
    }

    /// Whether all that was written is acknowledged.
    pub fn is_settled(&self) -> bool {
        self.kept.is_empty()
    }

    /// Last message of which a byte or its end was ever sent; one less than the first if none.
    pub const fn last_touched(&self) -> u64 {
        if self.furthest.1 > 0 {
            self.furthest.0
        } else {
            self.furthest.0 - 1
        }
    }

    /// Bytes held for repetition.
    pub fn kept_bytes(&self) -> usize {
        self.kept.iter().map(|kept| kept.piece.bytes.len()).sum()
    }
}

/// The receiving end.
#[derive(Debug)]
pub struct Receiver {
    /// Only bodies are taken, as requests have it.
    body_only: bool,
    /// (seq, offset) of the next byte wanted.
    next: (u64, u64),
    /// Position of the next byte wanted.
    position: u64,
    /// Position up to which the reader has taken everything.
    consumed: u64,
    window: u64,
    /// What the sender was last told.
    told: AckPoint,
    /// When the sender must be told at the latest.
    ack_at: Option<Moment>,
    gap: bool,
    inbox: VecDeque<Piece>,
}

impl Receiver {
    /// A stream whose first message is `first_seq`, with `window` bytes of credit ahead of the reader.
    pub fn new(first_seq: u64, window: u64, body_only: bool) -> Self {
        let told = AckPoint {
            seq: first_seq,
            offset: 0,
            limit: window,
        };
        Self {
            body_only,
            next: (first_seq, 0),
            position: 0,
            consumed: 0,
            window,
            told,
            ack_at: None,
            gap: false,
            inbox: VecDeque::new(),
        }
    }

    /// Takes a packet: what is new of it goes to the inbox, what is not is dropped.
    ///
    /// # Errors
    /// [`Violation`] if it goes beyond the credit or carries what may not travel this way. Nothing after the offending
    /// segment is taken.
    pub fn on_packet(&mut self, now: Moment, packet: &Packet) -> Result<(), Violation> {
        if packet.segments.is_empty() {
            return Ok(());
        }
        let start = (packet.seq, packet.offset);
        self.ack_within(now, ACK_DELAY);
        if start > self.next && !broken(Rule::S1) {
            self.gap = true;
            return Ok(());
        }
        if broken(Rule::S1) {
            self.next = start;
        }
        let mut at = start;
        let mut body = packet.body.clone();
        for segment in &packet.segments {
            let bytes = body.split_to(body.len().min(segment.length as usize));
            at = self.on_segment(at, *segment, bytes)?;
        }
        Ok(())
    }

    /// Takes what is new of one segment that starts at `at`; returns where the next one starts.
    fn on_segment(&mut self, at: (u64, u64), segment: Segment, mut bytes: Bytes) -> Result<(u64, u64), Violation> {
        let (seq, offset) = at;
        let end_offset = offset + bytes.len() as u64;
        let after = if segment.end.is_some() {
            (seq + 1, 0)
        } else {
            (seq, end_offset)
        };
        if after <= self.next {
            return Ok(after);
        }
        if self.body_only && (segment.channel != Channel::Body || segment.end.is_some_and(|status| !status.is_ok())) {
            return Err(Violation::Channel);
        }
        let known = if seq == self.next.0 {
            self.next.1.saturating_sub(offset)
        } else {
            0
        };
        let _ = bytes.split_to(bytes.len().min(known as usize));
        let begins = if self.next.1 == 0 { message_cost() } else { 0 };
        let position = self.position + begins + bytes.len() as u64;
        if position > self.told.limit && !broken(Rule::Credit) {
            return Err(Violation::Credit {
                over: position - self.told.limit,
            });
        }
        self.position = position;
        self.next = after;
        if !bytes.is_empty() || segment.end.is_some() {
            self.inbox.push_back(Piece {
                seq,
                channel: segment.channel,
                bytes,
                end: segment.end,
            });
        }
        Ok(after)
    }

    /// The oldest piece that was not taken, without taking it.
    pub fn peek(&self) -> Option<&Piece> {
        self.inbox.front()
    }

    /// Takes the oldest piece. Its credit comes back with [`consumed`](Self::consumed).
    pub fn take(&mut self) -> Option<Piece> {
        self.inbox.pop_front()
    }

    /// The final reader has taken `bytes`, and with `ended` the mark that ends a message.
    pub fn consumed(&mut self, bytes: u64, ended: bool) {
        let cost = bytes + if ended { message_cost() } else { 0 };
        self.consumed = (self.consumed + cost).min(self.position);
    }

    /// Received, and not yet taken by the reader.
    pub const fn unconsumed(&self) -> u64 {
        self.position - self.consumed
    }

    /// What to tell the sender. The caller sends it.
    pub fn ack(&mut self) -> AckPoint {
        self.told = AckPoint {
            seq: self.next.0,
            offset: self.next.1,
            limit: self.consumed + self.window,
        };
        self.ack_at = None;
        self.told
    }

    /// Whether an acknowledgement should go out by itself now; `Some(true)`: one that reports a gap.
    pub fn ack_due(&mut self, now: Moment) -> Option<bool> {
        if std::mem::take(&mut self.gap) {
            return Some(true);
        }
        let opened = self.consumed + self.window >= self.told.limit + ACK_EVERY_BYTES.min(self.window / 4);
        let late = self.ack_at.is_some_and(|at| at <= now);
        (opened || late).then_some(false)
    }

    /// Makes an acknowledgement due in `span` at the latest.
    pub fn ack_within(&mut self, now: Moment, span: Duration) {
        let at = now + span;
        self.ack_at = Some(self.ack_at.map_or(at, |earlier| earlier.min(at)));
    }

    /// When [`ack_due`](Self::ack_due) will say so at the latest.
    pub const fn next_deadline(&self) -> Option<Moment> {
        self.ack_at
    }

    /// (seq, offset) of the next byte wanted.
    pub const fn next(&self) -> (u64, u64) {
        self.next
    }

    /// Pieces and bytes that the reader has not taken yet.
    pub fn waiting(&self) -> (usize, u64) {
        (
            self.inbox.len(),
            self.inbox.iter().map(|piece| piece.bytes.len() as u64).sum(),
        )
    }
}

#[cfg(test)]
#[path = "stream_tests.rs"]
mod tests;
