//! A journal in memory: the very writer and reader that ship, on simulated pages.

use std::cell::RefCell;
use std::rc::Rc;

use zhit::election::journal::{Author, Load, Store, WorkerJournal, begin, read_words, words_for};
use zhit::protocol::{Incarnation, WorkerId};

/// The simulated machine boots once.
const BOOT: u64 = 1;

/// Numbers that outlive the worker who stores them.
#[derive(Debug)]
pub(crate) struct Pages(RefCell<Vec<u64>>);

impl Pages {
    /// The journal of a worker that begins.
    pub(crate) fn of(incarnation: Incarnation, pid: u32, slots: u32) -> Rc<Self> {
        let pages = Self(RefCell::new(vec![0; words_for(slots)]));
        let author = Author {
            incarnation,
            pid,
            start_ticks: 0,
            boot: BOOT,
            session: 1,
            pool: "default".to_owned(),
        };
        begin(&pages, slots, &author);
        Rc::new(pages)
    }

    /// What a master reads.
    pub(crate) fn read(&self, worker: WorkerId, alive: bool) -> WorkerJournal {
        let (journal, boot) = read_words(self, worker, alive).expect("a journal of ours");
        assert_eq!(boot, BOOT);
        journal
    }
}

impl Store for Pages {
    fn store(&self, index: usize, value: u64) {
        self.0.borrow_mut()[index] = value;
    }

    fn load(&self, index: usize) -> u64 {
        self.0.borrow()[index]
    }
}

impl Load for Pages {
    fn count(&self) -> usize {
        self.0.borrow().len()
    }

    fn load(&self, index: usize) -> u64 {
        self.0.borrow().get(index).copied().unwrap_or(0)
    }
}
