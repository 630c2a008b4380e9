//! Broker and worker as services of a manager that wants to be told (`Type=notify`).

use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use rustix::process::Signal;

use crate::cluster::{Host, eventually, skipped};

/// What the manager is told next.
fn told(manager: &UnixDatagram) -> String {
    eventually("what the service manager is told", || {
        let mut heard = [0; 64];
        let length = manager.recv(&mut heard).ok()?;
        Some(String::from_utf8_lossy(&heard[..length]).into_owned())
    })
}

#[test]
fn a_service_manager_is_told_when_they_serve_and_leave() {
    let host = Host::new();
    for command in [
        &["broker"][..],
        &["worker", "--", "sh", "-c", "echo ${NOTIFY_SOCKET:-none}"],
    ] {
        let socket = host.room().join(command[0]);
        let manager = UnixDatagram::bind(&socket).expect("a socket");
        manager
            .set_read_timeout(Some(Duration::from_millis(50)))
            .expect("a limit");
        let mut service = host.zhit(command).env("NOTIFY_SOCKET", &socket).start();
        assert_eq!(told(&manager), "READY=1\n", "{command:?}");
        if command[0] == "worker" {
            host.client(&["x"]).run().code(0).wrote("none\n");
        }
        service.signal(Signal::TERM);
        assert_eq!(told(&manager), "STOPPING=1\n", "{command:?}");
        service.wait().code(0);
    }
    host.stop();
}

/// What a container's first processes find: a session that was begun outside, for which the kernel has no number here.
#[test]
fn a_host_may_be_in_a_container() {
    const UNSHARE: [&str; 6] = [
        "--user",
        "--map-root-user",
        "--pid",
        "--fork",
        "--kill-child",
        "--mount-proc",
    ];
    let host = Host::new();
    let inside = |script: &'static str| {
        let all: Vec<_> = UNSHARE.iter().chain(&["sh", "-c", script]).copied().collect();
        host.run_program("unshare", &all)
            .env("ZHIT", env!("CARGO_BIN_EXE_zhit"))
            .run()
    };
    let tried = inside("cut -d' ' -f6 /proc/self/stat");
    if tried.code != 0 {
        return skipped(&format!("no namespace may be made here: {}", tried.stderr.trim()));
    }
    tried.wrote("0\n");
    let ran = inside("$ZHIT worker & $ZHIT client a; kill $!; wait $!");
    ran.code(0).wrote("World\n");
    // The broker ends with its container.
}
