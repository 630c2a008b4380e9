//! How the values of flags are read: durations with units, names, choices. Each error says what would be right.

use crate::options::Batch;
use std::ffi::OsString;
use std::fmt;
use std::time::Duration;

use clap::builder::{OsStringValueParser, PossibleValue, PossibleValuesParser, TypedValueParser};

use crate::options::{DURATION_MAX, DURATION_MIN, INTERVAL_MIN};
use crate::protocol::ids::is_name;
use crate::protocol::limits::{NAME_BYTES_MAX, TTL_MAX};

/// A duration as people write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span(pub(super) Duration);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(self.0).fmt(f)
    }
}

/// Why the value of a flag was refused.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub(super) enum BadValue {
    /// A bare number.
    #[error("{0:?} has no unit: write 5s, 250ms or 2m")]
    NoUnit(String),
    /// No duration at all.
    #[error("{text:?} is no duration ({why}): write 5s, 250ms or 2m")]
    NoDuration {
        /// What was given.
        text: String,
        /// humantime's reason.
        why: humantime::DurationError,
    },
    /// Shorter than makes sense.
    #[error("{0:?} is too short: the least is {1}")]
    TooShort(String, Span),
    /// Longer than is kept.
    #[error("{0:?} is too long: the most is {1}")]
    TooLong(String, Span),
    /// No name.
    #[error("{0:?} is no name: take 1 to {max} letters, digits, '.', '_' or '-', the first no '.' or '-'", max = NAME_BYTES_MAX)]
    NoName(String),
    /// A text without a command in it.
    #[error("there is no command in it: write for example 'wc -l'")]
    NoCommand,
    /// Clap offers no other.
    #[error("{0:?} is none of the choices")]
    NoChoice(String),
}

fn duration(text: &str) -> Result<Duration, BadValue> {
    let bare = text.trim().trim_start_matches('+');
    if !bare.is_empty() && bare.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        return Err(BadValue::NoUnit(text.to_owned()));
    }
    humantime::parse_duration(text).map_err(|why| BadValue::NoDuration {
        text: text.to_owned(),
        why,
    })
}

fn within(text: &str, least: Duration, most: Duration) -> Result<Span, BadValue> {
    match duration(text)? {
        span if span < least => Err(BadValue::TooShort(text.to_owned(), Span(least))),
        span if span > most => Err(BadValue::TooLong(text.to_owned(), Span(most))),
        span => Ok(Span(span)),
    }
}

/// A duration for which zero means "not at all".
pub(super) fn span_or_zero(text: &str) -> Result<Span, BadValue> {
    let span = within(text, Duration::ZERO, DURATION_MAX)?;
    if span.0.is_zero() {
        Ok(span)
    } else {
        within(text, DURATION_MIN, DURATION_MAX)
    }
}

/// A duration that must last.
pub(super) fn span(text: &str) -> Result<Span, BadValue> {
    within(text, DURATION_MIN, DURATION_MAX)
}

/// The period of heartbeats.
pub(super) fn interval(text: &str) -> Result<Span, BadValue> {
    within(text, INTERVAL_MIN, TTL_MAX)
}

/// A Hit's ttl.
pub(super) fn ttl(text: &str) -> Result<Span, BadValue> {
    within(text, INTERVAL_MIN, TTL_MAX)
}

/// A host's, pool's or cluster's name.
pub(super) fn name(text: &str) -> Result<String, BadValue> {
    if is_name(text) {
        Ok(text.to_owned())
    } else {
        Err(BadValue::NoName(text.to_owned()))
    }
}

/// A parser for a text that goes to a shell: not blank.
pub(super) fn shell_text() -> impl TypedValueParser<Value = OsString> {
    OsStringValueParser::new().try_map(|text| {
        if text.as_encoded_bytes().trim_ascii().is_empty() {
            Err(BadValue::NoCommand)
        } else {
            Ok(text)
        }
    })
}

/// A parser for one of `all`, each with its name and, unless empty, one line of help.
pub(super) fn choice<T: Copy + Send + Sync + 'static>(
    all: &'static [T],
    describe: fn(T) -> (&'static str, &'static str),
) -> impl TypedValueParser<Value = T> {
    let values = all.iter().map(|one| match describe(*one) {
        (name, "") => PossibleValue::new(name),
        (name, help) => PossibleValue::new(name).help(help),
    });
    PossibleValuesParser::new(values).try_map(move |text| {
        let named = all.iter().copied().find(|one| describe(*one).0 == text);
        named.ok_or(BadValue::NoChoice(text))
    })
}

/// How many are asked at a time: `4` or `25%`.
pub(super) fn batch(text: &str) -> Result<Batch, String> {
    let bad = || format!("{text:?} is no batch: write how many, as 4, or how many of a hundred, as 25%");
    let number = |digits: &str| digits.parse::<u32>().ok().filter(|number| *number > 0).ok_or_else(bad);
    match text.strip_suffix('%') {
        Some(digits) => number(digits).and_then(|percent| {
            if percent <= 100 {
                Ok(Batch::Percent(percent))
            } else {
                Err(bad())
            }
        }),
        None => number(text).map(Batch::Members),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(result: Result<Span, BadValue>) -> String {
        result.expect_err("a refusal").to_string()
    }

    #[test]
    fn durations_need_units() {
        assert_eq!(span("250ms"), Ok(Span(Duration::from_millis(250))));
        assert_eq!(span("1m 30s"), Ok(Span(Duration::from_secs(90))));
        for bare in ["5", "0", "1.5", " 5 ", "+5"] {
            assert_eq!(
                refusal(span(bare)),
                format!("{bare:?} has no unit: write 5s, 250ms or 2m")
            );
        }
    }

    #[test]
    fn garbage_is_named() {
        for text in ["", "abc", "-5s", "5 parsecs", "99999999999999999999s", "5s!"] {
            let said = refusal(span(text));
            assert!(
                said.contains(&format!("{text:?}")) && said.ends_with("write 5s, 250ms or 2m"),
                "{said}"
            );
        }
    }

    #[test]
    fn bounds_are_told() {
        assert_eq!(refusal(span("0s")), "\"0s\" is too short: the least is 1ms");
        assert_eq!(refusal(span_or_zero("1ns")), "\"1ns\" is too short: the least is 1ms");
        assert_eq!(span_or_zero("0s"), Ok(Span(Duration::ZERO)));
        assert_eq!(refusal(ttl("2days")), "\"2days\" is too long: the most is 1day");
        assert_eq!(refusal(interval("1ms")), "\"1ms\" is too short: the least is 20ms");
    }
}
