//! Programs as handlers, through broker, worker and client as real processes: those that behave and those that do not.

#[path = "support/cluster.rs"]
mod cluster;

use std::io::Write as _;
use std::time::Duration;

use cluster::{Host, Process, eventually};
use xxhash_rust::xxh3::Xxh3;

const SECOND: Duration = Duration::from_secs(1);

/// Memory that no process may exceed, whatever the size of a body.
const PEAK_KIB_MAX: u64 = 32 * 1024;

#[test]
fn two_hundred_clients_share_four_slots_and_never_a_fifth_handler() {
    // Each handler holds one of four locks as long as it lives, so the kernel counts them; a fifth would find none free.
    // The first ones wait until there are four.
    let script = "for lock in 1 2 3 4; do
                      exec 9>> $ROOM/lock.$lock
                      if flock -n 9; then until [ -e $ROOM/lock.4 ]; do sleep 0.01; done; exec sort; fi
                  done
                  echo fifth >> $ROOM/too-many; exit 9";
    let host = Host::with_script(4, &[], script);
    let clients: Vec<_> = (0..200)
        .map(|number| {
            let body = format!("pear {number}\napple {number}\nfig {number}\n");
            (number, host.client(&["--wait", "60s"]).stdin(body).start())
        })
        .collect();
    for (number, client) in clients {
        let sorted = format!("apple {number}\nfig {number}\npear {number}\n");
        client.wait().code(0).quiet().wrote(&sorted);
    }
    assert!(!host.room().join("too-many").exists(), "a fifth handler was alive");
    host.stop();
}

#[test]
fn exit_status_and_what_was_written_before_it_reach_the_client() {
    let host = Host::with_script(1, &[], "echo some; echo why >&2; exit 3");
    let ended = host.client(&["x"]).run().code(1).wrote("some\n");
    ended.says("why\n").says("request 1: sh: exit 3").within(Duration::ZERO);
    host.stop();
}

#[test]
fn a_handler_may_close_its_output_early_and_go_on() {
    let host = Host::with_script(
        1,
        &[],
        "echo all; exec 1>&- 2>&-; cat > $ROOM/took; echo done > $ROOM/done",
    );
    let body = vec![b'x'; 1024 * 1024];
    host.client(&[])
        .stdin(body)
        .run()
        .code(0)
        .quiet()
        .wrote("all\n")
        .within(SECOND);
    host.wait_for_file("done");
    assert_eq!(
        std::fs::metadata(host.room().join("took")).expect("a file").len(),
        1024 * 1024
    );
    host.stop();
}

#[test]
fn a_handler_that_never_reads_may_answer() {
    let host = Host::with_script(1, &[], "echo unread");
    let body = vec![b'x'; 16 * 1024 * 1024];
    host.client(&[])
        .stdin(body)
        .run()
        .code(0)
        .quiet()
        .wrote("unread\n")
        .within(SECOND);
    // As well when stdin never ends.
    let mut endless = host.client(&[]).hold_stdin().start();
    let stdin = endless.stdin.as_mut().expect("held");
    stdin.write_all(b"x").expect("the client reads");
    endless.wait().code(0).quiet().wrote("unread\n").within(SECOND);
    host.client(&["a", "b"]).run().code(0).wrote("unread\nunread\n");
    host.stop();
}

#[test]
fn a_handler_that_never_reads_and_never_answers_ends_by_its_deadline() {
    let host = Host::with_script(1, &[], "exec sleep 100");
    let client = host.client(&["--timeout", "500ms"]).stdin(vec![b'x'; 16 * 1024 * 1024]);
    client
        .run()
        .code(124)
        .wrote("")
        .says("deadline of 500ms passed")
        .within(SECOND);
    host.wait_for_handlers_end();
    host.stop();
}

#[test]
fn a_hundred_megabytes_that_nobody_asked_for_arrive() {
    let host = Host::with_script(1, &[], "head -c 100000000 /dev/zero");
    let ended = host.client(&["x"]).run().code(0).quiet();
    // For an argument, one newline is added.
    assert_eq!(ended.stdout.len(), 100_000_001);
    assert!(ended.stdout[..100_000_000].iter().all(|byte| *byte == 0));
    assert!(
        host.peak_kib() <= PEAK_KIB_MAX,
        "broker or worker held {} KiB",
        host.peak_kib()
    );
    host.stop();
}

#[test]
fn a_hundred_megabytes_that_nobody_takes_hold_back_the_handler() {
    let host = Host::with_script(1, &[], "echo started > $ROOM/started; exec head -c 100000000 /dev/zero");
    let mut client = host.client(&["x"]).leave_stdout_unread().start();
    host.wait_for_file("started");
    // Each of the three keeps serving meanwhile.
    host.wait_for("a leased slot", |pong| {
        pong.workers.iter().any(|worker| worker.busy == 1)
    });
    assert!(client.is_running());
    assert!(
        client.peak_kib() <= PEAK_KIB_MAX,
        "the client held {} KiB",
        client.peak_kib()
    );
    client.end_by(rustix::process::Signal::TERM).code(143).within(SECOND);
    host.wait_for_slots(1);
    host.wait_for_handlers_end();
    host.stop();
}

#[test]
fn a_daemon_that_holds_the_pipes_delays_nobody() {
    // One in the handler's group and one that has left it.
    let script = "sleep 1000 & setsid sleep 1000 & echo answer; exit 0";
    let host = Host::with_script(1, &[], script);
    host.client(&["a", "b"])
        .run()
        .code(0)
        .quiet()
        .wrote("answer\nanswer\n")
        .within(SECOND);
    let left = eventually("the end of the group's daemons", || {
        let sleeping = host
            .commands()
            .iter()
            .filter(|command| command.starts_with("sleep"))
            .count();
        (sleeping <= 2).then_some(sleeping)
    });
    assert_eq!(left, 2, "who leaves the group is his own master");
}

#[test]
fn a_command_that_does_not_exist_is_named() {
    let host = Host::serving(1, &["--", "zhit-no-such-command"]);
    let ended = host.client(&["a", "b"]).run().code(1).wrote("");
    ended
        .says("zhit-no-such-command")
        .says("no such command on PATH")
        .says("request 2")
        .within(Duration::ZERO);
    host.stop();
    let host = Host::serving(1, &["--", "/no/such/path"]);
    host.client(&["a"])
        .run()
        .code(1)
        .says("/no/such/path")
        .says("check the path");
    host.stop();
}

#[test]
fn a_deadline_ends_the_handler_and_is_a_124() {
    let host = Host::serving(1, &["--", "sleep", "100"]);
    let ended = host.client(&["--timeout", "1s", "x"]).run().code(124).wrote("");
    assert!(ended.took >= SECOND, "{:?}", ended.took);
    ended.says("deadline of 1s passed").within(SECOND);
    host.wait_for_handlers_end();
    host.wait_for_slots(1);
    host.stop();
}

#[test]
fn a_deadline_is_each_requests_own() {
    let host = Host::with_script(1, &[], "[ $ZHIT_SEQ != 2 ] || exec sleep 100; cat");
    let ended = host.client(&["--timeout", "500ms", "a", "b", "c"]).run().code(124);
    ended.wrote("a\nc\n").says("request 2").within(SECOND);
    host.stop();
}

#[test]
fn a_handler_that_ignores_sigterm_is_killed_after_the_grace() {
    let script = "trap '' TERM; echo started > $ROOM/started; while :; do sleep 0.05; done";
    let host = Host::with_script(1, &["--grace", "500ms"], script);
    let ended = host.client(&["--timeout", "500ms", "x"]).run().code(124).wrote("");
    ended.says("told to end, killed 500ms later").within(SECOND);
    host.wait_for_handlers_end();
    host.wait_for_slots(1);
    host.stop();
}

#[test]
fn what_handlers_say_on_stderr_is_relayed_apart() {
    let host = Host::with_script(1, &[], "echo one; echo two >&2; printf 'three' >&2; cat");
    let ended = host.client(&["x"]).run().code(0).wrote("one\nx\n");
    assert_eq!(ended.stderr, "two\nthree");
    let loud = Host::with_script(1, &[], "head -c 3000000 /dev/zero >&2; echo quiet");
    let ended = loud.client(&["x"]).run().code(0).wrote("quiet\n");
    assert_eq!(ended.stderr.len(), 3_000_000);
    host.stop();
    loud.stop();
}

#[test]
fn stderr_is_there_while_the_handler_runs() {
    let host = Host::with_script(1, &[], "echo working >&2; until [ -e $ROOM/go ]; do sleep 0.01; done");
    let mut client = host.client(&["x"]).start();
    client.wait_for_stderr("working\n");
    host.make_file("go");
    client.wait().code(0);
    host.stop();
}

#[test]
fn handlers_learn_where_they_are_and_their_directory_goes_with_the_hit() {
    let script = "echo $ZHIT_SEQ $ZHIT_POOL $ZHIT_SLOT $ZHIT_HOST $ZHIT_HIT_ID $ZHIT_DIR; cd $ZHIT_DIR; ls; mkdir -p a/b; \
                  echo x > a/b/$ZHIT_SEQ; ls a/b | tr '\\n' ' '; cat";
    let host = Host::with_script(1, &["--pool", "tools"], script);
    let mut client = host.client(&["--pool", "tools", "--lines"]).hold_stdin().start();
    let mut stdin = client.stdin.take().expect("held");
    stdin.write_all(b"first\nsecond\n").expect("the client reads");
    let directory = host.runtime_dir().join("scratch");
    let made = eventually("the scratch directory", || {
        std::fs::read_dir(&directory)
            .ok()?
            .flatten()
            .next()
            .map(|entry| entry.path())
    });
    client.wait_for_stdout(200);
    assert!(made.is_dir(), "it lives as long as the Hit");
    drop(stdin);
    let text = client.wait().code(0).quiet().text();
    let lines: Vec<_> = text.lines().collect();
    let words: Vec<Vec<_>> = lines.iter().map(|line| line.split(' ').collect()).collect();
    assert_eq!(words[0][..4], ["1", "tools", "w1/1", "alpha"], "{text}");
    assert_eq!(words[0][4].len(), 32, "{text}");
    assert_eq!(words[0][5], made.display().to_string(), "{text}");
    assert_eq!(lines[1], "1 first");
    assert_eq!((words[2][0], &words[2][1..]), ("2", &words[0][1..]), "{text}");
    assert_eq!(
        lines[3..],
        ["a", "1 2 second"],
        "the second request finds what the first one left"
    );
    host.wait_for_slots(1);
    assert!(!made.exists(), "it goes with the Hit");
    host.stop();
}

#[test]
fn pipes_are_full_duplex() {
    // It writes 8 MiB before it has read a byte, then copies.
    let host = Host::with_script(1, &[], "head -c 8388608 /dev/zero; cat");
    let body = vec![b'x'; 8 * 1024 * 1024];
    let ended = host.client(&[]).stdin(body).run().code(0).quiet();
    assert_eq!(ended.stdout.len(), 16 * 1024 * 1024);
    assert!(ended.stdout[8 * 1024 * 1024..].iter().all(|byte| *byte == b'x'));
    host.stop();
}

#[test]
fn a_large_body_passes_through_little_memory() {
    const PIECES: u64 = 64 * 16;
    let mut host = Host::serving(1, &["--", "cat"]);
    let mut client: Process = host.client(&[]).hold_stdin().digest_stdout().start();
    let mut stdin = client.stdin.take().expect("held");
    let mut sent = Xxh3::new();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..PIECES {
        let piece: Vec<u8> = std::iter::repeat_with(|| next_random(&mut state).to_le_bytes())
            .take(8192)
            .flatten()
            .collect();
        sent.update(&piece);
        stdin.write_all(&piece).expect("the client reads");
    }
    // The client lives until its stdin ends, so that it can be measured after everything has passed through it.
    client.wait_for_stdout(usize::try_from(PIECES).expect("few") * 65_536);
    let peaks = [client.peak_kib(), host.broker().peak_kib(), host.worker().peak_kib()];
    assert!(
        peaks.iter().all(|peak| *peak <= PEAK_KIB_MAX),
        "client, broker, worker: {peaks:?} KiB"
    );
    drop(stdin);
    let received = client.digest();
    client.wait().code(0).quiet();
    assert_eq!(received, sent.digest());
    host.stop();
}

/// Xorshift: the bytes only have to differ from place to place.
fn next_random(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}
