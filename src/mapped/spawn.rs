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
use std::os::fd::{AsRawFd as _, IntoRawFd as _, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::{Arc, Once};

use nix::libc;
use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, Signal};

use super::Words;

/// More than /proc/self/stat ever has: 52 numbers and the name of a command.
const STAT_BYTES_MAX: usize = 2048;

/// The handler's file descriptor for control lines.
const CONTROL_FD: libc::c_int = 3;

/// First file descriptor that is neither one of the three standard ones nor a handler's for control lines.
const FIRST_OTHER_FD: libc::c_uint = 4;

/// Makes the process that `command` starts the leader of a group of its own, which the kernel kills (its leader, with
/// SIGKILL) when the *thread* that spawns it ends, and which inherits nothing but its three standard files and `control`,
/// as its file descriptor 3.
///
/// To be spawned on the thread whose life it shares. Spawning fails with `ESRCH` if this process has ended meanwhile.
///
/// `known_at`: where it writes its process group and the time of its start, before it becomes the handler, so that what it
/// starts can be found even if this process dies at once (rule O2).
pub fn tie_to_this_thread(command: &mut Command, control: OwnedFd, known_at: Option<GroupCell>) {
    reserve_control_number();
    let parent = rustix::process::getpid();
    command.process_group(0);
    // SAFETY: the closure runs in the forked child, where only async-signal-safe calls are sound: it makes bare system
    // calls (rustix's linux_raw backend, `syscall`) and builds errors from numbers; nothing allocates, locks or panics.
    unsafe {
        command.pre_exec(move || {
            tie(parent)?;
            give_control(control.as_raw_fd())?;
            if let Some(cell) = &known_at {
                cell.fill();
            }
            Ok(())
        });
    }
}

/// Has the kernel tell the process that `command` starts to end (SIGTERM) when the *thread* that spawns it ends, however it
/// ends. To be spawned on the thread whose life it shares.
pub fn end_with_this_thread(command: &mut Command) {
    let parent = rustix::process::getpid();
    // SAFETY: as in `tie_to_this_thread`: bare system calls, and errors from numbers.
    unsafe {
        command.pre_exec(move || {
            rustix::process::set_parent_process_death_signal(Some(Signal::TERM))?;
            // A parent that died before the call above sends no signal any more.
            if rustix::process::getppid() != Some(parent) {
                return Err(rustix::io::Errno::SRCH.into());
            }
            Ok(())
        });
    }
}

/// Makes the process that `command` starts the leader of a session of its own, which no terminal's ^C or ^Z reaches, and
/// which inherits nothing but its three standard files.
pub fn in_own_session(command: &mut Command) {
    // SAFETY: as in `tie_to_this_thread`: bare system calls, and errors from numbers.
    unsafe {
        command.pre_exec(|| {
            rustix::process::setsid()?;
            keep_no_files_from(CONTROL_FD.cast_unsigned());
            Ok(())
        });
    }
}

/// Where a child writes who it is: two numbers of a mapped file.
#[derive(Clone, Debug)]
pub struct GroupCell {
    /// The file.
    pub words: Arc<Words>,
    /// Where its process group stands; stored last.
    pub group: usize,
    /// Where the time of its start stands.
    pub start: usize,
}

impl GroupCell {
    /// Runs in the child: stores atomically, and allocates nothing.
    fn fill(&self) {
        let Some(start) = own_start_ticks() else { return };
        let pid = rustix::process::getpid().as_raw_nonzero().get().unsigned_abs();
        self.words.store(self.start, start);
        self.words.store(self.group, pid.into());
    }
}

/// Field 22 of /proc/self/stat (proc(5)), read with bare system calls.
fn own_start_ticks() -> Option<u64> {
    let mut text = [0; STAT_BYTES_MAX];
    let file = rustix::fs::open(c"/proc/self/stat", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let length = rustix::io::read(&file, &mut text).ok()?;
    let text = text.get(..length)?;
    // The second field is the command in parentheses, and may hold anything.
    let behind = text.iter().rposition(|byte| *byte == b')')? + 2;
    let digits = text.get(behind..)?.split(|byte| *byte == b' ').nth(22 - 3)?;
    digits.iter().try_fold(0_u64, |number, digit| {
        let digit = u64::from(digit.wrapping_sub(b'0'));
        (digit < 10).then(|| number * 10 + digit)
    })
}

/// Runs in the child.
fn tie(parent: Pid) -> io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    // A parent that died before the call above sends no signal any more.
    if rustix::process::getppid() != Some(parent) {
        return Err(rustix::io::Errno::SRCH.into());
    }
    keep_no_files_from(FIRST_OTHER_FD);
    Ok(())
}

/// Runs in the child: moves its end of the control pipe to the number that it is known by.
fn give_control(control: RawFd) -> io::Result<()> {
    // SAFETY: dup2(2) and fcntl(2) take numbers and touch no memory. The number 3 is nobody's in the child: see
    // `reserve_control_number`.
    let given = unsafe {
        if control == CONTROL_FD {
            libc::fcntl(control, libc::F_SETFD, 0)
        } else {
            libc::dup2(control, CONTROL_FD)
        }
    };
    if given < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// Keeps the number 3 taken in this process for ever, so that the pipe on which the standard library reports a failed exec
/// never has it: the child would close that pipe by putting its own there.
fn reserve_control_number() {
    static RESERVED: Once = Once::new();
    RESERVED.call_once(|| {
        // The lowest free number is taken. Without /dev/null no handler could be started anyway.
        while let Ok(null) = rustix::fs::open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) {
            if null.as_raw_fd() > CONTROL_FD {
                return;
            }
            let _ = null.into_raw_fd();
        }
    });
}

/// Marks every file from this number on close-on-exec. The worker opens its own so anyway; this is for what it was
/// itself given by a careless parent, and for libraries: a lock kept open by a handler's daemon would never fall.
fn keep_no_files_from(first: libc::c_uint) {
    // SAFETY: close_range(2) takes three numbers and touches no memory. With CLOEXEC it closes nothing yet, so that the
    // pipe on which the standard library reports a failed exec stays open. A kernel before 5.11 refuses, harmlessly.
    unsafe {
        libc::syscall(
            libc::SYS_close_range,
            first,
            libc::c_uint::MAX,
            libc::CLOSE_RANGE_CLOEXEC,
        );
    }
}
