//! What people are told when a request did not go well: what, where, what to try.

use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::Spec;
use crate::protocol::status::Status;

/// Most characters of a command that a note quotes.
const NAME_CHARS_MAX: usize = 60;

/// How a handler is called in notes: the last part of its program's path, or the shell command's start.
pub(super) fn name_of(spec: &Spec) -> String {
    match spec {
        Spec::Process(words) => {
            let program = words
                .first()
                .map_or(OsStr::new(""), |word| Path::new(word).file_name().unwrap_or(word));
            shorten(&program.to_string_lossy())
        }
        Spec::Shell(text) => shorten(text),
        Spec::Coprocess(talk) => name_of(&talk.command),
        Spec::Builtin(builtin) => builtin.name().to_owned(),
    }
}

/// The start of a text, fit for a line of a terminal.
fn shorten(text: &str) -> String {
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    let mut short: String = text.chars().take(NAME_CHARS_MAX).map(plain).collect();
    if text.chars().nth(NAME_CHARS_MAX).is_some() {
        short.push('…');
    }
    short
}

/// The start of what somebody said, quoted.
pub(super) fn excerpt(bytes: &[u8]) -> String {
    let start = &bytes[..bytes.len().min(4 * NAME_CHARS_MAX)];
    format!("\"{}\"", shorten(String::from_utf8_lossy(start).trim_end()))
}

/// Why a program was not started, and what to do about it.
pub(super) fn not_started(program: &OsStr, host: &str, error: &io::Error) -> String {
    let quoted = shorten(&program.to_string_lossy());
    let has_path = program.as_encoded_bytes().contains(&b'/');
    let why = match error.kind() {
        io::ErrorKind::NotFound if has_path => {
            "no such file, or the interpreter that its first line names is missing; check the path".to_owned()
        }
        io::ErrorKind::NotFound => "no such command on PATH; give its path or install it there".to_owned(),
        io::ErrorKind::PermissionDenied => "it may not be executed; check its mode (chmod +x) and owner".to_owned(),
        io::ErrorKind::ArgumentListTooLong => "arguments and environment are too long; pass less of them".to_owned(),
        io::ErrorKind::InvalidInput => "a word of it contains a zero byte; remove it".to_owned(),
        _ => match error.raw_os_error().map(nix::errno::Errno::from_raw) {
            Some(nix::errno::Errno::EMFILE | nix::errno::Errno::ENFILE) => {
                "too many open files; raise `ulimit -n` or run fewer slots".to_owned()
            }
            Some(nix::errno::Errno::EAGAIN) => "too many processes; raise `ulimit -u` or run fewer slots".to_owned(),
            Some(nix::errno::Errno::ENOMEM) => "no memory to start it; run fewer slots".to_owned(),
            _ => error.to_string(),
        },
    };
    format!("cannot start \"{quoted}\" on {host}: {why}")
}

/// What is told about a request that was stopped or whose handler failed. Empty if all went well.
pub(super) struct Ending<'a> {
    pub(super) name: &'a str,
    pub(super) status: Status,
    /// Left a core file.
    pub(super) dumped: bool,
    /// Had to be killed after it was told to end.
    pub(super) killed: bool,
    pub(super) timeout: Option<Duration>,
    pub(super) grace: Duration,
}

impl Ending<'_> {
    pub(super) fn note(&self) -> String {
        let Self {
            name, status, grace, ..
        } = *self;
        let grace = humantime::format_duration(grace);
        match status {
            Status::Ok => String::new(),
            Status::Signal(number) => {
                let core = if self.dumped { ", core dumped" } else { "" };
                Signal::try_from(i32::from(number)).map_or_else(
                    |_| format!("{name}: killed by signal {number}{core}"),
                    |signal| format!("{name}: killed by {signal} (signal {number}){core}"),
                )
            }
            Status::Deadline => {
                let limit = self
                    .timeout
                    .map_or_else(String::new, |t| format!(" of {}", humantime::format_duration(t)));
                let how = if self.killed {
                    format!("told to end, killed {grace} later")
                } else {
                    "told to end".to_owned()
                };
                format!("{name}: deadline{limit} passed; {how}")
            }
            Status::Cancelled if self.killed => format!("{name}: cancelled; killed"),
            other => format!("{name}: {other}"),
        }
    }
}
