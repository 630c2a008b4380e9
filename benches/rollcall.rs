//! What the books of a broadcast cost its issuer: a roster of 1,000 members, a receipt and an answer of each.

use std::time::Duration;

use bytes::Bytes;
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use zhit::broadcast::gather::{Config, Gather, Phase};
use zhit::options::Targets;
use zhit::protocol::ids::{BroadcastId, Member, ReturnPath};
use zhit::protocol::pool::{Answer, Blob, Enrolled, Note, Receipt, Roster};
use zhit::protocol::{Incarnation, Message, Moment, Status, Term, WorkerId};

const MEMBERS: u32 = 1000;
const ID: BroadcastId = BroadcastId([7; 16]);

fn member(number: u32) -> Member {
    Member::new(WorkerId(number), Incarnation(number.into()))
}

fn config() -> Config {
    Config {
        id: ID,
        hosts: vec!["alpha".to_owned()],
        targets: Targets::default(),
        body: Bytes::from_static(b"hello"),
        patience: Duration::from_secs(5),
        interval: Duration::from_secs(1),
        timeout: None,
        reply_max: 1 << 20,
        batch: None,
        stop_after: None,
    }
}

/// What a host's broker and members say, in order.
fn said() -> Vec<Message> {
    let enrolled = |number| Enrolled {
        member: member(number),
        pool: "default".to_owned(),
        draining: false,
    };
    let roster = Message::Roster(Roster {
        id: ID,
        host: "alpha".to_owned(),
        term: Term(1),
        total: MEMBERS,
        members: (1..=MEMBERS).map(enrolled).collect(),
    });
    let receipts = (1..=MEMBERS).map(|number| {
        Message::Receipt(Receipt {
            id: ID,
            member: member(number),
            path: ReturnPath::default(),
        })
    });
    let answers = (1..=MEMBERS).map(|number| {
        Message::Answer(Answer {
            id: ID,
            member: member(number),
            path: ReturnPath::default(),
            status: Status::Ok,
            elapsed_ms: 1,
            note: Note::default(),
            body: Blob(Bytes::from_static(b"World!")),
        })
    });
    std::iter::once(roster).chain(receipts).chain(answers).collect()
}

fn rollcall(criterion: &mut Criterion) {
    let now = Moment::from_micros(1_000_000);
    criterion.bench_function("roster, receipts and answers of 1,000 members", |bench| {
        bench.iter_batched(
            || (Gather::new(now, config()), said()),
            |(mut gather, said)| {
                let mut out = Vec::new();
                gather.on_tick(now, &mut out);
                for message in said {
                    gather.on_message(now, 0, message, &mut out);
                }
                gather.on_tick(now, &mut out);
                assert_eq!(gather.phase(), Phase::Closed, "all have answered");
                (gather, out)
            },
            BatchSize::LargeInput,
        );
    });
}

criterion_group!(benches, rollcall);
criterion_main!(benches);
