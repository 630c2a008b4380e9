//! Compiles libzmq 4.3.5 against the libsodium that `libsodium-sys-stable` has built, and links both in statically.

use std::env;
use std::path::Path;
use std::process::Command;

use zeromq_src::{Build, LibLocation};

/// What libzmq's own configure script would have found on Linux. `zeromq-src` runs no configure script and writes an
/// empty `platform.hpp`; without these, children inherit sockets, keep-alive options are silently ignored, every socket
/// needs a socket pair instead of one eventfd, and interfaces have no names.
const LINUX_FEATURES: [&str; 17] = [
    "ZMQ_HAVE_EVENTFD=1",
    "ZMQ_HAVE_EVENTFD_CLOEXEC=1",
    "ZMQ_HAVE_SOCK_CLOEXEC=1",
    "ZMQ_HAVE_O_CLOEXEC=1",
    "ZMQ_IOTHREAD_POLLER_USE_EPOLL_CLOEXEC=1",
    "ZMQ_HAVE_SO_KEEPALIVE=1",
    "ZMQ_HAVE_TCP_KEEPCNT=1",
    "ZMQ_HAVE_TCP_KEEPIDLE=1",
    "ZMQ_HAVE_TCP_KEEPINTVL=1",
    "ZMQ_HAVE_SO_PEERCRED=1",
    "HAVE_FORK=1",
    "HAVE_ACCEPT4=1",
    "HAVE_CLOCK_GETTIME=1",
    "HAVE_IF_NAMETOINDEX=1",
    "ZMQ_HAVE_IFADDRS=1",
    "ZMQ_HAVE_PTHREAD_SETNAME_2=1",
    "ZMQ_CACHELINE_SIZE=64",
];

fn main() {
    println!("cargo:rerun-if-changed=build.rs");

    if env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("linux") {
        // The caller's own flags come last, so that they win.
        let mut flags: Vec<String> = LINUX_FEATURES.iter().map(|feature| format!("-D{feature}")).collect();
        flags.extend(env::var("CXXFLAGS").ok());
        env::set_var("CXXFLAGS", flags.join(" "));
        link_stdlib_statically();
    }

    // A debug build of the program is for debugging the program: an unoptimised libzmq would make its tests slow and
    // their timing unlike that of the release.
    if matches!(env::var("OPT_LEVEL").as_deref(), Ok("0" | "1")) {
        env::set_var("OPT_LEVEL", "2");
    }

    Build::new()
        .with_libsodium(Some(LibLocation::new(sodium("LIB"), sodium("INCLUDE"))))
        .build();
}

/// Takes the C++ library into the program, so that one file can be copied to a host without it, and starts faster.
///
/// Some distributions ship `libstdc++.a` apart from the compiler; without it the shared library does. A choice of the
/// caller's (`CXXSTDLIB`, `CXXSTDLIB_STATIC`) stands.
fn link_stdlib_statically() {
    for name in ["CXX", "CXXSTDLIB", "CXXSTDLIB_STATIC"] {
        println!("cargo:rerun-if-env-changed={name}");
    }
    if env::var_os("CXXSTDLIB").is_some() || env::var_os("CXXSTDLIB_STATIC").is_some() {
        return;
    }
    // Another compiler than the host's finds another library; cross builds choose for themselves.
    if env::var_os("HOST") != env::var_os("TARGET") {
        return;
    }
    let compiler = env::var("CXX").unwrap_or_else(|_| "c++".to_owned());
    // "ccache g++" is two words. A compiler that has no such file answers with the bare name.
    let mut words = compiler.split_whitespace();
    let program = words.next().unwrap_or("c++");
    let found = Command::new(program)
        .args(words)
        .arg("-print-file-name=libstdc++.a")
        .output();
    let found = found
        .map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
        .unwrap_or_default();
    if Path::new(&found).is_absolute() {
        env::set_var("CXXSTDLIB_STATIC", "1");
    }
}

/// Where `libsodium-sys-stable` put its library or its headers.
fn sodium(what: &str) -> String {
    env::var(format!("DEP_SODIUM_{what}")).unwrap_or_else(|_| {
        panic!(
            "libsodium-sys-stable did not say where its {what} is: unset SODIUM_LIB_DIR and SODIUM_USE_PKG_CONFIG, \
             so that it builds the libsodium it carries"
        )
    })
}
