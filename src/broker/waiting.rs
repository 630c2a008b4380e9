//! OPENs in line, first come first served per pool, and the keys of Hits that are over. Part of the broker's pure
//! machine.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use crate::protocol::ids::{Attach, Attempt, HitKey, Peer};
use crate::protocol::limits::ENDED_KEYS_MAX;
use crate::protocol::message::{ClosedReason, Open, Packet};
use crate::protocol::time::Moment;

/// What a broker keeps of an OPEN: everything but its bytes, which the client has.
#[derive(Clone, Debug)]
pub(super) struct Wish {
    pub(super) client: Peer,
    /// The OPEN with an empty packet.
    pub(super) open: Open,
    pub(super) heard_at: Moment,
    /// Its place in line: lines are ordered by it.
    ticket: i64,
}

impl Wish {
    /// The OPEN without its bytes: a client sends again what its slot has not acknowledged.
    pub(super) fn new(now: Moment, client: Peer, open: &Open) -> Self {
        let ack = open.packet.ack;
        let packet = Packet {
            ack,
            seq: 1,
            ..Packet::default()
        };
        let open = Open {
            close_after: false,
            pool: open.pool.clone(),
            packet,
            ..*open
        };
        Self {
            client,
            open,
            heard_at: now,
            ticket: 0,
        }
    }
}

/// The lines.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    wishes: HashMap<HitKey, Wish>,
    /// Ordered, so that what the broker does does not depend on chance.
    lines: BTreeMap<String, VecDeque<(i64, HitKey)>>,
    next_ticket: i64,
}

impl Waiting {
    pub(super) fn len(&self) -> usize {
        self.wishes.len()
    }

    pub(super) fn get(&self, key: HitKey) -> Option<&Wish> {
        self.wishes.get(&key)
    }

    /// Whether somebody waits for this pool.
    pub(super) fn has(&self, pool: &str) -> bool {
        self.lines.contains_key(pool)
    }

    /// Puts a wish at the end of its pool's line, or at its head.
    pub(super) fn push(&mut self, mut wish: Wish, first: bool) {
        let line = self.lines.entry(wish.open.pool.clone()).or_default();
        self.next_ticket += 1;
        let head = line.front().map_or(self.next_ticket, |(ticket, _)| ticket - 1);
        wish.ticket = if first { head } else { self.next_ticket };
        let entry = (wish.ticket, wish.open.hit);
        if first {
            line.push_front(entry);
        } else {
            line.push_back(entry);
        }
        self.wishes.insert(wish.open.hit, wish);
    }

    /// A waiting client has repeated its OPEN: it keeps its place. Returns whether it waits.
    pub(super) fn refresh(&mut self, mut wish: Wish) -> bool {
        let Some(old) = self.wishes.get_mut(&wish.open.hit) else {
            return false;
        };
        wish.ticket = old.ticket;
        *old = wish;
        true
    }

    /// Takes the first of a pool's line.
    pub(super) fn pop(&mut self, pool: &str) -> Option<Wish> {
        let (_, key) = *self.lines.get(pool)?.front()?;
        self.remove(key)
    }

    /// Removes one wherever it stands.
    pub(super) fn remove(&mut self, key: HitKey) -> Option<Wish> {
        let wish = self.wishes.remove(&key)?;
        if let Some(line) = self.lines.get_mut(&wish.open.pool) {
            if let Ok(at) = line.binary_search(&(wish.ticket, key)) {
                line.remove(at);
            }
            if line.is_empty() {
                self.lines.remove(&wish.open.pool);
            }
        }
        Some(wish)
    }

    /// Takes those of a pool's line that fit, the last first, so many at the most.
    pub(super) fn take_last(&mut self, pool: &str, count: usize, fits: impl Fn(&Wish) -> bool) -> Vec<Wish> {
        let line = self.lines.get(pool).into_iter().flatten().rev();
        let fit = line.filter(|(_, key)| self.wishes.get(key).is_some_and(&fits));
        let keys: Vec<HitKey> = fit.take(count).map(|(_, key)| *key).collect();
        keys.into_iter().filter_map(|key| self.remove(key)).collect()
    }

    /// How many stand before this wish in its line.
    pub(super) fn ahead(&self, wish: &Wish) -> u32 {
        let line = self.lines.get(&wish.open.pool);
        line.and_then(|line| line.binary_search(&(wish.ticket, wish.open.hit)).ok())
            .unwrap_or(0) as u32
    }

    /// Pools that somebody waits for.
    pub(super) fn pools(&self) -> Vec<String> {
        self.lines.keys().cloned().collect()
    }

    /// Removes and returns those not heard for `silence`.
    pub(super) fn expire(&mut self, now: Moment, silence: Duration) -> Vec<HitKey> {
        let silent = self.wishes.values().filter(|wish| now.since(wish.heard_at) >= silence);
        let keys: Vec<HitKey> = silent.map(|wish| wish.open.hit).collect();
        for key in &keys {
            self.remove(*key);
        }
        keys
    }

    /// Takes all of them.
    pub(super) fn drain(&mut self) -> Vec<Wish> {
        let keys = std::mem::take(&mut self.lines).into_values().flatten();
        keys.filter_map(|(_, key)| self.wishes.remove(&key)).collect()
    }

    /// Everybody counts as heard now (rule A3).
    pub(super) fn restart_clocks(&mut self, now: Moment) {
        self.wishes.values_mut().for_each(|wish| wish.heard_at = now);
    }
}

/// Why a key is not to be leased again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Past {
    /// Its client withdrew this attempt; a later one is welcome.
    Withdrawn(Attempt),
    /// It was served and has ended.
    Ended(End),
}

/// How a Hit has ended, and what it ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct End {
    pub(super) reason: ClosedReason,
    /// Last seq that was started, and last one that was answered; the highest number if that is not known.
    pub(super) started: u64,
    pub(super) answered: u64,
    /// Whose they are: the attachment that held it last; 0 if that is not known.
    pub(super) attach: Attach,
}

impl End {
    /// One of which nothing ran.
    pub(super) const fn nothing(reason: ClosedReason) -> Self {
        Self {
            reason,
            started: 0,
            answered: 0,
            attach: Attach(0),
        }
    }

    /// One whose requests only its slot knew.
    pub(super) const fn unknown(reason: ClosedReason) -> Self {
        Self {
            reason,
            started: u64::MAX,
            answered: u64::MAX,
            attach: Attach(0),
        }
    }
}

/// Keys that are over, for as long as a repetition of their OPEN may still arrive; the oldest go first.
#[derive(Debug, Default)]
pub(super) struct Memory {
    past: HashMap<HitKey, (Past, Moment)>,
    /// Key, when it was over, and until when it counts.
    order: VecDeque<(HitKey, Moment, Moment)>,
    /// Until then Hits have ended whose keys were forgotten before their time.
    forgotten_until: Moment,
}

impl Memory {
    pub(super) fn get(&self, key: HitKey) -> Option<Past> {
        self.past.get(&key).map(|(past, _)| *past)
    }

    /// A key that was over at `at` counts for two of its ttls (rule O4).
    pub(super) fn insert(&mut self, at: Moment, ttl: Duration, key: HitKey, past: Past) {
        let until = at + ttl * 2;
        self.past.insert(key, (past, until));
        self.order.push_back((key, at, until));
        if self.order.len() > ENDED_KEYS_MAX {
            let (_, oldest_at, oldest_until) = self.order[0];
            if oldest_until > at {
                self.forget_until(oldest_at);
            }
            self.forget_oldest();
        }
    }

    /// As [`insert`](Self::insert), unless something is known of the key already.
    pub(super) fn insert_new(&mut self, at: Moment, ttl: Duration, key: HitKey, past: Past) {
        if !self.past.contains_key(&key) {
            self.insert(at, ttl, key, past);
        }
    }

    /// Keys of Hits that ended until then are not all remembered.
    pub(super) fn forget_until(&mut self, until: Moment) {
        self.forgotten_until = self.forgotten_until.max(until);
    }

    pub(super) const fn forgotten_until(&self) -> Moment {
        self.forgotten_until
    }

    pub(super) fn remove(&mut self, key: HitKey) {
        self.past.remove(&key);
    }

    fn forget_oldest(&mut self) {
        let Some((key, _, until)) = self.order.pop_front() else {
            return;
        };
        // A key that was inserted again has a later entry of its own.
        if self.past.get(&key).is_some_and(|(_, latest)| *latest == until) {
            self.past.remove(&key);
        }
    }

    /// Forgets what is old enough. Entries stand in the order of their making; ttls differ little, and one that waits
    /// behind a longer one is forgotten a little late.
    pub(super) fn expire(&mut self, now: Moment) {
        while self.order.front().is_some_and(|(.., until)| *until <= now) {
            self.forget_oldest();
        }
    }

    pub(super) fn len(&self) -> usize {
        self.order.len()
    }
}
