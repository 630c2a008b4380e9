//! The Hit that a slot serves: its two streams, and which of its requests runs. Part of the slot's pure machine.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;

use crate::election::journal::Entry;
use crate::protocol::ids::{Attach, Attempt, DirId, HitKey, Peer, Term};
use crate::protocol::limits::WINDOW_BYTES;
use crate::protocol::message::{
    Ack, AckPoint, Channel, Closed, ClosedReason, Data, Direction, Lease, Left, Message, Packet, Progress, WorkState,
    Working,
};
use crate::protocol::mutation::{Rule, broken};
use crate::protocol::pool::{Probe, State};
use crate::protocol::route::Lane;
use crate::protocol::status::Status;
use crate::protocol::stream::{Piece, Receiver, Sender, Violation};
use crate::protocol::time::{Moment, earliest};

use super::lease::{Action, cut_note};

mod routes;
mod succession;

use succession::Hold;

/// The request that runs.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) seq: u64,
    started_at: Moment,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
    /// All of it was handed to the handler, its end included.
    fed: bool,
    /// Its client has gone; its reply is thrown away (rule O8).
    discarded: bool,
    /// What its handler does.
    state: WorkState,
    /// What it says of its progress.
    progress: Option<Progress>,
    /// Its handler has ended so; the reply's end waits for credit.
    ended: Option<(Status, String)>,
}

#[derive(Debug)]
pub(super) struct Hit {
    pub(super) key: HitKey,
    pub(super) attach: Attach,
    pub(super) attempt: Attempt,
    /// Which client holds `attach`, by the number it chose; 0 for the opener.
    pub(super) client: u64,
    pub(super) term: Term,
    pub(super) dir: DirId,
    pub(super) ttl: Duration,
    /// Its last client has left, and no other has come.
    pub(super) detached: bool,
    /// Who holds it, whichever clients come and go.
    pub(super) hold: Option<Hold>,
    /// What the clients before the attached one have left.
    pub(super) left: Left,
    pub(super) first_seq: u64,
    pub(super) requests: Receiver,
    pub(super) replies: Sender,
    /// The way to its client: a connection to the slot's own socket, or the broker.
    pub(super) lane: Lane<Option<Peer>>,
    /// What an earlier client sent in full for the request that still runs.
    orphaned: VecDeque<Piece>,
    /// Bytes of `requests` that the handler was given and has not taken yet.
    lent: u64,
    timeout: Option<Duration>,
    heard_at: Moment,
    request: Option<Request>,
    started: u64,
    answered: u64,
    /// What the journal says was answered.
    journalled: u64,
    /// The Hit is over once this request's reply is acknowledged.
    last: Option<u64>,
    /// A co-process lives in the slot as long as the Hit does.
    pub(super) resident: bool,
    /// The co-process has ended, and why: the Hit is over once what it has answered is acknowledged.
    doom: Option<String>,
}

impl Hit {
    pub(super) fn new(now: Moment, lease: &Lease, ttl: Duration, term: Term, dir: DirId) -> Self {
        let ends = lease
            .packet
            .segments
            .iter()
            .filter(|segment| segment.end.is_some())
            .count() as u64;
        Self {
            key: lease.hit,
            attach: lease.attach,
            attempt: lease.attempt,
            client: 0,
            term,
            dir,
            ttl,
            detached: false,
            hold: lease.holder.map(|_| Hold::new(now)),
            left: Left::default(),
            first_seq: 1,
            requests: Receiver::new(1, WINDOW_BYTES, true),
            replies: Sender::new(1, lease.packet.ack.limit),
            lane: Lane::new(None),
            orphaned: VecDeque::new(),
            lent: 0,
            timeout: deadline(lease.timeout_ms),
            heard_at: now,
            request: None,
            started: 0,
            answered: 0,
            journalled: 0,
            last: (lease.close_after && ends > 0).then_some(ends),
            resident: false,
            doom: None,
        }
    }

    pub(super) const fn heard(&mut self, now: Moment) {
        self.heard_at = now;
    }

    pub(super) fn is_detached(&self, now: Moment, liveness: Duration) -> bool {
        self.detached || now.since(self.heard_at) >= liveness
    }

    /// The client says that its route has changed: go on from what it has.
    pub(super) fn resume(&mut self, now: Moment, packet: &Packet) -> Result<(), Violation> {
        self.on_ack(now, packet.ack, false)?;
        self.replies.rewind();
        self.on_packet(now, packet)
    }

    pub(super) fn on_packet(&mut self, now: Moment, packet: &Packet) -> Result<(), Violation> {
        self.requests.on_packet(now, packet)
    }

    pub(super) fn on_ack(&mut self, now: Moment, ack: AckPoint, gap: bool) -> Result<(), Violation> {
        self.replies.on_ack(now, ack, gap)
    }

    pub(super) fn has_input(&self) -> bool {
        let Some(request) = &self.request else { return false };
        let next = self.orphaned.front().or_else(|| self.requests.peek());
        !request.fed && request.ended.is_none() && next.is_some_and(|piece| piece.seq == request.seq)
    }

    pub(super) fn next_input(&mut self) -> Option<Piece> {
        if !self.has_input() {
            return None;
        }
        let piece = if let Some(orphan) = self.orphaned.pop_front() {
            orphan
        } else {
            let piece = self.requests.take()?;
            self.lent += piece.bytes.len() as u64;
            self.requests.consumed(0, piece.end.is_some());
            piece
        };
        if let Some(request) = &mut self.request {
            request.fed |= piece.end.is_some();
        }
        Some(piece)
    }

    pub(super) fn on_taken(&mut self, bytes: u64) {
        let paid = bytes.min(self.lent);
        self.lent -= paid;
        self.requests.consumed(paid, false);
        if let Some(request) = &mut self.request {
            request.bytes_in += bytes;
        }
    }

    pub(super) fn output_room(&self) -> usize {
        match &self.request {
            Some(request) if request.discarded => usize::MAX,
            Some(_) => self.replies.room().unwrap_or(0),
            None => 0,
        }
    }

    pub(super) fn on_output(&mut self, channel: Channel, bytes: Bytes) {
        let Some(request) = &mut self.request else { return };
        request.bytes_out += bytes.len() as u64;
        if !request.discarded {
            self.replies.write(channel, bytes, None);
        }
    }

    pub(super) fn on_handler_ended(&mut self, status: Status, note: &str) {
        let Some(request) = &mut self.request else { return };
        if request.ended.is_none() {
            request.ended = Some((status, cut_note(note).to_owned()));
        }
        // What it was given and did not take is gone with it.
        self.requests.consumed(std::mem::take(&mut self.lent), false);
        self.finish_request();
    }

    /// Writes the reply's end as soon as there is credit for it; then the next request may start.
    fn finish_request(&mut self) {
        let Some(request) = &self.request else { return };
        let Some((status, note)) = &request.ended else { return };
        if !request.discarded {
            match self.replies.room() {
                Some(room) if note.len() <= room => {}
                _ => return,
            }
            if !note.is_empty() {
                self.replies
                    .write(Channel::Note, Bytes::copy_from_slice(note.as_bytes()), None);
            }
            self.replies.write(Channel::Body, Bytes::new(), Some(*status));
        }
        self.answered = request.seq;
        self.request = None;
        self.orphaned.clear();
    }

    /// A reply is complete: that is journalled before anybody can hear of it.
    fn journal_answered(&mut self, out: &mut Vec<Action>) {
        if self.answered == self.journalled {
            return;
        }
        self.journalled = self.answered;
        if broken(Rule::O2) {
            out.push(Action::Journal(Entry::Started(self.answered)));
        }
        out.push(Action::Journal(Entry::Answered(self.answered)));
    }

    /// Starts the oldest request if none runs. What is left of one that was answered early is thrown away.
    pub(super) fn start_next(&mut self, now: Moment, out: &mut Vec<Action>) {
        self.journal_answered(out);
        if self.request.is_some() || self.doom.is_some() {
            return;
        }
        while let Some(piece) = self.requests.peek() {
            let (seq, bytes, ended) = (piece.seq, piece.bytes.len() as u64, piece.end.is_some());
            if seq <= self.started {
                self.requests.take();
                self.requests.consumed(bytes, ended);
                continue;
            }
            self.started = seq;
            self.request = Some(Request {
                seq,
                started_at: now,
                bytes_in: 0,
                bytes_out: 0,
                fed: false,
                discarded: false,
                state: WorkState::Running,
                progress: None,
                ended: None,
            });
            if !broken(Rule::O2) {
                // Rule O2: journal first.
                out.push(Action::Journal(Entry::Started(seq)));
            }
            return out.push(Action::Start {
                hit: self.key,
                seq,
                timeout: self.timeout,
            });
        }
    }

    /// Whether a handler runs.
    pub(super) fn is_running(&self) -> bool {
        self.request.as_ref().is_some_and(|request| request.ended.is_none())
    }

    pub(super) const fn running(&self) -> Option<&Request> {
        self.request.as_ref()
    }

    pub(super) fn stop_running(&mut self) {
        self.request = None;
    }

    /// The co-process has ended.
    pub(super) fn doom(&mut self, why: String) {
        self.resident = false;
        self.doom.get_or_insert(why);
    }

    /// Why the Hit is over by its handler's end, once its client has what was answered.
    pub(super) fn is_doomed(&self) -> Option<&str> {
        let settled = self.request.is_none() && self.replies.is_settled();
        self.doom.as_deref().filter(|_| settled)
    }

    pub(super) fn is_over(&self) -> bool {
        self.last.is_some_and(|last| self.answered >= last) && self.request.is_none() && self.replies.is_settled()
    }

    pub(super) fn flush(&mut self, now: Moment, out: &mut Vec<Action>) {
        self.finish_request();
        self.start_next(now, out);
        self.hasten(now);
        while self.replies.has_unsent() {
            let Some(way) = self.lane.for_bytes(self.replies.is_under_way()) else {
                break;
            };
            let ack = self.requests.ack();
            let Some(packet) = self.replies.next_packet(now, ack) else {
                break;
            };
            let (hit, attach) = (self.key, self.attach);
            let data = Data {
                hit,
                attach,
                direction: Direction::ToClient,
                packet,
            };
            out.push(routes::by(way, Message::Data(data)));
        }
        if let Some(gap) = self.requests.ack_due(now) {
            let ack = self.requests.ack();
            let (hit, attach) = (self.key, self.attach);
            let ack = Ack {
                hit,
                attach,
                direction: Direction::ToClient,
                gap,
                ack,
            };
            out.push(self.to_client(Message::Ack(ack)));
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Moment> {
        let turn = self.lane.deadline(self.replies.is_under_way());
        earliest(earliest(self.silent_at(), turn), self.requests.next_deadline())
    }

    pub(super) fn on_handler_state(&mut self, state: WorkState, progress: Option<&Progress>) {
        if let Some(request) = &mut self.request {
            if request.state != WorkState::Ending {
                request.state = state;
            }
            if request.progress.as_ref() != progress {
                request.progress = progress.map(|progress| Progress {
                    note: cut_note(&progress.note).to_owned(),
                    ..*progress
                });
            }
        }
    }

    /// What the slot does, for its client.
    pub(super) fn working(&mut self, now: Moment) -> Message {
        self.working_for(now, self.attach)
    }

    /// The same, for whoever has this attach number; 0: the holder.
    pub(super) fn working_for(&mut self, now: Moment, attach: Attach) -> Message {
        let ack = self.requests.ack();
        let request = self.request.as_ref();
        let state = request.map_or(WorkState::Idle, |request| request.state);
        Message::Working(Working {
            hit: self.key,
            attach,
            ack,
            state,
            seq: self.started,
            elapsed_ms: request.map_or(0, |r| now.since(r.started_at).as_millis() as u64),
            bytes_in: request.map_or(0, |r| r.bytes_in),
            bytes_out: request.map_or(0, |r| r.bytes_out),
            progress: request.and_then(|r| r.progress.clone()),
        })
    }

    /// What it does, for whoever asks; acknowledges nothing.
    pub(super) fn state(&self, now: Moment, probe: Probe) -> State {
        let request = self.request.as_ref();
        State {
            nonce: probe.nonce,
            slot: probe.slot,
            path: probe.path,
            hit: self.key,
            state: request.map_or(WorkState::Idle, |request| request.state),
            seq: self.started,
            elapsed_ms: request.map_or(0, |r| now.since(r.started_at).as_millis() as u64),
            pid: 0,
            bytes_in: request.map_or(0, |r| r.bytes_in),
            bytes_out: request.map_or(0, |r| r.bytes_out),
            progress: request.and_then(|r| r.progress.clone()),
        }
    }

    pub(super) fn closed(&self, reason: ClosedReason, note: String) -> Closed {
        let (hit, attach) = (self.key, self.attach);
        Closed {
            hit,
            attach,
            reason,
            started: self.started,
            answered: self.answered,
            note,
        }
    }
}

/// A deadline as it travels; zero: none.
fn deadline(milliseconds: u32) -> Option<Duration> {
    (milliseconds > 0).then(|| Duration::from_millis(u64::from(milliseconds)))
}
