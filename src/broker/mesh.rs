//! The brokers of a cluster, as one of them sees the others: who is there, what they have, and messages that it passes on
//! to them. Part of the broker's pure machine.
//!
//! Each calls every other one and listens to those that call it. Who calls is greeted and asked; who listens tells its
//! news: what changes once an interval, and else at a pace that it has said, which is slower the more there are. One that
//! is silent is asked (it is *evasive*) before it is given up (*expired*).

mod callers;

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;

use crate::protocol::ids::{Peer, ReturnPath, Side, Term};
use crate::protocol::limits::{HINTS_MAX, MESH_NEWS_PER_INTERVAL, POOLS_LISTED_MAX};
use crate::protocol::mesh::{Greeting, News, PoolNews, Relay, Relayed, Within};
use crate::protocol::message::{Disconnect, Hint, Holder, Message, Open};
use crate::protocol::pool::Note;
use crate::protocol::time::{Moment, earliest};
use crate::term::human::span;

use super::machine::{Action, Machine};
use callers::Callers;

/// How often one tells its news before it is greeted again; twice as long it counts as asked for them.
const GREET_AGAIN_NEWS: u32 = 10;

/// Parts of an interval after which one is greeted again that has not answered yet.
const GREETS_PER_INTERVAL: u32 = 4;

/// What people should know of another host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Its broker is there, and this is its term.
    Joined(Term),
    /// Another broker serves it, or the same one began anew.
    Replaced(Term),
    /// It has been silent for so long.
    Expired(Duration),
    /// It was told another layout than this one.
    OtherLayout,
}

/// By how much all is slower that is done for each of so many others, whatever happens.
pub(super) fn stretch(others: usize) -> u32 {
    let others = u32::try_from(others).unwrap_or(u32::MAX);
    others.div_ceil(MESH_NEWS_PER_INTERVAL).max(1)
}

/// What is known of another host.
#[derive(Clone, Debug)]
struct Link {
    known: Option<Greeting>,
    news: Option<News>,
    /// When its broker was heard last; before it was, when it began to be waited for.
    heard_at: Moment,
    /// When to greet it next.
    greet_at: Moment,
    is_up: bool,
    /// Since when it has not answered what it was asked.
    asked_at: Option<Moment>,
    /// Its other layout was told.
    differs: bool,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Mesh {
    /// Who this is; `None`: it has no others.
    me: Option<Greeting>,
    links: BTreeMap<String, Link>,
    callers: Callers,
    news_at: Option<Moment>,
    /// What was told last, and when.
    told: Option<(Moment, News)>,
    /// The registry's changes that were looked at for news.
    seen_changes: u64,
}

impl Link {
    const fn new(now: Moment) -> Self {
        Self {
            known: None,
            news: None,
            heard_at: now,
            greet_at: now,
            is_up: false,
            asked_at: None,
            differs: false,
        }
    }

    /// How often it tells its news, as it says itself.
    fn pace(&self, otherwise: Duration) -> Duration {
        let told = self.known.as_ref().map(|known| known.interval_ms);
        told.map_or(otherwise, |ms| Duration::from_millis(ms.into()))
            .max(otherwise)
    }

    /// It was heard.
    const fn heard(&mut self, now: Moment) {
        (self.heard_at, self.asked_at) = (now, None);
    }

    fn term(&self) -> Term {
        self.known.as_ref().map_or(Term(0), |known| known.term)
    }
}

impl Mesh {
    /// Hosts that serve a pool, those with the most idle slots first, and then those with the most.
    pub(super) fn hints(&self, pool: &str) -> Vec<Hint> {
        let up = self.links.iter().filter(|(_, link)| link.is_up);
        let mut serving: Vec<(u32, u32, &String)> = up
            .filter_map(|(host, link)| {
                let one = link.news.as_ref()?.pools.iter().find(|one| one.pool == pool)?;
                (one.slots > 0).then_some((one.idle, one.slots, host))
            })
            .collect();
        serving.sort_by_key(|(idle, slots, _)| Reverse((*idle, *slots)));
        serving.truncate(HINTS_MAX);
        let hint = |(idle, _, host): (u32, u32, &String)| Hint {
            host: host.clone(),
            idle,
        };
        serving.into_iter().map(hint).collect()
    }

    /// When something is due at the latest.
    pub(super) fn next_deadline(&self) -> Option<Moment> {
        let greets = self.links.values().map(|link| link.greet_at).min();
        earliest(greets, self.news_at)
    }

    /// Rule A3: who stood still himself has heard nobody meanwhile.
    pub(super) fn restart_clocks(&mut self, now: Moment) {
        for link in self.links.values_mut() {
            link.heard(now);
        }
    }

    /// How often this one tells its news.
    fn pace(&self, interval: Duration) -> Duration {
        interval * stretch(self.links.len())
    }
}

impl Machine {
    /// These are the other hosts, and this is who greets them. Those that were there before are kept.
    pub fn set_mesh(&mut self, now: Moment, me: Greeting, others: impl IntoIterator<Item = String>) {
        let mut before = std::mem::take(&mut self.mesh.links);
        let others = others.into_iter().map(|host| {
            let mut link = before.remove(&host).unwrap_or_else(|| Link::new(now));
            // Who this is may have changed.
            (link.greet_at, link.differs) = (now, false);
            (host, link)
        });
        self.mesh.links = others.collect();
        self.mesh.news_at = Some(now);
        let pace = self.mesh.pace(self.config.interval);
        let interval_ms = u32::try_from(pace.as_millis()).unwrap_or(u32::MAX);
        self.mesh.me = Some(Greeting { interval_ms, ..me });
    }

    /// Takes a message from the socket for other hosts.
    pub fn on_public(&mut self, now: Moment, from: Peer, message: Message, out: &mut Vec<Action>) {
        match message {
            Message::Greet(greeting) => self.on_greet(now, from, &greeting, out),
            Message::Relay(relay) if relay.host == self.config.host => self.on_relay_here(now, from, relay, out),
            // Only from one that has no broker of its own: nothing goes further than from one broker to the next.
            Message::Relay(relay) if relay.path.0.is_empty() => self.on_relay(now, from, relay, out),
            Message::Relay(relay) => {
                let (path, note) = (relay.path, format!("this is {}", self.config.host));
                out.push(Action::Send(from, nowhere(relay.host, path, note)));
            }
            // A client, whose own host has no slot for it. The process that holds its Hit cannot be seen from here.
            Message::Open(open) => {
                let holder = open.holder.map(|holder| Holder { pid: 0, ..holder });
                self.on_message(now, from, Message::Open(Open { holder, ..open }), out);
            }
            Message::Withdraw { .. } => self.on_message(now, from, message, out),
            // A member has to be on this host.
            _ => out.push(Action::Send(from, Message::Disconnect(Disconnect::Unexpected))),
        }
    }

    fn on_greet(&mut self, now: Moment, from: Peer, greeting: &Greeting, out: &mut Vec<Action>) {
        let Some(me) = self.mesh.me.clone() else {
            return out.push(Action::Send(from, Message::Disconnect(Disconnect::Unexpected)));
        };
        let until = now + self.mesh.pace(self.config.interval) * (GREET_AGAIN_NEWS * 2);
        let is_new = self.mesh.callers.heard(now, from).news_until.replace(until).is_none();
        out.push(Action::Send(from, Message::Greeted(me)));
        if is_new {
            out.push(Action::Send(from, Message::News(self.news(now))));
        }
        self.note_layout(greeting, out);
        if let Some(link) = self.mesh.links.get_mut(&greeting.host)
            && !link.is_up
        {
            // It is there, so that it is worth a call.
            link.greet_at = now;
        }
    }

    /// A message for this broker, from somebody behind another.
    fn on_relay_here(&mut self, now: Moment, from: Peer, relay: Relay, out: &mut Vec<Action>) {
        let number = self.mesh.callers.heard(now, from).number;
        let Some(asker) = Peer::behind(number, &relay.path) else {
            return;
        };
        let within = relay
            .within
            .0
            .map(|frames| Message::decode(&frames.header, frames.body));
        match within {
            Some(Ok(message)) if is_question(&message) => self.on_message(now, asker, message, out),
            _ => out.push(Action::Send(asker, Message::Disconnect(Disconnect::Unexpected))),
        }
    }

    /// Passes a message on to another host's broker.
    pub(super) fn on_relay(&mut self, now: Moment, from: Peer, relay: Relay, out: &mut Vec<Action>) {
        let host = relay.host;
        if host == self.config.host {
            // No way at all: it is answered as if it had come bare.
            let within = relay
                .within
                .0
                .map(|frames| Message::decode(&frames.header, frames.body));
            if let Some(Ok(message)) = within.filter(|one| one.as_ref().is_ok_and(is_question)) {
                self.on_message(now, from, message, out);
            }
            return;
        }
        // Rule B3: it is tried until patience is over, and by rule A3 after a standstill of this one's own, too.
        let silent_max = self.liveness().max(self.config.patience);
        let may_judge = !self.has_stood_still(now);
        let interval = self.config.interval;
        let note = match self.mesh.links.get_mut(&host) {
            None => format!(
                "{}, which was asked for it, knows no host {host} with an address",
                self.config.host
            ),
            Some(link) if link.is_up || !may_judge || now.since(link.heard_at) < silent_max => {
                let relay = Relay {
                    path: from.to_path(),
                    host: host.clone(),
                    within: relay.within,
                };
                if link.is_up && link.asked_at.is_none() && now.since(link.heard_at) > interval + interval / 2 {
                    // Somebody needs to know now.
                    link.greet_at = now;
                }
                return out.push(Action::Call(host, Message::Relay(relay)));
            }
            Some(link) => {
                let silent = span(now.since(link.heard_at));
                let ever = if link.known.is_some() { "been heard" } else { "answered" };
                format!("its broker has not {ever} for {silent}, says {}", self.config.host)
            }
        };
        out.push(Action::Send(from, nowhere(host, ReturnPath::default(), note)));
    }

    /// Takes a message from another host's broker, which this one has called.
    pub fn on_called(&mut self, now: Moment, host: &str, message: Message, out: &mut Vec<Action>) {
        let Some(link) = self.mesh.links.get_mut(host) else {
            return;
        };
        match message {
            Message::Greeted(greeting) if greeting.host == host && greeting.term >= link.term() => {
                let notice = match &link.known {
                    Some(known) if known.term == greeting.term && known.incarnation == greeting.incarnation => None,
                    Some(_) => Some(Notice::Replaced(greeting.term)),
                    None => Some(Notice::Joined(greeting.term)),
                };
                let returned = (!link.is_up).then_some(Notice::Joined(greeting.term));
                out.extend(notice.or(returned).map(|notice| Action::Note(host.to_owned(), notice)));
                link.known = Some(greeting.clone());
                link.is_up = true;
                link.heard(now);
                link.greet_at = now + link.pace(self.config.interval) * GREET_AGAIN_NEWS;
                self.note_layout(&greeting, out);
            }
            Message::News(news) if link.known.is_some() && news.term >= link.term() => {
                if news.term == link.term() {
                    link.heard(now);
                    let serving = news.pools.iter().filter(|pool| pool.slots > 0);
                    let serving: Vec<(String, u32)> = serving.map(|pool| (pool.pool.clone(), pool.idle)).collect();
                    link.news = Some(news);
                    for (pool, idle) in serving {
                        self.send_on(now, &pool, idle, out);
                    }
                } else {
                    // Another broker: let it say who it is.
                    link.greet_at = now;
                }
            }
            Message::Relayed(relayed) if relayed.host == host => {
                if relayed.term != Term(0) && relayed.term < link.term() {
                    return;
                }
                link.heard(now);
                let path = ReturnPath::default();
                let to = Peer::from_path(&relayed.path).filter(|peer| !matches!(peer.side(), Side::Behind(_)));
                out.extend(to.map(|to| Action::Send(to, Message::Relayed(Relayed { path, ..relayed }))));
            }
            _ => {}
        }
    }

    /// Both say it: whoever looks at one of them sees it.
    fn note_layout(&mut self, other: &Greeting, out: &mut Vec<Action>) {
        let differs = self.mesh.me.as_ref().is_some_and(|me| me.layout != other.layout);
        let Some(link) = self.mesh.links.get_mut(&other.host) else {
            return;
        };
        if differs && !link.differs {
            out.push(Action::Note(other.host.clone(), Notice::OtherLayout));
        }
        link.differs = differs;
    }

    /// What is said to somebody behind another broker, as that one is to be told. `None`: it has gone.
    pub fn relayed(&self, to: Peer, message: Message) -> Option<(Peer, Message)> {
        let Side::Behind(number) = to.side() else {
            return Some((to, message));
        };
        let relayed = Relayed {
            host: self.config.host.clone(),
            path: ReturnPath(to.routing_id().to_vec()),
            term: self.config.term,
            note: Note::default(),
            within: Within::new(message.encode()),
        };
        let caller = self.mesh.callers.peer(number)?;
        Some((caller, Message::Relayed(relayed)))
    }

    /// Greets whom it is time to greet, tells the news, and gives up who has been silent for too long.
    pub(super) fn mesh_tick(&mut self, now: Moment, out: &mut Vec<Action>) {
        let (interval, silent_max) = (self.config.interval, self.liveness());
        let liveness = self.config.liveness;
        let Mesh {
            me: Some(me), links, ..
        } = &mut self.mesh
        else {
            return;
        };
        for (host, link) in links {
            let silent = now.since(link.heard_at);
            let pace = link.pace(interval);
            let unanswered = link.asked_at.is_some_and(|at| now.since(at) >= silent_max);
            if link.is_up && (unanswered || silent >= pace * liveness) {
                (link.is_up, link.asked_at, link.news) = (false, None, None);
                out.push(Action::Note(host.clone(), Notice::Expired(silent)));
            }
            // One that was to be heard by now is asked.
            let is_evasive = link.is_up && link.asked_at.is_none() && silent > pace + interval / 2;
            if now >= link.greet_at || is_evasive {
                if link.is_up {
                    link.asked_at.get_or_insert(now);
                }
                let is_new = !link.is_up && silent < silent_max;
                let pause = if is_new {
                    interval / GREETS_PER_INTERVAL
                } else {
                    interval
                };
                link.greet_at = now + pause;
                out.push(Action::Call(host.clone(), Message::Greet(me.clone())));
            }
        }
        self.tell_news(now, out);
    }

    /// Tells the news that are due, or that are new. Every turn of the loop comes here: what is not is seen at once,
    /// however many slots there are.
    fn tell_news(&mut self, now: Moment, out: &mut Vec<Action>) {
        let interval = self.config.interval;
        let changes = self.registry.changes();
        let is_due = self.mesh.news_at.is_none_or(|at| at <= now);
        let is_told = self.mesh.told.as_ref().is_some_and(|(at, _)| now.since(*at) < interval);
        if !is_due && (is_told || changes == self.mesh.seen_changes) {
            return;
        }
        let news = self.news(now);
        self.mesh.seen_changes = changes;
        let told = self.mesh.told.as_ref();
        if !is_due && told.is_some_and(|(_, told)| (told.workers, &told.pools) == (news.workers, &news.pools)) {
            return;
        }
        let pace = self.mesh.pace(interval);
        self.mesh.news_at = Some(now + pace);
        self.mesh.told = Some((now, news.clone()));
        self.mesh
            .callers
            .forget_silent(now.before(pace * (GREET_AGAIN_NEWS * 2)));
        let tell = |peer| Action::Send(peer, Message::News(news.clone()));
        out.extend(self.mesh.callers.readers(now).map(tell));
    }

    fn news(&self, now: Moment) -> News {
        let pools = self
            .registry
            .pools(now, self.liveness())
            .into_iter()
            .take(POOLS_LISTED_MAX);
        let pools = pools.map(|(pool, (slots, idle))| PoolNews { pool, slots, idle });
        News {
            term: self.config.term,
            beat: self.beat,
            workers: self.registry.workers().count() as u32,
            pools: pools.collect(),
        }
    }
}

/// What may be asked of a broker from another host.
const fn is_question(message: &Message) -> bool {
    matches!(
        message,
        Message::Ping { .. }
            | Message::Probe(_)
            | Message::Roll(_)
            | Message::Ask(_)
            | Message::Thanks(_)
            | Message::Check(_)
    )
}

fn nowhere(host: String, path: ReturnPath, note: String) -> Message {
    Message::Relayed(Relayed {
        host,
        path,
        term: Term(0),
        note: Note(note),
        within: Within::nothing(),
    })
}

#[cfg(test)]
#[path = "mesh_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "mesh_client_tests.rs"]
mod client_tests;
