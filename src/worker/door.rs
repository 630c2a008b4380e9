//! A slot's own ROUTER, for clients that come straight to it: bound from the slot's first lease on, and never again.

use std::path::PathBuf;

use tracing::{debug, warn};

use crate::net::{Context, NetError, Received, Router, Sent, endpoint};
use crate::protocol::ids::{Peer, SlotId};
use crate::protocol::message::Message;

enum State {
    /// No Hit was served yet.
    Shut,
    Open(Router),
    /// It could not be bound; the slot serves by its broker alone.
    Broken,
}

/// The socket, or what it will be.
pub(super) struct Door {
    context: Context,
    path: PathBuf,
    state: State,
}

impl Door {
    /// One that is to listen there.
    pub(super) fn new(context: &Context, path: PathBuf) -> Self {
        Self {
            context: context.clone(),
            path,
            state: State::Shut,
        }
    }

    /// Opens it, if it was never tried before; returns what clients are told of it.
    pub(super) fn open(&mut self, slot: SlotId) -> Option<Vec<String>> {
        if !matches!(self.state, State::Shut) {
            return None;
        }
        match self.bind() {
            Ok((router, endpoint)) => {
                self.state = State::Open(router);
                Some(vec![endpoint])
            }
            Err(error) => {
                warn!(%slot, %error, "clients reach this slot by its broker only");
                self.state = State::Broken;
                None
            }
        }
    }

    fn bind(&self) -> Result<(Router, String), NetError> {
        let mut router = Router::new(&self.context)?;
        router.bind(&self.path)?;
        Ok((router, endpoint(&self.path)?))
    }

    /// To wait for, while it is open.
    pub(super) const fn router(&self) -> Option<&Router> {
        match &self.state {
            State::Open(router) => Some(router),
            State::Shut | State::Broken => None,
        }
    }

    /// The next message; `None` when there is none. Whoever can reach the socket may send what he likes: what is no
    /// message is dropped, without a word that could fill a log.
    pub(super) fn recv(&mut self, slot: SlotId) -> Result<Option<(Peer, Message)>, NetError> {
        let State::Open(router) = &mut self.state else {
            return Ok(None);
        };
        while let Some((peer, received)) = router.recv()? {
            let (Some(peer), Received::Frames(frames)) = (peer, received) else {
                debug!(%slot, "dropped what came straight and is no message");
                continue;
            };
            match Message::decode(&frames.header, frames.body) {
                Ok(message) => return Ok(Some((peer, message))),
                Err(error) => debug!(%slot, %error, "dropped what came straight and is no message"),
            }
        }
        Ok(None)
    }

    /// Sends a message; false if its connection has gone.
    pub(super) fn send(&mut self, to: Peer, message: &Message) -> Result<bool, NetError> {
        match &mut self.state {
            State::Open(router) => Ok(router.send(to, message.encode())? == Sent::Done),
            State::Shut | State::Broken => Ok(false),
        }
    }
}
