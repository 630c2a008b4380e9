//! A host for a test: a runtime directory of its own, and real processes in it. It leaves nothing behind, whatever the
//! test does.
#![allow(dead_code, reason = "each test program uses a part of it")]

mod capture;
mod ended;
mod process;

use std::fs;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use zhit::net::{Context, Dealer, Interest, Poll, Received, Sent};
use zhit::protocol::Message;
use zhit::protocol::message::Pong;

#[allow(unused_imports, reason = "each test program uses a part of it")]
pub(crate) use ended::Ended;
#[allow(unused_imports, reason = "each test program uses a part of it")]
pub(crate) use process::{Process, Start, eventually, skipped};

/// The host's name.
pub(crate) const HOST: &str = "alpha";

/// How long one question to the broker waits for its answer.
const PONG_WAIT: Duration = Duration::from_secs(1);

/// The processes of one host.
pub(crate) struct Host {
    broker: Option<Process>,
    workers: Vec<Process>,
    base: TempDir,
    name: String,
    layout: Option<PathBuf>,
    /// A process in the network namespace where its own are to be.
    namespace: Option<u32>,
}

impl Host {
    /// A host where nothing runs.
    pub(crate) fn new() -> Self {
        let base = tempfile::Builder::new()
            .prefix("zt")
            .tempdir()
            .expect("a temporary directory");
        fs::create_dir(base.path().join("room")).expect("a directory");
        Self {
            broker: None,
            workers: Vec::new(),
            base,
            name: HOST.to_owned(),
            layout: None,
            namespace: None,
        }
    }

    /// A host of a cluster, where nothing runs: its processes are in the network namespace of that process, if one is named.
    pub(crate) fn of_cluster(name: &str, layout: &Path, namespace: Option<u32>) -> Self {
        let mut host = Self::new();
        name.clone_into(&mut host.name);
        host.layout = Some(layout.to_owned());
        host.namespace = namespace;
        host
    }

    /// A host with a broker and a worker of this many slots, all of them ready.
    #[track_caller]
    pub(crate) fn serving(slots: u32, worker: &[&str]) -> Self {
        let mut host = Self::new();
        host.start_broker(&[]);
        let slots_text = slots.to_string();
        let arguments: Vec<_> = ["--slots", &slots_text].iter().chain(worker).copied().collect();
        host.start_worker(&arguments);
        host.wait_for_slots(slots);
        host
    }

    /// A host whose one worker runs this script of `sh` for each request.
    #[track_caller]
    pub(crate) fn with_script(slots: u32, options: &[&str], script: &str) -> Self {
        let command = ["--", "sh", "-c", script];
        let worker: Vec<_> = options.iter().chain(&command).copied().collect();
        Self::serving(slots, &worker)
    }

    /// A directory for the test's own files: `$ROOM` of every process.
    pub(crate) fn room(&self) -> PathBuf {
        self.base.path().join("room")
    }

    /// `$ZHIT_RUNTIME_DIR` of every process.
    pub(crate) fn runtime_base(&self) -> PathBuf {
        self.base.path().join("rt")
    }

    /// The host's runtime directory.
    pub(crate) fn runtime_dir(&self) -> PathBuf {
        self.runtime_base().join("default").join(&self.name)
    }

    /// `zhit` with these arguments, on this host.
    pub(crate) fn zhit(&self, arguments: &[&str]) -> Start {
        self.run_program(env!("CARGO_BIN_EXE_zhit"), arguments)
    }

    /// Any program, with the environment that `zhit` has on this host.
    pub(crate) fn run_program(&self, program: &str, arguments: &[&str]) -> Start {
        let start = match self.namespace {
            None => Start::new(program, arguments),
            Some(pid) => {
                let pid = pid.to_string();
                let enter = ["-t", &pid, "-n", "--", program];
                Start::new("nsenter", &[&enter, arguments].concat())
            }
        };
        let start = match &self.layout {
            None => start,
            Some(layout) => start.env("ZHIT_LAYOUT", layout),
        };
        start
            .env("ZHIT_RUNTIME_DIR", self.runtime_base())
            .env("ZHIT_HOST", &self.name)
            // No layout but a test's own.
            .env("XDG_CONFIG_HOME", self.base.path())
            .env("ROOM", self.room())
            .env("ZHIT_LOG", "info")
    }

    /// `zhit client`.
    pub(crate) fn client(&self, arguments: &[&str]) -> Start {
        let all: Vec<_> = ["client"].iter().chain(arguments).copied().collect();
        self.zhit(&all)
    }

    /// Starts the broker and waits until it serves.
    #[track_caller]
    pub(crate) fn start_broker(&mut self, options: &[&str]) -> &mut Process {
        let all: Vec<_> = ["broker"].iter().chain(options).copied().collect();
        let mut broker = self.zhit(&all).start();
        broker.wait_for_stderr("serves (pid");
        self.broker.insert(broker)
    }

    /// Starts a worker; does not wait for its slots: there may be no broker yet.
    pub(crate) fn start_worker(&mut self, arguments: &[&str]) -> &mut Process {
        let all: Vec<_> = ["worker"].iter().chain(arguments).copied().collect();
        let worker = self.zhit(&all).start();
        self.add_worker(worker)
    }

    /// Takes a worker that was started by other means; it ends with the host.
    pub(crate) fn add_worker(&mut self, worker: Process) -> &mut Process {
        self.workers.push(worker);
        self.worker()
    }

    #[track_caller]
    pub(crate) fn broker(&mut self) -> &mut Process {
        self.broker.as_mut().expect("a broker was started")
    }

    /// The worker that was started last.
    #[track_caller]
    pub(crate) fn worker(&mut self) -> &mut Process {
        self.workers.last_mut().expect("a worker was started")
    }

    #[track_caller]
    pub(crate) fn take_broker(&mut self) -> Process {
        self.broker.take().expect("a broker was started")
    }

    #[track_caller]
    pub(crate) fn take_worker(&mut self) -> Process {
        self.workers.pop().expect("a worker was started")
    }

    #[track_caller]
    pub(crate) fn take_first_worker(&mut self) -> Process {
        assert!(!self.workers.is_empty(), "a worker was started");
        self.workers.remove(0)
    }

    /// Waits until the broker knows this many slots and none of them is leased.
    #[track_caller]
    pub(crate) fn wait_for_slots(&self, slots: u32) {
        self.wait_for(&format!("{slots} idle slots"), |pong| {
            let all: u32 = pong.workers.iter().map(|worker| worker.slots).sum();
            let busy: u32 = pong.workers.iter().map(|worker| worker.busy).sum();
            (all, busy) == (slots, 0)
        });
    }

    /// Waits until the broker's answer to a ping satisfies `holds`.
    #[track_caller]
    pub(crate) fn wait_for(&self, what: &str, holds: impl Fn(&Pong) -> bool) {
        eventually(what, || self.pong_now().filter(&holds));
    }

    /// The broker's answer to a ping, if there is one.
    pub(crate) fn pong_now(&self) -> Option<Pong> {
        let context = Context::new().ok()?;
        let mut dealer = Dealer::new(&context).ok()?;
        dealer.connect(&self.runtime_dir().join("broker.sock")).ok()?;
        let mut poll = Poll::new();
        poll.socket(&dealer, Interest::WRITE);
        poll.wait(Some(PONG_WAIT)).ok()?;
        if dealer.send(Message::Ping { nonce: 1 }.encode()).ok()? == Sent::NoRoute {
            return None;
        }
        let mut poll = Poll::new();
        poll.socket(&dealer, Interest::READ);
        poll.wait(Some(PONG_WAIT)).ok()?;
        match dealer.recv().ok()?? {
            Received::Frames(frames) => match Message::decode(&frames.header, frames.body).ok()? {
                Message::Pong(pong) => Some(pong),
                _ => None,
            },
            Received::Malformed { .. } => None,
        }
    }

    /// Waits until a handler has made this file in the room; what is in it, without its last newline.
    #[track_caller]
    pub(crate) fn wait_for_file(&self, name: &str) -> String {
        let path = self.room().join(name);
        let whole = |text: String| text.ends_with('\n').then(|| text.trim_end().to_owned());
        eventually(&format!("the file {name}"), || {
            fs::read_to_string(&path).ok().and_then(whole)
        })
    }

    /// Makes a file in the room, for which a handler may wait.
    pub(crate) fn make_file(&self, name: &str) {
        fs::write(self.room().join(name), "\n").expect("a file is written");
    }

    /// Asks worker and broker to end, sees both do so with 0, and nothing left of them.
    #[track_caller]
    pub(crate) fn stop(mut self) {
        while let Some(worker) = self.workers.pop() {
            worker.end_by(Signal::TERM).code(0);
        }
        if let Some(broker) = self.broker.take() {
            broker.end_by(Signal::TERM).code(0);
        }
        self.end_elected();
        self.assert_nothing_left();
    }

    /// The broker that members have started, if there is one now.
    pub(crate) fn elected(&self) -> Option<u32> {
        self.elected_all().first().copied()
    }

    /// All brokers that members have started: one, but for the moment of an election.
    pub(crate) fn elected_all(&self) -> Vec<u32> {
        let elected = |(_, command): &(u32, String)| command.contains("broker --elected");
        self.strays().into_iter().filter(elected).map(|(pid, _)| pid).collect()
    }

    /// Waits until a broker that members have started has left by itself.
    #[track_caller]
    pub(crate) fn wait_for_elected_to_leave(&self) {
        eventually("the end of the elected broker", || {
            self.elected().is_none().then_some(())
        });
    }

    /// Asks a broker that members have started to end.
    #[track_caller]
    fn end_elected(&self) {
        let pid = self.elected().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
        // One that has ended meanwhile has ended.
        let _ = pid.map(|pid| kill_process(pid, Signal::TERM));
        self.wait_for_elected_to_leave();
    }

    /// Fails if a process, socket, record, member or scratch directory of this host is left.
    #[track_caller]
    pub(crate) fn assert_nothing_left(&self) {
        assert_eq!(self.strays(), [], "processes are left");
        let left: Vec<_> = files(&self.runtime_base())
            .into_iter()
            .filter(|path| is_litter(path))
            .collect();
        assert_eq!(left, Vec::<PathBuf>::new(), "files are left");
    }

    /// Waits until nothing runs any more but broker and workers.
    #[track_caller]
    pub(crate) fn wait_for_handlers_end(&self) {
        self.wait_for_handlers_end_but(0);
    }

    /// As [`wait_for_handlers_end`](Self::wait_for_handlers_end), while this client still runs.
    #[track_caller]
    pub(crate) fn wait_for_handlers_end_but(&self, client: u32) {
        eventually("the end of all handlers", || {
            let served = self.workers.iter().chain(&self.broker).map(Process::pid);
            let served: Vec<_> = served.chain([client]).collect();
            self.strays().iter().all(|(pid, _)| served.contains(pid)).then_some(())
        });
    }

    /// The most memory that broker or a worker has held, in KiB.
    pub(crate) fn peak_kib(&self) -> u64 {
        let servers = self.workers.iter().chain(&self.broker);
        servers.map(Process::peak_kib).max().unwrap_or(0)
    }

    /// Commands of all that runs on this host.
    pub(crate) fn commands(&self) -> Vec<String> {
        self.strays().into_iter().map(|(_, command)| command).collect()
    }

    /// Pids and commands of all that runs with this host's runtime directory in its environment: ours, our handlers and
    /// what these left behind.
    fn strays(&self) -> Vec<(u32, String)> {
        let wanted = format!("ZHIT_RUNTIME_DIR={}", self.runtime_base().display());
        let processes = fs::read_dir("/proc").expect("/proc").filter_map(Result::ok);
        let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let is_ours = |pid: &u32| {
            // One that has ended since, or is another user's, has no environment to read.
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment.split(|byte| *byte == 0).any(|one| one == wanted.as_bytes())
        };
        let command = |pid: u32| {
            let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            (pid, String::from_utf8_lossy(&words).replace('\0', " "))
        };
        pids.filter(is_ours).map(command).collect()
    }
}

impl Host {
    /// What a failed test leaves, for whoever reads its output.
    fn tell(&self) {
        let log = fs::read_to_string(self.runtime_dir().join("broker.log")).unwrap_or_default();
        eprintln!("--- broker.log said:\n{log}");
        let mut ping = std::process::Command::new(env!("CARGO_BIN_EXE_zhit"));
        ping.arg("ping").env("ZHIT_RUNTIME_DIR", self.runtime_base());
        if let Ok(said) = ping.output() {
            let [text, errors] = [said.stdout, said.stderr].map(|said| String::from_utf8_lossy(&said).into_owned());
            eprintln!("--- zhit ping said:\n{text}{errors}");
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.tell();
        }
        self.workers.clear();
        self.broker = None;
        // Handlers die with their worker, a moment later; what left their group does not.
        for (pid, _) in self.strays() {
            let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
            let _ = pid.map(|pid| kill_process(pid, Signal::KILL));
        }
    }
}

/// All files below, sockets and empty directories too.
fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().filter_map(Result::ok);
    let below = |entry: fs::DirEntry| {
        let path = entry.path();
        let inside = if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            files(&path)
        } else {
            Vec::new()
        };
        [path].into_iter().chain(inside)
    };
    entries.flat_map(below).collect()
}

/// Whether nobody may leave this behind: all but the directories, the lock, the term, the directory's id, and journals,
/// which are kept for two ttls (rule O4).
fn is_litter(path: &Path) -> bool {
    let kind = fs::symlink_metadata(path).map(|found| found.file_type());
    let parent = path.parent().and_then(Path::file_name).unwrap_or_default();
    let name = path.file_name().unwrap_or_default();
    if name.to_string_lossy().ends_with(".journal") {
        return false;
    }
    kind.is_ok_and(|kind| kind.is_socket())
        || ["members", "scratch"].iter().any(|room| parent == *room)
        || ["broker.record", "broker.beat"].iter().any(|file| name == *file)
}
