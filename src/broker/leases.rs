//! What a broker keeps of the Hits that are leased here. Part of the broker's pure machine.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::protocol::frame::{Command, Head};
use crate::protocol::ids::{Attach, Attempt, HitKey, Peer};
use crate::protocol::message::{Open, Packet};
use crate::protocol::time::Moment;

use super::waiting::Wish;

/// A slot that is leased.
#[derive(Debug)]
pub(super) struct Leased {
    pub(super) slot: Peer,
    /// The attached client and its number.
    pub(super) client: Option<(Attach, Peer)>,
    /// One that asked to attach and was not answered yet.
    pub(super) candidate: Option<(Attach, Peer)>,
    /// Who holds the Hit, whichever clients come and go; its messages have the attach number 0.
    pub(super) holder: Option<Peer>,
    /// The newest attempt that was passed on to the slot.
    pub(super) attempt: Attempt,
    /// What the slot is asked until it says OPENED or DECLINED.
    pub(super) wish: Option<Wish>,
    /// When it was asked last.
    pub(super) asked_at: Moment,
    /// The slot has served it: declined, it is over and is leased to no other.
    pub(super) served: bool,
    pub(super) ttl: Duration,
}

impl Leased {
    /// A Hit that the slot is said to serve already.
    pub(super) fn found(now: Moment, slot: Peer, ttl: Duration) -> Self {
        Self {
            slot,
            client: None,
            candidate: None,
            holder: None,
            attempt: Attempt(0),
            wish: None,
            asked_at: now,
            served: true,
            ttl,
        }
    }

    /// Asks the slot whether it serves the Hit: a LEASE that only resumes. It names no attachment, so that it does not
    /// count as a sign of life of the client.
    pub(super) fn doubt(&mut self, now: Moment, hit: HitKey) {
        let open = Open {
            hit,
            attach: Attach(0),
            attempt: self.attempt,
            queue: false,
            moves: false,
            close_after: false,
            resume: true,
            term: crate::protocol::Term(0),
            dir: crate::protocol::DirId::default(),
            age_ms: 0,
            ttl_ms: u32::try_from(self.ttl.as_millis()).unwrap_or(u32::MAX),
            timeout_ms: 0,
            holder: None,
            pool: String::new(),
            packet: Packet::default(),
        };
        let from = self.client.map_or(self.slot, |(_, client)| client);
        self.wish = Some(Wish::new(now, from, &open));
        self.served = true;
        self.asked_at = now;
    }

    /// A client's message for the slot has come. Returns whether it is to be passed on: a KEEPALIVE of an attachment
    /// that is over is not; what else comes of one the slot drops (rule O8).
    pub(super) fn on_client(&mut self, from: Peer, head: Head) -> bool {
        match self.client {
            _ if head.attach == Attach(0) => self.holder = Some(from),
            _ if head.command == Command::Attach => self.candidate = Some((head.attach, from)),
            None => self.client = Some((head.attach, from)),
            // A client speaks by the connection it has now.
            Some((attach, _)) if attach == head.attach => self.client = Some((attach, from)),
            Some((attach, _)) if attach < head.attach => self.candidate = Some((head.attach, from)),
            Some(_) => return head.command != Command::KeepAlive,
        }
        true
    }

    /// The slot's message for a client has come; returns who gets it.
    pub(super) fn on_slot(&mut self, head: Head) -> Option<Peer> {
        let named = |party: Option<(Attach, Peer)>| party.filter(|(attach, _)| *attach == head.attach);
        let (client, candidate) = (named(self.client), named(self.candidate));
        if head.attach == Attach(0) {
            return self.holder;
        }
        let to = match head.command {
            Command::Occupied => candidate,
            Command::Opened => {
                (self.wish, self.served) = (None, true);
                if candidate.is_some() {
                    self.client = self.candidate.take();
                }
                candidate.or(client)
            }
            _ => client.or(candidate),
        };
        to.map(|(_, peer)| peer)
    }

    /// Whom to tell that the Hit is over.
    pub(super) fn parties(&self) -> impl Iterator<Item = (Attach, Peer)> + use<> {
        let holder = self.holder.map(|holder| (Attach(0), holder));
        [self.client, self.candidate, holder].into_iter().flatten()
    }
}

/// All of them. Ordered, so that what the broker does does not depend on chance.
pub(super) type Leases = BTreeMap<HitKey, Leased>;
