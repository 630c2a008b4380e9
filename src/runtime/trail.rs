//! The file that keeps the trail of the last verdict on a broker.

use super::dir::RuntimeDir;
use super::{RuntimeError, files};

const TRAIL: &str = "broker.trail";

/// What it holds, if it is there.
///
/// # Errors
/// [`RuntimeError::Io`].
pub fn read_trail(dir: &RuntimeDir) -> Result<Option<Vec<u8>>, RuntimeError> {
    files::read(dir, TRAIL).map_err(RuntimeError::io("read", dir.path().join(TRAIL)))
}

/// Replaces it in one step.
///
/// # Errors
/// [`RuntimeError::Io`].
pub fn write_trail(dir: &RuntimeDir, text: &[u8]) -> Result<(), RuntimeError> {
    files::replace(dir, TRAIL, text).map_err(RuntimeError::io("write", dir.path().join(TRAIL)))
}
