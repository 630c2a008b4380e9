//! Many Hits, whose broker is killed again and again: every request runs once, on its Hit's slot, and is answered.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::cluster::{Ended, Host, eventually};

/// Notes who runs what, then answers with the request.
const NOTES: &str = "read word; echo $ZHIT_HIT_ID $ZHIT_SEQ $ZHIT_SLOT >> $ROOM/notes; sleep 0.03; echo $word";

/// How large the storm is: a small one each time, the whole one with `ZHIT_STORM=full`.
struct Scale {
    hits: usize,
    requests: usize,
    slots: u32,
    kills: usize,
}

fn scale() -> Scale {
    if std::env::var_os("ZHIT_STORM").is_some_and(|scale| scale == "full") {
        Scale {
            hits: 200,
            requests: 50,
            slots: 8,
            kills: 20,
        }
    } else {
        Scale {
            hits: 30,
            requests: 10,
            slots: 4,
            kills: 6,
        }
    }
}

fn kill(pid: u32) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a pid");
    // One that has ended meanwhile has ended.
    let _ = kill_process(pid, Signal::KILL);
}

/// Kills the broker when so many requests more have run, and waits for the next.
fn kill_the_broker(host: &Host, after: usize) {
    let before = notes(host).len();
    eventually("requests that run", || {
        (notes(host).len() >= before + after).then_some(())
    });
    let pid = eventually("a broker", || host.elected());
    kill(pid);
    eventually("the next broker", || host.elected().filter(|next| *next != pid));
}

/// Which (Hit, seq) ran on which slot.
fn notes(host: &Host) -> Vec<(String, u64, String)> {
    let text = fs::read_to_string(host.room().join("notes")).unwrap_or_default();
    let note = |line: &str| {
        let mut words = line.split(' ').map(str::to_owned);
        Some((words.next()?, words.next()?.parse().ok()?, words.next()?))
    };
    text.lines().filter_map(note).collect()
}

/// At most once each, in order, all of a Hit on one slot.
#[track_caller]
fn each_ran_once(notes: &[(String, u64, String)]) -> BTreeMap<String, u64> {
    let mut hits: BTreeMap<String, (u64, String)> = BTreeMap::new();
    for (hit, seq, slot) in notes {
        let (last, on) = hits.entry(hit.clone()).or_insert_with(|| (0, slot.clone()));
        assert_eq!((*seq, &*on), (*last + 1, slot), "{hit}: request {seq} after {last}");
        *last = *seq;
    }
    hits.into_iter().map(|(hit, (last, _))| (hit, last)).collect()
}

#[test]
fn the_broker_is_killed_again_and_again_and_every_request_runs_once() {
    storm("auto");
}

#[test]
fn no_hit_that_goes_straight_to_its_slot_notices_that_the_broker_is_killed_again_and_again() {
    storm("direct");
}

fn storm(route: &str) {
    let scale = scale();
    let mut host = Host::new();
    let slots = scale.slots.to_string();
    for _ in 0..2 {
        host.start_worker(&["--slots", &slots, "--", "sh", "-c", NOTES]);
    }
    host.wait_for_slots(2 * scale.slots);
    let requests: Vec<String> = (1..=scale.requests).map(|number| format!("{number}\n")).collect();
    let arguments: Vec<&str> = ["--wait", "2m", "--route", route]
        .into_iter()
        .chain(requests.iter().map(String::as_str))
        .collect();
    let clients: Vec<_> = (0..scale.hits).map(|_| host.client(&arguments).start()).collect();
    let all = scale.hits * scale.requests;
    for _ in 0..scale.kills {
        kill_the_broker(&host, all / (2 * scale.kills));
    }
    let wanted = requests.concat();
    for client in clients {
        client.wait().code(0).quiet().wrote(&wanted);
    }
    let ran = each_ran_once(&notes(&host));
    assert_eq!(ran.len(), scale.hits);
    assert!(ran.values().all(|last| *last == scale.requests as u64));
    host.stop();
}

/// The last request that a client says ran without an answer.
fn started(said: &str) -> Option<u64> {
    let (before, _) = said.split_once(" ran without an answer")?;
    before.rsplit(' ').next()?.parse().ok()
}

#[test]
fn a_worker_is_killed_too_and_the_clients_lists_are_true() {
    let mut host = Host::new();
    for _ in 0..2 {
        host.start_worker(&["--slots", "3", "--", "sh", "-c", NOTES]);
    }
    host.wait_for_slots(6);
    let requests: Vec<String> = (1..=40).map(|number| format!("{number}\n")).collect();
    let arguments: Vec<&str> = requests.iter().map(String::as_str).collect();
    let clients: Vec<_> = (0..6).map(|_| host.client(&arguments).start()).collect();
    kill_the_broker(&host, 60);
    // The worker that has started a broker, and the broker, at once.
    let broker = eventually("a broker", || host.elected());
    let first = host.take_first_worker();
    first.end_by(Signal::KILL);
    kill(broker);
    let ends: Vec<Ended> = clients.into_iter().map(crate::cluster::Process::wait).collect();
    let ran = each_ran_once(&notes(&host));
    assert_eq!(ran.len(), 6);
    let (served, orphaned): (Vec<_>, Vec<_>) = ends.into_iter().partition(|ended| ended.code == 0);
    assert_eq!((served.len(), orphaned.len()), (3, 3), "{orphaned:?}");
    for ended in orphaned {
        let answered = ended.text().lines().count();
        let ended = ended.code(6).says("its worker").within(Duration::from_secs(30));
        // The last line may have come without the end of its reply, which is no answer yet.
        let said = |count: usize| match count {
            0 => "no request was answered".to_owned(),
            1 => "request 1 was answered".to_owned(),
            count => format!("requests 1 to {count} were answered"),
        };
        let whole = answered
            .checked_sub(1)
            .filter(|whole| ended.stderr.contains(&said(*whole)));
        let ended = ended.says(&said(whole.unwrap_or(answered)));
        // What it says was started, was: the last of it may not have come so far as to note it.
        let started = started(&ended.stderr).unwrap_or(answered as u64);
        let agrees = |last: &u64| *last == started || *last + 1 == started;
        assert!(
            ran.values().any(agrees),
            "{started} started, {ran:?} ran: {}",
            ended.stderr
        );
    }
    host.stop();
}
