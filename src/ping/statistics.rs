//! Round-trip times of a series of pings. Pure, and bounded however long the series.

use std::collections::BTreeMap;
use std::time::Duration;

/// Counts of probes, and the distribution of the round-trip times of those that were answered.
#[derive(Clone, Debug, Default)]
pub(super) struct Statistics {
    pub(super) sent: u64,
    pub(super) answered: u64,
    sum: Duration,
    min: Option<Duration>,
    max: Duration,
    /// How many took that many microseconds, cut to three digits: some thousands of entries at most.
    counts: BTreeMap<u64, u64>,
}

/// What the round-trip times were like. Each is exact but `p99`, which is within one percent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RoundTrips {
    pub(super) min: Duration,
    pub(super) avg: Duration,
    pub(super) max: Duration,
    pub(super) p99: Duration,
}

impl Statistics {
    pub(super) fn answered(&mut self, rtt: Duration) {
        self.sent += 1;
        self.answered += 1;
        self.sum = self.sum.saturating_add(rtt);
        self.min = Some(self.min.map_or(rtt, |min| min.min(rtt)));
        self.max = self.max.max(rtt);
        *self.counts.entry(three_digits(rtt)).or_default() += 1;
    }

    pub(super) fn lost(&mut self) {
        self.sent += 1;
    }

    pub(super) fn lost_count(&self) -> u64 {
        self.sent - self.answered
    }

    /// Share of the lost, rounded up, so that a single loss never reads as none.
    pub(super) fn lost_percent(&self) -> u64 {
        (self.lost_count() * 100).checked_div(self.sent).map_or(0, |floor| {
            if floor * self.sent < self.lost_count() * 100 {
                floor + 1
            } else {
                floor
            }
        })
    }

    /// `None` if nothing was answered.
    pub(super) fn round_trips(&self) -> Option<RoundTrips> {
        let min = self.min?;
        let avg =
            Duration::from_nanos(u64::try_from(self.sum.as_nanos() / u128::from(self.answered)).unwrap_or(u64::MAX));
        Some(RoundTrips {
            min,
            avg,
            max: self.max,
            p99: self.percentile(99).clamp(min, self.max),
        })
    }

    /// By nearest rank: the smallest time that `percent` of the answers did not exceed.
    fn percentile(&self, percent: u64) -> Duration {
        let rank = (self.answered * percent).div_ceil(100);
        let mut seen = 0;
        let found = self.counts.iter().find(|(_, count)| {
            seen += **count;
            seen >= rank
        });
        found.map_or(self.max, |(micros, _)| Duration::from_micros(*micros))
    }
}

fn three_digits(span: Duration) -> u64 {
    let micros = u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
    let unit = 10u64.pow(micros.checked_ilog10().unwrap_or(0).saturating_sub(2));
    micros / unit * unit
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(micros: impl IntoIterator<Item = u64>) -> Statistics {
        let mut all = Statistics::default();
        micros.into_iter().for_each(|m| all.answered(Duration::from_micros(m)));
        all
    }

    #[test]
    fn nothing_answered_has_no_round_trips() {
        let mut all = Statistics::default();
        assert_eq!((all.round_trips(), all.lost_percent()), (None, 0));
        all.lost();
        assert_eq!((all.round_trips(), all.lost_percent()), (None, 100));
    }

    #[test]
    fn percentile_is_by_nearest_rank() {
        let trips = of(1..=200).round_trips().expect("200 answers");
        assert_eq!(
            [trips.min, trips.avg, trips.max, trips.p99].map(|t| t.as_nanos()),
            [1000, 100_500, 200_000, 198_000]
        );
        let one = of([183]).round_trips().expect("an answer");
        assert_eq!([one.min, one.avg, one.max, one.p99].map(|t| t.as_micros()), [183; 4]);
    }

    #[test]
    fn a_long_series_takes_little_room() {
        let all = of((0..1_000_000).map(|n| n * 7919 % 60_000_000));
        assert!(all.counts.len() < 6000, "{}", all.counts.len());
        let p99 = all.round_trips().expect("answers").p99.as_micros() as f64;
        assert!((p99 / 59_400_000.0 - 1.0).abs() < 0.01, "{p99}");
    }

    #[test]
    fn a_single_loss_never_reads_as_none() {
        let mut all = of(1..=999);
        all.lost();
        assert_eq!((all.lost_count(), all.lost_percent()), (1, 1));
        assert_eq!(of(1..=9).lost_percent(), 0);
    }
}
