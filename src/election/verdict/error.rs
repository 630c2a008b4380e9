//! Why a hung master was not killed: what, where, and what to try.

use std::fmt;
use std::io;

use rustix::io::Errno;

/// Why nobody was killed.
#[derive(Debug, thiserror::Error)]
pub enum VerdictError {
    /// The record names another process by now.
    #[error("not killed: the record now names pid {named}, and pid {pid} was judged")]
    Another {
        /// Who was judged.
        pid: u32,
        /// Who is named.
        named: u32,
    },
    /// The lock is held by another process by now.
    #[error("not killed: pid {pid} was judged, and it no longer holds the host's lock")]
    NoHolder {
        /// Who was judged.
        pid: u32,
    },
    /// Its loop has turned meanwhile.
    #[error("not killed: pid {pid} shows a sign of life")]
    Lives {
        /// Who was judged.
        pid: u32,
    },
    /// It runs another program than the record says.
    #[error("not killed: pid {pid} does not run the program that the record says; see: ls -l /proc/{pid}/exe")]
    AnotherProgram {
        /// Who was judged.
        pid: u32,
    },
    /// The record does not say what the master runs.
    #[error("not killed: the record does not say what program pid {pid} runs; end it by hand: kill -9 {pid}")]
    UnknownProgram {
        /// Who was judged.
        pid: u32,
    },
    /// The system does not let us.
    #[error("cannot kill pid {pid}: held by {} ({}); end it as that user: kill -9 {pid}", Holder(*.uid), reason(*.errno))]
    NotPermitted {
        /// Who was judged.
        pid: u32,
        /// Whose process it is, if that can be read.
        uid: Option<u32>,
        /// What the system says.
        errno: Errno,
    },
    /// It was killed and is still there.
    #[error(
        "pid {pid} was killed and has not ended (state {state}); a process in state D waits for its device or file system"
    )]
    StillThere {
        /// Who was killed.
        pid: u32,
        /// Its state, as in `ps`.
        state: char,
    },
    /// The system refuses.
    #[error("cannot {doing} pid {pid}: {source}")]
    Io {
        /// What was tried.
        doing: &'static str,
        /// With whom.
        pid: u32,
        /// What the system says.
        source: io::Error,
    },
}

struct Holder(Option<u32>);

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(uid) => write!(f, "uid {uid}"),
            None => f.write_str("another user"),
        }
    }
}

/// What the system says, without the number that `io::Error` adds.
fn reason(errno: Errno) -> String {
    let text = io::Error::from(errno).to_string();
    text.split(" (os error").next().unwrap_or(&text).to_owned()
}
