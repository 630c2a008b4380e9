use super::*;
use crate::protocol::ids::{ReturnPath, SlotId};
use crate::protocol::message::Progress;
use crate::protocol::{HitKey, Term, WorkerId};

const RTT: Duration = Duration::from_micros(250);

fn pong() -> Pong {
    let worker = PongWorker {
        worker: WorkerId(3),
        pid: 100,
        pool: "cad".to_owned(),
        slots: 2,
        busy: 1,
        hung: 0,
        silent_ms: 10,
        still_ms: 0,
        draining: false,
    };
    Pong {
        nonce: 1,
        host: "alpha".to_owned(),
        pid: 99,
        term: Term(7),
        uptime_ms: 1000,
        version: "1".to_owned(),
        trouble: String::new(),
        queued: 0,
        workers_total: 1,
        workers: vec![worker],
    }
}

fn state(number: u32) -> State {
    State {
        nonce: 1,
        slot: SlotId {
            worker: WorkerId(3),
            number,
        },
        path: ReturnPath::default(),
        hit: HitKey::from_bytes([0xab; 16]),
        state: WorkState::Running,
        seq: 4,
        elapsed_ms: 61_000,
        pid: 4711,
        bytes_in: 2048,
        bytes_out: 0,
        progress: Some(Progress {
            done: 21,
            total: 50,
            note: "half\x1b[2Jway".to_owned(),
        }),
    }
}

fn slots(target: &str) -> Slots {
    Slots::of(&target.parse().unwrap(), &pong()).unwrap().unwrap()
}

#[test]
fn a_target_is_a_host_a_worker_or_a_slot() {
    let parse = |text: &str| text.parse::<Target>();
    let slot = Target {
        host: "alpha".to_owned(),
        worker: Some(WorkerId(3)),
        slot: Some(2),
    };
    assert_eq!(parse("alpha/w3/2"), Ok(slot.clone()));
    assert_eq!(parse("alpha/w3"), Ok(Target { slot: None, ..slot }));
    assert_eq!(parse("alpha").unwrap().worker, None);
    for bad in [
        "",
        "/w3",
        "alpha/3",
        "alpha/w0",
        "alpha/w3/",
        "alpha/w3/x",
        "alpha/w3/2/1",
        "a b",
        "alpha/w3/0",
    ] {
        assert!(parse(bad).unwrap_err().contains("HOST/wN/SLOT"), "{bad}");
    }
    assert!(Slots::of(&parse("alpha").unwrap(), &pong()).unwrap().is_none());
}

#[test]
fn who_is_not_there_is_named_with_those_who_are() {
    let refused = |target: &str| Slots::of(&target.parse().unwrap(), &pong()).unwrap_err();
    assert_eq!(refused("alpha/w4"), "alpha has no worker w4; there are: w3");
    assert_eq!(refused("alpha/w3/3"), "alpha/w3 has no slot 3: it has 2 slots");
    let nobody = Pong {
        workers: Vec::new(),
        ..pong()
    };
    let refused = Slots::of(&"alpha/w4".parse().unwrap(), &nobody).unwrap_err();
    assert_eq!(refused, "alpha has no worker w4, nor any other");
}

#[test]
fn each_slot_takes_a_row_and_silence_is_said() {
    let mut slots = slots("alpha/w3");
    assert_eq!(slots.silent().collect::<Vec<_>>(), [1, 2]);
    slots.on_state(state(1), RTT);
    // Of a slot that was not asked, and of another worker: not taken.
    slots.on_state(state(3), RTT);
    slots.on_state(
        State {
            slot: SlotId {
                worker: WorkerId(4),
                number: 2,
            },
            ..state(2)
        },
        RTT,
    );
    assert!(slots.is_incomplete());
    let text = slots.report(Format::Text, Screen::PLAIN);
    let rows: Vec<Vec<&str>> = text.lines().map(|row| row.split_whitespace().collect()).collect();
    assert_eq!(rows.len(), 3, "{text}");
    assert_eq!(
        rows[1][..6],
        ["alpha/w3/1", "abababab…", "4", "1m", "1s", "4711"],
        "{text}"
    );
    assert!(text.contains("42% (21 of 50) half"), "{text}");
    assert!(!text.contains('\x1b'), "{text:?}");
    assert_eq!(rows[2][..6], ["alpha/w3/2", "-", "-", "-", "-", "no"], "{text}");

    slots.on_state(
        State {
            hit: HitKey::default(),
            state: WorkState::Idle,
            progress: None,
            ..state(2)
        },
        RTT,
    );
    assert!(!slots.is_incomplete());
    let json = slots.report(Format::Json, Screen::PLAIN);
    let objects: Vec<serde_json::Value> = json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(objects[0]["hit"], format!("alpha/{}", "ab".repeat(16)));
    assert_eq!((&objects[0]["done"], &objects[0]["total"]), (&21.into(), &50.into()));
    assert_eq!(
        (&objects[1]["state"], &objects[1]["hit"]),
        (&"idle".into(), &serde_json::Value::Null)
    );
}

#[test]
fn a_handler_that_hangs_makes_it_incomplete() {
    for hangs in [WorkState::Stopped, WorkState::Stalled] {
        let mut slots = slots("alpha/w3/1");
        slots.on_state(
            State {
                state: hangs,
                ..state(1)
            },
            RTT,
        );
        assert!(slots.is_incomplete());
        assert!(slots.report(Format::Text, Screen::PLAIN).contains("hung"));
    }
}
