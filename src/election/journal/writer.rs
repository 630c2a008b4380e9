//! A slot's half: what it writes, and when (rules O2, O3).

use std::sync::Arc;
use std::time::Duration;

use super::layout::{self, header, record};
use crate::mapped::{MappedError, Words};
use crate::protocol::ids::{Attach, HitKey, Incarnation, Term};
use crate::protocol::limits::{JOURNAL_ENDED_MAX, JOURNAL_ENDED_MIN, JOURNAL_ENDED_SLOT_MAX};
use crate::protocol::message::ClosedReason;
use crate::protocol::time::Moment;

/// Numbers that can be stored and read back: a mapped file, or a test's.
pub trait Store {
    /// Stores a number; whoever sees a later one sees this one.
    fn store(&self, index: usize, value: u64);
    /// The number that stands there.
    fn load(&self, index: usize) -> u64;
}

impl Store for Words {
    fn store(&self, index: usize, value: u64) {
        Self::store(self, index, value);
    }

    fn load(&self, index: usize) -> u64 {
        Self::load(self, index)
    }
}

/// What a worker says of itself in its journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Author {
    /// Tells it from others of its number.
    pub incarnation: Incarnation,
    /// Its process.
    pub pid: u32,
    /// When that started, in clock ticks.
    pub start_ticks: u64,
    /// This boot of the machine.
    pub boot: u64,
    /// Its session.
    pub session: u32,
    /// Its pool; a name.
    pub pool: String,
}

/// How many ended Hits a slot keeps, in a worker of so many.
pub(super) fn ring(slots: u32) -> usize {
    (JOURNAL_ENDED_MAX / slots.max(1) as usize).clamp(JOURNAL_ENDED_MIN, JOURNAL_ENDED_SLOT_MAX)
}

/// The journal of a worker, made whole before anybody sees it.
///
/// # Errors
/// [`MappedError`].
pub(super) fn create(
    dir: impl std::os::fd::AsFd,
    name: &str,
    slots: u32,
    author: &Author,
) -> Result<Arc<Words>, MappedError> {
    let words = Words::create(dir, name, words_for(slots), |words| begin(words, slots, author))?;
    Ok(Arc::new(words))
}

/// How many numbers the journal of so many slots has.
pub fn words_for(slots: u32) -> usize {
    layout::words(slots as usize, ring(slots))
}

/// Writes the header over zeros. The magic, which makes it a journal, comes last.
pub fn begin(words: &impl Store, slots: u32, author: &Author) {
    let ring = ring(slots);
    words.store(header::SLOTS, slots.into());
    words.store(header::RING, ring as u64);
    words.store(header::INCARNATION, author.incarnation.0);
    words.store(header::PID, author.pid.into());
    words.store(header::START, author.start_ticks);
    words.store(header::BOOT, author.boot);
    words.store(header::SESSION, author.session.into());
    for (word, bytes) in author.pool.as_bytes().chunks(8).take(layout::POOL_WORDS).enumerate() {
        let mut all = [0; 8];
        all.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        words.store(header::POOL + word, u64::from_le_bytes(all));
    }
    words.store(header::MAGIC, layout::MAGIC);
}

/// The worker says goodbye.
pub fn leave(words: &impl Store) {
    words.store(header::LEFT, 1);
}

/// A master has found the worker dead.
pub(super) fn found_dead(words: &impl Store, now: Moment) {
    words.store(header::FOUND_DEAD, now.as_micros());
}

/// What a slot journals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// It takes a lease, before it says so to anybody. Looks at the host's term next (rule O3).
    Leased {
        /// The Hit.
        key: HitKey,
        /// Of the lease.
        term: Term,
        /// How long its client may be silent.
        ttl: Duration,
        /// Who holds it.
        attach: Attach,
    },
    /// Another client holds it from now on (rule O8).
    Attached(Attach),
    /// It takes the lease back: the term has passed.
    Withdrawn,
    /// It will start the handler of this request (rule O2).
    Started(u64),
    /// The handler has completed the reply to this request.
    Answered(u64),
    /// The Hit is over, and its handler gone.
    Ended(ClosedReason),
}

/// The place of one slot in its worker's journal.
#[derive(Debug)]
pub struct SlotWriter<S> {
    words: S,
    at: usize,
    ring: usize,
}

impl<S: std::ops::Deref<Target: Store>> SlotWriter<S> {
    /// The place of a slot, numbered from 1.
    pub fn new(words: S, slot: u32) -> Self {
        let ring = words.load(header::RING) as usize;
        Self {
            at: layout::slot_at(slot as usize, ring),
            ring,
            words,
        }
    }

    /// Writes an entry. Whoever reads after this returns sees it.
    pub fn write(&self, now: Moment, entry: Entry) {
        match entry {
            Entry::Leased { key, term, ttl, attach } => self.lease(key, term, ttl, attach),
            Entry::Attached(attach) => self.set(record::ATTACH, attach.0.into()),
            Entry::Withdrawn => self.changed(|| self.set(record::SERVES, 0)),
            Entry::Started(seq) => self.set(record::STARTED, seq),
            Entry::Answered(seq) => self.set(record::ANSWERED, seq),
            Entry::Ended(reason) => self.end(now, reason),
        }
    }

    /// The Hit's handler is this process group, whose leader started then: one that was started ahead.
    pub fn write_group(&self, group: u32, leader_started: u64) {
        self.set(record::GROUP_START, leader_started);
        self.set(record::GROUP, group.into());
    }

    /// Where the handler's process writes its group and start time, itself, between fork and exec.
    pub fn group_at(&self) -> (usize, usize) {
        (self.at + record::GROUP, self.at + record::GROUP_START)
    }

    fn lease(&self, key: HitKey, term: Term, ttl: Duration, attach: Attach) {
        self.changed(|| {
            let [high, low] = halves(key);
            self.set(record::KEY, high);
            self.set(record::KEY + 1, low);
            self.set(record::TERM, term.0);
            let ttl_ms = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
            self.set(record::TTL_MS, ttl_ms);
            self.set(record::ATTACH, attach.0.into());
            if ttl_ms > self.words.load(header::TTL_MAX_MS) {
                // Slots may do this at once; the journal is kept longer than the shortest of them asks for, at worst by one
                // lease less than the longest, whose own record says so.
                self.words.store(header::TTL_MAX_MS, ttl_ms);
            }
            for empty in [record::STARTED, record::ANSWERED, record::GROUP, record::GROUP_START] {
                self.set(empty, 0);
            }
            self.set(record::SERVES, 1);
        });
    }

    fn end(&self, now: Moment, reason: ClosedReason) {
        let number = self.get(record::ENDED);
        let at = layout::ended_at(number, self.ring);
        let kept = self.ring as u64 - 1;
        if number >= kept {
            // The oldest counts no more; from now on nobody can say that what ended until then never ran.
            let oldest = layout::ended_at(number - kept, self.ring);
            self.set(record::OVERWRITTEN, self.get(oldest + 5));
        }
        let entry = [
            self.get(record::KEY),
            self.get(record::KEY + 1),
            self.get(record::STARTED),
            self.get(record::ANSWERED),
            reason as u64,
            now.as_micros(),
            self.get(record::TTL_MS),
            self.get(record::ATTACH),
        ];
        for (offset, value) in entry.into_iter().enumerate() {
            self.set(at + offset, value);
        }
        self.set(record::ENDED, number + 1);
        self.changed(|| {
            self.set(record::SERVES, 0);
            self.set(record::GROUP, 0);
        });
    }

    /// A reader of the living sees both counts differ, or be odd, and looks again.
    fn changed(&self, change: impl FnOnce()) {
        let count = self.get(record::CHANGES);
        self.set(record::CHANGES, count + 1);
        change();
        self.set(record::CHANGES, count + 2);
    }

    fn set(&self, word: usize, value: u64) {
        self.words.store(self.at + word, value);
    }

    fn get(&self, word: usize) -> u64 {
        self.words.load(self.at + word)
    }
}

/// A key as two numbers.
pub(super) fn halves(key: HitKey) -> [u64; 2] {
    let key = u128::from_be_bytes(*key.as_bytes());
    [(key >> 64) as u64, key as u64]
}
