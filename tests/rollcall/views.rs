//! What brokers think of each other, and whether that is so.

use std::time::Duration;

use zhit::broker::machine::{Action, Machine};
use zhit::broker::mesh::Notice;
use zhit::protocol::ids::{Attach, Attempt, DirId, HitKey};
use zhit::protocol::mesh::Relayed;
use zhit::protocol::message::{Hint, Open, Packet};
use zhit::protocol::{Message, Moment, Term};

use crate::host::Host;
use crate::judge::Judge;
use crate::network::peer;
use crate::world::{INTERVAL, NAMES, STEP, place_of};

/// One who asks for a slot only to be told where else there are some.
const ASKER: u64 = 5000;

/// Another host, as the broker of one has said that it sees it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct View {
    /// Its highest term that was taken.
    term: u64,
    pub(crate) is_up: bool,
    /// When something of it came last that was to be taken; the broker's beginning, and the end of its last long standstill,
    /// count, too (rule A3).
    heard_at: Moment,
    /// The end of the last standstill, long or not.
    woke_at: Moment,
    /// Its idle slots, by its last news that were to be taken.
    idle: u32,
}

impl Judge {
    fn views_of(&mut self, host: usize) -> impl Iterator<Item = &mut View> {
        let mine = self.views.iter_mut().filter(move |((by, _), _)| *by == host);
        mine.map(|(_, view)| view)
    }

    pub(crate) fn views_begin(&mut self, now: Moment, host: usize) {
        for view in self.views_of(host) {
            *view = View {
                heard_at: now,
                ..View::default()
            };
        }
    }

    pub(crate) fn views_wake(&mut self, now: Moment, host: usize, stood: Duration) {
        for view in self.views_of(host) {
            view.woke_at = now;
            if stood > INTERVAL * 2 {
                view.heard_at = now;
            }
        }
    }

    /// The broker of one host is about to take what that of another says.
    pub(crate) fn heard(&mut self, now: Moment, between: (usize, usize), message: &Message) {
        let Some(view) = self.views.get_mut(&between) else {
            return;
        };
        let counts = match message {
            Message::Greeted(greeting) => greeting.term.0 >= view.term,
            Message::News(news) => view.term > 0 && news.term.0 == view.term,
            Message::Relayed(relayed) => relayed.term.0 == 0 || relayed.term.0 >= view.term,
            _ => false,
        };
        if counts {
            view.heard_at = now;
        }
        if let (true, Message::News(news)) = (counts, message) {
            let pool = news.pools.iter().find(|one| one.pool == NAMES[between.1]);
            view.idle = pool.map_or(0, |pool| pool.idle);
        }
    }

    /// The broker of one host tells what it thinks of another. A stale term is never taken after a newer one.
    pub(crate) fn note(&mut self, now: Moment, between: (usize, usize), notice: &Notice) {
        let view = self.views.get_mut(&between).expect("another host");
        let what = format!("{}: {} {notice:?}", NAMES[between.0], NAMES[between.1]);
        match notice {
            Notice::Joined(Term(term)) | Notice::Replaced(Term(term)) => {
                assert!(*term >= view.term, "{what}, after term {}", view.term);
                (view.term, view.is_up) = (*term, true);
            }
            Notice::Expired(_) => {
                assert!(view.is_up, "{what}, which was not there");
                let silent = now.since(view.heard_at) + STEP;
                assert!(silent >= Self::liveness(), "{what}, heard {silent:?} ago");
                (view.is_up, view.idle) = (false, 0);
            }
            Notice::OtherLayout => panic!("{what}"),
        }
    }

    /// A broker passes on what another host's has said.
    pub(crate) fn passes_on(&self, by: usize, relayed: &Relayed) {
        let of = place_of(&relayed.host);
        let view = of.and_then(|of| self.views.get(&(by, of)));
        if let Some(view) = view.filter(|_| relayed.term != Term(0)) {
            let host = &relayed.host;
            assert!(
                relayed.term.0 >= view.term,
                "{}: word of {host} of term {}, after term {}",
                NAMES[by],
                relayed.term,
                view.term
            );
        }
    }

    /// Whom a broker names to one who looks for a slot is up, and has what it has told last.
    pub(crate) fn check_hints(&self, now: Moment, hosts: &mut [Host]) {
        for host in hosts.iter_mut().filter(|host| host.serves()) {
            let by = host.place;
            let Some(machine) = &mut host.machine else { continue };
            for ((_, of), view) in self.views.iter().filter(|((one, _), _)| *one == by) {
                let hints = hints(now, machine, NAMES[*of]);
                let silent = now.since(view.heard_at.max(view.woke_at));
                let is_fresh = view.is_up && silent <= Self::liveness() + STEP * 2;
                let what = format!("{} names {hints:?}, silent for {silent:?}, {view:?}", NAMES[by]);
                assert!(hints.is_empty() || is_fresh, "{what}");
                let idle = hints.iter().map(|hint| hint.idle).sum::<u32>();
                assert!(hints.iter().all(|hint| hint.host == NAMES[*of]), "{what}");
                assert_eq!(idle, if view.is_up { view.idle } else { 0 }, "{what}");
            }
        }
    }

    /// After all faults: whether every broker knows who is there and who is not.
    pub(crate) fn is_mesh_settled(&self, hosts: &[Host]) -> bool {
        let serves = |place: usize| hosts[place].machine.is_some();
        let mut views = self.views.iter();
        views.all(|((by, of), view)| !serves(*by) || view.is_up == serves(*of))
    }

    /// Which brokers do not.
    pub(crate) fn blind(&self, hosts: &[Host]) -> String {
        let views = self.views.iter().filter(|((by, _), _)| hosts[*by].machine.is_some());
        let views = views.map(|((by, of), view)| format!("{}→{} {}", NAMES[*by], NAMES[*of], view.is_up));
        views.collect::<Vec<_>>().join(", ")
    }

    /// After how long at most.
    pub(crate) fn mesh_bound() -> Duration {
        Self::liveness() + Duration::from_millis(900)
    }
}

/// Where else there are idle slots of a pool, says a broker that has none.
fn hints(now: Moment, machine: &mut Machine, pool: &str) -> Vec<Hint> {
    let open = Open {
        hit: HitKey::from_bytes([7; 16]),
        attach: Attach(1),
        attempt: Attempt(1),
        queue: false,
        moves: false,
        close_after: false,
        resume: false,
        term: Term(0),
        dir: DirId::default(),
        age_ms: 0,
        ttl_ms: 1000,
        timeout_ms: 0,
        holder: None,
        pool: pool.to_owned(),
        packet: Packet::default(),
    };
    let mut out = Vec::new();
    machine.on_message(now, peer(ASKER), Message::Open(open), &mut out);
    let full = out.into_iter().find_map(|action| match action {
        Action::Send(_, Message::Full(full)) => Some(full),
        _ => None,
    });
    full.expect("no slot is here").hints
}
