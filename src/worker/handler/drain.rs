//! How long a request goes on after its process has exited, while others still hold its pipes: decided here, without a
//! clock or a pipe.

use std::time::Duration;

use super::leader::Exit;
use crate::protocol::time::Moment;

/// A silence of this length ends the drain.
const QUIET: Duration = Duration::from_millis(50);

/// However much the others have to say, they get no longer than this.
const LONGEST: Duration = Duration::from_secs(1);

/// The leader has exited; its zombie is kept until this is over.
pub(super) struct Drain {
    pub(super) exit: Exit,
    quiet_at: Moment,
    over_at: Moment,
    /// Since when there has been no room for output: that time is not held against anybody.
    blocked_at: Option<Moment>,
    /// The leader's own bytes have not all been read: there is no end before that.
    owing: bool,
}

impl Drain {
    pub(super) fn new(exit: Exit, now: Moment) -> Self {
        Self {
            exit,
            quiet_at: now + QUIET,
            over_at: now + LONGEST,
            blocked_at: None,
            owing: true,
        }
    }

    /// A turn has come: with room for output or not, in which something was heard or not, after which something is
    /// owed or not.
    pub(super) fn on_turn(&mut self, now: Moment, has_room: bool, heard: bool, owing: bool) {
        if let Some(blocked_at) = self.blocked_at.take() {
            self.over_at += now.since(blocked_at);
        }
        if !has_room {
            self.blocked_at = Some(now);
        }
        if heard || !has_room {
            self.quiet_at = now + QUIET;
        }
        if owing {
            self.over_at = now + LONGEST;
        }
        self.owing = owing;
    }

    /// When it is over unless something is heard. `None`: bytes are owed or wait for room.
    pub(super) fn over_at(&self) -> Option<Moment> {
        let may_end = self.blocked_at.is_none() && !self.owing;
        may_end.then(|| self.quiet_at.min(self.over_at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::status::Status;

    const START: Moment = Moment::from_micros(1_000_000);

    fn ms(count: u64) -> Moment {
        START + Duration::from_millis(count)
    }

    fn drain() -> Drain {
        Drain::new(
            Exit {
                status: Status::Ok,
                dumped: false,
            },
            START,
        )
    }

    #[test]
    fn silence_ends_it() {
        let mut drain = drain();
        drain.on_turn(ms(0), true, false, false);
        assert_eq!(drain.over_at(), Some(ms(50)));
        drain.on_turn(ms(40), true, true, false);
        assert_eq!(drain.over_at(), Some(ms(90)));
    }

    #[test]
    fn chatter_is_cut_off() {
        let mut drain = drain();
        for at in (0..=990).step_by(10) {
            drain.on_turn(ms(at), true, true, false);
        }
        assert_eq!(drain.over_at(), Some(ms(1000)));
    }

    #[test]
    fn what_is_owed_and_what_waits_for_room_stops_the_clock() {
        let mut drain = drain();
        drain.on_turn(ms(500), true, true, true);
        assert_eq!(drain.over_at(), None);
        drain.on_turn(ms(600), true, true, false);
        for at in (610..5600).step_by(10) {
            drain.on_turn(ms(at), false, false, false);
            assert_eq!(drain.over_at(), None);
        }
        for at in (5610..7000).step_by(10) {
            drain.on_turn(ms(at), true, true, false);
        }
        // A second from the last time that something was owed, and the five without room.
        assert_eq!(drain.over_at(), Some(ms(6500)));
    }
}
