//! By which of two routes the bytes of a Hit go: through the broker, or by a connection of their own to the slot.
//!
//! Both carry the same stream, so an end may change from one to the other at any byte. Bytes on two routes can overtake
//! each other, though, and the stream would take that for a loss and send a window again. So an end that changes by
//! choice waits until all that it has sent is acknowledged, which takes a round trip; one whose route is dead, or as slow
//! as if it were, sends again what is not. docs/protocol.md section 7.8.

use super::limits::TURN_WITHIN;
use super::time::Moment;

/// Which way a message goes, as a client sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Route {
    /// Through the broker.
    Broker,
    /// To the slot's own ROUTER.
    Direct,
}

/// Which routes a client may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Routing {
    /// The broker's at first, the direct one as soon as it answers and for as long as it does.
    #[default]
    Auto,
    /// Requests go by the direct one, or not at all.
    Direct,
    /// Nothing but the broker's.
    Broker,
}

impl Routing {
    /// Every choice.
    pub const ALL: [Self; 3] = [Self::Auto, Self::Direct, Self::Broker];

    /// Its name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Direct => "direct",
            Self::Broker => "broker",
        }
    }

    /// What it is, in a few words.
    pub const fn help(self) -> &'static str {
        match self {
            Self::Auto => "through the broker, and straight to the slot as soon as that answers",
            Self::Direct => "straight to the slot; an error if it does not answer within --wait",
            Self::Broker => "through the broker",
        }
    }
}

/// The route of one end's bytes, and the one that it is to change to.
#[derive(Clone, Copy, Debug)]
pub struct Lane<R> {
    at: R,
    wanted: R,
    /// When that became another.
    turned_at: Moment,
}

impl<R: Copy + PartialEq> Lane<R> {
    /// Everything goes this way.
    pub const fn new(route: R) -> Self {
        Self {
            at: route,
            wanted: route,
            turned_at: Moment::ZERO,
        }
    }

    /// The way of all that has no place in the stream, and soon of the bytes.
    pub const fn wanted(&self) -> R {
        self.wanted
    }

    /// Whether bytes still go another way than they are to.
    pub fn is_turning(&self) -> bool {
        self.at != self.wanted
    }

    /// What is new goes this way, once nothing is under way by another.
    pub fn turn_to(&mut self, now: Moment, route: R) {
        if self.wanted != route {
            (self.wanted, self.turned_at) = (route, now);
        }
    }

    /// When what is under way by the old route is not waited for any longer: the caller then [jumps](Self::jump_to).
    pub fn deadline(&self, under_way: bool) -> Option<Moment> {
        (self.is_turning() && under_way).then(|| self.turned_at + TURN_WITHIN)
    }

    /// What is not acknowledged goes this way at once: the other route is dead. The caller sends it again.
    pub const fn jump_to(&mut self, route: R) {
        (self.at, self.wanted) = (route, route);
    }

    /// The way of the next bytes; `under_way`: some are not acknowledged yet. `None`: not before they are.
    pub fn for_bytes(&mut self, under_way: bool) -> Option<R> {
        if self.is_turning() && under_way {
            return None;
        }
        self.at = self.wanted;
        Some(self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Moment = Moment::from_micros(5);

    #[test]
    fn bytes_change_their_way_when_none_are_under_way() {
        let mut lane = Lane::new(Route::Broker);
        assert_eq!(lane.for_bytes(true), Some(Route::Broker));
        lane.turn_to(NOW, Route::Direct);
        assert_eq!((lane.wanted(), lane.is_turning()), (Route::Direct, true));
        assert_eq!(lane.for_bytes(true), None, "they would overtake those before them");
        assert_eq!(lane.for_bytes(false), Some(Route::Direct));
        assert_eq!(lane.for_bytes(true), Some(Route::Direct));
    }

    #[test]
    fn a_change_that_is_taken_back_holds_nothing_up() {
        let mut lane = Lane::new(Route::Broker);
        lane.turn_to(NOW, Route::Direct);
        lane.turn_to(NOW, Route::Broker);
        assert_eq!(lane.for_bytes(true), Some(Route::Broker));
    }

    #[test]
    fn a_change_has_its_time() {
        let mut lane = Lane::new(Route::Broker);
        assert_eq!(lane.deadline(true), None);
        lane.turn_to(NOW, Route::Direct);
        lane.turn_to(NOW + TURN_WITHIN, Route::Direct);
        assert_eq!(
            lane.deadline(true),
            Some(NOW + TURN_WITHIN),
            "told again it is no newer"
        );
        assert_eq!(lane.deadline(false), None, "nothing is waited for");
    }

    #[test]
    fn a_dead_route_is_left_at_once() {
        let mut lane = Lane::new(Route::Direct);
        lane.jump_to(Route::Broker);
        assert_eq!(lane.for_bytes(true), Some(Route::Broker));
    }
}
