//! What Hits are served with, which may change while the worker serves.

use std::ffi::OsStr;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tracing::warn;

use super::handler::{Coprocesses, Spec};
use crate::options::{Handler, WorkerOptions};

/// What one Hit is served with, from its lease to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Service {
    pub(super) spec: Spec,
    /// From SIGTERM to SIGKILL.
    pub(super) grace: Duration,
    /// Deadline of each request, also of those whose client names none or a later one.
    pub(super) timeout_max: Option<Duration>,
}

impl Service {
    pub(super) fn of(options: &WorkerOptions) -> Self {
        Self {
            spec: spec(&options.handler),
            grace: options.grace,
            timeout_max: options.timeout_max,
        }
    }

    /// Says it if the program is not there: it may come later, and until then each request fails.
    pub(super) fn warn_if_missing(&self) {
        let command = match &self.spec {
            Spec::Coprocess(talk) => &talk.command,
            spec => spec,
        };
        if let Spec::Process(words) = command
            && let Some(program) = words.first()
            && !is_there(program)
        {
            let program = program.display();
            warn!("{program} is not there: requests fail until it is; is it spelt right, and on PATH?");
        }
    }
}

/// Whether a program can be found, as execvp(3) looks for it.
fn is_there(program: &OsStr) -> bool {
    if program.as_encoded_bytes().contains(&b'/') {
        return Path::new(program).exists();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

fn spec(handler: &Handler) -> Spec {
    match handler {
        Handler::Builtin(builtin) => Spec::Builtin(*builtin),
        Handler::Command(words) => Spec::Process(words.clone()),
        Handler::Shell(text) => Spec::Shell(text.to_string_lossy().into_owned()),
        Handler::Coprocess {
            program,
            framing,
            warm,
            frame_max,
        } => Spec::Coprocess(Box::new(Coprocesses {
            command: spec(program),
            framing: *framing,
            warm: *warm,
            frame_max: *frame_max,
        })),
    }
}

/// What the next Hit is served with. Slots ask, the control thread sets.
#[derive(Debug)]
pub(super) struct Current(RwLock<Arc<Service>>);

impl Current {
    pub(super) fn new(service: Service) -> Self {
        Self(RwLock::new(Arc::new(service)))
    }

    pub(super) fn get(&self) -> Arc<Service> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether that is another one than before.
    pub(super) fn set(&self, service: Service) -> bool {
        let mut current = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let changes = **current != service;
        if changes {
            *current = Arc::new(service);
        }
        changes
    }
}

/// What differs between two worker's options that only its next start can change, for a person to read.
pub(super) fn not_changed(now: &WorkerOptions, wanted: &WorkerOptions) -> Vec<String> {
    let mut all = Vec::new();
    let mut compare = |what: &str, now: String, wanted: String| {
        if now != wanted {
            all.push(format!("{what} {wanted} (now {now})"));
        }
    };
    compare("slots", now.slots.to_string(), wanted.slots.to_string());
    compare("host", now.place.host.clone(), wanted.place.host.clone());
    compare("cluster", now.place.cluster.clone(), wanted.place.cluster.clone());
    let span = |span| humantime::format_duration(span).to_string();
    let (from, to) = (now.timing, wanted.timing);
    compare("interval", span(from.interval), span(to.interval));
    compare("liveness", from.liveness.to_string(), to.liveness.to_string());
    compare("patience", span(from.patience), span(to.patience));
    all
}
