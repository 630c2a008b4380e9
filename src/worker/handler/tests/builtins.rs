//! The builtins: what each answers, within whatever room there is.

use super::*;

#[test]
fn hello_says_world() {
    let bench = Bench::builtin(Builtin::Hello, b"anything").run();
    assert_eq!((bench.text(), bench.status(), bench.note()), ("World", Status::Ok, ""));
    assert_eq!(bench.running.taken(), 8);
}

#[test]
fn echo_gives_back_what_it_gets_within_the_room() {
    let body = bulk(3_000_000);
    let mut bench = Bench::start(&Spec::Builtin(Builtin::Echo), &NO_LIMITS).with_body(body.clone());
    bench.room = 1000;
    let bench = bench.run();
    assert!(bench.reply == body.concat());
    assert_eq!(
        (bench.running.taken(), bench.running.bytes_out()),
        (3_000_000, 3_000_000)
    );
}

#[test]
fn echo_without_room_takes_no_more() {
    let mut bench = Bench::start(&Spec::Builtin(Builtin::Echo), &NO_LIMITS).with_body(bulk(1_000_000));
    bench.room = 0;
    let mut fed = 0;
    for _ in 0..5 {
        assert!(bench.round(&mut fed));
    }
    assert_eq!((fed, bench.running.taken()), (1, 0));
}

#[test]
fn whoami_names_place_thread_and_request() {
    let bench = Bench::builtin(Builtin::Whoami, b"").run();
    let thread = rustix::thread::gettid().as_raw_nonzero();
    assert_eq!(bench.text(), format!("alpha/w3/2 thread {thread} request 7"));
}

#[test]
fn sleep_sleeps_for_what_it_is_told() {
    let bench = Bench::builtin(Builtin::Sleep, b"100ms\n").run();
    assert_eq!((bench.text(), bench.status()), ("", Status::Ok));
    assert!(bench.elapsed() >= Duration::from_millis(100));
    let bench = Bench::builtin(Builtin::Sleep, b"5").run();
    assert_eq!(bench.status(), Status::Refused);
    assert_eq!(
        bench.note(),
        "sleep: \"5\" is not what it takes: send a duration, such as 100ms or 2s"
    );
}

#[test]
fn sleep_ends_at_its_deadline_and_when_stopped() {
    let limits = Limits {
        timeout: Some(Duration::from_millis(50)),
        ..NO_LIMITS
    };
    let mut bench = Bench::start(&Spec::Builtin(Builtin::Sleep), &limits);
    bench.body = vec![Bytes::from_static(b"1h")];
    let bench = bench.run();
    assert_eq!(
        (bench.status(), bench.note()),
        (Status::Deadline, "sleep: deadline of 50ms passed; told to end")
    );
    let mut bench = Bench::builtin(Builtin::Sleep, b"1h");
    let mut fed = 0;
    assert!(bench.round(&mut fed));
    bench.running.stop(now(), Status::Cancelled);
    assert_eq!(bench.run().status(), Status::Cancelled);
}

#[test]
fn sink_counts_and_hashes_the_same_whole_or_in_pieces() {
    let body = bulk(1_000_000);
    let whole = Bytes::from(body.concat());
    let expected = format!("1000000 {:016x}", xxhash_rust::xxh3::xxh3_64(&whole));
    for pieces in [body, vec![whole]] {
        let bench = Bench::start(&Spec::Builtin(Builtin::Sink), &NO_LIMITS)
            .with_body(pieces)
            .run();
        assert_eq!((bench.text(), bench.status()), (expected.as_str(), Status::Ok));
    }
    assert_eq!(Bench::builtin(Builtin::Sink, b"").run().text(), "0 2d06800538d394c2");
}

#[test]
fn source_gives_the_same_bytes_in_every_room() {
    let bench = Bench::builtin(Builtin::Source, b"1MiB").run();
    assert_eq!((bench.reply.len(), bench.status()), (1 << 20, Status::Ok));
    let mut small = Bench::builtin(Builtin::Source, b" 1048576 ");
    small.room = 100_000;
    assert!(small.run().reply == bench.reply);
    // The first number of splitmix64 from seed 0.
    assert_eq!(bench.reply[..8], 0xe220_a839_7b1d_cdaf_u64.to_le_bytes());
    assert_eq!(Bench::builtin(Builtin::Source, b"0").run().status(), Status::Ok);
    for bad in [&b""[..], b"x", b"10 miles", b"-1", b"99999999999TiB", &[b'1'; 100]] {
        let bench = Bench::builtin(Builtin::Source, bad).run();
        assert_eq!(bench.status(), Status::Refused);
        assert!(bench.note().contains("10MiB"), "{}", bench.note());
    }
}

#[test]
fn endless_room_is_not_filled_in_one_turn() {
    let mut bench = Bench::builtin(Builtin::Source, b"100TiB");
    bench.room = usize::MAX;
    let mut fed = 0;
    for _ in 0..3 {
        assert!(bench.round(&mut fed));
        assert_eq!(bench.running.next_deadline(), Some(Moment::ZERO));
    }
    assert_eq!(bench.reply.len(), 3 << 20);
    bench.running.kill();
    assert_eq!(bench.run().status(), Status::Cancelled);
}

#[test]
fn builtin_may_end_before_its_body() {
    let mut bench = Bench::start(&Spec::Builtin(Builtin::Hello), &NO_LIMITS);
    bench.running.feed(Bytes::from_static(b"begun"), false);
    bench.running.stop(now(), Status::Cancelled);
    let bench = bench.run();
    assert_eq!((bench.text(), bench.status()), ("", Status::Cancelled));
}
