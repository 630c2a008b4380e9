"""Clients and workers of zhit in Python: one file, pyzmq alone, written from docs/protocol.md (its sections are cited).

    with zhit.Hit() as hit:                                  class Upper(zhit.Handler):
        print(hit.ask(b"Hello").bytes())                         def request(self, request):
                                                                     for piece in request:
                                                                         yield piece.upper()

                                                             zhit.Worker(Upper, slots=2).run()

A thread of the Hit's own keeps it alive and owns its socket, so a caller may be as slow as it likes. All bodies are
streams: what is not read holds the other end back, and no body is ever in memory as a whole.
"""

from __future__ import annotations

import collections
import errno
import fcntl
import os
import queue
import random
import re
import secrets
import signal
import socket
import stat
import struct
import sys
import threading
import time
import traceback
from types import SimpleNamespace
from typing import Any, BinaryIO, Callable, Iterable, Iterator, NamedTuple, Optional, Union

import zmq

FRAME, CHUNK, INLINE, SEGMENTS = 1 << 20, 256 << 10, 8 << 10, 4096  # limits of the wire, section 10
MESSAGE_COST, FIRST_CREDIT, WINDOW = 64, 64 << 10, 4 << 20
INTERVAL, LIVENESS = 1.0, 3  # a client's own; a worker is told the broker's
OK, DEADLINE, NOT_STARTED, REFUSED, CANCELLED = 0, 0x10000, 0x10001, 0x10002, 0x10003  # section 3.4
BODY, STDERR, NOTE = 0, 1, 2  # channels
NO_KEY = bytes(16)
CLOSED_REASONS = ("", "its client closed it", "its client was silent for its ttl", "its worker left", "its worker died",
                  "its handler ended it", "the protocol was broken", "the broker does not know it",
                  "another client holds it", "who held it has ended")

# ---------------------------------------------------------------- errors


class Error(Exception):
    """What can go wrong; `exit_code` is that of `zhit client`."""

    exit_code = 2


class Failed(Error):
    """The handler failed this request (`Reply.check`)."""

    exit_code = 1


class NoBroker(Error):
    """No broker was reached within `wait`: nothing of the Hit ever left."""

    exit_code = 4


class NoSlot(Error):
    """No slot was free within `wait`, and the broker has confirmed that none was leased."""

    exit_code = 5


class Lost(Error):
    """The Hit ended before all was answered; all requests after `may_have_run` never ran (section 7.7)."""

    exit_code = 6

    def __init__(self, why: str, answered: range = range(0), may_have_run: range = range(0)):
        super().__init__(f"{why}; answered: {_span(answered)}; may have run without an answer: {_span(may_have_run)}")
        self.why, self.answered, self.may_have_run = why, answered, may_have_run


class TimedOut(Lost, TimeoutError):
    """The deadline passed, and the slot did not end the request within another interval."""

    exit_code = 124


class Fail(Exception):
    """Raised by a handler: this request fails with `code` (1–255); the Hit goes on."""

    def __init__(self, code: int, message: str = ""):
        super().__init__(message)
        self.code = code


class Cancelled(Exception):
    """Raised in a handler that reads or writes: its client is gone, its deadline has passed, or its worker ends."""


class Refused(ValueError):
    """A message that is not exactly as section 3 says. It counts as not received."""


class Violation(Exception):
    """The other end broke the rules of the stream."""


def _span(seqs: range) -> str:
    return "none" if not seqs else str(seqs[0]) if len(seqs) == 1 else f"{seqs[0]} to {seqs[-1]}"


# ---------------------------------------------------------------- codec (sections 3 and 4)


class Ack(NamedTuple):
    """The next byte wanted, and how far the sender may go."""

    seq: int
    offset: int
    limit: int


class Holder(NamedTuple):
    """The process that holds a Hit, and when it started; 0: it is on another host."""

    pid: int
    start: int


class Segment(NamedTuple):
    """A piece of a message; `status` is None unless the message ends with it."""

    channel: int
    data: Union[bytes, memoryview]
    status: Optional[int]


class Packet(NamedTuple):
    """Segments in a row from a place on, and an acknowledgement of the other stream."""

    ack: Ack
    seq: int = 1
    offset: int = 0
    segments: list = []  # never changed


# number: name, which of (h)it, (a)ttach, attemp(t) the head uses ("?": the hit may be zero), flags, fields; one with
# "N?" before it is there if flag N is set.
_TABLE = {
    0x01: ("REGISTER", "?", 7, "worker:I slot:I incarnation:Q pid:I slots:I pool:name"),
    0x02: ("REGISTERED", "", 0, "term:Q dir:16 interval_ms:I liveness:I host:name"),
    0x03: ("HEARTBEAT", "", 0, "term:Q beat:Q"),
    0x04: ("GOODBYE", "", 0, "worker:I slot:I incarnation:Q"),
    0x05: ("FAREWELL", "", 0, ""),
    0x06: ("DISCONNECT", "", 0, "reason:1-5"),
    0x07: ("YIELD", "", 1, "pid:I start:Q"),
    0x10: ("OPEN", "hat", 31, "term:Q dir:16 age_ms:I ttl_ms:I timeout_ms:I 8?holder:holder pool:name packet:packet"),
    0x11: ("FULL", "ht", 0, "reason:1-4 term:Q hints:256*host:name,idle:I"),
    0x12: ("QUEUED", "ht", 0, "term:Q ahead:I slots:I busy:I"),
    0x13: ("WITHDRAW", "ht", 0, ""),
    0x14: ("WITHDRAWN", "ht", 0, ""),
    0x15: ("HELD", "ht", 0, "term:Q worker:I slot:I silent_ms:I"),
    0x20: ("LEASE", "hat", 14, "term:Q ttl_ms:I timeout_ms:I 8?holder:holder packet:packet"),
    0x21: ("DECLINED", "ht", 0, "reason:1-5 serving:16"),
    0x22: ("RELEASED", "h", 0, ""),
    0x30: ("OPENED", "hat", 1, "client:Q term:Q dir:16 worker:I slot:I first_seq:Q ack:ack ttl_ms:I started:Q "
                               "answered:Q host:name endpoints:8*endpoint:text256"),
    0x31: ("ATTACH", "ha", 0, "client:Q timeout_ms:I"),
    0x32: ("OCCUPIED", "ha", 0, "client:Q current:I"),
    0x33: ("DATA", "ha", 1, "packet:packet"),
    0x34: ("ACK", "ha", 3, "ack:ack"),
    0x35: ("KEEPALIVE", "ha", 0, "ack:ack"),
    0x36: ("WORKING", "ha", 1, "ack:ack state:0-4 seq:Q elapsed_ms:Q bytes_in:Q bytes_out:Q "
                                "1?done:Q 1?total:Q 1?note:text4096"),
    0x37: ("CLOSE", "ha", 0, "reason:1-3 ack:ack"),
    0x38: ("CLOSED", "ha", 0, "reason:1-9 started:Q answered:Q note:text4096"),
    0x40: ("BALLOT", "", 0, "member:I incarnation:Q term:Q pid:I start:Q beat:Q"),
    0x41: ("VOTE", "", 1, "member:I incarnation:Q term:Q pid:I start:Q beat:Q"),
    0x50: ("PING", "", 0, "nonce:Q"),
    0x51: ("PONG", "", 0, "nonce:Q term:Q uptime_ms:Q pid:I queued:I workers_total:I host:name version:text64 "
                          "trouble:text4096 "
                          "workers:4096*worker:I,pid:I,slots:I,busy:I,hung:I,silent_ms:I,still_ms:I,flags:0-1,"
                          "pool:name"),
}
QUEUE, CLOSE_AFTER, RESUME = 1, 2, 4  # flags of OPEN; LEASE has the last two
DRAINING, TO_SLOT, GAP = 4, 1, 2  # flags of REGISTER; DATA and ACK; ACK
_NUMBERS = {row[0]: number for number, row in _TABLE.items()}
_HEAD = struct.Struct(">2sBBB3s16sII")
_PACKET = struct.Struct(">QQQQQH")
_ENTRY = struct.Struct(">B3sII")
_NAME = re.compile(rb"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}")


def _fields(flags: int, text: str) -> list[list[str]]:
    """The name and kind of each field that is there with these flags."""
    fields = (field.rpartition("?") for field in text.split())
    return [field.split(":", 1) for flag, _, field in fields if not flag or flags & int(flag)]


def encode(name: str, flags: int = 0, hit: bytes = NO_KEY, attach: int = 0, attempt: int = 0, **values: Any) -> list:
    """The frames of a message."""
    number = _NUMBERS[name]
    out = bytearray(_HEAD.pack(b"ZH", 1, number, flags, bytes(3), hit, attach, attempt))
    frames: list = [out]

    def put(kind: str, value: Any) -> None:
        if kind in "IQ":
            out.extend(struct.pack(">" + kind, value))
        elif kind == "ack":
            out.extend(struct.pack(">QQQ", *value))
        elif kind == "holder":
            out.extend(struct.pack(">IQ", *value))
        elif kind == "16":
            out.extend(value)
        elif kind == "packet":
            out.extend(_PACKET.pack(*value.ack, value.seq, value.offset, len(value.segments)))
            for channel, data, status in value.segments:
                out.extend(_ENTRY.pack(channel | (0 if status is None else 0x80), bytes(3), len(data), status or 0))
            if sum(len(segment.data) for segment in value.segments) <= INLINE:
                out.extend(b"".join(segment.data for segment in value.segments))
            else:
                one = len(value.segments) == 1
                frames.append(value.segments[0].data if one else b"".join(s.data for s in value.segments))
        elif "*" in kind:
            out.extend(struct.pack(">H", len(value)))
            for entry in value:
                for field in kind.split("*")[1].split(","):
                    put(field.split(":")[1], getattr(entry, field.split(":")[0]))
        elif "-" in kind:
            out.append(value)
        else:  # name, text
            out.extend(struct.pack(">H", len(value.encode())) + value.encode())

    for field, kind in _fields(flags, _TABLE[number][3]):
        put(kind, values[field])
    return frames


def decode(frames: list) -> SimpleNamespace:
    """The message in these frames: `name`, `flags`, `hit`, `attach`, `attempt` and its fields. Raises `Refused`."""
    if not 1 <= len(frames) <= 2 or max(map(len, frames)) > FRAME or len(frames[-1]) > CHUNK and len(frames) == 2:
        raise Refused("too large")
    frame, at = frames[0], _HEAD.size
    if len(frame) < at:
        raise Refused("short")
    magic, version, number, flags, reserved, hit, attach, attempt = _HEAD.unpack_from(frame)
    if magic != b"ZH" or version != 1 or number not in _TABLE:
        raise Refused("magic, version or command")
    name, uses, known_flags, fields = _TABLE[number]
    if reserved != bytes(3) or flags & ~known_flags or ("h" in uses and hit == NO_KEY):
        raise Refused("field")
    if (not uses and hit != NO_KEY) or (attach and "a" not in uses) or (attempt and "t" not in uses):
        raise Refused("field")

    def take(count: int) -> bytes:
        nonlocal at
        if count > len(frame) - at:
            raise Refused("short")
        at += count
        return frame[at - count:at]

    def get(kind: str) -> Any:
        if kind in "IQ":
            return int.from_bytes(take(4 if kind == "I" else 8), "big")
        if kind == "16":
            return take(16)
        if kind == "ack":
            return Ack(*struct.unpack(">QQQ", take(24)))
        if kind == "holder":
            return Holder(*struct.unpack(">IQ", take(12)))
        if kind == "packet":
            return _unpack_packet(take, len(frame) - at, frames)
        if "*" in kind:
            most, entry = kind.split("*")
            count = int.from_bytes(take(2), "big")
            if count > int(most):
                raise Refused("field")
            parts = [field.split(":") for field in entry.split(",")]
            return [SimpleNamespace(**{part: get(kind) for part, kind in parts}) for _ in range(count)]
        if "-" in kind:
            value, (least, most) = take(1)[0], kind.split("-")
            if not int(least) <= value <= int(most):
                raise Refused("field")
            return value
        text = take(int.from_bytes(take(2), "big"))
        if not _NAME.fullmatch(text) if kind == "name" else len(text) > int(kind[4:]):
            raise Refused("field")
        try:
            return text.decode()
        except UnicodeDecodeError:
            raise Refused("field") from None

    values = {field: get(kind) for field, kind in _fields(flags, fields)}
    if at != len(frame):
        raise Refused("trailing")
    if len(frames) == 2 and "packet" not in values:
        raise Refused("field")
    return SimpleNamespace(name=name, flags=flags, hit=hit, attach=attach, attempt=attempt, **values)


def _unpack_packet(take: Callable[[int], bytes], left: int, frames: list) -> Packet:
    *ack, seq, offset, count = _PACKET.unpack(take(_PACKET.size))
    left -= _PACKET.size
    if count > SEGMENTS or count * _ENTRY.size > left:
        raise Refused("field")
    entries = list(_ENTRY.iter_unpack(take(count * _ENTRY.size)))
    left -= count * _ENTRY.size
    if left > INLINE or (left and len(frames) == 2):
        raise Refused("field")
    data = take(left) if len(frames) == 1 else frames[1]
    segments, at, ends = [], 0, 0
    for flags, reserved, length, status in entries:
        end = bool(flags & 0x80)
        if flags & 0x7C or flags & 3 == 3 or reserved != bytes(3) or (status and not end):
            raise Refused("field")
        if not (status < 0x200 or DEADLINE <= status <= CANCELLED):
            raise Refused("field")
        whole = at == 0 and length == len(data)
        segments.append(Segment(flags & 3, data if whole else data[at:at + length], status if end else None))
        at, ends = at + length, ends + end
    if at != len(data):
        raise Refused("short" if at > len(data) else "trailing")
    if seq + ends >= 1 << 64 or offset + at >= 1 << 64:
        raise Refused("field")
    return Packet(Ack(*ack), seq, offset, segments)


# ---------------------------------------------------------------- the stream (section 5)


class _Outgoing:
    """A message that is being written."""

    def __init__(self) -> None:
        self.pieces: collections.deque = collections.deque()  # (channel, bytes) that were not sent yet
        self.size = 0
        self.status: Optional[int] = None
        self.sent = False

    def write(self, data: Any, channel: int = BODY) -> None:
        view = memoryview(data).cast("B") if not isinstance(data, bytes) else memoryview(data)
        if len(view):
            self.pieces.append((channel, view))
            self.size += len(view)


class _Piece(NamedTuple):
    seq: int
    offset: int
    segment: Segment

    def after(self) -> tuple[int, int]:
        if self.segment.status is not None:
            return self.seq + 1, 0
        return self.seq, self.offset + len(self.segment.data)


class Sender:
    """One end of a stream: cuts messages into pieces as credit allows, and keeps those that are not acknowledged."""

    def __init__(self, limit: int):
        self.limit, self.position = limit, 0
        self.place = self.acked = (1, 0)
        self.begun = False  # the message at `place` has cost its 64
        self.messages: collections.deque[_Outgoing] = collections.deque()
        self.kept: collections.deque[_Piece] = collections.deque()
        self.due: collections.deque[_Piece] = collections.deque()  # to be sent, perhaps again
        self.sent_at = 0.0
        self.repeated_from: Optional[tuple[int, int]] = None

    def _cut(self) -> bool:
        if not self.messages:
            return False
        message = self.messages[0]
        room = self.limit - self.position - (0 if self.begun else MESSAGE_COST)
        channel, data = BODY, memoryview(b"")
        if room < 0 or (message.pieces and not room) or not (message.pieces or message.status is not None):
            return False
        if message.pieces:
            channel, view = message.pieces.popleft()
            data = view[:min(room, CHUNK)]
            if len(data) < len(view):
                message.pieces.appendleft((channel, view[len(data):]))
            message.size -= len(data)
        self.position = self.limit - room + len(data)
        status = None if message.pieces else message.status
        piece = _Piece(*self.place, Segment(channel, data, status))
        self.place, self.begun = piece.after(), status is None
        if status is not None:
            self.messages.popleft().sent = True
        self.kept.append(piece)
        self.due.append(piece)
        return True

    def is_ready(self) -> bool:
        """Whether there is something to send."""
        return bool(self.due) or self._cut()

    def next(self, ack: Ack, now: float) -> Packet:
        """What is to be sent now: all that is ready if that is little, else one piece."""
        pieces: list[_Piece] = []
        size = 0
        while len(pieces) < SEGMENTS and self.is_ready():
            size += len(self.due[0].segment.data)
            if pieces and size > INLINE:
                break
            pieces.append(self.due.popleft())
        self.sent_at = now
        return Packet(ack, pieces[0].seq, pieces[0].offset, [piece.segment for piece in pieces])

    def on_ack(self, ack: Ack, now: float, gap: bool = False) -> None:
        """Takes an acknowledgement; what is missing is sent again (5.6)."""
        place = (ack.seq, ack.offset)
        self.limit = max(self.limit, ack.limit)
        if place > self.place:
            raise Violation("more was acknowledged than was sent")
        if place < self.acked:
            return
        self.acked = place
        for pieces in (self.kept, self.due):
            while pieces and pieces[0].after() <= place:
                pieces.popleft()
        if gap and place != self.repeated_from or self.kept and not self.due and now - self.sent_at >= 1:
            self.repeated_from = place if gap else None
            self.repeat()

    def repeat(self) -> None:
        """The route has changed: all that is not acknowledged is sent again."""
        self.due = self.kept.copy()

    def touched(self) -> int:
        """The last seq of which anything was ever sent."""
        return self.place[0] if self.begun else self.place[0] - 1


class Body:
    """A message that arrives: a request in a handler, a reply at a client. Read it once, from one thread.

    `read(n)` gives at most n bytes, b"" at the end; iterating gives pieces as they come; `bytes()` all of it.
    """

    def __init__(self, link: _Link, seq: int):
        self._link, self.seq = link, seq
        self._pieces: collections.deque = collections.deque()
        self._status: Optional[int] = None
        self._settled = self._discarded = False
        self.received = 0
        self.stderr, self.note = b"", ""  # what the handler said; of stderr the last 64 KiB

    def _arrived(self, segment: Segment) -> None:
        receiver = self._link.receiver
        if segment.channel == BODY and segment.data and not self._discarded:
            self._pieces.append(segment.data)
        else:
            receiver.took(len(segment.data))
        if segment.channel == STDERR:
            self.stderr = (self.stderr + segment.data)[-(64 << 10):]
        elif segment.channel == NOTE:
            self.note = (self.note + bytes(segment.data).decode(errors="replace"))[:4096]
        self.received += len(segment.data)
        self._status = segment.status
        if self._discarded:
            self._settle()

    def _settle(self) -> None:
        if self._status is not None and not self._pieces and not self._settled:
            self._settled = True
            self._link.receiver.took(MESSAGE_COST)

    def _discard(self) -> None:
        self._discarded = True
        self._link.receiver.took(sum(map(len, self._pieces)))
        self._pieces.clear()
        self._settle()

    def _look(self) -> None:
        """What is to be seen to before a read, and after each wait of one."""

    def read(self, size: int = CHUNK) -> bytes:
        """At least one byte and at most `size`, as soon as there are any; b"" when the body has ended."""
        with self._link.cv:
            self._look()
            while not self._pieces and self._status is None:
                if self._link.error:
                    raise self._link.error
                self._link.cv.wait()
                self._look()
            data: Any = self._pieces.popleft() if self._pieces else b""
            if len(data) > size:
                self._pieces.appendleft(memoryview(data)[size:])
                data = memoryview(data)[:size]
            self._link.receiver.took(len(data))
            self._settle()
            if self._link.receiver.is_due_now():
                self._link.wake()
            return bytes(data)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.read, b"")

    def bytes(self) -> bytes:
        """All that is left of it."""
        return b"".join(self)


class Receiver:
    """The other end: takes each byte once, and gives credit as its reader takes bytes."""

    def __init__(self, make: Callable[[int], Body]):
        self.make = make
        self.place = (1, 0)
        self.current: Optional[Body] = None
        self.position = self.taken = 0
        self.told = WINDOW
        self.ack_at: Optional[float] = None
        self.gap = False

    def took(self, count: int) -> None:
        self.taken += count

    def is_due_now(self) -> bool:
        return self.taken + WINDOW - self.told >= WINDOW // 4

    def ack(self) -> Ack:
        """To be sent now, with whatever goes that way."""
        self.told = self.taken + WINDOW
        self.ack_at, self.gap = None, False
        return Ack(*self.place, self.told)

    def on_packet(self, packet: Packet, now: float) -> None:
        """Takes what is new in it. Raises `Violation` for what is beyond its credit (rule S3)."""
        if not packet.segments:
            return
        seq, offset = packet.seq, packet.offset
        self.ack_at = min(self.ack_at or now + 0.02, now + 0.02)
        if (seq, offset) > self.place:
            self.gap, self.ack_at = True, now
            return
        for segment in packet.segments:
            known = len(segment.data) if seq < self.place[0] else self.place[1] - offset
            fresh = segment._replace(data=segment.data[known:]) if known > 0 else segment
            if seq == self.place[0] and known <= len(segment.data) and (fresh.data or fresh.status is not None):
                self._take(fresh)
            seq, offset = (seq + 1, 0) if segment.status is not None else (seq, offset + len(segment.data))

    def _take(self, segment: Segment) -> None:
        seq, offset = self.place
        self.position += len(segment.data) + (0 if self.current else MESSAGE_COST)
        if self.position > self.told:
            raise Violation("more was sent than there was credit for")
        self.current = self.current or self.make(seq)
        self.current._arrived(segment)
        self.place = (seq, offset + len(segment.data))
        if segment.status is not None:
            self.place, self.current = (seq + 1, 0), None


class _Link:
    """What a Hit is at either end: two streams, one lock for both, and who is to be woken to send."""

    def __init__(self, wake: Callable[[], None], limit: int, make: Callable[[int], Body]):
        self.cv, self.wake = threading.Condition(), wake
        self.sender, self.receiver = Sender(limit), Receiver(make)
        self.error: Optional[Exception] = None


# ---------------------------------------------------------------- the host (section 8)


def clock() -> float:
    """Seconds on a clock that counts while the machine sleeps (rule O5)."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def runtime_dir(cluster: str = "default", host: Optional[str] = None, make: bool = False) -> Optional[str]:
    """The host's directory, each level checked (8.1). None if it is not there and not to be made."""
    name = host or os.environ.get("ZHIT_HOST") or socket.gethostname()
    name = name if host or _NAME.fullmatch(name.encode()) else "localhost"
    base = os.environ.get("ZHIT_RUNTIME_DIR") or f"/tmp/zhit-{os.geteuid()}"
    paths = [os.path.abspath(base)]
    paths += [os.path.join(paths[0], cluster), os.path.join(paths[0], cluster, name)]
    if make:
        os.makedirs(os.path.dirname(paths[0]), 0o700, exist_ok=True)
        paths.append(os.path.join(paths[2], "members"))
    for path in paths:
        try:
            if make:
                os.mkdir(path, 0o700)
        except FileExistsError:
            pass
        try:
            found = os.lstat(path)
        except FileNotFoundError:
            return None
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
            raise Error(f"{path}: not a directory of ours that others cannot write to")
    return paths[2]


def _dealer(directory: str) -> zmq.Socket:
    """A socket with the options of 8.2."""
    dealer = zmq.Context.instance().socket(zmq.DEALER)
    pause = random.randint(10, 30)
    for option, value in ((zmq.IMMEDIATE, 1), (zmq.SNDHWM, 0), (zmq.RCVHWM, 1000), (zmq.MAXMSGSIZE, FRAME),
                          (zmq.LINGER, 500), (zmq.RECONNECT_IVL, pause), (zmq.RECONNECT_IVL_MAX, 500)):
        dealer.setsockopt(option, value)
    dealer.connect(f"ipc://{directory}/broker.sock")
    return dealer


def _send(dealer: zmq.Socket, frames: list) -> bool:
    """False: there is no connection, and the message is lost."""
    try:
        dealer.send_multipart(frames, zmq.DONTWAIT)
    except zmq.Again:
        return False
    return True


def _received(dealer: zmq.Socket) -> Iterator[SimpleNamespace]:
    """What has come in, a turn's worth."""
    for _ in range(1000):
        try:
            frames = dealer.recv_multipart(zmq.DONTWAIT)
        except zmq.Again:
            return
        try:
            yield decode(frames)
        except Refused:
            pass  # it has not been received (3.5)


class _Waker:
    """Wakes a loop that polls, from any thread and from signal handlers."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()
        os.set_blocking(self.reader, False)
        os.set_blocking(self.writer, False)

    def wake(self) -> None:
        try:
            os.write(self.writer, b"\0")
        except OSError:
            pass  # full: it wakes anyway; closed: nobody is there to be woken

    def drain(self) -> None:
        try:
            os.read(self.reader, 4096)
        except BlockingIOError:
            pass

    def __del__(self) -> None:
        os.close(self.reader)
        os.close(self.writer)


def _pieces(body: Any) -> Iterable[bytes]:
    """The pieces of whatever may be a body: bytes, a file, an iterable of bytes, nothing."""
    if body is None:
        return ()
    if isinstance(body, (bytes, bytearray, memoryview)):
        return (body,)
    if hasattr(body, "read"):
        return iter(lambda: body.read(CHUNK), b"")
    return body


# ---------------------------------------------------------------- the client (sections 6 and 7)


class Reply(Body):
    """The reply to one request. To read it throws away what was not read of the replies before it."""

    def _look(self) -> None:
        hit = self._link
        while hit.unread and hit.unread[0].seq < self.seq:
            hit.unread.popleft()._discard()

    @property
    def status(self) -> int:
        """How the request ended (section 3.4; 0: all well). Reads on, and throws away, until that is known."""
        while self.read():
            pass
        return self._status or OK

    def check(self) -> Reply:
        """Raises `Failed` unless the request ended well."""
        if self.status != OK:
            raise Failed(f"request {self.seq}: status {self.status:#x} {self.note}".rstrip())
        return self

    def bytes(self) -> bytes:
        """All of it. Raises `Failed` if the request did not end well."""
        whole = super().bytes()
        self.check()
        return whole


class Hit(_Link):
    """A slot, leased from `with` until its block ends; the requests of one Hit run on one thread, in order.

    `wait`: for a broker and a slot. `ttl`: how long the slot is kept while nothing is heard of this client. `timeout`:
    of each request. `ask` returns at once, so requests are pipelined by asking on before replies are read.
    """

    def __init__(self, pool: str = "default", *, wait: float = 5.0, ttl: float = 15.0,
                 timeout: Optional[float] = None, cluster: str = "default", host: Optional[str] = None):
        self.unread: collections.deque[Reply] = collections.deque()
        self._waker = _Waker()
        super().__init__(self._waker.wake, FIRST_CREDIT, self._reply)
        self.key = secrets.token_bytes(16)
        self._pool, self._wait, self._ttl, self._timeout, self._place = pool, wait, ttl, timeout, (cluster, host)
        self.slot: Optional[str] = None  # host/worker/slot, once open
        self._phase, self._attempt, self._term, self._dir = "opening", 0, 0, NO_KEY
        self._waiting_for: collections.deque[Reply] = collections.deque()  # not begun
        self._asked = self._answered = 0
        now = clock()
        self._began = self._looked = self._heard = self._slot_heard = self._oldest = self._unleased = now
        self._ask_at, self._alive_at = now, now + INTERVAL
        self._opens, self._open_since = 0, None  # OPENs that left; the first since nothing was leased
        self._closing: Optional[int] = None
        self._thread = threading.Thread(target=self._run, name="zhit-hit", daemon=True)

    def __enter__(self) -> Hit:
        self._thread.start()
        try:
            with self.cv:
                self.cv.wait_for(lambda: self.slot or self.error)
        except BaseException:  # ^C
            self.close(abandon=True)
            raise
        if self.error:
            raise self.error
        return self

    def __exit__(self, kind: Any, *_: Any) -> None:
        self.close(abandon=kind is not None)

    def close(self, abandon: bool = False) -> None:
        """Ends the Hit. What is not answered yet is abandoned, and stopped if it runs."""
        with self.cv:
            self._closing = 2 if abandon or self._answered < self._asked else 1
            self.error = self.error or Lost("it was closed", *self._ledger())
            self.cv.notify_all()
        self.wake()
        self._thread.join()

    def ask(self, body: Any = b"") -> Reply:
        """Sends a request: bytes, a binary file, or an iterable of bytes, which a thread of its own then reads."""
        out = _Outgoing()
        whole = body is None or isinstance(body, (bytes, bytearray, memoryview))
        with self.cv:
            if self.error:
                raise self.error
            if self._answered == self._asked:
                self._oldest = self._slot_heard = now = clock()
                self._alive_at = min(self._alive_at, now + INTERVAL)
            self._asked += 1
            reply = Reply(self, self._asked)
            self.unread.append(reply)
            self._waiting_for.append(reply)
            self.sender.messages.append(out)
            if whole:
                out.write(body or b"")
                out.status = OK
        self.wake()
        if not whole:
            threading.Thread(target=self._feed, args=(out, body, reply), name="zhit-body", daemon=True).start()
        return reply

    def _feed(self, out: _Outgoing, body: Any, reply: Reply) -> None:
        try:
            for piece in _pieces(body):
                with self.cv:
                    out.write(piece)
                    self.wake()
                    self.cv.wait_for(lambda: out.size < 2 * CHUNK or self.error or reply._status is not None)
                    if self.error or reply._status is not None:
                        break  # what is left would be thrown away (7.1)
        except Exception as error:  # the caller's own: half a request cannot be taken back
            with self.cv:
                self._closing = 2
                self._fail(Lost(f"the body of request {reply.seq} broke off: {error!r}", *self._ledger()))
        with self.cv:
            out.status = OK
        self.wake()

    def _ledger(self) -> tuple[range, range]:
        """Which requests were answered, and which may have run (7.7)."""
        maybe = self.sender.touched()
        return range(1, self._answered + 1), range(self._answered + 1, maybe + 1)

    def _reply(self, seq: int) -> Body:
        if not self._waiting_for or self._waiting_for[0].seq != seq or self.sender.touched() < seq:
            raise Violation(f"request {seq} was answered before it was asked")
        return self._waiting_for.popleft()

    # From here on only the Hit's own thread, which holds the lock.

    def _fail(self, error: Exception) -> None:
        self.error = self.error or error
        self._phase = "ended"
        self.cv.notify_all()

    def _run(self) -> None:
        try:
            with self.cv:
                while (directory := runtime_dir(*self._place)) is None and not self._closing:
                    if clock() >= self._began + self._wait:
                        return self._fail(NoBroker("no broker was reached: there is no runtime directory"))
                    self.cv.wait(0.05)
            if directory:
                self._loop(_dealer(directory))
        except Exception as error:  # nobody waits for ever, whatever it is
            with self.cv:
                self._fail(error)

    def _loop(self, dealer: zmq.Socket) -> None:
        waker, poller = self._waker, zmq.Poller()
        self._dealer, self._route = dealer, True
        poller.register(waker.reader, zmq.POLLIN)
        with dealer:
            while True:
                with self.cv:
                    at = self._turn(clock())
                    if self._phase == "ended":
                        return
                    self.cv.notify_all()
                poller.register(dealer, zmq.POLLIN | (0 if self._route else zmq.POLLOUT))
                events = dict(poller.poll(max(0, at - clock()) * 1000 + 1))
                waker.drain()
                with self.cv:
                    if not self._route and events.get(dealer, 0) & zmq.POLLOUT:
                        self._route, self._ask_at = True, clock()
                    for message in _received(dealer):
                        if message.hit == self.key and self._phase != "ended":
                            self._on(message, clock())

    def _say(self, name: str, flags: int = 0, **fields: Any) -> bool:
        """Sends a message of this Hit. False: there is no connection (8.2)."""
        attempt = "t" in _TABLE[_NUMBERS[name]][1]
        attach = "a" in _TABLE[_NUMBERS[name]][1]
        self._route = _send(self._dealer, encode(name, flags, self.key, int(attach), self._attempt if attempt else 0,
                                                 **fields))
        if not self._route:
            self._phase = {"open": "resuming", "waiting": "opening"}.get(self._phase, self._phase)
            self._ask_at = clock() + 0.02
        return self._route

    def _turn(self, now: float) -> float:
        """Does what is due; returns when to come back."""
        if now - self._looked > 2 * INTERVAL:
            self._heard = self._slot_heard = now  # who stood still himself judges nobody (rule A3)
        self._looked = now
        outstanding, silence = self._answered < self._asked, INTERVAL * LIVENESS
        if self._closing:
            if self._opens and not self.slot:
                self._say("WITHDRAW")
            if self._opens:
                self._say("CLOSE", reason=self._closing, ack=self.receiver.ack())
            self._phase = "ended"
        elif self._phase in ("opening", "waiting") and now >= self._began + self._wait:
            self._phase, self._since, self._ask_at = "withdrawing", now, now
            if not self._opens:
                self._fail(NoBroker("no broker was reached"))
        elif self._phase == "waiting" and now - self._heard >= silence:
            self._phase, self._ask_at = "opening", now
        elif self._phase == "open" and outstanding and now - self._slot_heard >= silence:
            self._phase, self._ask_at = "resuming", now
        elif self._phase == "resuming" and now - self._heard >= self._ttl:
            self._fail(Lost("nobody was heard for its ttl", *self._ledger()))
        if self._timeout and outstanding and now >= self._oldest + self._timeout + INTERVAL and self.slot:
            self._say("CLOSE", reason=2, ack=self.receiver.ack())
            self._fail(TimedOut("its deadline passed", *self._ledger()))
        if self._phase == "withdrawing" and now - self._since >= 2 * silence:
            self._fail(Lost("nobody confirmed that it never ran", *self._ledger()))
        if self._phase == "withdrawing" and now >= self._ask_at:
            self._ask_at = now + INTERVAL / 4
            self._say("WITHDRAW")
        elif self._phase in ("opening", "waiting", "resuming") and now >= self._ask_at:
            self._open(now)
        if self._phase == "open":
            self._flush(now, outstanding)
        at = min(now + INTERVAL / 4, self._ask_at if self._phase != "open" else self._alive_at)
        return min(at, self.receiver.ack_at or at) if self._phase == "open" else at

    def _open(self, now: float) -> None:
        """OPEN, again each interval until something answers (6.1, 6.5). It carries no bytes: 0-RTT is left out."""
        if self._opens and not self.slot and now - self._unleased >= self._ttl:
            return self._fail(Lost("no broker remembers for longer than its ttl", *self._ledger()))  # rule O5
        self._ask_at = now + INTERVAL
        if not self._opens:
            self._unleased = now
        self._open_since = self._open_since or now
        repeats = self._phase == "waiting"
        self._attempt += 0 if repeats else 1
        sent = self._say("OPEN", QUEUE | (RESUME if self._phase == "resuming" else 0), term=self._term, dir=self._dir,
                         age_ms=int((now - self._open_since) * 1000), ttl_ms=int(self._ttl * 1000),
                         timeout_ms=max(1, int(self._timeout * 1000)) if self._timeout else 0, pool=self._pool,
                         packet=Packet(self.receiver.ack()))
        self._opens += sent
        if not self._opens:
            self._attempt, self._open_since = 0, None

    def _flush(self, now: float, outstanding: bool) -> None:
        while self._phase == "open" and self.sender.is_ready():
            self._say("DATA", TO_SLOT, packet=self.sender.next(self.receiver.ack(), now))
        due = self.receiver.is_due_now() or (self.receiver.ack_at or now + 1) <= now
        if self._phase == "open" and due:
            gap = GAP if self.receiver.gap else 0
            self._say("ACK", TO_SLOT | gap, ack=self.receiver.ack())
        if self._phase == "open" and now >= self._alive_at:
            idle = min(self._ttl / 3, INTERVAL * (LIVENESS - 1))
            self._alive_at = now + (min(idle, INTERVAL) if outstanding else idle)
            self._say("KEEPALIVE", ack=self.receiver.ack())

    def _on(self, message: SimpleNamespace, now: float) -> None:
        name, current = message.name, message.attempt == self._attempt
        self._heard = now
        try:
            if name == "OPENED" and message.attach == 1 and not message.client and message.attempt <= self._attempt:
                self._slot_heard = now
                if not self.slot:
                    self.slot, self._dir = f"{message.host}/w{message.worker}/{message.slot}", message.dir
                self.sender.on_ack(message.ack, now)
                if self._phase != "open":
                    self.sender.repeat()
                self._phase, self._term = "open", message.term
            elif name == "DATA" and message.attach == 1 and not message.flags & TO_SLOT:
                self._slot_heard = now
                before = self.receiver.place[0]
                self.receiver.on_packet(message.packet, now)
                self.sender.on_ack(message.packet.ack, now)
                if self.receiver.place[0] > before:
                    self._answered, self._oldest = self.receiver.place[0] - 1, now
            elif name in ("ACK", "WORKING") and message.attach == 1 and not (name == "ACK" and message.flags & TO_SLOT):
                self._slot_heard = now
                self.sender.on_ack(message.ack, now, name == "ACK" and bool(message.flags & GAP))
            elif name == "CLOSED" and message.attach <= 1:
                answered, maybe = self._ledger()
                if message.started < 1 << 63:
                    maybe = range(maybe.start, max(maybe.start, min(maybe.stop, message.started + 1)))
                why = f"{CLOSED_REASONS[message.reason]} {message.note}".rstrip()
                self._fail(Lost(why, answered, maybe))
            elif name == "QUEUED":
                self._unleased = now
                if current and self._phase in ("opening", "waiting"):
                    self._phase, self._open_since = "waiting", now
            elif name == "FULL" and current and not self.slot:
                self._open_since, self._unleased = None, now
                if self._phase == "withdrawing":
                    self._fail(NoSlot(f"no slot of pool {self._pool} was free within {self._wait} s"))
                else:
                    self._phase, self._ask_at = "opening", now + INTERVAL / 4
            elif name == "WITHDRAWN" and current and self._phase == "withdrawing":
                self._fail(NoSlot(f"no slot of pool {self._pool} was free within {self._wait} s"))
        except Violation as violation:
            self._say("CLOSE", reason=2, ack=self.receiver.ack())
            self._fail(Lost(f"the slot broke the protocol: {violation}", *self._ledger()))


# ---------------------------------------------------------------- the worker (sections 6.3, 7 and 8)


class Request(Body):
    """A request, in its handler. Once it is cancelled, reading and writing raise `Cancelled`."""

    def __init__(self, link: _Serving, seq: int):
        super().__init__(link, seq)
        self.cancelled: Optional[int] = None  # the status that the reply will end with
        self.out = _Outgoing()
        self.given = 0
        link.requests.append(self)
        link.cv.notify_all()

    def _look(self) -> None:
        if self.cancelled is not None:
            raise Cancelled


class Handler:
    """What serves one Hit. It is made for the Hit's first request, and all of it runs on one thread."""

    def request(self, request: Request) -> Any:
        """Serves one request. Returns or yields the reply: bytes, a binary file, an iterable of bytes, or None."""
        raise NotImplementedError

    def close(self) -> None:
        """The Hit is over."""


class _Serving(_Link):
    """A Hit at its slot. `serve` runs on the slot's thread, all else on the worker's."""

    def __init__(self, lease: SimpleNamespace, wake: Callable[[], None]):
        super().__init__(wake, lease.packet.ack.limit, lambda seq: Request(self, seq))
        self.key, self.attach = lease.hit, lease.attach
        self.ttl, self.timeout = min(lease.ttl_ms / 1000, 86400.0), lease.timeout_ms / 1000
        self.close_after = bool(lease.flags & CLOSE_AFTER)
        self.requests: collections.deque[Request] = collections.deque()
        self.running: Optional[Request] = None
        self.started = self.answered = 0
        self.heard_at = self.started_at = clock()
        self.ending: Optional[tuple[int, str]] = None  # reason and note, once it is over
        self.stopped = False  # nothing of its handler is left

    def serve(self, make: Callable[[], Handler]) -> None:
        """Runs its requests, one after the other, until it is over."""
        handler: Optional[Handler] = None
        while request := self._next():
            status, note = OK, ""
            try:
                handler = handler or make()
                self._write(request, _pieces(handler.request(request)))
            except Cancelled:
                status = CANCELLED
            except Fail as error:
                status, note = min(max(error.code, 1), 255), str(error)
            except Exception as error:
                status, note = 1, f"{type(error).__name__}: {error}"
                traceback.print_exc()
            self._answer(request, status, note)
        try:
            if handler:
                handler.close()
        except Exception:
            traceback.print_exc()
        self.stopped = True
        self.wake()

    def _next(self) -> Optional[Request]:
        with self.cv:
            self.cv.wait_for(lambda: self.requests or self.ending)
            if self.ending:
                return None
            self.running = self.requests.popleft()
            self.sender.messages.append(self.running.out)
            self.started, self.started_at = self.running.seq, clock()
            return self.running

    def _write(self, request: Request, pieces: Iterable[bytes]) -> None:
        for piece in pieces:
            with self.cv:
                request.out.write(piece)
                request.given += len(piece)
                self.wake()
                self.cv.wait_for(lambda: request.out.size < CHUNK or request.cancelled is not None)
                request._look()

    def _answer(self, request: Request, status: int, note: str) -> None:
        with self.cv:
            request._discard()
            if note:
                request.out.write(note[:1000].encode(errors="replace"), NOTE)
            request.out.status = status if request.cancelled is None else request.cancelled
            self.wake()
            # The next one starts when the END is written to the stream (7.1).
            self.cv.wait_for(lambda: request.out.sent or self.ending)
            self.running = None
            self.answered = request.seq if request.out.sent else self.answered

    def cancel(self, status: int) -> None:
        if self.running and self.running.cancelled is None:
            self.running.cancelled = status
        self.cv.notify_all()

    def end(self, reason: int, note: str = "") -> None:
        """Ends the Hit; CLOSED is said once its handler has gone."""
        self.ending = self.ending or (reason, note)
        self.cancel(CANCELLED)


_FROM_CLIENTS = ("ATTACH", "DATA", "ACK", "KEEPALIVE", "CLOSE")


class _Slot:
    """A slot: its socket, which the worker's loop owns, and its thread, which runs handlers."""

    def __init__(self, worker: Worker, number: int):
        self.worker, self.number = worker, number
        self.dealer, self.route = _dealer(worker.directory), False
        self.broker: Optional[SimpleNamespace] = None  # its REGISTERED
        self.register_at = 0.0
        self.hit: Optional[_Serving] = None
        self.closed: Optional[tuple[dict, float]] = None  # CLOSED, repeated until RELEASED
        self.ended: collections.deque = collections.deque(maxlen=256)
        self.goodbye_at: Optional[float] = None
        self.left = False
        self.leases: queue.SimpleQueue = queue.SimpleQueue()
        if number:
            threading.Thread(target=self._serve, name=f"zhit-slot-{number}", daemon=True).start()

    def _serve(self) -> None:
        while hit := self.leases.get():
            hit.serve(self.worker.handler)

    def say(self, name: str, flags: int = 0, **fields: Any) -> bool:
        """False: there is no connection."""
        self.route = _send(self.dealer, encode(name, flags, **fields))
        return self.route

    def turn(self, now: float) -> None:
        worker, hit = self.worker, self.hit
        if now >= self.register_at and not self.goodbye_at:
            self.register_at = now + worker.interval
            self.say("REGISTER", DRAINING if worker.draining else 0, hit=hit.key if hit else NO_KEY, worker=worker.id,
                     slot=self.number, incarnation=worker.incarnation, pid=os.getpid(), slots=worker.slots,
                     pool=worker.pool)
        if hit:
            with hit.cv:
                self._turn_hit(hit, now)
                hit.cv.notify_all()
        if self.closed and now >= self.closed[1]:
            self.closed = (self.closed[0], now + worker.interval)
            self.say("CLOSED", **self.closed[0])
        if worker.draining and not self.hit and not self.left and (self.number or worker.all_left()):
            if self.goodbye_at is None:
                self.goodbye_at = now
                told = self.broker and self.say("GOODBYE", worker=worker.id, slot=self.number,
                                                incarnation=worker.incarnation)
                self.left = not told
            self.left = self.left or now >= self.goodbye_at + worker.interval

    def _turn_hit(self, hit: _Serving, now: float) -> None:
        here = {"hit": hit.key, "attach": hit.attach}
        if hit.running and hit.timeout and now >= hit.started_at + hit.timeout:
            hit.cancel(DEADLINE)
        silence = max(hit.ttl, self.worker.interval)
        if now - hit.heard_at >= silence:
            hit.end(2, f"its client was silent for its ttl of {hit.ttl:g} s")
        if not self.dealer.EVENTS & zmq.POLLOUT:
            self.route, hit.heard_at = False, now  # no client can be heard, so none is judged (rule A4)
        while not hit.ending and self.route and hit.sender.is_ready():
            self.say("DATA", **here, packet=hit.sender.next(hit.receiver.ack(), now))
        if not hit.ending and (hit.receiver.is_due_now() or (hit.receiver.ack_at or now + 1) <= now):
            self.say("ACK", GAP if hit.receiver.gap else 0, **here, ack=hit.receiver.ack())
        if hit.close_after and hit.sender.acked >= (2, 0):
            hit.end(1)
        if hit.ending and hit.stopped:
            reason, note = hit.ending
            self.ended.append(hit.key)
            ran = {"started": hit.started, "answered": hit.answered}
            self.closed = ({**here, **ran, "reason": reason, "note": note}, now)
            self.hit = None

    def on(self, message: SimpleNamespace, now: float) -> None:
        name, hit = message.name, self.hit
        if name == "REGISTERED" and message.term >= (self.broker.term if self.broker else 0):
            self.worker.interval, self.worker.liveness = message.interval_ms / 1000 or INTERVAL, message.liveness or 1
            self.broker, self.register_at = message, float("inf")
            if not self.number:
                self.worker.registered(message, now)
        elif name == "DISCONNECT":
            # One that leaves, or is full, would be flooded.
            self.register_at = min(self.register_at, now + (self.worker.interval / 4 if message.reason != 1 else 0))
        elif name == "FAREWELL":
            self.left = self.goodbye_at is not None
        elif name == "HEARTBEAT":
            self.worker.heard_at = now
        elif name == "RELEASED" and self.closed and self.closed[0]["hit"] == message.hit:
            self.closed = None
        elif name == "LEASE" and self.broker:
            self._on_lease(message, now)
        elif hit and message.hit == hit.key and not hit.ending and name in _FROM_CLIENTS:
            with hit.cv:
                self._on_client(hit, message, now)
                hit.cv.notify_all()

    def _on_lease(self, lease: SimpleNamespace, now: float) -> None:
        hit, stale, serving = self.hit, lease.term < self.broker.term, NO_KEY
        if hit and hit.key == lease.hit:
            if not hit.ending:
                with hit.cv:
                    if lease.attach == hit.attach:
                        self._on_client(hit, lease, now)
                        hit.sender.repeat()
                    self._opened(hit, lease.attempt)
            return  # of one that is ending, CLOSED will tell
        reason = 5 if stale else 3 if lease.hit in self.ended else 1 if hit else 2 if self.worker.draining else \
            4 if lease.flags & RESUME else 5 if self.worker.term_word() > lease.term else 0
        if reason:
            serving = hit.key if hit and reason == 1 else NO_KEY
            self.say("DECLINED", hit=lease.hit, attempt=lease.attempt, reason=reason, serving=serving)
            return
        self.closed = None
        self.hit = hit = _Serving(lease, self.worker.wake)
        self.leases.put(hit)
        with hit.cv:
            self._opened(hit, lease.attempt)
            self._on_client(hit, lease, now)
            hit.cv.notify_all()

    def _opened(self, hit: _Serving, attempt: int) -> None:
        self.say("OPENED", hit=hit.key, attach=hit.attach, attempt=attempt, client=0, term=self.broker.term,
                 dir=self.broker.dir, worker=self.worker.id, slot=self.number, first_seq=1, ack=hit.receiver.ack(),
                 ttl_ms=int(hit.ttl * 1000), started=0, answered=0, host=self.broker.host, endpoints=[])

    def _on_client(self, hit: _Serving, message: SimpleNamespace, now: float) -> None:
        name, here = message.name, {"hit": hit.key, "attach": hit.attach}
        if name == "ATTACH":  # it is never given to another client
            self.say("OCCUPIED", hit=hit.key, attach=message.attach, client=message.client, current=hit.attach)
        if message.attach != hit.attach or name == "ATTACH":
            return
        hit.heard_at = now
        try:
            packet = getattr(message, "packet", None)
            hit.sender.on_ack(packet.ack if packet else message.ack, now, name == "ACK" and bool(message.flags & GAP))
            if packet:
                if any(channel != BODY or status for channel, _, status in packet.segments):
                    raise Violation("a request has a body only, and ends well")
                hit.receiver.on_packet(packet, now)
        except Violation as violation:
            hit.end(6, str(violation))
        if name == "KEEPALIVE":
            running = hit.running
            state = 0 if not running else 1 if running.cancelled is None else 3
            self.say("WORKING", **here, ack=hit.receiver.ack(), state=state, seq=hit.started,
                     elapsed_ms=int((now - hit.started_at) * 1000) if running else 0,
                     bytes_in=running.received if running else 0, bytes_out=running.given if running else 0)
        elif name == "CLOSE" and message.reason != 3:  # a detached one has its ttl
            hit.end(1)


class Worker:
    """A process that serves a pool. It keeps no journal and has no vote (rule O7), so a host needs a worker of zhit's
    own, or a broker that was started by hand. `handler` makes a `Handler` for each Hit."""

    def __init__(self, handler: Callable[[], Handler], pool: str = "default", slots: int = 1, *, grace: float = 10.0,
                 cluster: str = "default", host: Optional[str] = None):
        self.handler, self.pool, self.slots, self.grace = handler, pool, slots, grace
        self.directory = runtime_dir(cluster, host, make=True) or ""
        self.interval, self.liveness = INTERVAL, LIVENESS
        self.draining = False
        self.incarnation = secrets.randbits(64) or 1
        self._waker, self._stops, self._peers = _Waker(), 0, []
        self.heard_at, self._term = 0.0, -1
        self.wake = self._waker.wake

    def stop(self, *_: Any) -> None:
        """Serves what it has, takes nothing new, and leaves; told twice, it ends what runs at once. From any thread."""
        self._stops += 1
        self.wake()

    def run(self) -> None:
        """Serves until `stop`; in the main thread SIGTERM and SIGINT do that, too."""
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, self.stop)
        self._enter()
        self._peers = [_Slot(self, number) for number in range(self.slots + 1)]
        try:
            self._loop()
        finally:
            for slot in self._peers:
                slot.leases.put(None)
                slot.dealer.close()
            if self._is_present():
                os.unlink(self._path)
            os.close(self._entry)

    def _enter(self) -> None:
        """Takes the lowest free number of `members/` (8.3)."""
        for self.id in range(1, 65536):
            self._path = f"{self.directory}/members/w{self.id}"
            self._entry = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(self._entry, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if self._is_present():
                    break
            except BlockingIOError:
                pass
            os.close(self._entry)
        for name in os.listdir(f"{self.directory}/members"):  # what a dead worker of this number left; not its journal
            if name.startswith(f"w{self.id}.") and not name.endswith(".journal"):
                os.unlink(f"{self.directory}/members/{name}")
        with open("/proc/self/stat", "rb") as file:
            start = file.read().rsplit(b")", 1)[1].split()[19].decode()
        os.ftruncate(self._entry, 0)
        os.write(self._entry, f"pid {os.getpid()}\nincarnation {self.incarnation:016x}\nstart {start}\n".encode())

    def _is_present(self) -> bool:
        try:
            return os.path.samestat(os.stat(self._path), os.fstat(self._entry))
        except FileNotFoundError:
            return False

    def term_word(self) -> int:
        """The highest term of this host. A lease of a lower one may have been under way for long (rule O3)."""
        try:
            with open(f"{self.directory}/broker.term", "rb") as file:
                return int.from_bytes(file.read(8), sys.byteorder)
        except FileNotFoundError:
            return 0

    def registered(self, by: SimpleNamespace, now: float) -> None:
        """The control socket has met a broker. One that is new is told of the slots at once."""
        self.heard_at = now
        for slot in self._peers[1:]:
            if not slot.broker or slot.broker.term != by.term:
                slot.register_at = now
        self._term = by.term

    def all_left(self) -> bool:
        return all(slot.left for slot in self._peers[1:])

    def _loop(self) -> None:
        control, poller = self._peers[0], zmq.Poller()
        poller.register(self._waker.reader, zmq.POLLIN)
        beat, beat_at, looked, grace_ends, stops = 0, 0.0, clock(), float("inf"), 0
        while not control.left:
            now = clock()
            beat += 1
            if now - looked > 2 * self.interval:  # who stood still himself judges nobody (rule A3)
                for slot in self._peers:
                    if slot.hit:
                        slot.hit.heard_at = now
                self.heard_at = now
            looked = now
            for slot in self._peers:
                slot.turn(now)
            if control.broker and now >= beat_at:
                beat_at = now + self.interval
                control.say("HEARTBEAT", term=self._term, beat=beat)
                if now - self.heard_at >= self.interval * self.liveness:
                    control.register_at = min(control.register_at, now)
                if not self._is_present() and not self._stops:
                    print("zhit: its entry in members/ is gone: it leaves", file=sys.stderr)
                    self._stops = 1  # it would have to enter anew before it serves further (rule A5)
            if self._stops != stops:
                stops = self._stops
                grace_ends = now if stops > 1 else now + self.grace
                if not self.draining:
                    print(f"zhit: w{self.id} leaves; what runs has {self.grace:g} s to finish", file=sys.stderr)
                    self.draining = True
                    for slot in self._peers:
                        slot.register_at = now
                continue
            if now >= grace_ends:
                for slot in self._peers:
                    if slot.hit:
                        with slot.hit.cv:
                            slot.hit.end(3, "its grace is over")
                if now >= grace_ends + 1 and not self.all_left():
                    os._exit(1)  # a thread that does not end can only be ended with its process
            for slot in self._peers:
                poller.register(slot.dealer, zmq.POLLIN | (0 if slot.route else zmq.POLLOUT))
            events = dict(poller.poll(self._pause(now) * 1000 + 1))
            self._waker.drain()
            now = clock()
            for slot in self._peers:
                if not slot.route and events.get(slot.dealer, 0) & zmq.POLLOUT:
                    slot.route, slot.register_at = True, now
                    if slot.broker:
                        slot.turn(now)  # REGISTER is the first that a new broker hears
                if events.get(slot.dealer, 0) & zmq.POLLIN:
                    for message in _received(slot.dealer):
                        slot.on(message, now)

    def _pause(self, now: float) -> float:
        at = now + self.interval / 4
        for slot in self._peers:
            hit = slot.hit
            due = [slot.register_at, slot.closed[1] if slot.closed else at]
            if hit:
                due += [hit.receiver.ack_at or at, hit.heard_at + max(hit.ttl, self.interval)]
                if hit.running and hit.timeout and hit.running.cancelled is None:
                    due.append(hit.started_at + hit.timeout)
            at = min([at, *due])
        return max(0.0, at - now)
