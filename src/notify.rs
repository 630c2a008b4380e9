//! Tells a service manager that asked for it (`Type=notify` of systemd) when this process is ready, and when it leaves.
//!
//! The protocol is `sd_notify(3)`: one datagram to the socket that `$NOTIFY_SOCKET` names.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::atomic::{AtomicBool, Ordering};

use tracing::warn;

/// Names the socket; set by the service manager.
const VARIABLE: &str = "NOTIFY_SOCKET";

/// What was told last.
static READY: AtomicBool = AtomicBool::new(false);

/// It serves. Told once, until it leaves.
pub fn ready() {
    if !READY.swap(true, Ordering::AcqRel) {
        tell(b"READY=1\n");
    }
}

/// It finishes what runs and leaves.
pub fn stopping() {
    if READY.swap(false, Ordering::AcqRel) {
        tell(b"STOPPING=1\n");
    }
}

fn tell(state: &[u8]) {
    let Some(socket) = std::env::var_os(VARIABLE).filter(|socket| !socket.is_empty()) else {
        return;
    };
    // Whoever is not told waits for its own time to pass; this process goes on.
    if let Err(error) = send(&socket, state) {
        warn!(%error, "the service manager cannot be told");
    }
}

fn send(socket: &OsStr, state: &[u8]) -> io::Result<()> {
    let address = match socket.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(socket)?,
    };
    let ours = UnixDatagram::unbound()?;
    // A manager that does not read must not hold this process up.
    ours.set_nonblocking(true)?;
    ours.send_to_addr(state, &address).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_of_socket_are_told() {
        let room = tempfile::tempdir().unwrap();
        let path = room.path().join("notify");
        let by_path = UnixDatagram::bind(&path).unwrap();
        let name = format!("zhit-notify-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let by_name = UnixDatagram::bind_addr(&address).unwrap();
        for (socket, named) in [
            (by_path, path.clone().into_os_string()),
            (by_name, format!("@{name}").into()),
        ] {
            send(&named, b"READY=1\n").unwrap();
            let mut heard = [0; 32];
            let length = socket.recv(&mut heard).unwrap();
            assert_eq!(&heard[..length], b"READY=1\n");
        }
        assert!(send(room.path().join("none").as_os_str(), b"READY=1\n").is_err());
    }
}
