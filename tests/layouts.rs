//! Layouts, through real processes: what they say is what broker, workers and clients do.

#[path = "support/cluster.rs"]
mod cluster;

use std::fs;
use std::path::Path;
use std::time::Duration;

use cluster::{Host, Start};
use rustix::process::Signal;

const SECOND: Duration = Duration::from_secs(1);

/// The layouts at the top of the repository.
const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples.yaml");

/// A command on a layout of the examples.
fn on(host: &Host, cluster: &str, arguments: &[&str]) -> Start {
    let all = [&["--layout", EXAMPLES, "--cluster", cluster], arguments].concat();
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
