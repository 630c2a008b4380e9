//! The examples of help and man pages, run as they stand.

#[path = "support/cluster.rs"]
mod cluster;

use std::collections::BTreeMap;
use std::path::Path;

use cluster::{Host, skipped};
use zhit::cli;

const COMMANDS: [&str; 6] = ["zhit", "broker", "worker", "client", "broadcast", "ping"];

/// What an example needs, and what it does.
struct Case {
    /// Its line.
    line: &'static str,
    /// A script of bash that runs before it.
    before: &'static str,
    /// What it prints on standard output, or a part of that.
    prints: &'static str,
}

/// One that ends by itself.
const fn case(line: &'static str, before: &'static str, prints: &'static str) -> Case {
    Case { line, before, prints }
}

const ECHO: &str = "zhit worker --builtin echo & zhit ping --wait-ready 20s >/dev/null;";
const SORT: &str = "zhit worker -- sort & zhit ping --wait-ready 20s >/dev/null; printf 'b\\na\\n' > names.txt;";
const BROKER: &str = "zhit broker & until zhit ping >/dev/null 2>&1; do :; done;";
const WEB: &str = "for i in 1 2 3; do zhit worker --pool web --on-broadcast 'echo done' & done; zhit worker &
    until [ \"$(zhit ping --format json 2>/dev/null | grep -o '\"worker\":' | wc -l)\" = 4 ]; do :; done;";

/// Those that end by themselves.
const ENDING: &[Case] = &[
    case("zhit client --local --builtin whoami a b c", "", "request 3\n"),
    case("zhit client < names.txt", SORT, "a\nb\n"),
    case("zhit ping", ECHO, "1 worker, 1 slot: 1 idle, 0 busy"),
    case("zhit client one two three", ECHO, "one\ntwo\nthree\n"),
    case(
        "zhit client < big.iso > reply",
        "zhit worker --builtin echo & zhit ping --wait-ready 20s >/dev/null; head -c 3000000 /dev/urandom > big.iso;",
        "",
    ),
    case("seq 1000 | zhit client --lines", ECHO, "\n999\n1000\n"),
    case("zhit client --wait 1m --timeout 10s report.txt", ECHO, "report.txt\n"),
    case("zhit client --local --handler 'tr a-z A-Z' hello", "", "HELLO\n"),
    case("zhit client -- --version", ECHO, "--version\n"),
    case(
        "zhit client --hold -- bash -c 'zhit client begin; zhit client commit'",
        ECHO,
        "begin\ncommit\n",
    ),
    case("zhit client --open --ttl 1h", ECHO, "alpha/"),
    case("zhit broadcast stats", WEB, "alpha/w"),
    case(
        "zhit broadcast --pool web --batch 4 --stop-after 2 reload",
        WEB,
        ": done\n",
    ),
    case("zhit broadcast --fold version", WEB, " (1)\n"),
    case("zhit broadcast --format jsonl stats | jq -r .reply", WEB, "\"hits\":0"),
    case(
        "zhit ping --wait-ready 30s && zhit client Hello",
        "zhit worker &",
        "World\n",
    ),
    case(
        "zhit ping --count 5 --interval 200ms --format json",
        ECHO,
        "\"sent\":5,\"answered\":5",
    ),
    case("zhit ping --vote", ECHO, "w1"),
    case("zhit ping alpha/w1/1", ECHO, "idle"),
    case(
        "zhit ping --hops --pool web --count 1000",
        WEB,
        "\ndirect          1000     0 ",
    ),
];

/// Those that serve until told to leave, and what then works.
const SERVING: &[Case] = &[
    case("zhit worker --slots 4 -- sort &", "", "4 slots"),
    case("zhit worker --slots 4 -- sort", "", "4 slots"),
    case("zhit worker --pool count -- sh -c 'tr a-z A-Z | wc -c'", "", "count"),
    case(
        "zhit worker --framing lines --warm 1 -- python3 -u shell.py",
        "echo 'import sys\nfor line in sys.stdin: print(line.strip())' > shell.py;",
        "1 slot",
    ),
    case("zhit worker", "", "1 slot"),
    case("zhit broker", "", "broker pid"),
    case("zhit broker --takeover", BROKER, "broker pid"),
    case("zhit broker --takeover --force", BROKER, "broker pid"),
    case("zhit broker --cluster test", "", "broker pid"),
];

fn is_there(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(program).is_file())
}

/// The whole script, in which the processes that were started before are ended at last.
fn run(script: &str) -> (Host, cluster::Ended) {
    let program = Path::new(env!("CARGO_BIN_EXE_zhit")).parent().expect("a directory");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths([program.to_owned()].into_iter().chain(std::env::split_paths(&path)));
    let host = Host::new();
    let script = format!("cd \"$ROOM\"; trap 'kill $(jobs -p); wait' EXIT; {script}");
    let ended = host
        .run_program("bash", &["-c", &script])
        .env("PATH", path.expect("no colon in it"))
        .run();
    (host, ended)
}

#[test]
fn every_example_does_what_it_says() {
    let mut cases: BTreeMap<&str, String> = BTreeMap::new();
    for Case { line, before, .. } in ENDING {
        cases.insert(
            line,
            format!("{before}\n{line} > printed; code=$?\ncat printed; exit $code"),
        );
    }
    for Case { line, before, prints } in SERVING {
        let cluster = if line.ends_with("test") { "--cluster test" } else { "" };
        let ready = if line.contains("broker") {
            ""
        } else {
            "--wait-ready 20s"
        };
        let line_there = line.trim_end_matches(" &");
        // The office passes from the one before to this one.
        let own =
            "until zhit ping CLUSTER READY > printed 2>/dev/null && [ -s printed ] && LEADS; do :; done; cat printed";
        // Slots register one by one.
        let leads = if line.contains("broker") {
            "grep -q \"pid $! \" printed".to_owned()
        } else {
            format!("grep -q '{prints}' printed")
        };
        let own = own
            .replace("CLUSTER", cluster)
            .replace("READY", ready)
            .replace("LEADS", &leads);
        cases.insert(line, format!("{before}\n{line_there} &\n{own}"));
    }
    let printed = |line: &str| {
        let all = ENDING.iter().chain(SERVING);
        all.filter(|case| case.line == line)
            .map(|case| case.prints)
            .next()
            .unwrap_or_default()
    };
    for command in COMMANDS {
        for (what, line) in cli::examples(command) {
            let script = cases
                .get(line)
                .unwrap_or_else(|| panic!("no case for the example of {command}: {line}"));
            if let Some(missing) = ["python3", "jq"]
                .into_iter()
                .find(|program| line.contains(program) && !is_there(program))
            {
                skipped(&format!("no {missing} on PATH, which this example needs: {line}"));
                continue;
            }
            let (host, ended) = run(script);
            let text = ended.code(0).text();
            assert!(text.contains(printed(line)), "{what}: {line}\nprinted:\n{text}");
            host.stop();
        }
    }
    let examples: Vec<&str> = COMMANDS
        .iter()
        .flat_map(|command| cli::examples(command))
        .map(|(_, line)| *line)
        .collect();
    let dead = cases.keys().find(|line| !examples.contains(line));
    assert_eq!(dead, None, "no page has this example any more");
}
