//! At least one message of every kind, with the values at the edges, for the tests of the wire format.

#[path = "samples_pool.rs"]
mod pool;

use bytes::Bytes;
use zhit::protocol::limits::{
    CHUNK_BYTES_MAX, ENDPOINT_BYTES_MAX, ENDPOINTS_MAX, HINTS_MAX, INLINE_BYTES_MAX, NAME_BYTES_MAX, NOTE_BYTES_MAX,
    PONG_WORKERS_MAX, SEGMENTS_MAX,
};
use zhit::protocol::message::*;
use zhit::protocol::{Attach, Attempt, DirId, HitKey, Incarnation, SlotId, Status, Term, WorkerId};

/// A message and what it is called in the test vectors.
pub(crate) struct Sample {
    /// COMMAND.what-is-special.
    pub(crate) name: &'static str,
    /// The message.
    pub(crate) message: Message,
}

/// The key in all samples that need only one.
pub(crate) const HIT: HitKey = HitKey::from_bytes(*b"\x00\x11\x22\x33\x44\x55\x66\x77\x88\x99\xaa\xbb\xcc\xdd\xee\xff");

const OTHER: HitKey = HitKey::from_bytes([0xff; 16]);
const DIR: DirId = DirId(*b"directory id 16.");
const TERM: Term = Term(0x0102_0304_0506_0708);
const SLOT: SlotId = SlotId {
    worker: WorkerId(3),
    number: 2,
};
const ACK: AckPoint = AckPoint {
    seq: 2,
    offset: 5,
    limit: 4_194_304,
};
const FAR: AckPoint = AckPoint {
    seq: u64::MAX,
    offset: u64::MAX,
    limit: u64::MAX,
};

fn sample(name: &'static str, message: Message) -> Sample {
    Sample { name, message }
}

fn segment(channel: Channel, length: usize, end: Option<Status>) -> Segment {
    Segment {
        channel,
        length: length as u32,
        end,
    }
}

/// One whole message in a packet.
pub(crate) fn whole(seq: u64, body: impl Into<Bytes>) -> Packet {
    let body = body.into();
    let segments = vec![segment(Channel::Body, body.len(), Some(Status::Ok))];
    Packet {
        ack: AckPoint::default(),
        seq,
        offset: 0,
        segments,
        body,
    }
}

/// DATA with that packet.
pub(crate) fn data(direction: Direction, packet: Packet) -> Message {
    Message::Data(Data {
        hit: HIT,
        attach: Attach(1),
        direction,
        packet,
    })
}

/// Small samples: those that are test vectors too.
pub(crate) fn samples() -> Vec<Sample> {
    [
        registry(),
        opening(),
        answers(),
        openings(),
        streams(),
        life(),
        endings(),
        election(),
        probes(),
        pool::all(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn registry() -> Vec<Sample> {
    let slot = Register {
        slot: SLOT,
        incarnation: Incarnation(0xdead_beef_0000_0001),
        pid: 4711,
        pool: "default".into(),
        slots: 4,
        journal: true,
        votes: false,
        draining: true,
        hit: Some(HIT),
    };
    let control = Register {
        slot: SlotId {
            worker: WorkerId(0),
            number: 0,
        },
        incarnation: Incarnation(0),
        pid: 0,
        pool: "p".into(),
        slots: u32::MAX,
        journal: false,
        votes: true,
        draining: false,
        hit: None,
    };
    let registered = Registered {
        term: TERM,
        dir: DIR,
        host: "alpha".into(),
        interval_ms: 1000,
        liveness: 3,
    };
    vec![
        sample("REGISTER.slot", Message::Register(slot)),
        sample("REGISTER.control", Message::Register(control)),
        sample("REGISTERED", Message::Registered(registered)),
        sample(
            "HEARTBEAT",
            Message::Heartbeat(Heartbeat {
                term: TERM,
                beat: u64::MAX,
            }),
        ),
        sample(
            "GOODBYE",
            Message::Goodbye(Goodbye {
                slot: SLOT,
                incarnation: Incarnation(7),
            }),
        ),
        sample("FAREWELL", Message::Farewell),
        sample(
            "DISCONNECT.not-registered",
            Message::Disconnect(Disconnect::NotRegistered),
        ),
        sample("DISCONNECT.leaving", Message::Disconnect(Disconnect::Leaving)),
        sample("DISCONNECT.too-many", Message::Disconnect(Disconnect::TooMany)),
        sample("DISCONNECT.unexpected", Message::Disconnect(Disconnect::Unexpected)),
    ]
}

fn open() -> Open {
    Open {
        hit: HIT,
        attach: Attach(1),
        attempt: Attempt(1),
        queue: false,
        moves: false,
        close_after: false,
        resume: false,
        term: Term(0),
        dir: DirId::default(),
        age_ms: 0,
        ttl_ms: 15_000,
        timeout_ms: 0,
        holder: None,
        pool: "default".into(),
        packet: Packet::default(),
    }
}

fn lease() -> Lease {
    Lease {
        hit: HIT,
        attach: Attach(1),
        attempt: Attempt(1),
        close_after: false,
        resume: false,
        term: TERM,
        ttl_ms: 15_000,
        timeout_ms: 1000,
        holder: None,
        packet: Packet::default(),
    }
}

fn opening() -> Vec<Sample> {
    let again = Open {
        attempt: Attempt(u32::MAX),
        attach: Attach(2),
        queue: true,
        moves: false,
        resume: true,
        term: TERM,
        dir: DIR,
        age_ms: 1234,
        ..open()
    };
    let one_shot = Open {
        queue: true,
        moves: true,
        close_after: true,
        packet: whole(1, "Hello"),
        ..open()
    };
    let large = Open {
        packet: whole(1, vec![b'z'; INLINE_BYTES_MAX + 1]),
        ..open()
    };
    let holder = Some(Holder {
        pid: 815,
        start_ticks: 123_456,
    });
    let held = Open { holder, ..open() };
    let leased_held = Lease { holder, ..lease() };
    let leased = Lease {
        close_after: true,
        packet: whole(1, "Hello"),
        ..lease()
    };
    let large_lease = Lease {
        packet: whole(1, vec![b'z'; INLINE_BYTES_MAX + 1]),
        ..lease()
    };
    vec![
        sample("OPEN.empty", Message::Open(open())),
        sample("OPEN.resume", Message::Open(again)),
        sample("OPEN.one-shot", Message::Open(one_shot)),
        sample("OPEN.second-frame", Message::Open(large)),
        sample("OPEN.hold", Message::Open(held)),
        sample("LEASE.one-shot", Message::Lease(leased)),
        sample("LEASE.hold", Message::Lease(leased_held)),
        sample(
            "LEASE.resume",
            Message::Lease(Lease {
                resume: true,
                attempt: Attempt(2),
                ..lease()
            }),
        ),
        sample("LEASE.second-frame", Message::Lease(large_lease)),
    ]
}

fn answers() -> Vec<Sample> {
    let attempt = Attempt(2);
    let full = |reason, hints| {
        Message::Full(Full {
            hit: HIT,
            attempt,
            reason,
            term: TERM,
            hints,
        })
    };
    let declined = |reason, serving| {
        Message::Declined(Declined {
            hit: HIT,
            attempt,
            reason,
            serving,
        })
    };
    let hints = vec![
        Hint {
            host: "beta".into(),
            idle: 7,
        },
        Hint {
            host: "x.y_z-1".into(),
            idle: u32::MAX,
        },
    ];
    vec![
        sample("FULL.busy", full(FullReason::Busy, hints)),
        sample("FULL.no-worker", full(FullReason::NoWorker, vec![])),
        sample("FULL.leaving", full(FullReason::Leaving, vec![])),
        sample("FULL.queue-full", full(FullReason::QueueFull, vec![])),
        sample(
            "QUEUED",
            Message::Queued(Queued {
                hit: HIT,
                attempt,
                term: TERM,
                ahead: 1,
                slots: 4,
                busy: 3,
            }),
        ),
        sample("WITHDRAW", Message::Withdraw { hit: HIT, attempt }),
        sample("WITHDRAWN", Message::Withdrawn { hit: HIT, attempt }),
        sample(
            "HELD",
            Message::Held(Held {
                hit: HIT,
                attempt,
                term: TERM,
                slot: SLOT,
                silent_ms: 250,
            }),
        ),
        sample("DECLINED.busy", declined(DeclineReason::Busy, Some(OTHER))),
        sample("DECLINED.draining", declined(DeclineReason::Draining, None)),
        sample("DECLINED.ended", declined(DeclineReason::Ended, None)),
        sample("DECLINED.unknown", declined(DeclineReason::Unknown, None)),
        sample("DECLINED.stale-term", declined(DeclineReason::StaleTerm, None)),
        sample("RELEASED", Message::Released { hit: HIT }),
    ]
}

fn openings() -> Vec<Sample> {
    let opened = Opened {
        hit: HIT,
        attach: Attach(1),
        attempt: Attempt(2),
        client: 0,
        term: TERM,
        dir: DIR,
        host: "alpha".into(),
        slot: SLOT,
        first_seq: 1,
        ack: AckPoint {
            seq: 1,
            offset: 0,
            limit: 4_194_304,
        },
        ttl_ms: 15_000,
        left: Left::default(),
        endpoints: vec![
            "ipc:///tmp/zhit-1000/c/alpha/s3.2".into(),
            "tcp://192.0.2.1:7001".into(),
        ],
    };
    let attached = Opened {
        attach: Attach(u32::MAX),
        attempt: Attempt(0),
        client: 0xc11e_17c1_1e17_c11e,
        first_seq: 9,
        ack: ACK,
        ttl_ms: 600_000,
        left: Left {
            started: 7,
            answered: 6,
            stopped: true,
        },
        endpoints: vec![],
        ..opened.clone()
    };
    vec![
        sample("OPENED.opener", Message::Opened(opened)),
        sample("OPENED.attached", Message::Opened(attached)),
    ]
}

/// Every channel and every kind of status, of several messages, in one packet.
fn mixed() -> Packet {
    let ends = [
        Status::Exit(1),
        Status::Exit(255),
        Status::Signal(0),
        Status::Signal(255),
        Status::Deadline,
    ]
    .into_iter()
    .chain([Status::NotStarted, Status::Refused, Status::Cancelled, Status::Ok]);
    let mut segments = vec![
        segment(Channel::Body, 3, None),
        segment(Channel::Stderr, 2, None),
        segment(Channel::Note, 4, Some(Status::Exit(3))),
    ];
    segments.extend(ends.map(|status| segment(Channel::Body, 0, Some(status))));
    Packet {
        ack: ACK,
        seq: 7,
        offset: 1000,
        segments,
        body: Bytes::from_static(b"abc!!why?"),
    }
}

fn streams() -> Vec<Sample> {
    let last = Packet {
        ack: FAR,
        seq: u64::MAX,
        offset: u64::MAX,
        ..Packet::default()
    };
    let middle = Packet {
        ack: ACK,
        seq: 1,
        offset: 262_144,
        segments: vec![segment(Channel::Body, INLINE_BYTES_MAX + 1, None)],
        body: vec![0x5a; INLINE_BYTES_MAX + 1].into(),
    };
    let ack = |direction, gap, ack| {
        Message::Ack(Ack {
            hit: HIT,
            attach: Attach(1),
            direction,
            gap,
            ack,
        })
    };
    vec![
        sample("DATA.request", data(Direction::ToSlot, whole(1, "Hello"))),
        sample("DATA.empty-request", data(Direction::ToSlot, whole(2, ""))),
        sample("DATA.replies", data(Direction::ToClient, mixed())),
        sample("DATA.second-frame", data(Direction::ToClient, middle)),
        sample("DATA.no-segments", data(Direction::ToClient, last)),
        sample("ACK.to-slot", ack(Direction::ToSlot, false, ACK)),
        sample("ACK.to-client", ack(Direction::ToClient, false, FAR)),
        sample("ACK.gap", ack(Direction::ToSlot, true, AckPoint::default())),
    ]
}

fn life() -> Vec<Sample> {
    let (hit, attach, client) = (HIT, Attach(2), 0x0123_4567_89ab_cdef);
    let idle = Working {
        hit,
        attach,
        ack: ACK,
        state: WorkState::Idle,
        seq: 0,
        elapsed_ms: 0,
        bytes_in: 0,
        bytes_out: 0,
        progress: None,
    };
    let running = Working {
        state: WorkState::Running,
        seq: 4,
        elapsed_ms: 61_000,
        bytes_in: 1 << 40,
        bytes_out: 17,
        progress: Some(Progress {
            done: 3,
            total: 10,
            note: "röntgen".into(),
        }),
        ..idle.clone()
    };
    let stopped = Working {
        state: WorkState::Stopped,
        seq: u64::MAX,
        ..idle.clone()
    };
    let ending = Working {
        state: WorkState::Ending,
        progress: Some(Progress {
            done: 0,
            total: 0,
            note: String::new(),
        }),
        ..idle.clone()
    };
    let close = |reason| {
        Message::Close(Close {
            hit,
            attach,
            reason,
            ack: ACK,
        })
    };
    vec![
        sample(
            "ATTACH",
            Message::Attach {
                hit,
                attach,
                client,
                timeout_ms: 2500,
            },
        ),
        sample(
            "OCCUPIED",
            Message::Occupied {
                hit,
                attach,
                client,
                current: Attach(5),
            },
        ),
        sample("KEEPALIVE", Message::KeepAlive { hit, attach, ack: ACK }),
        sample("WORKING.idle", Message::Working(idle)),
        sample("WORKING.running", Message::Working(running)),
        sample("WORKING.stopped", Message::Working(stopped)),
        sample("WORKING.ending", Message::Working(ending)),
        sample("CLOSE.done", close(CloseReason::Done)),
        sample("CLOSE.abandoned", close(CloseReason::Abandoned)),
        sample("CLOSE.detached", close(CloseReason::Detached)),
    ]
}

fn endings() -> Vec<Sample> {
    let closed = |reason, started, answered, note: &str| {
        Message::Closed(Closed {
            hit: HIT,
            attach: Attach(2),
            reason,
            started,
            answered,
            note: note.into(),
        })
    };
    vec![
        sample("CLOSED.done", closed(ClosedReason::Done, 3, 3, "")),
        sample(
            "CLOSED.client-silent",
            closed(ClosedReason::ClientSilent, 1, 0, "silent for 15s"),
        ),
        sample("CLOSED.worker-left", closed(ClosedReason::WorkerLeft, 2, 1, "")),
        sample(
            "CLOSED.worker-died",
            closed(ClosedReason::WorkerDied, u64::MAX, u64::MAX, "its lock fell"),
        ),
        sample(
            "CLOSED.handler-ended",
            closed(ClosedReason::HandlerEnded, 2, 1, "exit 3"),
        ),
        sample(
            "CLOSED.violation",
            closed(ClosedReason::Violation, 0, 0, "beyond the credit"),
        ),
        sample("CLOSED.unknown", closed(ClosedReason::Unknown, u64::MAX, u64::MAX, "")),
        sample("CLOSED.superseded", closed(ClosedReason::Superseded, 0, 0, "")),
        sample(
            "CLOSED.holder-gone",
            closed(ClosedReason::HolderGone, 4, 3, "the process that held it has ended"),
        ),
    ]
}

fn pong() -> Pong {
    Pong {
        nonce: 0x1122_3344_5566_7788,
        host: "alpha".into(),
        pid: 812,
        term: TERM,
        uptime_ms: 86_400_000,
        version: "0.1.0".into(),
        trouble: String::new(),
        queued: 2,
        workers_total: 2,
        workers: vec![],
    }
}

fn worker(number: u32, pool: &str) -> PongWorker {
    let worker = WorkerId(number);
    PongWorker {
        worker,
        pid: 900 + number,
        pool: pool.into(),
        slots: 4,
        busy: 1,
        hung: number,
        silent_ms: 17,
        still_ms: 260,
        draining: number == 1,
    }
}

fn election() -> Vec<Sample> {
    let (member, incarnation) = (WorkerId(4), Incarnation(0xfeed_face_cafe_beef));
    let suspect = Suspect {
        term: TERM,
        pid: 812,
        start_ticks: 1_234_567,
    };
    let wanted = Yield {
        pid: 913,
        start_ticks: u64::MAX,
        takeover: false,
    };
    let beat = 99;
    let vote = Vote {
        member,
        incarnation,
        suspect,
        beat,
        hung: true,
    };
    vec![
        sample("YIELD", Message::Yield(wanted)),
        sample(
            "YIELD.takeover",
            Message::Yield(Yield {
                takeover: true,
                ..wanted
            }),
        ),
        sample(
            "BALLOT",
            Message::Ballot(Ballot {
                member,
                incarnation,
                suspect,
                beat,
            }),
        ),
        sample("VOTE.hung", Message::Vote(vote)),
        sample("VOTE.alive", Message::Vote(Vote { hung: false, ..vote })),
    ]
}

fn probes() -> Vec<Sample> {
    let two = Pong {
        workers: vec![worker(0, "default"), worker(1, "cad")],
        ..pong()
    };
    let none = Pong {
        version: String::new(),
        trouble: "other hosts do not reach it".into(),
        workers_total: u32::MAX,
        ..pong()
    };
    vec![
        sample(
            "PING",
            Message::Ping {
                nonce: 0x1122_3344_5566_7788,
            },
        ),
        sample("PONG.two-workers", Message::Pong(two)),
        sample("PONG.no-workers", Message::Pong(none)),
    ]
}

/// Samples at the limits of length: tested like the others, too long to be vectors.
pub(crate) fn large_samples() -> Vec<Sample> {
    let name = "n".repeat(NAME_BYTES_MAX);
    let hints = vec![
        Hint {
            host: name.clone(),
            idle: 1
        };
        HINTS_MAX
    ];
    let full = Full {
        hit: HIT,
        attempt: Attempt(1),
        reason: FullReason::Busy,
        term: TERM,
        hints,
    };
    let crowd = Pong {
        host: name.clone(),
        version: name.clone(),
        workers: (0..PONG_WORKERS_MAX as u32)
            .map(|number| worker(number, &name))
            .collect(),
        ..pong()
    };
    let note = "ö".repeat(NOTE_BYTES_MAX / 2);
    let closed = Closed {
        hit: HIT,
        attach: Attach(1),
        reason: ClosedReason::WorkerLeft,
        started: 1,
        answered: 1,
        note,
    };
    let opened = Opened {
        hit: HIT,
        attach: Attach(1),
        attempt: Attempt(1),
        client: u64::MAX,
        term: TERM,
        dir: DIR,
        host: name,
        slot: SLOT,
        first_seq: u64::MAX,
        ack: FAR,
        ttl_ms: u32::MAX,
        left: Left {
            started: u64::MAX,
            answered: u64::MAX,
            stopped: false,
        },
        endpoints: vec!["e".repeat(ENDPOINT_BYTES_MAX); ENDPOINTS_MAX],
    };
    let many = Packet {
        segments: vec![segment(Channel::Body, 2, Some(Status::Ok)); SEGMENTS_MAX],
        body: vec![b'.'; 2 * SEGMENTS_MAX].into(),
        seq: u64::MAX - SEGMENTS_MAX as u64,
        ..Packet::default()
    };
    vec![
        sample("FULL.most-hints", Message::Full(full)),
        sample("PONG.most-workers", Message::Pong(crowd)),
        sample("CLOSED.longest-note", Message::Closed(closed)),
        sample("OPENED.most-endpoints", Message::Opened(opened)),
        sample("DATA.most-segments", data(Direction::ToSlot, many)),
        sample(
            "DATA.largest-inline",
            data(Direction::ToSlot, whole(1, vec![b'i'; INLINE_BYTES_MAX])),
        ),
        sample(
            "DATA.largest-chunk",
            data(Direction::ToClient, whole(1, vec![b'c'; CHUNK_BYTES_MAX])),
        ),
    ]
    .into_iter()
    .chain(pool::large())
    .collect()
}
