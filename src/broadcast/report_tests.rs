use super::*;
use crate::broadcast::gather::Gather;
use crate::broadcast::testing::{ID, answer, at, config, gone, roster};
use crate::protocol::pool::{Fate, Ran};

/// A broadcast to w1, w2 …, which answer so; `None`: it has died.
fn gather(answers: &[Option<(Status, &'static str)>]) -> Gather {
    let (mut gather, mut out) = (Gather::new(at(0), config(&["alpha"])), Vec::new());
    gather.on_message(at(0), 0, roster("alpha", answers.len() as u32), &mut out);
    for (number, said) in (1..).zip(answers) {
        let message = match said {
            Some((status, body)) => answer(number, *status, if status.is_ok() { "" } else { "no disk" }, body),
            None => gone(number, Fate::Died, 100, Ran::Unknown),
        };
        gather.on_message(at(12), 0, message, &mut out);
    }
    gather
}

fn report(format: ReportFormat, folded: bool, out: Screen) -> Report {
    Report {
        format,
        folded,
        out,
        err: Screen::PLAIN,
    }
}

fn closed(report: Report, gather: &Gather) -> (String, String) {
    let parts = (gather.seats(), gather.books());
    let said = report.closed(at(1840), ID, parts, Duration::from_millis(1845));
    (String::from_utf8(said.out).unwrap(), said.err)
}

#[test]
fn each_line_has_its_members_name_and_failures_are_told_apart() {
    let gather = gather(&[Some((Status::Ok, "a\nb")), Some((Status::Exit(3), "")), None]);
    let text = report(ReportFormat::Text, false, Screen::PLAIN);
    let said: Vec<Said> = gather.seats().iter().map(|seat| text.settled(at(12), seat)).collect();
    assert_eq!(said[0].out, b"alpha/w1: a\nalpha/w1: b\n");
    assert_eq!(said[0].err, "");
    assert_eq!(said[1].err, "alpha/w2 failed: exit 3: no disk\n");
    assert_eq!(
        said[2].err,
        "alpha/w3 dead: its process ended without goodbye 0.1s ago\n"
    );
    let (out, err) = closed(text, &gather);
    assert_eq!(out, "");
    assert_eq!(err, "expected 3 = 1 ok + 1 failed + 1 dead in 1.84s\n");
}

#[test]
fn what_comes_from_the_network_does_nothing_to_a_terminal() {
    let gather = gather(&[Some((Status::Ok, "a\x1b[2Jb\n"))]);
    let shown = |out| {
        report(ReportFormat::Text, false, out)
            .settled(at(12), &gather.seats()[0])
            .out
    };
    assert!(!shown(Screen::terminal(80, false)).contains(&0x1b));
    assert!(shown(Screen::PLAIN).contains(&0x1b), "a file gets the bytes");
}

#[test]
fn identical_replies_are_folded_the_many_first() {
    let ok = |text| Some((Status::Ok, text));
    let gather = gather(&[
        ok("2"),
        ok("1"),
        ok("1"),
        ok("1"),
        Some((Status::Exit(1), "1")),
        ok("2"),
    ]);
    let (out, err) = closed(report(ReportFormat::Text, true, Screen::PLAIN), &gather);
    assert_eq!(
        out,
        "alpha/w[2-4] (3)\n  1\nalpha/w[1,6] (2)\n  2\nalpha/w5 (1) [exit 1]\n  1\n"
    );
    assert!(err.starts_with("alpha/w5 failed: exit 1: no disk\n"), "{err}");
}

#[test]
fn json_tells_all_of_it() {
    let gather = gather(&[Some((Status::Ok, "yes\n")), None]);
    let (out, _) = closed(report(ReportFormat::Json, false, Screen::PLAIN), &gather);
    let whole: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(whole["books"]["expected"], 2);
    assert_eq!(whole["books"]["dead"], 1);
    assert_eq!(whole["members"][0]["reply"], "yes\n");
    assert_eq!(whole["members"][1]["verdict"], "dead");
    let said = report(ReportFormat::Jsonl, false, Screen::PLAIN).settled(at(12), &gather.seats()[1]);
    let one: serde_json::Value = serde_json::from_slice(&said.out).unwrap();
    assert_eq!(
        (&one["member"], &one["status"]),
        (&"alpha/w2".into(), &serde_json::Value::Null)
    );
    assert!(one["evidence"].as_str().unwrap().contains("without goodbye"));
}

#[test]
fn the_exit_code_is_that_of_the_worst() {
    let code = |answers: &[_], timed_out, largest| {
        let gather = gather(answers);
        exit(gather.seats(), gather.books(), timed_out, largest).code()
    };
    let (ok, failed) = (Some((Status::Ok, "")), Some((Status::Exit(7), "")));
    assert_eq!(code(&[ok, ok], false, false), 0);
    assert_eq!(code(&[ok, failed], false, false), 1);
    assert_eq!(code(&[ok, failed, Some((Status::Signal(9), ""))], false, true), 137);
    assert_eq!(code(&[ok, failed, None], false, true), 3);
    assert_eq!(code(&[ok, failed, None], true, true), 124);
}

#[test]
fn a_job_log_has_parallels_columns() {
    let gather = gather(&[Some((Status::Ok, "yes")), Some((Status::Signal(9), "")), None]);
    let log = joblog(at(20), (1000, at(0)), gather.seats(), 6, "reload");
    let rows: Vec<Vec<&str>> = log.lines().map(|row| row.split('\t').collect()).collect();
    assert_eq!(
        rows[0].join(" "),
        "Seq Host Starttime JobRuntime Send Receive Exitval Signal Command"
    );
    assert_eq!(
        rows[1],
        ["1", "alpha/w1", "1000.000", "0.012", "6", "3", "0", "0", "reload"]
    );
    assert_eq!(rows[2][6..8], ["0", "9"]);
    assert_eq!(rows[3][6..8], ["-1", "0"]);
}
