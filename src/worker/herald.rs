//! Who runs broadcasts: a thread that is no slot, so that busy slots delay no answer, one after the other; or, without a
//! program, the control thread itself.

use std::io;
use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;

use super::broadcasts::{Done, Job};
use super::handler::{Output, RequestContext, Running, Spec};
use super::scratch::Scratch;
use super::stall::Stall;
use super::stats;
use crate::clock;
use crate::election::journal::BroadcastWriter;
use crate::fault::{self, Point};
use crate::mapped::Words;
use crate::net::{Interest, NetError, Poll, Waker};
use crate::protocol::HitKey;
use crate::protocol::ids::{BroadcastId, SlotId};
use crate::protocol::message::{Channel, WorkState};
use crate::protocol::status::Status;
use crate::protocol::time::Moment;
use crate::signals;

/// How often the handler's state is looked at while it runs.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// What is shown of a failed handler's standard error.
const STDERR_SHOWN_BYTES: usize = 1000;

/// What the thread works with.
pub(super) struct Surroundings {
    pub(super) pool: String,
    pub(super) host: String,
    /// The worker, with slot number 0.
    pub(super) slot: SlotId,
    pub(super) grace: Duration,
    pub(super) patience: Duration,
    pub(super) runtime_dir: PathBuf,
    pub(super) journal: Arc<Words>,
}

/// The control thread's end.
pub(super) enum Herald {
    /// There is no program: statistics of the worker, which need no thread.
    Stats(Stats),
    /// A thread that runs the program.
    Thread(Runner),
}

/// What is told where there is no program.
pub(super) struct Stats {
    journal: Arc<Words>,
    began: Moment,
}

/// The thread, as the control thread sees it.
pub(super) struct Runner {
    jobs: Option<Sender<Job>>,
    done: Receiver<Done>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// What both threads look at.
pub(super) struct Shared {
    state: Mutex<Option<(BroadcastId, WorkState)>>,
    /// Wakes the thread out of a handler's pipes.
    waker: Waker,
    end: Mutex<bool>,
}

impl Herald {
    /// Whoever runs `command`; `woken` is woken when it has run.
    pub(super) fn start(command: Option<String>, around: Surroundings, woken: Waker) -> Result<Self, HeraldError> {
        Ok(match command {
            None => Self::Stats(Stats {
                journal: around.journal,
                began: clock::now(),
            }),
            Some(command) => Self::Thread(Runner::start(command, around, woken)?),
        })
    }

    /// Whether what is asked is answered at once.
    pub(super) const fn is_prompt(&self) -> bool {
        matches!(self, Self::Stats(_))
    }

    /// Has it run when those before have; or tells what has come of it already.
    pub(super) fn run(&self, job: Job) -> Option<Done> {
        match self {
            Self::Stats(stats) => Some(stats.tell(&job)),
            Self::Thread(runner) => {
                if let Some(jobs) = &runner.jobs {
                    // The thread ends with this, and not before.
                    let _ = jobs.send(job);
                }
                None
            }
        }
    }

    /// What has run since it was asked last.
    pub(super) fn done(&self) -> impl Iterator<Item = Done> {
        let runner = match self {
            Self::Stats(_) => None,
            Self::Thread(runner) => Some(runner),
        };
        runner.into_iter().flat_map(|runner| runner.done.try_iter())
    }

    /// What runs now.
    pub(super) fn state(&self) -> Option<(BroadcastId, WorkState)> {
        match self {
            Self::Stats(_) => None,
            Self::Thread(runner) => *runner.shared.state.lock().unwrap_or_else(PoisonError::into_inner),
        }
    }
}

impl Stats {
    fn tell(&self, job: &Job) -> Done {
        Done {
            id: job.id,
            status: Status::Ok,
            note: String::new(),
            body: stats::stats(&self.journal, clock::now().since(self.began)).into(),
        }
    }
}

impl Runner {
    fn start(command: String, around: Surroundings, woken: Waker) -> Result<Self, HeraldError> {
        let (jobs, received) = mpsc::channel();
        let (send, done) = mpsc::channel();
        let shared = Arc::new(Shared {
            state: Mutex::new(None),
            waker: Waker::new()?,
            end: Mutex::new(false),
        });
        let theirs = Arc::clone(&shared);
        let spec = Spec::Shell(command);
        let thread = signals::spawn("broadcasts", move || {
            for job in received {
                let done = run(&spec, &around, &theirs, job);
                *theirs.state.lock().unwrap_or_else(PoisonError::into_inner) = None;
                if send.send(done).is_err() {
                    return;
                }
                woken.wake();
            }
        })?;
        Ok(Self {
            jobs: Some(jobs),
            done,
            shared,
            thread: Some(thread),
        })
    }
}

impl Drop for Runner {
    /// Ends what runs, and the thread.
    fn drop(&mut self) {
        *self.shared.end.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.shared.waker.wake();
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // It has caught its handlers' failures; there is nothing to be told.
            let _ = thread.join();
        }
    }
}

/// Why there is no such thread.
#[derive(Debug, thiserror::Error)]
pub enum HeraldError {
    /// Its waker.
    #[error(transparent)]
    Net(#[from] NetError),
    /// The system has no room for it.
    #[error(transparent)]
    Thread(#[from] io::Error),
}

fn run(spec: &Spec, around: &Surroundings, shared: &Shared, job: Job) -> Done {
    let Job {
        id,
        body,
        timeout,
        reply_max,
    } = job;
    let journal = BroadcastWriter::new(Arc::clone(&around.journal));
    journal.begun(id);
    fault::at(Point::BroadcastBegun);
    let mut scratch = Scratch::broadcast(&around.runtime_dir, around.slot, id);
    let context = RequestContext {
        hit: HitKey::default(),
        seq: 1,
        broadcast: Some(id),
        pool: &around.pool,
        host: &around.host,
        slot: around.slot,
        scratch: &mut scratch,
        grace: around.grace,
        timeout,
        known_at: Some(journal.group_cell()),
    };
    let mut running = Running::start(spec, context, clock::now());
    let mut reply = Reply {
        body: Vec::new(),
        most: reply_max,
    };
    let mut request = Some(body);
    let mut stall = Stall::new(clock::now());
    let (status, note) = loop {
        if let Some(body) = request.take_if(|_| running.wants_input()) {
            running.feed(body, true);
        }
        // All of its request is there, and room for its reply: it waits for nobody.
        let seen = (running.progress(), false);
        let state = stall.judge(clock::now(), running.state(), seen, around.patience);
        *shared.state.lock().unwrap_or_else(PoisonError::into_inner) = Some((id, state));
        if *shared.end.lock().unwrap_or_else(PoisonError::into_inner) {
            running.kill();
        }
        let mut outputs = Vec::new();
        running.turn(clock::now(), usize::MAX, &mut outputs);
        let ended = outputs.into_iter().filter_map(|output| reply.take(output)).last();
        if let Some(ended) = ended {
            break ended;
        }
        if reply.is_too_long() {
            running.stop(clock::now(), Status::Refused);
        }
        if let Err(error) = wait(&running, shared) {
            running.kill();
            break (Status::NotStarted, error.to_string());
        }
    };
    let stderr = last_words(running.stderr_tail());
    // Rule O9: none of its processes is left by now.
    drop(running);
    journal.over();
    fault::at(Point::BroadcastOver);
    let ended = (status, note);
    let (status, note, body) = conclude(ended, reply, &stderr);
    // Its directory goes with it; what cannot be removed is swept by the next worker of this number.
    let _ = scratch.remove();
    Done { id, status, note, body }
}

/// What is answered when the handler has ended so. One whose reply is too long may have ended well before it was stopped.
fn conclude((status, note): (Status, String), reply: Reply, stderr: &str) -> (Status, String, Bytes) {
    if reply.is_too_long() {
        let note = format!(
            "the reply is longer than {} bytes, the most of a broadcast's: let a Hit ask for it (zhit client)",
            reply.most
        );
        return (Status::Refused, note, Bytes::new());
    }
    let note = match status {
        Status::Ok => String::new(),
        // The status says it already.
        Status::Exit(_) | Status::Signal(_) => stderr.to_owned(),
        _ if stderr.is_empty() => note,
        _ => format!("{note}; {stderr}"),
    };
    (status, note, reply.body.into())
}

/// What the handler gives.
struct Reply {
    body: Vec<u8>,
    most: usize,
}

impl Reply {
    fn is_too_long(&self) -> bool {
        self.body.len() > self.most
    }

    /// Takes it; the end, if it is that.
    fn take(&mut self, output: Output) -> Option<(Status, String)> {
        match output {
            Output::Chunk(Channel::Body, bytes) if !self.is_too_long() => self.body.extend_from_slice(&bytes),
            // Of standard error the tail is kept by the handler; more of a reply that is too long is nobody's.
            Output::Chunk(..) => {}
            Output::Ended { status, note } => return Some((status, note)),
        }
        None
    }
}

fn wait(running: &Running, shared: &Shared) -> Result<(), NetError> {
    let due = running.next_deadline().map(|at| at.since(clock::now()));
    let mut poll = Poll::new();
    let fds: Vec<_> = running.fds(usize::MAX).collect();
    for item in &fds {
        poll.fd(&item.fd, if item.write { Interest::WRITE } else { Interest::READ });
    }
    let woken = poll.fd(&shared.waker, Interest::READ);
    if poll
        .wait(Some(due.unwrap_or(LOOK_EVERY).min(LOOK_EVERY)))?
        .readable(woken)
    {
        shared.waker.drain();
    }
    Ok(())
}

fn last_words(stderr: &[u8]) -> String {
    let from = stderr.len().saturating_sub(STDERR_SHOWN_BYTES);
    String::from_utf8_lossy(stderr.get(from..).unwrap_or_default())
        .trim()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn concluded(status: Status, body: &[u8], stderr: &str) -> (Status, String, Bytes) {
        let reply = Reply {
            body: body.to_vec(),
            most: 4,
        };
        conclude((status, "why".to_owned()), reply, stderr)
    }

    #[test]
    fn a_reply_that_is_too_long_is_refused_however_its_handler_ended() {
        for status in [Status::Ok, Status::Exit(3), Status::Refused] {
            let (said, note, body) = concluded(status, b"12345", "");
            assert_eq!((said, body.len()), (Status::Refused, 0));
            assert!(note.starts_with("the reply is longer than 4 bytes"), "{note}");
        }
        assert_eq!(concluded(Status::Ok, b"1234", "").2, "1234");
    }

    #[test]
    fn a_failure_is_told_with_the_handlers_own_words() {
        let note = |status, stderr| concluded(status, b"", stderr).1;
        assert_eq!(note(Status::Ok, "said"), "");
        assert_eq!(note(Status::Exit(1), "said"), "said");
        assert_eq!(note(Status::Deadline, ""), "why");
        assert_eq!(note(Status::Deadline, "said"), "why; said");
    }
}
