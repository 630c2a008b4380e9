//! How a request ended: what its END mark carries.

use std::fmt;

/// The end of one request. A request's own END is always [`Status::Ok`]; a reply's says how the handler fared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Status {
    /// All well.
    #[default]
    Ok,
    /// The handler exited with this code, or failed the request with it.
    Exit(u8),
    /// This signal killed the handler.
    Signal(u8),
    /// The request's deadline passed; the handler was told, then killed.
    Deadline,
    /// The handler could not be started. A note says why.
    NotStarted,
    /// The request was not taken: it breaks a limit or does not fit the handler. A note says why.
    Refused,
    /// The request was ended by its client, by a drain or by a new attachment.
    Cancelled,
}

const EXIT_MAX: u32 = 0xff;
const SIGNAL_BASE: u32 = 0x100;
const DEADLINE: u32 = 0x1_0000;
const NOT_STARTED: u32 = 0x1_0001;
const REFUSED: u32 = 0x1_0002;
const CANCELLED: u32 = 0x1_0003;

impl Status {
    /// The number on the wire.
    pub const fn to_wire(self) -> u32 {
        match self {
            Self::Ok => 0,
            Self::Exit(code) => code as u32,
            Self::Signal(number) => SIGNAL_BASE + number as u32,
            Self::Deadline => DEADLINE,
            Self::NotStarted => NOT_STARTED,
            Self::Refused => REFUSED,
            Self::Cancelled => CANCELLED,
        }
    }

    /// The status with this number, if there is one.
    pub const fn from_wire(number: u32) -> Option<Self> {
        match number {
            0 => Some(Self::Ok),
            1..=EXIT_MAX => Some(Self::Exit(number as u8)),
            SIGNAL_BASE..=0x1ff => Some(Self::Signal((number - SIGNAL_BASE) as u8)),
            DEADLINE => Some(Self::Deadline),
            NOT_STARTED => Some(Self::NotStarted),
            REFUSED => Some(Self::Refused),
            CANCELLED => Some(Self::Cancelled),
            _ => None,
        }
    }

    /// Whether the handler did what it was asked.
    pub const fn is_ok(self) -> bool {
        matches!(self, Self::Ok)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ok => f.write_str("ok"),
            Self::Exit(code) => write!(f, "exit {code}"),
            Self::Signal(number) => write!(f, "signal {number}"),
            Self::Deadline => f.write_str("deadline"),
            Self::NotStarted => f.write_str("not started"),
            Self::Refused => f.write_str("refused"),
            Self::Cancelled => f.write_str("cancelled"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_number_reads_back() {
        let known = (0..0x2_0000).filter_map(|n| Status::from_wire(n).map(|s| (n, s)));
        let mut count = 0;
        for (number, status) in known {
            assert_eq!(status.to_wire(), number);
            count += 1;
        }
        assert_eq!(count, 256 + 256 + 4);
    }
}
