//! What stands around a Hit's machine ([`hit`](crate::hit)): its key, and its connections: to a broker, and, once the Hit
//! wants that, to the slot itself.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::net::{
    Context, Dealer, Interest, Key, NetError, Poll, Ready, Received, Sent, endpoint_address, endpoint_path,
};
use crate::protocol::route::Route;
use crate::protocol::{HitKey, Message};
use crate::runtime::{Place, RuntimeDir, RuntimeError};

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

/// What a client's connections are made of.
#[derive(Debug)]
pub struct Ends {
    context: Context,
    /// Not yet connected.
    dealer: Dealer,
}

impl Ends {
    /// A socket of this context.
    ///
    /// # Errors
    /// [`NetError`] when there are no descriptors left.
    pub fn new(context: &Context) -> Result<Self, NetError> {
        let dealer = Dealer::new(context)?;
        let context = context.clone();
        Ok(Self { context, dealer })
    }
}

/// What is there of the client's own host.
#[derive(Debug)]
pub struct Found {
    /// Where its broker listens, if it has one.
    socket: PathBuf,
    /// Where to look again for its directory, which was not there.
    missing: Option<Place>,
}

impl Found {
    /// Looks for the host's directory. A client makes none.
    ///
    /// # Errors
    /// [`RuntimeError`]: why it cannot be trusted or used.
    pub fn look(place: Place) -> Result<Self, RuntimeError> {
        let socket = place.broker_socket();
        let is_there = RuntimeDir::open_existing(&place)?.is_some();
        let missing = Some(place).filter(|_| !is_there);
        Ok(Self { socket, missing })
    }

    /// The directory is there, and open.
    pub fn of(dir: &RuntimeDir) -> Self {
        let socket = dir.broker_socket();
        Self { socket, missing: None }
    }

    /// Looks again for what was not there.
    fn is_there(&mut self) -> Result<bool, RuntimeError> {
        if let Some(place) = &self.missing
            && RuntimeDir::open_existing(place)?.is_some()
        {
            self.missing = None;
        }
        Ok(self.missing.is_none())
    }
}

/// A socket, and whether nobody was at its other end when it was last looked at.
struct Wire {
    dealer: Dealer,
    no_route: bool,
}

impl Wire {
    const fn new(dealer: Dealer) -> Self {
        Self { dealer, no_route: true }
    }
}

/// Both of them.
pub struct Wires {
    context: Context,
    home: Found,
    /// Where the brokers of other hosts listen.
    others: BTreeMap<String, SocketAddr>,
    /// After so much silence a connection to another host counts as broken.
    quiet: Duration,
    /// The host that the broker's socket is for; `None`: the client's own.
    at: Option<String>,
    is_connected: bool,
    broker: Wire,
    direct: Option<Wire>,
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

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// The host's directory.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// The network.
    #[error(transparent)]
    Net(#[from] NetError),
}

impl Wires {
    /// Connects to the broker of this host, if that has a directory, and to no slot. `others`: where brokers of other hosts
    /// listen; `quiet`: after so much silence a connection to one of them counts as broken.
    ///
    /// # Errors
    /// [`NetError`] when the path is too long.
    pub fn new(
        ends: Ends,
        home: Found,
        others: BTreeMap<String, SocketAddr>,
        quiet: Duration,
    ) -> Result<Self, NetError> {
        let Ends { context, mut dealer } = ends;
        let is_connected = home.missing.is_none();
        if is_connected {
            dealer.connect(&home.socket)?;
        }
        Ok(Self {
            context,
            is_connected,
            home,
            others,
            quiet,
            at: None,
            broker: Wire::new(dealer),
            direct: None,
        })
    }

    /// Where this host's broker listens, if it has one.
    pub fn home_socket(&self) -> &Path {
        &self.home.socket
    }

    /// Turns to the broker of that host; `None`: of the client's own. What the one before has said is lost.
    pub fn follow(&mut self, host: Option<&str>) -> Result<(), WireError> {
        if self.at.as_deref() != host {
            self.at = host.map(str::to_owned);
            self.broker = Wire::new(Dealer::new(&self.context)?);
            self.direct = None;
            self.is_connected = false;
        }
        if self.is_connected {
            return Ok(());
        }
        match &self.at {
            None if !self.home.is_there()? => return Ok(()),
            None => self.broker.dealer.connect(&self.home.socket)?,
            Some(host) => {
                let Some(address) = self.others.get(host) else {
                    return Ok(());
                };
                self.broker.dealer.connect_to(*address, self.quiet)?;
            }
        }
        self.is_connected = true;
        Ok(())
    }

    /// Makes a connection to the slot's own socket, if there is none yet.
    pub fn reach(&mut self, endpoint: &str) -> Result<Reached, NetError> {
        if self.direct.is_none() {
            let Some(dealer) = self.dial(endpoint)? else {
                return Ok(Reached::Never);
            };
            self.direct = Some(Wire::new(dealer));
        }
        let Some(wire) = &mut self.direct else {
            return Ok(Reached::NotYet);
        };
        wire.no_route &= !wire.dealer.has_route();
        Ok(if wire.no_route { Reached::NotYet } else { Reached::Yes })
    }

    /// Nothing is connected to but where that host's slots can be: the key of the Hit is sent there, which is all that one
    /// needs to take it over.
    fn dial(&self, endpoint: &str) -> Result<Option<Dealer>, NetError> {
        let mut dealer = Dealer::new(&self.context)?;
        match &self.at {
            None => {
                let members = self.home.socket.with_file_name("members");
                let Some(path) = endpoint_path(endpoint).filter(|path| path.parent() == Some(&members)) else {
                    return Ok(None);
                };
                dealer.connect(path)?;
            }
            Some(host) => {
                let address = endpoint_address(endpoint);
                let known = self.others.get(host).map(SocketAddr::ip);
                let Some(address) = address.filter(|address| Some(address.ip()) == known) else {
                    return Ok(None);
                };
                dealer.connect_to(address, self.quiet)?;
            }
        }
        Ok(Some(dealer))
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
