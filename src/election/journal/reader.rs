//! A master's half: what it reads of the living and of the dead (rule O4).

use std::time::Duration;

use super::broadcasts;
use super::layout::{self, header, record};
use super::{EndedHit, RunningHit, SlotJournal, WorkerJournal};
use crate::protocol::ids::{Attach, HitKey, Incarnation, Term, WorkerId, is_name};
use crate::protocol::message::ClosedReason;
use crate::protocol::time::Moment;

/// How often a record that changes meanwhile is read. A writer that stands still in the middle of a change has stored
/// what counts in the right order.
const TRIES: u32 = 64;

/// Numbers of another process.
pub trait Load {
    /// How many there are.
    fn count(&self) -> usize;
    /// The number that stands there now; zero beyond the last.
    fn load(&self, index: usize) -> u64;
}

impl Load for crate::mapped::Words {
    fn count(&self) -> usize {
        Self::count(self)
    }

    fn load(&self, index: usize) -> u64 {
        Self::load(self, index)
    }
}

impl Load for crate::mapped::WordsView {
    fn count(&self) -> usize {
        Self::count(self)
    }

    fn load(&self, index: usize) -> u64 {
        Self::load(self, index)
    }
}

/// Reads a journal, and which boot of the machine it is of; `None` if this is none of this version.
pub fn read_words(words: &impl Load, worker: WorkerId, alive: bool) -> Option<(WorkerJournal, u64)> {
    let header = header(words)?;
    let journal = WorkerJournal {
        worker,
        incarnation: header.incarnation,
        pid: header.pid,
        start_ticks: header.start_ticks,
        alive,
        left: header.left,
        session: header.session,
        pool: header.pool.clone(),
        broadcasts: broadcasts::read(words),
        broadcast_group: broadcasts::read_group(words),
        slots: slots(words, &header),
    };
    Some((journal, header.boot))
}

/// When a master found the worker dead, and the longest ttl of its Hits.
pub(super) fn found_dead(words: &impl Load) -> (Option<Moment>, Duration) {
    let at = Some(words.load(header::FOUND_DEAD)).filter(|at| *at > 0);
    let ttl = Duration::from_millis(words.load(header::TTL_MAX_MS));
    (at.map(Moment::from_micros), ttl)
}

/// What stands in a header.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Header {
    slots: u32,
    ring: usize,
    incarnation: Incarnation,
    pid: u32,
    start_ticks: u64,
    boot: u64,
    left: bool,
    session: u32,
    pool: String,
}

/// Reads the header; `None` if this is no journal of this version, or not as long as it says.
fn header(words: &impl Load) -> Option<Header> {
    if words.load(header::MAGIC) != layout::MAGIC {
        return None;
    }
    let slots = u32::try_from(words.load(header::SLOTS)).ok()?;
    let ring = usize::try_from(words.load(header::RING))
        .ok()
        .filter(|ring| *ring > 1)?;
    let wanted = ring
        .checked_mul(layout::ENDED_WORDS)?
        .checked_add(layout::RECORD_WORDS)?
        .checked_mul(slots as usize)?
        .checked_add(layout::HEADER_WORDS)?;
    (wanted == words.count()).then_some(Header {
        slots,
        ring,
        incarnation: Incarnation(words.load(header::INCARNATION)),
        pid: u32::try_from(words.load(header::PID)).ok()?,
        start_ticks: words.load(header::START),
        boot: words.load(header::BOOT),
        left: words.load(header::LEFT) != 0,
        session: u32::try_from(words.load(header::SESSION)).ok()?,
        pool: pool(words)?,
    })
}

/// `None`: that is no name.
fn pool(words: &impl Load) -> Option<String> {
    let all = (0..layout::POOL_WORDS).flat_map(|word| words.load(header::POOL + word).to_le_bytes());
    let name = String::from_utf8(all.take_while(|byte| *byte != 0).collect()).ok()?;
    is_name(&name).then_some(name)
}

/// Slots, how many of them serve a Hit, and how many Hits have ended on them; `None` if that is no journal.
pub fn tally(words: &impl Load) -> Option<(u32, u32, u64)> {
    let header = header(words)?;
    let at = |slot: u32, word| words.load(layout::slot_at(slot as usize, header.ring) + word);
    let busy = (1..=header.slots).filter(|slot| at(*slot, record::SERVES) == 1).count();
    let ended = (1..=header.slots).map(|slot| at(slot, record::ENDED)).sum();
    Some((header.slots, busy as u32, ended))
}

/// Reads the journals of all slots.
fn slots(words: &impl Load, header: &Header) -> Vec<SlotJournal> {
    (1..=header.slots)
        .map(|slot| read_slot(words, slot, header.ring))
        .collect()
}

fn read_slot(words: &impl Load, slot: u32, ring: usize) -> SlotJournal {
    let at = layout::slot_at(slot as usize, ring);
    let get = |word: usize| words.load(at + word);
    // The record first: a Hit that ends meanwhile is then seen in both places, never in none.
    let running = running(&get);
    let count = get(record::ENDED);
    let kept = ring as u64 - 1;
    let first = count.saturating_sub(kept);
    let mut ended: Vec<_> = (first..count)
        .map(|number| (number, ended(&get, layout::ended_at(number, ring))))
        .collect();
    // What was overwritten while it was read is not what it seemed.
    let overwritten = get(record::ENDED).saturating_sub(kept);
    ended.retain(|(number, _)| *number >= overwritten);
    let ended: Vec<EndedHit> = ended.into_iter().filter_map(|(_, hit)| hit).collect();
    let is_over = |hit: &RunningHit| ended.last().is_some_and(|last| last.key == hit.key);
    SlotJournal {
        slot,
        running: running.filter(|hit| !is_over(hit)),
        overwritten_until: Moment::from_micros(get(record::OVERWRITTEN)),
        ended,
    }
}

fn running(get: &impl Fn(usize) -> u64) -> Option<RunningHit> {
    for _ in 0..TRIES {
        let before = get(record::CHANGES);
        let found = read_record(get);
        if before.is_multiple_of(2) && get(record::CHANGES) == before {
            return found;
        }
        std::hint::spin_loop();
    }
    read_record(get)
}

fn read_record(get: &impl Fn(usize) -> u64) -> Option<RunningHit> {
    if get(record::SERVES) != 1 {
        return None;
    }
    let group = u32::try_from(get(record::GROUP)).ok().filter(|group| *group != 0);
    Some(RunningHit {
        key: key(get(record::KEY), get(record::KEY + 1)),
        term: Term(get(record::TERM)),
        ttl: Duration::from_millis(get(record::TTL_MS)),
        started: get(record::STARTED),
        answered: get(record::ANSWERED),
        attach: attach(get(record::ATTACH)),
        group: group.map(|group| (group, get(record::GROUP_START))),
    })
}

fn ended(get: &impl Fn(usize) -> u64, at: usize) -> Option<EndedHit> {
    let key = key(get(at), get(at + 1));
    (!key.is_none()).then(|| EndedHit {
        key,
        started: get(at + 2),
        answered: get(at + 3),
        // A reason of a later version: the Hit has ended all the same.
        reason: ClosedReason::from_number(get(at + 4)).unwrap_or(ClosedReason::Done),
        ended_at: Moment::from_micros(get(at + 5)),
        ttl: Duration::from_millis(get(at + 6)),
        attach: attach(get(at + 7)),
    })
}

/// A number that no client can have had counts as not known.
fn attach(number: u64) -> Attach {
    Attach(u32::try_from(number).unwrap_or(0))
}

fn key(high: u64, low: u64) -> HitKey {
    HitKey::from_bytes((u128::from(high) << 64 | u128::from(low)).to_be_bytes())
}
