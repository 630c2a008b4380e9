use super::*;
use crate::protocol::message::{Left, Opened};

fn opened(bench: &mut Bench) -> Opened {
    let sent = std::mem::take(&mut bench.out)
        .into_iter()
        .find_map(|action| match action {
            Action::Send(Message::Opened(opened)) => Some(opened),
            _ => None,
        });
    sent.expect("OPENED")
}

/// Rule O8: as soon as its client has left, nothing of what that asked goes on but what runs in full.
#[test]
fn who_leaves_stops_what_it_began_and_starts_nothing_more() {
    let mut bench = Bench::running();
    bench.ask(1, b" request", true);
    bench.ask(1, b"second", true);
    bench.ask(1, b"thi", false);
    bench.done();
    bench.hear(close(1, CloseReason::Detached));
    assert_eq!(bench.done(), [] as [&str; 0], "the first runs on");
    assert_eq!(bench.slot.output_room(), usize::MAX, "and waits for no reader");
    // What was under way when it left is nobody's.
    bench.hear(data(1, (4, 0), b"late", true));
    bench.slot.on_handler_ended(bench.now, Status::Ok, "", &mut bench.out);
    bench.flush();
    assert_eq!(bench.done(), ["*journal*"], "the second never starts");
    bench.hear(attach(2, 77));
    let told = opened(&mut bench);
    let left = Left {
        started: 1,
        answered: 0,
        stopped: false,
    };
    assert_eq!((told.first_seq, told.left), (4, left));
    assert_eq!(u128::from(told.ttl_ms), TTL.as_millis());

    let mut begun = Bench::running();
    begun.done();
    begun.hear(close(1, CloseReason::Detached));
    assert_eq!(begun.done(), ["*stop*"]);
    begun
        .slot
        .on_handler_ended(begun.now, Status::Cancelled, "", &mut begun.out);
    begun.hear(attach(2, 77));
    let told = opened(&mut begun);
    assert!(told.left.stopped && told.first_seq == 2, "{told:?}");
}

#[test]
fn the_deadline_is_that_of_who_asks() {
    let mut bench = Bench::serving();
    bench.hear(close(1, CloseReason::Detached));
    bench.hear(Message::Attach {
        hit: key(1),
        attach: Attach(2),
        client: 77,
        timeout_ms: 250,
    });
    bench.ask(2, b"x", true);
    let timeout = bench.out.iter().find_map(|action| match action {
        Action::Start { timeout, .. } => Some(*timeout),
        _ => None,
    });
    assert_eq!(timeout, Some(Some(Duration::from_millis(250))));
}

/// One that is stopped is silent, and lives.
#[test]
fn the_silence_of_a_watched_holder_means_nothing() {
    let mut bench = held();
    bench.slot.on_holder_watched();
    bench.pass(TTL * 10);
    assert_eq!(bench.state(), "Open");
    bench.slot.on_holder_ended(bench.now, &mut bench.out);
    assert_eq!(bench.state(), "Idle");
}

#[test]
fn holder_and_client_are_told_alike_why_a_hit_is_over() {
    let mut bench = held();
    bench.hear(attach(2, 77));
    bench.out.clear();
    bench.pass(TTL);
    let told = bench.out.iter().filter_map(|action| match action {
        Action::Send(Message::Closed(closed)) => Some((closed.attach, closed.reason)),
        _ => None,
    });
    let reason = ClosedReason::HolderGone;
    assert_eq!(
        told.take(2).collect::<Vec<_>>(),
        [(Attach(0), reason), (Attach(2), reason)],
        "the lease ends with the client's, so that comes last"
    );
}
