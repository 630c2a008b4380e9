//! The direct route, through real processes: past the broker, whatever becomes of that; and back to it at the byte.

#[path = "support/cluster.rs"]
mod cluster;
#[path = "support/relay.rs"]
mod relay;

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use cluster::{Host, Process, eventually};
use relay::Relay;
use rustix::process::Signal;
use xxhash_rust::xxh3::xxh3_64;
use zhit::net::{Context, Dealer, Interest, Poll, Received, Sent, endpoint_path};
use zhit::protocol::limits::{FIRST_CREDIT_BYTES, WINDOW_BYTES};
use zhit::protocol::message::{AckPoint, Close, CloseReason, Data, Direction, Lease, Open, Packet, Segment};
use zhit::protocol::message::{Channel, Opened};
use zhit::protocol::{Attach, Attempt, DirId, HitKey, Message, Status, Term};

const SECOND: Duration = Duration::from_secs(1);

/// Long enough for a living peer on a busy machine.
const ANSWER_WAIT: Duration = Duration::from_secs(20);

/// A body that is many windows long.
const BODY_BYTES: usize = 64 * 1024 * 1024;

/// So much of it has gone straight when the route fails.
const SOME_BYTES: u64 = 6 * 1024 * 1024;

/// Short times for what is judged by silence.
const QUICK: [&str; 2] = ["--interval", "100ms"];

fn echoing() -> Host {
    Host::serving(1, &["--builtin", "echo"])
}

fn slot_socket(host: &Host) -> PathBuf {
    host.runtime_dir().join("members/w1.1")
}

/// A relay before the slot's socket, which is there from the first lease on.
fn relayed(host: &Host) -> Relay {
    host.client(&["x"]).run().code(0).wrote("x\n");
    host.wait_for_slots(1);
    Relay::before(&slot_socket(host))
}

fn body() -> Vec<u8> {
    let mut state = 7_u64;
    let words = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        state.to_le_bytes()
    });
    words.take(BODY_BYTES / 8).flatten().collect()
}

/// A line that is longer than all that is said beside the bytes of a round.
const LONG_LINE: usize = 2000;

/// A client whose lines the test writes, and that has gone over to the direct route, both ways.
fn straight(host: &Host, relay: &Relay) -> (Process, usize) {
    let mut client = host.client(&["--lines"]).hold_stdin().start();
    let mut said = 0;
    let mut round = |client: &mut Process| {
        let line = "x".repeat(LONG_LINE - 1) + "\n";
        let stdin = client.stdin.as_mut().expect("held");
        stdin.write_all(line.as_bytes()).expect("a line");
        said += LONG_LINE;
        client.wait_for_stdout(said);
    };
    round(&mut client);
    eventually("both ways by the direct route", || {
        let before = relay.passed();
        round(&mut client);
        let after = relay.passed();
        let long = LONG_LINE as u64;
        (after.0 - before.0 >= long && after.1 - before.1 >= long).then_some(())
    });
    (client, said)
}

fn numbers(from: usize, to: usize) -> String {
    (from..to).fold(String::new(), |all, number| format!("{all}{number:05}\n"))
}

#[test]
fn replies_keep_coming_while_the_broker_is_stopped() {
    let mut host = echoing();
    let relay = relayed(&host);
    let (mut client, said) = straight(&host, &relay);
    host.broker().signal(Signal::STOP);
    let began = zhit::clock::now();
    let stdin = client.stdin.as_mut().expect("held");
    stdin.write_all(numbers(0, 1000).as_bytes()).expect("lines");
    client.wait_for_stdout(said + 6000);
    let took = zhit::clock::now().since(began);
    assert!(took < SECOND, "no broker is waited for: {took:?}");
    let pid = host.broker().pid();
    let state = fs::read_to_string(format!("/proc/{pid}/stat")).expect("it is there");
    assert!(state.contains(") T "), "it is still stopped: {state}");
    drop(client.stdin.take());
    let ended = client.wait().code(0).quiet();
    assert!(ended.text().ends_with(&numbers(0, 1000)));
    host.broker().signal(Signal::CONT);
    host.wait_for_slots(1);
    drop(relay);
    host.stop();
}

#[test]
fn a_pipeline_does_not_notice_that_its_broker_is_killed() {
    let mut host = echoing();
    let relay = relayed(&host);
    let (mut client, said) = straight(&host, &relay);
    let stdin = client.stdin.as_mut().expect("held");
    stdin.write_all(numbers(0, 500).as_bytes()).expect("lines");
    host.take_broker().end_by(Signal::KILL);
    let began = zhit::clock::now();
    stdin.write_all(numbers(500, 1000).as_bytes()).expect("lines");
    client.wait_for_stdout(said + 6000);
    let took = zhit::clock::now().since(began);
    assert!(took < SECOND, "no delay: {took:?}");
    drop(client.stdin.take());
    let ended = client.wait().code(0).quiet();
    assert!(ended.text().ends_with(&numbers(0, 1000)));
    // The next broker learns that the Hit is over.
    host.wait_for_slots(1);
    host.client(&["y"]).run().code(0).wrote("y\n");
    drop(relay);
    host.stop();
}

#[test]
fn a_direct_route_that_comes_back_is_used_again() {
    let host = echoing();
    let relay = relayed(&host);
    let (mut client, mut said) = straight(&host, &relay);
    relay.interrupt();
    let before = relay.passed();
    let long = LONG_LINE as u64;
    eventually("the way back to the direct route", || {
        let line = "x".repeat(LONG_LINE - 1) + "\n";
        client
            .stdin
            .as_mut()
            .expect("held")
            .write_all(line.as_bytes())
            .expect("a line");
        said += LONG_LINE;
        client.wait_for_stdout(said);
        let after = relay.passed();
        (after.0 - before.0 >= long && after.1 - before.1 >= long).then_some(())
    });
    assert_eq!(relay.connections(), 2);
    // It waited for that, and did not spin, which would cost most of three seconds.
    let stat = fs::read_to_string(format!("/proc/{}/stat", client.pid())).expect("it runs");
    let times: Vec<u64> = stat
        .split(' ')
        .skip(13)
        .take(2)
        .filter_map(|ticks| ticks.parse().ok())
        .collect();
    assert!(
        times.iter().sum::<u64>() < 80,
        "clock ticks in user and kernel mode: {times:?}"
    );
    drop(client.stdin.take());
    client.wait().code(0).quiet();
    drop(relay);
    host.stop();
}

#[test]
fn a_client_that_no_broker_knows_learns_of_its_workers_death() {
    let mut host = echoing();
    let relay = relayed(&host);
    let (client, _) = straight(&host, &relay);
    host.take_broker().end_by(Signal::KILL);
    host.wait_for("the Hit at the next broker", |pong| {
        pong.workers.iter().any(|worker| worker.busy == 1)
    });
    let began = zhit::clock::now();
    host.take_first_worker().end_by(Signal::KILL);
    let lost = client.wait().code(6);
    let took = zhit::clock::now().since(began);
    assert!(
        took < 2 * SECOND,
        "it asks as soon as its connection has ended: {took:?}"
    );
    lost.says("its worker died");
    drop(relay);
    host.stop();
}

/// A large body each way, while the direct route fails in this way; the reply is what was sent.
fn large_body_survives(fails: impl FnOnce(&Relay)) {
    large_body_of(&[], fails);
}

/// The same, with these flags, which may name a Hit that another client has opened.
fn large_body_of(flags: &[&str], fails: impl FnOnce(&Relay)) {
    let host = echoing();
    let relay = relayed(&host);
    let opened = flags
        .contains(&"--hit")
        .then(|| host.client(&["--open"]).run().code(0).text());
    let name: Vec<&str> = opened.iter().map(|name| name.trim()).collect();
    let body = body();
    let digest = xxh3_64(&body);
    let arguments = [&QUICK, flags, &name[..]].concat();
    let client = host.client(&arguments).stdin(body).digest_stdout().start();
    eventually("some of the body by the direct route", || {
        let (to_slot, to_client) = relay.passed();
        (to_slot > SOME_BYTES && to_client > SOME_BYTES).then_some(())
    });
    fails(&relay);
    let (to_slot, _) = relay.passed();
    assert!(to_slot < BODY_BYTES as u64, "it failed in the middle");
    let (digested, ended) = finish(client);
    ended.code(0).quiet();
    assert_eq!(digested, (BODY_BYTES, digest));
    if let [name] = name[..] {
        host.client(&["--close", name]).run().code(0);
    }
    host.wait_for_slots(1);
    drop(relay);
    host.stop();
}

/// Waits for the end; how much it wrote, and the digest of that.
fn finish(mut client: Process) -> ((usize, u64), cluster::Ended) {
    eventually("the client's end", || (!client.is_running()).then_some(()));
    client.wait_for_stdout(BODY_BYTES);
    let digest = client.digest();
    ((BODY_BYTES, digest), client.wait())
}

#[test]
fn a_body_goes_on_by_the_broker_when_its_connection_breaks() {
    large_body_survives(Relay::break_off);
}

#[test]
fn a_body_of_a_hit_that_another_opened_goes_on_by_the_broker() {
    large_body_of(&["--hit"], Relay::break_off);
}

#[test]
fn a_body_goes_on_by_the_broker_when_its_connection_falls_silent() {
    large_body_survives(Relay::swallow);
}

#[test]
fn a_slot_whose_socket_is_gone_is_reached_by_the_broker() {
    let host = echoing();
    host.client(&["x"]).run().code(0);
    host.wait_for_slots(1);
    fs::remove_file(slot_socket(&host)).expect("its socket");
    let body = body();
    let digest = xxh3_64(&body);
    let client = host.client(&[]).stdin(body).digest_stdout().start();
    let (digested, ended) = finish(client);
    ended.code(0).quiet();
    assert_eq!(digested, (BODY_BYTES, digest));
    host.stop();
}

#[test]
fn a_route_can_be_forced() {
    let host = echoing();
    let relay = relayed(&host);
    let lines = numbers(0, 1000);
    let by_broker = host
        .client(&["--route", "broker", "--lines"])
        .stdin(lines.clone())
        .run();
    by_broker.code(0).quiet().wrote(&lines);
    assert_eq!(relay.connections(), 0, "it never connects to the slot");
    host.wait_for_slots(1);
    let direct = host
        .client(&["--route", "direct", "--lines"])
        .stdin(lines.clone())
        .run();
    direct.code(0).quiet().wrote(&lines);
    assert_eq!(relay.connections(), 1);
    let (to_slot, to_client) = relay.passed();
    assert!(to_slot > 6000 && to_client > 6000, "all of it went straight");
    host.wait_for_slots(1);
    relay.swallow();
    let arguments = ["--route", "direct", "--wait", "300ms", "x"];
    let refused = host.client(&arguments).run().code(6).wrote("");
    refused
        .says("its slot's own socket did not answer within --wait (300ms)")
        .says("request 1 and later never ran");
    host.wait_for_slots(1);
    drop(relay);
    host.stop();
}

// What a stranger gets.

fn connected(context: &Context, path: &std::path::Path) -> Dealer {
    let mut dealer = Dealer::new(context).expect("a socket");
    dealer.connect(path).expect("a path");
    let mut poll = Poll::new();
    let key = poll.socket(&dealer, Interest::WRITE);
    assert!(
        poll.wait(Some(ANSWER_WAIT)).expect("a wait").writable(key),
        "no connection"
    );
    dealer
}

fn say(dealer: &mut Dealer, message: &Message) {
    assert_eq!(dealer.send(message.encode()).expect("a socket"), Sent::Done);
}

fn hear(dealer: &mut Dealer) -> Message {
    let mut poll = Poll::new();
    poll.socket(&*dealer, Interest::READ);
    poll.wait(Some(ANSWER_WAIT)).expect("a wait");
    match dealer.recv().expect("a socket") {
        Some(Received::Frames(frames)) => Message::decode(&frames.header, frames.body).expect("a message"),
        other => panic!("no answer: {other:?}"),
    }
}

fn open(key: HitKey) -> Message {
    Message::Open(Open {
        hit: key,
        attach: Attach(1),
        attempt: Attempt(1),
        queue: true,
        moves: false,
        close_after: false,
        resume: false,
        term: Term(0),
        dir: DirId::default(),
        age_ms: 0,
        ttl_ms: 15_000,
        timeout_ms: 0,
        holder: None,
        pool: "default".to_owned(),
        packet: Packet {
            ack: start(),
            seq: 1,
            ..Packet::default()
        },
    })
}

fn start() -> AckPoint {
    AckPoint {
        seq: 1,
        offset: 0,
        limit: WINDOW_BYTES,
    }
}

fn request(key: HitKey, attach: u32) -> Message {
    Message::Data(Data {
        hit: key,
        attach: Attach(attach),
        direction: Direction::ToSlot,
        packet: Packet {
            ack: start(),
            seq: 1,
            offset: 0,
            segments: vec![Segment {
                channel: Channel::Body,
                length: 5,
                end: Some(Status::Ok),
            }],
            body: "never".into(),
        },
    })
}

fn keep_alive(key: HitKey, attach: u32) -> Message {
    Message::KeepAlive {
        hit: key,
        attach: Attach(attach),
        ack: start(),
    }
}

#[test]
fn a_stranger_without_the_key_gets_nothing() {
    let host = Host::with_script(1, &[], "echo ran >> $ROOM/ran; cat");
    let context = Context::new().expect("a context");
    let mut client = connected(&context, &host.runtime_dir().join("broker.sock"));
    let (key, other) = (HitKey::from_bytes([1; 16]), HitKey::from_bytes([2; 16]));
    say(&mut client, &open(key));
    let Message::Opened(Opened { endpoints, ack, .. }) = hear(&mut client) else {
        panic!("the Hit is opened")
    };
    assert!(ack.limit >= FIRST_CREDIT_BYTES);
    let path = endpoint_path(&endpoints[0]).expect("an ipc endpoint");
    assert_eq!(path, slot_socket(&host));
    let mode = fs::metadata(path.parent().expect("members"))
        .expect("members")
        .permissions();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&mode) & 0o777, 0o700);

    let mut stranger = connected(&context, path);
    let close = |hit, attach| {
        let (attach, reason, ack) = (Attach(attach), CloseReason::Abandoned, start());
        Message::Close(Close {
            hit,
            attach,
            reason,
            ack,
        })
    };
    let lease = Lease {
        hit: other,
        attach: Attach(1),
        attempt: Attempt(1),
        close_after: false,
        resume: false,
        term: Term(u64::MAX),
        ttl_ms: 1,
        timeout_ms: 0,
        holder: None,
        packet: Packet::default(),
    };
    for message in [
        keep_alive(other, 1),
        request(other, 1),
        close(other, 1),
        // Of the Hit, but not by whoever holds it; and the holder's, who does not speak here.
        request(key, 2),
        close(key, 2),
        keep_alive(key, 2),
        close(key, 0),
        keep_alive(key, 0),
        // What only a broker may say.
        Message::Lease(lease),
        Message::Released { hit: key },
        Message::Farewell,
        Message::Ping { nonce: 1 },
        open(key),
        open(other),
    ] {
        say(&mut stranger, &message);
    }
    // All of that has been read when this is answered, and this is the first answer.
    say(&mut stranger, &keep_alive(key, 1));
    let Message::Working(working) = hear(&mut stranger) else {
        panic!("who has the key is heard")
    };
    assert_eq!((working.hit, working.attach, working.seq), (key, Attach(1), 0));
    assert!(!host.room().join("ran").exists(), "nothing ran");
    say(&mut stranger, &close(key, 1));
    let Message::Closed(closed) = hear(&mut stranger) else {
        panic!("who closes straight is told so straight")
    };
    assert_eq!(closed.hit, key);
    host.wait_for_slots(1);
    host.stop();
}
