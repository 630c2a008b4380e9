//! A Hit's scratch directory (`ZHIT_DIR`): made when the first handler that could want it starts, removed with all it
//! holds when the Hit ends.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::protocol::ids::{BroadcastId, HitKey, SlotId, WorkerId};

/// Where they lie below the runtime directory.
const SCRATCH_DIR: &str = "scratch";

/// Digits of the Hit's key in the name: enough for a person to tell them apart.
const KEY_DIGITS: usize = 8;

/// Why a scratch directory is not there, or not gone.
#[derive(Debug, thiserror::Error)]
#[error("cannot {doing} scratch directory {}: {source}; check the runtime directory's space and owner", path.display())]
pub struct ScratchError {
    doing: &'static str,
    path: PathBuf,
    source: io::Error,
}

/// The scratch directory of one Hit, perhaps not made yet. Dropping it removes it.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    made: bool,
}

impl Scratch {
    /// Names the directory of `hit` in `slot`, below this runtime directory; makes nothing.
    pub fn new(runtime_dir: &Path, slot: SlotId, hit: HitKey) -> Self {
        let digits: String = hit.to_string().chars().take(KEY_DIGITS).collect();
        let name = format!("{}{digits}", prefix(slot));
        Self {
            path: runtime_dir.join(SCRATCH_DIR).join(name),
            made: false,
        }
    }

    /// Names one for a process that is started before its Hit; `number` tells it from others of the slot.
    pub fn ahead(runtime_dir: &Path, slot: SlotId, number: u64) -> Self {
        let name = format!("{}ahead-{number}", prefix(slot));
        Self {
            path: runtime_dir.join(SCRATCH_DIR).join(name),
            made: false,
        }
    }

    /// Names one for a broadcast's handler.
    pub fn broadcast(runtime_dir: &Path, slot: SlotId, id: BroadcastId) -> Self {
        let digits: String = id.to_string().chars().take(KEY_DIGITS).collect();
        let name = format!("{}broadcast-{digits}", prefix(slot));
        Self {
            path: runtime_dir.join(SCRATCH_DIR).join(name),
            made: false,
        }
    }

    /// The same directory for another owner; only one of the two makes it.
    #[must_use]
    pub fn another(&self) -> Self {
        Self {
            path: self.path.clone(),
            made: false,
        }
    }

    /// Its path, whether it exists or not.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes it (0700) if that has not been done, and gives its path.
    pub fn make(&mut self) -> Result<&Path, ScratchError> {
        if !self.made {
            self.create().map_err(|source| self.error("make", source))?;
            self.made = true;
        }
        Ok(&self.path)
    }

    fn create(&self) -> io::Result<()> {
        let mut builder = DirBuilder::new();
        builder.mode(0o700);
        match builder.create(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let parent = self.path.parent().unwrap_or(Path::new("."));
                DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
                builder.create(&self.path)
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                // Left by an earlier worker of this id: a Hit never sees what another one left.
                remove_tree(&self.path)?;
                builder.create(&self.path)
            }
            other => other,
        }
    }

    /// Removes it with all it holds, following no link. Does nothing if it was never made.
    pub fn remove(&mut self) -> Result<(), ScratchError> {
        if !self.made {
            return Ok(());
        }
        self.made = false;
        remove_tree(&self.path).map_err(|source| self.error("remove", source))
    }

    fn error(&self, doing: &'static str, source: io::Error) -> ScratchError {
        ScratchError {
            doing,
            path: self.path.clone(),
            source,
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Nobody is left to tell; the next worker of this id sweeps.
        let _ = self.remove();
    }
}

/// What the names of a slot's scratch directories start with.
fn prefix(slot: SlotId) -> String {
    format!("{}-{}-", slot.worker, slot.number)
}

/// Removes what an earlier worker of this id left when it was killed. To be called by the holder of the id only.
pub fn sweep(runtime_dir: &Path, worker: WorkerId) -> io::Result<()> {
    let entries = match fs::read_dir(runtime_dir.join(SCRATCH_DIR)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    let prefix = format!("{worker}-");
    for entry in entries {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(&prefix) {
            remove_tree(&entry.path())?;
        }
    }
    Ok(())
}

/// Removes a tree, also one with directories that their maker may not write (a package cache).
fn remove_tree(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            open_directories(path)?;
            fs::remove_dir_all(path)
        }
        other => other,
    }
}

/// Gives the owner all rights on every directory of the tree.
fn open_directories(path: &Path) -> io::Result<()> {
    fs::set_permissions(path, Permissions::from_mode(0o700))?;
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            open_directories(&entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on may panic")]
mod tests {
    use super::*;

    use std::os::unix::fs::symlink;

    const SLOT: SlotId = SlotId {
        worker: WorkerId(3),
        number: 2,
    };
    const HIT: HitKey = HitKey::from_bytes([0xab; 16]);

    fn runtime(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("zhit-scratch-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        path
    }

    #[test]
    fn directory_is_made_on_demand_and_private() {
        let runtime = runtime("made");
        let mut scratch = Scratch::new(&runtime, SLOT, HIT);
        assert!(!runtime.join("scratch").exists());
        let path = scratch.make().unwrap().to_owned();
        assert_eq!(path, runtime.join("scratch/w3-2-abababab"));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o700);
        assert_eq!(scratch.make().unwrap(), path);
        drop(scratch);
        assert!(!path.exists());
        fs::remove_dir_all(runtime).unwrap();
    }

    #[test]
    fn removal_follows_no_link_and_minds_no_mode() {
        let runtime = runtime("links");
        let precious = runtime.join("precious");
        fs::create_dir_all(&precious).unwrap();
        fs::write(precious.join("file"), "x").unwrap();
        let mut scratch = Scratch::new(&runtime, SLOT, HIT);
        let path = scratch.make().unwrap().to_owned();
        symlink(&precious, path.join("link")).unwrap();
        fs::create_dir_all(path.join("a/b")).unwrap();
        fs::write(path.join("a/b/file"), "x").unwrap();
        fs::set_permissions(path.join("a/b"), Permissions::from_mode(0o500)).unwrap();
        fs::set_permissions(path.join("a"), Permissions::from_mode(0o000)).unwrap();
        scratch.remove().unwrap();
        assert!(!path.exists());
        assert!(precious.join("file").exists());
        fs::remove_dir_all(runtime).unwrap();
    }

    #[test]
    fn a_hit_sees_nothing_of_an_earlier_one() {
        let runtime = runtime("earlier");
        let mut crashed = Scratch::new(&runtime, SLOT, HIT);
        fs::write(crashed.make().unwrap().join("old"), "x").unwrap();
        std::mem::forget(crashed);
        let mut scratch = Scratch::new(&runtime, SLOT, HIT);
        assert_eq!(fs::read_dir(scratch.make().unwrap()).unwrap().count(), 0);
        drop(scratch);
        fs::remove_dir_all(runtime).unwrap();
    }

    #[test]
    fn sweep_takes_only_the_worker_that_it_is_told() {
        let runtime = runtime("sweep");
        sweep(&runtime, WorkerId(3)).unwrap();
        for name in ["w3-1-aa", "w3-2-bb", "w33-1-cc"] {
            fs::create_dir_all(runtime.join("scratch").join(name).join("deep")).unwrap();
        }
        sweep(&runtime, WorkerId(3)).unwrap();
        let left: Vec<_> = fs::read_dir(runtime.join("scratch"))
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .collect();
        assert_eq!(left, ["w33-1-cc"]);
        fs::remove_dir_all(runtime).unwrap();
    }
}
