//! The broadcasts that a worker ran, as its journal tells of them when it can no longer say so itself (rule B2).

use std::sync::Arc;

use super::RanBroadcast;
use super::layout::{self, broadcast, header};
use super::reader::Load;
use super::writer::Store;
use crate::mapped::Words;
use crate::mapped::spawn::GroupCell;
use crate::protocol::ids::BroadcastId;
use crate::protocol::limits::BROADCASTS_JOURNALLED;

/// Where the thread that runs broadcasts, one after the other, writes what it does.
#[derive(Debug)]
pub struct BroadcastWriter<S>(S);

impl<S: std::ops::Deref<Target: Store>> BroadcastWriter<S> {
    /// The place of the worker whose journal this is.
    pub const fn new(words: S) -> Self {
        Self(words)
    }

    /// This one is about to be run.
    pub fn begun(&self, id: BroadcastId) {
        let number = self.0.load(header::BROADCASTS);
        let at = layout::broadcast_at(number);
        let [high, low] = halves(id);
        self.0.store(header::BROADCAST_GROUP, 0);
        self.0.store(at + broadcast::OVER, 0);
        self.0.store(at + broadcast::ID, high);
        self.0.store(at + broadcast::ID + 1, low);
        // It counts from here on; the place after the last belongs to nobody.
        self.0.store(header::BROADCASTS, number + 1);
    }

    /// The last one that was begun has ended, and nothing of it is left.
    pub fn over(&self) {
        let Some(last) = self.0.load(header::BROADCASTS).checked_sub(1) else {
            return;
        };
        self.0.store(layout::broadcast_at(last) + broadcast::OVER, 1);
        self.0.store(header::BROADCAST_GROUP, 0);
    }
}

impl BroadcastWriter<Arc<Words>> {
    /// Where the handler's process writes its group and start time, itself, between fork and exec.
    pub fn group_cell(&self) -> GroupCell {
        GroupCell {
            words: Arc::clone(&self.0),
            group: header::BROADCAST_GROUP,
            start: header::BROADCAST_GROUP_START,
        }
    }
}

/// Those that are remembered, the last one last.
pub(super) fn read(words: &impl Load) -> Vec<RanBroadcast> {
    let count = words.load(header::BROADCASTS);
    let kept = BROADCASTS_JOURNALLED as u64 - 1;
    let all = (count.saturating_sub(kept)..count).map(|number| {
        let at = layout::broadcast_at(number);
        let [high, low] = [0, 1].map(|word| u128::from(words.load(at + broadcast::ID + word)));
        RanBroadcast {
            id: BroadcastId((high << 64 | low).to_be_bytes()),
            over: words.load(at + broadcast::OVER) != 0,
        }
    });
    all.collect()
}

/// The process group of the handler that runs, and when its leader started.
pub(super) fn read_group(words: &impl Load) -> Option<(u32, u64)> {
    let group = u32::try_from(words.load(header::BROADCAST_GROUP))
        .ok()
        .filter(|group| *group != 0)?;
    Some((group, words.load(header::BROADCAST_GROUP_START)))
}

fn halves(id: BroadcastId) -> [u64; 2] {
    let id = u128::from_be_bytes(id.0);
    [(id >> 64) as u64, id as u64]
}
