use super::*;
use crate::broadcast::testing;
use crate::broadcast::testing::{ID, at, condition, member, receipt};
use crate::protocol::ids::ReturnPath;
use crate::protocol::limits::CHECKED_AT_ONCE_MAX;
use crate::protocol::message::WorkState;
use crate::protocol::pool::{Answer, Running};

fn config() -> Config {
    testing::config(&["alpha"])
}

/// A gather, and who was told what.
struct Bench {
    gather: Gather,
    out: Vec<Action>,
}

impl Bench {
    /// One that has heard nothing yet.
    fn new(config: Config) -> Self {
        Self {
            gather: Gather::new(at(0), config),
            out: Vec::new(),
        }
    }

    /// One whose roster has so many members.
    fn pinned(config: Config, members: u32) -> Self {
        let mut bench = Self::new(config);
        bench.tick(0);
        bench.hear(1, roster(members));
        bench
    }

    fn tick(&mut self, millis: u64) {
        self.gather.on_tick(at(millis), &mut self.out);
        assert!(self.gather.books().balance(), "{:?}", self.gather.books());
    }

    fn hear(&mut self, millis: u64, message: Message) {
        self.gather.on_message(at(millis), 0, message, &mut self.out);
        assert!(self.gather.books().balance(), "{:?}", self.gather.books());
    }

    /// Time passes in small steps, with the broker's answers that keep it reached.
    fn pass(&mut self, from: u64, to: u64, message: &Message) {
        for millis in (from..to).step_by(100) {
            self.hear(millis, message.clone());
            self.tick(millis);
        }
    }

    /// Who was asked since this was called last.
    fn asked(&mut self) -> Vec<u32> {
        let out = std::mem::take(&mut self.out);
        let asks = out.into_iter().filter_map(|action| match action {
            Action::Send(_, Message::Ask(ask)) => Some(ask.members),
            _ => None,
        });
        asks.flatten().map(|member| member.worker.0).collect()
    }

    fn verdict(&self, number: u32) -> Option<Verdict> {
        let seat = self.gather.seats().iter().find(|seat| seat.member == member(number));
        seat.and_then(|seat| seat.verdict.clone())
    }
}

fn roster(members: u32) -> Message {
    testing::roster("alpha", members)
}

fn answer(number: u32, status: Status) -> Message {
    testing::answer(number, status, "why", "reply")
}

fn gone(number: u32, fate: Fate) -> Message {
    testing::gone(number, fate, 2100, Ran::Unknown)
}

fn running(number: u32, state: WorkState) -> Message {
    Message::Running(Running {
        id: ID,
        member: member(number),
        path: ReturnPath::default(),
        state,
        elapsed_ms: 1,
    })
}

#[test]
fn it_closes_with_the_last_answer() {
    let mut bench = Bench::pinned(config(), 3);
    assert_eq!(bench.asked(), [1, 2, 3]);
    bench.hear(2, answer(1, Status::Ok));
    bench.hear(3, answer(2, Status::Exit(3)));
    assert_eq!(bench.gather.phase(), Phase::Asking);
    bench.hear(4, answer(3, Status::Ok));
    assert_eq!(bench.gather.phase(), Phase::Closed);
    let books = bench.gather.books();
    assert_eq!((books.expected, books.ok, books.failed), (3, 2, 1));
    assert_eq!(
        bench.verdict(2),
        Some(Verdict::Failed(Status::Exit(3), "why".to_owned()))
    );
    // All are thanked, at once.
    bench.out.clear();
    bench.gather.thank(&mut bench.out);
    bench.gather.thank(&mut bench.out);
    let [Action::Send(0, Message::Thanks(thanks))] = &bench.out[..] else {
        panic!("{:?}", bench.out);
    };
    assert_eq!(thanks.members, [member(1), member(2), member(3)]);
}

#[test]
fn nobody_is_counted_twice_and_no_stranger_is() {
    let mut bench = Bench::pinned(config(), 2);
    bench.hear(2, answer(1, Status::Ok));
    bench.hear(3, answer(1, Status::Exit(1)));
    bench.hear(4, gone(1, Fate::Died));
    bench.hear(5, answer(9, Status::Ok));
    assert_eq!((bench.gather.books().ok, bench.gather.books().outstanding), (1, 1));
    let others = Message::Answer(Answer {
        id: BroadcastId([8; 16]),
        ..match answer(2, Status::Ok) {
            Message::Answer(answer) => answer,
            other => unreachable!("{other:?}"),
        }
    });
    bench.hear(6, others);
    assert_eq!(bench.verdict(2), None);
}

/// Rule B4's mutation: a member that answers again is counted again, and the set closes with somebody outstanding.
#[test]
fn without_b4_the_set_closes_too_early() {
    let mut bench = Bench::pinned(config(), 2);
    crate::protocol::mutation::break_rule(Some(Rule::B4));
    for millis in [2, 3] {
        bench
            .gather
            .on_message(at(millis), 0, answer(1, Status::Ok), &mut bench.out);
    }
    crate::protocol::mutation::break_rule(None);
    assert_eq!((bench.gather.phase(), bench.verdict(2)), (Phase::Closed, None));
}

#[test]
fn the_roster_is_pinned_once_and_who_comes_late_is_told() {
    let mut bench = Bench::pinned(config(), 1);
    bench.asked();
    bench.hear(500, roster(2));
    assert_eq!(bench.gather.books().expected, 1);
    assert_eq!(bench.asked(), [0; 0]);
    assert_eq!(bench.gather.late().collect::<Vec<_>>(), [("alpha", member(2))]);
}

#[test]
fn who_stands_still_is_hung_after_patience_and_who_computes_is_not() {
    let mut bench = Bench::pinned(config(), 3);
    bench.hear(10, receipt(1));
    bench.hear(10, receipt(2));
    bench.hear(10, receipt(3));
    // The second one's handler is stopped, the third one's computes.
    for millis in (100..5900).step_by(100) {
        bench.hear(millis, running(2, WorkState::Stopped));
        bench.hear(millis, running(3, WorkState::Running));
        bench.hear(millis, condition(1, millis as u32, millis as u32));
        bench.hear(millis, condition(2, 100, 0));
        bench.hear(millis, condition(3, 100, 0));
        bench.tick(millis);
        let hung = [1, 2].map(|number| bench.verdict(number).is_some());
        assert_eq!(hung, [millis >= 5001, millis >= 5100], "{millis}");
    }
    assert!(matches!(bench.verdict(1), Some(Verdict::Hung(why)) if why.contains("loop still for 5.")));
    assert!(matches!(bench.verdict(2), Some(Verdict::Hung(why)) if why.contains("stopped")));
    assert_eq!(bench.verdict(3), None, "whoever computes is waited for");
}

/// Rule A2: nothing but a loop that stands still, a handler that is stopped, or no heartbeat of one whose loop cannot be seen.
#[test]
fn who_cannot_be_seen_is_hung_by_silence_and_who_takes_no_notice_has_failed() {
    let mut bench = Bench::pinned(config(), 2);
    for millis in (100..6000_u32).step_by(250) {
        bench.hear(millis.into(), condition(1, millis, 0));
        bench.hear(millis.into(), condition(2, 100, 0));
        bench.tick(millis.into());
    }
    assert!(matches!(bench.verdict(1), Some(Verdict::Hung(why)) if why.contains("no heartbeat for 5.")));
    assert!(matches!(bench.verdict(2), Some(Verdict::Failed(Status::Refused, why)) if why.contains("no receipt")));
}

#[test]
fn the_dead_and_those_who_left_are_told_apart() {
    let mut bench = Bench::pinned(config(), 3);
    bench.hear(10, gone(1, Fate::Died));
    bench.hear(10, gone(2, Fate::Left));
    bench.hear(10, gone(3, Fate::Unknown));
    assert!(matches!(bench.verdict(1), Some(Verdict::Dead(why)) if why.contains("2.1s ago")));
    assert!(matches!(bench.verdict(2), Some(Verdict::Left(_))));
    assert!(matches!(bench.verdict(3), Some(Verdict::Dead(_))));
    assert_eq!(bench.gather.phase(), Phase::Closed);
}

#[test]
fn a_host_is_unreachable_after_patience() {
    let mut bench = Bench::pinned(config(), 2);
    bench.hear(10, answer(1, Status::Ok));
    for millis in (100..5000).step_by(100) {
        bench.tick(millis);
        assert_eq!(bench.gather.phase(), Phase::Asking);
    }
    bench.tick(5010);
    assert!(matches!(bench.verdict(2), Some(Verdict::Unreachable(_))));
    assert_eq!(bench.verdict(1), Some(Verdict::Ok));
    assert_eq!(bench.gather.phase(), Phase::Closed);
}

/// Rule A3.
#[test]
fn who_stood_still_himself_judges_nobody_at_once() {
    let mut bench = Bench::pinned(config(), 1);
    bench.tick(100);
    bench.tick(60_000);
    assert_eq!(bench.verdict(1), None);
    bench.hear(60_001, answer(1, Status::Ok));
    assert_eq!(bench.gather.phase(), Phase::Closed);
}

#[test]
fn who_is_silent_is_asked_again_and_who_was_heard_is_not() {
    let mut bench = Bench::pinned(config(), 2);
    bench.asked();
    bench.hear(10, receipt(1));
    bench.pass(100, 1300, &running(1, WorkState::Running));
    assert_eq!(bench.asked(), [2]);
    // Another broker: those who have not answered are asked by way of it.
    bench.hear(1400, answer(1, Status::Ok));
    bench.gather.on_route(at(1500), &mut bench.out);
    assert_eq!(bench.asked(), [2]);
}

#[test]
fn a_batch_is_a_sliding_window() {
    let mut bench = Bench::pinned(
        Config {
            batch: Some(Batch::Members(2)),
            ..config()
        },
        4,
    );
    assert_eq!(bench.asked(), [1, 2]);
    bench.hear(10, answer(2, Status::Ok));
    assert_eq!(bench.asked(), [3]);
    bench.hear(11, answer(3, Status::Ok));
    bench.hear(12, answer(1, Status::Ok));
    assert_eq!(bench.asked(), [4]);
    bench.hear(13, answer(4, Status::Ok));
    assert_eq!(bench.gather.phase(), Phase::Closed);
    assert_eq!(
        (
            Batch::Percent(25).of(10),
            Batch::Percent(1).of(10),
            Batch::Percent(100).of(7)
        ),
        (3, 1, 7)
    );
}

#[test]
fn after_too_many_failures_the_rest_is_skipped() {
    let mut bench = Bench::pinned(
        Config {
            batch: Some(Batch::Members(2)),
            stop_after: Some(1),
            ..config()
        },
        4,
    );
    bench.asked();
    bench.hear(10, answer(1, Status::Exit(1)));
    assert_eq!(bench.asked(), [0; 0]);
    assert_eq!(
        (bench.verdict(3), bench.verdict(4)),
        (Some(Verdict::Skipped), Some(Verdict::Skipped))
    );
    assert_eq!(bench.verdict(2), None, "it was asked, and is waited for");
    bench.hear(11, answer(2, Status::Ok));
    assert_eq!(bench.gather.phase(), Phase::Closed);
}

#[test]
fn a_timeout_ends_it_whoever_is_outstanding() {
    let mut bench = Bench::pinned(
        Config {
            timeout: Some(Duration::from_secs(1)),
            ..config()
        },
        2,
    );
    bench.hear(10, answer(1, Status::Ok));
    bench.tick(999);
    assert_eq!(bench.gather.phase(), Phase::Asking);
    bench.tick(1000);
    assert!(bench.gather.timed_out());
    assert_eq!(bench.gather.books().outstanding, 1);
    bench.hear(1001, answer(2, Status::Ok));
    assert_eq!(bench.gather.books().outstanding, 1, "what comes later changes nothing");
}

#[test]
fn who_does_not_fit_the_roster_is_counted() {
    let mut gather = Gather::new(at(0), config());
    let Message::Roster(mut all) = roster(2) else {
        unreachable!()
    };
    all.total = 9;
    gather.on_message(at(1), 0, Message::Roster(all), &mut Vec::new());
    assert_eq!((gather.unlisted(), gather.books().expected), (7, 2));
}

#[test]
fn a_roster_of_nobody_closes_at_once() {
    let bench = Bench::pinned(config(), 0);
    assert_eq!(
        (bench.gather.phase(), bench.gather.books().expected),
        (Phase::Closed, 0)
    );
}

#[path = "gather_hosts_tests.rs"]
mod hosts;

/// A broker's death does not give a handler that is stopped another patience: it tells of itself.
#[test]
fn a_new_broker_does_not_put_a_verdict_off() {
    let mut bench = Bench::pinned(config(), 1);
    bench.hear(100, receipt(1));
    for millis in (200..5400).step_by(100) {
        bench.hear(millis, running(1, WorkState::Stopped));
        bench.hear(millis, condition(1, 10, 10));
        bench.tick(millis);
        if millis % 1000 == 0 {
            bench.gather.on_route(at(millis), &mut bench.out);
        }
        let is_due = millis >= 5200;
        assert_eq!(bench.verdict(1).is_some(), is_due, "{millis}");
    }
    assert!(matches!(bench.verdict(1), Some(Verdict::Hung(_))));
}

/// Of very many each is asked about in turn.
#[test]
fn checks_go_around() {
    let many = CHECKED_AT_ONCE_MAX as u32 * 2 + 100;
    let mut bench = Bench::pinned(config(), many);
    bench.hear(1, answer(1, Status::Ok));
    let mut seen: Vec<u32> = Vec::new();
    for millis in [300, 600, 900, 1200] {
        bench.out.clear();
        // They are heard, so that nobody is asked again.
        bench.tick(millis);
        let checked = bench.out.iter().find_map(|action| match action {
            Action::Send(0, Message::Check(check)) => Some(check.members.iter().map(|member| member.worker.0)),
            _ => None,
        });
        let checked: Vec<u32> = checked.expect("a check").collect();
        assert_eq!(checked.len(), CHECKED_AT_ONCE_MAX);
        seen.extend(checked);
    }
    let wanted: Vec<u32> = (2..=many).chain(2..=many).take(seen.len()).collect();
    assert_eq!(seen, wanted);
}

/// Rule A3: what a broker passes on after it was silent may be old; nobody is judged by it before newer words can come.
/// Found by a seed of tests/rollcall.
#[test]
fn nobody_is_judged_by_what_came_late() {
    let mut bench = Bench::pinned(config(), 1);
    bench.hear(100, receipt(1));
    for millis in (200..4000).step_by(100) {
        bench.hear(millis, running(1, WorkState::Stopped));
        bench.tick(millis);
    }
    // The broker is silent meanwhile, and the handler goes on.
    for millis in (4000..5600).step_by(100) {
        bench.tick(millis);
    }
    bench.hear(5600, running(1, WorkState::Stopped));
    bench.hear(5600, condition(1, 10, 10));
    assert_eq!(bench.verdict(1), None);
    bench.hear(5601, running(1, WorkState::Running));
    for millis in (5700..12_000).step_by(100) {
        bench.hear(millis, condition(1, 10, 10));
        bench.hear(millis, running(1, WorkState::Running));
        bench.tick(millis);
    }
    assert_eq!(bench.verdict(1), None);
}
