//! `zhit worker`: enters the host's members, starts its slots, serves until it is asked to leave.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tracing::{error, info, warn};

use crate::clock;
use crate::election::journal::{self, JournalError};
use crate::election::vote::Voter;
use crate::mapped::{Counters, MappedError, Words};
use crate::net::{Context, NetError, Waker, raise_descriptor_limit};
use crate::options::WorkerOptions;
use crate::protocol::ids::{SlotId, Term};
use crate::runtime::{Member, RuntimeDir, RuntimeError};
use crate::signals::{self, Stop};

use super::ballots::Ballots;
use super::control::Control;
use super::door::Door;
use super::elector::Elector;
use super::herald::{self, Herald, HeraldError};
use super::lease::Identity;
use super::office::OfficeWatch;
use super::service::{self, Current, Service};
use super::slot::{Common, Orders, SlotLoop};

/// How long a worker that is to stop now waits for its slots to kill what they run; the process has 200 ms in all.
const KILL_WAIT: Duration = Duration::from_millis(100);

/// Why a worker does not serve.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The runtime directory.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// The network.
    #[error(transparent)]
    Net(#[from] NetError),
    /// Its loop counters.
    #[error(transparent)]
    Map(#[from] MappedError),
    /// Its journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The system has no room for another thread.
    #[error("cannot start a slot's thread: {0}; lower --slots or raise the limit of processes (ulimit -u)")]
    Thread(io::Error),
    /// The thread of broadcasts.
    #[error("cannot start the thread that answers broadcasts: {0}")]
    Herald(HeraldError),
    /// A slot's thread ended by an error, which was logged.
    #[error("{0} slots ended early; the log says why")]
    Slots(u32),
}

/// The worker's threads.
struct Slots {
    threads: Vec<JoinHandle<()>>,
    failed: Arc<AtomicU32>,
}

impl Slots {
    fn have_ended(&self) -> bool {
        self.threads.iter().all(JoinHandle::is_finished)
    }
}

/// Serves until `stop` says so. `open` opens the host's runtime directory, again whenever the worker's entry in it is
/// gone: then the worker finishes what it runs, and enters as a new one (rule A5). `again` says what is asked of it when its
/// layout is to be read again.
///
/// # Errors
/// [`WorkerError`] when it cannot begin, or cannot go on.
pub fn serve(
    options: &WorkerOptions,
    open: impl Fn() -> Result<RuntimeDir, RuntimeError>,
    again: impl Fn() -> Result<WorkerOptions, String>,
    context: &Context,
    stop: &Stop,
) -> Result<(), WorkerError> {
    raise_descriptor_limit();
    signals::keep_children().map_err(WorkerError::Thread)?;
    let woken = Waker::new()?;
    stop.register(&woken);
    // Rule E2: a directory that was wiped does not know the terms that were in it.
    let mut heard = Term(0);
    let mut options = options.clone();
    loop {
        let dir = open()?;
        let term = journal::term_word(&dir)?;
        let journal = |id, incarnation| journal::open_for(&dir, (id, incarnation), (options.slots, &options.pool));
        let (member, journal) = Member::enter_with(&dir, options.elects, journal)?;
        let serving = Serving::start(&options, &dir, (&member, heard), journal, (context, &woken))?;
        let ended = serving.run(stop, &again)?;
        heard = heard.max(Term(term.load(0)));
        member.leave();
        match ended {
            Ended::Asked => return Ok(()),
            Ended::Absent(reloaded) => {
                warn!("entering anew");
                options = reloaded.map_or(options, |reloaded| *reloaded);
            }
        }
    }
}

fn start(slot: SlotLoop, number: u32, done: Waker, failed: Arc<AtomicU32>) -> Result<JoinHandle<()>, WorkerError> {
    let thread = signals::spawn(&format!("slot {number}"), move || {
        if let Err(error) = slot.run() {
            error!(slot = number, %error, "the slot cannot go on");
            failed.fetch_add(1, Ordering::Release);
        }
        done.wake();
    });
    thread.map_err(WorkerError::Thread)
}

/// Why a worker stopped serving.
enum Ended {
    /// It was asked to.
    Asked,
    /// Its entry in the runtime directory is gone; and what it was asked since by another layout, if it was.
    Absent(Option<Box<WorkerOptions>>),
}

/// One presence: from entering the members to leaving them.
struct Serving<'a> {
    options: &'a WorkerOptions,
    member: &'a Member,
    control: Control,
    common: Arc<Common>,
    slots: Slots,
    woken: Waker,
}

impl<'a> Serving<'a> {
    /// Starts the slots' threads.
    fn start(
        options: &'a WorkerOptions,
        dir: &RuntimeDir,
        (member, heard): (&'a Member, Term),
        journal: Arc<Words>,
        (context, woken): (&Context, &Waker),
    ) -> Result<Self, WorkerError> {
        let woken = woken.clone();
        let count = 1 + options.slots as usize;
        let counters = Arc::new(Counters::create(dir, &dir.member_beat(member.id()), count)?);
        let orders = Arc::new(Orders::default());
        let service = Service::of(options);
        service.warn_if_missing();
        let common = Arc::new(Common {
            service: Current::new(service),
            interval: options.timing.interval,
            liveness: options.timing.liveness,
            patience: options.timing.patience,
            runtime_dir: dir.path().to_owned(),
            broker_socket: dir.broker_socket(),
            counters: Arc::clone(&counters),
            orders: Arc::clone(&orders),
            journal,
            term: journal::term_word(dir)?,
        });
        let (mut wakers, mut threads) = (Vec::new(), Vec::new());
        let failed = Arc::default();
        for number in 1..=options.slots {
            let waker = Waker::new()?;
            let me = identity(options, member, number);
            let quiet = options.timing.interval * options.timing.liveness;
            let door = Door::new(context, dir.slot_socket(me.slot), options.direct.clone(), quiet);
            let slot = SlotLoop::new(me, Arc::clone(&common), (context, door), waker.clone())?;
            wakers.push(waker);
            threads.push(start(slot, number, woken.clone(), Arc::clone(&failed))?);
        }
        let timing = (options.timing.interval, options.timing.liveness);
        let socket = dir.broker_socket();
        let me = identity(options, member, 0);
        let elector = options
            .elects
            .then(|| elector(options, dir, (member, heard), context))
            .transpose()?;
        let command = options.on_broadcast.as_ref();
        let command = command.map(|command| command.to_string_lossy().into_owned());
        let around = surroundings(options, dir, &me, &common.journal);
        let herald = Herald::start(command, around, woken.clone()).map_err(WorkerError::Herald)?;
        let control = Control::new(
            me,
            timing,
            (context, &socket),
            orders,
            (wakers, counters),
            (elector, herald),
        )?;
        let slots = Slots { threads, failed };
        Ok(Self {
            options,
            member,
            control,
            common,
            slots,
            woken,
        })
    }

    fn run(mut self, stop: &Stop, again: impl Fn() -> Result<WorkerOptions, String>) -> Result<Ended, WorkerError> {
        let interval = self.options.timing.interval;
        let (mut reloads, mut reloaded) = (stop.reloads(), None);
        let mut check_at = clock::now() + interval;
        let mut absent = false;
        while stop.stage() == 0 && !absent && self.slots.failed.load(Ordering::Acquire) == 0 {
            self.control.turn(&self.woken)?;
            if stop.reloads() != reloads {
                reloads = stop.reloads();
                reloaded = self.reload(again()).or(reloaded);
            }
            if clock::now() >= check_at {
                check_at = clock::now() + interval;
                absent = !self.member.is_still_present();
            }
        }
        if absent {
            error!(
                "the entry of {} in the runtime directory is gone; finishing what runs",
                self.member.id()
            );
        }
        self.drain(stop)?;
        match self.slots.failed.load(Ordering::Acquire) {
            0 if stop.stage() == 0 => Ok(Ended::Absent(reloaded)),
            0 => Ok(Ended::Asked),
            failed => Err(WorkerError::Slots(failed)),
        }
    }

    /// New Hits get what is asked for now; those that run finish with what they have.
    fn reload(&self, asked: Result<WorkerOptions, String>) -> Option<Box<WorkerOptions>> {
        let asked = match asked {
            Ok(asked) => asked,
            Err(what) => {
                error!("the layout was not taken over, all stays as it is: {what}");
                return None;
            }
        };
        if self.common.service.set(Service::of(&asked)) {
            info!(
                "the layout was read again: new Hits of pool {} get its handler",
                asked.pool
            );
        } else {
            info!("the layout was read again: nothing new for pool {}", asked.pool);
        }
        let not_changed = service::not_changed(self.options, &asked);
        if !not_changed.is_empty() {
            warn!(
                "to be had by starting the worker again only: {}",
                not_changed.join(", ")
            );
        }
        Some(Box::new(asked))
    }

    /// Takes no new Hit, lets what runs finish within the grace, says goodbye.
    fn drain(&mut self, stop: &Stop) -> Result<(), WorkerError> {
        self.control.drain()?;
        let until = clock::now() + self.options.grace;
        info!(
            "leaving; what runs has {} to finish",
            humantime::format_duration(self.options.grace)
        );
        let mut abandoned = false;
        while !(self.slots.have_ended() && (abandoned || self.control.has_answered())) && stop.stage() < 2 {
            self.control.turn(&self.woken)?;
            if !abandoned && clock::now() >= until {
                warn!("the grace is over; what still runs is ended");
                abandoned = true;
                self.control.abandon();
            }
        }
        if !self.slots.have_ended() {
            self.kill()?;
        }
        journal::leave(&*self.common.journal);
        self.control.say_goodbye(&self.woken)?;
        Ok(())
    }

    /// Stop now: what runs is killed, and its files are taken away.
    fn kill(&mut self) -> Result<(), WorkerError> {
        self.control.kill();
        let until = clock::now() + KILL_WAIT;
        loop {
            let left = until.since(clock::now());
            if left.is_zero() || self.slots.have_ended() {
                return Ok(());
            }
            self.control.turn_within(&self.woken, left)?;
        }
    }
}

fn surroundings(
    options: &WorkerOptions,
    dir: &RuntimeDir,
    me: &Identity,
    journal: &Arc<Words>,
) -> herald::Surroundings {
    herald::Surroundings {
        pool: options.pool.clone(),
        host: options.place.host.clone(),
        slot: me.slot,
        grace: options.grace,
        patience: options.timing.patience,
        runtime_dir: dir.path().to_owned(),
        journal: Arc::clone(journal),
    }
}

fn elector(
    options: &WorkerOptions,
    dir: &RuntimeDir,
    (member, heard): (&Member, Term),
    context: &Context,
) -> Result<Elector, WorkerError> {
    let (place, timing) = (options.place.clone(), options.timing);
    let me = Voter {
        id: member.id(),
        incarnation: member.incarnation(),
    };
    let ballots = Ballots::new(context, dir.try_clone()?, place.host.clone(), timing, me)?;
    Ok(Elector::new(
        OfficeWatch::new(dir.try_clone()?, place, timing, me.id, heard),
        ballots,
    ))
}

fn identity(options: &WorkerOptions, member: &Member, number: u32) -> Identity {
    Identity {
        slot: SlotId {
            worker: member.id(),
            number,
        },
        incarnation: member.incarnation(),
        pid: std::process::id(),
        pool: options.pool.clone(),
        slots: options.slots,
        journal: true,
        votes: options.elects,
    }
}
