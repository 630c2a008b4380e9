//! The broadcasts that reach a worker: each is run once, and its answer kept until its issuer has it (rule B2). Pure.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;

use crate::protocol::Message;
use crate::protocol::ids::{BroadcastId, Member, ReturnPath};
use crate::protocol::limits::{BROADCAST_KEPT, BROADCASTS_KEPT_MAX, BROADCASTS_PENDING_MAX};
use crate::protocol::message::WorkState;
use crate::protocol::mutation::{Rule, broken};
use crate::protocol::pool::{Answer, Ask, Blob, Note, Receipt, Running, Thanks};
use crate::protocol::status::Status;
use crate::protocol::time::{Moment, earliest};

/// What is to be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// The broadcast.
    pub id: BroadcastId,
    /// The request.
    pub body: Bytes,
    /// How long it may take.
    pub timeout: Option<Duration>,
    /// Most bytes of its reply.
    pub reply_max: usize,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    /// The broadcast.
    pub id: BroadcastId,
    /// How it ended.
    pub status: Status,
    /// Why it failed, in words.
    pub note: String,
    /// The reply.
    pub body: Bytes,
}

/// What the control thread must do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send this to the broker.
    Send(Message),
    /// Have this run, after those that were started before.
    Run(Job),
}

#[derive(Debug)]
enum State {
    /// It runs, or waits for that.
    Pending { say_at: Moment },
    /// It has run. The answer is there until the issuer has it, or that time has come; that it ran is remembered longer:
    /// an issuer that was stopped may ask again at any time.
    Answered {
        answer: Option<Box<Answer>>,
        drop_at: Moment,
    },
}

#[derive(Debug)]
struct Held {
    path: ReturnPath,
    asked_at: Moment,
    state: State,
}

/// The machine.
#[derive(Debug)]
pub struct Broadcasts {
    me: Member,
    interval: Duration,
    /// What is asked is answered in the same turn, so that a receipt would say nothing.
    prompt: bool,
    held: BTreeMap<BroadcastId, Held>,
    /// In the order in which they came.
    order: VecDeque<BroadcastId>,
}

impl Broadcasts {
    /// That of this worker, which says each interval that it is still at it; `prompt`: or answers at once.
    pub const fn new(me: Member, interval: Duration, prompt: bool) -> Self {
        Self {
            me,
            interval,
            prompt,
            held: BTreeMap::new(),
            order: VecDeque::new(),
        }
    }

    /// Whether nothing runs or waits.
    pub fn is_idle(&self) -> bool {
        !self
            .held
            .values()
            .any(|held| matches!(held.state, State::Pending { .. }))
    }

    /// Asked, for the first time or again.
    pub fn on_ask(&mut self, now: Moment, ask: Ask, out: &mut Vec<Action>) {
        if !ask.members.contains(&self.me) {
            // To an earlier worker of this number, or to a later one.
            return;
        }
        let (id, member) = (ask.id, self.me);
        if let Some(held) = self.held.get_mut(&id).filter(|_| !broken(Rule::B2)) {
            held.path = ask.path;
            let path = held.path.clone();
            return match &held.state {
                State::Pending { .. } => out.push(Action::Send(Message::Receipt(Receipt { id, member, path }))),
                State::Answered {
                    answer: Some(answer), ..
                } => {
                    let answer = Answer {
                        path,
                        ..(**answer).clone()
                    };
                    out.push(Action::Send(Message::Answer(answer)));
                }
                State::Answered { answer: None, .. } => {
                    let note = "it ran, and its answer is not kept any longer".to_owned();
                    out.push(Action::Send(self.refusal(id, path, note)));
                }
            };
        }
        if self.pending() >= BROADCASTS_PENDING_MAX {
            let note = format!("{BROADCASTS_PENDING_MAX} broadcasts wait here already: ask again later");
            return out.push(Action::Send(self.refusal(id, ask.path, note)));
        }
        self.make_room();
        let path = ask.path.clone();
        if !self.prompt {
            out.push(Action::Send(Message::Receipt(Receipt { id, member, path })));
        }
        out.push(Action::Run(Job {
            id,
            body: ask.body.0,
            timeout: (ask.timeout_ms > 0).then(|| Duration::from_millis(ask.timeout_ms.into())),
            reply_max: ask.reply_max as usize,
        }));
        let say_at = now + self.interval;
        let held = Held {
            path: ask.path,
            asked_at: now,
            state: State::Pending { say_at },
        };
        if self.held.insert(id, held).is_none() {
            self.order.push_back(id);
        }
    }

    /// It has run.
    pub fn on_done(&mut self, now: Moment, done: Done, out: &mut Vec<Action>) {
        let Some(held) = self.held.get_mut(&done.id) else {
            return;
        };
        let answer = Answer {
            id: done.id,
            member: self.me,
            path: held.path.clone(),
            status: done.status,
            elapsed_ms: now.since(held.asked_at).as_millis() as u64,
            note: Note(done.note),
            body: Blob(done.body),
        };
        out.push(Action::Send(Message::Answer(answer.clone())));
        held.state = State::Answered {
            answer: Some(Box::new(answer)),
            drop_at: now + BROADCAST_KEPT,
        };
    }

    /// Its issuer has the answer. That it ran is remembered.
    pub fn on_thanks(&mut self, thanks: &Thanks) {
        if thanks.members.contains(&self.me)
            && let Some(Held {
                state: State::Answered { answer, .. },
                ..
            }) = self.held.get_mut(&thanks.id)
        {
            *answer = None;
        }
    }

    /// Time has passed; `state`: what the handler does that runs now.
    pub fn on_tick(&mut self, now: Moment, state: Option<(BroadcastId, WorkState)>, out: &mut Vec<Action>) {
        for (id, held) in &mut self.held {
            let say_at = match &mut held.state {
                State::Pending { say_at } => say_at,
                State::Answered { answer, drop_at } => {
                    answer.take_if(|_| *drop_at <= now);
                    continue;
                }
            };
            if now < *say_at {
                continue;
            }
            *say_at = now + self.interval;
            out.push(Action::Send(Message::Running(Running {
                id: *id,
                member: self.me,
                path: held.path.clone(),
                state: state.map_or(WorkState::Idle, |(running, state)| match state {
                    _ if running == *id => state,
                    // Whoever waits behind one that hangs gets on no more than that one (rule A2).
                    WorkState::Stopped | WorkState::Stalled => state,
                    _ => WorkState::Idle,
                }),
                elapsed_ms: now.since(held.asked_at).as_millis() as u64,
            })));
        }
    }

    /// When to tick at the latest.
    pub fn next_deadline(&self) -> Option<Moment> {
        let at = self.held.values().map(|held| match &held.state {
            State::Pending { say_at } => Some(*say_at),
            State::Answered { answer, drop_at } => answer.as_ref().map(|_| *drop_at),
        });
        at.fold(None, earliest)
    }

    fn refusal(&self, id: BroadcastId, path: ReturnPath, note: String) -> Message {
        Message::Answer(Answer {
            id,
            member: self.me,
            path,
            status: Status::Refused,
            elapsed_ms: 0,
            note: Note(note),
            body: Blob::default(),
        })
    }

    fn pending(&self) -> usize {
        let pending = |held: &&Held| matches!(held.state, State::Pending { .. });
        self.held.values().filter(pending).count()
    }

    /// Forgets the oldest that have been answered, should they be too many.
    fn make_room(&mut self) {
        while self.held.len() >= BROADCASTS_KEPT_MAX {
            let answered = |id: &BroadcastId| {
                self.held
                    .get(id)
                    .is_none_or(|held| matches!(held.state, State::Answered { .. }))
            };
            let Some(at) = self.order.iter().position(answered) else {
                return;
            };
            if let Some(id) = self.order.remove(at) {
                self.held.remove(&id);
            }
        }
    }
}

#[cfg(test)]
#[path = "broadcasts_tests.rs"]
mod tests;
