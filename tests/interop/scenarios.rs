//! What holds for every client with every worker.

use std::env;
use std::fmt::Write as _;
use std::io::Write as _;

use rustix::process::Signal;
use xxhash_rust::xxh3::Xxh3;

use crate::SECOND;
use crate::pairing::{Pairing, Side};

/// Large bodies are written in pieces of this size.
const PIECE_BYTES: usize = 256 * 1024;

/// No process of zhit or of Python takes more memory, whatever a body's size.
const PEAK_KIB_MAX: u64 = 128 * 1024;

/// How large a large body is.
fn large() -> usize {
    let text = env::var("ZHIT_INTEROP_BYTES").unwrap_or_else(|_| (16 * 1024 * 1024).to_string());
    text.parse().expect("ZHIT_INTEROP_BYTES is a number")
}

/// Piece `number` of a large body: no two are alike.
fn piece(number: usize) -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..PIECE_BYTES).map(|at| (at % 251) as u8).collect();
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    bytes
}

pub(crate) fn requests_in_order(mut pairing: Pairing) {
    pairing.obeys(2);
    pairing
        .client(&["a", "", "b c"])
        .run()
        .code(0)
        .quiet()
        .wrote("a\n\nb c\n");
    pairing.client(&["again"]).run().code(0).quiet().wrote("again\n");
    pairing.wait_until_idle(2);
    pairing.stop();
}

pub(crate) fn bodies_are_exact(mut pairing: Pairing) {
    pairing.echoes(1);
    let every_byte: Vec<u8> = (0..=255).collect();
    let inline_and_one = [&[b'i'; 8192][..], b"1"].concat();
    for body in [
        b"",
        &b"\n"[..],
        b"a\r\nb\0",
        &every_byte,
        &inline_and_one,
        &piece(1)[1..],
    ] {
        let ended = pairing.client(&[]).stdin(body).run().code(0).quiet();
        assert!(ended.stdout == body, "{} of {} bytes", ended.stdout.len(), body.len());
    }
    pairing.stop();
}

pub(crate) fn many_small_requests(mut pairing: Pairing) {
    pairing.echoes(1);
    let lines = (1..=3000).fold(String::new(), |mut lines, number| {
        let _ = writeln!(lines, "{number}");
        lines
    });
    let client = pairing.client(&["--lines"]).stdin(lines.clone());
    client.run().code(0).quiet().wrote(&lines);
    pairing.stop();
}

pub(crate) fn a_handler_that_fails(mut pairing: Pairing) {
    pairing.obeys(1);
    let ended = pairing.client(&["a", "fail", "b"]).run().code(1).wrote("a\nb\n");
    ended.says("request 2").says("it said no");
    pairing.stop();
}

pub(crate) fn a_deadline(mut pairing: Pairing) {
    pairing.obeys(1);
    let ended = pairing.client(&["--timeout", "500ms", "a", "hang", "b"]).run();
    ended.code(124).wrote("a\nb\n").says("request 2").within(SECOND);
    pairing.wait_until_idle(1);
    pairing.stop();
}

pub(crate) fn a_large_body(mut pairing: Pairing) {
    pairing.echoes(1);
    send_large(&pairing, |_| ());
    pairing.wait_until_idle(1);
    let peak = pairing.host.peak_kib();
    assert!(peak < PEAK_KIB_MAX, "a worker held {peak} KiB");
    pairing.stop();
}

pub(crate) fn a_broker_that_is_killed_amid_a_body(mut pairing: Pairing) {
    pairing.echoes(1);
    let pieces = large() / PIECE_BYTES;
    send_large(&pairing, |number| {
        if number == pieces / 3 || number == pieces / 2 {
            pairing.kill_broker();
        }
    });
    pairing.wait_until_idle(1);
    pairing.stop();
}

/// Sends a large body and sees it come back; `before` each of its pieces.
#[track_caller]
fn send_large(pairing: &Pairing, before: impl Fn(usize)) {
    let mut client = pairing.client(&[]).hold_stdin().digest_stdout().start();
    let mut stdin = client.stdin.take().expect("held");
    let (mut hash, mut sent) = (Xxh3::new(), 0);
    for number in 0..large() / PIECE_BYTES {
        before(number);
        let bytes = piece(number);
        hash.update(&bytes);
        sent += bytes.len();
        stdin.write_all(&bytes).expect("the client reads");
    }
    drop(stdin);
    client.wait_for_stdout(sent);
    assert_eq!(client.digest(), hash.digest(), "what came back is not what was sent");
    client.wait().code(0);
}

pub(crate) fn a_broker_that_is_killed_while_a_request_runs(mut pairing: Pairing) {
    pairing.obeys(1);
    let client = pairing.client(&["a", "wait", "b"]).start();
    pairing.host.wait_for_file("started");
    pairing.kill_broker();
    pairing.host.wait_for("the Hit at the new broker", |pong| {
        pong.workers.iter().any(|worker| worker.busy == 1)
    });
    pairing.host.make_file("go");
    client.wait().code(0).wrote("a\nwaited\nb\n").within(10 * SECOND);
    pairing.wait_until_idle(1);
    pairing.stop();
}

pub(crate) fn a_worker_that_is_killed(mut pairing: Pairing) {
    pairing.obeys(1);
    let client = pairing.client(&["a", "hang", "b"]).start();
    pairing.host.wait_for_file("hangs");
    pairing.take_worker().end_by(Signal::KILL);
    let ended = client
        .wait()
        .code(6)
        .wrote("a\n")
        .within(2 * SECOND)
        .says("its worker died");
    match (pairing.client, pairing.worker) {
        // A journal knows what ran; without one everything that was sent may have (rule O7).
        (Side::Rust, Side::Rust) => ended
            .says("request 1 was answered")
            .says("request 2 ran without an answer")
            .says("request 3 and later never ran"),
        (Side::Rust, Side::Python) => ended
            .says("request 1 was answered")
            .says("requests 2 to 3 may have run without an answer"),
        (Side::Python, Side::Rust) => ended.says("answered: 1; may have run without an answer: 2\n"),
        (Side::Python, Side::Python) => ended.says("answered: 1; may have run without an answer: 2 to 3\n"),
    };
    pairing.stop();
}

pub(crate) fn a_worker_that_is_told_to_end(mut pairing: Pairing) {
    pairing.obeys(2);
    let client = pairing.client(&["a", "wait", "b"]).start();
    pairing.host.wait_for_file("started");
    let mut worker = pairing.take_worker();
    worker.signal(Signal::TERM);
    // The slot that serves finishes; nothing new is taken.
    pairing.host.wait_for("one slot that drains", |pong| {
        pong.workers
            .iter()
            .any(|worker| worker.pool == "default" && worker.draining && worker.slots == 1)
    });
    pairing.client(&["--wait", "100ms", "c"]).run().code(5);
    pairing.host.make_file("go");
    client.wait().code(0).wrote("a\nwaited\nb\n");
    worker.wait().code(0);
    pairing.stop();
}

pub(crate) fn a_client_that_is_killed(mut pairing: Pairing) {
    pairing.obeys(1);
    let client = pairing.client(&["--ttl", "1s", "hang"]).start();
    pairing.host.wait_for_file("hangs");
    client.end_by(Signal::KILL);
    // Its silence ends the Hit, and the slot serves the next.
    pairing.wait_until_idle(1);
    pairing.client(&["x"]).run().code(0).quiet().wrote("x\n");
    pairing.stop();
}
