//! The mesh when nobody asks anything: one broker with links to all others. All are alike, so one tells of all.

use std::time::Duration;

use zhit::broker::machine::{self, Machine};
use zhit::clock;
use zhit::protocol::{Message, Moment};

use crate::cost::{INTERVAL, RECEIVE, SEND, Tally, wire_bytes};
use crate::members::{broker, greeting, hear_all, name, pace, peer};

/// How often its loop turns at least in an interval (rule A1).
const TURNS: u32 = 4;

/// Paces from one greeting to the next; so many are counted, and of very many hosts, whose paces are long, one.
const GREETS_EACH: u32 = 10;
const HOSTS_BEARABLE: usize = 1000;

/// What one broker exchanges with the others.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Idle {
    counted: Tally,
    seconds: f64,
    /// What the machine itself took, on the machine that ran the test.
    pub(crate) tick: Duration,
}

impl Idle {
    /// Messages that it takes and sends, in a second.
    pub(crate) fn messages(&self) -> f64 {
        self.counted.messages() as f64 / self.seconds
    }

    pub(crate) fn bytes(&self) -> f64 {
        self.counted.bytes() as f64 / self.seconds
    }

    /// Its share of a core, by the cost model.
    pub(crate) fn load(&self) -> f64 {
        let busy = RECEIVE.as_secs_f64() * self.counted.received as f64 + SEND.as_secs_f64() * self.counted.sent as f64;
        busy / self.seconds
    }

    /// What all brokers send in a second: what one sends another one takes.
    pub(crate) fn sent_by_all(&self, hosts: usize) -> f64 {
        self.counted.sent as f64 / self.seconds * hosts as f64
    }
}

/// Others speak evenly spread over a pace, in this of so many turns.
const fn turn_of(other: usize, turns: u32) -> u32 {
    other as u32 % turns
}

/// They have known each other for long: greetings are spread over the paces, and each has told its news in the last one.
fn meet(machine: &mut Machine, began: Moment, hosts: usize) -> Message {
    let turns = TURNS * (pace(hosts).as_secs() / INTERVAL.as_secs()) as u32;
    let mut news = None;
    machine.set_mesh(began, greeting(0, hosts), (1..hosts).map(name));
    for other in 1..hosts {
        let mut out = Vec::new();
        let greet = Message::Greet(greeting(other, hosts));
        machine.on_public(began, peer(other as u64).public(), greet, &mut out);
        let told = out.into_iter().find_map(|action| match action {
            machine::Action::Send(_, message @ Message::News(_)) => Some(message),
            _ => None,
        });
        // What this one tells, the others tell likewise.
        let told = told.expect("who has greeted is told the news");
        let greeted_before = pace(hosts) * GREETS_EACH * other as u32 / hosts as u32;
        let greeted = Message::Greeted(greeting(other, hosts));
        machine.on_called(began.before(greeted_before), &name(other), greeted, &mut Vec::new());
        let told_at = began.before(pace(hosts)) + INTERVAL / TURNS * turn_of(other, turns);
        machine.on_called(told_at, &name(other), told.clone(), &mut Vec::new());
        news = Some(told);
    }
    news.expect("there are others")
}

pub(crate) fn idle(hosts: usize, workers: u32) -> Idle {
    let began = Moment::from_micros(1_000_000_000_000);
    let mut machine = broker(began, 0, workers);
    let news = meet(&mut machine, began, hosts);
    let paces = if hosts > HOSTS_BEARABLE { 1 } else { GREETS_EACH };
    let turns = TURNS * (pace(hosts).as_secs() / INTERVAL.as_secs()) as u32;
    let mut idle = Idle {
        seconds: pace(hosts).as_secs_f64() * f64::from(paces),
        ..Idle::default()
    };
    // Who speaks in which turn of a pace.
    let mut speakers = vec![Vec::new(); turns as usize];
    (1..hosts).for_each(|other| speakers[turn_of(other, turns) as usize].push(other));
    for turn in 0..turns * paces {
        let now = began + INTERVAL / TURNS * turn;
        let mut out = Vec::new();
        if turn % TURNS == 0 {
            hear_all(&mut machine, now, workers);
        }
        for &other in &speakers[(turn % turns) as usize] {
            idle.counted.take(wire_bytes(&news));
            machine.on_called(now, &name(other), news.clone(), &mut out);
            if other as u32 % GREETS_EACH == turn / turns {
                let greet = Message::Greet(greeting(other, hosts));
                idle.counted.take(wire_bytes(&greet));
                machine.on_public(now, peer(other as u64).public(), greet, &mut out);
            }
        }
        let before = clock::now();
        machine.on_tick(now, &mut out);
        idle.tick = idle.tick.max(clock::now().since(before));
        idle.perform(&mut machine, now, hosts, out);
    }
    idle
}

impl Idle {
    /// Counts what it says, and those that it greets answer.
    fn perform(&mut self, machine: &mut Machine, now: Moment, hosts: usize, out: Vec<machine::Action>) {
        for action in out {
            match action {
                machine::Action::Send(_, message) => self.counted.send(wire_bytes(&message)),
                machine::Action::Call(host, message) => {
                    self.counted.send(wire_bytes(&message));
                    let other: usize = host[1..].parse().expect("a name of ours");
                    let answer = Message::Greeted(greeting(other, hosts));
                    self.counted.take(wire_bytes(&answer));
                    machine.on_called(now, &host, answer, &mut Vec::new());
                }
                _ => {}
            }
        }
    }
}
