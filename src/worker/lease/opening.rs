//! How a slot comes to serve a Hit, and who may speak to it. Part of the slot's pure machine.

use std::time::Duration;

use crate::election::journal::Entry;
use crate::protocol::ids::{Attach, Attempt, HitKey, Term};
use crate::protocol::limits::TTL_MAX;
use crate::protocol::message::{Close, CloseReason, ClosedReason, DeclineReason, Declined, Lease, Message, Opened};
use crate::protocol::mutation::{Rule, broken};
use crate::protocol::stream::Violation;
use crate::protocol::time::Moment;

use super::super::hit::Hit;
use super::{Action, Slot, State};

impl Slot {
    pub(super) fn on_lease(&mut self, now: Moment, lease: &Lease, out: &mut Vec<Action>) {
        // A lease that overtook REGISTERED comes again with the client's next OPEN.
        let Some(term) = self.broker.as_ref().map(|broker| broker.term) else {
            return;
        };
        let known = match &mut self.state {
            State::Serving(hit) if hit.key == lease.hit => Some(hit),
            _ => None,
        };
        if let Some(hit) = known {
            hit.attempt = hit.attempt.max(lease.attempt);
            if lease.attach == hit.attach {
                hit.heard(now);
                hit.by_broker();
                let taken = hit.resume(now, &lease.packet);
                hit.start_next(now, out);
                if let Err(violation) = taken {
                    return self.end_hit(now, ClosedReason::Violation, violation.to_string(), out);
                }
            }
            let attempt = lease.attempt;
            return self.send_opened(attempt, out);
        }
        if matches!(&self.state, State::Ending(hit, ..) if hit.key == lease.hit) {
            // Its CLOSED answers, once the handler is gone.
            return;
        }
        let reason = match &self.state {
            _ if lease.term < term => Some(DeclineReason::StaleTerm),
            _ if self.ended.contains(&lease.hit) => Some(DeclineReason::Ended),
            _ if self.leasing.is_some() => Some(DeclineReason::Busy),
            State::Serving(_) | State::Ending(..) if !broken(Rule::DoubleLease) => Some(DeclineReason::Busy),
            _ if self.draining => Some(DeclineReason::Draining),
            _ if lease.resume => Some(DeclineReason::Unknown),
            _ => None,
        };
        if let Some(reason) = reason {
            return self.decline(lease, reason, out);
        }
        let (key, ttl) = (lease.hit, self.ttl(lease));
        self.leasing = Some(Box::new(lease.clone()));
        out.push(Action::Journal(Entry::Leased {
            key,
            term: term.max(lease.term),
            ttl,
            attach: lease.attach,
        }));
    }

    /// The lease is journalled; `word` is the host's term, read after that. A broker of a higher term has read the journals
    /// after it stored its own: it has seen the entry, or this slot has seen its term (rule O3).
    pub fn on_journalled(&mut self, now: Moment, word: Term, out: &mut Vec<Action>) {
        let Some(lease) = self.leasing.take() else { return };
        let Some((term, dir)) = self.broker.as_ref().map(|broker| (broker.term, broker.dir)) else {
            return;
        };
        let term = term.max(lease.term);
        if word > term && !broken(Rule::O3) {
            out.push(Action::Journal(Entry::Withdrawn));
            return self.decline(&lease, DeclineReason::StaleTerm, out);
        }
        self.unreleased = None;
        let mut hit = Box::new(Hit::new(now, &lease, self.ttl(&lease), term, dir));
        let taken = hit.on_packet(now, &lease.packet);
        self.state = State::Serving(hit);
        self.looked_at = now;
        out.extend(lease.holder.map(Action::Watch));
        self.send_opened(lease.attempt, out);
        match (taken, &mut self.state) {
            (Err(violation), _) => self.end_hit(now, ClosedReason::Violation, violation.to_string(), out),
            (Ok(()), State::Serving(hit)) => hit.start_next(now, out),
            (Ok(()), _) => {}
        }
        self.flush(now, out);
    }

    fn ttl(&self, lease: &Lease) -> Duration {
        Duration::from_millis(u64::from(lease.ttl_ms)).clamp(self.interval, TTL_MAX)
    }

    fn decline(&self, lease: &Lease, reason: DeclineReason, out: &mut Vec<Action>) {
        let serving = self.serving().map(|(key, _)| key);
        out.push(Action::Send(Message::Declined(Declined {
            hit: lease.hit,
            attempt: lease.attempt,
            reason,
            serving,
        })));
    }

    pub(super) fn send_opened(&mut self, attempt: Attempt, out: &mut Vec<Action>) {
        let host = self.host().to_owned();
        if let State::Serving(hit) = &mut self.state {
            out.push(Action::Send(Message::Opened(Opened {
                hit: hit.key,
                attach: hit.attach,
                attempt,
                client: hit.client,
                term: hit.term,
                dir: hit.dir,
                host,
                slot: self.me.slot,
                first_seq: hit.first_seq,
                ack: hit.requests.ack(),
                ttl_ms: u32::try_from(hit.ttl.as_millis()).unwrap_or(u32::MAX),
                left: hit.left,
                endpoints: self.endpoints.clone(),
            })));
        }
    }

    /// Runs `then` on the Hit if the key is its and the attach number holds, its client not having left (rule O8).
    pub(super) fn with_hit(
        &mut self,
        now: Moment,
        key: HitKey,
        attach: Attach,
        out: &mut Vec<Action>,
        then: impl FnOnce(&mut Hit, &mut Vec<Action>) -> Result<(), Violation>,
    ) {
        let State::Serving(hit) = &mut self.state else { return };
        let stale = hit.attach != attach || hit.detached;
        if hit.key != key || (stale && !broken(Rule::O8)) {
            return;
        }
        hit.heard(now);
        if let Err(violation) = then(hit, out) {
            self.end_hit(now, ClosedReason::Violation, violation.to_string(), out);
        }
    }

    pub(super) fn on_close(&mut self, now: Moment, close: &Close, out: &mut Vec<Action>) {
        let mut reason = None;
        self.with_hit(now, close.hit, close.attach, out, |hit, out| {
            hit.on_ack(now, close.ack, false)?;
            reason = Some(close.reason);
            if close.reason == CloseReason::Detached {
                hit.detach(out);
            }
            Ok(())
        });
        if matches!(reason, Some(CloseReason::Done | CloseReason::Abandoned)) {
            self.end_hit(now, ClosedReason::Done, String::new(), out);
        }
    }

    /// Who holds a Hit says that it is there.
    pub(super) fn on_holder(&mut self, now: Moment, key: HitKey, out: &mut Vec<Action>) {
        if let State::Serving(hit) = &mut self.state
            && hit.key == key
            && hit.is_held()
        {
            hit.holder_heard(now);
            out.push(Action::Send(hit.working_for(now, Attach(0))));
        }
    }

    /// Who holds a Hit lets it go.
    pub(super) fn on_released(&mut self, now: Moment, key: HitKey, out: &mut Vec<Action>) {
        if matches!(&self.state, State::Serving(hit) if hit.key == key && hit.is_held()) {
            self.end_hit(now, ClosedReason::Done, String::new(), out);
        }
    }

    pub(super) fn on_attach(
        &mut self,
        now: Moment,
        (key, attach): (HitKey, Attach),
        (client, timeout_ms): (u64, u32),
        out: &mut Vec<Action>,
    ) {
        let liveness = self.interval * self.liveness;
        let State::Serving(hit) = &mut self.state else { return };
        if hit.key != key {
            return;
        }
        let again = attach == hit.attach && client == hit.client && !hit.detached;
        let occupied = attach <= hit.attach || !hit.is_detached(now, liveness);
        if again {
            hit.heard(now);
            hit.by_broker();
        } else if occupied {
            let current = hit.attach;
            return out.push(Action::Send(Message::Occupied {
                hit: key,
                attach,
                client,
                current,
            }));
        } else {
            hit.take_over(now, attach, client, timeout_ms, out);
        }
        self.send_opened(Attempt(0), out);
    }
}
