//! A slot's thread: one loop over its socket, its handler's pipes and its waker, around the pure machine in `lease`.
//!
//! The thread owns its socket for life, and every request of a Hit runs here: no request crosses a thread.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tracing::{debug, warn};

use crate::clock;
use crate::eager::Eager;
use crate::election::journal::{Entry, SlotWriter};
use crate::election::verdict::Watch;
use crate::fault::{self, Point};
use crate::mapped::spawn::GroupCell;
use crate::mapped::{Counters, Words, WordsView};
use crate::net::{Context, Dealer, Interest, NetError, Poll, Received, Sent, Waker};
use crate::protocol::Message;
use crate::protocol::ids::{HitKey, Peer, SlotId, Term};
use crate::protocol::limits::{CHUNK_BYTES_MAX, MESSAGES_PER_TURN_MAX, WINDOW_BYTES};
use crate::protocol::message::{Holder, WorkState};
use crate::protocol::pool::Probe;
use crate::protocol::status::Status;
use crate::protocol::time::{Moment, earliest};

use super::door::Door;
use super::handler::{Left, Output, RequestContext, Running, Spec};
use super::lease::{Action, Identity, Slot};
use super::residents::Residents;
use super::scratch::Scratch;
use super::service::{Current, Service};
use super::stall::Stall;

/// What one turn takes from a handler before the loop looks at its socket and bumps its counter again (rule A1).
const TURN_BYTES_MAX: usize = WINDOW_BYTES as usize;

/// From SIGTERM to SIGKILL for a handler that has had the whole grace of a leaving worker to finish.
const LAST_GRACE: Duration = Duration::from_millis(500);

/// What the control thread tells its slots; a slot looks at it when woken, and each turn.
#[derive(Debug, Default)]
pub(super) struct Orders {
    /// Take no new Hit.
    pub(super) drain: AtomicBool,
    /// The grace is over: end what runs.
    pub(super) abandon: AtomicBool,
    /// Kill what runs.
    pub(super) kill: AtomicBool,
    /// How often a broker came to know the worker: one that is new, or that had forgotten it, must be told of the slots,
    /// too.
    pub(super) registrations: AtomicU64,
}

/// What every slot of a worker shares.
pub(super) struct Common {
    pub(super) service: Current,
    pub(super) interval: Duration,
    pub(super) liveness: u32,
    pub(super) patience: Duration,
    pub(super) runtime_dir: PathBuf,
    pub(super) broker_socket: PathBuf,
    pub(super) counters: Arc<Counters>,
    pub(super) orders: Arc<Orders>,
    pub(super) journal: Arc<Words>,
    pub(super) term: WordsView,
}

/// The thread's own state.
pub(super) struct SlotLoop {
    common: Arc<Common>,
    /// What serves the Hit, or served the last.
    service: Arc<Service>,
    pool: String,
    machine: Slot,
    dealer: Dealer,
    door: Door,
    waker: Waker,
    eager: Eager,
    journal: SlotWriter<Arc<Words>>,
    running: Option<Running>,
    residents: Residents,
    /// The process that holds the Hit.
    holder: Option<Watch>,
    scratch: Option<Scratch>,
    actions: Vec<Action>,
    outputs: Vec<Output>,
    registration_seen: u64,
    no_route: bool,
    /// When to look again what the handler does.
    look_at: Moment,
    /// What it said of its progress, and since when it has said nothing else.
    stall: Stall,
    /// When the grace of the leaving worker was over.
    abandoned_at: Option<Moment>,
}

impl SlotLoop {
    /// A slot with its socket, and its own that is to be.
    pub(super) fn new(
        me: Identity,
        common: Arc<Common>,
        (context, door): (&Context, Door),
        waker: Waker,
    ) -> Result<Self, NetError> {
        let mut dealer = Dealer::new(context)?;
        dealer.connect(&common.broker_socket)?;
        let pool = me.pool.clone();
        let journal = SlotWriter::new(Arc::clone(&common.journal), me.slot.number);
        Ok(Self {
            machine: Slot::new(me, common.interval, common.liveness),
            service: common.service.get(),
            common,
            pool,
            dealer,
            door,
            waker,
            eager: Eager::new(),
            journal,
            running: None,
            residents: Residents::default(),
            holder: None,
            scratch: None,
            actions: Vec::new(),
            outputs: Vec::new(),
            registration_seen: 0,
            no_route: true,
            look_at: Moment::ZERO,
            stall: Stall::new(Moment::ZERO),
            abandoned_at: None,
        })
    }

    const fn id(&self) -> SlotId {
        self.machine.id()
    }

    /// Serves until it is told to leave and has left.
    pub(super) fn run(mut self) -> Result<(), NetError> {
        while !self.machine.has_left() {
            self.common.counters.bump(self.id().number as usize);
            self.obey()?;
            self.look_at_handler();
            self.receive()?;
            self.drive()?;
            self.look_at_resident()?;
            let now = clock::now();
            self.machine.on_tick(now, &mut self.actions);
            self.perform()?;
            if !self.machine.has_left() {
                self.wait()?;
            }
        }
        debug!(slot = %self.id(), "left");
        Ok(())
    }

    fn obey(&mut self) -> Result<(), NetError> {
        let now = clock::now();
        let orders = Arc::clone(&self.common.orders);
        if orders.drain.load(Ordering::Acquire) {
            self.machine.drain(now, &mut self.actions);
        }
        if orders.abandon.load(Ordering::Acquire) {
            self.abandon(now, orders.kill.load(Ordering::Acquire))?;
        }
        let registration = orders.registrations.load(Ordering::Acquire);
        if registration != self.registration_seen {
            self.registration_seen = registration;
            self.machine.register_again(now);
        }
        self.perform()
    }

    /// Whether the handler hangs: its pipes look as if it merely computed.
    fn look_at_handler(&mut self) {
        let now = clock::now();
        let number = self.id().number as usize;
        let room = self.machine.output_room() > 0;
        let Some(running) = self.running.as_ref().filter(|_| self.look_at <= now) else {
            return;
        };
        self.look_at = now + self.common.interval / 2;
        let progress = running.progress();
        // Who waits for the client, for its bytes or for room, cannot get on (rule A2).
        let waits = !room || (running.wants_input() && !self.machine.has_input());
        let seen = (progress, waits);
        let state = self.stall.judge(now, running.state(), seen, self.common.patience);
        self.machine.on_handler_state(state, progress);
        // The broker sees it there, and says so to whoever asks.
        let hung = matches!(state, WorkState::Stopped | WorkState::Stalled);
        self.common.counters.mark_hung(number, hung);
    }

    /// The handler is told to end if it was not; the grace of the worker is not granted to it a second time.
    fn abandon(&mut self, now: Moment, kill: bool) -> Result<(), NetError> {
        let kill_by = *self.abandoned_at.get_or_insert(now) + LAST_GRACE;
        self.machine.abandon(now, &mut self.actions);
        self.perform()?;
        if let Some(running) = &mut self.running {
            running.kill_by(kill_by);
            if kill {
                running.kill();
            }
        }
        self.residents.end(now, kill_by, kill);
        Ok(())
    }

    fn receive(&mut self) -> Result<(), NetError> {
        for _ in 0..MESSAGES_PER_TURN_MAX {
            let Some(received) = self.dealer.recv()? else { break };
            let Received::Frames(frames) = received else {
                warn!(slot = %self.id(), ?received, "dropped what is no message");
                continue;
            };
            match Message::decode(&frames.header, frames.body) {
                Ok(Message::Probe(probe)) => self.on_probe(probe)?,
                Ok(message) => self.machine.on_message(clock::now(), message, &mut self.actions),
                Err(error) => warn!(slot = %self.id(), %error, "dropped what is no message"),
            }
            self.perform()?;
        }
        for _ in 0..MESSAGES_PER_TURN_MAX {
            let Some((peer, message)) = self.door.recv(self.machine.id())? else {
                break;
            };
            self.machine.on_direct(clock::now(), peer, message, &mut self.actions);
            self.perform()?;
        }
        Ok(())
    }

    /// Somebody asks what the slot does.
    fn on_probe(&mut self, probe: Probe) -> Result<(), NetError> {
        self.look_at = Moment::ZERO;
        self.look_at_handler();
        let mut state = self.machine.state(clock::now(), probe);
        let process = self.running.as_ref().and_then(Running::pid);
        state.pid = process.or_else(|| self.residents.pid()).unwrap_or(0);
        self.send(&Message::State(state))
    }

    /// Does what the machine asks; that may make it ask for more.
    fn perform(&mut self) -> Result<(), NetError> {
        while !self.actions.is_empty() {
            for action in std::mem::take(&mut self.actions) {
                match action {
                    Action::Send(message) => self.send(&message)?,
                    Action::SendDirect(peer, message) => self.send_direct(peer, &message)?,
                    Action::Journal(entry) => self.journal(entry),
                    Action::Start { hit, seq, timeout } => self.start(hit, seq, timeout),
                    Action::Stop => {
                        if let Some(running) = &mut self.running {
                            running.stop(clock::now(), Status::Cancelled);
                        }
                    }
                    Action::Watch(holder) => self.watch(holder),
                    Action::Retire => self.residents.retire(clock::now()),
                    Action::Clean => self.clean(),
                }
            }
        }
        Ok(())
    }

    /// Its Hit is held by a process: its end is seen at once. One that cannot be seen, on another host or where process
    /// numbers mean others, keeps the Hit by what it says.
    fn watch(&mut self, holder: Holder) {
        self.holder = Watch::open(holder.pid, holder.start_ticks).filter(|_| holder.pid != 0);
        if self.holder.is_some() {
            self.machine.on_holder_watched();
        }
    }

    fn journal(&mut self, entry: Entry) {
        let now = clock::now();
        self.journal.write(now, entry);
        match entry {
            Entry::Leased { .. } => fault::at(Point::Leased),
            Entry::Started(_) => fault::at(Point::Started),
            Entry::Answered(_) => fault::at(Point::Answered),
            Entry::Attached(_) | Entry::Withdrawn | Entry::Ended(_) => {}
        }
        if let Entry::Leased { .. } = entry {
            self.service = self.common.service.get();
            if let Some(endpoints) = self.door.open(self.machine.id()) {
                self.machine.set_endpoints(endpoints);
            }
            // Rule O3: the entry first, then the word.
            let word = Term(self.common.term.load(0));
            self.machine.on_journalled(now, word, &mut self.actions);
        }
    }

    fn send(&mut self, message: &Message) -> Result<(), NetError> {
        if self.dealer.send(message.encode())? == Sent::NoRoute {
            self.no_route = true;
            self.machine.on_no_route(clock::now());
        }
        Ok(())
    }

    fn send_direct(&mut self, peer: Peer, message: &Message) -> Result<(), NetError> {
        if !self.door.send(peer, message)? {
            self.machine.on_direct_gone(clock::now(), peer, &mut self.actions);
        }
        Ok(())
    }

    fn start(&mut self, hit: HitKey, seq: u64, timeout: Option<Duration>) {
        let slot = self.id();
        let (group, start) = self.journal.group_at();
        let scratch = self
            .scratch
            .get_or_insert_with(|| Scratch::new(&self.common.runtime_dir, slot, hit));
        let context = RequestContext {
            hit,
            seq,
            broadcast: None,
            pool: &self.pool,
            host: self.machine.host(),
            slot,
            scratch,
            grace: self.service.grace,
            timeout: timeout.into_iter().chain(self.service.timeout_max).min(),
            known_at: Some(GroupCell {
                words: Arc::clone(&self.common.journal),
                group,
                start,
            }),
        };
        let mut is_resident = false;
        self.running = Some(match &self.service.spec {
            Spec::Coprocess(talk) => match self.residents.take(talk, &context, &self.journal) {
                Ok(process) => {
                    is_resident = true;
                    Running::ask(process, &context, clock::now())
                }
                Err(note) => Running::not_started(note),
            },
            spec => Running::start(spec, context, clock::now()),
        });
        if is_resident {
            self.machine.on_resident();
            // It is asked before anything else is done, and works meanwhile.
            self.turn_handler(0);
        }
    }

    /// Hands the handler what it wants and there is, and lets it do what it can, with at most so many bytes given. Returns
    /// whether anything was done.
    fn turn_handler(&mut self, room: usize) -> bool {
        let Some(running) = &mut self.running else {
            return false;
        };
        let mut moved = false;
        while running.wants_input()
            && let Some(piece) = self.machine.next_input()
        {
            running.feed(piece.bytes, piece.end.is_some());
            moved = true;
        }
        let before = running.taken();
        running.turn(clock::now(), room, &mut self.outputs);
        let taken = running.taken() - before;
        self.machine.on_taken(taken);
        moved || taken > 0 || !self.outputs.is_empty()
    }

    /// A co-process that is asked nothing has to stay alive and silent, or its Hit is over.
    fn look_at_resident(&mut self) -> Result<(), NetError> {
        let now = clock::now();
        if self.running.is_none()
            && let Some(why) = self.residents.turn(now)
        {
            if let Some((hit, false)) = self.machine.serving() {
                warn!(slot = %self.id(), %hit, "the Hit is over: {why}");
            }
            self.machine.on_resident_gone(now, why, &mut self.actions);
            self.machine.flush(now, &mut self.actions);
        }
        self.perform()
    }

    /// Keeps co-processes started ahead, one a turn.
    fn keep_warm(&mut self) {
        if self.running.is_some() {
            return;
        }
        if self.common.orders.drain.load(Ordering::Acquire) {
            return self.residents.let_cool();
        }
        let next = self.common.service.get();
        let Spec::Coprocess(talk) = &next.spec else {
            return self.residents.let_cool();
        };
        let (pool, host, slot) = (&self.pool, self.machine.host(), self.id());
        let dir = &self.common.runtime_dir;
        self.residents.keep_warm(talk, (pool, host, slot), dir, next.grace);
    }

    fn clean(&mut self) {
        self.holder = None;
        if let Some(mut scratch) = self.scratch.take()
            && let Err(error) = scratch.remove()
        {
            warn!(slot = %self.id(), %error, "the Hit's scratch directory stays");
        }
    }

    /// Moves bytes between the stream and the handler until neither can take more.
    fn drive(&mut self) -> Result<(), NetError> {
        let (mut unsent, mut given) = (0, 0);
        while self.running.is_some() && given < TURN_BYTES_MAX {
            let moved = self.turn_handler(self.machine.output_room());
            let output = self.take_outputs();
            (unsent, given) = (unsent + output, given + output);
            if unsent >= CHUNK_BYTES_MAX || !moved {
                unsent = 0;
                self.machine.flush(clock::now(), &mut self.actions);
            }
            self.perform()?;
            if !moved {
                break;
            }
        }
        self.machine.flush(clock::now(), &mut self.actions);
        self.perform()
    }

    /// Hands what the handler gave to the machine; returns how many bytes that were.
    fn take_outputs(&mut self) -> usize {
        let mut bytes_given = 0;
        for output in self.outputs.drain(..) {
            match output {
                Output::Chunk(channel, bytes) => {
                    bytes_given += bytes.len();
                    self.machine.on_output(channel, bytes);
                }
                Output::Ended { status, note } => {
                    let now = clock::now();
                    match self.running.take().map(Running::leave) {
                        Some(Left::Resident(process)) => self.residents.put(process),
                        Some(Left::Gone(why)) => self.machine.on_resident_gone(now, why, &mut self.actions),
                        Some(Left::Nothing) | None => {}
                    }
                    self.stall = Stall::new(now);
                    self.common.counters.mark_hung(self.machine.id().number as usize, false);
                    self.machine.on_handler_ended(now, status, &note, &mut self.actions);
                }
            }
        }
        bytes_given
    }

    fn wait(&mut self) -> Result<(), NetError> {
        self.keep_warm();
        let now = clock::now();
        let deadline = match &self.running {
            Some(running) => running.next_deadline(),
            None => self.residents.next_deadline(),
        };
        let deadline = earliest(deadline, self.machine.next_deadline());
        // Rule A1: the loop turns at least every quarter of an interval.
        let longest = self.common.interval / 4;
        let hungry = self.running.as_ref().is_some_and(Running::wants_input) && self.machine.has_input();
        let timeout = deadline.map_or(longest, |at| at.since(now).min(longest));
        let timeout = if hungry { Duration::ZERO } else { timeout };
        let room = self.machine.output_room();
        let running = self.running.iter();
        let mut fds: Vec<_> = running.flat_map(|running| running.fds(room)).collect();
        if self.running.is_none() {
            fds.extend(self.residents.fds());
        }
        let mut poll = Poll::new();
        let write = Interest::WRITE.when(self.no_route);
        let dealer = poll.socket(&self.dealer, Interest::READ | write);
        if let Some(router) = self.door.router() {
            poll.socket(router, Interest::READ);
        }
        let waker = poll.fd(&self.waker, Interest::READ);
        let holder = self.holder.as_ref().map(|holder| poll.fd(holder, Interest::READ));
        for item in &fds {
            poll.fd(&item.fd, if item.write { Interest::WRITE } else { Interest::READ });
        }
        // Its client may have the next request ready.
        let expects = self.running.is_none() && self.machine.serving().is_some();
        let ready = self.eager.wait(poll, timeout, expects)?;
        if ready.is_empty() && self.machine.serving().is_some() && !self.dealer.has_route() {
            // Rule A4: no client can be heard, so none is judged silent.
            self.no_route = true;
            self.machine.on_no_route(clock::now());
        }
        if ready.readable(waker) {
            self.waker.drain();
        }
        if holder.is_some_and(|holder| ready.readable(holder)) {
            self.holder = None;
            self.machine.on_holder_ended(clock::now(), &mut self.actions);
        }
        if self.no_route && ready.writable(dealer) {
            self.no_route = false;
            self.machine.register_again(clock::now());
        }
        Ok(())
    }
}
