//! Points at which tests stop or kill a real process, at the moments that matter. Without the feature `fault-points`
//! nothing of it is compiled in.

use crate::protocol::Message;

/// The moments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// A slot has journalled a lease, and nobody has heard of it.
    Leased,
    /// A slot has journalled that a request starts, and its handler is not there yet.
    Started,
    /// A handler has completed a reply, and nobody has heard of it.
    Answered,
    /// A worker has journalled that a broadcast begins, and its handler is not there yet.
    BroadcastBegun,
    /// The handler of a broadcast has ended, and nobody has heard of it.
    BroadcastOver,
    /// A broker is about to tell who is there to be asked.
    Roster,
    /// A broker is about to pass a broadcast's request on.
    Ask,
    /// A broker is about to pass on that it has arrived.
    Receipt,
    /// A broker is about to pass on what a member answers.
    Answer,
    /// A broker holds the lock, and has not written its record.
    Locked,
    /// A broker that leaves has taken its socket away, and still holds the lock.
    Unlinked,
}

#[cfg(feature = "fault-points")]
impl Point {
    const fn name(self) -> &'static str {
        match self {
            Self::Leased => "leased",
            Self::Started => "started",
            Self::Answered => "answered",
            Self::BroadcastBegun => "broadcast-begun",
            Self::BroadcastOver => "broadcast-over",
            Self::Roster => "roster",
            Self::Ask => "ask",
            Self::Receipt => "receipt",
            Self::Answer => "answer",
            Self::Locked => "locked",
            Self::Unlinked => "unlinked",
        }
    }
}

/// Does at this point what `$FAILPOINTS` says: `leased=return(stop)` or `leased=return(kill)`. Of all processes that come
/// by the first one does it, if `$ZHIT_FAULT_ONCE` names a file that is not there yet.
#[cfg(feature = "fault-points")]
pub fn at(point: Point) {
    use std::sync::OnceLock;

    use rustix::process::{Signal, getpid, kill_process};

    static SCENARIO: OnceLock<()> = OnceLock::new();
    SCENARIO.get_or_init(|| std::mem::forget(fail::FailScenario::setup()));
    fail::fail_point!(point.name(), |what| {
        let once = std::env::var_os("ZHIT_FAULT_ONCE");
        let is_first = once.is_none_or(|file| std::fs::File::create_new(file).is_ok());
        let signal = match what.as_deref() {
            Some("kill") => Signal::KILL,
            _ => Signal::STOP,
        };
        if is_first {
            // It is ourselves; nobody may refuse.
            let _ = kill_process(getpid(), signal);
            // The signal may reach another thread first, and this one must not go on meanwhile.
            std::thread::park_timeout(std::time::Duration::from_millis(50));
        }
    });
}

/// Nothing.
#[cfg(not(feature = "fault-points"))]
#[inline]
pub const fn at(_point: Point) {}

/// A broker is about to send this.
#[inline]
pub fn at_sending(message: &Message) {
    match message {
        Message::Roster(_) => at(Point::Roster),
        Message::Ask(_) => at(Point::Ask),
        Message::Receipt(_) => at(Point::Receipt),
        Message::Answer(_) => at(Point::Answer),
        _ => {}
    }
}
