//! Numbers as people read them: sizes, spans of time, counts with their noun.

use std::time::Duration;

const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

/// Bytes in at most eight characters: `512 B`, `1.23 MiB`, `1023 GiB`.
pub fn bytes(count: u64) -> String {
    if count < 1024 {
        return format!("{count} B");
    }
    let mut value = count as f64;
    let mut unit = "B";
    for next in UNITS {
        // Anything that would be printed as 1024 belongs to the next unit.
        if value < 1023.5 {
            break;
        }
        value /= 1024.0;
        unit = next;
    }
    format!("{} {unit}", three_digits(value))
}

/// A span in at most two units: `0.4s`, `12s`, `2m 3s`, `3h 12m`, `5d 3h`. It is cut, not rounded up.
pub fn span(span: Duration) -> String {
    let seconds = span.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    match seconds {
        0..10 => format!("{seconds}.{}s", span.subsec_millis() / 100),
        10..60 => format!("{seconds}s"),
        60..3600 => format!("{minutes}m {}s", seconds % 60),
        3600..86400 => format!("{hours}h {}m", minutes % 60),
        _ => format!("{days}d {}h", hours % 24),
    }
}

/// Milliseconds with three digits that count, without the unit: `0.183`, `12.3`, `1500`.
pub fn millis(span: Duration) -> String {
    let value = span.as_secs_f64() * 1e3;
    if value < 1.0 {
        format!("{value:.3}")
    } else {
        three_digits(value)
    }
}

/// `1 worker`, `2 workers`.
pub fn count(number: u64, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

fn three_digits(value: f64) -> String {
    match value {
        v if v < 9.995 => format!("{v:.2}"),
        v if v < 99.95 => format!("{v:.1}"),
        v => format!("{v:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_short() {
        let shown = [0, 1023, 1024, 1536, 10_239, 1_048_063, 1_048_576, 1 << 40, u64::MAX].map(bytes);
        let wanted = [
            "0 B", "1023 B", "1.00 KiB", "1.50 KiB", "10.0 KiB", "1023 KiB", "1.00 MiB", "1.00 TiB",
        ];
        assert_eq!(shown[..8], wanted);
        assert_eq!(shown[8], "16.0 EiB");
        assert!((0..64).all(|bit| bytes((1u64 << bit).saturating_sub(1)).len() <= 8));
    }

    #[test]
    fn spans_have_two_units_at_most() {
        let shown = [0, 449, 9_999, 10_000, 59_999, 123_000, 11_520_000, 442_800_000]
            .map(Duration::from_millis)
            .map(span);
        assert_eq!(
            shown,
            ["0.0s", "0.4s", "9.9s", "10s", "59s", "2m 3s", "3h 12m", "5d 3h"]
        );
    }

    #[test]
    fn round_trips_keep_their_digits() {
        let shown = [0, 9, 183, 999, 1_234, 12_345, 1_500_000]
            .map(Duration::from_micros)
            .map(millis);
        assert_eq!(shown, ["0.000", "0.009", "0.183", "0.999", "1.23", "12.3", "1500"]);
    }

    #[test]
    fn nouns_follow_their_number() {
        assert_eq!(
            [0, 1, 2].map(|n| count(n, "worker")),
            ["0 workers", "1 worker", "2 workers"]
        );
    }
}
