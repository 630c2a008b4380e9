//! The handlers that are built in: their names and what each does, for the command line and the worker alike. What a
//! builtin needs to know beyond its name stands in the request's text.

use std::fmt;
use std::str::FromStr;

/// A handler that needs no program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Builtin {
    /// Answers `World`.
    #[default]
    Hello,
    /// Answers with the request's bytes.
    Echo,
    /// Answers with host, worker, slot, thread id and the request's number.
    Whoami,
    /// Sleeps for the duration that the request names (`100ms`).
    Sleep,
    /// Counts and hashes the request's bytes.
    Sink,
    /// Answers with as many bytes as the request names (`1048576`, `10MiB`).
    Source,
}

impl Builtin {
    /// Every builtin, in the order of the help.
    pub const ALL: [Self; 6] = [
        Self::Hello,
        Self::Echo,
        Self::Whoami,
        Self::Sleep,
        Self::Sink,
        Self::Source,
    ];

    /// Its name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hello => "hello",
            Self::Echo => "echo",
            Self::Whoami => "whoami",
            Self::Sleep => "sleep",
            Self::Sink => "sink",
            Self::Source => "source",
        }
    }

    /// One line on what it does.
    pub const fn help(self) -> &'static str {
        match self {
            Self::Hello => "answers World",
            Self::Echo => "answers with the request itself",
            Self::Whoami => "answers with host, worker, slot, thread id and the request's number",
            Self::Sleep => "sleeps as long as the request says (100ms)",
            Self::Sink => "counts and hashes the request's bytes",
            Self::Source => "answers with as many bytes as the request says (1048576, 10MiB)",
        }
    }
}

impl fmt::Display for Builtin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why a text names no builtin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no builtin {0:?}: take hello, echo, whoami, sleep, sink or source")]
pub struct NoSuchBuiltin(String);

impl FromStr for Builtin {
    type Err = NoSuchBuiltin;

    fn from_str(text: &str) -> Result<Self, NoSuchBuiltin> {
        let named = Self::ALL.into_iter().find(|builtin| builtin.name() == text);
        named.ok_or_else(|| NoSuchBuiltin(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back() {
        for builtin in Builtin::ALL {
            assert_eq!(builtin.name().parse(), Ok(builtin));
        }
    }

    #[test]
    fn the_error_names_every_builtin() {
        let error = "cat".parse::<Builtin>().expect_err("no builtin").to_string();
        for builtin in Builtin::ALL {
            assert!(error.contains(builtin.name()), "{builtin}: {error}");
        }
    }
}
