//! Exit codes, and the messages that go with them.

use std::time::Duration;

use crate::cluster::{Host, Start};

#[test]
fn a_handler_that_fails_is_a_1() {
    let host = Host::new();
    let failing = host
        .client(&["--local", "--handler", "echo some; exit 3", "a", "b"])
        .run();
    failing
        .code(1)
        .wrote("some\nsome\n")
        .says("request 1")
        .says("exit 3")
        .says("request 2");
    let killed = host.client(&["--local", "--handler", "kill -9 $$", "a"]).run();
    killed.code(1).wrote("").says("killed by SIGKILL (signal 9)");
    let missing = host
        .client(&["--local", "--handler", "nonsense-that-is-not-there", "a"])
        .run();
    missing.code(1).says("not found").says("exit 127");
}

#[test]
fn what_cannot_be_meant_is_a_2_with_a_hint() {
    let host = Host::new();
    let wrong = |arguments: &[&str], hint: &str| {
        let ended = host.zhit(arguments).run().code(2).wrote("").says(hint);
        ended.within(Duration::ZERO);
    };
    wrong(
        &["client", "--timeout", "5", "x"],
        "\"5\" has no unit: write 5s, 250ms or 2m",
    );
    wrong(&["client", "--wait", "soon", "x"], "write 5s, 250ms or 2m");
    wrong(&["client", "--wiat", "5s", "x"], "--wait");
    wrong(&["client", "--builtin", "echo", "x"], "--local");
    wrong(&["client", "--local", "--builtin", "cat", "x"], "echo");
    wrong(&["client", "--lines", "x"], "--lines");
    wrong(&["client", "--pool", "no/pool", "x"], "is no name");
    wrong(&["worker", "--slots", "0"], "--slots");
    wrong(&["worker", "--builtin", "echo", "--", "cat"], "--builtin");
    wrong(&["ask"], "ask");
    wrong(&[], "Usage");
    assert!(!host.runtime_base().exists(), "a wrong command line touches nothing");
}

#[test]
fn a_terminal_as_stdin_is_no_request() {
    let host = Host::new();
    // `script` gives its command a terminal.
    let command = format!("{} client --local", env!("CARGO_BIN_EXE_zhit"));
    let ended = Start::new("script", &["-qec", &command, "/dev/null"])
        .stdin("")
        .run()
        .code(2);
    assert!(ended.text().contains("REQUEST"), "{}", ended.text());
    drop(host);
}

#[test]
fn help_and_version_go_to_stdout() {
    let host = Host::new();
    for arguments in [
        &["--help"][..],
        &["client", "--help"],
        &["help", "worker"],
        &["--version"],
    ] {
        let ended = host.zhit(arguments).run().code(0).quiet();
        assert!(ended.text().contains("zhit"), "{arguments:?}: {}", ended.text());
    }
}

#[test]
fn a_second_broker_names_the_first() {
    let mut host = Host::serving(1, &[]);
    let pid = host.broker().pid();
    let second = host.zhit(&["broker"]).run().code(2);
    second.says(&format!("pid {pid}")).within(Duration::ZERO);
    host.client(&["x"]).run().code(0).wrote("World\n");
    host.stop();
}

#[test]
fn a_reader_that_leaves_early_ends_the_client_quietly() {
    let host = Host::serving(1, &["--builtin", "echo"]);
    // As in `zhit client x | head -c0`: by the signal that any program in a pipe would die of.
    host.client(&["x"]).close_stdout().run().code(141).quiet();
    host.wait_for_slots(1);
    let endless = host
        .client(&["--lines"])
        .stdin("x\n".repeat(100_000))
        .close_stdout()
        .run();
    endless.code(141).quiet();
    host.wait_for_slots(1);
    host.stop();
}
