//! What came out, as a table for people and as JSON for the charts.

use std::fmt::Write as _;
use std::time::Duration;

use zhit::layout::HOSTS_MAX;

use crate::alone::Alone;
use crate::idle::{Idle, idle};
use crate::world::{Outcome, World};

/// All about a cluster of one size.
pub(crate) struct Point {
    hosts: usize,
    workers: u32,
    pub(crate) outcome: Outcome,
    idle: Idle,
    alone: Alone,
}

/// One row: what it is, and its value with that many places after the point.
type Fact = (&'static str, f64, usize);

fn milliseconds(span: Duration) -> f64 {
    span.as_secs_f64() * 1000.0
}

fn microseconds(span: Duration) -> f64 {
    span.as_secs_f64() * 1e6
}

impl Point {
    pub(crate) fn measure(hosts: usize, workers: u32, alone: Alone) -> Self {
        Self {
            hosts,
            workers,
            outcome: World::new(hosts, workers).run(),
            idle: idle(hosts, workers),
            alone,
        }
    }

    fn facts(&self) -> Vec<Fact> {
        let mut facts = vec![("hosts", self.hosts as f64, 0)];
        let of_broadcast = self.of_broadcast().into_iter();
        facts.push(("workers", self.hosts as f64 * f64::from(self.workers), 0));
        facts.extend(of_broadcast.map(|(label, value, places)| {
            let value = if self.outcome.is_cut_off { f64::NAN } else { value };
            (label, value, places)
        }));
        facts.extend(self.of_mesh());
        facts.extend(self.of_books());
        facts
    }

    fn of_broadcast(&self) -> Vec<Fact> {
        let o = &self.outcome;
        let kind = |name| o.sum.kinds.get(name).copied().unwrap_or(0) as f64;
        vec![
            ("settled ok", o.books.ok as f64, 0),
            ("settled otherwise", (o.books.settled() - o.books.ok) as f64, 0),
            ("outstanding when given up", o.books.outstanding as f64, 0),
            ("ran, not thanked", o.unthanked as f64, 0),
            ("messages in all", o.sum.messages as f64, 0),
            ("  of them CHECK", kind("CHECK"), 0),
            ("  of them CONDITION", kind("CONDITION"), 0),
            ("  of them THANKS", kind("THANKS"), 0),
            ("messages at the issuer", o.issuer.messages() as f64, 0),
            ("messages at its broker", o.broker.messages() as f64, 0),
            ("messages at another broker", o.other_broker.messages() as f64, 0),
            ("messages at a worker", o.worker.messages() as f64, 0),
            ("MB in all", o.sum.bytes as f64 / 1e6, 3),
            ("MB at the issuer", o.issuer.bytes() as f64 / 1e6, 3),
            ("MB at its broker", o.broker.bytes() as f64 / 1e6, 3),
            ("MB at another broker", o.other_broker.bytes() as f64 / 1e6, 3),
            ("bytes at a worker", o.worker.bytes() as f64, 0),
            ("hops, one after the other", f64::from(o.hops), 0),
            ("seconds till pinned", o.pinned_after.as_secs_f64(), 3),
            ("seconds till closed", o.closed_after.as_secs_f64(), 3),
            ("longest line at the issuer", o.longest_lines.0 as f64, 0),
            ("longest line at its broker", o.longest_lines.1 as f64, 0),
            ("mesh messages at its broker", o.mesh.messages() as f64, 0),
        ]
    }

    fn of_mesh(&self) -> Vec<Fact> {
        let idle = &self.idle;
        vec![
            ("idle: messages/s, a broker", idle.messages(), 0),
            ("idle: kB/s, a broker", idle.bytes() / 1e3, 1),
            ("idle: % of a core, a broker", idle.load() * 100.0, 2),
            ("idle: messages/s sent, all", idle.sent_by_all(self.hosts), 0),
            ("idle: MB/s sent, all", idle.bytes() / 2.0 * self.hosts as f64 / 1e6, 1),
            ("idle: ms of the longest tick", milliseconds(idle.tick), 3),
        ]
    }

    fn of_books(&self) -> Vec<Fact> {
        let a = &self.alone;
        vec![
            ("books: ms to pin and ask", milliseconds(a.pin), 1),
            ("books: us a message", microseconds(a.message), 2),
            ("books: ms a tick", milliseconds(a.tick), 3),
            ("books: ms a check", milliseconds(a.check), 1),
            ("books: ms to thank all", milliseconds(a.thank), 1),
            ("books: ms a tick, 1 % lost", milliseconds(a.tick_with_lost), 3),
            ("books: MB with the roster", a.roster_bytes as f64 / 1e6, 1),
            ("books: MB more with answers", a.answers_bytes as f64 / 1e6, 1),
        ]
    }
}

/// The number with its thousands apart; what is not known is a dash.
fn grouped(value: f64, places: usize) -> String {
    if value.is_nan() {
        return "-".to_owned();
    }
    let text = format!("{value:.places$}");
    let (whole, rest) = text.split_at(text.find('.').unwrap_or(text.len()));
    let mut all = String::new();
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at).is_multiple_of(3) {
            all.push(',');
        }
        all.push(digit);
    }
    all + rest
}

/// A star stands before a size beyond what a layout may have.
pub(crate) fn table(points: &[Point]) -> String {
    let columns: Vec<Vec<Fact>> = points.iter().map(Point::facts).collect();
    let mut text = String::new();
    for (row, (label, ..)) in columns[0].iter().enumerate() {
        let _ = write!(text, "{label:<28}");
        for column in &columns {
            let (_, value, places) = column[row];
            let beyond = row == 0 && value > HOSTS_MAX as f64;
            let mark = if beyond { "*" } else { "" };
            let _ = write!(text, " {:>14}", mark.to_owned() + &grouped(value, places));
        }
        text.push('\n');
    }
    text
}

pub(crate) fn json(points: &[Point]) -> String {
    let objects: Vec<serde_json::Value> = points
        .iter()
        .map(|point| {
            let facts = point.facts().into_iter();
            facts
                .map(|(label, value, _)| (label.trim().to_owned(), serde_json::json!(value)))
                .collect::<serde_json::Map<_, _>>()
                .into()
        })
        .collect();
    serde_json::to_string_pretty(&objects).expect("numbers") + "\n"
}
