//! What a progress bar says: counts, rates and a line of text that fits. Pure: time and width come in.

use std::collections::VecDeque;
use std::time::Duration;

use unicode_width::UnicodeWidthStr;

use super::human;
use super::table::cut;
use crate::protocol::Moment;

/// A rate is taken over this much of the past: long enough to be steady, short enough to show a stall.
const RATE_SPAN: Duration = Duration::from_secs(5);

/// A bar narrower than this says nothing; one wider than that says no more.
const BAR_COLUMNS_MIN: usize = 10;
const BAR_COLUMNS_MAX: usize = 40;

const GAP: &str = "  ";

/// Counts of one transfer and what they were lately.
#[derive(Clone, Debug)]
pub(super) struct Meter {
    label: String,
    message: String,
    started_at: Moment,
    now: Counts,
    total: Option<u64>,
    samples: VecDeque<(Moment, Counts)>,
    work: Option<Work>,
}

/// What the handler itself says of the request that runs: so much done, of so much; 0 if it does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Work {
    seq: u64,
    done: u64,
    total: u64,
    /// When it first said so, and how much was done by then.
    first: (Moment, u64),
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    sent: u64,
    received: u64,
}

impl Meter {
    pub(super) fn new(label: &str, now: Moment) -> Self {
        let samples = VecDeque::from([(now, Counts::default())]);
        Self {
            label: label.to_owned(),
            message: String::new(),
            started_at: now,
            now: Counts::default(),
            total: None,
            samples,
            work: None,
        }
    }

    /// What the handler says of request `seq`: done and total; `None`: nothing.
    pub(super) fn set_work(&mut self, now: Moment, seq: u64, said: Option<(u64, u64)>) {
        self.work = said.map(|(done, total)| {
            let same = self.work.filter(|work| work.seq == seq && work.done <= done);
            let first = same.map_or((now, done), |work| work.first);
            Work {
                seq,
                done,
                total,
                first,
            }
        });
    }

    pub(super) fn sent(&mut self, bytes: u64) {
        self.now.sent = self.now.sent.saturating_add(bytes);
    }

    pub(super) fn received(&mut self, bytes: u64) {
        self.now.received = self.now.received.saturating_add(bytes);
    }

    pub(super) fn set_total(&mut self, total: Option<u64>) {
        self.total = total;
    }

    pub(super) fn set_message(&mut self, message: String) {
        self.message = message;
    }

    /// Takes a sample for the rates. Called once a drawing, so their number is bounded by the drawing rate.
    pub(super) fn sample(&mut self, now: Moment) {
        while self.samples.get(1).is_some_and(|(at, _)| now.since(*at) >= RATE_SPAN) {
            self.samples.pop_front();
        }
        self.samples.push_back((now, self.now));
    }

    /// The line, at most `columns` wide.
    pub(super) fn line(&self, now: Moment, columns: usize) -> String {
        let total = self.total.filter(|total| self.now.sent < *total);
        // What the handler says counts more than bytes: those of a short request are sent long before it is done.
        let work = self.work.filter(|work| work.total > 0);
        let share = work
            .map(|work| (work.done.min(work.total), work.total))
            .or(total.map(|total| (self.now.sent, total)));
        let parts = match (work, total) {
            (Some(work), _) => self.parts_of_work(now, work),
            (None, Some(total)) => self.parts_of_known(now, total),
            (None, None) => self.parts_of_unknown(now),
        };
        // Parts stand in the order of their worth; those at the end that don't fit are left out.
        let mut text = String::new();
        let room = columns.saturating_sub(self.label.width());
        for part in parts.iter().filter(|part| !part.is_empty()) {
            if text.width() + GAP.len() + part.width() > room {
                break;
            }
            text.push_str(GAP);
            text.push_str(part);
        }
        let room = room.saturating_sub(text.width());
        // A message needs less of a bar, as long as it is one.
        let kept = match self.message.width() {
            0 => 0,
            wide => GAP.len() + wide.min(KEPT_MESSAGE_COLUMNS),
        };
        let bar = share.map(|share| match bar(share, room.saturating_sub(kept)) {
            none if none.is_empty() => bar(share, room),
            short => short,
        });
        let bar = bar.unwrap_or_default();
        let said = if text.len() + bar.len() == 0 {
            cut(&self.label, columns)
        } else {
            self.label.clone()
        };
        // What is left after the fixed parts goes to the message, cut if need be.
        let mut line = said + &bar + &text;
        let room = columns.saturating_sub(line.width() + GAP.len());
        if !self.message.is_empty() && room > CUT_MESSAGE_COLUMNS_MIN {
            line.push_str(GAP);
            line.push_str(&cut(&self.message, room));
        }
        line
    }

    fn parts_of_known(&self, now: Moment, total: u64) -> Vec<String> {
        let rate = self.rate(now, |counts| counts.sent);
        let percent = u128::from(self.now.sent) * 100 / u128::from(total.max(1));
        let left = total - self.now.sent;
        let eta = left.checked_div(rate).map(Duration::from_secs);
        vec![
            format!("{percent:>3}%"),
            format!("sent {:>8} of {}", human::bytes(self.now.sent), human::bytes(total)),
            format!("{:>8}/s", human::bytes(rate)),
            eta.map(|eta| format!("{} left", human::span(eta))).unwrap_or_default(),
            if self.now.received > 0 {
                self.received_part()
            } else {
                String::new()
            },
        ]
    }

    fn parts_of_work(&self, now: Moment, work: Work) -> Vec<String> {
        let done = work.done.min(work.total);
        let (since, from) = work.first;
        let left = now.since(since).as_millis() * u128::from(work.total - done);
        let left = left.checked_div(u128::from(done.saturating_sub(from)));
        let left = left.map(|left| Duration::from_millis(u64::try_from(left).unwrap_or(u64::MAX)));
        vec![
            format!("{:>3}%", u128::from(done) * 100 / u128::from(work.total)),
            format!("{done} of {}", work.total),
            left.filter(|_| done < work.total)
                .map(|left| format!("{} left", human::span(left)))
                .unwrap_or_default(),
            human::span(now.since(self.started_at)),
        ]
    }

    fn parts_of_unknown(&self, now: Moment) -> Vec<String> {
        // Of the two directions the busier one is what is being waited for.
        let rate = self
            .rate(now, |counts| counts.sent)
            .max(self.rate(now, |counts| counts.received));
        vec![
            self.work.map(|work| format!("{} done", work.done)).unwrap_or_default(),
            format!("sent {:>8}", human::bytes(self.now.sent)),
            self.received_part(),
            format!("{:>8}/s", human::bytes(rate)),
            human::span(now.since(self.started_at)),
        ]
    }

    fn received_part(&self) -> String {
        format!("received {:>8}", human::bytes(self.now.received))
    }

    /// Bytes a second over the last samples.
    fn rate(&self, now: Moment, of: impl Fn(&Counts) -> u64) -> u64 {
        let Some((since, then)) = self.samples.front() else {
            return 0;
        };
        let bytes = u128::from(of(&self.now).saturating_sub(of(then)));
        let per_second = (bytes * 1_000_000).checked_div(now.since(*since).as_micros());
        u64::try_from(per_second.unwrap_or(0)).unwrap_or(u64::MAX)
    }
}

fn bar((done, total): (u64, u64), room: usize) -> String {
    let inner = room.saturating_sub(GAP.len() + 2).min(BAR_COLUMNS_MAX);
    if inner < BAR_COLUMNS_MIN {
        return String::new();
    }
    let done = (u128::from(done) * inner as u128 / u128::from(total.max(1))) as usize;
    let done = done.min(inner - 1);
    format!("{GAP}[{}>{}]", "=".repeat(done), " ".repeat(inner - done - 1))
}

/// So much of a message is worth more than the bar's length.
const KEPT_MESSAGE_COLUMNS: usize = 24;

/// A message cut shorter than this is left out.
const CUT_MESSAGE_COLUMNS_MIN: usize = 7;

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn at(seconds: u64) -> Moment {
        Moment::ZERO + Duration::from_secs(seconds)
    }

    fn steady(total: Option<u64>) -> Meter {
        let mut meter = Meter::new("default", at(0));
        meter.set_total(total);
        for second in 1..=8 {
            meter.sent(100 * MIB);
            meter.sample(at(second));
        }
        meter
    }

    #[test]
    fn known_total_shows_share_rate_and_rest() {
        let line = steady(Some(1600 * MIB)).line(at(8), 79);
        assert_eq!(
            line,
            "default  [======>     ]   50%  sent  800 MiB of 1.56 GiB   100 MiB/s  8.0s left"
        );
    }

    #[test]
    fn unknown_total_shows_bytes_rate_and_elapsed() {
        let mut meter = steady(None);
        meter.received(3 * MIB / 2);
        meter.set_message("page 3 of 9".into());
        let line = meter.line(at(8), 79);
        assert_eq!(
            line,
            "default  sent  800 MiB  received 1.50 MiB   100 MiB/s  8.0s  page 3 of 9"
        );
    }

    #[test]
    fn after_the_last_byte_is_sent_the_reply_is_what_counts() {
        let mut meter = steady(Some(800 * MIB));
        meter.received(12);
        assert_eq!(
            meter.line(at(8), 79),
            "default  sent  800 MiB  received     12 B   100 MiB/s  8.0s"
        );
    }

    #[test]
    fn what_the_handler_says_counts_more_than_bytes() {
        let mut meter = Meter::new("default", at(0));
        meter.sent(10);
        meter.set_work(at(2), 1, Some((10, 50)));
        meter.set_work(at(6), 1, Some((30, 50)));
        meter.set_message("page 30".into());
        assert_eq!(
            meter.line(at(6), 100),
            "default  [========================>               ]   60%  30 of 50  4.0s left  6.0s  page 30"
        );
        meter.set_work(at(7), 1, Some((80, 50)));
        assert!(
            meter.line(at(7), 79).contains("100%  50 of 50  7.0s"),
            "{}",
            meter.line(at(7), 79)
        );
        meter.set_work(at(8), 2, Some((7, 0)));
        assert!(
            meter.line(at(8), 79).starts_with("default  7 done  sent"),
            "a total that nobody knows"
        );
        meter.set_work(at(9), 2, None);
        assert!(meter.line(at(9), 79).starts_with("default  sent"));
    }

    #[test]
    fn a_stall_shows_within_the_span_of_rates() {
        let mut meter = steady(Some(1600 * MIB));
        for second in 9..=14 {
            meter.sample(at(second));
        }
        let line = meter.line(at(14), 79);
        assert!(line.ends_with("     0 B/s"), "{line}");
    }

    #[test]
    fn line_fits_any_width() {
        for total in [None, Some(1600 * MIB), Some(0), Some(u64::MAX)] {
            let mut meter = steady(total);
            meter.set_message("世界 compiling the whole of it".into());
            meter.received(u64::MAX);
            for columns in 0..250 {
                let line = meter.line(at(8), columns);
                assert!(line.width() <= columns, "{columns}: {line}");
            }
        }
    }

    #[test]
    fn samples_are_bounded() {
        let mut meter = Meter::new("x", at(0));
        for tenth in 0..10_000 {
            meter.sample(Moment::from_micros(tenth * 100_000));
        }
        assert!(meter.samples.len() <= 52, "{}", meter.samples.len());
    }
}
