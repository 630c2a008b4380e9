//! The processes of a host's workers, watched for their end.

use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::epoll;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::protocol::ids::{Incarnation, WorkerId};

/// Ends of processes that one turn takes.
const ENDS_PER_TURN_MAX: usize = 64;

/// Workers' processes, each by a pidfd held from its registration on, so that a number used again misleads nobody.
///
/// They stand in one epoll set: the loop polls one descriptor, however many workers there are.
pub(super) struct Watch {
    epoll: OwnedFd,
    held: HashMap<WorkerId, (Incarnation, OwnedFd)>,
}

impl Watch {
    pub(super) fn new() -> rustix::io::Result<Self> {
        Ok(Self {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            held: HashMap::new(),
        })
    }

    /// Whether this process is watched already.
    pub(super) fn has(&self, worker: WorkerId, incarnation: Incarnation) -> bool {
        self.held.get(&worker).is_some_and(|(known, _)| *known == incarnation)
    }

    /// Begins to watch; returns whether the process is there to be watched.
    pub(super) fn add(&mut self, worker: WorkerId, incarnation: Incarnation, pid: u32) -> bool {
        self.remove(worker);
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
        let Some(pidfd) = pid.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok()) else {
            return false;
        };
        let data = epoll::EventData::new_u64(worker.0.into());
        let added = epoll::add(&self.epoll, &pidfd, data, epoll::EventFlags::IN);
        self.held.insert(worker, (incarnation, pidfd));
        added.is_ok()
    }

    pub(super) fn remove(&mut self, worker: WorkerId) {
        if let Some((_, pidfd)) = self.held.remove(&worker) {
            // Closing would do; but an epoll set keeps what a child might have inherited.
            let _ = epoll::delete(&self.epoll, &pidfd);
        }
    }

    /// Workers whose processes have ended.
    pub(super) fn ended(&mut self) -> Vec<(WorkerId, Incarnation)> {
        let mut events = [const { None }; ENDS_PER_TURN_MAX];
        let mut buffer = Vec::with_capacity(ENDS_PER_TURN_MAX);
        let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
        if epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut buffer), Some(&now)).is_err() {
            return Vec::new();
        }
        for (slot, event) in events.iter_mut().zip(&buffer) {
            *slot = u32::try_from(event.data.u64()).ok().map(WorkerId);
        }
        let ids = events.into_iter().flatten();
        ids.filter_map(|id| self.held.get(&id).map(|(incarnation, _)| (id, *incarnation)))
            .collect()
    }
}

impl AsFd for Watch {
    /// Readable when one has ended.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}
