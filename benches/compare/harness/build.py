"""Builds zhit, the loads, and the C programs against the very libzmq that zhit holds."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
ROOT = HERE.parent.parent
RAW = HERE / "raw"
LIBGEARMAN = Path("/usr/include/libgearman-1.0/gearman.h")
PROGRAMS = ("bulk", "echo", "idle", "load", "oneshot", "proxy")


def missing(what, remedy):
    print(f"missing: {what}; {remedy}", file=sys.stderr)


def has_tools():
    """Whether what nothing works without is there."""
    for tool in (os.environ.get("CC", "cc"), os.environ.get("CXX", "c++"), "cargo"):
        if not shutil.which(tool.split()[0]):
            missing(tool, "install a C and a C++ compiler and a Rust toolchain")
            return False
    return True


def cargo(profile, *words, where=ROOT):
    """Builds; yields what cargo says of it."""
    command = ["cargo", "build", "--profile", profile, "--message-format", "json-render-diagnostics", *words]
    said = subprocess.run(command, cwd=where, stdout=subprocess.PIPE, text=True, check=True).stdout
    return [json.loads(line) for line in said.splitlines()]


def executables(messages):
    return {message["target"]["name"]: message["executable"] for message in messages
            if message["reason"] == "compiler-artifact" and message.get("executable")}


def build(profile, into, programs=PROGRAMS):
    """Builds zhit and these C programs, which it puts into a directory. Returns the path of zhit."""
    out = {}
    messages = cargo(profile)
    for message in messages:
        if message["reason"] == "build-script-executed" and message["linked_libs"]:
            for name, probe in (("zmq", "lib/libzmq.a"), ("sodium", "installed/lib/libsodium.a")):
                if (Path(message["out_dir"]) / probe).exists():
                    out[name] = Path(message["out_dir"])
    if set(out) != {"zmq", "sodium"}:
        sys.exit("error: cargo did not say where it built libzmq and libsodium")
    libraries = [out["zmq"] / "lib/libzmq.a", out["sodium"] / "installed/lib/libsodium.a"]
    include = next((out["zmq"] / d for d in ("include", "source/include") if (out["zmq"] / d / "zmq.h").exists()))
    for name in programs:
        compile_c(name, into, include, libraries)
    if programs is PROGRAMS and LIBGEARMAN.exists():
        compile_c("gear", into, include, [*libraries, "-lgearman"])
    zhit = executables(messages).get("zhit")
    return str(install(zhit, into / "zhit")) if zhit else None


def install(program, to):
    """Copies a program, as an installation does. As the linker leaves it, in small pages of the kernel's cache, each start
    costs 0.1 to 0.2 ms more."""
    shutil.copyfile(program, to)
    to.chmod(0o755)
    return to


def compile_c(name, into, include, libraries):
    compiler = os.environ.get("CC", "cc").split()
    subprocess.run([*compiler, "-O2", "-Wall", "-I", include, "-c", RAW / f"{name}.c", "-o", into / f"{name}.o"],
                   check=True)
    linker = [*os.environ.get("CXX", "c++").split(), "-static-libstdc++", "-static-libgcc"]
    subprocess.run([*linker, into / f"{name}.o", *libraries, "-lpthread", "-lrt",
                    "-o", into / f"{name}.linked"],
                   check=True)
    install(into / f"{name}.linked", into / name)


def build_loads(profile):
    """Builds the loads in Rust, with NATS's if that can be had. Returns the paths of those that could be built, by name.

    They are a package of their own, with other features of what they share: it compiles the same libzmq once more.
    """
    words = ("--target-dir", os.environ.get("CARGO_TARGET_DIR", str(ROOT / "target")))
    for features, what in ((("--features", "nats"), "async-nats"), ((), "zhit-load")):
        try:
            return executables(cargo(profile, *features, *words, where=HERE / "load"))
        except subprocess.CalledProcessError:
            missing(what, "it could not be built; cargo says why above")
    return {}
