//! What who measures a Hit asks of it, beyond what a client does. Part of its pure machine.

use bytes::Bytes;

use crate::protocol::message::Message;
use crate::protocol::route::Route;
use crate::protocol::time::Moment;

use super::{Hit, Outbox, Phase};

impl Hit {
    /// Whether a slot serves, and no OPEN is to be answered.
    pub const fn is_settled(&self) -> bool {
        matches!(self.phase, Phase::Open)
    }

    /// Says KEEPALIVE now, and this way: the slot answers it at once.
    pub fn say_alive(&mut self, now: Moment, route: Route, out: &mut Outbox) {
        self.look(now);
        self.keep_alive_at = now + self.config.interval;
        let (hit, attach, ack) = (self.key, self.attach, self.replies.ack());
        out.push((route, Message::KeepAlive { hit, attach, ack }));
    }

    /// Resumes the Hit by the broker, which has the slot speak that way again (docs/protocol.md section 7.8). OPEN is sent
    /// by the next [`flush`](Self::flush).
    pub fn resume(&mut self, now: Moment) {
        if self.phase == Phase::Open {
            (self.phase, self.ask_at) = (Phase::Resuming, now);
        }
    }

    /// Writes as much of this request as there is room for, and takes it from it; whether all of it was.
    pub fn write_part(&mut self, now: Moment, request: &mut Bytes) -> bool {
        let Some(room) = self.room() else { return false };
        let part = request.split_to(request.len().min(room));
        let ends = request.is_empty();
        if ends || !part.is_empty() {
            self.write(now, part, ends);
        }
        ends
    }
}
