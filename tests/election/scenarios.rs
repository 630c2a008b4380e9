//! Single stories, with the times that are promised.

use std::time::Duration;

use zhit::protocol::Moment;

use crate::plan::{Fault, Plan};
use crate::world::World;

/// When the fault of a story happens; by then a master has long been elected.
const FAULT_AT: Moment = Moment::from_micros(5_000_000);

/// What "serving again" may take beyond detection.
const BEYOND_DETECTION: Duration = Duration::from_millis(500);

/// A host on which these faults happen at once, and then nothing more.
fn host(members: usize, faults: &[Fault]) -> World {
    let mut world = World::new(Plan::calm(members), true);
    world.run_until(FAULT_AT).expect("nothing has happened");
    assert!(world.serves_since.is_some_and(|since| since.as_micros() < 300_000));
    for fault in faults {
        world.break_something(*fault);
    }
    world.serves_since = None;
    world
}

/// Runs on until a master serves; returns how long that took.
fn served_again(world: &mut World) -> Duration {
    while world.serves_since.is_none() {
        let step = world.step();
        assert_eq!(step, Ok(()), "{}", world.text());
        assert!(world.now.since(FAULT_AT).as_secs() < 60, "{}", world.text());
    }
    world.now.since(FAULT_AT)
}

#[test]
fn a_crashed_master_is_replaced_in_milliseconds() {
    for members in 2..10 {
        let took = served_again(&mut host(members, &[Fault::MasterCrashes]));
        assert!(took < Duration::from_millis(50), "{members} members: {took:?}");
    }
}

#[test]
fn a_crashed_master_is_replaced_though_the_lowest_rank_is_stopped() {
    let stopped = Fault::MemberStops(0, Duration::from_secs(60));
    let took = served_again(&mut host(3, &[stopped, Fault::MasterCrashes]));
    assert!(took < Duration::from_millis(70), "{took:?}");
}

#[test]
fn a_stopped_master_is_replaced_within_detection_and_half_a_second() {
    for members in 2..10 {
        let mut world = host(members, &[Fault::MasterStops(None)]);
        let took = served_again(&mut world);
        let limit = world.plan.span() + BEYOND_DETECTION;
        assert!(took < limit, "{members} members: {took:?}\n{}", world.text());
        assert_eq!(world.counted("killed"), 1);
    }
}

#[test]
fn a_master_that_hangs_before_its_record_is_replaced() {
    let mut world = host(3, &[Fault::NextHangsBeforeRecord, Fault::MasterCrashes]);
    let took = served_again(&mut world);
    assert!(
        took < world.plan.span() + BEYOND_DETECTION,
        "{took:?}\n{}",
        world.text()
    );
}

#[test]
fn a_host_of_two_one_of_them_stopped_recovers() {
    let stopped = Fault::MemberStops(1, Duration::from_secs(60));
    let mut world = host(2, &[stopped, Fault::MasterStops(None)]);
    let took = served_again(&mut world);
    let limit = world.plan.span() + world.plan.patience * 2 + BEYOND_DETECTION;
    assert!(took > world.plan.patience * 2 && took < limit, "{took:?}");
}

#[test]
fn one_of_two_that_the_other_cannot_hear_kills_nobody() {
    let cut = Fault::Cut(0, None, Duration::from_secs(60));
    let mut world = host(2, &[cut, Fault::MasterStops(None)]);
    world.plan.heals_at = FAULT_AT + Duration::from_secs(60);
    world.run_until(FAULT_AT + Duration::from_secs(50)).unwrap();
    assert_eq!((world.counted("killed"), world.counted("no quorum")), (0, 2));
}

#[test]
fn an_overloaded_master_stays() {
    let mut world = host(4, &[Fault::MasterOverloaded(Duration::from_secs(50))]);
    world.run_until(FAULT_AT + Duration::from_secs(50)).unwrap();
    assert_eq!((world.counted("suspected"), world.counted("elected")), (0, 1));
}

#[test]
fn a_master_that_is_stopped_for_less_than_the_detection_time_stays() {
    let mut world = host(4, &[Fault::MasterStops(Some(Duration::from_millis(2700)))]);
    world.run_until(FAULT_AT + Duration::from_secs(20)).unwrap();
    assert_eq!((world.counted("suspected"), world.counted("elected")), (0, 1));
}

#[test]
fn a_host_that_was_suspended_keeps_its_master() {
    let mut world = host(5, &[Fault::HostSuspends(Duration::from_secs(20))]);
    world.run_until(FAULT_AT + Duration::from_secs(50)).unwrap();
    assert_eq!((world.counted("suspected"), world.counted("elected")), (0, 1));
}

#[test]
fn an_office_that_is_kept_for_another_is_left_to_it() {
    let mut world = host(5, &[]);
    let candidates = world.counted("candidates");
    world.break_something(Fault::MasterYields(Some(Duration::from_millis(300))));
    world.serves_since = None;
    let took = served_again(&mut world);
    assert!((300..330).contains(&took.as_millis()), "{took:?}");
    assert_eq!(world.counted("elected"), 2);
    assert_eq!(world.counted("candidates"), candidates);
}

#[test]
fn an_office_that_is_kept_for_one_who_does_not_come_is_taken_after_two_seconds() {
    let mut world = host(5, &[Fault::MasterYields(None)]);
    let took = served_again(&mut world);
    assert!((2000..2060).contains(&took.as_millis()), "{took:?}");
}

#[test]
fn a_wiped_directory_gets_a_master_of_a_higher_term() {
    let mut world = host(3, &[]);
    let before = world.host.stored;
    world.break_something(Fault::DirectoryWiped);
    world.serves_since = None;
    let took = served_again(&mut world);
    assert!(took < Duration::from_millis(1300), "{took:?}");
    assert!(world.host.stored > before);
}
