//! What a worker says of itself where its broadcasts have no program of their own.

use std::fs;
use std::time::Duration;

use serde::Serialize;

use crate::election::journal;
use crate::mapped::Words;

/// Fields are added, never changed.
#[derive(Serialize)]
struct Stats {
    /// Hits that have ended here.
    hits: u64,
    /// Slots that serve one now.
    busy: u32,
    slots: u32,
    /// Resident memory.
    rss_kib: u64,
    uptime_s: u64,
    pid: u32,
    version: &'static str,
}

/// One line of JSON.
pub(super) fn stats(journal: &Words, uptime: Duration) -> String {
    let (slots, busy, hits) = journal::tally(journal).unwrap_or_default();
    let stats = Stats {
        hits,
        busy,
        slots,
        rss_kib: rss_kib().unwrap_or(0),
        uptime_s: uptime.as_secs(),
        pid: std::process::id(),
        version: env!("CARGO_PKG_VERSION"),
    };
    serde_json::to_string(&stats).unwrap_or_default() + "\n"
}

/// proc(5), `/proc/PID/statm`: the second number, in pages.
fn rss_kib() -> Option<u64> {
    let statm = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64 / 1024)
}
