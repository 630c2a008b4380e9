//! What a broker sees of its workers without asking them: their loop counters, and which of their handlers hang.

use std::collections::HashMap;

use tracing::debug;

use crate::mapped::CountersView;
use crate::protocol::ids::{Incarnation, WorkerId};
use crate::runtime::RuntimeDir;

/// The counters of workers, mapped while they are registered.
#[derive(Debug, Default)]
pub(super) struct Eyes {
    views: HashMap<WorkerId, (Incarnation, CountersView)>,
}

/// What is seen of a worker.
pub(super) struct Seen {
    /// The counter of its control thread, then those of its slots.
    pub(super) counts: Vec<u64>,
    /// Its slots, from 1, whose handlers hang (rule A2 b, c).
    pub(super) hung: Vec<u32>,
}

impl Eyes {
    /// A look at a worker; `None` if it cannot be seen.
    pub(super) fn look(&mut self, dir: &RuntimeDir, id: WorkerId, incarnation: Incarnation) -> Option<Seen> {
        let known = self.views.get(&id).is_some_and(|(known, _)| *known == incarnation);
        if !known {
            let view = CountersView::open(dir, &dir.member_beat(id))
                .inspect_err(|error| debug!(%error, "the loops of {id} cannot be seen"))
                .ok()??;
            self.views.insert(id, (incarnation, view));
        }
        let (_, view) = self.views.get(&id)?;
        Some(Seen {
            counts: (0..view.count()).filter_map(|index| view.get(index)).collect(),
            hung: (1..view.count())
                .filter(|index| view.is_hung(*index))
                .map(|index| index as u32)
                .collect(),
        })
    }

    /// A worker has gone.
    pub(super) fn forget(&mut self, id: WorkerId) {
        self.views.remove(&id);
    }
}
