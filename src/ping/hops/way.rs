//! The two ways of a KEEPALIVE to the slot. Its answer, WORKING, does not name it. Pure.

/// KEEPALIVEs and their answers by way of the broker: nothing overtakes there, so the n-th answers the n-th. Both are
/// counted since they were last known to be even.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Count {
    sent: u64,
    heard: u64,
}

impl Count {
    /// A KEEPALIVE is sent; gives its number.
    pub(super) const fn sent(&mut self) -> u64 {
        self.sent += 1;
        self.sent
    }

    /// The last one was not sent after all.
    pub(super) const fn unsent(&mut self) {
        self.sent = self.sent.saturating_sub(1);
    }

    /// An answer has come; gives the number of what it answers.
    pub(super) const fn heard(&mut self) -> u64 {
        self.heard += 1;
        self.heard
    }
}

/// The way straight to the slot. At most one KEEPALIVE is under way there: a connection by which an answer did not come in
/// time is left, and with it what may come yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Direct {
    /// The slot has not named its socket yet.
    Unknown,
    /// There is none, and why.
    None(String),
    /// There is a socket.
    Named {
        endpoint: String,
        /// Somebody is at its other end.
        connected: bool,
        /// It has answered before.
        answered: bool,
        /// The connection is to be left.
        stale: bool,
    },
}

impl Direct {
    /// What the slot has named.
    pub(super) fn of(endpoints: &[String]) -> Self {
        // Those of other kinds are for other hosts.
        match endpoints.iter().find(|one| one.starts_with("ipc://")) {
            Some(endpoint) => Self::Named {
                endpoint: endpoint.clone(),
                connected: false,
                answered: false,
                stale: false,
            },
            None => Self::None("the slot names no socket of its own".to_owned()),
        }
    }

    pub(super) const fn is_named(&self) -> bool {
        matches!(self, Self::Named { .. })
    }

    pub(super) const fn is_connected(&self) -> bool {
        matches!(self, Self::Named { connected: true, .. })
    }

    pub(super) fn endpoint(&self) -> Option<&str> {
        match self {
            Self::Named { endpoint, .. } => Some(endpoint),
            Self::Unknown | Self::None(_) => None,
        }
    }

    /// Why there is none.
    pub(super) fn why(&self) -> Option<&str> {
        match self {
            Self::None(why) => Some(why),
            Self::Unknown | Self::Named { .. } => None,
        }
    }

    /// Whether somebody is at its other end now.
    pub(super) const fn set_connected(&mut self, now: bool) {
        if let Self::Named { connected, .. } = self {
            *connected = now;
        }
    }

    /// An answer has come this way.
    pub(super) const fn heard(&mut self) {
        if let Self::Named { answered, .. } = self {
            *answered = true;
        }
    }

    /// Nothing came this way within so long. One that never answered is none: returns whether it is.
    pub(super) fn give_up(&mut self, patience: &str) -> bool {
        match self {
            Self::Named {
                answered: true,
                connected,
                stale,
                ..
            } => {
                (*connected, *stale) = (false, true);
                false
            }
            Self::Named { endpoint, .. } => {
                *self = Self::None(format!("no answer at {endpoint} within {patience}"));
                true
            }
            Self::Unknown | Self::None(_) => false,
        }
    }

    /// Whether the connection is to be left now.
    pub(super) const fn take_stale(&mut self) -> bool {
        match self {
            Self::Named { stale, .. } => std::mem::replace(stale, false),
            Self::Unknown | Self::None(_) => false,
        }
    }

    /// This client cannot connect to what the slot has named.
    pub(super) fn refuse(&mut self) {
        if let Self::Named { endpoint, .. } = self {
            *self = Self::None(format!("{endpoint} is no socket of this host's workers"));
        }
    }
}
