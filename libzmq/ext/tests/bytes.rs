//! `Bytes` in and out of sockets: content, sharing, and when libzmq lets go.

use std::sync::mpsc::{channel, Receiver, Sender, TryRecvError};
use std::time::Duration;

use bytes::Bytes;
use zmq::{Context, Error, Socket, SocketType};
use zmq_ext::{recv_bytes, send_bytes, set_connect_routing_id, RECV_COPY_BYTES_MAX, SEND_COPY_BYTES_MAX};

/// No wait in these tests is longer.
const PATIENCE_MS: i32 = 10_000;
const PATIENCE: Duration = Duration::from_secs(10);
const MIB: usize = 1 << 20;

#[test]
fn bytes_arrive_as_they_were_sent() {
    // 33 bytes is what libzmq keeps inside a message; the others stand around the bounds of copying.
    let sizes = [
        0,
        1,
        33,
        34,
        SEND_COPY_BYTES_MAX,
        SEND_COPY_BYTES_MAX + 1,
        RECV_COPY_BYTES_MAX,
        RECV_COPY_BYTES_MAX + 1,
        MIB,
    ];
    let directory = tempfile::tempdir().expect("a directory");
    let context = Context::new();
    for endpoint in [
        "inproc://pair".to_owned(),
        format!("ipc://{}/s", directory.path().display()),
    ] {
        let (from, to) = (socket(&context, zmq::PAIR), socket(&context, zmq::PAIR));
        to.bind(&endpoint).expect("a fresh endpoint");
        from.connect(&endpoint).expect("the peer");
        for size in sizes {
            let body = pattern(size);
            send_bytes(&from, body.clone(), 0).expect("a queue");
            assert_eq!(
                recv_bytes(&to, 0).expect("the body"),
                body,
                "{size} bytes over {endpoint}"
            );
        }
    }
}

#[test]
fn one_body_goes_to_many_peers() {
    let directory = tempfile::tempdir().expect("a directory");
    let context = Context::new();
    let (body, released) = watched(MIB);
    for peer in 0..3 {
        let endpoint = format!("ipc://{}/{peer}", directory.path().display());
        let (from, to) = (socket(&context, zmq::PAIR), socket(&context, zmq::PAIR));
        to.bind(&endpoint).expect("a fresh path");
        from.connect(&endpoint).expect("the peer");
        send_bytes(&from, body.clone(), zmq::SNDMORE).expect("a queue");
        send_bytes(&from, body.clone(), 0).expect("a queue");
        assert_eq!(recv_bytes(&to, 0).expect("the first frame"), body);
        assert_eq!(to.get_rcvmore(), Ok(true));
        assert_eq!(recv_bytes(&to, 0).expect("the second frame"), body);
        assert_eq!(to.get_rcvmore(), Ok(false));
    }
    assert_eq!(
        released.try_recv(),
        Err(TryRecvError::Empty),
        "released under a living reference"
    );
    drop(body);
    released.recv_timeout(PATIENCE).expect("the owner's drop");
}

#[test]
fn large_body_is_neither_copied_out_nor_in() {
    let context = Context::new();
    let (from, to) = (socket(&context, zmq::PAIR), socket(&context, zmq::PAIR));
    to.bind("inproc://pair").expect("a fresh endpoint");
    from.connect("inproc://pair").expect("the peer");
    let body = pattern(MIB);
    send_bytes(&from, body.clone(), 0).expect("a queue");
    let received = recv_bytes(&to, 0).expect("the body");
    assert_eq!(received.as_ptr(), body.as_ptr());
    drop(body);
    assert_eq!(received, pattern(MIB));
}

#[test]
fn body_is_kept_until_it_was_sent_and_released_then() {
    let directory = tempfile::tempdir().expect("a directory");
    let endpoint = format!("ipc://{}/s", directory.path().display());
    let context = Context::new();
    let from = socket(&context, zmq::PUSH);
    from.connect(&endpoint).expect("a peer to come");
    let (body, released) = watched(MIB);
    send_bytes(&from, body, 0).expect("a queue");
    assert_eq!(released.try_recv(), Err(TryRecvError::Empty), "nobody has taken it yet");

    let to = socket(&context, zmq::PULL);
    to.bind(&endpoint).expect("a fresh path");
    assert_eq!(recv_bytes(&to, 0).expect("the body"), pattern(MIB));
    released.recv_timeout(PATIENCE).expect("the owner's drop");
}

#[test]
fn body_is_released_when_sending_fails() {
    let context = Context::new();
    for size in [SEND_COPY_BYTES_MAX, SEND_COPY_BYTES_MAX + 1] {
        let alone = socket(&context, zmq::PUSH);
        let (body, released) = watched(size);
        assert_eq!(send_bytes(&alone, body, zmq::DONTWAIT), Err(Error::EAGAIN));
        released.try_recv().expect("the owner's drop before the call's return");
    }
}

#[test]
fn unsent_body_is_released_with_its_socket() {
    let directory = tempfile::tempdir().expect("a directory");
    let context = Context::new();
    let from = socket(&context, zmq::PUSH);
    from.connect(&format!("ipc://{}/nobody", directory.path().display()))
        .expect("a peer to come");
    let (body, released) = watched(MIB);
    send_bytes(&from, body, 0).expect("a queue");
    drop(from);
    released.recv_timeout(PATIENCE).expect("the owner's drop");
}

#[test]
fn received_body_outlives_socket_and_context() {
    let context = Context::new();
    let (from, to) = (socket(&context, zmq::PAIR), socket(&context, zmq::PAIR));
    to.bind("tcp://127.0.0.1:*").expect("a free port");
    let endpoint = to.get_last_endpoint().expect("a bound socket").expect("UTF-8");
    from.connect(&endpoint).expect("the peer");
    send_bytes(&from, pattern(MIB), 0).expect("a queue");
    let received = recv_bytes(&to, 0).expect("the body");
    drop((from, to, context));
    let elsewhere = std::thread::spawn(move || received == pattern(MIB));
    assert!(elsewhere.join().expect("no panic"));
}

#[test]
fn nothing_to_receive_is_an_error() {
    let context = Context::new();
    assert_eq!(
        recv_bytes(&socket(&context, zmq::PULL), zmq::DONTWAIT),
        Err(Error::EAGAIN)
    );
}

#[test]
fn connecting_router_speaks_first_to_a_peer_it_named() {
    let context = Context::new();
    let to = socket(&context, zmq::DEALER);
    to.bind("tcp://127.0.0.1:*").expect("a free port");
    let endpoint = to.get_last_endpoint().expect("a bound socket").expect("UTF-8");
    let from = socket(&context, zmq::ROUTER);
    from.set_router_mandatory(true).expect("a known option");
    set_connect_routing_id(&from, b"peer").expect("a good id");
    from.connect(&endpoint).expect("the peer");
    send_bytes(&from, Bytes::from_static(b"peer"), zmq::SNDMORE).expect("a known peer");
    send_bytes(&from, pattern(MIB), 0).expect("a queue");
    assert_eq!(recv_bytes(&to, 0).expect("the body"), pattern(MIB));
}

#[test]
fn empty_routing_id_is_refused() {
    let context = Context::new();
    assert_eq!(
        set_connect_routing_id(&socket(&context, zmq::ROUTER), b""),
        Err(Error::EINVAL)
    );
}

/// Tells when it is dropped.
struct Watched {
    body: Vec<u8>,
    released: Sender<()>,
}

impl AsRef<[u8]> for Watched {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        // A test that no longer listens has nothing to learn.
        let _ = self.released.send(());
    }
}

fn watched(size: usize) -> (Bytes, Receiver<()>) {
    let (released, receiver) = channel();
    (
        Bytes::from_owner(Watched {
            body: pattern(size).to_vec(),
            released,
        }),
        receiver,
    )
}

fn pattern(size: usize) -> Bytes {
    (0..size)
        .map(|index| u8::try_from(index % 251).expect("below 251"))
        .collect()
}

fn socket(context: &Context, kind: SocketType) -> Socket {
    let socket = context.socket(kind).expect("a socket");
    socket.set_linger(0).expect("a known option");
    socket.set_rcvtimeo(PATIENCE_MS).expect("a known option");
    socket.set_sndtimeo(PATIENCE_MS).expect("a known option");
    socket
}
