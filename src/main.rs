//! Parses the command line, hands the role to a thread, keeps the signals, exits.

use std::process::ExitCode;

use zhit::cli::{self, Command};
use zhit::exit::Exit;
use zhit::roles;
use zhit::signals::{Hangup, Unfinished, run_role};
use zhit::term::style;

fn main() -> ExitCode {
    let ended = match cli::parse() {
        Command::Broker(options) => run_role("broker", Hangup::of_server(), move |stop| {
            roles::broker(&options, &stop)
        }),
        Command::Worker(options) => run_role("worker", Hangup::of_server(), move |stop| {
            roles::worker(&options, &stop)
        }),
        Command::Client(options) => run_role("client", Hangup::End, move |stop| roles::client(options, &stop)),
        Command::Ping(options) => run_role("ping", Hangup::End, move |stop| roles::ping(&options, &stop)),
    };
    match ended {
        Ok(exit) => exit.into(),
        // The role is stuck; its thread must not keep the process.
        Err(Unfinished::Signalled(signal)) => std::process::exit(Exit::of_signal(signal).code().into()),
        Err(error) => {
            style::error(&error);
            Exit::Usage.into()
        }
    }
}
