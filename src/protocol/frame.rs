//! The header frame: the fixed 32 bytes that start every message, and careful reading of what follows.
//!
//! ```text
//! offset size field
//!      0    2 magic      "ZH"
//!      2    1 version    1
//!      3    1 command    see Command
//!      4    1 flags      meaning depends on the command; unknown bits are refused
//!      5    3 reserved   zero
//!      8   16 hit        key of the Hit, zero if the message concerns none
//!     24    4 attach     attach number (rule O8), zero if none
//!     28    4 attempt    attempt of an OPEN and of what answers it (rule O1), zero if none
//! ```
//!
//! Numbers are in network byte order. A message is this frame and, for bodies that do not ride inline, one more.

use bytes::Bytes;

use super::ids::{Attach, Attempt, HitKey};
use super::limits::{HEADER_BYTES_MAX, PROTOCOL_VERSION};

/// Length of the fixed part.
pub const HEAD_BYTES: usize = 32;

/// First two bytes of every header frame.
pub const MAGIC: [u8; 2] = *b"ZH";

/// Why a frame is no message of this protocol. Nothing of it was taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Too short for what it claims to hold.
    #[error("{command:?} ends {missing} bytes early")]
    Short {
        /// What was being read.
        command: Option<Command>,
        /// How many bytes were missing.
        missing: usize,
    },
    /// More bytes than its command has.
    #[error("{0:?} has {1} bytes too many")]
    Trailing(Command, usize),
    /// Not this protocol.
    #[error("magic {0:02x?} is not that of zhit")]
    Magic([u8; 2]),
    /// Another version of this protocol.
    #[error("protocol version {0}; this program speaks {PROTOCOL_VERSION}")]
    Version(u8),
    /// No such command.
    #[error("unknown command {0:#04x}")]
    UnknownCommand(u8),
    /// A field holds what it may not.
    #[error("{command:?}: bad {field}")]
    Field {
        /// The message.
        command: Command,
        /// The field's name.
        field: &'static str,
    },
    /// A frame beyond the limit, or a frame too many.
    #[error("a message of {frames} frames, {bytes} bytes; at most 2 frames are taken")]
    TooLarge {
        /// How many frames came.
        frames: usize,
        /// Their bytes.
        bytes: usize,
    },
}

macro_rules! commands {
    ($($(#[$doc:meta])* $name:ident = $number:literal),+ $(,)?) => {
        /// What a message is about. `0x60` to `0x6f` are broadcasts, `0x70` to `0x7f` the mesh.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Command { $($(#[$doc])* $name = $number),+ }

        impl Command {
            /// All of them, in the order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            const fn from_wire(number: u8) -> Option<Self> {
                match number { $($number => Some(Self::$name),)+ _ => None }
            }
        }
    };
}

commands! {
    /// Slot or worker to broker: here I am.
    Register = 0x01,
    /// Broker to slot or worker: you are known.
    Registered = 0x02,
    /// Worker and broker to each other: I live.
    Heartbeat = 0x03,
    /// Slot or worker to broker: I leave; answered by FAREWELL.
    Goodbye = 0x04,
    /// Broker to slot or worker: you are forgotten; nothing more will come.
    Farewell = 0x05,
    /// Broker to anybody: you are not registered, or what you sent was not expected.
    Disconnect = 0x06,
    /// A broker that wants the office to the one that has it: leave it to me.
    Yield = 0x07,
    /// Client to broker: lease a slot for this Hit.
    Open = 0x10,
    /// Broker to client: nothing idle here.
    Full = 0x11,
    /// Broker to client: you wait in line.
    Queued = 0x12,
    /// Client to broker: forget my OPEN.
    Withdraw = 0x13,
    /// Broker to client: forgotten; it never ran here.
    Withdrawn = 0x14,
    /// Broker to client: your Hit has its slot, which was told of your OPEN.
    Held = 0x15,
    /// Broker to slot: serve this Hit.
    Lease = 0x20,
    /// Slot to broker: not I.
    Declined = 0x21,
    /// Broker to slot: I know that this Hit has ended.
    Released = 0x22,
    /// Slot to client: your Hit runs here.
    Opened = 0x30,
    /// Client to slot: I take this Hit over.
    Attach = 0x31,
    /// Slot to client: another client is attached.
    Occupied = 0x32,
    /// Client and slot: bytes of a request or a reply.
    Data = 0x33,
    /// Client and slot: received up to here, send up to there.
    Ack = 0x34,
    /// Client to slot: I live and wait.
    KeepAlive = 0x35,
    /// Slot to client: what your Hit does now.
    Working = 0x36,
    /// Client to slot: end this Hit, or leave it without a client.
    Close = 0x37,
    /// Slot (or, for a dead worker, broker) to client: this Hit has ended.
    Closed = 0x38,
    /// Member to member: do you, too, find the broker hung?
    Ballot = 0x40,
    /// Member to member: yes, or no.
    Vote = 0x41,
    /// Anybody to broker: are you there?
    Ping = 0x50,
    /// Broker to the asker: yes, and this is what I know.
    Pong = 0x51,
    /// Anybody to broker, broker to slot: what do you do?
    Probe = 0x52,
    /// Slot to broker, broker to the asker: this.
    State = 0x53,
    /// Issuer to broker: who serves this pool?
    Roll = 0x60,
    /// Broker to issuer: these.
    Roster = 0x61,
    /// Issuer to broker, broker to worker: run this once and answer.
    Ask = 0x62,
    /// Worker to issuer: I have it.
    Receipt = 0x63,
    /// Worker to issuer: it is not answered yet.
    Running = 0x64,
    /// Worker to issuer: this came of it.
    Answer = 0x65,
    /// Issuer to broker, broker to worker: I have your answer.
    Thanks = 0x66,
    /// Issuer to broker: what of these, who have not answered?
    Check = 0x67,
    /// Broker to issuer: that one is there, and this is how it looks.
    Condition = 0x68,
    /// Broker to issuer: that one is not there any more.
    Gone = 0x69,
    /// Broker to broker: this is who I am, tell me your news.
    Greet = 0x70,
    /// Broker to broker: and I am this one.
    Greeted = 0x71,
    /// Broker to broker, each interval: I live, and this is what I have.
    News = 0x72,
    /// Anybody to broker, broker to broker: a message for the broker of another host.
    Relay = 0x73,
    /// Broker to broker, broker to the asker: what came of it.
    Relayed = 0x74,
}

impl Command {
    /// Whether the message belongs to an open Hit and is forwarded by its key alone.
    pub const fn is_routed(self) -> bool {
        let number = self as u8;
        number >= 0x30 && number < 0x40
    }

    /// For a routed message: whether it goes to the slot (else to the client). DATA and ACK say so by a flag.
    const fn goes_to_slot(self, flags: u8) -> bool {
        match self {
            Self::Attach | Self::KeepAlive | Self::Close => true,
            Self::Data | Self::Ack => flags & FLAG_TO_SLOT != 0,
            _ => false,
        }
    }
}

/// DATA, ACK: goes from client to slot.
pub const FLAG_TO_SLOT: u8 = 0x01;
/// ACK: something is missing; send again from here.
pub const FLAG_GAP: u8 = 0x02;
/// WORKING: carries the handler's own progress.
pub const FLAG_PROGRESS: u8 = 0x01;
/// OPEN: wait in line if nothing is idle.
pub const FLAG_QUEUE: u8 = 0x01;
/// OPEN, LEASE: end the Hit once the request that this packet completes is answered.
pub const FLAG_CLOSE_AFTER: u8 = 0x02;
/// OPEN, LEASE: the client has heard OPENED before; resume, never start anew.
pub const FLAG_RESUME: u8 = 0x04;
/// OPEN, LEASE: the Hit is held by a process, and lives as long as that does.
pub const FLAG_HOLD: u8 = 0x08;
/// OPEN: the client goes to other hosts: in line it wants to hear FULL when one of them has an idle slot.
pub const FLAG_MOVES: u8 = 0x10;
/// OPENED: the request that ran when the client before left was incomplete; its handler is ended (rule O8).
pub const FLAG_STOPPED: u8 = 0x01;
/// REGISTER: keeps a journal (rule O7).
pub const FLAG_JOURNAL: u8 = 0x01;
/// REGISTER: votes on its master (rule O7).
pub const FLAG_VOTES: u8 = 0x02;
/// REGISTER: takes no new Hit.
pub const FLAG_DRAINING: u8 = 0x04;

/// YIELD: also if you were started by hand.
pub const FLAG_TAKEOVER: u8 = 0x01;
/// VOTE: hung.
pub const FLAG_HUNG: u8 = 0x01;

/// The fixed part of a message: all that a broker needs to route it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// What it is about.
    pub command: Command,
    /// Bits whose meaning depends on the command.
    pub flags: u8,
    /// The Hit, or the absent key.
    pub hit: HitKey,
    /// The attach number, or zero.
    pub attach: Attach,
    /// The attempt, or zero.
    pub attempt: Attempt,
}

impl Head {
    /// Reads the fixed part of a header frame, without looking at the rest.
    ///
    /// # Errors
    /// [`FrameError`] when the frame is too short, too long or not of this protocol and version.
    pub fn peek(frame: &[u8]) -> Result<Self, FrameError> {
        if frame.len() > HEADER_BYTES_MAX {
            return Err(FrameError::TooLarge {
                frames: 1,
                bytes: frame.len(),
            });
        }
        let Some((head, _)) = frame.split_first_chunk::<HEAD_BYTES>() else {
            return Err(FrameError::Short {
                command: None,
                missing: HEAD_BYTES - frame.len(),
            });
        };
        let [m0, m1, version, number, flags, r0, r1, r2, rest @ ..] = *head;
        if [m0, m1] != MAGIC {
            return Err(FrameError::Magic([m0, m1]));
        }
        if version != PROTOCOL_VERSION {
            return Err(FrameError::Version(version));
        }
        let command = Command::from_wire(number).ok_or(FrameError::UnknownCommand(number))?;
        if [r0, r1, r2] != [0; 3] {
            return Err(FrameError::Field {
                command,
                field: "reserved bytes",
            });
        }
        let mut reader = Reader::new(command, &rest);
        let head = Self {
            command,
            flags,
            hit: HitKey::from_bytes(reader.array()?),
            attach: Attach(reader.u32()?),
            attempt: Attempt(reader.u32()?),
        };
        if command.is_routed() && head.hit.is_none() {
            return Err(reader.bad("hit"));
        }
        Ok(head)
    }

    /// Appends the fixed part to `out`.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&[PROTOCOL_VERSION, self.command as u8, self.flags, 0, 0, 0]);
        out.extend_from_slice(self.hit.as_bytes());
        out.extend_from_slice(&self.attach.0.to_be_bytes());
        out.extend_from_slice(&self.attempt.0.to_be_bytes());
    }

    /// Whether a routed message goes to the slot; else it goes to the client.
    pub const fn goes_to_slot(&self) -> bool {
        self.command.goes_to_slot(self.flags)
    }
}

/// A message as it travels: the header frame and perhaps a body frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frames {
    /// The header frame.
    pub header: Bytes,
    /// The second frame.
    pub body: Option<Bytes>,
}

/// Reads fields off a header frame and never past its end.
#[derive(Debug)]
pub struct Reader<'a> {
    command: Command,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads `rest`, which belongs to a message of this command.
    pub const fn new(command: Command, rest: &'a [u8]) -> Self {
        Self { command, rest }
    }

    /// The next `count` bytes.
    pub fn bytes(&mut self, count: usize) -> Result<&'a [u8], FrameError> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or_else(|| self.short(count))?;
        self.rest = rest;
        Ok(taken)
    }

    /// The next bytes as an array.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], FrameError> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or_else(|| self.short(N))?;
        self.rest = rest;
        Ok(*taken)
    }

    /// The next byte.
    pub fn u8(&mut self) -> Result<u8, FrameError> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// The next two bytes as a number.
    pub fn u16(&mut self) -> Result<u16, FrameError> {
        self.array().map(u16::from_be_bytes)
    }

    /// The next four bytes as a number.
    pub fn u32(&mut self) -> Result<u32, FrameError> {
        self.array().map(u32::from_be_bytes)
    }

    /// The next eight bytes as a number.
    pub fn u64(&mut self) -> Result<u64, FrameError> {
        self.array().map(u64::from_be_bytes)
    }

    /// A text of at most `max` bytes, led by its length in two bytes.
    pub fn text(&mut self, field: &'static str, max: usize) -> Result<String, FrameError> {
        let length = usize::from(self.u16()?);
        if length > max {
            return Err(self.bad(field));
        }
        let bytes = self.bytes(length)?;
        std::str::from_utf8(bytes)
            .map(str::to_owned)
            .map_err(|_| self.bad(field))
    }

    /// How many bytes are left.
    pub const fn left(&self) -> usize {
        self.rest.len()
    }

    /// Ends the reading.
    pub fn finish(self) -> Result<(), FrameError> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(FrameError::Trailing(self.command, self.rest.len()))
        }
    }

    /// The error for a field that holds what it may not.
    pub const fn bad(&self, field: &'static str) -> FrameError {
        FrameError::Field {
            command: self.command,
            field,
        }
    }

    const fn short(&self, wanted: usize) -> FrameError {
        FrameError::Short {
            command: Some(self.command),
            missing: wanted - self.rest.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head() -> Head {
        Head {
            command: Command::Data,
            flags: FLAG_TO_SLOT,
            hit: HitKey::from_bytes([7; 16]),
            attach: Attach(3),
            attempt: Attempt(9),
        }
    }

    #[test]
    fn head_reads_back() {
        let mut bytes = Vec::new();
        head().write(&mut bytes);
        assert_eq!(bytes.len(), HEAD_BYTES);
        assert_eq!(Head::peek(&bytes), Ok(head()));
        assert!(head().goes_to_slot());
    }

    #[test]
    fn every_prefix_is_short() {
        let mut bytes = Vec::new();
        head().write(&mut bytes);
        for length in 0..HEAD_BYTES {
            assert!(
                matches!(Head::peek(&bytes[..length]), Err(FrameError::Short { .. })),
                "{length}"
            );
        }
    }

    #[test]
    fn strangers_are_told_apart() {
        let mut bytes = Vec::new();
        head().write(&mut bytes);
        let spoilt = |at: usize, value: u8| {
            let mut copy = bytes.clone();
            copy[at] = value;
            Head::peek(&copy)
        };
        assert_eq!(spoilt(0, b'X'), Err(FrameError::Magic(*b"XH")));
        assert_eq!(spoilt(2, 2), Err(FrameError::Version(2)));
        assert_eq!(spoilt(3, 0xee), Err(FrameError::UnknownCommand(0xee)));
        assert!(matches!(spoilt(6, 1), Err(FrameError::Field { .. })));
        assert!(matches!(
            Head::peek(&vec![0; HEADER_BYTES_MAX + 1]),
            Err(FrameError::TooLarge { .. })
        ));
    }

    #[test]
    fn commands_are_distinct_and_known() {
        for command in Command::ALL {
            assert_eq!(Command::from_wire(*command as u8), Some(*command));
        }
    }
}
