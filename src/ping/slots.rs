//! What the slots of one worker do: they are asked themselves, by way of their broker. Pure: answers in, text out.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use crate::options::{Format, Target};
use crate::protocol::message::{Pong, PongWorker, WorkState};
use crate::protocol::pool::State;
use crate::term::human::{bytes, count, millis, span};
use crate::term::{Cell, Column, Paint, Screen, Table, json, one_line};

/// The slots that are asked, and what they have said.
#[derive(Clone, Debug)]
pub struct Slots {
    worker: PongWorker,
    host: String,
    said: BTreeMap<u32, Option<(State, Duration)>>,
}

impl Slots {
    /// The slots that `target` names, as far as the broker knows of them.
    ///
    /// # Errors
    /// Who is not there.
    pub fn of(target: &Target, pong: &Pong) -> Result<Option<Self>, String> {
        let Some(id) = target.worker else { return Ok(None) };
        let host = &pong.host;
        let Some(worker) = pong.workers.iter().find(|worker| worker.worker == id) else {
            let known: Vec<String> = pong.workers.iter().map(|worker| worker.worker.to_string()).collect();
            return Err(match known.len() {
                0 => format!("{host} has no worker {id}, nor any other"),
                _ => format!("{host} has no worker {id}; there are: {}", known.join(", ")),
            });
        };
        let numbers = match target.slot {
            // Of one that leaves, slots of higher numbers may be there still.
            Some(number) if number > worker.slots && !worker.draining => {
                let (name, all) = (format!("{host}/{id}"), count(worker.slots.into(), "slot"));
                return Err(format!("{name} has no slot {number}: it has {all}"));
            }
            None => 1..=worker.slots,
            Some(number) => number..=number,
        };
        Ok(Some(Self {
            worker: worker.clone(),
            host: host.clone(),
            said: numbers.map(|number| (number, None)).collect(),
        }))
    }

    /// Those that have not answered.
    pub fn silent(&self) -> impl Iterator<Item = u32> {
        let silent = self.said.iter().filter(|(_, said)| said.is_none());
        silent.map(|(number, _)| *number)
    }

    /// Takes an answer that came after `rtt`.
    pub fn on_state(&mut self, state: State, rtt: Duration) {
        if let Some(said) = self
            .said
            .get_mut(&state.slot.number)
            .filter(|_| state.slot.worker == self.worker.worker)
        {
            said.get_or_insert((state, rtt));
        }
    }

    /// Whether somebody has not answered, or says that its handler hangs.
    pub fn is_incomplete(&self) -> bool {
        self.said.values().any(|said| match said {
            Some((state, _)) => matches!(state.state, WorkState::Stopped | WorkState::Stalled),
            None => true,
        })
    }

    /// What to print.
    pub fn report(&self, format: Format, screen: Screen) -> String {
        match format {
            Format::Json => self
                .said
                .iter()
                .map(|(number, said)| json::line(&self.object(*number, said.as_ref())))
                .collect(),
            Format::Text => self.table().render(screen),
        }
    }

    fn name(&self, number: u32) -> String {
        format!("{}/{}/{number}", self.host, self.worker.worker)
    }

    fn table(&self) -> Table {
        let mut table = Table::new(&[
            Column::left("SLOT"),
            Column::left("HIT"),
            Column::right("REQUEST"),
            Column::right("FOR"),
            Column::right("HANDLER"),
            Column::left("STATE"),
            Column::right("RTT"),
            Column::left("PROGRESS"),
        ]);
        for (number, said) in &self.said {
            let row = said.as_ref().map(|(state, rtt)| self.row(*number, state, *rtt));
            table.row(row.unwrap_or_else(|| self.silent_row(*number)));
        }
        table
    }

    fn silent_row(&self, number: u32) -> Vec<Cell> {
        let mut row = vec![self.name(number).into()];
        row.extend(["-", "-", "-", "-"].map(Cell::from));
        row.push(Cell::painted("no answer", Paint::Bad));
        row.extend(["-", ""].map(Cell::from));
        row
    }

    fn row(&self, number: u32, state: &State, rtt: Duration) -> Vec<Cell> {
        let serves = !state.hit.is_none();
        let runs = serves && state.state != WorkState::Idle;
        let or_dash = |is_there: bool, text: String| Cell::from(if is_there { text } else { "-".to_owned() });
        vec![
            self.name(number).into(),
            // As much of its key as tells it from others; all of it is in JSON, for --close.
            or_dash(serves, state.hit.to_string().chars().take(8).chain(['…']).collect()),
            or_dash(state.seq > 0, state.seq.to_string()),
            or_dash(runs, span(Duration::from_millis(state.elapsed_ms))),
            or_dash(state.pid != 0, state.pid.to_string()),
            what(state),
            format!("{} ms", millis(rtt)).into(),
            (if runs { progress(state) } else { String::new() }).into(),
        ]
    }

    fn object(&self, number: u32, said: Option<&(State, Duration)>) -> Object {
        let state = said.map(|(state, _)| state);
        let serves = state.filter(|state| !state.hit.is_none());
        Object {
            kind: "slot",
            slot: self.name(number),
            answered: said.is_some(),
            rtt_ms: said.map(|(_, rtt)| json::millis(*rtt)),
            hit: serves.map(|state| format!("{}/{}", self.host, state.hit)),
            state: state.map(word),
            seq: serves.map(|state| state.seq),
            elapsed_ms: serves.map(|state| state.elapsed_ms),
            pid: serves.map(|state| state.pid).filter(|pid| *pid != 0),
            bytes_in: serves.map(|state| state.bytes_in),
            bytes_out: serves.map(|state| state.bytes_out),
            done: serves.and_then(|state| Some(state.progress.as_ref()?.done)),
            total: serves.and_then(|state| Some(state.progress.as_ref()?.total)),
            note: serves.and_then(|state| Some(state.progress.as_ref()?.note.clone())),
        }
    }
}

/// Fields are added, never changed; `null`: not known, or there is none.
#[derive(Serialize)]
struct Object {
    kind: &'static str,
    slot: String,
    answered: bool,
    rtt_ms: Option<f64>,
    hit: Option<String>,
    state: Option<&'static str>,
    seq: Option<u64>,
    elapsed_ms: Option<u64>,
    pid: Option<u32>,
    bytes_in: Option<u64>,
    bytes_out: Option<u64>,
    done: Option<u64>,
    total: Option<u64>,
    note: Option<String>,
}

/// One word for what it does.
fn word(state: &State) -> &'static str {
    match state.state {
        WorkState::Idle if state.hit.is_none() => "idle",
        WorkState::Idle => "waits for a request",
        WorkState::Running => "runs",
        WorkState::Stopped => "hung: handler stopped",
        WorkState::Ending => "ends",
        WorkState::Stalled => "hung: no progress",
    }
}

fn what(state: &State) -> Cell {
    let paint = match state.state {
        WorkState::Stopped | WorkState::Stalled => Paint::Bad,
        WorkState::Ending => Paint::Warn,
        WorkState::Idle | WorkState::Running => Paint::Plain,
    };
    Cell::painted(word(state), paint)
}

/// `42% (21 of 50) halfway`, or else the bytes that went in and out.
fn progress(state: &State) -> String {
    let Some(progress) = &state.progress else {
        return format!("{} in, {} out", bytes(state.bytes_in), bytes(state.bytes_out));
    };
    let (done, total) = (progress.done, progress.total);
    let far = match done.saturating_mul(100).checked_div(total) {
        Some(percent) => format!("{percent}% ({done} of {total})"),
        None => done.to_string(),
    };
    format!("{far} {}", one_line(&progress.note)).trim_end().to_owned()
}

#[cfg(test)]
#[path = "slots_tests.rs"]
mod tests;
