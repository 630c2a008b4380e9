//! Parses the command line, hands the role to a thread, keeps the signals, exits.

use std::process::ExitCode;

use zhit::cli::{self, Command};
use zhit::exit::Exit;
use zhit::roles;
use zhit::signals::{Ended, HangUp, Stop, run_role};
use zhit::term::style;

fn main() -> ExitCode {
    let command = cli::parse();
    let stop = match Stop::new() {
        Ok(stop) => stop,
        Err(error) => return fail(&error),
    };
    let (name, hang_up) = match &command {
        Command::Broker(_) => ("broker", HangUp::EndsOnTerminal),
        Command::Worker(_) => ("worker", HangUp::EndsOnTerminal),
        Command::Client(_) => ("client", HangUp::Ends),
        Command::Ping(_) => ("ping", HangUp::Ends),
    };
    let told = stop.clone();
    let ended = run_role(name, hang_up, &stop, move || match command {
        Command::Broker(options) => roles::broker(&options, &told),
        Command::Worker(options) => roles::worker(&options, &told),
        Command::Client(options) => roles::client(options, &told),
        Command::Ping(options) => {
            let _ = options;
            Exit::Usage
        }
    });
    match ended {
        Ok(Ended::Returned(exit)) => exit.into(),
        // The role may be stuck; its thread must not keep the process.
        Ok(Ended::Forced(signal)) => std::process::exit(Exit::Signal(signal).code().into()),
        Ok(Ended::Panicked) => ExitCode::from(101),
        Err(error) => fail(&error),
    }
}

fn fail(error: &dyn std::fmt::Display) -> ExitCode {
    style::error(error);
    Exit::Usage.into()
}
