//! Parses the command line, hands the role to a thread, keeps the signals, exits.
//!
//! The process enters here and not through the standard library's own start, which reads `/proc/self/maps` and sets up
//! a signal stack for each thread: a tenth of a one-shot client's time. What else that start does for a program is done
//! by `signals::prepare_process`.
//!
//! A client that only asks lives for a millisecond, so its two threads start it together: this one reads the command line
//! while the other comes to life and starts libzmq (0.1 ms of 1.7); and the other exits for both.

#![cfg_attr(not(test), no_main)]

use std::ffi::{c_char, c_int};
use std::sync::{Arc, mpsc};

use zhit::cli::{self, Command};
use zhit::exit::Exit;
use zhit::roles::{self, Question, Ready};
use zhit::signals::{self, Hangup, Stop, Unfinished, run_role, run_role_beside};
use zhit::term::style;

/// What the C library calls. The arguments are read by `std::env`, which has them from the C library, too.
#[allow(unsafe_code, reason = "a symbol's name is not checked; no other `main` is linked in")]
#[cfg_attr(not(test), unsafe(no_mangle))]
extern "C" fn main(_count: c_int, _words: *const *const c_char) -> c_int {
    leave(run())
}

/// Flushes what the standard library still holds, and ends the process.
fn leave(exit: Exit) -> ! {
    std::process::exit(exit.code().into())
}

fn run() -> Exit {
    if let Err(error) = signals::prepare_process() {
        style::error(&error);
        return Exit::Usage;
    }
    let ended = if cli::only_asks() { ask() } else { play() };
    match ended {
        Ok(exit) => exit,
        // The role is stuck; its thread must not keep the process.
        Err(Unfinished::Signalled(signal)) => Exit::of_signal(signal),
        Err(error) => {
            style::error(&error);
            Exit::Usage
        }
    }
}

fn play() -> Result<Exit, Unfinished> {
    match cli::parse() {
        Command::Broker(options) => run_role("broker", Hangup::of_server(), move |stop| {
            roles::broker(&options, cli::broker_again, &stop)
        }),
        Command::Worker(options) => run_role("worker", Hangup::of_server(), move |stop| {
            roles::worker(&options, cli::worker_again, &stop)
        }),
        Command::Client(mut options) => run_role("client", Hangup::End, move |stop| match options.local.take() {
            Some(handler) => roles::local(options, handler, &stop),
            None => roles::client(Question::new(options), Ready::new(), None, &stop),
        }),
        Command::Broadcast(options) => {
            run_role("broadcast", Hangup::End, move |stop| roles::broadcast(&options, &stop))
        }
        Command::Ping(options) => run_role("ping", Hangup::End, move |stop| roles::ping(&options, &stop)),
    }
}

/// A client, and nothing else in its process.
fn ask() -> Result<Exit, Unfinished> {
    let stay = roles::prepare_client();
    let (hand_over, question) = mpsc::channel();
    let role = move |stop: Arc<Stop>| {
        let ready = Ready::new();
        match question.recv() {
            Ok(question) => leave(roles::client(question, ready, stay, &stop)),
            // Only a client's command line begins as one.
            Err(_) => Exit::Usage,
        }
    };
    run_role_beside("client", Hangup::End, role, move || {
        // A layout may be read from a pipe that says nothing. Nothing was asked yet, so a signal ends the process at once.
        if let Ok(Command::Client(options)) = signals::unblocked(|| Ok(cli::parse())) {
            // The role ends no sooner than it has this.
            let _ = hand_over.send(Question::new(options));
        }
    })
}
