//! The broker's sockets for other hosts: a ROUTER that they call, and a DEALER to call each of them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use tracing::{info, warn};

use super::mesh::stretch;
use crate::net::{Context, Dealer, Interest, Key, NetError, Poll, Ready, Received, Router, Sent};
use crate::options::Hosts;
use crate::protocol::frame::Frames;
use crate::protocol::ids::Peer;
use crate::protocol::limits::{HOST_MESSAGES_PER_TURN_MAX, MESSAGES_PER_TURN_MAX};
use crate::protocol::time::Moment;

/// How soon an address is tried again that could not be had: a predecessor's listener closes within milliseconds.
const BIND_AGAIN_AFTER: Duration = Duration::from_millis(200);

/// News of many others wait for so many pauses at the most: an interval.
const LOOK_PAUSES_MAX: u32 = 4;

/// That it cannot be had is said after so many tries, and once.
const TRIES_IN_SILENCE: u32 = 5;

/// Where messages of other hosts come from.
pub(super) enum From {
    /// A caller.
    Public(Peer),
    /// The host that was called.
    Called(String),
}

/// The way to one host.
struct Wire {
    address: SocketAddr,
    dealer: Dealer,
    /// Until then an answer is awaited.
    asked_until: Moment,
}

/// Keys of the sockets in one wait; a host from which no answer is awaited has none.
pub(super) struct Keys {
    public: Option<Key>,
    dealers: Vec<Option<Key>>,
}

/// All of them.
pub(super) struct Wires {
    context: Context,
    quiet: Duration,
    /// The same of those that call.
    public_quiet: Duration,
    /// Where this host is to be reached.
    address: Option<SocketAddr>,
    public: Option<Router>,
    listens: bool,
    tries: u32,
    /// Why the last try failed.
    trouble: Option<String>,
    bind_at: Moment,
    dealers: BTreeMap<String, Wire>,
    /// When to look next at those from which no answer is awaited: news may wait, and a wait for a socket costs.
    look_at: Moment,
    /// Those with something to read, as the last wait found them.
    public_ready: bool,
    ready: Vec<String>,
    heard_last: String,
}

impl Wires {
    /// None yet. `quiet`: after so much silence a connection counts as broken; the more there are, the longer.
    pub(super) fn new(context: &Context, quiet: Duration) -> Self {
        Self {
            context: context.clone(),
            quiet,
            public_quiet: quiet,
            address: None,
            public: None,
            listens: false,
            tries: 0,
            trouble: None,
            bind_at: Moment::ZERO,
            dealers: BTreeMap::new(),
            look_at: Moment::ZERO,
            public_ready: false,
            ready: Vec::new(),
            heard_last: String::new(),
        }
    }

    /// These are the hosts, and `me` is this one. Connections to those that stay where they were are kept.
    pub(super) fn set(&mut self, me: &str, hosts: &Hosts) -> Result<(), NetError> {
        let address = hosts.addresses.get(me).copied();
        if address != self.address {
            // The old one, if there is one, stops to listen; who was connected calls again.
            self.public_quiet = self.quiet * stretch(hosts.addresses.len().saturating_sub(1));
            self.public = address.map(|_| Router::new(&self.context)).transpose()?;
            (self.address, self.listens, self.tries) = (address, false, 0);
            self.trouble = None;
            self.bind_at = Moment::ZERO;
        }
        let quiet = self.quiet * stretch(hosts.addresses.len().saturating_sub(1));
        let stays = |host: &String, place: &SocketAddr| host != me && hosts.addresses.get(host) == Some(place);
        self.dealers.retain(|host, wire| stays(host, &wire.address));
        for (host, place) in &hosts.addresses {
            if host == me || self.dealers.contains_key(host) {
                continue;
            }
            let mut dealer = Dealer::new(&self.context)?;
            dealer.connect_to(*place, quiet)?;
            let wire = Wire {
                address: *place,
                dealer,
                asked_until: Moment::ZERO,
            };
            self.dealers.insert(host.clone(), wire);
        }
        Ok(())
    }

    /// Listens, if that is due. Where it cannot be, this host's own service goes on.
    pub(super) fn listen(&mut self, now: Moment) {
        let (Some(address), Some(router)) = (self.address, &mut self.public) else {
            return;
        };
        if self.listens || now < self.bind_at {
            return;
        }
        match router.bind_to(address, self.public_quiet) {
            Ok(()) => {
                info!("other hosts reach this one at {address}");
                self.listens = true;
            }
            Err(error) => {
                self.tries += 1;
                self.bind_at = now + BIND_AGAIN_AFTER;
                if self.tries == TRIES_IN_SILENCE {
                    warn!("{error}; other hosts do not reach this one, whose own service goes on; it is tried again");
                }
                self.trouble = Some(format!(
                    "local only, other hosts do not reach it: {error}; it is tried again"
                ));
            }
        }
    }

    /// Sends a message to the broker of another host, whose answer is awaited until then.
    pub(super) fn call(&mut self, host: &str, frames: Frames, until: Moment) -> Result<(), NetError> {
        if let Some(wire) = self.dealers.get_mut(host) {
            wire.asked_until = wire.asked_until.max(until);
            // One that is not reached now is greeted again, and asked again by whoever asks.
            let (Sent::Done | Sent::NoRoute) = wire.dealer.send(frames)?;
        }
        Ok(())
    }

    /// Sends a message to a caller.
    pub(super) fn answer(&mut self, to: Peer, frames: Frames) -> Result<(), NetError> {
        if let Some(router) = &mut self.public {
            // One that has gone asks again.
            let (Sent::Done | Sent::NoRoute) = router.send(to, frames)?;
        }
        Ok(())
    }

    /// What has come from other hosts since the last wait; the rest of it comes after the next.
    pub(super) fn receive(&mut self) -> Result<Vec<(From, Frames)>, NetError> {
        let mut all = Vec::new();
        if let Some(router) = self.public.as_mut().filter(|_| self.public_ready) {
            for _ in 0..MESSAGES_PER_TURN_MAX {
                match router.recv()? {
                    Some((Some(peer), Received::Frames(frames))) => all.push((From::Public(peer.public()), frames)),
                    Some(_) => {}
                    None => break,
                }
            }
        }
        let mut ready = std::mem::take(&mut self.ready);
        // It begins behind the one that it has heard last: under load nobody is heard less than others.
        let first = ready.partition_point(|host| *host <= self.heard_last);
        ready.rotate_left(first);
        for host in ready {
            if all.len() >= MESSAGES_PER_TURN_MAX * 2 {
                break;
            }
            let Some(wire) = self.dealers.get_mut(&host) else {
                continue;
            };
            for _ in 0..HOST_MESSAGES_PER_TURN_MAX {
                match wire.dealer.recv()? {
                    Some(Received::Frames(frames)) => all.push((From::Called(host.clone()), frames)),
                    Some(_) => {}
                    None => break,
                }
            }
            self.heard_last = host;
        }
        Ok(all)
    }

    /// Adds them to what is waited for.
    pub(super) fn poll<'a>(&'a self, now: Moment, poll: &mut Poll<'a>) -> Keys {
        let public = self.public.as_ref().map(|router| poll.socket(router, Interest::READ));
        let dealers = self.dealers.values().map(|wire| {
            let awaited = now < wire.asked_until;
            awaited.then(|| poll.socket(&wire.dealer, Interest::READ))
        });
        let dealers = dealers.collect();
        Keys { public, dealers }
    }

    /// The wait is over. `pause`: how long news of a few others may wait.
    pub(super) fn waited(&mut self, now: Moment, ready: &Ready, keys: &Keys, pause: Duration) {
        self.public_ready = keys.public.is_some_and(|key| ready.readable(key));
        let all = now >= self.look_at;
        if all {
            // Each look costs a system call for each of them.
            self.look_at = now + pause * stretch(self.dealers.len()).min(LOOK_PAUSES_MAX);
        }
        let readable = self.dealers.keys().zip(&keys.dealers);
        let readable = readable.filter(|(_, key)| key.map_or(all, |key| ready.readable(key)));
        self.ready = readable.map(|(host, _)| host.clone()).collect();
    }

    /// Why other hosts do not reach this one; `None`: they do, or are not to.
    pub(super) fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref().filter(|_| !self.listens)
    }

    /// When to try to listen again; `None`: it does, or is not to.
    pub(super) fn next_deadline(&self) -> Option<Moment> {
        let waits = self.public.is_some() && !self.listens;
        waits.then_some(self.bind_at)
    }
}
