use super::*;
use crate::election::journal::{EndedHit, RunningHit, SlotJournal};
use crate::protocol::ids::{Attach, Attempt, SlotId};
use crate::protocol::limits::ENDED_KEYS_MAX;
use crate::protocol::message::{AckPoint, DeclineReason, Declined, Goodbye, Heartbeat, Open, Packet, Register};
use crate::protocol::tables::{Table, cell};

const INTERVAL: Duration = Duration::from_secs(1);
const TTL: Duration = Duration::from_secs(10);

fn key(number: u8) -> HitKey {
    HitKey::from_bytes([number; 16])
}

fn peer(name: &str) -> Peer {
    Peer::from_routing_id(name.as_bytes()).expect("a short name")
}

fn slot_id(number: u32) -> SlotId {
    SlotId {
        worker: WorkerId(1),
        number,
    }
}

/// A broker at a moment, what it said, and where it sent what it was to forward.
struct Bench {
    machine: Machine,
    now: Moment,
    out: Vec<Action>,
    forwarded: Vec<(Peer, Command)>,
}

impl Bench {
    /// A broker that has served for longer than a liveness.
    fn new() -> Self {
        let mut bench = Self::young();
        bench.pass(INTERVAL * 4);
        bench
    }

    fn young() -> Self {
        let now = Moment::from_micros(1_000_000);
        let config = Config {
            host: "alpha".to_owned(),
            pid: 1,
            term: Term(2),
            dir: DirId([1; 16]),
            version: "0".to_owned(),
            interval: INTERVAL,
            liveness: 3,
            patience: INTERVAL * 5,
            elected: false,
        };
        Self {
            machine: Machine::new(now, config),
            now,
            out: Vec::new(),
            forwarded: Vec::new(),
        }
    }

    fn hear(&mut self, from: &str, message: Message) {
        self.machine.on_message(self.now, peer(from), message, &mut self.out);
    }

    /// A message of an open Hit comes.
    fn route(&mut self, from: &str, command: Command, attach: u32) {
        let to_slot = !matches!(from, "slot" | "slot'" | "idle" | "stranger");
        let head = Head {
            command,
            flags: u8::from(to_slot && matches!(command, Command::Data | Command::Ack)),
            hit: key(1),
            attach: Attach(attach),
            attempt: Attempt(0),
        };
        let to = self.machine.route(self.now, peer(from), head, &mut self.out);
        self.forwarded.extend(to.map(|to| (to, command)));
    }

    fn register(&mut self, from: &str, number: u32, hit: Option<HitKey>) {
        self.hear(from, Message::Register(register(number, hit)));
    }

    fn pass(&mut self, span: Duration) {
        let until = self.now + span;
        while self.now < until {
            self.now = until.min(self.now + INTERVAL / 4);
            self.machine.on_tick(self.now, &mut self.out);
        }
    }

    /// Its worker is heard, and time passes.
    fn pass_heard(&mut self, span: Duration) {
        let until = self.now + span;
        while self.now < until {
            let beat = Heartbeat { term: Term(2), beat: 1 };
            self.hear("control", Message::Heartbeat(beat));
            self.pass(INTERVAL.min(until.since(self.now)));
        }
    }

    /// What it said since, with the one it was said to.
    fn said(&mut self) -> Vec<String> {
        let name = |to: Peer| String::from_utf8_lossy(to.routing_id()).into_owned();
        let mut said: Vec<String> = Vec::new();
        for (to, command) in std::mem::take(&mut self.forwarded) {
            said.push(format!("{} to {}", format!("{command:?}").to_uppercase(), name(to)));
        }
        for action in std::mem::take(&mut self.out) {
            match action {
                Action::Send(_, Message::Registered(_) | Message::Heartbeat(_) | Message::Farewell)
                | Action::Watch(..)
                | Action::Unwatch(_)
                | Action::Consult(_)
                | Action::Call(..)
                | Action::Note(..)
                | Action::LeasesUnjournalled => {}
                Action::Send(_, message) if !matches!(message.head().hit, hit if hit == key(1) || hit.is_none()) => {}
                Action::Yield(wanted) => said.push(format!("*leave to pid {}*", wanted.pid)),
                Action::Send(to, message) => {
                    let command = format!("{:?}", message.head().command).to_uppercase();
                    let more = match message {
                        Message::Lease(lease) if lease.resume => " (resume)".to_owned(),
                        Message::Closed(closed) => format!(" ({:?})", closed.reason),
                        Message::Full(full) => format!(" ({:?})", full.reason),
                        _ => String::new(),
                    };
                    said.push(format!("{command}{more} to {}", name(to)));
                }
            }
        }
        said
    }

    /// What it knows of Hit 1.
    fn state(&self) -> &'static str {
        match (self.machine.leases.get(&key(1)), self.machine.memory.get(key(1))) {
            (Some(leased), _) if leased.wish.is_none() => "Leased",
            (Some(leased), _) if leased.served => "Doubted",
            (Some(_), _) => "Asked",
            (None, _) if self.machine.waiting.get(key(1)).is_some() => "Waiting",
            (None, Some(Past::Ended(_))) => "Ended",
            (None, Some(Past::Withdrawn(_))) => "Withdrawn",
            (None, None) => "Unknown",
        }
    }
}

fn register(number: u32, hit: Option<HitKey>) -> Register {
    Register {
        slot: slot_id(number),
        incarnation: Incarnation(1),
        pid: 10,
        pool: "default".to_owned(),
        slots: 2,
        journal: false,
        votes: false,
        draining: false,
        hit,
    }
}

fn open(hit: u8, attempt: u32) -> Open {
    Open {
        hit: key(hit),
        attach: Attach(1),
        attempt: Attempt(attempt),
        queue: true,
        moves: false,
        close_after: false,
        resume: false,
        term: Term(0),
        dir: DirId::default(),
        age_ms: (attempt - 1) * 1000,
        ttl_ms: TTL.as_millis() as u32,
        timeout_ms: 0,
        holder: None,
        pool: "default".to_owned(),
        packet: Packet {
            ack: AckPoint {
                seq: 1,
                offset: 0,
                limit: 1000,
            },
            seq: 1,
            ..Packet::default()
        },
    }
}

fn declined(attempt: u32, reason: DeclineReason, serving: Option<HitKey>) -> Message {
    Message::Declined(Declined {
        hit: key(1),
        attempt: Attempt(attempt),
        reason,
        serving,
    })
}

const STATES: [&str; 9] = [
    "Unknown, leaving",
    "Unknown, young",
    "Unknown",
    "Waiting",
    "Asked",
    "Leased",
    "Doubted",
    "Ended",
    "Withdrawn",
];

/// A broker that knows this of Hit 1. `slot` is the slot that has to do with it, if one has; `idle` is idle, except
/// where Hit 1 waits.
fn in_state(state: &str) -> Bench {
    let mut bench = if state == "Unknown, young" {
        Bench::young()
    } else {
        Bench::new()
    };
    let control = register(0, None);
    bench.hear("control", Message::Register(control));
    bench.register("slot", 1, None);
    match state {
        "Waiting" => {
            bench.hear("filler", Message::Open(open(9, 1)));
            bench.hear("client", Message::Open(open(1, 1)));
        }
        "Withdrawn" => {
            bench.hear(
                "client",
                Message::Withdraw {
                    hit: key(1),
                    attempt: Attempt(1),
                },
            );
        }
        "Asked" | "Leased" | "Doubted" | "Ended" => bench.hear("client", Message::Open(open(1, 1))),
        _ => {}
    }
    if matches!(state, "Leased" | "Doubted" | "Ended") {
        bench.route("slot", Command::Opened, 1);
    }
    match state {
        "Unknown, leaving" => bench.machine.leave(&mut bench.out),
        "Doubted" => bench.register("slot", 1, None),
        "Ended" => bench.route("slot", Command::Closed, 1),
        _ => {}
    }
    if state == "Waiting" {
        bench.register("idle", 2, Some(key(8)));
    } else {
        bench.register("idle", 2, None);
    }
    assert!(state.starts_with(bench.state()), "{state}: {}", bench.state());
    bench.out.clear();
    bench.forwarded.clear();
    bench
}

type Event = fn(&mut Bench);

fn client_events() -> Vec<(&'static str, Event)> {
    vec![
        ("OPEN, the first one", |b| b.hear("client", Message::Open(open(1, 1)))),
        ("OPEN, no slot idle", |b| {
            fill(b);
            b.hear("client", Message::Open(open(1, 1)));
        }),
        ("OPEN, no slot idle, not to wait", |b| {
            fill(b);
            let queue = false;
            b.hear("client", Message::Open(Open { queue, ..open(1, 1) }));
        }),
        ("OPEN, to a pool without workers, not to wait", |b| {
            let (queue, pool) = (false, "nobody".to_owned());
            b.hear(
                "client",
                Message::Open(Open {
                    queue,
                    pool,
                    ..open(1, 1)
                }),
            );
        }),
        ("OPEN, the next attempt", |b| {
            b.hear("client", Message::Open(open(1, 2)));
        }),
        ("OPEN, to resume", |b| {
            let resume = true;
            b.hear("client", Message::Open(Open { resume, ..open(1, 2) }));
        }),
        ("OPEN, an older attachment", |b| {
            let attach = Attach(0);
            b.hear("client", Message::Open(Open { attach, ..open(1, 2) }));
        }),
        ("WITHDRAW", |b| {
            b.hear(
                "client",
                Message::Withdraw {
                    hit: key(1),
                    attempt: Attempt(1),
                },
            );
        }),
        ("WITHDRAW, an older attempt", |b| {
            b.hear(
                "client",
                Message::Withdraw {
                    hit: key(1),
                    attempt: Attempt(0),
                },
            );
        }),
        ("ATTACH", |b| b.route("other", Command::Attach, 2)),
        ("KEEPALIVE", |b| b.route("client", Command::KeepAlive, 1)),
        ("KEEPALIVE of an older attachment", |b| {
            if let Some(leased) = b.machine.leases.get_mut(&key(1)) {
                leased.client = Some((Attach(2), peer("other")));
            }
            b.route("client", Command::KeepAlive, 1);
        }),
        ("KEEPALIVE of the holder", |b| {
            b.route("client", Command::KeepAlive, 0);
        }),
        ("DATA or ACK to the slot", |b| b.route("client", Command::Data, 1)),
        ("CLOSE", |b| b.route("client", Command::Close, 1)),
        ("what no client says", |b| b.hear("client", Message::Farewell)),
    ]
}

/// Every idle slot gets another Hit.
fn fill(bench: &mut Bench) {
    for number in 20..24 {
        bench.hear(
            "filler",
            Message::Open(Open {
                queue: false,
                moves: false,
                ..open(number, 1)
            }),
        );
    }
    bench.out.clear();
}

fn slot_events() -> Vec<(&'static str, Event)> {
    vec![
        ("OPENED", |b| b.route("slot", Command::Opened, 1)),
        ("DATA, ACK or WORKING to the client", |b| {
            b.route("slot", Command::Working, 1);
        }),
        ("OPENED from another slot", |b| b.route("idle", Command::Opened, 1)),
        ("OPENED from nobody known", |b| b.route("stranger", Command::Opened, 1)),
        ("CLOSED", |b| b.route("slot", Command::Closed, 1)),
        ("DECLINED (busy)", |b| {
            b.hear("slot", declined(1, DeclineReason::Busy, Some(key(7))));
        }),
        ("DECLINED (draining)", |b| {
            b.hear("slot", declined(1, DeclineReason::Draining, None));
        }),
        ("DECLINED (ended)", |b| {
            b.hear("slot", declined(1, DeclineReason::Ended, None));
        }),
        ("DECLINED, an older attempt", |b| {
            b.hear("slot", declined(0, DeclineReason::Busy, Some(key(7))));
        }),
        ("DECLINED by another slot", |b| {
            b.hear("idle", declined(1, DeclineReason::Busy, Some(key(7))));
        }),
        ("REGISTER, serving it", |b| b.register("slot", 1, Some(key(1)))),
        ("REGISTER, serving nothing", |b| b.register("slot", 1, None)),
        ("REGISTER, serving another Hit", |b| b.register("slot", 1, Some(key(7)))),
        ("REGISTER on a new connection, serving it", |b| {
            b.register("slot'", 1, Some(key(1)));
        }),
        ("REGISTER on a new connection, serving nothing", |b| {
            b.register("slot'", 1, None);
        }),
        ("REGISTER of another slot, serving it", |b| {
            b.register("third", 3, Some(key(1)));
        }),
        ("GOODBYE of the slot", |b| {
            b.hear(
                "slot",
                Message::Goodbye(Goodbye {
                    slot: slot_id(1),
                    incarnation: Incarnation(1),
                }),
            );
        }),
        ("GOODBYE of the worker", |b| {
            b.hear(
                "control",
                Message::Goodbye(Goodbye {
                    slot: slot_id(0),
                    incarnation: Incarnation(1),
                }),
            );
        }),
        ("the worker's process ends", |b| {
            b.machine
                .on_worker_died(b.now, (WorkerId(1), Incarnation(1)), None, &mut b.out);
        }),
        ("another slot becomes idle", |b| b.register("third", 3, None)),
    ]
}

fn own_events() -> Vec<(&'static str, Event)> {
    vec![
        ("an interval passes", |b| b.pass_heard(INTERVAL)),
        ("liveness intervals pass", |b| b.pass_heard(INTERVAL * 4)),
        ("two ttls pass", |b| b.pass_heard(TTL * 2 + INTERVAL)),
        ("it is to leave", |b| b.machine.leave(&mut b.out)),
    ]
}

#[test]
fn every_cell_of_the_table_is_true() {
    let mut table = Table::new("broker", &STATES);
    let events = client_events().into_iter().chain(slot_events()).chain(own_events());
    for (name, event) in events {
        let cells = STATES.map(|state| {
            let mut bench = in_state(state);
            let before = (bench.state(), format!("{:?}", bench.machine));
            event(&mut bench);
            let after = bench.state();
            let change = (after != before.0).then(|| format!("→ {after}"));
            let is_same = format!("{:?}", bench.machine) == before.1;
            cell(change, bench.said(), is_same)
        });
        table.row(name, &cells);
    }
    table.check();
}

#[test]
fn a_lease_without_an_answer_is_repeated() {
    let mut bench = in_state("Asked");
    bench.pass_heard(INTERVAL * 2);
    assert!(bench.said().contains(&"LEASE to slot".to_owned()));
    bench.route("slot", Command::Opened, 1);
    bench.said();
    bench.pass_heard(INTERVAL * 2);
    assert_eq!(bench.said(), Vec::<String>::new());
}

#[test]
fn a_slot_with_a_new_connection_keeps_its_lease() {
    let mut bench = in_state("Asked");
    bench.register("slot'", 1, None);
    bench.pass_heard(INTERVAL * 2);
    assert!(bench.said().contains(&"LEASE to slot'".to_owned()));
    bench.route("slot'", Command::Closed, 1);
    assert_eq!(bench.machine.held().1, 0, "the slot is free again");
}

#[test]
fn a_register_that_was_long_under_way_ends_no_hit() {
    let mut bench = in_state("Leased");
    bench.register("slot", 1, None);
    bench.hear("late", Message::Open(open(2, 1)));
    bench.hear("later", Message::Open(open(3, 1)));
    assert_eq!(
        bench.machine.registry.slot(peer("slot")).and_then(|slot| slot.hit),
        Some(key(1))
    );
    bench.route("slot", Command::Opened, 1);
    assert_eq!(bench.state(), "Leased");
}

#[test]
fn a_slot_that_declines_what_it_served_ends_the_hit() {
    let mut bench = in_state("Doubted");
    bench.hear("slot", declined(1, DeclineReason::Unknown, None));
    assert_eq!(bench.state(), "Ended");
    let (_, leases, waiting, _) = bench.machine.held();
    assert_eq!((leases, waiting), (0, 0), "it is leased to nobody else");
}

#[test]
fn a_third_client_hears_that_the_hit_is_occupied() {
    let mut bench = in_state("Leased");
    bench.route("second", Command::Attach, 2);
    bench.route("slot", Command::Opened, 2);
    assert_eq!(bench.forwarded.pop(), Some((peer("second"), Command::Opened)));
    // The next one does not know the number and asks with the same; the answer is for him alone.
    bench.route("third", Command::Attach, 2);
    bench.route("slot", Command::Occupied, 2);
    assert_eq!(bench.forwarded.pop(), Some((peer("third"), Command::Occupied)));
    bench.route("slot", Command::Data, 2);
    assert_eq!(bench.forwarded.pop(), Some((peer("second"), Command::Data)));
    bench.route("third", Command::Attach, 1);
    bench.route("slot", Command::Occupied, 1);
    assert_eq!(bench.forwarded.pop(), Some((peer("third"), Command::Occupied)));
}

#[test]
fn a_young_broker_resumes_as_soon_as_the_slot_has_registered() {
    let mut bench = Bench::young();
    let resume = true;
    bench.hear("client", Message::Open(Open { resume, ..open(1, 5) }));
    assert_eq!(bench.said(), Vec::<String>::new());
    bench.register("slot", 1, Some(key(1)));
    assert_eq!(bench.said(), ["LEASE (resume) to slot", "HELD to client"]);
    bench.route("slot", Command::Opened, 1);
    assert_eq!(bench.said(), ["OPENED to client"]);
}

#[test]
fn a_late_withdraw_forgets_no_newer_one() {
    let mut bench = Bench::new();
    bench.register("slot", 1, None);
    for attempt in [3, 1].map(Attempt) {
        bench.hear("client", Message::Withdraw { hit: key(1), attempt });
    }
    bench.hear("client", Message::Open(open(1, 3)));
    assert_eq!(bench.state(), "Withdrawn");
}

#[test]
fn the_longest_idle_slot_is_leased_first_and_the_first_in_line_is_served_first() {
    let mut bench = Bench::new();
    bench.register("slot", 1, None);
    bench.register("idle", 2, None);
    for hit in 1..=4 {
        bench.hear(&format!("c{hit}"), Message::Open(open(hit, 1)));
    }
    let slot_of = |bench: &Bench, hit| bench.machine.leases.get(&key(hit)).map(|leased| leased.slot);
    assert_eq!(slot_of(&bench, 1), Some(peer("slot")));
    assert_eq!(slot_of(&bench, 2), Some(peer("idle")));
    bench.route("slot", Command::Closed, 1);
    assert_eq!((slot_of(&bench, 3), slot_of(&bench, 4)), (Some(peer("slot")), None));
}

#[test]
fn an_expired_worker_gets_no_hit() {
    let mut bench = Bench::new();
    bench.register("slot", 1, None);
    bench.pass(INTERVAL * 3);
    bench.hear("client", Message::Open(open(1, 1)));
    assert_eq!(bench.state(), "Waiting");
}

#[test]
fn a_broker_that_is_young_and_leaves_says_nothing_of_what_it_cannot_know() {
    let mut bench = Bench::young();
    bench.machine.leave(&mut bench.out);
    bench.hear("client", Message::Open(open(1, 2)));
    assert_eq!(bench.said(), Vec::<String>::new());
    bench.hear("client", Message::Open(open(2, 1)));
    assert!(matches!(bench.out[..], [Action::Send(_, Message::Full(_))]));
}

/// Rule A3: while it stood still no slot could register, so that it knows no more than when it began.
#[test]
fn a_young_broker_that_stood_still_is_young_again() {
    let mut bench = Bench::young();
    bench.now += INTERVAL * 20;
    bench.route("client", Command::KeepAlive, 1);
    assert_eq!(bench.said(), Vec::<String>::new(), "a slot may hold it");
    bench.pass(INTERVAL * 2);
    bench.route("client", Command::KeepAlive, 1);
    assert_eq!(bench.said(), Vec::<String>::new());
    bench.pass(INTERVAL * 2);
    bench.route("client", Command::KeepAlive, 1);
    assert_eq!(bench.said(), ["CLOSED (Unknown) to client"]);
}

/// The journal of worker 1: Hit 1 runs on slot 1, Hit 2 has ended.
fn journal(alive: bool) -> WorkerJournal {
    let now = Moment::from_micros(900_000);
    WorkerJournal {
        worker: WorkerId(1),
        incarnation: Incarnation(1),
        pid: 10,
        start_ticks: 1,
        alive,
        left: false,
        session: 1,
        pool: "default".to_owned(),
        broadcasts: Vec::new(),
        broadcast_group: None,
        slots: vec![SlotJournal {
            slot: 1,
            running: Some(RunningHit {
                key: key(1),
                term: Term(1),
                ttl: TTL,
                started: 3,
                answered: 2,
                attach: Attach(1),
                group: None,
            }),
            ended: vec![EndedHit {
                key: key(2),
                started: 5,
                answered: 5,
                reason: ClosedReason::Done,
                ended_at: now,
                ttl: TTL,
                attach: Attach(2),
            }],
            overwritten_until: Moment::ZERO,
        }],
    }
}

/// A broker that has just begun, with this inheritance.
fn heir(journal: &WorkerJournal, complete: bool) -> Bench {
    let mut bench = Bench::young();
    let journals = std::slice::from_ref(journal);
    bench.machine.inherit(bench.now, journals, complete, &mut bench.out);
    bench.out.clear();
    bench
}

/// What CLOSED tells the client of this Hit, which has sent OPEN before.
fn closed_of(bench: &mut Bench, hit: u8) -> Option<(ClosedReason, u64, u64)> {
    bench.hear("client", Message::Open(open(hit, 2)));
    let closed = std::mem::take(&mut bench.out)
        .into_iter()
        .find_map(|action| match action {
            Action::Send(_, Message::Closed(closed)) => Some(closed),
            _ => None,
        });
    closed.map(|closed| (closed.reason, closed.started, closed.answered))
}

#[test]
fn a_hit_that_a_living_worker_runs_is_awaited_and_resumed_by_its_slot() {
    let mut bench = heir(&journal(true), true);
    bench.hear("client", Message::Open(open(1, 2)));
    assert_eq!(
        bench.said(),
        [] as [&str; 0],
        "rule O3: nothing is leased, and nobody is told anything"
    );
    bench.hear("control", Message::Register(register(0, None)));
    bench.register("slot", 1, Some(key(1)));
    let said = bench.said();
    assert!(said.iter().any(|said| said.starts_with("LEASE")), "{said:?}");
}

#[test]
fn a_hit_that_has_ended_is_answered_with_its_list() {
    let mut bench = heir(&journal(true), true);
    bench.hear(
        "client",
        Message::Open(Open {
            attach: Attach(2),
            ..open(2, 2)
        }),
    );
    let told = |action: &Action| matches!(action, Action::Send(_, Message::Closed(closed)) if (closed.started, closed.answered) == (5, 5));
    assert!(bench.out.iter().any(told), "{:?}", bench.out);
    // Rule O8: to whom another client has followed the numbers say nothing.
    let unknown = Some((ClosedReason::Done, u64::MAX, u64::MAX));
    assert_eq!(closed_of(&mut heir(&journal(true), true), 2), unknown);
}

/// Rule O8, as seed 8551 found it: the numbers are those of the client that held the Hit last.
#[test]
fn who_was_superseded_is_not_told_the_numbers_of_its_successor() {
    let mut bench = in_state("Leased");
    bench.route("second", Command::Attach, 2);
    bench.route("slot", Command::Opened, 2);
    let mut dead = journal(false);
    dead.slots[0].running.as_mut().expect("runs").attach = Attach(2);
    let who = (WorkerId(1), Incarnation(1));
    bench
        .machine
        .on_worker_died(bench.now, who, Some(&dead), &mut bench.out);
    let told = bench.out.iter().find_map(|action| match action {
        Action::Send(to, Message::Closed(closed)) if *to == peer("second") => Some((closed.started, closed.answered)),
        _ => None,
    });
    assert_eq!(told, Some((3, 2)));
    bench.out.clear();
    assert_eq!(
        closed_of(&mut bench, 1),
        Some((ClosedReason::WorkerDied, u64::MAX, u64::MAX))
    );
}

/// Rule O4: a key counts for two of its own ttls, however long those are.
#[test]
fn a_hit_of_a_long_ttl_is_remembered_for_two_of_them() {
    let hour = Duration::from_secs(3600);
    let mut long = journal(true);
    long.slots[0].running.as_mut().expect("runs").ttl = hour;
    long.slots[0].ended[0].ttl = hour;
    for journal in [
        long.clone(),
        WorkerJournal {
            alive: false,
            ..long.clone()
        },
    ] {
        let mut bench = heir(&journal, true);
        // One that runs is found by its slot, and ends.
        bench.hear("control", Message::Register(register(0, None)));
        bench.register("slot", 1, journal.alive.then_some(key(1)));
        bench.route("slot", Command::Closed, 1);
        bench.pass(hour + hour / 2);
        bench.said();
        for hit in [1, 2] {
            let reason = closed_of(&mut bench, hit).map(|(reason, ..)| reason);
            assert!(reason.is_some(), "Hit {hit} is leased again, alive: {}", journal.alive);
        }
        bench.pass(hour);
        assert_eq!(bench.machine.held().3, 0, "and then forgotten");
    }
}

/// Rule O7: a lease to a worker without a journal is noted before the slot hears of it.
#[test]
fn a_lease_that_no_journal_will_name_is_noted_first() {
    for journal in [false, true] {
        let mut bench = Bench::new();
        let with = |number| Register {
            journal,
            ..register(number, None)
        };
        bench.hear("control", Message::Register(with(0)));
        bench.hear("slot", Message::Register(with(1)));
        bench.out.clear();
        bench.hear("client", Message::Open(open(1, 1)));
        let at = |wanted: fn(&Action) -> bool| bench.out.iter().position(wanted);
        let noted = at(|action| *action == Action::LeasesUnjournalled);
        let leased = at(|action| matches!(action, Action::Send(_, Message::Lease(_)))).expect("leased");
        assert_eq!(noted.is_some(), !journal);
        assert!(noted.is_none_or(|noted| noted < leased));
    }
}

#[test]
fn keys_that_are_forgotten_before_their_time_are_known_to_be() {
    let mut memory = Memory::default();
    let end = Past::Ended(End::nothing(ClosedReason::Done));
    let at = |seconds: u64| Moment::from_micros(seconds * 1_000_000);
    let number = |number: usize| HitKey::from_bytes((number as u128 + 1).to_be_bytes());
    memory.insert(at(1), TTL, number(0), end);
    for later in 1..=ENDED_KEYS_MAX {
        memory.insert(at(1000), TTL, number(later), end);
    }
    assert_eq!(
        memory.forgotten_until(),
        Moment::ZERO,
        "the first was over and done with"
    );
    memory.insert(at(1001), TTL, number(ENDED_KEYS_MAX + 1), end);
    assert_eq!(memory.forgotten_until(), at(1000), "one was not");
    assert_eq!((memory.get(number(0)), memory.get(number(1))), (None, None));
}

#[test]
fn a_hit_of_a_dead_worker_ran_without_an_answer() {
    let mut bench = heir(&journal(false), true);
    assert_eq!(closed_of(&mut bench, 1), Some((ClosedReason::WorkerDied, 3, 2)));
    // One that dies after the journals were read.
    let mut bench = heir(&journal(true), true);
    let dead = journal(false);
    let who = (WorkerId(1), Incarnation(1));
    bench
        .machine
        .on_worker_died(bench.now, who, Some(&dead), &mut bench.out);
    assert_eq!(closed_of(&mut bench, 1), Some((ClosedReason::WorkerDied, 3, 2)));
}

#[test]
fn a_hit_that_no_journal_names_never_ran_unless_somebody_may_have_forgotten_it() {
    let mut idle = journal(true);
    idle.slots[0].running = None;
    let mut known = heir(&idle, true);
    known.hear("control", Message::Register(register(0, None)));
    known.register("slot", 2, None);
    known.said();
    known.hear("client", Message::Open(open(1, 2)));
    assert_eq!(known.said(), ["LEASE to slot"], "rule O4: at once");

    let mut overwritten = journal(true);
    overwritten.slots[0].overwritten_until = Moment::from_micros(500_000);
    let mut bench = heir(&overwritten, true);
    assert_eq!(
        closed_of(&mut bench, 7).map(|(reason, ..)| reason),
        Some(ClosedReason::Unknown)
    );

    let mut wiped = heir(&journal(true), true);
    wiped.machine.know_nothing_before(wiped.now);
    assert_eq!(
        closed_of(&mut wiped, 7).map(|(reason, ..)| reason),
        Some(ClosedReason::Unknown)
    );

    let mut without = heir(&idle, false);
    assert_eq!(closed_of(&mut without, 7), None, "rule O7: another's slot may yet come");
    without.pass(INTERVAL * 4);
    without.out.clear();
    // Its first OPEN left before this broker began.
    let old = Open {
        age_ms: 4_500,
        ..open(1, 3)
    };
    without.hear("client", Message::Open(old));
    assert_eq!(without.said(), ["CLOSED (Unknown) to client"]);
}

/// Rule O7: a repeated OPEN that was long under way to a busy broker seems to be younger than it is.
#[test]
fn an_open_that_was_under_way_is_no_younger_than_a_lease_without_a_journal() {
    let mut idle = journal(true);
    idle.slots[0].running = None;
    for (under_way, reason) in [(300, Some(ClosedReason::Unknown)), (600, None)] {
        let mut bench = heir(&idle, true);
        bench.now += INTERVAL * 10;
        // Its first OPEN left a second ago, says the client, and was leased at once.
        let seems = bench.now.before(Duration::from_secs(1));
        let leased_at = seems.before(Duration::from_millis(under_way));
        bench.machine.leased_unjournalled_until(leased_at);
        assert_eq!(
            closed_of(&mut bench, 7).map(|(reason, ..)| reason),
            reason,
            "{under_way}"
        );
    }
}

/// Its slot tells why a held Hit is over: the holder first, then the client, with whom the lease ends.
#[test]
fn what_the_holder_is_told_of_the_end_does_not_end_the_lease() {
    let mut bench = in_state("Leased");
    bench.route("client", Command::KeepAlive, 0);
    bench.route("second", Command::Attach, 2);
    bench.route("slot", Command::Opened, 2);
    bench.forwarded.clear();
    bench.out.clear();
    bench.route("slot", Command::Closed, 0);
    assert_eq!(bench.forwarded, [(peer("client"), Command::Closed)]);
    assert!(bench.out.is_empty(), "the second is told, too: {:?}", bench.out);
    bench.route("slot", Command::Closed, 2);
    assert_eq!(bench.forwarded.last(), Some(&(peer("second"), Command::Closed)));
    assert_eq!(bench.machine.held().1, 0);
}

/// Else its Hit would be counted where it is not, and it could have any number of places.
#[test]
fn a_connection_is_one_slot_only() {
    let mut bench = Bench::new();
    bench.register("slot", 1, None);
    bench.hear("client", Message::Open(open(1, 1)));
    let other = |incarnation| Register {
        slot: SlotId {
            worker: WorkerId(2),
            number: 1,
        },
        incarnation: Incarnation(incarnation),
        ..register(1, None)
    };
    bench.out.clear();
    bench.hear("slot", Message::Register(other(1)));
    let refused = Action::Send(peer("slot"), Message::Disconnect(Disconnect::Unexpected));
    assert_eq!(bench.out, [refused]);
    bench.hear("slot'", Message::Register(other(2)));
    bench.hear(
        "slot",
        Message::Goodbye(Goodbye {
            slot: slot_id(1),
            incarnation: Incarnation(1),
        }),
    );
    let pools: Vec<_> = bench
        .machine
        .registry
        .pools(bench.now, INTERVAL * 3)
        .into_values()
        .collect();
    assert_eq!(pools, [(1, 1)]);
}
