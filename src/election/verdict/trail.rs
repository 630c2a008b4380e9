//! The story of a verdict, in one line for people and as an object for programs.

use std::fmt;
use std::time::Duration;

use serde::Serialize;
use serde::ser::SerializeStruct as _;

use super::Autopsy;
use crate::election::vote::{Suspect, Tally};
use crate::protocol::ids::{Term, WorkerId};

/// Who follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elected {
    /// Its term.
    pub term: Term,
    /// Its process.
    pub pid: u32,
    /// How long the office was vacant.
    pub within: Duration,
}

/// What came of the suspicion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Too few agree.
    NoQuorum,
    /// It was not killed, for this reason ([`VerdictError`](super::VerdictError)).
    Refused(String),
    /// It was killed; who follows, if that is known yet.
    Killed(Option<Elected>),
}

/// What was suspected, found and done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trail {
    /// Name of the host.
    pub host: String,
    /// Who was suspected.
    pub suspect: Suspect,
    /// How the votes stood.
    pub tally: Tally,
    /// What it did, if it was looked at.
    pub autopsy: Option<Autopsy>,
    /// What came of it.
    pub outcome: Outcome,
}

impl fmt::Display for Trail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            host, suspect, tally, ..
        } = self;
        write!(f, "master {host}/{} term {}: ", suspect.pid, suspect.term)?;
        write!(
            f,
            "{} of {} voted hung (beat still for {}, ping unanswered)",
            tally.votes,
            tally.of,
            seconds(tally.beat_still)
        )?;
        if let Some(autopsy) = &self.autopsy {
            write!(f, ", state {}", autopsy.state)?;
        }
        match &self.outcome {
            Outcome::NoQuorum => {
                let Tally { votes, of, needed, .. } = tally;
                write!(f, "; not killed: no quorum, {votes} of {of}, {needed} needed")?;
                write_silent(f, &tally.silent)
            }
            Outcome::Refused(reason) => write!(f, ": {reason}"),
            Outcome::Killed(None) => f.write_str("; killed"),
            Outcome::Killed(Some(elected)) => write!(f, "; killed; {elected}"),
        }
    }
}

fn write_silent(f: &mut fmt::Formatter<'_>, silent: &[WorkerId]) -> fmt::Result {
    for (index, id) in silent.iter().enumerate() {
        write!(f, "{}{id}", if index == 0 { "; " } else { ", " })?;
    }
    match silent.len() {
        0 => Ok(()),
        1 => f.write_str(" is silent"),
        _ => f.write_str(" are silent"),
    }
}

/// A span as it is told: `84ms`, `3.2s`.
pub(super) fn seconds(span: Duration) -> String {
    if span < Duration::from_secs(1) {
        format!("{}ms", span.as_millis())
    } else {
        format!("{:.1}s", span.as_secs_f64())
    }
}

impl Serialize for Trail {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let Self { suspect, tally, .. } = self;
        let names = |ids: &[WorkerId]| ids.iter().map(ToString::to_string).collect::<Vec<_>>();
        let (outcome, reason, elected) = match &self.outcome {
            Outcome::NoQuorum => ("no_quorum", None, None),
            Outcome::Refused(reason) => ("refused", Some(reason), None),
            Outcome::Killed(elected) => ("killed", None, *elected),
        };
        let mut object = to.serialize_struct("Trail", 16)?;
        object.serialize_field("event", "verdict")?;
        object.serialize_field("host", &self.host)?;
        object.serialize_field("pid", &suspect.pid)?;
        object.serialize_field("start_ticks", &suspect.start_ticks)?;
        object.serialize_field("term", &suspect.term.0)?;
        object.serialize_field("votes", &tally.votes)?;
        object.serialize_field("of", &tally.of)?;
        object.serialize_field("needed", &tally.needed)?;
        object.serialize_field("silent", &names(&tally.silent))?;
        object.serialize_field("excused", &names(&tally.excused))?;
        object.serialize_field("beat_still_ms", &(tally.beat_still.as_millis() as u64))?;
        object.serialize_field("unanswered_ms", &(tally.unanswered.as_millis() as u64))?;
        object.serialize_field("autopsy", &self.autopsy)?;
        object.serialize_field("outcome", outcome)?;
        object.serialize_field("reason", &reason)?;
        object.serialize_field("elected", &elected)?;
        object.end()
    }
}

impl fmt::Display for Elected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { term, pid, within } = self;
        write!(f, "term {term} elected, pid {pid}, in {}", seconds(*within))
    }
}

impl Serialize for Elected {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut object = to.serialize_struct("Elected", 3)?;
        object.serialize_field("term", &self.term.0)?;
        object.serialize_field("pid", &self.pid)?;
        object.serialize_field("within_ms", &(self.within.as_millis() as u64))?;
        object.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trail(votes: u32, silent: &[u32], outcome: Outcome) -> Trail {
        Trail {
            host: "alpha".to_owned(),
            suspect: Suspect {
                term: Term(1_795_000_000),
                pid: 812,
                start_ticks: 5,
            },
            tally: Tally {
                votes,
                of: 8,
                needed: 5,
                silent: silent.iter().copied().map(WorkerId).collect(),
                beat_still: Duration::from_millis(3200),
                unanswered: Duration::from_millis(2200),
                ..Tally::default()
            },
            autopsy: Some(Autopsy {
                state: 'T',
                wchan: "do_signal_stop".to_owned(),
                user: Duration::from_millis(1000),
                system: Duration::from_millis(200),
                threads: 3,
            }),
            outcome,
        }
    }

    fn killed() -> Trail {
        let elected = Elected {
            term: Term(1_796_000_000),
            pid: 901,
            within: Duration::from_millis(84),
        };
        trail(6, &[], Outcome::Killed(Some(elected)))
    }

    #[test]
    fn trail_reads_as_a_sentence() {
        let start = "master alpha/812 term 1795000000:";
        let of = "of 8 voted hung (beat still for 3.2s, ping unanswered), state T";
        assert_eq!(
            killed().to_string(),
            format!("{start} 6 {of}; killed; term 1796000000 elected, pid 901, in 84ms")
        );
        assert_eq!(
            trail(6, &[], Outcome::Killed(None)).to_string(),
            format!("{start} 6 {of}; killed")
        );
        assert_eq!(
            trail(2, &[3, 5], Outcome::NoQuorum).to_string(),
            format!("{start} 2 {of}; not killed: no quorum, 2 of 8, 5 needed; w3, w5 are silent")
        );
        let refused = super::super::VerdictError::NotPermitted {
            pid: 812,
            uid: Some(0),
            errno: rustix::io::Errno::PERM,
        };
        assert_eq!(
            trail(6, &[], Outcome::Refused(refused.to_string())).to_string(),
            format!(
                "{start} 6 {of}: cannot kill pid 812: held by uid 0 (Operation not permitted); \
                 end it as that user: kill -9 812"
            )
        );
    }

    #[test]
    fn trail_is_an_object_too() {
        let object = serde_json::to_value(killed()).unwrap();
        assert_eq!(object["event"], "verdict");
        assert_eq!(object["outcome"], "killed");
        assert_eq!(object["beat_still_ms"], 3200);
        assert_eq!(object["autopsy"]["state"], "T");
        assert_eq!(object["elected"]["within_ms"], 84);
        let object = serde_json::to_value(trail(2, &[3], Outcome::NoQuorum)).unwrap();
        assert_eq!(object["silent"][0], "w3");
        assert!(object["elected"].is_null());
    }
}
