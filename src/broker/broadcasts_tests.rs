use super::*;
use crate::broker::machine::Config;
use crate::protocol::Term;
use crate::protocol::ids::{DirId, Incarnation, SlotId, WorkerId};
use crate::protocol::message::Register;
use crate::protocol::pool::Roll;

const INTERVAL: Duration = Duration::from_secs(1);
const BEGAN: Moment = Moment::from_micros(1_000_000_000);
const ID: BroadcastId = BroadcastId([3; 16]);

fn peer(name: &str) -> Peer {
    Peer::from_routing_id(name.as_bytes()).expect("a short name")
}

fn member(number: u32) -> Member {
    Member::new(WorkerId(number), Incarnation(u64::from(number) + 100))
}

fn journal(number: u32, alive: bool, broadcasts: &[(u8, bool)]) -> WorkerJournal {
    let ran = |(id, over): &(u8, bool)| RanBroadcast {
        id: BroadcastId([*id; 16]),
        over: *over,
    };
    WorkerJournal {
        worker: WorkerId(number),
        incarnation: member(number).incarnation,
        pid: 40 + number,
        start_ticks: 1,
        alive,
        left: false,
        session: 1,
        pool: if number == 3 { "other" } else { "default" }.to_owned(),
        broadcasts: broadcasts.iter().map(ran).collect(),
        broadcast_group: None,
        slots: Vec::new(),
    }
}

/// A broker that follows another, whose members' journals these are.
fn heir(journals: &[WorkerJournal], complete: bool) -> Machine {
    let config = Config {
        host: "alpha".to_owned(),
        pid: 1,
        term: Term(2),
        dir: DirId([1; 16]),
        version: "0".to_owned(),
        interval: INTERVAL,
        liveness: 3,
        patience: INTERVAL * 5,
        elected: true,
    };
    let mut machine = Machine::new(BEGAN, config);
    machine.inherit(BEGAN, journals, complete, &mut Vec::new());
    machine
}

fn register(machine: &mut Machine, now: Moment, number: u32) {
    let register = Register {
        slot: SlotId {
            worker: WorkerId(number),
            number: 0,
        },
        incarnation: member(number).incarnation,
        pid: 40 + number,
        pool: "default".to_owned(),
        slots: 0,
        journal: true,
        votes: true,
        draining: false,
        hit: None,
    };
    machine.on_message(now, peer("control"), Message::Register(register), &mut Vec::new());
}

/// Who is on the roster; `None`: there is no answer.
fn roster(machine: &mut Machine, now: Moment) -> Option<Vec<Member>> {
    let mut out = Vec::new();
    let pool = Some("default".to_owned());
    machine.on_message(now, peer("issuer"), Message::Roll(Roll { id: ID, pool }), &mut out);
    out.into_iter().find_map(|action| match action {
        Action::Send(_, Message::Roster(roster)) => Some(roster.members.iter().map(|one| one.member).collect()),
        _ => None,
    })
}

fn ping(machine: &mut Machine, now: Moment) -> Vec<(WorkerId, u32)> {
    let mut out = Vec::new();
    machine.on_message(now, peer("issuer"), Message::Ping { nonce: 1 }, &mut out);
    let [Action::Send(_, Message::Pong(pong))] = &out[..] else {
        panic!("{out:?}");
    };
    assert_eq!(pong.workers_total as usize, pong.workers.len());
    pong.workers
        .iter()
        .map(|worker| (worker.worker, worker.silent_ms))
        .collect()
}

/// Rule B1: a new broker knows of those that live from their journals, and does not leave them out.
#[test]
fn a_roster_names_members_that_have_not_registered_yet() {
    let journals = [
        journal(1, true, &[]),
        journal(2, true, &[]),
        journal(3, true, &[]),
        journal(4, false, &[]),
    ];
    let mut machine = heir(&journals, true);
    // For an interval they may be about to come, and could not be asked yet.
    assert_eq!(roster(&mut machine, BEGAN + INTERVAL / 2), None);
    register(&mut machine, BEGAN + INTERVAL / 2, 1);
    let now = BEGAN + INTERVAL * 3;
    assert_eq!(roster(&mut machine, now), Some(vec![member(1), member(2)]));
    let seen = ping(&mut machine, now);
    assert_eq!(seen, [(WorkerId(1), 2500), (WorkerId(2), 3000), (WorkerId(3), 3000)]);
    // It dies, and is known to.
    machine.on_worker_died(now, (WorkerId(2), member(2).incarnation), None, &mut Vec::new());
    assert_eq!(roster(&mut machine, now), Some(vec![member(1)]));
    assert_eq!(ping(&mut machine, now).len(), 2);
}

#[test]
fn an_answer_waits_no_longer_than_for_those_who_may_come() {
    let mut machine = heir(&[journal(1, true, &[])], true);
    register(&mut machine, BEGAN, 1);
    assert_eq!(roster(&mut machine, BEGAN), Some(vec![member(1)]));
    assert_eq!(roster(&mut heir(&[], true), BEGAN), Some(vec![]));
    // One that keeps no journal is known once it has registered.
    let mut machine = heir(&[], false);
    let mut pass = |until| {
        for quarter in 1..=until * 4 {
            machine.on_tick(BEGAN + INTERVAL / 4 * quarter, &mut Vec::new());
        }
        roster(&mut machine, BEGAN + INTERVAL * until)
    };
    assert_eq!(pass(2), None);
    assert_eq!(pass(3), Some(vec![]));
}

/// Rule B2: what one ran that has gone its journal tells.
#[test]
fn of_one_that_has_gone_it_is_told_whether_it_ran() {
    let many: Vec<(u8, bool)> = (100..163).map(|id| (id, true)).collect();
    for (broadcasts, ran) in [
        (&[(3, false)][..], Ran::Begun),
        (&[(3, true), (4, false)], Ran::Over),
        (&[(4, true)], Ran::NotBegun),
        (&many, Ran::Unknown),
    ] {
        for at_once in [true, false] {
            let mut machine = heir(&[journal(1, !at_once, broadcasts)], true);
            if !at_once {
                register(&mut machine, BEGAN, 1);
                let dead = journal(1, false, broadcasts);
                let who = (WorkerId(1), member(1).incarnation);
                machine.on_worker_died(BEGAN, who, Some(&dead), &mut Vec::new());
            }
            let mut out = Vec::new();
            let members = vec![member(1)];
            machine.on_message(
                BEGAN,
                peer("issuer"),
                Message::Check(Check { id: ID, members }),
                &mut out,
            );
            let [Action::Send(_, Message::Gone(gone))] = &out[..] else {
                panic!("{out:?}");
            };
            assert_eq!((gone.fate, gone.ran), (Fate::Died, ran));
        }
    }
}
