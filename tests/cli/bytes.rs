//! Bytes: exact for stdin, one newline at the end of each reply for arguments and lines; JSON objects.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt as _;

use serde_json::Value;

use crate::cluster::Host;

#[test]
fn stdin_is_one_request_and_its_reply_is_exact() {
    let host = Host::serving(2, &["--builtin", "echo"]);
    let every_byte: Vec<u8> = (0..=255).collect();
    for body in [&b""[..], b"x", b"x\n", b"\n\n", b"a\r\nb\0", &every_byte] {
        let ended = host.client(&[]).stdin(body).run().code(0).quiet();
        assert_eq!(ended.stdout, body);
    }
    host.stop();
}

#[test]
fn replies_to_arguments_end_with_one_newline() {
    let host = Host::serving(2, &["--builtin", "echo"]);
    host.client(&["a", "b\n", "", "c\n\n", "d\ne"])
        .run()
        .code(0)
        .quiet()
        .wrote("a\nb\n\nc\n\nd\ne\n");
    let odd = host
        .client(&[])
        .arg(OsStr::from_bytes(b"\xff\xfe"))
        .arg("ü")
        .run()
        .code(0)
        .quiet();
    assert_eq!(odd.stdout, b"\xff\xfe\n\xc3\xbc\n");
    let long = "x".repeat(100_000);
    host.client(&[&long, "y"])
        .run()
        .code(0)
        .quiet()
        .wrote(&format!("{long}\ny\n"));
    host.client(&["--", "--version"]).run().code(0).wrote("--version\n");
    host.stop();
}

/// A socket that took the number of a closed standard stream would get what is meant for a person.
#[test]
fn closed_standard_streams_are_no_sockets() {
    let host = Host::serving(1, &[]);
    for (closed, wrote) in [("<&-", "World\n"), (">&-", ""), ("<&- >&- 2>&-", "")] {
        let script = format!("exec \"$0\" client x {closed}");
        let shell = host.run_program("sh", &["-c", &script, env!("CARGO_BIN_EXE_zhit")]);
        shell.run().code(0).quiet().wrote(wrote);
    }
    host.stop();
}

#[test]
fn each_line_is_a_request() {
    let host = Host::serving(2, &["--builtin", "echo"]);
    for (lines, replies) in [
        ("", ""),
        ("a", "a\n"),
        ("a\n", "a\n"),
        ("a\n\nb\n", "a\n\nb\n"),
        ("\n", "\n"),
        ("a\r\nb", "a\r\nb\n"),
    ] {
        host.client(&["--lines"])
            .stdin(lines)
            .run()
            .code(0)
            .quiet()
            .wrote(replies);
    }
    host.stop();
}

#[test]
fn a_hundred_thousand_lines_come_back_in_order() {
    let host = Host::serving(1, &["--builtin", "echo"]);
    let lines = (1..=100_000).fold(String::new(), |mut lines, number| {
        let _ = writeln!(lines, "{number}");
        lines
    });
    let ended = host.client(&["--lines"]).stdin(lines.clone()).run().code(0).quiet();
    assert!(
        ended.stdout == lines.as_bytes(),
        "{} of {} bytes",
        ended.stdout.len(),
        lines.len()
    );
    host.stop();
}

#[test]
fn a_line_is_answered_before_the_next_is_there() {
    use std::io::Write as _;
    let host = Host::serving(1, &["--builtin", "echo"]);
    let mut client = host.client(&["--lines"]).hold_stdin().start();
    for (line, seen) in [("one\n", 4), ("two\n", 8)] {
        client
            .stdin
            .as_mut()
            .expect("held")
            .write_all(line.as_bytes())
            .expect("the client reads");
        client.wait_for_stdout(seen);
    }
    client.stdin = None;
    client.wait().code(0).quiet().wrote("one\ntwo\n");
    host.stop();
}

/// The objects that a client printed, one a line.
fn objects(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).expect("an object a line"))
        .collect()
}

#[test]
fn json_is_an_object_per_reply() {
    let script = "cat; [ $ZHIT_SEQ != 2 ] || exit 3";
    let host = Host::with_script(1, &[], script);
    let client = host
        .client(&["--format", "json", "a", "b", "c\n"])
        .arg(OsStr::from_bytes(b"\xff"));
    let ended = client.run().code(1);
    let seen = objects(&ended.text());
    assert_eq!(seen.len(), 4);
    for (number, (object, (status, bytes))) in
        (1..).zip(seen.iter().zip([("ok", 1), ("exit 3", 1), ("ok", 2), ("ok", 1)]))
    {
        assert_eq!(object["seq"], number);
        assert_eq!(object["status"], status);
        assert_eq!(object["bytes"], bytes);
        assert_eq!(object["slot"], "alpha/w1/1");
        assert!(
            object["elapsed_ms"].as_f64().is_some_and(|elapsed| elapsed > 0.0),
            "{object}"
        );
    }
    assert_eq!(seen[2]["body"], "c\n");
    assert_eq!(seen[3]["body_hex"], "ff");
    assert!(
        seen[1]["note"].as_str().is_some_and(|note| note.contains("exit 3")),
        "{}",
        seen[1]
    );
    let whole = host.client(&["--format", "json"]).stdin("x\n").run().code(0).quiet();
    assert_eq!(objects(&whole.text())[0]["body"], "x\n");
    host.stop();
}
