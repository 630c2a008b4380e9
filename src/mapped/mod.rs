//! The room of unsafe code: small files mapped into memory, so that a process can be looked at while it hangs and after
//! it died, and what runs between fork and exec. Each block tells why it is sound.

mod counter;
#[expect(unsafe_code, reason = "mapping a file, and reading it as numbers, is unsafe")]
mod map;
pub mod spawn;
mod words;

pub use counter::{Counters, CountersView};
pub use words::{Words, WordsView};

use std::io;

/// Why a mapped file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum MappedError {
    /// The system refuses.
    #[error("cannot {doing} the mapped file {name}: {source}")]
    Io {
        /// What was tried.
        doing: &'static str,
        /// The file, below its directory.
        name: String,
        /// What the system says.
        source: io::Error,
    },
    /// The file holds no counters.
    #[error("{name} holds no numbers: it has {bytes} bytes; with no zhit running, remove it")]
    NoCounters {
        /// The file, below its directory.
        name: String,
        /// Its length.
        bytes: u64,
    },
}
