"""A worker in Python: worker.py KIND POOL SLOTS."""

import os
import sys
import threading
import time

import zhit

ROOM = os.environ["ROOM"]


def tell(name):
    """Makes a file for which the test waits."""
    with open(os.path.join(ROOM, "." + name), "w", encoding="utf-8") as file:
        file.write(f"{os.getpid()}\n")
    os.rename(file.name, os.path.join(ROOM, name))


class Echo(zhit.Handler):
    """Gives back what comes, as it comes."""

    def request(self, request):
        return request


class Script(zhit.Handler):
    """Does what the request says."""

    def __init__(self):
        self.made_on = threading.get_ident()

    def request(self, request):
        said = request.bytes()
        if said == b"fail":
            raise zhit.Fail(7, "it said no")
        if said == b"thread":
            return b"same thread" if threading.get_ident() == self.made_on else b"another thread"
        if said == b"wait":
            tell("started")
            return self.until(lambda: os.path.exists(os.path.join(ROOM, "go")))
        if said == b"hang":
            tell("hangs")
            return self.until(lambda: False)
        if said == b"stuck":
            tell("stuck")
            threading.Event().wait()
        return said

    def until(self, holds):
        """Notices at each `yield` that it is cancelled."""
        while not holds():
            time.sleep(0.01)
            yield b""
        yield b"waited"


kind, pool, slots = sys.argv[1:4]
zhit.Worker({"echo": Echo, "script": Script}[kind], pool, int(slots), grace=float((sys.argv[4:] or ["10"])[0])).run()
