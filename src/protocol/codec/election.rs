//! YIELD, BALLOT, VOTE: about the office of a host's broker.

use crate::protocol::frame::{FLAG_HUNG, FLAG_TAKEOVER, FrameError, Head, Reader};
use crate::protocol::ids::{Incarnation, Term, WorkerId};
use crate::protocol::message::{Ballot, Suspect, Vote, Yield};

impl Yield {
    /// pid u32, start u64.
    pub(super) fn write(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.pid.to_be_bytes());
        out.extend_from_slice(&self.start_ticks.to_be_bytes());
    }

    pub(super) fn read(head: &Head, reader: &mut Reader<'_>) -> Result<Self, FrameError> {
        Ok(Self {
            pid: reader.u32()?,
            start_ticks: reader.u64()?,
            takeover: head.flags & FLAG_TAKEOVER != 0,
        })
    }
}

impl Ballot {
    /// member u32, incarnation u64, suspect, beat u64.
    pub(super) fn write(self, out: &mut Vec<u8>) {
        put_member(out, self.member, self.incarnation);
        self.suspect.write(out);
        out.extend_from_slice(&self.beat.to_be_bytes());
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, FrameError> {
        Ok(Self {
            member: WorkerId(reader.u32()?),
            incarnation: Incarnation(reader.u64()?),
            suspect: Suspect::read(reader)?,
            beat: reader.u64()?,
        })
    }
}

impl Vote {
    /// member u32, incarnation u64, suspect, beat u64.
    pub(super) fn write(self, out: &mut Vec<u8>) {
        put_member(out, self.member, self.incarnation);
        self.suspect.write(out);
        out.extend_from_slice(&self.beat.to_be_bytes());
    }

    pub(super) fn read(head: &Head, reader: &mut Reader<'_>) -> Result<Self, FrameError> {
        Ok(Self {
            member: WorkerId(reader.u32()?),
            incarnation: Incarnation(reader.u64()?),
            suspect: Suspect::read(reader)?,
            beat: reader.u64()?,
            hung: head.flags & FLAG_HUNG != 0,
        })
    }
}

impl Suspect {
    /// term u64, pid u32, start u64.
    fn write(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.term.0.to_be_bytes());
        out.extend_from_slice(&self.pid.to_be_bytes());
        out.extend_from_slice(&self.start_ticks.to_be_bytes());
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, FrameError> {
        Ok(Self {
            term: Term(reader.u64()?),
            pid: reader.u32()?,
            start_ticks: reader.u64()?,
        })
    }
}

fn put_member(out: &mut Vec<u8>, member: WorkerId, incarnation: Incarnation) {
    out.extend_from_slice(&member.0.to_be_bytes());
    out.extend_from_slice(&incarnation.0.to_be_bytes());
}
