use crate::protocol::message::Heartbeat;
use std::collections::BTreeSet;

use super::*;
use crate::broker::machine::Config;
use crate::broker::mesh::client_tests;
use crate::protocol::ids::{DirId, Incarnation, SlotId, WorkerId};
use crate::protocol::limits::CALLERS_MAX;
use crate::protocol::message::Register;

pub(super) const INTERVAL: Duration = Duration::from_secs(1);
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
const NAMES: [&str; 3] = ["alpha", "beta", "gamma"];

/// Three brokers whose messages arrive at once, unless the link is cut.
pub(super) struct Bench {
    pub(super) now: Moment,
    pub(super) machines: Vec<Machine>,
    cut: BTreeSet<(usize, usize)>,
    notes: Vec<String>,
    /// What was said to local peers: by whose broker, to whom.
    pub(super) said: Vec<(usize, Peer, Message)>,
    /// Greetings that were sent.
    greets: usize,
}

pub(super) fn peer(name: &str) -> Peer {
    Peer::from_routing_id(name.as_bytes()).expect("a short name")
}

/// The connection that one broker has at another.
fn connection(of: usize) -> Peer {
    peer(NAMES[of]).public()
}

/// Worker 1's REGISTER; of its control connection, if the number is 0.
pub(super) fn register(number: u32, slots: u32) -> Register {
    Register {
        slot: SlotId {
            worker: WorkerId(1),
            number,
        },
        incarnation: Incarnation(1),
        pid: 1,
        slots,
        pool: "default".to_owned(),
        hit: None,
        draining: false,
        journal: true,
        votes: true,
    }
}

pub(super) fn config(host: &str, term: u64) -> Config {
    Config {
        host: host.to_owned(),
        pid: 1,
        term: Term(term),
        dir: DirId([1; 16]),
        version: "0".to_owned(),
        interval: INTERVAL,
        liveness: 3,
        patience: PATIENCE,
        elected: false,
    }
}

impl Bench {
    pub(super) fn new() -> Self {
        let now = Moment::from_micros(1_000_000_000);
        let mut bench = Self {
            now,
            machines: Vec::new(),
            cut: BTreeSet::new(),
            notes: Vec::new(),
            said: Vec::new(),
            greets: 0,
        };
        bench.machines = NAMES.map(|host| Machine::new(now, config(host, 10))).into();
        for at in 0..NAMES.len() {
            bench.join(at, 1, [7; 16]);
        }
        bench
    }

    /// The broker of a host is told of the others.
    fn join(&mut self, at: usize, incarnation: u64, layout: [u8; 16]) {
        let me = Greeting {
            host: NAMES[at].to_owned(),
            term: self.machines[at].config.term,
            incarnation: Incarnation(incarnation),
            layout,
            interval_ms: 1000,
            liveness: 3,
        };
        let others = NAMES.iter().filter(|name| **name != NAMES[at]);
        self.machines[at].set_mesh(self.now, me, others.map(|name| (*name).to_owned()));
    }

    /// Its broker dies, and another one serves.
    fn replace(&mut self, at: usize, term: u64) {
        self.machines[at] = Machine::new(self.now, config(NAMES[at], term));
        self.join(at, term, [7; 16]);
    }

    fn perform(&mut self, at: usize, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Note(host, notice) => self.notes.push(format!("{}: {host} {notice:?}", NAMES[at])),
                Action::Call(host, message) => {
                    self.greets += usize::from(matches!(message, Message::Greet(_)));
                    let to = NAMES.iter().position(|name| *name == host).expect("a host");
                    if !self.cut.contains(&(at, to)) {
                        let mut out = Vec::new();
                        self.machines[to].on_public(self.now, connection(at), message, &mut out);
                        self.perform(to, out);
                    }
                }
                Action::Send(to, message) => {
                    let Some((to, message)) = self.machines[at].relayed(to, message) else {
                        continue;
                    };
                    let caller = NAMES.iter().position(|name| peer(name).public() == to);
                    match caller {
                        Some(caller) if !self.cut.contains(&(caller, at)) => {
                            let mut out = Vec::new();
                            self.machines[caller].on_called(self.now, NAMES[at], message, &mut out);
                            self.perform(caller, out);
                        }
                        Some(_) => {}
                        None => self.said.push((at, to, message)),
                    }
                }
                _ => {}
            }
        }
    }

    pub(super) fn pass(&mut self, span: Duration) {
        let until = self.now + span;
        while self.now < until {
            self.now += INTERVAL / 4;
            for at in 0..NAMES.len() {
                let mut out = Vec::new();
                self.machines[at].on_tick(self.now, &mut out);
                self.perform(at, out);
            }
        }
    }

    /// Somebody at a host asks its broker, and this is what he is told.
    fn ask(&mut self, at: usize, message: Message) -> Vec<Message> {
        self.said.clear();
        let mut out = Vec::new();
        self.machines[at].on_message(self.now, peer("asker"), message, &mut out);
        self.perform(at, out);
        let said = std::mem::take(&mut self.said).into_iter();
        said.filter(|(by, to, _)| *by == at && *to == peer("asker"))
            .map(|(.., message)| message)
            .collect()
    }

    /// As `ask`, of the broker of another host by way of the own one: what came back, or why nothing did.
    fn ask_there(&mut self, at: usize, host: &str, message: &Message) -> Vec<Result<Message, String>> {
        let relay = Message::Relay(Relay {
            host: host.to_owned(),
            path: ReturnPath::default(),
            within: Within::new(message.clone().encode()),
        });
        let told = self.ask(at, relay).into_iter().map(|message| {
            let Message::Relayed(relayed) = message else {
                panic!("{message:?}")
            };
            assert_eq!(relayed.host, host);
            assert_eq!(relayed.path, ReturnPath::default());
            match relayed.within.0 {
                Some(frames) => Ok(Message::decode(&frames.header, frames.body).expect("a message")),
                None => Err(relayed.note.0),
            }
        });
        told.collect()
    }

    fn notes(&mut self) -> Vec<String> {
        let mut notes = std::mem::take(&mut self.notes);
        notes.sort();
        notes
    }
}

const PING: Message = Message::Ping { nonce: 9 };

#[test]
fn all_meet_within_the_first_tick_and_what_is_asked_comes_back() {
    let mut bench = Bench::new();
    bench.pass(INTERVAL / 4);
    let mut all = Vec::new();
    for here in NAMES {
        let others = NAMES.iter().filter(|there| **there != here);
        all.extend(others.map(|there| format!("{here}: {there} Joined(Term(10))")));
    }
    assert_eq!(bench.notes(), all);
    let told = bench.ask_there(0, "gamma", &PING);
    assert!(
        matches!(&told[..], [Ok(Message::Pong(pong))] if pong.host == "gamma" && pong.nonce == 9),
        "{told:?}"
    );
    let greets = bench.greets;
    bench.pass(INTERVAL * 9);
    assert_eq!(bench.greets, greets, "the news are heartbeat enough");
    assert_eq!(bench.notes(), [""; 0]);
}

#[test]
fn who_is_silent_is_asked_and_then_given_up_and_comes_back() {
    let mut bench = Bench::new();
    bench.pass(INTERVAL);
    bench.notes();
    bench.cut.extend([(0, 1), (1, 0)]);
    let greets = bench.greets;
    bench.pass(INTERVAL * 2);
    assert!(bench.greets > greets, "it is asked before it is given up");
    assert_eq!(bench.notes(), [""; 0]);
    bench.pass(INTERVAL * 2);
    let notes = bench.notes();
    assert_eq!(notes.len(), 2, "{notes:?}");
    assert!(notes[0].starts_with("alpha: beta Expired(") && notes[1].starts_with("beta: alpha Expired("));
    assert_eq!(
        bench.ask_there(0, "beta", &PING),
        [],
        "rule B3: it is tried until patience is over"
    );
    bench.pass(PATIENCE);
    let told = bench.ask_there(0, "beta", &PING);
    assert!(
        matches!(&told[..], [Err(note)] if note.contains("has not been heard for ")),
        "{told:?}"
    );
    assert_eq!(bench.ask_there(0, "gamma", &PING).len(), 1);
    bench.cut.clear();
    bench.pass(INTERVAL * 2);
    assert_eq!(
        bench.notes(),
        ["alpha: beta Joined(Term(10))", "beta: alpha Joined(Term(10))"]
    );
    assert_eq!(bench.ask_there(0, "beta", &PING).len(), 1);
}

/// Rule A3: what it is asked right after its own standstill it passes on. Found by a seed of tests/rollcall.
#[test]
fn who_stood_still_himself_says_of_nobody_that_he_is_not_reached() {
    let mut bench = Bench::new();
    bench.pass(INTERVAL);
    bench.cut.extend([(0, 1), (1, 0)]);
    bench.pass(INTERVAL * 4);
    bench.cut.clear();
    // It is stopped meanwhile, and looks into its sockets before it looks at the time.
    bench.now += PATIENCE;
    let told = bench.ask_there(0, "beta", &PING);
    assert!(matches!(&told[..], [Ok(Message::Pong(_))]), "{told:?}");
}

#[test]
fn another_broker_is_recognised_and_a_stale_one_is_not_heard() {
    let mut bench = Bench::new();
    bench.pass(INTERVAL);
    bench.notes();
    bench.replace(1, 11);
    bench.pass(INTERVAL * 3);
    let notes = bench.notes();
    assert!(
        notes.contains(&"alpha: beta Replaced(Term(11))".to_owned()),
        "{notes:?}"
    );
    // One that was stopped wakes up and speaks.
    for message in [
        Message::News(News {
            term: Term(10),
            beat: 1,
            workers: 1,
            pools: Vec::new(),
        }),
        Message::Relayed(Relayed {
            host: "beta".to_owned(),
            path: peer("asker").to_path(),
            term: Term(10),
            note: Note::default(),
            within: Within::new(PING.encode()),
        }),
    ] {
        let (now, mut out) = (bench.now, Vec::new());
        bench.machines[0].on_called(now, "beta", message, &mut out);
        assert_eq!(out, []);
    }
}

#[test]
fn two_layouts_are_told_on_both_hosts_once() {
    let mut bench = Bench::new();
    bench.join(2, 1, [8; 16]);
    bench.pass(INTERVAL * 30);
    let notes = bench.notes();
    let told: Vec<&String> = notes.iter().filter(|note| note.ends_with("OtherLayout")).collect();
    assert_eq!(
        told,
        [
            "alpha: gamma OtherLayout",
            "beta: gamma OtherLayout",
            "gamma: alpha OtherLayout",
            "gamma: beta OtherLayout"
        ]
    );
}

#[test]
fn hosts_leave_and_join_without_a_restart() {
    let mut bench = Bench::new();
    bench.pass(INTERVAL);
    bench.notes();
    let me = bench.machines[0].mesh.me.clone().expect("it was told");
    let now = bench.now;
    bench.machines[0].set_mesh(now, me.clone(), ["gamma".to_owned()]);
    let told = bench.ask_there(0, "beta", &PING);
    assert!(
        matches!(&told[..], [Err(note)] if note.contains("knows no host beta")),
        "{told:?}"
    );
    bench.machines[0].set_mesh(now, me, ["beta".to_owned(), "gamma".to_owned()]);
    bench.pass(INTERVAL);
    assert_eq!(bench.notes(), ["alpha: beta Joined(Term(10))"]);
    assert_eq!(bench.ask_there(0, "beta", &PING).len(), 1);
}

#[test]
fn hosts_that_serve_a_pool_are_hinted_at_the_best_first() {
    let mut bench = Bench::new();
    for (at, slots) in [(1, 1), (2, 3)] {
        for number in 0..=slots {
            let register = register(number, slots);
            let (now, mut out) = (bench.now, Vec::new());
            bench.machines[at].on_message(
                now,
                peer(&format!("slot{number}")),
                Message::Register(register),
                &mut out,
            );
        }
    }
    bench.pass(INTERVAL * 2);
    let hints = bench.machines[0].mesh.hints("default");
    let hints: Vec<(&str, u32)> = hints.iter().map(|hint| (hint.host.as_str(), hint.idle)).collect();
    assert_eq!(hints, [("gamma", 3), ("beta", 1)]);
    assert_eq!(bench.machines[0].mesh.hints("other"), []);
    // One without an idle slot is a place to wait at.
    let (now, mut out) = (bench.now, Vec::new());
    bench.machines[1].on_public(now, peer("client").public(), client_tests::open(), &mut out);
    assert!(
        matches!(&out[..], [.., Action::Send(to, Message::Lease(_))] if *to == peer("slot1")),
        "{out:?}"
    );
    let heartbeat = Message::Heartbeat(Heartbeat {
        term: bench.machines[2].term(),
        beat: 1,
    });
    bench.machines[2].on_message(now, peer("slot0"), heartbeat, &mut out);
    bench.pass(INTERVAL * 2);
    let hints = bench.machines[0].mesh.hints("default");
    let hints: Vec<(&str, u32)> = hints.iter().map(|hint| (hint.host.as_str(), hint.idle)).collect();
    assert_eq!(hints, [("gamma", 3), ("beta", 0)]);
    // Of a worker that is silent no slot is idle: nothing is leased to it.
    bench.pass(INTERVAL * 4);
    let hints = bench.machines[0].mesh.hints("default");
    assert!(hints.len() == 2 && hints.iter().all(|hint| hint.idle == 0), "{hints:?}");
}

#[test]
fn only_questions_reach_a_broker_from_another_host() {
    let mut bench = Bench::new();
    bench.pass(INTERVAL);
    for message in [PING, Message::Farewell] {
        let (now, mut out) = (bench.now, Vec::new());
        bench.machines[0].on_public(now, peer("stranger").public(), message, &mut out);
        let refused = Action::Send(peer("stranger").public(), Message::Disconnect(Disconnect::Unexpected));
        assert_eq!(out, [refused]);
    }
    let relay = |host: &str, path: ReturnPath, message: Message| {
        Message::Relay(Relay {
            host: host.to_owned(),
            path,
            within: Within::new(message.encode()),
        })
    };
    let told = bench.ask_there(0, "beta", &Message::Farewell);
    assert_eq!(told, [Ok(Message::Disconnect(Disconnect::Unexpected))]);
    // One without a broker of its own asks any; but nothing goes further than one hop.
    let (now, mut out) = (bench.now, Vec::new());
    bench.machines[0].on_public(
        now,
        peer("stranger").public(),
        relay("beta", ReturnPath::default(), PING),
        &mut out,
    );
    assert!(matches!(&out[..], [Action::Call(host, _)] if host == "beta"), "{out:?}");
    let mut out = Vec::new();
    bench.machines[0].on_public(
        now,
        connection(1),
        relay("gamma", peer("asker").to_path(), PING),
        &mut out,
    );
    assert!(
        matches!(&out[..], [Action::Send(_, Message::Relayed(told))] if told.note.0 == "this is alpha"),
        "{out:?}"
    );
}

#[test]
fn callers_are_bounded_and_silent_ones_forgotten() {
    let mut bench = Bench::new();
    bench.pass(INTERVAL);
    let now = bench.now;
    let mesh = &mut bench.machines[0].mesh;
    for number in 0..CALLERS_MAX as u32 + 10 {
        let one = Peer::from_routing_id(&number.to_be_bytes()).expect("four bytes");
        mesh.callers.heard(now, one.public());
    }
    assert_eq!(mesh.callers.held(), (CALLERS_MAX, CALLERS_MAX));
    bench.pass(INTERVAL * (GREET_AGAIN_NEWS * 2 + 1));
    let mesh = &bench.machines[0].mesh;
    assert_eq!(mesh.callers.held(), (2, 2));
}

/// News under way from the first host's broker in so long, with so many others.
fn news_of(others: u32, span: Duration, mut each: impl FnMut(&mut Machine, Moment)) -> usize {
    let mut now = Moment::from_micros(1_000_000_000);
    let mut machine = Machine::new(now, config("alpha", 10));
    let me = Greeting {
        host: "alpha".to_owned(),
        term: Term(10),
        incarnation: Incarnation(1),
        layout: [7; 16],
        interval_ms: 1000,
        liveness: 3,
    };
    let hosts = (0..others).map(|number| format!("h{number}"));
    machine.set_mesh(now, me.clone(), hosts.clone());
    for (number, host) in (0u32..).zip(hosts) {
        let greeting = Greeting { host, ..me.clone() };
        let from = peer(&format!("p{number}")).public();
        let mut out = Vec::new();
        machine.on_public(now, from, Message::Greet(greeting), &mut out);
        let [
            Action::Send(_, Message::Greeted(told)),
            Action::Send(_, Message::News(_)),
        ] = &out[..]
        else {
            panic!("{out:?}");
        };
        assert_eq!(
            told.interval_ms,
            1000 * others.div_ceil(3).max(1),
            "it says how often it tells"
        );
    }
    let mut count = 0;
    let until = now + span;
    while now < until {
        now += INTERVAL / 4;
        each(&mut machine, now);
        let mut out = Vec::new();
        machine.on_tick(now, &mut out);
        let is_news = |action: &&Action| matches!(action, Action::Send(_, Message::News(_)));
        count += out.iter().filter(is_news).count();
    }
    count
}

#[test]
fn an_idle_broker_tells_no_more_in_a_large_cluster_than_in_a_small_one() {
    for (others, intervals) in [(1, 1), (3, 1), (10, 4), (49, 17), (1000, 334)] {
        let told = news_of(others, INTERVAL * intervals * 10, |_, _| {}) as u32;
        let wanted = 10 * others;
        assert!(
            (wanted..=wanted + others).contains(&told),
            "{others}: {told}, and not {wanted}"
        );
    }
    // What changes is told within an interval, and no oftener.
    let mut number = 0;
    let told = news_of(49, INTERVAL * 20, |machine, now| {
        number += 1;
        let register = register(number, 100);
        let from = peer(&format!("slot{number}"));
        machine.on_message(now, from, Message::Register(register), &mut Vec::new());
    });
    assert!((49 * 19..=49 * 21).contains(&told), "{told}");
}
