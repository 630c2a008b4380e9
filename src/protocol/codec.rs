//! Messages to frames and back (`docs/protocol.md`, section 4).
//!
//! Decoding is strict: a frame is exactly one message or it is refused, with a typed error and without a panic. Unknown
//! flags, bytes too many, reserved bytes that are not zero, names that are none, counts beyond their limit: all refused,
//! and nothing is allocated that the frame could not fill. What a message means in its place is for the machines to say.
//!
//! Bodies are never copied, except on sending when they are small enough to ride in the header frame.

use bytes::Bytes;

use super::frame::{Command, FrameError, Frames, HEAD_BYTES, Head, Reader};
use super::ids::Attach;
use super::limits::HEADER_BYTES_MAX;
use super::message::{
    Ack, Ballot, Close, Closed, Data, Declined, Disconnect, Full, Goodbye, Heartbeat, Held, Lease, Message, Open,
    Opened, Pong, Queued, Register, Registered, Vote, Working, Yield,
};

mod election;
mod fields;
mod head;
mod hit;
mod opening;
mod packet;
mod probe;
mod registry;
pub(crate) mod wire;

use fields::{put_ack, read_ack, read_enum};
use wire::{Field, Source};

/// Room for the messages that carry no packet and no list; they seldom need more.
const USUAL_BYTES: usize = 160;

impl Message {
    /// The message as it travels. A body of at most [`INLINE_BYTES_MAX`](super::limits::INLINE_BYTES_MAX) is copied into
    /// the header frame; a larger one becomes the second frame as it is. Notes are cut to
    /// [`NOTE_BYTES_MAX`](super::limits::NOTE_BYTES_MAX).
    ///
    /// # Panics
    /// When the message breaks a limit of the protocol: that is a fault of this program, not of a peer.
    pub fn encode(&self) -> Frames {
        let head = self.head();
        assert_eq!(head::check(&head), Ok(()), "a message of our own has a bad head");
        let mut out = Vec::with_capacity(self.packet_bytes().map_or(USUAL_BYTES, |bytes| HEAD_BYTES + bytes));
        head.write(&mut out);
        let body = self.write_fields(&mut out);
        assert!(out.len() <= HEADER_BYTES_MAX, "a header frame of {} bytes", out.len());
        Frames {
            header: out.into(),
            body,
        }
    }

    /// Bytes after the head, for a message with a packet: these must not be allocated twice.
    fn packet_bytes(&self) -> Option<usize> {
        match self {
            Self::Open(open) => Some(open.field_bytes() + open.packet.header_bytes()),
            Self::Lease(lease) => Some(lease.field_bytes() + lease.packet.header_bytes()),
            Self::Data(data) => Some(data.packet.header_bytes()),
            _ => None,
        }
    }

    /// Appends what follows the head; returns the second frame, if there is one.
    fn write_fields(&self, out: &mut Vec<u8>) -> Option<Bytes> {
        match self {
            Self::Open(open) => {
                open.write(out);
                return open.packet.write(out);
            }
            Self::Lease(lease) => {
                lease.write(out);
                return lease.packet.write(out);
            }
            Self::Data(data) => return data.packet.write(out),
            Self::Register(register) => register.write(out),
            Self::Registered(registered) => registered.write(out),
            Self::Heartbeat(heartbeat) => heartbeat.write(out),
            Self::Goodbye(goodbye) => goodbye.write(out),
            Self::Disconnect(reason) => out.push(*reason as u8),
            Self::Yield(wanted) => wanted.write(out),
            Self::Ballot(ballot) => ballot.write(out),
            Self::Vote(vote) => vote.write(out),
            Self::Full(full) => full.write(out),
            Self::Queued(queued) => queued.write(out),
            Self::Held(held) => held.write(out),
            Self::Declined(declined) => declined.write(out),
            Self::Opened(opened) => opened.write(out),
            Self::Ack(Ack { ack, .. }) | Self::KeepAlive { ack, .. } => put_ack(out, ack),
            Self::Working(working) => working.write(out),
            Self::Close(close) => close.write(out),
            Self::Closed(closed) => closed.write(out),
            Self::Ping { nonce } => out.extend_from_slice(&nonce.to_be_bytes()),
            Self::Pong(pong) => pong.write(out),
            Self::Probe(m) => return m.put(out),
            Self::State(m) => return m.put(out),
            Self::Roll(m) => return m.put(out),
            Self::Roster(m) => return m.put(out),
            Self::Ask(m) => return m.put(out),
            Self::Receipt(m) => return m.put(out),
            Self::Running(m) => return m.put(out),
            Self::Answer(m) => return m.put(out),
            Self::Thanks(m) => return m.put(out),
            Self::Check(m) => return m.put(out),
            Self::Condition(m) => return m.put(out),
            Self::Gone(m) => return m.put(out),
            Self::Greet(m) | Self::Greeted(m) => return m.put(out),
            Self::News(m) => return m.put(out),
            Self::Relay(m) => return m.put(out),
            Self::Relayed(m) => return m.put(out),
            Self::Farewell | Self::Withdraw { .. } | Self::Withdrawn { .. } | Self::Released { .. } => {}
            Self::Attach { client, timeout_ms, .. } => {
                out.extend_from_slice(&client.to_be_bytes());
                out.extend_from_slice(&timeout_ms.to_be_bytes());
            }
            Self::Occupied { client, current, .. } => {
                out.extend_from_slice(&client.to_be_bytes());
                out.extend_from_slice(&current.0.to_be_bytes());
            }
        }
        None
    }

    /// Reads a message. `body` is the second frame, if one came; the packet's bytes are a slice of it or of `header`.
    ///
    /// # Errors
    /// [`FrameError`] when the frames are not exactly one message of this version.
    pub fn decode(header: &Bytes, body: Option<Bytes>) -> Result<Self, FrameError> {
        let head = Head::peek(header)?;
        head::check(&head)?;
        let Head {
            command,
            hit,
            attach,
            attempt,
            ..
        } = head;
        if body.is_some() && !has_second_frame(command) {
            return Err(FrameError::Field {
                command,
                field: "second frame",
            });
        }
        let mut reader = Reader::new(command, header.get(HEAD_BYTES..).unwrap_or_default());
        let r = &mut reader;
        let message = match command {
            Command::Register => Self::Register(Register::read(&head, r)?),
            Command::Registered => Self::Registered(Registered::read(r)?),
            Command::Heartbeat => Self::Heartbeat(Heartbeat::read(r)?),
            Command::Goodbye => Self::Goodbye(Goodbye::read(r)?),
            Command::Farewell => Self::Farewell,
            Command::Disconnect => Self::Disconnect(read_enum::<Disconnect>(r, "reason")?),
            Command::Open => Self::Open(Open::read(&head, r, header, body)?),
            Command::Full => Self::Full(Full::read(&head, r)?),
            Command::Queued => Self::Queued(Queued::read(&head, r)?),
            Command::Withdraw => Self::Withdraw { hit, attempt },
            Command::Withdrawn => Self::Withdrawn { hit, attempt },
            Command::Held => Self::Held(Held::read(&head, r)?),
            Command::Lease => Self::Lease(Lease::read(&head, r, header, body)?),
            Command::Declined => Self::Declined(Declined::read(&head, r)?),
            Command::Released => Self::Released { hit },
            Command::Opened => Self::Opened(Opened::read(&head, r)?),
            Command::Attach => Self::Attach {
                hit,
                attach,
                client: r.u64()?,
                timeout_ms: r.u32()?,
            },
            Command::Occupied => Self::Occupied {
                hit,
                attach,
                client: r.u64()?,
                current: Attach(r.u32()?),
            },
            Command::Data => Self::Data(Data::read(&head, r, header, body)?),
            Command::Ack => Self::Ack(Ack::read(&head, r)?),
            Command::KeepAlive => Self::KeepAlive {
                hit,
                attach,
                ack: read_ack(r)?,
            },
            Command::Working => Self::Working(Working::read(&head, r)?),
            Command::Close => Self::Close(Close::read(&head, r)?),
            Command::Closed => Self::Closed(Closed::read(&head, r)?),
            Command::Yield => Self::Yield(Yield::read(&head, r)?),
            Command::Ballot => Self::Ballot(Ballot::read(r)?),
            Command::Vote => Self::Vote(Vote::read(&head, r)?),
            Command::Ping => Self::Ping { nonce: r.u64()? },
            Command::Pong => Self::Pong(Pong::read(r)?),
            Command::Probe => Self::Probe(plain(r, header, body)?),
            Command::State => Self::State(plain(r, header, body)?),
            Command::Roll => Self::Roll(plain(r, header, body)?),
            Command::Roster => Self::Roster(plain(r, header, body)?),
            Command::Ask => Self::Ask(plain(r, header, body)?),
            Command::Receipt => Self::Receipt(plain(r, header, body)?),
            Command::Running => Self::Running(plain(r, header, body)?),
            Command::Answer => Self::Answer(plain(r, header, body)?),
            Command::Thanks => Self::Thanks(plain(r, header, body)?),
            Command::Check => Self::Check(plain(r, header, body)?),
            Command::Condition => Self::Condition(plain(r, header, body)?),
            Command::Gone => Self::Gone(plain(r, header, body)?),
            Command::Greet => Self::Greet(plain(r, header, body)?),
            Command::Greeted => Self::Greeted(plain(r, header, body)?),
            Command::News => Self::News(plain(r, header, body)?),
            Command::Relay => Self::Relay(plain(r, header, body)?),
            Command::Relayed => Self::Relayed(plain(r, header, body)?),
        };
        reader.finish()?;
        Ok(message)
    }
}

/// Whether bytes of the command may travel as a second frame.
const fn has_second_frame(command: Command) -> bool {
    matches!(
        command,
        Command::Open
            | Command::Lease
            | Command::Data
            | Command::Ask
            | Command::Answer
            | Command::Relay
            | Command::Relayed
    )
}

/// Reads a message that is nothing but fields.
fn plain<T: Field>(reader: &mut Reader<'_>, header: &Bytes, mut body: Option<Bytes>) -> Result<T, FrameError> {
    let message = T::get(
        &mut Source {
            reader,
            header,
            second: &mut body,
        },
        "message",
    )?;
    if body.is_some() {
        return Err(reader.bad("second frame"));
    }
    Ok(message)
}
