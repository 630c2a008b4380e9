"""Checks the codec of examples/python/zhit.py against tests/vectors/vectors.txt, both ways."""

import os
import re
import sys
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "examples", "python"))

import zhit  # noqa: E402


def vectors():
    """(name, frames, fields) of each block."""
    with open(os.path.join(ROOT, "tests", "vectors", "vectors.txt"), encoding="utf-8") as file:
        blocks = re.split(r"^\[(.*)\]$", file.read(), flags=re.MULTILINE)[1:]
    for name, text in zip(blocks[::2], blocks[1::2]):
        fields = [[part.strip() for part in line.split(" =", 1)] for line in text.splitlines() if line.strip()]
        frames = [in_bytes(value) for field, value in fields if field in ("header", "body")]
        yield name, frames, [field for field in fields if field[0] not in ("header", "body")]


def in_bytes(text):
    """Hexadecimal bytes; `5a * 3` is three times, `X + Y` both in a row."""
    parts = (part.split(" * ") for part in text.split(" + "))
    return b"".join(bytes.fromhex(part[0]) * int(part[1] if part[1:] else 1) for part in parts)


def in_words(message):
    """The message as the vectors have it: a list of fields and values."""
    number = zhit._NUMBERS[message.name]
    yield "command", f"0x{number:02x} ({message.name})"
    yield "flags", f"0x{message.flags:02x}"
    yield "hit", message.hit.hex()
    yield "attach", str(message.attach)
    yield "attempt", str(message.attempt)
    for field, kind in zhit._fields(message.flags, zhit._TABLE[number][3]):
        yield from field_in_words(field, kind, getattr(message, field))


def field_in_words(field, kind, value):
    if kind == "packet":
        yield from field_in_words("ack", "ack", value.ack)
        yield from [("seq", str(value.seq)), ("offset", str(value.offset)), ("count", str(len(value.segments)))]
        for segment in value.segments:
            yield "segment", segment
        yield "bytes", b"".join(segment.data for segment in value.segments)
    elif kind in ("ack", "holder"):
        yield from ((f"{field}.{part}", str(getattr(value, part))) for part in value._fields)
    elif "*" in kind:
        yield "count", str(len(value))
        for entry in value:
            for part in kind.split("*")[1].split(","):
                name, kind_of_part = part.split(":")
                yield from field_in_words(name, kind_of_part, getattr(entry, name))
    elif kind == "16":
        yield field, value.hex()
    elif kind == "name" or kind.startswith("text"):
        yield field, value
    else:
        yield field, str(value)


class Vectors(unittest.TestCase):
    """Every vector is an encoding of its fields, and decodes to them."""

    def test_valid(self):
        count = 0
        for name, frames, fields in vectors():
            if name.startswith("INVALID"):
                continue
            if name.split(".")[0] not in zhit._NUMBERS:
                continue  # what a client or worker may do without: probes, broadcasts, the mesh (3.6)
            with self.subTest(name):
                message = zhit.decode(frames)
                self.compare(message, fields)
                again = vars(message).copy()
                self.assertEqual([bytes(frame) for frame in zhit.encode(again.pop("name"), **again)], frames)
                count += 1
        self.assertGreater(count, 50)

    def compare(self, message, fields):
        said = [field for field in in_words(message) if field[1] != b""]
        self.assertEqual([name for name, _ in said], [name for name, _ in fields])
        for (name, mine), (_, theirs) in zip(said, fields):
            with self.subTest(name):
                if isinstance(mine, zhit.Segment):
                    theirs = re.match(r"channel (\d) .*length (\d+)(?:, END 0x([0-9a-f]+))?", theirs)
                    channel, length, end = theirs.groups()
                    mine = (mine.channel, len(mine.data), mine.status)
                    theirs = (int(channel), int(length), None if end is None else int(end, 16))
                elif isinstance(mine, bytes):
                    theirs = in_bytes(theirs)
                elif theirs.startswith('"'):
                    theirs = theirs[1:-1].replace('\\"', '"')
                elif name != "command":  # a number's meaning follows it
                    theirs = theirs.split(" (")[0]
                self.assertEqual(mine, theirs)

    def test_invalid(self):
        count = 0
        for name, frames, _ in vectors():
            if name.startswith("INVALID"):
                with self.subTest(name), self.assertRaises(zhit.Refused):
                    zhit.decode(frames)
                count += 1
        self.assertGreater(count, 10)


if __name__ == "__main__":
    unittest.main()
