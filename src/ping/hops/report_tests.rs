use super::*;
use crate::cli::HOPS;
use crate::protocol::Term;

fn pong() -> Pong {
    Pong {
        nonce: 1,
        host: "alpha".to_owned(),
        pid: 18535,
        term: Term(1_795_667_383),
        uptime_ms: 1000,
        version: "0.1.0".to_owned(),
        trouble: String::new(),
        queued: 0,
        workers_total: 1,
        workers: Vec::new(),
    }
}

const fn row(hop: &'static str, [min, p50, p90, p99, max]: [i64; 5]) -> Row {
    Row {
        hop,
        count: 100,
        lost: 0,
        figures: Some(Figures {
            min,
            p50,
            p90,
            p99,
            max,
        }),
        why: None,
    }
}

fn findings() -> Findings {
    Findings {
        host: "alpha".to_owned(),
        pool: "web".to_owned(),
        slot: "alpha/w1/1".to_owned(),
        pong: Some(pong()),
        endpoint: Some("ipc:///run/zhit/default/alpha/members/w1.1".to_owned()),
        rounds: 100,
        begun: 100,
        rows: vec![
            row(CLIENT_BROKER, [42, 46, 110, 291, 309]),
            row(BROKER_SLOT, [-215, 43, 129, 231, 615]),
            row(CLIENT_SLOT, [84, 89, 183, 275, 906]),
            row(DIRECT, [50, 55, 151, 218, 283]),
            row(HANDLER, [1054, 1750, 2420, 53607, 88941]),
        ],
        ended: None,
    }
}

/// One that ended early, of a slot without a socket of its own.
fn cut_short() -> Findings {
    let mut all = findings();
    all.endpoint = None;
    all.rows.truncate(4);
    all.rows[1] = row(BROKER_SLOT, [-8, 62, 67, 97, 141]);
    all.rows[2].lost = 1;
    all.rows[3] = Row {
        count: 0,
        figures: None,
        why: Some("the slot names no socket of its own".to_owned()),
        ..all.rows[3].clone()
    };
    all.begun = 37;
    all.ended = Some("the Hit was lost: its worker died".to_owned());
    all
}

#[test]
fn what_the_man_page_shows_is_what_is_printed() {
    let text = findings().report(Format::Text, Screen::PLAIN);
    assert_eq!(format!("$ zhit ping --hops --pool web --request hello\n{text}"), HOPS);
}

#[test]
fn what_is_missing_says_why() {
    let wanted = "\
HOP            COUNT  LOST  MIN µs  P50 µs  P90 µs  P99 µs  MAX µs  WHY
client-broker    100     0      42      46     110     291     309
broker-slot      100     0      -8      62      67      97     141
client-slot      100     1      84      89     183     275     906
direct             0     0       -       -       -       -       -  the slot names no socket of its own
alpha/w1/1  pool web  broker pid 18535  term 1795667383  zhit 0.1.0
ended in round 37 of 100: the Hit was lost: its worker died
";
    assert_eq!(cut_short().report(Format::Text, Screen::PLAIN), wanted);
}

#[test]
fn the_object_tells_the_same() {
    let object = |all: &Findings| -> serde_json::Value {
        let text = all.report(Format::Json, Screen::PLAIN);
        assert_eq!(text.lines().count(), 1, "{text}");
        serde_json::from_str(&text).unwrap()
    };
    let all = object(&findings());
    assert_eq!((&all["kind"], &all["slot"]), (&"hops".into(), &"alpha/w1/1".into()));
    assert_eq!(all["broker"]["pid"], 18535);
    assert_eq!(
        all["hops"][1],
        serde_json::json!({
            "hop": "broker-slot", "count": 100, "lost": 0,
            "min_us": -215, "p50_us": 43, "p90_us": 129, "p99_us": 231, "max_us": 615, "why": null,
        })
    );
    assert_eq!(all["ended"], serde_json::Value::Null);
    let cut = object(&cut_short());
    assert_eq!(cut["hops"][3]["p50_us"], serde_json::Value::Null);
    assert_eq!(cut["hops"][3]["why"], "the slot names no socket of its own");
    assert_eq!(cut["ended"], "the Hit was lost: its worker died");
}

#[test]
fn the_hops_of_what_was_measured() {
    let mut measured = Measured::default();
    let micros = |micros| Some(std::time::Duration::from_micros(micros));
    measured.begin();
    measured.on(super::super::measured::Ask::Broker, micros(40));
    measured.on(super::super::measured::Ask::Slot, micros(95));
    let names = |rows: &[Row]| rows.iter().map(|row| row.hop).collect::<Vec<_>>();
    let rows = Row::all(&measured, Some("why"), false);
    assert_eq!(names(&rows), ["client-broker", "broker-slot", "client-slot", "direct"]);
    assert_eq!(rows[1].figures.map(|figures| figures.p50), Some(55));
    assert_eq!(rows[3].why.as_deref(), Some("why"));
    assert_eq!(names(&Row::all(&measured, None, true))[4], "handler");
}
