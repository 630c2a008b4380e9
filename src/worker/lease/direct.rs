//! Clients that come straight to a slot, past the broker. Part of the slot's pure machine; docs/protocol.md section 7.8.
//!
//! Whoever reaches the slot's own socket is a stranger: he is heard only if he names the Hit that is served, which only
//! its clients can, and the attach number that holds; and then in what concerns this Hit alone. All else is dropped
//! without an answer.

use crate::protocol::ids::{Attach, HitKey, Peer};
use crate::protocol::message::{ClosedReason, Direction, Message};
use crate::protocol::time::Moment;

use super::{Action, Slot, State};

impl Slot {
    /// Where the slot's own socket is, for OPENED to name.
    pub fn set_endpoints(&mut self, endpoints: Vec<String>) {
        self.endpoints = endpoints;
    }

    /// Takes a message from a connection to the slot's own socket.
    pub fn on_direct(&mut self, now: Moment, from: Peer, message: Message, out: &mut Vec<Action>) {
        let Some((key, attach)) = sender_of(&message) else {
            return;
        };
        let State::Serving(hit) = &mut self.state else { return };
        if hit.key != key {
            return;
        }
        if attach < hit.attach && matches!(message, Message::KeepAlive { .. }) {
            // As a broker says to one that was silent for so long that another client holds the Hit (rule O8).
            let mut closed = hit.closed(ClosedReason::Superseded, String::new());
            // Where its own requests ended nobody knows any more.
            (closed.attach, closed.started, closed.answered) = (attach, u64::MAX, u64::MAX);
            return out.push(Action::SendDirect(from, Message::Closed(closed)));
        }
        if !hit.is_held_by(attach) {
            return;
        }
        // What is said to a client goes where it speaks.
        hit.lane.turn_to(now, Some(from));
        self.take(now, Some(from), message, out);
    }

    /// A message could not be sent to this connection to the slot's own socket: it has ended. What its client has not
    /// acknowledged goes by the broker, until the client speaks again.
    pub fn on_direct_gone(&mut self, now: Moment, peer: Peer, out: &mut Vec<Action>) {
        if let State::Serving(hit) = &mut self.state
            && hit.lane.wanted() == Some(peer)
        {
            hit.by_broker();
        }
        self.flush(now, out);
    }
}

/// Hit and attach number of what a client may say straight to a slot; `None` for all else, the holder's words (attach
/// number 0) included.
fn sender_of(message: &Message) -> Option<(HitKey, Attach)> {
    let (key, attach) = match message {
        Message::Data(data) if data.direction == Direction::ToSlot => (data.hit, data.attach),
        Message::Ack(ack) if ack.direction == Direction::ToSlot => (ack.hit, ack.attach),
        Message::KeepAlive { hit, attach, .. } => (*hit, *attach),
        Message::Close(close) => (close.hit, close.attach),
        _ => return None,
    };
    (attach != Attach(0)).then_some((key, attach))
}
