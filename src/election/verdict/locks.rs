//! Who holds a lock, by `/proc/locks`: for a master that hangs before it has written its record (rule V3).

use std::fs;
use std::io;

use super::FileId;

/// How often the list is looked through for a lock that is not found.
const LOOKS: u32 = 3;

/// The process that holds the exclusive `flock` on a file; `None` if nobody does whom this namespace can name.
///
/// # Errors
/// As reading `/proc/locks`.
pub fn lock_holder(file: FileId) -> io::Result<Option<u32>> {
    // The kernel gives the list by pages: an entry may be missed while others take and let go of locks.
    for _ in 0..LOOKS {
        let holder = lock_holder_in(&fs::read_to_string("/proc/locks")?, file);
        if holder.is_some() {
            return Ok(holder);
        }
    }
    Ok(None)
}

/// The same, in the text of `/proc/locks` (proc(5)):
///
/// ```text
/// 1: FLOCK  ADVISORY  WRITE 812 08:02:131095 0 EOF
/// 1: -> FLOCK  ADVISORY  WRITE 905 08:02:131095 0 EOF
/// ```
///
/// A line with an arrow is of one that waits. Asking whether a lock is held takes it shared for a moment, so only
/// exclusive ones count.
pub fn lock_holder_in(text: &str, file: FileId) -> Option<u32> {
    text.lines().find_map(|line| {
        let mut fields = line.split_ascii_whitespace().skip(1);
        if fields.next()? != "FLOCK" || fields.nth(1)? != "WRITE" {
            return None;
        }
        // A holder of another pid namespace is shown as 0 or below.
        let pid = fields.next()?.parse().ok().filter(|pid| *pid > 0)?;
        (parse_file(fields.next()?)? == file).then_some(pid)
    })
}

/// `major:minor:inode`, in hex, hex and decimal.
fn parse_file(text: &str) -> Option<FileId> {
    let mut parts = text.split(':');
    let mut number = |radix| parts.next().map(|part| u64::from_str_radix(part, radix));
    let (major, minor) = (number(16)?.ok()?, number(16)?.ok()?);
    let inode = number(10)?.ok()?;
    let device = rustix::fs::makedev(u32::try_from(major).ok()?, u32::try_from(minor).ok()?);
    parts.next().is_none().then_some(FileId { device, inode })
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    const TEXT: &str = "\
1: POSIX  ADVISORY  WRITE 700 08:02:131095 0 EOF
2: FLOCK  ADVISORY  READ  701 08:02:131095 0 EOF
3: FLOCK  ADVISORY  WRITE 702 08:12:131095 0 EOF
4: FLOCK  ADVISORY  WRITE 703 08:02:13109 0 EOF
5: FLOCK  ADVISORY  WRITE 812 08:02:131095 0 EOF
5: -> FLOCK  ADVISORY  WRITE 905 08:02:131095 0 EOF
6: FLOCK  ADVISORY  WRITE 0 00:2a:77 0 EOF
7: OFDLCK ADVISORY  WRITE -1 00:2a:78 0 EOF
8: -> FLOCK  ADVISORY  WRITE 906 00:2a:79 0 EOF
";

    fn file(major: u32, minor: u32, inode: u64) -> FileId {
        let device = rustix::fs::makedev(major, minor);
        FileId { device, inode }
    }

    #[test]
    fn exclusive_holder_is_found_among_others() {
        assert_eq!(lock_holder_in(TEXT, file(8, 2, 131_095)), Some(812));
        assert_eq!(lock_holder_in(TEXT, file(8, 0x12, 131_095)), Some(702));
    }

    #[test]
    fn nobody_is_named_for_what_is_not_held_by_one_who_can_be() {
        for (file, why) in [
            (file(8, 2, 1), "another inode"),
            (file(0, 0x2a, 77), "another pid namespace"),
            (file(0, 0x2a, 79), "only waited for"),
        ] {
            assert_eq!(lock_holder_in(TEXT, file), None, "{why}");
        }
    }

    #[test]
    fn odd_lines_are_passed_over() {
        for text in [
            "",
            "1:",
            "1: FLOCK",
            "1: FLOCK ADVISORY WRITE 7",
            "1: FLOCK ADVISORY WRITE 7 x:y:z 0",
            "9: FLOCK A WRITE 7 8:2 0",
        ] {
            assert_eq!(lock_holder_in(text, file(8, 2, 131_095)), None, "{text}");
        }
    }

    #[test]
    fn our_own_lock_is_found() {
        let dir = tempfile::TempDir::new().unwrap();
        let path = dir.path().join("lock");
        let lock = File::create(&path).unwrap();
        let id = FileId::of(&path).unwrap();
        assert_eq!(lock_holder(id).unwrap(), None);
        lock.lock().unwrap();
        assert_eq!(lock_holder(id).unwrap(), Some(std::process::id()));
    }
}
