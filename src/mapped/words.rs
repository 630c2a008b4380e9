//! Numbers that a process leaves for those who come after it: they stay readable after its death, in the order in which
//! they were stored.

use std::fmt;
use std::os::fd::AsFd;
use std::sync::atomic::Ordering;

use rustix::fs::{AtFlags, Mode, OFlags, fstat, ftruncate, openat, renameat, unlinkat};
use rustix::io::Errno;
use rustix::mm::ProtFlags;

use super::MappedError;
use super::counter::failed;
use super::map::{Map, WORD_BYTES, reserve};

/// Most numbers of one file: 512 MiB.
const WORDS_MAX: usize = 1 << 26;

/// Numbers that this process stores. Each is seen by others no later than what is stored after it (sequentially
/// consistent), and all of them outlive the process.
pub struct Words(Map);

impl Words {
    /// Makes a file of `count` numbers, all zero but what `begin` stores. It is whole before it has its name; one of that
    /// name is replaced.
    ///
    /// # Errors
    /// [`MappedError::Io`].
    ///
    /// # Panics
    /// For no numbers, or more than 2^26.
    pub fn create(dir: impl AsFd, name: &str, count: usize, begin: impl FnOnce(&Self)) -> Result<Self, MappedError> {
        assert!((1..=WORDS_MAX).contains(&count), "{count} numbers");
        let new = format!("{name}.new");
        match unlinkat(&dir, &new, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(failed("make", name)(errno)),
        }
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(&dir, &new, flags, Mode::RUSR | Mode::WUSR).map_err(failed("make", name))?;
        let made = reserve(&file, count)
            .and_then(|()| Map::new(&file, count, ProtFlags::READ | ProtFlags::WRITE))
            .map(Self)
            .and_then(|words| {
                begin(&words);
                renameat(&dir, &new, &dir, name).map(|()| words)
            });
        if made.is_err() {
            // The next who makes numbers of this name tries again.
            let _ = unlinkat(&dir, &new, AtFlags::empty());
        }
        made.map_err(failed("make", name))
    }

    /// Opens a file of numbers that somebody else has made; `None` if there is none.
    ///
    /// # Errors
    /// [`MappedError::Io`], [`MappedError::NoCounters`].
    pub fn open(dir: impl AsFd, name: &str) -> Result<Option<Self>, MappedError> {
        let map = open(dir, name, OFlags::RDWR, ProtFlags::READ | ProtFlags::WRITE)?;
        Ok(map.map(Self))
    }

    /// Opens the first `count` numbers of a file, and makes those that are not there, zero. All who open it so give the same
    /// number.
    ///
    /// # Errors
    /// [`MappedError::Io`].
    pub fn open_lengthened(dir: impl AsFd, name: &str, count: usize) -> Result<Self, MappedError> {
        open_lengthened(dir, name, count, ProtFlags::READ | ProtFlags::WRITE).map(Self)
    }

    /// How many there are.
    pub const fn count(&self) -> usize {
        self.0.count()
    }

    /// Stores a number.
    ///
    /// # Panics
    /// For an index beyond them.
    pub fn store(&self, index: usize, value: u64) {
        self.0.words()[index].store(value, Ordering::SeqCst);
    }

    /// The number that stands there.
    ///
    /// # Panics
    /// For an index beyond them.
    pub fn load(&self, index: usize) -> u64 {
        self.0.words()[index].load(Ordering::SeqCst)
    }
}

/// Another process's numbers, to be read.
pub struct WordsView(Map);

impl WordsView {
    /// Opens the file; `None` if there is none.
    ///
    /// # Errors
    /// [`MappedError::Io`], [`MappedError::NoCounters`].
    pub fn open(dir: impl AsFd, name: &str) -> Result<Option<Self>, MappedError> {
        let map = open(dir, name, OFlags::RDONLY, ProtFlags::READ)?;
        Ok(map.map(Self))
    }

    /// Opens the first `count` numbers of a file, and makes those that are not there, zero. All who open it so give the same
    /// number.
    ///
    /// # Errors
    /// [`MappedError::Io`].
    pub fn open_lengthened(dir: impl AsFd, name: &str, count: usize) -> Result<Self, MappedError> {
        open_lengthened(dir, name, count, ProtFlags::READ).map(Self)
    }

    /// How many there are.
    pub const fn count(&self) -> usize {
        self.0.count()
    }

    /// The number that stands there now; zero beyond the last.
    pub fn load(&self, index: usize) -> u64 {
        self.0.words().get(index).map_or(0, |word| word.load(Ordering::SeqCst))
    }
}

fn open_lengthened(dir: impl AsFd, name: &str, count: usize, access: ProtFlags) -> Result<Map, MappedError> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = openat(&dir, name, flags, Mode::RUSR | Mode::WUSR).map_err(failed("open", name))?;
    let (bytes, wanted) = (
        fstat(&file).map_err(failed("look at", name))?.st_size,
        count * WORD_BYTES,
    );
    if bytes.cast_unsigned() < wanted as u64 {
        // Several may lengthen it at once, all to the same; nobody shortens it.
        ftruncate(&file, wanted as u64).map_err(failed("make", name))?;
    }
    Map::new(&file, count, access).map_err(failed("map", name))
}

fn open(dir: impl AsFd, name: &str, access: OFlags, protection: ProtFlags) -> Result<Option<Map>, MappedError> {
    let file = match openat(dir, name, access | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()) {
        Ok(file) => file,
        Err(Errno::NOENT) => return Ok(None),
        Err(errno) => return Err(failed("open", name)(errno)),
    };
    let bytes = fstat(&file).map_err(failed("look at", name))?.st_size.cast_unsigned();
    let count = usize::try_from(bytes).unwrap_or(usize::MAX) / WORD_BYTES;
    if !(1..=WORDS_MAX).contains(&count) || bytes % WORD_BYTES as u64 != 0 {
        return Err(MappedError::NoCounters {
            name: name.to_owned(),
            bytes,
        });
    }
    Map::new(&file, count, protection)
        .map(Some)
        .map_err(failed("map", name))
}

impl fmt::Debug for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Words").field(&self.0.count()).finish()
    }
}

impl fmt::Debug for WordsView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("WordsView").field(&self.0.count()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::OwnedFd;

    use super::*;

    fn room() -> (tempfile::TempDir, OwnedFd) {
        let room = tempfile::tempdir().unwrap();
        let fd = File::open(room.path()).unwrap().into();
        (room, fd)
    }

    #[test]
    fn numbers_are_seen_by_others_and_outlive_their_writer() {
        let (_room, dir) = room();
        assert!(WordsView::open(&dir, "w").unwrap().is_none());
        let words = Words::create(&dir, "w", 1000, |_| ()).unwrap();
        let view = WordsView::open(&dir, "w").unwrap().unwrap();
        assert_eq!((view.count(), view.load(999), view.load(1000)), (1000, 0, 0));
        words.store(999, u64::MAX);
        assert_eq!((words.load(999), view.load(999)), (u64::MAX, u64::MAX));
        drop(words);
        assert_eq!(view.load(999), u64::MAX);
        let again = Words::create(&dir, "w", 2, |words| words.store(1, 5)).unwrap();
        assert_eq!(
            (again.load(0), view.load(999)),
            (0, u64::MAX),
            "a reader keeps what it opened"
        );
    }

    #[test]
    fn one_number_is_made_once_and_never_shortened() {
        let (room, dir) = room();
        let first = WordsView::open_lengthened(&dir, "one", 1).unwrap();
        assert_eq!(first.load(0), 0);
        std::fs::write(room.path().join("one"), 7_u64.to_ne_bytes()).unwrap();
        assert_eq!(WordsView::open_lengthened(&dir, "one", 1).unwrap().load(0), 7);
    }

    #[test]
    fn damaged_files_are_refused() {
        let (room, dir) = room();
        for bytes in [&b""[..], b"1234567"] {
            std::fs::write(room.path().join("w"), bytes).unwrap();
            assert!(matches!(
                WordsView::open(&dir, "w"),
                Err(MappedError::NoCounters { .. })
            ));
        }
    }
}
