//! The objects of `zhit ping --format json`. Names and units are an interface: fields are added, never changed.

use std::time::Duration;

use serde::Serialize;

use super::report::{Tally, idle};
use super::statistics::Statistics;
use crate::protocol::message::{Pong, PongWorker};
use crate::term::json;

/// A probe that was answered.
#[derive(Serialize)]
pub(super) struct Probe<'a> {
    kind: &'static str,
    seq: u32,
    host: &'a str,
    answered: bool,
    rtt_ms: f64,
    broker: Broker<'a>,
    queued: u32,
    workers_total: u32,
    slots: Tally,
    workers: Vec<Member<'a>>,
}

#[derive(Serialize)]
struct Broker<'a> {
    pid: u32,
    term: u64,
    uptime_ms: u64,
    version: &'a str,
    /// `null`: it does all that it should.
    trouble: Option<&'a str>,
}

#[derive(Serialize)]
struct Member<'a> {
    worker: String,
    pool: &'a str,
    /// `null` if it is not known.
    pid: Option<u32>,
    slots: u32,
    idle: u32,
    busy: u32,
    silent_ms: u32,
    draining: bool,
    hung: u32,
    still_ms: u32,
}

impl<'a> Probe<'a> {
    pub(super) fn new(seq: u32, pong: &'a Pong, rtt: Duration) -> Self {
        let worker = |worker: &'a PongWorker| Member {
            worker: worker.worker.to_string(),
            pool: &worker.pool,
            pid: (worker.pid != 0).then_some(worker.pid),
            slots: worker.slots,
            idle: idle(worker),
            busy: worker.busy,
            silent_ms: worker.silent_ms,
            draining: worker.draining,
            hung: worker.hung,
            still_ms: worker.still_ms,
        };
        Self {
            kind: "probe",
            seq,
            host: &pong.host,
            answered: true,
            rtt_ms: json::millis(rtt),
            broker: Broker {
                pid: pong.pid,
                term: pong.term.0,
                uptime_ms: pong.uptime_ms,
                version: &pong.version,
                trouble: Some(pong.trouble.as_str()).filter(|trouble| !trouble.is_empty()),
            },
            queued: pong.queued,
            workers_total: pong.workers_total,
            slots: Tally::of(pong),
            workers: pong.workers.iter().map(worker).collect(),
        }
    }
}

/// A probe that nobody answered.
#[derive(Serialize)]
pub(super) struct Lost<'a> {
    kind: &'static str,
    seq: u32,
    host: &'a str,
    answered: bool,
    waited_ms: f64,
}

impl<'a> Lost<'a> {
    pub(super) fn new(seq: u32, host: &'a str, waited: Duration) -> Self {
        let waited_ms = json::millis(waited);
        Self {
            kind: "probe",
            seq,
            host,
            answered: false,
            waited_ms,
        }
    }
}

/// Another host that is not reached.
#[derive(Serialize)]
pub(super) struct Unreached<'a> {
    kind: &'static str,
    seq: u32,
    host: &'a str,
    answered: bool,
    evidence: &'a str,
}

impl<'a> Unreached<'a> {
    pub(super) const fn new(seq: u32, host: &'a str, evidence: &'a str) -> Self {
        Self {
            kind: "probe",
            seq,
            host,
            answered: false,
            evidence,
        }
    }
}

/// The whole series.
#[derive(Serialize)]
pub(super) struct Summary {
    kind: &'static str,
    sent: u64,
    answered: u64,
    lost: u64,
    elapsed_ms: f64,
    /// `null` if nothing was answered.
    rtt_ms: Option<Rtt>,
}

#[derive(Serialize)]
struct Rtt {
    min: f64,
    avg: f64,
    max: f64,
    p99: f64,
}

impl Summary {
    pub(super) fn new(all: &Statistics, elapsed: Duration) -> Self {
        let rtt_ms = all.round_trips().map(|rtt| {
            let [min, avg, max, p99] = [rtt.min, rtt.avg, rtt.max, rtt.p99].map(json::millis);
            Rtt { min, avg, max, p99 }
        });
        Self {
            kind: "summary",
            sent: all.sent,
            answered: all.answered,
            lost: all.lost_count(),
            elapsed_ms: json::millis(elapsed),
            rtt_ms,
        }
    }
}
