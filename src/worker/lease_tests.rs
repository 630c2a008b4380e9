use super::*;
use crate::protocol::limits::{CHUNK_BYTES_MAX, WINDOW_BYTES};
use crate::protocol::message::{Ack, Close, CloseReason, Data, Direction, Disconnect, Lease, Packet, Segment};
use crate::protocol::tables::{Table, cell};
use crate::protocol::{Attach, Attempt, DirId, Term, WorkerId};

const INTERVAL: Duration = Duration::from_secs(1);
const TTL: Duration = Duration::from_secs(15);

fn key(number: u8) -> HitKey {
    HitKey::from_bytes([number; 16])
}

/// A slot at a moment, and what it was told to do since.
struct Bench {
    slot: Slot,
    now: Moment,
    /// The host's term, as it stands in its word.
    word: Term,
    out: Vec<Action>,
}

impl Bench {
    fn new() -> Self {
        let me = Identity {
            slot: SlotId {
                worker: WorkerId(1),
                number: 1,
            },
            incarnation: Incarnation(1),
            pid: 10,
            pool: "default".to_owned(),
            slots: 1,
            journal: true,
            votes: true,
        };
        let mut bench = Self {
            slot: Slot::new(me, INTERVAL, 3),
            now: Moment::from_micros(1_000_000),
            word: Term(2),
            out: Vec::new(),
        };
        bench.slot.flush(bench.now, &mut bench.out);
        bench
    }

    fn registered() -> Self {
        let mut bench = Self::new();
        bench.hear(registered(2));
        bench.out.clear();
        bench
    }

    /// Serves Hit 1, whose client has asked nothing yet.
    fn serving() -> Self {
        let mut bench = Self::registered();
        bench.hear(Message::Lease(lease(1)));
        bench
    }

    /// Runs the first request of Hit 1, which has not come in full.
    fn running() -> Self {
        let mut bench = Self::serving();
        bench.ask(1, b"first", false);
        bench
    }

    fn hear(&mut self, message: Message) {
        self.slot.on_message(self.now, message, &mut self.out);
        if self.slot.leasing.is_some() {
            self.slot.on_journalled(self.now, self.word, &mut self.out);
        }
    }

    fn flush(&mut self) {
        self.slot.flush(self.now, &mut self.out);
    }

    /// The client sends the next bytes of this request.
    fn ask(&mut self, attach: u32, bytes: &'static [u8], end: bool) {
        let State::Serving(hit) = &self.slot.state else {
            panic!("serves no Hit")
        };
        let (seq, offset) = hit.requests.next();
        self.hear(data(attach, (seq, offset), bytes, end));
    }

    fn pass(&mut self, span: Duration) {
        let until = self.now + span;
        while self.now < until {
            self.now = until.min(self.now + INTERVAL / 4);
            self.slot.on_tick(self.now, &mut self.out);
        }
    }

    fn done(&mut self) -> Vec<String> {
        let actions = std::mem::take(&mut self.out).into_iter();
        let done = actions.map(|action| match action {
            Action::Send(Message::Declined(declined)) => format!("DECLINED ({:?})", declined.reason),
            Action::Send(Message::Closed(closed)) => format!("CLOSED ({:?})", closed.reason),
            Action::SendDirect(_, message) => format!("{:?}", message.head().command).to_uppercase() + " straight",
            Action::Send(message) => format!("{:?}", message.head().command).to_uppercase(),
            Action::Journal(entry) => match entry {
                Entry::Leased { .. } => "*journal lease*".to_owned(),
                Entry::Withdrawn => "*take lease back*".to_owned(),
                Entry::Attached(_) | Entry::Started(_) | Entry::Answered(_) | Entry::Ended(_) => "*journal*".to_owned(),
            },
            Action::Start { .. } => "*start*".to_owned(),
            Action::Stop => "*stop*".to_owned(),
            Action::Watch(_) => "*watch*".to_owned(),
            Action::Retire => "*retire*".to_owned(),
            Action::Clean => "*clean*".to_owned(),
        });
        done.collect()
    }

    fn state(&self) -> &'static str {
        match &self.slot.state {
            _ if self.slot.left => "gone",
            State::Idle if self.slot.goodbye_at.is_some() => "Leaving",
            State::Idle => "Idle",
            State::Serving(hit) if hit.running().is_some() => "Running",
            State::Serving(_) => "Open",
            State::Ending(..) => "Ending",
        }
    }
}

fn registered(term: u64) -> Message {
    Message::Registered(Registered {
        term: Term(term),
        dir: DirId([1; 16]),
        host: "alpha".to_owned(),
        interval_ms: 1000,
        liveness: 3,
    })
}

fn lease(hit: u8) -> Lease {
    Lease {
        hit: key(hit),
        attach: Attach(1),
        attempt: Attempt(1),
        close_after: false,
        resume: false,
        term: Term(2),
        ttl_ms: TTL.as_millis() as u32,
        timeout_ms: 0,
        holder: None,
        packet: Packet {
            ack: client_ack(1),
            seq: 1,
            ..Packet::default()
        },
    }
}

/// The client has received nothing of its first reply.
fn client_ack(seq: u64) -> AckPoint {
    AckPoint {
        seq,
        offset: 0,
        limit: WINDOW_BYTES,
    }
}

fn data(attach: u32, (seq, offset): (u64, u64), bytes: &'static [u8], end: bool) -> Message {
    let segment = Segment {
        channel: Channel::Body,
        length: bytes.len() as u32,
        end: end.then_some(Status::Ok),
    };
    Message::Data(Data {
        hit: key(1),
        attach: Attach(attach),
        direction: Direction::ToSlot,
        packet: Packet {
            ack: client_ack(1),
            seq,
            offset,
            segments: vec![segment],
            body: Bytes::from_static(bytes),
        },
    })
}

fn ack(attach: u32, ack: AckPoint) -> Message {
    Message::Ack(Ack {
        hit: key(1),
        attach: Attach(attach),
        direction: Direction::ToSlot,
        gap: false,
        ack,
    })
}

fn close(attach: u32, reason: CloseReason) -> Message {
    Message::Close(Close {
        hit: key(1),
        attach: Attach(attach),
        reason,
        ack: client_ack(1),
    })
}

fn attach(number: u32, client: u64) -> Message {
    Message::Attach {
        hit: key(1),
        attach: Attach(number),
        client,
        timeout_ms: 0,
    }
}

const STATES: [&str; 6] = ["Unknown", "Idle", "Open", "Running", "Ending", "Leaving"];

/// A slot in this state. In the ones that serve a Hit, it is Hit 1, and Hit 8 has ended before.
fn in_state(state: &str) -> Bench {
    let mut bench = Bench::new();
    if state != "Unknown" {
        bench = Bench::registered();
        bench.slot.ended.push_back(key(8));
    }
    if matches!(state, "Open" | "Running" | "Ending") {
        bench.hear(Message::Lease(lease(1)));
    }
    if matches!(state, "Running" | "Ending") {
        bench.ask(1, b"first", false);
    }
    match state {
        "Ending" => bench.hear(close(1, CloseReason::Abandoned)),
        "Leaving" => bench.slot.drain(bench.now, &mut bench.out),
        _ => {}
    }
    assert!(
        matches!(state, "Unknown") || bench.state() == state,
        "{state}: {}",
        bench.state()
    );
    // The client is heard, and has heard what there is to hear.
    bench.pass(INTERVAL / 4);
    bench.out.clear();
    bench
}

type Event = fn(&mut Bench);

fn events() -> Vec<(&'static str, Event)> {
    let mut all = broker_events();
    all.extend(client_events());
    all.extend(own_events());
    all
}

fn broker_events() -> Vec<(&'static str, Event)> {
    vec![
        ("REGISTERED", |b| b.hear(registered(3))),
        ("REGISTERED, older term", |b| b.hear(registered(1))),
        ("DISCONNECT (not registered)", |b| {
            b.hear(Message::Disconnect(Disconnect::NotRegistered));
        }),
        ("DISCONNECT (another reason)", |b| {
            b.hear(Message::Disconnect(Disconnect::Leaving));
        }),
        ("LEASE of Hit 1", |b| b.hear(Message::Lease(lease(1)))),
        ("LEASE of Hit 1, resume", |b| {
            b.hear(Message::Lease(Lease {
                resume: true,
                ..lease(1)
            }));
        }),
        ("LEASE of another Hit", |b| b.hear(Message::Lease(lease(2)))),
        ("LEASE of a Hit that has ended here", |b| {
            b.hear(Message::Lease(lease(8)));
        }),
        ("LEASE of another Hit, older term", |b| {
            let term = Term(1);
            b.hear(Message::Lease(Lease { term, ..lease(2) }));
        }),
        ("LEASE of Hit 1, its bytes beyond the credit", |b| {
            let mut lease = lease(1);
            let Message::Data(data) = data(1, (1, 0), too_much(), false) else {
                return;
            };
            lease.packet = data.packet;
            b.hear(Message::Lease(lease));
        }),
        ("RELEASED", |b| b.hear(Message::Released { hit: key(8) })),
        ("FAREWELL", |b| b.hear(Message::Farewell)),
        ("any other command", |b| {
            b.hear(Message::Withdraw {
                hit: key(1),
                attempt: Attempt(1),
            });
            b.hear(Message::Ping { nonce: 1 });
        }),
    ]
}

/// More than any credit. No honest frame holds it; the machine must not mind.
fn too_much() -> &'static [u8] {
    static BYTES: [u8; WINDOW_BYTES as usize + CHUNK_BYTES_MAX] = [0; WINDOW_BYTES as usize + CHUNK_BYTES_MAX];
    &BYTES
}

fn client_events() -> Vec<(&'static str, Event)> {
    vec![
        ("DATA", |b| b.hear(data(1, (1, 0), b"first request", true))),
        ("DATA, a gap before it", |b| b.hear(data(1, (9, 9), b"x", true))),
        ("DATA beyond the credit", |b| b.hear(data(1, (1, 0), too_much(), true))),
        ("DATA of another attachment", |b| b.hear(data(0, (1, 0), b"old", true))),
        ("ACK", |b| b.hear(ack(1, client_ack(1)))),
        ("ACK of what was not sent", |b| b.hear(ack(1, client_ack(50)))),
        ("ACK of another attachment", |b| b.hear(ack(2, client_ack(50)))),
        ("KEEPALIVE", |b| {
            b.hear(Message::KeepAlive {
                hit: key(1),
                attach: Attach(1),
                ack: client_ack(1),
            });
        }),
        ("KEEPALIVE of another attachment", |b| {
            b.hear(Message::KeepAlive {
                hit: key(1),
                attach: Attach(2),
                ack: client_ack(1),
            });
        }),
        ("CLOSE (done or abandoned)", |b| b.hear(close(1, CloseReason::Done))),
        ("CLOSE (detached)", |b| b.hear(close(1, CloseReason::Detached))),
        ("CLOSE of another attachment", |b| b.hear(close(2, CloseReason::Done))),
        ("ATTACH, higher, the client is heard", |b| b.hear(attach(2, 77))),
        ("ATTACH, higher, the client is silent", |b| {
            b.pass(INTERVAL * 3);
            b.out.clear();
            b.hear(attach(2, 77));
        }),
        ("ATTACH, not higher", |b| {
            b.pass(INTERVAL * 3);
            b.out.clear();
            b.hear(attach(1, 77));
        }),
        ("ATTACH, by who holds it", |b| b.hear(attach(1, 0))),
        ("ATTACH to another Hit", |b| {
            b.hear(Message::Attach {
                hit: key(5),
                attach: Attach(2),
                client: 77,
                timeout_ms: 0,
            });
        }),
    ]
}

fn own_events() -> Vec<(&'static str, Event)> {
    vec![
        ("the handler gives output", |b| {
            if b.slot.output_room() >= 3 {
                b.slot.on_output(Channel::Body, Bytes::from_static(b"out"));
            }
            b.flush();
        }),
        ("the handler has ended", |b| {
            b.slot.on_handler_ended(b.now, Status::Ok, "", &mut b.out);
            b.flush();
        }),
        ("it is to drain", |b| b.slot.drain(b.now, &mut b.out)),
        ("its grace is over", |b| b.slot.abandon(b.now, &mut b.out)),
        ("no route to a broker", |b| b.slot.on_no_route(b.now)),
        ("silence for an interval", |b| b.pass(INTERVAL)),
        ("silence for the ttl", |b| b.pass(TTL)),
    ]
}

#[test]
fn every_cell_of_the_table_is_true() {
    let mut table = Table::new("slot", &STATES);
    for (name, event) in events() {
        let cells = STATES.map(|state| {
            let mut bench = in_state(state);
            let before = (bench.state(), format!("{:?}", bench.slot));
            event(&mut bench);
            let after = bench.state();
            let change = (after != before.0).then(|| format!("→ {after}"));
            let is_same = format!("{:?}", bench.slot) == before.1;
            cell(change, bench.done(), is_same)
        });
        table.row(name, &cells);
    }
    table.check();
}

#[test]
fn a_slot_that_ticks_only_at_its_deadlines_notices_a_silent_client() {
    let mut bench = Bench::serving();
    for _ in 0..50 {
        if bench.state() == "Idle" {
            break;
        }
        bench.now = bench.slot.next_deadline().expect("a Hit has a deadline");
        bench.slot.on_tick(bench.now, &mut bench.out);
    }
    assert_eq!(bench.state(), "Idle");
}

#[test]
fn a_slot_that_stood_still_does_not_judge_its_client() {
    let mut bench = Bench::serving();
    bench.now += TTL + INTERVAL * 2;
    bench.slot.on_tick(bench.now, &mut bench.out);
    assert_eq!(bench.state(), "Open");
    bench.pass(TTL);
    assert_eq!(bench.state(), "Idle");
}

/// Rule A3, as seed 670 found it: a slot that woke less than an interval after the moment at which it was to judge its
/// client took itself for punctual.
#[test]
fn a_slot_that_slept_almost_up_to_its_clients_ttl_does_not_judge_it() {
    let mut bench = Bench::serving();
    bench.now += TTL + INTERVAL / 2;
    bench.slot.on_tick(bench.now, &mut bench.out);
    assert_eq!(bench.state(), "Open");
}

#[test]
fn a_grace_that_ends_while_a_handler_is_ending_changes_nothing() {
    let mut bench = Bench::running();
    bench.hear(close(1, CloseReason::Abandoned));
    bench.slot.abandon(bench.now, &mut bench.out);
    assert_eq!(bench.state(), "Ending");
    bench.done();
    bench
        .slot
        .on_handler_ended(bench.now, Status::Cancelled, "", &mut bench.out);
    assert_eq!(bench.done(), ["*clean*", "*journal*", "CLOSED (Done)"]);
}

/// Up to which position the client may send.
fn credit(bench: &mut Bench) -> u64 {
    let State::Serving(hit) = &mut bench.slot.state else {
        panic!("serves no Hit")
    };
    hit.requests.ack().limit
}

#[test]
fn credit_for_what_an_ended_handler_did_not_take_comes_back() {
    let mut bench = Bench::running();
    let before = credit(&mut bench);
    let piece = bench.slot.next_input().expect("input");
    assert_eq!(&piece.bytes[..], b"first");
    // The handler ends with all of it still in its pipe.
    bench.slot.on_handler_ended(bench.now, Status::Ok, "", &mut bench.out);
    bench.flush();
    assert_eq!(credit(&mut bench), before + 5);
}

#[test]
fn a_new_client_pays_nothing_for_its_predecessor() {
    let mut bench = Bench::running();
    bench.ask(1, b", of which nothing was taken", true);
    bench.ask(1, b"second, which never starts", true);
    let window = credit(&mut Bench::serving());
    bench.pass(INTERVAL * 3);
    bench.hear(attach(2, 77));
    bench.slot.on_handler_ended(bench.now, Status::Ok, "", &mut bench.out);
    bench.flush();
    bench.ask(2, b"third", true);
    while let Some(piece) = bench.slot.next_input() {
        assert_eq!((piece.seq, &piece.bytes[..]), (3, &b"third"[..]));
        bench.slot.on_taken(5);
    }
    bench.flush();
    assert_eq!(credit(&mut bench), window + 5 + 64);
}

#[test]
fn what_a_predecessor_asked_in_full_goes_on_and_what_it_began_is_stopped() {
    let mut whole = Bench::running();
    whole.ask(1, b" request", true);
    whole.pass(INTERVAL * 3);
    whole.done();
    whole.hear(attach(2, 77));
    assert_eq!(
        whole.done(),
        ["*journal*", "OPENED"],
        "a complete request finishes (rule O8)"
    );
    assert!(whole.slot.next_input().is_some(), "its bytes are still for the handler");

    let mut begun = Bench::running();
    begun.pass(INTERVAL * 3);
    begun.done();
    begun.hear(attach(2, 77));
    assert_eq!(
        begun.done(),
        ["*journal*", "*stop*", "OPENED"],
        "a begun one is spent (rule O8)"
    );
}

#[test]
fn a_repeated_request_is_answered_from_the_stream_and_runs_once() {
    let mut bench = Bench::serving();
    bench.done();
    let request = || data(1, (1, 0), b"once", true);
    bench.hear(request());
    bench.hear(request());
    bench.slot.on_handler_ended(bench.now, Status::Ok, "", &mut bench.out);
    bench.flush();
    bench.hear(request());
    assert_eq!(bench.done().iter().filter(|done| *done == "*start*").count(), 1);
    assert_eq!(bench.state(), "Open");
}

#[test]
fn a_notes_cut_is_at_a_character() {
    let long = format!("x{}", "ä".repeat(NOTE_BYTES_MAX));
    assert_eq!(cut_note(&long).len(), NOTE_BYTES_MAX - 1);
    assert_eq!(cut_note("short"), "short");
}

#[test]
fn a_lease_is_journalled_before_anybody_hears_of_it_and_a_request_before_it_starts() {
    let mut bench = Bench::registered();
    bench.hear(Message::Lease(lease(1)));
    assert_eq!(bench.done(), ["*journal lease*", "OPENED"]);
    bench.ask(1, b"first", true);
    assert_eq!(bench.done(), ["*journal*", "*start*"], "rule O2");
    bench.slot.on_handler_ended(bench.now, Status::Ok, "", &mut bench.out);
    bench.flush();
    assert_eq!(bench.done(), ["*journal*", "DATA"], "answered in the journal first");
    bench.hear(close(1, CloseReason::Done));
    assert_eq!(bench.done(), ["*clean*", "*journal*", "CLOSED (Done)"]);
}

#[test]
fn a_lease_of_a_broker_that_was_followed_is_taken_back() {
    let mut bench = Bench::registered();
    bench.word = Term(3);
    bench.hear(Message::Lease(lease(1)));
    assert_eq!(
        bench.done(),
        ["*journal lease*", "*take lease back*", "DECLINED (StaleTerm)"],
        "rule O3"
    );
    assert_eq!(bench.state(), "Idle");
}

/// A Hit that a process holds: it lives as long as that does, whoever attaches meanwhile.
fn held() -> Bench {
    let mut bench = Bench::registered();
    let holder = Some(Holder { pid: 7, start_ticks: 9 });
    bench.hear(Message::Lease(Lease { holder, ..lease(1) }));
    let done = bench.done();
    assert!(done.contains(&"*watch*".to_owned()), "{done:?}");
    bench.hear(close(1, CloseReason::Detached));
    bench
}

fn holder_lives() -> Message {
    Message::KeepAlive {
        hit: key(1),
        attach: Attach(0),
        ack: client_ack(1),
    }
}

#[test]
fn a_held_hit_is_kept_by_its_holder_and_by_nobody_else() {
    let mut bench = held();
    for _ in 0..10 {
        bench.pass(TTL / 2);
        bench.hear(holder_lives());
    }
    assert_eq!(
        bench.state(),
        "Open",
        "its clients may be silent for as long as they like"
    );
    assert!(bench.done().contains(&"WORKING".to_owned()), "its holder is answered");
    bench.hear(attach(2, 77));
    for _ in 0..10 {
        bench.pass(TTL / 4);
        bench.hear(Message::KeepAlive {
            hit: key(1),
            attach: Attach(2),
            ack: client_ack(1),
        });
    }
    assert_eq!(bench.state(), "Idle", "a client does not keep what its holder has left");
}

#[test]
fn a_held_hit_is_over_when_its_holder_has_ended_or_lets_it_go() {
    let mut bench = held();
    bench.slot.on_holder_ended(bench.now, &mut bench.out);
    assert_eq!(bench.state(), "Idle");
    let mut bench = held();
    bench.hear(attach(2, 77));
    bench.hear(close(0, CloseReason::Done));
    assert_eq!(bench.state(), "Idle", "whoever is attached");
    // Of a Hit that nobody holds, nobody is the holder.
    let mut bench = Bench::serving();
    bench.hear(close(0, CloseReason::Done));
    bench.slot.on_holder_ended(bench.now, &mut bench.out);
    assert_eq!(bench.state(), "Open");
}

#[path = "lease/succession_tests.rs"]
mod succession;

#[path = "lease/direct_tests.rs"]
mod direct;
