//! Whoever is killed, in the middle of a request.

use std::io::Write as _;

use rustix::process::{Pid, Signal, kill_process};

use crate::cluster::Host;
use crate::{HANGS_IN_THE_SECOND, QUICK, SECOND, WAITS_FOR_GO};

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
        // Its journal knows (rule O9).
        .says("request 2 ran without an answer")
        .says("request 3 and later never ran");
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

fn kill_pid(text: &str) {
    let pid = text.parse().ok().and_then(Pid::from_raw).expect("a pid");
    kill_process(pid, Signal::KILL).expect("a handler of ours");
}
