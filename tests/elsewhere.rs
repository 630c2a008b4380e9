//! Hits on other hosts than their clients': where a slot is idle, by their brokers and straight over tcp.

#[path = "support/cluster.rs"]
mod cluster;
#[path = "support/hosts.rs"]
mod hosts;

use std::collections::BTreeSet;
use std::io::Write as _;

use cluster::{Host, Process, eventually};
use hosts::Cluster;
use rustix::process::{Pid, Signal, kill_process};

const NAMES: [&str; 3] = ["alpha", "beta", "gamma"];

/// Three hosts with a worker of so many slots each, whose brokers have met and know of each other's slots.
fn serving(slots: u32, worker: &[&str]) -> Cluster {
    let mut cluster = Cluster::new(&NAMES);
    let count = slots.to_string();
    for host in &mut cluster.hosts {
        host.start_worker(&[&["--grace", "0s", "--slots", &count], worker].concat());
    }
    cluster.hosts.iter().for_each(|host| host.wait_for_slots(slots));
    cluster.wait_for_all_to_meet();
    cluster
}

fn open(host: &Host) -> String {
    let opened = host.client(&["--open"]).run().code(0);
    opened.text().trim_end().to_owned()
}

fn close(host: &Host, key: &str) {
    host.client(&["--close", key]).run().code(0);
}

fn host_of(key: &str) -> &str {
    key.split('/').next().unwrap_or_default()
}

/// Rule O6: the own host first, then where a slot is idle; in line only when all are full, and nobody is leased twice.
#[test]
fn hits_of_a_full_host_go_to_the_idle_ones() {
    let cluster = serving(2, &["--builtin", "whoami"]);
    let alpha = &cluster.hosts[0];
    let mut keys: Vec<String> = (0..2).map(|_| open(alpha)).collect();
    assert!(
        keys.iter().all(|key| host_of(key) == "alpha"),
        "its own first: {keys:?}"
    );
    // One after the other, each when the news of the one before has come round.
    for _ in 0..4 {
        keys.push(open(alpha));
    }
    let count = |name: &str| keys.iter().filter(|key| host_of(key) == name).count();
    assert_eq!(NAMES.map(count), [2, 2, 2], "{keys:?}");
    let slots: BTreeSet<String> = keys
        .iter()
        .map(|key| {
            let said = alpha.client(&["--hit", key, "who"]).run().code(0).text();
            said.split(" thread").next().unwrap_or_default().to_owned()
        })
        .collect();
    assert_eq!(slots.len(), 6, "each has a slot of its own: {slots:?}");
    let full = alpha.client(&["--wait", "300ms", "x"]).run().code(5).wrote("");
    full.says("no slot became free within --wait: 2 of 2 slots are leased and 0 clients waited before this one");
    // In line at its own host, it gets the slot that becomes free there.
    let waiting = alpha.client(&["--wait", "20s", "mine"]).start();
    alpha.wait_for("one in line", |pong| pong.queued == 1);
    close(alpha, &keys[0]);
    assert!(waiting.wait().code(0).text().starts_with("alpha/w1/"));
    keys[1..].iter().for_each(|key| close(alpha, key));
    cluster.stop();
}

/// Many at once, from every host: all are served, and no slot has two Hits at a time.
#[test]
fn many_clients_of_all_hosts_share_all_slots() {
    let script = "mkdir $ROOM/${ZHIT_SLOT#*/} || exit 1; cat; rmdir $ROOM/${ZHIT_SLOT#*/}";
    let cluster = serving(2, &["--", "sh", "-c", script]);
    let clients: Vec<(String, Process)> = (0..60)
        .map(|number| {
            let host = &cluster.hosts[number % 3];
            let text = format!("client {number}");
            let started = host.client(&["--wait", "30s", &text]).start();
            (text, started)
        })
        .collect();
    for (text, client) in clients {
        client.wait().code(0).wrote(&format!("{text}\n"));
    }
    cluster.stop();
}

#[test]
fn a_client_whose_host_has_no_broker_asks_another() {
    let mut cluster = Cluster::new(&NAMES);
    cluster.hosts[1].start_worker(&["--grace", "0s", "--builtin", "whoami"]);
    cluster.hosts[1].wait_for_slots(1);
    // Its own host has not even a directory, and gamma's broker is not there, either.
    let said = cluster.hosts[2].client(&["a", "b"]).run().code(0).text();
    assert_eq!(said.matches("beta/w1/1 thread").count(), 2, "{said}");
    cluster.hosts[1].take_worker().end_by(Signal::TERM).code(0);
    cluster.hosts[1].wait_for_elected_to_leave();
    let nobody = cluster.hosts[2].client(&["--wait", "2s", "x"]).run().code(4).wrote("");
    nobody
        .says("neither this host's at ")
        .says("nor that of any other host of the layout");
    cluster.stop();
}

#[test]
fn a_pool_is_waited_for_where_it_is_served() {
    let mut cluster = Cluster::new(&NAMES);
    cluster.hosts[0].start_worker(&["--grace", "0s", "--pool", "other"]);
    cluster.hosts[1].start_worker(&["--grace", "0s", "--builtin", "whoami"]);
    cluster.hosts[2].start_worker(&["--grace", "0s", "--pool", "third"]);
    cluster.hosts.iter().for_each(|host| host.wait_for_slots(1));
    cluster.wait_for_all_to_meet();
    let key = open(&cluster.hosts[0]);
    assert_eq!(host_of(&key), "beta");
    let waiting = cluster.hosts[0].client(&["--wait", "20s", "x"]).start();
    cluster.hosts[1].wait_for("one in line at beta", |pong| pong.queued == 1);
    close(&cluster.hosts[2], &key);
    assert!(waiting.wait().code(0).text().starts_with("beta/w1/1 "));
    cluster.stop();
}

#[test]
fn a_hit_of_another_host_is_used_held_and_closed_by_its_name() {
    let cluster = serving(1, &["--builtin", "whoami"]);
    let [alpha, beta, gamma] = [0, 1, 2].map(|at| &cluster.hosts[at]);
    let own = open(alpha);
    // Both others are asked for by a holder whose host is full.
    let zhit = env!("CARGO_BIN_EXE_zhit");
    let script = format!("echo $ZHIT_HIT; {zhit} client a; {zhit} client b");
    let held = alpha.client(&["--hold", "--", "sh", "-c", &script]).run().code(0);
    let text = held.text();
    let (name, said) = text.split_once('\n').unwrap_or_default();
    assert_ne!(host_of(name), "alpha");
    assert_eq!(
        said.matches(&format!("{}/w1/1 thread", host_of(name))).count(),
        2,
        "{said}"
    );
    assert!(said.ends_with("request 2\n"), "one Hit: {said}");
    gamma.wait_for_slots(1);
    beta.wait_for_slots(1);
    let far = gamma.client(&["--hit", &own, "x"]).run().code(0).text();
    assert!(far.starts_with("alpha/w1/1 thread"), "{far}");
    close(gamma, &own);
    alpha.wait_for_slots(1);
    cluster.stop();
}

fn lines(from: usize, to: usize) -> String {
    (from..to).fold(String::new(), |all, number| format!("{all}{number:05}\n"))
}

/// A client of alpha, which is full, whose lines the test writes.
fn far_client(cluster: &Cluster, route: &str) -> (String, Process, usize) {
    let own = open(&cluster.hosts[0]);
    // In line at first, if the news of the others' slots are still under way.
    let mut client = cluster.hosts[0]
        .client(&["--lines", "--route", route])
        .hold_stdin()
        .start();
    client
        .stdin
        .as_mut()
        .expect("held")
        .write_all(b"first\n")
        .expect("a line");
    client.wait_for_stdout(6);
    let busy = |host: &&Host| {
        host.pong_now()
            .is_some_and(|pong| pong.workers.iter().any(|worker| worker.busy == 1))
    };
    let at = eventually("where it went", || (1..3).find(|at| busy(&&cluster.hosts[*at])));
    (own, client, at)
}

/// The death of another host's broker is not noticed by who speaks straight to its slot, and one that went by it resumes.
fn far_broker_is_killed(route: &str) {
    let cluster = serving(1, &["--builtin", "echo"]);
    let (own, mut client, at) = far_client(&cluster, route);
    let write = |client: &mut Process, text: &str| {
        let stdin = client.stdin.as_mut().expect("held");
        stdin.write_all(text.as_bytes()).expect("lines");
    };
    write(&mut client, &lines(0, 500));
    let broker = cluster.hosts[at].elected().expect("an elected broker");
    let broker = i32::try_from(broker).ok().and_then(Pid::from_raw).expect("a pid");
    kill_process(broker, Signal::KILL).expect("it is there");
    write(&mut client, &lines(500, 1000));
    client.wait_for_stdout(6 + 6000);
    drop(client.stdin.take());
    let ended = client.wait().code(0).quiet();
    assert_eq!(ended.text(), format!("first\n{}", lines(0, 1000)));
    cluster.hosts[at].wait_for_slots(1);
    close(&cluster.hosts[0], &own);
    cluster.stop();
}

#[test]
fn another_hosts_broker_dies_beside_the_direct_route() {
    far_broker_is_killed("direct");
}

#[test]
fn another_hosts_broker_dies_under_a_hit() {
    far_broker_is_killed("broker");
}
