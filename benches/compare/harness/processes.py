"""Processes: started, waited for, measured from outside, ended by their pid."""

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

READY_SECONDS = 10
LIMIT_SECONDS = 900
LOOK_EVERY_SECONDS = 0.02
TICKS = os.sysconf("SC_CLK_TCK")


def wait_for(holds, what, seconds=READY_SECONDS):
    until = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > until:
            raise RuntimeError(f"not seen within {seconds} s: {what}")
        time.sleep(LOOK_EVERY_SECONDS)


def said(child, wanted, seconds=READY_SECONDS):
    """Waits for a line of a child. It says no other before it, so none lies in the buffer."""
    if not select.select([child.stdout], [], [], seconds)[0] or child.stdout.readline().strip() != wanted:
        raise RuntimeError(f"{Path(child.args[0]).name} did not say {wanted!r}")


@contextlib.contextmanager
def running(*command, env=None, ready=None, seconds=READY_SECONDS):
    """A process for as long as the block takes; entered once it has printed the line `ready`, if one is named."""
    child = subprocess.Popen([str(word) for word in command], stdin=subprocess.DEVNULL,
                             stdout=subprocess.PIPE if ready else subprocess.DEVNULL,
                             stderr=subprocess.DEVNULL if quiet(command) else None, env=env, text=True)
    try:
        if ready:
            said(child, ready, seconds)
        yield child
    finally:
        end(child, seconds)


def quiet(command):
    """A server whose log is of no use here."""
    return Path(str(command[0])).name in ("nats-server", "gearmand")


def end(child, seconds=READY_SECONDS):
    child.terminate()
    try:
        child.wait(seconds)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def answers(command, wanted, env=None):
    """Whether `command` prints `wanted` before long; it is tried again while what it asks is starting."""
    until = time.monotonic() + READY_SECONDS
    last = None
    while time.monotonic() < until:
        try:
            last = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, env=env,
                                  timeout=READY_SECONDS)
        except subprocess.TimeoutExpired:
            break
        if last.stdout.strip() == wanted:
            return True
        time.sleep(0.1)
    what = f"exit {last.returncode}: {last.stderr.decode(errors='replace').strip()}" if last else "no answer"
    print(f"left out: {' '.join(command)}: {what}", file=sys.stderr)
    return False


def told(*command, env=None):
    """What a load prints: one JSON object."""
    done = subprocess.run([str(word) for word in command], stdin=subprocess.DEVNULL, capture_output=True, env=env,
                          text=True, timeout=LIMIT_SECONDS)
    if done.returncode:
        raise RuntimeError(f"{Path(str(command[0])).name} {command[1]}: exit {done.returncode}: {done.stderr.strip()}")
    return json.loads(done.stdout)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def listens(port):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def status_kib(pid, field):
    """VmHWM, VmRSS of a process in KiB; 0 if it has ended."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(field + ":"):
                return int(line.split()[1])
    return 0


def cpu_seconds(pid):
    """User and system time of all its threads so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def watched(child, seconds=LIMIT_SECONDS):
    """Waits for a child's end. Returns its peak of memory in KiB as last seen; a child that failed is an error."""
    peak, until = 0, time.monotonic() + seconds
    while child.poll() is None:
        peak = max(peak, status_kib(child.pid, "VmHWM"))
        if time.monotonic() > until:
            end(child)
            raise RuntimeError(f"{Path(child.args[0]).name} has not ended within {seconds} s")
        time.sleep(LOOK_EVERY_SECONDS / 4)
    if child.returncode:
        raise RuntimeError(f"{Path(child.args[0]).name}: exit {child.returncode}")
    return peak


def leave_at_sigterm():
    """So that what was started is ended then, too."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
