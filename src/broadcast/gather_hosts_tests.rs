//! Several hosts.

use super::*;

fn two_hosts() -> Config {
    testing::config(&["alpha", "beta"])
}

impl Bench {
    fn hear_of(&mut self, host: usize, millis: u64, message: Message) {
        self.gather.on_message(at(millis), host, message, &mut self.out);
        assert!(self.gather.books().balance(), "{:?}", self.gather.books());
    }
}

/// Rule B1: the roster is that of all hosts, and nobody is asked before it is pinned.
#[test]
fn nobody_is_asked_before_every_host_has_told_who_is_there() {
    let mut bench = Bench::new(two_hosts());
    bench.tick(0);
    let rolled: Vec<usize> = bench
        .out
        .drain(..)
        .filter_map(|action| match action {
            Action::Send(host, Message::Roll(_)) => Some(host),
            _ => None,
        })
        .collect();
    assert_eq!(rolled, [0, 1]);
    bench.hear_of(0, 1, testing::roster("alpha", 2));
    assert_eq!((bench.gather.phase(), bench.asked()), (Phase::Rolling, vec![]));
    bench.hear_of(1, 2, testing::roster("beta", 2));
    assert_eq!(bench.gather.phase(), Phase::Asking);
    let asks = bench
        .out
        .iter()
        .filter(|action| matches!(action, Action::Send(_, Message::Ask(_))));
    assert_eq!(asks.count(), 2, "one for each host");
    // The same number and incarnation on two hosts are two members.
    for host in [0, 1] {
        for number in [1, 2] {
            assert_eq!(bench.gather.phase(), Phase::Asking);
            bench.hear_of(host, 3, answer(number, Status::Ok));
        }
    }
    let books = bench.gather.books();
    assert_eq!((bench.gather.phase(), books.expected, books.ok), (Phase::Closed, 4, 4));
    let names: Vec<String> = bench.gather.seats().iter().map(Seat::name).collect();
    assert_eq!(names, ["alpha/w1", "alpha/w2", "beta/w1", "beta/w2"]);
}

/// Rule B3: a host that its neighbours have tried until patience was over has one place, and is unreachable.
#[test]
fn a_host_that_cannot_be_asked_who_is_there_is_unreachable() {
    let mut bench = Bench::new(two_hosts());
    bench.hear_of(0, 1, testing::roster("alpha", 1));
    bench.gather.on_unreached(at(2), 1, "silent".to_owned(), &mut bench.out);
    assert_eq!(bench.asked(), [1]);
    let books = bench.gather.books();
    assert_eq!((books.expected, books.unreachable, books.outstanding), (2, 1, 1));
    bench.hear_of(0, 3, answer(1, Status::Ok));
    assert_eq!(bench.gather.phase(), Phase::Closed);
    let beta = &bench.gather.seats()[1];
    assert_eq!(
        (beta.name().as_str(), beta.verdict.clone()),
        ("beta", Some(Verdict::Unreachable("silent".into())))
    );
}

/// Rule B3: what is known when the roster is pinned counts, however many failures end it. Found by a seed of tests/rollcall.
#[test]
fn a_host_that_is_known_not_to_be_reached_is_not_skipped() {
    let mut bench = Bench::new(Config {
        hosts: ["alpha", "beta", "gamma"].map(str::to_owned).into(),
        stop_after: Some(1),
        ..config()
    });
    bench.gather.on_unreached(at(1), 0, "silent".to_owned(), &mut bench.out);
    bench.gather.on_unreached(at(1), 2, "silent".to_owned(), &mut bench.out);
    bench.hear_of(1, 1, testing::roster("beta", 2));
    let books = bench.gather.books();
    assert_eq!((books.unreachable, books.skipped, books.outstanding), (2, 2, 0));
    assert_eq!(bench.asked(), [0; 0]);
}

/// Rule B3: the issuer itself waits until patience is over, and no longer.
#[test]
fn a_host_that_says_nothing_is_waited_for_until_patience() {
    let mut bench = Bench::new(two_hosts());
    bench.hear_of(0, 0, testing::roster("alpha", 1));
    for millis in (0..5000).step_by(100) {
        bench.tick(millis);
        assert_eq!(bench.gather.phase(), Phase::Rolling, "{millis}");
    }
    bench.tick(5000);
    bench.tick(5100);
    // The one that has told is not asked again meanwhile, and not silent for that.
    let books = bench.gather.books();
    assert_eq!((bench.gather.phase(), books.unreachable), (Phase::Asking, 1));
}

/// Rule B3: members whose host became unreachable after pinning are so, too; those of others are not.
#[test]
fn members_of_a_host_that_is_lost_on_the_way_are_unreachable() {
    let mut bench = Bench::new(two_hosts());
    bench.hear_of(0, 1, testing::roster("alpha", 1));
    bench.hear_of(1, 1, testing::roster("beta", 2));
    bench.hear_of(1, 2, answer(1, Status::Ok));
    for millis in (0..5000).step_by(100) {
        bench.hear_of(0, millis, running(1, WorkState::Running));
        bench.tick(millis);
    }
    assert_eq!(bench.gather.books().unreachable, 0);
    bench.hear_of(0, 5002, running(1, WorkState::Running));
    bench.tick(5002);
    let books = bench.gather.books();
    assert_eq!((books.ok, books.unreachable, books.outstanding), (1, 1, 1));
    // What it says when the link is back changes nothing.
    bench.hear_of(1, 6000, answer(2, Status::Ok));
    assert_eq!(bench.gather.books(), books);
}

/// Rule A3: what was said while it stood still itself may not be so any more. Found by a seed of tests/rollcall.
#[test]
fn whoever_stood_still_judges_nobody_by_old_words() {
    let mut bench = Bench::new(two_hosts());
    bench.hear_of(0, 1, testing::roster("alpha", 1));
    bench.hear_of(1, 1, testing::roster("beta", 1));
    bench.tick(2);
    // It is stopped for long, and finds this in its socket, of the time when beta was cut off and alpha's worker hung.
    for _ in 0..2 {
        bench
            .gather
            .on_unreached(at(60_000), 1, "silent".to_owned(), &mut bench.out);
        bench.hear_of(0, 60_000, condition(1, 6000, 6000));
    }
    bench.tick(60_001);
    assert_eq!(bench.gather.books().outstanding, 2);
    // They are asked again, and what is said now counts.
    bench.hear_of(0, 60_300, condition(1, 6000, 6000));
    bench
        .gather
        .on_unreached(at(60_300), 1, "silent".to_owned(), &mut bench.out);
    let books = bench.gather.books();
    assert_eq!((books.hung, books.unreachable, books.outstanding), (1, 1, 0));
}

/// A window slides over the members of all hosts; a host that was never reached takes no place in it.
#[test]
fn a_batch_counts_members_of_all_hosts() {
    let mut bench = Bench::new(Config {
        hosts: ["alpha", "beta", "gamma"].map(str::to_owned).into(),
        batch: Some(Batch::Members(1)),
        ..config()
    });
    bench.gather.on_unreached(at(1), 0, "silent".to_owned(), &mut bench.out);
    bench.hear_of(1, 1, testing::roster("beta", 3));
    bench.gather.on_unreached(at(1), 2, "silent".to_owned(), &mut bench.out);
    for number in [1, 2, 3] {
        assert_eq!(bench.asked(), [number]);
        bench.hear_of(1, 2, receipt(number));
        assert_eq!(bench.asked(), [0; 0], "one at a time");
        bench.hear_of(1, 2, answer(number, Status::Ok));
    }
    assert_eq!(bench.gather.phase(), Phase::Closed);
}

/// Exit 4 is for those who reach no broker at all, however long they were stopped themselves.
#[test]
fn whoever_stood_still_has_heard_nobody() {
    let mut bench = Bench::new(two_hosts());
    bench.tick(0);
    bench.tick(60_000);
    assert!(!bench.gather.has_heard());
    bench
        .gather
        .on_unreached(at(60_001), 1, "silent".to_owned(), &mut bench.out);
    assert!(bench.gather.has_heard());
    let nowhere = Config {
        hosts: Vec::new(),
        ..config()
    };
    let mut bench = Bench::new(nowhere);
    bench.tick(0);
    assert!(bench.gather.has_heard() && bench.gather.phase() == Phase::Closed);
}
