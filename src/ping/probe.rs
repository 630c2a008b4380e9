//! `zhit ping`: sends PING to this host's broker, or another's, and waits for PONG, as often as was asked.
//!
//! How it ends: 0 when every ping was answered, 3 when one was lost or somebody is missing, 4 when nobody holds the host's
//! lock and nothing was answered, 5 when a broker answers but `--wait-ready` saw no slot, 128+n by signal n.

use std::io::{self, Write};
use std::time::Duration;

use crate::clock;
use crate::election::kept;
use crate::exit::Exit;
use crate::net::{Context, NetError};
use crate::options::PingOptions;
use crate::protocol::Moment;
use crate::protocol::message::Pong;
use crate::runtime::{BrokerLock, Record, RuntimeDir, RuntimeError};
use crate::signals::Stop;
use crate::term::human::span;
use crate::term::{Screen, error, note};

use super::hops;
use super::prober::{Asked, Prober};
use super::report::Report;
use super::votes;

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
    /// The kernel gives no random bytes.
    #[error("cannot choose a key: {0}")]
    Random(#[from] getrandom::Error),
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
    if let Some(hops) = &options.hops {
        let ended = hops::run(
            (options, hops),
            (context, dir, stop),
            Screen::stdout(),
            &mut io::stdout(),
        );
        return quietly(ended);
    }
    let prober = Prober::new(options, context, dir, stop)?;
    quietly(Series::new(options, prober, Screen::stdout(), io::stdout()).run())
}

/// A reader that has gone ends it as if by SIGPIPE.
fn quietly(ended: Result<Exit, PingError>) -> Result<Exit, PingError> {
    match ended {
        Err(PingError::Stdout(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Exit::Signal(SIGPIPE)),
        other => other,
    }
}

/// The pings of one command.
struct Series<'a, W> {
    options: &'a PingOptions,
    prober: Prober<'a>,
    screen: Screen,
    report: Report,
    out: W,
    /// Some ping was answered.
    answered: bool,
    /// Some other host was heard.
    heard_others: bool,
    /// Somebody whom it is about is not there.
    missing: bool,
    /// Why the host that it is about was not reached last.
    nowhere: Option<String>,
    /// The host through which it was said that others are asked.
    said_through: Option<String>,
}

impl<'a, W: Write> Series<'a, W> {
    fn new(options: &'a PingOptions, prober: Prober<'a>, screen: Screen, out: W) -> Self {
        let host = prober.there().unwrap_or(&options.place.host);
        Self {
            report: Report::new(options.format, screen, host),
            options,
            prober,
            screen,
            out,
            answered: false,
            heard_others: false,
            missing: false,
            nowhere: None,
            said_through: None,
        }
    }

    fn run(&mut self) -> Result<Exit, PingError> {
        if let Some(patience) = self.options.wait_ready
            && let Some(exit) = self.wait_ready(patience)?
        {
            return Ok(exit);
        }
        let started_at = clock::now();
        let mut signal = None;
        for seq in 1..=self.options.count {
            let asked_at = clock::now();
            let asked = self.prober.ask(self.options.wait, !self.answered)?;
            self.say_through();
            let text = match asked {
                Asked::Answered(pong, rtt) => {
                    self.answered = true;
                    let text = self.report.answered(seq, &pong, rtt);
                    print(&mut self.out, &text)?;
                    self.ask_slots(&pong, clock::now() + self.options.wait)?;
                    self.ask_others(seq, true)?;
                    String::new()
                }
                Asked::NoBroker if self.options.others.is_empty() => {
                    self.complain_of_no_broker("nobody holds this host's lock");
                    return Ok(Exit::NoBroker);
                }
                Asked::Lost | Asked::NoBroker => {
                    let text = self.report.lost(seq, clock::now().since(asked_at));
                    print(&mut self.out, &text)?;
                    self.ask_others(seq, false)?;
                    String::new()
                }
                Asked::Nowhere(why) => {
                    let text = self.report.unreached(seq, &why);
                    self.nowhere = Some(why);
                    text
                }
                Asked::Signal(number) => {
                    signal = Some(number);
                    break;
                }
            };
            print(&mut self.out, &text)?;
            if seq == 1
                && self.prober.there().is_none()
                && let Some(kept) = kept::read(self.prober.dir)
            {
                let text = self.report.verdict(&kept);
                print(&mut self.out, &text)?;
            }
            if seq < self.options.count {
                signal = self.prober.pause_until(asked_at + self.options.interval)?;
            }
            if signal.is_some() {
                break;
            }
        }
        let text = self.report.summary(clock::now().since(started_at));
        print(&mut self.out, &text)?;
        Ok(match signal {
            Some(number) => Exit::of_signal(number),
            None if !self.answered => self.unanswered()?,
            None if self.missing || self.report.is_incomplete() => Exit::Incomplete,
            None => Exit::Success,
        })
    }

    /// The slots that the target names, if it names any.
    fn ask_slots(&mut self, pong: &Pong, until: Moment) -> Result<(), PingError> {
        let Some(target) = &self.options.target else {
            return Ok(());
        };
        match self.prober.ask_slots(target, pong, until)? {
            Ok(Some(slots)) => {
                self.missing |= slots.is_incomplete();
                let text = slots.report(self.options.format, self.screen);
                print(&mut self.out, &text)?;
            }
            Ok(None) => {}
            Err(who) => {
                error(&format_args!("ping: {who}"));
                self.missing = true;
            }
        }
        Ok(())
    }

    /// The cluster's other hosts, if it is about all.
    fn ask_others(&mut self, seq: u32, heard: bool) -> Result<(), PingError> {
        if self.options.target.is_some() || self.options.others.is_empty() {
            return Ok(());
        }
        let hosts = self.prober.ask_hosts(&self.options.others, self.options.wait, heard)?;
        self.missing |= hosts.is_incomplete();
        self.heard_others |= hosts.has_heard();
        if hosts.has_heard() {
            self.say_through();
        }
        print(&mut self.out, &hosts.report(seq, self.options.format, self.screen))
    }

    /// Says through whom others are asked, if not through this host, and once.
    fn say_through(&mut self) {
        let through = self.prober.through().map(str::to_owned);
        if through != self.said_through
            && let Some(host) = &through
        {
            note(&format_args!(
                "this host's broker does not answer: asked through {host}"
            ));
        }
        self.said_through = through.or_else(|| self.said_through.take());
    }

    /// Waits until the broker answers and knows of a slot that would take a Hit sooner or later. `None`: it does.
    fn wait_ready(&mut self, patience: Duration) -> Result<Option<Exit>, PingError> {
        let until = clock::now() + patience;
        let mut heard = false;
        loop {
            let wait = until.since(clock::now()).min(READY_ANSWER_WITHIN);
            match self.prober.ask(wait, false)? {
                Asked::Answered(pong, _) if has_slot(&pong) => return Ok(None),
                Asked::Answered(..) => heard = true,
                Asked::Signal(number) => return Ok(Some(Exit::of_signal(number))),
                Asked::Lost | Asked::Nowhere(_) | Asked::NoBroker => {}
            }
            let now = clock::now();
            if now >= until {
                break;
            }
            if let Some(number) = self.prober.pause_until(until.min(now + READY_AGAIN_AFTER))? {
                return Ok(Some(Exit::of_signal(number)));
            }
        }
        let patience = span(patience);
        if heard {
            let socket = self.prober.dir.broker_socket();
            error(&format_args!(
                "ping: not ready: the broker at {} has no slot after {patience}; start a worker on this host: zhit worker",
                socket.display()
            ));
            return Ok(Some(Exit::NoSlot));
        }
        self.complain_of_no_broker(&format!("no answer within {patience}"));
        Ok(Some(Exit::NoBroker))
    }

    /// Nothing was answered: is nobody there, or does somebody sit there who is silent?
    fn unanswered(&self) -> Result<Exit, PingError> {
        if let Some(why) = &self.nowhere {
            let host = self.prober.there().unwrap_or(&self.options.place.host);
            error(&format_args!("ping: {host} is not reached: {why}"));
            return Ok(Exit::Incomplete);
        }
        if !BrokerLock::is_held(self.prober.dir)? {
            self.complain_of_no_broker("nobody holds this host's lock");
            return Ok(if self.heard_others {
                Exit::Incomplete
            } else {
                Exit::NoBroker
            });
        }
        if let Some(host) = self.prober.there() {
            error(&format_args!(
                "ping: {host} is not reached: no broker of any host says more"
            ));
            return Ok(Exit::Incomplete);
        }
        let holder = match Record::read(self.prober.dir)? {
            Some(record) => format!("pid {}, term {}", record.pid, record.term),
            None => "no record of it".to_owned(),
        };
        error(&format_args!(
            "ping: the broker ({holder}) holds this host's lock in {} and does not answer: it is stopped, hung or \
             overloaded; look at it (ps), continue it (kill -CONT), or end it and start another: zhit broker",
            self.prober.dir.path().display()
        ));
        Ok(Exit::Incomplete)
    }

    fn complain_of_no_broker(&self, why: &str) {
        error(&format_args!(
            "ping: no broker reached at {}: {why}; start a worker on this host, which starts one: zhit worker -- CMD",
            self.prober.dir.broker_socket().display()
        ));
    }
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
