//! Credit, counted once more from what is on the wire: nobody sends beyond what he was told, where every message costs
//! its bytes and 64 more (rules S2, S3).

use std::collections::BTreeMap;

use zhit::protocol::HitKey;
use zhit::protocol::limits::{FIRST_CREDIT_BYTES, MESSAGE_COST_BYTES};
use zhit::protocol::message::{AckPoint, Direction, Message, Packet};

use crate::invariants::{Verdict, hold};
use crate::trace::hit_index;

#[derive(Debug)]
struct Account {
    /// (seq, offset) after the furthest byte sent.
    furthest: (u64, u64),
    position: u64,
    limit: u64,
}

/// By Hit, attachment, and whether requests or replies.
#[derive(Debug, Default)]
pub(crate) struct Credit(BTreeMap<(usize, u32, bool), Account>);

impl Credit {
    fn account(&mut self, hit: HitKey, attach: u32, requests: bool) -> &mut Account {
        let opener = requests && attach == 1;
        self.0.entry((hit_index(hit), attach, requests)).or_insert(Account {
            furthest: (0, 0),
            position: 0,
            limit: if opener { FIRST_CREDIT_BYTES } else { 0 },
        })
    }

    fn told(&mut self, hit: HitKey, attach: u32, requests: bool, ack: AckPoint) {
        let account = self.account(hit, attach, requests);
        account.limit = account.limit.max(ack.limit);
    }

    /// A client or a slot has received this.
    pub(crate) fn on_received(&mut self, message: &Message) {
        match message {
            Message::Opened(m) => self.told(m.hit, m.attach.0, true, m.ack),
            Message::Data(m) => self.told(m.hit, m.attach.0, m.direction == Direction::ToClient, m.packet.ack),
            Message::Ack(m) => self.told(m.hit, m.attach.0, m.direction == Direction::ToClient, m.ack),
            Message::Working(m) => self.told(m.hit, m.attach.0, true, m.ack),
            Message::Lease(m) => self.told(m.hit, m.attach.0, false, m.packet.ack),
            Message::KeepAlive { hit, attach, ack } => self.told(*hit, attach.0, false, *ack),
            Message::Close(m) => self.told(m.hit, m.attach.0, false, m.ack),
            _ => {}
        }
    }

    /// A client or a slot sends this.
    pub(crate) fn on_sent(&mut self, message: &Message) -> Verdict {
        match message {
            Message::Open(m) => self.spend(m.hit, m.attach.0, true, &m.packet),
            Message::Data(m) => self.spend(m.hit, m.attach.0, m.direction == Direction::ToSlot, &m.packet),
            _ => Ok(()),
        }
    }

    fn spend(&mut self, hit: HitKey, attach: u32, requests: bool, packet: &Packet) -> Verdict {
        if packet.segments.is_empty() {
            return Ok(());
        }
        let account = self.account(hit, attach, requests);
        let mut at = (packet.seq, packet.offset);
        if account.furthest.0 == 0 {
            account.furthest = at;
        }
        for segment in &packet.segments {
            let end = at.1 + u64::from(segment.length);
            let after = if segment.end.is_some() {
                (at.0 + 1, 0)
            } else {
                (at.0, end)
            };
            if after > account.furthest {
                let begins = account.furthest.1 == 0;
                let known = if account.furthest.0 == at.0 {
                    account.furthest.1
                } else {
                    0
                };
                account.position += end - known + if begins { MESSAGE_COST_BYTES } else { 0 };
                account.furthest = after;
            }
            at = after;
        }
        hold(
            account.position <= account.limit,
            "S2, S3: nothing is sent beyond the credit",
            || {
                format!(
                    "hit {} attach {attach} {}: sent up to position {}, allowed {}",
                    hit_index(hit),
                    if requests { "requests" } else { "replies" },
                    account.position,
                    account.limit
                )
            },
        )
    }
}
