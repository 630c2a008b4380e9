//! The mesh when nobody asks anything: one broker with links to all others. All are alike, so one tells of all.

use std::time::Duration;

use zhit::broker::machine;
use zhit::clock;
use zhit::protocol::{Message, Moment};

use crate::cost::{INTERVAL, RECEIVE, SEND, Tally, wire_bytes};
use crate::members::{broker, greeting, name, peer};

/// Seconds until greetings have found their rhythm, and seconds that are counted.
const WARM_UP: u32 = 20;
const COUNTED: u32 = 20;

/// How often its loop turns at least (rule A1).
const TURNS: u32 = 4;

/// What one broker exchanges with the others in `COUNTED` seconds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Idle {
    counted: Tally,
    /// What the machine itself took, on the machine that ran the test.
    pub(crate) tick: Duration,
}

impl Idle {
    /// Messages that it takes and sends, in a second.
    pub(crate) fn messages(&self) -> f64 {
        self.counted.messages() as f64 / f64::from(COUNTED)
    }

    pub(crate) fn bytes(&self) -> f64 {
        self.counted.bytes() as f64 / f64::from(COUNTED)
    }

    /// Its share of a core, by the cost model.
    pub(crate) fn load(&self) -> f64 {
        let busy = RECEIVE.as_secs_f64() * self.counted.received as f64 + SEND.as_secs_f64() * self.counted.sent as f64;
        busy / f64::from(COUNTED)
    }

    /// What all brokers send in a second: what one sends another one takes.
    pub(crate) fn sent_by_all(&self, hosts: usize) -> f64 {
        self.counted.sent as f64 / f64::from(COUNTED) * hosts as f64
    }
}

pub(crate) fn idle(hosts: usize, workers: u32) -> Idle {
    let mut now = Moment::from_micros(1_000_000_000);
    let mut machine = broker(now, 0, workers);
    machine.set_mesh(now, greeting(0), (1..hosts).map(name));
    let mut idle = Idle::default();
    let mut news = None;
    for turn in 0..(WARM_UP + COUNTED) * TURNS {
        if turn == WARM_UP * TURNS {
            idle.counted = Tally::default();
        }
        let mut out = Vec::new();
        for other in 1..hosts {
            // Others greet this one as it greets them: each ten intervals, not all at once.
            let rhythm = TURNS * 10;
            if turn % rhythm == other as u32 % rhythm || turn == 0 {
                let greet = Message::Greet(greeting(other));
                idle.counted.take(wire_bytes(&greet));
                machine.on_public(now, peer(other as u64).public(), greet, &mut out);
            }
            if let Some(news) = news.as_ref().filter(|_| turn % TURNS == other as u32 % TURNS) {
                idle.counted.take(wire_bytes(news));
                machine.on_called(now, &name(other), news.clone(), &mut out);
            }
        }
        let before = clock::now();
        machine.on_tick(now, &mut out);
        idle.tick = idle.tick.max(clock::now().since(before));
        for action in out {
            match action {
                machine::Action::Send(_, message) => {
                    idle.counted.send(wire_bytes(&message));
                    if matches!(message, Message::News(_)) {
                        // What this one tells, the others tell likewise.
                        news = Some(message);
                    }
                }
                machine::Action::Call(host, message) => {
                    idle.counted.send(wire_bytes(&message));
                    let other: usize = host[1..].parse().expect("a name of ours");
                    let answer = Message::Greeted(greeting(other));
                    idle.counted.take(wire_bytes(&answer));
                    machine.on_called(now, &host, answer, &mut Vec::new());
                }
                _ => {}
            }
        }
        now += INTERVAL / TURNS;
    }
    idle
}
