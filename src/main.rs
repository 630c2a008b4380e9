//! Parses the command line, hands the role to a thread, keeps the signals, exits.
//!
//! The process enters here and not through the standard library's own start, which reads `/proc/self/maps` and sets up
//! a signal stack for each thread: a tenth of a one-shot client's time. What else that start does for a program is done
//! by `signals::prepare_process`.

#![cfg_attr(not(test), no_main)]

use std::ffi::{c_char, c_int};

use zhit::cli::{self, Command};
use zhit::exit::Exit;
use zhit::roles;
use zhit::signals::{self, Hangup, Unfinished, run_role};
use zhit::term::style;

/// What the C library calls. The arguments are read by `std::env`, which has them from the C library, too.
#[allow(unsafe_code, reason = "a symbol's name is not checked; no other `main` is linked in")]
#[cfg_attr(not(test), unsafe(no_mangle))]
extern "C" fn main(_count: c_int, _words: *const *const c_char) -> c_int {
    // Flushes what the standard library still holds.
    std::process::exit(run().code().into())
}

fn run() -> Exit {
    if let Err(error) = signals::prepare_process() {
        style::error(&error);
        return Exit::Usage;
    }
    let ended = match cli::parse() {
        Command::Broker(options) => run_role("broker", Hangup::of_server(), move |stop| {
            roles::broker(&options, cli::broker_again, &stop)
        }),
        Command::Worker(options) => run_role("worker", Hangup::of_server(), move |stop| {
            roles::worker(&options, cli::worker_again, &stop)
        }),
        Command::Client(options) => {
            roles::prepare_client(&options);
            run_role("client", Hangup::End, move |stop| roles::client(options, &stop))
        }
        Command::Broadcast(options) => {
            run_role("broadcast", Hangup::End, move |stop| roles::broadcast(&options, &stop))
        }
        Command::Ping(options) => run_role("ping", Hangup::End, move |stop| roles::ping(&options, &stop)),
    };
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
