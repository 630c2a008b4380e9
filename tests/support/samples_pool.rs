//! Samples of what reaches beyond one Hit: probes and broadcasts.

use bytes::Bytes;
use zhit::protocol::ids::{BroadcastId, Member, ReturnPath};
use zhit::protocol::limits::{BROADCAST_BYTES_MAX, INLINE_BYTES_MAX, MEMBERS_LISTED_MAX, NAME_BYTES_MAX};
use zhit::protocol::mesh::{Greeting, News, PoolNews, Relay, Relayed, Within};
use zhit::protocol::message::{Message, Progress, WorkState};
use zhit::protocol::pool::*;
use zhit::protocol::{HitKey, Incarnation, Status, Term, WorkerId};

use super::{HIT, SLOT, Sample, TERM, sample};

const ID: BroadcastId = BroadcastId(*b"broadcast id 16.");
const MEMBER: Member = Member {
    worker: WorkerId(3),
    incarnation: Incarnation(0xfeed_face_cafe_beef),
};

fn path() -> ReturnPath {
    ReturnPath(b"\x05\0abcd".to_vec())
}

fn blob(bytes: impl Into<Bytes>) -> Blob {
    Blob(bytes.into())
}

fn state() -> State {
    State {
        nonce: 7,
        slot: SLOT,
        path: path(),
        hit: HIT,
        state: WorkState::Running,
        seq: 3,
        elapsed_ms: 1500,
        pid: 4711,
        bytes_in: 10,
        bytes_out: 20,
        progress: None,
    }
}

fn probes() -> Vec<Sample> {
    let asked = Probe {
        nonce: 7,
        slot: SLOT,
        path: ReturnPath::default(),
    };
    let passed_on = Probe {
        path: path(),
        ..asked.clone()
    };
    let progress = Progress {
        done: 3,
        total: 4,
        note: "halfway".to_owned(),
    };
    let idle = State {
        hit: HitKey::default(),
        state: WorkState::Idle,
        path: ReturnPath::default(),
        ..state()
    };
    vec![
        sample("PROBE.asked", Message::Probe(asked)),
        sample("PROBE.passed-on", Message::Probe(passed_on)),
        sample("STATE.idle", Message::State(idle)),
        sample("STATE.running", Message::State(state())),
        sample(
            "STATE.progress",
            Message::State(State {
                progress: Some(progress),
                ..state()
            }),
        ),
    ]
}

fn enrolled(worker: u32, pool: &str) -> Enrolled {
    Enrolled {
        member: Member {
            worker: WorkerId(worker),
            ..MEMBER
        },
        pool: pool.to_owned(),
        draining: worker == 2,
    }
}

fn ask(body: Blob) -> Ask {
    Ask {
        id: ID,
        timeout_ms: 5000,
        reply_max: 1_048_576,
        path: path(),
        members: vec![MEMBER],
        body,
    }
}

fn answer(status: Status, note: &str, body: Blob) -> Message {
    Message::Answer(Answer {
        id: ID,
        member: MEMBER,
        path: path(),
        status,
        elapsed_ms: 12,
        note: Note(note.to_owned()),
        body,
    })
}

fn roster(members: Vec<Enrolled>) -> Message {
    Message::Roster(Roster {
        id: ID,
        host: "alpha".to_owned(),
        term: TERM,
        total: members.len() as u32,
        members,
    })
}

fn broadcasts() -> Vec<Sample> {
    let one_pool = Roll {
        id: ID,
        pool: Some("cad".to_owned()),
    };
    let (id, member) = (ID, MEMBER);
    vec![
        sample("ROLL.one-pool", Message::Roll(one_pool)),
        sample("ROLL.every-pool", Message::Roll(Roll { id, pool: None })),
        sample("ROSTER.two", roster(vec![enrolled(1, "cad"), enrolled(2, "default")])),
        sample("ROSTER.nobody", roster(Vec::new())),
        sample("ASK", Message::Ask(ask(blob("reload")))),
        sample(
            "ASK.second-frame",
            Message::Ask(ask(blob(vec![b'a'; INLINE_BYTES_MAX + 1]))),
        ),
        sample(
            "RECEIPT",
            Message::Receipt(Receipt {
                id,
                member,
                path: path(),
            }),
        ),
        sample(
            "RUNNING",
            Message::Running(Running {
                id,
                member,
                path: path(),
                state: WorkState::Running,
                elapsed_ms: 2000,
            }),
        ),
        sample("ANSWER.ok", answer(Status::Ok, "", blob("done"))),
        sample("ANSWER.failed", answer(Status::Exit(3), "no such file", blob(""))),
        sample(
            "ANSWER.second-frame",
            answer(Status::Ok, "", blob(vec![b'r'; INLINE_BYTES_MAX + 1])),
        ),
        sample(
            "THANKS",
            Message::Thanks(Thanks {
                id,
                members: vec![member],
            }),
        ),
        sample(
            "CHECK",
            Message::Check(Check {
                id,
                members: vec![member],
            }),
        ),
        sample(
            "CONDITION",
            Message::Condition(Condition {
                id,
                member,
                silent_ms: 400,
                still_ms: 5100,
            }),
        ),
        sample(
            "GONE.died",
            Message::Gone(Gone {
                id,
                member,
                fate: Fate::Died,
                ago_ms: 2100,
                ran: Ran::Begun,
            }),
        ),
    ]
}

fn greeting() -> Greeting {
    Greeting {
        host: "alpha".to_owned(),
        term: TERM,
        incarnation: MEMBER.incarnation,
        layout: *b"layout digest 16",
        interval_ms: 1000,
        liveness: 3,
    }
}

fn relay(path: ReturnPath, message: &Message) -> Message {
    Message::Relay(Relay {
        host: "beta".to_owned(),
        path,
        within: Within::new(message.clone().encode()),
    })
}

fn relayed(note: &str, within: Within) -> Relayed {
    Relayed {
        host: "beta".to_owned(),
        path: path(),
        term: TERM,
        note: Note(note.to_owned()),
        within,
    }
}

fn mesh() -> Vec<Sample> {
    let pool = |name: &str, slots, idle| PoolNews {
        pool: name.to_owned(),
        slots,
        idle,
    };
    let news = News {
        term: TERM,
        beat: 4711,
        workers: 3,
        pools: vec![pool("cad", 8, 2), pool("default", 4, 4)],
    };
    let ping = Message::Ping { nonce: 7 };
    let long = Message::Ask(ask(blob(vec![b'a'; INLINE_BYTES_MAX + 1])));
    let lost = Relayed {
        term: Term(0),
        path: ReturnPath::default(),
        ..relayed("beta has not been heard of for 4s", Within::nothing())
    };
    vec![
        sample("GREET", Message::Greet(greeting())),
        sample("GREETED", Message::Greeted(greeting())),
        sample("NEWS", Message::News(news)),
        sample("RELAY.asked", relay(ReturnPath::default(), &ping)),
        sample("RELAY.passed-on", relay(path(), &ping)),
        sample("RELAY.second-frame", relay(path(), &long)),
        sample(
            "RELAYED.answer",
            Message::Relayed(relayed("", Within::new(roster(Vec::new()).encode()))),
        ),
        sample(
            "RELAYED.second-frame",
            Message::Relayed(relayed(
                "",
                Within::new(answer(Status::Ok, "", blob(vec![b'r'; INLINE_BYTES_MAX + 1])).encode()),
            )),
        ),
        sample("RELAYED.nowhere", Message::Relayed(lost)),
    ]
}

pub(super) fn all() -> Vec<Sample> {
    [probes(), broadcasts(), mesh()].into_iter().flatten().collect()
}

/// Those at the limits of length.
pub(super) fn large() -> Vec<Sample> {
    let name = "n".repeat(NAME_BYTES_MAX);
    let crowd = (0..MEMBERS_LISTED_MAX as u32).map(|worker| enrolled(worker, &name));
    vec![
        sample("ROSTER.most", roster(crowd.collect())),
        sample("ASK.largest", Message::Ask(ask(blob(vec![b'x'; BROADCAST_BYTES_MAX])))),
    ]
}
