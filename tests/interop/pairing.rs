//! A host with a client and a worker, each of zhit's own or in Python.

use std::path::Path;

use rustix::process::{Pid, Signal, kill_process};

use crate::cluster::{Host, Process, Start, eventually};
use crate::python::{interpreter, repository};

/// What a client or a worker is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Rust,
    Python,
}

/// Does what the request says, as `Script` in worker.py does.
const SCRIPT: &str = r#"said=$(cat); case $said in
    fail) echo it said no >&2; exit 7;;
    wait) echo $$ > $ROOM/started; until [ -e $ROOM/go ]; do sleep 0.01; done; printf waited;;
    hang) echo $$ > $ROOM/hangs; exec sleep 1000;;
    *) printf %s "$said";;
esac"#;

/// A host whose broker was elected by a worker of another pool, and a worker of the pool `default`.
pub(crate) struct Pairing {
    pub(crate) host: Host,
    pub(crate) client: Side,
    pub(crate) worker: Side,
    python: &'static Path,
}

impl Pairing {
    /// Runs a scenario, if there is a Python to run it with.
    pub(crate) fn run(client: Side, worker: Side, scenario: fn(Self)) {
        if let Some(pairing) = Self::new(client, worker) {
            scenario(pairing);
        }
    }

    /// The host, with its broker and without the worker.
    pub(crate) fn new(client: Side, worker: Side) -> Option<Self> {
        let python = interpreter()?;
        let mut host = Host::new();
        host.start_worker(&["--pool", "elects", "--builtin", "hello"]);
        host.wait_for_slots(1);
        Some(Self {
            host,
            client,
            worker,
            python,
        })
    }

    /// Python with these arguments, on this host.
    pub(crate) fn python(&self, script: &Path, arguments: &[&str]) -> Start {
        let script = script.to_str().expect("a path in UTF-8");
        let all: Vec<_> = [script].iter().chain(arguments).copied().collect();
        let python = self.python.to_str().expect("a path in UTF-8");
        let start = self.host.run_program(python, &all);
        start
            .env("PYTHONPATH", repository("examples/python"))
            .env("PYTHONDONTWRITEBYTECODE", "1")
    }

    /// Starts a worker of this many slots that gives back what it gets, and waits for it.
    #[track_caller]
    pub(crate) fn echoes(&mut self, slots: u32) {
        self.serve("echo", &["--builtin", "echo"], slots);
    }

    /// Starts a worker of this many slots that does what requests say, and waits for it.
    #[track_caller]
    pub(crate) fn obeys(&mut self, slots: u32) {
        self.serve("script", &["--", "sh", "-c", SCRIPT], slots);
    }

    #[track_caller]
    fn serve(&mut self, kind: &str, rust: &[&str], slots: u32) {
        let number = slots.to_string();
        match self.worker {
            Side::Rust => {
                let all: Vec<_> = ["--slots", &number].iter().chain(rust).copied().collect();
                self.host.start_worker(&all);
            }
            Side::Python => {
                let script = repository("tests/interop/worker.py");
                let worker = self.python(&script, &[kind, "default", &number]).start();
                self.host.add_worker(worker);
            }
        }
        self.wait_until_idle(slots);
    }

    /// Waits until all slots of the worker are there and idle.
    #[track_caller]
    pub(crate) fn wait_until_idle(&self, slots: u32) {
        self.host.wait_for_slots(1 + slots);
    }

    /// A client with these arguments.
    pub(crate) fn client(&self, arguments: &[&str]) -> Start {
        match self.client {
            Side::Rust => self.host.client(arguments),
            Side::Python => self.python(&repository("tests/interop/client.py"), arguments),
        }
    }

    /// Kills the broker, and waits until the next one serves.
    #[track_caller]
    pub(crate) fn kill_broker(&self) {
        let pid = self.host.elected().expect("an elected broker");
        let killed = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a pid");
        kill_process(killed, Signal::KILL).expect("a process of ours");
        eventually("the next broker", || self.host.elected().filter(|next| *next != pid));
    }

    /// The worker's process, which no longer belongs to the host.
    #[track_caller]
    pub(crate) fn take_worker(&mut self) -> Process {
        self.host.take_worker()
    }

    /// Ends everything, and sees that nothing is left.
    #[track_caller]
    pub(crate) fn stop(self) {
        self.host.stop();
    }
}
