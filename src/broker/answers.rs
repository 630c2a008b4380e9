//! The messages that a broker's machine makes. Part of it.

use std::time::Duration;

use crate::protocol::ids::{Attach, Attempt, HitKey, Peer, ReturnPath, SlotId};
use crate::protocol::limits::PONG_WORKERS_MAX;
use crate::protocol::message::{
    Closed, ClosedReason, Full, FullReason, Held, Lease, Message, Open, Pong, PongWorker, Queued,
};
use crate::protocol::pool::{Probe, State};
use crate::protocol::time::Moment;

use super::machine::{Action, Machine};
use super::waiting::End;

/// CLOSED by the broker, which does not know what ran.
pub(super) fn closed(hit: HitKey, attach: Attach, reason: ClosedReason, note: &str) -> Message {
    ended(hit, attach, End::unknown(reason), note)
}

/// CLOSED by the broker, with what is known of the Hit's requests. To whom another client has followed they say nothing:
/// they are that other's (rule O8).
pub(super) fn ended(hit: HitKey, attach: Attach, end: End, note: &str) -> Message {
    let end = if attach < end.attach {
        End::unknown(end.reason)
    } else {
        end
    };
    Message::Closed(Closed {
        hit,
        attach,
        reason: end.reason,
        started: end.started,
        answered: end.answered,
        note: note.to_owned(),
    })
}

impl Machine {
    /// Passes a question on to a slot, with the way back to its asker. Of a slot that is not there PONG has told.
    pub(super) fn on_probe(&self, from: Peer, probe: &Probe, out: &mut Vec<Action>) {
        if let Some(slot) = self.registry.slot_peer(probe.slot) {
            let path = from.to_path();
            let (nonce, to) = (probe.nonce, probe.slot);
            out.push(Action::Send(slot, Message::Probe(Probe { nonce, slot: to, path })));
        }
    }

    /// Passes a slot's answer on, to whom its way back leads.
    pub(super) fn on_state(&self, from: Peer, state: State, out: &mut Vec<Action>) {
        let is_slot = self.registry.slot(from).is_some_and(|slot| slot.id == state.slot);
        if let Some(to) = Peer::from_path(&state.path).filter(|_| is_slot) {
            let path = ReturnPath::default();
            out.push(Action::Send(to, Message::State(State { path, ..state })));
        }
    }

    pub(super) fn lease_message(&self, open: Open) -> Message {
        Message::Lease(Lease {
            hit: open.hit,
            attach: open.attach,
            attempt: open.attempt,
            close_after: open.close_after,
            resume: open.resume,
            term: self.config.term,
            ttl_ms: open.ttl_ms,
            timeout_ms: open.timeout_ms,
            holder: open.holder,
            packet: open.packet,
        })
    }

    pub(super) fn send_held(
        &self,
        now: Moment,
        to: Peer,
        hit: HitKey,
        attempt: Attempt,
        slot: Peer,
        out: &mut Vec<Action>,
    ) {
        let id = self.registry.slot(slot).map_or(SlotId::default(), |slot| slot.id);
        let silent = self
            .registry
            .worker(id.worker)
            .map_or(Duration::ZERO, |worker| now.since(worker.heard_at));
        let silent_ms = u32::try_from(silent.as_millis()).unwrap_or(u32::MAX);
        let held = Held {
            hit,
            attempt,
            term: self.config.term,
            slot: id,
            silent_ms,
        };
        out.push(Action::Send(to, Message::Held(held)));
    }

    pub(super) fn send_full(&self, to: Peer, open: &Open, reason: FullReason, out: &mut Vec<Action>) {
        let (hit, attempt, term) = (open.hit, open.attempt, self.config.term);
        out.push(Action::Send(
            to,
            Message::Full(Full {
                hit,
                attempt,
                reason,
                term,
                hints: self.mesh.hints(&open.pool),
            }),
        ));
    }

    pub(super) fn send_queued(&self, hit: HitKey, out: &mut Vec<Action>) {
        let Some(wish) = self.waiting.get(hit) else { return };
        let (slots, busy) = self.registry.count(&wish.open.pool);
        let (attempt, ahead) = (wish.open.attempt, self.waiting.ahead(wish));
        let queued = Queued {
            hit,
            attempt,
            term: self.config.term,
            ahead,
            slots,
            busy,
        };
        out.push(Action::Send(wish.client, Message::Queued(queued)));
    }

    fn describe_workers(&self, now: Moment) -> Vec<PongWorker> {
        let mut all = self.registry.describe(now, self.config.patience, PONG_WORKERS_MAX);
        all.extend(self.describe_heirlooms(now, PONG_WORKERS_MAX - all.len()));
        all.sort_by_key(|worker| worker.worker);
        all
    }

    pub(super) fn pong(&self, now: Moment, nonce: u64) -> Message {
        Message::Pong(Pong {
            nonce,
            host: self.config.host.clone(),
            pid: self.config.pid,
            term: self.config.term,
            uptime_ms: now.since(self.started_at).as_millis() as u64,
            version: self.config.version.clone(),
            trouble: self.trouble.clone(),
            queued: self.waiting.len() as u32,
            workers_total: (self.registry.workers().count() + self.heirlooms_count()) as u32,
            workers: self.describe_workers(now),
        })
    }
}
