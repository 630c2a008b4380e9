//! How requests end: by themselves, by a deadline, by being stopped, killed or dropped; and what they leave behind.

use super::*;

#[test]
fn output_waits_for_room_after_the_exit() {
    let mut bench = Bench::shell("head -c 60000 /dev/zero; head -c 50000 /dev/zero >&2");
    let pid = bench.running.pid().unwrap();
    bench.room = 0;
    let mut fed = 0;
    bench.round(&mut fed);
    let zombie = || {
        std::fs::read_to_string(format!("/proc/{pid}/stat"))
            .unwrap()
            .contains(") Z ")
    };
    eventually("it exits", zombie);
    for _ in 0..3 {
        assert!(bench.round(&mut fed));
        assert_eq!(bench.running.next_deadline(), None);
        assert_eq!(bench.running.fds(0).count(), 0);
    }
    bench.room = 7_000;
    let bench = bench.run();
    assert_eq!(
        (bench.reply.len(), bench.stderr.len(), bench.status()),
        (60_000, 50_000, Status::Ok)
    );
}

#[test]
fn daemon_that_holds_the_pipes_delays_little_and_is_killed() {
    let bench = Bench::shell("sleep 30 & echo $!").run();
    assert_eq!(bench.status(), Status::Ok);
    assert!(bench.elapsed() < Duration::from_secs(2), "{:?}", bench.elapsed());
    let daemon: u32 = bench.text().trim().parse().unwrap();
    eventually("the daemon is killed", || {
        std::fs::read_to_string(format!("/proc/{daemon}/stat")).map_or(true, |stat| stat.contains(") Z "))
    });
}

#[test]
fn daemon_that_chatters_delays_a_bounded_time() {
    let bench = Bench::shell("yes & echo hi").run();
    assert_eq!(bench.status(), Status::Ok);
    assert!(bench.elapsed() < Duration::from_secs(4), "{:?}", bench.elapsed());
}

#[test]
fn handler_that_closes_its_output_runs_on() {
    let bench = Bench::shell("echo hi; exec >&- 2>&-; sleep 0.2; exit 5").run();
    assert_eq!((bench.text(), bench.status()), ("hi\n", Status::Exit(5)));
    assert!(bench.elapsed() >= Duration::from_millis(200), "{:?}", bench.elapsed());
}

#[test]
fn missing_commands_end_with_advice() {
    let bench = Bench::words(&["zhit-no-such-command", "x"]).run();
    assert_eq!(bench.status(), Status::NotStarted);
    let advice =
        "cannot start \"zhit-no-such-command\" on alpha: no such command on PATH; give its path or install it there";
    assert_eq!(bench.note(), advice);
    let bench = Bench::words(&["/nowhere/x"]).with_body(bulk(1_000_000)).run();
    assert!(bench.note().contains("no such file"), "{}", bench.note());
    let bench = Bench::words(&["/etc/passwd"]).run();
    assert!(bench.note().contains("chmod +x"), "{}", bench.note());
    assert_eq!(Bench::words(&[]).run().status(), Status::NotStarted);
    let bench = Bench::shell("zhit-no-such-command").run();
    assert_eq!(bench.status(), Status::Exit(127));
}

#[test]
fn scratch_that_cannot_be_made_ends_with_advice() {
    let room = Room::new();
    let mut scratch = Scratch::new(&room.0.join("file"), SLOT, HIT);
    std::fs::write(room.0.join("file"), "").unwrap();
    let (pool, host, grace) = ("default", "alpha", Duration::ZERO);
    let context = RequestContext {
        broadcast: None,
        hit: HIT,
        seq: 1,
        pool,
        host,
        slot: SLOT,
        scratch: &mut scratch,
        grace,
        timeout: None,
        known_at: None,
    };
    let mut out = Vec::new();
    Running::start(&words_spec(&["cat"]), context, now()).turn(now(), ROOM, &mut out);
    assert!(
        matches!(&out[..], [Output::Ended { status: Status::NotStarted, note }] if note.contains("scratch")),
        "{out:?}"
    );
}

#[test]
fn deadline_tells_the_handler_to_end() {
    let limits = Limits {
        timeout: Some(Duration::from_millis(100)),
        ..NO_LIMITS
    };
    let script = "trap 'echo bye; exit 0' TERM; while :; do sleep 0.02; done";
    let bench = Bench::start(&Spec::Shell(script.to_owned()), &limits).run();
    assert_eq!((bench.text(), bench.status()), ("bye\n", Status::Deadline));
    assert!(
        bench.note().ends_with(": deadline of 100ms passed; told to end"),
        "{}",
        bench.note()
    );
}

#[test]
fn handler_that_ignores_sigterm_is_killed_after_the_grace() {
    let limits = Limits {
        timeout: Some(Duration::from_millis(100)),
        grace: Duration::from_millis(200),
    };
    let script = "trap '' TERM; sleep 60 & sleep 60";
    let bench = Bench::start(&Spec::Shell(script.to_owned()), &limits).run();
    assert_eq!(bench.status(), Status::Deadline);
    let note = bench.note();
    assert!(
        note.ends_with("deadline of 100ms passed; told to end, killed 200ms later"),
        "{note}"
    );
    let elapsed = bench.elapsed();
    assert!(
        (Duration::from_millis(280)..Duration::from_secs(3)).contains(&elapsed),
        "{elapsed:?}"
    );
}

#[test]
fn stopped_handler_is_seen_and_can_still_be_told_to_end() {
    let mut bench = Bench::shell("echo up; exec sleep 60");
    bench.until_reply(b"up\n");
    assert_eq!(bench.running.state(), WorkState::Running);
    let pid = Pid::from_raw(bench.running.pid().unwrap().cast_signed()).unwrap();
    rustix::process::kill_process(pid, Signal::STOP).unwrap();
    eventually("it is stopped", || bench.running.state() == WorkState::Stopped);
    bench.running.stop(now(), Status::Cancelled);
    assert_eq!(bench.running.state(), WorkState::Ending);
    let bench = bench.run();
    assert_eq!(bench.status(), Status::Cancelled);
    assert!(bench.note().ends_with(": cancelled"), "{}", bench.note());
    assert!(bench.elapsed() < Duration::from_secs(5));
}

#[test]
fn kill_ends_at_once_and_keeps_the_first_reason() {
    let mut bench = Bench::shell("trap '' TERM; echo up; while :; do sleep 1; done");
    bench.until_reply(b"up\n");
    bench.running.stop(now(), Status::Deadline);
    bench.running.kill();
    let bench = bench.run();
    assert_eq!(bench.status(), Status::Deadline);
    let mut bench = Bench::words(&["sleep", "60"]);
    bench.running.kill();
    assert_eq!(bench.run().status(), Status::Cancelled);
}

#[test]
fn kill_waits_for_no_room() {
    let mut bench = Bench::words(&["yes"]);
    let mut fed = 0;
    while bench.running.bytes_out() == 0 {
        bench.round(&mut fed);
    }
    bench.room = 0;
    bench.running.kill();
    assert_eq!(bench.run().status(), Status::Cancelled);
}

#[test]
fn cancelling_a_drain_ends_it() {
    let mut bench = Bench::shell("head -c 60000 /dev/zero");
    let pid = bench.running.pid().unwrap();
    bench.room = 0;
    let mut fed = 0;
    eventually("it exits", || {
        std::fs::read_to_string(format!("/proc/{pid}/stat"))
            .unwrap()
            .contains(") Z ")
    });
    assert!(bench.round(&mut fed));
    bench.running.stop(now(), Status::Cancelled);
    assert!(bench.running.next_deadline().is_some());
    assert_eq!(bench.run().status(), Status::Cancelled);
}

#[test]
fn dropping_a_request_kills_its_group_and_reaps_it() {
    let mut bench = Bench::shell("sleep 60 & echo up; wait");
    bench.until_reply(b"up\n");
    let pid = bench.running.pid().unwrap();
    drop(bench);
    assert!(!exists(pid));
    eventually("the group is gone", || {
        rustix::process::test_kill_process_group(Pid::from_raw(pid.cast_signed()).unwrap()).is_err()
    });
}

#[test]
fn handler_dies_with_its_slot_thread() {
    let pid = std::thread::spawn(|| {
        let mut bench = Bench::shell("echo up; exec sleep 60");
        bench.until_reply(b"up\n");
        let pid = bench.running.pid().unwrap();
        // As if the thread had been torn away: nothing is dropped.
        std::mem::forget(bench.running);
        pid
    })
    .join()
    .unwrap();
    let id = WaitId::Pid(Pid::from_raw(pid.cast_signed()).unwrap());
    let ended = rustix::process::waitid(id, WaitIdOptions::EXITED).unwrap().unwrap();
    assert_eq!(ended.terminating_signal(), Some(Signal::KILL.as_raw()));
}

/// Runs alone in a process of its own (see below), because it counts what the whole process holds.
#[test]
#[ignore = "run by requests_leave_neither_files_nor_zombies"]
fn census() {
    let held = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let specs = [
        "cat",
        "exit 3",
        "sleep 30 & echo hi",
        "kill -KILL $$",
        "exec <&-; sleep 0.01",
    ];
    let before = held();
    for round in 0..10 {
        for script in specs {
            Bench::shell(script).with_body(bulk(1000 * round)).run();
        }
        Bench::words(&["zhit-no-such-command"]).run();
        drop(Bench::words(&["sleep", "60"]));
        let mut bench = Bench::words(&["sleep", "60"]);
        bench.running.kill();
        bench.run();
    }
    assert_eq!(held(), before);
    let children = rustix::process::waitid(WaitId::All, WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
    assert_eq!(children.unwrap_err(), rustix::io::Errno::CHILD);
}

#[test]
fn requests_leave_neither_files_nor_zombies() {
    let output = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "worker::handler::tests::endings::census",
            "--ignored",
            "--test-threads=1",
        ])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}
