//! What a message costs, and the counts.

use std::collections::BTreeMap;
use std::time::Duration;

use zhit::protocol::frame::{Command, Frames, Head};
use zhit::protocol::{Message, Moment};

/// From a process to another one of its host: a Unix socket and two wakes.
pub(crate) const LOCAL_HOP: Duration = Duration::from_micros(30);

/// From a host to another one: a switched network of one site.
pub(crate) const NETWORK_HOP: Duration = Duration::from_micros(200);

/// What a process spends to take one message: its system calls' share, decoding, the machine.
pub(crate) const RECEIVE: Duration = Duration::from_micros(5);

/// What a process spends to send one.
pub(crate) const SEND: Duration = Duration::from_micros(5);

/// How long a worker's handler runs.
pub(crate) const HANDLER: Duration = Duration::from_millis(1);

/// Period of heartbeats, and how long silence is tolerated: the defaults.
pub(crate) const INTERVAL: Duration = zhit::protocol::limits::INTERVAL;
pub(crate) const PATIENCE: Duration = zhit::protocol::limits::PATIENCE;

/// One message on its way.
#[derive(Debug)]
pub(crate) struct Letter {
    /// When it arrives.
    pub(crate) at: Moment,
    /// How many hops lie behind it, those of the messages that caused it included.
    pub(crate) hops: u32,
    pub(crate) message: Message,
}

/// What one process has taken and sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) received: u64,
    pub(crate) sent: u64,
    pub(crate) bytes_received: u64,
    pub(crate) bytes_sent: u64,
}

impl Tally {
    pub(crate) const fn take(&mut self, bytes: u64) {
        self.received += 1;
        self.bytes_received += bytes;
    }

    pub(crate) const fn send(&mut self, bytes: u64) {
        self.sent += 1;
        self.bytes_sent += bytes;
    }

    pub(crate) const fn messages(&self) -> u64 {
        self.received + self.sent
    }

    pub(crate) const fn bytes(&self) -> u64 {
        self.bytes_received + self.bytes_sent
    }
}

/// What was sent in all: each message once a hop, by what it says, whatever carries it.
#[derive(Debug, Default)]
pub(crate) struct Sum {
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
    pub(crate) kinds: BTreeMap<&'static str, u64>,
}

impl Sum {
    /// Counts a hop; returns its bytes.
    pub(crate) fn hop(&mut self, message: &Message) -> u64 {
        let bytes = wire_bytes(message);
        self.messages += 1;
        self.bytes += bytes;
        *self.kinds.entry(kind(message)).or_default() += 1;
        bytes
    }
}

/// Bytes of the frames. What ZMTP, CURVE and TCP add is not among them.
pub(crate) fn wire_bytes(message: &Message) -> u64 {
    let frames = message.encode();
    (frames.header.len() + frames.body.map_or(0, |body| body.len())) as u64
}

/// Whether it is the mesh's own.
pub(crate) const fn is_of_mesh(message: &Message) -> bool {
    matches!(message, Message::Greet(_) | Message::Greeted(_) | Message::News(_))
}

/// What a message says, whatever carries it.
pub(crate) fn kind(message: &Message) -> &'static str {
    let carried = match message {
        Message::Relay(relay) => relay.within.0.as_ref(),
        Message::Relayed(relayed) => relayed.within.0.as_ref(),
        _ => None,
    };
    let command = match carried {
        Some(Frames { header, .. }) => Head::peek(header).map(|head| head.command),
        None => Head::peek(&message.encode().header).map(|head| head.command),
    };
    match command {
        Ok(Command::Roll) => "ROLL",
        Ok(Command::Roster) => "ROSTER",
        Ok(Command::Ask) => "ASK",
        Ok(Command::Receipt) => "RECEIPT",
        Ok(Command::Answer) => "ANSWER",
        Ok(Command::Thanks) => "THANKS",
        Ok(Command::Check) => "CHECK",
        Ok(Command::Condition) => "CONDITION",
        Ok(Command::Running) => "RUNNING",
        _ => "other",
    }
}
