use super::*;
use crate::protocol::{Incarnation, WorkerId};

const ME: Member = Member {
    worker: WorkerId(3),
    incarnation: Incarnation(9),
};
const INTERVAL: Duration = Duration::from_secs(1);

fn at(millis: u64) -> Moment {
    Moment::from_micros(1_000_000_000 + millis * 1000)
}

fn id(number: u8) -> BroadcastId {
    BroadcastId([number; 16])
}

fn ask(number: u8, path: u8) -> Ask {
    Ask {
        id: id(number),
        timeout_ms: 500,
        reply_max: 10,
        path: ReturnPath(vec![path]),
        members: vec![ME],
        body: Blob(Bytes::from_static(b"reload")),
    }
}

fn done(number: u8) -> Done {
    Done {
        id: id(number),
        status: Status::Ok,
        note: String::new(),
        body: Bytes::from_static(b"yes"),
    }
}

/// What was done: `run`, `receipt 1`, `answer 1`, with the way back.
fn told(out: &mut Vec<Action>) -> Vec<String> {
    let tell = |action| match action {
        Action::Run(job) => format!("run {:?}", job.timeout.map(|timeout| timeout.as_millis())),
        Action::Send(Message::Receipt(m)) => format!("receipt {}", m.path.0[0]),
        Action::Send(Message::Running(m)) => format!("running {} {:?}", m.path.0[0], m.state),
        Action::Send(Message::Answer(m)) => format!("answer {} {}", m.path.0[0], m.status),
        Action::Send(other) => format!("{other:?}"),
    };
    std::mem::take(out).into_iter().map(tell).collect()
}

#[test]
fn it_runs_once_however_often_it_is_asked() {
    let mut all = Broadcasts::new(ME, INTERVAL, false);
    let mut out = Vec::new();
    all.on_ask(at(0), ask(1, 1), &mut out);
    assert_eq!(told(&mut out), ["receipt 1", "run Some(500)"]);
    all.on_ask(at(10), ask(1, 2), &mut out);
    assert_eq!(told(&mut out), ["receipt 2"]);
    assert!(!all.is_idle());
    all.on_tick(at(1000), Some((id(1), WorkState::Stopped)), &mut out);
    all.on_tick(at(1001), None, &mut out);
    assert_eq!(
        told(&mut out),
        ["running 2 Stopped"],
        "each interval, by the newest way"
    );
    all.on_done(at(1100), done(1), &mut out);
    assert_eq!(told(&mut out), ["answer 2 ok"]);
    assert!(all.is_idle());
    // Its broker died, and the next one asks for the answer.
    all.on_ask(at(1200), ask(1, 3), &mut out);
    assert_eq!(told(&mut out), ["answer 3 ok"]);
    all.on_thanks(&Thanks {
        id: id(1),
        members: vec![ME],
    });
    all.on_ask(at(1300), ask(1, 4), &mut out);
    assert_eq!(
        told(&mut out),
        ["answer 4 refused"],
        "it was answered, and is not run again"
    );
}

/// Rule B2's mutation.
#[test]
fn without_b2_it_would_run_again() {
    let mut all = Broadcasts::new(ME, INTERVAL, false);
    let mut out = Vec::new();
    all.on_ask(at(0), ask(1, 1), &mut out);
    told(&mut out);
    crate::protocol::mutation::break_rule(Some(Rule::B2));
    all.on_ask(at(10), ask(1, 1), &mut out);
    crate::protocol::mutation::break_rule(None);
    assert_eq!(told(&mut out), ["receipt 1", "run Some(500)"]);
}

#[test]
fn what_is_for_another_incarnation_is_not_run() {
    let mut all = Broadcasts::new(ME, INTERVAL, false);
    let mut out = Vec::new();
    let other = Member {
        incarnation: Incarnation(8),
        ..ME
    };
    all.on_ask(
        at(0),
        Ask {
            members: vec![other],
            ..ask(1, 1)
        },
        &mut out,
    );
    assert_eq!(told(&mut out), [""; 0]);
}

#[test]
fn too_many_at_once_are_refused_and_answers_are_kept_for_a_time() {
    let mut all = Broadcasts::new(ME, INTERVAL, false);
    let mut out = Vec::new();
    for number in 0..=BROADCASTS_PENDING_MAX {
        let mut ask = ask(0, 1);
        ask.id.0[..8].copy_from_slice(&number.to_be_bytes());
        all.on_ask(at(0), ask, &mut out);
    }
    assert_eq!(told(&mut out).last().map(String::as_str), Some("answer 1 refused"));

    let mut all = Broadcasts::new(ME, INTERVAL, false);
    all.on_ask(at(0), ask(1, 1), &mut out);
    all.on_done(at(10), done(1), &mut out);
    let dropped = at(10) + BROADCAST_KEPT;
    assert_eq!(all.next_deadline(), Some(dropped));
    all.on_tick(dropped, None, &mut out);
    assert_eq!(all.next_deadline(), None);
    told(&mut out);
    // Its issuer was stopped all the while.
    all.on_ask(dropped + INTERVAL, ask(1, 7), &mut out);
    assert_eq!(told(&mut out), ["answer 7 refused"], "it does not run again");
}

/// Rule A2: who waits behind a handler that hangs is not said to be well.
#[test]
fn whoever_waits_behind_one_that_hangs_says_so() {
    let mut all = Broadcasts::new(ME, INTERVAL, false);
    let mut out = Vec::new();
    for number in [1, 2] {
        all.on_ask(at(0), ask(number, number), &mut out);
    }
    told(&mut out);
    for (now, state, waits) in [
        (1000, WorkState::Running, "Idle"),
        (2000, WorkState::Stopped, "Stopped"),
        (3000, WorkState::Stalled, "Stalled"),
    ] {
        all.on_tick(at(now), Some((id(1), state)), &mut out);
        assert_eq!(
            told(&mut out),
            [format!("running 1 {state:?}"), format!("running 2 {waits}")]
        );
    }
}

#[test]
fn one_that_answers_at_once_sends_no_receipt() {
    let mut all = Broadcasts::new(ME, INTERVAL, true);
    let mut out = Vec::new();
    all.on_ask(at(0), ask(1, 1), &mut out);
    assert_eq!(told(&mut out), ["run Some(500)"]);
    all.on_done(at(0), done(1), &mut out);
    all.on_ask(at(10), ask(1, 2), &mut out);
    assert_eq!(told(&mut out), ["answer 1 ok", "answer 2 ok"]);
}
