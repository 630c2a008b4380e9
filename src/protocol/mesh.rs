//! The messages between the brokers of a cluster, and those that reach another host by way of them.
//!
//! They use nothing of the head; their fields are written and read in the order in which they stand here.

use super::codec::wire::plain;
use super::frame::Frames;
use super::ids::{Incarnation, ReturnPath, Term};
use super::pool::Note;

pub use super::codec::wire::Within;

/// Tells one layout from another.
pub type LayoutDigest = [u8; 16];

plain! {
    /// GREET and GREETED: who a broker is.
    Greeting {
        /// Its host.
        host: String,
        /// Its term.
        term: Term,
        /// Random at its start.
        incarnation: Incarnation,
        /// What it was told of the cluster.
        layout: LayoutDigest,
        /// Its period of heartbeats, in milliseconds.
        interval_ms: u32,
        /// How many of them may be missed.
        liveness: u32,
    }

    /// NEWS: a broker's heartbeat to those that have greeted it.
    News {
        /// Its term.
        term: Term,
        /// Its loop counter.
        beat: u64,
        /// Workers on its host.
        workers: u32,
        /// Their pools.
        pools: Vec<PoolNews>,
    }

    /// One pool in NEWS.
    PoolNews {
        /// Its name.
        pool: String,
        /// Slots.
        slots: u32,
        /// Those of them that serve nobody.
        idle: u32,
    }

    /// RELAY: a message for the broker of another host.
    Relay {
        /// That host.
        host: String,
        /// The way back.
        path: ReturnPath,
        /// The message.
        within: Within,
    }

    /// RELAYED: what the broker of another host has said.
    Relayed {
        /// That host.
        host: String,
        /// The way back.
        path: ReturnPath,
        /// Its broker's term; zero if it is not that broker who speaks.
        term: Term,
        /// Why the message went nowhere; empty if it arrived.
        note: Note,
        /// What it has said; nothing, if the message went nowhere.
        within: Within,
    }
}

impl Within {
    /// These frames.
    pub const fn new(frames: Frames) -> Self {
        Self(Some(frames))
    }

    /// No message.
    pub const fn nothing() -> Self {
        Self(None)
    }
}
