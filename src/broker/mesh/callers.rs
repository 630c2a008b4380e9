//! Who calls from other hosts: brokers that want news or relay what others ask, and whoever has no broker of his own. Part
//! of the broker's pure machine.

use std::collections::HashMap;

use crate::protocol::ids::{Caller, Peer};
use crate::protocol::limits::CALLERS_MAX;
use crate::protocol::time::Moment;

/// One of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Called {
    pub(super) number: Caller,
    heard_at: Moment,
    /// It has greeted, and is told the news until then.
    pub(super) news_until: Option<Moment>,
}

/// All of them, each with a number that stands for its connection in ways back.
#[derive(Debug, Default)]
pub(super) struct Callers {
    all: HashMap<Peer, Called>,
    numbers: HashMap<Caller, Peer>,
    last_number: u16,
}

impl Callers {
    /// The one behind this connection, which is heard now, and known from now on.
    pub(super) fn heard(&mut self, now: Moment, peer: Peer) -> &mut Called {
        if !self.all.contains_key(&peer) {
            if self.all.len() >= CALLERS_MAX {
                self.forget_oldest();
            }
            // Those that were given earlier may stand in ways back that are still under way.
            let number = loop {
                self.last_number = self.last_number.wrapping_add(1);
                let number = Caller(self.last_number);
                if !self.numbers.contains_key(&number) {
                    break number;
                }
            };
            self.numbers.insert(number, peer);
        }
        let number = Caller(self.last_number);
        let called = self.all.entry(peer).or_insert(Called {
            number,
            heard_at: now,
            news_until: None,
        });
        called.heard_at = now;
        called
    }

    /// The connection of this number.
    pub(super) fn peer(&self, number: Caller) -> Option<Peer> {
        self.numbers.get(&number).copied()
    }

    /// Those that are to be told the news.
    pub(super) fn readers(&self, now: Moment) -> impl Iterator<Item = Peer> {
        let readers = self.all.iter();
        let readers = readers.filter(move |(_, called)| called.news_until.is_some_and(|until| until > now));
        readers.map(|(peer, _)| *peer)
    }

    /// Forgets those that have not been heard since then.
    pub(super) fn forget_silent(&mut self, since: Moment) {
        let numbers = &mut self.numbers;
        self.all.retain(|_, called| {
            let stays = called.heard_at >= since;
            if !stays {
                numbers.remove(&called.number);
            }
            stays
        });
    }

    fn forget_oldest(&mut self) {
        let oldest = self.all.iter().min_by_key(|(_, called)| called.heard_at);
        if let Some((peer, number)) = oldest.map(|(peer, called)| (*peer, called.number)) {
            self.all.remove(&peer);
            self.numbers.remove(&number);
        }
    }

    #[cfg(test)]
    pub(super) fn held(&self) -> (usize, usize) {
        (self.all.len(), self.numbers.len())
    }
}
