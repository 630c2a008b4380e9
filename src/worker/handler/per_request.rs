//! A process per request: body on stdin, reply from stdout, full duplex.

use std::time::Duration;

use bytes::Bytes;

use super::child::{Child, Interests, Surroundings};
use super::control::Line;
use super::notes::Ending;
use super::{BROADCAST_VARIABLE, Output, RequestContext, Spec};
use crate::protocol::message::{Progress, WorkState};
use crate::protocol::status::Status;
use crate::protocol::time::Moment;

/// One request and its process.
pub(super) struct Process {
    child: Child,
    timeout: Option<Duration>,
    timeout_at: Option<Moment>,
    /// The handler has failed the request itself, by a control line.
    failed: Option<(u8, String)>,
    progress: Option<Progress>,
    lines: Vec<Line>,
}

impl Process {
    /// Starts the process, or says why not.
    pub(super) fn start(spec: &Spec, context: RequestContext<'_>, now: Moment) -> Result<Self, String> {
        let dir = context
            .scratch
            .make()
            .map_err(|error| format!("cannot start a handler on {}: {error}", context.host))?
            .display()
            .to_string();
        let mut variables = vec![
            ("ZHIT_POOL", context.pool.to_owned()),
            ("ZHIT_HOST", context.host.to_owned()),
            ("ZHIT_DIR", dir),
        ];
        variables.extend(match context.broadcast {
            Some(id) => vec![
                (BROADCAST_VARIABLE, id.to_string()),
                ("ZHIT_WORKER", context.slot.worker.to_string()),
            ],
            None => vec![
                ("ZHIT_HIT_ID", context.hit.to_string()),
                ("ZHIT_SEQ", context.seq.to_string()),
                ("ZHIT_SLOT", context.slot.to_string()),
            ],
        });
        let child = Child::start(
            spec,
            Surroundings {
                variables: &variables,
                host: context.host,
                known_at: context.known_at,
                grace: context.grace,
            },
        )?;
        Ok(Self {
            child,
            timeout: context.timeout,
            timeout_at: context.timeout.map(|timeout| now + timeout),
            failed: None,
            progress: None,
            lines: Vec::new(),
        })
    }

    pub(super) const fn wants_input(&self) -> bool {
        self.child.stdin.wants_more()
    }

    pub(super) fn feed(&mut self, bytes: Bytes, end: bool) {
        self.child.stdin.feed(bytes, end);
    }

    pub(super) const fn taken(&self) -> u64 {
        self.child.stdin.taken()
    }

    pub(super) const fn bytes_out(&self) -> u64 {
        self.child.bytes_out()
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.pid()
    }

    pub(super) fn stderr_tail(&self) -> &[u8] {
        self.child.stderr_tail()
    }

    pub(super) fn state(&self) -> WorkState {
        self.child.state()
    }

    pub(super) const fn progress(&self) -> Option<&Progress> {
        self.progress.as_ref()
    }

    pub(super) fn interests(&self, room: usize) -> Interests<'_> {
        self.child.interests(room)
    }

    pub(super) fn next_deadline(&self) -> Option<Moment> {
        self.child.next_deadline(self.timeout_at)
    }

    pub(super) fn stop(&mut self, now: Moment, why: Status) {
        self.child.stop(now, why);
    }

    pub(super) fn kill_by(&mut self, at: Moment) {
        self.child.kill_by(at);
    }

    pub(super) fn kill(&mut self) {
        self.child.kill();
    }

    pub(super) fn turn(&mut self, now: Moment, room: usize, out: &mut Vec<Output>) {
        if self.child.has_ended() {
            return;
        }
        self.child.keep_deadlines(now, self.timeout_at);
        let ready = self.child.look(room);
        self.child.see_exit(now, &ready);
        self.child.stdin.write(ready.stdin);
        let read = self.child.read(&ready, room, out);
        self.child
            .read_control(&ready, room - read.min(room), &mut self.lines, out);
        self.obey();
        if self.child.is_drained(now, room, read) {
            self.end(out);
        }
    }

    fn obey(&mut self) {
        for line in self.lines.drain(..) {
            match line {
                Line::Progress(progress) => self.progress = Some(progress),
                Line::Fail(code, message) => {
                    self.failed.get_or_insert((code, message));
                }
            }
        }
    }

    fn end(&mut self, out: &mut Vec<Output>) {
        let Some(exit) = self.child.exit() else { return };
        let (status, note) = match (self.child.stopped_for(), self.failed.take()) {
            (None, Some((code, message))) => (Status::Exit(code), message),
            (stopped, _) => {
                let status = stopped.unwrap_or(exit.status);
                let ending = Ending {
                    name: &self.child.name,
                    status,
                    dumped: exit.dumped,
                    killed: self.child.is_killed(),
                    timeout: self.timeout,
                    grace: self.child.grace(),
                };
                (status, ending.note())
            }
        };
        out.push(Output::Ended { status, note });
        self.child.bury();
    }
}
