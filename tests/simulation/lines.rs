//! Connections of clients straight to slots, past the broker, and what goes wrong with them.

use std::time::Duration;

use zhit::protocol::Peer;
use zhit::protocol::frame::Frames;
use zhit::protocol::message::Message;

use crate::invariants::{Broken, Verdict};
use crate::plan::Hole;
use crate::trace::{hit_index, message_text, number_of};
use crate::world::{Event, Node, World, address_of, decode, frames_text, peer_of};

/// How soon a client tries again to connect where nobody listens.
const DIAL_AGAIN: Duration = Duration::from_millis(300);

/// How late at most a client notices that a connection has ended on which nothing is sent.
const NOTICED_WITHIN_US: u64 = 250_000;

/// One connection.
#[derive(Debug)]
pub(crate) struct Line {
    client: usize,
    slot: usize,
    is_up: bool,
}

impl World {
    /// A slot's own socket, as OPENED names it.
    pub(crate) fn endpoint_of(slot: usize) -> String {
        format!("ipc:///sim/members/{slot}")
    }

    /// The client has a connection, and wants one: it is told so, as often as its loop turns.
    pub(crate) fn use_line(&mut self, index: usize) {
        let client = &mut self.clients[index];
        let up = client.line.is_some_and(|line| self.lines[line as usize - 1].is_up);
        if let Some(machine) = client
            .machine
            .as_mut()
            .filter(|machine| machine.direct_endpoint().is_some() && up)
        {
            machine.on_direct_route(self.now);
        }
    }

    /// The client makes a connection if it wants one and has none.
    pub(crate) fn want_line(&mut self, index: usize) {
        let client = &mut self.clients[index];
        let wanted = client
            .machine
            .as_ref()
            .is_some_and(|machine| machine.direct_endpoint().is_some());
        if wanted && client.line.is_none() && !client.dials {
            client.dials = true;
            let at = self.now + self.rng.micros(50..3000);
            self.push(at, Event::Dials(index));
        }
    }

    pub(crate) fn dials(&mut self, index: usize) -> Verdict {
        let client = &mut self.clients[index];
        client.dials = false;
        let endpoint = client.machine.as_ref().and_then(|machine| machine.direct_endpoint());
        let slot = endpoint.and_then(|endpoint| endpoint.rsplit('/').next()?.parse::<usize>().ok());
        let (Some(slot), false) = (slot, client.is_finished()) else {
            return Ok(());
        };
        if !self.slots[slot].is_alive || self.plan.unreached.contains(&index) {
            self.clients[index].dials = true;
            self.push(self.now + DIAL_AGAIN, Event::Dials(index));
            return Ok(());
        }
        self.lines.push(Line {
            client: index,
            slot,
            is_up: true,
        });
        self.clients[index].line = Some(self.lines.len() as u32);
        self.note(|| format!("client {index} has a line to slot {slot}"));
        self.with_client(index, |_, _, _| {})
    }

    /// A message by a line; false if that has ended.
    pub(crate) fn send_straight(&mut self, line: u32, to_slot: bool, message: &Message) -> Result<bool, Broken> {
        self.credit.on_sent(message)?;
        self.books.sent(message)?;
        let Line { client, slot, is_up } = self.lines[line as usize - 1];
        if !is_up {
            return Ok(false);
        }
        let frames = message.encode();
        let now = self.now;
        let swallows = |hole: &Hole| {
            let way = hole.to_slot.is_none_or(|way| way == to_slot);
            hole.client == client && way && hole.from <= now && hole.until.is_none_or(|until| now < until)
        };
        if self.plan.holes.iter().any(swallows) || self.is_cut(Node::Client(client)) || self.is_cut(Node::Slot(slot)) {
            self.note(|| format!("lost on line {line}: {}", message_text(message)));
            return Ok(true);
        }
        // Lines have numbers of their own, far from those of the connections to brokers.
        let number = line | 0x8000_0000;
        for at in self.links.arrivals(now, (number, to_slot), None).into_iter().flatten() {
            self.count_flying(&frames);
            let frames = frames.clone();
            self.push(at, Event::Straight { line, to_slot, frames });
        }
        Ok(true)
    }

    /// The slot sends to who has spoken by this line.
    pub(crate) fn slot_sends_straight(&mut self, peer: Peer, message: &Message) -> Result<bool, Broken> {
        self.send_straight(address_of(peer), false, message)
    }

    /// Who is at the receiving end of a line.
    pub(crate) fn end_of(&self, line: u32, to_slot: bool) -> Node {
        let line = &self.lines[line as usize - 1];
        if to_slot {
            Node::Slot(line.slot)
        } else {
            Node::Client(line.client)
        }
    }

    pub(crate) fn straight_arrives(&mut self, line: u32, to_slot: bool, frames: &Frames) -> Verdict {
        let node = self.end_of(line, to_slot);
        let Line { client, slot, is_up } = self.lines[line as usize - 1];
        let number = number_of(&frames.header);
        self.trace.note(self.now, [5, number], || {
            let fate = if is_up { "" } else { " (has ended)" };
            format!("line {line}{fate} -> {node:?}: {}", frames_text(frames))
        });
        if !is_up {
            return Ok(());
        }
        let message = decode(frames)?;
        self.straight += 1;
        self.credit.on_received(&message);
        if to_slot {
            let Some(peer) = peer_of(line) else { return Ok(()) };
            return self.with_slot(slot, |machine, now, out| machine.on_direct(now, peer, message, out));
        }
        if let Message::Closed(closed) = &message {
            self.books.told(hit_index(closed.hit), closed)?;
        }
        self.with_client(client, |machine, now, out| {
            machine.on_message(now, zhit::protocol::route::Route::Direct, message, out);
        })
    }

    /// A connection ends; its client notices at its next sending, or a little later.
    pub(crate) fn line_ends(&mut self, line: u32) {
        let ended = &mut self.lines[line as usize - 1];
        if std::mem::take(&mut ended.is_up) {
            let at = self.now + self.rng.micros(0..NOTICED_WITHIN_US);
            self.push(at, Event::LineLost(line));
        }
    }

    pub(crate) fn line_lost(&mut self, line: u32) -> Verdict {
        let client = self.lines[line as usize - 1].client;
        if self.clients[client].line == Some(line) {
            self.clients[client].line = None;
            return self.with_client(client, |machine, now, _| machine.on_direct_lost(now));
        }
        Ok(())
    }

    /// Those of a slot's thread that has ended.
    pub(crate) fn lines_of_slot_end(&mut self, slot: usize) {
        let ended = |(_, line): &(usize, &Line)| line.slot == slot && line.is_up;
        let ended: Vec<_> = self
            .lines
            .iter()
            .enumerate()
            .filter(ended)
            .map(|(index, _)| index)
            .collect();
        for index in ended {
            self.line_ends(index as u32 + 1);
        }
    }

    /// The client's connection breaks; it may make another.
    pub(crate) fn line_of_client_ends(&mut self, index: usize) {
        if let Some(line) = self.clients[index].line {
            self.line_ends(line);
        }
    }
}
