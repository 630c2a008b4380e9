//! Loop counters (rule A1): each turn of a loop bumps one, and whoever watches it tells a loop that stands still from
//! one that is late.
//!
//! The file is an array of 64-bit numbers in native order: a counter for each loop, then a mark for each, which says
//! what its loop sees of the handler that it runs (rule A2 b, c). It is written by the one process that made it
//! and read by any number of others; each process finds it in a directory that only its owner may write to.

use std::fmt;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{AtFlags, Mode, OFlags, fstat, openat, renameat, statat, unlinkat};
use rustix::mm::ProtFlags;

use super::MappedError;
use super::map::{Map, WORD_BYTES, reserve};

/// Most counters of one file: a control thread and more slots than a process can have threads.
const COUNTERS_MAX: usize = 1 << 16;

/// A loop has its counter and its mark.
const WORDS_PER_LOOP: usize = 2;

/// The counters of this process: made by it, bumped by any of its threads, gone when this is dropped.
pub struct Counters {
    map: Map,
    dir: OwnedFd,
    name: String,
    file: OwnedFd,
}

impl Counters {
    /// Makes a file of `count` counters, all zero, in place of an earlier one, which its readers keep: it stands still.
    ///
    /// # Errors
    /// [`MappedError::Io`].
    ///
    /// # Panics
    /// For no counters, or more than 65,536.
    pub fn create(dir: impl AsFd, name: &str, count: usize) -> Result<Self, MappedError> {
        assert!((1..=COUNTERS_MAX).contains(&count), "{count} counters");
        let dir = dir
            .as_fd()
            .try_clone_to_owned()
            .map_err(failed("open the directory of", name))?;
        // Made whole under another name, so that nobody opens a file that is still empty.
        let new = format!("{name}.new");
        match unlinkat(&dir, &new, AtFlags::empty()) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => {}
            Err(errno) => return Err(failed("make", name)(errno)),
        }
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(&dir, &new, flags, Mode::RUSR | Mode::WUSR).map_err(failed("make", name))?;
        let made = reserve(&file, count * WORDS_PER_LOOP).and_then(|()| renameat(&dir, &new, &dir, name));
        if let Err(errno) = made {
            // The next who makes counters of this name tries again.
            let _ = unlinkat(&dir, &new, AtFlags::empty());
            return Err(failed("make", name)(errno));
        }
        let words = count * WORDS_PER_LOOP;
        let map = Map::new(&file, words, ProtFlags::READ | ProtFlags::WRITE).map_err(failed("map", name))?;
        Ok(Self {
            map,
            dir,
            name: name.to_owned(),
            file,
        })
    }

    /// Counts one turn of loop `index`. Costs a few nanoseconds.
    ///
    /// # Panics
    /// For an index beyond the counters.
    pub fn bump(&self, index: usize) {
        // Nothing is read on the strength of a counter, so it orders nothing.
        self.counters()[index].fetch_add(1, Ordering::Relaxed);
    }

    /// Says whether the handler that loop `index` runs hangs (rule A2 b, c).
    ///
    /// # Panics
    /// For an index beyond the counters.
    pub fn mark_hung(&self, index: usize, hung: bool) {
        let (_, marks) = halves(&self.map);
        marks[index].store(hung.into(), Ordering::Relaxed);
    }

    /// How many turns loop `index` has made.
    ///
    /// # Panics
    /// For an index beyond the counters.
    pub fn get(&self, index: usize) -> u64 {
        self.counters()[index].load(Ordering::Relaxed)
    }

    fn counters(&self) -> &[AtomicU64] {
        halves(&self.map).0
    }
}

impl Drop for Counters {
    fn drop(&mut self) {
        let there = statat(&self.dir, &self.name, AtFlags::SYMLINK_NOFOLLOW);
        let (Ok(there), Ok(ours)) = (there, fstat(&self.file)) else {
            return;
        };
        if (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino) {
            // A file that stays is replaced by the next of its name.
            let _ = unlinkat(&self.dir, &self.name, AtFlags::empty());
        }
    }
}

/// Another process's counters, to be read. They stay readable after its death.
pub struct CountersView(Map);

impl CountersView {
    /// Opens the counters that are there now; `None` if there are none. It does not follow a later file of that name.
    ///
    /// # Errors
    /// [`MappedError::Io`], [`MappedError::NoCounters`].
    pub fn open(dir: impl AsFd, name: &str) -> Result<Option<Self>, MappedError> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = match openat(dir, name, flags, Mode::empty()) {
            Ok(file) => file,
            Err(rustix::io::Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(failed("open", name)(errno)),
        };
        let bytes = fstat(&file).map_err(failed("look at", name))?.st_size.cast_unsigned();
        let loop_bytes = WORDS_PER_LOOP * WORD_BYTES;
        let count = usize::try_from(bytes).unwrap_or(usize::MAX) / loop_bytes;
        if !(1..=COUNTERS_MAX).contains(&count) || bytes % loop_bytes as u64 != 0 {
            return Err(MappedError::NoCounters {
                name: name.to_owned(),
                bytes,
            });
        }
        Map::new(&file, count * WORDS_PER_LOOP, ProtFlags::READ)
            .map(|map| Some(Self(map)))
            .map_err(failed("map", name))
    }

    /// How many counters there are.
    pub fn count(&self) -> usize {
        self.0.count() / WORDS_PER_LOOP
    }

    /// How many turns loop `index` has made; `None` beyond the counters, whose number the other process chose.
    pub fn get(&self, index: usize) -> Option<u64> {
        let (counters, _) = halves(&self.0);
        counters.get(index).map(|counter| counter.load(Ordering::Relaxed))
    }

    /// Whether the handler that loop `index` runs hangs, as far as that loop has seen.
    pub fn is_hung(&self, index: usize) -> bool {
        let (_, marks) = halves(&self.0);
        marks.get(index).is_some_and(|mark| mark.load(Ordering::Relaxed) != 0)
    }
}

/// The counters of a file, and its marks.
fn halves(map: &Map) -> (&[AtomicU64], &[AtomicU64]) {
    map.words().split_at(map.count() / WORDS_PER_LOOP)
}

impl fmt::Debug for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Counters")
            .field("name", &self.name)
            .field("count", &self.counters().len())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for CountersView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CountersView").field(&self.count()).finish()
    }
}

pub(super) fn failed<E: Into<std::io::Error>>(doing: &'static str, name: &str) -> impl FnOnce(E) -> MappedError {
    let name = name.to_owned();
    move |source| MappedError::Io {
        doing,
        name,
        source: source.into(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};

    use tempfile::TempDir;

    use super::*;

    fn dir() -> (TempDir, File) {
        let dir = TempDir::new().unwrap();
        let fd = File::open(dir.path()).unwrap();
        (dir, fd)
    }

    #[test]
    fn bumps_are_seen_through_another_mapping() {
        let (_dir, fd) = dir();
        assert!(CountersView::open(&fd, "beat").unwrap().is_none());
        let counters = Counters::create(&fd, "beat", 3).unwrap();
        let view = CountersView::open(&fd, "beat").unwrap().unwrap();
        assert_eq!(
            (view.count(), view.get(0), view.get(2), view.get(3)),
            (3, Some(0), Some(0), None)
        );
        counters.bump(2);
        counters.bump(2);
        counters.bump(0);
        assert_eq!((view.get(0), view.get(1), view.get(2)), (Some(1), Some(0), Some(2)));
        assert_eq!(counters.get(2), 2);
    }

    #[test]
    fn marks_stand_beside_the_counters() {
        let (_dir, fd) = dir();
        let counters = Counters::create(&fd, "beat", 2).unwrap();
        let view = CountersView::open(&fd, "beat").unwrap().unwrap();
        counters.mark_hung(1, true);
        assert_eq!([0, 1, 2].map(|index| view.is_hung(index)), [false, true, false]);
        assert_eq!((view.get(0), view.get(1)), (Some(0), Some(0)), "no counter has moved");
        counters.mark_hung(1, false);
        assert!(!view.is_hung(1));
    }

    #[test]
    fn threads_bump_their_own() {
        let (_dir, fd) = dir();
        let counters = Counters::create(&fd, "beat", 4).unwrap();
        std::thread::scope(|scope| {
            for index in 0..4 {
                let counters = &counters;
                scope.spawn(move || (0..1000).for_each(|_| counters.bump(index)));
            }
        });
        assert!((0..4).all(|index| counters.get(index) == 1000));
    }

    #[test]
    fn owner_takes_its_file_away_and_no_other() {
        let (dir, fd) = dir();
        let first = Counters::create(&fd, "beat", 1).unwrap();
        let view = CountersView::open(&fd, "beat").unwrap().unwrap();
        let second = Counters::create(&fd, "beat", 1).unwrap();
        second.bump(0);
        assert_eq!(view.get(0), Some(0), "a new file is not the old one");
        drop(first);
        assert!(dir.path().join("beat").exists());
        assert_eq!(view.get(0), Some(0), "a view stays readable after its owner");
        drop(second);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn files_without_counters_are_refused() {
        let (dir, fd) = dir();
        for bytes in [0, 7, 8, 9, 24] {
            fs::write(dir.path().join("beat"), vec![0; bytes]).unwrap();
            assert!(
                matches!(CountersView::open(&fd, "beat"), Err(MappedError::NoCounters { .. })),
                "{bytes}"
            );
        }
        assert!(Counters::create(&fd, "none/beat", 1).is_err());
    }
}
