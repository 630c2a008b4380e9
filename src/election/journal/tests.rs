use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use super::*;
use crate::protocol::limits::BROADCASTS_JOURNALLED;
use crate::protocol::{Attach, Term};

fn author() -> Author {
    Author {
        incarnation: Incarnation(7),
        pid: 815,
        start_ticks: 4711,
        boot: 1,
        session: 1,
        pool: "render-farm.7".to_owned(),
    }
}

const SLOTS: u32 = 2;

/// Pages whose writer dies after so many stores: what it stores later is lost.
#[derive(Debug, Default)]
struct Mortal {
    words: RefCell<Vec<u64>>,
    left: Cell<usize>,
    stored: Cell<usize>,
}

impl Mortal {
    fn new(stores: usize) -> Rc<Self> {
        let pages = Self {
            words: RefCell::new(vec![0; words_for(SLOTS)]),
            left: Cell::new(usize::MAX),
            ..Self::default()
        };
        begin(&pages, SLOTS, &author());
        pages.left.set(stores);
        pages.stored.set(0);
        Rc::new(pages)
    }
}

impl Store for Mortal {
    fn store(&self, index: usize, value: u64) {
        if self.left.get() == 0 {
            return;
        }
        self.left.set(self.left.get() - 1);
        self.stored.set(self.stored.get() + 1);
        self.words.borrow_mut()[index] = value;
    }

    fn load(&self, index: usize) -> u64 {
        self.words.borrow()[index]
    }
}

impl Load for Mortal {
    fn count(&self) -> usize {
        self.words.borrow().len()
    }

    fn load(&self, index: usize) -> u64 {
        self.words.borrow().get(index).copied().unwrap_or(0)
    }
}

fn key(number: u8) -> HitKey {
    HitKey::from_bytes([number; 16])
}

fn leased(number: u8) -> Entry {
    Entry::Leased {
        key: key(number),
        term: Term(3),
        ttl: Duration::from_secs(15),
        attach: Attach(1),
    }
}

fn at(seconds: u64) -> Moment {
    Moment::from_micros(seconds * 1_000_000)
}

fn slot(pages: &Mortal, number: u32) -> SlotJournal {
    let (journal, boot) = read_words(pages, WorkerId(1), false).expect("a journal");
    assert_eq!((boot, journal.incarnation, journal.pid), (1, author().incarnation, 815));
    journal.slots[number as usize - 1].clone()
}

/// Who writes a reader in another language goes by the document.
#[test]
fn the_document_says_where_each_number_stands() {
    use super::layout::{ENDED_WORDS, HEADER_WORDS, MAGIC, RECORD_WORDS};
    let text = include_str!("../../../docs/protocol.md");
    let hex = format!("{MAGIC:016x}");
    let magic: Vec<&str> = (0..16).step_by(4).map(|at| &hex[at..at + 4]).collect();
    for says in [
        format!("| 0 | magic | `{}`", magic.join("_")),
        format!("| {HEADER_WORDS} + (*n* − 1) × ({RECORD_WORDS} + {ENDED_WORDS} × ring) |"),
        format!("entry *e* at {RECORD_WORDS} + {ENDED_WORDS} × (*e* mod ring)"),
    ] {
        assert!(text.contains(&says), "{says}");
    }
}

#[test]
fn a_hit_is_read_as_it_was_written() {
    let pages = Mortal::new(usize::MAX);
    let writer = SlotWriter::new(Rc::clone(&pages), 2);
    assert_eq!(slot(&pages, 2).running, None);
    writer.write(at(1), leased(9));
    writer.write(at(1), Entry::Started(1));
    let (group, start) = writer.group_at();
    Store::store(&*pages, start, 99);
    Store::store(&*pages, group, 1234);
    let running = slot(&pages, 2).running.expect("runs");
    assert_eq!(
        (running.key, running.term, running.started, running.answered),
        (key(9), Term(3), 1, 0)
    );
    assert_eq!(
        (running.ttl, running.group),
        (Duration::from_secs(15), Some((1234, 99)))
    );
    writer.write(at(1), Entry::Answered(1));
    // A co-process goes on; of another handler nothing is left by that number and start (rule O9).
    assert_eq!(slot(&pages, 2).running.expect("runs").group, Some((1234, 99)));
    writer.write_group(4321, 100);
    assert_eq!(slot(&pages, 2).running.expect("runs").group, Some((4321, 100)));
    assert_eq!(slot(&pages, 2).running.expect("runs").attach, Attach(1));
    writer.write(at(2), Entry::Attached(Attach(2)));
    assert_eq!(slot(&pages, 2).running.expect("runs").attach, Attach(2));
    writer.write(at(2), Entry::Ended(ClosedReason::ClientSilent));
    let over = slot(&pages, 2);
    assert_eq!(over.running, None);
    let ended = EndedHit {
        key: key(9),
        started: 1,
        answered: 1,
        reason: ClosedReason::ClientSilent,
        ended_at: at(2),
        ttl: Duration::from_secs(15),
        attach: Attach(2),
    };
    assert_eq!(over.ended, [ended]);
    assert_eq!(slot(&pages, 1).ended, [], "another slot's");
}

#[test]
fn a_lease_that_is_taken_back_was_never_there() {
    let pages = Mortal::new(usize::MAX);
    let writer = SlotWriter::new(Rc::clone(&pages), 1);
    writer.write(at(1), leased(9));
    writer.write(at(1), Entry::Withdrawn);
    assert_eq!((slot(&pages, 1).running, slot(&pages, 1).ended), (None, vec![]));
}

#[test]
fn who_dies_between_two_stores_tells_the_truth() {
    let entries = [
        leased(1),
        Entry::Started(1),
        Entry::Answered(1),
        Entry::Ended(ClosedReason::Done),
        leased(2),
        Entry::Started(1),
        Entry::Ended(ClosedReason::WorkerLeft),
        leased(3),
        Entry::Withdrawn,
        leased(4),
    ];
    let all = Mortal::new(usize::MAX);
    let writer = SlotWriter::new(Rc::clone(&all), 1);
    // After how many stores each entry is whole.
    let whole: Vec<usize> = entries
        .iter()
        .map(|entry| {
            writer.write(at(5), *entry);
            all.stored.get()
        })
        .collect();
    for stores in 0..=all.stored.get() {
        let pages = Mortal::new(stores);
        let writer = SlotWriter::new(Rc::clone(&pages), 1);
        for entry in entries {
            writer.write(at(5), entry);
        }
        let journal = slot(&pages, 1);
        let told = |number: u8| {
            let running = journal.running.as_ref().is_some_and(|hit| hit.key == key(number));
            let ended = journal.ended.iter().filter(|hit| hit.key == key(number)).count();
            assert!(
                u32::from(running) + ended as u32 <= 1,
                "{number} twice after {stores}: {journal:?}"
            );
            running || ended == 1
        };
        assert!(
            stores < whole[0] || told(1),
            "1 is lost after {stores} stores: {journal:?}"
        );
        assert!(
            stores < whole[4] || told(2),
            "2 is lost after {stores} stores: {journal:?}"
        );
        assert!(
            stores < whole[9] || told(4),
            "4 is lost after {stores} stores: {journal:?}"
        );
        let known = journal
            .running
            .iter()
            .map(|hit| hit.key)
            .chain(journal.ended.iter().map(|hit| hit.key));
        assert!(
            known.clone().all(|known| (1..=4).any(|number| known == key(number))),
            "{journal:?}"
        );
        if let Some(hit) = journal.running.filter(|hit| hit.key == key(2)) {
            assert_eq!(
                hit.started,
                u64::from(stores >= whole[5]),
                "rule O2, after {stores} stores"
            );
        }
    }
}

#[test]
fn what_the_ring_overwrites_is_said() {
    let pages = Mortal::new(usize::MAX);
    let writer = SlotWriter::new(Rc::clone(&pages), 1);
    let ring = writer::ring(SLOTS) as u64;
    let hit = |number: u64| Entry::Leased {
        key: HitKey::from_bytes(u128::from(number).to_be_bytes()),
        term: Term(3),
        ttl: Duration::from_secs(15),
        attach: Attach(1),
    };
    for number in 1..=ring + 1 {
        writer.write(at(number), hit(number));
        writer.write(at(number), Entry::Ended(ClosedReason::Done));
    }
    let journal = slot(&pages, 1);
    assert_eq!(journal.ended.len() as u64, ring - 1, "one place stays free");
    assert_eq!(journal.overwritten_until, at(2));
    assert_eq!(journal.ended[0].ended_at, at(3));
}

#[test]
fn what_is_no_journal_is_refused() {
    let pages = Mortal::new(usize::MAX);
    for (index, value) in [(0, 1), (1, 3), (2, 0), (2, u64::MAX), (1, u64::MAX)] {
        let spoilt = Mortal::new(usize::MAX);
        Store::store(&*spoilt, index, value);
        assert_eq!(read_words(&*spoilt, WorkerId(1), false), None, "{index} {value}");
    }
    assert!(read_words(&*pages, WorkerId(1), false).is_some());
}

/// As a storm found it: a broker that begins while a worker enters took its journal for what a dead one had left.
#[test]
fn the_journal_of_one_that_is_about_to_enter_is_left_alone() {
    let base = tempfile::tempdir().unwrap();
    let place = crate::runtime::Place::new(Some(base.path()), "c", "h").unwrap();
    let dir = crate::runtime::RuntimeDir::open(&place).unwrap();
    let make = |id, incarnation| {
        let words = open_for(&dir, (id, incarnation), (1, "default"));
        // Its journal is there, and its file does not say yet who it is.
        for now in [1000, 2000, 3000] {
            prune(&dir, at(now)).unwrap();
            assert!(read_of(&dir, id, incarnation).unwrap().is_some(), "{now}");
        }
        assert!(read_all(&dir).unwrap().complete, "it has served nobody");
        words
    };
    let (member, _words) = crate::runtime::Member::enter_with(&dir, true, make).unwrap();
    prune(&dir, at(4000)).unwrap();
    let (id, incarnation) = (member.id(), member.incarnation());
    drop(member);
    prune(&dir, at(5000)).unwrap();
    assert!(
        read_of(&dir, id, incarnation).unwrap().is_some(),
        "it was not found dead before it lived"
    );
}

#[test]
fn journals_outlive_their_workers_and_say_who_lives() {
    let base = tempfile::tempdir().unwrap();
    let place = crate::runtime::Place::new(Some(base.path()), "c", "h").unwrap();
    let dir = crate::runtime::RuntimeDir::open(&place).unwrap();
    assert!(
        read_all(&dir).unwrap().complete,
        "nobody is there whose journal is missing"
    );
    let silent = crate::runtime::Member::enter(&dir, true).unwrap();
    assert!(!read_all(&dir).unwrap().complete, "rule O7");
    drop(silent);
    let make = |id, incarnation| open_for(&dir, (id, incarnation), (1, "default"));
    let (member, words) = crate::runtime::Member::enter_with(&dir, true, make).unwrap();
    let (id, incarnation) = (member.id(), member.incarnation());
    SlotWriter::new(words, 1).write(at(1), leased(1));
    let living = read_all(&dir).unwrap();
    assert!(living.complete && living.all.len() == 1 && living.all[0].alive);
    prune(&dir, at(1_000_000)).unwrap();
    drop(member);
    let dead = read_of(&dir, id, incarnation).unwrap().unwrap();
    assert!(!dead.alive && dead.slots[0].running.is_some());
    // However long it lived, it is kept for two ttls after it was found dead.
    for (now, kept) in [(1_000_000, true), (1_000_030, true), (1_000_031, false)] {
        prune(&dir, at(now)).unwrap();
        assert_eq!(read_of(&dir, id, incarnation).unwrap().is_some(), kept, "{now}");
    }
}

/// Rule B2: whoever has died cannot say any more what it ran.
#[test]
fn broadcasts_are_remembered_with_their_pool_and_group() {
    let pages = Mortal::new(usize::MAX);
    let read = || read_words(&*pages, WorkerId(1), false).unwrap().0;
    assert_eq!(read().pool, "render-farm.7");
    assert_eq!((read().broadcasts, read().broadcast_group), (vec![], None));
    let writer = BroadcastWriter::new(Rc::clone(&pages));
    let id = |number: u8| BroadcastId([number; 16]);
    let most = BROADCASTS_JOURNALLED as u8 - 1;
    for number in 1..=100 {
        writer.begun(id(number));
        Store::store(&*pages, layout::header::BROADCAST_GROUP_START, 7);
        Store::store(&*pages, layout::header::BROADCAST_GROUP, 4711);
        assert_eq!(read().broadcast_group, Some((4711, 7)));
        let ran = read().broadcasts;
        assert_eq!(ran.len(), usize::from(number.min(most)));
        assert_eq!(ran.first().unwrap().id, id((number + 1).saturating_sub(most).max(1)));
        assert_eq!(
            ran.last(),
            Some(&RanBroadcast {
                id: id(number),
                over: false
            })
        );
        assert!(ran[..ran.len() - 1].iter().all(|one| one.over));
        writer.over();
        assert_eq!(
            read().broadcasts.last(),
            Some(&RanBroadcast {
                id: id(number),
                over: true
            })
        );
        assert_eq!(read().broadcast_group, None);
    }
}

/// Whenever it dies, nothing is said to have run that was not begun, and what was said to have begun stays.
#[test]
fn a_worker_may_die_between_any_two_stores_of_a_broadcast() {
    for stores in 0..20 {
        let pages = Mortal::new(stores);
        let writer = BroadcastWriter::new(Rc::clone(&pages));
        for number in 1..=3 {
            writer.begun(BroadcastId([number; 16]));
            writer.over();
        }
        let ran = read_words(&*pages, WorkerId(1), false).unwrap().0.broadcasts;
        let wanted = (1..=3).map(|number| BroadcastId([number; 16]));
        assert!(
            ran.iter().map(|one| one.id).eq(wanted.take(ran.len())),
            "{stores}: {ran:?}"
        );
    }
}
