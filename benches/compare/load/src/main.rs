//! A client of a real broker and real workers that holds many Hits at once and times each request.
//!
//!     zhit-load hits SOCKET POOL broker|direct HITS WINDOW REQUESTS BYTES
//!
//! Each of HITS has at most WINDOW requests of BYTES unanswered, until REQUESTS were answered, or with 0 until stdin
//! ends. The machine is the one that ships in `zhit client` (`zhit::hit`), on the sockets that ship
//! (`zhit::net`); only the loop around them is this program's. Everything runs on one thread, as the raw loads in C do.
//!
//!     zhit-load pull ENDPOINT
//!
//! A PULL that hashes all it gets with XXH3, as the builtin `sink` does, until an empty message comes.

mod budget;
mod line;
mod samples;

use std::io::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use bytes::Bytes;
use xxhash_rust::xxh3::Xxh3;
use zhit::eager::Eager;
use zhit::net::{Context, Poll};
use zhit::protocol::route::Routing;

use budget::Budget;
use line::Line;
use samples::Samples;

/// Hits whose socket is silent are looked at this often: they keep alive and have deadlines.
const TICK_EVERY: Duration = Duration::from_millis(50);

type Failed = Box<dyn std::error::Error>;

fn main() -> Result<(), Failed> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["hits", socket, pool, route, hits, window, requests, bytes] => {
            let routing = Routing::ALL.into_iter().find(|routing| routing.name() == route);
            let plan = Plan {
                socket: socket.into(),
                pool: pool.to_owned(),
                routing: routing.ok_or("no such route")?,
                hits: hits.parse()?,
                window: window.parse()?,
                body: vec![b'x'; bytes.parse()?].into(),
            };
            load(&plan, Budget::new(requests.parse()?))
        }
        ["pull", endpoint] => pull(endpoint),
        _ => Err("usage: zhit-load hits SOCKET POOL ROUTE HITS WINDOW REQUESTS BYTES | zhit-load pull ENDPOINT".into()),
    }
}

struct Plan {
    socket: PathBuf,
    pool: String,
    routing: Routing,
    hits: usize,
    window: usize,
    body: Bytes,
}

fn load(plan: &Plan, mut budget: Budget) -> Result<(), Failed> {
    let context = Context::new()?;
    let mut lines = Vec::new();
    for _ in 0..plan.hits {
        lines.push(Line::open(&context, &plan.socket, &plan.pool, plan.routing)?);
    }
    // One request ahead of the clock: the routes stand when it starts.
    let mut warm_up = Budget::new(plan.hits as u64);
    let mut unused = Samples::default();
    turn(&mut lines, 1, &plan.body, &mut warm_up, &mut unused)?;

    let mut samples = Samples::default();
    let started_at = Instant::now();
    turn(&mut lines, plan.window, &plan.body, &mut budget, &mut samples)?;
    samples.print(started_at.elapsed());
    for line in &mut lines {
        line.close()?;
    }
    Ok(())
}

/// Asks for as long as `budget` gives requests, and until all are answered.
fn turn(
    lines: &mut [Line],
    window: usize,
    body: &Bytes,
    budget: &mut Budget,
    samples: &mut Samples,
) -> Result<(), Failed> {
    let mut tick_at = Instant::now();
    let mut ready = vec![true; lines.len()];
    let mut eager = Eager::new();
    loop {
        let looks_at_all = Instant::now() >= tick_at;
        if looks_at_all {
            tick_at = Instant::now() + TICK_EVERY;
        }
        let mut busy = 0;
        for (line, ready) in lines.iter_mut().zip(&ready) {
            if *ready || looks_at_all {
                line.turn(looks_at_all, window, body, budget, samples)?;
            }
            busy += line.unanswered();
        }
        if busy == 0 && budget.is_spent() {
            return Ok(());
        }
        let mut poll = Poll::new();
        let keys: Vec<_> = lines.iter().map(|line| line.wait_for(&mut poll)).collect();
        // As `zhit client` waits.
        let seen = eager.wait(poll, tick_at.saturating_duration_since(Instant::now()), busy > 0)?;
        for (ready, keys) in ready.iter_mut().zip(keys) {
            *ready = keys
                .into_iter()
                .flatten()
                .any(|key| seen.readable(key) || seen.writable(key));
        }
    }
}

fn pull(endpoint: &str) -> Result<(), Failed> {
    let context = zmq::Context::new();
    let pull = context.socket(zmq::PULL)?;
    // As raw/bulk.c.
    pull.set_rcvhwm(16)?;
    pull.bind(endpoint)?;
    println!("ready");
    std::io::stdout().flush()?;
    let mut hash = Xxh3::new();
    let mut bytes = 0;
    loop {
        let chunk = pull.recv_msg(0)?;
        if chunk.is_empty() {
            break;
        }
        hash.update(&chunk);
        bytes += chunk.len();
    }
    println!("{bytes} {:016x}", hash.digest());
    Ok(())
}
