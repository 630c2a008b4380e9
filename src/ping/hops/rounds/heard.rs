//! What arrives, and what could not be sent. Part of the pure machine of rounds.

use crate::hit::Outbox;
use crate::protocol::message::Message;
use crate::protocol::route::Route;
use crate::protocol::status::Status;
use crate::protocol::time::Moment;

use super::super::measured::Ask;
use super::super::way::{Count, Direct};
use super::{Rounds, Sent, Step};

impl Rounds {
    /// The message could not be sent.
    pub(in crate::ping::hops) fn on_no_route(
        &mut self,
        now: Moment,
        route: Route,
        message: &Message,
        out: &mut Outbox,
    ) {
        if let Step::Asking { ask, sent, .. } = &mut self.step {
            let is_it = match message {
                Message::Ping { .. } => *ask == Ask::Broker,
                Message::KeepAlive { .. } if route == Route::Direct => *ask == Ask::Direct,
                Message::KeepAlive { .. } => *ask == Ask::Slot,
                // The Hit sends its bytes again.
                _ => false,
            };
            // It is asked again.
            sent.take_if(|_| is_it);
        }
        if route == Route::Direct {
            return self.direct.set_connected(false);
        }
        self.is_cut = true;
        match message {
            Message::KeepAlive { .. } => self.by_broker.unsent(),
            // The slot is to be free, whoever is there to tell it.
            Message::Close(_) if self.direct.is_connected() => out.push((Route::Direct, message.clone())),
            _ => {}
        }
        let from = out.len();
        self.hit.on_no_route(now, route, message, out);
        self.note(out, from);
    }

    /// Takes what has come by this route.
    pub(in crate::ping::hops) fn on_message(&mut self, now: Moment, route: Route, message: Message, out: &mut Outbox) {
        let answered = match &message {
            Message::Pong(pong) => {
                self.pong = Some(pong.clone());
                self.asked(Ask::Broker, pong.nonce)
            }
            Message::Working(working) if working.hit != self.hit.key() => None,
            Message::Working(_) if route == Route::Broker => {
                let number = self.by_broker.heard();
                self.asked(Ask::Slot, number)
            }
            Message::Working(_) => {
                self.direct.heard();
                self.asked(Ask::Direct, 0)
            }
            Message::Opened(opened) if opened.hit == self.hit.key() => {
                if self.opening.is_some_and(|attempt| opened.attempt >= attempt) {
                    (self.opening, self.by_broker) = (None, Count::default());
                }
                if self.direct == Direct::Unknown {
                    self.direct = Direct::of(&opened.endpoints);
                }
                None
            }
            _ => None,
        };
        if let Some((ask, took)) = answered.map(|(ask, at)| (ask, now.since(at))) {
            self.settle(now, ask, Some(took), out);
        }
        if route == Route::Broker {
            let from = out.len();
            self.hit.on_message(now, route, message, out);
            self.note(out, from);
            self.read(now, out);
        }
    }

    /// When the question was sent that this number answers, if it is the one that is asked now.
    fn asked(&self, what: Ask, answer: u64) -> Option<(Ask, Moment)> {
        match self.step {
            Step::Asking {
                ask,
                sent: Some(Sent { at, number }),
                ..
            } if (ask, number) == (what, answer) => Some((ask, at)),
            _ => None,
        }
    }

    /// The handler's reply, of which nothing but the end counts.
    fn read(&mut self, now: Moment, out: &mut Outbox) {
        while let Some(piece) = self.hit.next_reply() {
            self.hit.consumed(piece.bytes.len() as u64, piece.end.is_some());
            let Some(status) = piece.end else { continue };
            if status != Status::Ok {
                self.failed.0 += 1;
                self.failed.1.get_or_insert(status);
            }
            if let Some((ask, at)) = self.asked(Ask::Request, piece.seq) {
                self.settle(now, ask, Some(now.since(at)), out);
            }
        }
    }
}
