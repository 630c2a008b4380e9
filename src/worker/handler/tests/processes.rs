//! A process per request: its body, its reply, what it knows and what it inherits.

use super::*;

#[test]
fn body_goes_through_a_process_and_comes_back() {
    let body = bulk(10_000_000);
    let bench = Bench::words(&["cat"]).with_body(body.clone()).run();
    assert_eq!(bench.status(), Status::Ok);
    assert_eq!(bench.note(), "");
    assert!(bench.reply == body.concat());
    assert_eq!(bench.running.taken(), 10_000_000);
    assert_eq!(bench.running.bytes_out(), 10_000_000);
}

#[test]
fn sort_answers_after_the_end_of_its_body() {
    let body = vec![Bytes::from_static(b"b\nc\n"), Bytes::from_static(b"a\n")];
    let bench = Bench::words(&["sort"]).with_body(body).run();
    assert_eq!((bench.text(), bench.status()), ("a\nb\nc\n", Status::Ok));
}

#[test]
fn exit_codes_and_signals_become_the_status() {
    let bench = Bench::words(&["false"]).run();
    assert_eq!((bench.status(), bench.note()), (Status::Exit(1), "false: exit 1"));
    let bench = Bench::shell("exit 3").run();
    assert_eq!((bench.status(), bench.note()), (Status::Exit(3), "exit 3: exit 3"));
    let bench = Bench::shell("kill -KILL $$").run();
    assert_eq!(bench.status(), Status::Signal(9));
    assert_eq!(bench.note(), "kill -KILL $$: killed by SIGKILL (signal 9)");
}

#[test]
fn standard_error_comes_apart() {
    let bench = Bench::shell("echo out; echo err >&2; exit 4").run();
    assert_eq!((bench.text(), bench.stderr.as_slice()), ("out\n", b"err\n".as_slice()));
    assert_eq!(bench.status(), Status::Exit(4));
    assert_eq!(bench.running.stderr_tail(), b"err\n");
    let bench = Bench::shell("seq 100000 >&2; echo last >&2").run();
    assert_eq!(bench.running.stderr_tail().len(), 2048);
    assert!(bench.running.stderr_tail().ends_with(b"100000\nlast\n"));
}

#[test]
fn words_are_never_seen_by_a_shell() {
    let bench = Bench::words(&["printf", "%s", "$HOME; `id` *"]).run();
    assert_eq!(bench.text(), "$HOME; `id` *");
}

#[test]
fn handler_knows_its_request() {
    let script = "printf '%s ' $ZHIT_HIT_ID $ZHIT_SEQ $ZHIT_POOL $ZHIT_SLOT $ZHIT_HOST; cd \"$ZHIT_DIR\" && pwd";
    let bench = Bench::shell(script).run();
    let dir = bench.dir.0.join("scratch/w3-2-cdcdcdcd");
    assert_eq!(bench.text(), format!("{HIT} 7 default w3/2 alpha {}\n", dir.display()));
    assert!(dir.is_dir());
}

#[test]
fn handler_inherits_three_files_and_no_signal_settings() {
    let careless = rustix::fs::open("/dev/null", rustix::fs::OFlags::RDONLY, rustix::fs::Mode::empty()).unwrap();
    let bench = Bench::shell("ls /proc/self/fd | tr '\\n' ' '; grep -E 'Sig(Blk|Ign)' /proc/self/status").run();
    drop(careless);
    // 3 is the directory that `ls` reads.
    assert!(bench.text().starts_with("0 1 2 3 "), "{}", bench.text());
    let sigpipe = 1 << (Signal::PIPE.as_raw() - 1);
    let masks: Vec<u64> = bench
        .text()
        .lines()
        .filter_map(|line| line.rsplit_once('\t'))
        .map(|(_, mask)| u64::from_str_radix(mask, 16).unwrap())
        .collect();
    assert_eq!(masks.len(), 2);
    assert_eq!((masks[0], masks[1] & sigpipe), (0, 0));
}

#[test]
fn handler_leads_a_group_of_its_own() {
    let bench = Bench::shell("echo $$ $(ps -o pgid= -p $$ 2>/dev/null || cut -d' ' -f5 /proc/$$/stat)").run();
    let numbers: Vec<&str> = bench.text().split_whitespace().collect();
    assert_eq!(numbers[0], numbers[1]);
}

#[test]
fn handler_may_close_its_input_early() {
    let bench = Bench::words(&["head", "-c3"]).with_body(bulk(20_000_000)).run();
    assert_eq!(
        (bench.reply.as_slice(), bench.status()),
        (&bulk(3).concat()[..], Status::Ok)
    );
}

#[test]
fn what_a_living_handler_does_not_want_is_discarded() {
    // It is done with its input long before it ends.
    let bench = Bench::shell("exec <&-; sleep 0.3").with_body(bulk(5_000_000)).run();
    assert_eq!(bench.status(), Status::Ok);
    assert_eq!(bench.running.taken(), 5_000_000);
}

#[test]
fn handler_that_never_reads_is_not_fed_without_bound() {
    let bench = Bench::shell("sleep 0.2; echo done").with_body(bulk(50_000_000)).run();
    assert_eq!((bench.text(), bench.status()), ("done\n", Status::Ok));
    assert!(bench.running.taken() < 4_000_000, "{}", bench.running.taken());
}

#[test]
fn unasked_output_comes_whole_within_a_small_room() {
    let mut bench = Bench::words(&["head", "-c", "100000000", "/dev/zero"]);
    bench.room = 300_000;
    let bench = bench.run();
    assert_eq!((bench.reply.len(), bench.status()), (100_000_000, Status::Ok));
}

#[test]
fn flood_on_standard_error_does_not_starve_the_reply() {
    let mut bench = Bench::shell("yes >&2 & head -c 1000000 /dev/zero; kill $!");
    bench.room = 65_536;
    let bench = bench.run();
    assert_eq!((bench.reply.len(), bench.status()), (1_000_000, Status::Ok));
}
