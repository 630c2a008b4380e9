//! `zhit worker`: enters the host's members, starts its slots, serves until it is asked to leave.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;

use tracing::{error, info, warn};

use crate::clock;
use crate::mapped::{Counters, MappedError};
use crate::net::{Context, NetError, Waker, raise_descriptor_limit};
use crate::options::{Handler, WorkerOptions};
use crate::protocol::ids::SlotId;
use crate::protocol::time::Moment;
use crate::runtime::{Member, RuntimeDir, RuntimeError};
use crate::signals::{self, Stop};

use super::control::Control;
use super::handler::Spec;
use super::lease::Identity;
use super::slot::{Common, Orders, SlotLoop};

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
    /// Rule A5: its entry is gone and cannot be had again.
    #[error("the entry of {0} in the runtime directory is gone; its Hits were finished; start the worker again")]
    Absent(String),
    /// The system has no room for another thread.
    #[error("cannot start a slot's thread: {0}; lower --slots or raise the limit of processes (ulimit -u)")]
    Thread(io::Error),
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

/// Serves until `stop` says so.
///
/// # Errors
/// [`WorkerError`] when it cannot begin, or cannot go on.
pub fn serve(options: &WorkerOptions, dir: &RuntimeDir, context: &Context, stop: &Stop) -> Result<(), WorkerError> {
    raise_descriptor_limit();
    let woken = Waker::new()?;
    stop.register(&woken);
    let member = Member::enter(dir)?;
    let counters = Arc::new(Counters::create(
        dir,
        &dir.member_beat(member.id()),
        1 + options.slots as usize,
    )?);
    let me = |number| Identity {
        slot: SlotId {
            worker: member.id(),
            number,
        },
        incarnation: member.incarnation(),
        pid: std::process::id(),
        pool: options.pool.clone(),
        slots: options.slots,
    };
    let orders = Arc::new(Orders::default());
    let common = Arc::new(Common {
        spec: spec(&options.handler),
        grace: options.grace,
        interval: options.timing.interval,
        liveness: options.timing.liveness,
        runtime_dir: dir.path().to_owned(),
        broker_socket: dir.broker_socket(),
        counters: Arc::clone(&counters),
        orders: Arc::clone(&orders),
    });
    let mut wakers = Vec::new();
    let mut slots = Slots {
        threads: Vec::new(),
        failed: Arc::default(),
    };
    for number in 1..=options.slots {
        let waker = Waker::new()?;
        let slot = SlotLoop::new(me(number), Arc::clone(&common), context, waker.clone())?;
        wakers.push(waker);
        slots
            .threads
            .push(start(slot, number, woken.clone(), Arc::clone(&slots.failed))?);
    }
    let timing = (options.timing.interval, options.timing.liveness);
    let socket = dir.broker_socket();
    let control = Control::new(me(0), timing, (context, &socket), orders, wakers, counters)?;
    let served = Serving {
        options,
        member: &member,
        control,
        slots,
        woken,
    }
    .run(stop);
    member.leave();
    served
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

fn spec(handler: &Handler) -> Spec {
    match handler {
        Handler::Builtin(builtin) => Spec::Builtin(*builtin),
        Handler::Command(words) => Spec::Process(words.clone()),
        Handler::Shell(text) => Spec::Shell(text.to_string_lossy().into_owned()),
    }
}

struct Serving<'a> {
    options: &'a WorkerOptions,
    member: &'a Member,
    control: Control,
    slots: Slots,
    woken: Waker,
}

impl Serving<'_> {
    fn run(mut self, stop: &Stop) -> Result<(), WorkerError> {
        let interval = self.options.timing.interval;
        let mut check_at = clock::now() + interval;
        let mut absent = false;
        while stop.stage() == 0 && !absent && self.slots.failed.load(Ordering::Acquire) == 0 {
            self.control.turn(&self.woken)?;
            if clock::now() >= check_at {
                check_at = clock::now() + interval;
                absent = !self.member.is_still_present();
            }
        }
        if absent {
            error!("the entry of {} is gone; leaving", self.member.id());
        }
        self.drain(stop)?;
        let failed = self.slots.failed.load(Ordering::Acquire);
        match (failed, absent) {
            (0, false) => Ok(()),
            (0, true) => Err(WorkerError::Absent(self.member.id().to_string())),
            (failed, _) => Err(WorkerError::Slots(failed)),
        }
    }

    /// Takes no new Hit, lets what runs finish within the grace, says goodbye.
    fn drain(&mut self, stop: &Stop) -> Result<(), WorkerError> {
        self.control.drain()?;
        let until = clock::now() + self.options.grace;
        info!("leaving; what runs has {:?} to finish", self.options.grace);
        let mut abandoned_at: Option<Moment> = None;
        while !self.slots.have_ended() && stop.stage() < 2 {
            self.control.turn(&self.woken)?;
            if abandoned_at.is_none() && clock::now() >= until {
                warn!("the grace is over; what still runs is ended");
                abandoned_at = Some(clock::now());
                self.control.abandon();
            }
        }
        self.control.say_goodbye(&self.woken)?;
        Ok(())
    }
}
