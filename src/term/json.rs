//! `--format json`: one object a line, each written in one piece, so that readers never see half of one unless a
//! pipe's own limit cuts it.

use std::io::{self, Write};
use std::time::Duration;

use serde::Serialize;

/// `value` as one line with its newline.
///
/// # Panics
/// For a value that has no JSON form: a map whose keys are not text.
pub fn line<T: Serialize + ?Sized>(value: &T) -> String {
    let mut text = serde_json::to_string(value).expect("what is printed as JSON has text for keys");
    text.push('\n');
    text
}

/// Writes `value` as one line and flushes.
///
/// # Errors
/// Those of `out`.
///
/// # Panics
/// As [`line()`].
pub fn write_line<T: Serialize + ?Sized>(out: &mut impl Write, value: &T) -> io::Result<()> {
    out.write_all(line(value).as_bytes())?;
    out.flush()
}

/// A span as the milliseconds of a field named `..._ms`, exact to the microsecond.
pub fn millis(span: Duration) -> f64 {
    span.as_micros() as f64 / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_a_line() {
        let mut out = Vec::new();
        write_line(
            &mut out,
            &serde_json::json!({"note": "a\nb\u{1b}", "rtt_ms": millis(Duration::from_micros(183))}),
        )
        .expect("a Vec takes everything");
        assert_eq!(
            String::from_utf8_lossy(&out),
            "{\"note\":\"a\\nb\\u001b\",\"rtt_ms\":0.183}\n"
        );
    }

    #[test]
    fn spans_are_exact_to_the_microsecond() {
        assert!((millis(Duration::from_nanos(1_234_567)) - 1.234).abs() < 1e-9);
    }
}
