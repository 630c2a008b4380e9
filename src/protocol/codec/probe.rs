//! PONG: who is there.

use super::fields::{put_count, put_name, put_note, put_text, read_count, read_name, read_note};
use crate::protocol::frame::{FrameError, Reader};
use crate::protocol::ids::{Term, WorkerId};
use crate::protocol::limits::{NAME_BYTES_MAX, PONG_WORKERS_MAX};
use crate::protocol::message::{Pong, PongWorker};

/// Bytes of the shortest entry: seven numbers, flags, a name of one byte.
const WORKER_BYTES_MIN: usize = 7 * 4 + 1 + 3;

const WORKER_DRAINING: u8 = 0x01;

impl Pong {
    /// nonce u64, term u64, uptime u64, pid u32, queued u32, workers in all u32, host name, version text,
    /// trouble text, count u16, entries.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        for number in [self.nonce, self.term.0, self.uptime_ms] {
            out.extend_from_slice(&number.to_be_bytes());
        }
        for number in [self.pid, self.queued, self.workers_total] {
            out.extend_from_slice(&number.to_be_bytes());
        }
        put_name(out, &self.host);
        put_text(out, &self.version, NAME_BYTES_MAX);
        put_note(out, &self.trouble);
        put_count(out, self.workers.len(), PONG_WORKERS_MAX);
        for worker in &self.workers {
            worker.write(out);
        }
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, FrameError> {
        let nonce = reader.u64()?;
        let term = Term(reader.u64()?);
        let uptime_ms = reader.u64()?;
        let (pid, queued, workers_total) = (reader.u32()?, reader.u32()?, reader.u32()?);
        let host = read_name(reader, "host")?;
        let version = reader.text("version", NAME_BYTES_MAX)?;
        let trouble = read_note(reader)?;
        let count = read_count(reader, "worker count", PONG_WORKERS_MAX, WORKER_BYTES_MIN)?;
        let workers = (0..count).map(|_| PongWorker::read(reader)).collect::<Result<_, _>>()?;
        Ok(Self {
            nonce,
            host,
            pid,
            term,
            uptime_ms,
            version,
            trouble,
            queued,
            workers_total,
            workers,
        })
    }
}

impl PongWorker {
    /// worker u32, pid u32, slots u32, busy u32, hung u32, silent u32, still u32, flags u8 (bit 0: draining), pool name.
    fn write(&self, out: &mut Vec<u8>) {
        let Self {
            pid,
            slots,
            busy,
            hung,
            silent_ms,
            still_ms,
            ..
        } = *self;
        for number in [self.worker.0, pid, slots, busy, hung, silent_ms, still_ms] {
            out.extend_from_slice(&number.to_be_bytes());
        }
        out.push(if self.draining { WORKER_DRAINING } else { 0 });
        put_name(out, &self.pool);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, FrameError> {
        let worker = WorkerId(reader.u32()?);
        let (pid, slots, busy, hung) = (reader.u32()?, reader.u32()?, reader.u32()?, reader.u32()?);
        let (silent_ms, still_ms) = (reader.u32()?, reader.u32()?);
        let draining = match reader.u8()? {
            0 => false,
            WORKER_DRAINING => true,
            _ => return Err(reader.bad("worker flags")),
        };
        Ok(Self {
            worker,
            pid,
            pool: read_name(reader, "pool")?,
            slots,
            busy,
            hung,
            silent_ms,
            still_ms,
            draining,
        })
    }
}
