//! Several hosts of one cluster, by real processes: each its own runtime directory and its own address of loopback.

#[path = "support/cluster.rs"]
mod cluster;
#[path = "support/hosts.rs"]
mod hosts;

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use cluster::{Host, Process, Start, eventually};
use hosts::{Cluster, addresses, layout, log};
use rustix::process::{Pid, Signal, kill_process};

const SECOND: Duration = Duration::from_secs(1);

/// Hosts with so many workers each, whose broadcasts run this, and whose brokers have met.
fn serving(names: &[&str], workers: u32, script: &str) -> Cluster {
    let mut cluster = Cluster::new(names);
    for host in &mut cluster.hosts {
        serve(host, workers, script);
    }
    cluster.wait_for_all_to_meet();
    cluster
}

fn serve(host: &mut Host, workers: u32, script: &str) {
    for number in 1..=workers {
        host.start_worker(&["--grace", "0s", "--on-broadcast", script]);
        host.wait_for_slots(number);
    }
}

fn broadcast(host: &Host, arguments: &[&str]) -> Start {
    host.zhit(&[&["broadcast"], arguments].concat())
}

fn signal(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a process id");
    kill_process(pid, signal).expect("it is there");
}

#[test]
fn everybody_on_every_host_answers_whoever_asks() {
    let cluster = serving(&["alpha", "beta", "gamma"], 3, "echo $ZHIT_HOST");
    for host in &cluster.hosts {
        let ended = broadcast(host, &["--fold", "x"]).run().code(0).within(SECOND / 2);
        ended
            .says("expected 9 = 9 ok in 0.")
            .wrote("alpha/w[1-3] (3)\n  alpha\nbeta/w[1-3] (3)\n  beta\ngamma/w[1-3] (3)\n  gamma\n");
    }
    let far = broadcast(&cluster.hosts[0], &["--to", "gamma/w[2-3],beta/w1", "x"])
        .run()
        .code(0);
    let far = far.says("expected 3 = 3 ok");
    let mut lines: Vec<String> = far.text().lines().map(str::to_owned).collect();
    lines.sort();
    assert_eq!(lines, ["beta/w1: beta", "gamma/w2: gamma", "gamma/w3: gamma"]);
    cluster.stop();
}

/// Rule B3: a host that does not answer is named, with evidence; once its neighbours know it, at once.
#[test]
fn a_host_that_is_not_there_is_unreachable() {
    let mut cluster = Cluster::new(&["alpha", "beta"]);
    serve(&mut cluster.hosts[0], 2, "cat");
    let ask = || broadcast(&cluster.hosts[0], &["x"]).run().code(3);
    ask().says("expected 3 = 2 ok + 1 unreachable in ").within(3 * SECOND);
    ask()
        .says("beta unreachable: its broker has not answered for ")
        .says(", says alpha\n")
        .within(SECOND / 2);
    ask().says("expected 3 = 2 ok + 1 unreachable in 0.");
    cluster.stop();
}

/// Rules B1, B2: the roster stays, and nobody runs it twice.
#[test]
fn a_master_that_dies_on_the_way_changes_nothing() {
    let script = "echo $ZHIT_HOST/$ZHIT_WORKER >>$ROOM/ran; until [ -e $ROOM/go ]; do sleep 0.01; done; echo done";
    let cluster = serving(&["alpha", "beta", "gamma"], 3, script);
    let asked = broadcast(&cluster.hosts[0], &["--fold", "x"]).start();
    let ran = |host: &Host| fs::read_to_string(host.room().join("ran")).unwrap_or_default();
    for host in &cluster.hosts {
        eventually("all to run", || (ran(host).lines().count() == 3).then_some(()));
    }
    for host in &cluster.hosts {
        let broker = host.elected().expect("a broker");
        signal(broker, Signal::KILL);
        eventually("the next one", || host.elected().filter(|next| *next != broker));
    }
    cluster.hosts.iter().for_each(|host| host.make_file("go"));
    asked.wait().code(0).says("expected 9 = 9 ok").within(4 * SECOND);
    for host in &cluster.hosts {
        let mut lines: Vec<String> = ran(host).lines().map(str::to_owned).collect();
        lines.sort();
        lines.dedup();
        assert_eq!((lines.len(), ran(host).lines().count()), (3, 3));
    }
    cluster.stop();
}

#[test]
fn hosts_join_and_leave_by_sighup() {
    let names = ["alpha", "beta"];
    let places = addresses(&names);
    let cluster = Cluster::new(&names);
    let write = |names: &[&str]| fs::write(&cluster.layout, layout(names, &places)).expect("a layout");
    write(&["alpha"]);
    let mut hosts = cluster.hosts.into_iter();
    let (mut alpha, mut beta) = (hosts.next().expect("alpha"), hosts.next().expect("beta"));
    serve(&mut alpha, 1, "cat");
    let ask = |wanted: &str| {
        eventually(wanted, || {
            let ended = broadcast(&alpha, &["--fold", "x"]).run();
            let text = ended.text();
            (text == wanted).then_some(())
        });
    };
    ask("alpha/w1 (1)\n  x\n");
    write(&names);
    serve(&mut beta, 1, "cat");
    let broker = alpha.elected().expect("a broker");
    signal(broker, Signal::HUP);
    ask("alpha/w1,beta/w1 (2)\n  x\n");
    assert!(log(&alpha).contains("the layout was read again: 2 hosts of it have an address"));
    // One that is wrong changes nothing.
    fs::write(&cluster.layout, "hosts: 3\n").expect("a layout");
    signal(broker, Signal::HUP);
    eventually("a refusal", || {
        log(&alpha)
            .contains("the layout was not taken over, all stays as it is: ")
            .then_some(())
    });
    write(&["alpha"]);
    signal(broker, Signal::HUP);
    eventually("its leave", || {
        log(&alpha)
            .contains("the layout was read again: 1 hosts of it")
            .then_some(())
    });
    broadcast(&alpha, &["x"]).run().code(0).says("expected 1 = 1 ok");
    assert_eq!(alpha.elected(), Some(broker), "without a restart");
    write(&names);
    beta.stop();
    alpha.stop();
}

#[test]
fn different_layouts_are_said_on_both_hosts() {
    let names = ["alpha", "beta"];
    let mut cluster = Cluster::new(&names);
    let other = cluster.layout.with_file_name("other.yaml");
    let text = fs::read_to_string(&cluster.layout).expect("a layout");
    fs::write(&other, format!("{text}client: {{wait: 3s}}\n")).expect("a layout");
    cluster.hosts[1] = Host::of_cluster("beta", &other, None);
    for host in &mut cluster.hosts {
        serve(host, 1, "cat");
    }
    for (host, told) in cluster.hosts.iter().zip(["beta", "alpha"]) {
        let said = format!("host {told} was told another layout than this one: compare the files");
        eventually(&said, || log(host).contains(&said).then_some(()));
    }
    broadcast(&cluster.hosts[0], &["x"])
        .run()
        .code(0)
        .says("expected 2 = 2 ok");
    cluster.stop();
}

/// An address that cannot be had does not stop the host's own service, and is taken as soon as it is free.
#[test]
fn without_its_address_a_host_serves_itself() {
    let mut cluster = Cluster::new(&["alpha", "beta"]);
    let text = fs::read_to_string(&cluster.layout).expect("a layout");
    let beta = text.lines().find(|line| line.trim().starts_with("beta: "));
    let place = beta.and_then(|line| line.split('"').nth(1)).expect("beta");
    let taken = TcpListener::bind(place).expect("the address");
    for host in &mut cluster.hosts {
        serve(host, 1, "cat");
    }
    let beta = &cluster.hosts[1];
    eventually("a warning", || {
        log(beta)
            .contains("other hosts do not reach this one, whose own service goes on")
            .then_some(())
    });
    beta.client(&["--wait", "2s", "Hello"]).run().code(0).wrote("World\n");
    let seen = beta.zhit(&["ping", "beta"]).run().code(3).text();
    let told = format!("\nlocal only, other hosts do not reach it: cannot listen on {place}: ");
    assert!(seen.contains(&told), "{seen}");
    // It calls all the same.
    broadcast(beta, &["x"]).run().code(0).says("expected 2 = 2 ok");
    broadcast(&cluster.hosts[0], &["x"])
        .run()
        .code(3)
        .says("expected 2 = 1 ok + 1 unreachable");
    drop(taken);
    eventually("its address", || {
        let ended = broadcast(&cluster.hosts[0], &["x"]).run();
        ended.stderr.contains("expected 2 = 2 ok").then_some(())
    });
    let seen = beta.zhit(&["ping", "beta"]).run().code(0).text();
    assert!(!seen.contains("local only"), "{seen}");
    cluster.stop();
}

/// Where this host has no broker, or one that hangs, the others are asked through one of them.
#[test]
fn whoever_has_no_broker_asks_through_another_host() {
    let mut cluster = Cluster::new(&["alpha", "beta", "gamma"]);
    for host in &mut cluster.hosts[1..] {
        serve(host, 2, "echo $ZHIT_HOST");
    }
    let stranger = Host::of_cluster("zeta", &cluster.layout, None);
    let mut hosts = std::mem::take(&mut cluster.hosts).into_iter();
    let mut alpha = hosts.next().expect("alpha");
    let others: Vec<Host> = hosts.collect();
    for host in [&alpha, &stranger] {
        broadcast(host, &["--to", "beta,gamma", "--fold", "x"])
            .run()
            .code(0)
            .wrote("beta/w[1-2] (2)\n  beta\ngamma/w[1-2] (2)\n  gamma\n")
            .within(2 * SECOND);
        host.zhit(&["ping", "gamma/w2/1"])
            .run()
            .code(0)
            .says("this host's broker does not answer: asked through beta\n");
    }
    broadcast(&alpha, &["x"])
        .run()
        .code(3)
        .says("expected 5 = 4 ok + 1 unreachable")
        .says("alpha unreachable: ");
    let is_told = |seen: &str| {
        for host in ["beta", "gamma"] {
            let row = seen.lines().find(|line| line.starts_with(host)).unwrap_or_default();
            assert!(row.ends_with("ok"), "{seen}");
        }
    };
    let seen = alpha.zhit(&["ping"]).run().code(3);
    is_told(&seen.text());
    seen.says("no broker reached at ").says("asked through beta\n");
    // One that hangs, where nobody could vote on it.
    alpha.start_broker(&[]).signal(Signal::STOP);
    broadcast(&alpha, &["--to", "beta,gamma", "--patience", "5s", "x"])
        .run()
        .code(0)
        .says("expected 4 = 4 ok")
        .within(4 * SECOND);
    let seen = alpha.zhit(&["ping"]).run().code(3);
    is_told(&seen.text());
    seen.says("holds this host's lock").says("asked through beta\n");
    alpha.broker().signal(Signal::CONT);
    alpha.zhit(&["ping", "alpha"]).run().code(0);
    alpha.stop();
    others.into_iter().for_each(Host::stop);
}

/// One that is not there is passed over at once; where nobody is, that is said of each.
#[test]
fn the_way_through_another_host_leads_past_those_that_are_not_there() {
    let mut cluster = Cluster::new(&["alpha", "beta", "delta", "gamma"]);
    serve(&mut cluster.hosts[3], 1, "echo $ZHIT_HOST");
    let alpha = &cluster.hosts[0];
    let slow = ["--interval", "1s", "--patience", "5s"];
    broadcast(alpha, &[&slow[..], &["--to", "gamma", "x"]].concat())
        .run()
        .code(0)
        .wrote("gamma/w1: gamma\n")
        .within(3 * SECOND);
    let seen = alpha.zhit(&["ping", "gamma"]).run().code(0).within(3 * SECOND);
    seen.says("asked through gamma\n");
    let gamma = cluster.hosts.pop().expect("gamma");
    gamma.stop();
    let seen = cluster.hosts[0].zhit(&["ping"]).run().code(4).text();
    assert_eq!(seen.matches("not reached: no answer within 0.5s").count(), 3, "{seen}");
    cluster.stop();
}

/// Two hundred at once, from three hosts: each gets its own answers.
#[test]
fn concurrent_broadcasts_do_not_mix() {
    const EACH: usize = 67;
    let cluster = serving(&["alpha", "beta", "gamma"], 2, "cat");
    let ask = |number: usize| -> (String, Process) {
        let text = format!("request {number}");
        let host = &cluster.hosts[number % 3];
        let asked = broadcast(host, &["--patience", "30s", "--fold", &text]).start();
        (text, asked)
    };
    // So many at a time as a small machine starts within patience.
    for batch in (0..EACH * 3).collect::<Vec<_>>().chunks(20) {
        let asked: Vec<_> = batch.iter().map(|number| ask(*number)).collect();
        for (text, asked) in asked {
            let wanted = format!("alpha/w[1-2],beta/w[1-2],gamma/w[1-2] (6)\n  {text}\n");
            asked.wait().code(0).wrote(&wanted);
        }
    }
    cluster.stop();
}

/// `$ZHIT_LAYOUT` may be relative to where a worker was started; the broker that it elects has it all the same.
#[test]
fn an_elected_broker_finds_its_workers_layout() {
    let cluster = Cluster::new(&["alpha", "beta"]);
    let dir = cluster.layout.parent().map(Path::to_owned).expect("a directory");
    let script = format!(
        "cd {} && exec \"$0\" worker --on-broadcast cat --layout layout.yaml",
        dir.display()
    );
    let alpha = &cluster.hosts[0];
    let worker = alpha
        .run_program("sh", &["-c", &script, env!("CARGO_BIN_EXE_zhit")])
        .start();
    alpha.wait_for_slots(1);
    eventually("its address", || {
        log(alpha).contains("other hosts reach this one at 127.").then_some(())
    });
    worker.end_by(Signal::TERM).code(0);
    cluster.stop();
}

#[test]
fn ping_tells_of_every_host_and_of_any_slot() {
    let mut cluster = Cluster::new(&["alpha", "beta", "gamma"]);
    for host in &mut cluster.hosts[..2] {
        serve(host, 2, "cat");
    }
    let alpha = &cluster.hosts[0];
    let row = |text: &str, host: &str| {
        let row = text.lines().find(|line| line.starts_with(&format!("{host} ")));
        row.map(|row| row.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    };
    // Until patience is over, gamma may be about to come.
    let text = eventually("gamma is given up", || {
        let text = alpha.zhit(&["ping"]).run().code(3).text();
        text.contains("not reached: its broker has not answered for ")
            .then_some(text)
    });
    let beta = row(&text, "beta").expect("a row");
    assert_eq!(beta[beta.len() - 5..beta.len() - 2], ["2", "2", "0"], "{text}");
    assert_eq!(beta.last().map(String::as_str), Some("ok"), "{text}");
    let there = alpha.zhit(&["ping", "beta"]).run().code(0).text();
    assert!(
        there.starts_with("beta  broker pid ") && there.contains("2 workers, 2 slots: 2 idle, 0 busy"),
        "{there}"
    );
    let slot = alpha.zhit(&["ping", "beta/w2/1"]).run().code(0).text();
    assert!(slot.contains("beta/w2"), "{slot}");
    alpha
        .zhit(&["ping", "gamma"])
        .run()
        .code(3)
        .says("ping: gamma is not reached: its broker has not answered for ");
    alpha
        .zhit(&["ping", "delta"])
        .run()
        .code(2)
        .says("there is no host delta; there are: alpha, beta, gamma");
    let objects = alpha.zhit(&["ping", "--format", "json"]).run().code(3).text();
    let hosts = objects
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON"));
    let answered: Vec<(String, bool)> = hosts
        .filter(|object| object["kind"] == "probe")
        .map(|object| {
            (
                object["host"].as_str().unwrap_or("").to_owned(),
                object["answered"] == true,
            )
        })
        .collect();
    let wanted = [("alpha", true), ("beta", true), ("gamma", false)].map(|(host, is)| (host.to_owned(), is));
    assert_eq!(answered, wanted);
    cluster.stop();
}

/// A slip in the file costs a host its neighbours, and not its broker.
#[test]
fn a_layout_that_is_wrong_by_now_keeps_no_broker_from_being_elected() {
    let cluster = serving(&["alpha", "beta"], 2, "cat");
    let alpha = &cluster.hosts[0];
    let good = fs::read_to_string(&cluster.layout).expect("a layout");
    let broker = alpha.elected().expect("a broker");
    fs::write(&cluster.layout, "hosts: 3\n").expect("a layout");
    signal(broker, Signal::KILL);
    let next = eventually("the next one", || alpha.elected().filter(|next| *next != broker));
    alpha.wait_for_slots(2);
    assert!(
        log(alpha).contains("broker: this host is served without the others: "),
        "{}",
        log(alpha)
    );
    fs::write(&cluster.layout, good).expect("a layout");
    signal(next, Signal::HUP);
    eventually("its neighbour", || {
        let ended = broadcast(alpha, &["x"]).run();
        ended.stderr.contains("expected 4 = 4 ok").then_some(())
    });
    assert_eq!(alpha.elected(), Some(next));
    cluster.stop();
}
