"""The servers that are compared: zhit, raw libzmq, gearman, NATS; each in a directory or at a port of its own."""

import contextlib
import json
import os
import resource
import shutil
import subprocess
from pathlib import Path

from .processes import LIMIT_SECONDS, free_port, listens, running, wait_for

HOST = "alpha"


class Zhit:
    """A broker and its workers."""

    def __init__(self, program, directory):
        self.program, self.directory = program, directory
        self.env = dict(os.environ, ZHIT_RUNTIME_DIR=str(directory), ZHIT_HOST=HOST, ZHIT_LOG="warn")
        self.env.pop("ZHIT_LAYOUT", None)
        self.broker, self.workers = None, []

    @property
    def socket(self):
        return self.directory / "default" / HOST / "broker.sock"

    def idle_slots(self):
        command = [self.program, "ping", "--format", "json", "--wait", "1s"]
        done = subprocess.run(command, env=self.env, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, timeout=LIMIT_SECONDS)
        for line in done.stdout.splitlines():
            probe = json.loads(line)
            if probe["kind"] == "probe" and probe["answered"]:
                return probe["slots"]["idle"]
        return 0


@contextlib.contextmanager
def zhit_serving(program, directory, *handler):
    """A broker and a worker in a runtime directory of their own; yields the environment that leads there."""
    with zhit_fleet(program, directory, [handler]) as zhit:
        yield zhit.env


@contextlib.contextmanager
def zhit_fleet(program, directory, workers, slots=None, seconds=30):
    """A broker and workers with these words each; entered once so many slots are idle. Workers end first: while there
    are any, they would elect the next broker."""
    directory.mkdir()
    zhit = Zhit(program, directory)
    with contextlib.ExitStack() as stack:
        zhit.broker = stack.enter_context(running(program, "broker", env=zhit.env, seconds=seconds))
        for words in workers:
            zhit.workers.append(stack.enter_context(running(program, "worker", *words, env=zhit.env, seconds=seconds)))
        wanted = slots or len(workers)
        wait_for(lambda: zhit.idle_slots() >= wanted, f"{wanted} idle slots", seconds)
        yield zhit
    shutil.rmtree(directory, ignore_errors=True)


class Raw:
    """Where the C programs lie, and endpoints for them."""

    def __init__(self, programs, directory):
        self.programs, self.directory = programs, directory
        directory.mkdir()

    def program(self, name):
        return self.programs / name

    def endpoint(self, name):
        return f"ipc://{self.directory}/{name}.sock"

    @contextlib.contextmanager
    def echo(self):
        """A ROUTER that echoes."""
        with running(self.program("echo"), self.endpoint("echo"), ready="ready"):
            yield self.endpoint("echo")

    @contextlib.contextmanager
    def proxy(self, name, workers):
        """A ROUTER-ROUTER proxy with one process of so many workers behind it."""
        front, back = self.endpoint(f"{name}-front"), self.endpoint(f"{name}-back")
        with running(self.program("proxy"), "route", front, back, workers, ready="ready") as proxy:
            with running(self.program("proxy"), "work", back, workers):
                if proxy.stdout.readline().strip() != "open":
                    raise RuntimeError("the raw proxy did not open")
                yield front


@contextlib.contextmanager
def gearmand_serving(bench):
    """gearmand; yields its port, or None if it is not there."""
    program = shutil.which("gearmand") or "/usr/sbin/gearmand"
    if not Path(program).exists():
        bench.lacks("gearmand", "apt-get install gearman-job-server")
        yield None
        return
    port = free_port()
    with running(program, "--listen", "127.0.0.1", "--port", port, "--log-file", "none"):
        wait_for(lambda: listens(port), "gearmand's port")
        yield port


@contextlib.contextmanager
def gearman_echoing(bench):
    """gearmand with one worker in C that echoes; yields its port, or None."""
    program = bench.raw.program("gear")
    if not program.exists():
        bench.lacks("libgearman", "apt-get install libgearman-dev")
        yield None
        return
    with gearmand_serving(bench) as port:
        if port is None:
            yield None
            return
        with running(program, "work", port, ready="ready"):
            yield port


@contextlib.contextmanager
def nats_echoing(bench):
    """nats-server with one responder; yields its URL, or None."""
    program = shutil.which("nats-server") or "/usr/sbin/nats-server"
    if not Path(program).exists():
        bench.lacks("nats-server", "apt-get install nats-server")
        yield None
        return
    if not bench.nats_load:
        yield None
        return
    port = free_port()
    with running(program, "-a", "127.0.0.1", "-p", port):
        wait_for(lambda: listens(port), "nats-server's port")
        with running(bench.nats_load, "respond", f"nats://127.0.0.1:{port}", ready="ready"):
            yield f"nats://127.0.0.1:{port}"


def raise_descriptor_limit():
    """To the hard limit, for ten thousand connections; what is started here inherits it."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard
