//! What a broker sees of its workers without asking them: their loop counters.

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

impl Eyes {
    /// The counters of a worker: its control thread's, then those of its slots; `None` if they cannot be seen.
    pub(super) fn counts(&mut self, dir: &RuntimeDir, id: WorkerId, incarnation: Incarnation) -> Option<Vec<u64>> {
        let known = self.views.get(&id).is_some_and(|(known, _)| *known == incarnation);
        if !known {
            let view = CountersView::open(dir, &dir.member_beat(id))
                .inspect_err(|error| debug!(%error, "the loops of {id} cannot be seen"))
                .ok()??;
            self.views.insert(id, (incarnation, view));
        }
        let (_, view) = self.views.get(&id)?;
        Some((0..view.count()).filter_map(|index| view.get(index)).collect())
    }

    /// A worker has gone.
    pub(super) fn forget(&mut self, id: WorkerId) {
        self.views.remove(&id);
    }
}
