//! What is killed, stopped or interrupted in the middle of a request: nobody hangs, and the client says what ran.

#[path = "support/cluster.rs"]
mod cluster;

use std::io::Write as _;
use std::time::Duration;

use cluster::{Host, Process, eventually};
use rustix::process::{Pid, Signal, kill_process};

const SECOND: Duration = Duration::from_secs(1);

/// Answers the first request, and hangs in the second.
const HANGS_IN_THE_SECOND: &str = "[ $ZHIT_SEQ = 2 ] || exec cat; echo $$ > $ROOM/hangs; exec sleep 1000";

/// Starts and goes on when it may, then answers with its request.
const WAITS_FOR_GO: &str = "echo $$ > $ROOM/started; until [ -e $ROOM/go ]; do sleep 0.01; done; cat";

/// Ignores that it is told to end.
const IGNORES_SIGTERM: &str = "trap '' TERM; echo $$ > $ROOM/started; while :; do sleep 0.05; done";

/// Short times for what is judged by silence.
const QUICK: [&str; 4] = ["--interval", "100ms", "--patience", "500ms"];

fn kill_pid(text: &str) {
    let pid = text.parse().ok().and_then(Pid::from_raw).expect("a pid");
    kill_process(pid, Signal::KILL).expect("a handler of ours");
}

mod killed {
    use super::*;

    #[test]
    fn handler() {
        let host = Host::with_script(
            1,
            &[],
            "[ $ZHIT_SEQ = 2 ] || exec cat; echo $$ > $ROOM/pid; exec sleep 1000",
        );
        let client = host.client(&["a", "b", "c"]).start();
        kill_pid(&host.wait_for_file("pid"));
        // That request has failed; the Hit goes on.
        let ended = client.wait().code(1).wrote("a\nc\n");
        ended
            .says("request 2")
            .says("killed by SIGKILL (signal 9)")
            .within(SECOND);
        host.stop();
    }

    #[test]
    fn worker() {
        let mut host = Host::with_script(1, &[], HANGS_IN_THE_SECOND);
        let mut client = host.client(&["a", "b", "c"]).start();
        client.wait_for_stdout(2);
        host.wait_for_file("hangs");
        let worker = host.take_worker().end_by(Signal::KILL);
        assert_eq!(worker.code, 137);
        let ended = client.wait().code(6).wrote("a\n").within(SECOND);
        ended
            .says("its worker died")
            .says("request 1 was answered")
            .says("may have run without an answer");
        host.wait_for_handlers_end();
        host.wait_for_slots(0);
        // The next worker takes the number, and clears away what the dead one left.
        host.start_worker(&["--builtin", "whoami"]);
        host.wait_for_slots(1);
        let next = host.client(&["x"]).run().code(0);
        assert!(next.text().starts_with("alpha/w1/1 "), "{}", next.text());
        host.stop();
    }

    #[test]
    fn client() {
        let host = Host::with_script(1, &[], HANGS_IN_THE_SECOND);
        let mut client = host.client(&["--ttl", "500ms", "a", "b"]).start();
        client.wait_for_stdout(2);
        host.wait_for_file("hangs");
        client.end_by(Signal::KILL);
        // Its silence ends the Hit and the handler, and the slot serves the next.
        host.wait_for_handlers_end();
        host.wait_for_slots(1);
        host.client(&["x"]).run().code(0).wrote("x\n");
        host.stop();
    }

    #[test]
    fn broker_for_good() {
        let mut host = Host::with_script(1, &QUICK, HANGS_IN_THE_SECOND);
        let arguments = [&QUICK[..], &["--ttl", "1s", "a", "b", "c"]].concat();
        let mut client = host.client(&arguments).start();
        client.wait_for_stdout(2);
        host.wait_for_file("hangs");
        let broker = host.take_broker().end_by(Signal::KILL);
        assert_eq!(broker.code, 137);
        let ended = client.wait().code(6).wrote("a\n").within(2 * SECOND);
        ended
            .says("no broker answered")
            .says("request 1 was answered")
            .says("may have run");
        // A client that comes now finds nobody.
        host.client(&["--wait", "300ms", "x"]).run().code(4).within(SECOND);
        // The slot does not judge its client while it cannot hear it (rule A4); the next broker is told who is here.
        host.start_broker(&QUICK);
        host.wait_for_handlers_end();
        host.wait_for_slots(1);
        host.client(&["x"]).run().code(0).wrote("x\n");
        host.stop();
    }

    #[test]
    fn broker_and_another_comes_while_a_request_runs() {
        let mut host = Host::with_script(1, &[], WAITS_FOR_GO);
        let client = host.client(&["a", "b", "c"]).start();
        let handler = host.wait_for_file("started");
        host.take_broker().end_by(Signal::KILL);
        host.start_broker(&[]);
        host.wait_for("the Hit at the new broker", |pong| {
            pong.workers.iter().any(|worker| worker.busy == 1)
        });
        assert!(
            host.commands().len() >= 4,
            "broker, worker, client and the same handler: {:?}",
            host.commands()
        );
        assert!(std::fs::exists(format!("/proc/{handler}")).expect("/proc"));
        host.make_file("go");
        client.wait().code(0).wrote("a\nb\nc\n").within(10 * SECOND);
        host.wait_for_slots(1);
        host.stop();
    }

    #[test]
    fn broker_and_another_comes_amid_a_body() {
        const PIECE: usize = 1024 * 1024;
        let mut host = Host::serving(1, &["--", "cat"]);
        let mut client = host.client(&[]).hold_stdin().start();
        let mut stdin = client.stdin.take().expect("held");
        let body: Vec<u8> = (0..16 * PIECE).map(|at| (at % 251) as u8).collect();
        for (number, piece) in body.chunks(PIECE).enumerate() {
            stdin.write_all(piece).expect("the client reads");
            if number % 4 == 2 {
                host.take_broker().end_by(Signal::KILL);
                host.start_broker(&[]);
            }
        }
        drop(stdin);
        let ended = client.wait().code(0);
        assert!(
            ended.stdout == body,
            "{} of {} bytes came back right",
            ended.stdout.len(),
            body.len()
        );
        host.wait_for_slots(1);
        host.stop();
    }

    #[test]
    fn all_but_the_client() {
        let mut host = Host::with_script(1, &QUICK, HANGS_IN_THE_SECOND);
        let arguments = [&QUICK[..], &["--ttl", "1s", "a", "b"]].concat();
        let mut client = host.client(&arguments).start();
        client.wait_for_stdout(2);
        host.wait_for_file("hangs");
        host.take_broker().end_by(Signal::KILL);
        host.take_worker().end_by(Signal::KILL);
        client.wait().code(6).wrote("a\n").says("request 2").within(2 * SECOND);
        host.wait_for_handlers_end();
        // Both can be started again where their predecessors died.
        host.start_broker(&[]);
        host.start_worker(&[]);
        host.wait_for_slots(1);
        host.client(&["x"]).run().code(0).wrote("World\n");
        host.stop();
    }
}

/// Both signals that ask for an end.
const ENDS: [(Signal, i32); 2] = [(Signal::INT, 130), (Signal::TERM, 143)];

mod client_is_told_to_end {
    use super::*;

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
}

mod server_is_told_to_end {
    use super::*;

    #[test]
    fn idle() {
        for (signal, _) in ENDS {
            let mut host = Host::serving(2, &["--", "cat"]);
            host.client(&["x"]).run().code(0);
            host.take_worker().end_by(signal).code(0).within(Duration::ZERO);
            host.wait_for_slots(0);
            host.take_broker().end_by(signal).code(0).within(Duration::ZERO);
            host.assert_nothing_left();
        }
    }

    #[test]
    fn worker_that_never_met_a_broker() {
        for (signal, _) in ENDS {
            let mut host = Host::new();
            host.start_worker(&["--interval", "100ms"]).wait_for_stderr("no broker");
            host.take_worker().end_by(signal).code(0).within(Duration::ZERO);
            host.assert_nothing_left();
        }
    }

    #[test]
    fn worker_whose_broker_is_gone() {
        for (signal, _) in ENDS {
            let mut host = Host::serving(2, &[]);
            host.take_broker().end_by(Signal::KILL);
            host.worker().wait_for_stderr("the broker is");
            host.take_worker().end_by(signal).code(0).within(SECOND);
        }
    }

    #[test]
    fn worker_lets_what_runs_finish() {
        for (signal, _) in ENDS {
            let mut host = Host::with_script(1, &["--grace", "1m"], WAITS_FOR_GO);
            let client = host.client(&["x"]).start();
            host.wait_for_file("started");
            host.worker().signal(signal);
            host.worker().wait_for_stderr("leaving");
            host.client(&["--wait", "300ms", "late"]).run().code(5);
            host.make_file("go");
            client.wait().code(0).wrote("x\n");
            host.take_worker().wait().code(0);
            host.stop();
        }
    }

    #[test]
    fn worker_ends_what_outlasts_the_grace() {
        for (signal, _) in ENDS {
            let mut host = Host::with_script(1, &["--grace", "500ms"], WAITS_FOR_GO);
            let client = host.client(&["a", "b"]).start();
            host.wait_for_file("started");
            host.take_worker().end_by(signal).code(0).within(SECOND);
            let lost = client.wait().code(6).wrote("");
            lost.says("its worker was asked to end")
                .says("request 1 ran without an answer")
                .says("request 2 and later never ran");
            host.stop();
        }
    }

    #[test]
    fn worker_whose_handler_ignores_sigterm() {
        // The grace is longer than the slack, so that it cannot be spent twice unseen.
        let mut host = Host::with_script(1, &["--grace", "6s"], IGNORES_SIGTERM);
        let client = host.client(&["x"]).start();
        host.wait_for_file("started");
        host.take_worker().end_by(Signal::TERM).code(0).within(7 * SECOND);
        client
            .wait()
            .code(6)
            .says("its worker was asked to end")
            .says("request 1 ran without an answer");
        host.stop();
    }

    #[test]
    fn worker_whose_client_takes_nothing() {
        for (signal, _) in ENDS {
            let mut host = Host::with_script(1, &["--grace", "500ms"], "echo $$ > $ROOM/started; cat /dev/zero");
            let client = host.client(&["x"]).leave_stdout_unread().start();
            host.wait_for_file("started");
            host.take_worker().end_by(signal).code(0).within(SECOND);
            client.end_by(signal);
            host.stop();
        }
    }

    #[test]
    fn broker_lets_what_runs_finish() {
        for (signal, _) in ENDS {
            let mut host = Host::with_script(1, &[], WAITS_FOR_GO);
            let client = host.client(&["x"]).start();
            host.wait_for_file("started");
            host.broker().signal(signal);
            host.broker().wait_for_stderr("leaving");
            host.make_file("go");
            client.wait().code(0).wrote("x\n");
            host.take_broker().wait().code(0);
            host.stop();
        }
    }

    #[test]
    fn broker_leaves_when_its_grace_is_over_and_the_next_goes_on() {
        for (signal, _) in ENDS {
            let mut host = Host::with_script(1, &[], WAITS_FOR_GO);
            host.take_broker().end_by(signal).code(0);
            host.start_broker(&["--grace", "500ms"]);
            host.wait_for_slots(1);
            let client = host.client(&["x"]).start();
            host.wait_for_file("started");
            host.take_broker().end_by(signal).code(0).within(SECOND);
            host.start_broker(&[]);
            host.make_file("go");
            client.wait().code(0).wrote("x\n");
            host.stop();
        }
    }

    #[test]
    fn broker_twice() {
        for (signal, code) in ENDS {
            let mut host = Host::with_script(1, &[], WAITS_FOR_GO);
            let client = host.client(&["x"]).start();
            host.wait_for_file("started");
            host.broker().signal(signal);
            host.broker().wait_for_stderr("to finish");
            let ended = host.take_broker().end_by(signal).within(Duration::ZERO);
            assert!([0, code].contains(&ended.code), "{}", ended.code);
            // No Hit is lost by it.
            host.start_broker(&[]);
            host.make_file("go");
            client.wait().code(0).wrote("x\n");
            host.stop();
        }
    }

    #[test]
    fn worker_twice() {
        for (signal, code) in ENDS {
            // The handler's group is more than its leader.
            let script = "trap '' TERM; echo $$ > $ROOM/started; sleep 1000 | cat";
            let mut host = Host::with_script(1, &["--grace", "1m"], script);
            let client = host.client(&["x"]).start();
            host.wait_for_file("started");
            host.worker().signal(signal);
            host.worker().wait_for_stderr("to finish");
            let ended = host.take_worker().end_by(signal).within(Duration::ZERO);
            assert!([0, code].contains(&ended.code), "{}", ended.code);
            client.wait().code(6).says("its worker was asked to end").within(SECOND);
            host.stop();
        }
    }
}

mod stopped {
    use super::*;

    #[test]
    fn a_silent_worker_is_told_of_and_waited_for() {
        let mut host = Host::new();
        host.start_broker(&QUICK);
        host.start_worker(&[&QUICK[..], &["--", "sh", "-c", WAITS_FOR_GO]].concat());
        host.wait_for_slots(1);
        let mut client = host.client(&[&QUICK[..], &["x"]].concat()).start();
        host.wait_for_file("started");
        host.worker().signal(Signal::STOP);
        client.wait_for_stderr("alpha/w1/1 has been silent for");
        host.make_file("go");
        assert!(client.is_running(), "it waits");
        host.worker().signal(Signal::CONT);
        client.wait().code(0).wrote("x\n");
        host.stop();
    }

    #[test]
    fn a_client_that_was_stopped_goes_on() {
        let host = Host::with_script(1, &[], WAITS_FOR_GO);
        let mut client = host.client(&["x"]).start();
        host.wait_for_file("started");
        client.signal(Signal::STOP);
        host.make_file("go");
        host.wait_for_handlers_end_but(client.pid());
        client.signal(Signal::CONT);
        client.wait().code(0).quiet().wrote("x\n");
        host.stop();
    }

    #[test]
    fn a_broker_that_was_stopped_goes_on() {
        let mut host = Host::with_script(1, &QUICK, WAITS_FOR_GO);
        let client = host.client(&[&QUICK[..], &["x"]].concat()).start();
        host.wait_for_file("started");
        host.broker().signal(Signal::STOP);
        host.worker().wait_for_stderr("the broker is silent");
        host.make_file("go");
        host.wait_for_handlers_end_but(client.pid());
        host.broker().signal(Signal::CONT);
        client.wait().code(0).wrote("x\n");
        host.wait_for_slots(1);
        host.stop();
    }
}
