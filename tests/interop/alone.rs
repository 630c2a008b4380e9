//! What concerns the module in Python alone.

use std::fs;

use rustix::process::Signal;

use crate::SECOND;
use crate::pairing::{Pairing, Side};
use crate::python::repository;

#[test]
fn its_codec_agrees_with_the_vectors() {
    let Some(pairing) = Pairing::new(Side::Python, Side::Python) else {
        return;
    };
    let test = pairing.python(&repository("tests/interop/codec_test.py"), &[]);
    test.run().code(0).says("OK");
    pairing.stop();
}

#[test]
fn its_readme_runs() {
    let Some(mut pairing) = Pairing::new(Side::Rust, Side::Rust) else {
        return;
    };
    let text = fs::read_to_string(repository("examples/python/README.md")).expect("the README");
    let snippets = text.split("```python\n").skip(1);
    for snippet in snippets {
        let (code, _) = snippet.split_once("```").expect("its end");
        let name = code.trim_start_matches("# ").split(':').next().expect("its name");
        fs::write(pairing.host.room().join(name), code).expect("a file");
    }
    pairing.echoes(1);
    let ask = pairing.python(&pairing.host.room().join("ask.py"), &[]).run().code(0);
    let size = fs::metadata(repository("examples/python/zhit.py"))
        .expect("the module")
        .len();
    assert_eq!(
        ask.text(),
        format!("alpha/w2/1 b'Hello'\n[b'one', b'two']\n{size} bytes came back\n")
    );
    let serve = pairing.python(&pairing.host.room().join("serve.py"), &[]).start();
    pairing.host.add_worker(serve);
    pairing.host.wait_for_slots(4);
    let client = pairing.client(&["--pool", "upper", "hello", "you"]);
    client.run().code(0).quiet().wrote("HELLO\nYOU\n");
    pairing.stop();
}

#[test]
fn a_hit_stays_on_the_thread_on_which_its_handler_was_made() {
    let Some(mut pairing) = Pairing::new(Side::Rust, Side::Python) else {
        return;
    };
    pairing.obeys(3);
    for _ in 0..4 {
        let client = pairing.client(&["thread", "thread"]);
        client.run().code(0).wrote("same thread\nsame thread\n");
    }
    pairing.stop();
}

#[test]
fn its_hops_are_measured_and_nobody_is_asked_straight() {
    let Some(mut pairing) = Pairing::new(Side::Rust, Side::Python) else {
        return;
    };
    pairing.echoes(1);
    let arguments = ["ping", "--hops", "--count", "5", "--request", "x", "--format", "json"];
    let text = pairing.host.zhit(&arguments).run().code(0).quiet().text();
    let all: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let hops = all["hops"].as_array().expect("hops");
    let counts: Vec<_> = hops.iter().map(|hop| (&hop["count"], &hop["lost"])).collect();
    let [five, none] = [5, 0].map(serde_json::Value::from);
    let each = (&five, &none);
    assert_eq!(counts, [each, each, each, (&none, &none), each], "{all}");
    assert_eq!(hops[3]["why"], "the slot names no socket of its own");
    pairing.wait_until_idle(1);
    pairing.stop();
}

#[test]
fn its_client_says_why_it_has_no_slot() {
    let Some(pairing) = Pairing::new(Side::Python, Side::Rust) else {
        return;
    };
    let none = pairing.client(&["--wait", "200ms", "--pool", "none", "x"]).run();
    none.code(5).wrote("").says("NoSlot").within(SECOND);
    let elsewhere = pairing.client(&["--wait", "200ms", "x"]).env("ZHIT_HOST", "beta").run();
    elsewhere.code(4).wrote("").says("NoBroker").within(SECOND);
    pairing.stop();
}

/// A thread cannot be killed: the process ends instead, and the client is told that its request may have run.
#[test]
fn a_handler_that_does_not_end_ends_with_its_worker() {
    let Some(mut pairing) = Pairing::new(Side::Rust, Side::Python) else {
        return;
    };
    pairing.obeys(1);
    let client = pairing.client(&["a", "stuck"]).start();
    pairing.host.wait_for_file("stuck");
    let mut worker = pairing.take_worker();
    worker.signal(Signal::TERM);
    worker.wait_for_stderr("leaves");
    worker.end_by(Signal::TERM).code(1).within(2 * SECOND);
    let ended = client.wait().code(6).wrote("a\n");
    ended.says("request 2 may have run without an answer");
    pairing.stop();
}
