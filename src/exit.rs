//! The exit codes: what a script learns from `$?`. Help, man pages and README tell the same table.

use std::process::ExitCode;

/// How a zhit process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Exit {
    /// All well.
    #[default]
    Success,
    /// A handler failed.
    HandlerFailed,
    /// The command line, the layout or the runtime directory cannot be used.
    Usage,
    /// A broadcast or ping is incomplete; who is missing was named.
    Incomplete,
    /// No broker was reached.
    NoBroker,
    /// No slot was free within `--wait`.
    NoSlot,
    /// The Hit was lost; what ran and what did not was said.
    Lost,
    /// The other side refused (keys).
    Refused,
    /// The deadline passed.
    Deadline,
    /// Ended by this signal.
    Signal(u8),
    /// As the command of `client --hold` did.
    Command(u8),
}

/// Signal numbers are added to this, as shells do.
const SIGNAL_BASE: u8 = 128;

impl Exit {
    /// Every code with its meaning in a few words, for help and man pages.
    pub const TABLE: [(&'static str, &'static str); 10] = [
        ("0", "all well"),
        ("1", "a handler failed"),
        ("2", "usage, or a layout or runtime directory that cannot be used"),
        (
            "3",
            "broadcast or ping incomplete (hung, dead or unreachable members are named)",
        ),
        ("4", "no broker reached"),
        ("5", "no slot within --wait"),
        ("6", "the Hit was lost (what ran and what did not is said)"),
        ("7", "refused (keys)"),
        ("124", "the deadline passed"),
        ("128+n", "ended by signal n"),
    ];

    /// Ended by this signal.
    pub fn of_signal(signal: i32) -> Self {
        Self::Signal(u8::try_from(signal).unwrap_or(0))
    }

    /// The number for the shell.
    pub const fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::HandlerFailed => 1,
            Self::Usage => 2,
            Self::Incomplete => 3,
            Self::NoBroker => 4,
            Self::NoSlot => 5,
            Self::Lost => 6,
            Self::Refused => 7,
            Self::Deadline => 124,
            Self::Signal(number) => SIGNAL_BASE.saturating_add(number),
            Self::Command(code) => code,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_lists_every_code_in_order() {
        let all = [
            Exit::Success,
            Exit::HandlerFailed,
            Exit::Usage,
            Exit::Incomplete,
            Exit::NoBroker,
            Exit::NoSlot,
            Exit::Lost,
            Exit::Refused,
            Exit::Deadline,
        ];
        let codes: Vec<String> = all.iter().map(|exit| exit.code().to_string()).collect();
        let table: Vec<&str> = Exit::TABLE.iter().map(|(code, _)| *code).collect();
        assert_eq!(table.split_last().map(|(last, rest)| (*last, rest.to_vec())), {
            Some(("128+n", codes.iter().map(String::as_str).collect()))
        });
    }

    #[test]
    fn signals_count_as_in_a_shell() {
        assert_eq!(Exit::Signal(2).code(), 130);
        assert_eq!(Exit::Signal(15).code(), 143);
    }
}
