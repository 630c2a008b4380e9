//! How a broker comes to its host's office, and how it leaves it to the next (rules E1, E3).

use std::time::Duration;

use tracing::{info, warn};

use crate::clock;
use crate::election::holder;
use crate::net::{Context, Dealer, Interest, NetError, Poll, Received, Sent, Waker};
use crate::options::{Office, Takeover};
use crate::protocol::Message;
use crate::protocol::message::{Disconnect, Yield};
use crate::protocol::time::Moment;
use crate::runtime::{BrokerLock, Record, Reservation, RuntimeDir, RuntimeError, start_ticks};
use crate::signals::Stop;

use super::serve::BrokerError;

/// A lock that is only being asked about looks held for a moment (rule E1).
const LOCK_RETRY: Duration = Duration::from_millis(50);

/// How long a holder that was asked to leave may take: it has nothing to wait for.
const HANDOVER_MAX: Duration = Duration::from_secs(3);

/// How often it is asked, and how often its lock is tried meanwhile.
const ASK_AGAIN: Duration = Duration::from_millis(250);
const TRY_AGAIN: Duration = Duration::from_millis(2);

/// Takes the office; `None` if another has it, or is promised it, and that is fine.
///
/// # Errors
/// [`BrokerError`] when it is held by one that stays.
pub(super) fn take(
    office: Office,
    dir: &RuntimeDir,
    context: &Context,
    stop: &Stop,
    waker: &Waker,
) -> Result<Option<BrokerLock>, BrokerError> {
    if let Some(lock) = BrokerLock::take_within(dir, LOCK_RETRY)? {
        let Some(other) = promised(dir) else {
            return Ok(Some(lock));
        };
        // The lock falls as this returns.
        return match office {
            Office::Elected => {
                info!("the office is kept for pid {}", other.pid);
                Ok(None)
            }
            Office::Dedicated(_) => Err(BrokerError::Promised(other.pid)),
        };
    }
    let record = Record::read(dir)?;
    match (office, record) {
        (Office::Elected, record) => {
            info!("another broker has the office: {}", describe(record.as_ref()));
            Ok(None)
        }
        (Office::Dedicated(Takeover::Force), record) => force(dir, record, stop, waker).map(Some),
        (Office::Dedicated(takeover), Some(record)) if record.elected || takeover == Takeover::Ask => {
            ask(dir, context, record, takeover, stop, waker).map(Some)
        }
        (Office::Dedicated(_), record) => Err(BrokerError::Taken(describe(record.as_ref()))),
    }
}

/// Whom the office is kept for, if that is another.
fn promised(dir: &RuntimeDir) -> Option<Reservation> {
    // A record that cannot be read promises nothing.
    let reserved = Record::read(dir).ok()??.reserved?;
    (!reserved.is_mine() && reserved.holds(clock::now())).then_some(reserved)
}

/// Who a record names, for people.
pub(super) fn describe(record: Option<&Record>) -> String {
    match record {
        Some(record) => {
            let how = if record.elected { "elected" } else { "started by hand" };
            format!("pid {}, term {}, {how}", record.pid, record.term)
        }
        None => "it has not written its record yet".to_owned(),
    }
}

/// Asks the holder to leave, and takes its lock as it falls.
fn ask(
    dir: &RuntimeDir,
    context: &Context,
    record: Record,
    takeover: Takeover,
    stop: &Stop,
    waker: &Waker,
) -> Result<BrokerLock, BrokerError> {
    info!("asking the broker to leave: {}", describe(Some(&record)));
    let pid = std::process::id();
    let wanted = Message::Yield(Yield {
        pid,
        start_ticks: start_ticks(pid).unwrap_or(0),
        takeover: takeover != Takeover::Refuse,
    });
    let mut dealer = Dealer::new(context)?;
    dealer.connect(&dir.broker_socket())?;
    let until = clock::now() + HANDOVER_MAX;
    let mut ask_at = Moment::ZERO;
    loop {
        let now = clock::now();
        if let Some(lock) = BrokerLock::try_take(dir)? {
            if let Some(other) = promised(dir) {
                return Err(BrokerError::Promised(other.pid));
            }
            return Ok(lock);
        }
        if stop.stage() > 0 {
            return Err(BrokerError::Stopped);
        }
        if now >= until {
            return Err(BrokerError::Stays(describe(Some(&record))));
        }
        if now >= ask_at && dealer.send(wanted.encode())? == Sent::Done {
            ask_at = now + ASK_AGAIN;
        }
        if is_refused(&mut dealer)? {
            return Err(BrokerError::Taken(describe(Record::read(dir)?.as_ref())));
        }
        wait(&dealer, ask_at == Moment::ZERO, waker)?;
    }
}

fn is_refused(dealer: &mut Dealer) -> Result<bool, NetError> {
    while let Some(received) = dealer.recv()? {
        if let Received::Frames(frames) = received
            && let Ok(Message::Disconnect(Disconnect::Dedicated)) = Message::decode(&frames.header, frames.body)
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Nobody tells when a lock falls, so it is tried every few milliseconds, for the handover's time.
fn wait(dealer: &Dealer, unsent: bool, waker: &Waker) -> Result<(), NetError> {
    let mut poll = Poll::new();
    poll.socket(dealer, Interest::READ | Interest::WRITE.when(unsent));
    poll.fd(waker, Interest::READ);
    poll.wait(Some(TRY_AGAIN)).map(drop)
}

/// Kills the holder and takes the lock that falls.
fn force(dir: &RuntimeDir, record: Option<Record>, stop: &Stop, waker: &Waker) -> Result<BrokerLock, BrokerError> {
    warn!("killing the broker that has the office: {}", describe(record.as_ref()));
    if let Some(record) = record {
        // Rule E3: it will not promise the office to anybody itself, and members would be quick to elect the next one.
        let pid = std::process::id();
        let reserved = Some(Reservation::of(clock::now(), pid, start_ticks(pid).unwrap_or(0)));
        Record { reserved, ..record }.write(dir)?;
    }
    holder::kill(dir)?;
    let until = clock::now() + HANDOVER_MAX;
    loop {
        if let Some(lock) = BrokerLock::try_take(dir)? {
            return Ok(lock);
        }
        if stop.stage() > 0 {
            return Err(BrokerError::Stopped);
        }
        if clock::now() >= until {
            // A member was faster.
            return Err(BrokerError::Taken(describe(Record::read(dir)?.as_ref())));
        }
        let mut poll = Poll::new();
        poll.fd(waker, Interest::READ);
        poll.wait(Some(TRY_AGAIN))?;
    }
}

/// Leaves what a successor finds: nothing, or the promise that the office is kept for somebody.
pub(super) fn leave(dir: &RuntimeDir, lock: &BrokerLock, wanted: Option<Yield>) -> Result<(), RuntimeError> {
    if !lock.is_still_ours() {
        return Ok(());
    }
    match (wanted, Record::read(dir)?) {
        (Some(wanted), Some(record)) => Record {
            reserved: Some(Reservation::of(clock::now(), wanted.pid, wanted.start_ticks)),
            ..record
        }
        .write(dir),
        _ => Record::remove(dir),
    }
}
