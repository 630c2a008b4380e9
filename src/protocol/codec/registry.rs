//! REGISTER, REGISTERED, HEARTBEAT, GOODBYE: between workers and their broker.

use super::fields::{put_name, put_slot, read_name, read_slot};
use crate::protocol::frame::{FLAG_DRAINING, FLAG_JOURNAL, FLAG_VOTES, FrameError, Head, Reader};
use crate::protocol::ids::{DirId, HitKey, Incarnation, Term};
use crate::protocol::message::{Goodbye, Heartbeat, Register, Registered};

impl Register {
    /// worker u32, slot u32, incarnation u64, pid u32, slots u32, pool name.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        assert_ne!(
            self.hit.map(HitKey::is_none),
            Some(true),
            "a slot that serves the absent Hit"
        );
        put_slot(out, self.slot);
        out.extend_from_slice(&self.incarnation.0.to_be_bytes());
        out.extend_from_slice(&self.pid.to_be_bytes());
        out.extend_from_slice(&self.slots.to_be_bytes());
        put_name(out, &self.pool);
    }

    pub(super) fn read(head: &Head, reader: &mut Reader<'_>) -> Result<Self, FrameError> {
        Ok(Self {
            slot: read_slot(reader)?,
            incarnation: Incarnation(reader.u64()?),
            pid: reader.u32()?,
            slots: reader.u32()?,
            pool: read_name(reader, "pool")?,
            journal: head.flags & FLAG_JOURNAL != 0,
            votes: head.flags & FLAG_VOTES != 0,
            draining: head.flags & FLAG_DRAINING != 0,
            hit: Some(head.hit).filter(|hit| !hit.is_none()),
        })
    }
}

impl Registered {
    /// term u64, dir 16 bytes, interval u32, liveness u32, host name.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.term.0.to_be_bytes());
        out.extend_from_slice(&self.dir.0);
        out.extend_from_slice(&self.interval_ms.to_be_bytes());
        out.extend_from_slice(&self.liveness.to_be_bytes());
        put_name(out, &self.host);
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, FrameError> {
        Ok(Self {
            term: Term(reader.u64()?),
            dir: DirId(reader.array()?),
            interval_ms: reader.u32()?,
            liveness: reader.u32()?,
            host: read_name(reader, "host")?,
        })
    }
}

impl Heartbeat {
    /// term u64, beat u64.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.term.0.to_be_bytes());
        out.extend_from_slice(&self.beat.to_be_bytes());
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, FrameError> {
        Ok(Self {
            term: Term(reader.u64()?),
            beat: reader.u64()?,
        })
    }
}

impl Goodbye {
    /// worker u32, slot u32, incarnation u64.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        put_slot(out, self.slot);
        out.extend_from_slice(&self.incarnation.0.to_be_bytes());
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, FrameError> {
        Ok(Self {
            slot: read_slot(reader)?,
            incarnation: Incarnation(reader.u64()?),
        })
    }
}
