//! What a process does, or does not, as `/proc` shows it from outside.

use std::fmt;
use std::fs;
use std::time::Duration;

use serde::Serialize;

use super::trail::seconds;

/// Clock ticks of `/proc` in a second: the kernel's `USER_HZ`, which is part of its interface to programs and 100 on
/// every architecture that Rust runs Linux on.
const TICKS_PER_SECOND: u64 = 100;

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Autopsy {
    /// Its state, as in `ps`: `T` stopped, `D` stuck in the kernel, `R` running, `S` asleep, …
    pub state: char,
    /// The function of the kernel that it waits in; empty if it waits for nothing or the kernel does not say.
    pub wchan: String,
    /// How long it ran in its own code.
    #[serde(rename = "user_ms", serialize_with = "millis")]
    pub user: Duration,
    /// How long the kernel worked for it.
    #[serde(rename = "system_ms", serialize_with = "millis")]
    pub system: Duration,
    /// How many threads it has.
    pub threads: u32,
}

/// Looks at a process; `None` if there is none of this number.
pub fn autopsy(pid: u32) -> Option<Autopsy> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let wchan = fs::read_to_string(format!("/proc/{pid}/wchan")).unwrap_or_default();
    parse(&stat, &wchan)
}

/// The texts of `stat` and `wchan` (proc(5)).
fn parse(stat: &str, wchan: &str) -> Option<Autopsy> {
    // The second field is the command in parentheses, and may hold anything; the state is field 3.
    let (_, fields) = stat.rsplit_once(')')?;
    let fields: Vec<_> = fields.split_ascii_whitespace().collect();
    let field = |number: usize| fields.get(number - 3).copied();
    let ticks = |number| {
        let ticks: u64 = field(number)?.parse().ok()?;
        Some(Duration::from_millis(ticks.saturating_mul(1000 / TICKS_PER_SECOND)))
    };
    Some(Autopsy {
        state: field(3)?.chars().next()?,
        wchan: Some(wchan.trim())
            .filter(|name| *name != "0")
            .unwrap_or_default()
            .to_owned(),
        user: ticks(14)?,
        system: ticks(15)?,
        threads: field(20)?.parse().ok()?,
    })
}

impl fmt::Display for Autopsy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "state {}", self.state)?;
        if !self.wchan.is_empty() {
            write!(f, ", wchan {}", self.wchan)?;
        }
        write!(f, ", cpu {}", seconds(self.user.saturating_add(self.system)))
    }
}

pub(super) fn millis<S: serde::Serializer>(span: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_u64(span.as_millis() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str = "812 (a b) c) T 1 812 812 0 -1 1077936192 96 0 0 0 85 35 0 0 20 0 7 0 2312 8192 1 18446";

    #[test]
    fn stopped_process_reads_as_such() {
        let found = parse(STAT, "do_signal_stop").unwrap();
        assert_eq!(found.to_string(), "state T, wchan do_signal_stop, cpu 1.2s");
        assert_eq!((found.state, found.threads), ('T', 7));
        assert_eq!(
            serde_json::to_string(&found).unwrap(),
            r#"{"state":"T","wchan":"do_signal_stop","user_ms":850,"system_ms":350,"threads":7}"#
        );
    }

    #[test]
    fn unknown_wait_is_left_out() {
        for wchan in ["0", "", "0\n"] {
            assert_eq!(parse(STAT, wchan).unwrap().to_string(), "state T, cpu 1.2s");
        }
    }

    #[test]
    fn what_is_no_stat_is_nothing() {
        for stat in ["", "812", "812 (x", "812 (x) ", "812 (x) T 1 2 3"] {
            assert_eq!(parse(stat, ""), None, "{stat}");
        }
    }
}
