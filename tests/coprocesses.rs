//! Co-processes, one for each Hit, through broker, worker and client as real processes.

#[path = "support/cluster.rs"]
mod cluster;

use std::io::Write as _;
use std::time::Duration;

use cluster::Host;

const SECOND: Duration = Duration::from_secs(1);

/// Answers each line with itself, how many there were, and who answers.
const COUNTER: &str = "n=0; while read -r line; do n=$((n+1)); echo \"$line $n $$\"; done";

fn host(slots: u32, options: &[&str], framing: &str, script: &str) -> Host {
    let framing = ["--framing", framing];
    Host::with_script(slots, &[options, &framing].concat(), script)
}

/// The words of a reply of the counter.
fn words(line: &str) -> (&str, &str, &str) {
    let mut words = line.split(' ');
    let mut next = || words.next().unwrap_or_default();
    (next(), next(), next())
}

#[test]
fn two_hundred_hits_on_four_slots_each_have_a_process_of_their_own() {
    let host = host(4, &[], "lines", COUNTER);
    let start = |number: u32| {
        let asked = ["a", "b", "c"].map(|word| format!("{word}{number}"));
        let arguments: Vec<&str> = ["--wait", "60s"]
            .into_iter()
            .chain(asked.iter().map(String::as_str))
            .collect();
        (asked.clone(), host.client(&arguments).start())
    };
    let clients: Vec<_> = (0..200).map(start).collect();
    let mut pids = Vec::new();
    for (asked, client) in clients {
        let ended = client.wait().code(0).quiet();
        let text = ended.text();
        let replies: Vec<_> = text.lines().map(words).collect();
        let expected = asked.iter().zip(["1", "2", "3"]).map(|(asked, n)| (asked.as_str(), n));
        assert!(replies.iter().map(|(said, n, _)| (*said, *n)).eq(expected), "{text}");
        assert!(
            replies.iter().all(|(.., pid)| *pid == replies[0].2),
            "one process a Hit: {text}"
        );
        pids.push(replies[0].2.to_owned());
    }
    pids.sort();
    pids.dedup();
    assert_eq!(pids.len(), 200, "no two Hits had the same process");
    host.wait_for_handlers_end();
    host.stop();
}

#[test]
fn framings_carry_any_bytes_but_lines_refuse_a_newline_inside() {
    let lines = host(1, &[], "lines", COUNTER);
    let refused = lines.client(&[]).stdin("a\nb").run().code(1).wrote("");
    refused.says("newline inside").says("netstring").says("u32");
    let ended = lines.client(&["one", "two\nthree", "four"]).run().code(1);
    assert!(ended.text().contains("four 2 "), "the Hit goes on: {}", ended.text());
    lines.stop();
    // Sends each frame back as it is: netstrings and lengths alike are what comes.
    for framing in ["netstring", "u32"] {
        let host = Host::serving(1, &["--framing", framing, "--", "cat"]);
        let body: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).take(1_000_000).collect();
        let ended = host.client(&[]).stdin(body.clone()).run().code(0).quiet();
        assert!(ended.stdout == body, "{} bytes came back", ended.stdout.len());
        host.client(&["", "a\nb,c", ""])
            .run()
            .code(0)
            .quiet()
            .wrote("\na\nb,c\n\n");
        host.client(&[])
            .stdin(vec![0; 1_100_000])
            .run()
            .code(1)
            .says("longer than 1048576 bytes");
        host.stop();
    }
}

#[test]
fn output_that_nobody_asked_for_ends_the_hit_and_is_named() {
    let host = host(
        1,
        &[],
        "lines",
        "while read -r line; do echo yes; sleep 0.2; echo more; done",
    );
    let mut client = host.client(&["--lines"]).hold_stdin().start();
    let stdin = client.stdin.as_mut().expect("held");
    stdin.write_all(b"a\n").expect("the client reads");
    let ended = client.wait().code(6).wrote("yes\n");
    ended.says("said \"more\" unasked").says("request 1 was answered");
    host.wait_for_handlers_end();
    // Before it is asked anything, too.
    let early = self::host(1, &["--warm", "0"], "lines", "echo ready; sleep 0.3; cat");
    early
        .client(&["a"])
        .run()
        .code(1)
        .wrote("")
        .says("said \"ready\" unasked");
    early.stop();
    host.stop();
}

#[test]
fn a_reply_that_is_no_frame_fails_its_request_and_ends_the_hit() {
    let host = host(1, &[], "netstring", "head -c 2 >/dev/null; echo hello; sleep 1000");
    let ended = host.client(&["a", "b"]).run().code(6).wrote("");
    ended
        .says("LENGTH:BYTES,")
        .says("request 2 and later never ran")
        .within(5 * SECOND);
    host.wait_for_handlers_end();
    host.stop();
}

#[test]
fn a_request_may_fail_and_the_hit_go_on() {
    let script = "while read -r line; do [ $line = bad ] && echo 'fail 7 no such thing' >&3 || echo $line $$; done";
    let host = host(1, &[], "lines", script);
    let ended = host.client(&["a", "bad", "b"]).run().code(1);
    let text = ended.text();
    let replies: Vec<_> = text.lines().map(|line| line.split(' ').collect::<Vec<_>>()).collect();
    assert_eq!(replies.len(), 2, "{text}");
    assert_eq!(replies[0][1], replies[1][1], "one process: {text}");
    ended.says("request 2: no such thing");
    host.stop();
}

#[test]
fn a_process_that_ends_in_a_request_fails_it_and_ends_the_hit() {
    let host = host(
        1,
        &[],
        "lines",
        "read -r line; echo $line; read -r line; echo why >&2; exit 3",
    );
    let ended = host.client(&["a", "b", "c"]).run().code(6);
    ended
        .says("why\n")
        .says("sh: exit 3")
        .says("requests 1 to 2 were answered")
        .says("request 3 and later never ran");
    host.stop();
    // One that has answered all may end with its Hit.
    let once = self::host(1, &[], "lines", "read -r line; echo $line");
    once.client(&["a"]).run().code(0).quiet().wrote("a\n");
    once.client(&["a"]).run().code(0).quiet().wrote("a\n");
    // Its end is seen before the second request is asked, or is how that one fails.
    let ended = once.client(&["a", "b"]).run().says("sh").says("ended");
    assert!(ended.code == 6 || ended.code == 1, "{}", ended.code);
    once.stop();
}

#[test]
fn a_deadline_ends_the_process_and_its_hit() {
    let script = "while read -r line; do [ $line = slow ] && sleep 1000; echo $line; done";
    let host = host(1, &["--grace", "100ms"], "lines", script);
    let ended = host.client(&["--timeout", "300ms", "a", "slow", "b"]).run();
    let ended = ended
        .says("request 2")
        .says("deadline of 300ms passed")
        .within(5 * SECOND);
    assert!(ended.code == 6 || ended.code == 124, "{}", ended.code);
    host.wait_for_handlers_end();
    host.client(&["a"]).run().code(0).wrote("a\n");
    host.stop();
}

#[test]
fn a_hit_that_is_over_ends_its_process_by_the_end_of_its_input() {
    let host = host(
        1,
        &[],
        "lines",
        "while read -r line; do echo $line; done; echo bye > $ROOM/bye",
    );
    host.client(&["a"]).run().code(0);
    assert_eq!(host.wait_for_file("bye"), "bye");
    // One that minds neither that nor SIGTERM is killed, and the slot serves again.
    let deaf = self::host(
        1,
        &["--grace", "100ms"],
        "lines",
        "trap '' TERM; while :; do read -r line && echo $line; done",
    );
    deaf.client(&["a"]).run().code(0);
    deaf.client(&["--wait", "20s", "b"]).run().code(0).wrote("b\n");
    deaf.stop();
    host.stop();
}

#[test]
fn one_that_reads_and_says_nothing_is_suspected_of_buffering() {
    let host = host(1, &[], "lines", "exec cat > $ROOM/buffer");
    let client = host.client(&["a"]).start();
    let mut client = client;
    client.wait_for_stderr("stdbuf -oL");
    client.signal(rustix::process::Signal::INT);
    client.wait().code(130);
    host.wait_for_handlers_end();
    host.stop();
}

#[test]
fn those_that_are_started_ahead_serve_one_hit_each() {
    let script = "echo $$ >> $ROOM/started; while read -r line; do echo $line $$; done";
    let host = host(1, &["--warm", "2"], "lines", script);
    let started = || std::fs::read_to_string(host.room().join("started")).unwrap_or_default();
    cluster::eventually("two are started", || (started().lines().count() == 2).then_some(()));
    let first = host.client(&["a"]).run().code(0).text();
    let (_, pid, _) = words(first.trim());
    assert!(
        started().lines().take(2).any(|line| line == pid),
        "{first} of {}",
        started()
    );
    let second = host.client(&["a"]).run().code(0).text();
    assert_ne!(first, second, "another Hit, another process");
    cluster::eventually("the others are replaced", || {
        (started().lines().count() >= 4).then_some(())
    });
    host.stop();
}

#[test]
fn a_killed_worker_leaves_no_co_process_behind() {
    let mut host = host(
        1,
        &["--warm", "1"],
        "lines",
        "sleep 1000 & while read -r line; do echo $line; sleep 1000; done",
    );
    let client = host.client(&["a", "b"]).start();
    host.wait_for("a busy slot", |pong| pong.workers.iter().any(|worker| worker.busy == 1));
    cluster::eventually("a handler and its child", || {
        let sleeps = host
            .commands()
            .iter()
            .filter(|command| command.starts_with("sleep"))
            .count();
        (sleeps >= 2).then_some(())
    });
    let mut worker = host.take_worker();
    worker.signal(rustix::process::Signal::KILL);
    client.wait().code(6);
    host.stop();
}
