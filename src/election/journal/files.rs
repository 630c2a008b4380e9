//! The files: `members/wN.INCARNATION.journal`, one for each worker that lives, and of those that lived, for as long as
//! somebody may ask.

use std::fs;
use std::sync::Arc;

use super::writer::{self, Author};
use super::{WorkerJournal, reader};
use crate::mapped::{MappedError, Words, WordsView};
use crate::protocol::ids::{Incarnation, WorkerId};
use crate::protocol::limits::TTL;
use crate::protocol::time::Moment;
use crate::runtime::{self, MemberSeen, RuntimeDir, RuntimeError, Stat};

/// What the file of the host's term holds: the term, and behind it [`Unjournalled`].
const HOST_WORDS: usize = 2;
const UNJOURNALLED_WORD: usize = 1;

/// Why journals cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The runtime directory.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// The file.
    #[error(transparent)]
    Mapped(#[from] MappedError),
}

/// All that a new master reads.
#[derive(Debug, Default)]
pub struct Journals {
    /// Those that can be read.
    pub all: Vec<WorkerJournal>,
    /// Whether every present member keeps one that can be read: a key that none of them names never ran.
    pub complete: bool,
    /// What could not be read, for the log.
    pub damaged: Vec<String>,
}

/// Makes the journal of a member that is about to enter: whoever sees the member sees that it keeps one.
///
/// # Errors
/// [`JournalError`].
pub fn open_for(
    dir: &RuntimeDir,
    (id, incarnation): (WorkerId, Incarnation),
    (slots, pool): (u32, &str),
) -> Result<Arc<Words>, JournalError> {
    let pid = std::process::id();
    let this = Stat::of(pid);
    let author = Author {
        incarnation,
        pid,
        start_ticks: this.map_or(0, |stat| stat.start_ticks),
        boot: boot(dir)?,
        session: this.map_or(0, |stat| stat.session),
        pool: pool.to_owned(),
    };
    let name = name(id, incarnation);
    Ok(writer::create(dir, &name, slots, &author)?)
}

/// The word in which each master of this host stores its term before it reads journals (rule O3).
///
/// # Errors
/// [`JournalError`].
pub fn term_word(dir: &RuntimeDir) -> Result<WordsView, JournalError> {
    Ok(WordsView::open_lengthened(dir, dir.term_word(), HOST_WORDS)?)
}

/// Until when Hits were leased to workers that keep no journal (rule O7): a broker that begins later cannot tell whether
/// one that was asked for before then has run. It stands behind the host's term.
#[derive(Debug)]
pub struct Unjournalled(Words);

impl Unjournalled {
    /// Opens it, and makes it if it is not there.
    ///
    /// # Errors
    /// [`MappedError`].
    pub fn open(dir: &RuntimeDir) -> Result<Self, MappedError> {
        Words::open_lengthened(dir, dir.term_word(), HOST_WORDS).map(Self)
    }

    /// A Hit is leased to such a worker now.
    pub fn note(&self, now: Moment) {
        self.0.store(UNJOURNALLED_WORD, now.as_micros());
    }

    /// Until when; zero if never, and if that was before the machine started last.
    pub fn until(&self, now: Moment) -> Moment {
        let until = Moment::from_micros(self.0.load(UNJOURNALLED_WORD));
        if until <= now { until } else { Moment::ZERO }
    }
}

/// Reads all journals of this boot.
///
/// # Errors
/// [`JournalError`] when the directory cannot be read.
pub fn read_all(dir: &RuntimeDir) -> Result<Journals, JournalError> {
    let boot = boot(dir)?;
    let members = runtime::list(dir)?;
    let mut journals = Journals::default();
    for (id, incarnation, file) in names(dir)? {
        match read(dir, id, &file, &members) {
            Ok(Some((journal, its_boot))) if its_boot == boot && journal.incarnation == incarnation => {
                journals.all.push(journal);
            }
            Ok(_) => {}
            Err(error) => journals.damaged.push(error.to_string()),
        }
    }
    let has_journal = |member: &&MemberSeen| {
        let its = |journal: &WorkerJournal| (journal.worker, journal.incarnation) == (member.id, member.incarnation);
        journals.all.iter().any(its)
    };
    // One whose file does not say yet who it is has not entered, and has served nobody.
    let mut served = members
        .iter()
        .filter(|member| member.present && member.incarnation != Incarnation(0));
    journals.complete = served.all(|member| has_journal(&member));
    Ok(journals)
}

/// Reads the journal of one worker, if it has one.
///
/// # Errors
/// [`JournalError`].
pub fn read_of(
    dir: &RuntimeDir,
    id: WorkerId,
    incarnation: Incarnation,
) -> Result<Option<WorkerJournal>, JournalError> {
    let members = runtime::list(dir)?;
    let found = read(dir, id, &name(id, incarnation), &members)?;
    Ok(found.map(|(journal, _)| journal))
}

/// Takes away the journals of workers that were found dead two of their longest ttls ago (rule O4), and of other boots.
/// Notes in the others when that was. Not by the file's own times: what is stored through a mapping need not move them.
///
/// # Errors
/// [`JournalError`].
pub fn prune(dir: &RuntimeDir, now: Moment) -> Result<(), JournalError> {
    let boot = boot(dir)?;
    let members = runtime::list(dir)?;
    for (id, incarnation, file) in names(dir)? {
        // Nor of one that is about to enter, whose file does not say yet who it is: its journal comes first.
        let its = |member: &MemberSeen| {
            member.id == id && (member.incarnation == incarnation || member.incarnation == Incarnation(0))
        };
        if members.iter().any(|member| member.present && its(member)) {
            continue;
        }
        if is_over(dir, &file, now, boot)? {
            // One that stays is tried again.
            let _ = fs::remove_file(dir.path().join(&file));
        }
    }
    Ok(())
}

/// Whether nobody asks for this dead worker's journal any more.
fn is_over(dir: &RuntimeDir, file: &str, now: Moment, boot: u64) -> Result<bool, MappedError> {
    let Some(words) = Words::open(dir, file)? else {
        return Ok(false);
    };
    match reader::read_words(&words, WorkerId(0), false) {
        Some((_, its_boot)) if its_boot == boot => {}
        // Never whole, damaged, or of another boot: nobody learns anything from it.
        _ => return Ok(true),
    }
    let (found_at, ttl) = reader::found_dead(&words);
    let Some(at) = found_at else {
        writer::found_dead(&words, now);
        return Ok(false);
    };
    Ok(now.since(at) > ttl.max(TTL) * 2)
}

fn read(
    dir: &RuntimeDir,
    id: WorkerId,
    file: &str,
    members: &[MemberSeen],
) -> Result<Option<(WorkerJournal, u64)>, MappedError> {
    let Some(words) = WordsView::open(dir, file)? else {
        return Ok(None);
    };
    let Some((mut journal, boot)) = reader::read_words(&words, id, false) else {
        return Ok(None);
    };
    let its = |member: &MemberSeen| (member.id, member.incarnation) == (id, journal.incarnation);
    journal.alive = members.iter().any(|member| member.present && its(member));
    if journal.alive {
        return Ok(Some((journal, boot)));
    }
    // It may have ended while it was read: what it wrote last counts.
    Ok(reader::read_words(&words, id, false))
}

fn name(id: WorkerId, incarnation: Incarnation) -> String {
    format!("members/{id}.{:016x}.journal", incarnation.0)
}

/// The journals that are there: `members/w3.00112233aabbccdd.journal`.
fn names(dir: &RuntimeDir) -> Result<Vec<(WorkerId, Incarnation, String)>, RuntimeError> {
    let names = runtime::member_files(dir)?;
    let parse = |file: &String| {
        let (id, rest) = file.strip_suffix(".journal")?.split_once('.')?;
        let id = WorkerId(id.strip_prefix('w')?.parse().ok()?);
        let incarnation = Incarnation(u64::from_str_radix(rest, 16).ok()?);
        Some((id, incarnation, format!("members/{file}")))
    };
    Ok(names.iter().filter_map(parse).collect())
}

fn boot(dir: &RuntimeDir) -> Result<u64, RuntimeError> {
    Ok(dir.boot()? as u64)
}
