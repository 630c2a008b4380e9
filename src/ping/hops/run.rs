//! The loop around the machine in `rounds`, and what is said at its end.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;

use crate::clock;
use crate::exit::Exit;
use crate::hit::{Config, Hosts, Leave, Outbox, Outcome, words};
use crate::net::{Context, Interest, NetError, Poll, Waker};
use crate::options::{HopsOptions, PingOptions};
use crate::protocol::limits::{INTERVAL, LIVENESS, MESSAGES_PER_TURN_MAX, TTL};
use crate::protocol::route::{Route, Routing};
use crate::protocol::time::Moment;
use crate::runtime::RuntimeDir;
use crate::signals::Stop;
use crate::term::{Screen, error};
use crate::wires::{ASK_MIN, Ends, Found, Reached, Wires, random_key};

use super::super::probe::{PingError, print};
use super::report::{Findings, Row};
use super::rounds::{End, LOST_IN_A_ROW_MAX, Plan, Rounds};

struct Hops {
    rounds: Rounds,
    wires: Wires,
    messages: Outbox,
}

/// Measures, prints what was found and returns how it ended.
///
/// # Errors
/// [`PingError`] when nothing could be tried, or the report not be written.
pub(in crate::ping) fn run(
    (options, hops): (&PingOptions, &HopsOptions),
    (context, dir, stop): (&Context, &RuntimeDir, &Stop),
    screen: Screen,
    out: &mut impl Write,
) -> Result<Exit, PingError> {
    let waker = Waker::new()?;
    stop.register(&waker);
    let socket = dir.broker_socket();
    let patience = options.wait.max(ASK_MIN);
    let plan = Plan {
        rounds: options.count,
        interval: options.interval,
        patience,
        request: hops.request.clone().map(Bytes::from),
    };
    let mut all = Hops {
        rounds: Rounds::new(clock::now(), random_key()?, config(&hops.pool, patience), plan),
        wires: Wires::new(
            Ends::new(context)?,
            Found::of(dir),
            BTreeMap::new(),
            INTERVAL * LIVENESS,
        )?,
        messages: Vec::new(),
    };
    let end = all.measure(stop, &waker)?;
    let rounds = &all.rounds;
    let (exit, why) = match end {
        End::Stopped => (Exit::of_signal(stop.signal()), Some("it was stopped".to_owned())),
        _ => judge(rounds, end, &socket),
    };
    if let (failed @ 1.., Some(status)) = rounds.failed {
        let (asked, how) = (rounds.measured.handler.count(), status);
        error(&format_args!(
            "ping: {failed} of {asked} requests failed, the first with: {how}"
        ));
    }
    let findings = findings(rounds, (options, hops), why.clone());
    // Who looks at the report reads it there.
    let is_seen = findings.is_some() && screen.is_terminal();
    if let (false, Some(why)) = (is_seen || end == End::Stopped, why) {
        error(&format_args!("ping: {why}"));
    }
    if let Some(findings) = findings {
        print(out, &findings.report(options.format, screen))?;
    }
    Ok(exit)
}

/// How a Hit for measuring is opened.
fn config(pool: &str, wait: Duration) -> Config {
    Config {
        pool: pool.to_owned(),
        wait,
        ttl: TTL,
        timeout: None,
        timeout_slack: INTERVAL,
        interval: INTERVAL,
        liveness: LIVENESS,
        one_shot: false,
        leave: Leave::Close,
        holder: None,
        // The rounds choose the way themselves.
        routing: Routing::Broker,
        // What it measures is this host.
        hosts: Hosts::default(),
    }
}

/// The exit code, and why it ended early if it did.
fn judge(rounds: &Rounds, end: End, socket: &Path) -> (Exit, Option<String>) {
    match end {
        End::Done if rounds.failed.0 > 0 => (Exit::HandlerFailed, None),
        End::Done if rounds.measured.has_lost() => (Exit::Incomplete, None),
        End::Done => (Exit::Success, None),
        End::Silent(ask) => (
            Exit::Incomplete,
            Some(format!(
                "no answer by {}, {LOST_IN_A_ROW_MAX} times in a row",
                ask.hop()
            )),
        ),
        _ => match rounds.hit().outcome() {
            Some(Outcome::NoBroker) => (Exit::NoBroker, Some(words::no_broker(rounds.hit(), socket))),
            Some(Outcome::NoSlot(why)) => (Exit::NoSlot, Some(words::no_slot(why, rounds.hit()))),
            Some(Outcome::Lost(why)) => (Exit::Lost, Some(words::lost(why))),
            _ => (Exit::Lost, Some("the Hit is over".to_owned())),
        },
    }
}

/// What was found; `None` if no slot was there that could have answered.
fn findings(rounds: &Rounds, (options, hops): (&PingOptions, &HopsOptions), ended: Option<String>) -> Option<Findings> {
    let (host, slot) = rounds.slot()?;
    Some(Findings {
        host: host.clone(),
        pool: hops.pool.clone(),
        slot: format!("{host}/{slot}"),
        pong: rounds.pong.clone(),
        endpoint: rounds.direct.endpoint().map(str::to_owned),
        rounds: options.count,
        begun: rounds.begun(),
        rows: Row::all(&rounds.measured, rounds.direct.why(), hops.request.is_some()),
        ended,
    })
}

impl Hops {
    fn measure(&mut self, stop: &Stop, waker: &Waker) -> Result<End, NetError> {
        loop {
            if stop.stage() > 0 {
                self.rounds.stop(&mut self.messages);
            }
            self.receive()?;
            self.tend_direct()?;
            // Read anew: what is asked now is sent at once, and timed from here.
            self.rounds.on_tick(clock::now(), &mut self.messages);
            self.send()?;
            for remark in self.rounds.take_remarks() {
                error(&format_args!("ping: {remark}"));
            }
            if let Some(end) = self.rounds.end() {
                return Ok(end);
            }
            self.wait(waker)?;
        }
    }

    fn receive(&mut self) -> Result<(), NetError> {
        for route in [Route::Broker, Route::Direct] {
            for _ in 0..MESSAGES_PER_TURN_MAX {
                let Some(message) = self.wires.recv(route)? else { break };
                self.rounds.on_message(clock::now(), route, message, &mut self.messages);
            }
        }
        Ok(())
    }

    fn send(&mut self) -> Result<(), NetError> {
        while !self.messages.is_empty() {
            for (route, message) in std::mem::take(&mut self.messages) {
                if !self.wires.send(route, &message)? {
                    let out = &mut self.messages;
                    self.rounds.on_no_route(clock::now(), route, &message, out);
                }
            }
        }
        Ok(())
    }

    /// Connects to the slot itself, and again where that has ended.
    fn tend_direct(&mut self) -> Result<(), NetError> {
        let direct = &mut self.rounds.direct;
        if direct.take_stale() {
            self.wires.leave_direct();
        }
        let Some(endpoint) = direct.endpoint() else {
            return Ok(());
        };
        match self.wires.reach(endpoint)? {
            Reached::Yes => direct.set_connected(true),
            Reached::NotYet => {}
            Reached::Never => direct.refuse(),
        }
        Ok(())
    }

    fn wait(&mut self, waker: &Waker) -> Result<(), NetError> {
        let now = clock::now();
        let until = self.rounds.next_deadline(now).unwrap_or(Moment::ZERO);
        let mut poll = Poll::new();
        let keys = self.wires.wait_for(&mut poll, self.rounds.direct.is_named());
        let woken = poll.fd(waker, Interest::READ);
        let ready = poll.wait(Some(until.since(now).min(INTERVAL)))?;
        if ready.readable(woken) {
            waker.drain();
        }
        if self.wires.has_found_broker(&ready, keys) {
            self.rounds.on_route(clock::now());
        }
        // Nothing wakes who listens on a connection that has ended.
        if ready.is_empty() && self.wires.has_lost_direct() {
            self.rounds.direct.set_connected(false);
        }
        Ok(())
    }
}
