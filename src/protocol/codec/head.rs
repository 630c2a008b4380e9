//! Which parts of the fixed head each command uses. What it does not use is zero.

use crate::protocol::frame::{
    Command, FLAG_CLOSE_AFTER, FLAG_DRAINING, FLAG_GAP, FLAG_HOLD, FLAG_HUNG, FLAG_JOURNAL, FLAG_MOVES, FLAG_PROGRESS,
    FLAG_QUEUE, FLAG_RESUME, FLAG_STOPPED, FLAG_TAKEOVER, FLAG_TO_SLOT, FLAG_VOTES, FrameError, Head,
};
use crate::protocol::ids::{Attach, Attempt, HitKey};
use crate::protocol::message::{Data, Direction, Message};

/// The parts of the head that a command uses.
struct Shape {
    /// Bits that it knows.
    flags: u8,
    /// Whether the key must (`Some(true)`), may (`None`) or must not (`Some(false)`) be there.
    hit: Option<bool>,
    /// Uses the attach number.
    attach: bool,
    /// Uses the attempt.
    attempt: bool,
}

const fn shape(command: Command) -> Shape {
    let none = Shape {
        flags: 0,
        hit: Some(false),
        attach: false,
        attempt: false,
    };
    let hit = Shape {
        hit: Some(true),
        ..none
    };
    match command {
        Command::Register => Shape {
            flags: FLAG_JOURNAL | FLAG_VOTES | FLAG_DRAINING,
            hit: None,
            ..none
        },
        Command::Registered
        | Command::Heartbeat
        | Command::Goodbye
        | Command::Farewell
        | Command::Disconnect
        | Command::Ballot
        | Command::Ping
        | Command::Pong
        | Command::Probe
        | Command::State
        | Command::Roll
        | Command::Roster
        | Command::Ask
        | Command::Receipt
        | Command::Running
        | Command::Answer
        | Command::Thanks
        | Command::Check
        | Command::Condition
        | Command::Gone
        | Command::Greet
        | Command::Greeted
        | Command::News
        | Command::Relay
        | Command::Relayed => none,
        Command::Yield => Shape {
            flags: FLAG_TAKEOVER,
            ..none
        },
        Command::Vote => Shape {
            flags: FLAG_HUNG,
            ..none
        },
        Command::Open => Shape {
            flags: FLAG_QUEUE | FLAG_CLOSE_AFTER | FLAG_RESUME | FLAG_HOLD | FLAG_MOVES,
            attach: true,
            attempt: true,
            ..hit
        },
        Command::Lease => Shape {
            flags: FLAG_CLOSE_AFTER | FLAG_RESUME | FLAG_HOLD,
            attach: true,
            attempt: true,
            ..hit
        },
        Command::Opened => Shape {
            flags: FLAG_STOPPED,
            attach: true,
            attempt: true,
            ..hit
        },
        Command::Full
        | Command::Queued
        | Command::Withdraw
        | Command::Withdrawn
        | Command::Held
        | Command::Declined => Shape { attempt: true, ..hit },
        Command::Released => hit,
        Command::Attach | Command::Occupied | Command::KeepAlive | Command::Close | Command::Closed => {
            Shape { attach: true, ..hit }
        }
        Command::Data => Shape {
            flags: FLAG_TO_SLOT,
            attach: true,
            ..hit
        },
        Command::Ack => Shape {
            flags: FLAG_TO_SLOT | FLAG_GAP,
            attach: true,
            ..hit
        },
        Command::Working => Shape {
            flags: FLAG_PROGRESS,
            attach: true,
            ..hit
        },
    }
}

/// Refuses a head that uses what its command does not.
pub(super) fn check(head: &Head) -> Result<(), FrameError> {
    let shape = shape(head.command);
    let bad = |field| {
        Err(FrameError::Field {
            command: head.command,
            field,
        })
    };
    if head.flags & !shape.flags != 0 {
        return bad("flags");
    }
    if shape.hit.is_some_and(|present| present == head.hit.is_none()) {
        return bad("hit");
    }
    if !shape.attach && head.attach != Attach::default() {
        return bad("attach");
    }
    if !shape.attempt && head.attempt != Attempt::default() {
        return bad("attempt");
    }
    Ok(())
}

/// The bits whose condition holds.
fn bits<const N: usize>(flags: [(bool, u8); N]) -> u8 {
    flags
        .into_iter()
        .filter(|(holds, _)| *holds)
        .fold(0, |all, (_, flag)| all | flag)
}

impl Message {
    /// What it is about.
    pub const fn command(&self) -> Command {
        match self {
            Self::Register(_) => Command::Register,
            Self::Registered(_) => Command::Registered,
            Self::Heartbeat(_) => Command::Heartbeat,
            Self::Goodbye(_) => Command::Goodbye,
            Self::Farewell => Command::Farewell,
            Self::Disconnect(_) => Command::Disconnect,
            Self::Yield(_) => Command::Yield,
            Self::Open(_) => Command::Open,
            Self::Full(_) => Command::Full,
            Self::Queued(_) => Command::Queued,
            Self::Withdraw { .. } => Command::Withdraw,
            Self::Withdrawn { .. } => Command::Withdrawn,
            Self::Held(_) => Command::Held,
            Self::Lease(_) => Command::Lease,
            Self::Declined(_) => Command::Declined,
            Self::Released { .. } => Command::Released,
            Self::Opened(_) => Command::Opened,
            Self::Attach { .. } => Command::Attach,
            Self::Occupied { .. } => Command::Occupied,
            Self::Data(_) => Command::Data,
            Self::Ack(_) => Command::Ack,
            Self::KeepAlive { .. } => Command::KeepAlive,
            Self::Working(_) => Command::Working,
            Self::Close(_) => Command::Close,
            Self::Closed(_) => Command::Closed,
            Self::Ballot(_) => Command::Ballot,
            Self::Vote(_) => Command::Vote,
            Self::Ping { .. } => Command::Ping,
            Self::Pong(_) => Command::Pong,
            Self::Probe(_) => Command::Probe,
            Self::State(_) => Command::State,
            Self::Roll(_) => Command::Roll,
            Self::Roster(_) => Command::Roster,
            Self::Ask(_) => Command::Ask,
            Self::Receipt(_) => Command::Receipt,
            Self::Running(_) => Command::Running,
            Self::Answer(_) => Command::Answer,
            Self::Thanks(_) => Command::Thanks,
            Self::Check(_) => Command::Check,
            Self::Condition(_) => Command::Condition,
            Self::Gone(_) => Command::Gone,
            Self::Greet(_) => Command::Greet,
            Self::Greeted(_) => Command::Greeted,
            Self::News(_) => Command::News,
            Self::Relay(_) => Command::Relay,
            Self::Relayed(_) => Command::Relayed,
        }
    }

    /// The fixed part that this message starts with.
    pub fn head(&self) -> Head {
        let (none, no_attach, no_attempt) = (HitKey::default(), Attach::default(), Attempt::default());
        let (flags, hit, attach, attempt) = match self {
            Self::Register(m) => {
                let flags = bits([
                    (m.journal, FLAG_JOURNAL),
                    (m.votes, FLAG_VOTES),
                    (m.draining, FLAG_DRAINING),
                ]);
                (flags, m.hit.unwrap_or_default(), no_attach, no_attempt)
            }
            Self::Yield(m) => (bits([(m.takeover, FLAG_TAKEOVER)]), none, no_attach, no_attempt),
            Self::Vote(m) => (bits([(m.hung, FLAG_HUNG)]), none, no_attach, no_attempt),
            Self::Open(m) => {
                let flags = bits([
                    (m.queue, FLAG_QUEUE),
                    (m.moves, FLAG_MOVES),
                    (m.close_after, FLAG_CLOSE_AFTER),
                    (m.resume, FLAG_RESUME),
                    (m.holder.is_some(), FLAG_HOLD),
                ]);
                (flags, m.hit, m.attach, m.attempt)
            }
            Self::Lease(m) => {
                let flags = bits([
                    (m.close_after, FLAG_CLOSE_AFTER),
                    (m.resume, FLAG_RESUME),
                    (m.holder.is_some(), FLAG_HOLD),
                ]);
                (flags, m.hit, m.attach, m.attempt)
            }
            Self::Opened(m) => (bits([(m.left.stopped, FLAG_STOPPED)]), m.hit, m.attach, m.attempt),
            Self::Full(m) => (0, m.hit, no_attach, m.attempt),
            Self::Queued(m) => (0, m.hit, no_attach, m.attempt),
            Self::Withdraw { hit, attempt } | Self::Withdrawn { hit, attempt } => (0, *hit, no_attach, *attempt),
            Self::Held(m) => (0, m.hit, no_attach, m.attempt),
            Self::Declined(m) => (0, m.hit, no_attach, m.attempt),
            Self::Released { hit } => (0, *hit, no_attach, no_attempt),
            Self::Attach { hit, attach, .. }
            | Self::Occupied { hit, attach, .. }
            | Self::KeepAlive { hit, attach, .. } => (0, *hit, *attach, no_attempt),
            Self::Data(Data {
                hit, attach, direction, ..
            }) => (to_slot(*direction), *hit, *attach, no_attempt),
            Self::Ack(m) => {
                let flags = to_slot(m.direction) | bits([(m.gap, FLAG_GAP)]);
                (flags, m.hit, m.attach, no_attempt)
            }
            Self::Working(m) => (
                bits([(m.progress.is_some(), FLAG_PROGRESS)]),
                m.hit,
                m.attach,
                no_attempt,
            ),
            Self::Close(m) => (0, m.hit, m.attach, no_attempt),
            Self::Closed(m) => (0, m.hit, m.attach, no_attempt),
            // The others use nothing of it.
            _ => (0, none, no_attach, no_attempt),
        };
        Head {
            command: self.command(),
            flags,
            hit,
            attach,
            attempt,
        }
    }
}

const fn to_slot(direction: Direction) -> u8 {
    match direction {
        Direction::ToSlot => FLAG_TO_SLOT,
        Direction::ToClient => 0,
    }
}
