//! A slot's own ROUTER, for clients that come straight to it: bound from the slot's first lease on, and never again.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tracing::{debug, warn};

use crate::net::{Context, NetError, Received, Router, Sent, endpoint, endpoint_at};
use crate::options::{DirectPorts, SLOTS_MAX};
use crate::protocol::ids::{Peer, SlotId};
use crate::protocol::limits::DIRECT_PORTS_TRIED_MAX;
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
    /// For clients of other hosts.
    ports: Option<DirectPorts>,
    /// After so much silence the connection of one of them counts as broken.
    quiet: Duration,
    state: State,
}

impl Door {
    /// One that is to listen there.
    pub(super) fn new(context: &Context, path: PathBuf, ports: Option<DirectPorts>, quiet: Duration) -> Self {
        Self {
            context: context.clone(),
            path,
            ports,
            quiet,
            state: State::Shut,
        }
    }

    /// Opens it, if it was never tried before; returns what clients are told of it.
    pub(super) fn open(&mut self, slot: SlotId) -> Option<Vec<String>> {
        if !matches!(self.state, State::Shut) {
            return None;
        }
        match self.bind() {
            Ok((mut router, endpoint)) => {
                let mut endpoints = vec![endpoint];
                endpoints.extend(self.bind_port(slot, &mut router).map(endpoint_at));
                self.state = State::Open(router);
                Some(endpoints)
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

    /// Listens at a port of the host's range, if it has one. All slots of the host choose from the same: each begins at
    /// another.
    fn bind_port(&self, slot: SlotId, router: &mut Router) -> Option<SocketAddr> {
        let DirectPorts { ip, ports } = self.ports.as_ref()?;
        let count = usize::from(ports.end() - ports.start()) + 1;
        let first = (slot.worker.0 as usize)
            .wrapping_mul(SLOTS_MAX as usize)
            .wrapping_add(slot.number as usize - 1)
            % count;
        let in_turn = ports
            .clone()
            .cycle()
            .skip(first)
            .take(count.min(DIRECT_PORTS_TRIED_MAX));
        for port in in_turn {
            let address = SocketAddr::new(*ip, port);
            match router.bind_to(address, self.quiet) {
                Ok(()) => return Some(address),
                Err(error) => debug!(%slot, %error, "not there"),
            }
        }
        let (from, to) = (ports.start(), ports.end());
        warn!(%slot, "clients of other hosts reach this slot by its broker only: of the ports {from}-{to} none was to be had");
        None
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
