//! A broker that a member starts for its host: a process of its own session, which belongs to nobody.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::mapped::spawn;
use crate::options::{Place, Timing};
use crate::protocol::Term;
use crate::runtime::{HostLog, RuntimeDir, RuntimeError};
use crate::signals;

/// This very program, even if its file has been replaced meanwhile.
const SELF: &str = "/proc/self/exe";

/// Why no candidate could be started.
#[derive(Debug, thiserror::Error)]
pub enum CandidateError {
    /// Its log.
    #[error(transparent)]
    Log(#[from] RuntimeError),
    /// The process.
    #[error("cannot start a broker: {0}; raise the limit of processes (ulimit -u), or start one by hand: zhit broker")]
    Start(#[from] io::Error),
}

/// A candidate that runs, as far as its starter knows.
#[derive(Debug)]
pub struct Candidate {
    child: Child,
    pidfd: OwnedFd,
}

impl Candidate {
    /// Starts one. It takes the office if that is free, and ends at once if it is not. Its term is higher than `heard`
    /// (rule E2).
    ///
    /// # Errors
    /// [`CandidateError`].
    pub fn start(dir: &RuntimeDir, place: &Place, timing: Timing, heard: Term) -> Result<Self, CandidateError> {
        let log = HostLog::file_of(dir)?;
        let mut command = Command::new(SELF);
        let interval = format!("{}ms", timing.interval.as_millis());
        let patience = format!("{}ms", timing.patience.as_millis());
        command
            .arg0("zhit")
            .args([
                "broker",
                "--elected",
                "--host",
                &place.host,
                "--cluster",
                &place.cluster,
            ])
            .args(["--interval", &interval, "--patience", &patience])
            .args(["--liveness", &timing.liveness.to_string()])
            .args(["--heard", &heard.to_string()])
            // What this worker was told of the cluster, wherever it was told.
            .args(
                place
                    .layout
                    .iter()
                    .flat_map(|file| ["--layout".as_ref(), file.as_os_str()]),
            )
            .env("ZHIT_RUNTIME_DIR", dir.base())
            // It is nobody's service.
            .env_remove("NOTIFY_SOCKET")
            // It must not keep anybody's directory busy.
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        spawn::in_own_session(&mut command);
        let mut child = signals::unblocked(|| command.spawn())?;
        let pid = Pid::from_child(&child);
        match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(pidfd) => Ok(Self { child, pidfd }),
            Err(errno) => {
                // Without it nobody would ask how it ended.
                let _ = child.kill();
                let _ = child.wait();
                Err(io::Error::from(errno).into())
            }
        }
    }

    /// Its process, to be waited for.
    pub const fn pidfd(&self) -> &OwnedFd {
        &self.pidfd
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has ended, and if so, well: it lost the race, or its time was over.
    pub fn ended(&mut self) -> Option<bool> {
        match self.child.try_wait() {
            Ok(None) => None,
            Ok(Some(status)) => Some(status.success()),
            Err(_) => Some(false),
        }
    }
}
