//! The fields of what reaches beyond one Hit, in words.

use zhit::protocol::Message;
use zhit::protocol::ids::{Member, ReturnPath};
use zhit::protocol::mesh::Within;
use zhit::protocol::pool::Blob;

use super::{Lines, hex, short_hex};

impl Lines {
    fn path(&mut self, path: &ReturnPath) -> &mut Self {
        self.add("path", hex(&path.0))
    }

    fn member(&mut self, member: Member) -> &mut Self {
        self.add("worker", member.worker.0)
            .add("incarnation", member.incarnation.0)
    }

    fn members(&mut self, members: &[Member]) -> &mut Self {
        self.add("count", members.len());
        for member in members {
            self.member(*member);
        }
        self
    }

    fn within(&mut self, Within(frames): &Within) -> &mut Self {
        let Some(frames) = frames else {
            return self.add("length", 0);
        };
        self.add("length", frames.header.len())
            .add("frame", short_hex(&frames.header))
    }

    fn blob(&mut self, Blob(bytes): &Blob) -> &mut Self {
        self.add("length", bytes.len());
        if bytes.is_empty() {
            self
        } else {
            self.add("bytes", short_hex(bytes))
        }
    }
}

pub(super) fn describe<'a>(message: &Message, lines: &'a mut Lines) -> &'a mut Lines {
    match message {
        Message::Probe(m) => lines.add("nonce", m.nonce).slot(m.slot).path(&m.path),
        Message::State(m) => {
            lines.add("nonce", m.nonce).slot(m.slot).path(&m.path);
            lines
                .add("serves", m.hit)
                .add("state", format_args!("{} ({:?})", m.state as u8, m.state))
                .add("seq", m.seq)
                .add("elapsed_ms", m.elapsed_ms)
                .add("pid", m.pid);
            lines
                .add("bytes_in", m.bytes_in)
                .add("bytes_out", m.bytes_out)
                .add("progress", u8::from(m.progress.is_some()));
            lines.progress(m.progress.as_ref())
        }
        other => describe_broadcast(other, lines),
    }
}

fn describe_broadcast<'a>(message: &Message, lines: &'a mut Lines) -> &'a mut Lines {
    match message {
        Message::Roll(m) => lines
            .add("id", m.id)
            .text("pool", m.pool.as_deref().unwrap_or_default()),
        Message::Roster(m) => {
            lines.add("id", m.id).text("host", &m.host).add("term", m.term);
            lines.add("total", m.total).add("count", m.members.len());
            for one in &m.members {
                lines
                    .member(one.member)
                    .text("pool", &one.pool)
                    .add("draining", u8::from(one.draining));
            }
            lines
        }
        Message::Ask(m) => {
            lines
                .add("id", m.id)
                .add("timeout_ms", m.timeout_ms)
                .add("reply_max", m.reply_max);
            lines.path(&m.path).members(&m.members).blob(&m.body)
        }
        Message::Receipt(m) => lines.add("id", m.id).member(m.member).path(&m.path),
        Message::Running(m) => lines
            .add("id", m.id)
            .member(m.member)
            .path(&m.path)
            .add("state", format_args!("{} ({:?})", m.state as u8, m.state))
            .add("elapsed_ms", m.elapsed_ms),
        Message::Answer(m) => {
            lines.add("id", m.id).member(m.member).path(&m.path);
            lines
                .add("status", format_args!("{:#x} ({})", m.status.to_wire(), m.status))
                .add("elapsed_ms", m.elapsed_ms)
                .text("note", &m.note.0)
                .blob(&m.body)
        }
        Message::Thanks(m) => lines.add("id", m.id).members(&m.members),
        Message::Check(m) => lines.add("id", m.id).members(&m.members),
        Message::Condition(m) => lines
            .add("id", m.id)
            .member(m.member)
            .add("silent_ms", m.silent_ms)
            .add("still_ms", m.still_ms),
        Message::Gone(m) => lines
            .add("id", m.id)
            .member(m.member)
            .add("fate", format_args!("{} ({:?})", m.fate as u8, m.fate))
            .add("ago_ms", m.ago_ms)
            .add("ran", format_args!("{} ({:?})", m.ran as u8, m.ran)),
        other => describe_mesh(other, lines),
    }
}

fn describe_mesh<'a>(message: &Message, lines: &'a mut Lines) -> &'a mut Lines {
    match message {
        Message::Greet(m) | Message::Greeted(m) => lines
            .text("host", &m.host)
            .add("term", m.term)
            .add("incarnation", m.incarnation.0)
            .add("layout", hex(&m.layout))
            .add("interval_ms", m.interval_ms)
            .add("liveness", m.liveness),
        Message::News(m) => {
            lines
                .add("term", m.term)
                .add("beat", m.beat)
                .add("workers", m.workers)
                .add("count", m.pools.len());
            for one in &m.pools {
                lines
                    .text("pool", &one.pool)
                    .add("slots", one.slots)
                    .add("idle", one.idle);
            }
            lines
        }
        Message::Relay(m) => lines.text("host", &m.host).path(&m.path).within(&m.within),
        Message::Relayed(m) => lines
            .text("host", &m.host)
            .path(&m.path)
            .add("term", m.term)
            .text("note", &m.note.0)
            .within(&m.within),
        other => unreachable!("{other:?}"),
    }
}
