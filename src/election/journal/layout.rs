//! Where each number of a journal stands.
//!
//! ```text
//! word  0  magic and version        4  pid of the worker
//!       1  slots                    5  when that started, in clock ticks
//!       2  ended Hits kept a slot   6  boot of the machine
//!       3  incarnation              7  1: the worker has said goodbye
//!       8  when a master found it dead, in microseconds since the machine started; 0: none has
//!       9  the longest ttl of its Hits, in milliseconds
//!      10  session of the worker, and so of its handlers' groups
//!      11  its pool: the name, zeros behind it (eight words)
//!      19  process group of the handler of a broadcast; 0: none      20  when that group's leader started
//!      21  broadcasts begun so far
//!      22  the last of them, a ring, three words each: id, id, 1: it is over
//! then, for each slot, its record:
//!       0  changes, twice each      6  last seq answered
//!       1  1: serves a Hit          7  process group of the handler; 0: none
//!     2-3  the Hit's key            8  when that group's leader started
//!       4  term of its lease        9  Hits ended so far
//!       5  last seq started        10  ttl in milliseconds; 11: ended until then and not kept
//!      12  attach number of who holds it
//! and its ended Hits, a ring, eight words each: key, key, started, answered, reason, when, ttl in milliseconds, attach
//! number
//! ```
//!
//! A worker may die between any two stores, so their order keeps the promises: a record is valid once its word 1 is
//! stored, last; an ended Hit counts once word 9 is, and only then is the record taken back. One place of each ring stays
//! free: the next ended Hit is written there, over one that does not count any more.

use crate::protocol::limits::{BROADCASTS_JOURNALLED, NAME_BYTES_MAX};

/// "ZHITJRN" and the version of this layout.
pub(super) const MAGIC: u64 = 0x5a48_4954_4a52_4e03;

pub(super) const HEADER_WORDS: usize = header::BROADCAST_RING + BROADCASTS_JOURNALLED * broadcast::WORDS;
/// A name of at most `NAME_BYTES_MAX` bytes.
pub(super) const POOL_WORDS: usize = NAME_BYTES_MAX.div_ceil(8);
pub(super) const RECORD_WORDS: usize = 13;
pub(super) const ENDED_WORDS: usize = 8;

pub(super) mod header {
    pub(in super::super) const MAGIC: usize = 0;
    pub(in super::super) const SLOTS: usize = 1;
    pub(in super::super) const RING: usize = 2;
    pub(in super::super) const INCARNATION: usize = 3;
    pub(in super::super) const PID: usize = 4;
    pub(in super::super) const START: usize = 5;
    pub(in super::super) const BOOT: usize = 6;
    pub(in super::super) const LEFT: usize = 7;
    pub(in super::super) const FOUND_DEAD: usize = 8;
    pub(in super::super) const TTL_MAX_MS: usize = 9;
    pub(in super::super) const SESSION: usize = 10;
    pub(in super::super) const POOL: usize = 11;
    pub(in super::super) const BROADCAST_GROUP: usize = POOL + super::POOL_WORDS;
    pub(in super::super) const BROADCAST_GROUP_START: usize = BROADCAST_GROUP + 1;
    pub(in super::super) const BROADCASTS: usize = BROADCAST_GROUP + 2;
    pub(in super::super) const BROADCAST_RING: usize = BROADCAST_GROUP + 3;
}

pub(super) mod broadcast {
    pub(in super::super) const ID: usize = 0;
    pub(in super::super) const OVER: usize = 2;
    pub(in super::super) const WORDS: usize = 3;
}

/// Where the broadcast of this number (0 is the first ever) stands.
pub(super) const fn broadcast_at(number: u64) -> usize {
    header::BROADCAST_RING + (number % BROADCASTS_JOURNALLED as u64) as usize * broadcast::WORDS
}

pub(super) mod record {
    pub(in super::super) const CHANGES: usize = 0;
    pub(in super::super) const SERVES: usize = 1;
    pub(in super::super) const KEY: usize = 2;
    pub(in super::super) const TERM: usize = 4;
    pub(in super::super) const STARTED: usize = 5;
    pub(in super::super) const ANSWERED: usize = 6;
    pub(in super::super) const GROUP: usize = 7;
    pub(in super::super) const GROUP_START: usize = 8;
    pub(in super::super) const ENDED: usize = 9;
    pub(in super::super) const TTL_MS: usize = 10;
    pub(in super::super) const OVERWRITTEN: usize = 11;
    pub(in super::super) const ATTACH: usize = 12;
}

/// How many numbers a journal has.
pub(super) const fn words(slots: usize, ring: usize) -> usize {
    HEADER_WORDS + slots * slot_words(ring)
}

pub(super) const fn slot_words(ring: usize) -> usize {
    RECORD_WORDS + ring * ENDED_WORDS
}

/// Where the record of a slot, numbered from 1, begins.
pub(super) const fn slot_at(slot: usize, ring: usize) -> usize {
    HEADER_WORDS + (slot - 1) * slot_words(ring)
}

/// Where the ended Hit of this number (0 is the first ever) stands, from the start of its slot's record.
pub(super) const fn ended_at(number: u64, ring: usize) -> usize {
    RECORD_WORDS + (number % ring as u64) as usize * ENDED_WORDS
}
