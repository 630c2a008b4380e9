//! The issuer's books by themselves: what they cost in real time and memory, beside all that carries messages.

use std::time::Duration;

use bytes::Bytes;
use zhit::broadcast::gather::{Action, Config, Gather, Phase};
use zhit::clock;
use zhit::options::Targets;
use zhit::protocol::ids::{BroadcastId, ReturnPath};
use zhit::protocol::limits::MESSAGES_PER_TURN_MAX;
use zhit::protocol::pool::{Answer, Blob, Enrolled, Note, Receipt, Roster};
use zhit::protocol::{Message, Moment, Status, Term};

use crate::cost::{INTERVAL, PATIENCE};
use crate::members::{member, name};

/// Real times of the machine, and what it holds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Alone {
    /// From the first ROSTER until the roster is pinned and all ASKs are said.
    pub(crate) pin: Duration,
    /// One message of a member: RECEIPT or ANSWER, its share of the turns' ticks included.
    pub(crate) message: Duration,
    /// One tick that asks after as many as are asked after at once.
    pub(crate) check: Duration,
    /// One tick when nothing is due.
    pub(crate) tick: Duration,
    /// One tick after one host in a hundred has not been heard for patience, and all of its seats are settled.
    pub(crate) tick_with_lost: Duration,
    /// All thanks, when everybody has answered since the last check.
    pub(crate) thank: Duration,
    /// Bytes of the process that came with the roster, and with the answers.
    pub(crate) roster_bytes: u64,
    pub(crate) answers_bytes: u64,
}

fn timed<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    let before = clock::now();
    let value = work();
    (clock::now().since(before), value)
}

/// Resident memory of this process.
fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").expect("this process's status");
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kib.expect("its size") * 1024
}

fn gather(now: Moment, hosts: usize) -> Gather {
    let config = Config {
        id: BroadcastId([9; 16]),
        hosts: (0..hosts).map(name).collect(),
        targets: Targets::default(),
        body: Bytes::from_static(b"uptime"),
        patience: PATIENCE,
        interval: INTERVAL,
        timeout: None,
        reply_max: 1 << 20,
        batch: None,
        stop_after: None,
    };
    Gather::new(now, config)
}

fn roster(host: usize, workers: u32) -> Message {
    let members = (1..=workers).map(|worker| Enrolled {
        member: member(worker),
        pool: "default".to_owned(),
        draining: false,
    });
    Message::Roster(Roster {
        id: BroadcastId([9; 16]),
        host: name(host),
        term: Term(1),
        total: workers,
        members: members.collect(),
    })
}

/// What each member says in one round of messages.
fn round(gather: &mut Gather, now: Moment, (hosts, workers): (usize, u32), say: impl Fn(u32) -> Message) -> Duration {
    let (mut actions, mut count) = (Vec::new(), 0);
    let (took, ()) = timed(|| {
        for host in 0..hosts {
            for worker in 1..=workers {
                gather.on_message(now, host, say(worker), &mut actions);
                actions.clear();
                count += 1;
                if count % MESSAGES_PER_TURN_MAX == 0 {
                    gather.on_tick(now, &mut actions);
                    actions.clear();
                }
            }
        }
    });
    took / count as u32
}

pub(crate) fn alone(hosts: usize, workers: u32) -> Alone {
    let mut now = Moment::from_micros(1_000_000_000);
    let (mut actions, mut all) = (Vec::<Action>::new(), Alone::default());
    let before = resident();
    let mut books = gather(now, hosts);
    all.pin = timed(|| {
        for host in 0..hosts {
            books.on_message(now, host, roster(host, workers), &mut actions);
        }
    })
    .0;
    assert_eq!(books.phase(), Phase::Asking);
    actions = Vec::new();
    all.roster_bytes = resident().saturating_sub(before);
    let (id, path) = (BroadcastId([9; 16]), ReturnPath::default());
    let receipt = |worker| {
        let (path, member) = (path.clone(), member(worker));
        Message::Receipt(Receipt { id, member, path })
    };
    let receipts = round(&mut books, now, (hosts, workers), receipt);
    all.tick = timed(|| books.on_tick(now, &mut actions)).0;
    now += INTERVAL / 4;
    all.check = timed(|| books.on_tick(now, &mut actions)).0;
    drop(std::mem::take(&mut actions));
    let answer = |worker| {
        Message::Answer(Answer {
            id,
            member: member(worker),
            path: path.clone(),
            status: Status::Ok,
            elapsed_ms: 1,
            note: Note::default(),
            body: Blob(Bytes::from_static(b"uptime")),
        })
    };
    let before = resident();
    let answers = round(&mut books, now, (hosts, workers), answer);
    all.answers_bytes = resident().saturating_sub(before);
    all.message = (receipts + answers) / 2;
    assert_eq!(books.books().ok, hosts * workers as usize);
    all.thank = timed(|| books.thank(&mut actions)).0;
    assert_eq!(actions.len(), hosts);
    all.tick_with_lost = with_lost(hosts, workers);
    all
}

/// One host in a hundred is silent after its ROSTER; all others are heard, and nobody has answered.
fn with_lost(hosts: usize, workers: u32) -> Duration {
    let mut now = Moment::from_micros(1_000_000_000);
    let mut books = gather(now, hosts);
    let mut actions = Vec::new();
    for host in 0..hosts {
        books.on_message(now, host, roster(host, workers), &mut actions);
    }
    actions.clear();
    for _ in 0..=PATIENCE.as_secs() {
        now += INTERVAL;
        for host in (0..hosts).filter(|host| host % 100 != 99) {
            books.on_message(now, host, roster(host, 0), &mut actions);
        }
        actions.clear();
    }
    books.on_tick(now, &mut actions);
    let lost = books.books().unreachable;
    assert_eq!(lost, hosts / 100 * workers as usize, "{:?}", books.books());
    // What is due is done; from here on a tick has nothing to do.
    timed(|| books.on_tick(now, &mut actions)).0
}
