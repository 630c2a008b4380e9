//! What the man page shows is what is printed.

use super::*;
use crate::broadcast::gather::{Action, Gather, Phase};
use crate::broadcast::testing::{ID, answer, at, condition, config, gone, receipt, roster};
use crate::cli::{FOLDED, TROUBLED};
use crate::protocol::Message;
use crate::protocol::pool::{Fate, Ran};

/// A broadcast to alpha, beta and gamma, and what a terminal shows of it: both streams are one there.
struct Shown {
    gather: Gather,
    report: Report,
    out: Vec<Action>,
    text: String,
}

impl Shown {
    fn new(command: &str, folded: bool) -> Self {
        Self {
            gather: Gather::new(at(0), config(&["alpha", "beta", "gamma"])),
            report: Report {
                format: ReportFormat::Text,
                folded,
                out: Screen::PLAIN,
                err: Screen::PLAIN,
            },
            out: Vec::new(),
            text: format!("$ zhit broadcast {command}\n"),
        }
    }

    fn hear(&mut self, millis: u64, host: usize, message: Message) {
        self.gather.on_message(at(millis), host, message, &mut self.out);
        self.show(millis);
    }

    fn show(&mut self, millis: u64) {
        for action in std::mem::take(&mut self.out) {
            if let Action::Settled(place) = action {
                let said = self.report.settled(at(millis), &self.gather.seats()[place]);
                self.text += &String::from_utf8(said.out).unwrap();
                self.text += &said.err;
            }
        }
    }

    fn closed(mut self, millis: u64) -> String {
        assert_eq!(self.gather.phase(), Phase::Closed);
        let parts = (self.gather.seats(), self.gather.books());
        let said = self.report.closed(at(millis), ID, parts, Duration::from_millis(millis));
        self.text += &String::from_utf8(said.out).unwrap();
        self.text += &said.err;
        self.text
    }
}

#[test]
fn a_folded_broadcast_to_300_is_as_the_man_page_shows_it() {
    let mut shown = Shown::new("--fold version", true);
    for (host, name) in ["alpha", "beta", "gamma"].into_iter().enumerate() {
        shown.hear(10, host, roster(name, 100));
    }
    for host in 0..3 {
        for number in 1..=100 {
            let said = match (host, number) {
                (2, 61) => answer(61, Status::Exit(1), "no such file", ""),
                (2, _) => answer(number, Status::Ok, "", "1.4.1\n"),
                _ => answer(number, Status::Ok, "", "1.4.2\n"),
            };
            shown.hear(200, host, said);
        }
    }
    assert_eq!(shown.closed(210), FOLDED);
}

#[test]
fn a_troubled_broadcast_is_as_the_man_page_shows_it() {
    let mut shown = Shown::new("reload", false);
    for (host, name) in ["alpha", "beta"].into_iter().enumerate() {
        shown.hear(0, host, roster(name, 3));
    }
    let why = "its broker has not been heard for 9.0s, says alpha".to_owned();
    shown.gather.on_unreached(at(0), 2, why, &mut shown.out);
    shown.show(0);
    shown.hear(100, 0, answer(1, Status::Ok, "", "reloaded\n"));
    shown.hear(100, 1, answer(1, Status::Ok, "", "reloaded\n"));
    shown.hear(100, 1, receipt(2));
    shown.hear(120, 0, answer(2, Status::Exit(3), "no such table", ""));
    shown.hear(300, 0, gone(3, Fate::Died, 100, Ran::Begun));
    shown.hear(400, 1, gone(3, Fate::Left, 200, Ran::NotBegun));
    // Time goes on, and nothing is heard of the last one.
    for millis in (500..5200).step_by(100) {
        shown.gather.on_tick(at(millis), &mut shown.out);
        shown.hear(millis, 1, condition(2, 0, 0));
    }
    shown.hear(5200, 1, condition(2, 5100, 5200));
    assert_eq!(shown.closed(5200), TROUBLED);
}
