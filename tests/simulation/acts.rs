//! What the threads around the machines do: carry out their actions, and the faults of the plan.

use std::time::Duration;

use zhit::broker::machine as broker;
use zhit::election::journal::Entry;
use zhit::hit::{Hit, Outbox};
use zhit::protocol::limits::{INTERVAL, MESSAGE_COST_BYTES, WINDOW_BYTES};
use zhit::protocol::route::Route;
use zhit::protocol::{Message, Moment, Peer, Status, Term};
use zhit::worker::lease::{Action, Slot};

use crate::handler::{Handler, Scale, Step};
use crate::invariants::{Broken, Verdict, hold};
use crate::nodes::{SlotNode, WorkerNode};
use crate::plan::{Freeze, Process};
use crate::rng::Rng;
use crate::trace::hit_index;
use crate::world::{Event, Node, World};

impl World {
    /// Lets the broker's machine do something, and does what it says.
    pub(crate) fn with_broker(
        &mut self,
        act: impl FnOnce(&mut broker::Machine, Moment, &mut Vec<broker::Action>),
    ) -> Verdict {
        let Some(mut machine) = self.broker.machine.take() else {
            return Ok(());
        };
        let mut out = Vec::new();
        act(&mut machine, self.now, &mut out);
        let (deadline, held) = (machine.next_deadline(), machine.held());
        self.broker.machine = Some(machine);
        for action in out {
            match action {
                broker::Action::Send(peer, message) => {
                    self.send_to_peer(peer, &message.encode());
                    if matches!(message, Message::Lease(_)) {
                        self.dies_at_lease(peer);
                    }
                }
                broker::Action::Watch(id, incarnation, pid) => {
                    self.broker.watched.push((id, incarnation, pid));
                    let process = pid as usize - 1;
                    if !self.workers[process].is_alive {
                        self.push(self.now, Event::DeathSeen(process));
                    }
                }
                broker::Action::Consult(id) => {
                    if let Some(index) = self.workers.iter().rposition(|worker| worker.plan.id == id.0) {
                        self.push(self.now, Event::Consulted(index));
                    }
                }
                // Nobody asks for the office here, and this host is the only one.
                broker::Action::Yield(_) | broker::Action::Call(..) | broker::Action::Note(..) => {}
                broker::Action::LeasesUnjournalled => self.broker.unjournalled_until = self.now,
                broker::Action::Unwatch(id) => self.broker.watched.retain(|(watched, ..)| *watched != id),
            }
        }
        self.arm(Node::Broker, Some(deadline));
        let (registered, leases, waiting, _) = held;
        let connections = self.slots.len() + self.workers.len();
        let few = registered <= connections && leases <= self.clients.len() && waiting <= self.clients.len();
        hold(few, "queues within limits", || {
            format!("{held:?} with {connections} slots and workers")
        })
    }

    /// Lets a client's machine do something; then its writer and reader go on.
    pub(crate) fn with_client(&mut self, index: usize, act: impl FnOnce(&mut Hit, Moment, &mut Outbox)) -> Verdict {
        let now = self.now;
        let client = &mut self.clients[index];
        if client.is_finished() {
            return Ok(());
        }
        let Some(machine) = &mut client.machine else {
            return Ok(());
        };
        let mut out = Vec::new();
        act(machine, now, &mut out);
        client.pump(now, &mut self.books)?;
        self.use_line(index);
        let client = &mut self.clients[index];
        let Some(machine) = &mut client.machine else {
            return Ok(());
        };
        machine.flush(now, &mut out);
        client.outcome = machine.outcome().cloned();
        client.ended_at = now;
        client.was_served = machine.slot().is_some();
        let (outcome, step_at) = (client.outcome.clone(), client.step_at);
        let held = machine.held();
        if self.is_sample() {
            within_window(held, || format!("client {index}"))?;
        }
        while !out.is_empty() {
            for (route, message) in std::mem::take(&mut out) {
                let sent = match (route, self.clients[index].line) {
                    (Route::Broker, _) => self.send_to_broker(Node::Client(index), &message)?,
                    (Route::Direct, Some(line)) => self.send_straight(line, true, &message)?,
                    (Route::Direct, None) => false,
                };
                if !sent && let Some(machine) = &mut self.clients[index].machine {
                    machine.on_no_route(now, route, &message, &mut out);
                }
            }
        }
        self.want_line(index);
        if let Some(outcome) = outcome {
            self.note(|| format!("client {index} ends: {outcome:?}"));
            return self.clients[index].check(&self.books);
        }
        let deadline = self.clients[index].machine.as_ref().and_then(Hit::next_deadline);
        self.arm(Node::Client(index), deadline);
        if let Some(at) = step_at {
            self.push(at, Event::Step(Node::Client(index)));
        }
        Ok(())
    }

    /// Lets a slot's machine do something; then its handler goes on.
    pub(crate) fn with_slot(&mut self, index: usize, act: impl FnOnce(&mut Slot, Moment, &mut Vec<Action>)) -> Verdict {
        let now = self.now;
        if !self.slots[index].is_alive {
            return Ok(());
        }
        let mut out = Vec::new();
        act(&mut self.slots[index].machine, now, &mut out);
        loop {
            self.do_slot_actions(index, &mut out)?;
            if self.drive_handler(index, &mut out)? {
                continue;
            }
            self.slots[index].machine.flush(now, &mut out);
            if out.is_empty() {
                break;
            }
        }
        let slot = &self.slots[index];
        if self.is_sample() {
            within_window(slot.machine.held(), || format!("slot {index}"))?;
        }
        let (serving, deadline, left) = (
            slot.machine.serving(),
            slot.machine.next_deadline(),
            slot.machine.has_left(),
        );
        self.books.serves(index, serving.map(|(key, _)| hit_index(key)))?;
        self.arm(Node::Slot(index), deadline);
        if left && slot_is_empty(&self.slots[index]) {
            self.slot_leaves(index);
        }
        Ok(())
    }

    /// Lets the handler go on until it waits; returns whether it has ended.
    fn drive_handler(&mut self, index: usize, out: &mut Vec<Action>) -> Result<bool, Broken> {
        let now = self.now;
        let slot = &mut self.slots[index];
        let Some(mut handler) = slot.handler.take() else {
            return Ok(false);
        };
        match handler.step(now, &mut slot.machine, &mut self.books)? {
            Step::Waits(at) => {
                slot.handler = Some(handler);
                self.wake_handler(index, at);
                Ok(false)
            }
            Step::Ended(status, note) => {
                self.books.ended(index, handler.hit, handler.seq, status, &note);
                slot.machine.on_handler_ended(now, status, &note, out);
                self.note(|| format!("slot {index}: hit {} seq {} ended: {status}", handler.hit, handler.seq));
                Ok(true)
            }
        }
    }

    fn wake_handler(&mut self, index: usize, at: Option<Moment>) {
        if at.is_some() && self.slots[index].step_at != at {
            self.slots[index].step_at = at;
            self.push(at.unwrap_or_default(), Event::Step(Node::Slot(index)));
        }
    }

    fn do_slot_actions(&mut self, index: usize, out: &mut Vec<Action>) -> Verdict {
        while !out.is_empty() {
            self.do_some_slot_actions(index, out)?;
        }
        Ok(())
    }

    fn do_some_slot_actions(&mut self, index: usize, out: &mut Vec<Action>) -> Verdict {
        for action in std::mem::take(out) {
            match action {
                Action::Journal(entry) => {
                    let (now, word) = (self.now, Term(self.broker.life.into()));
                    let slot = &mut self.slots[index];
                    if let Some(journal) = &slot.journal {
                        journal.write(now, entry);
                    }
                    if let Entry::Leased { .. } = entry {
                        slot.machine.on_journalled(now, word, out);
                    }
                }
                Action::Send(message) => {
                    self.note_attachment(&message);
                    if !self.send_to_broker(Node::Slot(index), &message)? {
                        self.slots[index].machine.on_no_route(self.now);
                    }
                }
                Action::SendDirect(peer, message) => {
                    if !self.slot_sends_straight(peer, &message)? {
                        self.slots[index].machine.on_direct_gone(self.now, peer, out);
                    }
                }
                Action::Start { hit, seq, timeout } => self.start_handler(index, hit_index(hit), seq, timeout)?,
                Action::Stop => {
                    let now = self.now;
                    self.note(|| format!("slot {index}: stop"));
                    if let Some(handler) = &mut self.slots[index].handler {
                        handler.stop(now);
                    }
                }
                Action::Retire | Action::Watch(_) => unreachable!("no co-process lives here, and no holder"),
                Action::Clean => self.books.cleaned(index)?,
            }
        }
        Ok(())
    }

    fn start_handler(&mut self, index: usize, hit: usize, seq: u64, timeout: Option<Duration>) -> Verdict {
        self.note(|| format!("slot {index}: hit {hit} seq {seq} starts"));
        self.books.started(index, hit, seq)?;
        let client = self.books.hits[hit].runs[&seq].client;
        let requests = &self.books.requests[client];
        let scale = Scale {
            requests: requests.len(),
            largest: requests.iter().copied().max().unwrap_or(0),
        };
        let rng = Rng::of([self.plan.seed, hit as u64, seq]);
        self.slots[index].handler = Some(Handler::new(self.now, hit, seq, timeout, scale, rng));
        Ok(())
    }

    /// OPENED says who holds the Hit from which request on.
    fn note_attachment(&mut self, message: &Message) {
        if let Message::Opened(opened) = message {
            let hit = hit_index(opened.hit);
            let mut clients = self.clients.iter();
            let holder = clients.find(|client| {
                client.plan.hit == hit
                    && client.plan.attaches == (opened.client != 0)
                    && (opened.client == 0 || client.number() == opened.client)
            });
            if let Some(client) = holder.map(|client| client.index) {
                self.books.attached(hit, client, opened.first_seq);
            }
        }
    }

    pub(crate) fn on_step(&mut self, node: Node) -> Verdict {
        let now = self.now;
        match node {
            Node::Slot(index) if self.slots[index].step_at == Some(now) => {
                self.slots[index].step_at = None;
                self.with_slot(index, |_, _, _| {})
            }
            Node::Client(index) if self.clients[index].step_at == Some(now) => self.with_client(index, |_, _, _| {}),
            Node::Control(index) if self.workers[index].beat_at == Some(now) => self.control_speaks(index),
            _ => Ok(()),
        }
    }

    fn control_speaks(&mut self, index: usize) -> Verdict {
        let worker = &mut self.workers[index];
        if !worker.is_alive {
            return Ok(());
        }
        let message = worker.speak();
        let at = self.now + INTERVAL;
        worker.beat_at = Some(at);
        self.push(at, Event::Step(Node::Control(index)));
        self.send_to_broker(Node::Control(index), &message).map(|_| ())
    }

    pub(crate) fn control_receives(&mut self, index: usize, message: &Message) -> Verdict {
        let worker = &mut self.workers[index];
        if !worker.is_alive {
            return Ok(());
        }
        match message {
            Message::Registered(registered) if worker.term.is_none_or(|term| term <= registered.term) => {
                worker.term = Some(registered.term);
                Ok(())
            }
            Message::Disconnect(_) => {
                worker.term = None;
                let slots = worker.slots.clone();
                self.control_speaks(index)?;
                for slot in slots {
                    self.with_slot(slot, |machine, now, out| {
                        machine.register_again(now);
                        machine.flush(now, out);
                    })?;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    #[expect(clippy::needless_pass_by_value, reason = "an event happens once")]
    pub(crate) fn on_fault(&mut self, event: Event) -> Verdict {
        self.note(|| format!("{event:?}"));
        match event {
            Event::Heal => self.links.heal(),
            Event::BrokerDies => self.broker_dies()?,
            Event::BrokerStarts => self.broker_starts()?,
            Event::WorkerStarts(index) => self.worker_starts(index)?,
            Event::WorkerDies(index) => self.worker_dies(index),
            Event::DeathSeen(index) => self.death_seen(index)?,
            Event::Consulted(index) => {
                if let Some(journal) = self.workers[index].read_journal() {
                    self.with_broker(|machine, now, _| machine.on_journal(now, &journal))?;
                }
            }
            Event::WorkerDrains(index) => self.worker_drains(index)?,
            Event::GraceOver(index) => {
                for slot in self.workers[index].slots.clone() {
                    self.with_slot(slot, Slot::abandon)?;
                }
            }
            Event::ClientStarts(index) => {
                self.clients[index].address = self.connect(Node::Client(index));
                self.clients[index].start(self.now);
                self.with_client(index, |_, _, _| {})?;
            }
            Event::ClientCrashes(index) => {
                let client = &mut self.clients[index];
                client.crashed = !client.is_finished();
                self.line_of_client_ends(index);
            }
            Event::ClientAbandons(index) => self.with_client(index, |machine, _, out| machine.abandon(out))?,
            Event::Reconnects(node) => self.reconnect(node)?,
            Event::LineBreaks(index) => self.line_of_client_ends(index),
            _ => {}
        }
        Ok(())
    }

    fn reconnect(&mut self, node: Node) -> Verdict {
        match node {
            Node::Client(index) if self.clients[index].machine.is_some() => {
                self.clients[index].address = self.connect(node);
                Ok(())
            }
            Node::Slot(index) if index < self.slots.len() => {
                self.slots[index].address = self.connect(node);
                self.with_slot(index, |machine, now, out| {
                    machine.on_no_route(now);
                    machine.register_again(now);
                    machine.flush(now, out);
                })
            }
            Node::Control(index) => {
                self.workers[index].address = self.connect(node);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// A LEASE is the broker's last word, and the slot's process may be slow to take it: the next broker has read the
    /// journals by then, or has not (rule O3).
    fn dies_at_lease(&mut self, peer: Peer) {
        if self.lease_kills == 0 || self.now >= self.plan.heals_at || self.rng.chance(50.0) {
            return;
        }
        self.lease_kills -= 1;
        let dies_at = self.now + self.rng.micros(1..400);
        let starts_at = dies_at + self.rng.micros(50..20_000);
        self.push(dies_at, Event::BrokerDies);
        self.push(starts_at, Event::BrokerStarts);
        if let Node::Slot(index) = self.node_of(peer)
            && self.rng.chance(60.0)
        {
            self.pauses.push(Freeze {
                process: Process::Worker(self.slots[index].worker),
                from: self.now,
                until: starts_at + self.rng.micros(0..1_500_000),
            });
        }
    }

    /// The socket of a party has found the broker with this number, if that still lives.
    pub(crate) fn finds(&mut self, node: Node, life: u32) -> Verdict {
        if self.broker.life != life || self.broker.machine.is_none() {
            return Ok(());
        }
        self.reconnect(node)?;
        match node {
            Node::Client(index) => self.with_client(index, |machine, now, _| machine.on_route(now)),
            _ => Ok(()),
        }
    }

    fn broker_dies(&mut self) -> Verdict {
        if self.broker.machine.is_none() {
            return Ok(());
        }
        self.broker.machine = None;
        self.broker.watched.clear();
        (0..self.slots.len()).try_for_each(|index| self.with_slot(index, |machine, now, _| machine.on_no_route(now)))
    }

    fn broker_starts(&mut self) -> Verdict {
        if self.broker.machine.is_some() {
            return Ok(());
        }
        self.broker.life += 1;
        self.broker.starts.push(self.now);
        self.broker.machine = Some(self.new_broker());
        let journals: Vec<_> = self.workers.iter().filter_map(WorkerNode::read_journal).collect();
        let complete = self
            .workers
            .iter()
            .all(|worker| !worker.is_alive || worker.journal.is_some());
        let unjournalled_until = self.broker.unjournalled_until;
        self.with_broker(|machine, now, out| {
            machine.leased_unjournalled_until(unjournalled_until);
            machine.inherit(now, &journals, complete, out);
        })?;
        // Every socket finds the new one, under another name.
        let clients = (0..self.clients.len()).map(Node::Client);
        let workers = (0..self.workers.len()).map(Node::Control);
        let slots = (0..self.slots.len()).map(Node::Slot);
        let within = self.plan.finds_within.as_micros() as u64;
        for node in clients.chain(workers).chain(slots).collect::<Vec<_>>() {
            let after = self.rng.micros(0..within + 1);
            self.push(self.now + after, Event::Finds(node, self.broker.life));
        }
        Ok(())
    }

    fn worker_starts(&mut self, index: usize) -> Verdict {
        let id = self.workers[index].plan.id;
        if self.workers.iter().any(|other| other.is_alive && other.plan.id == id) {
            // The lock of its id is taken.
            return Ok(());
        }
        self.workers[index].is_alive = true;
        self.workers[index].begin();
        self.workers[index].address = self.connect(Node::Control(index));
        self.control_speaks(index)?;
        for number in 1..=self.workers[index].plan.slots {
            let slot = self.slots.len();
            self.slots.push(SlotNode::new(&self.workers[index], index, number));
            self.slots[slot].address = self.connect(Node::Slot(slot));
            self.slots[slot].machine.set_endpoints(vec![Self::endpoint_of(slot)]);
            self.workers[index].slots.push(slot);
            self.with_slot(slot, Slot::flush)?;
        }
        Ok(())
    }

    fn worker_dies(&mut self, index: usize) {
        let worker = &mut self.workers[index];
        if !std::mem::take(&mut worker.is_alive) {
            return;
        }
        for slot in worker.slots.clone() {
            self.slots[slot].is_alive = false;
            if let Some(handler) = self.slots[slot].handler.take() {
                let killed = Status::Signal(9);
                self.books.ended(slot, handler.hit, handler.seq, killed, "");
            }
            self.books.slot_died(slot);
            self.lines_of_slot_end(slot);
        }
        let seen_at = self.now + self.rng.micros(100..50_000);
        self.push(seen_at, Event::DeathSeen(index));
    }

    fn death_seen(&mut self, index: usize) -> Verdict {
        let incarnation = self.workers[index].incarnation;
        let watched = self
            .broker
            .watched
            .iter()
            .find(|(_, watched, _)| *watched == incarnation);
        let Some((id, ..)) = watched.copied() else {
            return Ok(());
        };
        let journal = self.workers[index].read_journal();
        self.with_broker(|machine, now, out| machine.on_worker_died(now, (id, incarnation), journal.as_ref(), out))
    }

    fn worker_drains(&mut self, index: usize) -> Verdict {
        if !self.workers[index].is_alive {
            return Ok(());
        }
        self.workers[index].drains = true;
        let grace = self.workers[index].plan.grace;
        self.push(self.now + grace, Event::GraceOver(index));
        for slot in self.workers[index].slots.clone() {
            self.with_slot(slot, Slot::drain)?;
        }
        Ok(())
    }

    /// A slot's thread ends; the last one's end is the worker's.
    fn slot_leaves(&mut self, index: usize) {
        self.slots[index].is_alive = false;
        self.books.slot_died(index);
        self.lines_of_slot_end(index);
        let worker = self.slots[index].worker;
        let mut slots = self.workers[worker].slots.iter();
        if self.workers[worker].is_alive && slots.all(|slot| !self.slots[*slot].is_alive) {
            let goodbye = self.workers[worker].goodbye();
            let _ = self.send_to_broker(Node::Control(worker), &goodbye);
            self.push(self.now + Duration::from_millis(5), Event::WorkerDies(worker));
        }
    }
}

/// What a machine holds: pieces and bytes that wait for their reader, bytes kept for repetition.
fn within_window((pieces, waiting, kept): (usize, u64, usize), who: impl FnOnce() -> String) -> Verdict {
    let messages = WINDOW_BYTES / MESSAGE_COST_BYTES;
    let holds = pieces as u64 <= messages + waiting && waiting.max(kept as u64) <= WINDOW_BYTES;
    hold(holds, "S2: what is held fits the window", || {
        format!("{}: {pieces} pieces, {waiting} bytes wait, {kept} are kept", who())
    })
}

fn slot_is_empty(slot: &SlotNode) -> bool {
    slot.handler.is_none() && slot.machine.serving().is_none()
}
