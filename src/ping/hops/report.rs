//! What `zhit ping --hops` prints. Pure: figures in, text out.
//!
//! Text: a row for each hop, and below it who was asked. JSON: one object, `"kind":"hops"`; times are microseconds, whole
//! numbers. Names and units are an interface: fields are added, never changed.

use serde::Serialize;

use super::measured::{BROKER_SLOT, CLIENT_BROKER, CLIENT_SLOT, DIRECT, HANDLER, Measured};
use super::trips::{Figures, Trips};
use crate::options::Format;
use crate::protocol::message::Pong;
use crate::term::{Cell, Column, Paint, Screen, Table, json, one_line};

/// One hop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) hop: &'static str,
    pub(super) count: u64,
    pub(super) lost: u64,
    /// `None`: nothing was measured.
    pub(super) figures: Option<Figures>,
    /// Why there is nothing to measure.
    pub(super) why: Option<String>,
}

impl Row {
    fn new(hop: &'static str, trips: &Trips) -> Self {
        Self {
            hop,
            count: trips.count(),
            lost: trips.lost_count(),
            figures: trips.figures(),
            why: None,
        }
    }

    /// All hops, in the order in which they are told; `no_direct` says why nobody was asked straight, `handler` whether one
    /// was asked.
    pub(super) fn all(measured: &Measured, no_direct: Option<&str>, handler: bool) -> Vec<Self> {
        let mut rows = vec![
            Self::new(CLIENT_BROKER, &measured.client_broker),
            Self::new(BROKER_SLOT, &measured.broker_slot),
            Self::new(CLIENT_SLOT, &measured.client_slot),
            Self {
                why: no_direct.map(str::to_owned),
                ..Self::new(DIRECT, &measured.direct)
            },
        ];
        rows.extend(handler.then(|| Self::new(HANDLER, &measured.handler)));
        rows
    }
}

/// What was found.
#[derive(Clone, Debug)]
pub(super) struct Findings {
    pub(super) host: String,
    pub(super) pool: String,
    /// As `alpha/w3/1`.
    pub(super) slot: String,
    /// The broker, if it has answered.
    pub(super) pong: Option<Pong>,
    /// The slot's own socket, if it was asked there.
    pub(super) endpoint: Option<String>,
    /// How many rounds there were to be.
    pub(super) rounds: u32,
    /// How many have begun.
    pub(super) begun: u32,
    pub(super) rows: Vec<Row>,
    /// Why it ended before all rounds were over.
    pub(super) ended: Option<String>,
}

impl Findings {
    /// What to print.
    pub(super) fn report(&self, format: Format, screen: Screen) -> String {
        match format {
            Format::Json => json::line(&self.object()),
            Format::Text => self.table().render(screen) + &self.notes(screen),
        }
    }

    fn table(&self) -> Table {
        let mut columns = vec![
            Column::left("HOP"),
            Column::right("COUNT"),
            Column::right("LOST"),
            Column::right("MIN µs"),
            Column::right("P50 µs"),
            Column::right("P90 µs"),
            Column::right("P99 µs"),
            Column::right("MAX µs"),
        ];
        if self.rows.iter().any(|row| row.why.is_some()) {
            columns.push(Column::left("WHY"));
        }
        let mut table = Table::new(&columns);
        for row in &self.rows {
            let lost = if row.lost > 0 { Paint::Bad } else { Paint::Plain };
            let mut cells = vec![
                row.hop.into(),
                row.count.to_string().into(),
                Cell::painted(row.lost.to_string(), lost),
            ];
            let figures = row.figures.map(|f| [f.min, f.p50, f.p90, f.p99, f.max]);
            cells.extend(figures.map_or_else(|| ["-"; 5].map(Cell::from), |all| all.map(|one| one.to_string().into())));
            cells.extend(row.why.clone().map(Cell::from));
            table.row(cells);
        }
        table
    }

    /// Who was asked, and which way.
    fn notes(&self, screen: Screen) -> String {
        let broker = self.pong.as_ref().map_or_else(
            || "broker: no answer".to_owned(),
            |pong| {
                let version = one_line(&pong.version);
                format!("broker pid {}  term {}  zhit {version}", pong.pid, pong.term)
            },
        );
        let slot = screen.paint(Paint::Strong, &one_line(&self.slot));
        let mut text = format!("{slot}  pool {}  {broker}\n", one_line(&self.pool));
        if let Some(endpoint) = &self.endpoint {
            text += "direct: ";
            text += &one_line(endpoint);
            text += "\n";
        }
        if let Some(why) = &self.ended {
            let how_far = format!("ended in round {} of {}: {}", self.begun, self.rounds, one_line(why));
            text += &screen.paint(Paint::Warn, &how_far);
            text += "\n";
        }
        text
    }

    fn object(&self) -> Object<'_> {
        let hop = |row: &Row| ObjectRow {
            hop: row.hop,
            count: row.count,
            lost: row.lost,
            min_us: row.figures.map(|figures| figures.min),
            p50_us: row.figures.map(|figures| figures.p50),
            p90_us: row.figures.map(|figures| figures.p90),
            p99_us: row.figures.map(|figures| figures.p99),
            max_us: row.figures.map(|figures| figures.max),
            why: row.why.clone(),
        };
        Object {
            kind: "hops",
            host: &self.host,
            pool: &self.pool,
            slot: &self.slot,
            broker: self.pong.as_ref().map(|pong| Broker {
                pid: pong.pid,
                term: pong.term.0,
                version: &pong.version,
            }),
            endpoint: self.endpoint.as_deref(),
            rounds: self.rounds,
            begun: self.begun,
            hops: self.rows.iter().map(hop).collect(),
            ended: self.ended.as_deref(),
        }
    }
}

/// `null`: not known, or there is none.
#[derive(Serialize)]
struct Object<'a> {
    kind: &'static str,
    host: &'a str,
    pool: &'a str,
    slot: &'a str,
    broker: Option<Broker<'a>>,
    endpoint: Option<&'a str>,
    rounds: u32,
    begun: u32,
    hops: Vec<ObjectRow>,
    /// `null`: as planned.
    ended: Option<&'a str>,
}

#[derive(Serialize)]
struct Broker<'a> {
    pid: u32,
    term: u64,
    version: &'a str,
}

#[derive(Serialize)]
struct ObjectRow {
    hop: &'static str,
    count: u64,
    lost: u64,
    min_us: Option<i64>,
    p50_us: Option<i64>,
    p90_us: Option<i64>,
    p99_us: Option<i64>,
    max_us: Option<i64>,
    why: Option<String>,
}

#[cfg(test)]
#[path = "report_tests.rs"]
mod tests;
