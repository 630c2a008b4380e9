//! One Hit with its sockets, as `src/wires.rs` and `src/client/run.rs` have it.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::Bytes;
use zhit::hit::{Config, Hit, Hosts, Leave, Outbox};
use zhit::clock;
use zhit::net::{Context, Dealer, Interest, Key, Poll, Received, Sent, endpoint_path};
use zhit::protocol::limits::{INTERVAL, LIVENESS, MESSAGES_PER_TURN_MAX, TTL};
use zhit::protocol::route::{Route, Routing};
use zhit::protocol::status::Status;
use zhit::protocol::{HitKey, Message};

use crate::Failed;
use crate::budget::Budget;
use crate::samples::Samples;

/// A broker and a slot are there when a load starts.
const WAIT: Duration = Duration::from_secs(30);

pub struct Line {
    hit: Hit,
    context: Context,
    broker: Dealer,
    direct: Option<Dealer>,
    /// Where slots' own sockets are.
    members: PathBuf,
    is_forced: bool,
    asked_at: VecDeque<Instant>,
    out: Outbox,
}

impl Line {
    pub fn open(context: &Context, socket: &Path, pool: &str, routing: Routing) -> Result<Self, Failed> {
        let mut key = [0; 16];
        getrandom::fill(&mut key)?;
        let config = Config {
            pool: pool.to_owned(),
            wait: WAIT,
            ttl: TTL,
            timeout: None,
            timeout_slack: INTERVAL,
            interval: INTERVAL,
            liveness: LIVENESS,
            one_shot: false,
            leave: Leave::Close,
            holder: None,
            routing,
            hosts: Hosts::default(),
        };
        let mut broker = Dealer::new(context)?;
        broker.connect(socket)?;
        Ok(Self {
            hit: Hit::open(clock::now(), HitKey::from_bytes(key), config),
            context: context.clone(),
            broker,
            direct: None,
            members: socket.with_file_name("members"),
            is_forced: routing == Routing::Direct,
            asked_at: VecDeque::new(),
            out: Outbox::new(),
        })
    }

    pub fn unanswered(&self) -> usize {
        self.asked_at.len()
    }

    /// Takes what has come, asks anew, and sends what is due.
    pub fn turn(
        &mut self,
        looks_at_broker: bool,
        window: usize,
        body: &Bytes,
        budget: &mut Budget,
        samples: &mut Samples,
    ) -> Result<(), Failed> {
        for route in [Route::Direct, Route::Broker] {
            // Once all goes straight to the slot, nothing is to be expected of the broker but the Hit's end.
            if route == Route::Direct || looks_at_broker || !self.hit.is_direct() {
                self.receive(route)?;
            }
        }
        self.take_replies(samples)?;
        while self.asked_at.len() < window && self.hit.room().is_some_and(|room| room >= body.len()) && budget.take() {
            self.asked_at.push_back(Instant::now());
            self.hit.write(clock::now(), body.clone(), true);
        }
        self.hit.on_tick(clock::now(), &mut self.out);
        self.reach_slot()?;
        self.send()?;
        match self.hit.outcome() {
            None => Ok(()),
            Some(outcome) => Err(format!("the Hit has ended: {outcome:?}").into()),
        }
    }

    fn receive(&mut self, route: Route) -> Result<(), Failed> {
        for _ in 0..MESSAGES_PER_TURN_MAX {
            let dealer = match route {
                Route::Broker => Some(&mut self.broker),
                Route::Direct => self.direct.as_mut(),
            };
            let Some(received) = dealer.map(Dealer::recv).transpose()?.flatten() else {
                break;
            };
            if let Received::Frames(frames) = received {
                let message = Message::decode(&frames.header, frames.body)?;
                self.hit.on_message(clock::now(), route, message, &mut self.out);
            }
        }
        Ok(())
    }

    fn take_replies(&mut self, samples: &mut Samples) -> Result<(), Failed> {
        while let Some(piece) = self.hit.next_reply() {
            self.hit.consumed(piece.bytes.len() as u64, false);
            let Some(status) = piece.end else { continue };
            self.hit.consumed(0, true);
            if status != Status::Ok {
                return Err(format!("a request failed: {status}").into());
            }
            let asked_at = self.asked_at.pop_front().ok_or("a reply to nothing")?;
            samples.add(asked_at.elapsed());
        }
        Ok(())
    }

    fn reach_slot(&mut self) -> Result<(), Failed> {
        let Some(endpoint) = self.hit.direct_endpoint().filter(|_| !self.hit.is_direct()) else {
            return Ok(());
        };
        if self.direct.is_none() {
            let path = endpoint_path(endpoint).filter(|path| path.parent() == Some(&self.members));
            let mut dealer = Dealer::new(&self.context)?;
            dealer.connect(path.ok_or("the slot names no socket of this host")?)?;
            self.direct = Some(dealer);
        }
        if self.direct.as_ref().is_some_and(Dealer::has_route) {
            self.hit.on_direct_route(clock::now());
            self.hit.flush(clock::now(), &mut self.out);
        }
        Ok(())
    }

    fn send(&mut self) -> Result<(), Failed> {
        while !self.out.is_empty() {
            for (route, message) in std::mem::take(&mut self.out) {
                let dealer = match route {
                    Route::Broker => Some(&mut self.broker),
                    Route::Direct => self.direct.as_mut(),
                };
                let sent = dealer.map(|dealer| dealer.send(message.encode())).transpose()?;
                if sent != Some(Sent::Done) {
                    self.hit.on_no_route(clock::now(), route, &message, &mut self.out);
                }
            }
        }
        Ok(())
    }

    /// Items for a wait: what this Hit may be heard by, and connections that it still needs.
    pub fn wait_for<'a>(&'a self, poll: &mut Poll<'a>) -> [Option<Key>; 2] {
        let is_direct = self.hit.is_direct();
        let needs_broker = !self.hit.is_open() && !self.broker.has_route();
        let broker =
            (!is_direct).then(|| poll.socket(&self.broker, Interest::READ | Interest::WRITE.when(needs_broker)));
        let needs_slot = self.is_forced && !is_direct;
        let direct = self.direct.as_ref().map(|dealer| {
            poll.socket(
                dealer,
                Interest::READ | Interest::WRITE.when(needs_slot && !dealer.has_route()),
            )
        });
        [broker, direct]
    }

    pub fn close(&mut self) -> Result<(), Failed> {
        self.hit.complete();
        self.hit.on_tick(clock::now(), &mut self.out);
        self.send()
    }
}
