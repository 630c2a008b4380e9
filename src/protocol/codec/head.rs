//! Which parts of the fixed head each command uses. What it does not use is zero.

use crate::protocol::frame::{
    Command, FLAG_CLOSE_AFTER, FLAG_DRAINING, FLAG_GAP, FLAG_HOLD, FLAG_HUNG, FLAG_JOURNAL, FLAG_PROGRESS, FLAG_QUEUE,
    FLAG_RESUME, FLAG_STOPPED, FLAG_TAKEOVER, FLAG_TO_SLOT, FLAG_VOTES, FrameError, Head,
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
        | Command::Pong => none,
        Command::Yield => Shape {
            flags: FLAG_TAKEOVER,
            ..none
        },
        Command::Vote => Shape {
            flags: FLAG_HUNG,
            ..none
        },
        Command::Open => Shape {
            flags: FLAG_QUEUE | FLAG_CLOSE_AFTER | FLAG_RESUME | FLAG_HOLD,
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
    /// The fixed part that this message starts with.
    pub fn head(&self) -> Head {
        let (none, no_attach, no_attempt) = (HitKey::default(), Attach::default(), Attempt::default());
        let (command, flags, hit, attach, attempt) = match self {
            Self::Register(m) => {
                let flags = bits([
                    (m.journal, FLAG_JOURNAL),
                    (m.votes, FLAG_VOTES),
                    (m.draining, FLAG_DRAINING),
                ]);
                (
                    Command::Register,
                    flags,
                    m.hit.unwrap_or_default(),
                    no_attach,
                    no_attempt,
                )
            }
            Self::Registered(_) => (Command::Registered, 0, none, no_attach, no_attempt),
            Self::Heartbeat(_) => (Command::Heartbeat, 0, none, no_attach, no_attempt),
            Self::Goodbye(_) => (Command::Goodbye, 0, none, no_attach, no_attempt),
            Self::Farewell => (Command::Farewell, 0, none, no_attach, no_attempt),
            Self::Disconnect(_) => (Command::Disconnect, 0, none, no_attach, no_attempt),
            Self::Yield(m) => (
                Command::Yield,
                bits([(m.takeover, FLAG_TAKEOVER)]),
                none,
                no_attach,
                no_attempt,
            ),
            Self::Ballot(_) => (Command::Ballot, 0, none, no_attach, no_attempt),
            Self::Vote(m) => (Command::Vote, bits([(m.hung, FLAG_HUNG)]), none, no_attach, no_attempt),
            Self::Ping { .. } => (Command::Ping, 0, none, no_attach, no_attempt),
            Self::Pong(_) => (Command::Pong, 0, none, no_attach, no_attempt),
            Self::Open(m) => {
                let flags = bits([
                    (m.queue, FLAG_QUEUE),
                    (m.close_after, FLAG_CLOSE_AFTER),
                    (m.resume, FLAG_RESUME),
                    (m.holder.is_some(), FLAG_HOLD),
                ]);
                (Command::Open, flags, m.hit, m.attach, m.attempt)
            }
            Self::Lease(m) => {
                let flags = bits([
                    (m.close_after, FLAG_CLOSE_AFTER),
                    (m.resume, FLAG_RESUME),
                    (m.holder.is_some(), FLAG_HOLD),
                ]);
                (Command::Lease, flags, m.hit, m.attach, m.attempt)
            }
            Self::Opened(m) => (
                Command::Opened,
                bits([(m.left.stopped, FLAG_STOPPED)]),
                m.hit,
                m.attach,
                m.attempt,
            ),
            Self::Full(m) => (Command::Full, 0, m.hit, no_attach, m.attempt),
            Self::Queued(m) => (Command::Queued, 0, m.hit, no_attach, m.attempt),
            Self::Withdraw { hit, attempt } => (Command::Withdraw, 0, *hit, no_attach, *attempt),
            Self::Withdrawn { hit, attempt } => (Command::Withdrawn, 0, *hit, no_attach, *attempt),
            Self::Held(m) => (Command::Held, 0, m.hit, no_attach, m.attempt),
            Self::Declined(m) => (Command::Declined, 0, m.hit, no_attach, m.attempt),
            Self::Released { hit } => (Command::Released, 0, *hit, no_attach, no_attempt),
            Self::Attach { hit, attach, .. } => (Command::Attach, 0, *hit, *attach, no_attempt),
            Self::Occupied { hit, attach, .. } => (Command::Occupied, 0, *hit, *attach, no_attempt),
            Self::KeepAlive { hit, attach, .. } => (Command::KeepAlive, 0, *hit, *attach, no_attempt),
            Self::Data(Data {
                hit, attach, direction, ..
            }) => (Command::Data, to_slot(*direction), *hit, *attach, no_attempt),
            Self::Ack(m) => {
                let flags = to_slot(m.direction) | bits([(m.gap, FLAG_GAP)]);
                (Command::Ack, flags, m.hit, m.attach, no_attempt)
            }
            Self::Working(m) => (
                Command::Working,
                bits([(m.progress.is_some(), FLAG_PROGRESS)]),
                m.hit,
                m.attach,
                no_attempt,
            ),
            Self::Close(m) => (Command::Close, 0, m.hit, m.attach, no_attempt),
            Self::Closed(m) => (Command::Closed, 0, m.hit, m.attach, no_attempt),
        };
        Head {
            command,
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
