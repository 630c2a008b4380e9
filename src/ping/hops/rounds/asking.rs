//! What is asked, and what follows when it is answered or not. Part of the pure machine of rounds.

use std::time::Duration;

use crate::hit::Outbox;
use crate::protocol::message::Message;
use crate::protocol::route::Route;
use crate::protocol::time::Moment;
use crate::term::human::span;

use super::super::measured::Ask;
use super::{End, LOST_IN_A_ROW_MAX, Rounds, Step};

impl Rounds {
    /// A question has its answer, or will have none.
    pub(super) fn settle(&mut self, now: Moment, ask: Ask, took: Option<Duration>, out: &mut Outbox) {
        if took.is_none() {
            let patience = span(self.plan.patience);
            if ask == Ask::Direct && self.direct.give_up(&patience) {
                return self.resume(now, Ask::Broker);
            }
            let (round, hop) = (self.round, ask.hop());
            self.remarks
                .push(format!("{hop}: no answer within {patience} (round {round})"));
        }
        match ask {
            Ask::Direct => self.resume(now, Ask::Broker),
            _ => self.go_on_from(now, ask),
        }
        if self.measured.on(ask, took) >= LOST_IN_A_ROW_MAX {
            self.finish(End::Silent(ask), out);
        }
    }

    pub(super) fn go_on_from(&mut self, now: Moment, ask: Ask) {
        self.step = match ask.next() {
            Some(ask) => Step::asking(now, ask),
            None => self.rest(now),
        };
    }

    /// Sends the question, if that can be done now; gives the number that its answer will have.
    pub(super) fn ask(&mut self, now: Moment, ask: Ask, out: &mut Outbox) -> Option<u64> {
        match ask {
            Ask::Broker if !self.is_cut => {
                self.nonce += 1;
                out.push((Route::Broker, Message::Ping { nonce: self.nonce }));
                Some(self.nonce)
            }
            Ask::Slot if self.is_settled() => {
                self.hit.say_alive(now, Route::Broker, out);
                Some(self.by_broker.sent())
            }
            Ask::Request if self.is_settled() && self.hit.room().is_some() => {
                self.unwritten.clone_from(&self.plan.request);
                Some(self.hit.seq())
            }
            Ask::Direct if self.direct.is_connected() => {
                self.hit.say_alive(now, Route::Direct, out);
                Some(0)
            }
            _ => None,
        }
    }

    /// Whether this round goes without that question.
    pub(super) fn is_skipped(&self, ask: Ask) -> bool {
        match ask {
            Ask::Broker | Ask::Slot => false,
            Ask::Request => self.plan.request.is_none() || !self.measured.has_slot() || self.hit.is_outstanding(),
            Ask::Direct => !self.direct.is_named(),
        }
    }
}
