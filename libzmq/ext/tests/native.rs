//! What libzmq was built with, seen from outside: its version, CURVE, the features that `libzmq/build.rs` turns on, and
//! the size of a context.

use std::collections::BTreeSet;
use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{getrlimit, setrlimit, Resource};

/// No wait in these tests is longer.
const PATIENCE_MS: i32 = 10_000;
const O_CLOEXEC: u32 = 0o2_000_000;
const SOCKETS_DEFAULT_MAX: usize = 1023;

#[test]
fn libzmq_is_the_one_built_here() {
    assert_eq!(zmq::version(), (4, 3, 5));
}

#[test]
fn curve_is_there() {
    assert_eq!(zmq::has("curve"), Some(true));
}

#[test]
fn context_holds_more_sockets_than_the_default() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).expect("a soft limit may always be raised to the hard one");
    let wanted = SOCKETS_DEFAULT_MAX + 50;
    if limit
        .maximum
        .is_some_and(|descriptors| descriptors < wanted as u64 + 100)
    {
        eprintln!("too few descriptors here for {wanted} sockets");
        return;
    }

    let context = zmq_ext::context(4096);
    let sockets: Result<Vec<_>, _> = (0..wanted).map(|_| context.socket(zmq::DEALER)).collect();
    assert_eq!(sockets.map(|all| all.len()), Ok(wanted));
}

#[test]
fn context_holds_no_more_sockets_than_asked_for() {
    let context = zmq_ext::context(2);
    let sockets = [(), ()].map(|()| context.socket(zmq::DEALER));
    assert!(sockets.iter().all(Result::is_ok));
    assert_eq!(context.socket(zmq::DEALER).err(), Some(zmq::Error::EMFILE));
    drop(sockets);
    assert!(zmq::Context::new().socket(zmq::DEALER).is_ok());
}

#[test]
fn encrypted_message_arrives() {
    let keys = zmq::CurveKeyPair::new().expect("a key pair");
    let (server, client) = curve_pair(&keys);
    server.bind("tcp://127.0.0.1:*").expect("a free port");
    client.connect(&endpoint(&server)).expect("the server's endpoint");
    client.send("hello", 0).expect("a queue");
    let frames = server.recv_multipart(0).expect("the client's message");
    assert_eq!(frames[1], b"hello");
    assert_eq!(server.get_mechanism(), Ok(zmq::Mechanism::ZMQ_CURVE));
}

#[test]
fn without_a_zap_handler_an_enforced_domain_refuses_and_another_admits() {
    for (enforce, admitted) in [(true, false), (false, true)] {
        let keys = zmq::CurveKeyPair::new().expect("a key pair");
        let context = zmq::Context::new();
        let (server, client) = curve_pair_in(&context, &keys);
        server.set_zap_domain("test").expect("a domain");
        zmq_ext::set_zap_enforce_domain(&server, enforce).expect("a known option");
        let events = zmq::SocketEvent::HANDSHAKE_SUCCEEDED as i32
            | zmq::SocketEvent::HANDSHAKE_FAILED_NO_DETAIL as i32
            | zmq::SocketEvent::HANDSHAKE_FAILED_PROTOCOL as i32
            | zmq::SocketEvent::HANDSHAKE_FAILED_AUTH as i32;
        server.monitor("inproc://server", events).expect("a monitor");
        let monitor = socket(&context, zmq::PAIR);
        monitor.connect("inproc://server").expect("the monitor");
        server.bind("tcp://127.0.0.1:*").expect("a free port");
        client.connect(&endpoint(&server)).expect("the server's endpoint");

        let event = monitor.recv_msg(0).expect("the end of the handshake");
        let event = u16::from_ne_bytes([event[0], event[1]]);
        assert_eq!(
            event == zmq::SocketEvent::HANDSHAKE_SUCCEEDED.to_raw(),
            admitted,
            "event {event}"
        );
    }
}

/// A child would keep ports, connections and I/O threads' descriptors open after the program's end.
#[test]
#[cfg(target_os = "linux")]
fn descriptors_are_closed_on_exec_and_eventfds_are_used() {
    let inherited = descriptors();
    let directory = tempfile::tempdir().expect("a directory");
    let ipc = format!("ipc://{}/s", directory.path().display());
    let context = zmq::Context::new();
    let router = socket(&context, zmq::ROUTER);
    router.bind(&ipc).expect("a fresh path");
    router.bind("tcp://127.0.0.1:*").expect("a free port");
    let tcp = endpoint(&router);
    let dealers: Vec<_> = [ipc, tcp]
        .iter()
        .map(|endpoint| {
            let dealer = socket(&context, zmq::DEALER);
            dealer.connect(endpoint).expect("the router's endpoint");
            dealer.send("here", 0).expect("a queue");
            router.recv_multipart(0).expect("the dealer's message");
            dealer
        })
        .collect();

    let mut kinds = BTreeSet::new();
    for number in descriptors().difference(&inherited) {
        let path = format!("/proc/self/fd/{number}");
        let (Ok(target), Ok(info)) = (
            fs::read_link(path),
            fs::read_to_string(format!("/proc/self/fdinfo/{number}")),
        ) else {
            continue; // Closed meanwhile: another test's, or that of the directory listing.
        };
        let target = target.display().to_string();
        let flags = info
            .lines()
            .find_map(|line| line.strip_prefix("flags:"))
            .expect("flags")
            .trim();
        let flags = u32::from_str_radix(flags, 8).expect("an octal number");
        assert_eq!(flags & O_CLOEXEC, O_CLOEXEC, "{number} is {target}, flags {flags:o}");
        // `socket:[123]` bears the number of one socket, `anon_inode:[eventfd]` the name of a kind.
        kinds.insert(if target.starts_with("socket:") {
            "socket".to_owned()
        } else {
            target
        });
    }
    for wanted in ["socket", "anon_inode:[eventfd]", "anon_inode:[eventpoll]"] {
        assert!(kinds.contains(wanted), "no {wanted} in {kinds:?}");
    }
    drop(dealers);
}

/// Keep-alive is silently ignored by a libzmq that was built without it; the kernel's table of timers tells.
#[test]
#[cfg(target_os = "linux")]
fn keepalive_reaches_the_kernel() {
    let context = zmq::Context::new();
    let router = socket(&context, zmq::ROUTER);
    router.bind("tcp://127.0.0.1:*").expect("a free port");
    let port: u16 = endpoint(&router)
        .rsplit(':')
        .next()
        .and_then(|port| port.parse().ok())
        .expect("a port");
    let dealer = socket(&context, zmq::DEALER);
    dealer.set_tcp_keepalive(1).expect("a known option");
    dealer.set_tcp_keepalive_idle(77).expect("a known option");
    dealer.connect(&endpoint(&router)).expect("the router's endpoint");
    dealer.send("here", 0).expect("a queue");
    router.recv_multipart(0).expect("the dealer's message");

    // Columns of /proc/net/tcp: 2 is the remote address, 3 the state (01: established), 5 the timer; 02 is keep-alive.
    // Until the peer has acknowledged our bytes, the timer is the one for sending them again.
    let deadline = Instant::now() + Duration::from_secs(10);
    let remote = format!(":{port:04X}");
    loop {
        let table = fs::read_to_string("/proc/net/tcp").expect("the kernel's table");
        let kept = table
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>())
            .any(|columns| {
                columns.len() > 5
                    && columns[2].ends_with(&remote)
                    && columns[3] == "01"
                    && columns[5].starts_with("02:")
            });
        if kept {
            break;
        }
        assert!(
            Instant::now() < deadline,
            "no keep-alive timer for port {port}:\n{table}"
        );
        sleep(Duration::from_millis(2));
    }
}

#[cfg(target_os = "linux")]
fn descriptors() -> BTreeSet<u32> {
    let names = fs::read_dir("/proc/self/fd").expect("this process's descriptors");
    names
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect()
}

fn socket(context: &zmq::Context, kind: zmq::SocketType) -> zmq::Socket {
    let socket = context.socket(kind).expect("a socket");
    socket.set_linger(0).expect("a known option");
    socket.set_rcvtimeo(PATIENCE_MS).expect("a known option");
    socket.set_sndtimeo(PATIENCE_MS).expect("a known option");
    socket
}

fn endpoint(socket: &zmq::Socket) -> String {
    socket
        .get_last_endpoint()
        .expect("a bound socket")
        .expect("an endpoint is UTF-8")
}

fn curve_pair(keys: &zmq::CurveKeyPair) -> (zmq::Socket, zmq::Socket) {
    curve_pair_in(&zmq::Context::new(), keys)
}

fn curve_pair_in(context: &zmq::Context, keys: &zmq::CurveKeyPair) -> (zmq::Socket, zmq::Socket) {
    let server = socket(context, zmq::ROUTER);
    server.set_curve_server(true).expect("CURVE");
    server.set_curve_secretkey(&keys.secret_key).expect("CURVE");
    let own = zmq::CurveKeyPair::new().expect("a key pair");
    let client = socket(context, zmq::DEALER);
    client.set_curve_serverkey(&keys.public_key).expect("CURVE");
    client.set_curve_publickey(&own.public_key).expect("CURVE");
    client.set_curve_secretkey(&own.secret_key).expect("CURVE");
    (server, client)
}
