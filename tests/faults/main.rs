//! What is killed, stopped or interrupted in the middle of a request: nobody hangs, and the client says what ran.

#[path = "../support/cluster.rs"]
mod cluster;

mod client_is_told_to_end;
mod hung;
mod killed;
mod office;
mod server_is_told_to_end;
mod stopped;
mod storm;

use std::time::Duration;

use rustix::process::Signal;

const SECOND: Duration = Duration::from_secs(1);

/// Answers the first request, and hangs in the second.
const HANGS_IN_THE_SECOND: &str = "[ $ZHIT_SEQ = 2 ] || exec cat; echo $$ > $ROOM/hangs; exec sleep 1000";

/// Starts and goes on when it may, then answers with its request.
const WAITS_FOR_GO: &str = "echo $$ > $ROOM/started; until [ -e $ROOM/go ]; do sleep 0.01; done; cat";

/// Ignores that it is told to end.
const IGNORES_SIGTERM: &str = "trap '' TERM; echo $$ > $ROOM/started; while :; do sleep 0.05; done";

/// Short times for what is judged by silence.
const QUICK: [&str; 4] = ["--interval", "100ms", "--patience", "500ms"];

/// Both signals that ask for an end.
const ENDS: [(Signal, i32); 2] = [(Signal::INT, 130), (Signal::TERM, 143)];
