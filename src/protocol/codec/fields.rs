//! The parts that several messages share: names, notes, small numbers that stand for a word, acknowledgements.

use crate::protocol::frame::{FrameError, Reader};
use crate::protocol::ids::{SlotId, WorkerId, is_name};
use crate::protocol::limits::{NAME_BYTES_MAX, NOTE_BYTES_MAX};
use crate::protocol::message::{AckPoint, CloseReason, ClosedReason, DeclineReason, Disconnect, FullReason, WorkState};

/// A word that travels as one byte.
pub(super) trait WireEnum: Copy {
    /// The word that this byte stands for, if any.
    fn from_wire(byte: u8) -> Option<Self>;
}

/// Lists the variants once; the `match` makes a variant that is missing from the list a compile error.
macro_rules! wire_enum {
    ($name:ident: $($variant:ident),+) => {
        impl WireEnum for $name {
            fn from_wire(byte: u8) -> Option<Self> {
                const fn number(word: $name) -> u8 {
                    match word { $($name::$variant => $name::$variant as u8,)+ }
                }
                [$(Self::$variant),+].into_iter().find(|word| number(*word) == byte)
            }
        }
    };
}

wire_enum!(Disconnect: NotRegistered, Leaving, TooMany, Unexpected, Dedicated);
wire_enum!(FullReason: Busy, NoWorker, Leaving, QueueFull);
wire_enum!(DeclineReason: Busy, Draining, Ended, Unknown, StaleTerm);
wire_enum!(WorkState: Idle, Running, Stopped, Ending, Stalled);
wire_enum!(CloseReason: Done, Abandoned, Detached);
wire_enum!(
    ClosedReason: Done, ClientSilent, WorkerLeft, WorkerDied, HandlerEnded, Violation, Unknown, Superseded, HolderGone
);

/// Reads a word of one byte.
pub(super) fn read_enum<T: WireEnum>(reader: &mut Reader<'_>, field: &'static str) -> Result<T, FrameError> {
    let byte = reader.u8()?;
    T::from_wire(byte).ok_or_else(|| reader.bad(field))
}

/// Appends a text, led by its length in two bytes.
pub(super) fn put_text(out: &mut Vec<u8>, text: &str, max: usize) {
    assert!(
        text.len() <= max,
        "a text of {} bytes where {max} are allowed",
        text.len()
    );
    out.extend_from_slice(&(text.len() as u16).to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

/// Appends a name.
pub(super) fn put_name(out: &mut Vec<u8>, name: &str) {
    assert!(is_name(name), "{name:?} is no name");
    put_text(out, name, NAME_BYTES_MAX);
}

/// Reads a name.
pub(super) fn read_name(reader: &mut Reader<'_>, field: &'static str) -> Result<String, FrameError> {
    let name = reader.text(field, NAME_BYTES_MAX)?;
    if is_name(&name) {
        Ok(name)
    } else {
        Err(reader.bad(field))
    }
}

/// Appends an explanation, as much of it as may travel.
pub(super) fn put_note(out: &mut Vec<u8>, note: &str) {
    put_text(out, clip(note, NOTE_BYTES_MAX), NOTE_BYTES_MAX);
}

/// Reads an explanation.
pub(super) fn read_note(reader: &mut Reader<'_>) -> Result<String, FrameError> {
    reader.text("note", NOTE_BYTES_MAX)
}

/// The longest start of `text` of at most `max` bytes that ends between two characters.
fn clip(text: &str, max: usize) -> &str {
    let end = (0..=max.min(text.len()))
        .rev()
        .find(|at| text.is_char_boundary(*at))
        .unwrap_or(0);
    text.get(..end).unwrap_or_default()
}

/// Appends a worker and the number of its slot.
pub(super) fn put_slot(out: &mut Vec<u8>, slot: SlotId) {
    out.extend_from_slice(&slot.worker.0.to_be_bytes());
    out.extend_from_slice(&slot.number.to_be_bytes());
}

/// Reads a worker and the number of its slot.
pub(super) fn read_slot(reader: &mut Reader<'_>) -> Result<SlotId, FrameError> {
    Ok(SlotId {
        worker: WorkerId(reader.u32()?),
        number: reader.u32()?,
    })
}

/// Appends an acknowledgement.
pub(super) fn put_ack(out: &mut Vec<u8>, ack: &AckPoint) {
    for number in [ack.seq, ack.offset, ack.limit] {
        out.extend_from_slice(&number.to_be_bytes());
    }
}

/// Reads an acknowledgement.
pub(super) fn read_ack(reader: &mut Reader<'_>) -> Result<AckPoint, FrameError> {
    Ok(AckPoint {
        seq: reader.u64()?,
        offset: reader.u64()?,
        limit: reader.u64()?,
    })
}

/// Reads a count of things that take at least `each` bytes, so that the list may be allocated before it is read.
pub(super) fn read_count(
    reader: &mut Reader<'_>,
    field: &'static str,
    max: usize,
    each: usize,
) -> Result<usize, FrameError> {
    let count = usize::from(reader.u16()?);
    if count > max || count > reader.left() / each {
        Err(reader.bad(field))
    } else {
        Ok(count)
    }
}

/// Appends a count.
pub(super) fn put_count(out: &mut Vec<u8>, count: usize, max: usize) {
    assert!(count <= max, "a list of {count} where {max} are allowed");
    out.extend_from_slice(&(count as u16).to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_cut_between_characters() {
        assert_eq!(clip("häß", 1), "h");
        assert_eq!(clip("häß", 2), "h");
        assert_eq!(clip("häß", 3), "hä");
        assert_eq!(clip("häß", 9), "häß");
        assert_eq!(clip("", 0), "");
    }
}
