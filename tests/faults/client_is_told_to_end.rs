//! A client that is told to end, whatever it is doing.

use std::io::Write as _;

use rustix::fs::{CWD, Mode, mkfifoat};

use crate::cluster::{Host, Process, eventually};
use crate::{ENDS, SECOND, WAITS_FOR_GO};

/// The client ends by each signal within a second; then its slot is free and no handler left.
#[track_caller]
fn ends(host: Host, start: impl Fn(&Host) -> Process) {
    for (signal, code) in ENDS {
        let client = start(&host);
        client.end_by(signal).code(code).within(SECOND);
        host.wait_for_handlers_end();
        host.wait_for_slots(1);
    }
    host.stop();
}

#[test]
fn while_it_waits_for_a_broker() {
    for (signal, code) in ENDS {
        let host = Host::new();
        let mut client = host.client(&["--wait", "1m", "x"]).start();
        eventually("a thread that takes signals", || takes_signals(&client).then_some(()));
        assert!(client.is_running());
        client.end_by(signal).code(code).wrote("").within(SECOND);
    }
}

#[test]
fn while_it_waits_in_line() {
    let host = Host::serving(1, &[]);
    for (signal, code) in ENDS {
        let client = host.client(&["--pool", "none", "--wait", "1m", "x"]).start();
        host.wait_for("a client in line", |pong| pong.queued == 1);
        client.end_by(signal).code(code).within(SECOND);
        host.wait_for("nobody in line", |pong| pong.queued == 0);
    }
    host.stop();
}

#[test]
fn while_its_stdin_is_silent() {
    ends(Host::serving(1, &["--", "cat"]), |host| {
        let mut client = host.client(&["--lines"]).hold_stdin().start();
        let stdin = client.stdin.as_mut().expect("held");
        stdin.write_all(b"x\n").expect("the client reads");
        client.wait_for_stdout(2);
        client
    });
}

#[test]
fn while_its_request_runs() {
    ends(Host::with_script(1, &[], WAITS_FOR_GO), |host| {
        let client = host.client(&["x"]).start();
        host.wait_for_file("started");
        std::fs::remove_file(host.room().join("started")).expect("the file was seen");
        client
    });
}

#[test]
fn while_nobody_reads_its_replies() {
    ends(
        Host::with_script(1, &[], "echo $$ > $ROOM/started; cat /dev/zero"),
        |host| {
            let client = host.client(&["x"]).leave_stdout_unread().start();
            let pid = host.wait_for_file("started");
            std::fs::remove_file(host.room().join("started")).expect("the file was seen");
            wait_until_blocked(&client, &pid);
            client
        },
    );
}

#[test]
fn while_nobody_reads_its_request() {
    ends(
        Host::with_script(1, &[], "echo $$ > $ROOM/started; exec sleep 1000"),
        |host| {
            let client = host.client(&[]).stdin(vec![b'x'; 16 * 1024 * 1024]).start();
            host.wait_for_file("started");
            std::fs::remove_file(host.room().join("started")).expect("the file was seen");
            client
        },
    );
}

#[test]
fn alone_with_all_it_needs() {
    for (signal, code) in ENDS {
        let host = Host::new();
        let client = host.client(&["--local", "--handler", WAITS_FOR_GO, "x"]);
        let temporary = host.room().join("tmp");
        std::fs::create_dir(&temporary).expect("a directory");
        let client = client.env("TMPDIR", &temporary).start();
        host.wait_for_file("started");
        client.end_by(signal).code(code).within(SECOND);
        assert_eq!(std::fs::read_dir(&temporary).expect("it is there").count(), 0);
        host.assert_nothing_left();
    }
}

/// Whether SIGTERM has a handler already.
fn takes_signals(process: &Process) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.pid())).unwrap_or_default();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let caught = caught.and_then(|digits| u64::from_str_radix(digits.trim(), 16).ok());
    caught.is_some_and(|caught| caught >> 14 & 1 == 1)
}

/// Waits until credit has run out: the handler is stuck in a write, as its client is.
fn wait_until_blocked(client: &Process, handler: &str) {
    let (mut before, mut same) = (0, 0);
    eventually("everything stands still", || {
        let written = [client.pid().to_string(), handler.to_owned()]
            .map(|pid| ticks(&pid))
            .iter()
            .sum();
        same = if written == before { same + 1 } else { 0 };
        before = written;
        (same >= 25).then_some(())
    });
}

/// Processor time that a process has used, in ticks.
fn ticks(pid: &str) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split(' ');
    fields
        .skip(12)
        .take(2)
        .filter_map(|ticks| ticks.parse::<u64>().ok())
        .sum()
}

/// Before there is anything to end well, a signal ends it as it ends any process.
#[test]
fn while_it_reads_its_layout() {
    for (signal, code) in ENDS {
        let host = Host::new();
        let layout = host.room().join("layout.yaml");
        mkfifoat(CWD, &layout, Mode::RUSR | Mode::WUSR).expect("a pipe");
        let path = layout.to_str().expect("a path in UTF-8");
        let client = host.client(&["--layout", path, "x"]).start();
        let silent = std::fs::File::options().write(true).open(&layout).expect("it is read");
        client.end_by(signal).code(code).within(SECOND);
        drop(silent);
    }
}
