//! The messages, as values. `codec` turns them into frames and back; `docs/protocol.md` tells what each is for.

use bytes::Bytes;

use super::ids::{Attach, Attempt, DirId, HitKey, Incarnation, SlotId, Term, WorkerId};
use super::status::Status;
use super::{mesh, pool};

/// Which way a packet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Requests: from client to slot.
    ToSlot,
    /// Replies: from slot to client.
    ToClient,
}

/// Any message.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "each variant is the message that its type describes")]
pub enum Message {
    Register(Register),
    Registered(Registered),
    Heartbeat(Heartbeat),
    Goodbye(Goodbye),
    Farewell,
    Disconnect(Disconnect),
    Yield(Yield),
    Open(Open),
    Full(Full),
    Queued(Queued),
    Withdraw {
        hit: HitKey,
        attempt: Attempt,
    },
    Withdrawn {
        hit: HitKey,
        attempt: Attempt,
    },
    Held(Held),
    Lease(Lease),
    Declined(Declined),
    Released {
        hit: HitKey,
    },
    Opened(Opened),
    Attach {
        hit: HitKey,
        attach: Attach,
        client: u64,
        timeout_ms: u32,
    },
    Occupied {
        hit: HitKey,
        attach: Attach,
        client: u64,
        current: Attach,
    },
    Data(Data),
    Ack(Ack),
    KeepAlive {
        hit: HitKey,
        attach: Attach,
        ack: AckPoint,
    },
    Working(Working),
    Close(Close),
    Closed(Closed),
    Ballot(Ballot),
    Vote(Vote),
    Ping {
        nonce: u64,
    },
    Pong(Pong),
    Probe(pool::Probe),
    State(pool::State),
    Roll(pool::Roll),
    Roster(pool::Roster),
    Ask(pool::Ask),
    Receipt(pool::Receipt),
    Running(pool::Running),
    Answer(pool::Answer),
    Thanks(pool::Thanks),
    Check(pool::Check),
    Condition(pool::Condition),
    Gone(pool::Gone),
    Greet(mesh::Greeting),
    Greeted(mesh::Greeting),
    News(mesh::News),
    Relay(mesh::Relay),
    Relayed(mesh::Relayed),
}

/// REGISTER: a slot or a worker's control thread makes itself known, again after each new term, and whenever its state
/// may be unknown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Register {
    /// The worker and the slot; slot number 0 is the worker's control thread.
    pub slot: SlotId,
    /// Tells the worker from an earlier one of the same id.
    pub incarnation: Incarnation,
    /// The worker's process id on the broker's host; 0 if it cannot be known there.
    pub pid: u32,
    /// Pool that it serves.
    pub pool: String,
    /// How many slots the worker has.
    pub slots: u32,
    /// Rule O7: keeps a journal.
    pub journal: bool,
    /// Rule O7: votes on its master.
    pub votes: bool,
    /// Takes no new Hit.
    pub draining: bool,
    /// The Hit that the slot serves now, if any.
    pub hit: Option<HitKey>,
}

/// REGISTERED: the broker's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registered {
    /// The broker's term.
    pub term: Term,
    /// The runtime directory's id.
    pub dir: DirId,
    /// Name of the host.
    pub host: String,
    /// Period of heartbeats, in milliseconds.
    pub interval_ms: u32,
    /// How many may be missed.
    pub liveness: u32,
}

/// HEARTBEAT, both ways between a worker's control thread and the broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    /// The broker's term, as its sender knows it. A stale one is ignored.
    pub term: Term,
    /// The sender's loop counter.
    pub beat: u64,
}

/// GOODBYE of one slot, or (slot number 0) of a worker with all its slots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Goodbye {
    /// Who leaves.
    pub slot: SlotId,
    /// Its incarnation.
    pub incarnation: Incarnation,
}

/// DISCONNECT: why a peer is not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Disconnect {
    /// Register first.
    NotRegistered = 1,
    /// This broker is leaving; look for the next one.
    Leaving = 2,
    /// A limit of the broker is reached.
    TooMany = 3,
    /// The message was not expected from this peer.
    Unexpected = 4,
    /// This broker was started by hand and leaves its office to a takeover only.
    Dedicated = 5,
}

/// YIELD: a broker that was started by hand asks the one that holds the office to leave it (rule E3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Yield {
    /// The asker's process: for whom the office is reserved.
    pub pid: u32,
    /// When that process started, in clock ticks since the machine did.
    pub start_ticks: u64,
    /// A holder that was started by hand is asked, too.
    pub takeover: bool,
}

/// The broker that members vote on (rule V1). One that has not written its record yet has term 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Suspect {
    /// Its term.
    pub term: Term,
    /// Its process.
    pub pid: u32,
    /// When that process started, in clock ticks since the machine did.
    pub start_ticks: u64,
}

/// BALLOT: a member finds the broker hung and asks another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ballot {
    /// Who asks.
    pub member: WorkerId,
    /// Its incarnation.
    pub incarnation: Incarnation,
    /// Whom the vote is on.
    pub suspect: Suspect,
    /// Its loop counter, which stands still: if it has moved on, the vote is void.
    pub beat: u64,
}

/// VOTE: the answer to a BALLOT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vote {
    /// Who votes.
    pub member: WorkerId,
    /// Its incarnation.
    pub incarnation: Incarnation,
    /// Whom the vote is on.
    pub suspect: Suspect,
    /// Its loop counter, which stands still: if it has moved on, the vote is void.
    pub beat: u64,
    /// Whether the member finds it hung.
    pub hung: bool,
}

/// OPEN: lease a slot. It may carry the start of the first request.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
#[expect(clippy::struct_excessive_bools, reason = "flags of the wire, each by itself")]
pub struct Open {
    /// Key that the client chose.
    pub hit: HitKey,
    /// The attach number that the client holds or wants; 1 for the opener.
    pub attach: Attach,
    /// Counts this client's OPENs of the Hit.
    pub attempt: Attempt,
    /// Wait in line if no slot is idle; else FULL is answered.
    pub queue: bool,
    /// While it waits in line: FULL is welcome, when another host has an idle slot.
    pub moves: bool,
    /// End the Hit once the request that `packet` completes is answered.
    pub close_after: bool,
    /// OPENED was heard before: resume, never start anew.
    pub resume: bool,
    /// Term that the client heard last.
    pub term: Term,
    /// Directory that the client heard first (rule O5).
    pub dir: DirId,
    /// How long ago the client sent its first OPEN of this Hit, in milliseconds.
    pub age_ms: u32,
    /// Silence after which the Hit ends, in milliseconds.
    pub ttl_ms: u32,
    /// Deadline of each request from its start, in milliseconds; 0: none.
    pub timeout_ms: u32,
    /// Who holds the Hit, whichever clients come and go.
    pub holder: Option<Holder>,
    /// The pool.
    pub pool: String,
    /// The first packet of requests; its segments may be empty.
    pub packet: Packet,
}

/// FULL: nothing idle here, for that attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Full {
    /// The Hit.
    pub hit: HitKey,
    /// The attempt that is answered.
    pub attempt: Attempt,
    /// Why.
    pub reason: FullReason,
    /// The broker's term.
    pub term: Term,
    /// Hosts with idle slots in the pool, the best first.
    pub hints: Vec<Hint>,
}

/// Why a broker has no slot to give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum FullReason {
    /// Every slot of the pool is leased.
    Busy = 1,
    /// No worker serves the pool here.
    NoWorker = 2,
    /// The broker takes no new Hit: it is leaving.
    Leaving = 3,
    /// Too many wait already.
    QueueFull = 4,
}

/// A host that has idle slots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hint {
    /// Its name.
    pub host: String,
    /// How many.
    pub idle: u32,
}

/// QUEUED: the OPEN waits in line. Sent at once, and again for each repetition of the OPEN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queued {
    /// The Hit.
    pub hit: HitKey,
    /// The attempt that is answered.
    pub attempt: Attempt,
    /// The broker's term.
    pub term: Term,
    /// How many wait before this one.
    pub ahead: u32,
    /// Slots of the pool on this host.
    pub slots: u32,
    /// How many of them are leased.
    pub busy: u32,
}

/// HELD: the broker knows the Hit and has passed the OPEN on to its slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The Hit.
    pub hit: HitKey,
    /// The attempt that is answered.
    pub attempt: Attempt,
    /// The broker's term.
    pub term: Term,
    /// The slot.
    pub slot: SlotId,
    /// Milliseconds since the slot's worker was heard.
    pub silent_ms: u32,
}

/// LEASE: serve this Hit. Repeated when the client repeats its OPEN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The Hit.
    pub hit: HitKey,
    /// The opener's attach number.
    pub attach: Attach,
    /// The attempt, for OPENED to name.
    pub attempt: Attempt,
    /// End the Hit once the request that `packet` completes is answered.
    pub close_after: bool,
    /// Only resume: a slot that does not serve the Hit declines.
    pub resume: bool,
    /// The broker's term (rule O3).
    pub term: Term,
    /// As in OPEN.
    pub ttl_ms: u32,
    /// As in OPEN.
    pub timeout_ms: u32,
    /// As in OPEN.
    pub holder: Option<Holder>,
    /// As in OPEN.
    pub packet: Packet,
}

/// The process that holds a Hit: the Hit is over when it has ended, or is silent for the ttl, and not before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its process on the slot's host; 0: it is on another.
    pub pid: u32,
    /// When that process started, in clock ticks since the machine did.
    pub start_ticks: u64,
}

/// DECLINED: the slot does not take the lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declined {
    /// The Hit that was to be leased.
    pub hit: HitKey,
    /// The attempt.
    pub attempt: Attempt,
    /// Why.
    pub reason: DeclineReason,
    /// The Hit that the slot serves instead, if any.
    pub serving: Option<HitKey>,
}

/// Why a slot does not take a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum DeclineReason {
    /// It serves another Hit.
    Busy = 1,
    /// It takes no new Hit.
    Draining = 2,
    /// The Hit was served here and has ended.
    Ended = 3,
    /// RESUME was asked and the Hit was never here.
    Unknown = 4,
    /// The lease is of a stale term.
    StaleTerm = 5,
}

/// OPENED: the Hit runs here. Also answers ATTACH, and every repeated LEASE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// The Hit.
    pub hit: HitKey,
    /// The attach number that now holds.
    pub attach: Attach,
    /// The attempt that is answered; 0 for an ATTACH.
    pub attempt: Attempt,
    /// The number that the attached client chose in its ATTACH; 0 for the opener. Two clients that ask for the same
    /// attach number tell by it which of them holds it.
    pub client: u64,
    /// Term of the broker that leased.
    pub term: Term,
    /// Directory of that broker.
    pub dir: DirId,
    /// Name of the host.
    pub host: String,
    /// The slot.
    pub slot: SlotId,
    /// First seq that this attachment may use; 1 for the opener.
    pub first_seq: u64,
    /// What the slot has received, and its credit.
    pub ack: AckPoint,
    /// Silence after which the Hit ends, in milliseconds.
    pub ttl_ms: u32,
    /// What the client before has left.
    pub left: Left,
    /// Endpoints of the direct route.
    pub endpoints: Vec<String>,
}

/// What the clients before an attachment have left, as it was when the last of them went (rule O8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Left {
    /// Last seq whose handler was started; 0 if none.
    pub started: u64,
    /// Last seq whose reply was complete, read or not. If `started` is higher, that request ran, and nobody reads its
    /// reply. What lies between `started` and the new client's first seq never runs.
    pub answered: u64,
    /// The request that ran was incomplete: it is spent, and its handler is ended.
    pub stopped: bool,
}

/// Next byte wanted, and the absolute limit of credit (rule S1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct AckPoint {
    /// Message whose bytes are wanted next.
    pub seq: u64,
    /// First byte of it that is wanted.
    pub offset: u64,
    /// Stream position up to which may be sent: each message costs its bytes and
    /// [`MESSAGE_COST_BYTES`](super::limits::MESSAGE_COST_BYTES) more, counted from the start of the attachment (rule S2).
    pub limit: u64,
}

/// What the bytes of a segment are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Channel {
    /// The body.
    Body = 0,
    /// What the handler said on its standard error (replies only).
    Stderr = 1,
    /// An explanation by the worker for a person, UTF-8 (replies only).
    Note = 2,
}

/// A run of bytes of one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// What the bytes are.
    pub channel: Channel,
    /// How many.
    pub length: u32,
    /// The message ends with them.
    pub end: Option<Status>,
}

/// Bytes of one or several messages in a row, with an acknowledgement of the other direction.
///
/// The first segment starts at (`seq`, `offset`); after one with an END, the next starts at (`seq` + 1, 0).
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Packet {
    /// Acknowledges the other direction.
    pub ack: AckPoint,
    /// Message of the first byte.
    pub seq: u64,
    /// Offset of the first byte in its message, over all channels.
    pub offset: u64,
    /// The runs, in order.
    pub segments: Vec<Segment>,
    /// Their bytes, one after the other.
    pub body: Bytes,
}

/// DATA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Data {
    /// The Hit.
    pub hit: HitKey,
    /// Rule O8.
    pub attach: Attach,
    /// Which way it goes.
    pub direction: Direction,
    /// The bytes.
    pub packet: Packet,
}

/// ACK.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ack {
    /// The Hit.
    pub hit: HitKey,
    /// Rule O8.
    pub attach: Attach,
    /// Which way the acknowledgement itself goes.
    pub direction: Direction,
    /// Something between is missing: send again from `ack`.
    pub gap: bool,
    /// The acknowledgement.
    pub ack: AckPoint,
}

/// WORKING: the slot's answer to KEEPALIVE.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Working {
    /// The Hit.
    pub hit: HitKey,
    /// Rule O8.
    pub attach: Attach,
    /// Acknowledges requests.
    pub ack: AckPoint,
    /// What the slot does.
    pub state: WorkState,
    /// The request that runs, or the last that did; 0 if none has.
    pub seq: u64,
    /// Milliseconds since it started.
    pub elapsed_ms: u64,
    /// Bytes that its handler has taken.
    pub bytes_in: u64,
    /// Bytes that its handler has given.
    pub bytes_out: u64,
    /// The handler's own progress.
    pub progress: Option<Progress>,
}

/// What a slot does for its Hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(u8)]
pub enum WorkState {
    /// Waits for a request.
    #[default]
    Idle = 0,
    /// A request runs.
    Running = 1,
    /// A request's handler is stopped (rule A2 b).
    Stopped = 2,
    /// A handler that was told to end is given its grace.
    Ending = 3,
    /// A request's handler has reported progress before, and has not for patience (rule A2 c).
    Stalled = 4,
}

/// A handler's own report of how far it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Done so far.
    pub done: u64,
    /// Of this; 0 if unknown.
    pub total: u64,
    /// In words.
    pub note: String,
}

/// CLOSE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Close {
    /// The Hit.
    pub hit: HitKey,
    /// Rule O8.
    pub attach: Attach,
    /// Why.
    pub reason: CloseReason,
    /// The client's last acknowledgement.
    pub ack: AckPoint,
}

/// Why a client closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum CloseReason {
    /// It has all that it wanted.
    Done = 1,
    /// It gives up: kill what runs.
    Abandoned = 2,
    /// It leaves the Hit to the next client.
    Detached = 3,
}

/// CLOSED: the Hit has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closed {
    /// The Hit.
    pub hit: HitKey,
    /// Attach number of the client that is told.
    pub attach: Attach,
    /// Why.
    pub reason: ClosedReason,
    /// Last seq whose handler was started; 0 if none. `u64::MAX`: not known to the sender.
    pub started: u64,
    /// Last seq whose reply the handler completed; 0 if none. `u64::MAX`: not known to the sender.
    pub answered: u64,
    /// In words.
    pub note: String,
}

/// Why a Hit ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ClosedReason {
    /// Its client closed it.
    Done = 1,
    /// Its client was silent for its ttl.
    ClientSilent = 2,
    /// Its worker was asked to end and its grace is over.
    WorkerLeft = 3,
    /// Its worker died. Said by the broker.
    WorkerDied = 4,
    /// Its handler ended it.
    HandlerEnded = 5,
    /// The client broke the protocol (rule S3).
    Violation = 6,
    /// The broker does not know the Hit that was to be resumed. Said by the broker.
    Unknown = 7,
    /// Another client holds it with a higher attach number.
    Superseded = 8,
    /// Who held it for its clients has ended, or was silent for its ttl.
    HolderGone = 9,
}

impl ClosedReason {
    /// The reason of this number, as it stands in journals.
    pub fn from_number(number: u64) -> Option<Self> {
        let all = [
            Self::Done,
            Self::ClientSilent,
            Self::WorkerLeft,
            Self::WorkerDied,
            Self::HandlerEnded,
            Self::Violation,
            Self::Unknown,
            Self::Superseded,
            Self::HolderGone,
        ];
        all.into_iter().find(|reason| *reason as u64 == number)
    }
}

/// PONG: what the broker knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pong {
    /// The PING's.
    pub nonce: u64,
    /// The broker's host.
    pub host: String,
    /// Its process id.
    pub pid: u32,
    /// Its term.
    pub term: Term,
    /// Milliseconds since it started to serve.
    pub uptime_ms: u64,
    /// Its program version.
    pub version: String,
    /// What keeps it from doing all that it should, in words; empty: nothing.
    pub trouble: String,
    /// OPENs in line.
    pub queued: u32,
    /// Workers in all; `workers` lists no more than a limit.
    pub workers_total: u32,
    /// The workers, by id.
    pub workers: Vec<PongWorker>,
}

/// One worker in a PONG.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PongWorker {
    /// Its id.
    pub worker: WorkerId,
    /// Its process id.
    pub pid: u32,
    /// Its pool.
    pub pool: String,
    /// Slots that it has registered.
    pub slots: u32,
    /// How many of them are leased.
    pub busy: u32,
    /// How many of those are hung (rule A2).
    pub hung: u32,
    /// Milliseconds since its last heartbeat.
    pub silent_ms: u32,
    /// Milliseconds since its control loop was last seen to turn; 0 if that cannot be seen.
    pub still_ms: u32,
    /// Takes no new Hit.
    pub draining: bool,
}
