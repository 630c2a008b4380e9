//! The layout of a cluster: which hosts there are, what their pools run, how patient they are. YAML in, checked types out,
//! and for whatever is wrong a line, a column and what to do about it.
//!
//! All checks are made while the text is read, so that each knows where it is.

mod error;
mod find;
mod hosts;
mod pools;
mod read;
mod scalars;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

pub use error::LayoutError;
pub use find::{Choice, Found, find, read_file};
pub use read::parse;

use crate::options::{Handler, Timing};

/// Most bytes of a layout's file.
pub const LAYOUT_BYTES_MAX: u64 = 1024 * 1024;

/// Most hosts of a cluster: a broker has a socket for each other one, and libzmq's context room for 4,096.
pub const HOSTS_MAX: usize = 4000;
/// Most pools of a cluster.
pub const POOLS_MAX: usize = 1000;

/// One document of a layout's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Name of the cluster.
    pub cluster: String,
    /// Its hosts, by name. None: this host alone, whatever its name.
    pub hosts: BTreeMap<String, Host>,
    /// Its pools, by name.
    pub pools: BTreeMap<String, Pool>,
    /// Heartbeats.
    pub timing: TimingDefaults,
    /// What a client does unless its flags say otherwise.
    pub client: ClientDefaults,
    /// Addresses other than loopback are allowed though nothing encrypts what goes there.
    pub insecure: bool,
}

impl Layout {
    /// One that says nothing but the cluster's name.
    pub fn none(cluster: &str) -> Self {
        Self {
            cluster: cluster.to_owned(),
            hosts: BTreeMap::new(),
            pools: BTreeMap::new(),
            timing: TimingDefaults::default(),
            client: ClientDefaults::default(),
            insecure: false,
        }
    }
}

/// One host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Host {
    /// Where its master listens for others; `None`: this host is reached by its own processes only.
    pub address: Option<SocketAddr>,
    /// Ports for the direct routes of its slots.
    pub direct_ports: Option<RangeInclusive<u16>>,
    /// What it has, for those who choose among hosts.
    pub tags: Vec<String>,
}

/// What the workers of a pool run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    /// The handler, framed if it is a co-process.
    pub handler: Handler,
    /// Slots of a worker.
    pub slots: Option<u32>,
    /// From SIGTERM to SIGKILL.
    pub grace: Option<Duration>,
    /// What its workers have, for those who choose among them.
    pub tags: Vec<String>,
    /// What its requests may take.
    pub limits: Limits,
}

/// What the requests of a pool may take, as far as the layout says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Deadline of each.
    pub timeout: Option<Duration>,
    /// Bytes of a request to a co-process (rule S4); stands in its [`Handler`], too.
    pub frame_max: Option<usize>,
}

/// Heartbeats, as far as the layout says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimingDefaults {
    /// Their period.
    pub interval: Option<Duration>,
    /// How many may be missed.
    pub liveness: Option<u32>,
    /// Silence that is tolerated while work is outstanding.
    pub patience: Option<Duration>,
}

impl TimingDefaults {
    /// These, and `otherwise` for what they leave open.
    pub fn or(self, otherwise: Timing) -> Timing {
        Timing {
            interval: self.interval.unwrap_or(otherwise.interval),
            liveness: self.liveness.unwrap_or(otherwise.liveness),
            patience: self.patience.unwrap_or(otherwise.patience),
        }
    }
}

/// What a client does, as far as the layout says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientDefaults {
    /// The pool that it asks.
    pub pool: Option<String>,
    /// How long it waits for a broker and a slot.
    pub wait: Option<Duration>,
    /// Deadline of each request.
    pub timeout: Option<Duration>,
    /// How long its Hit outlives its silence.
    pub ttl: Option<Duration>,
}
