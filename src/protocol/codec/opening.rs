//! OPEN, LEASE and what answers them, up to OPENED.

use bytes::Bytes;

use super::fields::{
    put_ack, put_count, put_name, put_slot, put_text, read_ack, read_count, read_enum, read_name, read_slot,
};
use crate::protocol::frame::{
    FLAG_CLOSE_AFTER, FLAG_HOLD, FLAG_MOVES, FLAG_QUEUE, FLAG_RESUME, FLAG_STOPPED, FrameError, Head, Reader,
};
use crate::protocol::ids::{DirId, HitKey, Term};
use crate::protocol::limits::{ENDPOINT_BYTES_MAX, ENDPOINTS_MAX, HINTS_MAX};
use crate::protocol::message::{Declined, Full, Held, Hint, Holder, Lease, Left, Open, Opened, Packet, Queued};

/// Bytes of a holder: pid u32, start u64.
const HOLDER_BYTES: usize = 4 + 8;

const fn holder_bytes(holder: Option<Holder>) -> usize {
    if holder.is_some() { HOLDER_BYTES } else { 0 }
}

fn put_holder(out: &mut Vec<u8>, holder: Option<Holder>) {
    if let Some(holder) = holder {
        out.extend_from_slice(&holder.pid.to_be_bytes());
        out.extend_from_slice(&holder.start_ticks.to_be_bytes());
    }
}

fn read_holder(head: &Head, reader: &mut Reader<'_>) -> Result<Option<Holder>, FrameError> {
    if head.flags & FLAG_HOLD == 0 {
        return Ok(None);
    }
    Ok(Some(Holder {
        pid: reader.u32()?,
        start_ticks: reader.u64()?,
    }))
}

impl Open {
    /// Bytes between the head and the packet.
    pub(super) fn field_bytes(&self) -> usize {
        8 + 16 + 3 * 4 + holder_bytes(self.holder) + 2 + self.pool.len()
    }

    /// term u64, dir 16 bytes, age u32, ttl u32, timeout u32, the holder if there is one, pool name; the packet follows.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.term.0.to_be_bytes());
        out.extend_from_slice(&self.dir.0);
        for number in [self.age_ms, self.ttl_ms, self.timeout_ms] {
            out.extend_from_slice(&number.to_be_bytes());
        }
        put_holder(out, self.holder);
        put_name(out, &self.pool);
    }

    pub(super) fn read(
        head: &Head,
        reader: &mut Reader<'_>,
        header: &Bytes,
        second: Option<Bytes>,
    ) -> Result<Self, FrameError> {
        Ok(Self {
            hit: head.hit,
            attach: head.attach,
            attempt: head.attempt,
            queue: head.flags & FLAG_QUEUE != 0,
            moves: head.flags & FLAG_MOVES != 0,
            close_after: head.flags & FLAG_CLOSE_AFTER != 0,
            resume: head.flags & FLAG_RESUME != 0,
            term: Term(reader.u64()?),
            dir: DirId(reader.array()?),
            age_ms: reader.u32()?,
            ttl_ms: reader.u32()?,
            timeout_ms: reader.u32()?,
            holder: read_holder(head, reader)?,
            pool: read_name(reader, "pool")?,
            packet: Packet::read(head.command, reader, header, second)?,
        })
    }
}

impl Lease {
    /// Bytes between the head and the packet.
    pub(super) fn field_bytes(&self) -> usize {
        8 + 2 * 4 + holder_bytes(self.holder)
    }

    /// term u64, ttl u32, timeout u32, the holder if there is one; the packet follows.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.term.0.to_be_bytes());
        out.extend_from_slice(&self.ttl_ms.to_be_bytes());
        out.extend_from_slice(&self.timeout_ms.to_be_bytes());
        put_holder(out, self.holder);
    }

    pub(super) fn read(
        head: &Head,
        reader: &mut Reader<'_>,
        header: &Bytes,
        second: Option<Bytes>,
    ) -> Result<Self, FrameError> {
        Ok(Self {
            hit: head.hit,
            attach: head.attach,
            attempt: head.attempt,
            close_after: head.flags & FLAG_CLOSE_AFTER != 0,
            resume: head.flags & FLAG_RESUME != 0,
            term: Term(reader.u64()?),
            ttl_ms: reader.u32()?,
            timeout_ms: reader.u32()?,
            holder: read_holder(head, reader)?,
            packet: Packet::read(head.command, reader, header, second)?,
        })
    }
}

impl Full {
    /// reason u8, term u64, count u16, then each hint: host name, idle u32.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.push(self.reason as u8);
        out.extend_from_slice(&self.term.0.to_be_bytes());
        put_count(out, self.hints.len(), HINTS_MAX);
        for hint in &self.hints {
            put_name(out, &hint.host);
            out.extend_from_slice(&hint.idle.to_be_bytes());
        }
    }

    pub(super) fn read(head: &Head, reader: &mut Reader<'_>) -> Result<Self, FrameError> {
        let reason = read_enum(reader, "reason")?;
        let term = Term(reader.u64()?);
        // A hint takes at least the length and one byte of its name, and four bytes.
        let count = read_count(reader, "hint count", HINTS_MAX, 7)?;
        let hints = (0..count)
            .map(|_| {
                Ok(Hint {
                    host: read_name(reader, "host")?,
                    idle: reader.u32()?,
                })
            })
            .collect::<Result<_, FrameError>>()?;
        Ok(Self {
            hit: head.hit,
            attempt: head.attempt,
            reason,
            term,
            hints,
        })
    }
}

impl Queued {
    /// term u64, ahead u32, slots u32, busy u32.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.term.0.to_be_bytes());
        for number in [self.ahead, self.slots, self.busy] {
            out.extend_from_slice(&number.to_be_bytes());
        }
    }

    pub(super) fn read(head: &Head, reader: &mut Reader<'_>) -> Result<Self, FrameError> {
        Ok(Self {
            hit: head.hit,
            attempt: head.attempt,
            term: Term(reader.u64()?),
            ahead: reader.u32()?,
            slots: reader.u32()?,
            busy: reader.u32()?,
        })
    }
}

impl Held {
    /// term u64, worker u32, slot u32, silent u32.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.term.0.to_be_bytes());
        put_slot(out, self.slot);
        out.extend_from_slice(&self.silent_ms.to_be_bytes());
    }

    pub(super) fn read(head: &Head, reader: &mut Reader<'_>) -> Result<Self, FrameError> {
        Ok(Self {
            hit: head.hit,
            attempt: head.attempt,
            term: Term(reader.u64()?),
            slot: read_slot(reader)?,
            silent_ms: reader.u32()?,
        })
    }
}

impl Declined {
    /// reason u8, serving 16 bytes (zero: none).
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        assert_ne!(
            self.serving.map(HitKey::is_none),
            Some(true),
            "a slot that serves the absent Hit"
        );
        out.push(self.reason as u8);
        out.extend_from_slice(self.serving.unwrap_or_default().as_bytes());
    }

    pub(super) fn read(head: &Head, reader: &mut Reader<'_>) -> Result<Self, FrameError> {
        let reason = read_enum(reader, "reason")?;
        let serving = Some(HitKey::from_bytes(reader.array()?)).filter(|hit| !hit.is_none());
        Ok(Self {
            hit: head.hit,
            attempt: head.attempt,
            reason,
            serving,
        })
    }
}

impl Opened {
    /// client u64, term u64, dir 16 bytes, worker u32, slot u32, first seq u64, ack 24 bytes, ttl u32, started u64,
    /// answered u64, host name, count u16, endpoints as texts.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.client.to_be_bytes());
        out.extend_from_slice(&self.term.0.to_be_bytes());
        out.extend_from_slice(&self.dir.0);
        put_slot(out, self.slot);
        out.extend_from_slice(&self.first_seq.to_be_bytes());
        put_ack(out, &self.ack);
        out.extend_from_slice(&self.ttl_ms.to_be_bytes());
        out.extend_from_slice(&self.left.started.to_be_bytes());
        out.extend_from_slice(&self.left.answered.to_be_bytes());
        put_name(out, &self.host);
        put_count(out, self.endpoints.len(), ENDPOINTS_MAX);
        for endpoint in &self.endpoints {
            put_text(out, endpoint, ENDPOINT_BYTES_MAX);
        }
    }

    pub(super) fn read(head: &Head, reader: &mut Reader<'_>) -> Result<Self, FrameError> {
        Ok(Self {
            hit: head.hit,
            attach: head.attach,
            attempt: head.attempt,
            client: reader.u64()?,
            term: Term(reader.u64()?),
            dir: DirId(reader.array()?),
            slot: read_slot(reader)?,
            first_seq: reader.u64()?,
            ack: read_ack(reader)?,
            ttl_ms: reader.u32()?,
            left: Left {
                started: reader.u64()?,
                answered: reader.u64()?,
                stopped: head.flags & FLAG_STOPPED != 0,
            },
            host: read_name(reader, "host")?,
            endpoints: {
                let count = read_count(reader, "endpoint count", ENDPOINTS_MAX, 2)?;
                (0..count)
                    .map(|_| reader.text("endpoint", ENDPOINT_BYTES_MAX))
                    .collect::<Result<_, _>>()?
            },
        })
    }
}
