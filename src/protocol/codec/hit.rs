//! What client and slot say to each other while a Hit lives.

use bytes::Bytes;

use super::fields::{put_ack, put_note, read_ack, read_enum, read_note};
use crate::protocol::frame::{FLAG_GAP, FLAG_PROGRESS, FrameError, Head, Reader};
use crate::protocol::message::{Ack, Close, Closed, Data, Direction, Packet, Progress, Working};

const fn direction(head: &Head) -> Direction {
    if head.goes_to_slot() {
        Direction::ToSlot
    } else {
        Direction::ToClient
    }
}

impl Data {
    pub(super) fn read(
        head: &Head,
        reader: &mut Reader<'_>,
        header: &Bytes,
        second: Option<Bytes>,
    ) -> Result<Self, FrameError> {
        let packet = Packet::read(head.command, reader, header, second)?;
        Ok(Self {
            hit: head.hit,
            attach: head.attach,
            direction: direction(head),
            packet,
        })
    }
}

impl Ack {
    pub(super) fn read(head: &Head, reader: &mut Reader<'_>) -> Result<Self, FrameError> {
        Ok(Self {
            hit: head.hit,
            attach: head.attach,
            direction: direction(head),
            gap: head.flags & FLAG_GAP != 0,
            ack: read_ack(reader)?,
        })
    }
}

impl Working {
    /// ack 24 bytes, state u8, seq u64, elapsed u64, in u64, out u64; with PROGRESS: done u64, total u64, note text.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        put_ack(out, &self.ack);
        out.push(self.state as u8);
        for number in [self.seq, self.elapsed_ms, self.bytes_in, self.bytes_out] {
            out.extend_from_slice(&number.to_be_bytes());
        }
        if let Some(progress) = &self.progress {
            out.extend_from_slice(&progress.done.to_be_bytes());
            out.extend_from_slice(&progress.total.to_be_bytes());
            put_note(out, &progress.note);
        }
    }

    pub(super) fn read(head: &Head, reader: &mut Reader<'_>) -> Result<Self, FrameError> {
        Ok(Self {
            hit: head.hit,
            attach: head.attach,
            ack: read_ack(reader)?,
            state: read_enum(reader, "state")?,
            seq: reader.u64()?,
            elapsed_ms: reader.u64()?,
            bytes_in: reader.u64()?,
            bytes_out: reader.u64()?,
            progress: if head.flags & FLAG_PROGRESS == 0 {
                None
            } else {
                Some(Progress {
                    done: reader.u64()?,
                    total: reader.u64()?,
                    note: read_note(reader)?,
                })
            },
        })
    }
}

impl Close {
    /// reason u8, ack 24 bytes.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.push(self.reason as u8);
        put_ack(out, &self.ack);
    }

    pub(super) fn read(head: &Head, reader: &mut Reader<'_>) -> Result<Self, FrameError> {
        let reason = read_enum(reader, "reason")?;
        Ok(Self {
            hit: head.hit,
            attach: head.attach,
            reason,
            ack: read_ack(reader)?,
        })
    }
}

impl Closed {
    /// reason u8, started u64, answered u64, note text.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.push(self.reason as u8);
        out.extend_from_slice(&self.started.to_be_bytes());
        out.extend_from_slice(&self.answered.to_be_bytes());
        put_note(out, &self.note);
    }

    pub(super) fn read(head: &Head, reader: &mut Reader<'_>) -> Result<Self, FrameError> {
        Ok(Self {
            hit: head.hit,
            attach: head.attach,
            reason: read_enum(reader, "reason")?,
            started: reader.u64()?,
            answered: reader.u64()?,
            note: read_note(reader)?,
        })
    }
}
