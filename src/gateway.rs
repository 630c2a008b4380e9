//! The way to the brokers of a cluster: through this host's own, or, where that one does not answer, through another
//! host's. One connection at a time.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::net::{Context, Dealer, NetError, Received, Sent};
use crate::protocol::Message;
use crate::protocol::ids::ReturnPath;
use crate::protocol::mesh::{Relay, Within};
use crate::runtime::RuntimeDir;

/// What was said: by which host's broker, and what, or why that one is not reached.
pub type Heard = (String, Result<Message, String>);

/// The connection.
pub struct Gateway {
    context: Context,
    here: String,
    socket: PathBuf,
    /// After so much silence a connection to another host counts as broken.
    quiet: Duration,
    /// In the order in which they are tried.
    others: Vec<(String, SocketAddr)>,
    /// Which of them it goes through; `None`: this host's own.
    through: Option<usize>,
    dealer: Dealer,
}

/// Hosts in the order of their names, from this one's on, so that not all turn to the same.
pub fn in_turn<'a, T>(here: &str, others: &'a BTreeMap<String, T>) -> impl Iterator<Item = (&'a String, &'a T)> {
    let later = others.iter().filter(move |(host, _)| host.as_str() > here);
    let earlier = others.iter().filter(move |(host, _)| host.as_str() < here);
    later.chain(earlier)
}

impl Gateway {
    /// Goes through the broker of this host, which is `here`. `others`: where those of others listen. They are tried
    /// [`in_turn`].
    ///
    /// # Errors
    /// [`NetError`] when there are no descriptors left, or the directory's path is too long.
    pub fn new(
        context: &Context,
        dir: &RuntimeDir,
        here: &str,
        others: &BTreeMap<String, SocketAddr>,
        quiet: Duration,
    ) -> Result<Self, NetError> {
        let socket = dir.broker_socket();
        let mut dealer = Dealer::new(context)?;
        dealer.connect(&socket)?;
        Ok(Self {
            context: context.clone(),
            here: here.to_owned(),
            socket,
            quiet,
            others: in_turn(here, others).map(|(host, at)| (host.clone(), *at)).collect(),
            through: None,
            dealer,
        })
    }

    /// The host that it goes through, if that is not this one.
    pub fn through(&self) -> Option<&str> {
        let (host, _) = self.others.get(self.through?)?;
        Some(host)
    }

    /// The socket, to be waited for.
    pub const fn dealer(&self) -> &Dealer {
        &self.dealer
    }

    /// Goes through the next host instead; after the last of them, through this one. `false`: there is no other.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn go_on(&mut self) -> Result<bool, NetError> {
        if self.others.is_empty() {
            return Ok(false);
        }
        let next = self.through.map_or(0, |at| at + 1);
        self.go(Some(next).filter(|next| *next < self.others.len()))?;
        Ok(true)
    }

    /// Goes through this host again.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn go_home(&mut self) -> Result<(), NetError> {
        if self.through.is_some() { self.go(None) } else { Ok(()) }
    }

    fn go(&mut self, through: Option<usize>) -> Result<(), NetError> {
        let mut dealer = Dealer::new(&self.context)?;
        match through.and_then(|at| self.others.get(at)) {
            Some((_, address)) => dealer.connect_to(*address, self.quiet)?,
            None => dealer.connect(&self.socket)?,
        }
        self.dealer = dealer;
        self.through = through;
        Ok(())
    }

    /// Sends a message to the broker of `host`, without waiting.
    ///
    /// # Errors
    /// [`NetError::Zmq`]; a peer that is not there is no error.
    pub fn send(&mut self, host: &str, message: &Message) -> Result<Sent, NetError> {
        if self.through.is_none() && host == self.here {
            return self.dealer.send(message.encode());
        }
        let relay = Relay {
            host: host.to_owned(),
            path: ReturnPath::default(),
            within: Within::new(message.encode()),
        };
        self.dealer.send(Message::Relay(relay).encode())
    }

    /// What was said next; what is no message is passed over. `None`: nothing more is there now.
    ///
    /// # Errors
    /// [`NetError::Zmq`].
    pub fn hear(&mut self) -> Result<Option<Heard>, NetError> {
        while let Some(received) = self.dealer.recv()? {
            let Received::Frames(frames) = received else { continue };
            let Ok(message) = Message::decode(&frames.header, frames.body) else {
                continue;
            };
            let Message::Relayed(relayed) = message else {
                let host = self.through().unwrap_or(&self.here).to_owned();
                return Ok(Some((host, Ok(message))));
            };
            let within = relayed.within.0;
            match within.map(|frames| Message::decode(&frames.header, frames.body)) {
                Some(Ok(message)) => return Ok(Some((relayed.host, Ok(message)))),
                Some(Err(_)) => {}
                None => return Ok(Some((relayed.host, Err(relayed.note.0)))),
            }
        }
        Ok(None)
    }
}
