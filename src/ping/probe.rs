//! `zhit ping`: sends PING to this host's broker and waits for PONG, as often as was asked.
//!
//! How it ends: 0 when every ping was answered, 3 when one was lost, 4 when nobody holds the host's lock and nothing
//! was answered, 5 when a broker answers but `--wait-ready` saw no slot, 128+n by signal n.

use std::io::{self, Write};
use std::time::Duration;

use crate::clock;
use crate::election::kept;
use crate::exit::Exit;
use crate::net::{Context, Dealer, Interest, NetError, Poll, Received, Sent, Waker};
use crate::options::{PingOptions, Target};
use crate::protocol::ids::{ReturnPath, SlotId};
use crate::protocol::mesh::{Relay, Within};
use crate::protocol::message::Pong;
use crate::protocol::pool::Probe;
use crate::protocol::{Message, Moment};
use crate::runtime::{BrokerLock, Record, RuntimeDir, RuntimeError};
use crate::signals::Stop;
use crate::term::human::span;
use crate::term::{Screen, error};

use super::hosts::Hosts;
use super::report::Report;
use super::slots::Slots;
use super::votes;

/// How long a host may be without a master before a ping says so: one that died is replaced in milliseconds.
const MASTER_GAP: Duration = Duration::from_millis(250);

/// Pause between two pings that ask whether all is ready: a slot that registers is noticed soon, and the broker is not
/// kept busy.
const READY_AGAIN_AFTER: Duration = Duration::from_millis(50);

/// How long one such ping waits: a broker that comes and goes meanwhile must not use up all the time.
const READY_ANSWER_WITHIN: Duration = Duration::from_secs(1);

/// SIGPIPE's number: who writes to a reader that has gone ends as if by it, quietly.
const SIGPIPE: u8 = 13;

/// Why a ping cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum PingError {
    /// The network.
    #[error(transparent)]
    Net(#[from] NetError),
    /// The runtime directory.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// Standard output, a reader that has gone apart.
    #[error("cannot write the report: {0}")]
    Stdout(io::Error),
}

/// Pings as often as was asked, prints the report and returns how it ended; everything that is to be said was said.
///
/// # Errors
/// [`PingError`] when nothing could be tried, or the report not be written.
pub fn run(options: &PingOptions, context: &Context, dir: &RuntimeDir, stop: &Stop) -> Result<Exit, PingError> {
    if options.vote {
        let how = (options.format, options.wait);
        return votes::run((context, dir, stop), &options.place.host, how, &mut io::stdout());
    }
    let there = options.target.as_ref().map(|target| &target.host);
    let there = there.filter(|host| **host != options.place.host);
    let report = Report::new(options.format, Screen::stdout(), there.unwrap_or(&options.place.host));
    let mut out = io::stdout();
    let mut prober = Prober::new(context, dir, stop)?;
    prober.there = there.cloned();
    let ended = prober.run(options, report, &mut out);
    match ended {
        Err(PingError::Stdout(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Exit::Signal(SIGPIPE)),
        other => other,
    }
}

struct Prober<'a> {
    dealer: Dealer,
    dir: &'a RuntimeDir,
    stop: &'a Stop,
    waker: Waker,
    nonce: u64,
    /// The host that is asked, by way of this one; `None`: this one.
    there: Option<String>,
    /// Why that one is not reached.
    nowhere: Option<String>,
}

/// What some broker has said: of which other host (`None`: this one), and what, or why it is not reached.
type Heard = (Option<String>, Result<Message, String>);

/// What became of one ping.
enum Asked {
    Answered(Box<Pong>, Duration),
    Lost,
    NoBroker,
    Signal(i32),
}

impl<'a> Prober<'a> {
    fn new(context: &Context, dir: &'a RuntimeDir, stop: &'a Stop) -> Result<Self, NetError> {
        let mut dealer = Dealer::new(context)?;
        dealer.connect(&dir.broker_socket())?;
        let waker = Waker::new()?;
        stop.register(&waker);
        Ok(Self {
            dealer,
            dir,
            stop,
            waker,
            nonce: 0,
            there: None,
            nowhere: None,
        })
    }

    fn run(&mut self, options: &PingOptions, mut report: Report, out: &mut impl Write) -> Result<Exit, PingError> {
        let unready = options
            .wait_ready
            .map(|patience| self.wait_ready(patience))
            .transpose()?;
        if let Some(exit) = unready.flatten() {
            return Ok(exit);
        }
        let started_at = clock::now();
        let (mut answered, mut missing) = (false, false);
        let mut signal = None;
        for seq in 1..=options.count {
            let asked_at = clock::now();
            let mut heard = None;
            let text = match self.ask(asked_at + options.wait, !answered)? {
                Asked::Answered(pong, rtt) => {
                    answered = true;
                    let text = report.answered(seq, &pong, rtt);
                    heard = Some(pong);
                    text
                }
                Asked::Lost => report.lost(seq, clock::now().since(asked_at)),
                Asked::NoBroker => {
                    self.complain_of_no_broker("nobody holds this host's lock");
                    return Ok(Exit::NoBroker);
                }
                Asked::Signal(number) => {
                    signal = Some(number);
                    break;
                }
            };
            print(out, &text)?;
            if let (Some(target), Some(pong)) = (&options.target, heard) {
                match self.ask_slots(target, &pong, asked_at + options.wait)? {
                    Ok(Some(slots)) => {
                        missing |= slots.is_incomplete();
                        print(out, &slots.report(options.format, Screen::stdout()))?;
                    }
                    Ok(None) => {}
                    Err(who) => {
                        error(&format_args!("ping: {who}"));
                        missing = true;
                    }
                }
            }
            if answered && options.target.is_none() && !options.others.is_empty() {
                let hosts = self.ask_hosts(&options.others, asked_at + options.wait)?;
                missing |= hosts.is_incomplete();
                print(out, &hosts.report(seq, options.format, Screen::stdout()))?;
            }
            if let Some(kept) = kept::read(self.dir).filter(|_| seq == 1 && self.there.is_none()) {
                print(out, &report.verdict(&kept))?;
            }
            if seq < options.count {
                signal = self.pause_until(asked_at + options.interval)?;
            }
            if signal.is_some() {
                break;
            }
        }
        print(out, &report.summary(clock::now().since(started_at)))?;
        Ok(match signal {
            Some(number) => Exit::of_signal(number),
            None if !answered => self.unanswered()?,
            None if missing || report.is_incomplete() => Exit::Incomplete,
            None => Exit::Success,
        })
    }

    /// Waits until the broker answers and knows of a slot that would take a Hit sooner or later. `None`: it does.
    fn wait_ready(&mut self, patience: Duration) -> Result<Option<Exit>, PingError> {
        let until = clock::now() + patience;
        let mut heard = false;
        loop {
            let answer_by = until.min(clock::now() + READY_ANSWER_WITHIN);
            match self.ask(answer_by, false)? {
                Asked::Answered(pong, _) if has_slot(&pong) => return Ok(None),
                Asked::Answered(..) => heard = true,
                Asked::Signal(number) => return Ok(Some(Exit::of_signal(number))),
                Asked::Lost | Asked::NoBroker => {}
            }
            let now = clock::now();
            if now >= until {
                break;
            }
            if let Some(number) = self.pause_until(until.min(now + READY_AGAIN_AFTER))? {
                return Ok(Some(Exit::of_signal(number)));
            }
        }
        let patience = span(patience);
        if heard {
            let socket = self.dir.broker_socket();
            error(&format_args!(
                "ping: not ready: the broker at {} has no slot after {patience}; start a worker on this host: zhit worker",
                socket.display()
            ));
            return Ok(Some(Exit::NoSlot));
        }
        self.complain_of_no_broker(&format!("no answer within {patience}"));
        Ok(Some(Exit::NoBroker))
    }

    /// One ping, until `until`. With `give_up_early`, a host that has no master ends it soon.
    fn ask(&mut self, until: Moment, give_up_early: bool) -> Result<Asked, PingError> {
        self.nonce += 1;
        self.nowhere = None;
        let began_at = clock::now();
        let mut sent_at = None;
        loop {
            if let Some(number) = self.signal() {
                return Ok(Asked::Signal(number));
            }
            if sent_at.is_none() {
                // Taken before the sending: this thread may be held up after it, and the answer be here already.
                let before = clock::now();
                let sent = self.send(Message::Ping { nonce: self.nonce })?;
                sent_at = (sent == Sent::Done).then_some(before);
            }
            if let (Some(pong), Some(sent_at)) = (self.receive()?, sent_at) {
                return Ok(Asked::Answered(Box::new(pong), clock::now().since(sent_at)));
            }
            if self.nowhere.is_some() {
                return Ok(Asked::Lost);
            }
            let now = clock::now();
            let early = give_up_early && sent_at.is_none();
            if early && now.since(began_at) >= MASTER_GAP && !BrokerLock::is_held(self.dir)? {
                return Ok(Asked::NoBroker);
            }
            if now >= until {
                return Ok(Asked::Lost);
            }
            let wake_at = if early { until.min(now + MASTER_GAP) } else { until };
            self.wait(wake_at, Interest::READ | Interest::WRITE.when(sent_at.is_none()))?;
        }
    }

    /// The answer to the ping that was sent last. What answers an earlier one, or is no PONG, is passed over.
    fn receive(&mut self) -> Result<Option<Pong>, NetError> {
        while let Some(said) = self.hear()? {
            match said {
                (_, Ok(Message::Pong(pong))) if pong.nonce == self.nonce => return Ok(Some(pong)),
                (host, Err(why)) if host == self.there => self.nowhere = Some(why),
                _ => {}
            }
        }
        Ok(None)
    }

    /// Sends a message to the broker that is asked.
    fn send(&mut self, message: Message) -> Result<Sent, NetError> {
        let message = match &self.there {
            Some(host) => relay(host, &message),
            None => message,
        };
        self.dealer.send(message.encode())
    }

    /// What some broker has said: of which other host, and what, or why it is not reached.
    fn hear(&mut self) -> Result<Option<Heard>, NetError> {
        while let Some(received) = self.dealer.recv()? {
            let Received::Frames(frames) = received else { continue };
            let Ok(message) = Message::decode(&frames.header, frames.body) else {
                continue;
            };
            let Message::Relayed(relayed) = message else {
                return Ok(Some((None, Ok(message))));
            };
            let host = Some(relayed.host);
            match relayed
                .within
                .0
                .map(|frames| Message::decode(&frames.header, frames.body))
            {
                Some(Ok(message)) => return Ok(Some((host, Ok(message)))),
                Some(Err(_)) => {}
                None => return Ok(Some((host, Err(relayed.note.0)))),
            }
        }
        Ok(None)
    }

    /// One ping to each of these hosts, until all have answered, or are known not to be reached, or until then.
    fn ask_hosts(&mut self, names: &[String], until: Moment) -> Result<Hosts, NetError> {
        self.nonce += 1;
        let question = Message::Ping { nonce: self.nonce };
        let asked_at = clock::now();
        let mut hosts = Hosts::new(names);
        for host in names {
            // One that cannot be sent is not answered, which is said.
            let _ = self.dealer.send(relay(host, &question).encode())?;
        }
        while hosts.awaits_any() && clock::now() < until && self.signal().is_none() {
            while let Some((host, said)) = self.hear()? {
                let rtt = clock::now().since(asked_at);
                match (host, said) {
                    (Some(host), Ok(Message::Pong(pong))) if pong.nonce == self.nonce => {
                        hosts.on_pong(&host, pong, rtt);
                    }
                    (Some(host), Err(why)) => hosts.on_nowhere(&host, why),
                    _ => {}
                }
            }
            if hosts.awaits_any() {
                self.wait(until, Interest::READ)?;
            }
        }
        hosts.give_up(clock::now().since(asked_at));
        Ok(hosts)
    }

    /// Asks the slots that `target` names what they do, until all have said so, or until then. Who is not there is named.
    fn ask_slots(
        &mut self,
        target: &Target,
        pong: &Pong,
        until: Moment,
    ) -> Result<Result<Option<Slots>, String>, NetError> {
        let mut slots = match Slots::of(target, pong) {
            Ok(Some(slots)) => slots,
            other => return Ok(other),
        };
        let worker = target.worker.unwrap_or_default();
        self.nonce += 1;
        let asked_at = clock::now();
        for number in slots.silent().collect::<Vec<_>>() {
            let probe = Probe {
                nonce: self.nonce,
                slot: SlotId { worker, number },
                path: ReturnPath::default(),
            };
            // One that cannot be sent is not answered, which is said.
            let _ = self.send(Message::Probe(probe))?;
        }
        while slots.silent().next().is_some() && clock::now() < until && self.signal().is_none() {
            while let Some((_, said)) = self.hear()? {
                if let Ok(Message::State(state)) = said
                    && state.nonce == self.nonce
                {
                    slots.on_state(state, clock::now().since(asked_at));
                }
            }
            if slots.silent().next().is_some() {
                self.wait(until, Interest::READ)?;
            }
        }
        Ok(Ok(Some(slots)))
    }

    /// Waits for `until`; returns the signal that ends it early.
    fn pause_until(&mut self, until: Moment) -> Result<Option<i32>, NetError> {
        while self.signal().is_none() && clock::now() < until {
            self.wait(until, Interest::NONE)?;
        }
        Ok(self.signal())
    }

    fn signal(&self) -> Option<i32> {
        (self.stop.stage() > 0).then(|| self.stop.signal())
    }

    fn wait(&self, until: Moment, interest: Interest) -> Result<(), NetError> {
        let mut poll = Poll::new();
        poll.socket(&self.dealer, interest);
        poll.fd(&self.waker, Interest::READ);
        poll.wait(Some(until.since(clock::now())))?;
        self.waker.drain();
        Ok(())
    }

    /// Nothing was answered: is nobody there, or does somebody sit there who is silent?
    fn unanswered(&self) -> Result<Exit, PingError> {
        if !BrokerLock::is_held(self.dir)? {
            self.complain_of_no_broker("nobody holds this host's lock");
            return Ok(Exit::NoBroker);
        }
        if let Some(host) = &self.there {
            let why = self.nowhere.as_deref().unwrap_or("it says nothing");
            error(&format_args!("ping: {host} is not reached: {why}"));
            return Ok(Exit::Incomplete);
        }
        let holder = match Record::read(self.dir)? {
            Some(record) => format!("pid {}, term {}", record.pid, record.term),
            None => "no record of it".to_owned(),
        };
        error(&format_args!(
            "ping: the broker ({holder}) holds this host's lock in {} and does not answer: it is stopped, hung or \
             overloaded; look at it (ps), continue it (kill -CONT), or end it and start another: zhit broker",
            self.dir.path().display()
        ));
        Ok(Exit::Incomplete)
    }

    fn complain_of_no_broker(&self, why: &str) {
        error(&format_args!(
            "ping: no broker reached at {}: {why}; start a worker on this host, which starts one: zhit worker -- CMD",
            self.dir.broker_socket().display()
        ));
    }
}

/// A message for the broker of another host.
fn relay(host: &str, message: &Message) -> Message {
    Message::Relay(Relay {
        host: host.to_owned(),
        path: ReturnPath::default(),
        within: Within::new(message.encode()),
    })
}

/// Whether any slot takes Hits, now or when it has become idle.
fn has_slot(pong: &Pong) -> bool {
    pong.workers.iter().any(|worker| worker.slots > 0 && !worker.draining)
}

pub(super) fn print(out: &mut impl Write, text: &str) -> Result<(), PingError> {
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(PingError::Stdout)
}

#[cfg(test)]
#[path = "probe_tests.rs"]
mod tests;
