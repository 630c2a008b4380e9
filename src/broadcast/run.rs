//! The loop of `zhit broadcast`: one socket to this host's broker, or where that one is silent to another host's, which
//! passes on what is for others, around the pure [`Gather`].

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::fold::fold;
use super::gather::{Action, Config, Gather, Phase};
use super::report::{self, Report, Said};
use super::seat::Seat;
use crate::clock;
use crate::exit::Exit;
use crate::gateway::Gateway;
use crate::net::{Context, Interest, NetError, Poll, Sent, Waker};
use crate::options::BroadcastOptions;
use crate::protocol::ids::BroadcastId;
use crate::protocol::limits::{
    BROADCAST_BYTES_MAX, CONNECT_GAP, MASTER_GAP, MEMBERS_LISTED_MAX, MESSAGES_PER_TURN_MAX,
};
use crate::protocol::{Message, Moment};
use crate::runtime::{BrokerLock, RuntimeDir, RuntimeError};
use crate::signals::Stop;
use crate::term::{Bar, Output, Screen, error, note};

/// SIGPIPE's number: who writes to a reader that has gone ends as if by it, quietly.
const SIGPIPE: u8 = 13;

/// Names of members in the bar: as many as a line may have, of the first so many that are outstanding.
const NAMES_SHOWN_BYTES: usize = 60;
const NAMES_FOLDED_MAX: usize = 256;

/// Why a broadcast cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum BroadcastError {
    /// The network.
    #[error(transparent)]
    Net(#[from] NetError),
    /// The runtime directory.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// Its request.
    #[error("cannot read the request from stdin: {0}")]
    Stdin(io::Error),
    /// Its request is too long.
    #[error(
        "the request is longer than {BROADCAST_BYTES_MAX} bytes, the most of a broadcast's: give workers a file's name, or \
         ask them one by one in a Hit (zhit client)"
    )]
    TooLong,
    /// No id could be had.
    #[error("the system gives no random bytes: {0}")]
    Random(getrandom::Error),
    /// Standard output.
    #[error("cannot write the replies: {0}")]
    Stdout(io::Error),
    /// The job log.
    #[error("cannot write the job log {}: {source}", path.display())]
    Joblog {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// Asks everybody, prints what comes, and returns how it ended.
///
/// # Errors
/// [`BroadcastError`] when nothing could be asked, or what came not be written.
pub fn run(
    options: &BroadcastOptions,
    context: &Context,
    dir: &RuntimeDir,
    stop: &Stop,
) -> Result<Exit, BroadcastError> {
    // Before anybody is asked: what has run cannot be taken back for want of a log.
    let joblog = options.joblog.as_ref().map(|path| Joblog::create(path)).transpose()?;
    let body = request(options)?;
    let mut id = BroadcastId::default();
    getrandom::fill(&mut id.0).map_err(BroadcastError::Random)?;
    let config = Config {
        id,
        hosts: options.hosts.clone(),
        targets: options.targets.clone(),
        body,
        patience: options.timing.patience,
        interval: options.timing.interval,
        timeout: options.timeout,
        reply_max: options.reply_max,
        batch: options.batch,
        stop_after: options.stop_after,
    };
    match Issuer::new(options, config, context, dir, stop)?.run(joblog) {
        Err(BroadcastError::Stdout(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Exit::Signal(SIGPIPE)),
        ended => ended,
    }
}

fn request(options: &BroadcastOptions) -> Result<Bytes, BroadcastError> {
    let mut bytes = options.request.clone().unwrap_or_default();
    if options.request.is_none() {
        let most = BROADCAST_BYTES_MAX as u64 + 1;
        let mut stdin = io::stdin().take(most);
        stdin.read_to_end(&mut bytes).map_err(BroadcastError::Stdin)?;
    }
    if bytes.len() > BROADCAST_BYTES_MAX {
        return Err(BroadcastError::TooLong);
    }
    Ok(bytes.into())
}

/// Where the job log goes.
struct Joblog {
    path: PathBuf,
    file: File,
}

impl Joblog {
    fn create(path: &Path) -> Result<Self, BroadcastError> {
        let path = path.to_owned();
        match File::create(&path) {
            Ok(file) => Ok(Self { path, file }),
            Err(source) => Err(BroadcastError::Joblog { path, source }),
        }
    }

    fn write(mut self, text: &str) -> Result<(), BroadcastError> {
        let written = self.file.write_all(text.as_bytes());
        written.map_err(|source| BroadcastError::Joblog {
            path: self.path,
            source,
        })
    }
}

struct Issuer<'a> {
    options: &'a BroadcastOptions,
    id: BroadcastId,
    /// Hosts' places among those that are asked.
    places: HashMap<&'a str, usize>,
    /// What is to be printed at the end of this turn.
    unsaid: Said,
    sent_bytes: usize,
    gather: Gather,
    report: Report,
    bar: Bar,
    gateway: Gateway,
    /// When it was heard last, or turned to.
    heard_at: Moment,
    dir: &'a RuntimeDir,
    stop: &'a Stop,
    waker: Waker,
    actions: Vec<Action>,
    no_route: bool,
}

impl<'a> Issuer<'a> {
    fn new(
        options: &'a BroadcastOptions,
        config: Config,
        context: &Context,
        dir: &'a RuntimeDir,
        stop: &'a Stop,
    ) -> Result<Self, NetError> {
        let quiet = options.timing.interval * options.timing.liveness;
        let gateway = Gateway::new(context, dir, &options.place.host, &options.others, quiet)?;
        let waker = Waker::new()?;
        stop.register(&waker);
        let now = clock::now();
        Ok(Self {
            options,
            id: config.id,
            places: options.hosts.iter().map(String::as_str).zip(0..).collect(),
            unsaid: Said::default(),
            sent_bytes: config.body.len(),
            report: Report {
                format: options.format,
                folded: options.fold,
                out: Screen::stdout(),
                err: Screen::stderr(),
            },
            bar: Bar::new(options.progress, "broadcast", now),
            gather: Gather::new(now, config),
            gateway,
            heard_at: now,
            dir,
            stop,
            waker,
            actions: Vec::new(),
            no_route: true,
        })
    }

    fn run(mut self, joblog: Option<Joblog>) -> Result<Exit, BroadcastError> {
        let began = clock::unix_seconds();
        while self.gather.phase() != Phase::Closed && self.stop.stage() == 0 {
            self.receive()?;
            self.turn_elsewhere()?;
            if !self.gather.has_heard() && clock::now().since(self.gather.began_at()) >= self.options.timing.patience {
                let others: Vec<&str> = self.options.others.keys().map(String::as_str).collect();
                let nor = match others.len() {
                    0 => String::new(),
                    _ => format!(", nor that of {}", others.join(", ")),
                };
                error(&format_args!(
                    "broadcast: no broker reached at {}{nor}: {}",
                    self.dir.broker_socket().display(),
                    if BrokerLock::is_held(self.dir)? {
                        "one holds this host's lock and does not answer; see zhit ping --vote"
                    } else {
                        "start a worker on this host, or see zhit ping"
                    }
                ));
                return Ok(Exit::NoBroker);
            }
            self.gather.on_tick(clock::now(), &mut self.actions);
            self.perform()?;
            self.speak()?;
            self.draw();
            if self.gather.phase() != Phase::Closed {
                self.wait()?;
            }
        }
        self.gather.end();
        self.gather.thank(&mut self.actions);
        self.perform()?;
        self.speak()?;
        self.close(began, joblog)
    }

    fn receive(&mut self) -> Result<(), BroadcastError> {
        for _ in 0..MESSAGES_PER_TURN_MAX {
            let Some((host, said)) = self.gateway.hear()? else {
                break;
            };
            self.heard_at = clock::now();
            self.take(&host, said);
            self.perform()?;
        }
        Ok(())
    }

    /// Goes through another host when the one that it goes through is silent or not there, or this one has no broker.
    fn turn_elsewhere(&mut self) -> Result<(), BroadcastError> {
        let now = clock::now();
        let silent = now.since(self.heard_at);
        let silent_max = self.options.timing.interval * self.options.timing.liveness;
        let is_absent = || match self.gateway.through() {
            Some(_) => Ok(self.no_route && silent >= CONNECT_GAP),
            // One that hangs is replaced, or others are asked after a while.
            None => BrokerLock::is_held(self.dir).map(|held| !held),
        };
        if silent < MASTER_GAP || (silent < silent_max && !is_absent()?) {
            return Ok(());
        }
        self.heard_at = now;
        if self.gateway.go_on()? {
            self.no_route = true;
        }
        Ok(())
    }

    /// Takes what the broker of a host says, or why it is not reached.
    fn take(&mut self, host: &str, said: Result<Message, String>) {
        let now = clock::now();
        let Some(place) = self.places.get(host).copied() else {
            return;
        };
        match said {
            Ok(message) => self.gather.on_message(now, place, message, &mut self.actions),
            Err(why) => self.gather.on_unreached(now, place, why, &mut self.actions),
        }
    }

    fn perform(&mut self) -> Result<(), BroadcastError> {
        for action in std::mem::take(&mut self.actions) {
            match action {
                Action::Send(place, message) => {
                    let host = self.options.hosts.get(place).map_or("", String::as_str);
                    if self.gateway.send(host, &message)? == Sent::NoRoute {
                        self.no_route = true;
                    }
                }
                Action::Settled(place) => {
                    let seat = self.gather.seats().get(place);
                    let said = seat.map(|seat| self.report.settled(clock::now(), seat));
                    let Said { out, err } = said.unwrap_or_default();
                    self.unsaid.out.extend(out);
                    self.unsaid.err.push_str(&err);
                }
            }
        }
        Ok(())
    }

    /// Prints what was told of in this turn.
    fn speak(&mut self) -> Result<(), BroadcastError> {
        let said = std::mem::take(&mut self.unsaid);
        self.say(&said)
    }

    fn say(&mut self, said: &Said) -> Result<(), BroadcastError> {
        if !said.out.is_empty() {
            let mut out = io::stdout();
            let write = || out.write_all(&said.out).and_then(|()| out.flush());
            let written = self.bar.with_hidden(Output::Stdout, &said.out, write);
            written.map_err(BroadcastError::Stdout)?;
        }
        if !said.err.is_empty() {
            // Nobody is left to be told that nobody can be told.
            let bytes = said.err.as_bytes();
            let _ = self
                .bar
                .with_hidden(Output::Stderr, bytes, || io::stderr().write_all(bytes));
        }
        Ok(())
    }

    fn draw(&mut self) {
        let now = clock::now();
        if self.bar.next_deadline().is_none_or(|due| now < due) {
            return;
        }
        let books = self.gather.books();
        let waiting = self.gather.seats().iter().filter(|seat| seat.verdict.is_none());
        let first: Vec<String> = waiting.take(NAMES_FOLDED_MAX).map(Seat::name).collect();
        let mut names = fold(first.iter().map(String::as_str));
        if names.len() > NAMES_SHOWN_BYTES || first.len() < books.outstanding {
            let end = (0..=NAMES_SHOWN_BYTES.min(names.len()))
                .rev()
                .find(|at| names.is_char_boundary(*at))
                .unwrap_or(0);
            names.truncate(end);
            names.push('…');
        }
        let (settled, expected) = (books.settled() as u64, books.expected as u64);
        self.bar.work(now, 1, Some((settled, expected, &names)));
        self.bar.tick(now);
    }

    fn wait(&mut self) -> Result<(), BroadcastError> {
        let now = clock::now();
        let timeout = self
            .gather
            .next_deadline()
            .since(now)
            .min(self.options.timing.interval / 4);
        let mut poll = Poll::new();
        let dealer = poll.socket(
            self.gateway.dealer(),
            Interest::READ | Interest::WRITE.when(self.no_route),
        );
        poll.fd(&self.waker, Interest::READ);
        let ready = poll.wait(Some(timeout))?;
        self.waker.drain();
        if self.no_route && ready.writable(dealer) {
            self.no_route = false;
            self.gather.on_route(clock::now(), &mut self.actions);
            self.perform()?;
        }
        Ok(())
    }

    fn close(mut self, began: u64, joblog: Option<Joblog>) -> Result<Exit, BroadcastError> {
        let now = clock::now();
        let began_at = self.gather.began_at();
        let took = now.since(began_at);
        let books = self.gather.books();
        self.bar.finish();
        let said = self.report.closed(now, self.id, (self.gather.seats(), books), took);
        self.say(&said)?;
        if let Some(joblog) = joblog {
            let request = String::from_utf8_lossy(self.options.request.as_deref().unwrap_or(b"-"));
            let log = report::joblog(now, (began, began_at), self.gather.seats(), self.sent_bytes, &request);
            joblog.write(&log)?;
        }
        let late: Vec<String> = self
            .gather
            .late()
            .map(|(host, member)| format!("{host}/{}", member.worker))
            .collect();
        if !late.is_empty() {
            let names = fold(late.iter().map(String::as_str));
            note(&format_args!(
                "not asked, for it came after the roster was pinned: {names}"
            ));
        }
        let unlisted = self.gather.unlisted();
        if unlisted > 0 {
            note(&format_args!(
                "not asked, for a roster holds {MEMBERS_LISTED_MAX}: {unlisted} more; ask pool by pool"
            ));
        }
        if self.stop.stage() > 0 {
            return Ok(Exit::of_signal(self.stop.signal()));
        }
        if books.expected == 0 && self.gather.timed_out() {
            note(&"the time was over before all hosts had told who is there: nobody was asked");
        }
        if books.expected == 0 && !self.gather.timed_out() && !self.options.allow_none {
            error(&"broadcast: nobody is there to be asked; see zhit ping, or say --allow-none");
            return Ok(Exit::Incomplete);
        }
        let exit = report::exit(
            self.gather.seats(),
            books,
            self.gather.timed_out(),
            self.options.largest_code,
        );
        Ok(if exit == Exit::Success && unlisted > 0 {
            Exit::Incomplete
        } else {
            exit
        })
    }
}
