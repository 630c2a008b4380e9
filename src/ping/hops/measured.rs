//! What all rounds have measured, by hop. Pure.

use std::time::Duration;

use super::trips::Trips;

/// What is asked in a round, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    /// KEEPALIVE straight to the slot.
    Direct,
    /// PING to the broker.
    Broker,
    /// KEEPALIVE to the slot, through the broker.
    Slot,
    /// A request, through the broker. The last, since the slot still has to clear away what it has started.
    Request,
}

impl Ask {
    /// The hop as tables and objects name it.
    pub(super) const fn hop(self) -> &'static str {
        match self {
            Self::Broker => CLIENT_BROKER,
            Self::Slot => CLIENT_SLOT,
            Self::Request => HANDLER,
            Self::Direct => DIRECT,
        }
    }

    pub(super) const fn next(self) -> Option<Self> {
        match self {
            Self::Direct => Some(Self::Broker),
            Self::Broker => Some(Self::Slot),
            Self::Slot => Some(Self::Request),
            Self::Request => None,
        }
    }
}

pub(super) const CLIENT_BROKER: &str = "client-broker";
pub(super) const CLIENT_SLOT: &str = "client-slot";
pub(super) const BROKER_SLOT: &str = "broker-slot";
pub(super) const HANDLER: &str = "handler";
pub(super) const DIRECT: &str = "direct";

/// Everything that was measured.
#[derive(Clone, Debug, Default)]
pub(super) struct Measured {
    pub(super) client_broker: Trips,
    pub(super) client_slot: Trips,
    /// The difference of the two, in the same round.
    pub(super) broker_slot: Trips,
    pub(super) direct: Trips,
    /// A request and its reply, less the round trip to the slot of the same round.
    pub(super) handler: Trips,
    /// Of this round.
    broker: Option<i64>,
    slot: Option<i64>,
    /// How many questions of this hop, one after the other, had no answer; in the order of [`Ask`].
    in_a_row: [u32; 4],
}

impl Measured {
    /// A round begins.
    pub(super) const fn begin(&mut self) {
        (self.broker, self.slot) = (None, None);
    }

    /// Whether the slot has answered in this round, so that a request has something to be compared with.
    pub(super) const fn has_slot(&self) -> bool {
        self.slot.is_some()
    }

    /// `None`: no answer came. Returns how many there were not, one after the other.
    pub(super) fn on(&mut self, ask: Ask, took: Option<Duration>) -> u32 {
        let micros = took.map(|took| i64::try_from(took.as_micros()).unwrap_or(i64::MAX));
        match ask {
            Ask::Broker => {
                self.broker = micros;
                put(&mut self.client_broker, micros);
            }
            Ask::Slot => {
                self.slot = micros;
                put(&mut self.client_slot, micros);
                put(&mut self.broker_slot, less(micros, self.broker));
            }
            Ask::Request => put(&mut self.handler, less(micros, self.slot)),
            Ask::Direct => put(&mut self.direct, micros),
        }
        let row = &mut self.in_a_row[ask as usize];
        *row = if micros.is_some() { 0 } else { *row + 1 };
        *row
    }

    /// Whether any answer did not come.
    pub(super) fn has_lost(&self) -> bool {
        let all = [&self.client_broker, &self.client_slot, &self.direct, &self.handler];
        all.iter().any(|trips| trips.lost_count() > 0)
    }
}

fn less(whole: Option<i64>, part: Option<i64>) -> Option<i64> {
    Some(whole? - part?)
}

fn put(trips: &mut Trips, micros: Option<i64>) {
    match micros {
        Some(micros) => trips.measured(micros),
        None => trips.lost(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tell(all: &mut Measured, ask: Ask, micros: u64) -> u32 {
        all.on(ask, Some(Duration::from_micros(micros)))
    }

    #[test]
    fn differences_are_of_one_round() {
        let mut all = Measured::default();
        for (broker, slot, request) in [(40, 100, 1100), (60, 50, 850)] {
            all.begin();
            tell(&mut all, Ask::Broker, broker);
            tell(&mut all, Ask::Slot, slot);
            tell(&mut all, Ask::Request, request);
        }
        let between = all.broker_slot.figures().unwrap();
        assert_eq!((between.min, between.max), (-10, 60));
        let handler = all.handler.figures().unwrap();
        assert_eq!((handler.min, handler.max), (800, 1000));
        assert!(!all.has_lost());
    }

    #[test]
    fn what_has_no_answer_has_no_difference_either() {
        let mut all = Measured::default();
        tell(&mut all, Ask::Broker, 40);
        tell(&mut all, Ask::Slot, 90);
        all.begin();
        assert_eq!(all.on(Ask::Broker, None), 1);
        assert_eq!(tell(&mut all, Ask::Slot, 90), 0);
        assert_eq!((all.broker_slot.count(), all.broker_slot.lost_count()), (1, 1));
        all.begin();
        assert_eq!(all.on(Ask::Broker, None), 2, "two in a row");
        assert_eq!(tell(&mut all, Ask::Broker, 1), 0);
        assert!(all.has_lost() && !all.has_slot());
    }
}
