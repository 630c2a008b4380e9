//! The longer texts of help and man pages: examples, environment, files.

use std::fmt::Write as _;

use crate::exit::Exit;

/// One example: what it does, and the command.
pub type Example = (&'static str, &'static str);

const OVERVIEW: &[Example] = &[
    (
        "A Hit of three requests, no set-up: the same thread answers each",
        "zhit client --local --builtin whoami a b c",
    ),
    (
        "Serve with a program of your own, four slots; a broker is started when there is none",
        "zhit worker --slots 4 -- sort &",
    ),
    ("Ask it", "zhit client < names.txt"),
    ("Who is there?", "zhit ping"),
];

const BROKER: &[Example] = &[
    ("Route on this host until told to stop", "zhit broker"),
    (
        "In place of one that was started by hand, too",
        "zhit broker --takeover",
    ),
    ("In place of one that does not answer", "zhit broker --takeover --force"),
    (
        "In a separate cluster, which shares nothing with the first",
        "zhit broker --cluster test",
    ),
];

const WORKER: &[Example] = &[
    (
        "Four slots; each request runs sort once: body on stdin, reply from stdout",
        "zhit worker --slots 4 -- sort",
    ),
    (
        "A shell line: give it to sh yourself",
        "zhit worker --pool count -- sh -c 'tr a-z A-Z | wc -c'",
    ),
    (
        "One program for a whole Hit, asked line by line; one on each slot is started ahead",
        "zhit worker --framing lines --warm 1 -- python3 -u shell.py",
    ),
    ("No program at all: answers World", "zhit worker"),
];

const CLIENT: &[Example] = &[
    (
        "One Hit of three requests, replies in order",
        "zhit client one two three",
    ),
    ("One request of any size, streamed", "zhit client < big.iso > reply"),
    ("Each line a request", "seq 1000 | zhit client --lines"),
    (
        "Wait up to a minute for a slot; ten seconds for each request",
        "zhit client --wait 1m --timeout 10s report.txt",
    ),
    (
        "Nothing else running",
        "zhit client --local --handler 'tr a-z A-Z' hello",
    ),
    ("A request that begins with a dash", "zhit client -- --version"),
    (
        "Several commands on one Hit, released when they are done",
        "zhit client --hold -- bash -c 'zhit client begin; zhit client commit'",
    ),
    (
        "A Hit that waits an hour for other commands; its KEY is printed, for --hit, --close and $ZHIT_HIT",
        "zhit client --open --ttl 1h",
    ),
];

const BROADCAST: &[Example] = &[
    (
        "The statistics of every worker of the pool default",
        "zhit broadcast stats",
    ),
    (
        "Each --on-broadcast CMD is told to reload, four at a time; after two failures no more",
        "zhit broadcast --pool web --batch 4 --stop-after 2 reload",
    ),
    (
        "Who says something else than the others?",
        "zhit broadcast --fold version",
    ),
    ("For scripts", "zhit broadcast --format jsonl stats | jq -r .reply"),
];

const PING: &[Example] = &[
    ("Who is there?", "zhit ping"),
    (
        "Go on when the workers are up",
        "zhit ping --wait-ready 30s && zhit client Hello",
    ),
    (
        "Would the workers end this broker, and who among them is silent?",
        "zhit ping --vote",
    ),
    (
        "Five round-trip times, for a script",
        "zhit ping --count 5 --interval 200ms --format json",
    ),
    ("What does this slot do now?", "zhit ping alpha/w1/1"),
    (
        "Where does the time go between a client, its broker and its slot?",
        "zhit ping --hops --pool web --count 1000",
    ),
];

/// The examples of this command, by its name; `zhit` is the whole.
pub fn examples(command: &str) -> &'static [Example] {
    match command {
        "broker" => BROKER,
        "worker" => WORKER,
        "client" => CLIENT,
        "broadcast" => BROADCAST,
        "ping" => PING,
        _ => OVERVIEW,
    }
}

/// A broadcast that is folded, as a terminal shows it: 300 members, one of which says no version.
pub const FOLDED: &str = "\
$ zhit broadcast --fold version
alpha/w[1-100],beta/w[1-100] (200)
  1.4.2
gamma/w[1-60,62-100] (99)
  1.4.1
gamma/w61 (1) [exit 1]
gamma/w61 failed: exit 1: no such file
expected 300 = 299 ok + 1 failed in 0.21s
";

/// One in which all went wrong that can, line by line as it came.
pub const TROUBLED: &str = "\
$ zhit broadcast reload
gamma unreachable: its broker has not been heard for 9.0s, says alpha
alpha/w1: reloaded
beta/w1: reloaded
alpha/w2 failed: exit 3: no such table
alpha/w3 dead: its process ended without goodbye 0.1s ago; it had begun this
beta/w3 left: it said goodbye 0.2s ago; it had not begun this
beta/w2 hung: loop still for 5.2s, heartbeat 5.1s old, last word 5.1s ago
expected 7 = 2 ok + 1 failed + 1 hung + 1 dead + 1 left + 1 unreachable in 5.20s
";

/// The hops to a slot whose handler is cat(1), as a terminal shows them.
pub const HOPS: &str = "\
$ zhit ping --hops --pool web --request hello
HOP            COUNT  LOST  MIN µs  P50 µs  P90 µs  P99 µs  MAX µs
client-broker    100     0      42      46     110     291     309
broker-slot      100     0    -215      43     129     231     615
client-slot      100     0      84      89     183     275     906
direct           100     0      50      55     151     218     283
handler          100     0    1054    1750    2420   53607   88941
alpha/w1/1  pool web  broker pid 18535  term 1795667383  zhit 0.1.0
direct: ipc:///run/zhit/default/alpha/members/w1.1
";

/// What a command shows on a terminal, with what it is: a test compares it with what is printed.
pub fn captures(command: &str) -> &'static [Example] {
    match command {
        "broadcast" => &[
            ("The same reply is told once, the many first:", FOLDED),
            (
                "Who does not answer is named, with what is known of it, and the books balance:",
                TROUBLED,
            ),
        ],
        "ping" => &[(
            "Where the time goes, hop by hop. client-broker: PING and PONG; client-slot: KEEPALIVE and WORKING, through the broker; \
             broker-slot: the second less the first, in the same round, so a stray first one makes it negative; direct: \
             KEEPALIVE and WORKING straight between client and slot; handler, with --request: a request and its reply, less the \
             client-slot of the same round. A percentile is the measured value of its rank; none is interpolated:",
            HOPS,
        )],
        _ => &[],
    }
}

/// The variables that every command reads, with what each does.
pub const ENVIRONMENT: &[(&str, &str)] = &[
    ("ZHIT_HOST", "name of this host, unless --host says it"),
    (
        "ZHIT_RUNTIME_DIR",
        "where locks and sockets live, instead of /tmp/zhit-UID",
    ),
    (
        "ZHIT_LOG",
        "how much broker and worker log, to stderr, or to broker.log if a worker started the broker: error, warn, info (the default), debug or trace, or a filter such as info,zhit::worker=debug",
    ),
    (
        "ZHIT_LAYOUT",
        "the layout of the cluster, as --layout; see zhit-layout(5)",
    ),
    (
        "ZHIT_HIT",
        "the Hit that every client uses, as --hit does; set for the command of client --hold",
    ),
    (
        "NOTIFY_SOCKET",
        "set by a service manager (Type=notify of systemd): broker and worker tell it when they serve and when they leave",
    ),
    ("TMPDIR", "where client --local makes its directory, instead of /tmp"),
    ("NO_COLOR", "if set and not empty, nothing is coloured"),
];

/// The variables that a worker sets for the program that it runs.
pub const HANDLER_ENVIRONMENT: &[(&str, &str)] = &[
    (
        "ZHIT_HIT_ID",
        "key of the Hit; not for one that --warm has started ahead",
    ),
    (
        "ZHIT_SEQ",
        "number of the request within the Hit, from 1; not with --framing",
    ),
    ("ZHIT_POOL", "the worker's pool"),
    ("ZHIT_SLOT", "the slot, as w1/1"),
    ("ZHIT_HOST", "name of the host"),
    ("ZHIT_DIR", "a scratch directory that lives as long as the Hit"),
    (
        "ZHIT_BROADCAST",
        "for --on-broadcast: id of the broadcast; there is no ZHIT_HIT_ID, ZHIT_SEQ or ZHIT_SLOT then, but ZHIT_WORKER, as w1",
    ),
];

/// What a program that serves requests may say beside its replies.
pub const HANDLER_CONTROL: &[(&str, &str)] = &[
    (
        "progress DONE TOTAL [note]",
        "how far this request is; TOTAL 0: nobody knows. It moves the client's bar; a program that has said so and then is silent \
         for the patience counts as hung",
    ),
    (
        "fail CODE [message]",
        "this request fails with that exit code, 1 to 255; with --framing it stands for the reply, and the Hit goes on",
    ),
];

/// The files that zhit keeps, with what each is.
pub const FILES: &[(&str, &str)] = &[
    (
        "~/.config/zhit/layout.yaml, /etc/zhit/layout.yaml",
        "the layout, where neither --layout nor $ZHIT_LAYOUT names one; see zhit-layout(5)",
    ),
    (
        "/tmp/zhit-UID/",
        "runtime directory of this user, mode 0700; $ZHIT_RUNTIME_DIR moves it",
    ),
    ("/tmp/zhit-UID/CLUSTER/HOST/", "lock, record and sockets of one host"),
    (
        "/tmp/zhit-UID/CLUSTER/HOST/broker.log",
        "what a broker logs that a worker started; broker.log.1: what it logged before that",
    ),
    (
        "/tmp/zhit-UID/CLUSTER/HOST/broker.trail",
        "the last verdict on a broker that hung: why it was killed, or not",
    ),
    (
        "/tmp/zhit-UID/CLUSTER/HOST/members/",
        "for each worker that is there a lock; its journal, which outlives it",
    ),
    (
        "/tmp/zhit-UID/CLUSTER/HOST/scratch/",
        "the directories of running Hits ($ZHIT_DIR)",
    ),
];

/// What help shows below the flags.
pub(super) fn after_help(command: &str) -> String {
    let mut text = String::from("Examples:");
    for (what, line) in examples(command) {
        let _ = write!(text, "\n  # {what}\n  {line}");
    }
    text
}

/// What the help of the whole shows below the commands.
pub(super) fn after_long_help() -> String {
    let mut text = after_help("zhit");
    text.push_str("\n\nExit status:");
    for (code, meaning) in Exit::TABLE {
        let _ = write!(text, "\n  {code:<6} {meaning}");
    }
    text
}
