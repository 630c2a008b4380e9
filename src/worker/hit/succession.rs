//! How a Hit passes from one client to the next, and who holds it meanwhile. Part of the slot's pure machine.

use crate::election::journal::Entry;
use crate::protocol::ids::Attach;
use crate::protocol::limits::WINDOW_BYTES;
use crate::protocol::message::{Left, WorkState};
use crate::protocol::route::Lane;
use crate::protocol::stream::{Receiver, Sender};
use crate::protocol::time::Moment;

use super::super::lease::Action;
use super::{Hit, deadline};

/// Who holds a Hit for others. Their silence is not the Hit's end; the holder's is, or that of its process where it can be
/// watched.
#[derive(Debug)]
pub(in crate::worker) struct Hold {
    watched: bool,
    heard_at: Moment,
}

impl Hold {
    pub(super) const fn new(now: Moment) -> Self {
        Self {
            watched: false,
            heard_at: now,
        }
    }

    /// When it was heard; `None` if its silence means nothing.
    fn heard_at(&self) -> Option<Moment> {
        (!self.watched).then_some(self.heard_at)
    }
}

impl Hit {
    /// Whether whoever keeps it has been silent for its ttl.
    pub(in crate::worker) fn is_abandoned(&self, now: Moment) -> bool {
        self.silent_at().is_some_and(|at| at <= now)
    }

    /// When whoever keeps it will have been silent for its ttl: its holder, if it has one, else its client.
    pub(super) fn silent_at(&self) -> Option<Moment> {
        let heard_at = match &self.hold {
            Some(hold) => hold.heard_at()?,
            None => self.heard_at,
        };
        Some(heard_at + self.ttl)
    }

    /// Whether a process holds it.
    pub(in crate::worker) const fn is_held(&self) -> bool {
        self.hold.is_some()
    }

    /// Its holder has said that it is there.
    pub(in crate::worker) fn holder_heard(&mut self, now: Moment) {
        if let Some(hold) = &mut self.hold {
            hold.heard_at = now;
        }
    }

    /// Its holder's process is watched.
    pub(in crate::worker) fn holder_watched(&mut self) {
        if let Some(hold) = &mut self.hold {
            hold.watched = true;
        }
    }

    /// No client could be heard, or this slot could not hear: nobody was silent (rules A3, A4).
    pub(in crate::worker) fn restart_clocks(&mut self, now: Moment) {
        self.heard(now);
        self.holder_heard(now);
    }

    /// The attached client has gone: what it sent in full and what runs goes on unheard; what is incomplete is stopped;
    /// what never started never runs (rule O8). The streams begin anew after the last seq that it touched.
    pub(in crate::worker) fn detach(&mut self, out: &mut Vec<Action>) {
        if self.detached {
            return;
        }
        self.detached = true;
        let (seq, offset) = self.requests.next();
        let running = self.request.as_ref().map_or(0, |request| request.seq);
        let first = (seq + u64::from(offset > 0)).max(running + 1);
        self.left = Left {
            started: self.started,
            answered: self.answered,
            stopped: false,
        };
        if let Some(request) = &mut self.request {
            request.discarded = true;
            self.left.stopped = request.seq >= seq && request.ended.is_none();
            if self.left.stopped && request.state != WorkState::Ending {
                request.state = WorkState::Ending;
                out.push(Action::Stop);
            }
        }
        // What it sent in full and the handler has not read yet still belongs to the running request.
        let rest = std::iter::from_fn(|| self.requests.take()).filter(|piece| piece.seq == running);
        self.orphaned.extend(rest);
        // What the handler still takes of it opens no credit for the next client.
        self.lent = 0;
        self.requests = Receiver::new(first, WINDOW_BYTES, true);
        self.replies = Sender::new(first, 0);
        self.lane = Lane::new(None);
        self.first_seq = first;
        self.last = None;
        if self.request.as_ref().is_some_and(|request| request.ended.is_some()) {
            self.finish_request();
        }
    }

    /// A new client.
    pub(in crate::worker) fn take_over(
        &mut self,
        now: Moment,
        attach: Attach,
        client: u64,
        timeout_ms: u32,
        out: &mut Vec<Action>,
    ) {
        out.push(Action::Journal(Entry::Attached(attach)));
        self.detach(out);
        (self.attach, self.client, self.detached) = (attach, client, false);
        self.timeout = deadline(timeout_ms);
        self.heard(now);
    }
}
