//! Who is asked when: a window over the roster, and again whoever has said nothing.

use std::collections::BTreeMap;

use super::{Action, CHECK_EVERY, Gather, Phase};
use crate::broadcast::seat::{Seat, Verdict};
use crate::protocol::Message;
use crate::protocol::ids::{Member, ReturnPath};
use crate::protocol::limits::CHECKED_AT_ONCE_MAX;
use crate::protocol::pool::{Ask, Blob, Check};
use crate::protocol::time::Moment;

impl Gather {
    /// Asks those whose turn it is. One whose turn does not come any more is skipped.
    pub(super) fn ask_next(&mut self, now: Moment, out: &mut Vec<Action>) {
        if self.phase != Phase::Asking {
            return;
        }
        let bad = self.books.settled() - self.books.ok - self.books.skipped;
        if self.config.stop_after.is_some_and(|most| bad >= most as usize) && !self.stopped {
            self.stopped = true;
            let rest: Vec<_> = self.seats.iter().skip(self.next).map(Seat::who).collect();
            (self.next, self.ahead) = (self.seats.len(), 0);
            for who in rest {
                self.settle(now, who, Verdict::Skipped, out);
            }
        }
        let window = self
            .config
            .batch
            .map_or(usize::MAX, |batch| batch.of(self.books.expected));
        let mut under_way = self.next - (self.books.settled() - self.ahead);
        let mut who = Vec::new();
        while under_way < window
            && let Some(seat) = self.seats.get_mut(self.next)
        {
            self.next += 1;
            if seat.verdict.is_some() {
                // One whose host was lost before its turn came.
                self.ahead -= 1;
                continue;
            }
            (seat.asked_at, seat.sent_at) = (Some(now), now);
            who.push(seat.who());
            under_way += 1;
        }
        self.ask(&who, out);
    }

    /// Asks them, each by way of the broker of its host.
    pub(super) fn ask(&self, who: &[(usize, Member)], out: &mut Vec<Action>) {
        let timeout = self.config.timeout.unwrap_or_default();
        for (host, members) in by_host(who) {
            let ask = Ask {
                id: self.config.id,
                timeout_ms: u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX),
                reply_max: self.config.reply_max,
                path: ReturnPath::default(),
                members,
                body: Blob(self.config.body.clone()),
            };
            out.push(Action::Send(host, Message::Ask(ask)));
        }
    }

    /// The connection to a broker is new: whatever was under way is said again.
    pub fn on_route(&mut self, now: Moment, out: &mut Vec<Action>) {
        self.roll_at = now;
        let unheard = self
            .seats
            .iter_mut()
            .filter(|seat| seat.verdict.is_none() && seat.asked_at.is_some());
        let who = unheard.map(|seat| {
            seat.sent_at = now;
            // Of its handler it tells itself, whoever passes it on; that it takes no notice counts anew.
            seat.is_asked_anew();
            seat.who()
        });
        let who: Vec<_> = who.collect();
        self.ask(&who, out);
        self.on_tick(now, out);
    }

    /// Asks again who has sent no receipt, and after all who have not answered.
    pub(super) fn check(&mut self, now: Moment, out: &mut Vec<Action>) {
        self.check_at = now + CHECK_EVERY;
        let interval = self.config.interval;
        let (mut all, mut again) = (Vec::new(), Vec::new());
        // From whom it has not come to at the last check, once around.
        let (before, from) = self.seats.split_at_mut(self.check_from.min(self.next));
        let asked = self.next - before.len();
        let places = before.len()..;
        let turn = places.zip(from.iter_mut().take(asked)).chain((0..).zip(before));
        for (place, seat) in turn {
            if seat.verdict.is_some() || seat.asked_at.is_none() {
                continue;
            }
            if all.len() == CHECKED_AT_ONCE_MAX {
                self.check_from = place;
                break;
            }
            all.push(seat.who());
            // One that is silent has lost the message, or the answer to it was lost: it is kept, and sent again.
            if !seat.is_fresh(now, interval) && now.since(seat.sent_at) >= interval {
                seat.sent_at = now;
                again.push(seat.who());
            }
        }
        self.ask(&again, out);
        let id = self.config.id;
        let asked = by_host(&all).into_iter();
        out.extend(asked.map(|(host, members)| Action::Send(host, Message::Check(Check { id, members }))));
    }
}

/// Members by their hosts.
fn by_host(who: &[(usize, Member)]) -> BTreeMap<usize, Vec<Member>> {
    let mut all: BTreeMap<usize, Vec<Member>> = BTreeMap::new();
    for (host, member) in who {
        all.entry(*host).or_default().push(*member);
    }
    all
}
