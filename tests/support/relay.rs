//! A test's own relay in the place of a slot's socket: it counts what passes, and can break or swallow it.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// What passes at once.
const BUFFER_BYTES: usize = 64 * 1024;

#[derive(Default)]
struct Shared {
    connections: AtomicUsize,
    to_slot: AtomicU64,
    to_client: AtomicU64,
    /// Reads on, and passes nothing on.
    swallows: AtomicBool,
    /// Both ends of every connection.
    streams: Mutex<Vec<UnixStream>>,
    ended: AtomicBool,
}

/// Between clients and a slot, until it is dropped.
pub(crate) struct Relay {
    shared: Arc<Shared>,
    path: PathBuf,
}

impl Relay {
    /// Takes the place of the socket at this path; whoever is connected there already stays so.
    pub(crate) fn before(path: &Path) -> Self {
        let behind = path.with_extension("behind");
        fs::rename(path, &behind).expect("the slot has a socket");
        let listener = UnixListener::bind(path).expect("its place is free");
        let shared = Arc::new(Shared::default());
        let relay = Self {
            shared: Arc::clone(&shared),
            path: path.to_owned(),
        };
        std::thread::spawn(move || {
            while let Ok((client, _)) = listener.accept() {
                if shared.ended.load(Ordering::Acquire) {
                    break;
                }
                shared.connections.fetch_add(1, Ordering::AcqRel);
                let slot = UnixStream::connect(&behind).expect("the slot listens");
                shared.keep(&client, &slot);
                pass(&shared, &client, &slot, |shared| &shared.to_slot);
                pass(&shared, &slot, &client, |shared| &shared.to_client);
            }
        });
        relay
    }

    /// How many have connected.
    pub(crate) fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::Acquire)
    }

    /// Bytes that have come from clients, and from the slot.
    pub(crate) fn passed(&self) -> (u64, u64) {
        let [to_slot, to_client] = [&self.shared.to_slot, &self.shared.to_client];
        (to_slot.load(Ordering::Acquire), to_client.load(Ordering::Acquire))
    }

    /// Breaks every connection, and refuses others.
    pub(crate) fn break_off(&self) {
        fs::remove_file(&self.path).expect("its socket");
        self.shared.break_all();
    }

    /// Breaks every connection; others can be made.
    pub(crate) fn interrupt(&self) {
        self.shared.break_all();
    }

    /// From now on nothing passes, though connections stay.
    pub(crate) fn swallow(&self) {
        self.shared.swallows.store(true, Ordering::Release);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Release);
        // Its thread waits for somebody to connect.
        let _ = UnixStream::connect(&self.path);
        let _ = fs::remove_file(&self.path);
        let _ = fs::remove_file(self.path.with_extension("behind"));
        self.shared.break_all();
    }
}

impl Shared {
    fn keep(&self, client: &UnixStream, slot: &UnixStream) {
        let ends = [client, slot].map(|end| end.try_clone().expect("a descriptor"));
        self.streams.lock().expect("no thread has panicked").extend(ends);
    }

    fn break_all(&self) {
        for stream in self.streams.lock().expect("no thread has panicked").drain(..) {
            // One that has ended already is broken.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

/// Passes bytes on until one end has gone; then the other goes, too.
fn pass(shared: &Arc<Shared>, from: &UnixStream, to: &UnixStream, counter: fn(&Shared) -> &AtomicU64) {
    let shared = Arc::clone(shared);
    let [mut from, mut to] = [from, to].map(|end| end.try_clone().expect("a descriptor"));
    std::thread::spawn(move || {
        let mut buffer = vec![0; BUFFER_BYTES];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            counter(&shared).fetch_add(count as u64, Ordering::AcqRel);
            let swallows = shared.swallows.load(Ordering::Acquire);
            if !swallows && to.write_all(&buffer[..count]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Both);
        let _ = from.shutdown(Shutdown::Both);
    });
}
