//! Sockets, polls and wakers against each other, over Unix sockets in a directory of the test's own.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use tempfile::TempDir;

use super::*;
use crate::protocol::frame::Frames;
use crate::protocol::ids::Peer;
use crate::protocol::limits::{CHUNK_BYTES_MAX, FRAME_BYTES_MAX};

/// Longest that a test waits for anything.
const LIMIT: Duration = Duration::from_secs(20);

fn one(text: &'static str) -> Frames {
    Frames {
        header: Bytes::from_static(text.as_bytes()),
        body: None,
    }
}

/// A ROUTER that listens, and where.
fn listener(dir: &TempDir) -> (Context, Router, PathBuf) {
    let context = Context::new().unwrap();
    let mut router = Router::new(&context).unwrap();
    let path = dir.path().join("broker");
    router.bind(&path).unwrap();
    (context, router, path)
}

fn connected(context: &Context, path: &Path) -> Dealer {
    let mut dealer = Dealer::new(context).unwrap();
    dealer.connect(path).unwrap();
    let mut poll = Poll::new();
    let key = poll.socket(&dealer, Interest::WRITE);
    assert!(poll.wait(Some(LIMIT)).unwrap().writable(key), "no connection");
    dealer
}

fn from_router(router: &mut Router) -> (Peer, Received) {
    let mut poll = Poll::new();
    let key = poll.socket(&*router, Interest::READ);
    assert!(poll.wait(Some(LIMIT)).unwrap().readable(key), "nothing came");
    let (peer, received) = router.recv().unwrap().unwrap();
    (peer.unwrap(), received)
}

fn from_dealer(dealer: &mut Dealer) -> Received {
    let mut poll = Poll::new();
    let key = poll.socket(&*dealer, Interest::READ);
    assert!(poll.wait(Some(LIMIT)).unwrap().readable(key), "nothing came");
    dealer.recv().unwrap().unwrap()
}

#[test]
fn messages_go_both_ways() {
    let dir = TempDir::new().unwrap();
    let (context, mut router, path) = listener(&dir);
    let mut dealer = connected(&context, &path);
    assert_eq!(dealer.send(one("request")).unwrap(), Sent::Done);
    let (peer, received) = from_router(&mut router);
    assert_eq!(received, Received::Frames(one("request")));
    assert_eq!(router.send(peer, one("reply")).unwrap(), Sent::Done);
    assert_eq!(from_dealer(&mut dealer), Received::Frames(one("reply")));
    assert_eq!(dealer.recv().unwrap(), None);
    assert!(router.recv().unwrap().is_none());
}

#[test]
fn bodies_travel_as_second_frames() {
    let dir = TempDir::new().unwrap();
    let (context, mut router, path) = listener(&dir);
    let mut dealer = connected(&context, &path);
    for size in [0, 1, 512, 513, 8192, 8193, CHUNK_BYTES_MAX, FRAME_BYTES_MAX] {
        let body: Bytes = (0..size).map(|n| (n % 251) as u8).collect();
        let frames = Frames {
            header: Bytes::from_static(b"data"),
            body: Some(body),
        };
        assert_eq!(dealer.send(frames.clone()).unwrap(), Sent::Done);
        let (peer, received) = from_router(&mut router);
        assert_eq!(received, Received::Frames(frames.clone()), "{size}");
        assert_eq!(router.send(peer, frames.clone()).unwrap(), Sent::Done);
        assert_eq!(from_dealer(&mut dealer), Received::Frames(frames), "{size}");
    }
}

#[test]
fn third_frame_makes_a_message_malformed() {
    let dir = TempDir::new().unwrap();
    let (context, mut router, path) = listener(&dir);
    let stranger = context.socket(zmq::DEALER).unwrap();
    stranger.connect(&endpoint(&path).unwrap()).unwrap();
    stranger.send_multipart(["a", "bc", "def", "ghij"], 0).unwrap();
    stranger.send("next", 0).unwrap();
    let (peer, received) = from_router(&mut router);
    assert_eq!(received, Received::Malformed { frames: 4, bytes: 10 });
    assert_eq!(from_router(&mut router), (peer, Received::Frames(one("next"))));
}

#[test]
fn overlong_routing_id_is_no_peer() {
    let dir = TempDir::new().unwrap();
    let (context, mut router, path) = listener(&dir);
    let stranger = context.socket(zmq::DEALER).unwrap();
    stranger.set_identity(&[7; 200]).unwrap();
    stranger.connect(&endpoint(&path).unwrap()).unwrap();
    stranger.send("hello", 0).unwrap();
    let mut poll = Poll::new();
    poll.socket(&router, Interest::READ);
    poll.wait(Some(LIMIT)).unwrap();
    assert_eq!(router.recv().unwrap(), Some((None, Received::Frames(one("hello")))));
}

#[test]
fn nothing_is_queued_for_a_router_that_is_not_there() {
    let dir = TempDir::new().unwrap();
    let context = Context::new().unwrap();
    let path = dir.path().join("broker");
    let mut dealer = Dealer::new(&context).unwrap();
    dealer.connect(&path).unwrap();
    assert!(!dealer.has_route());
    assert_eq!(dealer.send(one("early")).unwrap(), Sent::NoRoute);

    let mut router = Router::new(&context).unwrap();
    router.bind(&path).unwrap();
    let mut poll = Poll::new();
    let key = poll.socket(&dealer, Interest::WRITE);
    assert!(poll.wait(Some(LIMIT)).unwrap().writable(key));
    assert!(dealer.has_route());
    assert_eq!(dealer.send(one("now")).unwrap(), Sent::Done);
    assert_eq!(from_router(&mut router).1, Received::Frames(one("now")));

    drop(router);
    let since = crate::clock::now();
    while dealer.has_route() {
        assert!(
            crate::clock::now().since(since) < LIMIT,
            "the connection to a router that is gone lives on"
        );
        std::thread::yield_now();
    }
    assert_eq!(dealer.send(one("late")).unwrap(), Sent::NoRoute);
}

#[test]
fn peer_that_is_gone_has_no_route() {
    let dir = TempDir::new().unwrap();
    let (context, mut router, path) = listener(&dir);
    let mut dealer = connected(&context, &path);
    assert_eq!(dealer.send(one("hello")).unwrap(), Sent::Done);
    let (peer, _) = from_router(&mut router);
    drop(dealer);
    let since = crate::clock::now();
    while router.send(peer, one("anybody?")).unwrap() == Sent::Done {
        assert!(
            crate::clock::now().since(since) < LIMIT,
            "a peer that is gone can still be sent to"
        );
        std::thread::yield_now();
    }
    let stranger = Peer::from_routing_id(b"nobody").unwrap();
    let body = Some(Bytes::from_static(b"body"));
    assert_eq!(
        router.send(stranger, Frames { body, ..one("x") }).unwrap(),
        Sent::NoRoute
    );
    let mut other = connected(&context, &path);
    assert_eq!(other.send(one("still here")).unwrap(), Sent::Done);
    assert_eq!(from_router(&mut router).1, Received::Frames(one("still here")));
}

#[test]
fn huge_frame_harms_only_its_sender() {
    let dir = TempDir::new().unwrap();
    let (context, mut router, path) = listener(&dir);
    let mut good = connected(&context, &path);
    let stranger = context.socket(zmq::DEALER).unwrap();
    stranger.set_linger(0).unwrap();
    stranger.connect(&endpoint(&path).unwrap()).unwrap();
    stranger.send("hello", 0).unwrap();
    let (peer, _) = from_router(&mut router);
    stranger.send(vec![0; FRAME_BYTES_MAX + 1], 0).unwrap();
    // The connection of the sender ends; it may come back under another routing id.
    let since = crate::clock::now();
    while router.send(peer, one("still there?")).unwrap() == Sent::Done {
        assert!(
            crate::clock::now().since(since) < LIMIT,
            "the sender of a huge frame is still connected"
        );
        std::thread::yield_now();
    }
    assert_eq!(good.send(one("good")).unwrap(), Sent::Done);
    assert_eq!(from_router(&mut router).1, Received::Frames(one("good")));
}

#[test]
fn router_takes_its_socket_file_away() {
    let dir = TempDir::new().unwrap();
    let (context, mut router, path) = listener(&dir);
    assert!(path.exists());
    router.unbind();
    assert!(!path.exists());

    router.bind(&path).unwrap();
    let mut successor = Router::new(&context).unwrap();
    successor.bind(&path).unwrap();
    drop(router);
    assert!(path.exists(), "the successor's socket was taken away");
    let mut dealer = connected(&context, &path);
    assert_eq!(dealer.send(one("hello")).unwrap(), Sent::Done);
    assert_eq!(from_router(&mut successor).1, Received::Frames(one("hello")));
}

#[test]
fn impossible_paths_are_refused_with_a_reason() {
    let dir = TempDir::new().unwrap();
    let context = Context::new().unwrap();
    let mut router = Router::new(&context).unwrap();

    let file = dir.path().join("file");
    fs::write(&file, "precious").unwrap();
    assert!(matches!(router.bind(&file), Err(NetError::NotASocket { .. })));
    assert_eq!(fs::read_to_string(&file).unwrap(), "precious");
    assert!(matches!(router.bind(&file.join("below")), Err(NetError::Bind { .. })));
    assert!(matches!(
        router.bind(&dir.path().join("none/x")),
        Err(NetError::Bind { .. })
    ));
    assert!(matches!(
        router.bind("relative".as_ref()),
        Err(NetError::BadPath { .. })
    ));

    let long = dir.path().join("x".repeat(107));
    let error = router.bind(&long).unwrap_err().to_string();
    assert!(error.contains("set ZHIT_RUNTIME_DIR"), "{error}");
    assert!(matches!(
        Dealer::new(&context).unwrap().connect(&long),
        Err(NetError::PathTooLong { .. })
    ));

    let closed = dir.path().join("closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o500)).unwrap();
    if !rustix::process::geteuid().is_root() {
        assert!(matches!(router.bind(&closed.join("x")), Err(NetError::Bind { .. })));
    }
}

#[test]
fn endpoints_name_paths() {
    assert_eq!(endpoint("/a/b".as_ref()).unwrap(), "ipc:///a/b");
    assert_eq!(endpoint_path("ipc:///a/b"), Some("/a/b".as_ref()));
    for bad in ["", "ipc://", "ipc://@a", "ipc://*", "tcp://127.0.0.1:1", "/a/b"] {
        assert_eq!(endpoint_path(bad), None, "{bad}");
    }
}

#[test]
fn waker_ends_a_wait() {
    let waker = Waker::new().unwrap();
    let wait = |timeout| {
        let mut poll = Poll::new();
        let key = poll.fd(&waker, Interest::READ);
        poll.wait(timeout).unwrap().readable(key)
    };
    assert!(!wait(Some(Duration::ZERO)));
    let other = waker.clone();
    let thread = std::thread::spawn(move || other.wake());
    assert!(wait(None));
    thread.join().unwrap();
    waker.wake();
    waker.drain();
    waker.drain();
    assert!(!wait(Some(Duration::ZERO)));
}

#[test]
fn descriptors_and_sockets_are_polled_together() {
    let dir = TempDir::new().unwrap();
    let (context, mut router, path) = listener(&dir);
    let mut dealer = connected(&context, &path);
    let (reader, mut writer) = io::pipe().unwrap();

    let mut poll = Poll::new();
    let keys = (poll.socket(&router, Interest::READ), poll.fd(&reader, Interest::READ));
    let ready = poll.wait(Some(Duration::from_micros(1))).unwrap();
    assert!(ready.is_empty() && !ready.readable(keys.0) && !ready.readable(keys.1));

    writer.write_all(b"x").unwrap();
    let mut poll = Poll::new();
    let keys = (
        poll.socket(&router, Interest::READ),
        poll.fd(&reader, Interest::READ.when(true)),
        poll.fd(&writer, Interest::READ | Interest::WRITE),
    );
    let ready = poll.wait(Some(LIMIT)).unwrap();
    assert!(!ready.readable(keys.0) && ready.readable(keys.1) && !ready.writable(keys.1));
    assert!(ready.writable(keys.2) && !ready.readable(keys.2) && !ready.failed(keys.2));

    assert_eq!(dealer.send(one("hello")).unwrap(), Sent::Done);
    assert_eq!(from_router(&mut router).1, Received::Frames(one("hello")));
}

#[test]
fn hung_up_pipe_is_readable_and_failed() {
    let (reader, writer) = io::pipe().unwrap();
    drop(writer);
    let mut poll = Poll::new();
    let keys = (poll.fd(&reader, Interest::READ), poll.fd(&reader, Interest::NONE));
    let ready = poll.wait(Some(LIMIT)).unwrap();
    assert!(ready.readable(keys.0) && ready.failed(keys.0));
    assert!(
        !ready.readable(keys.1) && !ready.failed(keys.1),
        "an item without interest is left alone"
    );
}

#[test]
fn wait_without_items_keeps_its_time() {
    let since = crate::clock::now();
    assert!(Poll::new().wait(Some(Duration::from_micros(1500))).unwrap().is_empty());
    assert!(crate::clock::now().since(since) >= Duration::from_micros(1500));
}
