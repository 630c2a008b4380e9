//! Pings against a ROUTER that stands for a broker, in a runtime directory of the test's own.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use tempfile::TempDir;

use super::*;
use crate::net::{Interest, Poll, Received, Router, Waker};
use crate::options::{Format, Place};
use crate::protocol::message::PongWorker;
use crate::protocol::{Message, Term, WorkerId};
use crate::runtime;

/// Longest that a test waits for anything.
const LIMIT: Duration = Duration::from_secs(20);

/// Long enough for any answer that is sent, short enough to wait for one that is not.
const SHORT: Duration = Duration::from_millis(300);

fn opened() -> (TempDir, RuntimeDir) {
    let base = TempDir::new().expect("a directory");
    let place = runtime::Place::new(Some(base.path()), "c", "h").expect("a place");
    let dir = RuntimeDir::open(&place).expect("a runtime directory");
    (base, dir)
}

fn options(count: u32, wait: Duration) -> PingOptions {
    PingOptions {
        target: None,
        others: BTreeMap::new(),
        place: Place {
            host: "h".into(),
            cluster: "c".into(),
            layout: None,
        },
        count,
        vote: false,
        hops: None,
        interval: Duration::from_millis(1),
        wait,
        wait_ready: None,
        format: Format::Text,
    }
}

fn pong(nonce: u64, slots: u32) -> Message {
    let worker = PongWorker {
        worker: WorkerId(1),
        pid: 815,
        pool: "default".into(),
        slots,
        busy: 0,
        hung: 0,
        still_ms: 0,
        silent_ms: 0,
        draining: false,
    };
    Message::Pong(Pong {
        nonce,
        host: "h".into(),
        pid: 812,
        term: Term(7),
        uptime_ms: 1000,
        version: "0.1.0".into(),
        trouble: String::new(),
        queued: 0,
        workers_total: 1,
        workers: vec![worker],
    })
}

/// Answers pings as `answer` says, by their number from 1, until it is stopped.
struct Broker {
    stop: Waker,
    thread: Option<JoinHandle<()>>,
}

impl Broker {
    fn start(dir: &RuntimeDir, mut answer: impl FnMut(u64) -> Option<Message> + Send + 'static) -> Self {
        let context = Context::new().expect("a context");
        let mut router = Router::new(&context).expect("a router");
        router.bind(&dir.broker_socket()).expect("a socket");
        let stop = Waker::new().expect("a waker");
        let stopped = stop.clone();
        let thread = thread::spawn(move || {
            loop {
                let mut poll = Poll::new();
                poll.socket(&router, Interest::READ);
                let end = poll.fd(&stopped, Interest::READ);
                if poll.wait(Some(LIMIT)).expect("a wait").readable(end) {
                    return;
                }
                while let Some((from, received)) = router.recv().expect("a message") {
                    let (Some(from), Received::Frames(frames)) = (from, received) else {
                        continue;
                    };
                    let message = Message::decode(&frames.header, frames.body);
                    if let Ok(Message::Ping { nonce }) = message
                        && let Some(said) = answer(nonce)
                    {
                        // Whoever asked may have gone meanwhile.
                        let _sent = router.send(from, said.encode()).expect("a socket");
                    }
                }
            }
        });
        Self {
            stop,
            thread: Some(thread),
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.stop.wake();
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(matches!(ended, Some(Ok(()))), "the broker of the test failed");
    }
}

fn ping(options: &PingOptions, dir: &RuntimeDir, stop: &Stop) -> (Exit, String) {
    let context = Context::new().expect("a context");
    let mut out = Vec::new();
    let prober = Prober::new(options, &context, dir, stop).expect("a socket");
    let exit = Series::new(options, prober, Screen::PLAIN, &mut out)
        .run()
        .expect("a report");
    (exit, String::from_utf8_lossy(&out).into_owned())
}

#[test]
fn every_ping_answered_is_success() {
    let (_base, dir) = opened();
    let _broker = Broker::start(&dir, |nonce| Some(pong(nonce, 4)));
    let (exit, text) = ping(&options(3, LIMIT), &dir, &Stop::default());
    assert_eq!(exit, Exit::Success, "{text}");
    let lines: Vec<&str> = text.lines().collect();
    assert!(
        lines
            .first()
            .is_some_and(|l| l.starts_with("h  broker pid 812  term 7  up 1.0s")),
        "{text}"
    );
    assert!(
        lines
            .last()
            .is_some_and(|l| l.starts_with("3 sent, 3 answered, 0% lost in ")),
        "{text}"
    );
    assert_eq!(lines.len(), 7, "{text}");
}

#[test]
fn host_without_a_master_is_told_at_once() {
    let (_base, dir) = opened();
    let began_at = clock::now();
    let (exit, text) = ping(&options(100, LIMIT), &dir, &Stop::default());
    assert_eq!((exit, text.as_str()), (Exit::NoBroker, ""));
    assert!(
        clock::now().since(began_at) < LIMIT / 2,
        "waited for a broker that nobody started"
    );
}

#[test]
fn lost_ping_is_incomplete() {
    let (_base, dir) = opened();
    let _broker = Broker::start(&dir, |nonce| (nonce != 2).then(|| pong(nonce, 4)));
    let (exit, text) = ping(&options(3, SHORT), &dir, &Stop::default());
    assert_eq!(exit, Exit::Incomplete, "{text}");
    assert!(text.contains("h  seq 2  no answer within 0.3s\n"), "{text}");
    assert!(text.contains("3 sent, 2 answered, 34% lost"), "{text}");
}

#[test]
fn answer_to_an_earlier_ping_counts_for_nothing() {
    let (_base, dir) = opened();
    let _broker = Broker::start(&dir, |nonce| Some(pong(nonce - 1, 4)));
    let _lock = BrokerLock::try_take(&dir).expect("a lock").expect("a free lock");
    let (exit, text) = ping(&options(1, SHORT), &dir, &Stop::default());
    assert_eq!(exit, Exit::Incomplete, "{text}");
}

#[test]
fn master_that_is_silent_is_not_a_master_that_is_missing() {
    let (_base, dir) = opened();
    let _lock = BrokerLock::try_take(&dir).expect("a lock").expect("a free lock");
    let (exit, text) = ping(&options(1, SHORT), &dir, &Stop::default());
    assert_eq!(exit, Exit::Incomplete, "{text}");
    assert!(text.contains("no answer within"), "{text}");
}

#[test]
fn ready_means_a_slot_is_registered() {
    let (_base, dir) = opened();
    let mut asked = 0;
    let _broker = Broker::start(&dir, move |nonce| {
        asked += 1;
        Some(pong(nonce, u32::from(asked > 3)))
    });
    let stop = Stop::default();
    let options = PingOptions {
        wait_ready: Some(LIMIT),
        ..options(1, LIMIT)
    };
    let (exit, text) = ping(&options, &dir, &stop);
    assert_eq!(exit, Exit::Success);
    assert!(text.contains("1 worker, 1 slot: 1 idle, 0 busy"), "{text}");
}

#[test]
fn broker_that_comes_late_is_waited_for() {
    let (_base, dir) = opened();
    let stop = Stop::default();
    let options = PingOptions {
        wait_ready: Some(LIMIT),
        ..options(1, LIMIT)
    };
    thread::scope(|scope| {
        let waiting = scope.spawn(|| ping(&options, &dir, &stop).0);
        let _broker = Broker::start(&dir, |nonce| Some(pong(nonce, 1)));
        assert_eq!(waiting.join().expect("an end"), Exit::Success);
    });
}

#[test]
fn not_ready_in_time_says_what_is_missing() {
    let (_base, dir) = opened();
    let stop = Stop::default();
    let options = PingOptions {
        wait_ready: Some(SHORT),
        ..options(1, LIMIT)
    };
    assert_eq!(ping(&options, &dir, &stop), (Exit::NoBroker, String::new()));
    let _broker = Broker::start(&dir, |nonce| Some(pong(nonce, 0)));
    assert_eq!(ping(&options, &dir, &stop), (Exit::NoSlot, String::new()));
}

#[test]
fn signal_ends_a_series_with_its_statistics() {
    let (_base, dir) = opened();
    let stop = Arc::new(Stop::default());
    let told = Arc::clone(&stop);
    let _broker = Broker::start(&dir, move |nonce| {
        if nonce == 2 {
            told.raise(2);
        }
        Some(pong(nonce, 1))
    });
    let options = PingOptions {
        interval: LIMIT / 100,
        ..options(1000, LIMIT)
    };
    let (exit, text) = ping(&options, &dir, &stop);
    assert_eq!(exit, Exit::Signal(2));
    assert!(
        text.lines()
            .last()
            .is_some_and(|l| l.contains(" sent, ") || l.contains("idle")),
        "{text}"
    );
}
