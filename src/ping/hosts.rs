//! The other hosts of the cluster, in one table. Pure: answers in, text out.

use std::collections::BTreeMap;
use std::time::Duration;

use super::objects::{Probe, Unreached};
use super::report::Tally;
use crate::options::Format;
use crate::protocol::message::Pong;
use crate::term::human::{millis, span};
use crate::term::{Cell, Column, Paint, Screen, Table, json, one_line};

/// What became of the question to one host.
#[derive(Clone, Debug)]
enum Told {
    Nothing,
    Answered(Box<Pong>, Duration),
    Nowhere(String),
    /// Nobody has said anything of it for so long.
    Silent(Duration),
}

/// The hosts that are asked, and what they have said.
#[derive(Clone, Debug)]
pub(super) struct Hosts(BTreeMap<String, Told>);

impl Hosts {
    pub(super) fn new(names: &[String]) -> Self {
        Self(names.iter().map(|name| (name.clone(), Told::Nothing)).collect())
    }

    /// Whether one has not said anything.
    pub(super) fn awaits_any(&self) -> bool {
        self.0.values().any(|told| matches!(told, Told::Nothing))
    }

    /// Whether one is not there, names somebody who hangs, or tells of trouble.
    pub(super) fn is_incomplete(&self) -> bool {
        self.0.values().any(|told| match told {
            Told::Answered(pong, _) => hung(pong) > 0 || !pong.trouble.is_empty(),
            Told::Nothing | Told::Nowhere(_) | Told::Silent(_) => true,
        })
    }

    /// Whether one has answered, or another has said why it does not.
    pub(super) fn has_heard(&self) -> bool {
        self.0.values().any(|told| match told {
            Told::Answered(..) | Told::Nowhere(_) => true,
            Told::Nothing | Told::Silent(_) => false,
        })
    }

    /// A host has answered after `rtt`.
    pub(super) fn on_pong(&mut self, host: &str, pong: Pong, rtt: Duration) {
        if let Some(told) = self.0.get_mut(host) {
            *told = Told::Answered(Box::new(pong), rtt);
        }
    }

    /// It is not reached.
    pub(super) fn on_nowhere(&mut self, host: &str, why: String) {
        if let Some(told) = self.0.get_mut(host) {
            *told = Told::Nowhere(why);
        }
    }

    /// Who has not answered within `waited` does not.
    pub(super) fn give_up(&mut self, waited: Duration) {
        for told in self.0.values_mut().filter(|told| matches!(told, Told::Nothing)) {
            *told = Told::Silent(waited);
        }
    }

    /// What to print for probe `seq`.
    pub(super) fn report(&self, seq: u32, format: Format, screen: Screen) -> String {
        match format {
            Format::Json => self.0.iter().map(|(host, told)| object(seq, host, told)).collect(),
            Format::Text => format!("\n{}", self.table().render(screen)),
        }
    }

    fn table(&self) -> Table {
        let mut table = Table::new(&[
            Column::left("HOST"),
            Column::right("BROKER"),
            Column::right("TERM"),
            Column::right("UP"),
            Column::right("WORKERS"),
            Column::right("IDLE"),
            Column::right("BUSY"),
            Column::right("RTT MS"),
            Column::left("STATE"),
        ]);
        for (host, told) in &self.0 {
            table.row(row(host, told));
        }
        table
    }
}

fn row(host: &str, told: &Told) -> Vec<Cell> {
    match told {
        Told::Answered(pong, rtt) => {
            let all = Tally::of(pong);
            let state = match hung(pong) {
                0 if !pong.trouble.is_empty() => Cell::painted(one_line(&pong.trouble), Paint::Warn),
                0 => Cell::from("ok"),
                hung => Cell::painted(format!("{hung} slots hung: zhit ping {host}"), Paint::Bad),
            };
            vec![
                host.into(),
                pong.pid.to_string().into(),
                pong.term.to_string().into(),
                span(Duration::from_millis(pong.uptime_ms)).into(),
                pong.workers_total.to_string().into(),
                all.idle.to_string().into(),
                all.busy.to_string().into(),
                millis(*rtt).into(),
                state,
            ]
        }
        Told::Nothing => blank(host, ""),
        Told::Nowhere(why) => blank(host, why),
        Told::Silent(waited) => blank(host, &silent(*waited)),
    }
}

fn blank(host: &str, why: &str) -> Vec<Cell> {
    let state = format!("not reached: {}", one_line(why));
    let dashes = std::iter::repeat_with(|| Cell::from("-")).take(7);
    let whole = std::iter::once(Cell::from(host)).chain(dashes);
    whole.chain([Cell::painted(state, Paint::Bad)]).collect()
}

fn object(seq: u32, host: &str, told: &Told) -> String {
    match told {
        Told::Answered(pong, rtt) => json::line(&Probe::new(seq, pong, *rtt)),
        Told::Nothing => json::line(&Unreached::new(seq, host, "")),
        Told::Nowhere(why) => json::line(&Unreached::new(seq, host, why)),
        Told::Silent(waited) => json::line(&Unreached::new(seq, host, &silent(*waited))),
    }
}

fn silent(waited: Duration) -> String {
    format!("no answer within {}", span(waited))
}

fn hung(pong: &Pong) -> u32 {
    pong.workers.iter().map(|worker| worker.hung).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Term;

    fn pong(host: &str) -> Pong {
        Pong {
            nonce: 1,
            host: host.to_owned(),
            pid: 4711,
            term: Term(12),
            uptime_ms: 90_000,
            version: "0.1.0".to_owned(),
            trouble: String::new(),
            queued: 0,
            workers_total: 0,
            workers: Vec::new(),
        }
    }

    #[test]
    fn each_host_has_a_row_and_who_is_not_there_the_reason() {
        let names = ["beta", "gamma", "delta"].map(str::to_owned);
        let mut hosts = Hosts::new(&names);
        assert!(hosts.awaits_any() && hosts.is_incomplete());
        hosts.on_pong("beta", pong("beta"), Duration::from_micros(850));
        hosts.on_nowhere("gamma", "its broker has not answered for 9s, says alpha".to_owned());
        hosts.on_pong("stranger", pong("stranger"), Duration::ZERO);
        hosts.give_up(Duration::from_secs(1));
        assert!(!hosts.awaits_any() && hosts.is_incomplete());
        let text = hosts.report(1, Format::Text, Screen::PLAIN);
        let rows: Vec<&str> = text.lines().collect();
        assert_eq!(rows.len(), 5, "{text}");
        assert!(
            rows[2].starts_with("beta") && rows[2].contains("4711") && rows[2].ends_with("ok"),
            "{text}"
        );
        assert!(
            rows[3].starts_with("delta") && rows[3].ends_with("not reached: no answer within 1.0s"),
            "{text}"
        );
        assert!(
            rows[4].ends_with("not reached: its broker has not answered for 9s, says alpha"),
            "{text}"
        );
        let objects = hosts.report(1, Format::Json, Screen::PLAIN);
        assert_eq!(objects.lines().count(), 3);
        assert!(objects.contains("\"evidence\":\"no answer within 1.0s\""), "{objects}");
    }
}
