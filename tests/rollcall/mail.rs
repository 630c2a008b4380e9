//! What is under way: over the Unix sockets of hosts, and in one direction of a TCP connection.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::time::Duration;

use zhit::protocol::{Message, Moment};

use crate::network::{Arrived, Pulse};
use crate::rng::Rng;

/// How many of a hundred come twice over a Unix socket, where messages are lost at all.
const REPEATED: f64 = 3.0;

/// One direction of a connection.
#[derive(Default)]
pub(crate) struct Flow {
    pub(crate) queue: VecDeque<(Moment, Message)>,
    last_at: Moment,
}

struct Letter {
    host: usize,
    /// The broker that it was sent to or by: another one's connections are not these.
    term: u64,
    arrived: Arrived,
}

/// All Unix sockets.
pub(crate) struct Mail {
    rng: Rng,
    /// How many of a hundred are lost; if any are, all are late, too, and out of order.
    pub(crate) loss: f64,
    under_way: BinaryHeap<Reverse<(Moment, u64)>>,
    letters: BTreeMap<u64, Letter>,
    sent: u64,
}

impl Flow {
    pub(crate) fn push(&mut self, at: Moment, message: Message) {
        self.last_at = self.last_at.max(at);
        self.queue.push_back((self.last_at, message));
    }

    pub(crate) fn pop(&mut self, now: Moment) -> Option<Message> {
        self.queue
            .pop_front_if(|(at, _)| *at <= now)
            .map(|(_, message)| message)
    }
}

impl Mail {
    pub(crate) fn new(mut rng: Rng) -> Self {
        Self {
            loss: if rng.chance(50.0) { 0.0 } else { 5.0 },
            rng,
            under_way: BinaryHeap::new(),
            letters: BTreeMap::new(),
            sent: 0,
        }
    }

    /// `term`: of the host's broker, which sends it or is to have it.
    pub(crate) fn send(&mut self, now: Moment, (host, term): (usize, u64), make: impl Fn() -> Arrived) {
        let lossy = self.loss > 0.0;
        let copies = if self.rng.chance(self.loss) {
            0
        } else {
            1 + u32::from(lossy && self.rng.chance(REPEATED))
        };
        for _ in 0..copies {
            let delay = if lossy {
                self.rng.millis(1..60)
            } else {
                Duration::from_millis(1)
            };
            self.sent += 1;
            self.under_way.push(Reverse((now + delay, self.sent)));
            let arrived = make();
            self.letters.insert(self.sent, Letter { host, term, arrived });
        }
    }

    pub(crate) fn deliver(&mut self, now: Moment, pulses: &[Pulse], all: &mut Vec<Arrived>) {
        while let Some(Reverse((at, number))) = self.under_way.peek().copied() {
            if at > now {
                return;
            }
            self.under_way.pop();
            // The connection ends with its broker.
            let letter = self.letters.remove(&number);
            let letter = letter.filter(|letter| pulses[letter.host].term == Some(letter.term));
            all.extend(letter.map(|letter| letter.arrived));
        }
    }
}
