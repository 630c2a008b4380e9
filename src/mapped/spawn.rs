//! What a handler's process does between fork and exec: it ties its life to its slot's thread and takes no file of the
//! worker's with it (rule O9).
//!
//! The standard library has by then moved the pipes to 0, 1 and 2, joined the process group, emptied the signal mask
//! and set SIGPIPE to its default; exec itself resets every signal that the worker handles.

#![allow(
    unsafe_code,
    reason = "`pre_exec` is the only way into the time between fork and exec"
)]

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::libc;
use rustix::process::{Pid, Signal};

/// First file descriptor that is not one of the three standard ones.
const FIRST_OTHER_FD: libc::c_uint = 3;

/// Makes the process that `command` starts the leader of a group of its own, which the kernel kills (its leader, with
/// SIGKILL) when the *thread* that spawns it ends, and which inherits nothing but its three standard files.
///
/// To be spawned on the thread whose life it shares. Spawning fails with `ESRCH` if this process has ended meanwhile.
pub fn tie_to_this_thread(command: &mut Command) {
    let parent = rustix::process::getpid();
    command.process_group(0);
    // SAFETY: the closure runs in the forked child, where only async-signal-safe calls are sound: it makes bare system
    // calls (rustix's linux_raw backend, `syscall`) and builds errors from numbers; nothing allocates, locks or panics.
    unsafe {
        command.pre_exec(move || tie(parent));
    }
}

/// Makes the process that `command` starts the leader of a session of its own, which no terminal's ^C or ^Z reaches, and
/// which inherits nothing but its three standard files.
pub fn in_own_session(command: &mut Command) {
    // SAFETY: as in `tie_to_this_thread`: bare system calls, and errors from numbers.
    unsafe {
        command.pre_exec(|| {
            rustix::process::setsid()?;
            keep_no_other_files();
            Ok(())
        });
    }
}

/// Runs in the child.
fn tie(parent: Pid) -> io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    // A parent that died before the call above sends no signal any more.
    if rustix::process::getppid() != Some(parent) {
        return Err(rustix::io::Errno::SRCH.into());
    }
    keep_no_other_files();
    Ok(())
}

/// Marks every file but the standard ones close-on-exec. The worker opens its own so anyway; this is for what it was
/// itself given by a careless parent, and for libraries: a lock kept open by a handler's daemon would never fall.
fn keep_no_other_files() {
    // SAFETY: close_range(2) takes three numbers and touches no memory. With CLOEXEC it closes nothing yet, so that the
    // pipe on which the standard library reports a failed exec stays open. A kernel before 5.11 refuses, harmlessly.
    unsafe {
        libc::syscall(
            libc::SYS_close_range,
            FIRST_OTHER_FD,
            libc::c_uint::MAX,
            libc::CLOSE_RANGE_CLOEXEC,
        );
    }
}
