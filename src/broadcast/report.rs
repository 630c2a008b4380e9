//! What `zhit broadcast` prints. Pure: seats and books in, text out. Standard output carries replies, standard error all
//! else.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;

use super::fold::fold;
use super::seat::{Books, Seat, Verdict};
use crate::exit::Exit;
use crate::options::ReportFormat;
use crate::protocol::Moment;
use crate::protocol::ids::BroadcastId;
use crate::protocol::status::Status;
use crate::term::{Escaper, Paint, Screen, json, one_line};

/// What goes where.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// For standard output.
    pub out: Vec<u8>,
    /// For standard error.
    pub err: String,
}

/// How it is told.
#[derive(Clone, Copy, Debug)]
pub struct Report {
    /// The format.
    pub format: ReportFormat,
    /// Identical replies are told once, at the end.
    pub folded: bool,
    /// Standard output.
    pub out: Screen,
    /// Standard error.
    pub err: Screen,
}

impl Report {
    /// A member is settled.
    pub fn settled(&self, now: Moment, seat: &Seat) -> Said {
        let mut said = Said::default();
        match self.format {
            ReportFormat::Jsonl => said.out = json::line(&Object::of(now, seat)).into_bytes(),
            ReportFormat::Json => {}
            ReportFormat::Text if self.folded => {}
            ReportFormat::Text => {
                let name = format!("{}: ", seat.name());
                said.out = self.prefixed(&name, &seat.reply);
                said.err = self.verdict(seat);
            }
        }
        said
    }

    /// All is over; `outstanding` are those that were still to come.
    pub fn closed(&self, now: Moment, id: BroadcastId, (seats, books): (&[Seat], Books), took: Duration) -> Said {
        let mut said = Said::default();
        match self.format {
            ReportFormat::Json => {
                let members = seats.iter().map(|seat| Object::of(now, seat)).collect();
                let whole = Whole {
                    kind: "broadcast",
                    id: id.to_string(),
                    elapsed_ms: json::millis(took),
                    books,
                    members,
                };
                said.out = json::line(&whole).into_bytes();
            }
            ReportFormat::Text if self.folded => {
                said.out = self.groups(seats);
                said.err = seats.iter().map(|seat| self.verdict(seat)).collect();
            }
            ReportFormat::Text | ReportFormat::Jsonl => {}
        }
        let waiting: Vec<String> = seats
            .iter()
            .filter(|seat| seat.verdict.is_none())
            .map(Seat::name)
            .collect();
        if !waiting.is_empty() {
            let names = fold(waiting.iter().map(String::as_str));
            let _ = writeln!(said.err, "outstanding: {names}");
        }
        said.err += &self.balance(books, took);
        said
    }

    /// Lines of a reply, each behind the name of whom it is from.
    fn prefixed(&self, name: &str, reply: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        for line in reply.split_inclusive(|byte| *byte == b'\n') {
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(&self.shown(line));
        }
        if reply.last().is_some_and(|last| *last != b'\n') {
            out.push(b'\n');
        }
        out
    }

    /// Control characters from the network do nothing to a terminal.
    fn shown(&self, bytes: &[u8]) -> Vec<u8> {
        let mut escaper = Escaper::new(self.out.is_terminal());
        let mut shown = escaper.feed(bytes).into_owned();
        shown.extend(escaper.finish());
        shown
    }

    /// What became of a member that did not do well.
    fn verdict(&self, seat: &Seat) -> String {
        let Some(verdict) = &seat.verdict else {
            return String::new();
        };
        let (word, evidence) = words(verdict);
        if matches!(verdict, Verdict::Ok) {
            return String::new();
        }
        let evidence = match evidence {
            evidence if evidence.is_empty() => String::new(),
            evidence => format!(": {}", one_line(&evidence)),
        };
        let word = self.err.paint(Paint::Bad, word);
        format!("{} {word}{evidence}\n", seat.name())
    }

    /// Each reply once, under the names of those who gave it; with another status it is another.
    fn groups(&self, seats: &[Seat]) -> Vec<u8> {
        let mut groups: BTreeMap<(String, &[u8]), Vec<String>> = BTreeMap::new();
        for seat in seats {
            let status = match &seat.verdict {
                Some(Verdict::Ok) => String::new(),
                Some(Verdict::Failed(status, _)) => format!(" [{status}]"),
                _ => continue,
            };
            groups.entry((status, &seat.reply)).or_default().push(seat.name());
        }
        let mut all: Vec<_> = groups.into_iter().collect();
        // The many first; of as many, in the order of their names.
        all.sort_by(|a, b| b.1.len().cmp(&a.1.len()).then_with(|| a.1.cmp(&b.1)));
        let mut out = Vec::new();
        for ((status, reply), names) in all {
            let head = format!("{} ({}){status}", fold(names.iter().map(String::as_str)), names.len());
            out.extend_from_slice(self.out.paint(Paint::Strong, &head).as_bytes());
            out.push(b'\n');
            for line in reply.split_inclusive(|byte| *byte == b'\n') {
                out.extend_from_slice(b"  ");
                out.extend_from_slice(&self.shown(line));
            }
            if reply.last().is_some_and(|last| *last != b'\n') {
                out.push(b'\n');
            }
        }
        out
    }

    /// `expected 40 = 37 ok + 1 failed + 1 hung + 1 dead in 1.84s`.
    fn balance(&self, books: Books, took: Duration) -> String {
        let others = [
            (books.failed, "failed"),
            (books.hung, "hung"),
            (books.dead, "dead"),
            (books.left, "left"),
            (books.skipped, "skipped"),
            (books.unreachable, "unreachable"),
            (books.outstanding, "outstanding"),
        ];
        let mut line = format!("expected {} = {} ok", books.expected, books.ok);
        for (count, word) in others.into_iter().filter(|(count, _)| *count > 0) {
            let text = format!("{count} {word}");
            let _ = write!(line, " + {}", self.err.paint(Paint::Bad, &text));
        }
        let hundredths = took.as_millis() / 10;
        format!("{line} in {}.{:02}s\n", hundredths / 100, hundredths % 100)
    }
}

/// One word for a verdict, and why.
fn words(verdict: &Verdict) -> (&'static str, String) {
    match verdict {
        Verdict::Ok => ("ok", String::new()),
        Verdict::Failed(status, note) if note.is_empty() => ("failed", status.to_string()),
        Verdict::Failed(status, note) => ("failed", format!("{status}: {note}")),
        Verdict::Hung(evidence) => ("hung", evidence.clone()),
        Verdict::Dead(evidence) => ("dead", evidence.clone()),
        Verdict::Left(evidence) => ("left", evidence.clone()),
        Verdict::Unreachable(evidence) => ("unreachable", evidence.clone()),
        Verdict::Skipped => ("skipped", String::new()),
    }
}

/// Rule B5. With `largest`, the largest code of a handler where they alone have failed.
pub fn exit(seats: &[Seat], books: Books, timed_out: bool, largest: bool) -> Exit {
    if timed_out {
        return Exit::Deadline;
    }
    if books.hung + books.dead + books.unreachable + books.left + books.outstanding > 0 {
        return Exit::Incomplete;
    }
    if books.failed == 0 {
        return Exit::Success;
    }
    if largest {
        let codes = seats.iter().filter_map(|seat| match seat.verdict {
            Some(Verdict::Failed(status, _)) => Some(code(status)),
            _ => None,
        });
        return codes.max().map_or(Exit::HandlerFailed, Exit::Command);
    }
    Exit::HandlerFailed
}

/// What a shell would say of it.
fn code(status: Status) -> u8 {
    match status {
        Status::Ok => 0,
        Status::Exit(code) => code,
        Status::Signal(number) => Exit::Signal(number).code(),
        Status::Deadline => Exit::Deadline.code(),
        Status::NotStarted | Status::Refused | Status::Cancelled => Exit::HandlerFailed.code(),
    }
}

/// GNU parallel's job log: what has failed can be asked again from it. `began` is the start in seconds since 1970.
pub fn joblog(now: Moment, (began, began_at): (u64, Moment), seats: &[Seat], sent: usize, request: &str) -> String {
    let mut text = "Seq\tHost\tStarttime\tJobRuntime\tSend\tReceive\tExitval\tSignal\tCommand\n".to_owned();
    for (number, seat) in seats.iter().enumerate() {
        let start = seat.asked_at.map_or(0.0, |at| at.since(began_at).as_secs_f64());
        let (value, signal) = match &seat.verdict {
            Some(Verdict::Ok) => (0, 0),
            Some(Verdict::Failed(Status::Signal(signal), _)) => (0, *signal),
            Some(Verdict::Failed(status, _)) => (i16::from(code(*status)), 0),
            _ => (-1, 0),
        };
        let _ = writeln!(
            text,
            "{}\t{}\t{:.3}\t{:.3}\t{sent}\t{}\t{value}\t{signal}\t{}",
            number + 1,
            seat.name(),
            began as f64 + start,
            seat.took(now).as_secs_f64(),
            seat.reply.len(),
            one_line(request)
        );
    }
    text
}

/// Fields are added, never changed.
#[derive(Serialize)]
struct Object {
    kind: &'static str,
    member: String,
    pool: String,
    /// Tells it from another worker of its number.
    incarnation: String,
    verdict: &'static str,
    evidence: Option<String>,
    /// `null` unless it answered.
    status: Option<String>,
    elapsed_ms: f64,
    /// As text; what is no UTF-8 of it is replaced.
    reply: String,
    bytes: usize,
}

impl Object {
    fn of(now: Moment, seat: &Seat) -> Self {
        let (verdict, evidence) = seat.verdict.as_ref().map_or(("outstanding", String::new()), words);
        let status = match &seat.verdict {
            Some(Verdict::Ok) => Some(Status::Ok.to_string()),
            Some(Verdict::Failed(status, _)) => Some(status.to_string()),
            _ => None,
        };
        Self {
            kind: "member",
            member: seat.name(),
            pool: seat.pool.clone(),
            incarnation: format!("{:016x}", seat.member.incarnation.0),
            verdict,
            evidence: (!evidence.is_empty()).then_some(evidence),
            status,
            elapsed_ms: json::millis(seat.took(now)),
            reply: String::from_utf8_lossy(&seat.reply).into_owned(),
            bytes: seat.reply.len(),
        }
    }
}

#[derive(Serialize)]
struct Whole {
    kind: &'static str,
    id: String,
    elapsed_ms: f64,
    books: Books,
    members: Vec<Object>,
}

#[cfg(test)]
#[path = "report_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "captures_tests.rs"]
mod captures_tests;
