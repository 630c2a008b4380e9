//! What `zhit ping` prints, from what brokers answered. Pure: answers and times in, text out.
//!
//! Text: the first answer, and each from another broker than the one before, is shown in full; those after it take a
//! line each; a series ends in its statistics, as ping(8)'s does. JSON: an object per probe (`"kind":"probe"`) and one
//! at the end (`"kind":"summary"`); times are milliseconds.

use std::time::Duration;

use serde::Serialize;

use super::objects::{Lost, Probe, Summary, Unreached};
use super::statistics::Statistics;
use crate::election::kept::Kept;
use crate::options::Format;
use crate::protocol::Term;
use crate::protocol::limits::{INTERVAL, LIVENESS};
use crate::protocol::message::{Pong, PongWorker};
use crate::term::human::{count, millis, span};
use crate::term::{Cell, Column, Paint, Screen, Table, json, one_line};

/// The report of a series of probes, made as they end.
#[derive(Clone, Debug)]
pub struct Report {
    format: Format,
    screen: Screen,
    /// The host that is asked, for probes that nobody answers.
    host: String,
    /// Process id and term of the broker that was shown in full.
    shown: Option<(u32, Term)>,
    statistics: Statistics,
    /// The last answer named slots that hang, or told of trouble.
    amiss: bool,
}

impl Report {
    /// A report on `host`, for standard output as it is (`screen`).
    pub fn new(format: Format, screen: Screen, host: &str) -> Self {
        Self {
            format,
            screen,
            host: host.to_owned(),
            shown: None,
            statistics: Statistics::default(),
            amiss: false,
        }
    }

    /// Whether a probe was lost so far, or the last answer named somebody who hangs, or told of trouble.
    pub fn is_incomplete(&self) -> bool {
        self.statistics.lost_count() > 0 || self.amiss
    }

    /// What to print for probe `seq` (from 1), answered after `rtt`.
    pub fn answered(&mut self, seq: u32, pong: &Pong, rtt: Duration) -> String {
        self.statistics.answered(rtt);
        self.amiss = !pong.trouble.is_empty() || pong.workers.iter().any(|worker| worker.hung > 0);
        match self.format {
            Format::Json => json::line(&Probe::new(seq, pong, rtt)),
            Format::Text if self.shown.replace((pong.pid, pong.term)) == Some((pong.pid, pong.term)) => {
                let host = self.strong(&pong.host);
                format!("{host}  seq {seq}  rtt {} ms  {}\n", millis(rtt), self.tally(pong))
            }
            Format::Text => self.in_full(pong, rtt),
        }
    }

    /// What to print of the last verdict on a broker of this host.
    pub fn verdict(&self, kept: &Kept) -> String {
        match self.format {
            Format::Json => json::line(&serde_json::json!({ "kind": "verdict", "verdict": kept.event })),
            Format::Text => format!("last verdict: {}\n", one_line(&kept.text)),
        }
    }

    /// What to print for probe `seq` (from 1) that nobody answered within `waited`.
    pub fn lost(&mut self, seq: u32, waited: Duration) -> String {
        self.statistics.lost();
        match self.format {
            Format::Json => json::line(&Lost::new(seq, &self.host, waited)),
            Format::Text => {
                let what = self
                    .screen
                    .paint(Paint::Bad, &format!("no answer within {}", span(waited)));
                format!("{}  seq {seq}  {what}\n", self.strong(&self.host))
            }
        }
    }

    /// What to print for probe `seq` (from 1) that reached nobody, and why.
    pub fn unreached(&mut self, seq: u32, why: &str) -> String {
        self.statistics.lost();
        match self.format {
            Format::Json => json::line(&Unreached::new(seq, &self.host, why)),
            Format::Text => {
                let what = self.screen.paint(Paint::Bad, "not reached");
                format!("{}  seq {seq}  {what}: {}\n", self.strong(&self.host), one_line(why))
            }
        }
    }

    /// What to print at the end, `elapsed` after the first probe. Text of a single probe has none.
    pub fn summary(&self, elapsed: Duration) -> String {
        let all = &self.statistics;
        match self.format {
            Format::Json => json::line(&Summary::new(all, elapsed)),
            Format::Text if all.sent < 2 => String::new(),
            Format::Text => {
                let paint = if all.lost_count() > 0 { Paint::Bad } else { Paint::Plain };
                let lost = self.screen.paint(paint, &format!("{}% lost", all.lost_percent()));
                let rtt = all.round_trips().map(|rtt| {
                    let [min, avg, max, p99] = [rtt.min, rtt.avg, rtt.max, rtt.p99].map(millis);
                    format!("; rtt min {min} avg {avg} max {max} p99 {p99} ms")
                });
                let (sent, answered) = (all.sent, all.answered);
                let rtt = rtt.unwrap_or_default();
                format!("{sent} sent, {answered} answered, {lost} in {}{rtt}\n", took(elapsed))
            }
        }
    }

    fn in_full(&self, pong: &Pong, rtt: Duration) -> String {
        let mut text = format!(
            "{}  broker pid {}  term {}  up {}  zhit {}  rtt {} ms\n",
            self.strong(&pong.host),
            pong.pid,
            pong.term,
            span(Duration::from_millis(pong.uptime_ms)),
            one_line(&pong.version),
            millis(rtt),
        );
        if !pong.trouble.is_empty() {
            text += &self.screen.paint(Paint::Warn, &one_line(&pong.trouble));
            text += "\n";
        }
        if !pong.workers.is_empty() {
            text += &table(pong).render(self.screen);
        }
        let unlisted = u64::from(pong.workers_total).saturating_sub(pong.workers.len() as u64);
        if unlisted > 0 {
            text += "and ";
            text += &count(unlisted, "worker");
            text += " that the broker does not list\n";
        }
        text += &self.tally(pong);
        if pong.workers_total == 0 {
            text += "; start one: zhit worker";
        }
        text + "\n"
    }

    /// `1 worker, 4 slots: 3 idle, 1 busy; 0 waiting`.
    fn tally(&self, pong: &Pong) -> String {
        let waiting = format!("{} waiting", pong.queued);
        let paint = if pong.queued > 0 { Paint::Warn } else { Paint::Plain };
        let waiting = self.screen.paint(paint, &waiting);
        if pong.workers_total == 0 {
            return format!("no workers; {waiting}");
        }
        let all = Tally::of(pong);
        let workers = count(pong.workers_total.into(), "worker");
        let slots = count(all.slots, "slot");
        let draining = if all.draining > 0 {
            format!(", {} draining", all.draining)
        } else {
            String::new()
        };
        format!(
            "{workers}, {slots}: {} idle, {} busy{draining}; {waiting}",
            all.idle, all.busy
        )
    }

    fn strong(&self, name: &str) -> String {
        self.screen.paint(Paint::Strong, &one_line(name))
    }
}

/// `10.7 ms`, `8.2s`: a short series is told in milliseconds.
fn took(elapsed: Duration) -> String {
    if elapsed < Duration::from_secs(1) {
        format!("{} ms", millis(elapsed))
    } else {
        span(elapsed)
    }
}

/// The workers, one a row. The last column is there only if somebody is out of the ordinary.
fn table(pong: &Pong) -> Table {
    let mut columns = vec![
        Column::left("WORKER"),
        Column::left("POOL"),
        Column::right("PID"),
        Column::right("SLOTS"),
        Column::right("IDLE"),
        Column::right("BUSY"),
        Column::right("HEARD"),
    ];
    if pong.workers.iter().any(|worker| state(worker).is_some()) {
        columns.push(Column::left("STATE"));
    }
    let mut table = Table::new(&columns);
    for worker in &pong.workers {
        let mut cells: Vec<Cell> = vec![
            worker.worker.to_string().into(),
            worker.pool.as_str().into(),
            // Another host's process id says nothing here, and a worker may not know its own.
            if worker.pid == 0 {
                "-".into()
            } else {
                worker.pid.to_string().into()
            },
            worker.slots.to_string().into(),
            idle(worker).to_string().into(),
            worker.busy.to_string().into(),
            format!("{} ago", span(heard_ago(worker))).into(),
        ];
        cells.extend(state(worker));
        table.row(cells);
    }
    table
}

/// What is out of the ordinary, with the evidence.
fn state(worker: &PongWorker) -> Option<Cell> {
    let still = Duration::from_millis(worker.still_ms.into());
    if worker.hung > 0 {
        let what = if still >= INTERVAL * LIVENESS {
            format!("hung: loop still for {}", span(still))
        } else {
            format!(
                "{} hung: loop still, handler stopped, or its progress ceased",
                count(worker.hung.into(), "slot")
            )
        };
        Some(Cell::painted(what, Paint::Bad))
    } else if heard_ago(worker) > INTERVAL * LIVENESS {
        Some(Cell::painted("silent", Paint::Bad))
    } else {
        worker.draining.then(|| Cell::painted("draining", Paint::Warn))
    }
}

fn heard_ago(worker: &PongWorker) -> Duration {
    Duration::from_millis(worker.silent_ms.into())
}

/// Slots that would take a Hit now.
pub(super) fn idle(worker: &PongWorker) -> u32 {
    if worker.draining {
        0
    } else {
        worker.slots.saturating_sub(worker.busy)
    }
}

/// Slots of all workers that a PONG lists.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Tally {
    slots: u64,
    pub(super) idle: u64,
    pub(super) busy: u64,
    /// Of workers that take no new Hit, and not busy.
    draining: u64,
}

impl Tally {
    pub(super) fn of(pong: &Pong) -> Self {
        pong.workers.iter().fold(Self::default(), |sum, worker| {
            let free = u64::from(worker.slots.saturating_sub(worker.busy));
            Self {
                slots: sum.slots + u64::from(worker.slots),
                idle: sum.idle + u64::from(idle(worker)),
                busy: sum.busy + u64::from(worker.busy),
                draining: sum.draining + if worker.draining { free } else { 0 },
            }
        })
    }
}

#[cfg(test)]
#[path = "report_tests.rs"]
mod tests;
