//! Fields that write and read themselves, for the messages that are nothing but fields in a row (`protocol::pool`).

use bytes::Bytes;

use super::fields::{WireEnum, put_name, put_note, put_text, read_name, read_note};
use crate::protocol::frame::{FrameError, Frames, Reader};
use crate::protocol::ids::{BroadcastId, HitKey, Incarnation, Member, ReturnPath, SlotId, Term, WorkerId};
use crate::protocol::limits::{
    BROADCAST_BYTES_MAX, INLINE_BYTES_MAX, MEMBERS_LISTED_MAX, NAME_BYTES_MAX, POOLS_LISTED_MAX, RETURN_PATH_BYTES_MAX,
};
use crate::protocol::mesh::PoolNews;
use crate::protocol::message::{Progress, WorkState};
use crate::protocol::pool::{Enrolled, Fate, Note, Ran};
use crate::protocol::status::Status;

/// Bytes that ride in the header frame if they are few, and as the second frame if not. Last in its message.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Blob(pub Bytes);

/// A message within a message: its header frame with its length before it, and its second frame as the second frame. Last
/// in its message. `None`: no message.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Within(pub Option<Frames>);

/// What is left of a message that is read.
pub(crate) struct Source<'a, 'b> {
    pub(super) reader: &'a mut Reader<'b>,
    /// The header frame, to take slices of.
    pub(super) header: &'a Bytes,
    /// The second frame, until somebody takes it.
    pub(super) second: &'a mut Option<Bytes>,
}

/// A field.
pub(crate) trait Field: Sized {
    /// Appends it; returns what is to travel as the second frame.
    fn put(&self, out: &mut Vec<u8>) -> Option<Bytes>;
    /// Reads it.
    fn get(source: &mut Source<'_, '_>, name: &'static str) -> Result<Self, FrameError>;
}

/// Makes structs of fields, and how they travel: one after the other.
macro_rules! plain {
    ($($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $kind:ty,)+ })+) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $name { $($(#[$field_doc])* pub $field: $kind,)+ }

        impl $crate::protocol::codec::wire::Field for $name {
            fn put(&self, out: &mut Vec<u8>) -> Option<bytes::Bytes> {
                let mut second = None;
                $(second = second.or($crate::protocol::codec::wire::Field::put(&self.$field, out));)+
                second
            }

            fn get(
                source: &mut $crate::protocol::codec::wire::Source<'_, '_>,
                _name: &'static str,
            ) -> Result<Self, $crate::protocol::frame::FrameError> {
                Ok(Self {
                    $($field: $crate::protocol::codec::wire::Field::get(source, stringify!($field))?,)+
                })
            }
        }
    )+};
}
pub(crate) use plain;

macro_rules! numbers {
    ($($number:ty: $read:ident),+) => {$(
        impl Field for $number {
            fn put(&self, out: &mut Vec<u8>) -> Option<Bytes> {
                out.extend_from_slice(&self.to_be_bytes());
                None
            }
            fn get(source: &mut Source<'_, '_>, _: &'static str) -> Result<Self, FrameError> {
                source.reader.$read()
            }
        }
    )+};
}
numbers!(u32: u32, u64: u64);

/// Fields that are another field with a meaning.
macro_rules! wrapped {
    ($($name:ident: $inner:ty),+) => {$(
        impl Field for $name {
            fn put(&self, out: &mut Vec<u8>) -> Option<Bytes> {
                Field::put(&self.0, out)
            }
            fn get(source: &mut Source<'_, '_>, name: &'static str) -> Result<Self, FrameError> {
                <$inner>::get(source, name).map(Self)
            }
        }
    )+};
}
wrapped!(Term: u64, Incarnation: u64, WorkerId: u32, BroadcastId: [u8; 16]);

macro_rules! words {
    ($($name:ident),+) => {$(
        impl Field for $name {
            fn put(&self, out: &mut Vec<u8>) -> Option<Bytes> {
                out.push(*self as u8);
                None
            }
            fn get(source: &mut Source<'_, '_>, name: &'static str) -> Result<Self, FrameError> {
                super::fields::read_enum(source.reader, name)
            }
        }
    )+};
}
words!(WorkState, Fate, Ran);

impl WireEnum for Fate {
    fn from_wire(byte: u8) -> Option<Self> {
        [Self::Died, Self::Left, Self::Unknown]
            .into_iter()
            .find(|fate| *fate as u8 == byte)
    }
}

impl WireEnum for Ran {
    fn from_wire(byte: u8) -> Option<Self> {
        [Self::Unknown, Self::NotBegun, Self::Begun, Self::Over]
            .into_iter()
            .find(|ran| *ran as u8 == byte)
    }
}

impl Field for [u8; 16] {
    fn put(&self, out: &mut Vec<u8>) -> Option<Bytes> {
        out.extend_from_slice(self);
        None
    }
    fn get(source: &mut Source<'_, '_>, _: &'static str) -> Result<Self, FrameError> {
        source.reader.array()
    }
}

impl Field for HitKey {
    fn put(&self, out: &mut Vec<u8>) -> Option<Bytes> {
        self.as_bytes().put(out)
    }
    fn get(source: &mut Source<'_, '_>, name: &'static str) -> Result<Self, FrameError> {
        Field::get(source, name).map(Self::from_bytes)
    }
}

impl Field for bool {
    fn put(&self, out: &mut Vec<u8>) -> Option<Bytes> {
        out.push(u8::from(*self));
        None
    }
    fn get(source: &mut Source<'_, '_>, name: &'static str) -> Result<Self, FrameError> {
        match source.reader.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(source.reader.bad(name)),
        }
    }
}

impl Field for SlotId {
    fn put(&self, out: &mut Vec<u8>) -> Option<Bytes> {
        self.worker.put(out);
        self.number.put(out)
    }
    fn get(source: &mut Source<'_, '_>, name: &'static str) -> Result<Self, FrameError> {
        Ok(Self {
            worker: Field::get(source, name)?,
            number: Field::get(source, name)?,
        })
    }
}

impl Field for Member {
    fn put(&self, out: &mut Vec<u8>) -> Option<Bytes> {
        self.worker.put(out);
        self.incarnation.put(out)
    }
    fn get(source: &mut Source<'_, '_>, name: &'static str) -> Result<Self, FrameError> {
        Ok(Self {
            worker: Field::get(source, name)?,
            incarnation: Field::get(source, name)?,
        })
    }
}

impl Field for Status {
    fn put(&self, out: &mut Vec<u8>) -> Option<Bytes> {
        self.to_wire().put(out)
    }
    fn get(source: &mut Source<'_, '_>, name: &'static str) -> Result<Self, FrameError> {
        Self::from_wire(source.reader.u32()?).ok_or_else(|| source.reader.bad(name))
    }
}

/// A name.
impl Field for String {
    fn put(&self, out: &mut Vec<u8>) -> Option<Bytes> {
        put_name(out, self);
        None
    }
    fn get(source: &mut Source<'_, '_>, name: &'static str) -> Result<Self, FrameError> {
        read_name(source.reader, name)
    }
}

/// A name, or nothing.
impl Field for Option<String> {
    fn put(&self, out: &mut Vec<u8>) -> Option<Bytes> {
        match self {
            Some(name) => put_name(out, name),
            None => put_text(out, "", NAME_BYTES_MAX),
        }
        None
    }
    fn get(source: &mut Source<'_, '_>, name: &'static str) -> Result<Self, FrameError> {
        let text = source.reader.text(name, NAME_BYTES_MAX)?;
        match text {
            text if text.is_empty() => Ok(None),
            text if crate::protocol::ids::is_name(&text) => Ok(Some(text)),
            _ => Err(source.reader.bad(name)),
        }
    }
}

impl Field for Note {
    fn put(&self, out: &mut Vec<u8>) -> Option<Bytes> {
        put_note(out, &self.0);
        None
    }
    fn get(source: &mut Source<'_, '_>, _: &'static str) -> Result<Self, FrameError> {
        read_note(source.reader).map(Self)
    }
}

impl Field for ReturnPath {
    fn put(&self, out: &mut Vec<u8>) -> Option<Bytes> {
        assert!(
            self.0.len() <= RETURN_PATH_BYTES_MAX,
            "a way back of {} bytes",
            self.0.len()
        );
        out.push(self.0.len() as u8);
        out.extend_from_slice(&self.0);
        None
    }
    fn get(source: &mut Source<'_, '_>, name: &'static str) -> Result<Self, FrameError> {
        let length = usize::from(source.reader.u8()?);
        if length > RETURN_PATH_BYTES_MAX {
            return Err(source.reader.bad(name));
        }
        Ok(Self(source.reader.bytes(length)?.to_vec()))
    }
}

impl Field for Option<Progress> {
    fn put(&self, out: &mut Vec<u8>) -> Option<Bytes> {
        self.is_some().put(out);
        if let Some(progress) = self {
            progress.done.put(out);
            progress.total.put(out);
            put_note(out, &progress.note);
        }
        None
    }
    fn get(source: &mut Source<'_, '_>, name: &'static str) -> Result<Self, FrameError> {
        let is_there = bool::get(source, name)?;
        let progress = is_there.then(|| {
            Ok(Progress {
                done: source.reader.u64()?,
                total: source.reader.u64()?,
                note: read_note(source.reader)?,
            })
        });
        progress.transpose()
    }
}

/// A list: how many, then one after the other. `LEAST` bytes are in each at least, so that a list may be allocated before
/// it is read.
macro_rules! lists {
    ($($kind:ty: $least:literal, $max:expr);+) => {$(
        impl Field for Vec<$kind> {
            fn put(&self, out: &mut Vec<u8>) -> Option<Bytes> {
                super::fields::put_count(out, self.len(), $max);
                for one in self {
                    one.put(out);
                }
                None
            }
            fn get(source: &mut Source<'_, '_>, name: &'static str) -> Result<Self, FrameError> {
                let count = super::fields::read_count(source.reader, name, $max, $least)?;
                (0..count).map(|_| Field::get(source, name)).collect()
            }
        }
    )+};
}
lists!(Member: 12, MEMBERS_LISTED_MAX; Enrolled: 16, MEMBERS_LISTED_MAX; PoolNews: 11, POOLS_LISTED_MAX);

impl Field for Blob {
    fn put(&self, out: &mut Vec<u8>) -> Option<Bytes> {
        assert!(self.0.len() <= BROADCAST_BYTES_MAX, "a body of {} bytes", self.0.len());
        (self.0.len() as u32).put(out);
        if self.0.len() > INLINE_BYTES_MAX {
            return Some(self.0.clone());
        }
        out.extend_from_slice(&self.0);
        None
    }
    fn get(source: &mut Source<'_, '_>, name: &'static str) -> Result<Self, FrameError> {
        let length = source.reader.u32()? as usize;
        match source.second.take() {
            Some(second) if second.len() == length => Ok(Self(second)),
            None if length <= INLINE_BYTES_MAX => slice(source, length).map(Self),
            _ => Err(source.reader.bad(name)),
        }
    }
}

impl Field for Within {
    fn put(&self, out: &mut Vec<u8>) -> Option<Bytes> {
        let Some(frames) = &self.0 else {
            return 0u32.put(out);
        };
        (frames.header.len() as u32).put(out);
        out.extend_from_slice(&frames.header);
        frames.body.clone()
    }
    fn get(source: &mut Source<'_, '_>, name: &'static str) -> Result<Self, FrameError> {
        let length = source.reader.u32()? as usize;
        let body = source.second.take();
        match (length, body) {
            (0, None) => Ok(Self(None)),
            (0, Some(_)) => Err(source.reader.bad(name)),
            (length, body) => {
                let header = slice(source, length)?;
                Ok(Self(Some(Frames { header, body })))
            }
        }
    }
}

/// The next bytes of the header frame, without copying them.
fn slice(source: &mut Source<'_, '_>, length: usize) -> Result<Bytes, FrameError> {
    let at = source.header.len() - source.reader.left();
    source.reader.bytes(length)?;
    Ok(source.header.slice(at..at + length))
}
