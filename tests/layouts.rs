//! Layouts, through real processes: what they say is what broker, workers and clients do.

#[path = "support/cluster.rs"]
mod cluster;

use std::fs;
use std::path::Path;
use std::time::Duration;

use cluster::{Host, Process, Start};
use rustix::process::Signal;

const SECOND: Duration = Duration::from_secs(1);

/// The layouts at the top of the repository.
const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples.yaml");

/// A command on a layout of the examples, whose hosts are on this machine: nobody calls others.
fn on(host: &Host, cluster: &str, arguments: &[&str]) -> Start {
    let text = fs::read_to_string(EXAMPLES).expect("the examples");
    assert!(text.contains(" 10.0.0.1:"), "their addresses have changed");
    let file = host.room().join("examples.yaml");
    let new = host.room().join("examples.new");
    // At once: a worker may be reading it.
    fs::write(&new, text.replace(" 10.0.0.", " 127.77.0.")).expect("a layout");
    fs::rename(&new, &file).expect("a layout");
    let file = file.to_str().expect("a plain name");
    let all = [&["--layout", file, "--cluster", cluster], arguments].concat();
    host.zhit(&all)
}

/// What a worker answers that serves this pool as the layout says.
fn served(host: &Host, cluster: &str, pool: &str, asked: &[&str]) -> String {
    let mut worker = on(host, cluster, &["worker", "--pool", pool]).start();
    let arguments = [&["client", "--wait", "30s", "--pool", pool], asked].concat();
    let text = on(host, cluster, &arguments).run().code(0).quiet().text();
    worker.signal(Signal::TERM);
    worker.wait().code(0);
    text
}

#[test]
fn every_pool_of_the_examples_serves_as_its_layout_says() {
    let host = Host::new();
    assert_eq!(served(&host, "desk", "render", &["10\n9\n"]), "9\n10\n");
    assert_eq!(served(&host, "desk", "count", &["one two one"]).trim(), "2");
    assert_eq!(served(&host, "desk", "sessions", &["a", "b"]), "a 1\nb 2\n");
    assert_eq!(served(&host, "desk", "echo", &["hello"]), "hello\n");
    assert_eq!(served(&host, "farm", "render", &["b\na\n"]), "a\nb\n");
    assert_eq!(served(&host, "attic", "default", &["hello"]), "hello\n");
    host.stop();
}

#[test]
fn flags_beat_the_layout_and_the_layout_beats_what_is_usual() {
    let host = Host::new();
    let worker = ["worker", "--pool", "render", "--slots", "3", "--", "tr", "a", "b"];
    let mut worker = on(&host, "desk", &worker).start();
    // The layout's client asks the pool render.
    on(&host, "desk", &["client", "--wait", "30s", "a"])
        .run()
        .code(0)
        .wrote("b\n");
    let ping = on(&host, "desk", &["ping"]).run().code(0).text();
    assert!(ping.contains("1 worker, 3 slots"), "{ping}");
    worker.signal(Signal::TERM);
    worker.wait().code(0);
    host.stop();
}

#[test]
fn a_layout_is_found_by_its_variable_and_in_the_users_directory() {
    let host = Host::new();
    let room = host.room();
    let write = |path: &Path, pool: &str| {
        fs::create_dir_all(path.parent().expect("a directory")).expect("made");
        let text = format!("cluster: mine\npools:\n  {pool}:\n    handler: [cat]\n");
        fs::write(path, text).expect("written");
    };
    let named = room.join("named.yaml");
    write(&named, "named");
    let config = room.join("config");
    write(&config.join("zhit/layout.yaml"), "usual");
    let worker = || host.zhit(&["worker", "--pool", "none"]).env("XDG_CONFIG_HOME", &config);
    let refused = worker().run().code(2).within(SECOND);
    refused.says("the layout of mine has no pool none; there are: usual");
    worker()
        .env("ZHIT_LAYOUT", &named)
        .run()
        .code(2)
        .says("there are: named");
    // A cluster that the user's layout does not know has none; one that is named must be there.
    let other = ["--cluster", "other", "client", "--wait", "0s", "x"];
    host.zhit(&other).env("XDG_CONFIG_HOME", &config).run().code(4);
    let refused = host.zhit(&other).env("ZHIT_LAYOUT", &named).run().code(2);
    refused.says("it has no cluster other; there are: mine");
    host.stop();
}

#[test]
fn what_is_wrong_with_a_layout_is_said_with_its_place() {
    let host = Host::new();
    let path = host.room().join("layout.yaml");
    fs::write(&path, "cluster: mine\npools:\n  a:\n    handler: [cat]\n    slot: 4\n").expect("written");
    let said = format!(
        "{}:5:5: unknown key \"slot\" in pools.a; did you mean \"slots\"?",
        path.display()
    );
    for command in [&["broker"][..], &["worker"], &["client", "x"], &["ping"]] {
        let refused = host.zhit(command).env("ZHIT_LAYOUT", &path).run().code(2);
        refused.says(&said).within(SECOND);
    }
    let refused = host.zhit(&["--layout", "/no/such/layout.yaml", "ping"]).run().code(2);
    refused.says("cannot read the layout /no/such/layout.yaml");
    host.stop();
}

/// A worker by this layout, which no terminal can hang up on.
fn detached(host: &Host, layout: &Path) -> Process {
    let layout = layout.to_str().expect("a path");
    let zhit = env!("CARGO_BIN_EXE_zhit");
    host.run_program("setsid", &[zhit, "--layout", layout, "worker", "--pool", "p"])
        .start()
}

#[test]
fn a_reload_gives_new_hits_the_new_handler_and_lets_old_ones_finish() {
    let host = Host::new();
    let file = host.room().join("layout.yaml");
    let lay = |pool: &str| fs::write(&file, format!("cluster: default\npools:\n  p: {pool}\n")).expect("a layout");
    let counter = "while read line; do n=$((n+1)); echo $line $n; done";
    lay(&format!("{{slots: 2, framing: lines, warm: 1, handler: '{counter}'}}"));
    let mut worker = detached(&host, &file);
    host.wait_for_slots(2);
    let ask = |arguments: &[&str]| {
        let all = [&["client", "--pool", "p"], arguments].concat();
        host.zhit(&all).run().code(0).quiet().text()
    };
    let key = ask(&["--open"]);
    let key = key.trim();
    assert_eq!(ask(&["--hit", key, "a"]), "a 1\n");

    // What is wrong changes nothing, and is said.
    lay("{slots: 2, handler: [], warm: 1}");
    worker.signal(Signal::HUP);
    worker.wait_for_stderr("layout.yaml:3:");
    worker.wait_for_stderr("all stays as it is");
    assert_eq!(ask(&["b"]), "b 1\n");

    lay("{slots: 3, handler: [tr, a-z, A-Z]}");
    worker.signal(Signal::HUP);
    worker.wait_for_stderr("new Hits of pool p get its handler");
    worker.wait_for_stderr("slots 3 (now 2)");
    assert_eq!(ask(&["c"]), "C\n");
    assert_eq!(ask(&["--hit", key, "d"]), "d 2\n", "its own handler goes on");
    ask(&["--close", key]);
    for _ in 0..2 {
        assert_eq!(ask(&["e"]), "E\n");
    }
    worker.signal(Signal::TERM);
    worker.wait().code(0);
    host.stop();
}

#[test]
fn the_limits_of_a_pool_hold_whatever_its_clients_ask() {
    let host = Host::new();
    let file = host.room().join("layout.yaml");
    let layout = "cluster: default
pools:
  p:
    handler: [sh, -c, 'while read line; do [ $line = hang ] && exec sleep 1000; echo ${#line}; done']
    framing: lines
    limits: {timeout: 300ms, frame_max: 10}
";
    fs::write(&file, layout).expect("a layout");
    let mut worker = detached(&host, &file);
    host.wait_for_slots(1);
    let ask = |arguments: &[&str]| host.zhit(&[&["client", "--pool", "p"], arguments].concat()).run();
    ask(&["0123456789"]).code(0).wrote("10\n");
    ask(&["0123456789a"])
        .code(1)
        .says("longer than 10 bytes")
        .says("frame_max");
    ask(&["hang"]).code(124).says("deadline").within(SECOND);
    ask(&["--timeout", "1h", "hang"]).code(124).within(SECOND);
    worker.signal(Signal::TERM);
    worker.wait().code(0);
    host.stop();
}
