//! `zhit broker`: takes the host's lock, serves until it is asked to leave, leaves nothing behind.

use std::time::Duration;

use tracing::{info, warn};

use crate::clock;
use crate::mapped::{Counters, MappedError};
use crate::net::{Context, NetError, Waker, raise_descriptor_limit};
use crate::options::BrokerOptions;
use crate::protocol::ids::Term;
use crate::runtime::{BrokerLock, Record, RuntimeDir, RuntimeError};
use crate::signals::Stop;

use super::machine::Config;
use super::run::{Loop, LoopError};

/// A lock that is only being asked about looks held for a moment (rule E1).
const LOCK_RETRY: Duration = Duration::from_millis(50);

/// Why a broker does not serve.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// Another one holds the host's lock.
    #[error("a broker serves this host already: {0}; stop it first, or leave it be: one is enough")]
    Taken(String),
    /// Rule E4: the lock's file is gone, so the lock is worth nothing.
    #[error("the host's lock file is gone: somebody has wiped the runtime directory; start the broker again")]
    Wiped,
    /// The runtime directory.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// The network.
    #[error(transparent)]
    Net(#[from] NetError),
    /// Its loop.
    #[error(transparent)]
    Loop(#[from] LoopError),
    /// Its loop counter.
    #[error(transparent)]
    Map(#[from] MappedError),
}

/// Serves until `stop` says so.
///
/// # Errors
/// [`BrokerError`] when it cannot begin, or cannot go on.
pub fn serve(options: &BrokerOptions, dir: &RuntimeDir, context: &Context, stop: &Stop) -> Result<(), BrokerError> {
    raise_descriptor_limit();
    let waker = Waker::new()?;
    stop.register(&waker);
    let Some(lock) = BrokerLock::take_within(dir, LOCK_RETRY)? else {
        return Err(BrokerError::Taken(holder(dir)));
    };
    let term = lock.begin_term(dir, Term(0))?;
    let counters = Counters::create(dir, dir.broker_beat(), 1)?;
    let config = Config {
        host: options.place.host.clone(),
        pid: std::process::id(),
        term,
        dir: dir.id()?,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        interval: options.timing.interval,
        liveness: options.timing.liveness,
    };
    let mut turns = Loop::new(config, options.timing, context, &dir.broker_socket(), counters)?;
    Record::of_this_process(term).write(dir)?;
    info!(
        "broker of {} serves (pid {}, term {term})",
        options.place.host,
        std::process::id()
    );
    let served = serve_until_asked(&mut turns, options, &lock, stop, &waker);
    // Rule E3: what is ours is taken away before the lock falls.
    drop(turns);
    if lock.is_still_ours() {
        Record::remove(dir)?;
    }
    drop(lock);
    served
}

fn holder(dir: &RuntimeDir) -> String {
    match Record::read(dir) {
        Ok(Some(record)) => format!("pid {}, term {}", record.pid, record.term),
        Ok(None) => "it has not written its record yet".to_owned(),
        Err(error) => format!("its record cannot be read: {error}"),
    }
}

fn serve_until_asked(
    turns: &mut Loop,
    options: &BrokerOptions,
    lock: &BrokerLock,
    stop: &Stop,
    waker: &Waker,
) -> Result<(), BrokerError> {
    let (interval, grace) = (options.timing.interval, options.grace);
    let mut check_at = clock::now() + interval;
    while stop.stage() == 0 {
        turns.turn(waker)?;
        if clock::now() >= check_at {
            check_at = clock::now() + interval;
            if !lock.is_still_ours() {
                // Rule E4: another may hold the office already; this one says no further word.
                return Err(BrokerError::Wiped);
            }
        }
    }
    turns.leave()?;
    let until = clock::now() + grace;
    if turns.hits() > 0 {
        info!(
            "leaving: {} Hits run; they have {} to finish",
            turns.hits(),
            humantime::format_duration(grace)
        );
    }
    while turns.hits() > 0 && clock::now() < until && stop.stage() < 2 {
        turns.turn(waker)?;
    }
    if turns.hits() > 0 {
        warn!("leaving: {} Hits still run; the next broker finds them", turns.hits());
    }
    turns.say_farewell()?;
    Ok(())
}
