//! Replies as a person or a program wants them: exact bytes, lines, or JSON objects.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::Write;

use bytes::{Bytes, BytesMut};
use serde::Serialize;

use crate::options::Format;
use crate::protocol::message::Channel;
use crate::protocol::status::Status;
use crate::protocol::stream::Piece;
use crate::protocol::time::Moment;
use crate::term::escape::{Escaper, one_line};

use super::output::{Cost, Sink, Stream};

/// Pieces up to this are gathered, so that a million short replies are not a million writes.
const GATHER_BYTES_MAX: usize = 8 * 1024;

/// Most bytes of a reply that a JSON object holds; of a longer one it tells the length alone.
const JSON_BODY_BYTES_MAX: usize = 1024 * 1024;

/// One reply as `--format json` tells it.
#[derive(Debug, Serialize)]
struct JsonReply<'a> {
    seq: u64,
    status: String,
    bytes: u64,
    elapsed_ms: f64,
    slot: &'a str,
    /// The body, if it is text and not too long.
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<&'a str>,
    /// The body in hexadecimal digits, if it is not text and not too long.
    #[serde(skip_serializing_if = "Option::is_none")]
    body_hex: Option<String>,
    #[serde(skip_serializing_if = "str::is_empty")]
    note: &'a str,
}

/// How replies are ended and told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// Exactly the bytes.
    Exact,
    /// Each reply ends with one newline, added if missing.
    Lines,
    /// One object a line.
    Json,
}

/// Turns pieces of replies into what is written.
#[derive(Debug)]
pub(super) struct Printer {
    style: Style,
    stderr: Escaper,
    gathered: BytesMut,
    cost: Cost,
    /// Last byte of the current reply.
    last: Option<u8>,
    bytes: u64,
    note: Vec<u8>,
    body: Vec<u8>,
    /// When each unanswered request was written.
    asked_at: HashMap<u64, Moment>,
    /// The worst status so far.
    pub(super) worst: Option<(u64, Status)>,
    pub(super) failures: u64,
}

impl Printer {
    pub(super) fn new(format: Format, exact: bool, escape_stderr: bool) -> Self {
        let style = match format {
            Format::Json => Style::Json,
            Format::Text if exact => Style::Exact,
            Format::Text => Style::Lines,
        };
        Self {
            style,
            stderr: Escaper::new(escape_stderr),
            gathered: BytesMut::new(),
            cost: Cost::default(),
            last: None,
            bytes: 0,
            note: Vec::new(),
            body: Vec::new(),
            asked_at: HashMap::new(),
            worst: None,
            failures: 0,
        }
    }

    /// A request was written; only JSON tells how long its reply took.
    pub(super) fn on_request(&mut self, now: Moment, seq: u64) {
        if self.style == Style::Json {
            self.asked_at.entry(seq).or_insert(now);
        }
    }

    /// Takes a piece of a reply.
    pub(super) fn on_piece(&mut self, now: Moment, piece: Piece, slot: &str, sink: &mut Sink) {
        let Piece {
            seq,
            channel,
            bytes,
            end,
        } = piece;
        let length = bytes.len() as u64;
        match channel {
            Channel::Body => self.on_body(bytes, sink),
            Channel::Stderr => {
                self.flush(sink);
                let text = match self.stderr.feed(&bytes) {
                    Cow::Borrowed(_) => bytes.clone(),
                    Cow::Owned(text) => text.into(),
                };
                sink.write(Stream::Err, text, Cost { bytes: length, ends: 0 });
            }
            Channel::Note => {
                self.note.extend_from_slice(&bytes);
                self.cost.bytes += length;
            }
        }
        if let Some(status) = end {
            self.on_end(now, seq, status, slot, sink);
        }
    }

    fn on_body(&mut self, bytes: Bytes, sink: &mut Sink) {
        let length = bytes.len() as u64;
        self.bytes += length;
        self.last = bytes.last().copied().or(self.last);
        if self.style == Style::Json {
            self.cost.bytes += length;
            if self.body.len() + bytes.len() <= JSON_BODY_BYTES_MAX {
                self.body.extend_from_slice(&bytes);
            }
        } else if bytes.len() > GATHER_BYTES_MAX {
            self.flush(sink);
            sink.write(Stream::Out, bytes, Cost { bytes: length, ends: 0 });
        } else {
            self.cost.bytes += length;
            self.gathered.extend_from_slice(&bytes);
        }
    }

    fn on_end(&mut self, now: Moment, seq: u64, status: Status, slot: &str, sink: &mut Sink) {
        let note = String::from_utf8_lossy(&std::mem::take(&mut self.note)).into_owned();
        match self.style {
            Style::Exact => {}
            Style::Lines if self.last == Some(b'\n') => {}
            // A failed request that said nothing has no line.
            Style::Lines if self.bytes == 0 && !status.is_ok() => {}
            Style::Lines => self.gathered.extend_from_slice(b"\n"),
            Style::Json => self.json(now, seq, status, &note, slot),
        }
        self.cost.ends += 1;
        if !status.is_ok() {
            self.failures += 1;
            if self.worst.is_none_or(|(_, worst)| rank(status) > rank(worst)) {
                self.worst = Some((seq, status));
            }
            self.flush(sink);
            let mut text = self.stderr.finish();
            let why = if note.is_empty() { status.to_string() } else { note };
            text.extend_from_slice(format!("zhit: client: request {seq}: {}\n", one_line(&why)).as_bytes());
            sink.write(Stream::Err, text.into(), Cost::default());
        }
        (self.last, self.bytes) = (None, 0);
        self.body.clear();
        if self.gathered.len() > GATHER_BYTES_MAX {
            self.flush(sink);
        }
    }

    fn json(&mut self, now: Moment, seq: u64, status: Status, note: &str, slot: &str) {
        let whole = self.body.len() as u64 == self.bytes;
        let text = std::str::from_utf8(&self.body).ok().filter(|_| whole);
        let hex = || hexadecimal(&self.body);
        let asked_at = self.asked_at.remove(&seq).unwrap_or(now);
        let reply = JsonReply {
            seq,
            status: status.to_string(),
            bytes: self.bytes,
            elapsed_ms: now.since(asked_at).as_micros() as f64 / 1000.0,
            slot,
            body: text,
            body_hex: (whole && text.is_none()).then(hex),
            note,
        };
        // Such an object has no part that could fail to be written.
        if let Ok(line) = serde_json::to_vec(&reply) {
            self.gathered.extend_from_slice(&line);
            self.gathered.extend_from_slice(b"\n");
        }
    }

    /// Hands over what was gathered.
    pub(super) fn flush(&mut self, sink: &mut Sink) {
        let cost = std::mem::take(&mut self.cost);
        if !self.gathered.is_empty() || cost != Cost::default() {
            sink.write(Stream::Out, self.gathered.split().freeze(), cost);
        }
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
            // Writing to a String does not fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
}

/// Which failure decides the exit code.
const fn rank(status: Status) -> u8 {
    match status {
        Status::Ok => 0,
        Status::Exit(_) | Status::Signal(_) | Status::NotStarted | Status::Refused | Status::Cancelled => 1,
        Status::Deadline => 2,
    }
}
