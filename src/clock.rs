//! The only reader of the clock. Everything else is handed a [`Moment`].

use rustix::time::{ClockId, clock_gettime};

use crate::protocol::Moment;

/// Now, on `CLOCK_BOOTTIME`: it goes on while the machine sleeps, so a process that was stopped or suspended notices
/// (rule O5), and nobody sets it.
pub fn now() -> Moment {
    let time = clock_gettime(ClockId::Boottime);
    Moment::from_micros(unsigned(time.tv_sec) * 1_000_000 + unsigned(time.tv_nsec) / 1000)
}

/// Seconds since 1970, for terms (rule E2) and for people. It may jump; nothing is timed by it.
pub fn unix_seconds() -> u64 {
    unsigned(clock_gettime(ClockId::Realtime).tv_sec)
}

/// Both clocks count up from zero; a realtime clock that was set before 1970 counts as 1970.
fn unsigned(part: i64) -> u64 {
    u64::try_from(part).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_does_not_run_backwards() {
        let first = now();
        assert!(now() >= first);
        assert!(first > Moment::ZERO);
        assert!(unix_seconds() > 1_700_000_000);
    }
}
