//! By which way a slot speaks to its client. Part of the slot's pure machine; docs/protocol.md section 7.8.

use std::time::Duration;

use crate::protocol::ids::{Attach, Peer};
use crate::protocol::message::Message;
use crate::protocol::time::Moment;

use super::super::lease::Action;
use super::Hit;

/// Sends a message this way: by a connection to the slot's own socket, or by the broker.
pub(super) fn by(way: Option<Peer>, message: Message) -> Action {
    match way {
        Some(peer) => Action::SendDirect(peer, message),
        None => Action::Send(message),
    }
}

impl Hit {
    /// Whether a client with this attach number is the one that is there.
    pub(in crate::worker) fn is_held_by(&self, attach: Attach) -> bool {
        self.attach == attach && !self.detached
    }

    /// Sends to its client what has no place in the stream of bytes.
    pub(in crate::worker) fn to_client(&self, message: Message) -> Action {
        by(self.lane.wanted(), message)
    }

    /// The client speaks by the broker again, or cannot be reached otherwise: what it has not acknowledged goes that way.
    pub(in crate::worker) fn by_broker(&mut self) {
        if self.lane.wanted().is_some() || self.lane.is_turning() {
            self.lane.jump_to(None);
            self.replies.rewind();
        }
    }

    /// The broker has gone. What is still under way by it is lost, and a client that speaks straight to the slot is not to
    /// wait for it.
    pub(in crate::worker) fn on_no_broker(&mut self) {
        if self.lane.wanted().is_some() && self.lane.is_turning() {
            self.lane.jump_to(self.lane.wanted());
            self.replies.rewind();
        }
    }

    /// What went by the old way is not acknowledged for so long that it may be lost with it.
    pub(super) fn hasten(&mut self, now: Moment) {
        let under_way = self.replies.is_under_way();
        if self.lane.deadline(under_way).is_some_and(|at| at <= now) {
            self.lane.jump_to(self.lane.wanted());
            self.replies.rewind();
        }
    }

    /// Bytes have come another way than the client's new one: it waits for their acknowledgement before it changes over.
    pub(in crate::worker) fn hurry_turning(&mut self, now: Moment, way: Option<Peer>) {
        if way != self.lane.wanted() {
            self.requests.ack_within(now, Duration::ZERO);
        }
    }
}
