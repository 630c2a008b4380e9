//! A worker as an elector of its host's broker: it watches the office, starts a candidate when that is vacant, and votes
//! on a broker that hangs.

use std::os::fd::BorrowedFd;

use crate::net::{NetError, Poll};
use crate::protocol::Term;
use crate::protocol::time::Moment;

use super::ballots::Ballots;
use super::office::OfficeWatch;

/// Both of its parts.
#[derive(Debug)]
pub(super) struct Elector {
    office: OfficeWatch,
    ballots: Ballots,
}

/// What the control thread is to do.
#[derive(Clone, Copy, Debug)]
pub(super) struct Due {
    /// Register: somebody else holds the office than before, and knows nobody yet.
    pub(super) another_broker: bool,
    /// Ask the broker for an answer.
    pub(super) ping: bool,
}

impl Elector {
    pub(super) const fn new(office: OfficeWatch, ballots: Ballots) -> Self {
        Self { office, ballots }
    }

    /// One turn.
    pub(super) fn turn(&mut self) -> Result<Due, NetError> {
        let another_broker = self.office.turn();
        let ping = self.ballots.turn(self.office.holder())?;
        Ok(Due { another_broker, ping })
    }

    /// The broker itself has said something.
    pub(super) fn on_answer(&mut self) {
        self.ballots.on_answer();
    }

    /// A broker has said its term.
    pub(super) fn on_term(&mut self, term: Term) {
        self.office.on_term(term);
    }

    /// Descriptors whose being readable is the end of somebody: [`on_ended`](Self::on_ended).
    pub(super) fn ends(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.office.fds()
    }

    /// One of them is readable.
    pub(super) const fn on_ended(&mut self) {
        self.office.on_ended();
    }

    /// Adds what else is to be waited for.
    pub(super) fn poll<'a>(&'a self, poll: &mut Poll<'a>) {
        self.ballots.poll(poll);
    }

    /// When to come back at the latest.
    pub(super) fn next_deadline(&self) -> Moment {
        self.office.next_deadline().min(self.ballots.next_deadline())
    }
}
