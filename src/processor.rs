//! Staying on one processor, for a process whose threads wake each other a dozen times in its millisecond of life.
//!
//! Linux puts a thread that is woken on a processor that idles, which has to be woken as well: 50 to 100 us each time on a
//! quiet virtual machine, against 5 us on the processor that the waker is about to leave. What lives longer has its
//! bytes to move at the same time as it reads and writes, and wants both.

use std::fs;

use rustix::thread::{CpuSet, Pid, sched_getaffinity, sched_getcpu, sched_setaffinity};

/// As long as this process stays on the processor where it is.
#[derive(Debug)]
pub struct Stay {
    before: CpuSet,
}

impl Stay {
    /// Keeps this thread, and those that it spawns, on the processor where it is. `None`: the system does not let it.
    pub fn here() -> Option<Self> {
        let before = sched_getaffinity(None).ok()?;
        let mut here = CpuSet::new();
        here.set(sched_getcpu());
        sched_setaffinity(None, &here).ok()?;
        Some(Self { before })
    }

    /// Lets all threads of this process go where they like again.
    pub fn end(self) {
        // This thread at least, and those that it spawns, wherever there is no /proc.
        let _ = sched_setaffinity(None, &self.before);
        let tasks = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
        let threads = tasks.filter_map(|task| Pid::from_raw(task.file_name().to_str()?.parse().ok()?));
        for thread in threads {
            // One that has ended needs no processor.
            let _ = sched_setaffinity(Some(thread), &self.before);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_stay_together_until_they_are_let_go() {
        let (count, alone, again) = std::thread::spawn(|| {
            let count = sched_getaffinity(None).unwrap().count();
            let stay = Stay::here().unwrap();
            let alone = std::thread::spawn(|| sched_getaffinity(None).unwrap().count())
                .join()
                .unwrap();
            stay.end();
            (count, alone, sched_getaffinity(None).unwrap().count())
        })
        .join()
        .unwrap();
        assert_eq!((alone, again), (1, count));
    }
}
