//! What must hold at every step, and at the end, whatever the network does. Each check names its rule.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use bytes::Bytes;

use zhit::hit::{Ledger, Outcome};
use zhit::protocol::Status;
use zhit::protocol::message::{Channel, Closed, ClosedReason, Message};
use zhit::protocol::stream::Piece;

use crate::rng::{Rng, mix};
use crate::trace::hit_index;

/// Which invariant broke, and how.
#[derive(Clone, Debug)]
pub(crate) struct Broken {
    pub(crate) invariant: &'static str,
    pub(crate) detail: String,
}

/// Whether all is well.
pub(crate) type Verdict = Result<(), Broken>;

/// Fails with this invariant unless `holds`.
pub(crate) fn hold(holds: bool, invariant: &'static str, detail: impl FnOnce() -> String) -> Verdict {
    if holds {
        return Ok(());
    }
    let detail = detail();
    Err(Broken { invariant, detail })
}

/// Longest body that any seed has.
const BODY_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Every body is a piece of this: cheap to make and to compare, and two pieces from different places differ.
fn pattern() -> &'static [u8] {
    static PATTERN: OnceLock<Vec<u8>> = OnceLock::new();
    PATTERN.get_or_init(|| {
        let mut rng = Rng::new(42);
        (0..2 * BODY_BYTES_MAX / 8)
            .flat_map(|_| rng.next().to_le_bytes())
            .collect()
    })
}

/// A body: where it starts in the pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Text(usize);

impl Text {
    /// The body of this request of this client.
    pub(crate) const fn request(client: usize, seq: u64) -> Self {
        Self(mix(mix(client as u64) ^ seq) as usize % BODY_BYTES_MAX)
    }

    /// What the handler says on this channel to this request, of which it read `length` bytes.
    pub(crate) const fn reply(hit: usize, seq: u64, length: u64, channel: Channel) -> Self {
        Self(mix(mix(mix(hit as u64 + 1000) ^ seq) ^ length ^ ((channel as u64) << 60)) as usize % BODY_BYTES_MAX)
    }

    pub(crate) fn piece(self, from: u64, length: u64) -> Bytes {
        let from = self.0 + from as usize;
        Bytes::from_static(&pattern()[from..from + length as usize])
    }
}

/// One channel of a reply, as far as the handler has given it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Given {
    pub(crate) text: Option<Text>,
    pub(crate) length: u64,
}

/// A request that a handler was started for.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    pub(crate) slot: usize,
    /// The client whose request it is.
    pub(crate) client: usize,
    /// Bytes that the handler was handed, and whether their end.
    pub(crate) read: u64,
    pub(crate) eof: bool,
    /// What it gave: body, stderr.
    pub(crate) given: [Given; 2],
    /// How it ended.
    pub(crate) ended: Option<(Status, String)>,
}

/// All that is known of one Hit from outside the machines.
#[derive(Clone, Debug, Default)]
pub(crate) struct HitBook {
    /// Clients that held it, each with the first seq that it might use, in order.
    pub(crate) attached: Vec<(u64, usize)>,
    pub(crate) runs: BTreeMap<u64, Run>,
    /// Attachments that were closed by their clients, or are to be once answered.
    closed: Vec<u32>,
    /// Live slots that serve it now.
    serving: Vec<usize>,
}

/// What one client's reader has seen of the replies.
#[derive(Clone, Debug, Default)]
pub(crate) struct Read {
    /// Reply that comes now, and bytes of it on each channel.
    seq: u64,
    body: [u64; 2],
    note: Vec<u8>,
    /// Replies read in full.
    pub(crate) ended: u64,
}

/// The books.
#[derive(Debug)]
pub(crate) struct Books {
    pub(crate) hits: Vec<HitBook>,
    /// Bytes of each request of each client, by plan.
    pub(crate) requests: Vec<Vec<u64>>,
    pub(crate) reads: Vec<Read>,
    /// First seq that each client was given.
    pub(crate) first_seq: Vec<Option<u64>>,
    /// What each slot serves, and whether its handler lives.
    slots: BTreeMap<usize, (Option<usize>, bool)>,
}

impl Books {
    /// Empty books for these requests of these clients; those that attach are marked.
    pub(crate) fn new(clients: impl Iterator<Item = (Vec<u64>, bool)>) -> Self {
        let (requests, attaches): (Vec<_>, Vec<_>) = clients.unzip();
        Self {
            hits: vec![HitBook::default(); requests.len()],
            reads: vec![Read::default(); requests.len()],
            first_seq: attaches.into_iter().map(|attaches| (!attaches).then_some(1)).collect(),
            requests,
            slots: BTreeMap::new(),
        }
    }

    /// A slot has told that this client holds the Hit from this seq on.
    pub(crate) fn attached(&mut self, hit: usize, client: usize, first_seq: u64) {
        let attached = &mut self.hits[hit].attached;
        if attached.last() != Some(&(first_seq, client)) {
            attached.push((first_seq, client));
            // The last word holds: one that never heard of its first attachment may be let in once more, further on.
            self.first_seq[client] = Some(first_seq);
        }
    }

    /// A client or a slot sends this: only who holds a Hit closes it.
    pub(crate) fn sent(&mut self, message: &Message) -> Verdict {
        match message {
            Message::Close(close) => self.hits[hit_index(close.hit)].closed.push(close.attach.0),
            Message::Open(open) if open.close_after => self.hits[hit_index(open.hit)].closed.push(open.attach.0),
            Message::Closed(said) if said.reason == ClosedReason::Done => {
                let closed = &self.hits[hit_index(said.hit)].closed;
                return hold(
                    closed.contains(&said.attach.0),
                    "O8: only who holds a Hit closes it",
                    || format!("{said:?}, closed by {closed:?}"),
                );
            }
            _ => {}
        }
        Ok(())
    }

    /// What a live slot says of itself after each step.
    pub(crate) fn serves(&mut self, slot: usize, hit: Option<usize>) -> Verdict {
        let (before, _) = self.slots.entry(slot).or_default();
        if *before == hit {
            return Ok(());
        }
        hold(before.is_none(), "no slot serves two Hits", || {
            format!("slot {slot} passed from hit {before:?} to {hit:?} without cleaning up")
        })?;
        *before = hit;
        let Some(hit) = hit else { return Ok(()) };
        self.hits[hit].serving.push(slot);
        let serving = &self.hits[hit].serving;
        hold(serving.len() == 1, "no Hit in two slots at once", || {
            format!("hit {hit} is served by slots {serving:?}")
        })
    }

    /// The slot's process is gone, and its handler with it.
    pub(crate) fn slot_died(&mut self, slot: usize) {
        if let Some((Some(hit), _)) = self.slots.remove(&slot) {
            self.hits[hit].serving.retain(|other| *other != slot);
        }
    }

    /// A handler starts.
    pub(crate) fn started(&mut self, slot: usize, hit: usize, seq: u64) -> Verdict {
        let (_, handler) = self.slots.entry(slot).or_default();
        hold(!*handler, "one handler a slot", || {
            format!("slot {slot} starts hit {hit} seq {seq}")
        })?;
        *handler = true;
        let book = &mut self.hits[hit];
        let last = book.runs.last_key_value().map_or(0, |(seq, _)| *seq);
        hold(!book.runs.contains_key(&seq), "(hit, seq) runs at most once", || {
            format!(
                "hit {hit} seq {seq} ran in slot {}, and starts in {slot}",
                book.runs[&seq].slot
            )
        })?;
        hold(seq > last, "requests run in order", || {
            format!("hit {hit}: {seq} after {last}")
        })?;
        let Some((first_seq, client)) = book.attached.last().copied() else {
            return hold(false, "a Hit runs after OPENED", || format!("hit {hit} seq {seq}"));
        };
        hold(
            seq >= first_seq,
            "O8: what never started never runs after an ATTACH",
            || format!("hit {hit} seq {seq}, attached from {first_seq} on"),
        )?;
        let run = Run {
            slot,
            client,
            read: 0,
            eof: false,
            given: [Given::default(); 2],
            ended: None,
        };
        book.runs.insert(seq, run);
        Ok(())
    }

    /// A handler was handed a piece of its request.
    pub(crate) fn handed(&mut self, hit: usize, seq: u64, piece: &Piece) -> Verdict {
        let Some(run) = self.hits[hit].runs.get_mut(&seq) else {
            return hold(false, "input belongs to what runs", || format!("hit {hit} seq {seq}"));
        };
        let first = self.first_seq[run.client].unwrap_or(1);
        let length = self.requests[run.client].get((seq - first) as usize).copied();
        let told = || {
            format!(
                "hit {hit} seq {seq} of client {}, at byte {}: {piece:?}",
                run.client, run.read
            )
        };
        let Some(length) = length else {
            return hold(false, "request bytes are what the client wrote", told);
        };
        let after = run.read + piece.bytes.len() as u64;
        let fits = piece.seq == seq && !run.eof && after <= length && (piece.end.is_none() || after == length);
        let right = fits && Text::request(run.client, seq).piece(run.read, after - run.read) == piece.bytes;
        hold(right, "request bytes are what the client wrote", told)?;
        run.read = after;
        run.eof = piece.end.is_some();
        Ok(())
    }

    /// A handler gives a piece of its reply.
    pub(crate) fn gave(&mut self, hit: usize, seq: u64, channel: Channel, text: Text, length: u64) {
        if let Some(run) = self.hits[hit].runs.get_mut(&seq) {
            let given = &mut run.given[channel as usize];
            given.text = Some(text);
            given.length += length;
        }
    }

    /// A handler has ended.
    pub(crate) fn ended(&mut self, slot: usize, hit: usize, seq: u64, status: Status, note: &str) {
        if let Some((_, handler)) = self.slots.get_mut(&slot) {
            *handler = false;
        }
        if let Some(run) = self.hits[hit].runs.get_mut(&seq) {
            run.ended = Some((status, note.to_owned()));
        }
    }

    /// A slot says that it has cleaned up after a Hit.
    pub(crate) fn cleaned(&mut self, slot: usize) -> Verdict {
        let (before, handler) = self.slots.remove(&slot).unwrap_or_default();
        if let Some(before) = before {
            self.hits[before].serving.retain(|other| *other != slot);
        }
        hold(!handler, "cleaned only when the handler is gone", || {
            format!("slot {slot}")
        })
    }

    /// A client's reader takes a piece of a reply.
    pub(crate) fn read(&mut self, client: usize, hit: usize, piece: &Piece) -> Verdict {
        let first = self.first_seq[client].unwrap_or(1);
        let read = &mut self.reads[client];
        if read.seq == 0 {
            read.seq = first;
        }
        let told = || format!("client {client}, hit {hit}, at reply {}: {piece:?}", read.seq);
        let run = self.hits[hit].runs.get(&piece.seq).filter(|run| run.client == client);
        let Some(run) = run.filter(|_| piece.seq == read.seq) else {
            return hold(false, "reply bytes are what the handler gave", told);
        };
        let length = piece.bytes.len() as u64;
        let right = match piece.channel {
            Channel::Note => {
                read.note.extend_from_slice(&piece.bytes);
                true
            }
            channel if length > 0 => {
                let given = run.given[channel as usize];
                let from = std::mem::replace(&mut read.body[channel as usize], length);
                read.body[channel as usize] += from;
                from + length <= given.length && given.text.is_some_and(|text| text.piece(from, length) == piece.bytes)
            }
            _ => true,
        };
        hold(right, "reply bytes are what the handler gave", told)?;
        let Some(status) = piece.end else { return Ok(()) };
        let whole = [run.given[0].length, run.given[1].length] == read.body
            && run
                .ended
                .as_ref()
                .is_some_and(|(ended, note)| *ended == status && note.as_bytes() == read.note);
        hold(whole, "a reply ends as its handler did", || {
            format!(
                "client {client}, hit {hit}, reply {}: {piece:?} read {read:?}, ran {run:?}",
                piece.seq
            )
        })?;
        *read = Read {
            seq: read.seq + 1,
            ended: read.ended + 1,
            ..Read::default()
        };
        Ok(())
    }

    /// What a client is told of a Hit's end must be what the handlers saw, as far as it is known at all.
    pub(crate) fn told(&self, hit: usize, closed: &Closed) -> Verdict {
        let runs = &self.hits[hit].runs;
        let started = runs.last_key_value().map_or(0, |(seq, _)| *seq);
        let ended = runs.iter().rev().find(|(_, run)| run.ended.is_some());
        let ended = ended.map_or(0, |(seq, _)| *seq);
        let told = || format!("hit {hit}: {closed:?}, started {started}, ended {ended}");
        if closed.started != u64::MAX {
            hold(closed.started == started, "O2: what is told as started did start", told)?;
        }
        let answered = closed.answered == u64::MAX || closed.answered <= ended;
        hold(answered, "O2: what is told as answered did end", told)
    }

    /// What a client says in the end must be true.
    pub(crate) fn outcome(&self, client: usize, hit: usize, outcome: &Outcome, ledger: Ledger) -> Verdict {
        let runs = self.hits[hit].runs.iter().filter(|(_, run)| run.client == client);
        let started = runs.clone().map(|(seq, _)| *seq).max().unwrap_or(0);
        let told = || format!("client {client}, hit {hit}: {outcome:?}, {ledger:?}, started up to {started}");
        if matches!(outcome, Outcome::NoSlot(_) | Outcome::NoBroker) {
            hold(started == 0, "O6: no slot means that nothing ran", told)?;
        }
        if *outcome == Outcome::Done {
            let asked = self.requests[client].len() as u64;
            hold(
                self.reads[client].ended == asked,
                "done means that every reply was read",
                told,
            )?;
        }
        hold(started <= ledger.maybe, "ledger: what started may have run", told)?;
        hold(
            !ledger.exact || ledger.maybe <= ledger.answered.max(started),
            "ledger: exact means exact",
            told,
        )?;
        let unanswered = runs
            .clone()
            .find(|(seq, run)| **seq <= ledger.answered && run.ended.is_none());
        hold(unanswered.is_none(), "ledger: what is answered was completed", || {
            format!("{}, {unanswered:?}", told())
        })
    }
}
