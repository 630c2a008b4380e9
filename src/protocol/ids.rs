//! Names of things: newtypes, so that a term is never taken for an attempt.

use std::fmt;
use std::str::FromStr;

use super::limits::{NAME_BYTES_MAX, ROUTING_ID_BYTES_MAX};

/// Names a Hit: 128 random bits that its client chose. Zero is no key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct HitKey([u8; 16]);

impl HitKey {
    /// The key with these bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes as they travel.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Its lower half, as a number.
    pub fn number(self) -> u64 {
        self.0[8..]
            .iter()
            .fold(0, |number, byte| number << 8 | u64::from(*byte))
    }

    /// Whether this is the absent key.
    pub fn is_none(self) -> bool {
        self.0 == [0; 16]
    }
}

impl fmt::Display for HitKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for HitKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_start(f, "hit", self.0)
    }
}

/// The first bytes of an id: enough to tell it from others in a trace.
fn write_start(f: &mut fmt::Formatter<'_>, kind: &str, id: [u8; 16]) -> fmt::Result {
    write!(f, "{kind}:")?;
    id.iter().take(4).try_for_each(|byte| write!(f, "{byte:02x}"))
}

/// Why a text is no Hit key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a Hit key has 32 hexadecimal digits, not all zero; got {0:?}")]
pub struct BadHitKey(String);

impl FromStr for HitKey {
    type Err = BadHitKey;

    fn from_str(text: &str) -> Result<Self, BadHitKey> {
        let bad = || BadHitKey(text.chars().take(NAME_BYTES_MAX).collect());
        if text.len() != 32 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(bad());
        }
        let number = u128::from_str_radix(text, 16).map_err(|_| bad())?;
        if number == 0 {
            Err(bad())
        } else {
            Ok(Self(number.to_be_bytes()))
        }
    }
}

/// Number of a worker on its host; the lowest free one when it starts. Shown as `w3`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct WorkerId(pub u32);

impl fmt::Display for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "w{}", self.0)
    }
}

/// Tells a worker process from an earlier one with the same id: random at its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Incarnation(pub u64);

/// One slot of one worker of a host. Shown as `w3/2`; slots count from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct SlotId {
    /// Its worker.
    pub worker: WorkerId,
    /// Its number within the worker, from 1.
    pub number: u32,
}

impl fmt::Display for SlotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.worker, self.number)
    }
}

/// Higher for each next master of a host (rule E2). Zero: none seen yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Term(pub u64);

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Names a runtime directory from its making to its wiping (rule O5). Zero: none seen yet.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct DirId(pub [u8; 16]);

impl fmt::Debug for DirId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_start(f, "dir", self.0)
    }
}

/// Counts the clients that were attached to a Hit one after the other; the opener is 1 (rule O8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Attach(pub u32);

/// Counts a client's OPENs of one Hit, from 1 (rule O1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Attempt(pub u32);

/// Names a broadcast: 128 random bits that its issuer chose.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct BroadcastId(pub [u8; 16]);

impl fmt::Display for BroadcastId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for BroadcastId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_start(f, "broadcast", self.0)
    }
}

/// One worker process: its number, which a later one may get, and its incarnation, which none will.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Member {
    /// Its number on its host.
    pub worker: WorkerId,
    /// Its incarnation.
    pub incarnation: Incarnation,
}

impl Member {
    /// This one.
    pub const fn new(worker: WorkerId, incarnation: Incarnation) -> Self {
        Self { worker, incarnation }
    }
}

/// The way back to whoever asks, as a broker wrote it down for itself: to all others it is a number of bytes to be sent
/// back. Empty: the peer that the message came from.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct ReturnPath(pub Vec<u8>);

/// Where a broker's peer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// On this host.
    Local,
    /// At the address for other hosts.
    Public,
    /// Behind a peer of that address: it asks by way of that one.
    Behind(Caller),
}

/// One who relays what others ask, by the number that the broker has given it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Caller(pub u16);

/// Bytes that tell a peer from the others of its side: a routing id, or a way back of up to such a one with its side.
const PEER_BYTES_MAX: usize = ROUTING_ID_BYTES_MAX + SIDE_BYTES;

/// What a way back has for the side.
const SIDE_BYTES: usize = 3;

/// Whom a broker talks to: one connection of a ROUTER of its, by its routing id, or one behind it, by its way back.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Peer {
    side: Side,
    length: u8,
    bytes: [u8; PEER_BYTES_MAX],
}

impl Peer {
    fn new(side: Side, id: &[u8]) -> Option<Self> {
        let mut bytes = [0; PEER_BYTES_MAX];
        bytes.get_mut(..id.len())?.copy_from_slice(id);
        Some(Self {
            side,
            length: id.len() as u8,
            bytes,
        })
    }

    /// The peer of this host with this routing id; `None` if the id is empty or longer than any that libzmq makes by itself.
    pub fn from_routing_id(id: &[u8]) -> Option<Self> {
        let fits = (1..=ROUTING_ID_BYTES_MAX).contains(&id.len());
        Self::new(Side::Local, id).filter(|_| fits)
    }

    /// The same connection, of the socket for other hosts.
    #[must_use]
    pub const fn public(self) -> Self {
        Self {
            side: Side::Public,
            ..self
        }
    }

    /// Whoever is at the end of this way back from a caller; `None` if that is longer than any that a broker makes.
    pub fn behind(caller: Caller, path: &ReturnPath) -> Option<Self> {
        Self::new(Side::Behind(caller), &path.0)
    }

    /// Where it is.
    pub const fn side(&self) -> Side {
        self.side
    }

    /// The routing id; of one that is behind another, its way back from there.
    pub fn routing_id(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.length)).unwrap_or_default()
    }

    /// The way back to it.
    pub fn to_path(&self) -> ReturnPath {
        let (side, caller) = match self.side {
            Side::Local => (0, 0),
            Side::Public => (1, 0),
            Side::Behind(Caller(number)) => (2, number),
        };
        let mut path = vec![side];
        path.extend_from_slice(&u16::to_be_bytes(caller));
        path.extend_from_slice(self.routing_id());
        ReturnPath(path)
    }

    /// Whose way back that is; `None`: nobody's.
    pub fn from_path(path: &ReturnPath) -> Option<Self> {
        let (side, rest) = path.0.split_first()?;
        let (caller, id) = rest.split_first_chunk::<2>()?;
        match side {
            0 => Self::from_routing_id(id),
            1 => Self::from_routing_id(id).map(Self::public),
            2 => Self::new(Side::Behind(Caller(u16::from_be_bytes(*caller))), id),
            _ => None,
        }
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.side {
            Side::Local => f.write_str("peer:"),
            Side::Public => f.write_str("public:"),
            Side::Behind(Caller(number)) => write!(f, "behind-{number}:"),
        }?;
        self.routing_id().iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Whether `name` may name a host, a pool or a cluster: 1 to 64 letters, digits, `.`, `_` or `-`, not starting with
/// `.` or `-`. Such a name is safe in a path, in a table and in `HOST/wN`.
pub fn is_name(name: &str) -> bool {
    let fits = (1..=NAME_BYTES_MAX).contains(&name.len());
    let plain = name
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
    fits && plain && !name.starts_with(['.', '-'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_reads_back_what_it_prints() {
        let key = HitKey::from_bytes(*b"0123456789abcdef");
        assert_eq!(key.to_string().parse(), Ok(key));
    }

    #[test]
    fn key_refuses_what_is_none() {
        for text in [
            "",
            "00000000000000000000000000000000",
            "xyz",
            "+0000000000000000000000000000001",
        ] {
            assert!(text.parse::<HitKey>().is_err(), "{text}");
        }
    }

    #[test]
    fn peers_keep_their_routing_id() {
        assert_eq!(
            Peer::from_routing_id(b"\0abcd").map(|p| p.routing_id().to_vec()),
            Some(b"\0abcd".to_vec())
        );
        assert_eq!(Peer::from_routing_id(b""), None);
        assert_eq!(Peer::from_routing_id(&[1; 16]), None);
    }

    #[test]
    fn ways_back_lead_to_whom_they_were_written_for() {
        let local = Peer::from_routing_id(&[7; 15]).expect("a routing id");
        let behind = Peer::behind(Caller(513), &local.public().to_path()).expect("it fits");
        for peer in [local, local.public(), behind] {
            assert_eq!(Peer::from_path(&peer.to_path()), Some(peer));
        }
        for nobody in [&b""[..], b"\0", b"\0\0\0", b"\x03\0\0a", &[0; 19], &[2; 22]] {
            assert_eq!(Peer::from_path(&ReturnPath(nobody.to_vec())), None);
        }
    }

    #[test]
    fn names_are_safe_in_paths() {
        for good in ["a", "alpha-1", "x.y_z", "9"] {
            assert!(is_name(good), "{good}");
        }
        let long = "x".repeat(65);
        for bad in ["", ".", "..", "-a", "a/b", "a b", "ä", "a\0", &long] {
            assert!(!is_name(bad), "{bad}");
        }
    }
}
