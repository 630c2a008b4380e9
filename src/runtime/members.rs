//! Who is present: each worker holds the lock on a file of its own in `members/`.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process;

use rustix::fs::{FlockOperation, ftruncate};

use super::dir::RuntimeDir;
use super::process::start_ticks;
use super::{RuntimeError, files};
use crate::protocol::{Incarnation, WorkerId};

/// Highest worker number: five digits, as the longest socket path has (`dir.rs`).
const WORKERS_MAX: u32 = 65_535;

/// How often a member file that is taken away meanwhile is tried before the next number.
const TRIES: u32 = 8;

/// This process's presence, from entering to leaving: dropping it leaves.
#[derive(Debug)]
pub struct Member {
    file: OwnedFd,
    path: PathBuf,
    id: WorkerId,
    incarnation: Incarnation,
}

impl Member {
    /// Enters under the lowest free number, says whether it votes on its master (rule O7), and clears away what an earlier worker of that number left behind.
    ///
    /// # Errors
    /// [`RuntimeError::Full`], [`RuntimeError::Io`].
    pub fn enter(dir: &RuntimeDir, votes: bool) -> Result<Self, RuntimeError> {
        let nothing = |_, _| Ok::<(), RuntimeError>(());
        Self::enter_with(dir, votes, nothing).map(|(member, ())| member)
    }

    /// As [`enter`](Self::enter); `prepare` makes what must be there before anybody sees this member.
    ///
    /// # Errors
    /// As [`enter`](Self::enter), and those of `prepare`.
    pub fn enter_with<T, E: From<RuntimeError>>(
        dir: &RuntimeDir,
        votes: bool,
        prepare: impl FnOnce(WorkerId, Incarnation) -> Result<T, E>,
    ) -> Result<(Self, T), E> {
        let members = dir.path().join("members");
        for number in 1..=WORKERS_MAX {
            let id = WorkerId(number);
            let path = members.join(id.to_string());
            let Some(file) = take(dir, id, &path).map_err(RuntimeError::io("lock", &path))? else {
                continue;
            };
            sweep(dir, id);
            let random = files::random().map_err(RuntimeError::io("find random bytes for", &path))?;
            // Zero stands for "none seen yet".
            let incarnation = Incarnation(u64::from_ne_bytes(random).max(1));
            let member = Self {
                file,
                path,
                id,
                incarnation,
            };
            // Until it is described, its file names nobody, and not the one who had the number before.
            ftruncate(&member.file, 0).map_err(RuntimeError::io("write", &member.path))?;
            let prepared = prepare(id, incarnation)?;
            describe(&member.file, incarnation, votes).map_err(RuntimeError::io("write", &member.path))?;
            return Ok((member, prepared));
        }
        Err(RuntimeError::Full { path: members }.into())
    }

    /// Its number.
    pub const fn id(&self) -> WorkerId {
        self.id
    }

    /// Tells it from an earlier worker of the same number.
    pub const fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// Whether the path still leads to what is locked; if not, others do not see this member, and it enters anew
    /// (rule A5).
    pub fn is_still_present(&self) -> bool {
        files::leads_to(&self.path, &self.file)
    }

    /// Leaves: takes the file away while it is locked, so that whoever has opened it meanwhile finds that its path
    /// leads elsewhere.
    pub fn leave(self) {}
}

impl Drop for Member {
    fn drop(&mut self) {
        if self.is_still_present() {
            // A file that cannot be taken away is unlocked a moment later, and that is what counts.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Clears away what a worker left behind that died without leaving, so that nothing of it waits for the next of its number.
/// Does nothing if somebody has the number by now.
///
/// # Errors
/// [`RuntimeError::Io`].
pub fn bury(dir: &RuntimeDir, id: WorkerId) -> Result<(), RuntimeError> {
    let path = dir.path().join("members").join(id.to_string());
    let Some(file) = take(dir, id, &path).map_err(RuntimeError::io("lock", &path))? else {
        return Ok(());
    };
    sweep(dir, id);
    // Dropping it takes the file away.
    drop(Member {
        file,
        path,
        id,
        incarnation: Incarnation(0),
    });
    Ok(())
}

/// What the file of a member tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemberSeen {
    /// Its number.
    pub id: WorkerId,
    /// Whether it lives; else it ended without leaving.
    pub present: bool,
    /// Its process; 0 if the file does not say.
    pub pid: u32,
    /// Its incarnation; 0 if the file does not say.
    pub incarnation: Incarnation,
    /// When its process started, in clock ticks since the machine did; 0 if the file does not say.
    pub start_ticks: u64,
    /// It votes on its master.
    pub votes: bool,
}

/// All members, by number, for diagnosis. A member that enters or leaves meanwhile may be missing.
///
/// # Errors
/// [`RuntimeError::Io`].
pub fn list(dir: &RuntimeDir) -> Result<Vec<MemberSeen>, RuntimeError> {
    let members = dir.path().join("members");
    let names = names(&members).map_err(RuntimeError::io("list", &members))?;
    let mut seen: Vec<_> = names.iter().filter_map(|name| look(dir, name)).collect();
    seen.sort_unstable_by_key(|member| member.id);
    Ok(seen)
}

/// Names of all files of members.
///
/// # Errors
/// [`RuntimeError::Io`].
pub fn member_files(dir: &RuntimeDir) -> Result<Vec<String>, RuntimeError> {
    let members = dir.path().join("members");
    names(&members).map_err(RuntimeError::io("list", &members))
}

/// One member; `None` if the name is no member's, or it has just left.
fn look(dir: &RuntimeDir, name: &str) -> Option<MemberSeen> {
    let id = WorkerId(name.strip_prefix('w')?.parse().ok()?);
    let file = format!("members/{id}");
    let text = files::read(dir, &file).ok()??;
    let text = String::from_utf8_lossy(&text);
    Some(MemberSeen {
        id,
        present: files::is_locked(dir, &file).ok()?,
        pid: files::fact(&text, "pid")
            .and_then(|pid| pid.parse().ok())
            .unwrap_or_default(),
        incarnation: Incarnation(
            files::fact(&text, "incarnation")
                .and_then(|hex| u64::from_str_radix(hex, 16).ok())
                .unwrap_or_default(),
        ),
        start_ticks: files::fact(&text, "start")
            .and_then(|ticks| ticks.parse().ok())
            .unwrap_or_default(),
        votes: files::fact(&text, "votes") == Some("yes"),
    })
}

/// Locks a number's file; `None` if it is taken.
fn take(dir: &RuntimeDir, id: WorkerId, path: &Path) -> io::Result<Option<OwnedFd>> {
    for _ in 0..TRIES {
        let file = files::open_lock_file(dir, &format!("members/{id}"))?;
        if !files::lock(&file, FlockOperation::NonBlockingLockExclusive)? {
            return Ok(None);
        }
        // The one who left may have taken the file away between our opening and our locking it.
        if files::leads_to(path, &file) {
            return Ok(Some(file));
        }
    }
    Ok(None)
}

/// Writes who holds the file. Its reader takes what it finds.
fn describe(file: &OwnedFd, incarnation: Incarnation, votes: bool) -> io::Result<()> {
    let pid = process::id();
    let start = start_ticks(pid).unwrap_or(0);
    ftruncate(file, 0)?;
    let votes = if votes { "yes" } else { "no" };
    let text = format!(
        "pid {pid}\nincarnation {:016x}\nstart {start}\nvotes {votes}\n",
        incarnation.0
    );
    files::write_at_start(file, text.as_bytes())
}

/// Clears away what a worker that died without leaving left behind: scratch directories, sockets, counters. What cannot
/// be cleared away is in nobody's way and only reported.
fn sweep(dir: &RuntimeDir, id: WorkerId) {
    let id = id.to_string();
    for (room, is_left_over) in [
        ("scratch", is_scratch as fn(&str) -> bool),
        ("members", is_socket_or_beat),
    ] {
        let room = dir.path().join(room);
        for name in names(&room).unwrap_or_default() {
            if !name.strip_prefix(&id).is_some_and(is_left_over) {
                continue;
            }
            let path = room.join(&name);
            let is_dir = fs::symlink_metadata(&path).is_ok_and(|found| found.is_dir());
            let removed = if is_dir {
                fs::remove_dir_all(&path)
            } else {
                fs::remove_file(&path)
            };
            if let Err(error) = removed {
                tracing::warn!(
                    "cannot remove {}, which an earlier {id} left behind: {error}",
                    path.display()
                );
            }
        }
    }
}

/// Whether `wNREST` in `scratch/` is worker N's: `w1` is not the start of `w12`.
fn is_scratch(rest: &str) -> bool {
    !rest.starts_with(|next: char| next.is_ascii_digit())
}

/// Whether `wNREST` in `members/` is worker N's and of no use after its death. (Its journal is.)
fn is_socket_or_beat(rest: &str) -> bool {
    let Some(kind) = rest.strip_prefix('.') else {
        return false;
    };
    // A journal without its name was never made whole.
    kind == "beat"
        || kind.ends_with(".journal.new")
        || (!kind.is_empty() && kind.bytes().all(|byte| byte.is_ascii_digit()))
}

fn names(dir: &Path) -> io::Result<Vec<String>> {
    let entries = fs::read_dir(dir)?.filter_map(Result::ok);
    Ok(entries
        .filter_map(|entry| entry.file_name().to_str().map(ToOwned::to_owned))
        .collect())
}
