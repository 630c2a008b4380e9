//! The world of a seed: a clock, an event heap, the parties and the network between them.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::Duration;

use zhit::broker::machine as broker;
use zhit::hit::{Lost, NoSlot, Outcome};
use zhit::protocol::frame::{Command, Frames, Head};
use zhit::protocol::limits::{INTERVAL, LIVENESS};
use zhit::protocol::message::ClosedReason;
use zhit::protocol::route::Route;
use zhit::protocol::route::Routing;
use zhit::protocol::{DirId, HitKey, Message, Moment, Peer, Term, WorkerId};

use crate::credit::Credit;
use crate::invariants::{Books, Broken, Verdict, hold};
use crate::lines::Line;
use crate::network::Links;
use crate::nodes::{Alarm, BrokerNode, ClientNode, SlotNode, WorkerNode};
use crate::plan::{Freeze, Plan, Process};
use crate::rng::{Rng, mix};
use crate::trace::{Trace, hit_index, message_text, number_of};

/// How long after the network has healed everything must have finished.
const FINISH_WITHIN: Duration = Duration::from_secs(120);

/// A party.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Node {
    Broker,
    Control(usize),
    Slot(usize),
    Client(usize),
}

/// What happens.
#[derive(Debug)]
pub(crate) enum Event {
    ToBroker {
        from: u32,
        life: u32,
        frames: Frames,
    },
    ToPeer {
        to: u32,
        frames: Frames,
    },
    /// A machine's deadline.
    Tick(Node),
    /// A handler, a writer or a reader goes on; a control thread says what it says each interval.
    Step(Node),
    Heal,
    BrokerDies,
    BrokerStarts,
    WorkerStarts(usize),
    WorkerDies(usize),
    /// The broker's pidfd of this process becomes readable.
    DeathSeen(usize),
    /// The broker reads the journal of this worker.
    Consulted(usize),
    WorkerDrains(usize),
    GraceOver(usize),
    ClientStarts(usize),
    ClientCrashes(usize),
    ClientAbandons(usize),
    Reconnects(Node),
    /// Its socket has found the broker with this number.
    Finds(Node, u32),
    /// A client's connection straight to a slot is made, if it can be.
    Dials(usize),
    /// A message by such a connection.
    Straight {
        line: u32,
        to_slot: bool,
        frames: Frames,
    },
    LineBreaks(usize),
    /// The client notices that it has.
    LineLost(u32),
}

/// The heap's entry: by time, then in the order of their making.
struct Entry(Moment, u64, Event);

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        (self.0, self.1) == (other.0, other.1)
    }
}
impl Eq for Entry {}
impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.0, self.1).cmp(&(other.0, other.1))
    }
}

/// What a seed that kept all promises did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    pub(crate) events: u64,
    /// What became of the clients, and what the machines were put through.
    pub(crate) tally: Tally,
    pub(crate) hash: u64,
    pub(crate) ended_at: Moment,
}

/// How often what happened, so that a run that tests nothing is seen.
pub(crate) type Tally = BTreeMap<String, u64>;

/// The world.
pub(crate) struct World {
    pub(crate) now: Moment,
    pub(crate) plan: Plan,
    heap: BinaryHeap<Reverse<Entry>>,
    made: u64,
    /// Messages under way that are no heartbeats.
    flying: u32,
    pub(crate) rng: Rng,
    pub(crate) links: Links,
    /// Whose connection, to which broker, has which number.
    addresses: Vec<(Node, u32)>,
    /// How often a broker may still die at a LEASE; and workers that stand still since.
    pub(crate) lease_kills: u32,
    pub(crate) pauses: Vec<Freeze>,
    pub(crate) broker: BrokerNode,
    pub(crate) workers: Vec<WorkerNode>,
    pub(crate) slots: Vec<SlotNode>,
    pub(crate) clients: Vec<ClientNode>,
    pub(crate) books: Books,
    pub(crate) credit: Credit,
    pub(crate) trace: Trace,
    pub(crate) lines: Vec<Line>,
    /// Messages that arrived by one of them.
    pub(crate) straight: u64,
    /// Messages that arrived, by command.
    delivered: BTreeMap<u8, (Command, usize)>,
}

impl World {
    pub(crate) fn new(plan: Plan, told: bool) -> Self {
        let seed = plan.seed;
        let links = Links::new(&plan);
        let key = |hit: usize| {
            let mut bytes = [0; 16];
            bytes[..8].copy_from_slice(&(mix(seed) | 1).to_be_bytes());
            bytes[14..].copy_from_slice(&(hit as u16).to_be_bytes());
            HitKey::from_bytes(bytes)
        };
        let clients = plan.clients.iter().enumerate();
        let clients: Vec<_> = clients
            .map(|(index, client)| ClientNode::new(client.clone(), index, key(client.hit)))
            .collect();
        let workers = plan.workers.iter().enumerate();
        let workers: Vec<_> = workers
            .map(|(index, worker)| WorkerNode::new(worker.clone(), index))
            .collect();
        let books = Books::new(
            plan.clients
                .iter()
                .map(|client| (client.requests.clone(), client.attaches)),
        );
        let mut world = Self {
            now: Moment::ZERO,
            heap: BinaryHeap::new(),
            made: 0,
            flying: 0,
            rng: Rng::of([seed, 3, 3]),
            links,
            addresses: Vec::new(),
            lease_kills: plan.lease_kills,
            pauses: Vec::new(),
            broker: BrokerNode::default(),
            workers,
            slots: Vec::new(),
            clients,
            books,
            credit: Credit::default(),
            trace: Trace::new(told),
            lines: Vec::new(),
            straight: 0,
            delivered: BTreeMap::new(),
            plan,
        };
        world.schedule_plan();
        world
    }

    fn schedule_plan(&mut self) {
        let plan = self.plan.clone();
        let heals_at = plan.heals_at;
        self.push(Moment::ZERO, Event::BrokerStarts);
        self.push(heals_at, Event::Heal);
        for (index, worker) in plan.workers.iter().enumerate() {
            self.push(worker.starts_at, Event::WorkerStarts(index));
            self.push_fault(worker.dies_at, Event::WorkerDies(index));
            self.push_fault(worker.drains_at, Event::WorkerDrains(index));
        }
        for (index, client) in plan.clients.iter().enumerate() {
            self.push(client.starts_at, Event::ClientStarts(index));
            self.push_fault(client.crashes_at, Event::ClientCrashes(index));
            self.push_fault(client.abandons_at, Event::ClientAbandons(index));
        }
        for (at, is_client, index) in plan.reconnects {
            let node = if is_client {
                Node::Client(index)
            } else {
                Node::Slot(index)
            };
            self.push_fault(Some(at), Event::Reconnects(node));
        }
        for (at, index) in plan.line_breaks {
            self.push_fault(Some(at), Event::LineBreaks(index));
        }
        for (at, down) in plan.broker_deaths {
            if at < heals_at {
                self.push(at, Event::BrokerDies);
                self.push(at + down, Event::BrokerStarts);
            }
        }
    }

    fn push_fault(&mut self, at: Option<Moment>, event: Event) {
        if let Some(at) = at.filter(|at| *at < self.plan.heals_at) {
            self.push(at, event);
        }
    }

    /// What the broker sees of its workers' loops: they turn, unless their process stands still.
    fn look_at_workers(&mut self) {
        let now = self.now;
        let Some(machine) = &mut self.broker.machine else {
            return;
        };
        let stands = |index: usize| {
            let mut freezes = self.plan.freezes.iter().chain(&self.pauses);
            freezes.any(|freeze| freeze.process == Process::Worker(index) && freeze.from <= now && now < freeze.until)
        };
        for (index, worker) in self.workers.iter().enumerate() {
            if worker.is_alive && !stands(index) {
                let counts = vec![now.as_micros(); 1 + worker.plan.slots as usize];
                machine.on_beats(now, WorkerId(worker.plan.id), &counts);
            }
        }
    }

    /// Rule A2: a worker that never stands still is never taken as hung, however little is heard of it.
    fn nobody_is_slandered(&self) -> Verdict {
        let Some(machine) = &self.broker.machine else {
            return Ok(());
        };
        for hung in machine.hung_workers(self.now) {
            // One that has died, and is not buried yet, stands still, too.
            let known = machine.incarnation_of(hung);
            let lives = |(_, worker): &(usize, &WorkerNode)| {
                worker.is_alive && worker.plan.id == hung.0 && Some(worker.incarnation) == known
            };
            let Some((index, _)) = self.workers.iter().enumerate().find(lives) else {
                continue;
            };
            let mut freezes = self.plan.freezes.iter().chain(&self.pauses);
            let stood_still = freezes.any(|freeze| freeze.process == Process::Worker(index));
            hold(stood_still, "A2: who does not stand still is not hung", || {
                format!("{hung}")
            })?;
        }
        Ok(())
    }

    /// Whether a client has ended without what it was promised, in a seed that is kind to it.
    fn is_lost(&self, client: &ClientNode) -> bool {
        let plan = &self.plan;
        let brokers_die = !plan.broker_deaths.is_empty();
        match &client.outcome {
            // Without journals nobody knows what a broker that died had leased before its client was told so.
            Some(Outcome::Lost(Lost::Closed(ClosedReason::Unknown, _))) if !client.was_served => {
                !brokers_die || plan.has_journals()
            }
            // A sleep is no excuse towards the user: his ttl and deadline passed (rules A3, O5).
            Some(Outcome::Lost(Lost::Unconfirmed) | Outcome::Deadline) if plan.sleeps => false,
            // Brokers that die one after the other can keep a reply from its client for longer than the deadline that
            // its user chose. That deadline ends the wait, and is no loss (rule A2).
            Some(Outcome::Deadline) if brokers_die => false,
            // Brokers that died so fast that it found none within its ttl, or none that knew enough to confirm.
            Some(Outcome::Lost(Lost::Unconfirmed)) if brokers_die => {
                let within_ttl = client.ended_at.since(client.plan.starts_at) < client.plan.ttl;
                within_ttl && !self.nobody_knew(client.ended_at)
            }
            // It wanted no other way, and that one fails: until it comes back nothing passes.
            Some(Outcome::Lost(Lost::NoDirect(_)) | Outcome::Deadline)
                if client.plan.routing == Routing::Direct && plan.fails_straight(client.index) =>
            {
                false
            }
            Some(Outcome::Lost(_) | Outcome::Deadline) => true,
            Some(Outcome::NoBroker) => !brokers_die,
            _ => false,
        }
    }

    /// Without journals a broker confirms nothing for the first liveness: slots may not have registered (rule O6).
    fn nobody_knew(&self, at: Moment) -> bool {
        let starts = self.broker.starts.iter().rev();
        let last = starts.copied().find(|start| *start < at).unwrap_or(Moment::ZERO);
        !self.plan.has_journals() && at.since(last) < INTERVAL * LIVENESS
    }

    pub(crate) fn push(&mut self, at: Moment, event: Event) {
        self.made += 1;
        self.heap.push(Reverse(Entry(at, self.made, event)));
    }

    /// Runs until everything has finished.
    pub(crate) fn run(&mut self) -> Result<Summary, Broken> {
        let mut events = 0;
        while let Some(Reverse(Entry(at, _, event))) = self.heap.pop() {
            self.now = at;
            events += 1;
            let asks = matches!(event, Event::Tick(Node::Broker));
            if asks {
                self.look_at_workers();
            }
            self.on_event(event)?;
            if asks {
                self.nobody_is_slandered()?;
            }
            if asks && at > self.plan.heals_at {
                if self.is_quiet() {
                    break;
                }
                let late = at.since(self.plan.heals_at) > FINISH_WITHIN;
                hold(!late, "after healing everything finishes", || self.who_is_busy())?;
            }
        }
        for client in &self.clients {
            client.check(&self.books)?;
            let lost = self.is_lost(client);
            hold(
                !lost || !self.plan.is_kind_to(client.index),
                "no Hit is lost without a cause",
                || format!("client {}: {:?}", client.index, client.outcome),
            )?;
        }
        Ok(Summary {
            events,
            tally: self.tally(),
            hash: self.trace.hash(),
            ended_at: self.now,
        })
    }

    fn is_quiet(&self) -> bool {
        let clients = self.clients.iter().all(ClientNode::is_finished);
        let slots = self.slots.iter().filter(|slot| slot.is_alive);
        let mut idle = slots.map(|slot| slot.machine.serving().is_none() && slot.handler.is_none());
        let broker = self.broker.machine.as_ref().map(broker::Machine::held);
        let starting = self.workers.iter().any(|worker| worker.plan.starts_at > self.now);
        let at_rest = broker.is_some_and(|(_, leases, waiting, _)| leases == 0 && waiting == 0);
        self.flying == 0 && clients && idle.all(|idle| idle) && at_rest && !starting
    }

    fn tally(&self) -> Tally {
        let mut tally = Tally::new();
        let mut count = |what: &str, times: usize| *tally.entry(what.to_owned()).or_default() += times as u64;
        for client in &self.clients {
            match &client.outcome {
                _ if client.crashed => count("crashed", 1),
                Some(Outcome::Lost(lost)) if client.plan.attaches => {
                    let text = format!("{lost:?}");
                    count(&format!("attacher lost: {}", &text[..text.len().min(14)]), 1);
                }
                Some(Outcome::Lost(Lost::Closed(reason, _))) => count(&format!("lost: closed: {reason:?}"), 1),
                Some(Outcome::Lost(Lost::Silence(_))) => count("lost: silence", 1),
                Some(Outcome::Lost(Lost::Violation(why))) => count(&format!("lost: {why}"), 1),
                Some(Outcome::NoSlot(NoSlot::Queued { .. })) => count("no slot: queued", 1),
                Some(outcome) => count(&format!("{outcome:?}"), 1),
                None => {}
            }
        }
        for book in &self.books.hits {
            count("takeovers", book.attached.len().saturating_sub(1));
            count("requests", book.runs.len());
        }
        if self.straight > 0 {
            count("straight", self.straight as usize);
        }
        for (command, times) in self.delivered.values() {
            count(&format!("{command:?}").to_uppercase(), *times);
        }
        tally
    }

    fn who_is_busy(&self) -> String {
        let clients = self.clients.iter().filter(|client| !client.is_finished());
        let clients: Vec<_> = clients
            .map(|client| (client.index, client.plan.hit, &client.machine))
            .collect();
        let slots = self.slots.iter().enumerate().filter(|(_, slot)| slot.is_alive);
        let slots: Vec<_> = slots
            .filter(|(_, slot)| slot.machine.serving().is_some() || slot.handler.is_some())
            .map(|(index, slot)| (index, &slot.machine, &slot.handler))
            .collect();
        let (broker, under_way) = (&self.broker.machine, self.flying);
        format!("clients {clients:?}\nslots {slots:?}\nbroker {broker:?}\nunder way {under_way}")
    }

    pub(crate) fn note(&mut self, words: impl FnOnce() -> String) {
        let made = self.made;
        self.trace.note(self.now, [made, 0], words);
    }

    /// Checks that cost time are made now and then.
    pub(crate) const fn is_sample(&self) -> bool {
        self.made.is_multiple_of(16)
    }

    fn on_event(&mut self, event: Event) -> Verdict {
        if let Some(until) = self.frozen_until(&event) {
            self.put_off(until, event);
            return Ok(());
        }
        match event {
            Event::Finds(node, life) => self.finds(node, life),
            Event::Dials(index) => self.dials(index),
            Event::LineLost(line) => self.line_lost(line),
            Event::Straight { line, to_slot, frames } => {
                self.landed(&frames);
                self.straight_arrives(line, to_slot, &frames)
            }
            Event::ToBroker { from, life, frames } => {
                self.landed(&frames);
                self.broker_receives(from, life, &frames)
            }
            Event::ToPeer { to, frames } => {
                self.landed(&frames);
                self.peer_receives(to, &frames)
            }
            Event::Tick(node) => self.on_tick(node),
            Event::Step(node) => self.on_step(node),
            fault => self.on_fault(fault),
        }
    }

    /// Until when the process stands still that this happens to.
    fn frozen_until(&self, event: &Event) -> Option<Moment> {
        let node = match event {
            Event::ToBroker { .. } => Node::Broker,
            Event::ToPeer { to, .. } => self.addresses[*to as usize - 1].0,
            Event::Straight { line, to_slot, .. } => self.end_of(*line, *to_slot),
            Event::Dials(index) => Node::Client(*index),
            Event::LineLost(line) => self.end_of(*line, false),
            Event::Tick(node) | Event::Step(node) | Event::Finds(node, _) => *node,
            _ => return None,
        };
        let process = match node {
            Node::Broker => Process::Broker,
            Node::Control(index) => Process::Worker(index),
            Node::Slot(index) => Process::Worker(self.slots[index].worker),
            Node::Client(index) => Process::Client(index),
        };
        let now = self.now;
        let mut freezes = self.plan.freezes.iter().chain(&self.pauses);
        let freeze = freezes.find(|freeze| freeze.process == process && freeze.from <= now && now < freeze.until)?;
        Some(freeze.until)
    }

    /// It happens when the process goes on: messages first, then what its clock says (rule A3).
    fn put_off(&mut self, until: Moment, event: Event) {
        let (now, later) = (self.now, until + Duration::from_micros(1));
        match event {
            Event::Tick(node) => {
                if let Some(alarm) = self.alarm(node).filter(|alarm| alarm.at == Some(now)) {
                    alarm.at = Some(later);
                    self.push(later, event);
                }
            }
            Event::Step(node) => {
                let step_at = match node {
                    Node::Slot(index) => &mut self.slots[index].step_at,
                    Node::Client(index) => &mut self.clients[index].step_at,
                    Node::Control(index) => &mut self.workers[index].beat_at,
                    Node::Broker => return,
                };
                if *step_at == Some(now) {
                    *step_at = Some(later);
                    self.push(later, event);
                }
            }
            Event::Finds(..) => self.push(later, event),
            message => self.push(until, message),
        }
    }

    fn on_tick(&mut self, node: Node) -> Verdict {
        let now = self.now;
        let Some(alarm) = self.alarm(node).filter(|alarm| alarm.at == Some(now)) else {
            return Ok(());
        };
        alarm.at = None;
        let again = alarm.ticks.0 == now;
        alarm.ticks = (now, if again { alarm.ticks.1 + 1 } else { 0 });
        let spins = alarm.ticks.1 > 20;
        hold(!spins, "a tick moves the deadline", || {
            format!("{node:?} at {now:?}: {}", self.who_is_busy())
        })?;
        match node {
            Node::Broker => self.with_broker(zhit::broker::machine::Machine::on_tick),
            Node::Slot(index) => self.with_slot(index, zhit::worker::lease::Slot::on_tick),
            Node::Client(index) => self.with_client(index, zhit::hit::Hit::on_tick),
            Node::Control(_) => Ok(()),
        }
    }

    fn alarm(&mut self, node: Node) -> Option<&mut Alarm> {
        match node {
            Node::Broker => Some(&mut self.broker.alarm),
            Node::Slot(index) => Some(&mut self.slots[index].alarm),
            Node::Client(index) => Some(&mut self.clients[index].alarm),
            Node::Control(_) => None,
        }
    }

    /// Wakes a machine at its next deadline.
    pub(crate) fn arm(&mut self, node: Node, deadline: Option<Moment>) {
        let now = self.now;
        let at = deadline
            .filter(|at| at.as_micros() < u64::MAX / 2)
            .map(|at| at.max(now));
        let Some(alarm) = self.alarm(node) else { return };
        if alarm.at == at {
            return;
        }
        alarm.at = at;
        if let Some(at) = at {
            self.push(at, Event::Tick(node));
        }
    }

    // Messages.

    /// A connection under a new number.
    pub(crate) fn connect(&mut self, node: Node) -> u32 {
        self.addresses.push((node, self.broker.life));
        self.addresses.len() as u32
    }

    /// Who is at the other end of the broker's connection.
    pub(crate) fn node_of(&self, peer: Peer) -> Node {
        self.addresses[address_of(peer) as usize - 1].0
    }

    fn address_of(&self, node: Node) -> u32 {
        match node {
            Node::Broker => 0,
            Node::Control(index) => self.workers[index].address,
            Node::Slot(index) => self.slots[index].address,
            Node::Client(index) => self.clients[index].address,
        }
    }

    pub(crate) fn is_cut(&self, node: Node) -> bool {
        let party = match node {
            Node::Client(index) => Some((true, index)),
            Node::Slot(index) => Some((false, index)),
            _ => None,
        };
        self.links.is_cut(self.now, party)
    }

    fn landed(&mut self, frames: &Frames) {
        if let Ok(head) = Head::peek(&frames.header) {
            self.delivered.entry(head.command as u8).or_insert((head.command, 0)).1 += 1;
        }
        if counts(frames) {
            self.flying -= 1;
        }
    }

    /// Sends a message to the broker; false if there is none.
    pub(crate) fn send_to_broker(&mut self, node: Node, message: &Message) -> Result<bool, Broken> {
        self.credit.on_sent(message)?;
        self.books.sent(message)?;
        if self.broker.machine.is_none() {
            self.note(|| format!("{node:?} has no broker for {}", message_text(message)));
            return Ok(false);
        }
        let (from, life) = (self.address_of(node), self.broker.life);
        if self.addresses[from as usize - 1].1 != life {
            self.note(|| format!("{node:?} has not found the broker for {}", message_text(message)));
            return Ok(false);
        }
        let frames = message.encode();
        self.transmit(node, (from, true), &frames, |frames| Event::ToBroker {
            from,
            life,
            frames,
        });
        Ok(true)
    }

    /// The broker sends to a connection.
    pub(crate) fn send_to_peer(&mut self, peer: Peer, frames: &Frames) {
        let to = address_of(peer);
        let Some(node) = self.addresses.get(to as usize - 1).map(|(node, _)| *node) else {
            return;
        };
        self.transmit(node, (to, false), frames, |frames| Event::ToPeer { to, frames });
    }

    pub(crate) fn count_flying(&mut self, frames: &Frames) {
        self.flying += u32::from(counts(frames));
    }

    fn transmit(&mut self, node: Node, link: (u32, bool), frames: &Frames, event: impl Fn(Frames) -> Event) {
        let client = match node {
            Node::Client(index) => Some(index),
            _ => None,
        };
        let arrivals = self.links.arrivals(self.now, link, client);
        if self.is_cut(node) || arrivals[0].is_none() {
            let way = if link.1 { "from" } else { "to" };
            return self.note(|| format!("lost {way} {node:?}: {}", frames_text(frames)));
        }
        for at in arrivals.into_iter().flatten() {
            self.count_flying(frames);
            self.push(at, event(frames.clone()));
        }
    }

    fn broker_receives(&mut self, from: u32, life: u32, frames: &Frames) -> Verdict {
        let node = self.addresses[from as usize - 1].0;
        let number = number_of(&frames.header);
        // A slot's or a worker's connection is local: it delivers nothing once another has taken its place.
        let stale = !matches!(node, Node::Client(_)) && self.address_of(node) != from;
        if stale || life != self.broker.life || self.broker.machine.is_none() {
            self.trace.note(self.now, [1, number], || {
                format!("gone with its connection: {}", frames_text(frames))
            });
            return Ok(());
        }
        self.trace.note(self.now, [2, number], || {
            format!("{node:?} -> broker: {}", frames_text(frames))
        });
        let (Some(peer), Ok(head)) = (peer_of(from), Head::peek(&frames.header)) else {
            return hold(false, "what is sent can be read", || frames_text(frames));
        };
        if !head.command.is_routed() {
            let message = decode(frames)?;
            return self.with_broker(|machine, now, out| machine.on_message(now, peer, message, out));
        }
        let mut to = None;
        self.with_broker(|machine, now, out| to = machine.route(now, peer, head, out))?;
        if let Some(to) = to {
            self.send_to_peer(to, frames);
        }
        Ok(())
    }

    fn peer_receives(&mut self, to: u32, frames: &Frames) -> Verdict {
        let node = self.addresses[to as usize - 1].0;
        let number = number_of(&frames.header);
        if self.address_of(node) != to {
            self.trace.note(self.now, [3, number], || {
                format!("{node:?} has left that connection: {}", frames_text(frames))
            });
            return Ok(());
        }
        self.trace.note(self.now, [4, number], || {
            format!("broker -> {node:?}: {}", frames_text(frames))
        });
        let message = decode(frames)?;
        self.credit.on_received(&message);
        match node {
            Node::Broker => Ok(()),
            Node::Control(index) => self.control_receives(index, &message),
            Node::Slot(index) => self.with_slot(index, |machine, now, out| machine.on_message(now, message, out)),
            Node::Client(index) => {
                if let Message::Closed(closed) = &message {
                    self.books.told(hit_index(closed.hit), closed)?;
                }
                self.with_client(index, |machine, now, out| {
                    machine.on_message(now, Route::Broker, message, out);
                })
            }
        }
    }

    /// A broker with the next term.
    pub(crate) fn new_broker(&self) -> broker::Machine {
        let config = broker::Config {
            host: "sim".to_owned(),
            pid: 1,
            term: Term(u64::from(self.broker.life)),
            dir: DirId([7; 16]),
            version: "0".to_owned(),
            interval: INTERVAL,
            liveness: LIVENESS,
            patience: INTERVAL * 5,
            elected: false,
        };
        broker::Machine::new(self.now, config)
    }
}

pub(crate) fn counts(frames: &Frames) -> bool {
    Head::peek(&frames.header).is_ok_and(|head| head.command != Command::Heartbeat)
}

pub(crate) fn decode(frames: &Frames) -> Result<Message, Broken> {
    Message::decode(&frames.header, frames.body.clone()).map_err(|error| Broken {
        invariant: "what is sent can be read",
        detail: error.to_string(),
    })
}

pub(crate) fn frames_text(frames: &Frames) -> String {
    decode(frames).map_or_else(|broken| broken.detail, |message| message_text(&message))
}

pub(crate) fn peer_of(address: u32) -> Option<Peer> {
    let [a, b, c, d] = address.to_be_bytes();
    Peer::from_routing_id(&[0, a, b, c, d])
}

pub(crate) fn address_of(peer: Peer) -> u32 {
    let id = peer.routing_id();
    id.iter().fold(0, |all, byte| (all << 8) | u32::from(*byte))
}
