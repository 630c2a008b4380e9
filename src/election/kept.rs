//! The trail of the last verdict of a host, kept in its directory: written by who passed it, completed by the next
//! broker, shown by `zhit ping`.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::verdict::{Elected, Outcome, Trail};
use crate::protocol::time::Moment;
use crate::runtime::{self, RuntimeDir, RuntimeError};

/// The file's content.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Kept {
    /// For people: one line.
    pub text: String,
    /// When the master was killed, in microseconds since the machine started, as long as nobody has followed.
    pub vacant_since: Option<u64>,
    /// For programs.
    pub event: Value,
}

/// Keeps a trail of what was done at that moment.
///
/// # Errors
/// [`RuntimeError::Io`].
pub fn write(dir: &RuntimeDir, at: Moment, trail: &Trail) -> Result<(), RuntimeError> {
    let kept = Kept {
        text: trail.to_string(),
        vacant_since: matches!(trail.outcome, Outcome::Killed(None)).then_some(at.as_micros()),
        event: serde_json::to_value(trail).unwrap_or_default(),
    };
    store(dir, &kept)
}

/// The last trail, if there is one that can be read.
pub fn read(dir: &RuntimeDir) -> Option<Kept> {
    let bytes = runtime::read_trail(dir).ok()??;
    serde_json::from_slice(&bytes).ok()
}

/// Completes a trail whose end is this broker, which serves since then. Returns it, if there was one to be completed.
///
/// # Errors
/// [`RuntimeError::Io`].
pub fn complete(dir: &RuntimeDir, served_at: Moment, mut elected: Elected) -> Result<Option<Kept>, RuntimeError> {
    let Some(kept) = read(dir) else { return Ok(None) };
    let Some(since) = kept.vacant_since else {
        return Ok(None);
    };
    elected.within = served_at.since(Moment::from_micros(since));
    let kept = Kept {
        text: format!("{}; {elected}", kept.text),
        vacant_since: None,
        event: with(kept.event, elected),
    };
    store(dir, &kept)?;
    Ok(Some(kept))
}

fn with(mut event: Value, elected: Elected) -> Value {
    if let Some(fields) = event.as_object_mut() {
        fields.insert("elected".to_owned(), serde_json::to_value(elected).unwrap_or_default());
    }
    event
}

fn store(dir: &RuntimeDir, kept: &Kept) -> Result<(), RuntimeError> {
    let text = serde_json::to_vec(kept).unwrap_or_default();
    runtime::write_trail(dir, &text)
}
