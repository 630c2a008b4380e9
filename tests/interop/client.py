"""`zhit client` in Python, as far as the tests need it."""

import argparse
import sys

import zhit


def seconds(text):
    """`2s`, `250ms`."""
    return float(text[:-2]) / 1000 if text.endswith("ms") else float(text[:-1])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("requests", nargs="*")
    parser.add_argument("--pool", default="default")
    parser.add_argument("--lines", action="store_true")
    parser.add_argument("--wait", type=seconds, default=5.0)
    parser.add_argument("--ttl", type=seconds, default=15.0)
    parser.add_argument("--timeout", type=seconds)
    args = parser.parse_args()
    try:
        with zhit.Hit(args.pool, wait=args.wait, ttl=args.ttl, timeout=args.timeout) as hit:
            return ask(hit, args)
    except zhit.Error as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return error.exit_code


def ask(hit, args):
    """Asks all, then writes each reply as it comes."""
    if args.lines:
        replies = [hit.ask(line) for line in sys.stdin.buffer.read().splitlines()]
    elif args.requests:
        replies = [hit.ask(request.encode()) for request in args.requests]
    else:
        replies = [hit.ask(sys.stdin.buffer)]
    exact, code, out = not args.lines and not args.requests, 0, sys.stdout.buffer
    for reply in replies:
        last = b""
        for last in reply:
            out.write(last)
        if reply.status:
            sys.stderr.buffer.write(reply.stderr)
            print(f"request {reply.seq}: status {reply.status:#x} {reply.note}", file=sys.stderr)
            code = max(code, 124 if reply.status == zhit.DEADLINE else 1)
        if not exact and not last.endswith(b"\n") and (last or not reply.status):
            out.write(b"\n")
        out.flush()
    return code


sys.exit(main())
