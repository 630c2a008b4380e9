//! Which thread serves whom.

use std::collections::BTreeSet;

use crate::cluster::{Ended, Host, eventually};

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

#[test]
fn a_slot_tells_what_it_does() {
    let script =
        "echo progress 3 4 'almost there' >&3; echo $$ > $ROOM/started; until [ -e $ROOM/go ]; do sleep 0.01; done";
    let host = Host::with_script(2, &[], script);
    let client = host.client(&["abc"]).start();
    host.wait_for_file("started");
    let told = |target: &str| {
        let text = host.zhit(&["ping", target, "--format", "json"]).run().code(0).text();
        let lines = text.lines().map(|line| serde_json::from_str(line).expect("JSON"));
        lines
            .filter(|object: &serde_json::Value| object["kind"] == "slot")
            .collect::<Vec<_>>()
    };
    let runs = eventually("a slot with its progress", || {
        let both = told("alpha/w1");
        assert_eq!(both.len(), 2, "{both:?}");
        let runs: Vec<_> = both.into_iter().filter(|slot| slot["state"] == "runs").collect();
        assert_eq!(runs.len(), 1, "{runs:?}");
        (!runs[0]["done"].is_null()).then_some(runs)
    });
    let pid = std::fs::read_to_string(host.room().join("started")).expect("its pid");
    assert_eq!(runs[0]["pid"].to_string(), pid.trim());
    assert_eq!(
        (&runs[0]["seq"], &runs[0]["done"], &runs[0]["total"]),
        (&1.into(), &3.into(), &4.into())
    );
    assert_eq!(runs[0]["note"], "almost there");
    let name = runs[0]["slot"].as_str().expect("its name");
    assert_eq!(told(name)[0]["hit"], runs[0]["hit"], "one slot alone");

    host.zhit(&["ping", "alpha/w1/3"])
        .run()
        .code(3)
        .says("alpha/w1 has no slot 3: it has 2 slots");
    host.zhit(&["ping", "alpha/w7"])
        .run()
        .code(3)
        .says("no worker w7; there are: w1");
    host.zhit(&["ping", "beta/w1"])
        .run()
        .code(2)
        .says("there is no host beta; there are: alpha");
    host.zhit(&["ping", "w1"])
        .run()
        .code(2)
        .says("a worker is written with its host: alpha/w1");
    host.make_file("go");
    client.wait().code(0);
    host.stop();
}
