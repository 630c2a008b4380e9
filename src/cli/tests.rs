//! Tests of the flag table itself, and of what its lines turn into.

use std::os::unix::ffi::OsStringExt as _;
use std::time::Duration;

use super::*;
use crate::options::{Handler, Input, Place, Timing};
use crate::protocol::ids;

fn read(line: &str) -> Result<Command, clap::Error> {
    convert::parse_from(line.split_whitespace().map(OsString::from), false)
}

fn refusal(line: &str) -> String {
    let error = read(line).expect_err(line);
    assert_eq!(error.exit_code(), 2, "{line}");
    error.to_string()
}

fn client(line: &str) -> ClientOptions {
    match read(line).expect(line) {
        Command::Client(options) => options,
        other => panic!("{line}: {other:?}"),
    }
}

fn worker(line: &str) -> WorkerOptions {
    match read(line).expect(line) {
        Command::Worker(options) => options,
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn the_flag_table_is_sound() {
    command().debug_assert();
}

#[test]
fn every_flag_has_help_and_every_value_a_name() {
    let mut whole = command();
    whole.build();
    let commands: Vec<_> = std::iter::once(&whole).chain(whole.get_subcommands()).collect();
    assert_eq!(
        commands.len(),
        1 + 6,
        "broker, worker, client, broadcast, ping and help"
    );
    // A doc comment on a struct of flags that several commands share would take a command's own place.
    let abouts = ["Leases", "Route", "Serve", "Ask:", "Ask every", "Show", "Print"];
    for (part, begins) in commands.iter().zip(abouts) {
        let about = part.get_about().map(ToString::to_string).unwrap_or_default();
        assert!(about.starts_with(begins), "{}: {about}", part.get_name());
    }
    for part in commands {
        assert!(part.get_about().is_some(), "{}", part.get_name());
        for flag in part.get_arguments() {
            let what = format!("{} {}", part.get_name(), flag.get_id());
            assert!(flag.get_help().is_some(), "{what} has no help");
            if flag.get_action().takes_values() {
                let names = flag.get_value_names().unwrap_or_default();
                assert!(
                    !names.is_empty() && names.iter().all(|n| n.chars().all(|c| c.is_ascii_uppercase())),
                    "{what}"
                );
            }
        }
    }
}

#[test]
fn every_command_shows_examples_that_it_can_read() {
    let mut whole = command();
    for part in whole.get_subcommands_mut() {
        let name = part.get_name().to_owned();
        assert!(part.render_help().to_string().contains("Examples:"), "{name}");
        for (_, line) in examples(&name) {
            let words = line
                .split(['&', '|'])
                .find(|l| l.trim().starts_with("zhit"))
                .expect(line);
            let words = words
                .split_whitespace()
                .take_while(|w| !matches!(*w, "<" | ">"))
                .collect::<Vec<_>>()
                .join(" ");
            // Those that name a host are for people on it.
            let there = words.replacen("zhit", "zhit --host alpha", 1);
            assert!(read(&there).is_ok(), "{words}");
        }
    }
}

#[test]
fn defaults_are_those_of_the_protocol() {
    let options = client("zhit client x");
    assert_eq!(options.timing, Timing::default());
    assert_eq!(
        (options.wait, options.ttl, options.timeout),
        (limits::WAIT, limits::TTL, None)
    );
    assert_eq!(worker("zhit worker").grace, limits::GRACE);
    assert_eq!(worker("zhit worker").handler, Handler::Builtin(Builtin::Hello));
}

#[test]
fn place_is_taken_before_and_after_the_command() {
    for line in [
        "zhit --host a --cluster b client x",
        "zhit client --host a --cluster b x",
    ] {
        assert_eq!(
            client(line).place,
            Place {
                host: "a".into(),
                cluster: "b".into(),
                layout: None,
            },
            "{line}"
        );
    }
    assert!(ids::is_name(&client("zhit client x").place.host));
    assert!(refusal("zhit client --host ../x x").contains("is no name"));
    assert!(refusal("zhit worker --pool a/b").contains("--pool"));
}

#[test]
fn requests_are_bytes_in_order() {
    assert_eq!(
        client("zhit client a bc").input,
        Input::Arguments(vec![b"a".to_vec(), b"bc".to_vec()])
    );
    assert_eq!(
        client("zhit client -- --lines").input,
        Input::Arguments(vec![b"--lines".to_vec()])
    );
    let odd = ["zhit".into(), "client".into(), OsString::from_vec(vec![0xff])];
    match convert::parse_from(odd, true) {
        Ok(Command::Client(options)) => assert_eq!(options.input, Input::Arguments(vec![vec![0xff]])),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_empty_request_is_a_request() {
    let words = ["zhit", "client", ""].map(OsString::from);
    match convert::parse_from(words, true) {
        Ok(Command::Client(options)) => assert_eq!(options.input, Input::Arguments(vec![vec![]])),
        other => panic!("{other:?}"),
    }
}

#[test]
fn input_without_arguments_is_stdin_but_never_a_terminal() {
    assert_eq!(client("zhit client").input, Input::Stdin);
    assert_eq!(client("zhit client --lines").input, Input::Lines);
    let words = ["zhit", "client"].map(OsString::from);
    let error = convert::parse_from(words, true).expect_err("a terminal");
    assert_eq!(error.exit_code(), 2);
    let said = error.to_string();
    assert!(
        said.contains("stdin is a terminal") && said.contains("Usage: zhit client"),
        "{said}"
    );
    assert!(refusal("zhit client --lines x").contains("cannot be used with"));
}

#[test]
fn local_takes_one_handler_and_handlers_need_local() {
    assert_eq!(client("zhit client --local x").local, Some(Handler::default()));
    assert_eq!(
        client("zhit client --local --handler wc x").local,
        Some(Handler::Shell("wc".into()))
    );
    assert_eq!(
        client("zhit client --local --builtin sink x").local,
        Some(Handler::Builtin(Builtin::Sink))
    );
    assert_eq!(client("zhit client x").local, None);
    assert!(refusal("zhit client --builtin echo x").contains("--local"));
    assert!(refusal("zhit client --handler wc x").contains("--local"));
    assert!(refusal("zhit client --local --handler wc --builtin echo x").contains("cannot be used with"));
    assert!(refusal("zhit client --local --builtin cat x").contains("whoami"));
}

#[test]
fn a_worker_takes_words_as_they_are() {
    let handler = worker("zhit worker --slots 4 -- sort --host x").handler;
    assert_eq!(
        handler,
        Handler::Command(vec!["sort".into(), "--host".into(), "x".into()])
    );
    assert!(refusal("zhit worker --builtin echo -- sort").contains("cannot be used with"));
    assert!(refusal("zhit worker --").contains("no CMD after --"));
    assert!(refusal("zhit worker --slots 0").contains("--slots"));
    assert!(refusal("zhit worker sort").contains("sort"));
}

#[test]
fn durations_without_unit_are_refused_with_the_hint() {
    let said = refusal("zhit client --timeout 5 x");
    assert!(
        said.contains("'5' for '--timeout <D>': \"5\" has no unit: write 5s, 250ms or 2m"),
        "{said}"
    );
    for line in [
        "zhit client --timeout 0s x",
        "zhit client --ttl 0s x",
        "zhit ping --interval 0s",
    ] {
        assert!(refusal(line).contains("too short"), "{line}");
    }
    assert_eq!(client("zhit client --wait 0s x").wait, Duration::ZERO);
}

#[test]
fn patience_is_no_shorter_than_the_interval() {
    let said = refusal("zhit broker --interval 10s");
    assert!(said.contains("--patience 5s is shorter than --interval 10s"), "{said}");
    assert!(read("zhit broker --interval 10s --patience 20s").is_ok());
}

#[test]
fn version_and_help_end_well() {
    for line in [
        "zhit --version",
        "zhit --help",
        "zhit client --help",
        "zhit help worker",
        "zhit worker --version",
    ] {
        assert_eq!(read(line).map_err(|e| e.exit_code()), Err(0), "{line}");
    }
}

#[test]
fn hops_are_measured_a_hundred_times_without_a_pause() {
    let ping = |line: &str| match read(line).expect(line) {
        Command::Ping(options) => options,
        other => panic!("{line}: {other:?}"),
    };
    let options = ping("zhit ping");
    assert_eq!(
        (options.count, options.interval, options.hops),
        (1, limits::INTERVAL, None)
    );
    let options = ping("zhit ping --hops");
    assert_eq!((options.count, options.interval), (100, Duration::ZERO));
    let hops = options.hops.expect("hops");
    assert_eq!((hops.pool.as_str(), hops.request), ("default", None));
    let options = ping("zhit ping --hops --pool web --count 7 --interval 5ms --request x");
    assert_eq!((options.count, options.interval), (7, Duration::from_millis(5)));
    let hops = options.hops.expect("hops");
    assert_eq!((hops.pool.as_str(), hops.request), ("web", Some(b"x".to_vec())));

    for needs in ["--pool web", "--request x"] {
        let said = refusal(&format!("zhit ping {needs}"));
        assert!(said.contains("--hops"), "{said}");
    }
    for other in ["alpha/w1", "--vote", "--wait-ready 1s"] {
        let said = refusal(&format!("zhit ping --hops {other}"));
        assert!(said.contains("cannot be used with"), "{said}");
    }
    let said = refusal("zhit ping --hops --count 1000001");
    assert!(said.contains("the most is 1000000"), "{said}");
}
