use super::*;
use crate::protocol::limits::TURN_WITHIN;
use crate::protocol::message::Opened;

const FIRST: &[u8] = b"\0peer1";

fn peer(id: &[u8]) -> Peer {
    Peer::from_routing_id(id).unwrap()
}

fn keep_alive(hit: u8, attach: u32) -> Message {
    Message::KeepAlive {
        hit: key(hit),
        attach: Attach(attach),
        ack: client_ack(1),
    }
}

impl Bench {
    fn hear_straight(&mut self, message: Message) {
        self.slot.on_direct(self.now, peer(FIRST), message, &mut self.out);
    }

    /// Runs a request; its client speaks straight to the slot.
    fn straight() -> Self {
        let mut bench = Self::running();
        bench.done();
        bench.hear_straight(keep_alive(1, 1));
        assert_eq!(bench.done(), ["WORKING straight"]);
        bench
    }

    fn answer(&mut self, bytes: &'static [u8]) {
        self.slot.on_output(Channel::Body, Bytes::from_static(bytes));
        self.flush();
    }
}

#[test]
fn opened_names_the_slots_own_socket() {
    let mut bench = Bench::registered();
    bench.slot.set_endpoints(vec!["ipc:///run/members/w1.1".to_owned()]);
    bench.hear(Message::Lease(lease(1)));
    let named = bench.out.iter().find_map(|action| match action {
        Action::Send(Message::Opened(Opened { endpoints, .. })) => Some(endpoints.clone()),
        _ => None,
    });
    assert_eq!(named.unwrap(), ["ipc:///run/members/w1.1"]);
}

#[test]
fn a_stranger_changes_nothing_and_hears_nothing() {
    let mut bench = Bench::running();
    bench.done();
    let before = format!("{:?}", bench.slot);
    for message in [
        keep_alive(2, 1),
        keep_alive(1, 2),
        keep_alive(1, 0),
        data(2, (1, 5), b"more", true),
        close(2, CloseReason::Abandoned),
        close(0, CloseReason::Done),
        ack(7, client_ack(1)),
        attach(2, 7),
        Message::Lease(lease(2)),
        Message::Released { hit: key(1) },
        registered(9),
        Message::Farewell,
        Message::Ping { nonce: 1 },
    ] {
        bench.hear_straight(message);
    }
    assert_eq!(bench.done(), [""; 0]);
    assert_eq!(format!("{:?}", bench.slot), before);
    let mut idle = Bench::registered();
    idle.hear_straight(keep_alive(1, 1));
    assert_eq!(idle.done(), [""; 0]);
}

#[test]
fn replies_go_where_the_client_speaks() {
    let mut bench = Bench::straight();
    bench.answer(b"some");
    assert_eq!(bench.done(), ["DATA straight"]);
    // What is still under way by the broker arrives late.
    bench.hear(data(1, (1, 5), b" more", false));
    bench.hear(keep_alive(1, 1));
    assert_eq!(
        bench.done(),
        ["ACK straight", "WORKING straight"],
        "acknowledged at once, and nothing turned back"
    );
    bench.hear_straight(data(1, (1, 10), b" and all", true));
    bench.slot.on_handler_ended(bench.now, Status::Ok, "", &mut bench.out);
    bench.flush();
    assert_eq!(bench.done(), ["*journal*", "DATA straight"]);
}

#[test]
fn replies_under_way_by_the_broker_are_not_overtaken() {
    let mut bench = Bench::running();
    bench.answer(b"some");
    bench.done();
    bench.hear_straight(keep_alive(1, 1));
    bench.answer(b" more");
    assert_eq!(bench.done(), ["WORKING straight"], "bytes wait");
    let mut all = client_ack(1);
    all.offset = 4;
    bench.hear_straight(ack(1, all));
    assert_eq!(bench.done(), ["DATA straight"]);
}

#[test]
fn a_broker_that_stops_in_the_middle_of_the_change_is_not_waited_for() {
    let mut bench = Bench::running();
    bench.answer(b"some");
    bench.done();
    bench.hear_straight(keep_alive(1, 1));
    bench.answer(b" more");
    bench.done();
    bench.now += TURN_WITHIN;
    assert_eq!(bench.slot.next_deadline(), Some(bench.now));
    bench.slot.on_tick(bench.now, &mut bench.out);
    assert_eq!(bench.done(), ["DATA straight"], "from the first byte on");
}

#[test]
fn a_connection_that_has_ended_is_left_at_the_byte() {
    let mut bench = Bench::straight();
    bench.answer(b"some");
    bench.done();
    bench.slot.on_direct_gone(bench.now, peer(b"\0other"), &mut bench.out);
    assert_eq!(bench.done(), [""; 0], "it is not the client's");
    bench.slot.on_direct_gone(bench.now, peer(FIRST), &mut bench.out);
    assert_eq!(bench.done(), ["DATA"], "again, by the broker");
}

#[test]
fn a_client_that_resumes_by_the_broker_is_answered_there() {
    let mut bench = Bench::straight();
    bench.answer(b"some");
    bench.done();
    let resume = Lease {
        attempt: Attempt(2),
        resume: true,
        ..lease(1)
    };
    bench.hear(Message::Lease(resume));
    assert_eq!(bench.done(), ["OPENED", "DATA"]);
}

#[test]
fn a_broker_that_dies_in_the_middle_of_the_change_holds_nothing_up() {
    let mut bench = Bench::running();
    bench.answer(b"some");
    bench.done();
    bench.hear_straight(keep_alive(1, 1));
    bench.slot.on_no_route(bench.now);
    bench.flush();
    assert_eq!(bench.done(), ["WORKING straight", "DATA straight"]);
}

#[test]
fn its_end_is_told_on_both_routes_until_the_broker_knows() {
    let mut bench = Bench::straight();
    bench.slot.on_handler_ended(bench.now, Status::Ok, "", &mut bench.out);
    bench.flush();
    bench.done();
    bench.hear_straight(close(1, CloseReason::Done));
    let told = ["CLOSED straight", "CLOSED (Done)"];
    assert_eq!(bench.done()[2..], told);
    bench.pass(INTERVAL);
    assert_eq!(bench.done(), told);
    bench.hear(Message::Released { hit: key(1) });
    bench.pass(INTERVAL * 2);
    assert_eq!(bench.done(), [""; 0]);
}

#[test]
fn one_whom_another_has_replaced_is_told_so() {
    let mut bench = Bench::straight();
    bench.pass(INTERVAL * 4);
    bench.hear(attach(2, 77));
    bench.done();
    bench.hear_straight(keep_alive(1, 1));
    let said = bench.out.pop().unwrap();
    assert!(
        matches!(&said, Action::SendDirect(_, Message::Closed(closed))
            if closed.reason == ClosedReason::Superseded && closed.attach == Attach(1)),
        "{said:?}"
    );
    bench.hear_straight(data(1, (1, 5), b"late", true));
    assert_eq!(bench.done(), [""; 0]);
}
