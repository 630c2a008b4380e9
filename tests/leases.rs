//! Hits that several commands share: `client --hold`, `--open`, `--hit`, `--close`, through real processes.

#[path = "support/cluster.rs"]
mod cluster;

use std::io::Write as _;
use std::time::Duration;

use cluster::{Host, Start, eventually};
use rustix::process::Signal;

const SECOND: Duration = Duration::from_secs(1);

/// Answers each line with itself, how many there were, and who answers.
const COUNTER: &str = "n=0; while read -r line; do n=$((n+1)); echo \"$line $n $$\"; done";

fn counting() -> Host {
    Host::with_script(2, &["--framing", "lines"], COUNTER)
}

fn wait_for_idle(host: &Host) {
    host.wait_for("idle slots", |pong| pong.workers.iter().all(|worker| worker.busy == 0));
}

/// A command for `--hold` that calls this very program as `$ZHIT`.
fn hold(host: &Host, script: &str) -> Start {
    let script = format!("ZHIT={}; {script}", env!("CARGO_BIN_EXE_zhit"));
    host.client(&["--hold", "--", "bash", "-c", &script])
}

/// The name of a Hit that is opened with these flags.
fn open(host: &Host, flags: &[&str]) -> String {
    let arguments = [&["--open"], flags].concat();
    let name = host.client(&arguments).run().code(0).quiet().text();
    assert!(
        name.starts_with("alpha/") && name.len() == "alpha/".len() + 33,
        "{name}"
    );
    name.trim().to_owned()
}

#[test]
fn commands_of_one_hold_share_a_hit() {
    let host = counting();
    let ended = hold(&host, "$ZHIT client a; $ZHIT client b c; echo $ZHIT_HIT; exit 3").run();
    let text = ended.code(3).quiet().text();
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split(' ').collect()).collect();
    assert!(
        lines[0].starts_with(&["a", "1"]) && lines[1].starts_with(&["b", "2"]),
        "{text}"
    );
    assert!(
        lines[2].starts_with(&["c", "3"]) && lines[3][0].starts_with("alpha/"),
        "{text}"
    );
    assert!(
        lines[..3].iter().all(|line| line[2] == lines[0][2]),
        "one process: {text}"
    );
    wait_for_idle(&host);
    host.wait_for_handlers_end();
    let next = host.client(&["a"]).run().code(0).text();
    assert!(next.starts_with("a 1 "), "clean for the next: {next}");
    host.stop();
}

#[test]
fn a_hold_ends_as_its_command_does() {
    let host = counting();
    hold(&host, "exit 0").run().code(0).quiet();
    hold(&host, "kill -KILL $$").run().code(137);
    host.client(&["--hold", "--", "/no/such/program"])
        .run()
        .code(127)
        .says("/no/such/program");
    let mut told = hold(
        &host,
        "trap 'echo told; kill $!; exit 7' TERM; echo up; sleep 1000 >/dev/null 2>&1 & wait",
    )
    .start();
    told.wait_for_stdout(3);
    told.signal(Signal::TERM);
    told.wait().code(7).wrote("up\ntold\n").within(SECOND);
    wait_for_idle(&host);
    host.stop();
}

#[test]
fn two_clients_of_one_hit_take_turns() {
    let host = counting();
    let text = hold(&host, "$ZHIT client a & $ZHIT client b & wait")
        .run()
        .code(0)
        .quiet()
        .text();
    let mut seconds: Vec<&str> = text.lines().filter_map(|line| line.split(' ').nth(1)).collect();
    seconds.sort_unstable();
    assert_eq!(seconds, ["1", "2"], "{text}");
    host.stop();
}

#[test]
fn a_killed_holder_keeps_nothing() {
    let host = counting();
    let script = "trap 'echo told > $ROOM/told; kill $!; exit' TERM; $ZHIT client a; sleep 1000 >/dev/null 2>&1 & wait";
    let mut holder = hold(&host, script).start();
    holder.wait_for_stdout(4);
    holder.signal(Signal::KILL);
    let killed_at = zhit::clock::now();
    wait_for_idle(&host);
    let took = zhit::clock::now().since(killed_at);
    assert!(took < 2 * SECOND, "well before its ttl of 3 s: {took:?}");
    assert_eq!(host.wait_for_file("told"), "told", "and its command was told to end");
    holder.wait().code(137);
    let next = host.client(&["a"]).run().code(0).text();
    assert!(next.starts_with("a 1 "), "clean for the next: {next}");
    host.stop();
}

#[test]
fn a_hold_outlives_its_broker_and_not_its_worker() {
    let mut host = Host::new();
    host.start_worker(&["--framing", "lines", "--", "sh", "-c", COUNTER]);
    host.wait_for_slots(1);
    let script = "trap 'echo told; kill $!; exit' TERM; $ZHIT client a; until [ -e $ROOM/go ]; do sleep 0.02; done; \
                  $ZHIT client b; sleep 1000 >/dev/null 2>&1 & wait";
    let mut holder = hold(&host, script).start();
    holder.wait_for_stdout(4);
    let broker = host.elected().expect("a broker");
    let number = i32::try_from(broker)
        .ok()
        .and_then(rustix::process::Pid::from_raw)
        .expect("a pid");
    rustix::process::kill_process(number, Signal::KILL).expect("ours");
    eventually("the next broker", || host.elected().filter(|next| *next != broker));
    host.make_file("go");
    holder.wait_for_stdout(13);
    let mut worker = host.take_worker();
    worker.signal(Signal::KILL);
    let ended = holder.wait().code(6);
    assert!(ended.text().ends_with("told\n"), "{}", ended.text());
    ended.says("the Hit was lost");
    worker.wait();
    host.stop();
}

#[test]
fn a_hit_may_be_opened_used_and_closed_by_three_commands() {
    let host = counting();
    let name = open(&host, &[]);
    let first = host.client(&["--hit", &name, "a"]).run().code(0).quiet().text();
    assert!(first.starts_with("a 1 "), "{first}");
    let second = host.client(&["b"]).env("ZHIT_HIT", &name).run().code(0).quiet().text();
    assert!(second.starts_with("b 2 "), "{second}");
    assert_eq!(first.rsplit(' ').next(), second.rsplit(' ').next(), "one process");
    host.client(&["--close", &name]).run().code(0).quiet().wrote("");
    wait_for_idle(&host);
    host.client(&["--hit", &name, "c"])
        .run()
        .code(6)
        .wrote("")
        .says("there is no such Hit here");
    host.client(&["--close", &name])
        .run()
        .code(6)
        .says("there is no such Hit here");
    host.stop();
}

#[test]
fn an_open_hit_waits_for_its_ttl_and_no_longer() {
    let host = counting();
    let name = open(&host, &["--ttl", "1s"]);
    wait_for_idle(&host);
    host.client(&["--hit", &name, "a"])
        .run()
        .code(6)
        .says("there is no such Hit here");
    host.stop();
}

#[test]
fn what_names_no_hit_is_refused() {
    let host = counting();
    for (name, said) in [
        ("alpha", "HOST/HEX"),
        ("alpha/12", "32 hexadecimal digits"),
        (
            "beta/00112233445566778899aabbccddeeff",
            "is on host beta, this is alpha, and no layout says where beta is",
        ),
    ] {
        host.client(&["--hit", name, "a"]).run().code(2).says(said);
        host.client(&["a"]).env("ZHIT_HIT", name).run().code(2).says(said);
    }
    host.client(&["--hold"]).run().code(2).says("REQUEST");
    host.client(&["--open", "a"]).run().code(2).says("--open");
    host.stop();
}

/// Rule O8: a request that had not come in full is spent, and whoever comes next is told.
#[test]
fn a_half_sent_request_is_spent_and_its_successor_told() {
    let host = Host::with_script(1, &["--grace", "200ms"], "cat; echo end");
    let name = open(&host, &[]);
    let mut first = host.client(&["--hit", &name]).hold_stdin().start();
    let stdin = first.stdin.as_mut().expect("held");
    stdin.write_all(b"half of it").expect("the client reads");
    first.wait_for_stdout(10);
    first.signal(Signal::KILL);
    first.wait().code(137);
    let second = host.client(&["--wait", "20s", "--hit", &name, "whole"]).run().code(0);
    second.says("request 1 of the client before").wrote("wholeend\n");
    host.client(&["--close", &name]).run().code(0);
    host.stop();
}

/// Rule O8: who is stopped leaves the Hit to the others. What it has asked in full goes on, and what had not begun never
/// does.
#[test]
fn a_command_that_is_stopped_leaves_the_hit_and_its_successor_is_told() {
    let script = "read -r line; echo $line > $ROOM/$line; until [ -e $ROOM/go ]; do sleep 0.01; done; echo $ZHIT_SEQ";
    let host = Host::with_script(1, &[], script);
    let name = open(&host, &[]);
    let mut first = host.client(&["--hit", &name, "a\n", "b\n", "c\n"]).start();
    host.wait_for_file("a");
    first.signal(Signal::TERM);
    first.wait().code(143).wrote("").says("given up");
    let mut second = host.client(&["--hit", &name, "d\n"]).start();
    second.wait_for_stderr("request 1 of the client before ran on without it; its reply is thrown away");
    host.make_file("go");
    second
        .wait()
        .code(0)
        .wrote("4\n")
        .says("requests 2 to 3 of the client before never ran");
    assert!(!host.room().join("b").exists(), "what had not begun never runs");
    host.client(&["--close", &name]).run().code(0).quiet();
    host.stop();
}

#[test]
fn a_deadline_is_of_the_command_that_has_it_and_ends_no_hit() {
    let host = Host::with_script(1, &[], "read -r line; [ $line = quick ] || sleep 1000; echo $ZHIT_SEQ");
    let name = open(&host, &[]);
    let late = host.client(&["--hit", &name, "--timeout", "200ms", "slow\n"]).run();
    late.code(124).says("request 1").within(SECOND);
    host.client(&["--hit", &name, "quick\n"])
        .run()
        .code(0)
        .quiet()
        .wrote("2\n");
    host.client(&["--close", &name]).run().code(0);
    host.stop();
}

#[test]
fn who_attaches_keeps_a_hit_by_its_own_ttl() {
    let host = Host::with_script(1, &[], "sleep 2.5; echo $ZHIT_SEQ");
    let name = open(&host, &["--ttl", "1s"]);
    host.client(&["--hit", &name, "x"]).run().code(0).quiet().wrote("1\n");
    wait_for_idle(&host);
    host.stop();
}

/// As by ^Z: it lives, and its process is what is watched.
#[test]
fn a_stopped_holder_keeps_its_hit() {
    let host = counting();
    let script = "$ZHIT client a; echo up > $ROOM/up; until [ -e $ROOM/go ]; do sleep 0.02; done; sleep 2.5; $ZHIT client b; \
                  echo over > $ROOM/over";
    let command = format!("ZHIT={}; {script}", env!("CARGO_BIN_EXE_zhit"));
    let mut holder = host
        .client(&["--hold", "--ttl", "1s", "--", "bash", "-c", &command])
        .start();
    host.wait_for_file("up");
    holder.signal(Signal::STOP);
    host.make_file("go");
    host.wait_for_file("over");
    holder.signal(Signal::CONT);
    let text = holder.wait().code(0).quiet().text();
    assert!(text.contains("b 2 "), "{text}");
    host.stop();
}

#[test]
fn a_holder_is_told_why_its_hit_is_over() {
    let mut host = Host::serving(1, &["--grace", "0s", "--builtin", "hello"]);
    let mut holder = hold(&host, "$ZHIT client a; exec sleep 1000 >/dev/null 2>&1").start();
    holder.wait_for_stdout(6);
    host.take_worker().end_by(Signal::TERM).code(0);
    holder.wait().code(6).says("its worker was asked to end");
    host.stop();
}
