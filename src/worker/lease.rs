//! What a slot knows: the pure machine behind a slot thread.
//!
//! It takes messages and what the handler did, and says what to send and what to start or stop. It holds at most one
//! Hit, runs its requests one at a time and in order, and never a (Hit, seq) twice: a repeated request is a repeated
//! piece of the stream, and the stream takes each byte once. docs/protocol.md sections 6 and 7.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;

use crate::election::journal::Entry;
use crate::protocol::ids::{Attach, HitKey, Incarnation, Peer, SlotId};
use crate::protocol::limits::{NOTE_BYTES_MAX, TTL_MAX};
use crate::protocol::message::{
    AckPoint, Channel, Closed, ClosedReason, Disconnect, Goodbye, Holder, Lease, Message, Progress, Register,
    Registered, WorkState,
};
use crate::protocol::mutation::{Rule, broken};
use crate::protocol::pool::{self, Probe};
use crate::protocol::status::Status;
use crate::protocol::stream::Piece;
use crate::protocol::time::{Moment, earliest};

use super::hit::Hit;

mod direct;
mod opening;

/// Ended Hits that a slot remembers, so that a late LEASE of one is declined; far more than can be under way to it.
const ENDED_MAX: usize = 64;

/// What does not change while a worker lives.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The slot.
    pub slot: SlotId,
    /// The worker's incarnation.
    pub incarnation: Incarnation,
    /// The worker's process id.
    pub pid: u32,
    /// Pool that it serves.
    pub pool: String,
    /// How many slots the worker has.
    pub slots: u32,
    /// It keeps a journal (rule O7).
    pub journal: bool,
    /// It elects and judges brokers (rule O7).
    pub votes: bool,
}

/// What the slot thread must do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send this to the broker.
    Send(Message),
    /// Send this by the slot's own socket; if that connection has ended: [`Slot::on_direct_gone`].
    SendDirect(Peer, Message),
    /// Watch this process, if that is possible ([`Slot::on_holder_watched`]), and tell when it ends:
    /// [`Slot::on_holder_ended`].
    Watch(Holder),
    /// Write this into the journal, before what follows is done. After [`Entry::Leased`] the slot wants to hear the term of
    /// the host: [`Slot::on_journalled`].
    Journal(Entry),
    /// Start the handler for this request; its input is then to be had from [`Slot::next_input`].
    Start {
        /// The Hit.
        hit: HitKey,
        /// The request.
        seq: u64,
        /// Its deadline, from now.
        timeout: Option<Duration>,
    },
    /// End the running handler: tell it, then kill it after its grace. Its end is still to be reported.
    Stop,
    /// The Hit is over: close the co-process's input, and end it if it does not end itself. Its end is still to be reported.
    Retire,
    /// The Hit is over and its handler gone: remove what is left of it.
    Clean,
}

#[derive(Debug)]
enum State {
    Idle,
    Serving(Box<Hit>),
    /// The Hit has ended; its handler has not yet.
    Ending(Box<Hit>, ClosedReason, String),
}

/// A CLOSED that the broker has not confirmed.
#[derive(Debug)]
struct Unreleased {
    closed: Closed,
    /// Whoever held the Hit is told, too.
    held: bool,
    /// The connection by which its client spoke straight to the slot: no broker need know that client.
    direct: Option<Peer>,
    /// When to say it again.
    at: Moment,
}

/// The machine.
#[derive(Debug)]
pub struct Slot {
    me: Identity,
    /// What the broker said, once it has.
    broker: Option<Registered>,
    register_at: Moment,
    draining: bool,
    /// GOODBYE was sent (at) and FAREWELL not heard.
    goodbye_at: Option<Moment>,
    left: bool,
    state: State,
    /// A lease that is journalled and not yet confirmed by a look at the term (rule O3).
    leasing: Option<Box<Lease>>,
    unreleased: Option<Unreleased>,
    ended: VecDeque<HitKey>,
    /// Where its own socket is.
    endpoints: Vec<String>,
    interval: Duration,
    liveness: u32,
    /// When it last did anything while it served.
    looked_at: Moment,
}

impl Slot {
    /// A slot that nobody knows yet.
    pub fn new(me: Identity, interval: Duration, liveness: u32) -> Self {
        Self {
            me,
            broker: None,
            register_at: Moment::ZERO,
            draining: false,
            goodbye_at: None,
            left: false,
            state: State::Idle,
            leasing: None,
            unreleased: None,
            ended: VecDeque::new(),
            endpoints: Vec::new(),
            interval,
            liveness,
            looked_at: Moment::ZERO,
        }
    }

    /// Its name.
    pub const fn id(&self) -> SlotId {
        self.me.slot
    }

    /// Name of the host, as the broker told it.
    pub fn host(&self) -> &str {
        self.broker.as_ref().map_or("", |broker| &broker.host)
    }

    /// Key of the Hit that it serves, and whether that Hit is only ending.
    pub fn serving(&self) -> Option<(HitKey, bool)> {
        match &self.state {
            State::Idle => None,
            State::Serving(hit) => Some((hit.key, false)),
            State::Ending(hit, ..) => Some((hit.key, true)),
        }
    }

    /// What it does, for whoever asks. Which process does it only the loop knows.
    pub fn state(&self, now: Moment, probe: Probe) -> pool::State {
        match &self.state {
            State::Idle => pool::State {
                nonce: probe.nonce,
                slot: probe.slot,
                path: probe.path,
                hit: HitKey::default(),
                state: WorkState::Idle,
                seq: 0,
                elapsed_ms: 0,
                pid: 0,
                bytes_in: 0,
                bytes_out: 0,
                progress: None,
            },
            State::Serving(hit) => hit.state(now, probe),
            State::Ending(hit, ..) => pool::State {
                state: WorkState::Ending,
                ..hit.state(now, probe)
            },
        }
    }

    /// Whether it has said goodbye and been let go, or nobody is there to do so.
    pub const fn has_left(&self) -> bool {
        self.left
    }

    /// Takes a message from the broker's socket.
    pub fn on_message(&mut self, now: Moment, message: Message, out: &mut Vec<Action>) {
        self.take(now, None, message, out);
    }

    /// Takes a message that came by the slot's own socket, or by the broker.
    fn take(&mut self, now: Moment, way: Option<Peer>, message: Message, out: &mut Vec<Action>) {
        self.look(now);
        match message {
            Message::Registered(registered) => self.on_registered(now, registered),
            Message::Lease(lease) => self.on_lease(now, &lease, out),
            Message::Released { hit } => {
                self.unreleased.take_if(|said| said.closed.hit == hit);
            }
            Message::Farewell => self.left |= self.goodbye_at.is_some(),
            Message::Disconnect(Disconnect::NotRegistered) => self.register_again(now),
            // A broker that is leaving or full is not to be flooded.
            Message::Disconnect(_) => self.register_at = self.register_at.min(now + self.interval / 4),
            Message::Data(data) => self.with_hit(now, data.hit, data.attach, out, |hit, out| {
                hit.on_ack(now, data.packet.ack, false)?;
                hit.on_packet(now, &data.packet)?;
                hit.hurry_turning(now, way);
                hit.start_next(now, out);
                Ok(())
            }),
            Message::Ack(ack) => {
                self.with_hit(now, ack.hit, ack.attach, out, |hit, _| {
                    hit.on_ack(now, ack.ack, ack.gap)
                });
            }
            Message::KeepAlive {
                hit, attach: Attach(0), ..
            } => self.on_holder(now, hit, out),
            Message::Close(close) if close.attach == Attach(0) => self.on_released(now, close.hit, out),
            Message::KeepAlive { hit, attach, ack } => self.with_hit(now, hit, attach, out, |hit, out| {
                hit.on_ack(now, ack, false)?;
                let working = hit.working(now);
                out.push(hit.to_client(working));
                Ok(())
            }),
            Message::Close(close) => self.on_close(now, &close, out),
            Message::Attach {
                hit,
                attach,
                client,
                timeout_ms,
            } => self.on_attach(now, (hit, attach), (client, timeout_ms), out),
            // Nothing else is meant for a slot; a broker that sends it is not obeyed.
            _ => {}
        }
        self.flush(now, out);
    }

    fn on_registered(&mut self, now: Moment, registered: Registered) {
        if self.broker.as_ref().is_some_and(|known| registered.term < known.term) {
            return;
        }
        self.interval = Duration::from_millis(u64::from(registered.interval_ms.max(1))).min(TTL_MAX);
        self.liveness = registered.liveness.max(1);
        self.broker = Some(registered);
        self.register_at = Moment::from_micros(u64::MAX);
        if let Some(said) = &mut self.unreleased {
            said.at = now;
        }
    }

    /// The broker is new, or has forgotten this slot.
    pub const fn register_again(&mut self, now: Moment) {
        self.register_at = now;
    }

    /// The socket has no broker at its other end: no client can be heard, so none is judged silent (rule A4), and the
    /// next broker is told who is here.
    pub fn on_no_route(&mut self, now: Moment) {
        if let State::Serving(hit) = &mut self.state {
            hit.restart_clocks(now);
            hit.on_no_broker();
        }
        self.register_at = self.register_at.min(now + self.interval);
        // Nobody is there to let a leaving slot go, nor to be told how its Hit ended.
        self.left |= self.goodbye_at.is_some() && self.unreleased.is_none();
    }

    /// The process that holds the Hit is watched: its end is the Hit's, and its silence means nothing. It may be stopped.
    pub fn on_holder_watched(&mut self) {
        if let State::Serving(hit) = &mut self.state {
            hit.holder_watched();
        }
    }

    /// The process that holds the Hit has ended.
    pub fn on_holder_ended(&mut self, now: Moment, out: &mut Vec<Action>) {
        if matches!(&self.state, State::Serving(hit) if hit.is_held()) {
            let note = "the process that held it has ended".to_owned();
            self.end_hit(now, ClosedReason::HolderGone, note, out);
        }
        self.flush(now, out);
    }

    /// The next bytes for the running handler, if there are any. What it is given counts as taken once
    /// [`on_taken`](Self::on_taken) says so.
    pub fn next_input(&mut self) -> Option<Piece> {
        match &mut self.state {
            State::Serving(hit) => hit.next_input(),
            _ => None,
        }
    }

    /// Whether [`next_input`](Self::next_input) has something.
    pub fn has_input(&self) -> bool {
        matches!(&self.state, State::Serving(hit) if hit.has_input())
    }

    /// The handler has taken so many bytes. The credit that this opens is told by the next [`flush`](Self::flush).
    pub fn on_taken(&mut self, bytes: u64) {
        if let State::Serving(hit) = &mut self.state {
            hit.on_taken(bytes);
        }
    }

    /// How many bytes of output the handler may give now.
    pub fn output_room(&self) -> usize {
        match &self.state {
            State::Serving(hit) => hit.output_room(),
            // Nobody will read it; it is drained so that the handler can end.
            State::Ending(..) => usize::MAX,
            State::Idle => 0,
        }
    }

    /// Bytes that the handler gave; never more than [`output_room`](Self::output_room). They are sent by the next
    /// [`flush`](Self::flush).
    pub fn on_output(&mut self, channel: Channel, bytes: Bytes) {
        if let State::Serving(hit) = &mut self.state {
            hit.on_output(channel, bytes);
        }
    }

    /// What the running handler does, and says of its progress (rule A2): clients are told by the next WORKING.
    pub fn on_handler_state(&mut self, state: WorkState, progress: Option<&Progress>) {
        if let State::Serving(hit) = &mut self.state {
            hit.on_handler_state(state, progress);
        }
    }

    /// A co-process was started for the Hit, or taken from those that were started ahead.
    pub fn on_resident(&mut self) {
        if let State::Serving(hit) = &mut self.state {
            hit.resident = true;
        }
    }

    /// The Hit's co-process has ended and nothing of it is left; `why` is for people. To be said before the end of a request
    /// that it ran.
    pub fn on_resident_gone(&mut self, now: Moment, why: String, out: &mut Vec<Action>) {
        match &mut self.state {
            State::Serving(hit) => hit.doom(why),
            State::Ending(hit, ..) => {
                hit.resident = false;
                if !hit.is_running() {
                    self.conclude(now, out);
                }
            }
            State::Idle => {}
        }
    }

    /// The handler has ended and nothing of it is left. The next request starts. What it said last is sent by the next
    /// [`flush`](Self::flush), so that many short replies share a packet.
    pub fn on_handler_ended(&mut self, now: Moment, status: Status, note: &str, out: &mut Vec<Action>) {
        match &mut self.state {
            State::Serving(hit) => {
                hit.on_handler_ended(status, note);
                hit.start_next(now, out);
            }
            State::Ending(hit, ..) => {
                hit.stop_running();
                if hit.resident {
                    out.push(Action::Retire);
                } else {
                    self.conclude(now, out);
                }
            }
            State::Idle => {}
        }
    }

    /// Takes no new Hit from now on; an idle slot leaves.
    pub fn drain(&mut self, now: Moment, out: &mut Vec<Action>) {
        if !self.draining {
            self.draining = true;
            self.register_at = now;
        }
        self.flush(now, out);
    }

    /// The grace of a drain is over: what runs is ended.
    pub fn abandon(&mut self, now: Moment, out: &mut Vec<Action>) {
        let note = "its grace is over";
        self.end_hit(now, ClosedReason::WorkerLeft, note.to_owned(), out);
        self.flush(now, out);
    }

    fn end_hit(&mut self, now: Moment, reason: ClosedReason, note: String, out: &mut Vec<Action>) {
        let hit = match std::mem::replace(&mut self.state, State::Idle) {
            State::Serving(hit) => hit,
            other => {
                self.state = other;
                return;
            }
        };
        let (running, resident) = (hit.is_running(), hit.resident);
        self.state = State::Ending(hit, reason, note);
        match (running, resident) {
            (true, _) => out.push(Action::Stop),
            (false, true) => out.push(Action::Retire),
            (false, false) => self.conclude(now, out),
        }
    }

    fn conclude(&mut self, now: Moment, out: &mut Vec<Action>) {
        let State::Ending(hit, reason, note) = std::mem::replace(&mut self.state, State::Idle) else {
            return;
        };
        out.push(Action::Clean);
        out.push(Action::Journal(Entry::Ended(reason)));
        let closed = hit.closed(reason, note);
        self.ended.push_back(hit.key);
        if self.ended.len() > ENDED_MAX {
            self.ended.pop_front();
        }
        let said = Unreleased {
            closed,
            held: hit.is_held(),
            direct: hit.lane.wanted(),
            at: now + self.interval,
        };
        said.send(out);
        self.unreleased = Some(said);
    }

    /// Sends what is due: packets, acknowledgements, a registration. Messages, ticks and drains end with it; after what
    /// the handler did the caller does so once for all.
    pub fn flush(&mut self, now: Moment, out: &mut Vec<Action>) {
        if let State::Serving(hit) = &mut self.state {
            hit.flush(now, out);
            if hit.is_over() {
                self.end_hit(now, ClosedReason::Done, String::new(), out);
            } else if let Some(why) = hit.is_doomed() {
                let why = cut_note(why).to_owned();
                self.end_hit(now, ClosedReason::HandlerEnded, why, out);
            }
        }
        if self.register_at <= now && self.goodbye_at.is_none() {
            self.register_at = now + self.interval;
            out.push(Action::Send(self.register()));
        }
        if let Some(said) = &mut self.unreleased
            && said.at <= now
        {
            said.at = now + self.interval;
            said.send(out);
        }
        self.say_goodbye(now, out);
    }

    fn say_goodbye(&mut self, now: Moment, out: &mut Vec<Action>) {
        let busy = !matches!(self.state, State::Idle);
        if !self.draining || busy || self.left || self.goodbye_at.is_some_and(|at| now.since(at) < self.interval) {
            return;
        }
        // A broker that does not answer the first goodbye for an interval is not there to miss this slot.
        if self.goodbye_at.is_some() || self.broker.is_none() {
            self.left = true;
            return;
        }
        self.goodbye_at = Some(now);
        let goodbye = Goodbye {
            slot: self.me.slot,
            incarnation: self.me.incarnation,
        };
        out.push(Action::Send(Message::Goodbye(goodbye)));
    }

    fn register(&self) -> Message {
        let hit = match &self.state {
            State::Idle => None,
            State::Serving(hit) | State::Ending(hit, ..) => Some(hit.key),
        };
        Message::Register(Register {
            slot: self.me.slot,
            incarnation: self.me.incarnation,
            pid: self.me.pid,
            pool: self.me.pool.clone(),
            slots: self.me.slots,
            journal: self.me.journal,
            votes: self.me.votes,
            draining: self.draining,
            hit,
        })
    }

    /// Time has passed. An early or repeated tick does nothing.
    pub fn on_tick(&mut self, now: Moment, out: &mut Vec<Action>) {
        self.look(now);
        if let State::Serving(hit) = &self.state
            && hit.is_abandoned(now)
        {
            let (who, reason) = if hit.is_held() {
                ("holder", ClosedReason::HolderGone)
            } else {
                ("client", ClosedReason::ClientSilent)
            };
            let note = format!("its {who} was silent for its ttl of {:?}", hit.ttl);
            self.end_hit(now, reason, note, out);
        }
        self.flush(now, out);
    }

    /// Rule A3: who stood still himself restarts his clocks before he judges others. He has, if he comes more than an
    /// interval after his own deadline, which is an interval after he looked last.
    fn look(&mut self, now: Moment) {
        let State::Serving(hit) = &mut self.state else { return };
        if now.since(self.looked_at) > self.interval * 2 && !broken(Rule::A3) {
            hit.restart_clocks(now);
        }
        self.looked_at = now;
    }

    /// When to tick at the latest.
    pub fn next_deadline(&self) -> Option<Moment> {
        let hit = match &self.state {
            State::Serving(hit) => earliest(hit.next_deadline(), Some(self.looked_at + self.interval)),
            _ => None,
        };
        let register = (self.goodbye_at.is_none()).then_some(self.register_at);
        let goodbye = self.goodbye_at.filter(|_| !self.left).map(|at| at + self.interval);
        let released = self.unreleased.as_ref().map(|said| said.at);
        earliest(earliest(hit, register), earliest(goodbye, released))
    }

    /// What the slot knows of the running request: seq and bytes taken and given, for tests and diagnosis.
    pub fn request(&self) -> Option<(u64, u64, u64)> {
        match &self.state {
            State::Serving(hit) | State::Ending(hit, ..) => hit.running().map(|r| (r.seq, r.bytes_in, r.bytes_out)),
            State::Idle => None,
        }
    }

    /// Bytes and pieces that it holds for its Hit: (requests waiting, their bytes, reply bytes kept).
    pub fn held(&self) -> (usize, u64, usize) {
        match &self.state {
            State::Serving(hit) | State::Ending(hit, ..) => {
                let (pieces, bytes) = hit.requests.waiting();
                (pieces, bytes, hit.replies.kept_bytes())
            }
            State::Idle => (0, 0, 0),
        }
    }

    /// The acknowledgement that goes with the next packet, for tests.
    pub fn told(&mut self) -> Option<AckPoint> {
        match &mut self.state {
            State::Serving(hit) => Some(hit.requests.ack()),
            _ => None,
        }
    }
}

impl Unreleased {
    /// Tells that a Hit has ended: first who held it, under attach number 0, then the client.
    fn send(&self, out: &mut Vec<Action>) {
        let closed = &self.closed;
        if self.held {
            let attach = Attach(0);
            out.push(Action::Send(Message::Closed(Closed {
                attach,
                ..closed.clone()
            })));
        }
        if let Some(peer) = self.direct {
            out.push(Action::SendDirect(peer, Message::Closed(closed.clone())));
        }
        out.push(Action::Send(Message::Closed(closed.clone())));
    }
}

/// Cuts a note to its limit at a character's boundary.
pub(super) fn cut_note(note: &str) -> &str {
    let mut end = note.len().min(NOTE_BYTES_MAX);
    while !note.is_char_boundary(end) {
        end -= 1;
    }
    &note[..end]
}

#[cfg(test)]
#[path = "lease_tests.rs"]
mod tests;
