//! `zhit broker`: takes the host's lock, serves until it is asked to leave, leaves nothing behind.

use std::time::Duration;

use tracing::{error, info, warn};

use crate::clock;
use crate::election::holder::HolderError;
use crate::election::journal::Unjournalled;
use crate::election::kept;
use crate::election::verdict::Elected;
use crate::fault::{self, Point};
use crate::mapped::{Counters, MappedError};
use crate::net::{Context, NetError, Waker, raise_descriptor_limit};
use crate::notify;
use crate::options::{BrokerOptions, Office};
use crate::protocol::message::Yield;
use crate::protocol::time::Moment;
use crate::runtime::{BrokerLock, Record, RuntimeDir, RuntimeError};
use crate::signals::Stop;

use super::machine::Config;
use super::office;
use super::run::{Loop, LoopError};

/// Why a broker does not serve.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// Another one holds the host's lock.
    #[error("a broker serves this host already: {0}; one is enough; to serve in its place: zhit broker --takeover")]
    Taken(String),
    /// Another one was promised the office.
    #[error("pid {0} is about to serve this host; leave it be, or try again in a moment")]
    Promised(u32),
    /// The holder was asked to leave and does not.
    #[error("the broker was asked to leave and does not: {0}; to kill it: zhit broker --takeover --force")]
    Stays(String),
    /// A signal came first.
    #[error("stopped while it waited for the office")]
    Stopped,
    /// The holder cannot be killed.
    #[error(transparent)]
    Holder(#[from] HolderError),
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

/// Why a broker leaves its office.
enum Ended {
    /// It was told to.
    Told,
    /// Another one wants it.
    Wanted(Yield),
    /// Nobody needs it (rule E5).
    Unneeded,
}

/// Serves until `stop` says so, another takes the office over, or, if it was elected, nobody needs it.
///
/// # Errors
/// [`BrokerError`] when it cannot begin, or cannot go on.
pub fn serve(
    options: &BrokerOptions,
    again: fn() -> Result<BrokerOptions, String>,
    dir: &RuntimeDir,
    context: &Context,
    stop: &Stop,
) -> Result<(), BrokerError> {
    raise_descriptor_limit();
    let waker = Waker::new()?;
    stop.register(&waker);
    let Some(lock) = office::take(options.office, dir, context, stop, &waker)? else {
        return Ok(());
    };
    fault::at(Point::Locked);
    let elected = options.office == Office::Elected;
    let term = lock.begin_term(dir, options.heard)?;
    let counters = Counters::create(dir, dir.broker_beat(), 1)?;
    let config = Config {
        host: options.place.host.clone(),
        pid: std::process::id(),
        term,
        dir: dir.id()?,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        interval: options.timing.interval,
        liveness: options.timing.liveness,
        patience: options.timing.patience,
        elected,
    };
    let unjournalled = Unjournalled::open(dir)?;
    let mut turns = Loop::new(
        config,
        options.timing,
        context,
        dir.try_clone()?,
        counters,
        unjournalled,
    )?;
    turns.set_hosts(&options.hosts)?;
    turns.inherit()?;
    Record {
        layout_digest: options.hosts.layout,
        ..Record::of_this_process(term, elected)
    }
    .write(dir)?;
    info!(
        "broker of {} serves (pid {}, term {term})",
        options.place.host,
        std::process::id()
    );
    if !elected {
        notify::ready();
    }
    let heir = Heir {
        served_at: clock::now(),
        elected: Elected {
            term,
            pid: std::process::id(),
            within: Duration::ZERO,
        },
    };
    heir.complete_trail(dir);
    let office = (&lock, dir, &heir);
    let ended = serve_until_asked(&mut turns, office, (options, again), stop, &waker)?;
    match ended {
        Ended::Told => finish(&mut turns, options.grace, stop, &waker)?,
        Ended::Wanted(wanted) => info!("leaving the office to pid {}", wanted.pid),
        Ended::Unneeded => info!("leaving: no member and no client is here any more"),
    }
    if !elected {
        notify::stopping();
    }
    turns.say_farewell()?;
    // Rule E3: what is ours is taken away before the lock falls.
    drop(turns);
    fault::at(Point::Unlinked);
    let wanted = match ended {
        Ended::Wanted(wanted) => Some(wanted),
        Ended::Told | Ended::Unneeded => None,
    };
    office::leave(dir, &lock, wanted)?;
    drop(lock);
    Ok(())
}

/// The end of the story of a predecessor that was killed.
struct Heir {
    served_at: Moment,
    elected: Elected,
}

impl Heir {
    /// Whoever killed the predecessor may write the trail a moment after this broker has begun to serve.
    fn complete_trail(&self, dir: &RuntimeDir) {
        match kept::complete(dir, self.served_at, self.elected) {
            Ok(None) => {}
            Ok(Some(kept)) => {
                warn!("{}", kept.text);
                info!(event = %kept.event, "verdict");
            }
            Err(error) => warn!(%error, "the trail of the verdict cannot be kept"),
        }
    }
}

fn serve_until_asked(
    turns: &mut Loop,
    (lock, dir, heir): (&BrokerLock, &RuntimeDir, &Heir),
    (options, again): (&BrokerOptions, fn() -> Result<BrokerOptions, String>),
    stop: &Stop,
    waker: &Waker,
) -> Result<Ended, BrokerError> {
    let interval = options.timing.interval;
    let mut check_at = clock::now() + interval;
    let mut reloads = stop.reloads();
    while stop.stage() == 0 {
        turns.turn(waker)?;
        if stop.reloads() != reloads {
            reloads = stop.reloads();
            reload(turns, options, again())?;
        }
        if let Some(wanted) = turns.wanted() {
            return Ok(Ended::Wanted(wanted));
        }
        if turns.is_unneeded() {
            return Ok(Ended::Unneeded);
        }
        if clock::now() >= check_at {
            check_at = clock::now() + interval;
            heir.complete_trail(dir);
            if !lock.is_still_ours() {
                // Rule E4: another may hold the office already; this one says no further word.
                return Err(BrokerError::Wiped);
            }
            turns.mend_socket(&dir.broker_socket())?;
        }
    }
    Ok(Ended::Told)
}

/// Hosts join and leave as the layout says now; what else it says waits for the next start.
fn reload(turns: &mut Loop, options: &BrokerOptions, asked: Result<BrokerOptions, String>) -> Result<(), BrokerError> {
    match asked {
        Err(what) => error!("the layout was not taken over, all stays as it is: {what}"),
        Ok(asked) if asked.place.host != options.place.host || asked.place.cluster != options.place.cluster => {
            let (here, there) = (&options.place, &asked.place);
            error!(
                "the layout was not taken over: it is for {} of {} now, and this broker serves {} of {}",
                there.host, there.cluster, here.host, here.cluster
            );
        }
        Ok(asked) => {
            turns.set_hosts(&asked.hosts)?;
            let count = asked.hosts.addresses.len();
            info!("the layout was read again: {count} hosts of it have an address");
            if asked.timing != options.timing {
                warn!("heartbeats stay as they were until the broker starts anew");
            }
        }
    }
    Ok(())
}

/// Told to leave, a broker does not wait for Hits while members are there that elect the next one, which finds them
/// (rule E5). Where nobody would, Hits have the grace to finish.
fn finish(turns: &mut Loop, grace: Duration, stop: &Stop, waker: &Waker) -> Result<(), BrokerError> {
    turns.leave()?;
    if turns.hits() == 0 || turns.has_electors() {
        info!("leaving");
        return Ok(());
    }
    info!(
        "leaving: {} Hits run; they have {} to finish",
        turns.hits(),
        humantime::format_duration(grace)
    );
    let until = clock::now() + grace;
    while turns.hits() > 0 && clock::now() < until && stop.stage() < 2 {
        turns.turn(waker)?;
    }
    if turns.hits() > 0 {
        warn!("leaving: {} Hits still run; the next broker finds them", turns.hits());
    }
    Ok(())
}
