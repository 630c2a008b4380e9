//! Which thread serves whom.

use std::collections::BTreeSet;

use crate::cluster::{Ended, Host};

/// Thread ids and request numbers, as `whoami` tells them.
fn threads(ended: &Ended) -> Vec<(u64, u64)> {
    let number = |line: &str, before: &str| {
        let mut words = line.split(' ').skip_while(|word| *word != before);
        words.nth(1).and_then(|word| word.parse().ok())
    };
    let of_line = |line: &str| number(line, "thread").zip(number(line, "request"));
    ended
        .text()
        .lines()
        .map(|line| of_line(line).expect("whoami's line"))
        .collect()
}

#[test]
fn hello_needs_nothing_but_the_command() {
    let host = Host::new();
    let hello = host.client(&["--local", "Hello"]).env("TMPDIR", host.room());
    hello.run().code(0).wrote("World\n").quiet();
    let left = std::fs::read_dir(host.room()).expect("the room").count();
    assert_eq!(left, 0, "--local leaves nothing in the temporary directory");
    host.assert_nothing_left();
}

#[test]
fn a_hit_stays_on_one_thread() {
    let host = Host::new();
    let ended = host
        .client(&["--local", "--builtin", "whoami", "a", "b", "c"])
        .run()
        .code(0)
        .quiet();
    let seen = threads(&ended);
    assert_eq!(seen.iter().map(|(_, request)| *request).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(
        seen.iter().map(|(thread, _)| thread).collect::<BTreeSet<_>>().len(),
        1,
        "{seen:?}"
    );
}

#[test]
fn ten_hits_at_once_keep_to_their_threads_and_use_all_four() {
    let host = Host::serving(4, &["--builtin", "whoami"]);
    let clients: Vec<_> = (0..10)
        .map(|_| host.client(&["--wait", "30s", "a", "b", "c"]).start())
        .collect();
    let mut all = BTreeSet::new();
    for client in clients {
        let seen = threads(&client.wait().code(0).quiet());
        assert_eq!(seen.iter().map(|(_, request)| *request).collect::<Vec<_>>(), [1, 2, 3]);
        let own: BTreeSet<_> = seen.iter().map(|(thread, _)| *thread).collect();
        assert_eq!(own.len(), 1, "{seen:?}");
        all.extend(own);
    }
    assert_eq!(all.len(), 4, "four slots are four threads, and all are used: {all:?}");
    host.stop();
}

#[test]
fn the_slot_that_was_idle_longest_is_next() {
    let host = Host::serving(4, &["--builtin", "whoami"]);
    let order: Vec<_> = (0..8)
        .map(|_| {
            let ended = host.client(&["x"]).run().code(0);
            host.wait_for_slots(4);
            threads(&ended)[0].0
        })
        .collect();
    assert_eq!(order.iter().collect::<BTreeSet<_>>().len(), 4, "{order:?}");
    assert_eq!(order[..4], order[4..], "the four take turns");
    host.stop();
}

#[test]
fn pools_are_apart() {
    let mut host = Host::serving(1, &["--pool", "one"]);
    host.start_worker(&["--pool", "two", "--builtin", "echo"]);
    host.wait_for_slots(2);
    host.client(&["--pool", "one", "x"]).run().code(0).wrote("World\n");
    host.client(&["--pool", "two", "x"]).run().code(0).wrote("x\n");
    host.stop();
}
