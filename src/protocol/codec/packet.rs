//! The packet, last in DATA, OPEN and LEASE: an acknowledgement, a table of segments, their bytes.
//!
//! ```text
//!  0  24 ack      seq, offset, limit
//! 24   8 seq      message of the first byte
//! 32   8 offset   of the first byte in its message
//! 40   2 count    segments
//! 42 12n entries  flags u8 (bits 0-1 channel, bit 7 END), 3 zero bytes, length u32, status u32 (zero without END)
//!      … body     here, or as the second frame
//! ```

use bytes::Bytes;

use super::fields::{put_ack, put_count, read_ack};
use crate::protocol::frame::{Command, FrameError, Reader};
use crate::protocol::limits::{CHUNK_BYTES_MAX, INLINE_BYTES_MAX, SEGMENTS_MAX};
use crate::protocol::message::{Channel, Packet, Segment};
use crate::protocol::status::Status;

/// Bytes before the table.
const FIXED_BYTES: usize = 42;

/// Bytes of one entry of the table.
const ENTRY_BYTES: usize = 12;

const ENTRY_END: u8 = 0x80;
const ENTRY_CHANNEL: u8 = 0x03;

impl Packet {
    /// Bytes that it takes in the header frame.
    pub(super) fn header_bytes(&self) -> usize {
        let inline = if self.rides_inline() { self.body.len() } else { 0 };
        FIXED_BYTES + self.segments.len() * ENTRY_BYTES + inline
    }

    fn rides_inline(&self) -> bool {
        self.body.len() <= INLINE_BYTES_MAX
    }

    /// Appends the packet; returns the second frame if its body does not ride inline.
    pub(super) fn write(&self, out: &mut Vec<u8>) -> Option<Bytes> {
        let total: u64 = self.segments.iter().map(|segment| u64::from(segment.length)).sum();
        assert_eq!(total, self.body.len() as u64, "the segments are not the body");
        assert!(
            self.body.len() <= CHUNK_BYTES_MAX,
            "a chunk of {} bytes",
            self.body.len()
        );
        put_ack(out, &self.ack);
        out.extend_from_slice(&self.seq.to_be_bytes());
        out.extend_from_slice(&self.offset.to_be_bytes());
        put_count(out, self.segments.len(), SEGMENTS_MAX);
        for segment in &self.segments {
            out.extend_from_slice(&segment.to_entry());
        }
        if self.rides_inline() {
            out.extend_from_slice(&self.body);
            None
        } else {
            Some(self.body.clone())
        }
    }

    /// Reads the packet that takes all that `reader` has left of `header`, and the second frame.
    pub(super) fn read(
        command: Command,
        reader: &mut Reader<'_>,
        header: &Bytes,
        second: Option<Bytes>,
    ) -> Result<Self, FrameError> {
        let ack = read_ack(reader)?;
        let (seq, offset) = (reader.u64()?, reader.u64()?);
        let count = usize::from(reader.u16()?);
        if count > SEGMENTS_MAX {
            return Err(reader.bad("segment count"));
        }
        let table = reader.bytes(count * ENTRY_BYTES)?;
        let mut segments = Vec::with_capacity(count);
        let (mut total, mut ends) = (0, 0);
        for entry in table.as_chunks().0 {
            let segment = Segment::from_entry(entry).map_err(|field| reader.bad(field))?;
            total += u64::from(segment.length);
            ends += u64::from(segment.end.is_some());
            segments.push(segment);
        }
        if total > CHUNK_BYTES_MAX as u64 {
            return Err(reader.bad("segment length"));
        }
        if seq.checked_add(ends).is_none() || offset.checked_add(total).is_none() {
            return Err(reader.bad("position"));
        }
        let body = read_body(reader, header, second)?;
        match (total as usize, body.len()) {
            (told, came) if told > came => Err(FrameError::Short {
                command: Some(command),
                missing: told - came,
            }),
            (told, came) if told < came => Err(FrameError::Trailing(command, came - told)),
            _ => Ok(Self {
                ack,
                seq,
                offset,
                segments,
                body,
            }),
        }
    }
}

/// The body, wherever it rides. It may not be spread over both frames.
fn read_body(reader: &mut Reader<'_>, header: &Bytes, second: Option<Bytes>) -> Result<Bytes, FrameError> {
    let inline = reader.left();
    match second {
        Some(second) if inline == 0 => Ok(second),
        Some(second) if !second.is_empty() => Err(reader.bad("body in both frames")),
        _ if inline > INLINE_BYTES_MAX => Err(reader.bad("inline body")),
        _ => {
            reader.bytes(inline)?;
            Ok(header.slice(header.len() - inline..))
        }
    }
}

impl Segment {
    fn to_entry(self) -> [u8; ENTRY_BYTES] {
        let flags = self.channel as u8 | if self.end.is_some() { ENTRY_END } else { 0 };
        let [l0, l1, l2, l3] = self.length.to_be_bytes();
        let [s0, s1, s2, s3] = self.end.map_or(0, Status::to_wire).to_be_bytes();
        [flags, 0, 0, 0, l0, l1, l2, l3, s0, s1, s2, s3]
    }

    fn from_entry(entry: &[u8; ENTRY_BYTES]) -> Result<Self, &'static str> {
        let [flags, r0, r1, r2, l0, l1, l2, l3, s0, s1, s2, s3] = *entry;
        if flags & !(ENTRY_END | ENTRY_CHANNEL) != 0 || [r0, r1, r2] != [0; 3] {
            return Err("segment flags");
        }
        let channel = match flags & ENTRY_CHANNEL {
            0 => Channel::Body,
            1 => Channel::Stderr,
            2 => Channel::Note,
            _ => return Err("channel"),
        };
        let end = match (flags & ENTRY_END != 0, u32::from_be_bytes([s0, s1, s2, s3])) {
            (true, number) => Some(Status::from_wire(number).ok_or("status")?),
            (false, 0) => None,
            (false, _) => return Err("status"),
        };
        Ok(Self {
            channel,
            length: u32::from_be_bytes([l0, l1, l2, l3]),
            end,
        })
    }
}
