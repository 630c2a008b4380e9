//! Five hosts in network namespaces of their own, joined by a bridge: links can be cut. Needs root, `ip`, `nsenter` and
//! `unshare`.

#[path = "support/cluster.rs"]
mod cluster;

use std::cell::Cell;
use std::fs;
use std::time::Duration;

use cluster::{Host, Process, Start, eventually, skipped};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use xxhash_rust::xxh3::xxh3_64;
use zhit::protocol::WorkerId;

const NAMES: [&str; 5] = ["alpha", "beta", "gamma", "delta", "epsilon"];
const WORKERS: usize = 20;
const PATIENCE: Duration = Duration::from_secs(3);

/// Hosts, and the bridge between them.
struct Site {
    hosts: Vec<Host>,
    switch: Process,
    /// They hold the namespaces.
    holders: Vec<Process>,
    #[expect(dead_code, reason = "removed when this is dropped")]
    dir: TempDir,
}

/// A process in a network namespace of its own.
fn namespace() -> Process {
    let own = fs::read_link("/proc/self/ns/net").expect("a namespace");
    let holder = Start::new("unshare", &["-n", "sleep", "600"]).start();
    let its = format!("/proc/{}/ns/net", holder.pid());
    eventually("a namespace", || fs::read_link(&its).ok().filter(|its| *its != own));
    holder
}

/// A command in the namespace of that process; it must do well.
#[track_caller]
fn inside(pid: u32, command: &str) {
    let pid = pid.to_string();
    let words: Vec<&str> = ["-t", &pid, "-n", "--"].into_iter().chain(command.split(' ')).collect();
    Start::new("nsenter", &words).run().code(0);
}

/// Why there can be no namespaces here.
fn missing() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("network namespaces need root".to_owned());
    }
    let tools = ["ip", "nsenter", "unshare"];
    let has = |tool: &&str| Start::new("sh", &["-c", &format!("command -v {tool}")]).run().code == 0;
    if let Some(tool) = tools.iter().find(|tool| !has(tool)) {
        return Some(format!("there is no {tool} (iproute2, util-linux)"));
    }
    let bridge = "ip link add br0 type bridge";
    let made = Start::new("unshare", &["-n", "sh", "-c", bridge]).run();
    (made.code != 0).then(|| format!("no bridge can be made here: {}", made.stderr.trim()))
}

impl Site {
    /// Hosts of these names; each may have further keys in the layout.
    fn new(names: &[&str], keys: &str) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let layout = dir.path().join("layout.yaml");
        let hosts: Vec<String> = (1..)
            .zip(names)
            .map(|(n, name)| format!("  {name}: {{address: \"10.77.0.{n}:7420\"{keys}}}\n"))
            .collect();
        let text = format!(
            "cluster: default\ninsecure: true\nhosts:\n{}timing: {{interval: 500ms, patience: {}s}}\n",
            hosts.concat(),
            PATIENCE.as_secs()
        );
        fs::write(&layout, text).expect("a layout");
        let switch = namespace();
        inside(switch.pid(), "ip link add br0 type bridge");
        inside(switch.pid(), "ip link set br0 up");
        let holders: Vec<Process> = names.iter().map(|_| namespace()).collect();
        for (number, holder) in (1..).zip(&holders) {
            let pid = holder.pid();
            inside(
                switch.pid(),
                &format!("ip link add v{number} type veth peer name eth0 netns {pid}"),
            );
            inside(switch.pid(), &format!("ip link set v{number} master br0 up"));
            inside(pid, &format!("ip addr add 10.77.0.{number}/24 dev eth0"));
            inside(pid, "ip link set eth0 up");
            inside(pid, "ip link set lo up");
        }
        let all = names.iter().zip(&holders);
        Self {
            hosts: all
                .map(|(name, holder)| Host::of_cluster(name, &layout, Some(holder.pid())))
                .collect(),
            switch,
            holders,
            dir,
        }
    }

    /// Takes a host from the net.
    fn cut(&self, host: usize) {
        inside(self.switch.pid(), &format!("ip link set v{} down", host + 1));
    }

    /// Gives it back.
    fn join(&self, host: usize) {
        inside(self.switch.pid(), &format!("ip link set v{} up", host + 1));
    }
}

fn serve(hosts: &mut [Host], script: &str) {
    for host in hosts.iter_mut() {
        for _ in 0..WORKERS {
            host.start_worker(&["--grace", "0s", "--on-broadcast", script]);
        }
    }
    for host in hosts.iter() {
        host.wait_for_slots(WORKERS as u32);
    }
    wait_for_all_to_meet(hosts);
}

fn wait_for_all_to_meet(hosts: &[Host]) {
    for host in hosts {
        eventually("all hosts to meet", || {
            let log = fs::read_to_string(host.runtime_dir().join("broker.log")).unwrap_or_default();
            (log.matches(" is there (term ").count() >= hosts.len() - 1).then_some(())
        });
    }
}

/// The process of a worker.
fn worker(host: &Host, number: u32) -> Pid {
    let pid = Cell::new(0);
    host.wait_for("the worker", |pong| {
        let worker = pong.workers.iter().find(|worker| worker.worker == WorkerId(number));
        pid.set(worker.map_or(0, |worker| worker.pid));
        pid.get() != 0
    });
    i32::try_from(pid.get())
        .ok()
        .and_then(Pid::from_raw)
        .expect("a process id")
}

/// Issue of everything that may become of a member, in one broadcast: the right verdict with evidence for each, balanced
/// books, and an end by patience (rules B1, B3 to B5).
#[test]
fn whatever_becomes_of_a_hundred_members_on_five_hosts_is_told() {
    if let Some(why) = missing() {
        return skipped(&why);
    }
    let mut site = Site::new(&NAMES, "");
    let script = "[ $(cat) = x ] || { echo well; exit 0; }
        echo $$ > $ROOM/$ZHIT_WORKER; case $ZHIT_HOST/$ZHIT_WORKER in
        alpha/w2) echo no disk >&2; exit 3;;
        beta/w3|gamma/w4|epsilon/*) exec sleep 1000;;
        *) echo fine;;
    esac";
    serve(&mut site.hosts, script);
    let ask = |host: &Host, text: &str| host.zhit(&["broadcast", text]);
    ask(&site.hosts[2], "well?")
        .run()
        .code(0)
        .says("expected 100 = 100 ok in ");

    kill_process(worker(&site.hosts[0], 1), Signal::STOP).expect("it is there");
    let asked = ask(&site.hosts[3], "x").start();
    for (host, file) in [(1, "w3"), (2, "w4")] {
        site.hosts[host].wait_for_file(file);
    }
    for number in 1..=WORKERS {
        site.hosts[4].wait_for_file(&format!("w{number}"));
    }
    site.cut(4);
    let late = site.hosts[0].zhit(&["worker", "--on-broadcast", "cat"]).start();
    site.hosts[0].wait_for("the late one", |pong| pong.workers.len() == WORKERS + 1);
    kill_process(worker(&site.hosts[1], 3), Signal::KILL).expect("it is there");
    kill_process(worker(&site.hosts[2], 4), Signal::TERM).expect("it is there");
    let ended = asked.wait().code(3).within(PATIENCE * 2);
    let ended = ended
        .says("expected 100 = 76 ok + 1 failed + 1 hung + 1 dead + 1 left + 20 unreachable in ")
        .says("alpha/w1 hung: loop still for ")
        .says("alpha/w2 failed: exit 3: no disk\n")
        .says("beta/w3 dead: its process ended without goodbye ")
        .says("gamma/w4 left: it said goodbye ")
        .says("epsilon/w20 unreachable: ")
        .says("not asked, for it came after the roster was pinned: alpha/w21\n");
    assert_eq!(ended.stderr.matches(" unreachable: ").count(), WORKERS);
    assert_eq!(ended.text().lines().filter(|line| line.ends_with(": fine")).count(), 76);
    late.end_by(Signal::TERM).code(0);
}

const THREE: [&str; 3] = ["alpha", "beta", "gamma"];

/// Where slots listen for clients of other hosts.
const PORTS: &str = ", direct_ports: 7430-7449";

/// A body that is many windows long.
const BODY_BYTES: usize = 256 * 1024 * 1024;

/// So much of it has gone when something fails.
const SOME_BYTES: usize = 8 * 1024 * 1024;

/// Three hosts, and a Hit that fills the first: its clients go to the others.
fn full_at_alpha() -> (Site, String) {
    let mut site = Site::new(&THREE, PORTS);
    for host in &mut site.hosts {
        host.start_worker(&["--grace", "0s", "--builtin", "echo"]);
    }
    site.hosts.iter().for_each(|host| host.wait_for_slots(1));
    wait_for_all_to_meet(&site.hosts);
    let opened = site.hosts[0].client(&["--open"]).run().code(0).text();
    let key = opened.trim_end().to_owned();
    assert!(key.starts_with("alpha/"), "its own host first: {key}");
    (site, key)
}

/// A large body from alpha and back, when some of it has come back; and the host that echoes it.
fn far_body(site: &Site, flags: &[&str]) -> (Process, u64, usize) {
    let body: Vec<u8> = (0..BODY_BYTES as u64 / 8)
        .flat_map(|word| word.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_le_bytes())
        .collect();
    let digest = xxh3_64(&body);
    let mut client = site.hosts[0].client(flags).stdin(body).digest_stdout().start();
    client.wait_for_stdout(SOME_BYTES);
    let busy = |host: &Host| {
        let pong = host.pong_now();
        pong.is_some_and(|pong| pong.workers.iter().any(|worker| worker.busy == 1))
    };
    let at = eventually("where it went", || (1..3).find(|at| busy(&site.hosts[*at])));
    assert!(client.is_running(), "it is under way");
    (client, digest, at)
}

/// All of it has come back as it was.
fn whole(mut client: Process, digest: u64) {
    client.wait_for_stdout(BODY_BYTES);
    assert_eq!(client.digest(), digest);
    client.wait().code(0);
}

/// Bytes that have come in at those ports.
fn counted(holder: u32) -> u64 {
    let pid = holder.to_string();
    let words = ["-t", &pid, "-n", "--", "iptables", "-L", "INPUT", "-v", "-x", "-n"];
    let said = Start::new("nsenter", &words).run().code(0).text();
    let line = said.lines().find(|line| line.contains("dpts:7430:7449"));
    let bytes = line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok());
    bytes.expect("a counter")
}

#[test]
fn a_body_goes_on_by_the_broker_when_a_firewall_shuts_the_slots_port() {
    if let Some(why) = missing().or_else(no_iptables) {
        return skipped(&why);
    }
    let (site, key) = full_at_alpha();
    for holder in &site.holders {
        // It has no target: it counts.
        inside(holder.pid(), "iptables -A INPUT -p tcp --dport 7430:7449");
    }
    let (client, digest, at) = far_body(&site, &[]);
    let holder = site.holders[at].pid();
    eventually("some of it straight", || {
        (counted(holder) > SOME_BYTES as u64).then_some(())
    });
    inside(holder, "iptables -I INPUT -p tcp --dport 7430:7449 -j DROP");
    whole(client, digest);
    site.hosts[at].wait_for_slots(1);
    site.hosts[0].client(&["--close", &key]).run().code(0);
}

#[test]
fn a_body_goes_on_when_the_only_link_comes_back() {
    if let Some(why) = missing() {
        return skipped(&why);
    }
    let (site, _) = full_at_alpha();
    let (client, digest, at) = far_body(&site, &[]);
    site.cut(0);
    // Its broker has noticed, too, so that both ends have.
    eventually("alpha to be missed", || {
        let log = fs::read_to_string(site.hosts[at].runtime_dir().join("broker.log")).unwrap_or_default();
        log.contains("host alpha is not reached").then_some(())
    });
    site.join(0);
    whole(client, digest);
    site.hosts[at].wait_for_slots(1);
}

#[test]
fn a_link_that_is_cut_for_good_ends_with_the_truth() {
    if let Some(why) = missing() {
        return skipped(&why);
    }
    let (site, _) = full_at_alpha();
    let ttl = format!("{}s", PATIENCE.as_secs());
    let (client, _, at) = far_body(&site, &["--ttl", &ttl]);
    site.cut(0);
    let lost = client.wait().code(6).within(PATIENCE * 2);
    lost.says("the Hit was lost: no broker answered for 3 s; no request was answered; request 1 may have run without an answer");
    // The slot has let go of it by itself (rule A4).
    site.hosts[at].wait_for_slots(1);
}

fn no_iptables() -> Option<String> {
    let has = Start::new("sh", &["-c", "command -v iptables"]).run().code == 0;
    (!has).then(|| "there is no iptables".to_owned())
}
