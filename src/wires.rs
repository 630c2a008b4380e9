//! What stands around a Hit's machine ([`hit`](crate::hit)): its key, and its connections: to the broker, and, once the
//! Hit wants that, to the slot itself.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::net::{Context, Dealer, Interest, Key, NetError, Poll, Ready, Received, Sent, endpoint_path};
use crate::protocol::route::Route;
use crate::protocol::{HitKey, Message};

/// A broker that is there is reached and answers within this, so who may not wait still asks as long.
pub const ASK_MIN: Duration = Duration::from_millis(250);

/// A key that nobody else chooses.
///
/// # Errors
/// The kernel gives no random bytes.
pub fn random_key() -> Result<HitKey, getrandom::Error> {
    let mut key = [0; 16];
    getrandom::fill(&mut key)?;
    Ok(HitKey::from_bytes(key))
}

/// A socket, and whether nobody was at its other end when it was last looked at.
struct Wire {
    dealer: Dealer,
    no_route: bool,
}

/// Both of them.
pub struct Wires {
    context: Context,
    broker: Wire,
    direct: Option<Wire>,
    /// Where slots' own sockets are: no others are connected to, since the key of the Hit is sent there, which is all
    /// that one needs to take it over.
    members: PathBuf,
}

/// What became of a connection to the slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reached {
    /// It is there.
    Yes,
    /// It is tried.
    NotYet,
    /// It cannot be.
    Never,
}

/// Items of one wait.
#[derive(Clone, Copy)]
pub struct Keys {
    broker: Key,
}

impl Wires {
    /// A connection to the broker's socket, and none to a slot.
    pub fn new(context: &Context, socket: &Path) -> Result<Self, NetError> {
        let mut dealer = Dealer::new(context)?;
        dealer.connect(socket)?;
        Ok(Self {
            context: context.clone(),
            broker: Wire { dealer, no_route: true },
            direct: None,
            members: socket.with_file_name("members"),
        })
    }

    /// Makes a connection to the slot's own socket, if there is none yet.
    pub fn reach(&mut self, endpoint: &str) -> Result<Reached, NetError> {
        if self.direct.is_none() {
            let path = endpoint_path(endpoint).filter(|path| path.parent() == Some(&self.members));
            let Some(path) = path else { return Ok(Reached::Never) };
            let mut dealer = Dealer::new(&self.context)?;
            dealer.connect(path)?;
            self.direct = Some(Wire { dealer, no_route: true });
        }
        let Some(wire) = &mut self.direct else {
            return Ok(Reached::NotYet);
        };
        wire.no_route &= !wire.dealer.has_route();
        Ok(if wire.no_route { Reached::NotYet } else { Reached::Yes })
    }

    /// Leaves the connection to the slot, if there is one, and with it whatever may still come there.
    pub fn leave_direct(&mut self) {
        self.direct = None;
    }

    /// Whether the connection to the slot has ended since it was there.
    pub fn has_lost_direct(&mut self) -> bool {
        let Some(wire) = &mut self.direct else { return false };
        let lost = !wire.no_route && !wire.dealer.has_route();
        wire.no_route |= lost;
        lost
    }

    /// Sends a message; false if nobody is at the other end.
    pub fn send(&mut self, route: Route, message: &Message) -> Result<bool, NetError> {
        let wire = match route {
            Route::Broker => Some(&mut self.broker),
            Route::Direct => self.direct.as_mut(),
        };
        let Some(wire) = wire else { return Ok(false) };
        let sent = wire.dealer.send(message.encode())? == Sent::Done;
        wire.no_route |= !sent;
        Ok(sent)
    }

    /// The next message of this route; `None` when there is none. What is no message is no business of the Hit: its
    /// stream will notice what is missing.
    pub fn recv(&mut self, route: Route) -> Result<Option<Message>, NetError> {
        let wire = match route {
            Route::Broker => Some(&mut self.broker),
            Route::Direct => self.direct.as_mut(),
        };
        let Some(wire) = wire else { return Ok(None) };
        while let Some(received) = wire.dealer.recv()? {
            if let Received::Frames(frames) = received
                && let Ok(message) = Message::decode(&frames.header, frames.body)
            {
                return Ok(Some(message));
            }
        }
        Ok(None)
    }

    /// Has a wait end when there is something to read, or somebody to send to again; at the slot only if that is `wanted`,
    /// for a connection that comes back unwanted would end every wait.
    pub fn wait_for<'a>(&'a self, poll: &mut Poll<'a>, wanted: bool) -> Keys {
        let watch = |wire: &Wire, wanted| Interest::READ | Interest::WRITE.when(wire.no_route && wanted);
        let broker = poll.socket(&self.broker.dealer, watch(&self.broker, true));
        if let Some(wire) = &self.direct {
            poll.socket(&wire.dealer, watch(wire, wanted));
        }
        Keys { broker }
    }

    /// Whether that wait has found a broker where there was none.
    pub fn has_found_broker(&mut self, ready: &Ready, keys: Keys) -> bool {
        let found = self.broker.no_route && ready.writable(keys.broker);
        self.broker.no_route &= !found;
        found
    }
}
