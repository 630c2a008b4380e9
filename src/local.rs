//! `zhit client --local`: broker, worker and client in one process, in a runtime directory of their own.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::broker;
use crate::client;
use crate::exit::Exit;
use crate::net::Context;
use crate::options::{BrokerOptions, ClientOptions, Handler, Hosts, Office, Takeover, WorkerOptions};
use crate::protocol::Term;
use crate::roles::Failure;
use crate::runtime::{self, RuntimeDir};
use crate::signals::{self, Stop};
use crate::wires::{Ends, Found};
use crate::worker;

/// What handlers are granted when the client is told to end.
const GRACE: Duration = Duration::from_secs(1);

/// SIGTERM's number: how broker and worker are asked to end.
const SIGTERM: i32 = 15;

/// Why nothing can be run in this process alone.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// No place for its sockets.
    #[error("cannot make a directory for --local in {}: {source}; set TMPDIR to one that can be written to", path.display())]
    Directory {
        /// Where.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The system has no room for another thread.
    #[error("cannot start a thread: {0}; raise the limit of processes (ulimit -u)")]
    Thread(io::Error),
}

/// A directory that goes with its owner.
struct OwnDirectory(PathBuf);

impl OwnDirectory {
    fn new() -> Result<Self, LocalError> {
        let path = std::env::temp_dir().join(format!("zhit-local-{}", std::process::id()));
        match std::fs::create_dir(&path) {
            Ok(()) => Ok(Self(path)),
            Err(source) => Err(LocalError::Directory { path, source }),
        }
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for OwnDirectory {
    fn drop(&mut self) {
        // Nothing of it is needed any more; what cannot be removed is a temporary file.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Runs the client's Hit with this handler.
///
/// # Errors
/// [`Failure`] when it cannot begin, or when broker or worker could not.
pub fn run(options: ClientOptions, handler: Handler, stop: &Arc<Stop>) -> Result<Exit, Failure> {
    let directory = OwnDirectory::new()?;
    let place = runtime::Place::new(Some(directory.path()), &options.place.cluster, &options.place.host)?;
    let context = Context::new()?;
    let broker_stop = Arc::new(Stop::default());
    let worker_stop = Arc::new(Stop::default());
    let broker_options = BrokerOptions {
        office: Office::Dedicated(Takeover::Refuse),
        place: options.place.clone(),
        timing: options.timing,
        heard: Term(0),
        grace: Duration::ZERO,
        // It is nobody's neighbour.
        hosts: Hosts::default(),
    };
    let worker_options = WorkerOptions {
        timeout_max: None,
        on_broadcast: None,
        place: options.place.clone(),
        timing: options.timing,
        pool: options.pool.clone(),
        slots: 1,
        grace: GRACE,
        handler,
        elects: false,
        direct: None,
    };
    // So that the client finds it at once.
    RuntimeDir::open(&place)?;
    let own_place = place.clone();
    let served = {
        let (place, context, stop, done) = (
            place.clone(),
            context.clone(),
            Arc::clone(&broker_stop),
            Arc::clone(stop),
        );
        signals::spawn("broker", move || {
            let served = RuntimeDir::open(&place).map_err(Failure::from);
            let served = served.and_then(|dir| {
                Ok(broker::serve(
                    &broker_options,
                    || Err("it has no layout".to_owned()),
                    &dir,
                    &context,
                    &stop,
                )?)
            });
            report(served, &done)
        })
        .map_err(LocalError::Thread)?
    };
    let worked = {
        let (context, stop, done) = (context.clone(), Arc::clone(&worker_stop), Arc::clone(stop));
        signals::spawn("worker", move || {
            let worked = worker::serve(
                &worker_options,
                || RuntimeDir::open(&place),
                || Ok(worker_options.clone()),
                &context,
                &stop,
            );
            report(worked.map_err(Failure::from), &done)
        })
        .map_err(LocalError::Thread)?
    };
    let ended = Ends::new(&context)
        .map_err(Failure::from)
        .and_then(|ends| Ok(client::run(options, ends, Found::look(own_place)?, None, stop)?));
    worker_stop.raise(SIGTERM);
    let worked = worked.join();
    broker_stop.raise(SIGTERM);
    let served = served.join();
    // Why broker or worker failed explains what the client saw.
    if let Ok(Err(failure)) = served {
        return Err(failure);
    }
    if let Ok(Err(failure)) = worked {
        return Err(failure);
    }
    ended
}

/// A broker or worker that could not serve ends the client's wait.
fn report(served: Result<(), Failure>, client: &Stop) -> Result<(), Failure> {
    if served.is_err() {
        client.raise(SIGTERM);
    }
    served
}
