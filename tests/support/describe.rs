//! A message's fields as `key = value` lines, under the names that `docs/protocol.md` gives them.

#[path = "describe_pool.rs"]
mod pool;

use std::fmt::{Display, Write};

use zhit::protocol::frame::{Frames, Head};
use zhit::protocol::message::*;
use zhit::protocol::{DirId, HitKey, SlotId};

/// Bytes as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// As [`hex`], or `5a * 8193` for many of the same byte.
pub(crate) fn short_hex(bytes: &[u8]) -> String {
    match bytes {
        [first, rest @ ..] if rest.len() > 100 && rest.iter().all(|byte| byte == first) => {
            format!("{first:02x} * {}", bytes.len())
        }
        _ => hex(bytes),
    }
}

/// Bytes of [`short_hex`].
pub(crate) fn from_hex(text: &str) -> Vec<u8> {
    let (digits, times) = text
        .split_once(" * ")
        .map_or((text, 1), |(digits, times)| (digits, times.parse().unwrap()));
    let bytes: Vec<u8> = (0..digits.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap())
        .collect();
    bytes.repeat(times)
}

struct Lines(String);

impl Lines {
    fn add(&mut self, key: &str, value: impl Display) -> &mut Self {
        let _ = writeln!(self.0, "{key} = {value}");
        self
    }

    fn dir(&mut self, dir: DirId) -> &mut Self {
        self.add("dir", hex(&dir.0))
    }

    fn slot(&mut self, slot: SlotId) -> &mut Self {
        self.add("worker", slot.worker.0).add("slot", slot.number)
    }

    fn holder(&mut self, holder: Option<Holder>) -> &mut Self {
        if let Some(holder) = holder {
            self.add("holder.pid", holder.pid)
                .add("holder.start", holder.start_ticks);
        }
        self
    }

    fn suspect(&mut self, suspect: Suspect) -> &mut Self {
        self.add("term", suspect.term)
            .add("pid", suspect.pid)
            .add("start", suspect.start_ticks)
    }

    fn progress(&mut self, progress: Option<&Progress>) -> &mut Self {
        match progress {
            Some(progress) => self
                .add("done", progress.done)
                .add("total", progress.total)
                .text("note", &progress.note),
            None => self,
        }
    }

    fn ack(&mut self, ack: AckPoint) -> &mut Self {
        self.add("ack.seq", ack.seq)
            .add("ack.offset", ack.offset)
            .add("ack.limit", ack.limit)
    }

    fn text(&mut self, key: &str, text: &str) -> &mut Self {
        self.add(key, format_args!("{text:?}"))
    }

    fn packet(&mut self, packet: &Packet) -> &mut Self {
        self.ack(packet.ack).add("seq", packet.seq).add("offset", packet.offset);
        self.add("count", packet.segments.len());
        for segment in &packet.segments {
            let end = segment
                .end
                .map(|status| format!(", END {:#x} ({status})", status.to_wire()))
                .unwrap_or_default();
            let channel = segment.channel;
            self.add(
                "segment",
                format_args!(
                    "channel {} ({channel:?}), length {}{end}",
                    channel as u8, segment.length
                ),
            );
        }
        if packet.body.is_empty() {
            self
        } else {
            self.add("bytes", short_hex(&packet.body))
        }
    }
}

fn none_or(hit: Option<HitKey>) -> String {
    hit.unwrap_or_default().to_string()
}

/// The lines of one message: its frames, its head, its fields.
pub(crate) fn describe(message: &Message, Frames { header, body }: &Frames) -> String {
    let mut lines = Lines(String::new());
    let Head {
        command,
        flags,
        hit,
        attach,
        attempt,
    } = message.head();
    lines.add("header", hex(header));
    if let Some(body) = body {
        lines.add("body", short_hex(body));
    }
    let name = format!("{command:?}").to_uppercase();
    lines
        .add("command", format_args!("{:#04x} ({name})", command as u8))
        .add("flags", format_args!("{flags:#04x}"));
    lines.add("hit", hit).add("attach", attach.0).add("attempt", attempt.0);
    describe_fields(message, &mut lines);
    lines.0
}

fn describe_fields(message: &Message, lines: &mut Lines) {
    match message {
        Message::Register(m) => {
            lines
                .slot(m.slot)
                .add("incarnation", m.incarnation.0)
                .add("pid", m.pid)
                .add("slots", m.slots);
            lines.text("pool", &m.pool)
        }
        Message::Registered(m) => {
            lines
                .add("term", m.term)
                .dir(m.dir)
                .add("interval_ms", m.interval_ms)
                .add("liveness", m.liveness);
            lines.text("host", &m.host)
        }
        Message::Heartbeat(m) => lines.add("term", m.term).add("beat", m.beat),
        Message::Goodbye(m) => lines.slot(m.slot).add("incarnation", m.incarnation.0),
        Message::Disconnect(reason) => lines.add("reason", format_args!("{} ({reason:?})", *reason as u8)),
        Message::Yield(m) => lines.add("pid", m.pid).add("start", m.start_ticks),
        Message::Ballot(m) => lines
            .add("member", m.member.0)
            .add("incarnation", m.incarnation.0)
            .suspect(m.suspect)
            .add("beat", m.beat),
        Message::Vote(m) => lines
            .add("member", m.member.0)
            .add("incarnation", m.incarnation.0)
            .suspect(m.suspect)
            .add("beat", m.beat),
        Message::Ping { nonce } => lines.add("nonce", nonce),
        Message::Pong(m) => describe_pong(m, lines),
        Message::Farewell | Message::Withdraw { .. } | Message::Withdrawn { .. } | Message::Released { .. } => lines,
        Message::Open(_)
        | Message::Full(_)
        | Message::Queued(_)
        | Message::Held(_)
        | Message::Lease(_)
        | Message::Declined(_)
        | Message::Opened(_) => describe_opening(message, lines),
        _ => describe_life(message, lines),
    };
}

fn describe_pong<'a>(m: &Pong, lines: &'a mut Lines) -> &'a mut Lines {
    lines
        .add("nonce", m.nonce)
        .add("term", m.term)
        .add("uptime_ms", m.uptime_ms)
        .add("pid", m.pid);
    lines.add("queued", m.queued).add("workers_total", m.workers_total);
    lines
        .text("host", &m.host)
        .text("version", &m.version)
        .text("trouble", &m.trouble)
        .add("count", m.workers.len());
    for w in &m.workers {
        lines
            .add("worker", w.worker.0)
            .add("pid", w.pid)
            .add("slots", w.slots)
            .add("busy", w.busy);
        lines
            .add("hung", w.hung)
            .add("silent_ms", w.silent_ms)
            .add("still_ms", w.still_ms)
            .add("flags", u8::from(w.draining))
            .text("pool", &w.pool);
    }
    lines
}

fn describe_opening<'a>(message: &Message, lines: &'a mut Lines) -> &'a mut Lines {
    match message {
        Message::Open(m) => {
            lines
                .add("term", m.term)
                .dir(m.dir)
                .add("age_ms", m.age_ms)
                .add("ttl_ms", m.ttl_ms);
            lines
                .add("timeout_ms", m.timeout_ms)
                .holder(m.holder)
                .text("pool", &m.pool)
                .packet(&m.packet)
        }
        Message::Lease(m) => lines
            .add("term", m.term)
            .add("ttl_ms", m.ttl_ms)
            .add("timeout_ms", m.timeout_ms)
            .holder(m.holder)
            .packet(&m.packet),
        Message::Full(m) => {
            lines.add("reason", format_args!("{} ({:?})", m.reason as u8, m.reason));
            lines.add("term", m.term).add("count", m.hints.len());
            for hint in &m.hints {
                lines.text("host", &hint.host).add("idle", hint.idle);
            }
            lines
        }
        Message::Queued(m) => lines
            .add("term", m.term)
            .add("ahead", m.ahead)
            .add("slots", m.slots)
            .add("busy", m.busy),
        Message::Held(m) => lines.add("term", m.term).slot(m.slot).add("silent_ms", m.silent_ms),
        Message::Declined(m) => lines
            .add("reason", format_args!("{} ({:?})", m.reason as u8, m.reason))
            .add("serving", none_or(m.serving)),
        Message::Opened(m) => {
            lines
                .add("client", m.client)
                .add("term", m.term)
                .dir(m.dir)
                .slot(m.slot);
            lines
                .add("first_seq", m.first_seq)
                .ack(m.ack)
                .add("ttl_ms", m.ttl_ms)
                .add("started", m.left.started)
                .add("answered", m.left.answered)
                .text("host", &m.host)
                .add("count", m.endpoints.len());
            for endpoint in &m.endpoints {
                lines.text("endpoint", endpoint);
            }
            lines
        }
        other => unreachable!("{other:?}"),
    }
}

fn describe_life<'a>(message: &Message, lines: &'a mut Lines) -> &'a mut Lines {
    match message {
        Message::Attach { client, timeout_ms, .. } => lines.add("client", client).add("timeout_ms", timeout_ms),
        Message::Occupied { client, current, .. } => lines.add("client", client).add("current", current.0),
        Message::Data(m) => lines.packet(&m.packet),
        Message::Ack(m) => lines.ack(m.ack),
        Message::KeepAlive { ack, .. } => lines.ack(*ack),
        Message::Working(m) => {
            lines
                .ack(m.ack)
                .add("state", format_args!("{} ({:?})", m.state as u8, m.state))
                .add("seq", m.seq);
            lines
                .add("elapsed_ms", m.elapsed_ms)
                .add("bytes_in", m.bytes_in)
                .add("bytes_out", m.bytes_out);
            lines.progress(m.progress.as_ref())
        }
        Message::Close(m) => lines
            .add("reason", format_args!("{} ({:?})", m.reason as u8, m.reason))
            .ack(m.ack),
        Message::Closed(m) => lines
            .add("reason", format_args!("{} ({:?})", m.reason as u8, m.reason))
            .add("started", m.started)
            .add("answered", m.answered)
            .text("note", &m.note),
        other => pool::describe(other, lines),
    }
}
